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

#include "net/gather.h"
#include "ring/split.h"

/** Heads of the next @p run entries; asks for their descriptors. */
static inline void
split_heads(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot, unsigned int run,
	uint16_t *head)
{
	const struct vring_desc *descriptors = snapshot->descriptors;
	const uint8_t *ring_of_heads = (const uint8_t *)snapshot->avail->ring;
	unsigned int at = ring->next_avail & (snapshot->size - 1u);
	unsigned int i, first = snapshot->size - at < run ? snapshot->size - at : run;

	/* At most two copies instead of an indexed load each. */
	vhu_copy((uint8_t *)head, ring_of_heads + at * sizeof(head[0]), first * sizeof(head[0]));
	if (__builtin_expect(first < run, 0))
		vhu_copy((uint8_t *)(head + first), ring_of_heads, (run - first) * sizeof(head[0]));
	vhu_guest_copied();
	/* Not yet bounded: a prefetch cannot fault. */
	for (i = 0; i < run; i++)
		__builtin_prefetch(&descriptors[head[i]]);
}

/* Receiving. @return how many chains from the front are of the common kind. */
VHU_PASS unsigned int
split_receive_gather(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	unsigned int run, struct vhu_gathered *g)
{
	struct vhu_extent extent = queue->ring.hint.extent;
	const struct vring_desc *descriptors = snapshot->descriptors;
	const uint32_t ring_size = snapshot->size, header_size = snapshot->header_size;
	const uint32_t room = queue->room;
	unsigned int i;

	split_heads(&queue->ring, snapshot, run, g->head);
	for (i = 0; i < run; i++) {
		uint32_t head = g->head[i], size;
		struct vhu_descriptor d;
		uint8_t *host;

		if (__builtin_expect(head >= ring_size, 0))
			break;
		d = vhu_guest_descriptor(&descriptors[head]);
		size = vhu_descriptor_length(d);
		/* Wraps for a buffer without a frame, which is not common either. */
		if (__builtin_expect(vhu_descriptor_flags(d) != 0 ||
				size - header_size - 1 >= room, 0))
			break;
		host = gather_translate(&queue->ring, snapshot, &extent, d.address, size,
			VHU_READ);
		if (__builtin_expect(host == NULL, 0))
			break;
		gather_prefetch_read(host);
		g->host[i] = host;
		g->size[i] = size;
	}
	return i;
}

/* Transmitting. @return how many pairs of packet and buffer are of the common kind. */
VHU_PASS unsigned int
split_transmit_gather(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int run, struct vhu_gathered *g)
{
	struct vhu_extent extent = queue->ring.hint.extent;
	const struct vring_desc *descriptors = snapshot->descriptors;
	const uint32_t ring_size = snapshot->size, header_size = snapshot->header_size;
	unsigned int i;

	split_heads(&queue->ring, snapshot, run, g->head);
	for (i = 0; i < run; i++) {
		uint32_t head = g->head[i], size;
		struct vhu_descriptor d;
		uint8_t *host;

		if (__builtin_expect(head >= ring_size || !gather_plain_packet(packets[i]), 0))
			break;
		d = vhu_guest_descriptor(&descriptors[head]);
		size = packets[i]->data_len + header_size;
		if (__builtin_expect(vhu_descriptor_flags(d) != VRING_DESC_F_WRITE ||
				vhu_descriptor_length(d) < size, 0))
			break;
		host = gather_translate(&queue->ring, snapshot, &extent, d.address, size,
			VHU_WRITE);
		if (__builtin_expect(host == NULL, 0))
			break;
		gather_prefetch_write(host);
		g->host[i] = host;
		g->size[i] = size;
	}
	return i;
}

/**
 * Take and give back @p n gathered chains.
 * @param length  bytes written to each; NULL: none.
 * @param skip  leave the used elements out: split_skipped() writes one for the whole burst.
 */
VHU_SPECIALISED void
split_give(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	const struct vhu_gathered *g, const uint32_t *length, unsigned int n, const bool skip)
{
	if (!skip)
		vhu_split_used_run(snapshot, ring->next_used, g->head, length, n);
	ring->next_used += n;
	ring->next_avail += n;
}

#endif /* VHU_NET_SPLIT_GATHER_H */
