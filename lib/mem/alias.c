/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mem/alias.h"
#include "mem/dirty.h"
#include "mem/guard.h"

static uint64_t
page_size(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t
whole_pages(uint64_t size)
{
	return (size + page_size() - 1) & ~(page_size() - 1);
}

/* Do these bytes follow the last piece in the region as well? */
static bool
goes_on(const struct vhu_alias_plan *plan, const struct vhu_alias_piece *last, const uint8_t *host,
	uintptr_t delta)
{
	return host == last->host + (plan->end - last->offset) && delta == last->delta;
}

bool
vhu_alias_add(struct vhu_alias_plan *plan, bool begins, uint8_t *host, uintptr_t delta,
	uint64_t size)
{
	const uint64_t in_page = (uintptr_t)host & (page_size() - 1);

	if (begins) {
		plan->end = whole_pages(plan->end) + in_page;
	} else if (goes_on(plan, &plan->pieces[plan->count - 1], host, delta)) {
		plan->end += size;
		return true;
	} else if (in_page != 0 || plan->end % page_size() != 0) {
		return false;
	}
	if (plan->count == VHU_ALIAS_PIECES)
		return false;
	plan->pieces[plan->count++] = (struct vhu_alias_piece){
		.host = host - in_page,
		.offset = plan->end - in_page,
		.delta = delta,
	};
	plan->end += size;
	return true;
}

static uint64_t
piece_size(const struct vhu_alias_plan *plan, uint32_t i)
{
	return (i + 1 < plan->count ? plan->pieces[i + 1].offset : whole_pages(plan->end)) -
		plan->pieces[i].offset;
}

static void
touch(const uint8_t *host, uint64_t size)
{
	uint64_t at;

	for (at = 0; at < size; at += page_size())
		(void)*(const volatile uint8_t *)(host + at);
}

/*
 * Map the same pages a second time. In two steps: what can fail for the memory's sake fails in the
 * first, while the alias's addresses are still reserved.
 */
static int
map_piece(struct vhu_alias *alias, uint64_t offset, uint8_t *host, uint64_t size)
{
	void *copy;

	touch(host, size);
	/* Of a shared mapping "move 0 bytes" makes another one. */
	copy = mremap(host, 0, size, MREMAP_MAYMOVE);
	if (copy == MAP_FAILED)
		return -errno;
	if (mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, alias->host + offset) ==
	    MAP_FAILED) {
		int error = errno;

		munmap(copy, size);
		/*
		 * Another thread may have got the addresses from the kernel meanwhile: rather lose
		 * what is reserved from here on than unmap what is another's.
		 */
		alias->size = offset;
		return -error;
	}
	return 0;
}

/* Memory of that size, and the way back from it. @return NULL if there is none. */
static struct vhu_alias *
make(const struct vhu_alias_plan *plan, int protection, int flags)
{
	struct vhu_alias *alias = calloc(1, sizeof(*alias) + plan->count * sizeof(alias->back[0]));

	if (alias == NULL)
		return NULL;
	alias->page_bits = (unsigned int)__builtin_ctzl(page_size());
	alias->size = whole_pages(plan->end);
	alias->host = mmap(NULL, alias->size, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1,
		0);
	if (alias->host == MAP_FAILED) {
		free(alias);
		return NULL;
	}
	for (alias->count = 0; alias->count < plan->count; alias->count++) {
		const struct vhu_alias_piece *piece = &plan->pieces[alias->count];
		uintptr_t start = (uintptr_t)alias->host + piece->offset;

		alias->back[alias->count] = (struct vhu_extent){
			.start = start,
			.size = piece_size(plan, alias->count),
			.delta = piece->delta + (uintptr_t)piece->host - start,
		};
	}
	return alias;
}

int
vhu_alias_new(const struct vhu_alias_plan *plan, struct vhu_alias **made)
{
	struct vhu_alias *alias = make(plan, PROT_NONE, MAP_NORESERVE);
	uint32_t i;
	int rc = 0;

	*made = NULL;
	if (alias == NULL)
		return -ENOMEM;
	for (i = 0; i < plan->count && rc == 0; i++)
		rc = map_piece(alias, plan->pieces[i].offset, plan->pieces[i].host,
			piece_size(plan, i));
	if (rc == 0) {
		vhu_guard_add(alias->host, alias->size);
		*made = alias;
		return 0;
	}
	if (alias->size != 0)
		munmap(alias->host, alias->size);
	free(alias);
	return rc;
}

int
vhu_alias_copy(const struct vhu_alias_plan *plan, struct vhu_alias **made)
{
	struct vhu_alias *alias = make(plan, PROT_READ | PROT_WRITE, 0);
	const uint64_t page = page_size();
	uint32_t i;

	*made = NULL;
	if (alias == NULL)
		return -ENOMEM;
	alias->real = calloc(alias->size >> alias->page_bits, sizeof(alias->real[0]));
	if (alias->real == NULL) {
		munmap(alias->host, alias->size);
		free(alias);
		return -ENOMEM;
	}
	for (i = 0; i < plan->count; i++) {
		const struct vhu_alias_piece *piece = &plan->pieces[i];
		uint64_t at, size = piece_size(plan, i);

		for (at = 0; at < size; at += page)
			alias->real[(piece->offset + at) >> alias->page_bits] = piece->host + at;
		memcpy(alias->host + piece->offset, piece->host, size);
	}
	*made = alias;
	return 0;
}

void
vhu_alias_free(struct vhu_alias *alias)
{
	if (alias == NULL)
		return;
	if (alias->real == NULL)
		vhu_guard_remove(alias->host);
	munmap(alias->host, alias->size);
	free(alias->real);
	free(alias);
}

/* The piece that an address is in. Pieces lie back to back. */
static uint32_t
piece_of(const struct vhu_alias *alias, uint64_t host)
{
	uint32_t first = 0, end = alias->count;

	while (end - first > 1) {
		uint32_t middle = first + (end - first) / 2;

		if (alias->back[middle].start <= host)
			first = middle;
		else
			end = middle;
	}
	return first;
}

void
vhu_alias_note(const struct vhu_alias *alias, const struct vhu_dirty *dirty,
	struct vhu_dirty_cache *cache, const void *host, uint64_t size)
{
	uint64_t at = (uintptr_t)host, end = at + size;
	uint32_t i = piece_of(alias, at);

	for (; at < end && i < alias->count; i++) {
		const struct vhu_extent *piece = &alias->back[i];
		uint64_t to = end < piece->start + piece->size ? end : piece->start + piece->size;

		vhu_dirty_note(dirty, cache, at + piece->delta, to - at);
		at = to;
	}
}
