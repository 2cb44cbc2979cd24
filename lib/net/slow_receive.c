/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <rte_ether.h>

#include "net/cursor.h"
#include "net/offload.h"
#include "net/slow.h"

/* The largest frame a guest may send: 64 KiB of IP behind an Ethernet header with two tags. */
#define FRAME_MAX (UINT16_MAX + RTE_ETHER_HDR_LEN + 2 * RTE_VLAN_HLEN)

/* Fill one mbuf; whatever is left goes into the next. */
static void
fill(struct vhu_queue *queue, struct rte_mbuf *m, struct vhu_cursor *cursor, uint32_t *left)
{
	uint32_t size = *left < queue->room ? *left : queue->room;

	m->port = (uint16_t)(queue->rearm >> 48);
	m->data_len = (uint16_t)vhu_cursor_read(cursor, rte_pktmbuf_mtod(m, void *), size);
	*left -= size;
}

/* Copy a frame into as many mbufs as it takes. @return NULL if there are not enough. */
static struct rte_mbuf *
copy_frame(struct vhu_queue *queue, struct vhu_cursor *cursor, uint32_t size,
	enum vhu_slow *outcome)
{
	struct rte_mbuf *first = rte_pktmbuf_alloc(queue->pool);
	struct rte_mbuf *last = first;
	uint32_t left = size;

	*outcome = VHU_SLOW_STOP;
	if (first == NULL)
		return NULL;
	fill(queue, first, cursor, &left);
	while (left != 0) {
		last->next = rte_pktmbuf_alloc(queue->pool);
		if (last->next == NULL) {
			/*
			 * A pool that is too small for this frame must not stop the ring for good.
			 */
			*outcome = VHU_SLOW_DROPPED;
			rte_pktmbuf_free(first);
			return NULL;
		}
		last = last->next;
		first->nb_segs++;
		fill(queue, last, cursor, &left);
	}
	first->pkt_len = size;
	*outcome = VHU_SLOW_DONE;
	return first;
}

static enum vhu_slow
drop(struct vhu_queue *queue, enum vhu_drop reason)
{
	vhu_count(&queue->ring.counters.drops[reason], 1);
	return VHU_SLOW_DROPPED;
}

/* Make a packet of a chain's segments. */
static enum vhu_slow
receive_chain(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	const struct iovec *segments, const struct vhu_chain *chain, struct rte_mbuf **packet)
{
	uint32_t header_size = snapshot->header_size;
	uint64_t size = chain->readable_size;
	struct virtio_net_hdr header;
	struct vhu_cursor cursor;
	enum vhu_slow outcome;

	if (size <= header_size)
		return drop(queue, size < header_size ? VHU_DROP_SHORT : VHU_DROP_EMPTY);
	if (size - header_size > FRAME_MAX)
		return drop(queue, VHU_DROP_LONG);
	cursor = vhu_cursor_at(segments, chain->readable);
	vhu_cursor_read(&cursor, &header, sizeof(header));
	vhu_cursor_skip(&cursor, header_size - (uint32_t)sizeof(header));
	*packet = copy_frame(queue, &cursor, (uint32_t)size - header_size, &outcome);
	if (outcome == VHU_SLOW_STOP)
		vhu_count(&queue->ring.counters.mbuf_failures, 1);
	if (outcome == VHU_SLOW_DROPPED)
		return drop(queue, VHU_DROP_NO_MBUF);
	if (outcome == VHU_SLOW_DONE && (header.flags != 0 || header.gso_type != 0) &&
	    !vhu_offload_receive(queue, snapshot->features, &header, *packet)) {
		rte_pktmbuf_free(*packet);
		return drop(queue, VHU_DROP_BAD_OFFLOAD);
	}
	return outcome;
}

enum vhu_slow
vhu_slow_receive(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packet, struct vhu_chain *chain)
{
	struct vhu_walk walk = vhu_walk_begin(&queue->ring);
	struct iovec segments[VHU_SEGMENTS_MAX];
	enum vhu_slow outcome;

	/* Room for the longest chain: never VHU_FOUND_ROOM. */
	if (vhu_chain_look(&queue->ring, snapshot, &walk, segments, VHU_SEGMENTS_MAX, chain) !=
	    VHU_FOUND_CHAIN)
		return VHU_SLOW_STOP;
	if (chain->writable != 0) {
		vhu_ring_break(&queue->ring, VHU_BROKEN_DIRECTION, chain->id);
		return VHU_SLOW_STOP;
	}
	outcome = receive_chain(queue, snapshot, segments, chain, packet);
	if (outcome != VHU_SLOW_STOP)
		vhu_walk_take(&queue->ring, &walk);
	return outcome;
}
