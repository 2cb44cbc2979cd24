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
#include "wire/message.h"

#define VHU_DIRTY_PAGE_SHIFT 12

/** What lcores tell the control thread about a log. */
struct vhu_dirty_state {
	/** pages outside the log, not marked. lcores: add; anybody: reads */
	_Atomic(uint64_t) beyond;
	/** something was marked. lcores: set; control: takes (vhu_dirty_taken()) */
	_Atomic(bool) marked;
};

/** Written by the control thread before publication, read-only afterwards. */
struct vhu_dirty {
	_Atomic(uint64_t) *words;  /**< shared with the front-end, which clears them */
	uint64_t pages;            /**< that have a bit */
	struct vhu_dirty_state *state; /**< never NULL; lies behind this structure */
	void *mapping;
	uint64_t mapping_size;
	unsigned int references;   /**< control thread only */
	bool own;                  /**< no front-end has it: vhu_dirty_new_own() */
	/** Logging was off since it came: a front-end may have it still, or no more. Control. */
	bool left;
};

/** Words that a cache holds; a power of two, at most 32. */
#define VHU_DIRTY_CACHE 32

/**
 * Pages noted since the last flush. Lives on the stack of a burst. Word n of the log has one place
 * where it may be: whatever else is there is set in the log at once.
 */
struct vhu_dirty_cache {
	uint32_t used;             /**< bit i: place i holds something */
	struct vhu_extent extent;  /**< of the last host address, as in vhu_map.by_host */
	uint64_t word[VHU_DIRTY_CACHE];
	uint64_t bits[VHU_DIRTY_CACHE];
};

/** Begin: nothing noted. */
static inline void
vhu_dirty_begin(struct vhu_dirty_cache *cache)
{
	cache->used = 0;
	cache->extent.size = 0;
}

/**
 * Note that @p size bytes at a guest-physical address were written: after they were, since this may
 * set bits at once. Pages outside the log are counted.
 * @param dirty  not NULL, as everywhere here.
 */
void vhu_dirty_note(const struct vhu_dirty *dirty, struct vhu_dirty_cache *cache,
	uint64_t guest_address, uint64_t size);
/**
 * The same for a host address inside regions of the map; what lies elsewhere is ignored.
 * @param map  the same in each call with this cache.
 */
void vhu_dirty_note_host(const struct vhu_dirty *dirty, struct vhu_dirty_cache *cache,
	const struct vhu_map *map, const void *host, uint64_t size);
/**
 * Set the bits of all pages noted. Partner: the front-end's exchange of a word; the release makes
 * what was written visible to whoever fetches the bit.
 */
void vhu_dirty_flush(const struct vhu_dirty *dirty, struct vhu_dirty_cache *cache);

/**
 * Map the log that a front-end sent. Refused: size 0, a sum that wraps, a
 * descriptor that is no readable and writable file, a file that is too short. Control thread.
 * @param fd      stays the caller's.
 * @param offset  of the first byte in the file; need not be a multiple of a page, but of 8.
 * @param dirty   receives the log with one reference, NULL when refused.
 */
struct vhu_verdict vhu_dirty_map(int fd, uint64_t size, uint64_t offset, struct vhu_dirty **dirty);
/**
 * A log that nobody else sees: for what is written before the front-end's comes. Memory is used
 * only for what is marked. @return NULL if out of memory.
 */
struct vhu_dirty *vhu_dirty_new_own(void);
/**
 * Mark everything that is marked in @p from, as far as a log of our own reaches. No lcore may use
 * @p from any more.
 */
void vhu_dirty_merge(const struct vhu_dirty *into, const struct vhu_dirty *from);
/** Drop a reference; the last one unmaps. NULL is allowed. Control thread. */
void vhu_dirty_drop(struct vhu_dirty *dirty);
/** Was anything marked since the last call? Control thread. */
bool vhu_dirty_taken(const struct vhu_dirty *dirty);

#endif /* VHU_MEM_DIRTY_H */
