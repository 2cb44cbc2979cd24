/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef TESTPMD_ENGINE_H
#define TESTPMD_ENGINE_H

/*
 * Forwarding: a plan says which lcore serves which streams; starting launches it, stopping waits
 * for the lcores to come back. A change of ports, queues or settings is a stop, a new plan and a
 * start; packets wait in the rings meanwhile.
 *
 * Ports are paired in the order of their numbers (0 with 1, 2 with 3; the last of an odd number
 * with itself). Receive queue k of a port goes to the k-th running transmit queue of its partner,
 * counted round; streams that share a transmit queue share the lcore, which keeps each queue with
 * one thread. If EAL has only the main lcore, that one forwards in slices between its other
 * duties.
 *
 * All functions belong to the main thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "config.h"

/* @return false with a sentence in why: already running, no port, too few lcores. */
bool engine_can_start(char why[WHY_SIZE]);
bool engine_start(char why[WHY_SIZE]);
void engine_stop(void);
bool engine_running(void);

/* Restart with the settings as they are now, if forwarding runs; says on stderr why it cannot. */
void engine_restart(void);

/* Queues started or stopped: restart with a new plan if the one in force does not fit any more. */
void engine_adapt(void);

/* True if the main lcore forwards: then engine_slice() must be called again and again. */
bool engine_on_main(void);
/* Forward for about a millisecond. */
void engine_slice(void);

/* Send so many bursts of generated frames to each running queue. @return frames the guests took. */
uint64_t engine_send_first(unsigned int bursts);

/* Lcores that forward, or would; and streams of the plan in force (0 while stopped). */
unsigned int engine_lcores(void);
unsigned int engine_streams(void);

#endif /* TESTPMD_ENGINE_H */
