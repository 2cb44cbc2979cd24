/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stdlib.h>
#include <string.h>

#include "compat/private.h"

/*
 * A stack of free blocks, all cut from one piece of memory. Blocks for elements with more segments
 * than the pool's come from malloc and are told by their address.
 */
struct VuElementPool {
	unsigned int free_count;
	unsigned int count;
	size_t sz;
	unsigned int segments;
	size_t size;             /**< bytes of memory */
	uint8_t *memory;
	void *free[];
};

VuElementPool *
vu_element_pool_new(unsigned int count, size_t sz, unsigned int segments)
{
	VuElementPool *pool = calloc(1, sizeof(*pool) + count * sizeof(pool->free[0]));
	unsigned int i;
	size_t block;

	if (pool == NULL)
		return NULL;
	/* One segment at least: vhu_direct_take() looks only behind the first. */
	if (segments == 0)
		segments = 1;
	/* Whole cache lines, so that neighbours do not share one. */
	block = (vu_element_size(sz, segments) + 63) & ~(size_t)63;
	pool->count = count;
	pool->sz = sz;
	pool->segments = segments;
	pool->size = count * block;
	pool->memory = aligned_alloc(64, pool->size);
	if (pool->memory == NULL) {
		free(pool);
		return NULL;
	}
	for (i = 0; i < count; i++)
		pool->free[i] = pool->memory + (count - 1 - i) * block;
	pool->free_count = count;
	return pool;
}

void
vu_element_pool_free(VuElementPool *pool)
{
	if (pool == NULL)
		return;
	free(pool->memory);
	free(pool);
}

static bool
is_ours(const VuElementPool *pool, const void *block)
{
	return (uintptr_t)block - (uintptr_t)pool->memory < pool->size;
}

/* Put a block where the next free one goes. @return where the one behind it goes. */
static inline void **
put(const VuElementPool *pool, void **top, void *block)
{
	if (__builtin_expect(!is_ours(pool, block), 0)) {
		free(block);
		return top;
	}
	*top = block;
	return top + 1;
}

void
vu_element_pool_put(VuElementPool *pool, void *const *elements, unsigned int count)
{
	void **top = &pool->free[pool->free_count];
	unsigned int i;

	for (i = 0; i < count; i++)
		top = put(pool, top, elements[i]);
	pool->free_count = (unsigned int)(top - pool->free);
}

/*
 * Take common elements straight into blocks: their segments are written where they are to be. Not
 * inlined: the loop needs the registers.
 * @return how many; what comes next is not common, or not there.
 */
static __attribute__((noinline)) unsigned int
take_direct(struct vu_queue *queue, const struct vhu_snapshot *snapshot, VuElementPool *pool,
	void **elements, unsigned int count)
{
	unsigned int waiting = vhu_direct_waiting(&queue->elements, snapshot, count), i;
	void *const *top = &pool->free[pool->free_count - 1];
	const size_t sz = pool->sz, at = vu_segments_at(sz), room = pool->segments;

	if (count > waiting)
		count = waiting;
	for (i = 0; i < count; i++) {
		VuVirtqElement *block = *top;
		struct iovec *segments = (struct iovec *)((uint8_t *)block + at);
		struct vhu_direct taken = vhu_direct_take(&queue->elements, snapshot, i,
			segments, segments + room, &block->in_sg);

		if (taken.end == NULL)
			break;
		vu_fill_element(block, (uint32_t)taken.id, segments, taken.end);
		vu_clear_rest(block, sz);
		elements[i] = block;
		top--;
	}
	pool->free_count -= i;
	vhu_direct_taken(&queue->elements, i);
	return i;
}

/* Take one element of any kind. @return false if there is none, or no memory for it. */
static bool
take_any(struct vu_queue *queue, const struct vhu_snapshot *snapshot, VuElementPool *pool,
	void **element)
{
	struct vhu_element taken;
	bool any = vhu_elements_take(&queue->elements, snapshot, &taken, 1, queue->scratch,
		VIRTQUEUE_MAX_SIZE) != 0;
	unsigned int count;

	vu_queue_took(queue);
	if (!any)
		return false;
	count = (unsigned int)taken.chain.readable + taken.chain.writable;
	*element = count > pool->segments ? malloc(vu_element_size(pool->sz, count)) :
		pool->free[--pool->free_count];
	if (vu_keep(queue, snapshot, &taken, *element, pool->sz))
		return true;
	vu_element_pool_put(pool, element, 1);
	return false;
}

unsigned int
vu_queue_pop_burst(VuDev *dev, VuVirtq *vq, VuElementPool *pool, void **elements,
	unsigned int count)
{
	struct vu_queue *queue = vq->own;
	const struct vhu_snapshot *snapshot;
	unsigned int done = 0;

	(void)dev;
	if (count > pool->free_count)
		count = pool->free_count;
	if (count == 0)
		return 0;
	snapshot = vu_queue_enter(queue);
	if (snapshot == NULL)
		return 0;
	do {
		if (vhu_direct_open(&queue->elements, snapshot))
			done += take_direct(queue, snapshot, pool, elements + done, count - done);
	} while (done < count && take_any(queue, snapshot, pool, &elements[done]) &&
		++done < count);
	vu_queue_show_inuse(vq, queue);
	vu_queue_leave(queue);
	if (done == 0)
		vu_queue_empty_handed(queue);
	return done;
}

/* Elements of any kind come back. */
static void
give_any(struct vu_queue *queue, const struct vhu_snapshot *snapshot, void *const *elements,
	const unsigned int *lengths, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		const VuVirtqElement *element = elements[i];
		struct vhu_element held;

		if (vu_held(queue, snapshot, element->index, &held))
			vhu_elements_give(&queue->elements, snapshot, &held,
				lengths == NULL ? 0 : lengths[i]);
	}
	vhu_elements_flush(&queue->elements, snapshot, UINT16_MAX);
}

/*
 * Common ones come back, and their blocks into the pool in the same round: each is loaded once.
 */
static void
give_direct(struct vu_queue *queue, const struct vhu_snapshot *snapshot, VuElementPool *pool,
	void *const *elements, const unsigned int *lengths, unsigned int count)
{
	uint32_t begin = queue->elements.ring.next_used, given = 0;
	void **top = &pool->free[pool->free_count];
	unsigned int i;

	for (i = 0; i < count; i++) {
		VuVirtqElement *element = elements[i];

		given += vhu_direct_give(&queue->elements, snapshot, element->index,
			lengths == NULL ? 0 : lengths[i], begin + given);
		top = put(pool, top, element);
	}
	pool->free_count = (unsigned int)(top - pool->free);
	vhu_direct_show(&queue->elements, snapshot, given);
}

void
vu_queue_push_burst(VuDev *dev, VuVirtq *vq, VuElementPool *pool, void *const *elements,
	const unsigned int *lengths, unsigned int count)
{
	struct vu_queue *queue = vq->own;
	const struct vhu_snapshot *snapshot = vu_queue_enter(queue);
	unsigned int i;
	bool direct = snapshot != NULL && vhu_direct_open(&queue->elements, snapshot);

	if (direct)
		give_direct(queue, snapshot, pool, elements, lengths, count);
	else if (snapshot != NULL)
		give_any(queue, snapshot, elements, lengths, count);
	if (snapshot == NULL) {
		for (i = 0; i < count; i++)
			vu_queue_push(dev, vq, elements[i], lengths == NULL ? 0 : lengths[i]);
	} else {
		vu_queue_show_inuse(vq, queue);
		vu_queue_leave(queue);
	}
	if (!direct)
		vu_element_pool_put(pool, elements, count);
}
