/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_TRANSMIT_H
#define VHU_NET_TRANSMIT_H

/**
 * @file
 * Transmitting a burst to the guest.
 *
 * The mirror image of receive.h. A packet of one segment without requests meets a buffer of one
 * writable descriptor that holds it: such pairs are gathered and then copied. Packets of several
 * segments, with requests, or that need several such buffers, are gathered and copied by wide.h.
 * The rest goes through vhu_slow_transmit(). The driver needs the length of each buffer, so each
 * has a used entry of its own even if IN_ORDER was negotiated. Included by body.c only, after
 * receive.h.
 */

#include "net/header.h"
#include "net/mark.h"
#include "net/wide.h"

/** What a second pass learned: it has the mbufs in hand, so that nobody has to look again. */
struct transmitted {
	uint64_t bytes; /* of frames */
	uint64_t odd;   /* not 0: one of the mbufs is shared, foreign or of another pool */
};

/* Second pass over @p n gathered pairs. */
VHU_SPECIALISED struct transmitted
transmit_copy(const struct vhu_snapshot *snapshot, const struct vhu_gathered *g,
	struct rte_mbuf **packets, unsigned int n, const bool offload)
{
	typedef uint64_t word __attribute__((may_alias));
	const uint64_t references = UINT64_C(0xffff) << 16, one = UINT64_C(1) << 16;
	const uint32_t header_size = snapshot->header_size;
	const uintptr_t pool = (uintptr_t)packets[0]->pool;
	uint64_t bytes = 0, rearm_bits = 0, pool_bits = 0, flags = 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		const struct rte_mbuf *m = packets[i];
		/* data_off, refcnt, nb_segs and port with one load. */
		uint64_t rearm = __atomic_load_n((const word *)&m->rearm_data, __ATOMIC_RELAXED);
		const uint8_t *data = (const uint8_t *)m->buf_addr + (uint16_t)rearm;
		uint8_t *host = g->host[i];
		uint32_t size = g->size[i] - header_size;

		store_header(host, header_size, offload ? vhu_offload_data_valid(m) : 0,
			header_rest(0, 1), m);
		vhu_copy(host + header_size, data, size);
		bytes += size;
		rearm_bits |= rearm ^ one;
		pool_bits |= (uintptr_t)m->pool ^ pool;
		flags |= m->ol_flags;
	}
	return (struct transmitted){ bytes, (rearm_bits & references) | pool_bits |
		(flags & (RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL)) };
}

VHU_PASS struct transmitted
transmit_copy_plain(const struct vhu_snapshot *snapshot, const struct vhu_gathered *g,
	struct rte_mbuf **packets, unsigned int n)
{
	return transmit_copy(snapshot, g, packets, n, false);
}

VHU_PASS struct transmitted
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
free_each(struct rte_mbuf **packets, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		rte_pktmbuf_free(packets[i]);
}

VHU_SPECIALISED void
free_run(struct rte_mbuf **packets, unsigned int n, uint64_t odd, const bool few)
{
	if (__builtin_expect(odd != 0, 0))
		free_each(packets, n);
	else if (few)
		pool_give_few(packets[0]->pool, packets, n);
	else
		pool_give(packets[0]->pool, packets, n);
}

/*
 * How many packets to try next; 0: no buffer waits. Split: buffers known to wait, looking at the
 * guest's index again only if there are none left.
 */
VHU_SPECIALISED unsigned int
transmit_room(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, unsigned int wanted,
	const struct vhu_kind kind)
{
	uint16_t known = (uint16_t)(ring->avail_seen - ring->next_avail);

	if (kind.packed)
		return packed_waits(ring, snapshot) ? packed_run(ring, snapshot, wanted) : 0;
	if (known == 0)
		return vhu_split_available(ring, snapshot, (uint16_t)wanted);
	return known < wanted ? known : wanted;
}

/* Is there any buffer? A split ring is asked for all that are wanted, in one look. */
VHU_SPECIALISED bool
transmit_any(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, uint16_t wanted,
	const struct vhu_kind kind)
{
	if (kind.packed)
		return packed_waits(ring, snapshot);
	return vhu_split_available(ring, snapshot, wanted) != 0;
}

/** What a burst has done so far. */
struct transmit_progress {
	struct vhu_walk old;  /* used position at its beginning */
	unsigned int done;    /* packets consumed */
	unsigned int moved;   /* of them */
	uint64_t bytes;       /* of frames moved */
};

/** A transmit_small() for one kind. */
typedef uint16_t (*transmit_small_fn)(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int count);

/** A transmit_many() for one kind. */
typedef uint16_t (*transmit_many_fn)(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int count, const struct transmit_progress *sofar);

/* Give back and free what was copied. */
VHU_SPECIALISED void
transmit_give(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	const struct vhu_gathered *g, struct rte_mbuf **packets, unsigned int n, uint64_t odd,
	const struct vhu_kind kind, const bool few)
{
	if (__builtin_expect(snapshot->dirty != NULL, 0))
		vhu_mark_buffers(snapshot, g->host, g->size, n);
	if (kind.packed)
		packed_give(ring, snapshot, g, n, false, few);
	else if (few)
		split_give_few(ring, snapshot, g->head, g->size, n, false);
	else
		split_give(ring, snapshot, g->head, g->size, n, false);
	STAGE_END(vhu_queue_of(ring), VHU_STAGE_GIVE);
	free_run(packets, n, odd, few);
	STAGE_END(vhu_queue_of(ring), VHU_STAGE_MBUFS);
}

/*
 * Take a run of packets that need more than one buffer or mbuf each, or more than an empty header.
 * @return packets moved; 0: the next is not of that kind, or there are too few buffers.
 */
VHU_SPECIALISED unsigned int
transmit_wide(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int count, bool offload, uint64_t *bytes,
	const bool packed)
{
	struct vhu_gathered g;
	struct wide_run run;

	wide_gather(ring, snapshot, packets, count, offload, &g, &run, packed);
	if (run.packets == 0)
		return 0;
	*bytes += wide_copy(snapshot, &g, packets, &run);
	if (snapshot->dirty != NULL)
		vhu_mark_buffers(snapshot, g.host, g.size, run.buffers);
	if (packed)
		packed_give(ring, snapshot, &g, run.buffers, false, false);
	else
		split_give(ring, snapshot, g.head, g.size, run.buffers, false);
	rte_pktmbuf_free_bulk(packets, run.packets);
	return run.packets;
}

VHU_PASS unsigned int
transmit_wide_split(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int count, bool offload, uint64_t *bytes)
{
	return transmit_wide(ring, snapshot, packets, count, offload, bytes, false);
}

VHU_PASS unsigned int
transmit_wide_packed(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int count, bool offload, uint64_t *bytes)
{
	return transmit_wide(ring, snapshot, packets, count, offload, bytes, true);
}

/* The end of a burst. @return packets consumed. */
VHU_SPECIALISED uint16_t
transmit_end(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	const struct transmit_progress *p, const struct vhu_kind kind)
{
	publish_burst(ring, snapshot, p->old, kind);
	if (p->moved != 0) {
		vhu_count(&ring->counters.packets, p->moved);
		vhu_count(&ring->counters.bytes, p->bytes);
		vhu_count(&ring->counters.bursts, 1);
	}
	STAGE_END(vhu_queue_of(ring), VHU_STAGE_PUBLISH);
	return (uint16_t)p->done;
}

/* Any number of packets of any kind, run by run, from wherever the burst has come. */
VHU_SPECIALISED uint16_t
transmit_many(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int count,
	const struct transmit_progress *sofar, const struct vhu_kind kind)
{
	struct transmit_progress p = { .old = vhu_used_position(ring) };
	struct vhu_queue *queue = vhu_queue_of(ring);
	struct vhu_gathered g;
	uint64_t bytes = 0; /* the address is taken: apart from what stays in registers */

	if (sofar != NULL)
		p = *sofar;
	vhu_hint_check(&snapshot->space, &ring->hint);
	while (p.done < count) {
		unsigned int n, run = count - p.done < VHU_RUN ? count - p.done : VHU_RUN;
		struct rte_mbuf **next = &packets[p.done];
		enum vhu_slow slow;
		uint32_t size;

		run = transmit_room(ring, snapshot, run, kind);
		if (run == 0)
			break;
		n = kind.packed ? packed_transmit_gather(queue, snapshot, next, run, &g) :
			split_transmit_gather(queue, snapshot, next, run, &g);
		STAGE_END(queue, VHU_STAGE_GATHER);
		if (n != 0) {
			struct transmitted sum = kind.offload ?
				transmit_copy_offload(snapshot, &g, next, n) :
				transmit_copy_plain(snapshot, &g, next, n);

			bytes += sum.bytes;
			STAGE_END(queue, VHU_STAGE_COPY);
			transmit_give(ring, snapshot, &g, next, n, sum.odd, kind, false);
			p.done += n;
			p.moved += n;
		}
		if (n == run)
			continue;
		if (kind.packed && !packed_waits(ring, snapshot))
			break;
		if (kind.packed && !packed_stopped_at_odd(ring, &g, n))
			continue; /* it came since: another run of the common kind */
		next = &packets[p.done];
		n = kind.packed ?
			transmit_wide_packed(
				ring, snapshot, next, count - p.done, kind.offload, &bytes) :
			transmit_wide_split(
				ring, snapshot, next, count - p.done, kind.offload, &bytes);
		if (n != 0) {
			p.done += n;
			p.moved += n;
			STAGE_END(queue, VHU_STAGE_OTHER);
			continue;
		}
		size = packets[p.done]->pkt_len;
		slow = vhu_slow_transmit(queue, snapshot, packets[p.done]);
		if (slow == VHU_SLOW_STOP)
			break;
		p.done++;
		if (slow == VHU_SLOW_DONE) {
			p.moved++;
			bytes += size;
		}
		STAGE_END(queue, VHU_STAGE_OTHER);
	}
	p.bytes += bytes;
	return transmit_end(ring, snapshot, &p, kind);
}

/* A few packets of the common kind, without a call: the mirror image of receive_few(). */
VHU_SPECIALISED void
transmit_few(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int wanted, struct transmit_progress *p,
	const struct vhu_kind kind)
{
	struct vhu_queue *queue = vhu_queue_of(ring);
	struct transmitted sum;
	struct vhu_gathered g;
	unsigned int n;

	wanted = transmit_room(ring, snapshot, wanted, kind);
	if (kind.packed) {
		n = packed_transmit_run(queue, snapshot, packets, wanted, &g);
	} else {
		split_heads_few(ring, snapshot, wanted, g.head);
		n = split_transmit_run(queue, snapshot, packets, wanted, &g);
	}
	STAGE_END(queue, VHU_STAGE_GATHER);
	if (n == 0)
		return;
	sum = transmit_copy(snapshot, &g, packets, n, kind.offload);
	STAGE_END(queue, VHU_STAGE_COPY);
	transmit_give(ring, snapshot, &g, packets, n, sum.odd, kind, true);
	p->bytes = sum.bytes;
	p->done = p->moved = n;
}

/* A burst of a few. @param many  transmit_many() for this kind. */
VHU_SPECIALISED uint16_t
transmit_small(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int count, transmit_many_fn many,
	const struct vhu_kind kind)
{
	struct transmit_progress p = { .old = vhu_used_position(ring) }, left;

	vhu_hint_check(&snapshot->space, &ring->hint);
	transmit_few(ring, snapshot, packets, count, &p, kind);
	if (__builtin_expect(p.done == count, 1))
		return transmit_end(ring, snapshot, &p, kind);
	left = p; /* whose address is taken; the other one stays in registers */
	return many(ring, snapshot, packets, count, &left);
}

/*
 * Decides which function of this kind is the burst's end; itself it makes no call, so that small
 * bursts set up one stack frame.
 * @param first  for a ring that no burst has seen; one, few, many  for so many packets.
 */
VHU_SPECIALISED uint16_t
transmit_burst(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, uint16_t count, vhu_burst_fn first, transmit_small_fn one,
	transmit_small_fn few, transmit_many_fn many, const struct vhu_kind kind)
{
	if (__builtin_expect(vhu_ring_is_broken(ring) || count == 0, 0))
		return 0;
	if (__builtin_expect(ring->phase == VHU_RING_FRESH, 0))
		return first(ring, snapshot, packets, count);
	STAGE_BEGIN(vhu_queue_of(ring));
	if (!transmit_any(ring, snapshot, count, kind)) {
		vhu_count(&ring->counters.empty, 1);
		return 0;
	}
	STAGE_END(vhu_queue_of(ring), VHU_STAGE_LOOK);
	if (count == 1)
		return one(ring, snapshot, packets, 1);
	if (count <= VHU_FEW)
		return few(ring, snapshot, packets, count);
	return many(ring, snapshot, packets, count, NULL);
}

#endif /* VHU_NET_TRANSMIT_H */
