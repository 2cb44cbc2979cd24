/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_SCATTERED_H
#define VHU_NET_SCATTERED_H

/**
 * @file
 * Receiving scattered frames: out of several buffers or an indirect table, or into several mbufs.
 *
 * Linux sends each frame that is not in one piece as an indirect table; DPDK's driver sends a table
 * or a chain where header and frame lie apart; and jumbo frames take several mbufs. A run of such
 * frames goes through three passes, each of which asks for what the next one reads: descriptors of
 * the ring, tables, buffers. Frames of one buffer that lie between them are taken along. Nothing is
 * judged here: a frame that is not as usual in every respect ends the run, and vhu_slow_receive()
 * reads it again. Included by body.c only.
 */

#include "net/packed_gather.h"
#include "net/pool.h"
#include "net/receive_copy.h"
#include "net/slow.h"
#include "net/split_gather.h"

/** A descriptor of the ring. */
struct scattered_start {
	struct vhu_descriptor d;
	const struct vring_desc *table; /* that it points to; NULL: to a buffer */
};

/** Frames of a run, whose buffers lie one behind the other in what was gathered. */
struct scattered_run {
	unsigned int frames;
	unsigned int pieces;        /* their buffers */
	unsigned int mbufs;         /* that they take */
	unsigned int slots;         /* descriptors of the ring that they take; packed */
	uint8_t buffers[VHU_RUN];   /* of each frame */
	uint8_t slots_of[VHU_RUN];  /* of each frame; packed */
	uint32_t size[VHU_RUN];     /* bytes of each frame and its header */
	uint64_t used[VHU_RUN];     /* the word of each frame's used descriptor; packed */
	struct vhu_gathered g;      /* host and size of buffers */
};

/** What came of a run. */
struct scattered {
	unsigned int chains; /* taken and given back; 0: the next is not for us */
	unsigned int packets;
	uint16_t last;       /* id of the last chain */
};

/*
 * First pass over a descriptor; asks for its table.
 * @param flags  without those that say whose it is.
 * @return false if it is not common.
 */
VHU_SPECIALISED bool
scattered_begin(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct vhu_extent *extent, struct vhu_descriptor d, uint16_t flags,
	struct scattered_start *start)
{
	uint32_t size = vhu_descriptor_length(d);
	const uint8_t *host;

	start->d = d;
	start->table = NULL;
	if ((flags & ~VRING_DESC_F_NEXT) == 0)
		return true;
	if (__builtin_expect(flags != VRING_DESC_F_INDIRECT || size == 0 ||
			size % sizeof(struct vring_desc) != 0 ||
			size > VHU_RUN * sizeof(struct vring_desc) ||
			!(snapshot->features >> VIRTIO_RING_F_INDIRECT_DESC & 1), 0))
		return false;
	host = gather_translate(ring, snapshot, extent, d.address, size, VHU_READ);
	if (__builtin_expect(host == NULL || (uintptr_t)host % sizeof(uint64_t) != 0, 0))
		return false;
	__builtin_prefetch(host);
	__builtin_prefetch(host + size - 1);
	start->table = (const struct vring_desc *)host;
	return true;
}

/* @return how many descriptors from the front may be common. */
VHU_PASS unsigned int
scattered_begin_split(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	const uint16_t *head, unsigned int run, struct scattered_start *starts)
{
	const struct split_table table = split_table_of(snapshot);
	struct vhu_extent extent = ring->hint.extent;
	unsigned int i;

	for (i = 0; i < run; i++) {
		struct vhu_descriptor d;

		if (__builtin_expect(head[i] >= table.size, 0))
			break;
		d = vhu_guest_descriptor(&table.descriptors[head[i]]);
		if (!scattered_begin(ring, snapshot, &extent, d, vhu_descriptor_flags(d),
				&starts[i]))
			break;
		/* It mostly lies in the same line. Not yet bounded: a prefetch cannot fault. */
		if (starts[i].table == NULL)
			__builtin_prefetch(&table.descriptors[vhu_descriptor_next(d)]);
	}
	return i;
}

/* The same; a chain that does not end within the run is left out by the second pass. */
VHU_PASS unsigned int
scattered_begin_packed(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	unsigned int run, struct scattered_start *starts)
{
	const struct packed_flags own = packed_flags_of(ring, snapshot, false);
	unsigned int i, ends = 0, most = packed_run(ring, snapshot, VHU_RUN);
	struct vhu_extent extent = ring->hint.extent;

	for (i = 0; i < most && ends < run; i++) {
		struct vhu_descriptor d = vhu_packed_load_at(&own.descriptors[i]);
		uint16_t flags = vhu_packed_flags(d);

		if (!vhu_packed_is_available(flags, ring->avail_wrap) ||
		    !scattered_begin(ring, snapshot, &extent, d, flags ^ (uint16_t)own.available,
				&starts[i]))
			break;
		ends += (flags & VRING_DESC_F_NEXT) == 0;
	}
	return i;
}

/* Gather one buffer. @param unread  bytes at its front that nobody will look at. */
VHU_SPECIALISED bool
scattered_buffer(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct vhu_extent *extent, struct vhu_descriptor d, uint32_t unread,
	struct vhu_gathered *g, unsigned int i)
{
	const struct vhu_terms terms = { .unread = unread };
	uint32_t size = vhu_descriptor_length(d);
	uint8_t *host;

	/* So many bytes that the sum of a frame's buffers does not wrap. */
	if (__builtin_expect(i == VHU_RUN || size - 1 >= 2 * VHU_FRAME_MAX, 0))
		return false;
	host = gather_translate(ring, snapshot, extent, d.address, size, VHU_READ);
	if (__builtin_expect(host == NULL, 0))
		return false;
	if (size > unread)
		gather_prefetch_read(&terms, host, VHU_SECOND_LINE(&terms, size));
	g->host[i] = host;
	g->size[i] = size;
	return true;
}

/*
 * Gather the buffers of a split ring's frame, from the @p first on.
 * @return how many; 0: not common. @p size grows by their bytes.
 */
VHU_SPECIALISED unsigned int
scattered_split_frame(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct vhu_extent *extent, const struct scattered_start *start, uint32_t unread,
	struct vhu_gathered *g, unsigned int first, uint32_t *size)
{
	const struct vring_desc *from = snapshot->descriptors;
	uint32_t entries = snapshot->size;
	struct vhu_descriptor d = start->d;
	unsigned int n = 0;

	if (start->table != NULL) {
		from = start->table;
		entries = vhu_descriptor_length(d) / sizeof(*from);
		d = vhu_guest_descriptor(from);
	}
	for (;;) {
		uint16_t flags = vhu_descriptor_flags(d), next = vhu_descriptor_next(d);

		/* A chain without end meets the end of what can be gathered. */
		if (!scattered_buffer(ring, snapshot, extent, d, n == 0 ? unread : 0, g,
				first + n))
			return 0;
		n++;
		*size += vhu_descriptor_length(d);
		if (flags == 0)
			return n;
		if (__builtin_expect(flags != VRING_DESC_F_NEXT || next >= entries, 0))
			return 0;
		d = vhu_guest_descriptor(&from[next]);
	}
}

/* The same for a packed ring. @param slots  in: descriptors of @p start; out: those it takes. */
VHU_SPECIALISED unsigned int
scattered_packed_frame(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct vhu_extent *extent, const struct scattered_start *start, uint32_t unread,
	struct vhu_gathered *g, unsigned int first, uint32_t *size, unsigned int *slots)
{
	const struct vring_desc *table = start->table;
	unsigned int n, entries = table == NULL ? *slots :
		vhu_descriptor_length(start->d) / sizeof(*table);

	for (n = 0; n < entries; n++) {
		struct vhu_descriptor d = table != NULL ? vhu_guest_descriptor(&table[n]) :
			start[n].d;
		uint16_t flags = vhu_packed_flags(d);

		/* A table's entries may be marked as to be written: see reads_tables. */
		if (__builtin_expect(table != NULL ? flags & VRING_DESC_F_INDIRECT :
				start[n].table != NULL, 0))
			return 0;
		if (!scattered_buffer(ring, snapshot, extent, d, n == 0 ? unread : 0, g,
				first + n))
			return 0;
		*size += vhu_descriptor_length(d);
		if (table == NULL && !(flags & VRING_DESC_F_NEXT))
			break;
	}
	if (table != NULL) {
		*slots = 1;
		return entries;
	}
	if (n == entries)
		return 0;
	*slots = n + 1;
	return n + 1;
}

/*
 * A header in a buffer of its own that nobody will look at: leave it out, so that the frame is like
 * one in a single buffer. The bytes in front of it are not the guest's, and not touched.
 */
static inline void
scattered_fold(struct vhu_gathered *g, unsigned int first, uint32_t header_size)
{
	g->host[first] = g->host[first + 1] - header_size;
	g->size[first] = g->size[first + 1] + header_size;
}

/* Second pass over @p count descriptors of the ring: tables are read, buffers asked for. */
VHU_SPECIALISED void
scattered_gather(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	const struct scattered_start *starts, unsigned int count, uint32_t unread,
	struct scattered_run *run, const bool packed)
{
	const uint32_t header_size = snapshot->header_size, room = queue->room;
	const struct packed_flags own = packed_flags_of(&queue->ring, snapshot, false);
	struct vhu_extent extent = queue->ring.hint.extent;
	unsigned int frames, at = 0, first = 0, mbufs = 0;

	for (frames = 0; at < count; frames++) {
		unsigned int n, slots = packed ? count - at : 1, wanted = 1;
		uint32_t size = 0;

		n = packed ? scattered_packed_frame(&queue->ring, snapshot, &extent, &starts[at],
				unread, &run->g, first, &size, &slots) :
			scattered_split_frame(&queue->ring, snapshot, &extent, &starts[at],
				unread, &run->g, first, &size);
		/* The header is in one piece, and a frame of a possible size behind it. */
		if (__builtin_expect(n == 0 || run->g.size[first] < header_size ||
				size - header_size - 1 >= VHU_FRAME_MAX, 0))
			break;
		if (size - header_size > room)
			wanted = (size - header_size + room - 1) / room;
		if (mbufs + wanted > VHU_RUN)
			break;
		run->buffers[frames] = (uint8_t)n;
		run->size[frames] = size;
		if (packed) {
			run->slots_of[frames] = (uint8_t)slots;
			run->used[frames] = (starts[at + slots - 1].d.word & PACKED_ID) | own.used;
		}
		if (n == 2 && run->g.size[first] == unread) {
			scattered_fold(&run->g, first, header_size);
			run->buffers[frames] = 1;
			n = 1;
		}
		mbufs += wanted;
		first += n;
		at += slots;
	}
	run->frames = frames;
	run->pieces = first;
	run->mbufs = mbufs;
	run->slots = at;
}

VHU_PASS void
scattered_gather_split(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	const struct scattered_start *starts, unsigned int count, uint32_t unread,
	struct scattered_run *run)
{
	scattered_gather(queue, snapshot, starts, count, unread, run, false);
}

VHU_PASS void
scattered_gather_packed(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	const struct scattered_start *starts, unsigned int count, uint32_t unread,
	struct scattered_run *run)
{
	scattered_gather(queue, snapshot, starts, count, unread, run, true);
}

/*
 * Fill mbufs from buffers, both as many as it takes.
 * @param have  bytes at @p from, the rest of *host. @return mbufs filled.
 */
VHU_PASS unsigned int
scattered_fill(const struct vhu_queue *queue, struct rte_mbuf **mbufs, uint8_t *const *host,
	const uint32_t *size, const uint8_t *from, uint32_t have, uint32_t frame)
{
	uint32_t left = frame;
	unsigned int n = 0;

	while (left != 0) {
		uint32_t fits = left < queue->room ? left : queue->room;
		struct rte_mbuf *m = mbufs[n];
		uint8_t *to = (uint8_t *)m->buf_addr + RTE_PKTMBUF_HEADROOM;

		rearm_mbuf(m, queue->rearm, fits);
		if (n++ != 0)
			mbufs[n - 2]->next = m;
		left -= fits;
		while (fits != 0) {
			uint32_t piece;

			/* The sizes add up: there is one more. */
			while (have == 0) {
				from = *++host;
				have = *++size;
			}
			piece = fits < have ? fits : have;
			vhu_copy_long(to, from, piece);
			to += piece;
			from += piece;
			have -= piece;
			fits -= piece;
		}
	}
	mbufs[0]->pkt_len = frame;
	mbufs[0]->nb_segs = (uint16_t)n;
	return n;
}

/* Third pass over frames of any kind. @return frames kept, in @p packets. */
VHU_PASS unsigned int
scattered_copy(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	const struct scattered_run *run, struct rte_mbuf **mbufs, struct rte_mbuf **packets,
	bool offload, uint64_t *bytes)
{
	const uint32_t header_size = snapshot->header_size, room = queue->room;
	uint8_t *const *host = run->g.host;
	const uint32_t *size = run->g.size;
	unsigned int i, kept = 0;

	for (i = 0; i < run->frames; i++) {
		const uint8_t *from = *host + header_size;
		uint32_t have = *size - header_size, frame = run->size[i] - header_size;
		struct rte_mbuf *m = *mbufs;
		unsigned int behind = 0;

		if (have == 0) { /* the header had a buffer of its own */
			behind = 1;
			from = host[1];
			have = size[1];
		}
		if (have == frame && frame <= room) {
			rearm_mbuf(m, queue->rearm, frame);
			vhu_copy((uint8_t *)m->buf_addr + RTE_PKTMBUF_HEADROOM, from, frame);
			mbufs++;
		} else {
			mbufs += scattered_fill(queue, mbufs, host + behind, size + behind, from,
				have, frame);
		}
		packets[kept] = m;
		if (!offload || receive_claims(queue, snapshot, *host, m)) {
			*bytes += frame;
			kept++;
		}
		host += run->buffers[i];
		size += run->buffers[i];
	}
	return kept;
}

/*
 * Mbufs, and the third pass. Frames of one buffer and one mbuf each are like the common ones.
 * @return false if there are too few mbufs.
 */
VHU_SPECIALISED bool
scattered_take(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	const struct scattered_run *run, struct rte_mbuf **packets, unsigned int *kept,
	uint64_t *bytes, const bool offload)
{
	struct rte_mbuf *mbufs[VHU_RUN];

	if (run->pieces == run->frames && run->mbufs == run->frames) {
		if (!pool_take(queue->pool, packets, run->frames))
			return false;
		*kept = offload ? receive_run_offload(
				queue, snapshot, &run->g, packets, run->frames, bytes) :
			receive_run_plain(queue, snapshot, &run->g, packets, run->frames, bytes);
		return true;
	}
	if (!pool_take(queue->pool, mbufs, run->mbufs))
		return false;
	*kept = scattered_copy(queue, snapshot, run, mbufs, packets, offload, bytes);
	return true;
}

/* Give a run's chains back; @p skip as for packed_give(). */
VHU_SPECIALISED void
scattered_give_packed(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	const struct scattered_run *run, const bool skip)
{
	vhu_packed_word_t *to = vhu_packed_word_at(snapshot, ring->next_used);
	unsigned int i = 0;

	if (!skip && !ring->held) {
		ring->held = true;
		ring->held_at = ring->next_used;
		ring->held_word = run->used[0];
		to += 2 * run->slots_of[i++];
	}
	for (; i < run->frames && !skip; i++) {
		__atomic_store_n(to, run->used[i], __ATOMIC_RELAXED);
		to += 2 * run->slots_of[i]; /* descriptors are two words */
	}
	vhu_packed_advance(&ring->next_used, &ring->used_wrap, (uint16_t)run->slots,
		snapshot->size);
	vhu_packed_advance(&ring->next_avail, &ring->avail_wrap, (uint16_t)run->slots,
		snapshot->size);
}

/*
 * Receive a run of frames, the next one first.
 * @param head  split: heads of the next @p wanted chains.
 */
VHU_SPECIALISED struct scattered
scattered_receive(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	const uint16_t *head, struct rte_mbuf **packets, unsigned int wanted, uint32_t unread,
	uint64_t *bytes, const struct vhu_kind kind)
{
	struct scattered_start starts[VHU_RUN];
	struct scattered result = { 0 };
	struct scattered_run run;
	unsigned int count;

	if (kind.packed) {
		count = scattered_begin_packed(&queue->ring, snapshot, wanted, starts);
		scattered_gather_packed(queue, snapshot, starts, count, unread, &run);
	} else {
		count = scattered_begin_split(&queue->ring, snapshot, head, wanted, starts);
		scattered_gather_split(queue, snapshot, starts, count, unread, &run);
	}
	/* What to do without mbufs is the slow path's business. */
	if (run.frames == 0 || !scattered_take(queue, snapshot, &run, packets, &result.packets,
			bytes, kind.offload))
		return result;
	result.chains = run.frames;
	if (kind.packed) {
		scattered_give_packed(&queue->ring, snapshot, &run, kind.in_order);
		result.last = (uint16_t)(run.used[run.frames - 1] >> 32);
	} else {
		split_give(&queue->ring, snapshot, head, NULL, run.frames, kind.in_order);
		result.last = head[run.frames - 1];
	}
	return result;
}

#endif /* VHU_NET_SCATTERED_H */
