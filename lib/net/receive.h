/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_RECEIVE_H
#define VHU_NET_RECEIVE_H

/**
 * @file
 * Receiving a burst from the guest: split ring, common case.
 *
 * A run of chains that are one direct descriptor each, fit into one mbuf and lie in the extent used
 * last goes through two passes. The first reads descriptors, judges them in registers and
 * prefetches payload; the second copies. Between the two lie the misses of a whole run, taken at
 * once instead of one after another. A chain of any other kind ends the run and is taken by
 * vhu_slow_receive(), so order is kept. Included by body.c only.
 */

#include <rte_mempool.h>

#include "net/copy.h"
#include "net/gather.h"
#include "net/offload.h"
#include "net/slow.h"

/* First pass. @return how many chains from the front are of the common kind. */
VHU_PASS unsigned int
receive_gather(struct vhu_queue *queue, const struct vhu_snapshot *snapshot, unsigned int run,
	struct vhu_gathered *g)
{
	struct vhu_extent extent = queue->ring.hint.extent;
	const struct vring_desc *descriptors = snapshot->descriptors;
	const uint32_t ring_size = snapshot->size, header_size = snapshot->header_size;
	const uint32_t room = queue->room;
	unsigned int i;

	gather_heads(&queue->ring, snapshot, run, g->head);
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
		/* Two lines; beyond them the hardware's own prefetching has caught on. */
		__builtin_prefetch(host);
		__builtin_prefetch(host + 64);
		g->host[i] = host;
		g->size[i] = size;
	}
	return i;
}

/* What every received mbuf has: one segment, nothing known. Three stores instead of a dozen. */
static inline void
rearm_mbuf(struct rte_mbuf *m, uint64_t rearm, uint32_t size)
{
	typedef uint32_t fields __attribute__((vector_size(16), aligned(4), may_alias));
	typedef uint64_t word __attribute__((may_alias));

	*(word *)&m->rearm_data = rearm;
	m->ol_flags = 0;
	/* packet_type, pkt_len, data_len and vlan_tci, hash.rss */
	*(fields *)&m->rx_descriptor_fields1 = (fields){ 0, size, size, 0 };
}

/*
 * Second pass over @p n gathered chains. @return frames kept, compacted to the front of @p packets.
 */
static inline __attribute__((always_inline)) unsigned int
receive_copy(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	const struct vhu_gathered *g, struct rte_mbuf **packets, unsigned int n, const bool offload,
	uint64_t *bytes)
{
	const uint32_t header_size = snapshot->header_size;
	const uint64_t rearm = queue->rearm;
	unsigned int i, kept = 0;
	uint64_t sum = 0;

	for (i = 0; i < n; i++) {
		struct rte_mbuf *m = packets[i];
		const uint8_t *host = g->host[i];
		uint32_t size = g->size[i] - header_size;

		rearm_mbuf(m, rearm, size);
		vhu_copy((uint8_t *)m->buf_addr + RTE_PKTMBUF_HEADROOM, host + header_size, size);
		if (offload) {
			/* flags, gso_type, hdr_len, gso_size: read once. */
			uint64_t claims = *(const volatile vhu_word8_t *)host;

			packets[kept] = m;
			if (__builtin_expect((claims & VHU_HEADER_CLAIMS) != 0, 0) &&
			    !vhu_offload_receive_claims(queue, snapshot->features, claims,
					host + sizeof(claims), m))
				continue;
		}
		sum += size;
		kept++;
	}
	*bytes += sum;
	return kept;
}

VHU_PASS unsigned int
receive_copy_plain(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	const struct vhu_gathered *g, struct rte_mbuf **packets, unsigned int n, uint64_t *bytes)
{
	return receive_copy(queue, snapshot, g, packets, n, false, bytes);
}

VHU_PASS unsigned int
receive_copy_offload(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	const struct vhu_gathered *g, struct rte_mbuf **packets, unsigned int n, uint64_t *bytes)
{
	return receive_copy(queue, snapshot, g, packets, n, true, bytes);
}

static inline __attribute__((always_inline)) uint16_t
split_receive(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, uint16_t count, const bool offload)
{
	struct vhu_queue *queue = vhu_queue_of(ring);
	struct vhu_gathered g;
	unsigned int waiting, done = 0, got = 0;
	uint16_t old = ring->next_used;
	uint64_t bytes = 0;

	if (__builtin_expect(vhu_ring_is_broken(ring) || queue->pool == NULL, 0))
		return 0;
	if (__builtin_expect(ring->phase == VHU_RING_FRESH, 0))
		vhu_split_begin(ring, snapshot);
	waiting = vhu_split_available(ring, snapshot, count);
	if (waiting == 0) {
		vhu_count(&ring->counters.empty, 1);
		return 0;
	}
	vhu_hint_check(&snapshot->space, &ring->hint);
	while (done < waiting) {
		unsigned int run = waiting - done < VHU_RUN ? waiting - done : VHU_RUN;
		unsigned int n = receive_gather(queue, snapshot, run, &g);

		/*
		 * One mempool call for the run; if it fails the slow path takes what mbufs there
		 * are.
		 */
		if (n != 0 && rte_mempool_get_bulk(queue->pool, (void **)&packets[got], n) != 0)
			n = 0;
		if (n != 0) {
			got += offload ?
				receive_copy_offload(
					queue, snapshot, &g, &packets[got], n, &bytes) :
				receive_copy_plain(queue, snapshot, &g, &packets[got], n, &bytes);
			vhu_split_used_run(snapshot, ring->next_used, g.head, NULL, n);
			ring->next_used += n;
			ring->next_avail += n;
			done += n;
		}
		if (n < run) {
			enum vhu_slow slow = vhu_slow_receive(queue, snapshot, &packets[got]);

			if (slow == VHU_SLOW_STOP)
				break;
			done++;
			if (slow == VHU_SLOW_DONE)
				bytes += packets[got++]->pkt_len;
		}
	}
	if (ring->next_used != old)
		vhu_split_publish(ring, snapshot, old);
	if (got != 0) {
		vhu_count(&ring->counters.packets, got);
		vhu_count(&ring->counters.bytes, bytes);
		vhu_count(&ring->counters.bursts, 1);
	}
	return (uint16_t)got;
}

#endif /* VHU_NET_RECEIVE_H */
