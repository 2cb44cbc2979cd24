/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_GATHER_H
#define VHU_NET_GATHER_H

/**
 * @file
 * What the first passes of receive.h and transmit.h share: heads, descriptors, translation.
 *
 * Included by body.c only.
 */

#include "net/copy.h"
#include "net/queue.h"
#include "ring/split.h"

/** Most packets in one run: as many misses as a core can have under way, with some to spare. */
#define VHU_RUN 64

/**
 * The passes of a burst are functions of their own: together in one they have more live values than
 * there are registers, and each packet would pay for reloading them.
 */
#define VHU_PASS static __attribute__((noinline))

/** A gathered run: where each buffer is, how many bytes of it count, which head it has. */
struct vhu_gathered {
	uint8_t *host[VHU_RUN];
	uint32_t size[VHU_RUN];
	uint16_t head[VHU_RUN];
};

/** Heads of the next @p run entries; asks for their descriptors. */
static inline void
gather_heads(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot, unsigned int run,
	uint16_t *head)
{
	const struct vring_desc *descriptors = snapshot->descriptors;
	const uint8_t *ring_of_heads = (const uint8_t *)snapshot->avail->ring;
	unsigned int at = ring->next_avail & (snapshot->size - 1u);
	unsigned int i, first = snapshot->size - at < run ? snapshot->size - at : run;

	/* At most two copies instead of an indexed load each. */
	vhu_copy((uint8_t *)head, ring_of_heads + at * sizeof(head[0]), first * sizeof(head[0]));
	if (__builtin_expect(first < run, 0))
		vhu_copy((uint8_t *)(head + first), ring_of_heads, (run - first) * sizeof(head[0]));
	vhu_guest_copied();
	/* Not yet bounded: a prefetch cannot fault. */
	for (i = 0; i < run; i++)
		__builtin_prefetch(&descriptors[head[i]]);
}

/**
 * Host address of a whole buffer, NULL if it does not lie in one extent.
 * @param extent  a copy of the ring's hint in the caller's registers; refreshed on a miss.
 */
static inline uint8_t *
gather_translate(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct vhu_extent *extent, uint64_t address, uint32_t size, enum vhu_access access)
{
	uint64_t offset = address - extent->start, contiguous = size;
	uint8_t *host;

	if (__builtin_expect(offset < extent->size && size <= extent->size - offset, 1))
		return (uint8_t *)(uintptr_t)(address + extent->delta);
	host = vhu_translate_slow(&snapshot->space, &ring->hint, address, &contiguous,
		access);
	*extent = ring->hint.extent;
	return contiguous == size ? host : NULL;
}

#endif /* VHU_NET_GATHER_H */
