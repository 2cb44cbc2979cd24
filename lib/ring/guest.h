/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_RING_GUEST_H
#define VHU_RING_GUEST_H

/**
 * @file
 * Guest memory, one access at a time.
 *
 * The guest may change its memory whenever it likes. Each field that decides something is loaded
 * exactly once through these functions (volatile or atomic, so that the compiler cannot fetch it
 * again) and only the local copy is used. Payload is copied without looking at it.
 */

#include <stdint.h>

#include <linux/virtio_ring.h>

static inline uint16_t
vhu_guest_load16(const void *address)
{
	return __atomic_load_n((const uint16_t *)address, __ATOMIC_RELAXED);
}

/** Partner: the guest's release of what the index covers. */
static inline uint16_t
vhu_guest_acquire16(const void *address)
{
	return __atomic_load_n((const uint16_t *)address, __ATOMIC_ACQUIRE);
}

static inline uint64_t
vhu_guest_load64(const void *address)
{
	return __atomic_load_n((const uint64_t *)address, __ATOMIC_RELAXED);
}

static inline void
vhu_guest_store16(void *address, uint16_t value)
{
	__atomic_store_n((uint16_t *)address, value, __ATOMIC_RELAXED);
}

/** Partner: the guest's acquire of the index before it reads what it covers. */
static inline void
vhu_guest_release16(void *address, uint16_t value)
{
	__atomic_store_n((uint16_t *)address, value, __ATOMIC_RELEASE);
}

/** Keep the compiler from fetching again, instead of using the copy, what was copied before. */
static inline void
vhu_guest_copied(void)
{
	__asm__ volatile("" ::: "memory");
}

/** Local copy of a descriptor, in the two words in which it is loaded. */
struct vhu_descriptor {
	uint64_t address;
	uint64_t word; /**< length in bits 0-31, flags in 32-47, next in 48-63 */
};

static inline struct vhu_descriptor
vhu_guest_descriptor(const struct vring_desc *descriptor)
{
	return (struct vhu_descriptor){
		vhu_guest_load64(&descriptor->addr),
		vhu_guest_load64(&descriptor->len),
	};
}

static inline uint32_t
vhu_descriptor_length(struct vhu_descriptor d)
{
	return (uint32_t)d.word;
}

static inline uint16_t
vhu_descriptor_flags(struct vhu_descriptor d)
{
	return (uint16_t)(d.word >> 32);
}

static inline uint16_t
vhu_descriptor_next(struct vhu_descriptor d)
{
	return (uint16_t)(d.word >> 48);
}

#endif /* VHU_RING_GUEST_H */
