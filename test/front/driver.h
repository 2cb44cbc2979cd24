/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef FRONT_DRIVER_H
#define FRONT_DRIVER_H

/**
 * @file
 * A guest's driver of one virtqueue, made to cost so little that the back-end is always the slower
 * side: split or packed, in order or not, with buffers of its own.
 *
 * A ring has *slots*; a slot is a buffer that stays where it is, so nothing is allocated while
 * frames move. A slot is posted (the device may use it), comes back with the used entry, and is
 * posted again. Every posting writes descriptor and header (transmit) anew, as real drivers do;
 * payload is not touched unless front_touch_read() or front_touch_write() is called.
 *
 * Transmit (guest to back-end): front_take() gives empty slots, front_post() sends them,
 * and front_take() collects those that are done when it runs short. Receive: front_post_all()
 * fills the ring once, front_receive() gives frames, front_post() returns their slots.
 *
 * Driver and device run on different cores; what the driver reads of the device it reads with
 * acquire, what it publishes it stores with release. One thread per ring. Nothing here waits, and
 * only front_kick() makes a system call. A device that breaks the rules is counted in "faults" and
 * never makes the driver leave its own memory.
 */

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_ring.h>

#include "memory.h"

/**
 * Bring a line near in order to write it. Compilers for the oldest machines make a read of
 * __builtin_prefetch(), and then each store waits for the other core once more.
 */
static inline void
front_prefetch_write(const void *line)
{
#ifdef __x86_64__
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)line));
#else
	__builtin_prefetch(line, 1);
#endif
}

/** Bytes of virtio-net header in front of each frame (VERSION_1). */
#define FRONT_HEADER 12

/** How to make a ring. */
struct front_ring_options {
	uint16_t size;          /**< descriptors; split: a power of two */
	bool packed;
	bool in_order;          /**< VIRTIO_F_IN_ORDER was negotiated */
	bool mergeable;         /**< receive: a frame may be spread over slots (MRG_RXBUF) */
	bool receive;           /**< the device writes */
	bool indirect;          /**< each chain in a table of its own */
	bool fixed;             /**< split: the available ring is written once (vector code) */
	bool interrupts;        /**< let the device call; otherwise it is asked not to */
	uint16_t chain;         /**< descriptors per slot: 1, or 2 (header and frame apart) */
	uint32_t buffer_size;   /**< bytes for a frame in one slot, header not included */
	/** Buffers are spread over this many regions of the memory; 0: one. */
	unsigned int regions;
	unsigned int first_region; /**< the first of those; the ring itself is there, too */
	uint8_t header[FRONT_HEADER]; /**< transmit: of every frame; zeros ask for nothing */
	/**
	 * Use the buffers of that ring, which has as many slots and keeps them, not own ones.
	 * For rings to several back-ends of which one works at a time: to each of them the same
	 * memory is as near.
	 */
	const struct front_ring *buffers_of;
};

/** One slot with a frame in it. */
struct front_frame {
	uint8_t *data;          /**< first byte of the frame */
	uint32_t length;        /**< bytes of the frame in this slot */
	uint16_t slot;
	/** Receive: slots of the whole frame in the entry of the first, 0 in the others. */
	uint16_t buffers;
};

/** Where a slot's parts are. */
struct front_slot {
	uint8_t *data;          /**< frame; the header is before it, or in the slot's extra line */
	uint64_t device;        /**< device address of data */
};

/** The packed ring's format; see virtio 1.3, 2.8. */
struct front_packed {
	uint64_t address;
	uint64_t word;          /**< length (32 bits), id (16), flags (16) */
};

struct front_ring {
	/* Written by the driver only. */
	uint16_t size;
	uint16_t slots;         /**< size / chain, or size with indirect tables */
	uint16_t chain;         /**< descriptors in the ring per slot */
	uint16_t next_avail;    /**< split: runs free; packed: position */
	uint16_t next_used;
	bool avail_wrap;
	bool used_wrap;
	struct front_ring_options options;
	uint32_t free_head;     /**< empty slots: free[free_head ... free_tail), both run free */
	uint32_t free_tail;
	uint32_t free_mask;
	uint16_t *free;
	uint32_t oldest;        /**< packed, in order: the slot posted longest ago */
	struct front_slot *slot;
	uint8_t *extra;         /**< 64 bytes a slot: header (chains of 2), indirect table */
	uint64_t extra_device;
	uint64_t faults;        /**< used entries that cannot be */
	uint64_t kicks;
	/* Shared with the device. */
	union {
		struct vring_desc *descriptor;   /**< split: written by the driver */
		struct front_packed *packed;     /**< packed: written by both in turn */
	};
	union {
		uint16_t *avail;                 /**< split: flags, idx, ring; by the driver */
		struct vring_packed_desc_event *driver_event;
	};
	union {
		struct vring_used *used;         /**< by the device */
		struct vring_packed_desc_event *device_event;
	};
	const struct front_memory *memory;
	int kick_fd;            /**< eventfd, or -1 */
};

/**
 * Lay a ring and its buffers out in @p memory.
 * @return 0, -EINVAL (options that do not fit together) or -ENOMEM (memory or regions too small).
 */
int front_ring_create(struct front_ring *ring, struct front_memory *memory,
	const struct front_ring_options *options);
/** Free what is not in the memory. Also of a ring that is all zero. */
void front_ring_destroy(struct front_ring *ring);
/** All slots empty, indices 0: as before the first start. The device must have stopped. */
void front_ring_reset(struct front_ring *ring);

/** What SET_VRING_BASE wants to know. */
uint32_t front_ring_base(const struct front_ring *ring);

/** Empty slots at hand, those that are done but not collected yet not counted. */
static inline uint32_t
front_free(const struct front_ring *ring)
{
	return ring->free_tail - ring->free_head;
}

/** Collect slots that the device has used (transmit). @return how many. */
uint32_t front_collect(struct front_ring *ring);

/**
 * Transmit: take up to @p count empty slots. data and slot of each frame are set.
 * @return how many there were. Each must be posted.
 */
uint32_t front_take(struct front_ring *ring, struct front_frame *frames, uint32_t count);

/**
 * Make slots available to the device, in this order. Transmit: length says how many bytes, and
 * the header of the options is written. Receive: length does not matter.
 */
void front_post(struct front_ring *ring, const struct front_frame *frames, uint32_t count);

/** Receive: post every empty slot. */
void front_post_all(struct front_ring *ring);

/**
 * Receive: up to @p count slots with frames; a frame is given whole or not at all, so @p count
 * should have room for the slots of the longest.
 * @return how many entries were written.
 */
uint32_t front_receive(struct front_ring *ring, struct front_frame *frames, uint32_t count);

/** Kick the device if it wants that. Costs a fence. */
void front_kick(struct front_ring *ring);

/** The header of a slot, FRONT_HEADER bytes. */
static inline uint8_t *
front_header(const struct front_ring *ring, uint16_t slot)
{
	if (ring->options.chain == 2)
		return ring->extra + slot * 64u;
	return ring->slot[slot].data - FRONT_HEADER;
}

/** Read every byte of these frames. @return a sum of them. */
uint64_t front_touch_read(const struct front_frame *frames, uint32_t count);
/** Write every byte of these frames; @p seed goes into each 8 bytes. */
void front_touch_write(const struct front_frame *frames, uint32_t count, uint64_t seed);

#endif /* FRONT_DRIVER_H */
