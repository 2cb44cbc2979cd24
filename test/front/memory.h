/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef FRONT_MEMORY_H
#define FRONT_MEMORY_H

/**
 * @file
 * The memory of a pretended guest: one file, shared with back-ends, in regions of equal size.
 *
 * The file is mapped here once, from end to end. Each region is a slice of it with a
 * guest-physical address of its own, and there are gaps between the regions, so that no back-end
 * can take neighbours for one. Rings and buffers are allocated from a region and never freed.
 * Several connections (also to different back-ends) may share one memory.
 *
 * Not for use by several threads, except that the translation only reads.
 */

#include <stdbool.h>
#include <stdint.h>

#define FRONT_MAX_REGIONS 512

/** How to make a memory. Zero means the default of each. */
struct front_memory_options {
	unsigned int regions;      /**< how many, 1 ... FRONT_MAX_REGIONS; default 1 */
	uint64_t region_size;      /**< bytes each, a multiple of the page size; default 64 MiB */
	uint64_t guest_base;       /**< guest-physical address of the first; default 0 */
	uint64_t guest_stride;     /**< from region to region; default twice the size */
	bool huge;                 /**< from hugepages of 2 MiB, which must be reserved */
};

struct front_region {
	uint64_t guest_address;
	uint64_t user_address;     /**< where it is mapped here */
	uint64_t file_offset;
	uint64_t used;             /**< bytes allocated so far */
};

struct front_memory {
	int fd;
	uint8_t *base;
	uint64_t region_size;
	unsigned int count;
	/** Added to a guest-physical address in what the device is told (behind an IOMMU). */
	uint64_t device_offset;
	struct front_region regions[FRONT_MAX_REGIONS];
};

/** @return 0, or a negative errno; -ENOMEM also means: too few hugepages are reserved. */
int front_memory_create(struct front_memory *memory, const struct front_memory_options *options);

/** Unmap it and close the file. Also of one that was never created, if it is all zero. */
void front_memory_destroy(struct front_memory *memory);

/**
 * Take @p size bytes from region number @p region; zeroed; @p align is a power of two.
 * @return NULL if the region has not so much left.
 */
void *front_memory_take(struct front_memory *memory, unsigned int region, uint64_t size,
	uint64_t align);

/** Give everything that was taken back (no ring may use it any more); the bytes stay. */
void front_memory_reset(struct front_memory *memory);

/** Guest-physical address of a byte of it. */
static inline uint64_t
front_guest_address(const struct front_memory *memory, const void *host)
{
	uint64_t offset = (uint64_t)((const uint8_t *)host - memory->base);
	uint64_t region = offset / memory->region_size;

	return memory->regions[region].guest_address + (offset - region * memory->region_size);
}

/** What descriptors carry: the guest-physical address, or the address before the IOMMU. */
static inline uint64_t
front_device_address(const struct front_memory *memory, const void *host)
{
	return front_guest_address(memory, host) + memory->device_offset;
}

/** The byte behind a guest-physical address, or NULL; @p left receives what follows it. */
void *front_memory_at(const struct front_memory *memory, uint64_t guest_address, uint64_t *left);

#endif /* FRONT_MEMORY_H */
