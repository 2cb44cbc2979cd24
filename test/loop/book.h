/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_TEST_BOOK_H
#define VHU_TEST_BOOK_H

/*
 * The book that vhu-poller keeps of its own polls while vhu-churn changes things: a file that both
 * map. What its calls into the back-end take is the back-end's doing, or the kernel's on its behalf
 * (faults, interrupts from other cores), unless another thread or the hypervisor had the core,
 * which the kernel tells: the thread's own time stands still then.
 *
 * A *gap* begins when nothing was waiting (the last poll that rightly came back empty) or when the
 * last burst was done, whichever is later, and ends when the next burst was received and sent. A
 * driver that pauses makes empty polls and no gap. A poll that came back empty although frames were
 * waiting was *refused*.
 */

#include <stdint.h>

/* Quarter octaves from 1/16 of a microsecond on. */
#define TIME_BUCKETS 128

/* Whether things are changed meanwhile. */
enum interval {
	BEGINNING = 0, /* first faults, cold caches: counts for neither */
	QUIET,
	CHURN,
	INTERVALS,
};

/* How long something took. Ticks of front_ticks(). */
struct times {
	uint64_t count;
	uint64_t max;
	uint64_t buckets[TIME_BUCKETS];
};

/* What the kernel says of calls and gaps longer than BOOK_LONG_US. */
#define BOOK_LONG_US 5
struct long_ones {
	uint64_t stolen;      /* somebody else ran for more than half of the time */
	uint64_t faulted;     /* not that, but a page was faulted in */
	uint64_t other;       /* interrupts, the hypervisor, or the call itself */
	uint64_t longest;     /* ticks, without what was stolen; of the last two kinds */
};

/* Written by the poller; read by vhu-churn when nothing moves any more. */
struct book_interval {
	struct times receive; /* calls that received frames */
	struct times empty;   /* those that did not */
	struct times send;
	struct times gaps;
	struct times own_gaps; /* the same without the time that others had the core */
	struct times slices;  /* longest own gap of each slice, one value a slice */
	struct long_ones calls;
	struct long_ones gaps_by_cause;
	uint64_t faults;      /* pages faulted in by the poller */
	uint64_t refused;     /* receive calls */
	uint64_t unsent;      /* frames */
};

/* In "published": which run it is, above the number of frames. */
#define BOOK_RUN_SHIFT 48

struct book {
	/*
	 * vhu-churn: stores (release) how many frames it has made available in this run; the
	 * poller: loads (acquire) before it looks for them.
	 */
	uint64_t published __attribute__((aligned(64)));
	uint32_t interval;    /* vhu-churn: writes; poller: reads (relaxed) */
	/* Set by the poller when it is ready. */
	uint32_t core __attribute__((aligned(64)));
	uint32_t ready;
	struct book_interval intervals[INTERVALS];
};

static inline unsigned int
time_bucket(uint64_t ticks, double ticks_per_us)
{
	uint64_t scaled = (uint64_t)((double)ticks * 16 / ticks_per_us);
	unsigned int octave, bucket;

	if (scaled < 4)
		return 0;
	octave = 63 - (unsigned int)__builtin_clzll(scaled);
	bucket = (octave - 2) * 4 + (unsigned int)(scaled >> (octave - 2) & 3) + 1;
	return bucket < TIME_BUCKETS ? bucket : TIME_BUCKETS - 1;
}

static inline void
time_add(struct times *times, uint64_t ticks, double ticks_per_us)
{
	times->count++;
	times->buckets[time_bucket(ticks, ticks_per_us)]++;
	if (ticks > times->max)
		times->max = ticks;
}

/* A quantile in microseconds: the upper bound of its bucket. */
static inline double
time_quantile(const struct times *times, double quantile)
{
	uint64_t wanted = (uint64_t)((double)times->count * quantile), sum = 0;
	unsigned int i;

	for (i = 0; i < TIME_BUCKETS - 1; i++) {
		sum += times->buckets[i];
		if (sum > wanted)
			break;
	}
	if (i == 0)
		return 4.0 / 16;
	return (double)((uint64_t)((i - 1) % 4 + 5) << (i - 1) / 4) / 16;
}

#endif /* VHU_TEST_BOOK_H */
