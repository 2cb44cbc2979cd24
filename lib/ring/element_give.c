/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "mem/dirty.h"
#include "ring/chain_private.h"
#include "ring/element_direct.h"
#include "ring/element_private.h"
#include "ring/packed.h"

/* More than this many since the last notification cannot be told from fewer. */
#define SILENT_MAX 32768

/* Fill in what is known of an element whose owner gives it back. @return NULL if nobody may. */
static struct vhu_element_slot *
slot_of(struct vhu_element_queue *queue, const struct vhu_element *element)
{
	struct vhu_element_slot *slot;

	if (element->chain.id >= queue->size)
		return NULL;
	slot = &queue->slots[element->chain.id];
	return slot->state == VHU_ELEMENT_TAKEN && slot->sequence == element->sequence ? slot :
		NULL;
}

/* What the device wrote, from the front of the writable segments. After it was written. */
static void
note_data(const struct vhu_snapshot *snapshot, const struct vhu_element *element,
	uint32_t written)
{
	const struct iovec *segment = &element->segments[element->chain.readable];
	struct vhu_dirty_cache cache;

	vhu_dirty_begin(&cache);
	while (written != 0) {
		uint32_t size = written < segment->iov_len ? written : (uint32_t)segment->iov_len;

		vhu_dirty_note_host(snapshot->dirty, &cache, snapshot->space.map,
			segment->iov_base, size);
		written -= size;
		segment++;
	}
	vhu_dirty_flush(snapshot->dirty, &cache);
}

bool
vhu_elements_fill(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	const struct vhu_element *element, uint32_t written, uint16_t index)
{
	struct vhu_element_slot *slot = slot_of(queue, element);
	uint64_t place = queue->fill + index;

	if (slot == NULL || snapshot->size == 0)
		return false;
	if (!snapshot->in_order) {
		if (index >= queue->size ||
		    queue->filled[vhu_element_place(queue, place)] != VHU_ELEMENT_GAP)
			return false;
		queue->filled[vhu_element_place(queue, place)] = element->chain.id;
		if (place >= queue->fill_end)
			queue->fill_end = place + 1;
	}
	if (written > slot->room)
		written = slot->room;
	if (snapshot->dirty != NULL)
		note_data(snapshot, element, written);
	slot->written = written;
	slot->state = VHU_ELEMENT_BACK;
	vhu_direct_close(queue);
	return true;
}

bool
vhu_elements_give(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	const struct vhu_element *element, uint32_t written)
{
	return vhu_elements_fill(queue, snapshot, element, written,
		(uint16_t)(queue->fill_end - queue->fill));
}

/* The next ids to be flushed: a run of one of the two lists. */
struct run {
	uint16_t *ids;
	uint64_t from;
	uint16_t count;
};

static uint16_t
run_id(const struct vhu_element_queue *queue, const struct run *run, uint16_t i)
{
	return run->ids[vhu_element_place(queue, run->from + i)];
}

static struct run
find_run(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot, uint16_t count)
{
	struct run run = { queue->filled, queue->fill, 0 };
	uint64_t end = queue->fill_end;

	if (snapshot->in_order)
		run = (struct run){ queue->order, queue->oldest, 0 };
	if (snapshot->in_order)
		end = queue->taken;
	while (run.count < count && run.from + run.count < end) {
		uint16_t id = run_id(queue, &run, run.count);

		if (id == VHU_ELEMENT_GAP || queue->slots[id].state != VHU_ELEMENT_BACK)
			break;
		run.count++;
	}
	return run;
}

/* In the in-flight area: these are about to be shown. */
static void
announce(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	const struct run *run)
{
	uint16_t i;

	for (i = 0; i < run->count; i++) {
		uint16_t id = run_id(queue, run, i);

		if (snapshot->format == VHU_SPLIT) {
			vhu_inflight_split_link(snapshot->inflight, id, queue->batch_head);
			queue->batch_head = id;
		} else {
			vhu_inflight_packed_link(snapshot->inflight, &queue->free,
				&queue->slots[id].place);
		}
	}
	if (snapshot->format == VHU_PACKED)
		vhu_inflight_packed_begin(snapshot->inflight, queue->ring.next_used,
			queue->ring.used_wrap);
}

/* ... and now they have been. */
static void
settle(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	const struct run *run)
{
	uint16_t i;

	vhu_inflight_step();
	for (i = 0; i < run->count; i++) {
		uint16_t id = run_id(queue, run, i);

		if (snapshot->format == VHU_SPLIT)
			vhu_inflight_split_clear(snapshot->inflight, id);
		else
			vhu_inflight_packed_clear(snapshot->inflight, &queue->slots[id].place);
	}
	if (snapshot->format == VHU_SPLIT) {
		vhu_inflight_split_used(snapshot->inflight, queue->ring.next_used);
		return;
	}
	vhu_inflight_packed_end(snapshot->inflight, queue->ring.next_used,
		queue->ring.used_wrap);
	vhu_inflight_packed_settle(snapshot->inflight, &queue->free);
}

/* The driver has them again. */
static void
forget(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	const struct run *run)
{
	uint16_t i;

	for (i = 0; i < run->count; i++) {
		uint16_t id = run_id(queue, run, i);
		struct vhu_element_slot *slot = &queue->slots[id];

		slot->state = VHU_ELEMENT_NONE;
		queue->in_flight--;
		queue->in_flight_slots -= slot->slots;
		queue->silent += slot->slots;
		if (!snapshot->in_order)
			run->ids[vhu_element_place(queue, run->from + i)] = VHU_ELEMENT_GAP;
	}
	if (snapshot->in_order)
		queue->oldest += run->count;
	else
		queue->fill += run->count;
	if (queue->fill_end < queue->fill)
		queue->fill_end = queue->fill;
}

uint16_t
vhu_elements_flush(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	uint16_t count)
{
	struct vhu_walk old = vhu_used_position(&queue->ring);
	struct run run;
	uint16_t i;

	if (snapshot->size == 0 || snapshot->size != queue->size)
		return 0;
	run = find_run(queue, snapshot, count);
	if (run.count == 0)
		return 0;
	for (i = 0; i < run.count; i++) {
		uint16_t id = run_id(queue, &run, i);
		const struct vhu_element_slot *slot = &queue->slots[id];
		struct vhu_chain chain = { .id = id, .slots = slot->slots };

		vhu_used_write(&queue->ring, snapshot, &chain, &slot->written, 1);
	}
	if (snapshot->inflight != NULL)
		announce(queue, snapshot, &run);
	vhu_used_show(&queue->ring, snapshot, old);
	if (snapshot->inflight != NULL)
		settle(queue, snapshot, &run);
	forget(queue, snapshot, &run);
	vhu_direct_renew(queue, snapshot);
	return run.count;
}

void
vhu_elements_notify(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot)
{
	if (snapshot->size == 0 || snapshot->size != queue->size)
		return;
	if (queue->silent == 0)
		return;
	if (queue->silent > SILENT_MAX)
		queue->ring.phase = VHU_RING_BEGUN;
	if (snapshot->call_fd != -1)
		vhu_ring_notify(&queue->ring, snapshot, queue->notified);
	queue->notified = vhu_used_position(&queue->ring);
	queue->silent = 0;
}
