/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "ring.h"

/** Bytes before a frame, as DPDK's mbufs have them; the header ends where the frame begins. */
#define HEADROOM 128
#define EXTRA 64
#define LINE 64u

/**
 * Bytes from slot to slot: an odd number of cache lines, so that the beginnings of frames do not
 * all fall into the same sets of the caches.
 */
static uint64_t
slot_stride(const struct front_ring_options *options)
{
	uint64_t lines = (HEADROOM + options->buffer_size + LINE - 1) / LINE;

	return (lines | 1) * LINE;
}

static int
lay_out_slots(struct front_ring *ring, struct front_memory *memory)
{
	const struct front_ring_options *options = &ring->options;
	uint64_t stride = slot_stride(options);
	unsigned int regions = options->regions ? options->regions : 1;
	uint32_t i, share = (ring->slots + regions - 1) / regions;

	ring->slot = calloc(ring->slots, sizeof(*ring->slot));
	ring->free = calloc(ring->free_mask + 1, sizeof(*ring->free));
	if (ring->slot == NULL || ring->free == NULL)
		return -ENOMEM;
	if (options->buffers_of != NULL) {
		memcpy(ring->slot, options->buffers_of->slot, ring->slots * sizeof(*ring->slot));
		ring->extra = options->buffers_of->extra;
		ring->extra_device = options->buffers_of->extra_device;
		return 0;
	}
	for (i = 0; i < ring->slots; i++) {
		uint8_t *begin = front_memory_take(memory, options->first_region + i / share,
			stride, LINE);

		if (begin == NULL)
			return -ENOMEM;
		ring->slot[i].data = begin + HEADROOM;
		ring->slot[i].device = front_device_address(memory, begin + HEADROOM);
	}
	ring->extra = front_memory_take(memory, options->first_region, ring->slots * EXTRA, LINE);
	if (ring->extra == NULL)
		return -ENOMEM;
	ring->extra_device = front_device_address(memory, ring->extra);
	return 0;
}

static int
lay_out_ring(struct front_ring *ring, struct front_memory *memory)
{
	unsigned int in = ring->options.first_region;
	uint64_t size = ring->size;

	ring->descriptor = front_memory_take(memory, in, size * sizeof(struct vring_desc), 4096);
	if (ring->options.packed) {
		ring->driver_event = front_memory_take(memory, in, LINE, LINE);
		ring->device_event = front_memory_take(memory, in, LINE, LINE);
	} else {
		ring->avail = front_memory_take(memory, in, (size + 3) * sizeof(uint16_t), LINE);
		ring->used = front_memory_take(memory, in,
			sizeof(struct vring_used) + size * sizeof(struct vring_used_elem) + 2,
			4096);
	}
	if (ring->descriptor == NULL || ring->avail == NULL || ring->used == NULL)
		return -ENOMEM;
	return 0;
}

static bool
fits_together(const struct front_ring_options *options)
{
	uint32_t size = options->size;

	if (size == 0 || size > 32768 || options->chain < 1 || options->chain > 2)
		return false;
	if (options->packed ? options->fixed : (size & (size - 1)) != 0)
		return false;
	if (options->fixed && (options->chain != 1 || options->indirect))
		return false;
	/* The second slot of a frame has no header that a descriptor of its own could be for. */
	if (options->receive && options->mergeable && options->chain != 1)
		return false;
	return options->indirect || size >= options->chain;
}

int
front_ring_create(struct front_ring *ring, struct front_memory *memory,
	const struct front_ring_options *options)
{
	int error;

	memset(ring, 0, sizeof(*ring));
	ring->options = *options;
	if (ring->options.chain == 0)
		ring->options.chain = 1;
	if (!fits_together(&ring->options) ||
			options->first_region + (options->regions ? options->regions : 1) >
			memory->count)
		return -EINVAL;
	ring->memory = memory;
	ring->kick_fd = -1;
	ring->size = options->size;
	ring->chain = options->indirect ? 1 : ring->options.chain;
	ring->slots = ring->size / ring->chain;
	for (ring->free_mask = 1; ring->free_mask < ring->slots; ring->free_mask *= 2)
		;
	ring->free_mask--;
	if (options->buffers_of != NULL && options->buffers_of->slots != ring->slots)
		return -EINVAL;
	error = lay_out_ring(ring, memory);
	if (error == 0)
		error = lay_out_slots(ring, memory);
	if (error != 0)
		front_ring_destroy(ring);
	else
		front_ring_reset(ring);
	return error;
}

void
front_ring_destroy(struct front_ring *ring)
{
	free(ring->slot);
	free(ring->free);
	ring->slot = NULL;
	ring->free = NULL;
}

void
front_ring_reset(struct front_ring *ring)
{
	uint32_t i;

	ring->next_avail = ring->next_used = 0;
	ring->avail_wrap = ring->used_wrap = true;
	ring->oldest = 0;
	ring->free_head = 0;
	ring->free_tail = ring->slots;
	for (i = 0; i < ring->slots; i++)
		ring->free[i] = (uint16_t)i;
	memset(ring->descriptor, 0, ring->size * sizeof(struct vring_desc));
	if (ring->options.packed) {
		memset(ring->device_event, 0, sizeof(*ring->device_event));
		ring->driver_event->off_wrap = 0;
		ring->driver_event->flags = ring->options.interrupts ?
			VRING_PACKED_EVENT_FLAG_ENABLE : VRING_PACKED_EVENT_FLAG_DISABLE;
		return;
	}
	ring->used->idx = ring->used->flags = 0;
	ring->avail[0] = ring->options.interrupts ? 0 : VRING_AVAIL_F_NO_INTERRUPT;
	ring->avail[1] = 0;
	for (i = 0; i < ring->size; i++)
		ring->avail[2 + i] = (uint16_t)(i % ring->slots * ring->chain);
}

uint32_t
front_ring_base(const struct front_ring *ring)
{
	uint32_t half = ring->next_used | (uint32_t)ring->used_wrap << 15;

	/* What is posted and not used yet is the device's to take: it begins where that does. */
	return ring->options.packed ? half | half << 16 : ring->next_used;
}

uint32_t
front_collect(struct front_ring *ring)
{
	return ring->options.packed ? front_packed_collect(ring) : front_split_collect(ring);
}

uint32_t
front_take(struct front_ring *ring, struct front_frame *frames, uint32_t count)
{
	uint32_t i;

	if (front_free(ring) < count)
		front_collect(ring);
	if (count > front_free(ring))
		count = front_free(ring);
	for (i = 0; i < count; i++) {
		uint16_t slot = front_free_slot(ring, i);

		frames[i].slot = slot;
		frames[i].data = ring->slot[slot].data;
		frames[i].buffers = 1;
		/* All headers of the burst at once; posting writes them. */
		front_prefetch_write(front_header(ring, slot));
	}
	ring->free_head += count;
	return count;
}

void
front_post(struct front_ring *ring, const struct front_frame *frames, uint32_t count)
{
	if (count == 0)
		return;
	if (ring->options.packed)
		front_packed_post(ring, frames, count);
	else
		front_split_post(ring, frames, count);
}

void
front_post_all(struct front_ring *ring)
{
	struct front_frame frame;

	while (front_free(ring) > 0) {
		frame.slot = front_free_slot(ring, 0);
		ring->free_head++;
		front_post(ring, &frame, 1);
	}
}

uint32_t
front_receive(struct front_ring *ring, struct front_frame *frames, uint32_t count)
{
	return ring->options.packed ? front_packed_receive(ring, frames, count) :
		front_split_receive(ring, frames, count);
}

void
front_kick(struct front_ring *ring)
{
	uint64_t one = 1;
	bool wanted;

	/* Partner: the device's fence between "kick me" and its last look at the ring. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (ring->options.packed)
		wanted = ring->device_event->flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	else
		wanted = !(ring->used->flags & VRING_USED_F_NO_NOTIFY);
	if (!wanted || ring->kick_fd < 0)
		return;
	ring->kicks += write(ring->kick_fd, &one, sizeof(one)) == sizeof(one);
}

uint64_t
front_touch_read(const struct front_frame *frames, uint32_t count)
{
	uint64_t sum = 0, word;
	uint32_t i, at;

	for (i = 0; i < count; i++) {
		for (at = 0; at + sizeof(word) <= frames[i].length; at += sizeof(word)) {
			memcpy(&word, frames[i].data + at, sizeof(word));
			sum += word;
		}
		for (; at < frames[i].length; at++)
			sum += frames[i].data[at];
	}
	return sum;
}

void
front_touch_write(const struct front_frame *frames, uint32_t count, uint64_t seed)
{
	uint32_t i, at;

	for (i = 0; i < count; i++) {
		for (at = 0; at + sizeof(seed) <= frames[i].length; at += sizeof(seed)) {
			uint64_t word = seed + at;

			memcpy(frames[i].data + at, &word, sizeof(word));
		}
		memset(frames[i].data + at, (int)seed, frames[i].length - at);
		seed += 0x9e3779b97f4a7c15;
	}
}
