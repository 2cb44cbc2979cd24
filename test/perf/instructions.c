/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Fixed work for test/perf/instructions.py, which runs this under callgrind and counts instructions
 * inside rx_burst() and tx_burst(), which are a call of vhu's each. The guest is net_rig's, in this
 * process's own memory; what it does between bursts is not counted. Bodies of x86-64-v2, so that
 * the count does not depend on the processor.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_vect.h>

#include "../unit/net_rig.h"

#define HEADER 12
#define MERGEABLE VHU_BIT(VIRTIO_NET_F_MRG_RXBUF)
#define OFFLOADS (VHU_BIT(VIRTIO_NET_F_CSUM) | VHU_BIT(VIRTIO_NET_F_GUEST_CSUM))
#define TABLE VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define MOST 32
#define BURSTS 256  /* counted ones; as many go before */
#define PIECES_MAX 8

struct row {
	const char *name;
	uint64_t features;
	uint32_t frame;     /* bytes; 0: nothing waits */
	uint16_t burst;
	bool receive;
	bool packed;
	bool parked;
	uint16_t table;     /* entries of an indirect table; 0: none */
};

#define BOTH(suffix, size, count, wanted) \
	{ "receive-split-" suffix, wanted, size, count, .receive = true }, \
	{ "receive-packed-" suffix, wanted, size, count, .receive = true, .packed = true }, \
	{ "transmit-split-" suffix, wanted, size, count, .receive = false }, \
	{ "transmit-packed-" suffix, wanted, size, count, .packed = true }

#define TABLES(suffix, entries, wanted) \
	{ "receive-split-" suffix, wanted, 64, 32, .receive = true, .table = entries }, \
	{ "receive-packed-" suffix, wanted, 64, 32, .receive = true, .packed = true, \
	  .table = entries }

static const struct row rows[] = {
	BOTH("64-b32", 64, 32, MERGEABLE),
	BOTH("64-b32-offloads", 64, 32, MERGEABLE | OFFLOADS),
	BOTH("64-b4", 64, 4, MERGEABLE),
	BOTH("64-b1", 64, 1, MERGEABLE),
	BOTH("1518-b32", 1518, 32, MERGEABLE),
	BOTH("9000-b32", 9000, 32, MERGEABLE),
	BOTH("9000-b4", 9000, 4, MERGEABLE),
	TABLES("64-b32-table", 1, MERGEABLE | TABLE),
	TABLES("64-b32-table-of-2", 2, MERGEABLE | TABLE),
	BOTH("empty", 0, 32, MERGEABLE),
	{ "receive-parked", MERGEABLE, 0, 32, .receive = true, .parked = true },
	{ "transmit-parked", MERGEABLE, 0, 32, .parked = true },
};

/*
 * Counts are set to 0 when the first of these is called and written when the second returns, hence
 * not static.
 */
uint16_t rx_burst(struct vhu_queue *queue, struct rte_mbuf **packets, uint16_t count);
uint16_t tx_burst(struct vhu_queue *queue, struct rte_mbuf **packets, uint16_t count);
void row_begin(void);
void row_end(void);

__attribute__((noinline)) void
row_begin(void)
{
	__asm__ volatile("" ::: "memory");
}

__attribute__((noinline)) void
row_end(void)
{
	__asm__ volatile("" ::: "memory");
}

/* vhu's functions are inline; what is counted has to have a name. */
__attribute__((noinline)) uint16_t
rx_burst(struct vhu_queue *queue, struct rte_mbuf **packets, uint16_t count)
{
	return vhu_rx_burst(queue, packets, count);
}

__attribute__((noinline)) uint16_t
tx_burst(struct vhu_queue *queue, struct rte_mbuf **packets, uint16_t count)
{
	return vhu_tx_burst(queue, packets, count);
}

static void
check(bool fine, const struct row *row, const char *what)
{
	if (fine)
		return;
	fprintf(stderr, "instructions: %s: %s\n", row->name, what);
	exit(1);
}

/* Cut a frame from the guest, or the room for one to it, into slots from @p slot on. */
static uint16_t
cut(const struct row *row, uint16_t slot, struct rig_piece *pieces)
{
	uint32_t left = row->frame + HEADER;
	uint16_t count;

	for (count = 0; left != 0; count++) {
		uint32_t size = left < RIG_SLOT ? left : RIG_SLOT;

		pieces[count] = (struct rig_piece){ rig_slot((slot + count) % RIG_SIZE),
			row->receive ? size : RIG_SLOT, row->receive ? 0 : VRING_DESC_F_WRITE };
		left -= size;
	}
	return count;
}

/* A frame in a table that lies at the end of its slot: header and frame in one entry, or apart. */
static uint64_t
put_table(struct rig *rig, const struct row *row, uint16_t slot)
{
	uint64_t address = rig_slot(slot) + RIG_SLOT - 2 * sizeof(struct vring_desc);
	struct vring_desc *split = (struct vring_desc *)rig_host(rig, address);
	struct vring_packed_desc *packed = (struct vring_packed_desc *)split;
	uint32_t left = HEADER + row->frame;

	for (uint16_t i = 0; i < row->table; i++) {
		bool last = i + 1 == row->table;
		uint32_t size = last ? left : HEADER;
		uint64_t at = rig_slot(slot) + HEADER + row->frame - left;

		if (row->packed)
			packed[i] = (struct vring_packed_desc){ at, size, 0, 0 };
		else
			split[i] = (struct vring_desc){ at, size, last ? 0 : VRING_DESC_F_NEXT,
				(uint16_t)(i + 1) };
		left -= size;
	}
	return address;
}

static void
offer_table(struct rig *rig, const struct row *row, uint16_t slot)
{
	struct rig_piece piece = { put_table(rig, row, slot),
		row->table * (uint32_t)sizeof(struct vring_desc), VRING_DESC_F_INDIRECT };

	if (row->packed) {
		rig_chain(rig, slot, &piece, 1);
	} else {
		rig_descriptor(rig, slot, piece.address, piece.size, piece.flags, 0);
		rig_available(rig, slot);
	}
}

/* A frame is one chain; room for one is a buffer for each piece. @return descriptors. */
static uint16_t
offer(struct rig *rig, const struct row *row, uint16_t slot)
{
	struct rig_piece pieces[PIECES_MAX];
	uint16_t i, count = cut(row, slot, pieces);

	if (row->table != 0) {
		offer_table(rig, row, slot);
		return 1;
	}
	if (row->packed && row->receive) {
		rig_chain(rig, slot, pieces, count);
		return count;
	}
	for (i = 0; i < count; i++) {
		uint16_t at = (slot + i) % RIG_SIZE, next = (at + 1) % RIG_SIZE;
		bool more = row->receive && i + 1 < count;

		if (row->packed) {
			rig_chain(rig, at, &pieces[i], 1);
			continue;
		}
		rig_descriptor(rig, at, pieces[i].address, pieces[i].size,
			pieces[i].flags | (more ? VRING_DESC_F_NEXT : 0), next);
		if (!row->receive || i == 0)
			rig_available(rig, at);
	}
	return count;
}

/* A packet in as many mbufs as it needs; a small one where nothing will move. */
static struct rte_mbuf *
packet(struct rig *rig, const struct row *row)
{
	uint32_t left = row->frame != 0 ? row->frame : 64;
	struct rte_mbuf *first = NULL;

	while (left != 0) {
		uint16_t piece = left < RIG_SLOT ? (uint16_t)left : RIG_SLOT;
		struct rte_mbuf *m = rte_pktmbuf_alloc(rig->pool);

		check(m != NULL, row, "no mbuf");
		check(rte_pktmbuf_append(m, piece) != NULL, row, "no room");
		if (first == NULL)
			first = m;
		else
			rte_pktmbuf_chain(first, m);
		left -= piece;
	}
	return first;
}

static void
one_burst(struct rig *rig, const struct row *row, uint16_t *slot)
{
	struct rte_mbuf *packets[MOST];
	uint16_t expected = row->frame == 0 ? 0 : row->burst, pieces = 0, n, id;
	uint32_t length;

	for (uint16_t i = 0; i < expected; i++) {
		pieces = offer(rig, row, *slot);
		*slot = (*slot + pieces) % RIG_SIZE;
	}
	if (!row->receive)
		for (uint16_t i = 0; i < row->burst; i++)
			packets[i] = packet(rig, row);
	n = row->receive ? rx_burst(rig->queue, packets, row->burst) :
		tx_burst(rig->queue, packets, row->burst);
	check(n == expected, row, "not all frames were moved");
	if (row->receive)
		rte_pktmbuf_free_bulk(packets, n);
	else
		rte_pktmbuf_free_bulk(packets + n, row->burst - n);
	if (!row->packed)
		return;
	for (uint32_t left = row->receive ? n : n * pieces; left != 0; left--)
		check(rig_reap(rig, row->receive ? pieces : 1, &id, &length), row, "not used");
}

static void
measure(const struct row *row)
{
	uint16_t index = row->receive ? 1 : 0, slot = 0;
	struct rig *rig = row->packed ? rig_new_packed(index, row->features, RIG_SIZE) :
		rig_new(index, row->features);

	/* A guest that polls: nobody is called. */
	if (row->packed)
		rig->driver_event->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
	else
		rig->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	for (unsigned int i = 0; i < BURSTS; i++)
		one_burst(rig, row, &slot);
	if (row->parked)
		atomic_store(&vhu_queue_ring(rig->queue)->reader.snapshot, &vhu_snapshot_parked);
	row_begin();
	for (unsigned int i = 0; i < BURSTS; i++)
		one_burst(rig, row, &slot);
	row_end();
	printf("%s %u\n", row->name, row->frame == 0 ? BURSTS : BURSTS * row->burst);
	rig_free(rig);
}

int
main(void)
{
	if (rig_group_setup(NULL) != 0)
		return 1;
	rte_vect_set_max_simd_bitwidth(RTE_VECT_SIMD_128);
	printf("compiler %s\n", __VERSION__);
	for (unsigned int i = 0; i < RTE_DIM(rows); i++)
		measure(&rows[i]);
	return 0;
}
