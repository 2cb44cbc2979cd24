/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <inttypes.h>
#include <stdlib.h>

#include "mem/iotlb.h"

/*
 * A skip list: an entry is on level 0, and on each level above with probability 1/4. The writer
 * links an entry from level 0 upwards and publishes each link with release; a reader goes from the
 * highest level downwards and loads each link with acquire. An entry that was unlinked still leads
 * back into the list, so a reader that stands on it goes on; at worst it misses what was entered
 * meanwhile, and a miss is asked for.
 */

#define LEVELS 11 /* 4^10 entries have one on the highest */

struct vhu_iotlb_entry {
	uint64_t first;
	uint64_t last;        /* inclusive: the range may end with the address space */
	uint64_t user;        /* of the front-end */
	uintptr_t delta;      /* host address - I/O virtual address */
	uint8_t access;
	uint8_t levels;
	struct vhu_iotlb_entry *removed; /* next in a list of what was taken out */
	/* control: writes; lcores: read */
	_Atomic(struct vhu_iotlb_entry *) next[];
};

struct vhu_iotlb {
	/* control: writes after entries were unlinked; lcores: read when a burst begins */
	_Atomic(uint64_t) generation;
	uint32_t count;       /* the rest but the links: control thread only */
	uint32_t random;
	_Atomic(struct vhu_iotlb_entry *) head[LEVELS];
};

/* Any control thread: takes the next number. Maps count from 1 on. */
static _Atomic(uint64_t) generations = UINT64_C(1) << 63;

static uint64_t
next_generation(void)
{
	return atomic_fetch_add_explicit(&generations, 1, memory_order_relaxed) + 1;
}

struct vhu_iotlb *
vhu_iotlb_new(void)
{
	struct vhu_iotlb *iotlb = calloc(1, sizeof(*iotlb));

	if (iotlb == NULL)
		return NULL;
	atomic_store_explicit(&iotlb->generation, next_generation(), memory_order_relaxed);
	iotlb->random = 0x9e3779b9;
	return iotlb;
}

void
vhu_iotlb_free(struct vhu_iotlb *iotlb)
{
	struct vhu_iotlb_entry *removed = NULL;

	if (iotlb == NULL)
		return;
	vhu_iotlb_invalidate(iotlb, 0, 0, &removed);
	vhu_iotlb_release(removed);
	free(iotlb);
}

uint32_t
vhu_iotlb_count(const struct vhu_iotlb *iotlb)
{
	return iotlb->count;
}

uint64_t
vhu_iotlb_generation(const struct vhu_iotlb *iotlb)
{
	/* Partner: the release store in generation_moves(); entries were unlinked before it. */
	return atomic_load_explicit(&iotlb->generation, memory_order_acquire);
}

static void
generation_moves(struct vhu_iotlb *iotlb)
{
	/* Partner: the acquire load in vhu_iotlb_generation(). */
	atomic_store_explicit(&iotlb->generation, next_generation(), memory_order_release);
}

static struct vhu_iotlb_entry *
follow(const _Atomic(struct vhu_iotlb_entry *) *link)
{
	/* Partner: the release store in put(); the entry was filled in before it. */
	return atomic_load_explicit(link, memory_order_acquire);
}

static void
put(_Atomic(struct vhu_iotlb_entry *) *link, struct vhu_iotlb_entry *entry)
{
	/* Partner: the acquire load in follow(). */
	atomic_store_explicit(link, entry, memory_order_release);
}

/* The entry with this address, or NULL. */
static const struct vhu_iotlb_entry *
find(const struct vhu_iotlb *iotlb, uint64_t address)
{
	const _Atomic(struct vhu_iotlb_entry *) *links = iotlb->head;
	const struct vhu_iotlb_entry *best = NULL, *next;
	int level;

	for (level = LEVELS - 1; level >= 0; level--)
		while ((next = follow(&links[level])) != NULL && next->first <= address) {
			best = next;
			links = next->next;
		}
	return best != NULL && address <= best->last ? best : NULL;
}

void *
vhu_iotlb_translate(const struct vhu_iotlb *iotlb, struct vhu_hint *hint, uint64_t address,
	uint64_t *size, enum vhu_access access)
{
	const struct vhu_iotlb_entry *entry = find(iotlb, address);
	uint64_t room;

	if (entry == NULL || (access & ~entry->access)) {
		*size = 0;
		return NULL;
	}
	/*
	 * The hint keeps the generation that the burst began with: if the entry has been taken out
	 * meanwhile, the next burst finds that it moved.
	 */
	if (entry->access == (VHU_READ | VHU_WRITE))
		hint->extent = (struct vhu_extent){
			.start = entry->first,
			.size = entry->last - entry->first + 1,
			.delta = entry->delta,
		};
	/* No entry is as large as the address space: its memory would not fit. */
	room = entry->last - address + 1;
	if (*size > room)
		*size = room;
	return (void *)(uintptr_t)(address + entry->delta);
}

bool
vhu_iotlb_user(const struct vhu_iotlb *iotlb, uint64_t iova, uint64_t *size,
	enum vhu_access access, uint64_t *user)
{
	const struct vhu_iotlb_entry *entry = find(iotlb, iova);
	uint64_t room;

	if (entry == NULL || (access & ~entry->access))
		return false;
	room = entry->last - iova + 1;
	if (*size > room)
		*size = room;
	*user = entry->user + (iova - entry->first);
	return true;
}

/* The links to the first entry, on each level, that ends at or behind this address. */
static void
links_to(struct vhu_iotlb *iotlb, uint64_t address,
	_Atomic(struct vhu_iotlb_entry *) *links[LEVELS])
{
	_Atomic(struct vhu_iotlb_entry *) *at = iotlb->head;
	struct vhu_iotlb_entry *next;
	int level;

	for (level = LEVELS - 1; level >= 0; level--) {
		while ((next = follow(&at[level])) != NULL && next->last < address)
			at = next->next;
		links[level] = &at[level];
	}
}

/* Unlink the entry that all these links, as far as it is on their level, lead to. */
static void
unlink_entry(struct vhu_iotlb *iotlb, _Atomic(struct vhu_iotlb_entry *) *links[LEVELS],
	struct vhu_iotlb_entry *entry, struct vhu_iotlb_entry **removed)
{
	int level;

	for (level = entry->levels - 1; level >= 0; level--)
		put(links[level], follow(&entry->next[level]));
	entry->removed = *removed;
	*removed = entry;
	iotlb->count--;
}

static void
take_out(struct vhu_iotlb *iotlb, uint64_t first, uint64_t last, struct vhu_iotlb_entry **removed)
{
	_Atomic(struct vhu_iotlb_entry *) *links[LEVELS];
	struct vhu_iotlb_entry *entry, *before = *removed;

	links_to(iotlb, first, links);
	while ((entry = follow(links[0])) != NULL && entry->first <= last)
		unlink_entry(iotlb, links, entry, removed);
	if (*removed != before)
		generation_moves(iotlb);
}

void
vhu_iotlb_invalidate(struct vhu_iotlb *iotlb, uint64_t iova, uint64_t size,
	struct vhu_iotlb_entry **removed)
{
	uint64_t last;

	if (size == 0 || __builtin_add_overflow(iova, size - 1, &last))
		last = UINT64_MAX;
	take_out(iotlb, iova, last, removed);
}

void
vhu_iotlb_follow(struct vhu_iotlb *iotlb, const struct vhu_map *map,
	struct vhu_iotlb_entry **removed)
{
	struct vhu_iotlb_entry *entry, *next;

	for (entry = follow(&iotlb->head[0]); entry != NULL; entry = next) {
		const uint8_t *host =
			vhu_map_user(map, entry->user, entry->last - entry->first + 1);

		next = follow(&entry->next[0]);
		if ((uintptr_t)host != (uintptr_t)(entry->first + entry->delta))
			take_out(iotlb, entry->first, entry->last, removed);
	}
}

void
vhu_iotlb_release(struct vhu_iotlb_entry *removed)
{
	while (removed != NULL) {
		struct vhu_iotlb_entry *next = removed->removed;

		free(removed);
		removed = next;
	}
}

static unsigned int
random_levels(struct vhu_iotlb *iotlb)
{
	unsigned int levels = 1;
	uint32_t random = iotlb->random;

	random ^= random << 13;
	random ^= random >> 17;
	random ^= random << 5;
	iotlb->random = random;
	/* Whoever guessed these numbers could slow down his own device only. */
	for (; levels < LEVELS && (random & 3) == 0; random >>= 2)
		levels++;
	return levels;
}

static struct vhu_iotlb_entry *
entry_new(struct vhu_iotlb *iotlb, const struct vhu_translation *t, void *host)
{
	unsigned int levels = random_levels(iotlb);
	struct vhu_iotlb_entry *entry = calloc(1, sizeof(*entry) + levels *
		sizeof(entry->next[0]));

	if (entry == NULL)
		return NULL;
	entry->first = t->iova;
	entry->last = t->iova + (t->size - 1);
	entry->user = t->user;
	entry->delta = (uintptr_t)host - (uintptr_t)t->iova;
	entry->access = (uint8_t)t->access;
	entry->levels = (uint8_t)levels;
	return entry;
}

static void
link_entry(struct vhu_iotlb *iotlb, struct vhu_iotlb_entry *entry)
{
	_Atomic(struct vhu_iotlb_entry *) *links[LEVELS];
	unsigned int level;

	links_to(iotlb, entry->first, links);
	for (level = 0; level < entry->levels; level++) {
		put(&entry->next[level], follow(links[level]));
		put(links[level], entry);
	}
	iotlb->count++;
}

/* Is this what is there already? */
static bool
is_known(const struct vhu_iotlb *iotlb, const struct vhu_iotlb_entry *entry)
{
	const struct vhu_iotlb_entry *known = find(iotlb, entry->first);

	return known != NULL && known->first == entry->first && known->last == entry->last &&
		known->user == entry->user && known->delta == entry->delta &&
		known->access == entry->access;
}

/*
 * An entry for each piece of memory that a translation leads to, as a list: neighbours for the
 * front-end may lie far apart here. As many as there are regions at most.
 */
static struct vhu_verdict
entries_of(struct vhu_iotlb *iotlb, const struct vhu_map *map, const struct vhu_translation *whole,
	struct vhu_iotlb_entry **list, uint32_t *count)
{
	struct vhu_translation piece = *whole;
	uint64_t left = whole->size;

	for (*count = 0; left != 0; ++*count) {
		struct vhu_iotlb_entry *entry;
		void *host;

		piece.size = left;
		host = vhu_map_user_part(map, piece.user, &piece.size);
		if (host == NULL)
			return vhu_refuse(VHU_REFUSE_FAULT, "translation of 0x%" PRIx64 " bytes at "
				"0x%" PRIx64 ": no guest memory at user address 0x%" PRIx64,
				whole->size, whole->iova, piece.user);
		entry = entry_new(iotlb, &piece, host);
		if (entry == NULL)
			return vhu_refuse(VHU_REFUSE, "out of memory for a translation");
		entry->removed = *list;
		*list = entry;
		piece.iova += piece.size;
		piece.user += piece.size;
		left -= piece.size;
	}
	return vhu_accept();
}

static bool
all_known(const struct vhu_iotlb *iotlb, const struct vhu_iotlb_entry *list)
{
	for (; list != NULL; list = list->removed)
		if (!is_known(iotlb, list))
			return false;
	return true;
}

struct vhu_verdict
vhu_iotlb_update(struct vhu_iotlb *iotlb, const struct vhu_map *map,
	const struct vhu_translation *t, struct vhu_iotlb_entry **removed)
{
	struct vhu_iotlb_entry *list = NULL, *next;
	struct vhu_verdict verdict;
	uint64_t last;
	uint32_t count;

	if (t->size == 0 || __builtin_add_overflow(t->iova, t->size - 1, &last) ||
	    t->user + t->size < t->user)
		return vhu_refuse(VHU_REFUSE_FAULT, "translation of 0x%" PRIx64 " bytes at 0x%"
			PRIx64 " is empty or reaches beyond 64 bits", t->size, t->iova);
	verdict = entries_of(iotlb, map, t, &list, &count);
	if (verdict.severity != VHU_ACCEPT || all_known(iotlb, list)) {
		vhu_iotlb_release(list);
		return verdict;
	}
	if (iotlb->count + count > VHU_IOTLB_ENTRIES)
		take_out(iotlb, 0, UINT64_MAX, removed);
	take_out(iotlb, t->iova, last, removed);
	for (; list != NULL; list = next) {
		next = list->removed;
		list->removed = NULL;
		link_entry(iotlb, list);
	}
	return verdict;
}
