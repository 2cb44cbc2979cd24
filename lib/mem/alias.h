/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_MEM_ALIAS_H
#define VHU_MEM_ALIAS_H

/**
 * @file
 * Aliases: a second mapping of guest memory, in which pages that lie apart follow each other.
 *
 * A ring is reached by one address per area. Behind an IOMMU a guest may take the pages of an area
 * from anywhere: only in I/O virtual addresses are they neighbours. So the control thread plans the
 * pieces of the ring's areas one behind the other and maps them once more in this order. That goes
 * by pages: where pieces meet inside of a page there is no alias. Huge pages cannot be mapped in
 * parts: there the alias is private memory, a copy, and whoever uses the ring carries over what
 * changes (ring/copied.h). Lcores know the address only; the dirty log needs the way back.
 */

#include <stdbool.h>
#include <stdint.h>

#include "mem/map.h"

struct vhu_dirty;
struct vhu_dirty_cache;

/**
 * Most pieces of an alias: the pages of a split ring of 32768 descriptors. Its areas have 128, 17
 * and 65, and one more each if they do not begin with a page. Each piece is a mapping of its own,
 * and a process has 65530 by default.
 */
#define VHU_ALIAS_PIECES 213

/** What an alias is to show. Begin with all 0. */
struct vhu_alias_plan {
	uint64_t end;      /**< bytes planned so far, from the first page on */
	uint32_t count;
	struct vhu_alias_piece {
		uint8_t *host;    /**< its first page */
		uint64_t offset;  /**< of that page in the alias; it reaches to that of the next */
		uintptr_t delta;  /**< guest-physical - host address */
	} pieces[VHU_ALIAS_PIECES];
};

/** How far a copied ring has been carried over. lcore. */
struct vhu_alias_pulled {
	bool begun;        /**< next and wrap are valid */
	bool wrap;         /**< packed: goes with next */
	uint16_t next;     /**< as the ring's next_avail: what was before is in the copy */
};

/** Immutable once made, but for @p pulled. */
struct vhu_alias {
	uint8_t *host;     /**< its first page */
	uint64_t size;     /**< bytes, whole pages */
	/** bytes of a page, as a power of two: lcores shift by it where they had to divide */
	unsigned int page_bits;
	/** copies: of each page the one that it stands for; NULL: this is no copy */
	uint8_t **real;
	struct vhu_alias_pulled pulled;
	uint32_t count;
	/** by host address (start) in the alias, back to back; delta: guest-physical - that */
	struct vhu_extent back[];
};

/**
 * Plan one more piece: on a new page if an area begins with it, else right behind the last.
 * @param host   its first byte, in a region.
 * @param delta  guest-physical - host address, the same for the whole piece.
 * @param size   bytes, not 0.
 * @return false if it would not lie on a page as it does in the region, or is one too many.
 */
bool vhu_alias_add(struct vhu_alias_plan *plan, bool begins, uint8_t *host, uintptr_t delta,
	uint64_t size);

/**
 * Map what was planned. Touches each page first: one that is still to come (mem/postcopy.h) comes
 * by the region, not by the alias. Control thread.
 * @param made  receives it, or NULL.
 * @return 0, or a negative errno: -EINVAL for memory on huge pages, -ENOMEM.
 */
int vhu_alias_new(const struct vhu_alias_plan *plan, struct vhu_alias **made);
/**
 * Make a copy of what was planned, for memory that vhu_alias_new() says -EINVAL to. Control thread.
 * @param made  receives it, with what the memory holds now, or NULL.
 * @return 0 or -ENOMEM.
 */
int vhu_alias_copy(const struct vhu_alias_plan *plan, struct vhu_alias **made);

/** In guest memory, what @p copied stands for. Of something that is in one page. */
static inline void *
vhu_alias_real(const struct vhu_alias *alias, const void *copied)
{
	uint64_t offset = (uint64_t)((const uint8_t *)copied - alias->host);
	uint64_t page = offset >> alias->page_bits;

	return alias->real[page] + (offset - (page << alias->page_bits));
}

/** Unmap and free. NULL is allowed. No lcore may use it any more. Control thread. */
void vhu_alias_free(struct vhu_alias *alias);

/** As vhu_dirty_note_host() for an address in the alias. lcore. */
void vhu_alias_note(const struct vhu_alias *alias, const struct vhu_dirty *dirty,
	struct vhu_dirty_cache *cache, const void *host, uint64_t size);

#endif /* VHU_MEM_ALIAS_H */
