/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "net/histogram.h"
#include "net/queue.h"

/* All that are longer are alike. */
#define LONGEST 1519
/* Frames that a counter of eight bits can hold. */
#define RUN 255

/*
 * Which bits of a word count frames of a size. One load instead of the count of leading zeros and
 * the comparisons around it; frames of like sizes share its lines.
 */
static const uint8_t place[LONGEST + 1] = {
	[0 ... 63] = 8 * VHU_SIZE_UNDER,
	[64] = 8 * VHU_SIZE_64,
	[65 ... 127] = 8 * VHU_SIZE_65_127,
	[128 ... 255] = 8 * VHU_SIZE_128_255,
	[256 ... 511] = 8 * VHU_SIZE_256_511,
	[512 ... 1023] = 8 * VHU_SIZE_512_1023,
	[1024 ... 1518] = 8 * VHU_SIZE_1024_1518,
	[LONGEST] = 8 * VHU_SIZE_1519_MAX,
};

static const struct rte_ether_addr everybody = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };

static void
tally_groups(struct vhu_histograms *h, struct rte_mbuf *const *packets, unsigned int n,
	uint32_t sign)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		struct rte_ether_addr buffer;
		const struct rte_ether_addr *to =
			rte_pktmbuf_read(packets[i], 0, sizeof(*to), &buffer);

		if (to == NULL || !rte_is_multicast_ether_addr(to))
			continue;
		h->tally[rte_is_same_ether_addr(to, &everybody) ? VHU_CAST_BROAD :
			VHU_CAST_MULTI] += sign;
	}
}

/*
 * At most RUN frames. The sizes are counted in one register, eight bits each: counters in memory
 * would make each frame wait for the store of the one before it, which has the same size.
 */
static void
tally_run(struct vhu_histograms *h, struct rte_mbuf *const *packets, unsigned int n, uint32_t sign)
{
	uint64_t sizes = 0;
	uint8_t groups = 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		const struct rte_mbuf *m = packets[i];
		uint32_t size = m->pkt_len < LONGEST ? m->pkt_len : LONGEST;

		sizes += UINT64_C(1) << place[size];
		/* Of a frame without a byte this is one of its buffer, and decides nothing. */
		groups |= *rte_pktmbuf_mtod(m, const uint8_t *);
	}
	for (i = VHU_SIZE_UNDER; sizes != 0; i++, sizes >>= 8)
		h->tally[i] += sign * (uint32_t)(sizes & 0xff);
	if (__builtin_expect(groups & 1, 0))
		tally_groups(h, packets, n, sign);
}

/* @param sign  1: add, UINT32_MAX (-1 in the arithmetic of the tally): take back. */
static void
tally(struct vhu_histograms *h, struct rte_mbuf *const *packets, unsigned int n, uint32_t sign)
{
	unsigned int done, run;

	for (done = 0; done < n; done += run) {
		run = RTE_MIN(n - done, (unsigned int)RUN);
		tally_run(h, packets + done, run, sign);
	}
}

/* The end of a burst that was asked for @p count frames. */
static void
count_burst(struct vhu_histograms *h, uint64_t moved, uint16_t count)
{
	unsigned int i;

	for (i = 0; i < RTE_DIM(h->tally); i++) {
		if (h->tally[i] == 0)
			continue;
		vhu_count(&h->counts[i], h->tally[i]);
		h->tally[i] = 0;
	}
	if (moved == 0)
		return;
	i = VHU_BURST_1 + (63 - __builtin_clzll(moved));
	vhu_count(&h->counts[RTE_MIN(i, (unsigned int)VHU_BURST_256_MAX)], 1);
	if (moved == count)
		vhu_count(&h->counts[VHU_BURST_FULL], 1);
}

static uint16_t
receive(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, struct rte_mbuf **packets,
	uint16_t count)
{
	struct vhu_histograms *h = &vhu_queue_of(ring)->histograms;
	uint16_t n = snapshot->counted(ring, snapshot, packets, count);

	tally(h, packets, n, 1);
	count_burst(h, n, count);
	return n;
}

/*
 * What is sent is freed, so frames are tallied before; those that stay or are dropped are taken
 * back.
 */
static uint16_t
transmit(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, struct rte_mbuf **packets,
	uint16_t count)
{
	struct vhu_histograms *h = &vhu_queue_of(ring)->histograms;
	const _Atomic(uint64_t) *total = &ring->counters.packets;
	uint64_t before = atomic_load_explicit(total, memory_order_relaxed);
	uint16_t n;

	tally(h, packets, count, 1);
	n = snapshot->counted(ring, snapshot, packets, count);
	tally(h, packets + n, count - n, UINT32_MAX);
	count_burst(h, atomic_load_explicit(total, memory_order_relaxed) - before, count);
	return n;
}

void
vhu_histogram_dropped(struct vhu_queue *queue, struct rte_mbuf *packet)
{
	tally_run(&queue->histograms, &packet, 1, UINT32_MAX);
}

void
vhu_histogram_specialise(const struct vhu_queue *queue, struct vhu_snapshot *snapshot)
{
	snapshot->counted = snapshot->burst;
	snapshot->burst = vhu_ring_receives(queue->index) ? receive : transmit;
}
