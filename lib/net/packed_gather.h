/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_PACKED_GATHER_H
#define VHU_NET_PACKED_GATHER_H

/**
 * @file
 * First passes over a packed ring, and giving a run's buffers back to it.
 *
 * Common here are chains of one direct descriptor whose buffer lies in one extent. There is no
 * index to look at first: whether a descriptor is available is judged from the word that also
 * brings its length and id. A run ends at the end of the ring, so wrap counters are constant
 * within it. Included by body.c only.
 */

#include "net/fours.h"
#include "ring/packed.h"

/* Keep the id of a descriptor's word. */
#define PACKED_ID (UINT64_C(0xffff) << 32)

/** Is the next descriptor available? */
static inline bool
packed_waits(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot)
{
	struct vhu_descriptor d = vhu_packed_load(snapshot, ring->next_avail);

	return vhu_packed_is_available(vhu_packed_flags(d), ring->avail_wrap);
}

/**
 * Longest run up to @p wanted that passes no end of the ring, neither on the side that is read nor
 * on the side that is written.
 */
static inline unsigned int
packed_run(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot, unsigned int wanted)
{
	unsigned int read = snapshot->size - ring->next_avail;
	unsigned int written = snapshot->size - ring->next_used;
	unsigned int most = read < written ? read : written;

	if (wanted == 1) /* positions are inside: known where it is constant */
		return 1;
	return wanted < most ? wanted : most;
}

/** What a run compares flags with, and what it makes of them. */
struct packed_flags {
	const struct vring_packed_desc *descriptors; /* from next_avail on */
	uint64_t available;   /* flags of a common descriptor, all 16 of them */
	uint64_t used;        /* flags of a used descriptor, in their place in the word */
};

static inline struct packed_flags
packed_flags_of(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot, bool write)
{
	return (struct packed_flags){
		.descriptors = snapshot->packed + ring->next_avail,
		.available = (ring->avail_wrap ? VHU_PACKED_AVAIL : VHU_PACKED_USED) |
			(write ? VRING_DESC_F_WRITE : 0),
		.used = vhu_packed_word(0, 0, vhu_packed_used_flags(ring->used_wrap, write)),
	};
}

#if VHU_FOURS == 4
#ifdef __clang__
#define EVERY_SECOND(a, b, first) \
	__builtin_shufflevector(a, b, (first), (first) + 2, (first) + 4, (first) + 6)
#else
#define EVERY_SECOND(a, b, first) \
	__builtin_shuffle(a, b, (vhu_four8_t){ (first), (first) + 2, (first) + 4, (first) + 6 })
#endif

/*
 * Four descriptors. The words with the flags are loaded before the addresses, by instructions of
 * their own: x86 does not reorder loads with loads, so an address is never older than the flags
 * that vouch for it, even where a processor takes a wide load apart.
 */
VHU_SPECIALISED struct vhu_four
packed_load_four(const struct vring_packed_desc *descriptors)
{
	const vhu_four8_t *pair = (const vhu_four8_t *)descriptors;
	struct vhu_four d;

	d.word = EVERY_SECOND(pair[0], pair[1], 1);
	vhu_guest_copied();
	d.address = EVERY_SECOND(pair[0], pair[1], 0);
	vhu_guest_copied();
	return d;
}

VHU_SPECIALISED bool
packed_receive_four(const struct packed_flags *flags, const struct vhu_terms *terms,
	const struct vhu_four_terms *v, struct vhu_gathered *g, unsigned int i)
{
	struct vhu_four d = packed_load_four(&flags->descriptors[i]);

	if (!fours_receive(terms, v, d, d.word >> 48 ^ flags->available, g, i))
		return false;
	*(vhu_four8_t *)&g->used[i] = (d.word & PACKED_ID) | flags->used;
	return true;
}

VHU_SPECIALISED bool
packed_transmit_four(const struct packed_flags *flags, const struct vhu_terms *terms,
	const struct vhu_four_terms *v, struct rte_mbuf **packets, struct vhu_gathered *g,
	unsigned int i)
{
	struct vhu_four d = packed_load_four(&flags->descriptors[i]);

	if (!fours_transmit(terms, v, d, d.word >> 48 ^ flags->available, packets, g, i))
		return false;
	*(vhu_four8_t *)&g->used[i] = (d.word & PACKED_ID) | flags->used |
		__builtin_convertvector(*(const vhu_four4_t *)&g->size[i], vhu_four8_t);
	return true;
}
#endif

/* One descriptor. @return false if it is not common, or not available. */
VHU_SPECIALISED bool
packed_receive_one(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	const struct packed_flags *flags, const struct vhu_terms *terms,
	struct vhu_extent *extent, struct vhu_gathered *g, unsigned int i)
{
	struct vhu_descriptor d = vhu_packed_load_at(&flags->descriptors[i]);
	uint32_t size = vhu_descriptor_length(d);
	uint8_t *host;

	/* Wraps for a buffer without a frame, which is not common either. */
	if (__builtin_expect(vhu_packed_flags(d) != flags->available ||
			size - terms->header_size - 1 >= terms->room, 0)) {
		g->used[i] = d.word;
		return false;
	}
	host = gather_translate(ring, snapshot, extent, d.address, size, VHU_READ);
	if (__builtin_expect(host == NULL, 0)) {
		g->used[i] = d.word;
		return false;
	}
	gather_prefetch_read(terms, host, VHU_SECOND_LINE(terms, size));
	g->host[i] = host;
	g->size[i] = size;
	g->used[i] = (d.word & PACKED_ID) | flags->used;
	return true;
}

VHU_SPECIALISED bool
packed_transmit_one(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	const struct packed_flags *flags, const struct vhu_terms *terms,
	struct vhu_extent *extent, const struct rte_mbuf *packet, struct vhu_gathered *g,
	unsigned int i)
{
	struct vhu_descriptor d = vhu_packed_load_at(&flags->descriptors[i]);
	uint32_t size = packet->data_len + terms->header_size;
	uint8_t *host;

	if (__builtin_expect(vhu_packed_flags(d) != flags->available ||
			vhu_descriptor_length(d) < size || gather_odd_packet(packet) != 0, 0)) {
		g->used[i] = d.word;
		return false;
	}
	host = gather_translate(ring, snapshot, extent, d.address, size, VHU_WRITE);
	if (__builtin_expect(host == NULL, 0)) {
		g->used[i] = d.word;
		return false;
	}
	gather_prefetch_frame(host, terms->header_size);
	g->host[i] = host;
	g->size[i] = size;
	g->used[i] = (d.word & PACKED_ID) | flags->used | size;
	return true;
}

/*
 * Was the descriptor that ended a run available when it was read? If it was not it may be by now,
 * for the driver goes on.
 */
static inline bool
packed_stopped_at_odd(const struct vhu_ring *ring, const struct vhu_gathered *g, unsigned int n)
{
	return vhu_packed_is_available((uint16_t)(g->used[n] >> 48), ring->avail_wrap);
}

/* Receiving. @return how many chains from the front are available and of the common kind. */
VHU_SPECIALISED unsigned int
packed_receive_run(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	unsigned int run, uint32_t unread, struct vhu_gathered *g)
{
	const struct packed_flags flags = packed_flags_of(&queue->ring, snapshot, false);
	const struct vhu_terms terms = { snapshot->header_size, queue->room, unread };
	struct vhu_extent extent = queue->ring.hint.extent;
	unsigned int i = 0;

	VHU_GATHER_RUN(i, run, &terms, &extent, v,
		packed_receive_four(&flags, &terms, &v, g, i),
		packed_receive_one(&queue->ring, snapshot, &flags, &terms, &extent, g, i));
	return i;
}

VHU_PASS unsigned int
packed_receive_gather(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	unsigned int run, uint32_t unread, struct vhu_gathered *g)
{
	return packed_receive_run(queue, snapshot, run, unread, g);
}

/* Transmitting. @return how many pairs of packet and available buffer are of the common kind. */
VHU_SPECIALISED unsigned int
packed_transmit_run(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int run, struct vhu_gathered *g)
{
	const struct packed_flags flags = packed_flags_of(&queue->ring, snapshot, true);
	const struct vhu_terms terms = { snapshot->header_size, 0, 0 };
	struct vhu_extent extent = queue->ring.hint.extent;
	unsigned int i = 0;

	VHU_GATHER_RUN(i, run, &terms, &extent, v,
		packed_transmit_four(&flags, &terms, &v, &packets[i], g, i),
		packed_transmit_one(&queue->ring, snapshot, &flags, &terms, &extent, packets[i], g,
			i));
	return i;
}

VHU_PASS unsigned int
packed_transmit_gather(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int run, struct vhu_gathered *g)
{
	return packed_transmit_run(queue, snapshot, packets, run, g);
}

/**
 * Take and give back @p n gathered chains of one run: one store each, but for the burst's first.
 * @param skip  leave the used descriptors out: one is written for the whole burst.
 * @param few  not worth unrolling.
 */
VHU_SPECIALISED void
packed_give(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	const struct vhu_gathered *g, unsigned int n, const bool skip, const bool few)
{
	vhu_packed_word_t *to = vhu_packed_word_at(snapshot, ring->next_used);
	unsigned int i = 0;

	if (!skip) {
		if (!ring->held) {
			ring->held = true;
			ring->held_at = ring->next_used;
			ring->held_word = g->used[0];
			i = 1;
		}
		/* Descriptors are two words. */
		for (; few && i < n; i++)
			__atomic_store_n(&to[2 * i], g->used[i], __ATOMIC_RELAXED);
		/* Unrolled, a store costs 2 instructions, not 6. */
#pragma GCC unroll 4
		for (; i < n; i++)
			__atomic_store_n(&to[2 * i], g->used[i], __ATOMIC_RELAXED);
	}
	vhu_packed_advance(&ring->next_used, &ring->used_wrap, (uint16_t)n, snapshot->size);
	vhu_packed_advance(&ring->next_avail, &ring->avail_wrap, (uint16_t)n, snapshot->size);
}

#endif /* VHU_NET_PACKED_GATHER_H */
