/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Receiving from a guest with a packed ring: runs, chains, the end of the ring, what breaks it. */

#include <stdlib.h>
#include <string.h>

#include <rte_vect.h>

#include "net_rig.h"

#define HEADER 12
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

static struct rte_mbuf *packets[512];

static uint16_t
receive(struct rig *rig, uint16_t count)
{
	return vhu_rx_burst(rig->queue, packets, count);
}

/* One frame must arrive whole; then it is freed. */
static void
expect_frame(struct rig *rig, uint32_t size, unsigned int seed)
{
	assert_int_equal(receive(rig, 1), 1);
	assert_true(rig_packet_matches(packets[0], size, seed));
	rte_pktmbuf_free(packets[0]);
}

/* The ring must break for this reason, and stay broken. */
static void
expect_broken(struct rig *rig, enum vhu_broken reason)
{
	assert_int_equal(receive(rig, 32), 0);
	assert_int_equal(rig_broken(rig), reason);
	rig_put_frame(rig, 200, 60);
	assert_int_equal(receive(rig, 32), 0);
	rig_free(rig);
}

/* Run a test with the bodies of each register width. */
static void
in_every_body(void (*test)(void))
{
	static const uint16_t widths[] = { RTE_VECT_SIMD_128, RTE_VECT_SIMD_256,
		RTE_VECT_SIMD_512 };
	uint16_t before = rte_vect_get_max_simd_bitwidth();
	unsigned int w;

	for (w = 0; w < RTE_DIM(widths); w++) {
		rte_vect_set_max_simd_bitwidth(widths[w]);
		test();
	}
	rte_vect_set_max_simd_bitwidth(before);
}

static void
send_every_size(void)
{
	struct rig *rig = rig_new_packed(1, 0, 7);
	unsigned int size;

	for (size = 1; size <= 1900; size++) {
		rig_put_frame(rig, (uint16_t)(size % 5), size);
		expect_frame(rig, size, size % 5);
		rig_expect_used(rig, 1, (uint16_t)(size % 5), 0);
	}
	rig_free(rig);
}

static void
every_size_arrives_whole_in_every_body(void **state)
{
	(void)state;
	in_every_body(send_every_size);
}

/* What mbufs were used for before must not show. Those of the pool come back first. */
static void
soil_mbufs(unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		packets[i]->ol_flags = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_TX_TCP_SEG;
		packets[i]->packet_type = RTE_PTYPE_L2_ETHER;
		packets[i]->vlan_tci = 77;
		packets[i]->port = 77;
		packets[i]->data_off = 7;
		rte_pktmbuf_free(packets[i]);
	}
}

static void
expect_clean(const struct rte_mbuf *m, uint32_t size, unsigned int seed)
{
	assert_true(rig_packet_matches(m, size, seed));
	assert_int_equal(m->ol_flags, 0);
	assert_int_equal(m->packet_type, 0);
	assert_int_equal(m->vlan_tci, 0);
	assert_int_equal(m->port, 7);
	assert_int_equal(m->data_off, RTE_PKTMBUF_HEADROOM);
	assert_int_equal(m->nb_segs, 1);
}

/* Short frames are copied four at a time: of one size, and of sizes around what is short. */
static void
send_short_frames(void)
{
	struct rig *rig = rig_new_packed(1, VHU_BIT(VIRTIO_NET_F_CSUM), 64);
	unsigned int size, i, step;

	for (step = 0; step < 2; step++) {
		for (size = 24; size <= 72; size++) {
			for (i = 0; i < 11; i++)
				rig_put_frame(rig, (uint16_t)i, size + i * step);
			assert_int_equal(receive(rig, 32), 11);
			for (i = 0; i < 11; i++) {
				expect_clean(packets[i], size + i * step, i);
				rig_expect_used(rig, 1, (uint16_t)i, 0);
			}
			soil_mbufs(11);
		}
	}
	rig_free(rig);
}

static void
short_frames_arrive_whole_in_clean_mbufs(void **state)
{
	(void)state;
	in_every_body(send_short_frames);
}

/* A header with a claim that cannot be true, at each place of a burst of short frames. */
static void
send_short_frames_and_a_false_claim(void)
{
	struct rig *rig = rig_new_packed(1, VHU_BIT(VIRTIO_NET_F_CSUM), 64);
	uint64_t before = rig_drops(rig, VHU_DROP_BAD_OFFLOAD);
	unsigned int liar, i, got;

	for (liar = 0; liar < 12; liar++) {
		for (i = 0; i < 12; i++) {
			rig_put_frame(rig, (uint16_t)i, 64);
			if (i == liar) /* gso_type; the burst comes later */
				rig_host(rig, rig_slot(i))[1] = 0x7f;
		}
		assert_int_equal(receive(rig, 32), 11);
		for (i = 0, got = 0; i < 12; i++) {
			if (i != liar)
				expect_clean(packets[got++], 64, i);
			rig_expect_used(rig, 1, (uint16_t)i, 0);
		}
		soil_mbufs(11);
		assert_int_equal(rig_drops(rig, VHU_DROP_BAD_OFFLOAD), before + liar + 1);
	}
	rig_free(rig);
}

static void
only_the_short_frame_with_a_false_claim_is_dropped(void **state)
{
	(void)state;
	in_every_body(send_short_frames_and_a_false_claim);
}

/* Bursts of every length up to the ring's size, so that each passes the end somewhere else. */
static void
send_every_burst(void)
{
	struct rig *rig = rig_new_packed(1, 0, 23);
	uint16_t burst, i;

	for (burst = 1; burst <= 23; burst++) {
		for (i = 0; i < burst; i++)
			rig_put_frame(rig, (uint16_t)(burst - i), 60u + i);
		assert_int_equal(receive(rig, 64), burst);
		for (i = 0; i < burst; i++) {
			assert_true(rig_packet_matches(packets[i], 60u + i, burst - i));
			assert_int_equal(packets[i]->port, 7);
			rte_pktmbuf_free(packets[i]);
			rig_expect_used(rig, 1, (uint16_t)(burst - i), 0);
		}
		assert_int_equal(receive(rig, 64), 0);
	}
	rig_free(rig);
}

static void
bursts_pass_the_end_of_an_odd_ring(void **state)
{
	(void)state;
	in_every_body(send_every_burst);
}

static void
burst_larger_than_a_run_keeps_order(void **state)
{
	struct rig *rig = rig_new_packed(1, 0, 251);
	uint16_t i, round;

	(void)state;
	for (round = 0; round < 4; round++) {
		for (i = 0; i < 200; i++)
			rig_put_frame(rig, i, 60u + i);
		assert_int_equal(receive(rig, 256), 200);
		for (i = 0; i < 200; i++) {
			assert_true(rig_packet_matches(packets[i], 60u + i, i));
			rte_pktmbuf_free(packets[i]);
			rig_expect_used(rig, 1, i, 0);
		}
	}
	rig_free(rig);
}

static void
count_is_a_limit(void **state)
{
	struct rig *rig = rig_new_packed(1, 0, 64);
	uint16_t i, id;
	uint32_t length;

	(void)state;
	for (i = 0; i < 10; i++)
		rig_put_frame(rig, i, 60);
	assert_int_equal(receive(rig, 6), 6);
	for (i = 0; i < 6; i++) {
		rte_pktmbuf_free(packets[i]);
		rig_expect_used(rig, 1, i, 0);
	}
	assert_false(rig_reap(rig, 1, &id, &length));
	assert_int_equal(receive(rig, 6), 4);
	for (i = 0; i < 4; i++)
		rte_pktmbuf_free(packets[i]);
	rig_free(rig);
}

/* A chain whose pieces are cut at @p sizes, with the pattern of seed 0 behind a header of zeros. */
static void
put_chain(struct rig *rig, uint16_t id, const uint32_t *sizes, unsigned int count,
	unsigned int frame_size)
{
	uint8_t *bytes = calloc(1, HEADER + frame_size);
	struct rig_piece pieces[8];
	unsigned int i, done = 0;

	rig_pattern(bytes + HEADER, frame_size, 0);
	for (i = 0; i < count; i++) {
		memcpy(rig_host(rig, rig_slot(20 + 2 * i)), bytes + done, sizes[i]);
		pieces[i] = (struct rig_piece){ rig_slot(20 + 2 * i), sizes[i], 0 };
		done += sizes[i];
	}
	assert_int_equal(done, HEADER + frame_size);
	rig_chain(rig, id, pieces, count);
	free(bytes);
}

static void
chains_between_plain_frames_keep_order(void **state)
{
	const uint32_t sizes[] = { HEADER, 30, 34 };
	struct rig *rig = rig_new_packed(1, 0, 5);
	unsigned int round, i;

	(void)state;
	/* Five descriptors a round in a ring of five, then of any offset. */
	for (round = 0; round < 5; round++) {
		rig_put_frame(rig, 4, 64);
		put_chain(rig, 0, sizes, 3, 64);
		rig_put_frame(rig, 3, 64);
		assert_int_equal(receive(rig, 32), 3);
		assert_true(rig_packet_matches(packets[0], 64, 4));
		assert_true(rig_packet_matches(packets[1], 64, 0));
		assert_true(rig_packet_matches(packets[2], 64, 3));
		for (i = 0; i < 3; i++)
			rte_pktmbuf_free(packets[i]);
		rig_expect_used(rig, 1, 4, 0);
		rig_expect_used(rig, 3, 0, 0);
		rig_expect_used(rig, 1, 3, 0);
		/* Move the next round on by one. */
		rig_put_frame(rig, 1, 100);
		expect_frame(rig, 100, 1);
		rig_expect_used(rig, 1, 1, 0);
	}
	rig_free(rig);
}

static void
receive_table_of_three(uint16_t first, uint16_t second, uint16_t third)
{
	struct rig *rig = rig_new_packed(1, VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC), 16);
	struct vring_packed_desc *table;
	uint8_t *host;

	host = rig_host(rig, rig_slot(1));
	memset(host, 0, HEADER);
	rig_pattern(rig_host(rig, rig_slot(2)), 500, 9);
	table = (struct vring_packed_desc *)rig_host(rig, rig_slot(3));
	table[0] = (struct vring_packed_desc){ rig_slot(1), HEADER, 0, first };
	table[1] = (struct vring_packed_desc){ rig_slot(2), 200, 0, second };
	table[2] = (struct vring_packed_desc){ rig_slot(2) + 200, 300, 0, third };
	rig_chain(rig, 11, &(struct rig_piece){ rig_slot(3), 3 * sizeof(*table), INDIRECT }, 1);
	expect_frame(rig, 500, 9);
	rig_expect_used(rig, 1, 11, 0);
	rig_free(rig);
}

/* An indirect table of header and frame at slot 100 + @p id; the frame is in the id's slot. */
static void
put_indirect(struct rig *rig, uint16_t id, uint32_t size)
{
	struct vring_packed_desc *table =
		(struct vring_packed_desc *)rig_host(rig, rig_slot(100u + id));

	memset(rig_host(rig, rig_slot(id)), 0, HEADER);
	rig_pattern(rig_host(rig, rig_slot(id)) + HEADER, size, id);
	table[0] = (struct vring_packed_desc){ rig_slot(id), HEADER, 0, 0 };
	table[1] = (struct vring_packed_desc){ rig_slot(id) + HEADER, size, 0, 0 };
	rig_chain(rig, id, &(struct rig_piece){ rig_slot(100u + id), 2 * sizeof(*table),
		INDIRECT }, 1);
}

/* Is frame @p i of a burst sent through a table? In runs of all lengths. */
static bool
through_table(unsigned int kind, unsigned int i)
{
	return kind == 0 ? true : i % (kind + 1) != 0;
}

static void
runs_of_tables_between_plain_frames_keep_order(void **state)
{
	unsigned int kind, i;

	(void)state;
	for (kind = 0; kind < 40; kind++) {
		struct rig *rig = rig_new_packed(1, VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC), 97);
		unsigned int round;

		for (round = 0; round < 3; round++) {
			for (i = 0; i < 50; i++)
				if (through_table(kind, i))
					put_indirect(rig, (uint16_t)i, 60 + i);
				else
					rig_put_frame(rig, (uint16_t)i, 60 + i);
			/* In two bursts: what the first looked at and did not take comes again. */
			assert_int_equal(receive(rig, 47), 47);
			assert_int_equal(vhu_rx_burst(rig->queue, packets + 47, 47), 3);
			for (i = 0; i < 50; i++) {
				assert_true(rig_packet_matches(packets[i], 60 + i, i));
				rte_pktmbuf_free(packets[i]);
				rig_expect_used(rig, 1, (uint16_t)i, 0);
			}
		}
		rig_free(rig);
	}
}

static void
tables_before_a_bad_one_are_delivered(void **state)
{
	struct rig *rig = rig_new_packed(1, VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC), 64);
	uint16_t i, id;
	uint32_t length;

	(void)state;
	for (i = 0; i < 9; i++)
		put_indirect(rig, i, 60);
	rig_chain(rig, 20, &(struct rig_piece){ rig_slot(100), 17, INDIRECT }, 1);
	put_indirect(rig, 21, 60);
	assert_int_equal(receive(rig, 32), 9);
	assert_int_equal(rig_broken(rig), VHU_BROKEN_INDIRECT);
	for (i = 0; i < 9; i++) {
		assert_true(rig_packet_matches(packets[i], 60, i));
		rte_pktmbuf_free(packets[i]);
		rig_expect_used(rig, 1, i, 0);
	}
	assert_false(rig_reap(rig, 1, &id, &length));
	assert_int_equal(receive(rig, 32), 0);
	rig_free(rig);
}

static void
indirect_table_is_followed(void **state)
{
	(void)state;
	receive_table_of_three(0, 0, 0);
}

/* DPDK's driver leaves the flag in the first entry of each table, and in one more of some. */
static void
table_marked_as_to_be_written_is_read(void **state)
{
	(void)state;
	receive_table_of_three(WRITE, 0, 0);
	receive_table_of_three(WRITE, WRITE, 0);
	receive_table_of_three(WRITE, 0, WRITE);
	receive_table_of_three(WRITE, WRITE, WRITE);
}

static void
large_frame_becomes_segments(void **state)
{
	struct rig *rig = rig_new_packed(1, 0, 64);
	uint8_t *host = rig_host(rig, rig_slot(0));

	(void)state;
	memset(host, 0, HEADER);
	rig_pattern(host + HEADER, 9000, 3);
	rig_put(rig, 0, HEADER + 9000, 0);
	expect_frame(rig, 9000, 3);
	rig_expect_used(rig, 1, 0, 0);
	rig_free(rig);
}

static void
buffers_in_other_regions_arrive_whole(void **state)
{
	struct rig *rig = rig_new_packed(1, 0, 64);
	uint16_t i;

	(void)state;
	/* Every other buffer in the other region: no group of four has one extent. */
	for (i = 0; i < 40; i++) {
		uint64_t address = rig_slot(i) + (i % 2) * RIG_REGION;
		uint8_t *host = rig_host(rig, address);

		memset(host, 0, HEADER);
		rig_pattern(host + HEADER, 100, i);
		rig_chain(rig, i, &(struct rig_piece){ address, HEADER + 100, 0 }, 1);
	}
	assert_int_equal(receive(rig, 64), 40);
	for (i = 0; i < 40; i++) {
		assert_true(rig_packet_matches(packets[i], 100, i));
		rte_pktmbuf_free(packets[i]);
	}
	rig_free(rig);
}

static void
buffer_over_two_regions_arrives_whole(void **state)
{
	struct rig *rig = rig_new_packed(1, 0, 64);
	uint64_t address = RIG_BASE + RIG_REGION - 300;
	uint8_t frame[1000];

	(void)state;
	memset(rig_host(rig, address), 0, HEADER);
	rig_pattern(frame, sizeof(frame), 5);
	memcpy(rig_host(rig, address + HEADER), frame, 300 - HEADER);
	memcpy(rig_host(rig, RIG_BASE + RIG_REGION), frame + 300 - HEADER, 700 + HEADER);
	rig_chain(rig, 5, &(struct rig_piece){ address, HEADER + 1000, 0 }, 1);
	expect_frame(rig, 1000, 5);
	rig_free(rig);
}

static void
table_and_header_over_two_regions_are_followed(void **state)
{
	struct rig *rig = rig_new_packed(1, VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC), 16);
	const uint64_t border = RIG_BASE + RIG_REGION;
	unsigned int before, i;

	(void)state;
	for (before = 1; before < 40; before++) {
		const struct vring_packed_desc table[] = {
			{ border - before, HEADER, 0, 0 },
			{ border - before + HEADER, 60, 0, 0 },
		};
		uint64_t place = before % 2 ? rig_slot(1) : border - 300;
		uint8_t bytes[HEADER + 60] = { 0 };

		rig_pattern(bytes + HEADER, 60, before);
		for (i = 0; i < sizeof(bytes); i++)
			*rig_host(rig, border - before + i) = bytes[i];
		for (i = 0; i < sizeof(table); i++)
			*rig_host(rig, place + i) = ((const uint8_t *)table)[i];
		rig_chain(rig, 3, &(struct rig_piece){ place, sizeof(table),
			VRING_DESC_F_INDIRECT }, 1);
		expect_frame(rig, 60, before);
		rig_expect_used(rig, 1, 3, 0);
	}
	rig_free(rig);
}

static void
restart_takes_up_positions_and_wraps(void **state)
{
	struct rig *rig = rig_new_packed(1, 0, 10);
	uint16_t i;

	(void)state;
	rig_start_packed_at(rig, 8, false, 8, false);
	for (i = 0; i < 6; i++)
		rig_put_frame(rig, i, 60);
	assert_int_equal(receive(rig, 32), 6);
	for (i = 0; i < 6; i++) {
		assert_true(rig_packet_matches(packets[i], 60, i));
		rte_pktmbuf_free(packets[i]);
		rig_expect_used(rig, 1, i, 0);
	}
	assert_int_equal(rig->queue->ring.next_avail, 4);
	assert_true(rig->queue->ring.avail_wrap);
	rig_free(rig);
}

static void
used_side_may_lag_behind(void **state)
{
	struct rig *rig = rig_new_packed(1, 0, 10);
	uint16_t i;

	(void)state;
	/* Three chains were taken before the restart and never given back. */
	rig_start_packed_at(rig, 1, false, 8, true);
	for (i = 0; i < 6; i++)
		rig_put_frame(rig, i, 60);
	assert_int_equal(receive(rig, 32), 6);
	for (i = 0; i < 6; i++) {
		rte_pktmbuf_free(packets[i]);
		rig_expect_used(rig, 1, i, 0);
	}
	rig_free(rig);
}

static void
empty_ring_is_counted(void **state)
{
	struct rig *rig = rig_new_packed(1, 0, 8);

	(void)state;
	assert_int_equal(receive(rig, 32), 0);
	assert_int_equal(atomic_load(&rig->queue->ring.counters.empty), 1);
	rig_free(rig);
}

static void
first_burst_asks_for_silence(void **state)
{
	struct rig *rig = rig_new_packed(1, 0, 8);

	(void)state;
	receive(rig, 32);
	assert_int_equal(rig->device_event->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
	rig_free(rig);
}

static void
count_tells_what_waits(void **state)
{
	struct rig *rig = rig_new_packed(1, 0, 8);
	uint16_t i;

	(void)state;
	for (i = 0; i < 5; i++)
		rig_put_frame(rig, i, 60);
	assert_int_equal(vhu_queue_count(rig->queue), 5);
	rig_free(rig);
}

static void
empty_pool_leaves_frames_in_the_ring(void **state)
{
	struct rig *rig = rig_new_packed(1, 0, 16);
	struct rte_mbuf **all = calloc(4096, sizeof(*all));
	unsigned int taken = 0, i;

	(void)state;
	while ((all[taken] = rte_pktmbuf_alloc(rig->pool)) != NULL)
		taken++;
	for (i = 0; i < 8; i++)
		rig_put_frame(rig, (uint16_t)i, 60);
	assert_int_equal(receive(rig, 32), 0);
	assert_int_equal(atomic_load(&rig->queue->ring.counters.mbuf_failures), 1);
	for (i = 0; i < 3; i++)
		rte_pktmbuf_free(all[--taken]);
	assert_int_equal(receive(rig, 32), 3);
	for (i = 0; i < 3; i++)
		rte_pktmbuf_free(packets[i]);
	while (taken != 0)
		rte_pktmbuf_free(all[--taken]);
	assert_int_equal(receive(rig, 32), 5);
	for (i = 0; i < 5; i++) {
		assert_true(rig_packet_matches(packets[i], 60, 3 + i));
		rte_pktmbuf_free(packets[i]);
	}
	free(all);
	rig_free(rig);
}

static void
chains_up_to_the_header_are_dropped_and_returned(void **state)
{
	struct rig *rig = rig_new_packed(1, 0, 16);

	(void)state;
	rig_put_frame(rig, 0, 60);
	rig_put(rig, 1, HEADER - 1, 0);
	rig_put(rig, 2, HEADER, 0);
	rig_put_frame(rig, 3, 60);
	assert_int_equal(receive(rig, 32), 2);
	rte_pktmbuf_free(packets[0]);
	rte_pktmbuf_free(packets[1]);
	assert_int_equal(rig_drops(rig, VHU_DROP_SHORT), 1);
	assert_int_equal(rig_drops(rig, VHU_DROP_EMPTY), 1);
	rig_expect_used(rig, 1, 0, 0);
	rig_expect_used(rig, 1, 1, 0);
	rig_expect_used(rig, 1, 2, 0);
	rig_expect_used(rig, 1, 3, 0);
	rig_free(rig);
}

/* Four of each at once, and behind two good ones; with an empty hint and a full. */
static const uint64_t bad_addresses[] = {
	0, RIG_BASE - 1, RIG_BASE + 2 * RIG_REGION, RIG_BASE + 2 * RIG_REGION - 71,
	UINT64_MAX, UINT64_MAX - 70, INT64_MAX, INT64_MAX - 71, (uint64_t)INT64_MAX + 1,
	RIG_BASE + (uint64_t)INT64_MAX, RIG_BASE + (uint64_t)INT64_MAX - 71,
};

static void
send_bad_addresses(void)
{
	unsigned int i, before, hinted;

	for (i = 0; i < 4 * RTE_DIM(bad_addresses); i++) {
		struct rig *rig = rig_new_packed(1, 0, 16);
		uint16_t j;

		before = i & 1 ? 2 : 0;
		hinted = i & 2 ? 1 : 0;
		if (hinted) {
			rig_put_frame(rig, 9, 60);
			expect_frame(rig, 60, 9);
		}
		for (j = 0; j < before; j++)
			rig_put_frame(rig, j, 60);
		for (j = 0; j < 4; j++)
			rig_chain(rig, 5, &(struct rig_piece){ bad_addresses[i / 4], 72, 0 }, 1);
		for (j = 0; j < 4; j++)
			rig_put_frame(rig, 10 + j, 60);
		assert_int_equal(receive(rig, 32), before);
		assert_int_equal(rig_broken(rig), VHU_BROKEN_ADDRESS);
		for (j = 0; j < before; j++)
			rte_pktmbuf_free(packets[j]);
		rig_free(rig);
	}
}

static void
addresses_outside_memory_break_the_ring(void **state)
{
	(void)state;
	in_every_body(send_bad_addresses);
}

static void
writable_buffer_breaks_the_ring(void **state)
{
	struct rig *rig = rig_new_packed(1, 0, 16);

	(void)state;
	rig_put(rig, 0, 100, WRITE);
	expect_broken(rig, VHU_BROKEN_DIRECTION);
}

static void
zero_length_breaks_the_ring(void **state)
{
	struct rig *rig = rig_new_packed(1, 0, 16);

	(void)state;
	rig_put(rig, 0, 0, 0);
	expect_broken(rig, VHU_BROKEN_ZERO_LENGTH);
}

static void
chain_around_the_whole_ring_breaks_it(void **state)
{
	struct rig *rig = rig_new_packed(1, 0, 8);
	struct rig_piece pieces[8];
	unsigned int i;

	(void)state;
	for (i = 0; i < 8; i++)
		pieces[i] = (struct rig_piece){ rig_slot(i), 100, VRING_DESC_F_NEXT };
	rig_chain(rig, 0, pieces, 8);
	expect_broken(rig, VHU_BROKEN_LOOP);
}

static void
malformed_indirect_tables_break_the_ring(void **state)
{
	static const struct rig_piece tables[] = {
		{ RIG_BASE + 65536, 24, INDIRECT },
		{ RIG_BASE + 65536, 0, INDIRECT },
		{ RIG_BASE + 65536, 16 * 1025, INDIRECT },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(tables); i++) {
		struct rig *rig = rig_new_packed(1, VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC), 16);

		rig_chain(rig, 0, &tables[i], 1);
		expect_broken(rig, VHU_BROKEN_INDIRECT);
	}
}

static void
frames_before_a_bad_one_are_delivered(void **state)
{
	struct rig *rig = rig_new_packed(1, 0, 64);
	uint16_t i, id;
	uint32_t length;

	(void)state;
	for (i = 0; i < 9; i++)
		rig_put_frame(rig, i, 60);
	rig_put(rig, 50, 100, WRITE);
	rig_put_frame(rig, 51, 60);
	assert_int_equal(receive(rig, 32), 9);
	assert_int_equal(rig_broken(rig), VHU_BROKEN_DIRECTION);
	for (i = 0; i < 9; i++) {
		rte_pktmbuf_free(packets[i]);
		rig_expect_used(rig, 1, i, 0);
	}
	assert_false(rig_reap(rig, 1, &id, &length));
	rig_free(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_size_arrives_whole_in_every_body),
		cmocka_unit_test(short_frames_arrive_whole_in_clean_mbufs),
		cmocka_unit_test(only_the_short_frame_with_a_false_claim_is_dropped),
		cmocka_unit_test(bursts_pass_the_end_of_an_odd_ring),
		cmocka_unit_test(burst_larger_than_a_run_keeps_order),
		cmocka_unit_test(count_is_a_limit),
		cmocka_unit_test(chains_between_plain_frames_keep_order),
		cmocka_unit_test(indirect_table_is_followed),
		cmocka_unit_test(runs_of_tables_between_plain_frames_keep_order),
		cmocka_unit_test(tables_before_a_bad_one_are_delivered),
		cmocka_unit_test(table_marked_as_to_be_written_is_read),
		cmocka_unit_test(large_frame_becomes_segments),
		cmocka_unit_test(buffers_in_other_regions_arrive_whole),
		cmocka_unit_test(buffer_over_two_regions_arrives_whole),
		cmocka_unit_test(table_and_header_over_two_regions_are_followed),
		cmocka_unit_test(restart_takes_up_positions_and_wraps),
		cmocka_unit_test(used_side_may_lag_behind),
		cmocka_unit_test(empty_ring_is_counted),
		cmocka_unit_test(first_burst_asks_for_silence),
		cmocka_unit_test(count_tells_what_waits),
		cmocka_unit_test(empty_pool_leaves_frames_in_the_ring),
		cmocka_unit_test(chains_up_to_the_header_are_dropped_and_returned),
		cmocka_unit_test(addresses_outside_memory_break_the_ring),
		cmocka_unit_test(writable_buffer_breaks_the_ring),
		cmocka_unit_test(zero_length_breaks_the_ring),
		cmocka_unit_test(chain_around_the_whole_ring_breaks_it),
		cmocka_unit_test(malformed_indirect_tables_break_the_ring),
		cmocka_unit_test(frames_before_a_bad_one_are_delivered),
	};

	return cmocka_run_group_tests(tests, rig_group_setup, NULL);
}
