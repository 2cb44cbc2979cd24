/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * The driver's side of a packed ring (virtio 1.3, 2.8). The buffer id is the number of the slot.
 * A batch of descriptors becomes available with its first one, whose flags are stored last: the
 * device then sees all of it at once, and the lines it polls move less often.
 */

#include "ring.h"

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED (1u << VRING_PACKED_DESC_F_USED)

static inline uint64_t
word_of(uint32_t length, uint16_t id, uint16_t flags)
{
	return length | (uint64_t)id << 32 | (uint64_t)flags << 48;
}

/** Flags that say "available" in the present round. */
static inline uint16_t
round_flags(const struct front_ring *ring)
{
	return ring->avail_wrap ? AVAIL : USED;
}

static inline void
step_avail(struct front_ring *ring)
{
	if (++ring->next_avail == ring->size) {
		ring->next_avail = 0;
		ring->avail_wrap = !ring->avail_wrap;
	}
}

/** The table of a slot; descriptors in it need neither id nor the flags of a round. */
static void
write_table(struct front_ring *ring, uint16_t slot, uint32_t length, uint16_t write)
{
	struct front_packed *table = (struct front_packed *)(ring->extra + slot * 64u + 16);

	if (ring->options.chain == 2) {
		table[0].address = ring->extra_device + slot * 64u;
		table[0].word = word_of(FRONT_HEADER, 0, write);
		table[1].address = ring->slot[slot].device;
		table[1].word = word_of(length, 0, write);
	} else {
		table[0].address = ring->slot[slot].device - FRONT_HEADER;
		table[0].word = word_of(length + FRONT_HEADER, 0, write);
	}
}

/**
 * Write the descriptors of one slot, all but the word of the first.
 * @return that word.
 */
static uint64_t
describe(struct front_ring *ring, uint16_t slot, uint32_t length)
{
	struct front_packed *first = &ring->packed[ring->next_avail], *second;
	uint16_t write = ring->options.receive ? VRING_DESC_F_WRITE : 0;
	uint16_t flags = round_flags(ring);

	step_avail(ring);
	if (ring->options.indirect) {
		write_table(ring, slot, length, write);
		first->address = ring->extra_device + slot * 64u + 16;
		return word_of(ring->options.chain * (uint32_t)sizeof(*first), slot,
			flags | VRING_DESC_F_INDIRECT);
	}
	if (ring->chain == 1) {
		first->address = ring->slot[slot].device - FRONT_HEADER;
		return word_of(length + FRONT_HEADER, slot, flags | write);
	}
	second = &ring->packed[ring->next_avail];
	second->address = ring->slot[slot].device;
	second->word = word_of(length, slot, round_flags(ring) | write);
	step_avail(ring);
	first->address = ring->extra_device + slot * 64u;
	return word_of(FRONT_HEADER, slot, flags | write | VRING_DESC_F_NEXT);
}

void
front_packed_post(struct front_ring *ring, const struct front_frame *frames, uint32_t count)
{
	struct front_packed *first = &ring->packed[ring->next_avail];
	bool send = !ring->options.receive;
	uint64_t first_word = 0;
	uint32_t i;

	for (i = 0; i < count; i++) {
		struct front_packed *at = &ring->packed[ring->next_avail];
		uint16_t slot = frames[i].slot;
		uint64_t word;

		if (send)
			front_write_header(ring, front_header(ring, slot));
		word = describe(ring, slot, front_posted_length(ring, &frames[i]));
		if (i == 0)
			first_word = word;
		else
			at->word = word;
	}
	/* Partner: the device's acquire load of the flags. */
	__atomic_store_n(&first->word, first_word, __ATOMIC_RELEASE);
}

/** Read the descriptor at next_used. @return whether the device has used it. */
static inline bool
load_used(const struct front_ring *ring, uint64_t *word)
{
	uint16_t flags;

	/* Partner: the device's release store of the flags; the word is read in one piece. */
	*word = __atomic_load_n(&ring->packed[ring->next_used].word, __ATOMIC_ACQUIRE);
	flags = (uint16_t)(*word >> 48);
	return !!(flags & AVAIL) == ring->used_wrap && !!(flags & USED) == ring->used_wrap;
}

static inline uint16_t
slot_of(struct front_ring *ring, uint64_t word)
{
	uint16_t slot = (uint16_t)(word >> 32);

	if (__builtin_expect(slot >= ring->slots, 0)) {
		ring->faults++;
		return 0;
	}
	return slot;
}

static inline void
step_used(struct front_ring *ring, uint32_t slots)
{
	uint32_t at = ring->next_used + slots * ring->chain;

	if (at >= ring->size) {
		at -= ring->size;
		ring->used_wrap = !ring->used_wrap;
	}
	ring->next_used = (uint16_t)at;
}

/** In order, the slot that was posted longest ago is done. */
static inline void
put_oldest(struct front_ring *ring)
{
	front_put_free(ring, (uint16_t)ring->oldest);
	ring->oldest = ring->oldest + 1u == ring->slots ? 0 : ring->oldest + 1;
}

uint32_t
front_packed_collect(struct front_ring *ring)
{
	uint32_t count = 0, batch, outstanding = ring->slots - front_free(ring);
	uint64_t word;

	while (count < outstanding && load_used(ring, &word)) {
		uint16_t slot = slot_of(ring, word);

		if (!ring->options.in_order) {
			front_put_free(ring, slot);
			step_used(ring, 1);
			count++;
			continue;
		}
		/* One used descriptor may stand for all up to this slot. */
		batch = (slot + ring->slots - ring->oldest) % ring->slots + 1;
		if (batch > outstanding - count) {
			ring->faults++;
			batch = 1;
		}
		step_used(ring, batch);
		for (count += batch; batch > 0; batch--)
			put_oldest(ring);
	}
	return count;
}

uint32_t
front_packed_receive(struct front_ring *ring, struct front_frame *frames, uint32_t count)
{
	uint16_t next_used = ring->next_used;
	bool used_wrap = ring->used_wrap;
	uint32_t there, done = 0, i;
	uint64_t word;

	for (there = 0; there < count && load_used(ring, &word); there++) {
		frames[there].slot = slot_of(ring, word);
		frames[there].length = (uint32_t)word;
		/* All headers of the burst come nearer at the same time. */
		__builtin_prefetch(front_header(ring, frames[there].slot));
		step_used(ring, 1);
	}
	while (done < there) {
		uint16_t buffers = front_buffers_of(ring, frames[done].slot);

		if (buffers == 0 || buffers > ring->slots) {
			ring->faults++;
			buffers = 1;
		}
		if (buffers > there - done)
			break;
		for (i = 0; i < buffers; i++) {
			struct front_frame *frame = &frames[done + i];

			front_fill_frame(ring, frame, frame->slot, frame->length, i == 0);
			frame->buffers = i == 0 ? buffers : 0;
		}
		done += buffers;
	}
	if (done < there) {
		ring->next_used = next_used;
		ring->used_wrap = used_wrap;
		step_used(ring, done);
	}
	return done;
}
