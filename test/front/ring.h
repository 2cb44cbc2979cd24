/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef FRONT_RING_H
#define FRONT_RING_H

/**
 * @file
 * What the two ring formats share inside the driver.
 */

#include <string.h>

#include "driver.h"

/** Number of the empty slot that comes @p ahead after the first. */
static inline uint16_t
front_free_slot(const struct front_ring *ring, uint32_t ahead)
{
	return ring->free[(ring->free_head + ahead) & ring->free_mask];
}

/** Put a slot behind the empty ones. */
static inline void
front_put_free(struct front_ring *ring, uint16_t slot)
{
	ring->free[ring->free_tail++ & ring->free_mask] = slot;
}

/** The header of every frame that is sent: two stores of what the ring keeps, no loop. */
static inline void
front_write_header(const struct front_ring *ring, uint8_t *header)
{
	memcpy(header, ring->options.header, FRONT_HEADER);
}

/** Bytes that the device may read or write of a slot that is posted. */
static inline uint32_t
front_posted_length(const struct front_ring *ring, const struct front_frame *frame)
{
	return ring->options.receive ? ring->options.buffer_size : frame->length;
}

/** How many slots the frame in this slot takes (num_buffers of the header). */
static inline uint16_t
front_buffers_of(const struct front_ring *ring, uint16_t slot)
{
	uint16_t count;

	if (!ring->options.mergeable)
		return 1;
	memcpy(&count, front_header(ring, slot) + 10, sizeof(count));
	return count;
}

/**
 * Describe what came in a slot. @p first: with a header in front.
 * The device's length is bounded by what there is.
 */
static inline void
front_fill_frame(const struct front_ring *ring, struct front_frame *frame, uint16_t slot,
	uint32_t length, bool first)
{
	uint32_t header = first ? FRONT_HEADER : 0;
	uint32_t most = ring->options.buffer_size + FRONT_HEADER;

	length = length > most ? most : length;
	frame->slot = slot;
	frame->length = length > header ? length - header : 0;
	/* Only the first slot of a frame begins with a header: the others with the frame. */
	frame->data = ring->slot[slot].data - (first ? 0 : FRONT_HEADER);
}

void front_split_post(struct front_ring *ring, const struct front_frame *frames, uint32_t count);
uint32_t front_split_collect(struct front_ring *ring);
uint32_t front_split_receive(struct front_ring *ring, struct front_frame *frames, uint32_t count);
void front_packed_post(struct front_ring *ring, const struct front_frame *frames, uint32_t count);
uint32_t front_packed_collect(struct front_ring *ring);
uint32_t front_packed_receive(struct front_ring *ring, struct front_frame *frames,
	uint32_t count);

#endif /* FRONT_RING_H */
