/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_MEM_TRANSLATE_H
#define VHU_MEM_TRANSLATE_H

/**
 * @file
 * Translation of guest-physical ranges on lcores.
 *
 * A guest's buffers mostly lie in one region, so each ring keeps the extent it used last (the
 * hint): a hit costs two subtractions and two compares, whatever the number of regions. A miss
 * searches the sorted extents, log2(509) = 9 steps at most.
 */

#include <stdint.h>

#include "mem/map.h"

/** The extent used last. Private to the lcore that bursts on the ring. */
struct vhu_hint {
	struct vhu_extent extent;
	uint64_t generation; /**< of the map it was taken from; 0: empty */
};

/**
 * Search the map and refresh the hint. @return as vhu_translate().
 * Never inlined: a search inside a burst's loop would cost the loop its registers.
 */
static __attribute__((noinline, cold, unused)) void *
vhu_translate_slow(const struct vhu_map *map, struct vhu_hint *hint, uint64_t address,
	uint64_t *size)
{
	uint32_t low = 0, high = map->count;

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
 * Host address of a guest-physical range.
 * @param hint  must have been checked against map->generation since the burst began
 *   (vhu_hint_check()).
 * @param size  in: bytes wanted, not 0; out: how many of them are contiguous from the result on.
 * @return NULL if the first byte is outside guest memory.
 */
static inline void *
vhu_translate(const struct vhu_map *map, struct vhu_hint *hint, uint64_t address, uint64_t *size)
{
	uint64_t offset = address - hint->extent.start;

	/* The first test bounds offset, so that the subtraction in the second cannot wrap. */
	if (offset < hint->extent.size && *size <= hint->extent.size - offset)
		return (void *)(uintptr_t)(address + hint->extent.delta);
	return vhu_translate_slow(map, hint, address, size);
}

/** Forget a hint that belongs to another map. Once at the start of a burst. */
static inline void
vhu_hint_check(const struct vhu_map *map, struct vhu_hint *hint)
{
	if (hint->generation != map->generation) {
		hint->generation = map->generation;
		hint->extent = (struct vhu_extent){ 0 };
	}
}

#endif /* VHU_MEM_TRANSLATE_H */
