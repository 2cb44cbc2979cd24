/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stdlib.h>

#include "mem/inflight.h"

/*
 * The front-end can write to the area while this runs: each field is loaded once, into a variable,
 * and bounded there. Chains that make no sense are left out, so that whatever the area holds, at
 * most a ring's worth of work is found.
 */
#define LOAD(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)

/* What we write, and understand. */
#define VERSION 1

/* Counters may be equal, or nonsense: heads, which differ, make the order total. */
static int
compare_chains(const void *left, const void *right)
{
	const struct vhu_inflight_chain *a = left, *b = right;

	if (a->counter != b->counter)
		return a->counter < b->counter ? -1 : 1;
	return a->head < b->head ? -1 : a->head > b->head;
}

static void
sort_chains(struct vhu_inflight_state *state)
{
	state->counter = 0;
	if (state->count == 0)
		return;
	qsort(state->chains, state->count, sizeof(state->chains[0]), compare_chains);
	state->counter = state->chains[state->count - 1].counter + 1;
}

static bool
in_use(uint16_t version, uint16_t entries, uint16_t size)
{
	return version == VERSION && entries >= size;
}

/* A fresh area: nothing is in flight. */
static void
begin_split(struct vhu_inflight_split *area, uint16_t capacity, uint16_t used_idx)
{
	uint32_t i;

	STORE(area->version, 0);
	vhu_inflight_step();
	for (i = 0; i < capacity; i++)
		STORE(area->entries[i].inflight, 0);
	STORE(area->size, capacity);
	STORE(area->last_batch_head, 0);
	STORE(area->used_idx, used_idx);
	vhu_inflight_step();
	STORE(area->version, VERSION);
}

/*
 * The driver was shown a batch whose marks were not all cleared: do it now. As many heads as the
 * used index moved on, from the last one back.
 */
static void
finish_batch(struct vhu_inflight_split *area, uint16_t size, uint16_t used_idx)
{
	uint16_t count = (uint16_t)(used_idx - LOAD(area->used_idx));
	uint16_t head = LOAD(area->last_batch_head), i;

	if (count > size) /* not a batch of ours */
		count = 0;
	for (i = 0; i < count && head < size; i++) {
		STORE(area->entries[head].inflight, 0);
		head = LOAD(area->entries[head].next);
	}
	vhu_inflight_step();
	STORE(area->used_idx, used_idx);
}

void
vhu_inflight_split_resume(struct vhu_inflight_split *area, uint16_t capacity,
	struct vhu_inflight_state *state)
{
	begin_split(area, capacity, state->next_used);
	state->next_avail = state->next_used;
}

void
vhu_inflight_split_recover(struct vhu_inflight_split *area, uint16_t size, uint16_t capacity,
	struct vhu_inflight_state *state)
{
	uint32_t i;

	state->count = 0;
	if (in_use(LOAD(area->version), LOAD(area->size), size))
		finish_batch(area, size, state->next_used);
	else
		begin_split(area, capacity, state->next_used);
	for (i = 0; i < size; i++) {
		if (LOAD(area->entries[i].inflight) != 1)
			continue;
		state->chains[state->count++] = (struct vhu_inflight_chain){
			.counter = LOAD(area->entries[i].counter),
			.head = (uint16_t)i,
		};
	}
	sort_chains(state);
	state->next_avail = (uint16_t)(state->next_used + state->count);
}

/* In free.next during recovery: the entry is in a chain. Indices have 15 bits. */
#define TAKEN 0x8000u

/* Where the used side of a packed ring stands, as two pairs tell. */
struct positions {
	uint16_t used;
	uint16_t old;
	bool used_wrap;
	bool old_wrap;
};

/* Was the descriptor where the last batch began shown to the driver? */
static bool
batch_shown(const struct vring_packed_desc *ring, const struct positions *at)
{
	uint16_t flags = LOAD(ring[at->old].flags);
	bool available = flags >> VRING_PACKED_DESC_F_AVAIL & 1;
	bool used = flags >> VRING_PACKED_DESC_F_USED & 1;

	return available == at->old_wrap && used == at->old_wrap;
}

/* Clear the marks along a part of the free list. */
static void
clear_free(struct vhu_inflight_packed *area, uint16_t size, uint16_t head, uint16_t end)
{
	uint16_t i;

	for (i = 0; i < size && head < size && head != end; i++) {
		uint16_t next = LOAD(area->entries[head].next);

		STORE(area->entries[head].inflight, 0);
		head = next;
	}
}

/*
 * Decide about a batch that was under way. If it was shown, its chains lie in front of the old free
 * list and are done; otherwise what lies between the two heads is a chain that was not quite taken.
 * @return false if the area makes no sense.
 */
static bool
settle_batch(struct vhu_inflight_packed *area, uint16_t size,
	const struct vring_packed_desc *ring, struct vhu_inflight_state *state)
{
	uint16_t head = LOAD(area->free_head), old_head = LOAD(area->old_free_head);
	struct positions at = {
		LOAD(area->used_idx), LOAD(area->old_used_idx),
		LOAD(area->used_wrap) != 0, LOAD(area->old_used_wrap) != 0,
	};
	bool forward;

	if (at.used >= size || at.old >= size)
		return false;
	forward = (at.used != at.old || at.used_wrap != at.old_wrap) && batch_shown(ring, &at);
	if (forward)
		clear_free(area, size, head, old_head);
	else
		clear_free(area, size, old_head, head);
	state->next_used = forward ? at.used : at.old;
	state->used_wrap = forward ? at.used_wrap : at.old_wrap;
	return true;
}

/*
 * Write the used position and a free list of all entries that are not taken, in their order. A
 * crash in here is harmless: whatever half of it is done, the marks of taken chains stand, and
 * either list leads through free entries only.
 */
static void
write_packed(struct vhu_inflight_packed *area, uint16_t size, uint16_t capacity,
	struct vhu_inflight_state *state)
{
	uint16_t head = capacity; /* no entry: the end */
	uint32_t i;

	/* From the end: each entry names the one behind it. */
	for (i = size; i-- > 0;) {
		if (state->free.next[i] & TAKEN) {
			/* The links within a chain count when it is given back as a whole. */
			state->free.next[i] &= (uint16_t)~TAKEN;
			continue;
		}
		state->free.next[i] = head;
		STORE(area->entries[i].next, head);
		STORE(area->entries[i].inflight, 0);
		head = (uint16_t)i;
	}
	state->free.head = head;
	for (i = size; i < capacity; i++)
		STORE(area->entries[i].inflight, 0);
	STORE(area->features, 0);
	STORE(area->size, capacity);
	STORE(area->free_head, head);
	STORE(area->old_free_head, head);
	STORE(area->used_idx, state->next_used);
	STORE(area->old_used_idx, state->next_used);
	STORE(area->used_wrap, state->used_wrap);
	STORE(area->old_used_wrap, state->used_wrap);
	vhu_inflight_step();
	STORE(area->version, VERSION);
}

/* The first @p count entries of a chain that makes no sense are free. */
static void
leave_chain(struct vhu_inflight_state *state, uint16_t first, uint16_t count)
{
	uint16_t at = first, i;

	for (i = 0; i < count; i++) {
		uint16_t next = state->free.next[at] & (uint16_t)~TAKEN;

		state->free.next[at] = 0;
		at = next;
	}
}

/*
 * Copy a chain that begins at entry @p first; its entries are marked in free.next as it goes, with
 * the links between them.
 * @return false if it makes no sense; nothing is marked then.
 */
static bool
copy_chain(struct vhu_inflight_packed *area, uint16_t size, uint16_t first, uint32_t *copies,
	struct vhu_inflight_state *state)
{
	uint16_t count = LOAD(area->entries[first].num), at = first, next, i;
	struct vhu_inflight_chain *chain = &state->chains[state->count];
	struct vhu_inflight_copy *copy = NULL;

	*chain = (struct vhu_inflight_chain){
		.counter = LOAD(area->entries[first].counter),
		.head = first,
		.copy = (uint16_t)*copies,
		.place = { .first = first, .count = count },
	};
	if (count == 0 || count > size - *copies)
		return false;
	for (i = 0; i < count; i++) {
		struct vhu_inflight_packed_entry *entry = &area->entries[at];

		copy = &state->copies[*copies + i];
		copy->address = LOAD(entry->address);
		copy->length = LOAD(entry->length);
		copy->id = LOAD(entry->id);
		copy->flags = LOAD(entry->flags);
		state->free.next[at] = TAKEN;
		chain->place.last = at;
		if (i + 1 == count)
			break;
		next = LOAD(entry->next);
		if (next >= size || (state->free.next[next] & TAKEN)) {
			leave_chain(state, first, i + 1);
			return false;
		}
		state->free.next[at] = TAKEN | next;
		at = next;
	}
	chain->id = copy->id;
	if (chain->id >= size) {
		leave_chain(state, first, count);
		return false;
	}
	*copies += count;
	return true;
}

static void
collect_packed(struct vhu_inflight_packed *area, uint16_t size, struct vhu_inflight_state *state)
{
	uint32_t slots = 0, copies = 0, i;

	for (i = 0; i < size; i++)
		state->free.next[i] = 0;
	for (i = 0; i < size; i++) {
		if ((state->free.next[i] & TAKEN) || LOAD(area->entries[i].inflight) != 1)
			continue;
		if (!copy_chain(area, size, (uint16_t)i, &copies, state)) {
			STORE(area->entries[i].inflight, 0);
			continue;
		}
		slots += state->chains[state->count].place.count;
		state->count++;
	}
	state->avail_wrap = state->used_wrap;
	slots += state->next_used;
	if (slots >= size) {
		slots -= size;
		state->avail_wrap = !state->avail_wrap;
	}
	state->next_avail = (uint16_t)slots;
}

/* The position that the area knows of; the state's own if the area is fresh or nonsense. */
static bool
resume_packed(struct vhu_inflight_packed *area, uint16_t size,
	const struct vring_packed_desc *ring, struct vhu_inflight_state *state)
{
	return in_use(LOAD(area->version), LOAD(area->size), size) &&
		settle_batch(area, size, ring, state);
}

void
vhu_inflight_packed_resume(struct vhu_inflight_packed *area, uint16_t size, uint16_t capacity,
	const struct vring_packed_desc *ring, struct vhu_inflight_state *state)
{
	uint32_t i;

	(void)resume_packed(area, size, ring, state);
	state->next_avail = state->next_used;
	state->avail_wrap = state->used_wrap;
	STORE(area->version, 0);
	vhu_inflight_step();
	for (i = 0; i < capacity; i++) {
		STORE(area->entries[i].inflight, 0);
		STORE(area->entries[i].next, (uint16_t)(i + 1));
	}
	STORE(area->features, 0);
	STORE(area->size, capacity);
	STORE(area->free_head, 0);
	STORE(area->old_free_head, 0);
	vhu_inflight_packed_begin(area, state->next_used, state->used_wrap);
	vhu_inflight_packed_end(area, state->next_used, state->used_wrap);
	vhu_inflight_step();
	STORE(area->version, VERSION);
}

void
vhu_inflight_packed_recover(struct vhu_inflight_packed *area, uint16_t size, uint16_t capacity,
	const struct vring_packed_desc *ring, struct vhu_inflight_state *state)
{
	uint32_t i;

	state->count = 0;
	if (!resume_packed(area, size, ring, state))
		for (i = 0; i < capacity; i++)
			STORE(area->entries[i].inflight, 0);
	collect_packed(area, size, state);
	write_packed(area, size, capacity, state);
	sort_chains(state);
}
