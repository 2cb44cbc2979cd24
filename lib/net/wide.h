/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_WIDE_H
#define VHU_NET_WIDE_H

/**
 * @file
 * Transmitting wide packets: of several mbufs, into several buffers of the guest, or with requests.
 *
 * With MRG_RXBUF a guest offers buffers of a page or so, and a jumbo or segmented frame takes as
 * many as it needs. Where these are the ordinary kind (one writable descriptor in one extent), a
 * run of such packets goes through two passes like any other: buffers are gathered and asked for,
 * for several packets at once, and then written. Checksum and segmentation requests are turned into
 * a header, and checksums into patches, while the buffers are gathered. What is left is for
 * vhu_slow_transmit(). Included by body.c only.
 */

#include "net/header.h"
#include "net/packed_gather.h"
#include "net/split_gather.h"

/** Packets of a run, whose buffers lie one behind the other in what was gathered. */
struct wide_run {
	unsigned int packets;
	unsigned int buffers;
	uint8_t each[VHU_RUN]; /* buffers of each packet */
	struct vhu_transmit_plan plan[VHU_RUN];
};

/** Where the buffers of a run come from. */
struct wide_source {
	struct split_table table;  /* split */
	struct packed_flags flags; /* packed */
	unsigned int room;         /* buffers to look at, at most */
};

/*
 * Gather the next buffer for up to @p left bytes. @p first: a packet begins in it.
 * @return how many it takes; 0: none of the common kind is there.
 */
VHU_SPECIALISED uint32_t
wide_buffer(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	const struct wide_source *source, struct vhu_extent *extent, uint32_t left, bool first,
	struct vhu_gathered *g, unsigned int i, const bool packed)
{
	struct vhu_descriptor d;
	uint32_t size;
	uint8_t *host;

	if (packed) {
		d = vhu_packed_load_at(&source->flags.descriptors[i]);
		if (__builtin_expect(vhu_packed_flags(d) != source->flags.available, 0))
			return 0;
	} else {
		if (__builtin_expect(g->head[i] >= source->table.size, 0))
			return 0;
		d = vhu_guest_descriptor(&source->table.descriptors[g->head[i]]);
		if (__builtin_expect(vhu_descriptor_flags(d) != VRING_DESC_F_WRITE, 0))
			return 0;
	}
	size = vhu_descriptor_length(d) < left ? vhu_descriptor_length(d) : left;
	host = gather_translate(ring, snapshot, extent, d.address, size, VHU_WRITE);
	if (__builtin_expect(host == NULL, 0))
		return 0;
	if (first)
		gather_prefetch_frame(host, snapshot->header_size);
	else
		gather_prefetch_write(host);
	g->host[i] = host;
	g->size[i] = size;
	if (packed)
		g->used[i] = (d.word & PACKED_ID) | source->flags.used | size;
	return size;
}

/* Header and patches of a packet. @return false if they are not to be had here. */
VHU_SPECIALISED bool
wide_plan(const struct vhu_snapshot *snapshot, const struct rte_mbuf *m, bool offload,
	struct vhu_transmit_plan *plan)
{
	if ((m->ol_flags & VHU_TX_REQUESTS) != 0)
		return (m->ol_flags & RTE_MBUF_F_TX_VLAN) == 0 &&
			vhu_offload_transmit(m, snapshot->features, plan);
	plan->patches = 0;
	plan->header = (struct virtio_net_hdr){
		.flags = offload ? (uint8_t)vhu_offload_data_valid(m) : 0,
	};
	return true;
}

/* Does all that is patched lie in the first buffer, of which @p size bytes are used? */
static inline bool
wide_patches_fit(const struct vhu_transmit_plan *plan, uint32_t header_size, uint32_t size)
{
	uint8_t i;

	for (i = 0; i < plan->patches; i++)
		if (header_size + plan->patch[i].offset + sizeof(plan->patch[i].value) > size)
			return false;
	return true;
}

/* Gather all buffers of a packet. @return how many; 0: not to be had, or not common. */
VHU_SPECIALISED unsigned int
wide_packet(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	const struct wide_source *source, struct vhu_extent *extent, const struct rte_mbuf *m,
	const struct vhu_transmit_plan *plan, struct vhu_gathered *g, unsigned int first,
	const bool packed)
{
	const bool mergeable = snapshot->features >> VIRTIO_NET_F_MRG_RXBUF & 1;
	uint32_t size = 0, left = m->pkt_len + snapshot->header_size;
	unsigned int n;

	for (n = 0; left != 0; n++) {
		if (first + n == source->room || (n != 0 && !mergeable))
			return 0;
		size = wide_buffer(
			ring, snapshot, source, extent, left, n == 0, g, first + n, packed);
		/* The header may not be spread over buffers, nor is it worth to patch in others. */
		if (size == 0 || (n == 0 && (size < snapshot->header_size ||
				!wide_patches_fit(plan, snapshot->header_size, size))))
			return 0;
		left -= size;
	}
	return n;
}

/* First pass over as many of @p count packets as there are buffers for. */
VHU_SPECIALISED void
wide_gather(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int count, bool offload, struct vhu_gathered *g,
	struct wide_run *run, const bool packed)
{
	struct vhu_extent extent = ring->hint.extent;
	struct wide_source source;

	if (packed) {
		source.room = packed_run(ring, snapshot, VHU_RUN);
		source.flags = packed_flags_of(ring, snapshot, true);
	} else {
		source.room = vhu_split_available(ring, snapshot, VHU_RUN);
		source.table = split_table_of(snapshot);
		split_heads(ring, snapshot, source.room, g->head);
	}
	run->packets = run->buffers = 0;
	while (run->packets < count && run->packets < VHU_RUN) {
		const struct rte_mbuf *packet = packets[run->packets];
		struct vhu_transmit_plan *plan = &run->plan[run->packets];
		unsigned int n;

		if (!wide_plan(snapshot, packet, offload, plan))
			break;
		n = wide_packet(ring, snapshot, &source, &extent, packet, plan, g, run->buffers,
			packed);
		if (n == 0)
			break;
		run->each[run->packets++] = (uint8_t)n;
		run->buffers += n;
	}
}

/* The header, once it is known how many buffers the packet takes. */
static inline void
wide_store_header(uint8_t *host, uint32_t header_size, const struct vhu_transmit_plan *plan,
	unsigned int buffers, const struct rte_mbuf *packet)
{
	uint64_t first;

	memcpy(&first, &plan->header, sizeof(first));
	store_header(host, header_size, first, header_rest(plan->header.csum_offset, buffers),
		packet);
}

/* Write a packet into its buffers, of which @p host is the first. @return bytes of the frame. */
static inline uint32_t
wide_copy_packet(uint32_t header_size, uint8_t *const *host, const uint32_t *size,
	const struct rte_mbuf *packet)
{
	uint32_t left = packet->pkt_len, room = *size - header_size;
	uint8_t *to = *host + header_size;
	const struct rte_mbuf *m;

	for (m = packet; m != NULL && left != 0; m = m->next) {
		const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
		uint32_t rest = m->data_len < left ? m->data_len : left;

		left -= rest;
		while (rest != 0) {
			uint32_t piece;

			/* As much room was gathered as pkt_len needs, and no more is copied. */
			while (room == 0) {
				to = *++host;
				room = *++size;
			}
			piece = rest < room ? rest : room;
			vhu_copy(to, data, piece);
			to += piece;
			data += piece;
			room -= piece;
			rest -= piece;
		}
	}
	return packet->pkt_len;
}

/* Second pass. @return bytes of frames. */
VHU_PASS uint64_t
wide_copy(const struct vhu_snapshot *snapshot, const struct vhu_gathered *g,
	struct rte_mbuf **packets, const struct wide_run *run)
{
	const uint32_t header_size = snapshot->header_size;
	unsigned int i, first = 0;
	uint64_t bytes = 0;

	for (i = 0; i < run->packets; i++) {
		const struct vhu_transmit_plan *plan = &run->plan[i];
		uint8_t *host = g->host[first], k;

		wide_store_header(host, header_size, plan, run->each[i], packets[i]);
		bytes += wide_copy_packet(header_size, &g->host[first], &g->size[first],
			packets[i]);
		for (k = 0; k < plan->patches; k++)
			*(vhu_word2_t *)(host + header_size + plan->patch[k].offset) =
				plan->patch[k].value;
		first += run->each[i];
	}
	return bytes;
}

#endif /* VHU_NET_WIDE_H */
