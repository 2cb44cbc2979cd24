/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_RING_CHAIN_PRIVATE_H
#define VHU_RING_CHAIN_PRIVATE_H

/**
 * @file
 * What the walks of both ring formats share: collecting the segments of one chain; and what those
 * share who write to the ring itself.
 *
 * All functions of walks return VHU_FOUND_CHAIN when the walk may go on; anything else ends it and
 * is what the caller of vhu_chain_look() gets.
 */

#include "ring/chain.h"
#include "ring/guest.h"

struct vhu_dirty_cache;

/** A chain in the making. */
struct vhu_chain_build {
	struct vhu_ring *ring;
	const struct vhu_snapshot *snapshot;
	struct iovec *segments;
	uint32_t room;           /**< at most VHU_SEGMENTS_MAX count */
	struct vhu_chain *chain;
};

/** Was a feature acknowledged? */
static inline bool
vhu_snapshot_has(const struct vhu_snapshot *snapshot, unsigned int bit)
{
	return snapshot->features >> bit & 1;
}

/** Break the ring. @return VHU_FOUND_STOP */
enum vhu_found vhu_chain_broken(const struct vhu_chain_build *build, enum vhu_broken reason,
	uint32_t detail);

/** Append one buffer. @param at  which descriptor it is, for the report. */
enum vhu_found vhu_chain_add(const struct vhu_chain_build *build, uint64_t address,
	uint64_t length, bool writable, uint32_t at);

/** Is this a table that may be followed? @param at  which descriptor points to it. */
enum vhu_found vhu_chain_check_table(const struct vhu_chain_build *build, uint64_t address,
	uint32_t length, bool next, uint32_t at);

/** Copy entry @p index of an indirect table that may cross regions. */
enum vhu_found vhu_chain_load(const struct vhu_chain_build *build, uint64_t table,
	uint32_t index, struct vhu_descriptor *descriptor);

/** The segments of the chain that begins at this descriptor of a split ring. */
enum vhu_found vhu_split_add(const struct vhu_chain_build *build, uint32_t head);
/** One descriptor of a packed ring that is not the ring's any more. Its length and flags too. */
enum vhu_found vhu_packed_add(const struct vhu_chain_build *build, struct vhu_descriptor d,
	uint32_t at);

/** vhu_chain_look() for each format; @p build->chain is all 0. */
enum vhu_found vhu_split_look(const struct vhu_chain_build *build, struct vhu_walk *walk);
enum vhu_found vhu_packed_look(const struct vhu_chain_build *build, struct vhu_walk *walk);

/**
 * Note that bytes of the ring itself were written: of the used ring or, packed, of the descriptor
 * ring or our event area. The snapshot has a dirty log.
 */
void vhu_used_note(const struct vhu_snapshot *snapshot, struct vhu_dirty_cache *cache,
	const void *host, uint64_t size);

#endif /* VHU_RING_CHAIN_PRIVATE_H */
