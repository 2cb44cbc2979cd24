/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <string.h>

#include "ring/chain_private.h"
#include "ring/element_direct.h"
#include "ring/element_private.h"

/* Memory of a queue, in pieces that need less and less alignment. */
struct layout {
	struct vhu_element_slot *slots;
	struct vhu_inflight_chain *again;
	struct vhu_inflight_copy *copies;
	uint16_t *order;
	uint16_t *filled;
	uint16_t *free_next;
};

/* The power of two that is at least @p size. */
static uint32_t
round_up(uint16_t size)
{
	uint32_t n = 1;

	while (n < size)
		n *= 2;
	return n;
}

size_t
vhu_element_queue_memory(uint16_t size)
{
	struct layout *l;

	return sizeof(*l->slots) +
		size * (sizeof(*l->slots) + sizeof(*l->again) + sizeof(*l->copies) +
			sizeof(*l->free_next)) +
		round_up(size) * (sizeof(*l->order) + sizeof(*l->filled));
}

void
vhu_element_queue_init(struct vhu_element_queue *queue)
{
	memset(queue, 0, sizeof(*queue));
	vhu_direct_close(queue);
	vhu_ring_init(&queue->ring);
}

static void
lay_out(struct vhu_element_queue *queue, void *memory, uint16_t size)
{
	memset(memory, 0, vhu_element_queue_memory(size));
	/* Aligned as malloc() does: up to the next slot's beginning. */
	queue->slots = (struct vhu_element_slot *)(((uintptr_t)memory +
		sizeof(queue->slots[0]) - 1) & ~(uintptr_t)(sizeof(queue->slots[0]) - 1));
	queue->again = (struct vhu_inflight_chain *)&queue->slots[size];
	queue->copies = (struct vhu_inflight_copy *)&queue->again[size];
	queue->order = (uint16_t *)&queue->copies[size];
	queue->mask = round_up(size) - 1;
	queue->filled = &queue->order[queue->mask + 1];
	queue->free.next = &queue->filled[queue->mask + 1];
	/* VHU_ELEMENT_GAP */
	memset(queue->filled, 0xff, (queue->mask + 1) * sizeof(queue->filled[0]));
}

static void
recover(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot, uint16_t capacity,
	struct vhu_walk *avail, struct vhu_walk *used)
{
	struct vhu_inflight_state state = {
		.next_used = used->next,
		.used_wrap = used->wrap,
		.chains = queue->again,
		.copies = queue->copies,
		.free = queue->free,
	};

	if (snapshot->format == VHU_PACKED)
		vhu_inflight_packed_recover(snapshot->inflight, queue->size, capacity,
			snapshot->packed, &state);
	else
		vhu_inflight_split_recover(snapshot->inflight, queue->size, capacity, &state);
	queue->again_count = state.count;
	queue->counter = state.counter;
	queue->free = state.free;
	*avail = (struct vhu_walk){ state.next_avail, state.avail_wrap };
	*used = (struct vhu_walk){ state.next_used, state.used_wrap };
}

void
vhu_element_queue_start(struct vhu_element_queue *queue, void *memory,
	const struct vhu_snapshot *snapshot, uint16_t capacity, struct vhu_walk *avail,
	struct vhu_walk *used)
{
	queue->size = snapshot->size;
	lay_out(queue, memory, snapshot->size);
	vhu_direct_close(queue);
	queue->in_flight_both = 0;
	queue->oldest = queue->taken;
	queue->fill = 0;
	queue->fill_end = 0;
	queue->silent = 0;
	queue->batch_head = 0;
	queue->counter = 0;
	queue->again_next = 0;
	queue->again_count = 0;
	if (snapshot->inflight != NULL)
		recover(queue, snapshot, capacity, avail, used);
	queue->notified = *used;
}
