/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_TEST_CHURN_H
#define VHU_TEST_CHURN_H

/*
 * vhu-churn in two halves. The *stream* sends numbered frames to a back-end that sends them back,
 * as fast as both can, and checks what returns. The *works* change things meanwhile: memory, log,
 * call descriptors. One thread does both: while a work waits for an answer, frames flow, so nobody
 * takes the core from the stream but the back-end's own control threads.
 */

#include <stdbool.h>
#include <stdint.h>

#include "book.h"
#include "driver.h"
#include "front.h"

#define CHURN_RING 512
/* Frames on their way at most, so that the receive ring always has room for all of them. */
#define CHURN_WINDOW 448

/*
 * How long nothing came back, as the driver sees it. "raw" is the time between two polls that found
 * frames. Where the driver itself came late (it sent a message, or the core was taken from it),
 * that is not the back-end's doing: what lies between two polls that follow one another beyond
 * PAUSE is taken off in "net".
 */
struct gaps {
	struct times raw, net;
	uint64_t pauses;       /* polls that came late */
};

/* What the stream has counted. */
struct stream_counts {
	uint64_t sent, received;
	uint64_t corrupt;      /* right number, other bytes or length */
	uint64_t reordered;    /* not the number that was due */
	uint64_t nanoseconds;
	struct gaps gaps;
};

struct stream {
	struct front_ring send, receive;
	double ticks_per_us;
	struct book *book;     /* of the poller, or NULL */
	uint64_t run;          /* in book->published */
	enum interval interval; /* whose counts are written to */
	struct stream_counts counts[INTERVALS];
	uint64_t sequence;     /* of the next frame to be sent */
	uint64_t expected;     /* of the next one to come back */
	uint64_t received;     /* frames */
	uint64_t last_poll, last_frame, paused; /* ticks */
};

/* Poll once: send what there is room for, receive what came. */
void stream_round(struct stream *stream);
/* From here on things count for the other interval. */
void stream_switch(struct stream *stream, enum interval interval);
/* Send no more, receive until nothing comes. */
void stream_drain(struct stream *stream);

/* How a run is to be. */
struct churn_options {
	const char *path;
	struct book *book;     /* or NULL */
	uint64_t cycles;
	bool packed, in_order, mergeable;
};

/* Interrupts of the poller's core from others, as /proc/interrupts tells. */
struct interrupts {
	uint64_t calls;        /* membarrier() among them */
	uint64_t shootdowns;   /* what was unmapped leaves the TLB */
};

/* What one work did. */
struct work_result {
	const char *name;
	const char *skipped;   /* why it was not done, or NULL */
	char fault[200];       /* what went wrong, or "" */
	uint64_t cycles;
	uint64_t lost, faults;
	uint64_t calls;        /* on descriptors until they were replaced */
	uint64_t late_calls;   /* on old ones after the new one was signalled */
	uint64_t missed_calls; /* new ones that stayed silent */
	uint64_t logged_pages;
	struct stream_counts counts[INTERVALS];
	struct interrupts interrupts[INTERVALS];
	bool has_book;
	struct book book;      /* as the poller left it */
	double ticks_per_us;
};

extern const char *const churn_works[];
/* Do one of the works, with a connection of its own. */
void churn_do(unsigned int work, const struct churn_options *options, struct work_result *result);

/* What a core has got so far. */
struct interrupts interrupts_of(unsigned int core);

/* One line of a table, or a JSON object. */
void report_head(bool book);
void report_row(const struct work_result *result);
void report_json(const struct work_result *result);
/* Nothing lost, changed or out of order. */
bool report_is_right(const struct work_result *result);

#endif /* VHU_TEST_CHURN_H */
