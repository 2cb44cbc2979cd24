/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_MEM_MAP_H
#define VHU_MEM_MAP_H

/**
 * @file
 * Maps: an immutable, sorted set of regions.
 *
 * Lcores translate through the flat array of extents (24 bytes each, sorted by guest address);
 * the dirty log goes back from host addresses; the control side looks regions up by user address.
 * A change never edits a map: it makes a new one that shares the regions. Maps are reference
 * counted by the control thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/region.h"

/** What an lcore needs of a region. */
struct vhu_extent {
	uint64_t start;   /**< guest-physical address of the first byte */
	uint64_t size;    /**< bytes; start + size does not wrap */
	uintptr_t delta;  /**< host address - guest-physical address */
};

struct vhu_map {
	uint64_t generation;     /**< never 0, differs from that of any other map of the process */
	uint32_t count;
	unsigned int references; /**< control thread only */
	struct vhu_region **by_guest; /**< sorted by guest address; element i is extents[i] */
	struct vhu_region **by_user;  /**< sorted by user address */
	/** the way back, sorted by host address (start); delta: guest-physical - host address */
	struct vhu_extent *by_host;
	struct vhu_extent extents[];
};

/** The empty map, one reference. NULL if out of memory. */
struct vhu_map *vhu_map_new(void);

/**
 * A map of these regions; takes one reference on each, on success only.
 * @param verdict  REFUSE if two of them overlap in guest or user addresses, or if out of memory.
 * @return the map with one reference, or NULL.
 */
struct vhu_map *vhu_map_of(struct vhu_region *const *regions, uint32_t count,
	struct vhu_verdict *verdict);
/** @p map and one more region. As vhu_map_of(). */
struct vhu_map *vhu_map_with(const struct vhu_map *map, struct vhu_region *region,
	struct vhu_verdict *verdict);
/** @p map without one region, which must be in it. As vhu_map_of(). */
struct vhu_map *vhu_map_without(const struct vhu_map *map, const struct vhu_region *region,
	struct vhu_verdict *verdict);

/** The region with exactly this guest address, user address and size, or NULL. */
struct vhu_region *vhu_map_find(const struct vhu_map *map, const struct vhu_wire_region *wire);

/** Was one of the mappings cut off (mem/guard.h)? */
bool vhu_map_lost(const struct vhu_map *map);

void vhu_map_hold(struct vhu_map *map);
/**
 * Drop a reference. With the last one the map is freed, and each region that no other map holds is
 * appended to @p orphans (linked through nothing: the caller gives an array with room for
 * map->count) for unmapping by the worker.
 * @return how many were appended.
 */
unsigned int vhu_map_drop(struct vhu_map *map, struct vhu_region **orphans);

/**
 * Translate a range in the front-end's user addresses; the range may cross regions only if they are
 * neighbours in user and host addresses.
 * @return host address, or NULL if any byte is outside.
 */
void *vhu_map_user(const struct vhu_map *map, uint64_t user_address, uint64_t size);
/**
 * The same for as much as lies in one piece.
 * @param size  in: bytes wanted; out: how many of them are in one piece from the result on.
 * @return host address, or NULL if the first byte is outside or the range wraps.
 */
void *vhu_map_user_part(const struct vhu_map *map, uint64_t user_address, uint64_t *size);

/**
 * The extent that a host address lies in, as in by_host. lcore.
 * @return false if it lies in none.
 */
bool vhu_map_host(const struct vhu_map *map, uintptr_t host, struct vhu_extent *extent);

#endif /* VHU_MEM_MAP_H */
