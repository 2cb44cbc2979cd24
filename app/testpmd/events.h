/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef TESTPMD_EVENTS_H
#define TESTPMD_EVENTS_H

/*
 * Events: taken from all ports now and then, kept for "show events", and told the engine, whose
 * plan depends on which queues run. Main thread only.
 */

#include <stdbool.h>
#include <stdio.h>

#include <vhu_event.h>

#define MAX_EVENTS 256

struct kept_event {
	double seconds; /* since the program started */
	unsigned int port;
	struct vhu_event event;
};

/*
 * Take what is there.
 * @param out  where to say so, one line each; NULL: nowhere.
 * @return true if queues started, stopped or broke (or events were lost).
 */
bool events_take(FILE *out);

/* The newest events, oldest first. index counts from 0; NULL past the end. */
const struct kept_event *events_at(unsigned int index);

#endif /* TESTPMD_EVENTS_H */
