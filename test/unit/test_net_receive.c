/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Receiving from a guest: what a frame may look like in the ring, and what breaks it. */

#include <stdlib.h>
#include <string.h>

#include <rte_vect.h>

#include "net_rig.h"
#include "ring/chain.h"

#define HEADER 12
#define NEXT VRING_DESC_F_NEXT
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
	uint32_t before = atomic_load(&vhu_rings_broken);

	assert_int_equal(receive(rig, 32), 0);
	assert_int_equal(rig_broken(rig), reason);
	assert_int_equal(atomic_load(&vhu_rings_broken), before + 1);
	rig_send(rig, 200, 60);
	assert_int_equal(receive(rig, 32), 0);
	rig_free(rig);
}

/* A chain of the first descriptors, with the pattern of seed 0 behind a header of zeros. */
static void
send_chain(struct rig *rig, const uint32_t *sizes, unsigned int count, unsigned int frame_size)
{
	uint8_t *bytes = calloc(1, HEADER + frame_size);
	unsigned int i, done = 0;

	rig_pattern(bytes + HEADER, frame_size, 0);
	for (i = 0; i < count; i++) {
		memcpy(rig_host(rig, rig_slot(2 * i)), bytes + done, sizes[i]);
		rig_descriptor(rig, (uint16_t)i, rig_slot(2 * i), sizes[i],
			i + 1 < count ? NEXT : 0, (uint16_t)(i + 1));
		done += sizes[i];
	}
	assert_int_equal(done, HEADER + frame_size);
	rig_available(rig, 0);
	free(bytes);
}

static void
every_size_arrives_whole_in_every_body(void **state)
{
	static const uint16_t widths[] = { RTE_VECT_SIMD_128, RTE_VECT_SIMD_256,
		RTE_VECT_SIMD_512 };
	uint16_t before = rte_vect_get_max_simd_bitwidth();
	unsigned int w, size;

	(void)state;
	for (w = 0; w < RTE_DIM(widths); w++) {
		struct rig *rig;

		rte_vect_set_max_simd_bitwidth(widths[w]);
		rig = rig_new(1, 0);
		for (size = 1; size <= 1900; size++) {
			rig_send(rig, (uint16_t)(size % RIG_SIZE), size);
			expect_frame(rig, size, size % RIG_SIZE);
		}
		rig_free(rig);
	}
	rte_vect_set_max_simd_bitwidth(before);
}

static void
burst_larger_than_a_run_keeps_order(void **state)
{
	struct rig *rig = rig_new(1, 0);
	uint16_t i;

	(void)state;
	for (i = 0; i < 200; i++)
		rig_send(rig, i, 60 + i);
	assert_int_equal(receive(rig, 256), 200);
	for (i = 0; i < 200; i++) {
		assert_true(rig_packet_matches(packets[i], 60 + i, i));
		assert_int_equal(rig->used->ring[i].id, i);
		assert_int_equal(rig->used->ring[i].len, 0);
		assert_int_equal(packets[i]->port, 7);
		rte_pktmbuf_free(packets[i]);
	}
	assert_int_equal(rig->used->idx, 200);
	rig_free(rig);
}

static void
chains_between_plain_frames_keep_order(void **state)
{
	struct rig *rig = rig_new(1, 0);
	const uint32_t sizes[] = { HEADER, 30, 34 };
	uint16_t i;

	(void)state;
	rig_send(rig, 100, 64);
	send_chain(rig, sizes, 3, 64);
	rig_send(rig, 101, 64);
	assert_int_equal(receive(rig, 32), 3);
	assert_true(rig_packet_matches(packets[0], 64, 100));
	assert_true(rig_packet_matches(packets[1], 64, 0));
	assert_true(rig_packet_matches(packets[2], 64, 101));
	for (i = 0; i < 3; i++)
		rte_pktmbuf_free(packets[i]);
	rig_free(rig);
}

static void
indices_wrap_at_65536(void **state)
{
	struct rig *rig = rig_new(1, 0);
	unsigned int i;

	(void)state;
	rig_start_at(rig, 0xfff0);
	for (i = 0; i < 64; i++) {
		rig_send(rig, (uint16_t)i, 60);
		expect_frame(rig, 60, i);
	}
	assert_int_equal(rig->used->idx, 0x30);
	rig_free(rig);
}

static void
header_in_every_composition_of_two_cuts(void **state)
{
	unsigned int a, b;

	(void)state;
	for (a = 1; a < HEADER; a++)
		for (b = 1; a + b < HEADER; b++) {
			struct rig *rig = rig_new(1, 0);
			const uint32_t sizes[] = { a, b, HEADER - a - b, 60 };

			send_chain(rig, sizes, 4, 60);
			expect_frame(rig, 60, 0);
			rig_free(rig);
		}
}

static void
indirect_table_is_followed(void **state)
{
	struct rig *rig = rig_new(1, VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC));
	struct vring_desc *table = (struct vring_desc *)rig_host(rig, rig_slot(10));

	(void)state;
	memset(rig_host(rig, rig_slot(0)), 0, HEADER);
	rig_pattern(rig_host(rig, rig_slot(1)), 1000, 5);
	table[0] = (struct vring_desc){ rig_slot(0), HEADER, NEXT, 1 };
	table[1] = (struct vring_desc){ rig_slot(1), 1000, 0, 0 };
	rig_descriptor(rig, 3, rig_slot(10), sizeof(table[0]) * 2, INDIRECT, 0);
	rig_available(rig, 3);
	expect_frame(rig, 1000, 5);
	assert_int_equal(rig->used->ring[0].id, 3);
	rig_free(rig);
}

static void
indirect_table_over_a_region_end_is_followed(void **state)
{
	unsigned int cut;

	(void)state;
	/* The table's first entry is cut at every byte by the end of the first region. */
	for (cut = 1; cut < sizeof(struct vring_desc); cut++) {
		struct rig *rig = rig_new(1, VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC));
		uint64_t at = RIG_BASE + RIG_REGION - cut;
		struct vring_desc entry = { rig_slot(0), HEADER + 60, 0, 0 };

		memset(rig_host(rig, rig_slot(0)), 0, HEADER);
		rig_pattern(rig_host(rig, rig_slot(0)) + HEADER, 60, 9);
		memcpy(rig_host(rig, at), &entry, cut);
		memcpy(rig->region[1], (uint8_t *)&entry + cut, sizeof(entry) - cut);
		rig_descriptor(rig, 0, at, sizeof(entry), INDIRECT, 0);
		rig_available(rig, 0);
		expect_frame(rig, 60, 9);
		rig_free(rig);
	}
}

static void
buffer_over_two_regions_arrives_whole(void **state)
{
	unsigned int before;

	(void)state;
	for (before = 1; before < HEADER + 60; before++) {
		struct rig *rig = rig_new(1, 0);
		uint8_t bytes[HEADER + 60] = { 0 };

		rig_pattern(bytes + HEADER, 60, 4);
		memcpy(rig->region[0] + RIG_REGION - before, bytes, before);
		memcpy(rig->region[1], bytes + before, sizeof(bytes) - before);
		rig_descriptor(rig, 0, RIG_BASE + RIG_REGION - before, sizeof(bytes), 0, 0);
		rig_available(rig, 0);
		expect_frame(rig, 60, 4);
		rig_free(rig);
	}
}

static void
frame_ending_with_its_region_is_not_read_past(void **state)
{
	struct rig *rig = rig_new(1, 0);
	unsigned int size;

	(void)state;
	for (size = 1; size < 300; size++) {
		uint64_t at = RIG_BASE + 2 * RIG_REGION - HEADER - size;

		memset(rig_host(rig, at), 0, HEADER);
		rig_pattern(rig_host(rig, at) + HEADER, size, size);
		rig_descriptor(rig, 0, at, HEADER + size, 0, 0);
		rig_available(rig, 0);
		expect_frame(rig, size, size);
	}
	rig_free(rig);
}

static void
large_frame_becomes_segments(void **state)
{
	struct rig *rig = rig_new(1, 0);
	uint8_t *host = rig_host(rig, rig_slot(0));

	(void)state;
	memset(host, 0, HEADER);
	rig_pattern(host + HEADER, 65000, 3);
	rig_descriptor(rig, 0, rig_slot(0), HEADER + 65000, 0, 0);
	rig_available(rig, 0);
	assert_int_equal(receive(rig, 1), 1);
	assert_int_equal(packets[0]->nb_segs, (65000 + 2047) / 2048);
	assert_true(rig_packet_matches(packets[0], 65000, 3));
	rte_pktmbuf_free(packets[0]);
	rig_free(rig);
}

static void
frame_over_64_kib_is_dropped_and_returned(void **state)
{
	struct rig *rig = rig_new(1, 0);

	(void)state;
	rig_descriptor(rig, 0, rig_slot(0), 70000, 0, 0);
	rig_available(rig, 0);
	rig_send(rig, 200, 60);
	assert_int_equal(receive(rig, 32), 1);
	assert_true(rig_packet_matches(packets[0], 60, 200));
	rte_pktmbuf_free(packets[0]);
	assert_int_equal(rig_drops(rig, VHU_DROP_LONG), 1);
	assert_int_equal(rig->used->idx, 2);
	rig_free(rig);
}

static void
chains_up_to_the_header_are_dropped_and_returned(void **state)
{
	struct rig *rig = rig_new(1, 0);
	uint32_t size;

	(void)state;
	for (size = 1; size <= HEADER; size++)
		rig_buffer(rig, (uint16_t)size, size, 0);
	assert_int_equal(receive(rig, 32), 0);
	assert_int_equal(rig_drops(rig, VHU_DROP_SHORT), HEADER - 1);
	assert_int_equal(rig_drops(rig, VHU_DROP_EMPTY), 1);
	assert_int_equal(rig->used->idx, HEADER);
	assert_int_equal(rig_broken(rig), VHU_BROKEN_NO);
	rig_free(rig);
}

static void
empty_pool_leaves_frames_in_the_ring(void **state)
{
	struct rig *rig = rig_new(1, 0);
	struct rte_mbuf *all[2047 + 1]; /* one more for the NULL that ends it */
	unsigned int count = 0;

	(void)state;
	rig_send(rig, 1, 60);
	while (count < RTE_DIM(all) && (all[count] = rte_pktmbuf_alloc(rig->pool)) != NULL)
		count++;
	assert_true(rte_mempool_empty(rig->pool));
	assert_int_equal(receive(rig, 1), 0);
	assert_int_equal(atomic_load(&rig->queue->ring.counters.mbuf_failures), 1);
	assert_int_equal(rig->used->idx, 0);
	rte_pktmbuf_free_bulk(all, count);
	expect_frame(rig, 60, 1);
	rig_free(rig);
}

static void
avail_index_beyond_the_ring_breaks_it(void **state)
{
	static const uint16_t jumps[] = { RIG_SIZE + 1, 0x8000, 0xffff };
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(jumps); i++) {
		struct rig *rig = rig_new(1, 0);

		rig->avail->idx = jumps[i];
		expect_broken(rig, VHU_BROKEN_AVAIL_INDEX);
	}
}

static void
head_outside_the_table_breaks_the_ring(void **state)
{
	static const uint16_t heads[] = { RIG_SIZE, 0xffff };
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(heads); i++) {
		struct rig *rig = rig_new(1, 0);

		rig_available(rig, heads[i]);
		expect_broken(rig, VHU_BROKEN_HEAD);
	}
}

static void
frames_before_a_bad_one_are_delivered(void **state)
{
	struct rig *rig = rig_new(1, 0);

	(void)state;
	rig_send(rig, 1, 60);
	rig_available(rig, RIG_SIZE);
	assert_int_equal(receive(rig, 32), 1);
	rte_pktmbuf_free(packets[0]);
	assert_int_equal(rig->used->idx, 1);
	assert_int_equal(rig_broken(rig), VHU_BROKEN_HEAD);
	rig_free(rig);
}

static void
next_outside_the_table_breaks_the_ring(void **state)
{
	struct rig *rig = rig_new(1, 0);

	(void)state;
	rig_descriptor(rig, 0, rig_slot(0), 20, NEXT, RIG_SIZE);
	rig_available(rig, 0);
	expect_broken(rig, VHU_BROKEN_NEXT);
}

static void
loops_break_the_ring(void **state)
{
	struct rig *self = rig_new(1, 0), *pair = rig_new(1, 0);

	(void)state;
	rig_descriptor(self, 0, rig_slot(0), 20, NEXT, 0);
	rig_available(self, 0);
	expect_broken(self, VHU_BROKEN_LOOP);
	rig_descriptor(pair, 0, rig_slot(0), 20, NEXT, 1);
	rig_descriptor(pair, 1, rig_slot(0), 20, NEXT, 0);
	rig_available(pair, 0);
	expect_broken(pair, VHU_BROKEN_LOOP);
}

static void
loop_in_an_indirect_table_breaks_the_ring(void **state)
{
	struct rig *rig = rig_new(1, VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC));
	struct vring_desc *table = (struct vring_desc *)rig_host(rig, rig_slot(10));

	(void)state;
	table[0] = (struct vring_desc){ rig_slot(0), 20, NEXT, 1 };
	table[1] = (struct vring_desc){ rig_slot(0), 20, NEXT, 0 };
	rig_descriptor(rig, 0, rig_slot(10), 32, INDIRECT, 0);
	rig_available(rig, 0);
	expect_broken(rig, VHU_BROKEN_LOOP);
}

static void
malformed_indirect_tables_break_the_ring(void **state)
{
	static const uint32_t sizes[] = { 0, 8, 17, (VHU_SEGMENTS_MAX + 1) * 16 };
	const uint64_t indirect = VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC);
	struct rig *rig;
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(sizes); i++) {
		rig = rig_new(1, indirect);
		rig_buffer(rig, 0, sizes[i], INDIRECT);
		expect_broken(rig, VHU_BROKEN_INDIRECT);
	}
	rig = rig_new(1, indirect);
	rig_descriptor(rig, 0, rig_slot(0), 16, INDIRECT | NEXT, 1);
	rig_available(rig, 0);
	expect_broken(rig, VHU_BROKEN_INDIRECT);
	rig = rig_new(1, 0); /* not negotiated */
	rig_buffer(rig, 0, 16, INDIRECT);
	expect_broken(rig, VHU_BROKEN_INDIRECT);
	rig = rig_new(1, indirect); /* nested */
	*(struct vring_desc *)rig_host(rig, rig_slot(0)) =
		(struct vring_desc){ rig_slot(1), 16, INDIRECT, 0 };
	rig_buffer(rig, 0, 16, INDIRECT);
	expect_broken(rig, VHU_BROKEN_INDIRECT);
	rig = rig_new(1, indirect); /* unmapped */
	rig_descriptor(rig, 0, 0x10, 16, INDIRECT, 0);
	rig_available(rig, 0);
	expect_broken(rig, VHU_BROKEN_ADDRESS);
}

static void
addresses_outside_memory_break_the_ring(void **state)
{
	static const struct { uint64_t address; uint32_t size; } bad[] = {
		{ UINT64_C(0xfffffffffffff000), 0x2000 },
		{ RIG_BASE - 1, 100 },
		{ RIG_BASE + 2 * RIG_REGION - 50, 51 },
		{ RIG_BASE + 2 * RIG_REGION, 100 },
		{ 0, 100 },
		{ RIG_BASE, 0xffffffff },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(bad); i++) {
		struct rig *rig = rig_new(1, 0);

		rig_descriptor(rig, 0, bad[i].address, bad[i].size, 0, 0);
		rig_available(rig, 0);
		expect_broken(rig, VHU_BROKEN_ADDRESS);
	}
}

static void
zero_length_breaks_the_ring(void **state)
{
	struct rig *rig = rig_new(1, 0);

	(void)state;
	rig_buffer(rig, 0, 0, 0);
	expect_broken(rig, VHU_BROKEN_ZERO_LENGTH);
}

static void
writable_buffer_breaks_the_ring(void **state)
{
	struct rig *rig = rig_new(1, 0);

	(void)state;
	rig_buffer(rig, 0, 100, WRITE);
	expect_broken(rig, VHU_BROKEN_DIRECTION);
}

static void
first_burst_asks_for_silence(void **state)
{
	struct rig *rig = rig_new(1, 0);

	(void)state;
	assert_int_equal(receive(rig, 32), 0);
	assert_int_equal(rig->used->flags, VRING_USED_F_NO_NOTIFY);
	rig_free(rig);
}

static void
parked_ring_moves_nothing(void **state)
{
	struct rig *rig = rig_new(1, 0);

	(void)state;
	rig_send(rig, 0, 60);
	atomic_store(&rig->queue->ring.reader.snapshot, &vhu_snapshot_parked);
	assert_int_equal(receive(rig, 32), 0);
	assert_int_equal(vhu_queue_count(rig->queue), 0);
	assert_int_equal(rig->used->idx, 0);
	rig_free(rig);
}

static void
count_tells_what_waits(void **state)
{
	struct rig *rig = rig_new(1, 0);

	(void)state;
	rig_send(rig, 0, 60);
	rig_send(rig, 1, 60);
	assert_int_equal(vhu_queue_count(rig->queue), 2);
	rig->avail->idx = 0x8000;
	assert_int_equal(vhu_queue_count(rig->queue), RIG_SIZE);
	rig_free(rig);
}

static void
counters_tell_packets_and_bytes(void **state)
{
	struct rig *rig = rig_new(1, 0);

	(void)state;
	receive(rig, 32);
	rig_send(rig, 0, 60);
	rig_send(rig, 1, 100);
	assert_int_equal(receive(rig, 32), 2);
	assert_int_equal(atomic_load(&rig->queue->ring.counters.packets), 2);
	assert_int_equal(atomic_load(&rig->queue->ring.counters.bytes), 160);
	assert_int_equal(atomic_load(&rig->queue->ring.counters.bursts), 1);
	assert_int_equal(atomic_load(&rig->queue->ring.counters.empty), 1);
	rte_pktmbuf_free_bulk(packets, 2);
	rig_free(rig);
}

static void
hint_of_another_map_is_not_used(void **state)
{
	struct rig *rig = rig_new(1, 0);
	struct vhu_map *map = calloc(1, sizeof(*map) + sizeof(map->extents[0]));

	(void)state;
	rig_send(rig, 0, 60);
	expect_frame(rig, 60, 0);
	/*
	 * The first region is gone, the second remains: a hint kept from before would still say
	 * yes.
	 */
	map->generation = 2;
	map->count = 1;
	map->extents[0] = rig->map->extents[1];
	rig->snapshot.space.map = map;
	rig_send(rig, 1, 60);
	assert_int_equal(receive(rig, 1), 0);
	assert_int_equal(rig_broken(rig), VHU_BROKEN_ADDRESS);
	free(map);
	rig_free(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_size_arrives_whole_in_every_body),
		cmocka_unit_test(burst_larger_than_a_run_keeps_order),
		cmocka_unit_test(chains_between_plain_frames_keep_order),
		cmocka_unit_test(indices_wrap_at_65536),
		cmocka_unit_test(header_in_every_composition_of_two_cuts),
		cmocka_unit_test(indirect_table_is_followed),
		cmocka_unit_test(indirect_table_over_a_region_end_is_followed),
		cmocka_unit_test(buffer_over_two_regions_arrives_whole),
		cmocka_unit_test(frame_ending_with_its_region_is_not_read_past),
		cmocka_unit_test(large_frame_becomes_segments),
		cmocka_unit_test(frame_over_64_kib_is_dropped_and_returned),
		cmocka_unit_test(chains_up_to_the_header_are_dropped_and_returned),
		cmocka_unit_test(empty_pool_leaves_frames_in_the_ring),
		cmocka_unit_test(avail_index_beyond_the_ring_breaks_it),
		cmocka_unit_test(head_outside_the_table_breaks_the_ring),
		cmocka_unit_test(frames_before_a_bad_one_are_delivered),
		cmocka_unit_test(next_outside_the_table_breaks_the_ring),
		cmocka_unit_test(loops_break_the_ring),
		cmocka_unit_test(loop_in_an_indirect_table_breaks_the_ring),
		cmocka_unit_test(malformed_indirect_tables_break_the_ring),
		cmocka_unit_test(addresses_outside_memory_break_the_ring),
		cmocka_unit_test(zero_length_breaks_the_ring),
		cmocka_unit_test(writable_buffer_breaks_the_ring),
		cmocka_unit_test(first_burst_asks_for_silence),
		cmocka_unit_test(parked_ring_moves_nothing),
		cmocka_unit_test(count_tells_what_waits),
		cmocka_unit_test(counters_tell_packets_and_bytes),
		cmocka_unit_test(hint_of_another_map_is_not_used),
	};

	return cmocka_run_group_tests_name("net receive", tests, rig_group_setup, NULL);
}
