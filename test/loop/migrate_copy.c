/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "migrate.h"

int
log_create(struct log *log, const struct front_memory *memory, uint64_t spare)
{
	uint64_t end = memory->regions[memory->count - 1].guest_address + memory->region_size;
	int error;

	log->size = (end / MIGRATE_PAGE / 8 + MIGRATE_PAGE - 1) & ~(uint64_t)(MIGRATE_PAGE - 1);
	log->size += spare * MIGRATE_PAGE;
	log->words = NULL;
	log->fd = memfd_create("log", MFD_CLOEXEC);
	if (log->fd < 0)
		return -errno;
	if (ftruncate(log->fd, (off_t)log->size) == 0) {
		void *words = mmap(NULL, log->size, PROT_READ | PROT_WRITE, MAP_SHARED, log->fd, 0);

		if (words != MAP_FAILED) {
			log->words = words;
			return 0;
		}
	}
	error = -errno;
	log_destroy(log);
	return error;
}

void
log_destroy(struct log *log)
{
	if (log->words != NULL)
		munmap(log->words, log->size);
	if (log->fd >= 0)
		close(log->fd);
	log->words = NULL;
	log->fd = -1;
}

static uint64_t
page_count(const struct copy *copy)
{
	return copy->memory->count * copy->memory->region_size / MIGRATE_PAGE;
}

int
copy_create(struct copy *copy, const struct front_memory *memory)
{
	memset(copy, 0, sizeof(*copy));
	copy->memory = memory;
	copy->bytes = malloc(memory->count * memory->region_size);
	copy->driver_writes = calloc(page_count(copy), sizeof(*copy->driver_writes));
	return copy->bytes != NULL && copy->driver_writes != NULL ? 0 : -ENOMEM;
}

void
copy_destroy(struct copy *copy)
{
	free(copy->bytes);
	free(copy->driver_writes);
}

static void
expect(struct copy *copy, const void *host, uint64_t size)
{
	uint64_t begin = (uint64_t)((const uint8_t *)host - copy->memory->base), page;

	for (page = begin / MIGRATE_PAGE; page <= (begin + size - 1) / MIGRATE_PAGE; page++)
		copy->driver_writes[page] = true;
}

void
copy_expect_driver(struct copy *copy, const struct front_ring *ring)
{
	unsigned int i;

	expect(copy, ring->descriptor, ring->size * sizeof(struct vring_desc));
	expect(copy, ring->avail, ring->options.packed ? sizeof(*ring->driver_event) :
		(ring->size + 3u) * sizeof(uint16_t));
	expect(copy, ring->extra, ring->slots * 64u);
	if (ring->options.receive)
		return;
	for (i = 0; i < ring->slots; i++)
		expect(copy, ring->slot[i].data - FRONT_HEADER,
			ring->options.buffer_size + FRONT_HEADER);
}

static void
copy_page(struct copy *copy, uint64_t page)
{
	memcpy(copy->bytes + page * MIGRATE_PAGE, copy->memory->base + page * MIGRATE_PAGE,
		MIGRATE_PAGE);
}

void
copy_all(struct copy *copy, uint64_t first)
{
	uint64_t i, count = page_count(copy);

	for (i = 0; i < count; i++)
		copy_page(copy, (first + i) % count);
}

void
copy_driver_pages(struct copy *copy)
{
	uint64_t i, count = page_count(copy);

	for (i = 0; i < count; i++)
		if (copy->driver_writes[i])
			copy_page(copy, i);
}

uint64_t
copy_marked(struct copy *copy, struct log *log)
{
	uint64_t i, bits, left, count = 0;

	for (i = 0; i < log->size / sizeof(bits); i++) {
		if (__atomic_load_n(&log->words[i], __ATOMIC_RELAXED) == 0)
			continue;
		/* Partner: the back-end's release; what it wrote to the page is there. */
		bits = __atomic_exchange_n(&log->words[i], 0, __ATOMIC_ACQUIRE);
		for (; bits != 0; bits &= bits - 1, count++) {
			uint64_t page = i * 64 + (uint64_t)__builtin_ctzll(bits);
			uint8_t *host = front_memory_at(copy->memory, page * MIGRATE_PAGE, &left);

			if (host == NULL)
				copy->outside++;
			else
				copy_page(copy, (uint64_t)(host - copy->memory->base) /
					MIGRATE_PAGE);
		}
	}
	copy->marked += count;
	return count;
}

uint64_t
copy_compare(const struct copy *copy, struct difference *difference)
{
	uint64_t i, count = page_count(copy), differing = 0;
	unsigned int at;

	for (i = 0; i < count; i++) {
		const uint8_t *here = copy->memory->base + i * MIGRATE_PAGE;
		const uint8_t *there = copy->bytes + i * MIGRATE_PAGE;

		if (memcmp(here, there, MIGRATE_PAGE) == 0 || differing++ != 0)
			continue;
		difference->guest_address = front_guest_address(copy->memory, here);
		difference->bytes = 0;
		for (at = MIGRATE_PAGE; at-- != 0;)
			if (here[at] != there[at]) {
				difference->offset = at;
				difference->bytes++;
			}
	}
	return differing;
}
