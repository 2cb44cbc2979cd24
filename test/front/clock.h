/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef FRONT_CLOCK_H
#define FRONT_CLOCK_H

/**
 * @file
 * A clock that is cheap enough to be read at every poll: the time-stamp counter where there is
 * one, nanoseconds of the monotonic clock elsewhere.
 */

#include <stdint.h>
#include <time.h>

static inline uint64_t
front_nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline uint64_t
front_ticks(void)
{
#ifdef __x86_64__
	return __builtin_ia32_rdtsc();
#else
	return front_nanoseconds();
#endif
}

/** Ticks per microsecond, measured for 20 ms. */
static inline double
front_ticks_per_us(void)
{
	uint64_t begin = front_nanoseconds(), ticks = front_ticks(), now;

	do
		now = front_nanoseconds();
	while (now - begin < 20000000);
	return (double)(front_ticks() - ticks) * 1000.0 / (double)(now - begin);
}

#endif /* FRONT_CLOCK_H */
