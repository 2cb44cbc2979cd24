/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <vhu.h>

#include "mem/guard.h"
#include "mem/map.h"

/* Any control thread: takes the next number; 0 is for hints that are empty. */
static _Atomic(uint64_t) generations;

/* A map with room for @p count regions: one block, the other orders behind the extents. */
static struct vhu_map *
map_allocate(uint32_t count)
{
	struct vhu_map *map = calloc(1, sizeof(*map) +
		count * (2 * sizeof(map->extents[0]) + 2 * sizeof(struct vhu_region *)));

	if (map == NULL)
		return NULL;
	map->generation =
		atomic_fetch_add_explicit(&generations, 1, memory_order_relaxed) + 1;
	map->count = count;
	map->references = 1;
	map->by_host = &map->extents[count];
	map->by_guest = (struct vhu_region **)&map->by_host[count];
	map->by_user = map->by_guest + count;
	return map;
}

struct vhu_map *
vhu_map_new(void)
{
	return map_allocate(0);
}

static int
compare_guest(const void *a, const void *b)
{
	const struct vhu_region *const *x = a, *const *y = b;

	if ((*x)->guest_address == (*y)->guest_address)
		return 0;
	return (*x)->guest_address < (*y)->guest_address ? -1 : 1;
}

static int
compare_user(const void *a, const void *b)
{
	const struct vhu_region *const *x = a, *const *y = b;

	if ((*x)->user_address == (*y)->user_address)
		return 0;
	return (*x)->user_address < (*y)->user_address ? -1 : 1;
}

static int
compare_extent(const void *a, const void *b)
{
	const struct vhu_extent *x = a, *y = b;

	if (x->start == y->start)
		return 0;
	return x->start < y->start ? -1 : 1;
}

/* Neighbours in sorted order may touch, not overlap. */
static struct vhu_verdict
check_overlaps(const struct vhu_map *map)
{
	uint32_t i;

	for (i = 1; i < map->count; i++) {
		const struct vhu_region *low = map->by_guest[i - 1], *high = map->by_guest[i];

		if (high->guest_address - low->guest_address < low->size)
			return vhu_refuse(VHU_REFUSE_FAULT, "regions at guest addresses 0x%" PRIx64
				" and 0x%" PRIx64 " overlap", low->guest_address,
				high->guest_address);
		low = map->by_user[i - 1];
		high = map->by_user[i];
		if (high->user_address - low->user_address < low->size)
			return vhu_refuse(VHU_REFUSE_FAULT, "regions at user addresses 0x%" PRIx64
				" and 0x%" PRIx64 " overlap", low->user_address,
				high->user_address);
	}
	return vhu_accept();
}

struct vhu_map *
vhu_map_of(struct vhu_region *const *regions, uint32_t count, struct vhu_verdict *verdict)
{
	struct vhu_map *map;
	uint32_t i;

	if (count > VHU_MAX_MEM_SLOTS) {
		*verdict = vhu_refuse(VHU_REFUSE, "%u memory regions, at most %u are allowed",
			count, VHU_MAX_MEM_SLOTS);
		return NULL;
	}
	map = map_allocate(count);
	if (map == NULL) {
		*verdict = vhu_refuse(VHU_REFUSE, "out of memory for %u memory regions", count);
		return NULL;
	}
	if (count != 0) {
		memcpy(map->by_guest, regions, count * sizeof(regions[0]));
		memcpy(map->by_user, regions, count * sizeof(regions[0]));
		qsort(map->by_guest, count, sizeof(regions[0]), compare_guest);
		qsort(map->by_user, count, sizeof(regions[0]), compare_user);
	}
	*verdict = check_overlaps(map);
	if (verdict->severity != VHU_ACCEPT) {
		free(map);
		return NULL;
	}
	for (i = 0; i < count; i++) {
		struct vhu_region *region = map->by_guest[i];

		region->references++;
		map->extents[i] = (struct vhu_extent){
			.start = region->guest_address,
			.size = region->size,
			.delta = (uintptr_t)region->host - (uintptr_t)region->guest_address,
		};
		map->by_host[i] = (struct vhu_extent){
			.start = (uintptr_t)region->host,
			.size = region->size,
			.delta = (uintptr_t)region->guest_address - (uintptr_t)region->host,
		};
	}
	if (count != 0)
		qsort(map->by_host, count, sizeof(map->by_host[0]), compare_extent);
	return map;
}

struct vhu_map *
vhu_map_with(const struct vhu_map *map, struct vhu_region *region, struct vhu_verdict *verdict)
{
	struct vhu_region *regions[VHU_MAX_MEM_SLOTS];

	if (map->count >= VHU_MAX_MEM_SLOTS) {
		*verdict = vhu_refuse(VHU_REFUSE,
			"all %u memory slots are in use, remove one first", VHU_MAX_MEM_SLOTS);
		return NULL;
	}
	if (map->count != 0)
		memcpy(regions, map->by_guest, map->count * sizeof(regions[0]));
	regions[map->count] = region;
	return vhu_map_of(regions, map->count + 1, verdict);
}

struct vhu_map *
vhu_map_without(const struct vhu_map *map, const struct vhu_region *region,
	struct vhu_verdict *verdict)
{
	struct vhu_region *regions[VHU_MAX_MEM_SLOTS];
	uint32_t i, count = 0;

	for (i = 0; i < map->count; i++)
		if (map->by_guest[i] != region)
			regions[count++] = map->by_guest[i];
	return vhu_map_of(regions, count, verdict);
}

/* The last region in the order that begins at or below the address, or -1. */
static int64_t
last_user_at(const struct vhu_map *map, uint64_t user_address)
{
	uint32_t low = 0, high = map->count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (map->by_user[middle]->user_address <= user_address)
			low = middle + 1;
		else
			high = middle;
	}
	return (int64_t)low - 1;
}

struct vhu_region *
vhu_map_find(const struct vhu_map *map, const struct vhu_wire_region *wire)
{
	int64_t i = last_user_at(map, wire->user_address);
	struct vhu_region *region = i < 0 ? NULL : map->by_user[i];

	if (region == NULL || region->user_address != wire->user_address ||
	    region->guest_address != wire->guest_address || region->size != wire->size)
		return NULL;
	return region;
}

bool
vhu_map_lost(const struct vhu_map *map)
{
	uint32_t i;

	for (i = 0; i < map->count; i++)
		if (vhu_guard_lost(map->by_guest[i]->mapping))
			return true;
	return false;
}

void
vhu_map_hold(struct vhu_map *map)
{
	map->references++;
}

unsigned int
vhu_map_drop(struct vhu_map *map, struct vhu_region **orphans)
{
	unsigned int count = 0;
	uint32_t i;

	if (--map->references != 0)
		return 0;
	for (i = 0; i < map->count; i++)
		if (--map->by_guest[i]->references == 0)
			orphans[count++] = map->by_guest[i];
	free(map);
	return count;
}

void *
vhu_map_user_part(const struct vhu_map *map, uint64_t user_address, uint64_t *size)
{
	int64_t i = last_user_at(map, user_address);
	uint64_t offset, covered;
	void *host;

	if (i < 0 || *size == 0 || user_address + *size < user_address)
		return NULL;
	offset = user_address - map->by_user[i]->user_address;
	if (offset >= map->by_user[i]->size)
		return NULL;
	host = map->by_user[i]->host + offset;
	covered = map->by_user[i]->size - offset;
	while (covered < *size) {
		const struct vhu_region *here = map->by_user[i], *next;

		if (++i == (int64_t)map->count)
			break;
		next = map->by_user[i];
		if (next->user_address != here->user_address + here->size ||
		    next->host != here->host + here->size)
			break;
		covered += next->size;
	}
	if (*size > covered)
		*size = covered;
	return host;
}

void *
vhu_map_user(const struct vhu_map *map, uint64_t user_address, uint64_t size)
{
	uint64_t part = size;
	void *host = vhu_map_user_part(map, user_address, &part);

	return part == size ? host : NULL;
}

bool
vhu_map_host(const struct vhu_map *map, uintptr_t host, struct vhu_extent *extent)
{
	uint32_t low = 0, high = map->count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (host - map->by_host[middle].start < map->by_host[middle].size) {
			*extent = map->by_host[middle];
			return true;
		}
		if (host < map->by_host[middle].start)
			high = middle;
		else
			low = middle + 1;
	}
	return false;
}
