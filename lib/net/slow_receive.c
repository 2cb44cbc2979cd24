/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "net/cursor.h"
#include "net/offload.h"
#include "net/slow.h"
#include "ring/packed.h"
#include "ring/split.h"

/* Most mbufs of a frame that are asked for at once. */
#define BULK_MAX 64
/* Segments of a chain whose first lines are prefetched. */
#define PREFETCHED 4

/* Chains that were looked at, and how to take them. */
struct run {
	unsigned int count;
	struct vhu_walk behind[VHU_SLOW_RUN];      /* where the walk stands behind each */
	const struct iovec *first[VHU_SLOW_RUN];   /* its segments */
	struct iovec segments[VHU_SEGMENTS_MAX];
};

/* Fill one mbuf; whatever is left goes into the next. */
static void
fill(struct vhu_queue *queue, struct rte_mbuf *m, struct vhu_cursor *cursor, uint32_t *left)
{
	uint32_t size = *left < queue->room ? *left : queue->room;

	m->port = (uint16_t)(queue->rearm >> 48);
	m->data_len = (uint16_t)vhu_cursor_read(cursor, rte_pktmbuf_mtod(m, void *), size);
	*left -= size;
}

/*
 * Mbufs for a frame, linked. A pool that has some but not enough is too small for this frame and
 * must not stop the ring for good: DROPPED. One that has none may be filled again: STOP.
 */
static enum vhu_slow
allocate(struct vhu_queue *queue, uint32_t count, struct rte_mbuf **first)
{
	struct rte_mbuf *many[BULK_MAX], *last;
	uint32_t i = 0, taken = 0;

	*first = last = NULL;
	while (count != 0) {
		struct rte_mbuf *m;

		if (i == taken) {
			i = 0;
			taken = count < BULK_MAX ? count : BULK_MAX;
			if (rte_pktmbuf_alloc_bulk(queue->pool, many, taken) != 0) {
				taken = 1;
				many[0] = rte_pktmbuf_alloc(queue->pool);
			}
		}
		m = many[i++];
		if (m == NULL)
			break;
		if (*first == NULL)
			*first = m;
		else
			last->next = m;
		(*first)->nb_segs += last != NULL;
		last = m;
		count--;
	}
	if (count == 0)
		return VHU_SLOW_DONE;
	if (*first == NULL)
		return VHU_SLOW_STOP;
	rte_pktmbuf_free(*first);
	return VHU_SLOW_DROPPED;
}

/* Copy a frame into as many mbufs as it takes. @return NULL if there are not enough. */
static struct rte_mbuf *
copy_frame(struct vhu_queue *queue, struct vhu_cursor *cursor, uint32_t size,
	enum vhu_slow *outcome)
{
	struct rte_mbuf *first, *m;
	uint32_t left = size;

	*outcome = allocate(queue, (size + queue->room - 1) / queue->room, &first);
	if (*outcome != VHU_SLOW_DONE)
		return NULL;
	for (m = first; m != NULL; m = m->next)
		fill(queue, m, cursor, &left);
	first->pkt_len = size;
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
	if (size - header_size > VHU_FRAME_MAX)
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

/* Ask for an indirect table, if that is what a descriptor points to and it lies where others do. */
static void
prefetch_table(const struct vhu_ring *ring, uint64_t address, uint32_t flags)
{
	const struct vhu_extent *extent = &ring->hint.extent;

	if ((flags & VRING_DESC_F_INDIRECT) && address - extent->start < extent->size) {
		const uint8_t *host = (const uint8_t *)(uintptr_t)(address + extent->delta);

		__builtin_prefetch(host);
		__builtin_prefetch(host + 64);
	}
}

/*
 * Ask for the tables of the chains to come: each walk would wait for its own. Nothing is decided
 * here, the walks read the descriptors again.
 */
static void
prefetch_tables(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	unsigned int count)
{
	struct vhu_walk walk = vhu_walk_begin(ring);
	struct vhu_descriptor d;

	while (count-- != 0) {
		if (snapshot->format == VHU_PACKED) {
			d = vhu_packed_load(snapshot, walk.next);
			/* The driver is about to write the lines behind. */
			if (!vhu_packed_is_available(vhu_packed_flags(d), walk.wrap))
				return;
			prefetch_table(ring, d.address, vhu_packed_flags(d));
			vhu_packed_advance(&walk.next, &walk.wrap, 1, snapshot->size);
		} else {
			uint16_t head = vhu_split_head(snapshot, walk.next++);

			if (head >= snapshot->size)
				return;
			d = vhu_guest_descriptor(&snapshot->descriptors[head]);
			prefetch_table(ring, d.address, vhu_descriptor_flags(d));
		}
	}
}

/* One segment that fits into one mbuf: what a run of the common kind takes. */
static bool
is_simple(const struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	const struct vhu_chain *chain)
{
	return chain->readable == 1 && chain->readable_size > snapshot->header_size &&
		chain->readable_size - snapshot->header_size <= queue->room;
}

/* Look at chains until one belongs to the bursts again, and ask for what they hold. */
static void
look(struct vhu_queue *queue, const struct vhu_snapshot *snapshot, unsigned int most,
	struct run *run, struct vhu_chain *chains)
{
	struct vhu_walk walk = vhu_walk_begin(&queue->ring);
	unsigned int used = 0, i;

	run->count = 0;
	while (run->count < most) {
		struct vhu_chain *chain = &chains[run->count];
		struct iovec *segments = &run->segments[used];

		/* Room for the longest chain is there for the first: it is never too long. */
		if (vhu_chain_look(&queue->ring, snapshot, &walk, segments,
				VHU_SEGMENTS_MAX - used, chain) != VHU_FOUND_CHAIN)
			return;
		if (chain->writable != 0) {
			vhu_ring_break(&queue->ring, VHU_BROKEN_DIRECTION, chain->id);
			return;
		}
		/* Not if the first looks like that, too: it had another reason to come here. */
		if (run->count != 0 && is_simple(queue, snapshot, chain) &&
		    !is_simple(queue, snapshot, &chains[0]))
			return;
		for (i = 0; i < chain->readable && i < PREFETCHED; i++) {
			__builtin_prefetch(segments[i].iov_base);
			__builtin_prefetch((const uint8_t *)segments[i].iov_base + 64);
		}
		used += chain->readable;
		run->first[run->count] = segments;
		run->behind[run->count++] = walk;
	}
}

void
vhu_slow_receive(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int most, struct vhu_slow_received *received)
{
	struct run run;
	unsigned int i;

	received->count = 0;
	received->packets = 0;
	received->bytes = 0;
	if (most > VHU_SLOW_RUN)
		most = VHU_SLOW_RUN;
	prefetch_tables(&queue->ring, snapshot, most);
	look(queue, snapshot, most, &run, received->chains);
	for (i = 0; i < run.count; i++) {
		struct rte_mbuf **packet = &packets[received->packets];
		enum vhu_slow outcome = receive_chain(queue, snapshot, run.first[i],
			&received->chains[i], packet);

		if (outcome == VHU_SLOW_STOP)
			return;
		vhu_walk_take(&queue->ring, &run.behind[i]);
		received->count++;
		if (outcome == VHU_SLOW_DONE) {
			received->packets++;
			received->bytes += (*packet)->pkt_len;
		}
	}
}
