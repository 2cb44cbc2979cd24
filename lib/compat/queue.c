/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compat/private.h"

/* The segments of an element lie behind the part that the program asked for, aligned to them. */
#define SEGMENTS_AT(sz) (((sz) + _Alignof(struct iovec) - 1) & ~(_Alignof(struct iovec) - 1))

static void
free_held(struct vu_queue *queue)
{
	uint16_t i;

	for (i = 0; i < queue->held_count; i++)
		free(queue->held[i].more);
	free(queue->held);
	queue->held = NULL;
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

	if (memory == NULL || held == NULL) {
		free(memory);
		free(held);
		return -ENOMEM;
	}
	vu_queue_free(queue);
	queue->memory = memory;
	queue->held = held;
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
	vq->vring.num = snapshot->size;
	vq->vring.desc = (struct vring_desc *)(uintptr_t)snapshot->descriptors;
	vq->vring.avail = (struct vring_avail *)(uintptr_t)snapshot->avail;
	vq->vring.used = snapshot->used;
	vq->inuse = 0;
	vq->notification = true;
	vq->signalled_used_valid = false;
}

void
vu_queue_return_rest(struct vu_queue *queue)
{
	const struct vhu_snapshot *snapshot = vu_queue_enter(queue);

	if (snapshot == NULL)
		return;
	/* Those in an in-flight area are found there by whoever comes next. */
	if (snapshot->size != 0 && snapshot->inflight == NULL && queue->elements.in_flight != 0)
		(void)vhu_elements_untake(&queue->elements, snapshot, queue->elements.in_flight);
	vu_queue_leave(queue);
}

void
vu_queue_end(struct vu_queue *queue)
{
	vu_public(queue)->inuse = 0;
}

void
vu_queue_panic(struct vu_queue *queue, enum vhu_broken reason)
{
	if (queue->panicked)
		return;
	queue->panicked = true;
	vu_panic(queue->dev, "queue %u: %s", queue->index, vhu_broken_text(reason));
}

const struct vhu_snapshot *
vu_queue_enter(struct vu_queue *queue)
{
	if (queue->dev->broken)
		return NULL;
	return vhu_reader_enter(&queue->elements.ring.reader);
}

void
vu_queue_leave(struct vu_queue *queue)
{
	struct vhu_ring *ring = &queue->elements.ring;

	vhu_reader_leave(&ring->reader);
	/* With the ring left: the program may do what it likes in its callback. */
	if (__builtin_expect(vhu_ring_is_broken(ring), 0))
		vu_queue_panic(queue, (enum vhu_broken)atomic_load(&ring->broken));
}

bool
vu_hold(struct vu_queue *queue, const struct vhu_element *element)
{
	struct vu_held *held = &queue->held[element->chain.id];
	uint16_t count = element->chain.writable;

	if (count > VU_HELD_INLINE && count > held->room) {
		struct iovec *more = realloc(held->more, count * sizeof(*more));

		if (more == NULL)
			return false;
		held->more = more;
		held->room = count;
	}
	held->element = *element;
	held->element.segments = count <= VU_HELD_INLINE ? held->few : held->more;
	held->element.chain.readable = 0;
	memcpy(held->element.segments, element->segments + element->chain.readable,
		count * sizeof(struct iovec));
	return true;
}

const struct vhu_element *
vu_held(const struct vu_queue *queue, unsigned int id)
{
	return id < queue->held_count ? &queue->held[id].element : NULL;
}

void
vu_fill_element(VuVirtqElement *to, const struct vhu_element *from, size_t sz)
{
	struct iovec *segments = (struct iovec *)((uint8_t *)to + SEGMENTS_AT(sz));
	const uint16_t readable = from->chain.readable, writable = from->chain.writable;

	memset(to, 0, sz);
	to->index = from->chain.id;
	to->in_num = writable;
	to->out_num = readable;
	to->in_sg = segments;
	to->out_sg = segments + writable;
	memcpy(to->in_sg, from->segments + readable, writable * sizeof(segments[0]));
	memcpy(to->out_sg, from->segments, readable * sizeof(segments[0]));
}

size_t
vu_element_size(size_t sz, unsigned int segments)
{
	return SEGMENTS_AT(sz) + segments * sizeof(struct iovec);
}

/* Take one element into a block of its own. */
static VuVirtqElement *
take(struct vu_queue *queue, const struct vhu_snapshot *snapshot, size_t sz)
{
	struct vhu_element element;
	VuVirtqElement *block;

	if (vhu_elements_take(&queue->elements, snapshot, &element, 1, queue->scratch,
			VIRTQUEUE_MAX_SIZE) == 0)
		return NULL;
	block = malloc(vu_element_size(sz,
		(unsigned int)element.chain.readable + element.chain.writable));
	if (block == NULL || !vu_hold(queue, &element)) {
		/* Out of memory passes: the request stays where it is. */
		free(block);
		vhu_elements_untake(&queue->elements, snapshot, 1);
		return NULL;
	}
	vu_fill_element(block, &element, sz);
	return block;
}

/* What programs may look at. */
static void
mirror(struct vu_queue *queue)
{
	VuVirtq *vq = vu_public(queue);

	vq->inuse = queue->elements.in_flight;
	vq->last_avail_idx = queue->elements.ring.next_avail;
	vq->used_idx = queue->elements.ring.next_used;
}

void *
vu_queue_pop(VuDev *dev, VuVirtq *vq, size_t sz)
{
	struct vu_queue *queue = vq->own;
	const struct vhu_snapshot *snapshot = vu_queue_enter(queue);
	VuVirtqElement *element;

	(void)dev;
	if (snapshot == NULL)
		return NULL;
	element = sz < sizeof(*element) ? NULL : take(queue, snapshot, sz);
	mirror(queue);
	vu_queue_leave(queue);
	return element;
}

bool
vu_queue_rewind(VuDev *dev, VuVirtq *vq, unsigned int num)
{
	struct vu_queue *queue = vq->own;
	const struct vhu_snapshot *snapshot = vu_queue_enter(queue);
	bool done;

	(void)dev;
	if (snapshot == NULL)
		return false;
	done = num <= UINT16_MAX &&
		vhu_elements_untake(&queue->elements, snapshot, (uint16_t)num);
	mirror(queue);
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
	const struct vhu_element *held = vu_held(queue, elem->index);

	(void)dev;
	if (snapshot == NULL)
		return;
	if (held != NULL && idx <= UINT16_MAX)
		vhu_elements_fill(&queue->elements, snapshot, held, len, (uint16_t)idx);
	vu_queue_leave(queue);
}

void
vu_queue_flush(VuDev *dev, VuVirtq *vq, unsigned int num)
{
	struct vu_queue *queue = vq->own;
	const struct vhu_snapshot *snapshot = vu_queue_enter(queue);

	(void)dev;
	if (snapshot == NULL)
		return;
	vhu_elements_flush(&queue->elements, snapshot,
		num < UINT16_MAX ? (uint16_t)num : UINT16_MAX);
	mirror(queue);
	vu_queue_leave(queue);
}

void
vu_queue_push(VuDev *dev, VuVirtq *vq, const VuVirtqElement *elem, unsigned int len)
{
	struct vu_queue *queue = vq->own;
	const struct vhu_snapshot *snapshot = vu_queue_enter(queue);
	const struct vhu_element *held = vu_held(queue, elem->index);

	(void)dev;
	if (snapshot == NULL)
		return;
	if (held != NULL && vhu_elements_give(&queue->elements, snapshot, held, len))
		vhu_elements_flush(&queue->elements, snapshot, UINT16_MAX);
	mirror(queue);
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
