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
static inline uint16_t
transmit_gather(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, uint16_t run, struct vhu_gathered *g)
{
	struct vhu_hint hint = queue->ring.hint;
	const uint32_t header_size = snapshot->header_size;
	uint16_t i;

	gather_heads(&queue->ring, snapshot, run, g->head);
	for (i = 0; i < run; i++) {
		const struct rte_mbuf *m = packets[i];
		struct vhu_descriptor d;
		uint32_t size;
		uint8_t *host;

		if (__builtin_expect(g->head[i] >= snapshot->size || m->nb_segs != 1 ||
				(m->ol_flags & VHU_TX_REQUESTS) != 0, 0))
			break;
		d = vhu_guest_descriptor(&snapshot->descriptors[g->head[i]]);
		size = m->data_len + header_size;
		if (vhu_descriptor_flags(d) != VRING_DESC_F_WRITE || vhu_descriptor_length(d) < size)
			break;
		host = translate_whole(snapshot, &hint, d.address, size);
		if (__builtin_expect(host == NULL, 0))
			break;
		__builtin_prefetch(host, 1);
		__builtin_prefetch(host + 64, 1);
		g->host[i] = host;
		g->size[i] = size;
	}
	queue->ring.hint = hint;
	return i;
}

/* The header of a packet without requests: @p flags, and one buffer where that field exists. */
static inline void
store_header(uint8_t *host, uint32_t header_size, uint64_t flags)
{
	/* Blind: comparing first would bring the line twice, and the payload makes it dirty anyway. */
	*(vhu_word8_t *)host = flags;
	if (__builtin_expect(header_size == sizeof(struct virtio_net_hdr_mrg_rxbuf), 1))
		*(vhu_word4_t *)(host + 8) = 1u << 16; /* csum_offset 0, num_buffers 1 */
	else
		*(vhu_word2_t *)(host + 8) = 0;
}

/* Second pass over @p n gathered pairs. */
static inline void
transmit_copy(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	const struct vhu_gathered *g, struct rte_mbuf **packets, uint16_t n, const bool offload,
	uint64_t *bytes)
{
	const uint32_t header_size = snapshot->header_size;
	uint16_t i;

	for (i = 0; i < n; i++) {
		const struct rte_mbuf *m = packets[i];
		uint32_t size = g->size[i] - header_size;

		store_header(g->host[i], header_size, offload ? vhu_offload_data_valid(m) : 0);
		vhu_copy(g->host[i] + header_size, rte_pktmbuf_mtod(m, const uint8_t *), size);
		*bytes += size;
	}
	for (i = 0; i < n; i++)
		vhu_split_used(snapshot, (uint16_t)(ring->next_used + i), g->head[i], g->size[i]);
	ring->next_used += n;
	ring->next_avail += n;
}

/*
 * Give back the mbufs of a run: one mempool call if they are all plain and of one pool, which saves
 * the function call and the second cache line of each that rte_pktmbuf_free() would touch.
 */
static inline void
free_run(struct rte_mbuf **packets, uint16_t n)
{
	struct rte_mempool *pool = packets[0]->pool;
	uint64_t odd = 0;
	uint16_t i;

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
	uint16_t done = 0, moved = 0, old = ring->next_used;
	uint64_t bytes = 0;

	if (__builtin_expect(vhu_ring_is_broken(ring) || count == 0, 0))
		return 0;
	if (__builtin_expect(ring->phase == VHU_RING_FRESH, 0))
		vhu_split_begin(ring, snapshot);
	if (vhu_split_available(ring, snapshot, count) == 0) {
		vhu_count(&ring->counters.empty, 1);
		return 0;
	}
	vhu_hint_check(snapshot->map, &ring->hint);
	while (done < count) {
		uint16_t run = count - done < VHU_RUN ? count - done : VHU_RUN;
		uint16_t n;

		run = transmit_room(ring, snapshot, run);
		if (run == 0)
			break;
		n = transmit_gather(queue, snapshot, &packets[done], run, &g);
		if (n != 0) {
			transmit_copy(ring, snapshot, &g, &packets[done], n, offload, &bytes);
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
	return done;
}

#endif /* VHU_NET_TRANSMIT_H */
