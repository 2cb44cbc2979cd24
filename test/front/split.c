/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * The driver's side of a split ring (virtio 1.3, 2.7). The descriptors of a slot are always the
 * same ones, so the head says which slot it is and a used entry leads back to it without a search.
 */

#include "ring.h"

#define AVAIL_IDX 1
#define AVAIL_RING 2

/** A descriptor as one store of 16 bytes where the machine has one. */
static inline void
write_descriptor(struct vring_desc *to, uint64_t address, uint32_t length, uint16_t flags,
	uint16_t next)
{
	struct vring_desc descriptor = { address, length, flags, next };

	memcpy(to, &descriptor, sizeof(descriptor));
}

/** Two descriptors, header and frame, from @p table on; @p next is the number of the second. */
static void
write_pair(struct front_ring *ring, struct vring_desc *table, uint16_t slot, uint32_t length,
	uint16_t next)
{
	uint16_t write = ring->options.receive ? VRING_DESC_F_WRITE : 0;

	write_descriptor(&table[0], ring->extra_device + slot * 64u, FRONT_HEADER,
		write | VRING_DESC_F_NEXT, next);
	write_descriptor(&table[1], ring->slot[slot].device, length, write, 0);
}

/** Header and frame lie side by side, so one descriptor covers both. */
static inline void
write_single(struct front_ring *ring, struct vring_desc *to, uint16_t slot, uint32_t length)
{
	write_descriptor(to, ring->slot[slot].device - FRONT_HEADER, length + FRONT_HEADER,
		ring->options.receive ? VRING_DESC_F_WRITE : 0, 0);
}

/** Any kind of slot but the plainest. */
static void
describe(struct front_ring *ring, uint16_t slot, uint32_t length)
{
	/* The slot's extra line: 16 bytes for a header, then room for two descriptors. */
	struct vring_desc *table = (struct vring_desc *)(ring->extra + slot * 64u + 16);
	uint16_t head = (uint16_t)(slot * ring->chain);

	if (ring->options.indirect) {
		if (ring->options.chain == 2)
			write_pair(ring, table, slot, length, 1);
		else
			write_single(ring, table, slot, length);
		write_descriptor(&ring->descriptor[head], ring->extra_device + slot * 64u + 16,
			ring->options.chain * sizeof(*table), VRING_DESC_F_INDIRECT, 0);
	} else if (ring->chain == 2) {
		write_pair(ring, &ring->descriptor[head], slot, length, (uint16_t)(head + 1));
	} else {
		write_single(ring, &ring->descriptor[head], slot, length);
	}
}

void
front_split_post(struct front_ring *ring, const struct front_frame *frames, uint32_t count)
{
	bool plain = !ring->options.indirect && ring->chain == 1, send = !ring->options.receive;
	uint16_t mask = (uint16_t)(ring->size - 1), at = ring->next_avail;
	uint32_t i;

	for (i = 0; i < count; i++) {
		uint16_t slot = frames[i].slot;
		uint32_t length = front_posted_length(ring, &frames[i]);

		if (send)
			front_write_header(ring, front_header(ring, slot));
		if (plain)
			write_single(ring, &ring->descriptor[slot], slot, length);
		else
			describe(ring, slot, length);
		if (!ring->options.fixed)
			ring->avail[AVAIL_RING + (at & mask)] = (uint16_t)(slot * ring->chain);
		else if (slot != (at & mask))
			ring->faults++;
		at++;
	}
	ring->next_avail = at;
	/* Partner: the device's acquire load of the index. */
	__atomic_store_n(&ring->avail[AVAIL_IDX], at, __ATOMIC_RELEASE);
}

static inline uint16_t
used_count(struct front_ring *ring)
{
	/* Partner: the device's release store of the index. */
	uint16_t index = __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE);
	uint16_t count = (uint16_t)(index - ring->next_used);

	if (count <= ring->slots)
		return count;
	ring->faults++;
	return 0;
}

/** Slot of a used entry; a number that cannot be counts as a fault and becomes slot 0. */
static inline uint16_t
used_slot(struct front_ring *ring, uint32_t id)
{
	uint32_t slot = ring->chain == 2 ? id / 2 : id;

	if (__builtin_expect(slot >= ring->slots || (ring->chain == 2 && (id & 1)), 0)) {
		ring->faults++;
		return 0;
	}
	return (uint16_t)slot;
}

uint32_t
front_split_collect(struct front_ring *ring)
{
	uint16_t count = used_count(ring), mask = (uint16_t)(ring->size - 1), i;

	if (ring->options.in_order) {
		/* Slots come back as they went, and "free" is a circle of just all slots. */
		ring->free_tail += count;
	} else {
		for (i = 0; i < count; i++)
			front_put_free(ring, used_slot(ring,
				ring->used->ring[(ring->next_used + i) & mask].id));
	}
	ring->next_used = (uint16_t)(ring->next_used + count);
	return count;
}

uint32_t
front_split_receive(struct front_ring *ring, struct front_frame *frames, uint32_t count)
{
	uint32_t there = used_count(ring), mask = ring->size - 1u, done = 0, i;

	count = count < there ? count : there;
	for (i = 0; i < count; i++) {
		const struct vring_used_elem *element =
			&ring->used->ring[(ring->next_used + i) & mask];
		uint16_t slot = used_slot(ring, element->id);

		frames[i].slot = slot;
		frames[i].length = element->len;
		/* All headers of the burst come nearer at the same time. */
		__builtin_prefetch(front_header(ring, slot));
	}
	while (done < count) {
		uint16_t buffers = front_buffers_of(ring, frames[done].slot);

		if (buffers == 0 || buffers > ring->slots) {
			ring->faults++;
			buffers = 1;
		}
		if (buffers > count - done)
			break;
		for (i = 0; i < buffers; i++) {
			struct front_frame *frame = &frames[done + i];

			front_fill_frame(ring, frame, frame->slot, frame->length, i == 0);
			frame->buffers = i == 0 ? buffers : 0;
		}
		done += buffers;
	}
	ring->next_used = (uint16_t)(ring->next_used + done);
	return done;
}
