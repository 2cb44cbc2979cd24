/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <rte_byteorder.h>
#include <rte_ether.h>

#include "net/cursor.h"
#include "net/hash.h"
#include "net/mark.h"
#include "net/offload.h"
#include "net/slow.h"

/* Most guest buffers that one frame may be spread over. */
#define BUFFERS_MAX 1024
/* Segments of a buffer whose first lines are prefetched. */
#define PREFETCHED 4
/* Where a tag goes: behind the two addresses. */
#define TAG_OFFSET (2 * RTE_ETHER_ADDR_LEN)

/* Guest buffers taken for one frame; nothing is consumed until the frame is written. */
struct reservation {
	struct vhu_walk walk;
	uint32_t count;
	uint32_t slots;
	uint32_t segment_count;
	struct vhu_chain chains[BUFFERS_MAX];
	uint32_t written[BUFFERS_MAX];
	/* One more chain always fits behind what is there when it is walked. */
	struct iovec segments[2 * VHU_SEGMENTS_MAX];
};

static enum vhu_slow
drop(struct vhu_queue *queue, const struct vhu_snapshot *snapshot, struct rte_mbuf *packet,
	enum vhu_drop reason)
{
	vhu_count(&queue->ring.counters.drops[reason], 1);
	if (snapshot->counted != NULL)
		vhu_histogram_dropped(queue, packet);
	rte_pktmbuf_free(packet);
	return VHU_SLOW_DROPPED;
}

/* Ask for the first lines of a buffer, for writing: they arrive while others are looked at. */
static void
prefetch_buffer(const struct iovec *segments, uint16_t count)
{
	uint16_t i;

	for (i = 0; i < count && i < PREFETCHED; i++) {
		__builtin_prefetch(segments[i].iov_base, 1);
		__builtin_prefetch((const uint8_t *)segments[i].iov_base + 64, 1);
	}
}

/*
 * Collect buffers until they hold @p size bytes.
 * DONE: reserved. DROPPED: no number of buffers that may come will do. STOP: wait for buffers.
 */
static enum vhu_slow
reserve(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, uint64_t size,
	struct reservation *r)
{
	bool mergeable = snapshot->features >> VIRTIO_NET_F_MRG_RXBUF & 1;
	uint64_t held = 0;

	r->walk = vhu_walk_begin(ring);
	r->count = 0;
	r->slots = 0;
	r->segment_count = 0;
	while (held < size) {
		struct vhu_chain *chain = &r->chains[r->count];

		if (r->count == BUFFERS_MAX || r->slots >= snapshot->size ||
		    r->segment_count > VHU_SEGMENTS_MAX || (r->count != 0 && !mergeable))
			return VHU_SLOW_DROPPED;
		if (vhu_chain_look(ring, snapshot, &r->walk, &r->segments[r->segment_count],
				VHU_SEGMENTS_MAX, chain) != VHU_FOUND_CHAIN)
			return VHU_SLOW_STOP;
		if (chain->readable != 0) {
			vhu_ring_break(ring, VHU_BROKEN_DIRECTION, chain->id);
			return VHU_SLOW_STOP;
		}
		/* The header may not be spread over buffers. */
		if (r->count == 0 && chain->writable_size < snapshot->header_size)
			return VHU_SLOW_DROPPED;
		prefetch_buffer(&r->segments[r->segment_count], chain->writable);
		r->segment_count += chain->writable;
		r->slots += chain->slots;
		r->count++;
		held += chain->writable_size;
	}
	return VHU_SLOW_DONE;
}

static void
write_header(struct vhu_cursor *cursor, const struct vhu_snapshot *snapshot,
	const struct virtio_net_hdr *header, uint32_t buffers, const struct rte_mbuf *packet)
{
	struct {
		struct virtio_net_hdr_mrg_rxbuf first;
		uint64_t hash;
	} __attribute__((packed)) full = {
		.first = { .hdr = *header, .num_buffers = (uint16_t)buffers },
		.hash = vhu_hash_fields(packet),
	};

	vhu_cursor_write(cursor, &full, snapshot->header_size);
}

/* Write the frame, with the packet's tag behind the addresses if it wants one. */
static void
write_frame(struct vhu_cursor *cursor, const struct rte_mbuf *packet)
{
	bool tagged = packet->ol_flags & RTE_MBUF_F_TX_VLAN;
	uint32_t left = packet->pkt_len, at = 0;
	const struct rte_mbuf *m;

	for (m = packet; m != NULL && left != 0; m = m->next) {
		const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
		uint32_t size = m->data_len < left ? m->data_len : left;

		left -= size;
		if (tagged && at + size >= TAG_OFFSET) {
			uint32_t before = TAG_OFFSET - at;
			uint16_t tag[2] = { rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN),
				rte_cpu_to_be_16(packet->vlan_tci) };

			vhu_cursor_write(cursor, data, before);
			vhu_cursor_write(cursor, tag, sizeof(tag));
			data += before;
			size -= before;
			at += before;
			tagged = false;
		}
		vhu_cursor_write(cursor, data, size);
		at += size;
	}
}

/* Write the checksums that were made for the copy. */
static void
write_patches(const struct reservation *r, const struct vhu_snapshot *snapshot,
	const struct vhu_transmit_plan *plan, uint32_t tag)
{
	uint8_t i;

	for (i = 0; i < plan->patches; i++) {
		struct vhu_cursor cursor = vhu_cursor_at(r->segments, r->segment_count);

		vhu_cursor_skip(&cursor, snapshot->header_size + plan->patch[i].offset + tag);
		vhu_cursor_write(&cursor, &plan->patch[i].value, sizeof(plan->patch[i].value));
	}
}

/* Hand the buffers over, each with what was written to it. */
static void
complete(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, struct reservation *r,
	uint32_t size)
{
	uint32_t i, left = size;

	if (snapshot->dirty != NULL)
		vhu_mark_segments(snapshot, r->segments, r->segment_count, size);
	for (i = 0; i < r->count; i++) {
		uint64_t room = r->chains[i].writable_size;

		r->written[i] = room < left ? (uint32_t)room : left;
		left -= r->written[i];
	}
	vhu_walk_take(ring, &r->walk);
	vhu_used_write(ring, snapshot, r->chains, r->written, r->count);
}

enum vhu_slow
vhu_slow_transmit(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	struct rte_mbuf *packet)
{
	bool tagged = packet->ol_flags & RTE_MBUF_F_TX_VLAN;
	uint32_t tag = tagged ? RTE_VLAN_HLEN : 0;
	uint32_t size = snapshot->header_size + packet->pkt_len + tag;
	struct vhu_transmit_plan plan;
	struct vhu_cursor cursor;
	struct reservation r;
	enum vhu_slow outcome;

	if ((tagged && packet->pkt_len < RTE_ETHER_HDR_LEN) ||
	    !vhu_offload_transmit(packet, snapshot->features, &plan))
		return drop(queue, snapshot, packet, VHU_DROP_BAD_OFFLOAD);
	outcome = reserve(&queue->ring, snapshot, size, &r);
	if (outcome == VHU_SLOW_STOP)
		return VHU_SLOW_STOP;
	if (outcome == VHU_SLOW_DROPPED)
		return drop(queue, snapshot, packet, VHU_DROP_NO_BUFFER_ROOM);
	if (plan.header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		plan.header.csum_start += (uint16_t)tag;
	if (plan.header.gso_type != VIRTIO_NET_HDR_GSO_NONE)
		plan.header.hdr_len += (uint16_t)tag;
	cursor = vhu_cursor_at(r.segments, r.segment_count);
	write_header(&cursor, snapshot, &plan.header, r.count, packet);
	write_frame(&cursor, packet);
	write_patches(&r, snapshot, &plan, tag);
	complete(&queue->ring, snapshot, &r, size);
	rte_pktmbuf_free(packet);
	return VHU_SLOW_DONE;
}
