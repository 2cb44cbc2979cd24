/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stdlib.h>
#include <string.h>

#include "compat/private.h"

/* Elements that are taken at once at most: their segments share the queue's scratch space. */
#define BURST_MAX 64

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

/* A block for an element. @return NULL: there is none. */
static void *
get(VuElementPool *pool, const struct vhu_element *element)
{
	unsigned int segments = (unsigned int)element->chain.readable + element->chain.writable;

	if (segments > pool->segments)
		return malloc(vu_element_size(pool->sz, segments));
	return pool->free_count != 0 ? pool->free[--pool->free_count] : NULL;
}

/* One look at the ring. @return how many were taken. */
static unsigned int
take(struct vu_queue *queue, const struct vhu_snapshot *snapshot, VuElementPool *pool,
	void **elements, uint16_t count)
{
	struct vhu_element taken[BURST_MAX];
	uint16_t i, n = vhu_elements_take(&queue->elements, snapshot, taken, count,
		queue->scratch, VIRTQUEUE_MAX_SIZE);

	for (i = 0; i < n; i++) {
		void *block = get(pool, &taken[i]);

		if (block == NULL || !vu_hold(queue, &taken[i])) {
			if (block != NULL)
				put(pool, block);
			vhu_elements_untake(&queue->elements, snapshot, (uint16_t)(n - i));
			break;
		}
		vu_fill_element(block, &taken[i], pool->sz);
		elements[i] = block;
	}
	return i;
}

unsigned int
vu_queue_pop_burst(VuDev *dev, VuVirtq *vq, VuElementPool *pool, void **elements,
	unsigned int count)
{
	struct vu_queue *queue = vq->own;
	const struct vhu_snapshot *snapshot;
	unsigned int done = 0, n, wanted;

	(void)dev;
	if (count > pool->free_count)
		count = pool->free_count;
	if (count == 0)
		return 0;
	snapshot = vu_queue_enter(queue);
	if (snapshot == NULL)
		return 0;
	do {
		wanted = count - done < BURST_MAX ? count - done : BURST_MAX;
		n = take(queue, snapshot, pool, elements + done, (uint16_t)wanted);
		done += n;
	} while (n == wanted && done < count);
	vq->inuse = queue->elements.in_flight;
	vu_queue_leave(queue);
	return done;
}

void
vu_queue_push_burst(VuDev *dev, VuVirtq *vq, VuElementPool *pool, void *const *elements,
	const unsigned int *lengths, unsigned int count)
{
	struct vu_queue *queue = vq->own;
	const struct vhu_snapshot *snapshot = vu_queue_enter(queue);
	unsigned int i;

	(void)dev;
	if (snapshot != NULL) {
		for (i = 0; i < count; i++) {
			const VuVirtqElement *element = elements[i];
			const struct vhu_element *held = vu_held(queue, element->index);

			if (held != NULL)
				vhu_elements_give(&queue->elements, snapshot, held,
					lengths == NULL ? 0 : lengths[i]);
		}
		vhu_elements_flush(&queue->elements, snapshot, UINT16_MAX);
		vq->inuse = queue->elements.in_flight;
		vu_queue_leave(queue);
	}
	vu_element_pool_put(pool, elements, count);
}
