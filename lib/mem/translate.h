/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_MEM_TRANSLATE_H
#define VHU_MEM_TRANSLATE_H

/**
 * @file
 * Translation of the addresses in descriptors, on lcores.
 *
 * A guest's buffers mostly lie in one region, so each ring keeps the extent it used last (the
 * hint): a hit costs two subtractions and two compares, whatever the number of regions. A miss
 * searches the sorted extents, log2(509) = 9 steps at most.
 *
 * With VIRTIO_F_ACCESS_PLATFORM the addresses are I/O virtual and a miss asks the IOTLB instead;
 * the fast path is the same.
 */

#include <stdatomic.h>
#include <stdint.h>

#include "mem/iotlb.h"
#include "mem/map.h"

/** What the addresses in a ring's descriptors mean. Part of a snapshot. */
struct vhu_space {
	const struct vhu_map *map; /**< guest memory */
	struct vhu_iotlb *iotlb;   /**< NULL: addresses are guest-physical */
};


/**
 * Search the map and refresh the hint. @return as vhu_translate().
 * Never inlined: a search inside a burst's loop would cost the loop its registers.
 */
static __attribute__((noinline, cold, unused)) void *
vhu_translate_slow(const struct vhu_space *space, struct vhu_hint *hint, uint64_t address,
	uint64_t *size, enum vhu_access access)
{
	const struct vhu_map *map = space->map;
	uint32_t low = 0, high = map->count;

	if (space->iotlb != NULL)
		return vhu_iotlb_translate(space->iotlb, hint, address, size, access);
	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (address - map->extents[middle].start < map->extents[middle].size) {
			uint64_t room;

			hint->extent = map->extents[middle];
			hint->generation = map->generation;
			room = hint->extent.size - (address - hint->extent.start);
			if (*size > room)
				*size = room;
			return (void *)(uintptr_t)(address + hint->extent.delta);
		}
		if (address < map->extents[middle].start)
			high = middle;
		else
			low = middle + 1;
	}
	*size = 0;
	return NULL;
}

/**
 * Host address of a range.
 * @param hint  must have been checked since the burst began (vhu_hint_check()).
 * @param size  in: bytes wanted, not 0; out: how many of them are contiguous from the result on.
 * @param access  what is to be done there; only an IOTLB makes a difference.
 * @return NULL if the first byte is outside guest memory, or not (yet) in the IOTLB.
 */
static inline void *
vhu_translate(const struct vhu_space *space, struct vhu_hint *hint, uint64_t address,
	uint64_t *size, enum vhu_access access)
{
	uint64_t offset = address - hint->extent.start;

	/* The first test bounds offset, so that the subtraction in the second cannot wrap. */
	if (offset < hint->extent.size && *size <= hint->extent.size - offset)
		return (void *)(uintptr_t)(address + hint->extent.delta);
	return vhu_translate_slow(space, hint, address, size, access);
}

/** Forget a hint that belongs to another map, or to a past state of the IOTLB. Once a burst. */
static inline void
vhu_hint_check(const struct vhu_space *space, struct vhu_hint *hint)
{
	/* Both expectations spare each small burst a jump around code that it does not need. */
	uint64_t generation = __builtin_expect(space->iotlb == NULL, 1) ?
		space->map->generation : vhu_iotlb_generation(space->iotlb);

	if (__builtin_expect(hint->generation != generation, 0)) {
		hint->generation = generation;
		hint->extent = (struct vhu_extent){ 0 };
	}
}

#endif /* VHU_MEM_TRANSLATE_H */
