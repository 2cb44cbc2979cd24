/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/memfd.h>

#include "memory.h"

#define DEFAULT_REGION (UINT64_C(64) << 20)
#define HUGE_PAGE (UINT64_C(2) << 20)

static int
map_file(struct front_memory *memory, bool huge)
{
	uint64_t size = memory->count * memory->region_size;
	void *base;

	memory->fd = memfd_create("guest", MFD_CLOEXEC | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0));
	if (memory->fd < 0)
		return -errno;
	if (ftruncate(memory->fd, (off_t)size) != 0)
		return -errno;
	base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory->fd, 0);
	if (base == MAP_FAILED)
		return -errno;
	memory->base = base;
	return 0;
}

int
front_memory_create(struct front_memory *memory, const struct front_memory_options *options)
{
	uint64_t stride = options->guest_stride;
	unsigned int i;
	int error;

	memset(memory, 0, sizeof(*memory));
	memory->fd = -1;
	memory->count = options->regions ? options->regions : 1;
	memory->region_size = options->region_size ? options->region_size : DEFAULT_REGION;
	if (memory->count > FRONT_MAX_REGIONS ||
			memory->region_size % (options->huge ? HUGE_PAGE : 4096) != 0)
		return -EINVAL;
	if (stride == 0)
		stride = 2 * memory->region_size;
	error = map_file(memory, options->huge);
	if (error != 0) {
		front_memory_destroy(memory);
		return error;
	}
	for (i = 0; i < memory->count; i++) {
		struct front_region *region = &memory->regions[i];

		region->file_offset = i * memory->region_size;
		region->guest_address = options->guest_base + i * stride;
		region->user_address = (uintptr_t)memory->base + region->file_offset;
	}
	return 0;
}

void
front_memory_destroy(struct front_memory *memory)
{
	if (memory->base != NULL)
		munmap(memory->base, memory->count * memory->region_size);
	if (memory->count != 0 && memory->fd >= 0)
		close(memory->fd);
	memset(memory, 0, sizeof(*memory));
	memory->fd = -1;
}

void *
front_memory_take(struct front_memory *memory, unsigned int region, uint64_t size, uint64_t align)
{
	struct front_region *from = &memory->regions[region];
	uint64_t begin = (from->used + align - 1) & ~(align - 1);
	uint8_t *host = memory->base + from->file_offset + begin;

	if (begin > memory->region_size || size > memory->region_size - begin)
		return NULL;
	from->used = begin + size;
	memset(host, 0, size);
	return host;
}

void
front_memory_reset(struct front_memory *memory)
{
	unsigned int i;

	for (i = 0; i < memory->count; i++)
		memory->regions[i].used = 0;
}

void *
front_memory_at(const struct front_memory *memory, uint64_t guest_address, uint64_t *left)
{
	unsigned int i;

	for (i = 0; i < memory->count; i++) {
		const struct front_region *region = &memory->regions[i];
		uint64_t offset = guest_address - region->guest_address;

		if (offset < memory->region_size) {
			*left = memory->region_size - offset;
			return memory->base + region->file_offset + offset;
		}
	}
	return NULL;
}
