/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_SPLIT_GATHER_H
#define VHU_NET_SPLIT_GATHER_H

/**
 * @file
 * First passes over a split ring, and giving a run's buffers back to it.
 *
 * Common here are chains of one direct descriptor whose buffer lies in one extent. Included by
 * body.c only.
 */

#include "net/fours.h"
#include "ring/split.h"

/** Heads of the next few entries: not worth the set-up, nor worth asking for what comes at once. */
static inline void
split_heads_few(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot, unsigned int run,
	uint16_t *head)
{
	unsigned int i;

	for (i = 0; i < run; i++)
		head[i] = vhu_split_head(snapshot, (uint16_t)(ring->next_avail + i));
}

/** Heads of the next @p run entries; asks for their descriptors. */
static inline void
split_heads(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot, unsigned int run,
	uint16_t *head)
{
	const struct vring_desc *descriptors = snapshot->descriptors;
	const uint8_t *ring_of_heads = (const uint8_t *)snapshot->avail->ring;
	unsigned int at = ring->next_avail & (snapshot->size - 1u);
	unsigned int i, first = snapshot->size - at < run ? snapshot->size - at : run;

	if (run < VHU_FEW) {
		split_heads_few(ring, snapshot, run, head);
		return;
	}
	/* At most two copies instead of an indexed load each. */
	vhu_copy((uint8_t *)head, ring_of_heads + at * sizeof(head[0]), first * sizeof(head[0]));
	if (__builtin_expect(first < run, 0))
		vhu_copy((uint8_t *)(head + first), ring_of_heads, (run - first) * sizeof(head[0]));
	vhu_guest_copied();
	/* Not yet bounded: a prefetch cannot fault. */
#pragma GCC unroll 4
	for (i = 0; i < run; i++)
		__builtin_prefetch(&descriptors[head[i]]);
}

/** The descriptor table: a copy that stays in registers. */
struct split_table {
	const struct vring_desc *descriptors;
	uint64_t outside; /* bits that four heads inside do not have: a size is a power of two */
	uint16_t size;
};

static inline struct split_table
split_table_of(const struct vhu_snapshot *snapshot)
{
	return (struct split_table){
		.descriptors = snapshot->descriptors,
		.outside = (uint64_t)(uint16_t)-snapshot->size * UINT64_C(0x0001000100010001),
		.size = snapshot->size,
	};
}

#if VHU_FOURS == 4
/*
 * Four descriptors of the table. @return false if a head is outside of it. What they hold was
 * there before the guest's index moved, so it does not matter in which order they are loaded.
 */
VHU_SPECIALISED bool
split_load_four(const struct split_table *table, const uint16_t *head, struct vhu_four *d)
{
	vhu_two8_t one[4];
	unsigned int i;

	if (__builtin_expect((*(const vhu_word8_t *)head & table->outside) != 0, 0))
		return false;
	for (i = 0; i < 4; i++)
		one[i] = *(const volatile vhu_two8_t *)&table->descriptors[head[i]];
	d->address = fours_of(fours_low(one[0], one[1]), fours_low(one[2], one[3]));
	d->word = fours_of(fours_high(one[0], one[1]), fours_high(one[2], one[3]));
	return true;
}

/* How the flags of four differ from @p common. */
static inline vhu_four8_t
split_flags(struct vhu_four d, uint64_t common)
{
	return (d.word >> 32 & 0xffff) ^ common;
}

VHU_SPECIALISED bool
split_receive_four(const struct split_table *table, const struct vhu_terms *terms,
	const struct vhu_four_terms *v, struct vhu_gathered *g, unsigned int i)
{
	struct vhu_four d;

	return split_load_four(table, &g->head[i], &d) &&
		fours_receive(terms, v, d, split_flags(d, 0), g, i);
}

VHU_SPECIALISED bool
split_transmit_four(const struct split_table *table, const struct vhu_terms *terms,
	const struct vhu_four_terms *v, struct rte_mbuf **packets, struct vhu_gathered *g,
	unsigned int i)
{
	struct vhu_four d;

	return split_load_four(table, &g->head[i], &d) &&
		fours_transmit(terms, v, d, split_flags(d, VRING_DESC_F_WRITE), packets, g, i);
}
#endif

VHU_SPECIALISED bool
split_receive_one(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	const struct split_table *table, const struct vhu_terms *terms,
	struct vhu_extent *extent, struct vhu_gathered *g, unsigned int i)
{
	uint32_t head = g->head[i], size;
	struct vhu_descriptor d;
	uint8_t *host;

	if (__builtin_expect(head >= table->size, 0))
		return false;
	d = vhu_guest_descriptor(&table->descriptors[head]);
	size = vhu_descriptor_length(d);
	/* Wraps for a buffer without a frame, which is not common either. */
	if (__builtin_expect(vhu_descriptor_flags(d) != 0 ||
			size - terms->header_size - 1 >= terms->room, 0))
		return false;
	host = gather_translate(ring, snapshot, extent, d.address, size, VHU_READ);
	if (__builtin_expect(host == NULL, 0))
		return false;
	gather_prefetch_read(terms, host, VHU_SECOND_LINE(terms, size));
	g->host[i] = host;
	g->size[i] = size;
	return true;
}

VHU_SPECIALISED bool
split_transmit_one(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	const struct split_table *table, const struct vhu_terms *terms,
	struct vhu_extent *extent, const struct rte_mbuf *packet, struct vhu_gathered *g,
	unsigned int i)
{
	uint32_t head = g->head[i], size = packet->data_len + terms->header_size;
	struct vhu_descriptor d;
	uint8_t *host;

	if (__builtin_expect(head >= table->size || gather_odd_packet(packet) != 0, 0))
		return false;
	d = vhu_guest_descriptor(&table->descriptors[head]);
	if (__builtin_expect(vhu_descriptor_flags(d) != VRING_DESC_F_WRITE ||
			vhu_descriptor_length(d) < size, 0))
		return false;
	host = gather_translate(ring, snapshot, extent, d.address, size, VHU_WRITE);
	if (__builtin_expect(host == NULL, 0))
		return false;
	gather_prefetch_frame(host, terms->header_size);
	g->host[i] = host;
	g->size[i] = size;
	return true;
}

/* Receiving, heads known. @return how many chains from the front are of the common kind. */
VHU_SPECIALISED unsigned int
split_receive_run(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	unsigned int run, uint32_t unread, struct vhu_gathered *g)
{
	const struct split_table table = split_table_of(snapshot);
	const struct vhu_terms terms = { snapshot->header_size, queue->room, unread };
	struct vhu_extent extent = queue->ring.hint.extent;
	unsigned int i = 0;

	VHU_GATHER_RUN(i, run, &terms, &extent, v,
		split_receive_four(&table, &terms, &v, g, i),
		split_receive_one(&queue->ring, snapshot, &table, &terms, &extent, g, i));
	return i;
}

VHU_PASS unsigned int
split_receive_gather(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	unsigned int run, uint32_t unread, struct vhu_gathered *g)
{
	split_heads(&queue->ring, snapshot, run, g->head);
	return split_receive_run(queue, snapshot, run, unread, g);
}

/* Transmitting, heads known. @return how many pairs from the front are of the common kind. */
VHU_SPECIALISED unsigned int
split_transmit_run(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int run, struct vhu_gathered *g)
{
	const struct split_table table = split_table_of(snapshot);
	const struct vhu_terms terms = { snapshot->header_size, 0, 0 };
	struct vhu_extent extent = queue->ring.hint.extent;
	unsigned int i = 0;

	VHU_GATHER_RUN(i, run, &terms, &extent, v,
		split_transmit_four(&table, &terms, &v, &packets[i], g, i),
		split_transmit_one(&queue->ring, snapshot, &table, &terms, &extent, packets[i], g,
			i));
	return i;
}

VHU_PASS unsigned int
split_transmit_gather(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int run, struct vhu_gathered *g)
{
	split_heads(&queue->ring, snapshot, run, g->head);
	return split_transmit_run(queue, snapshot, packets, run, g);
}

/**
 * Take and give back @p n gathered chains.
 * @param head  of each.
 * @param length  bytes written to each; NULL: none.
 * @param skip  leave the used elements out: one is written for the whole burst.
 */
VHU_SPECIALISED void
split_give(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	const uint16_t *head, const uint32_t *length, unsigned int n, const bool skip)
{
	if (!skip)
		vhu_split_used_run(snapshot, ring->next_used, head, length, n);
	ring->next_used += n;
	ring->next_avail += n;
}

/** split_give() for a few: the compiler's code for storing several at once is for longer runs. */
VHU_SPECIALISED void
split_give_few(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	const uint16_t *head, const uint32_t *length, unsigned int n, const bool skip)
{
	unsigned int i;

	for (i = 0; i < n && !skip; i++) {
		vhu_split_used(snapshot, (uint16_t)(ring->next_used + i), head[i],
			length != NULL ? length[i] : 0);
		VHU_ONE_BY_ONE();
	}
	ring->next_used += n;
	ring->next_avail += n;
}

#endif /* VHU_NET_SPLIT_GATHER_H */
