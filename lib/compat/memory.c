/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <string.h>

#include "compat/private.h"

/*
 * dev->regions has room for all regions from the start and is never moved, so that a thread that
 * translates meanwhile reads at worst a mixture, notices that the version moved, and looks again.
 */

/* The fields are plain ones for programs; here two threads may meet. */
static void
set(uint64_t *field, uint64_t value)
{
	__atomic_store_n(field, value, __ATOMIC_RELAXED);
}

static uint64_t
get(const uint64_t *field)
{
	return __atomic_load_n(field, __ATOMIC_RELAXED);
}

void
vu_memory_update(struct vu_device *own)
{
	const struct vhu_map *map = vhu_device_map(own->device);
	uint32_t i, count = map->count < VHOST_USER_MAX_RAM_SLOTS ? map->count :
		VHOST_USER_MAX_RAM_SLOTS;
	VuDev *dev = own->dev;

	/* Partner: the loads of the version in vu_gpa_to_va(), before and after. */
	atomic_fetch_add_explicit(&own->regions_version, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	for (i = 0; i < count; i++) {
		const struct vhu_region *region = map->by_guest[i];
		VuDevRegion *to = &dev->regions[i];

		set(&to->gpa, region->guest_address);
		set(&to->size, region->size);
		set(&to->qva, region->user_address);
		set(&to->mmap_addr, (uint64_t)(uintptr_t)region->mapping);
		set(&to->mmap_offset, (uint64_t)(region->host - (uint8_t *)region->mapping));
	}
	__atomic_store_n(&dev->nregions, count, __ATOMIC_RELAXED);
	atomic_fetch_add_explicit(&own->regions_version, 1, memory_order_release);
}

/* Search the sorted regions. @return NULL if there is none, or if they are being changed. */
static void *
search(const VuDev *dev, uint64_t *size, uint64_t address)
{
	uint32_t low = 0, high = __atomic_load_n(&dev->nregions, __ATOMIC_RELAXED);

	while (low < high) {
		uint32_t middle = (low + high) / 2;
		const VuDevRegion *region = &dev->regions[middle];
		uint64_t start = get(&region->gpa), length = get(&region->size);

		if (address - start < length) {
			uint64_t room = length - (address - start);

			if (*size > room)
				*size = room;
			return (void *)(uintptr_t)(get(&region->mmap_addr) +
				get(&region->mmap_offset) + (address - start));
		}
		if (address < start)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

void *
vu_gpa_to_va(VuDev *dev, uint64_t *plen, uint64_t guest_addr)
{
	uint32_t before, after;
	uint64_t size;
	void *host;

	if (*plen == 0)
		return NULL;
	do {
		/* Partner: both steps of the version in vu_memory_update(). */
		before = atomic_load_explicit(&dev->own->regions_version, memory_order_acquire);
		size = *plen;
		host = search(dev, &size, guest_addr);
		atomic_thread_fence(memory_order_acquire);
		after = atomic_load_explicit(&dev->own->regions_version, memory_order_relaxed);
	} while (before != after || (before & 1));
	if (host != NULL)
		*plen = size;
	return host;
}
