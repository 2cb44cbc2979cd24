/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "mem/inflight.h"

/*
 * Stores only: what is known of the area is known without reading it. Each step may be our last;
 * the order is the specification's.
 */
#define STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)

void
vhu_inflight_split_take(struct vhu_inflight_split *area, uint16_t head, uint64_t counter)
{
	STORE(area->entries[head].counter, counter);
	vhu_inflight_step();
	STORE(area->entries[head].inflight, 1);
	vhu_inflight_step();
}

void
vhu_inflight_split_clear(struct vhu_inflight_split *area, uint16_t head)
{
	STORE(area->entries[head].inflight, 0);
	vhu_inflight_step();
}

void
vhu_inflight_split_link(struct vhu_inflight_split *area, uint16_t head, uint16_t before)
{
	STORE(area->entries[head].next, before);
	vhu_inflight_step();
	STORE(area->last_batch_head, head);
	vhu_inflight_step();
}

void
vhu_inflight_packed_add(struct vhu_inflight_packed *area, struct vhu_inflight_free *free,
	struct vhu_inflight_place *place, const struct vhu_inflight_copy *copy)
{
	uint16_t at = free->head;
	struct vhu_inflight_packed_entry *entry = &area->entries[at];

	STORE(entry->address, copy->address);
	STORE(entry->length, copy->length);
	STORE(entry->flags, copy->flags);
	STORE(entry->id, copy->id);
	if (place->count == 0)
		place->first = at;
	place->last = at;
	place->count++;
	free->head = free->next[at];
	vhu_inflight_step();
	/* Not certain before the chain is complete: old_free_head still names its first entry. */
	STORE(area->free_head, free->head);
}

void
vhu_inflight_packed_take(struct vhu_inflight_packed *area, const struct vhu_inflight_free *free,
	const struct vhu_inflight_place *place, uint64_t counter)
{
	struct vhu_inflight_packed_entry *entry = &area->entries[place->first];

	STORE(entry->num, place->count);
	STORE(entry->last, place->last);
	STORE(entry->counter, counter);
	vhu_inflight_step();
	STORE(entry->inflight, 1);
	vhu_inflight_step();
	STORE(area->old_free_head, free->head);
	vhu_inflight_step();
}

void
vhu_inflight_packed_link(struct vhu_inflight_packed *area, struct vhu_inflight_free *free,
	const struct vhu_inflight_place *place)
{
	STORE(area->entries[place->last].next, free->head);
	free->next[place->last] = free->head;
	free->head = place->first;
	vhu_inflight_step();
	STORE(area->free_head, free->head);
	vhu_inflight_step();
}

void
vhu_inflight_packed_clear(struct vhu_inflight_packed *area, const struct vhu_inflight_place *place)
{
	STORE(area->entries[place->first].inflight, 0);
	vhu_inflight_step();
}

void
vhu_inflight_packed_settle(struct vhu_inflight_packed *area, const struct vhu_inflight_free *free)
{
	STORE(area->old_free_head, free->head);
	vhu_inflight_step();
}
