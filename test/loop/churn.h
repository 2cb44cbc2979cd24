/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_TEST_CHURN_H
#define VHU_TEST_CHURN_H

/*
 * vhu-churn in two halves. The *stream* sends numbered frames to a back-end that sends them back,
 * as fast as both can, and checks what returns. The *works* change things meanwhile: memory, log,
 * call descriptors.
 */

#include <stdbool.h>
#include <stdint.h>

#include "driver.h"
#include "front.h"

#define CHURN_RING 512
/* Frames on their way at most, so that the receive ring always has room for all of them. */
#define CHURN_WINDOW 448

/* Quarter octaves from 1/16 of a microsecond on. */
#define GAP_BUCKETS 128

/*
 * How long nothing came back. "raw" is the time between two polls that found frames. Where the
 * scheduler took the core away from the poller itself, that is not the back-end's doing: what lies
 * between two polls that follow one another beyond PAUSE is taken off in "net".
 */
struct gaps {
	uint64_t count;
	uint64_t raw_max, net_max;       /* ticks */
	uint64_t raw[GAP_BUCKETS], net[GAP_BUCKETS];
	uint64_t pauses;                 /* polls that came late */
};

/* What the stream has counted. Written by its thread, read when that is quiet or has ended. */
struct stream_counts {
	uint64_t sent, received;
	uint64_t corrupt;      /* right number, other bytes or length */
	uint64_t reordered;    /* not the number that was due */
	uint64_t nanoseconds;
	struct gaps gaps;
};

enum stream_state {
	STREAM_RUN,
	STREAM_DRAIN,          /* send no more, receive until nothing comes */
	STREAM_END,
};

struct stream {
	struct front_ring send, receive;
	double ticks_per_us;
	int core;
	/* Written by the thread of the works, read by the stream's (relaxed). */
	unsigned int state;
	unsigned int interval; /* 0: quiet, 1: with churn; which counts are written to */
	struct stream_counts counts[2];
	uint64_t sequence;     /* of the next frame to be sent */
	uint64_t expected;     /* of the next one to come back; the works read it (relaxed) */
};

/* Body of the stream's thread; the argument is its struct stream. */
void *stream_main(void *argument);
/* A quantile of a histogram, microseconds: the upper bound of its bucket. */
double gap_quantile(const uint64_t buckets[GAP_BUCKETS], uint64_t count, double quantile);

/* How a run is to be. */
struct churn_options {
	const char *path;
	uint64_t cycles;
	uint64_t quiet_ms;
	bool packed, in_order, mergeable;
	int core;
};

/* What one work did. */
struct work_result {
	const char *name;
	const char *skipped;   /* why it was not done, or NULL */
	char fault[200];       /* what went wrong, or "" */
	uint64_t cycles;
	double seconds;        /* of the cycles */
	uint64_t lost, faults;
	uint64_t calls;        /* on descriptors until they were replaced */
	uint64_t late_calls;   /* on old ones after the new one was signalled */
	uint64_t missed_calls; /* new ones that stayed silent */
	uint64_t logged_pages;
	struct stream_counts counts[2];
	double ticks_per_us;
};

extern const char *const churn_works[];
/* Do one of the works, with a connection of its own. */
void churn_do(unsigned int work, const struct churn_options *options, struct work_result *result);

#endif /* VHU_TEST_CHURN_H */
