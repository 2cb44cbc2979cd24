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
	queue->held = NULL;
	queue->awaited = NULL;
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

	if (memory == NULL || held == NULL || awaited == NULL) {
		free(memory);
		free(held);
		free(awaited);
		return -ENOMEM;
	}
	vu_queue_free(queue);
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
	if (held->sequence != element->sequence && snapshot->dirty != NULL)
		return vhu_elements_again(&queue->elements, snapshot, element, queue->scratch);
	element->chain.writable = held->count;
	element->segments = held->count <= VU_HELD_INLINE ? held->few : held->more;
	return true;
}

/*
 * Take a common element straight into its block, which has room for the segments that most have.
 * @return NULL: nothing was taken.
 */
static VuVirtqElement *
take_direct(struct vu_queue *queue, const struct vhu_snapshot *snapshot, size_t sz)
{
	struct vhu_direct_run run;
	struct vhu_direct taken;
	VuVirtqElement *block;

	if (!vhu_elements_direct_take(&queue->elements, snapshot))
		return NULL;
	run = vhu_direct_begin(&queue->elements, snapshot, 1);
	if (run.waiting == 0)
		return NULL;
	block = malloc(vu_element_size(sz, DIRECT_SEGMENTS));
	if (block == NULL)
		return NULL;
	if (!vhu_direct_take(&queue->elements, snapshot, &run,
			(struct iovec *)((uint8_t *)block + vu_segments_at(sz)), DIRECT_SEGMENTS,
			&taken)) {
		free(block);
		return NULL;
	}
	vhu_direct_end(&queue->elements, &run);
	vu_fill_element(block, sz, &taken);
	return block;
}

/* Take an element of any kind. */
static VuVirtqElement *
take_any(struct vu_queue *queue, const struct vhu_snapshot *snapshot, size_t sz)
{
	struct vhu_element element;
	struct vhu_direct taken;
	VuVirtqElement *block;
	bool any = vhu_elements_take(&queue->elements, snapshot, &element, 1, queue->scratch,
		VIRTQUEUE_MAX_SIZE) != 0;

	vu_queue_took(queue);
	if (!any)
		return NULL;
	taken.id = element.chain.id;
	taken.readable = element.chain.readable;
	taken.count = (uint32_t)element.chain.readable + element.chain.writable;
	block = malloc(vu_element_size(sz, taken.count));
	if (block == NULL || !vu_hold(queue, taken.id, queue->scratch + taken.readable,
			element.chain.writable)) {
		/* Out of memory passes: the request stays where it is. */
		free(block);
		vhu_elements_untake(&queue->elements, snapshot, 1);
		return NULL;
	}
	vu_fill_element(block, sz, &taken);
	vu_copy_segments(block->out_sg, queue->scratch, taken.count);
	return block;
}

void *
vu_queue_pop(VuDev *dev, VuVirtq *vq, size_t sz)
{
	struct vu_queue *queue = vq->own;
	const struct vhu_snapshot *snapshot = vu_queue_enter(queue);
	VuVirtqElement *element = NULL;

	(void)dev;
	if (snapshot == NULL)
		return NULL;
	if (sz >= sizeof(*element)) {
		element = take_direct(queue, snapshot, sz);
		if (element == NULL)
			element = take_any(queue, snapshot, sz);
	}
	vu_queue_show_inuse(vq, queue);
	vu_queue_leave(queue);
	if (element == NULL)
		vu_queue_empty_handed(queue);
	return element;
}

bool
vu_queue_rewind(VuDev *dev, VuVirtq *vq, unsigned int num)
{
	struct vu_queue *queue = vq->own;
	const struct vhu_snapshot *snapshot = vu_queue_enter(queue);
	bool done;

	(void)dev;
	if (snapshot == NULL) {
		vu_queue_late(queue, num <= UINT16_MAX ? num : 0);
		return false;
	}
	done = num <= UINT16_MAX &&
		vhu_elements_untake(&queue->elements, snapshot, (uint16_t)num);
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
	const struct vhu_snapshot *snapshot = vu_queue_enter(queue);
	struct vhu_element held;

	(void)dev;
	if (snapshot == NULL)
		return;
	if (idx <= UINT16_MAX && vu_held(queue, snapshot, elem->index, &held))
		vhu_elements_fill(&queue->elements, snapshot, &held, len, (uint16_t)idx);
	vu_queue_leave(queue);
}

void
vu_queue_flush(VuDev *dev, VuVirtq *vq, unsigned int num)
{
	struct vu_queue *queue = vq->own;
	const struct vhu_snapshot *snapshot = vu_queue_enter(queue);

	(void)dev;
	if (snapshot == NULL) {
		vu_queue_late(queue, num <= UINT16_MAX ? num : 0);
		return;
	}
	vhu_elements_flush(&queue->elements, snapshot,
		num < UINT16_MAX ? (uint16_t)num : UINT16_MAX);
	vu_queue_show_inuse(vq, queue);
	vu_queue_leave(queue);
}

/* An element of any kind comes back. */
static void
give(struct vu_queue *queue, const struct vhu_snapshot *snapshot, unsigned int id,
	unsigned int len)
{
	struct vhu_element held;

	if (vu_held(queue, snapshot, id, &held) &&
	    vhu_elements_give(&queue->elements, snapshot, &held, len))
		vhu_elements_flush(&queue->elements, snapshot, UINT16_MAX);
}

void
vu_queue_push(VuDev *dev, VuVirtq *vq, const VuVirtqElement *elem, unsigned int len)
{
	struct vu_queue *queue = vq->own;
	struct vhu_element_queue *elements = &queue->elements;
	const struct vhu_snapshot *snapshot = vu_queue_enter(queue);

	(void)dev;
	if (snapshot == NULL) {
		vu_queue_late(queue, 1);
		return;
	}
	if (vhu_elements_direct(elements, snapshot))
		vhu_direct_show(elements, snapshot, vhu_direct_give(elements, snapshot,
			elem->index, len, elements->ring.next_used));
	else
		give(queue, snapshot, elem->index, len);
	vu_queue_show_inuse(vq, queue);
	vu_queue_leave(queue);
}

void
vu_queue_notify(VuDev *dev, VuVirtq *vq)
{
	struct vu_queue *queue = vq->own;
	const struct vhu_snapshot *snapshot = vu_queue_enter(queue);

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
	const struct vhu_snapshot *snapshot = vu_queue_enter(queue);

	(void)dev;
	if (snapshot == NULL)
		return;
	vhu_elements_notify(&queue->elements, snapshot);
	vu_queue_leave(queue);
	vu_send_calls(queue, true);
}
