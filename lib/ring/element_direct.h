/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_RING_ELEMENT_DIRECT_H
#define VHU_RING_ELEMENT_DIRECT_H

/**
 * @file
 * The short way for common elements, to be inlined where they are used.
 *
 * Common: a split ring without IN_ORDER and without an in-flight area or a log, nothing left by a
 * predecessor, nothing filled out of turn; a chain of direct descriptors that lie in the extent
 * used last. What is not common is left as it is, and the functions of element.h take care of it,
 * also of saying what is wrong with it.
 *
 * What it saves: a call per step and a list of what is filled; more than half of an element's
 * price. The conditions are looked at once per snapshot, by vhu_direct_renew(), not once a burst:
 * that is a dozen loads and branches less for whoever takes elements one by one.
 */

#include "ring/element.h"
#include "ring/split.h"

/** In queue->open: the short way is closed. No snapshot has this serial. */
#define VHU_DIRECT_NEVER UINT32_MAX

/**
 * Look whether the short way is open from here on. The functions of element.h that change something
 * that decides do it; whoever changes queue->ring from outside while it runs closes it.
 */
void vhu_direct_renew(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot);

/** Close it until the next vhu_direct_renew(). */
static inline void
vhu_direct_close(struct vhu_element_queue *queue)
{
	atomic_store_explicit(&queue->open, VHU_DIRECT_NEVER, memory_order_relaxed);
}

/**
 * Is the short way open? If not, the functions of element.h are to be used. The parked snapshot
 * never opens it.
 */
static inline bool
vhu_direct_open(const struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot)
{
	/* Partner of shut: see ring->closed; ring->broken is this lcore's own. */
	return __builtin_expect(
		atomic_load_explicit(&queue->open, memory_order_relaxed) == snapshot->serial &&
		atomic_load_explicit(&queue->ring.shut, memory_order_relaxed) == 0, 1);
}

/** How many elements wait; looks at the driver's index only if fewer than @p count are known. */
static inline uint16_t
vhu_direct_waiting(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	uint32_t count)
{
	struct vhu_ring *ring = &queue->ring;
	uint16_t waiting = (uint16_t)(ring->avail_seen - ring->next_avail);

	/* The line of the index belongs to another core, so only when it is needed. */
	if (waiting < count) {
		ring->avail_seen = vhu_guest_acquire16(&snapshot->avail->idx);
		waiting = (uint16_t)(ring->avail_seen - ring->next_avail);
	}
	/* More than there can be: the long way says so. */
	return waiting > queue->size ? 0 : waiting;
}

/** An element that was taken the short way; fits two registers. */
struct vhu_direct {
	struct iovec *end; /**< behind its last segment; NULL: nothing was taken */
	uint64_t id;
};

/** The segment of a descriptor. @return false: it is not common. */
static inline __attribute__((always_inline)) bool
vhu_direct_segment(const struct vhu_extent *extent, struct vhu_descriptor d, struct iovec *segment)
{
	uint64_t length = (uint32_t)d.word, last;

	/*
	 * The last byte's place: one comparison, and the carry for what lies before the extent.
	 * Length 0 becomes more than any extent holds.
	 */
	if (__builtin_expect(__builtin_add_overflow(d.address - extent->start, length - 1, &last) ||
			last >= extent->size, 0))
		return false;
	segment->iov_base = (void *)(uintptr_t)(d.address + extent->delta);
	segment->iov_len = length;
	return true;
}

/**
 * Take the @p nth of the elements that wait, from 0 on; vhu_direct_taken() follows.
 *
 * Nothing of the queue is copied into variables: there is one register for it and one for the
 * snapshot, the rest are operands in memory, where copies would end up, too.
 * @param segments  where its segments go, at least one.
 * @param room  behind the last that there is room for.
 * @param writable  out: the first writable one; also if nothing was taken.
 */
static inline __attribute__((always_inline)) struct vhu_direct
vhu_direct_take(const struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	uint32_t nth, struct iovec *segments, const struct iovec *room, struct iovec **writable)
{
	const struct vhu_extent *extent = &queue->ring.hint.extent;
	/* 64 bits: an index that need not be extended. */
	uint64_t at = vhu_guest_load16(
		&snapshot->avail->ring[(queue->ring.next_avail + nth) & queue->mask]), id = at;
	struct vhu_element_slot *slot = &queue->slots[id];
	uint64_t size = 0;
	struct vhu_descriptor d;
	uint32_t flags;

	if (__builtin_expect(at > queue->mask || slot->state != VHU_ELEMENT_NONE, 0))
		return (struct vhu_direct){ NULL, 0 };
	/* A loop for each kind of segment: neither has to count, or to remember which it is in. */
	for (;;) {
		d = vhu_guest_descriptor(&snapshot->descriptors[at]);
		flags = (uint32_t)(d.word >> 32);
		if (flags & (VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT))
			break;
		if (!vhu_direct_segment(extent, d, segments++))
			return (struct vhu_direct){ NULL, 0 };
		if (!(flags & VRING_DESC_F_NEXT)) {
			*writable = segments;
			goto taken;
		}
		at = vhu_descriptor_next(d);
		if (__builtin_expect(at > queue->mask || segments == room, 0))
			return (struct vhu_direct){ NULL, 0 };
	}
	*writable = segments;
	if (__builtin_expect(flags & VRING_DESC_F_INDIRECT, 0))
		return (struct vhu_direct){ NULL, 0 };
	/* Its 0 is not to be shared with the carry of the check, which would go round by memory. */
	__asm__("" : "+r"(size));
	for (;;) {
		if (!vhu_direct_segment(extent, d, segments))
			return (struct vhu_direct){ NULL, 0 };
		size += (uint32_t)d.word;
		segments++;
		if (!(flags & VRING_DESC_F_NEXT))
			break;
		at = vhu_descriptor_next(d);
		if (__builtin_expect(at > queue->mask || segments == room, 0))
			return (struct vhu_direct){ NULL, 0 };
		d = vhu_guest_descriptor(&snapshot->descriptors[at]);
		flags = (uint32_t)(d.word >> 32);
		if (__builtin_expect((flags & (VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT)) !=
				VRING_DESC_F_WRITE, 0))
			return (struct vhu_direct){ NULL, 0 };
	}
taken:
	nth += (uint32_t)queue->taken;
	slot->sequence = nth;
	slot->room = size < UINT32_MAX ? (uint32_t)size : UINT32_MAX;
	slot->slots = 1;
	slot->state = VHU_ELEMENT_TAKEN;
	slot->marks = 0;
	queue->order[nth & queue->mask] = (uint16_t)id;
	return (struct vhu_direct){ segments, id };
}

/** The first @p count that wait have been taken. */
static inline void
vhu_direct_taken(struct vhu_element_queue *queue, uint32_t count)
{
	queue->ring.next_avail += (uint16_t)count;
	queue->taken += count;
	/* Neither half can overflow: an id is in flight once. */
	queue->in_flight_both += count * 0x10001;
}

/**
 * Write the used entry of one element; vhu_direct_show() follows.
 * @param index  of the entry.
 * @return false, and nothing is written, if it is not in flight.
 */
static inline __attribute__((always_inline)) bool
vhu_direct_give(const struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	uint32_t id, uint32_t written, uint32_t index)
{
	vhu_used_word_t *ring = (vhu_used_word_t *)&snapshot->used->ring[0];
	struct vhu_element_slot *slot = &queue->slots[id];

	if (__builtin_expect(id > queue->mask || slot->state != VHU_ELEMENT_TAKEN, 0))
		return false;
	slot->state = VHU_ELEMENT_NONE;
	ring[index & queue->mask] =
		(uint64_t)(written < slot->room ? written : slot->room) << 32 | id;
	return true;
}

/** Show the driver the @p count elements that were given behind the ring's index. */
static inline void
vhu_direct_show(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	uint32_t count)
{
	queue->in_flight_both -= count * 0x10001;
	queue->silent += count;
	queue->ring.next_used += (uint16_t)count;
	vhu_guest_release16(&snapshot->used->idx, queue->ring.next_used);
}

#endif /* VHU_RING_ELEMENT_DIRECT_H */
