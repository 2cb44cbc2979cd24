/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_RECEIVE_H
#define VHU_NET_RECEIVE_H

/**
 * @file
 * Receiving a burst from the guest.
 *
 * A run of chains that are one direct descriptor each, fit into one mbuf and lie in the extent used
 * last goes through two passes: the first is the ring format's (split_gather.h, packed_gather.h),
 * the second copies and is here. A chain of another kind ends the run and is taken by scattered.h,
 * or failing that by vhu_slow_receive(), with its like behind it, so order is kept. Included by
 * body.c only.
 */

#include "net/packed_gather.h"
#include "net/pool.h"
#include "net/receive_copy.h"
#include "net/scattered.h"
#include "net/slow.h"
#include "net/split_gather.h"

/*
 * Give a run back. Buffers are only read, so with IN_ORDER one used entry stands for the burst.
 * @return id of its last buffer.
 */
VHU_SPECIALISED uint16_t
receive_give(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	const struct vhu_gathered *g, unsigned int n, const struct vhu_kind kind, const bool few)
{
	if (kind.packed) {
		packed_give(ring, snapshot, g, n, kind.in_order, few);
		return (uint16_t)(g->used[n - 1] >> 32);
	}
	if (few)
		split_give_few(ring, snapshot, g->head, NULL, n, kind.in_order);
	else
		split_give(ring, snapshot, g->head, NULL, n, kind.in_order);
	return g->head[n - 1];
}

/* The same for chains that the slow path has taken. */
VHU_SPECIALISED uint16_t
receive_give_chains(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	const struct vhu_chain *chains, unsigned int n, const struct vhu_kind kind)
{
	unsigned int i;

	if (!kind.in_order)
		vhu_used_write(ring, snapshot, chains, NULL, n);
	else if (!kind.packed)
		ring->next_used += n;
	else
		for (i = 0; i < n; i++)
			vhu_packed_advance(&ring->next_used, &ring->used_wrap, chains[i].slots,
				snapshot->size);
	return chains[n - 1].id;
}

/*
 * The one used entry of an in-order burst: it names the last buffer and lies where that of the
 * first would (virtio 1.3, 2.7.9 and 2.8.9), so most lines of the used ring stay untouched.
 */
VHU_SPECIALISED void
receive_write_batch(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct vhu_walk old, uint16_t last, const struct vhu_kind kind)
{
	if (!kind.packed) {
		vhu_split_used(snapshot, old.next, last, 0);
		return;
	}
	ring->held = true;
	ring->held_at = old.next;
	ring->held_word = vhu_packed_word(0, last, vhu_packed_used_flags(old.wrap, false));
}

/* How many chains to look for; 0: none waits. A packed ring tells the number as it is read. */
VHU_SPECIALISED unsigned int
receive_waiting(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, uint16_t count,
	const struct vhu_kind kind)
{
	if (kind.packed)
		return packed_waits(ring, snapshot) ? count : 0;
	return vhu_split_available(ring, snapshot, count);
}

/*
 * vhu_used_publish(), written out for a ring that nobody keeps a log or a record of: small bursts
 * feel each call.
 */
VHU_SPECIALISED void
publish_burst(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, struct vhu_walk old,
	const struct vhu_kind kind)
{
	if (__builtin_expect(snapshot->inflight != NULL || snapshot->dirty_ring, 0)) {
		vhu_used_publish(ring, snapshot, old);
		return;
	}
	if (old.next == ring->next_used && (!kind.packed || old.wrap == ring->used_wrap))
		return;
	if (!kind.packed) {
		vhu_guest_release16(&snapshot->used->idx, ring->next_used);
	} else if (ring->held) {
		/* Partner: the driver's acquire of the flags before it reads on. */
		__atomic_store_n(vhu_packed_word_at(snapshot, ring->held_at), ring->held_word,
			__ATOMIC_RELEASE);
		ring->held = false;
	}
	if (snapshot->call_fd != -1)
		vhu_ring_notify(ring, snapshot, old);
}

/* Bytes at the front of a buffer that are not looked at: without requests a header says nothing. */
VHU_SPECIALISED uint32_t
receive_unread(const struct vhu_snapshot *snapshot, const struct vhu_kind kind)
{
	return kind.offload ? 0 : snapshot->header_size;
}

/** What a burst has done so far. */
struct receive_progress {
	struct vhu_walk old;  /* used position at its beginning */
	unsigned int done;    /* chains taken and given back */
	unsigned int got;     /* frames */
	uint64_t bytes;       /* of frames */
	uint16_t last;        /* id of the last chain */
};

/** A receive_many() for one kind. */
typedef uint16_t (*receive_many_fn)(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int waiting, const struct receive_progress *sofar);

/** A receive_small() for one kind. */
typedef uint16_t (*receive_small_fn)(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int waiting);

/* The end of a burst that has taken chains, or was about to. @return frames. */
VHU_SPECIALISED uint16_t
receive_end(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	const struct receive_progress *p, const struct vhu_kind kind)
{
	if (p->done != 0) {
		if (kind.in_order)
			receive_write_batch(ring, snapshot, p->old, p->last, kind);
		publish_burst(ring, snapshot, p->old, kind);
	}
	if (p->got != 0) {
		vhu_count(&ring->counters.packets, p->got);
		vhu_count(&ring->counters.bytes, p->bytes);
		vhu_count(&ring->counters.bursts, 1);
	}
	STAGE_END(vhu_queue_of(ring), VHU_STAGE_PUBLISH);
	return (uint16_t)p->got;
}

/* Any number of chains of any kind, run by run, from wherever the burst has come. */
VHU_SPECIALISED uint16_t
receive_many(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int waiting,
	const struct receive_progress *sofar, const struct vhu_kind kind)
{
	struct receive_progress p = { .old = vhu_used_position(ring) };
	struct vhu_queue *queue = vhu_queue_of(ring);
	struct vhu_slow_received slow;
	struct scattered scattered;
	struct vhu_gathered g;
	const uint32_t unread = receive_unread(snapshot, kind);
	uint64_t bytes = 0; /* the address is taken: apart from what stays in registers */

	if (sofar != NULL)
		p = *sofar;
	vhu_hint_check(&snapshot->space, &ring->hint);
	while (p.done < waiting) {
		unsigned int n, run = waiting - p.done < VHU_RUN ? waiting - p.done : VHU_RUN;
		bool odd = true; /* what ends the run waits, but is not common */

		if (kind.packed) {
			run = packed_run(ring, snapshot, run);
			n = packed_receive_gather(queue, snapshot, run, unread, &g);
			odd = n == run || packed_stopped_at_odd(ring, &g, n);
		} else {
			n = split_receive_gather(queue, snapshot, run, unread, &g);
		}
		STAGE_END(queue, VHU_STAGE_GATHER);
		if (n != 0 && !pool_take(queue->pool, &packets[p.got], n)) {
			n = 0; /* the slow path takes what mbufs there are */
			odd = true;
		}
		STAGE_END(queue, VHU_STAGE_MBUFS);
		if (n != 0) {
			p.got += kind.offload ?
				receive_run_offload(
					queue, snapshot, &g, &packets[p.got], n, &bytes) :
				receive_run_plain(
					queue, snapshot, &g, &packets[p.got], n, &bytes);
			STAGE_END(queue, VHU_STAGE_COPY);
			p.last = receive_give(ring, snapshot, &g, n, kind, false);
			p.done += n;
			STAGE_END(queue, VHU_STAGE_GIVE);
		}
		if (n == run)
			continue;
		/*
		 * What came since is the next burst's. To take it descriptor by descriptor, as it
		 * comes, costs a transfer of the line for each, here and in the driver.
		 */
		if (!odd)
			break;
		scattered = scattered_receive(queue, snapshot, &g.head[n], &packets[p.got],
			run - n, unread, &bytes, kind);
		if (scattered.chains != 0) {
			p.last = scattered.last;
			p.done += scattered.chains;
			p.got += scattered.packets;
			STAGE_END(queue, VHU_STAGE_OTHER);
			continue;
		}
		vhu_slow_receive(queue, snapshot, &packets[p.got], waiting - p.done, &slow);
		if (slow.count == 0)
			break;
		p.last = receive_give_chains(ring, snapshot, slow.chains, slow.count, kind);
		p.done += slow.count;
		p.got += slow.packets;
		bytes += slow.bytes;
		STAGE_END(queue, VHU_STAGE_OTHER);
		if (__builtin_expect(vhu_ring_is_broken(ring), 0))
			break;
	}
	p.bytes += bytes;
	return receive_end(ring, snapshot, &p, kind);
}

/*
 * A few chains of the common kind, without a call: around so few frames the passes' calls, and the
 * care for runs of any length, cost several times what the frames do.
 * What is left is for receive_many().
 */
VHU_SPECIALISED void
receive_few(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int wanted, struct receive_progress *p,
	const struct vhu_kind kind)
{
	struct vhu_queue *queue = vhu_queue_of(ring);
	const uint32_t unread = receive_unread(snapshot, kind);
	struct vhu_gathered g;
	unsigned int n;

	if (kind.packed) {
		n = packed_receive_run(queue, snapshot, packed_run(ring, snapshot, wanted), unread,
			&g);
	} else {
		split_heads_few(ring, snapshot, wanted, g.head);
		n = split_receive_run(queue, snapshot, wanted, unread, &g);
	}
	STAGE_END(queue, VHU_STAGE_GATHER);
	if (n == 0 || !pool_take_few(queue->pool, packets, n))
		return;
	STAGE_END(queue, VHU_STAGE_MBUFS);
	p->done = n;
	p->got = receive_copy(queue, snapshot, &g, 0, packets, n, kind.offload, &p->bytes);
	STAGE_END(queue, VHU_STAGE_COPY);
	p->last = receive_give(ring, snapshot, &g, n, kind, true);
	STAGE_END(queue, VHU_STAGE_GIVE);
}

/* A burst of a few. @param many  receive_many() for this kind. */
VHU_SPECIALISED uint16_t
receive_small(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int waiting, receive_many_fn many,
	const struct vhu_kind kind)
{
	struct receive_progress p = { .old = vhu_used_position(ring) }, left;

	vhu_hint_check(&snapshot->space, &ring->hint);
	receive_few(ring, snapshot, packets, waiting, &p, kind);
	if (__builtin_expect(p.done == waiting, 1))
		return receive_end(ring, snapshot, &p, kind);
	left = p; /* whose address is taken; the other one stays in registers */
	return many(ring, snapshot, packets, waiting, &left);
}

/*
 * Decides which function of this kind is the burst's end; itself it makes no call, so that small
 * bursts set up one stack frame.
 * @param first  for a ring that no burst has seen; one, few, many  for so many chains.
 */
VHU_SPECIALISED uint16_t
receive_burst(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, uint16_t count, vhu_burst_fn first, receive_small_fn one,
	receive_small_fn few, receive_many_fn many, const struct vhu_kind kind)
{
	unsigned int waiting;

	if (__builtin_expect(vhu_ring_is_broken(ring) || vhu_queue_of(ring)->pool == NULL, 0))
		return 0;
	if (__builtin_expect(ring->phase == VHU_RING_FRESH, 0))
		return first(ring, snapshot, packets, count);
	STAGE_BEGIN(vhu_queue_of(ring));
	waiting = receive_waiting(ring, snapshot, count, kind);
	if (waiting == 0) {
		vhu_count(&ring->counters.empty, 1);
		return 0;
	}
	STAGE_END(vhu_queue_of(ring), VHU_STAGE_LOOK);
	if (waiting == 1)
		return one(ring, snapshot, packets, 1);
	if (waiting <= VHU_FEW)
		return few(ring, snapshot, packets, waiting);
	return many(ring, snapshot, packets, waiting, NULL);
}

#endif /* VHU_NET_RECEIVE_H */
