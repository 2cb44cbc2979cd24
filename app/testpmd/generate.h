/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef TESTPMD_GENERATE_H
#define TESTPMD_GENERATE_H

/*
 * Frames made here: Ethernet, IPv4, UDP and a payload of one repeated byte, all checksums valid.
 *
 * Lengths come from settings.segment_sizes as they were when generate_prepare() was called. The
 * template is read by all lcores and written only while none forwards.
 */

#include <stdint.h>

#include "fwd.h"

/* Flows that flowgen goes through, by source port. */
#define GENERATE_FLOWS 1024

/* Compute the template. Forwarding must not run. */
void generate_prepare(void);

/*
 * Make up to count frames of successive flows (all of one flow when flows is 1).
 * @return how many the pool had mbufs for.
 */
uint16_t generate_burst(struct stream *stream, struct rte_mbuf **packets, uint16_t count,
	uint32_t flows);

#endif /* TESTPMD_GENERATE_H */
