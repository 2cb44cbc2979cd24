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
#include "net/offload.h"
#include "net/slow.h"

/** Most packets in one run: as many misses as a core can have under way, with some to spare. */
#define VHU_RUN 64
/** Payload lines asked for in the first pass; beyond them the hardware's own prefetching has caught on. */
#define VHU_PREFETCH_LINES 2

/** A gathered run: where each frame's header is, how long the buffer is, which head it has. */
struct vhu_gathered {
	uint8_t *host[VHU_RUN];
	uint32_t size[VHU_RUN];
	uint16_t head[VHU_RUN];
};

/* Heads of the next @p run entries; asks for their descriptors. */
static inline void
gather_heads(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot, uint16_t run,
	uint16_t *head)
{
	uint16_t i;

	for (i = 0; i < run; i++) {
		head[i] = vhu_split_head(snapshot, (uint16_t)(ring->next_avail + i));
		/* Not yet bounded: a prefetch cannot fault. */
		__builtin_prefetch(&snapshot->descriptors[head[i]]);
	}
}

/* Host address if the whole range lies in one extent, otherwise NULL. */
static inline uint8_t *
translate_whole(const struct vhu_snapshot *snapshot, struct vhu_hint *hint, uint64_t address,
	uint32_t size)
{
	uint64_t contiguous = size;
	uint8_t *host = vhu_translate(snapshot->map, hint, address, &contiguous);

	return contiguous == size ? host : NULL;
}

/* First pass. @return how many chains from the front are of the common kind. */
static inline uint16_t
receive_gather(struct vhu_queue *queue, const struct vhu_snapshot *snapshot, uint16_t run,
	struct vhu_gathered *g)
{
	/* In registers for the run: the ring's copy could alias what the loop stores. */
	struct vhu_hint hint = queue->ring.hint;
	const uint32_t header_size = snapshot->header_size, room = queue->room;
	uint16_t i;

	gather_heads(&queue->ring, snapshot, run, g->head);
	for (i = 0; i < run; i++) {
		struct vhu_descriptor d;
		uint32_t size;
		uint8_t *host;

		if (__builtin_expect(g->head[i] >= snapshot->size, 0))
			break;
		d = vhu_guest_descriptor(&snapshot->descriptors[g->head[i]]);
		size = vhu_descriptor_length(d);
		/* Wraps for a buffer without a frame, which is not common either. */
		if (vhu_descriptor_flags(d) != 0 || size - header_size - 1 >= room)
			break;
		host = translate_whole(snapshot, &hint, d.address, size);
		if (__builtin_expect(host == NULL, 0))
			break;
		__builtin_prefetch(host);
		__builtin_prefetch(host + 64);
		g->host[i] = host;
		g->size[i] = size;
	}
	queue->ring.hint = hint;
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

/* Second pass over @p n gathered chains. @return frames kept, compacted to the front of @p packets. */
static inline uint16_t
receive_copy(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	const struct vhu_gathered *g, struct rte_mbuf **packets, uint16_t n, const bool offload,
	uint64_t *bytes)
{
	const uint32_t header_size = snapshot->header_size;
	const uint64_t rearm = queue->rearm;
	uint16_t i, kept = 0;

	for (i = 0; i < n; i++) {
		struct rte_mbuf *m = packets[i];
		uint32_t size = g->size[i] - header_size;
		uint64_t claims;

		rearm_mbuf(m, rearm, size);
		vhu_copy((uint8_t *)m->buf_addr + RTE_PKTMBUF_HEADROOM, g->host[i] + header_size,
			size);
		packets[kept] = m;
		if (offload) {
			/* flags, gso_type, hdr_len, gso_size: read once. */
			claims = *(const volatile vhu_word8_t *)g->host[i];
			if (__builtin_expect((claims & VHU_HEADER_CLAIMS) != 0, 0) &&
			    !vhu_offload_receive_claims(queue, snapshot->features, claims,
					g->host[i] + sizeof(claims), m))
				continue;
		}
		*bytes += size;
		kept++;
	}
	return kept;
}

/* Used elements of a run; nothing was written to the buffers, so the lengths are 0. */
static inline void
receive_used(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, const uint16_t *head,
	uint16_t n)
{
	uint16_t i;

	for (i = 0; i < n; i++)
		vhu_split_used(snapshot, (uint16_t)(ring->next_used + i), head[i], 0);
	ring->next_used += n;
	ring->next_avail += n;
}

static inline __attribute__((always_inline)) uint16_t
split_receive(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, uint16_t count, const bool offload)
{
	struct vhu_queue *queue = vhu_queue_of(ring);
	struct vhu_gathered g;
	uint16_t waiting, done = 0, got = 0, old = ring->next_used;
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
	vhu_hint_check(snapshot->map, &ring->hint);
	while (done < waiting) {
		uint16_t run = waiting - done < VHU_RUN ? waiting - done : VHU_RUN;
		uint16_t n = receive_gather(queue, snapshot, run, &g);

		/* One mempool call for the run; if it fails the slow path takes what mbufs there are. */
		if (n != 0 && rte_mempool_get_bulk(queue->pool, (void **)&packets[got], n) != 0)
			n = 0;
		if (n != 0) {
			got += receive_copy(queue, snapshot, &g, &packets[got], n, offload, &bytes);
			receive_used(ring, snapshot, g.head, n);
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
	return got;
}

#endif /* VHU_NET_RECEIVE_H */
