/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_RING_COPIED_H
#define VHU_RING_COPIED_H

/**
 * @file
 * Copied rings: behind an IOMMU, on huge pages, in pieces that no mapping can make one.
 *
 * Bursts work on a copy of such a ring in memory of our own, as on any other. What the driver has
 * made available is pulled into the copy before a burst, what was used is pushed out of it when it
 * is published, and the wishes of both sides are carried over where they are read and written. All
 * that costs the cycles of the copy, and nothing where no ring is copied. lcore only.
 */

#include <stdbool.h>

#include "mem/alias.h"
#include "ring/chain.h"

/** Is this ring a copy? */
static inline bool
vhu_ring_is_copied(const struct vhu_snapshot *snapshot)
{
	return snapshot->alias != NULL && snapshot->alias->real != NULL;
}

/**
 * Bring into the copy what the driver has made available since the last time: at most as many
 * descriptors as the ring has, the rest in the next call.
 */
void vhu_copied_pull(struct vhu_ring *ring, const struct vhu_snapshot *snapshot);

/**
 * Show the driver what was used since @p old; then bring in whether it wants to hear of that.
 * Called when the copy has all of it.
 */
void vhu_copied_push(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct vhu_walk old);

/** Tell the driver whether kicks are wanted. */
void vhu_copied_push_wish(const struct vhu_snapshot *snapshot);

/** A word of the ring as the driver has it, wherever that is. */
static inline const void *
vhu_ring_real(const struct vhu_snapshot *snapshot, const void *word)
{
	return vhu_ring_is_copied(snapshot) ? vhu_alias_real(snapshot->alias, word) : word;
}

/** Have the snapshot's burst pull first. Control thread, last of all that change it. */
void vhu_copied_specialise(struct vhu_snapshot *snapshot);

#endif /* VHU_RING_COPIED_H */
