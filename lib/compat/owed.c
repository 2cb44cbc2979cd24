/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stdlib.h>

#include "compat/private.h"

/*
 * What comes back to a ring that rests. Behind an IOMMU a ring's own memory may be without
 * translation for a while, and programs finish requests meanwhile: what they push is written down,
 * and done when the queue is used next after the ring has gone on. They are woken for that, as they
 * are for chains that came meanwhile.
 *
 * A ring that stops instead puts its elements back: they are done again, by whoever comes next.
 */

/* For each element one push or fill, and a flush behind each of them. More is nonsense. */
static uint32_t
room(uint16_t size)
{
	return 2u * size + 1;
}

struct vu_owed *
vu_owed_new(uint16_t size)
{
	return calloc(room(size), sizeof(struct vu_owed));
}

static void
add(struct vu_queue *queue, struct vu_owed owed)
{
	struct vu_owed *last = &queue->owed[queue->owed_count - 1];

	/* The next of a kind that just counts; room for all that makes sense is there. */
	if (queue->owed_count != 0 && last->what == owed.what && owed.what == VU_OWED_FLUSH) {
		if (__builtin_add_overflow(last->number, owed.number, &last->number))
			last->number = UINT32_MAX;
	} else if (queue->owed_count < room(queue->held_count)) {
		queue->owed[queue->owed_count++] = owed;
	}
}

/* Of each element that is out, once. */
static void
add_element(struct vu_queue *queue, struct vu_owed owed)
{
	struct vhu_element element;

	if (owed.id >= queue->held_count || queue->held[owed.id].owed ||
	    !vhu_elements_find(&queue->elements, (uint16_t)owed.id, &element))
		return;
	queue->held[owed.id].owed = true;
	add(queue, owed);
}

static void
remember(struct vu_queue *queue, struct vu_owed owed)
{
	switch (owed.what) {
	case VU_OWED_PUSH:
	case VU_OWED_FILL:
		add_element(queue, owed);
		break;
	case VU_OWED_FLUSH:
	case VU_OWED_REWIND:
		add(queue, owed);
		break;
	case VU_OWED_NOTIFY:
		queue->owes_call = true;
		break;
	case VU_OWED_WISH:
		queue->owes_wish = true;
		queue->elements.ring.kick_wanted = owed.number != 0;
		break;
	}
	/* Partner: the look in vu_wake_debtors(). */
	atomic_store_explicit(&queue->owes, true, memory_order_release);
}

bool
vu_queue_owe(struct vu_queue *queue, const struct vhu_snapshot *snapshot, struct vu_owed owed)
{
	struct vhu_reader *reader = &queue->elements.ring.reader;
	bool rests = snapshot == &vhu_snapshot_resting;

	if (rests)
		remember(queue, owed);
	vhu_reader_leave(reader);
	if (!rests)
		return false;
	/*
	 * Partner: the fence in vu_wake_debtors(). Either it sees what is owed, or we see the ring
	 * that has gone on.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	snapshot = vhu_reader_enter(reader);
	if (snapshot->size != 0)
		vu_queue_pay(queue, snapshot);
	vhu_reader_leave(reader);
	return true;
}

static void
pay(struct vu_queue *queue, const struct vhu_snapshot *snapshot, const struct vu_owed *owed)
{
	struct vhu_element_queue *elements = &queue->elements;
	struct vhu_element held;

	if (owed->what == VU_OWED_FLUSH)
		vhu_elements_flush(elements, snapshot,
			owed->number < UINT16_MAX ? (uint16_t)owed->number : UINT16_MAX);
	if (owed->what == VU_OWED_REWIND)
		vhu_elements_untake(elements, snapshot, (uint16_t)owed->number);
	if (owed->what != VU_OWED_PUSH && owed->what != VU_OWED_FILL)
		return;
	queue->held[owed->id].owed = false;
	if (!vu_held(queue, snapshot, owed->id, &held))
		return;
	if (owed->what == VU_OWED_FILL)
		vhu_elements_fill(elements, snapshot, &held, owed->number, owed->index);
	else if (vhu_elements_give(elements, snapshot, &held, owed->number))
		vhu_elements_flush(elements, snapshot, UINT16_MAX);
}

static void
nothing_owed(struct vu_queue *queue)
{
	queue->owed_count = 0;
	queue->owes_call = false;
	queue->owes_wish = false;
	atomic_store_explicit(&queue->owes, false, memory_order_relaxed);
}

void
vu_queue_pay(struct vu_queue *queue, const struct vhu_snapshot *snapshot)
{
	bool call = queue->owes_call;
	uint32_t i;

	for (i = 0; i < queue->owed_count; i++)
		pay(queue, snapshot, &queue->owed[i]);
	if (queue->owes_wish)
		(void)vhu_elements_want_kicks(&queue->elements, snapshot,
			queue->elements.ring.kick_wanted);
	nothing_owed(queue);
	vu_queue_show_inuse(vu_public(queue), queue);
	if (!call)
		return;
	vhu_elements_notify(&queue->elements, snapshot);
	vu_send_calls(queue, false);
}

void
vu_queue_forget_owed(struct vu_queue *queue)
{
	uint32_t i;

	for (i = 0; i < queue->owed_count; i++) {
		const struct vu_owed *owed = &queue->owed[i];

		/* As if they had come to a ring that is stopped already. */
		if (owed->what == VU_OWED_PUSH || owed->what == VU_OWED_FILL)
			queue->held[owed->id].owed = false;
		if (owed->what == VU_OWED_PUSH)
			vu_queue_late(queue, 1);
		else if (owed->what != VU_OWED_FILL && owed->number <= UINT16_MAX)
			vu_queue_late(queue, owed->number);
	}
	nothing_owed(queue);
}

void
vu_wake_debtors(struct vu_device *own)
{
	uint16_t i;

	/* Partner: the fence in vu_queue_owe(). */
	atomic_thread_fence(memory_order_seq_cst);
	for (i = 0; i < own->dev->max_queues; i++) {
		struct vu_queue *queue = &own->queues[i];
		const struct vhu_snapshot *seen = atomic_load_explicit(
			&queue->elements.ring.reader.snapshot, memory_order_relaxed);

		/* Partner: the release store in vu_queue_owe(). */
		if (seen->size != 0 && atomic_load_explicit(&queue->owes, memory_order_acquire))
			vu_kick_ourselves(vu_public(queue));
	}
}
