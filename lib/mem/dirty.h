/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_MEM_DIRTY_H
#define VHU_MEM_DIRTY_H

/**
 * @file
 * The dirty log: which pages of guest memory this process has written (vhost-user, "Migration").
 *
 * A bitmap that the front-end shares: bit n stands for the 4096 bytes at guest-physical address
 * n * 4096. The front-end fetches and clears it word by word while we set bits, so a bit may be
 * set only after the bytes are written, and before the used index that makes them count. lcores
 * collect the pages of a burst in a cache of their own and set whole words at its end: one locked
 * instruction per 64 neighbouring pages and burst, not one per write.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mem/map.h"

#define VHU_DIRTY_PAGE_SHIFT 12

/** Written by the control thread before publication, read-only afterwards. */
struct vhu_dirty {
	_Atomic(uint64_t) *words;  /**< shared with the front-end, which clears them */
	uint64_t count;            /**< of words: pages behind them are not logged */
	void *mapping;
	uint64_t mapping_size;
	unsigned int references;   /**< control thread only */
};

/** Words that a cache holds before it is flushed early. */
#define VHU_DIRTY_CACHE 32

/** Pages noted since the last flush. Lives on the stack of a burst. */
struct vhu_dirty_cache {
	uint32_t count;
	struct vhu_extent extent;  /**< region of the last host address; size 0: none */
	uint32_t word[VHU_DIRTY_CACHE];
	uint64_t bits[VHU_DIRTY_CACHE];
};

/** Begin: nothing noted. */
static inline void
vhu_dirty_begin(struct vhu_dirty_cache *cache)
{
	cache->count = 0;
	cache->extent.size = 0;
}

/** Note that @p size bytes at a guest-physical address were written. Flushes a full cache. */
void vhu_dirty_note(const struct vhu_dirty *dirty, struct vhu_dirty_cache *cache,
	uint64_t guest_address, uint64_t size);
/** The same for a host address inside a region of the map; others are ignored. */
void vhu_dirty_note_host(const struct vhu_dirty *dirty, struct vhu_dirty_cache *cache,
	const struct vhu_map *map, const void *host, uint64_t size);
/**
 * Set the bits of all pages noted. Partner: the front-end's exchange of a word; the release makes
 * what was written visible to whoever fetches the bit.
 */
void vhu_dirty_flush(const struct vhu_dirty *dirty, struct vhu_dirty_cache *cache);

#endif /* VHU_MEM_DIRTY_H */
