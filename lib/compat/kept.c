/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stdlib.h>

#include "compat/private.h"

/*
 * Memory that the front-end has taken away while programs hold elements: their segments may point
 * into it, so it stays mapped until those elements are back. Each region that goes gets a number.
 * A queue is done with it if nothing is out at all, which the dispatching thread sees, or if all
 * that was out when the number came is back, for which the queue's thread looks through what it
 * has (only then, and only while it takes elements anyway). Which elements point into the region
 * is not known: what is taken the short way is not kept.
 *
 * The message is answered without waiting for this. The thread that would push the elements may be
 * the one that dispatches, and some requests take seconds.
 */

/* As many as can be mapped at a time: a front-end that goes on needs patience. */
#define MOST_KEPT VHU_MAX_MEM_SLOTS

/* Elements that the program has or may have, except for those that came when nobody wanted them. */
static bool
nothing_out(const struct vu_queue *queue)
{
	/* Partner: vu_queue_show_inuse(); what the program did to the segments comes before it. */
	uint32_t out = queue->left_out + __atomic_load_n(
		&queue->dev->vq[queue->index].inuse, __ATOMIC_ACQUIRE);

	/* Partner: the addition in vu_queue_late(). */
	return out <= atomic_load_explicit(&queue->late, memory_order_acquire);
}

static bool
is_done_with(const struct vu_queue *queue, uint32_t removal)
{
	/* Partner: the release store in vu_queue_look_back(). */
	uint32_t returned = atomic_load_explicit(&queue->returned, memory_order_acquire);

	return nothing_out(queue) ||
		(queue->left_out == 0 && (int32_t)(returned - removal) >= 0);
}

static bool
all_done_with(const struct vu_device *own, uint32_t removal)
{
	uint16_t i;

	for (i = 0; i < own->dev->max_queues; i++)
		if (!is_done_with(&own->queues[i], removal))
			return false;
	return true;
}

void
vu_region_gone(void *owner, struct vhu_region *region)
{
	struct vu_device *own = owner;
	struct vhu_region **last = &own->kept;
	uint16_t i;

	region->removal = ++own->removals;
	if (all_done_with(own, region->removal)) {
		vhu_region_free(region);
		return;
	}
	while (*last != NULL)
		last = &(*last)->next;
	region->next = NULL;
	*last = region;
	own->kept_count++;
	for (i = 0; i < own->dev->max_queues; i++)
		/* Partner: the acquire load in vu_queue_look_back(). */
		atomic_store_explicit(&own->queues[i].removal, own->removals,
			memory_order_release);
}

bool
vu_regions_crowd(void *owner)
{
	const struct vu_device *own = owner;

	return own->kept_count >= MOST_KEPT;
}

static void
free_first(struct vu_device *own)
{
	struct vhu_region *first = own->kept;

	own->kept = first->next;
	own->kept_count--;
	vhu_region_free(first);
}

void
vu_kept_release(struct vu_device *own)
{
	/* Oldest first: whoever is done with one is done with all before it. */
	while (own->kept != NULL && all_done_with(own, own->kept->removal))
		free_first(own);
}

void
vu_kept_end(struct vu_device *own)
{
	while (own->kept != NULL)
		free_first(own);
}

void
vu_queue_forget_out(struct vu_queue *queue)
{
	queue->left_out = 0;
	queue->looking = atomic_load_explicit(&queue->removal, memory_order_relaxed);
	atomic_store_explicit(&queue->returned, queue->looking, memory_order_relaxed);
	atomic_store_explicit(&queue->late, 0, memory_order_relaxed);
}

void
vu_queue_late(struct vu_queue *queue, uint32_t count)
{
	/* Partner: the acquire load in nothing_out(). */
	atomic_fetch_add_explicit(&queue->late, count, memory_order_release);
}

/* Is the element with this id still the one that is waited for? */
static bool
is_awaited(const struct vu_queue *queue, uint16_t id)
{
	struct vhu_element element;

	return vhu_elements_find(&queue->elements, id, &element) &&
		queue->awaited[id] == element.sequence;
}

/* Wait for all that is out now. */
static void
begin_to_look(struct vu_queue *queue, uint32_t removal)
{
	uint16_t id;

	queue->looking = removal;
	queue->look_at = 0;
	for (id = 0; id < queue->held_count; id++)
		/* What is not out gets another number next, unless it was put back: it counts. */
		queue->awaited[id] = queue->elements.slots[id].sequence;
}

void
vu_queue_look_back(struct vu_queue *queue)
{
	/* Partner: the release store in vu_region_gone(). */
	uint32_t removal = atomic_load_explicit(&queue->removal, memory_order_acquire);

	if (queue->looking == atomic_load_explicit(&queue->returned, memory_order_relaxed))
		begin_to_look(queue, removal);
	/* One that is back never comes again: each id is looked at once, and the first one out. */
	while (queue->look_at < queue->held_count && !is_awaited(queue, queue->look_at))
		queue->look_at++;
	if (queue->look_at == queue->held_count)
		/* Partner: the acquire load in is_done_with(). */
		atomic_store_explicit(&queue->returned, queue->looking, memory_order_release);
	/* Until all is back no element may be taken the short way, where nobody looks. */
	if (removal != atomic_load_explicit(&queue->returned, memory_order_relaxed)) {
		vhu_direct_close(&queue->elements);
		/* ... and what gives elements back does not open it again. */
		queue->elements.ring.hint.generation = 0;
	}
}
