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
	size_t block_size;
	uint8_t *memory;
	void *free[];
};

VuElementPool *
vu_element_pool_new(unsigned int count, size_t sz, unsigned int segments)
{
	VuElementPool *pool = calloc(1, sizeof(*pool) + count * sizeof(pool->free[0]));
	unsigned int i;

	if (pool == NULL)
		return NULL;
	pool->count = count;
	pool->sz = sz;
	pool->segments = segments;
	/* Whole cache lines, so that neighbours do not share one. */
	pool->block_size = (vu_element_size(sz, segments) + 63) & ~(size_t)63;
	pool->memory = aligned_alloc(64, count * pool->block_size);
	if (pool->memory == NULL) {
		free(pool);
		return NULL;
	}
	for (i = 0; i < count; i++)
		pool->free[i] = pool->memory + (count - 1 - i) * pool->block_size;
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
	return (uintptr_t)block - (uintptr_t)pool->memory < pool->count * pool->block_size;
}

static void
put(VuElementPool *pool, void *block)
{
	if (is_ours(pool, block))
		pool->free[pool->free_count++] = block;
	else
		free(block);
}

void
vu_element_pool_put(VuElementPool *pool, void *const *elements, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		put(pool, elements[i]);
}

/*
 * Take common elements straight into blocks: their segments are written where they are to be.
 * @return how many; what comes next is not common, or not there.
 */
static unsigned int
take_direct(struct vu_queue *queue, const struct vhu_snapshot *snapshot, VuElementPool *pool,
	void **elements, unsigned int count)
{
	struct vhu_direct_run run = vhu_direct_begin(&queue->elements, snapshot, count);
	void *const *top = &pool->free[pool->free_count - 1];
	const size_t sz = pool->sz, at = vu_segments_at(sz);
	const uint32_t room = pool->segments;
	unsigned int i;

	for (i = 0; i < count; i++) {
		VuVirtqElement *block = *top;
		struct vhu_direct taken;

		if (!vhu_direct_take(&queue->elements, snapshot, &run,
				(struct iovec *)((uint8_t *)block + at), room, &taken))
			break;
		vu_fill_element(block, sz, &taken);
		elements[i] = block;
		top--;
	}
	pool->free_count -= i;
	vhu_direct_end(&queue->elements, &run);
	return i;
}

/* A block for an element of any kind. @return NULL: out of memory. */
static VuVirtqElement *
wrap(struct vu_queue *queue, VuElementPool *pool, const struct vhu_direct *taken)
{
	VuVirtqElement *block = taken->count > pool->segments ?
		malloc(vu_element_size(pool->sz, taken->count)) :
		pool->free[--pool->free_count];

	if (block == NULL)
		return NULL;
	if (!vu_hold(queue, taken->id, queue->scratch + taken->readable,
			(uint16_t)(taken->count - taken->readable))) {
		put(pool, block);
		return NULL;
	}
	vu_fill_element(block, pool->sz, taken);
	vu_copy_segments(block->out_sg, queue->scratch, taken->count);
	return block;
}

/* Take one element of any kind. @return false if there is none. */
static bool
take_any(struct vu_queue *queue, const struct vhu_snapshot *snapshot, VuElementPool *pool,
	void **element)
{
	struct vhu_element taken;
	struct vhu_direct direct;
	bool any = vhu_elements_take(&queue->elements, snapshot, &taken, 1, queue->scratch,
		VIRTQUEUE_MAX_SIZE) != 0;

	vu_queue_took(queue);
	if (!any)
		return false;
	direct.id = taken.chain.id;
	direct.readable = taken.chain.readable;
	direct.count = (uint32_t)taken.chain.readable + taken.chain.writable;
	*element = wrap(queue, pool, &direct);
	if (*element == NULL)
		vhu_elements_untake(&queue->elements, snapshot, 1);
	return *element != NULL;
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
		if (vhu_elements_direct_take(&queue->elements, snapshot))
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

static void
give_direct(struct vu_queue *queue, const struct vhu_snapshot *snapshot, void *const *elements,
	const unsigned int *lengths, unsigned int count)
{
	uint16_t index = queue->elements.ring.next_used;
	unsigned int i;

	for (i = 0; i < count; i++)
		index = vhu_direct_give(&queue->elements, snapshot,
			((const VuVirtqElement *)elements[i])->index,
			lengths == NULL ? 0 : lengths[i], index);
	vhu_direct_show(&queue->elements, snapshot, index);
}

void
vu_queue_push_burst(VuDev *dev, VuVirtq *vq, VuElementPool *pool, void *const *elements,
	const unsigned int *lengths, unsigned int count)
{
	struct vu_queue *queue = vq->own;
	const struct vhu_snapshot *snapshot = vu_queue_enter(queue);

	(void)dev;
	if (snapshot == NULL) {
		vu_queue_late(queue, count);
	} else {
		if (vhu_elements_direct(&queue->elements, snapshot))
			give_direct(queue, snapshot, elements, lengths, count);
		else
			give_any(queue, snapshot, elements, lengths, count);
		vu_queue_show_inuse(vq, queue);
		vu_queue_leave(queue);
	}
	vu_element_pool_put(pool, elements, count);
}
