/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_MEM_IOTLB_H
#define VHU_MEM_IOTLB_H

/**
 * @file
 * IOTLB: translations of I/O virtual addresses that the front-end sent (IOTLB_MSG).
 *
 * One writer (the control thread), any number of lcores that read without a lock. The entries do
 * not overlap and lie in a skip list sorted by I/O virtual address: whatever lengths the front-end
 * sends, finding, entering and taking out cost the logarithm of their number. An entry that is
 * taken out stays readable for bursts under way: whoever takes it out moves the generation on,
 * waits for a grace period, frees it, and only then answers. It is a cache: what is forgotten is
 * asked for again. So parts of entries are never kept, and a full cache is emptied.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mem/map.h"

/** What a range may be used for; the bits of the IOTLB message (VHOST_ACCESS_RO, _WO). */
enum vhu_access {
	VHU_READ = 1,
	VHU_WRITE = 2,
};

struct vhu_iotlb;
/** What was taken out: a list, to be freed when no burst can be using it. */
struct vhu_iotlb_entry;

/** Most entries of an IOTLB: 4 GiB in pages of 4 KiB, in some 64 MiB of memory. */
#define VHU_IOTLB_ENTRIES (UINT32_C(1) << 20)

/** The extent used last. Private to the lcore that bursts on the ring. */
struct vhu_hint {
	struct vhu_extent extent; /**< may be read and written */
	uint64_t generation; /**< of the map or IOTLB it was taken from; 0: empty */
};

/**
 * lcore: search. @return as vhu_translate(). An extent that may be both read and written becomes
 * the hint. The caller remembers a miss (vhu_ring_miss()).
 */
void *vhu_iotlb_translate(const struct vhu_iotlb *iotlb, struct vhu_hint *hint, uint64_t address,
	uint64_t *size, enum vhu_access access);

/** lcore: changes whenever an entry was taken out or replaced; differs from that of any map. */
uint64_t vhu_iotlb_generation(const struct vhu_iotlb *iotlb);

/** An empty IOTLB. @return NULL if out of memory. Control thread, as everything below. */
struct vhu_iotlb *vhu_iotlb_new(void);
/** Free it and what is in it. No lcore may use it any more. NULL is allowed. */
void vhu_iotlb_free(struct vhu_iotlb *iotlb);
/** How many entries there are. */
uint32_t vhu_iotlb_count(const struct vhu_iotlb *iotlb);

/** What an update says. */
struct vhu_translation {
	uint64_t iova;
	uint64_t size;          /**< bytes */
	uint64_t user;          /**< user address of the front-end */
	enum vhu_access access;
};

/**
 * Enter a translation. What overlaps it is taken out whole; the very same again changes nothing.
 * One over several regions becomes an entry for each piece of memory.
 * Refused: size 0, sums that wrap, a byte that is not in the map, lack of memory; the old entries
 * stand then.
 * @param removed  what was taken out is put in front of this list.
 */
struct vhu_verdict vhu_iotlb_update(struct vhu_iotlb *iotlb, const struct vhu_map *map,
	const struct vhu_translation *translation, struct vhu_iotlb_entry **removed);
/**
 * Take out whatever overlaps a range. One that wraps ends with the address space, and so does one
 * of size 0: a front-end that means all 2^64 bytes cannot write the number down.
 */
void vhu_iotlb_invalidate(struct vhu_iotlb *iotlb, uint64_t iova, uint64_t size,
	struct vhu_iotlb_entry **removed);
/** Take out what is not in this map, or is somewhere else there. */
void vhu_iotlb_follow(struct vhu_iotlb *iotlb, const struct vhu_map *map,
	struct vhu_iotlb_entry **removed);
/** Free what was taken out. NULL is allowed. */
void vhu_iotlb_release(struct vhu_iotlb_entry *removed);

/**
 * The user address of the front-end behind an I/O virtual address.
 * @param size  as in vhu_translate().
 * @return false if there is no entry with this permission.
 */
bool vhu_iotlb_user(const struct vhu_iotlb *iotlb, uint64_t iova, uint64_t *size,
	enum vhu_access access, uint64_t *user);

#endif /* VHU_MEM_IOTLB_H */
