/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_RING_ELEMENT_DIRECT_H
#define VHU_RING_ELEMENT_DIRECT_H

/**
 * @file
 * The short way for common elements, to be inlined where they are used.
 *
 * Common: a split ring without IN_ORDER and without an in-flight area, nothing left by a
 * predecessor, nothing filled out of turn; a chain of direct descriptors that lie in the extent
 * used last. Whoever uses this asks vhu_elements_direct() once a burst. What is not common is left
 * as it is, and the functions of element.h take care of it, also of saying what is wrong with it.
 *
 * What it saves: a call per step and a list of what is filled; about half of an element's price.
 */

#include "ring/element.h"
#include "ring/split.h"

/** Segments of an element that was taken the short way: first the readable ones. */
struct vhu_direct {
	uint16_t id;
	uint32_t readable;
	uint32_t count;
};

/** May elements be given back the short way, as far as the ring is concerned? */
static inline bool
vhu_elements_direct(const struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot)
{
	const struct vhu_ring *ring = &queue->ring;

	return snapshot->format == VHU_SPLIT && snapshot->size == queue->size &&
		queue->size != 0 && snapshot->inflight == NULL && !snapshot->in_order &&
		snapshot->dirty == NULL && ring->phase != VHU_RING_FRESH &&
		!vhu_ring_is_broken(ring) && queue->fill == queue->fill_end;
}

/** May elements be taken? Kicks are asked for again after each look, which is no short way. */
static inline bool
vhu_elements_direct_take(const struct vhu_element_queue *queue,
	const struct vhu_snapshot *snapshot)
{
	const struct vhu_ring *ring = &queue->ring;

	return vhu_elements_direct(queue, snapshot) && queue->again_next == queue->again_count &&
		snapshot->space.iotlb == NULL &&
		ring->hint.generation == snapshot->space.map->generation &&
		!atomic_load_explicit(&ring->closed, memory_order_relaxed) &&
		!(ring->kick_wanted && (snapshot->features >> VIRTIO_RING_F_EVENT_IDX & 1));
}

/** What taking a run of elements changes and looks at, in the caller's registers. */
struct vhu_direct_run {
	uint16_t next;
	uint16_t waiting;       /**< known to be there, from next on */
	uint32_t sequence;
	uint64_t taken;
	uint16_t begun;         /**< next, when the run began */
	struct vhu_extent extent;
};

/** Begin to take at most @p count elements. Nothing is taken before vhu_direct_end(). */
static inline struct vhu_direct_run
vhu_direct_begin(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	uint32_t count)
{
	struct vhu_direct_run run = {
		.next = queue->ring.next_avail,
		.begun = queue->ring.next_avail,
		.sequence = queue->sequence,
		.taken = queue->taken,
		.extent = queue->ring.hint.extent,
	};

	/* The guest's index: its line belongs to another core, so only when it is needed. */
	run.waiting = (uint16_t)(queue->ring.avail_seen - run.next);
	if (run.waiting < count) {
		queue->ring.avail_seen = vhu_guest_acquire16(&snapshot->avail->idx);
		run.waiting = (uint16_t)(queue->ring.avail_seen - run.next);
	}
	/* More than there can be: the long way says so. */
	if (run.waiting > snapshot->size)
		run.waiting = 0;
	return run;
}

/**
 * Take the next element.
 * @param segments  room for @p room of them.
 * @return false: nothing was taken, because nothing waits or it is not common.
 */
static inline __attribute__((always_inline)) bool
vhu_direct_take(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	struct vhu_direct_run *run, struct iovec *segments, uint32_t room,
	struct vhu_direct *direct)
{
	const struct vring_desc *descriptors = snapshot->descriptors;
	const uint32_t size = snapshot->size;
	struct iovec *segment = segments;
	const struct iovec *end = segments + room, *writable = NULL;
	struct vhu_element_slot *slot;
	uint64_t writable_size = 0;
	uint32_t at;

	if (run->waiting == 0)
		return false;
	at = vhu_guest_load16(&snapshot->avail->ring[run->next & (size - 1)]);
	if (__builtin_expect(at >= size, 0))
		return false;
	slot = &queue->slots[at];
	if (__builtin_expect(slot->state != VHU_ELEMENT_NONE, 0))
		return false;
	direct->id = (uint16_t)at;
	for (;;) {
		struct vhu_descriptor d = vhu_guest_descriptor(&descriptors[at]);
		uint64_t offset = d.address - run->extent.start, length = (uint32_t)d.word;

		/* Length 0 becomes more than any extent holds. */
		if (__builtin_expect(offset >= run->extent.size ||
				length - 1 >= run->extent.size - offset || segment == end ||
				(d.word & ((uint64_t)VRING_DESC_F_INDIRECT << 32)), 0))
			return false;
		segment->iov_base = (void *)(uintptr_t)(d.address + run->extent.delta);
		segment->iov_len = length;
		if (d.word & ((uint64_t)VRING_DESC_F_WRITE << 32)) {
			writable = writable == NULL ? segment : writable;
			writable_size += length;
		} else if (__builtin_expect(writable != NULL, 0)) {
			return false;
		}
		segment++;
		if (!(d.word & ((uint64_t)VRING_DESC_F_NEXT << 32)))
			break;
		at = vhu_descriptor_next(d);
		if (__builtin_expect(at >= size, 0))
			return false;
	}
	direct->count = (uint32_t)(segment - segments);
	direct->readable = writable == NULL ? direct->count : (uint32_t)(writable - segments);
	slot->sequence = run->sequence++;
	slot->position = (uint32_t)run->taken;
	slot->room = writable_size < UINT32_MAX ? (uint32_t)writable_size : UINT32_MAX;
	slot->slots = 1;
	slot->state = VHU_ELEMENT_TAKEN;
	slot->again = false;
	queue->order[run->taken++ & queue->mask] = direct->id;
	run->next++;
	run->waiting--;
	return true;
}

/** The elements of the run are the caller's from here on. @return how many. */
static inline uint16_t
vhu_direct_end(struct vhu_element_queue *queue, const struct vhu_direct_run *run)
{
	uint16_t n = (uint16_t)(run->next - run->begun);

	queue->ring.next_avail = run->next;
	queue->sequence = run->sequence;
	queue->taken = run->taken;
	queue->in_flight += n;
	queue->in_flight_slots += n;
	return n;
}

/**
 * Write the used entry of one element; vhu_direct_show() follows. One that is not in flight is left
 * out.
 * @param index  of the entry. @return the next.
 */
static inline __attribute__((always_inline)) uint16_t
vhu_direct_give(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot, uint32_t id,
	uint32_t written, uint16_t index)
{
	struct vhu_element_slot *slot;

	if (__builtin_expect(id >= queue->size, 0))
		return index;
	slot = &queue->slots[id];
	if (__builtin_expect(slot->state != VHU_ELEMENT_TAKEN, 0))
		return index;
	slot->state = VHU_ELEMENT_NONE;
	vhu_split_used(snapshot, index, (uint16_t)id, written < slot->room ? written : slot->room);
	return (uint16_t)(index + 1);
}

/** Show the driver what was given since the index was the ring's. */
static inline void
vhu_direct_show(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	uint16_t index)
{
	uint16_t n = (uint16_t)(index - queue->ring.next_used);

	queue->in_flight -= n;
	queue->in_flight_slots -= n;
	queue->silent += n;
	/* Places that were never filled: none of them is looked at. */
	queue->fill += n;
	queue->fill_end += n;
	queue->ring.next_used = index;
	vhu_guest_release16(&snapshot->used->idx, index);
}

#endif /* VHU_RING_ELEMENT_DIRECT_H */
