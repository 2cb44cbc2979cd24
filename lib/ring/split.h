/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_RING_SPLIT_H
#define VHU_RING_SPLIT_H

/**
 * @file
 * The split virtqueue (virtio 1.3, section 2.7), seen from the device.
 *
 * Bursts over the common case (one direct descriptor per buffer) are written out where they are
 * used; what is here is what they share: how many entries wait, and used entries. Chains of any
 * layout are walked by ring/chain.h. lcore only.
 */

#include <stdbool.h>
#include <stdint.h>

#include "ring/guest.h"
#include "ring/ring.h"

/**
 * How many entries of the available ring wait, at most @p wanted.
 * Reads the guest's index only if what was seen before does not suffice: that line belongs to the
 * guest's core and each look costs a miss. An index that moved by more than the ring breaks it (0).
 */
static inline uint16_t
vhu_split_available(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, uint16_t wanted)
{
	uint16_t waiting = (uint16_t)(ring->avail_seen - ring->next_avail);

	if (waiting < wanted) {
		uint16_t seen = vhu_guest_acquire16(&snapshot->avail->idx);

		waiting = (uint16_t)(seen - ring->next_avail);
		if (__builtin_expect(waiting > snapshot->size, 0)) {
			vhu_ring_break(ring, VHU_BROKEN_AVAIL_INDEX, seen);
			return 0;
		}
		ring->avail_seen = seen;
	}
	return waiting < wanted ? waiting : wanted;
}

/** Head of entry @p index (free running) of the available ring; not checked. */
static inline uint16_t
vhu_split_head(const struct vhu_snapshot *snapshot, uint16_t index)
{
	return vhu_guest_load16(&snapshot->avail->ring[index & (snapshot->size - 1)]);
}

/** A used element as one word: id is the low and len the high half. Elements lie at 4 modulo 8. */
typedef uint64_t vhu_used_word_t __attribute__((aligned(4), may_alias));

/** Write one used element, without publishing it. */
static inline void
vhu_split_used(const struct vhu_snapshot *snapshot, uint16_t index, uint16_t head, uint32_t length)
{
	vhu_used_word_t *ring = (vhu_used_word_t *)&snapshot->used->ring[0];

	ring[index & (snapshot->size - 1u)] = (uint64_t)length << 32 | head;
}

/**
 * Write @p count used elements from @p index on. In at most two pieces without a mask inside, so
 * that the compiler can store several elements at once.
 * @param length  of each; NULL: nothing was written to the buffers.
 */
static inline void
vhu_split_used_run(const struct vhu_snapshot *snapshot, uint16_t index, const uint16_t *head,
	const uint32_t *length, unsigned int count)
{
	vhu_used_word_t *ring = (vhu_used_word_t *)&snapshot->used->ring[0];
	unsigned int at = index & (snapshot->size - 1u), done = 0;

	while (done < count) {
		unsigned int end = snapshot->size - at < count - done ?
			done + (snapshot->size - at) : count;
		vhu_used_word_t *to = ring + at;
		unsigned int i;

		if (length == NULL)
			for (i = done; i < end; i++)
				to[i - done] = head[i];
		else
			for (i = done; i < end; i++)
				to[i - done] = (uint64_t)length[i] << 32 | head[i];
		done = end;
		at = 0;
	}
}

#endif /* VHU_RING_SPLIT_H */
