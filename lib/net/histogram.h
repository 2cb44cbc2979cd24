/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_HISTOGRAM_H
#define VHU_NET_HISTOGRAM_H

/**
 * @file
 * Histograms: sizes of frames and of bursts, for ports that want them.
 *
 * While they are on, a queue's snapshot has a burst function that calls the real one and counts
 * what it moved; while they are off there is nothing to look at. The polls of an idle ring end
 * before any burst function, so they cost the same either way.
 *
 * Frames are tallied in words of the lcore's own and added to the counters when the burst has
 * ended, so that the sum of the sizes is the number of packets whenever nothing moves.
 */

#include <stdatomic.h>
#include <stdint.h>

#include <vhu_stats.h>

#include "snap/snapshot.h"

struct vhu_queue;

/** Those of one queue. */
struct vhu_histograms {
	/** lcore: adds, plain stores; anybody: reads. */
	_Atomic(uint64_t) counts[VHU_HISTOGRAMS];
	/** lcore: frames of the burst under way by size and group; zeros between bursts. */
	uint32_t tally[VHU_BURST_1];
} __attribute__((aligned(64)));

/** Control: let the snapshot, to which nothing else is added afterwards, keep histograms. */
void vhu_histogram_specialise(const struct vhu_queue *queue, struct vhu_snapshot *snapshot);

/** lcore: within a burst that keeps histograms: this frame is dropped, not moved. */
void vhu_histogram_dropped(struct vhu_queue *queue, struct rte_mbuf *packet);

#endif /* VHU_NET_HISTOGRAM_H */
