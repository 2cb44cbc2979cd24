/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_RING_CHAIN_H
#define VHU_RING_CHAIN_H

/**
 * @file
 * Chains: one buffer of the guest, whatever the format of its ring.
 *
 * A walk looks at the chains that wait without taking them, so that whoever needs several (a frame
 * over many buffers) can give up half-way and try again later. Any layout is understood: direct
 * descriptors, one indirect table, buffers that cross regions. Each descriptor is read once. A
 * malformed chain breaks the ring. lcore only; the bursts' common case does not come here.
 */

#include <stdint.h>
#include <sys/uio.h>

#include "ring/ring.h"

/**
 * Most segments of a chain after splitting at region ends (1024 descriptors are allowed by the
 * standard's drivers).
 */
#define VHU_SEGMENTS_MAX 1024

/** Where a walk stands in the ring. */
struct vhu_walk {
	uint16_t next; /**< split: entry of the available ring, free running; packed: descriptor */
	bool wrap;     /**< packed: the driver's wrap counter there */
};

/** One chain. The segments are contiguous in this process: first the readable, then the writable */
struct vhu_chain {
	uint16_t id;       /**< split: head; packed: buffer id */
	uint16_t slots;    /**< split: 1; packed: descriptors that it takes in the ring */
	uint16_t readable; /**< segments from the front */
	uint16_t writable; /**< segments behind them */
	uint64_t readable_size;
	uint64_t writable_size;
};

/** What a walk found. */
enum vhu_found {
	VHU_FOUND_CHAIN,
	VHU_FOUND_NONE,  /**< nothing waits (any more) */
	VHU_FOUND_STOP,  /**< the ring broke, or a translation is missing and was asked for */
	VHU_FOUND_ROOM,  /**< the chain has more segments than fit */
};

/** A walk that begins at the next chain to be taken. */
static inline struct vhu_walk
vhu_walk_begin(const struct vhu_ring *ring)
{
	return (struct vhu_walk){ ring->next_avail, ring->avail_wrap };
}

/**
 * Look at the chain where @p walk stands, and move the walk behind it. Nothing is taken.
 * @param segments  room for @p room of them.
 */
enum vhu_found vhu_chain_look(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct vhu_walk *walk, struct iovec *segments, uint32_t room, struct vhu_chain *chain);

/** Take all chains that the walk has passed. */
static inline void
vhu_walk_take(struct vhu_ring *ring, const struct vhu_walk *walk)
{
	ring->next_avail = walk->next;
	ring->avail_wrap = walk->wrap;
}

/**
 * Give @p count chains back to the guest: write their used entries and advance next_used. The
 * driver may look at them after vhu_used_publish() only.
 * @param written  bytes written to each; NULL: nothing was.
 */
void vhu_used_write(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	const struct vhu_chain *chains, const uint32_t *written, uint32_t count);

/**
 * Make everything given back since @p old visible, and notify the guest if it asked for that. The
 * ring's own writes are noted in the dirty log if there is one. For bursts that leave nothing in
 * flight: the used position in the in-flight area, if there is one, is kept up to date.
 * @param old  next_used and used_wrap before the first vhu_used_write() of the burst.
 */
void vhu_used_publish(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct vhu_walk old);

/** vhu_used_publish() without the notification and the in-flight area. */
void vhu_used_show(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct vhu_walk old);

/**
 * Notify the guest of everything used since @p old if it asked for that; for those who publish and
 * notify at different times. vhu_used_publish() does it too.
 */
void vhu_ring_notify(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct vhu_walk old);

/** Where the used side stands, for vhu_used_publish(). */
static inline struct vhu_walk
vhu_used_position(const struct vhu_ring *ring)
{
	return (struct vhu_walk){ ring->next_used, ring->used_wrap };
}

/** The first burst after the ring started: tell the guest not to kick unless somebody sleeps. */
void vhu_ring_begin(struct vhu_ring *ring, const struct vhu_snapshot *snapshot);

/**
 * Ask for kicks, or stop asking.
 * @return true if kicks are wanted and chains wait already (sleeping would lose them).
 */
bool vhu_ring_want_kicks(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, bool wanted);

/** Does a chain wait? Looks at the guest's memory. */
bool vhu_ring_any_waiting(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot);

/** How many chains or descriptors wait; an upper bound, for information. */
uint16_t vhu_ring_waiting(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot);

#endif /* VHU_RING_CHAIN_H */
