/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "blk.h"

/*
 * Files on a tmpfs, mapped. A page that the file has is copied from and to: half of what a plain
 * call costs is finding that page. A page that it may not have is left to the plain calls, which
 * read a hole without filling it and say when the file system is full. Which pages there are is
 * noted in a bitmap: a page that is noted and is not there costs time only, and the other way
 * round as well.
 *
 * Somebody may cut the file off, or the memory may break: then touching it is SIGBUS. The handler
 * puts a page of zeros there and gives the mapping up; every copy looks afterwards whether that
 * happened, and if so plain calls do it again and say what is wrong.
 */

#define PAGE UINT64_C(4096)

struct blk_map {
	uint8_t *base;              /* as long as the disk was when it was opened */
	uint64_t size;
	atomic_bool broken;         /* signal handler: writes; polling threads: read */
	/* A bit for each page. Polling threads write and read. */
	_Atomic(uint64_t) there[];
};

/* main: writes an entry, then counts it with release; signal handler: reads with acquire */
static struct blk_map *maps[BLK_DEVICES_MAX];
static _Atomic(unsigned int) map_count;

static void
on_bus_error(int number, siginfo_t *info, void *context)
{
	uint8_t *at = info->si_addr;
	unsigned int i, count = atomic_load_explicit(&map_count, memory_order_acquire);

	(void)context;
	for (i = 0; i < count; i++) {
		struct blk_map *map = maps[i];

		if (map == NULL || at < map->base || at >= map->base + map->size)
			continue;
		/* Before the page is there: who copies through it must see this afterwards. */
		atomic_store(&map->broken, true);
		at -= (uintptr_t)at % PAGE;
		if (mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
				-1, 0) == at)
			return;
	}
	/* Not ours: let it happen again, this time for good. */
	signal(number, SIG_DFL);
}

static void
note(struct blk_map *map, uint64_t offset, uint64_t size, bool there)
{
	uint64_t page = offset / PAGE, end;

	if (size == 0 || offset >= map->size)
		return;
	end = size < map->size - offset ? offset + size : map->size;
	for (; page * PAGE < end; page++) {
		if (there)
			atomic_fetch_or_explicit(&map->there[page / 64], UINT64_C(1) << page % 64,
				memory_order_relaxed);
		else
			atomic_fetch_and_explicit(&map->there[page / 64],
				~(UINT64_C(1) << page % 64), memory_order_relaxed);
	}
}

/* Note what the file has, and have it mapped already when the first request comes. */
static void
note_data(struct blk_map *map, int fd)
{
	off_t data = 0, hole = 0;

	while ((uint64_t)hole < map->size && (data = lseek(fd, hole, SEEK_DATA)) >= 0 &&
	       (uint64_t)data < map->size && (hole = lseek(fd, data, SEEK_HOLE)) > data) {
		uint64_t end = (uint64_t)hole < map->size ? (uint64_t)hole : map->size;

		note(map, (uint64_t)data, end - (uint64_t)data, true);
		(void)madvise(map->base + (uint64_t)data / PAGE * PAGE,
			end - (uint64_t)data / PAGE * PAGE, MADV_POPULATE_READ);
	}
}

void
blk_map_open(struct blk_disk *disk)
{
	struct sigaction action = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO };
	unsigned int count = atomic_load_explicit(&map_count, memory_order_relaxed);
	size_t words = (disk->size / PAGE + 64) / 64;
	struct blk_map *map;

	/* Pages of another size: the plain calls can do everything. */
	if (count == BLK_DEVICES_MAX || sysconf(_SC_PAGESIZE) != (long)PAGE)
		return;
	map = calloc(1, sizeof(*map) + words * sizeof(map->there[0]));
	if (map == NULL)
		return;
	map->size = disk->size;
	map->base = mmap(NULL, disk->size, PROT_READ | (disk->read_only ? 0 : PROT_WRITE),
		MAP_SHARED, disk->fd, 0);
	if (map->base == MAP_FAILED) {
		free(map);
		return;
	}
	maps[count] = map;
	/* Partner: the acquire in on_bus_error(). */
	atomic_store_explicit(&map_count, count + 1, memory_order_release);
	sigaction(SIGBUS, &action, NULL);
	note_data(map, disk->fd);
	disk->map = map;
	disk->memory = map->base;
}

void
blk_map_close(struct blk_disk *disk)
{
	unsigned int i;

	if (disk->map == NULL)
		return;
	for (i = 0; i < atomic_load_explicit(&map_count, memory_order_relaxed); i++)
		if (maps[i] == disk->map)
			maps[i] = NULL;
	munmap(disk->map->base, disk->map->size);
	free(disk->map);
	disk->map = NULL;
	disk->memory = NULL;
}

bool
blk_map_transfer(const struct blk_disk *disk, const struct blk_request *request)
{
	struct blk_map *map = disk->map;
	uint64_t page, end = request->offset + request->size;

	if (end > map->size || atomic_load_explicit(&map->broken, memory_order_relaxed))
		return false;
	for (page = request->offset / PAGE; page * PAGE < end; page++)
		if ((atomic_load_explicit(&map->there[page / 64], memory_order_relaxed) >>
				page % 64 & 1) == 0)
			return false;
	blk_memory_copy(request, map->base + request->offset);
	/* The handler ran on this thread, or another thread's page was there before our copy. */
	atomic_signal_fence(memory_order_seq_cst);
	return !atomic_load(&map->broken);
}

void
blk_map_note(const struct blk_disk *disk, uint64_t offset, uint64_t size, bool there)
{
	note(disk->map, offset, size, there);
}
