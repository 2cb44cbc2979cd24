/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/dirty.h"
#include "mem/guard.h"

/* Pages of a word. */
#define WORD_PAGES 64

/* A log of our own reaches over 4 TiB of guest-physical addresses; few of its bytes are touched. */
#define OWN_SIZE (UINT64_C(1) << (42 - VHU_DIRTY_PAGE_SHIFT - 3))

/* A larger log covers more than the 2^52 pages that exist. */
#define SIZE_MAX_USED (UINT64_C(1) << (64 - VHU_DIRTY_PAGE_SHIFT - 3))

/* A log with everything that lcores write to in the same block. */
struct dirty_block {
	struct vhu_dirty dirty;
	struct vhu_dirty_state state;
};

static void
set_bits(const struct vhu_dirty *dirty, uint64_t word, uint64_t bits)
{
	/* Partner: the front-end's exchange; the bytes of the page were written before. */
	atomic_fetch_or_explicit(&dirty->words[word], bits, memory_order_release);
}

/* Shown to the control thread only if it has taken the last mark: mostly just a load. */
static void
show_mark(const struct vhu_dirty *dirty)
{
	if (!atomic_load_explicit(&dirty->state->marked, memory_order_relaxed))
		/* Partner: the exchange in vhu_dirty_taken(). */
		atomic_store_explicit(&dirty->state->marked, true, memory_order_release);
}

/* Note bits of one word of the log. */
static void
note_word(const struct vhu_dirty *dirty, struct vhu_dirty_cache *cache, uint64_t word,
	uint64_t bits)
{
	uint32_t place = word % VHU_DIRTY_CACHE, bit = UINT32_C(1) << place;

	if ((cache->used & bit) && cache->word[place] == word) {
		cache->bits[place] |= bits;
		return;
	}
	if (cache->used & bit)
		set_bits(dirty, cache->word[place], cache->bits[place]);
	cache->used |= bit;
	cache->word[place] = word;
	cache->bits[place] = bits;
}

void
vhu_dirty_note(const struct vhu_dirty *dirty, struct vhu_dirty_cache *cache,
	uint64_t guest_address, uint64_t size)
{
	uint64_t page = guest_address >> VHU_DIRTY_PAGE_SHIFT, pages = dirty->pages, last;

	if (size == 0)
		return;
	/* What would lie behind the end of the address space cannot have been written. */
	if (size - 1 > UINT64_MAX - guest_address)
		size = UINT64_MAX - guest_address + 1;
	last = (guest_address + (size - 1)) >> VHU_DIRTY_PAGE_SHIFT;
	if (last >= pages) {
		atomic_fetch_add_explicit(&dirty->state->beyond,
			last - (page < pages ? pages - 1 : page - 1), memory_order_relaxed);
		if (page >= pages)
			return;
		last = pages - 1;
	}
	while (page / WORD_PAGES != last / WORD_PAGES) {
		note_word(dirty, cache, page / WORD_PAGES, UINT64_MAX << page % WORD_PAGES);
		page = (page / WORD_PAGES + 1) * WORD_PAGES;
	}
	note_word(dirty, cache, page / WORD_PAGES, (UINT64_MAX << page % WORD_PAGES) &
		(UINT64_MAX >> (WORD_PAGES - 1 - last % WORD_PAGES)));
}

void
vhu_dirty_note_host(const struct vhu_dirty *dirty, struct vhu_dirty_cache *cache,
	const struct vhu_map *map, const void *host, uint64_t size)
{
	uintptr_t address = (uintptr_t)host;

	while (size != 0) {
		uint64_t offset = address - cache->extent.start, room;

		if (offset >= cache->extent.size) {
			if (!vhu_map_host(map, address, &cache->extent))
				return;
			offset = address - cache->extent.start;
		}
		room = cache->extent.size - offset;
		if (room > size)
			room = size;
		vhu_dirty_note(dirty, cache, address + cache->extent.delta, room);
		address += room;
		size -= room;
	}
}

void
vhu_dirty_flush(const struct vhu_dirty *dirty, struct vhu_dirty_cache *cache)
{
	if (cache->used == 0)
		return;
	for (; cache->used != 0; cache->used &= cache->used - 1) {
		unsigned int place = (unsigned int)__builtin_ctz(cache->used);

		set_bits(dirty, cache->word[place], cache->bits[place]);
	}
	show_mark(dirty);
}

static struct vhu_dirty *
dirty_new(void *mapping, uint64_t mapping_size, uint64_t offset, uint64_t size)
{
	struct dirty_block *block = calloc(1, sizeof(*block));

	if (block == NULL) {
		munmap(mapping, mapping_size);
		return NULL;
	}
	block->dirty = (struct vhu_dirty){
		.words = (_Atomic(uint64_t) *)((uint8_t *)mapping + offset),
		.pages = (size < SIZE_MAX_USED ? size : SIZE_MAX_USED) * 8,
		.state = &block->state,
		.mapping = mapping,
		.mapping_size = mapping_size,
		.references = 1,
	};
	return &block->dirty;
}

/* What is said about the log must be true of its file. */
static struct vhu_verdict
check_log(int fd, uint64_t size, uint64_t offset, uint64_t *page_size)
{
	struct stat status;
	uint64_t end;
	int flags;

	/* The last word may be incomplete: its page is there, and its other bits are not set. */
	if (size == 0 || offset % sizeof(uint64_t) != 0)
		return vhu_refuse(VHU_REFUSE_FAULT, "log of 0x%" PRIx64
			" bytes at offset 0x%"
			PRIx64 " is empty or does not begin with a word of 8 bytes", size, offset);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fstat(fd, &status) != 0)
		return vhu_refuse(VHU_REFUSE, "descriptor of the log cannot be used: %s",
			strerror(errno));
	if (!S_ISREG(status.st_mode) || (flags & O_ACCMODE) != O_RDWR || (flags & O_PATH))
		return vhu_refuse(VHU_REFUSE_FAULT,
			"log is no file that is open for reading and writing");
	/* A byte beyond the file would be a SIGBUS later. */
	if (__builtin_add_overflow(offset, size, &end) || status.st_size < 0 ||
	    end > (uint64_t)status.st_size)
		return vhu_refuse(VHU_REFUSE_FAULT, "log of 0x%" PRIx64
			" bytes at offset 0x%"
			PRIx64 " does not lie in its file of 0x%" PRIx64 " bytes", size, offset,
			(uint64_t)status.st_size);
	/* A block is a page of the file where pages are huge, and never smaller elsewhere. */
	*page_size = (uint64_t)sysconf(_SC_PAGESIZE);
	if (status.st_blksize > 0 && (uint64_t)status.st_blksize > *page_size &&
	    (status.st_blksize & (status.st_blksize - 1)) == 0)
		*page_size = (uint64_t)status.st_blksize;
	return vhu_accept();
}

struct vhu_verdict
vhu_dirty_map(int fd, uint64_t size, uint64_t offset, struct vhu_dirty **dirty)
{
	uint64_t page_size = 0, start, mapping_size;
	struct vhu_verdict verdict = check_log(fd, size, offset, &page_size);
	void *mapping;

	*dirty = NULL;
	if (verdict.severity != VHU_ACCEPT)
		return verdict;
	start = offset & ~(page_size - 1);
	/* Cannot wrap: the end is at most INT64_MAX, the size of a file. */
	mapping_size = (offset - start + size + page_size - 1) & ~(page_size - 1);
	mapping = mmap(NULL, mapping_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
		(off_t)start);
	if (mapping == MAP_FAILED)
		return vhu_refuse(VHU_REFUSE, "log of 0x%" PRIx64 " bytes cannot be mapped: %s",
			size, strerror(errno));
	*dirty = dirty_new(mapping, mapping_size, offset - start, size);
	if (*dirty == NULL)
		return vhu_refuse(VHU_REFUSE, "out of memory for the log");
	vhu_guard_add(mapping, mapping_size);
	return verdict;
}

struct vhu_dirty *
vhu_dirty_new_own(void)
{
	void *mapping = mmap(NULL, OWN_SIZE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct vhu_dirty *dirty;

	if (mapping == MAP_FAILED)
		return NULL;
	dirty = dirty_new(mapping, OWN_SIZE, 0, OWN_SIZE);
	if (dirty != NULL)
		dirty->own = true;
	return dirty;
}

void
vhu_dirty_merge(const struct vhu_dirty *into, const struct vhu_dirty *from)
{
	struct vhu_dirty_cache cache;
	uint64_t i, count = (from->pages + WORD_PAGES - 1) / WORD_PAGES;

	/* A front-end's may be as large as it likes. */
	if (count > OWN_SIZE / sizeof(from->words[0]))
		count = OWN_SIZE / sizeof(from->words[0]);
	vhu_dirty_begin(&cache);
	for (i = 0; i < count; i++) {
		uint64_t bits = atomic_load_explicit(&from->words[i], memory_order_relaxed);

		for (; bits != 0; bits &= bits - 1)
			vhu_dirty_note(into, &cache, (i * WORD_PAGES +
				(uint64_t)__builtin_ctzll(bits)) << VHU_DIRTY_PAGE_SHIFT, 1);
	}
	vhu_dirty_flush(into, &cache);
}

void
vhu_dirty_drop(struct vhu_dirty *dirty)
{
	if (dirty == NULL || --dirty->references != 0)
		return;
	vhu_guard_remove(dirty->mapping);
	munmap(dirty->mapping, dirty->mapping_size);
	free((struct dirty_block *)dirty); /* its first member */
}

bool
vhu_dirty_taken(const struct vhu_dirty *dirty)
{
	/* Partner: the release store in show_mark(). */
	return atomic_exchange_explicit(&dirty->state->marked, false, memory_order_acquire);
}
