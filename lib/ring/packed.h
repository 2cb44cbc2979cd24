/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_RING_PACKED_H
#define VHU_RING_PACKED_H

/**
 * @file
 * The packed virtqueue (virtio 1.3, section 2.8), seen from the device.
 *
 * One ring of descriptors serves both directions. Two bits of a descriptor's flags tell whose it
 * is, compared with a wrap counter that changes each time the ring's end is passed: the driver's
 * counter says which AVAIL bit means "made available in this lap", the device's which pair of bits
 * means "used". Positions are descriptors, below the ring's size. lcore only.
 */

#include <stdbool.h>
#include <stdint.h>

#include "ring/chain.h"
#include "ring/guest.h"

/** Flags of a descriptor that say whose it is. */
#define VHU_PACKED_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define VHU_PACKED_USED (1u << VRING_PACKED_DESC_F_USED)

/**
 * The second word of a descriptor: length in bits 0-31, buffer id in 32-47, flags in 48-63.
 * One load of it decides everything, and one store of it is a used descriptor.
 */
static inline uint64_t
vhu_packed_word(uint32_t length, uint16_t id, uint16_t flags)
{
	return (uint64_t)flags << 48 | (uint64_t)id << 32 | length;
}

static inline uint16_t
vhu_packed_id(struct vhu_descriptor d)
{
	return (uint16_t)(d.word >> 32);
}

static inline uint16_t
vhu_packed_flags(struct vhu_descriptor d)
{
	return (uint16_t)(d.word >> 48);
}

/** That word in the ring. Descriptors are aligned to 16 bytes, so it is aligned to 8. */
typedef uint64_t vhu_packed_word_t __attribute__((may_alias));

static inline vhu_packed_word_t *
vhu_packed_word_at(const struct vhu_snapshot *snapshot, uint16_t index)
{
	return (vhu_packed_word_t *)((uint8_t *)&snapshot->packed[index] + sizeof(uint64_t));
}

/** Do these flags say "available" in the lap with this wrap counter? */
static inline bool
vhu_packed_is_available(uint16_t flags, bool wrap)
{
	return (((flags & VHU_PACKED_AVAIL) != 0) == wrap) &&
		(((flags & VHU_PACKED_USED) != 0) != wrap);
}

/**
 * Copy a descriptor. The word with the flags comes first, with acquire. Partner: the driver's
 * release of the flags of a chain's first descriptor, after all else of the chain.
 */
static inline struct vhu_descriptor
vhu_packed_load_at(const struct vring_packed_desc *descriptor)
{
	const vhu_packed_word_t *word =
		(const vhu_packed_word_t *)((const uint8_t *)descriptor + sizeof(uint64_t));
	struct vhu_descriptor d;

	d.word = __atomic_load_n(word, __ATOMIC_ACQUIRE);
	d.address = vhu_guest_load64(&descriptor->addr);
	return d;
}

static inline struct vhu_descriptor
vhu_packed_load(const struct vhu_snapshot *snapshot, uint16_t index)
{
	return vhu_packed_load_at(&snapshot->packed[index]);
}

/** Flags of a used descriptor. @param written  whether anything was written to the buffer. */
static inline uint16_t
vhu_packed_used_flags(bool wrap, bool written)
{
	return (uint16_t)((wrap ? VHU_PACKED_AVAIL | VHU_PACKED_USED : 0) |
		(written ? VRING_DESC_F_WRITE : 0));
}

/** Move a position @p slots descriptors on, at most a whole lap. */
static inline void
vhu_packed_advance(uint16_t *next, bool *wrap, uint16_t slots, uint16_t size)
{
	uint32_t to = (uint32_t)*next + slots;

	if (to >= size) {
		to -= size;
		*wrap = !*wrap;
	}
	*next = (uint16_t)to;
}

/** Descriptors from one position to another that is at most a lap ahead. */
static inline uint16_t
vhu_packed_distance(struct vhu_walk from, struct vhu_walk to, uint16_t size)
{
	return (uint16_t)(to.next - from.next + (to.wrap != from.wrap ? size : 0));
}

#endif /* VHU_RING_PACKED_H */
