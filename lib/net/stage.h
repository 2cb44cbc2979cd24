/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_STAGE_H
#define VHU_NET_STAGE_H

/**
 * @file
 * Where the time of bursts goes, for who works on them (meson option "stages").
 *
 * Each burst reads the clock where it begins and where a stage ends; what went by since the reading
 * before is the stage's. A reading costs about as much as two frames of 64 bytes, so figures of
 * large bursts mean something and those of small ones little. In builds without the option nothing
 * of this is left.
 */

#include <vhu_stats.h>

#ifndef VHU_COUNT_STAGES
#define VHU_COUNT_STAGES 0
#endif

#if VHU_COUNT_STAGES
#include <stdatomic.h>
#include <stdint.h>

#include <rte_cycles.h>

/** Of one queue. */
struct vhu_stage_clock {
	uint64_t last;                        /**< lcore: the reading before */
	_Atomic(uint64_t) cycles[VHU_STAGES]; /**< lcore: adds, plain stores; anybody: reads */
};

static inline void
vhu_stage_begin(struct vhu_stage_clock *clock)
{
	clock->last = rte_rdtsc();
}

static inline void
vhu_stage_end(struct vhu_stage_clock *clock, enum vhu_stage stage)
{
	uint64_t now = rte_rdtsc(), sum = atomic_load_explicit(&clock->cycles[stage],
		memory_order_relaxed);

	atomic_store_explicit(&clock->cycles[stage], sum + now - clock->last,
		memory_order_relaxed);
	clock->last = now;
}

#define STAGE_BEGIN(queue) vhu_stage_begin(&(queue)->stages)
#define STAGE_END(queue, stage) vhu_stage_end(&(queue)->stages, stage)
#else
#define STAGE_BEGIN(queue) ((void)(queue))
#define STAGE_END(queue, stage) ((void)(queue))
#endif

#endif /* VHU_NET_STAGE_H */
