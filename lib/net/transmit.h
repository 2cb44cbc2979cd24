/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_TRANSMIT_H
#define VHU_NET_TRANSMIT_H

/**
 * @file
 * Transmitting a burst to the guest: split ring, common case.
 *
 * The mirror image of receive.h. A packet of one segment without requests meets a buffer of one
 * writable descriptor that holds it: such pairs are gathered (with the guest's lines prefetched for
 * writing, so that they arrive in the state in which a store needs them) and then copied. The
 * rest goes through vhu_slow_transmit(). Included by body.c only, after receive.h.
 */

/* First pass. @return how many pairs from the front are of the common kind. */
VHU_PASS unsigned int
transmit_gather(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int run, struct vhu_gathered *g)
{
	struct vhu_extent extent = queue->ring.hint.extent;
	const struct vring_desc *descriptors = snapshot->descriptors;
	const uint32_t ring_size = snapshot->size, header_size = snapshot->header_size;
	unsigned int i;

	gather_heads(&queue->ring, snapshot, run, g->head);
	for (i = 0; i < run; i++) {
		const struct rte_mbuf *m = packets[i];
		uint32_t head = g->head[i], size;
		struct vhu_descriptor d;
		uint8_t *host;

		if (__builtin_expect(head >= ring_size || m->nb_segs != 1 ||
				(m->ol_flags & VHU_TX_REQUESTS) != 0, 0))
			break;
		d = vhu_guest_descriptor(&descriptors[head]);
		size = m->data_len + header_size;
		if (__builtin_expect(vhu_descriptor_flags(d) != VRING_DESC_F_WRITE ||
				vhu_descriptor_length(d) < size, 0))
			break;
		host = gather_translate(&queue->ring, snapshot, &extent, d.address, size,
			VHU_WRITE);
		if (__builtin_expect(host == NULL, 0))
			break;
		__builtin_prefetch(host, 1);
		__builtin_prefetch(host + 64, 1);
		g->host[i] = host;
		g->size[i] = size;
	}
	return i;
}

/* The header of a packet without requests: @p flags, and one buffer where that field exists. */
static inline void
store_header(uint8_t *host, uint32_t header_size, uint64_t flags)
{
	/*
	 * Blind: comparing first would bring the line twice, and the payload makes it dirty anyway.
	 */
	*(vhu_word8_t *)host = flags;
	if (__builtin_expect(header_size == sizeof(struct virtio_net_hdr_mrg_rxbuf), 1))
		*(vhu_word4_t *)(host + 8) = 1u << 16; /* csum_offset 0, num_buffers 1 */
	else
		*(vhu_word2_t *)(host + 8) = 0;
}

/* Second pass over @p n gathered pairs. @return bytes of frames. */
static inline __attribute__((always_inline)) uint64_t
transmit_copy(const struct vhu_snapshot *snapshot, const struct vhu_gathered *g,
	struct rte_mbuf **packets, unsigned int n, const bool offload)
{
	const uint32_t header_size = snapshot->header_size;
	uint64_t bytes = 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		const struct rte_mbuf *m = packets[i];
		uint8_t *host = g->host[i];
		uint32_t size = g->size[i] - header_size;

		store_header(host, header_size, offload ? vhu_offload_data_valid(m) : 0);
		vhu_copy(host + header_size, rte_pktmbuf_mtod(m, const uint8_t *), size);
		bytes += size;
	}
	return bytes;
}

VHU_PASS uint64_t
transmit_copy_plain(const struct vhu_snapshot *snapshot, const struct vhu_gathered *g,
	struct rte_mbuf **packets, unsigned int n)
{
	return transmit_copy(snapshot, g, packets, n, false);
}

VHU_PASS uint64_t
transmit_copy_offload(const struct vhu_snapshot *snapshot, const struct vhu_gathered *g,
	struct rte_mbuf **packets, unsigned int n)
{
	return transmit_copy(snapshot, g, packets, n, true);
}

/*
 * Give back the mbufs of a run: one mempool call if they are all plain and of one pool, which saves
 * the function call and the second cache line of each that rte_pktmbuf_free() would touch.
 */
VHU_PASS void
free_run(struct rte_mbuf **packets, unsigned int n)
{
	struct rte_mempool *pool = packets[0]->pool;
	uint64_t odd = 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		const struct rte_mbuf *m = packets[i];

		odd |= ((uintptr_t)m->pool ^ (uintptr_t)pool) | (rte_mbuf_refcnt_read(m) ^ 1) |
			(m->ol_flags & (RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL));
	}
	if (__builtin_expect(odd == 0, 1)) {
		rte_mempool_put_bulk(pool, (void *const *)packets, n);
		return;
	}
	for (i = 0; i < n; i++)
		rte_pktmbuf_free(packets[i]);
}

/* Guest buffers known to wait, looking at the guest's index again only if there are none left. */
static inline uint16_t
transmit_room(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, uint16_t wanted)
{
	uint16_t known = (uint16_t)(ring->avail_seen - ring->next_avail);

	if (known == 0)
		return vhu_split_available(ring, snapshot, wanted);
	return known < wanted ? known : wanted;
}

static inline __attribute__((always_inline)) uint16_t
split_transmit(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, uint16_t count, const bool offload)
{
	struct vhu_queue *queue = vhu_queue_of(ring);
	struct vhu_gathered g;
	unsigned int done = 0, moved = 0;
	uint16_t old = ring->next_used;
	uint64_t bytes = 0;

	if (__builtin_expect(vhu_ring_is_broken(ring) || count == 0, 0))
		return 0;
	if (__builtin_expect(ring->phase == VHU_RING_FRESH, 0))
		vhu_split_begin(ring, snapshot);
	if (vhu_split_available(ring, snapshot, count) == 0) {
		vhu_count(&ring->counters.empty, 1);
		return 0;
	}
	vhu_hint_check(&snapshot->space, &ring->hint);
	while (done < count) {
		unsigned int n, run = count - done < VHU_RUN ? count - done : VHU_RUN;

		run = transmit_room(ring, snapshot, (uint16_t)run);
		if (run == 0)
			break;
		n = transmit_gather(queue, snapshot, &packets[done], run, &g);
		if (n != 0) {
			bytes += offload ? transmit_copy_offload(snapshot, &g, &packets[done], n) :
				transmit_copy_plain(snapshot, &g, &packets[done], n);
			vhu_split_used_run(snapshot, ring->next_used, g.head, g.size, n);
			ring->next_used += n;
			ring->next_avail += n;
			free_run(&packets[done], n);
			done += n;
			moved += n;
		}
		if (n < run) {
			uint32_t size = packets[done]->pkt_len;
			enum vhu_slow slow = vhu_slow_transmit(queue, snapshot, packets[done]);

			if (slow == VHU_SLOW_STOP)
				break;
			done++;
			if (slow == VHU_SLOW_DONE) {
				moved++;
				bytes += size;
			}
		}
	}
	if (ring->next_used != old)
		vhu_split_publish(ring, snapshot, old);
	if (moved != 0) {
		vhu_count(&ring->counters.packets, moved);
		vhu_count(&ring->counters.bytes, bytes);
		vhu_count(&ring->counters.bursts, 1);
	}
	return (uint16_t)done;
}

#endif /* VHU_NET_TRANSMIT_H */
