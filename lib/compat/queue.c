/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compat/private.h"

/* Segments that there is room for in an element's block before anybody has counted them. */
#define DIRECT_SEGMENTS 8

static void
free_held(struct vu_queue *queue)
{
	uint16_t i;

	for (i = 0; i < queue->held_count; i++)
		free(queue->held[i].more);
	free(queue->held);
	free(queue->awaited);
	free(queue->owed);
	queue->held = NULL;
	queue->awaited = NULL;
	queue->owed = NULL;
	queue->held_count = 0;
}

void
vu_queue_free(struct vu_queue *queue)
{
	free_held(queue);
	free(queue->memory);
	queue->memory = NULL;
}

int
vu_queue_prepare(struct vu_queue *queue, uint16_t size)
{
	void *memory = malloc(vhu_element_queue_memory(size));
	struct vu_held *held = calloc(size, sizeof(*held));
	uint32_t *awaited = calloc(size, sizeof(*awaited));
	/* No other rings ever rest. */
	bool rests = vhu_device_features(queue->dev->own->device) &
		VHU_BIT(VIRTIO_F_IOMMU_PLATFORM);
	struct vu_owed *owed = rests ? vu_owed_new(size) : NULL;

	if (memory == NULL || held == NULL || awaited == NULL || (rests && owed == NULL)) {
		free(memory);
		free(held);
		free(awaited);
		free(owed);
		return -ENOMEM;
	}
	vu_queue_free(queue);
	queue->owed = owed;
	queue->memory = memory;
	queue->held = held;
	queue->awaited = awaited;
	queue->held_count = size;
	return 0;
}

void
vu_queue_place(struct vu_queue *queue, const struct vhu_snapshot *snapshot, uint16_t capacity,
	struct vhu_walk *avail, struct vhu_walk *used)
{
	VuVirtq *vq = vu_public(queue);

	vhu_element_queue_start(&queue->elements, queue->memory, snapshot, capacity, avail, used);
	/* Programs sleep on kicks until they say otherwise. */
	queue->elements.ring.kick_wanted = true;
	queue->panicked = false;
	queue->placed = *snapshot;
	vq->vring.num = snapshot->size;
	vq->vring.desc = (struct vring_desc *)(uintptr_t)snapshot->descriptors;
	vq->vring.avail = (struct vring_avail *)(uintptr_t)snapshot->avail;
	vq->vring.used = snapshot->used;
	__atomic_store_n(&vq->inuse, 0, __ATOMIC_RELAXED);
	vu_queue_forget_out(queue);
	vq->notification = true;
	vq->signalled_used_valid = false;
}

void
vu_queue_return_rest(struct vu_queue *queue)
{
	vu_queue_forget_owed(queue);
	/* Put back or not, the program still has them. */
	queue->left_out = queue->elements.in_flight;
	/* Those in an in-flight area are found there by whoever comes next. */
	if (queue->placed.inflight == NULL && queue->elements.in_flight != 0)
		(void)vhu_elements_untake(&queue->elements, &queue->placed,
			queue->elements.in_flight);
}

void
vu_queue_end(struct vu_queue *queue)
{
	__atomic_store_n(&vu_public(queue)->inuse, 0, __ATOMIC_RELAXED);
}

void
vu_queue_panic(struct vu_queue *queue, enum vhu_broken reason)
{
	if (queue->panicked)
		return;
	queue->panicked = true;
	/* The front-end is told as well, at once if this thread may do that. */
	if (pthread_equal(queue->dev->own->thread, pthread_self()))
		vu_attend(queue->dev->own);
	vu_panic(queue->dev, "queue %u: %s", queue->index, vhu_broken_text(reason));
}

void
vu_queue_tell_broken(struct vu_queue *queue)
{
	vu_queue_panic(queue, (enum vhu_broken)atomic_load(&queue->elements.ring.broken));
}

bool
vu_hold_many(struct vu_held *held, uint16_t count)
{
	struct iovec *more;

	if (count <= held->room)
		return true;
	more = realloc(held->more, count * sizeof(*more));
	if (more == NULL)
		return false;
	held->more = more;
	held->room = count;
	return true;
}

bool
vu_held(struct vu_queue *queue, const struct vhu_snapshot *snapshot, unsigned int id,
	struct vhu_element *element)
{
	struct vu_held *held;

	if (id >= queue->held_count || !vhu_elements_find(&queue->elements, (uint16_t)id, element))
		return false;
	held = &queue->held[id];
	/*
	 * Elements that were taken the short way are not kept: only a log that was switched on
	 * meanwhile wants to know their segments, and then the ring still has them.
	 */
	if (!(queue->elements.slots[id].marks & VHU_ELEMENT_KEPT) && snapshot->dirty != NULL)
		return vhu_elements_again(&queue->elements, snapshot, element, queue->scratch);
	element->chain.writable = held->count;
	element->segments = held->count <= VU_HELD_INLINE ? held->few : held->more;
	return true;
}

bool
vu_keep(struct vu_queue *queue, const struct vhu_snapshot *snapshot,
	const struct vhu_element *element, VuVirtqElement *block, size_t sz)
{
	uint16_t readable = element->chain.readable, writable = element->chain.writable;
	struct iovec *segments;

	if (block == NULL || !vu_hold(queue, element->chain.id, queue->scratch + readable,
			writable)) {
		/* Out of memory passes: the request stays where it is. */
		vhu_elements_untake(&queue->elements, snapshot, 1);
		return false;
	}
	vu_clear_rest(block, sz);
	segments = (struct iovec *)((uint8_t *)block + vu_segments_at(sz));
	block->in_sg = segments + readable;
	vu_fill_element(block, element->chain.id, segments, block->in_sg + writable);
	vu_copy_segments(segments, queue->scratch, (uint32_t)readable + writable);
	return true;
}

/* Take an element of any kind. */
static VuVirtqElement *
take_any(struct vu_queue *queue, const struct vhu_snapshot *snapshot, size_t sz)
{
	struct vhu_element element;
	VuVirtqElement *block;
	bool any = vhu_elements_take(&queue->elements, snapshot, &element, 1, queue->scratch,
		VIRTQUEUE_MAX_SIZE) != 0;

	vu_queue_took(queue);
	if (!any)
		return NULL;
	block = malloc(vu_element_size(sz,
		(unsigned int)element.chain.readable + element.chain.writable));
	if (vu_keep(queue, snapshot, &element, block, sz))
		return block;
	free(block);
	return NULL;
}

/*
 * Called, not inlined: its loops need the registers, and what does not find one there costs more
 * than the call.
 */
static __attribute__((noinline)) struct vhu_direct
take_direct(const struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	struct iovec *segments, struct iovec **writable)
{
	return vhu_direct_take(queue, snapshot, 0, segments, segments + DIRECT_SEGMENTS, writable);
}

/* A pop that is out of the short way, which may have a block already. */
static __attribute__((noinline)) void *
pop_any(VuVirtq *vq, const struct vhu_snapshot *snapshot, size_t sz, void *block)
{
	struct vu_queue *queue = vq->own;
	VuVirtqElement *element;

	free(block);
	if (vu_queue_is_stopped(queue, snapshot))
		return NULL;
	if (vu_queue_owes(queue))
		vu_queue_pay(queue, snapshot);
	element = sz < sizeof(*element) ? NULL : take_any(queue, snapshot, sz);
	vu_queue_show_inuse(vq, queue);
	vu_queue_leave(queue);
	if (element == NULL)
		vu_queue_empty_handed(queue);
	return element;
}

void *
vu_queue_pop(VuDev *dev, VuVirtq *vq, size_t sz)
{
	struct vu_queue *queue = vq->own;
	struct vhu_element_queue *elements = &queue->elements;
	const struct vhu_snapshot *snapshot;
	struct vhu_direct taken;
	struct iovec *segments;
	VuVirtqElement *block;

	if (vu_is_broken(dev))
		return NULL;
	snapshot = vhu_reader_enter(&elements->ring.reader);
	if (!vhu_direct_open(elements, snapshot) || sz < sizeof(*block) ||
	    vhu_direct_waiting(elements, snapshot, 1) == 0)
		return pop_any(vq, snapshot, sz, NULL);
	/* Most elements have few segments: they are written where they are to be. */
	block = malloc(vu_element_size(sz, DIRECT_SEGMENTS));
	if (block == NULL)
		return pop_any(vq, snapshot, sz, NULL);
	segments = (struct iovec *)((uint8_t *)block + vu_segments_at(sz));
	taken = take_direct(elements, snapshot, segments, &block->in_sg);
	if (__builtin_expect(taken.end == NULL, 0))
		return pop_any(vq, snapshot, sz, block);
	vhu_direct_taken(elements, 1);
	vu_fill_element(block, (uint32_t)taken.id, segments, taken.end);
	vu_clear_rest(block, sz);
	vu_queue_show_inuse(vq, queue);
	vhu_reader_leave(&elements->ring.reader);
	return block;
}

bool
vu_queue_rewind(VuDev *dev, VuVirtq *vq, unsigned int num)
{
	struct vu_queue *queue = vq->own;
	const struct vhu_snapshot *snapshot;
	bool done;

	(void)dev;
	if (num > UINT16_MAX)
		return false;
	snapshot = vu_queue_enter_or_owe(queue,
		(struct vu_owed){ VU_OWED_REWIND, .number = num }, &done);
	if (snapshot == NULL) {
		vu_queue_late(queue, done ? 0 : num);
		return done;
	}
	done = vhu_elements_untake(&queue->elements, snapshot, (uint16_t)num);
	vu_queue_show_inuse(vq, queue);
	vu_queue_leave(queue);
	return done;
}

void
vu_queue_unpop(VuDev *dev, VuVirtq *vq, VuVirtqElement *elem, size_t len)
{
	(void)elem;
	(void)len;
	vu_queue_rewind(dev, vq, 1);
}

void
vu_queue_fill(VuDev *dev, VuVirtq *vq, const VuVirtqElement *elem, unsigned int len,
	unsigned int idx)
{
	struct vu_queue *queue = vq->own;
	const struct vhu_snapshot *snapshot;
	struct vhu_element held;
	bool later;

	(void)dev;
	if (idx > UINT16_MAX)
		return;
	snapshot = vu_queue_enter_or_owe(queue,
		(struct vu_owed){ VU_OWED_FILL, elem->index, len, (uint16_t)idx }, &later);
	if (snapshot == NULL)
		return;
	if (vu_held(queue, snapshot, elem->index, &held))
		vhu_elements_fill(&queue->elements, snapshot, &held, len, (uint16_t)idx);
	vu_queue_leave(queue);
}

void
vu_queue_flush(VuDev *dev, VuVirtq *vq, unsigned int num)
{
	struct vu_queue *queue = vq->own;
	bool later;
	const struct vhu_snapshot *snapshot = vu_queue_enter_or_owe(queue,
		(struct vu_owed){ VU_OWED_FLUSH, .number = num }, &later);

	(void)dev;
	if (snapshot == NULL) {
		vu_queue_late(queue, later || num > UINT16_MAX ? 0 : num);
		return;
	}
	vhu_elements_flush(&queue->elements, snapshot,
		num < UINT16_MAX ? (uint16_t)num : UINT16_MAX);
	vu_queue_show_inuse(vq, queue);
	vu_queue_leave(queue);
}

/* A push that is out of the short way. */
static __attribute__((noinline)) void
push_any(VuVirtq *vq, const struct vhu_snapshot *snapshot, unsigned int id, unsigned int len)
{
	struct vu_queue *queue = vq->own;
	struct vhu_element held;
	bool later;

	if (!vu_queue_takes(queue, snapshot, (struct vu_owed){ VU_OWED_PUSH, id, len, 0 },
			&later)) {
		if (!later)
			vu_queue_late(queue, 1);
		return;
	}
	if (vu_held(queue, snapshot, id, &held) &&
	    vhu_elements_give(&queue->elements, snapshot, &held, len))
		vhu_elements_flush(&queue->elements, snapshot, UINT16_MAX);
	vu_queue_show_inuse(vq, queue);
	vu_queue_leave(queue);
}

void
vu_queue_push(VuDev *dev, VuVirtq *vq, const VuVirtqElement *elem, unsigned int len)
{
	struct vu_queue *queue = vq->own;
	struct vhu_element_queue *elements = &queue->elements;
	const struct vhu_snapshot *snapshot;

	if (vu_is_broken(dev)) {
		vu_queue_late(queue, 1);
		return;
	}
	snapshot = vhu_reader_enter(&elements->ring.reader);
	if (!vhu_direct_open(elements, snapshot)) {
		push_any(vq, snapshot, elem->index, len);
		return;
	}
	if (vhu_direct_give(elements, snapshot, elem->index, len, elements->ring.next_used))
		vhu_direct_show(elements, snapshot, 1);
	vu_queue_show_inuse(vq, queue);
	vhu_reader_leave(&elements->ring.reader);
}

void
vu_queue_notify(VuDev *dev, VuVirtq *vq)
{
	struct vu_queue *queue = vq->own;
	bool later;
	const struct vhu_snapshot *snapshot = vu_queue_enter_or_owe(queue,
		(struct vu_owed){ .what = VU_OWED_NOTIFY }, &later);

	(void)dev;
	if (snapshot == NULL)
		return;
	vhu_elements_notify(&queue->elements, snapshot);
	vu_queue_leave(queue);
	vu_send_calls(queue, false);
}

void
vu_queue_notify_sync(VuDev *dev, VuVirtq *vq)
{
	struct vu_queue *queue = vq->own;
	bool later;
	const struct vhu_snapshot *snapshot = vu_queue_enter_or_owe(queue,
		(struct vu_owed){ .what = VU_OWED_NOTIFY }, &later);

	(void)dev;
	if (snapshot == NULL)
		return;
	vhu_elements_notify(&queue->elements, snapshot);
	vu_queue_leave(queue);
	vu_send_calls(queue, true);
}
