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

/*
 * Buckets of times: one a tick below 64 ticks, from there on 64 in each octave, so that none is
 * wider than a sixty-fourth of what is in it: 1.5 us at 100 us.
 */
#define TIME_SPLIT_SHIFT 6
#define TIME_SPLIT (1u << TIME_SPLIT_SHIFT)
/* The longest that has a bucket of its own: 2^36 ticks, some 20 seconds. */
#define TIME_OCTAVES 36
#define TIME_BUCKETS ((TIME_OCTAVES - TIME_SPLIT_SHIFT + 1) * TIME_SPLIT)
/* Slices of which the longest gap is kept one by one. */
#define BOOK_SLICES 8192

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
	struct long_ones calls;
	struct long_ones gaps_by_cause;
	uint64_t faults;      /* pages faulted in by the poller */
	uint64_t refused;     /* receive calls */
	uint64_t unsent;      /* frames */
};

/* A time with, or without, changes. */
struct book_slice {
	uint64_t interval;
	uint64_t longest;     /* own gap, ticks */
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
	/* The first ones of the run, in the order of time. */
	uint32_t slice_count;
	struct book_slice slices[BOOK_SLICES];
};

static inline unsigned int
time_bucket(uint64_t ticks)
{
	unsigned int shift;

	if (ticks < TIME_SPLIT)
		return (unsigned int)ticks;
	if (ticks >> TIME_OCTAVES)
		return TIME_BUCKETS - 1;
	shift = 63 - (unsigned int)__builtin_clzll(ticks) - TIME_SPLIT_SHIFT;
	/* The highest bit of what is left counts the octave. */
	return shift * TIME_SPLIT + (unsigned int)(ticks >> shift);
}

static inline void
time_add(struct times *times, uint64_t ticks)
{
	times->count++;
	times->buckets[time_bucket(ticks)]++;
	if (ticks > times->max)
		times->max = ticks;
}

/* The middle of a bucket. */
static inline double
time_of_bucket(unsigned int bucket)
{
	unsigned int shift = bucket < 2 * TIME_SPLIT ? 0 : bucket / TIME_SPLIT - 1;

	return (double)((uint64_t)(bucket - shift * TIME_SPLIT) << shift) +
		(double)((UINT64_C(1) << shift) - 1) / 2;
}

/* The time that @p above of the values exceed, in ticks. */
static inline double
time_exceeded_by(const struct times *times, uint64_t above)
{
	unsigned int i = TIME_BUCKETS;
	uint64_t sum = 0;

	while (i-- > 0) {
		sum += times->buckets[i];
		if (sum > above)
			return time_of_bucket(i);
	}
	return 0;
}

static inline double
time_quantile(const struct times *times, double quantile)
{
	return time_exceeded_by(times, (uint64_t)((double)times->count * (1 - quantile)));
}

#endif /* VHU_TEST_BOOK_H */
