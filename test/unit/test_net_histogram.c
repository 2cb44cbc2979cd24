/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Histograms: which counter a frame and a burst are in, and what is in none. */

#include <string.h>

#include "net_rig.h"

#define HEADER 12
#define WRITE VRING_DESC_F_WRITE
#define MERGEABLE VHU_BIT(VIRTIO_NET_F_MRG_RXBUF)
#define TRANSMITS 0
#define RECEIVES 1

/* The sizes on both sides of each edge. */
static const struct {
	uint32_t size;
	enum vhu_histogram counter;
} edges[] = {
	{ 14, VHU_SIZE_UNDER }, { 63, VHU_SIZE_UNDER }, { 64, VHU_SIZE_64 },
	{ 65, VHU_SIZE_65_127 }, { 127, VHU_SIZE_65_127 }, { 128, VHU_SIZE_128_255 },
	{ 255, VHU_SIZE_128_255 }, { 256, VHU_SIZE_256_511 }, { 511, VHU_SIZE_256_511 },
	{ 512, VHU_SIZE_512_1023 }, { 1023, VHU_SIZE_512_1023 }, { 1024, VHU_SIZE_1024_1518 },
	{ 1518, VHU_SIZE_1024_1518 }, { 1519, VHU_SIZE_1519_MAX }, { 2000, VHU_SIZE_1519_MAX },
};

static const struct {
	uint16_t frames;
	enum vhu_histogram counter;
} bursts[] = {
	{ 1, VHU_BURST_1 }, { 2, VHU_BURST_2_3 }, { 3, VHU_BURST_2_3 }, { 4, VHU_BURST_4_7 },
	{ 7, VHU_BURST_4_7 }, { 8, VHU_BURST_8_15 }, { 15, VHU_BURST_8_15 },
	{ 16, VHU_BURST_16_31 }, { 31, VHU_BURST_16_31 }, { 32, VHU_BURST_32_63 },
	{ 63, VHU_BURST_32_63 }, { 64, VHU_BURST_64_127 }, { 127, VHU_BURST_64_127 },
	{ 128, VHU_BURST_128_255 }, { 255, VHU_BURST_128_255 }, { 256, VHU_BURST_256_MAX },
};

static const uint8_t unicast[6] = { 0x02, 0x01, 0xff, 0xff, 0xff, 0xff };
static const uint8_t multicast[6] = { 0x01, 0x00, 0x5e, 0, 0, 1 };
static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static struct rig *
new_rig(uint16_t index, uint64_t features)
{
	struct rig *rig = rig_new(index, features);

	vhu_histogram_specialise(rig->queue, &rig->snapshot);
	return rig;
}

static uint64_t
count(const struct rig *rig, enum vhu_histogram counter)
{
	return atomic_load(&rig->queue->histograms.counts[counter]);
}

/* Each frame is in one size, and none that did not move is. */
static uint64_t
frames(const struct rig *rig)
{
	uint64_t sum = 0;

	for (unsigned int i = VHU_SIZE_UNDER; i <= VHU_SIZE_1519_MAX; i++)
		sum += count(rig, i);
	assert_int_equal(sum, atomic_load(&rig->queue->ring.counters.packets));
	return sum;
}

/* The guest sends a frame to an address. */
static void
send_to(struct rig *rig, uint16_t index, uint32_t size, const uint8_t address[6])
{
	uint8_t *host = rig_host(rig, rig_slot(index));

	memset(host, 0, HEADER + size);
	memcpy(host + HEADER, address, 6);
	rig_buffer(rig, index, HEADER + size, 0);
}

static uint16_t
receive(struct rig *rig, uint16_t wanted)
{
	static struct rte_mbuf *packets[RIG_SIZE + 1];
	uint16_t n = vhu_rx_burst(rig->queue, packets, wanted);

	rte_pktmbuf_free_bulk(packets, n);
	return n;
}

static struct rte_mbuf *
frame_to(struct rig *rig, uint32_t size, uint32_t segment_size, const uint8_t address[6])
{
	struct rte_mbuf *m = rig_mbuf(rig, size, segment_size, 0);

	for (unsigned int i = 0; i < 6; i++)
		*rte_pktmbuf_mtod_offset(i < segment_size ? m : m->next, uint8_t *,
			i % segment_size) = address[i];
	return m;
}

static uint16_t
transmit(struct rig *rig, struct rte_mbuf *m)
{
	return vhu_tx_burst(rig->queue, &m, 1);
}

static void
each_received_size_is_in_its_counter(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(edges); i++) {
		struct rig *rig = new_rig(RECEIVES, 0);

		send_to(rig, 0, edges[i].size, unicast);
		assert_int_equal(receive(rig, 32), 1);
		assert_int_equal(count(rig, edges[i].counter), 1);
		assert_int_equal(frames(rig), 1);
		rig_free(rig);
	}
}

static void
each_transmitted_size_is_in_its_counter(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(edges); i++) {
		struct rig *rig = new_rig(TRANSMITS, MERGEABLE);

		rig_buffer(rig, 0, RIG_SLOT, WRITE);
		assert_int_equal(transmit(rig,
			frame_to(rig, edges[i].size, 2048, unicast)), 1);
		assert_int_equal(count(rig, edges[i].counter), 1);
		assert_int_equal(frames(rig), 1);
		rig_free(rig);
	}
}

static void
sizes_of_a_mixed_burst_are_apart(void **state)
{
	struct rig *rig = new_rig(RECEIVES, 0);

	(void)state;
	for (uint16_t i = 0; i < 200; i++)
		send_to(rig, i, i % 4 == 0 ? 1518 : i % 4 == 1 ? 570 : 64, unicast);
	assert_int_equal(receive(rig, 200), 200);
	assert_int_equal(count(rig, VHU_SIZE_64), 100);
	assert_int_equal(count(rig, VHU_SIZE_512_1023), 50);
	assert_int_equal(count(rig, VHU_SIZE_1024_1518), 50);
	assert_int_equal(frames(rig), 200);
	rig_free(rig);
}

static void
frames_to_groups_are_counted_apart_from_those_to_everybody(void **state)
{
	struct rig *rig = new_rig(RECEIVES, 0);

	(void)state;
	send_to(rig, 0, 64, unicast);
	assert_int_equal(receive(rig, 32), 1);
	assert_true(count(rig, VHU_CAST_MULTI) == 0 && count(rig, VHU_CAST_BROAD) == 0);
	send_to(rig, 1, 64, multicast);
	send_to(rig, 2, 64, broadcast);
	send_to(rig, 3, 64, unicast);
	send_to(rig, 4, 64, multicast);
	assert_int_equal(receive(rig, 32), 4);
	assert_int_equal(count(rig, VHU_CAST_MULTI), 2);
	assert_int_equal(count(rig, VHU_CAST_BROAD), 1);
	assert_int_equal(frames(rig), 5);
	rig_free(rig);
}

static void
address_over_two_segments_is_read(void **state)
{
	struct rig *rig = new_rig(TRANSMITS, MERGEABLE);

	(void)state;
	rig_buffer(rig, 0, RIG_SLOT, WRITE);
	rig_buffer(rig, 1, RIG_SLOT, WRITE);
	assert_int_equal(transmit(rig, frame_to(rig, 6, 4, broadcast)), 1);
	assert_int_equal(transmit(rig, frame_to(rig, 6, 4, multicast)), 1);
	assert_int_equal(count(rig, VHU_CAST_BROAD), 1);
	assert_int_equal(count(rig, VHU_CAST_MULTI), 1);
	assert_int_equal(frames(rig), 2);
	rig_free(rig);
}

static void
frame_without_a_whole_address_is_to_no_group(void **state)
{
	struct rig *rig = new_rig(RECEIVES, 0);

	(void)state;
	send_to(rig, 0, 6, broadcast);
	rig->descriptors[0].len = HEADER + 5;
	assert_int_equal(receive(rig, 32), 1);
	assert_true(count(rig, VHU_CAST_MULTI) == 0 && count(rig, VHU_CAST_BROAD) == 0);
	assert_int_equal(count(rig, VHU_SIZE_UNDER), 1);
	rig_free(rig);
}

static void
each_number_of_received_frames_is_in_its_counter(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(bursts); i++) {
		struct rig *rig = new_rig(RECEIVES, 0);

		for (uint16_t k = 0; k < bursts[i].frames; k++)
			send_to(rig, k, 64, unicast);
		assert_int_equal(receive(rig, bursts[i].frames + 1), bursts[i].frames);
		assert_int_equal(count(rig, bursts[i].counter), 1);
		assert_int_equal(count(rig, VHU_BURST_FULL), 0);
		assert_int_equal(count(rig, VHU_SIZE_64), bursts[i].frames);
		rig_free(rig);
	}
}

static void
each_number_of_transmitted_frames_is_in_its_counter(void **state)
{
	struct rte_mbuf *packets[RIG_SIZE];

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(bursts); i++) {
		struct rig *rig = new_rig(TRANSMITS, MERGEABLE);

		for (uint16_t k = 0; k < bursts[i].frames; k++) {
			rig_buffer(rig, k, RIG_SLOT, WRITE);
			packets[k] = frame_to(rig, 64, 2048, unicast);
		}
		assert_int_equal(vhu_tx_burst(rig->queue, packets, bursts[i].frames),
			bursts[i].frames);
		assert_int_equal(count(rig, bursts[i].counter), 1);
		assert_int_equal(count(rig, VHU_BURST_FULL), 1);
		assert_int_equal(count(rig, VHU_SIZE_64), bursts[i].frames);
		rig_free(rig);
	}
}

static void
burst_that_could_have_moved_more_is_full(void **state)
{
	struct rig *rig = new_rig(RECEIVES, 0);

	(void)state;
	for (uint16_t i = 0; i < 40; i++)
		send_to(rig, i, 64, unicast);
	assert_int_equal(receive(rig, 32), 32);
	assert_int_equal(count(rig, VHU_BURST_FULL), 1);
	assert_int_equal(receive(rig, 32), 8);
	assert_int_equal(count(rig, VHU_BURST_FULL), 1);
	assert_int_equal(count(rig, VHU_BURST_8_15), 1);
	assert_int_equal(count(rig, VHU_BURST_32_63), 1);
	rig_free(rig);
}

static void
burst_that_moves_nothing_is_in_no_counter(void **state)
{
	struct rig *rig = new_rig(RECEIVES, 0);

	(void)state;
	assert_int_equal(receive(rig, 32), 0);
	assert_int_equal(receive(rig, 32), 0);
	for (unsigned int i = 0; i < VHU_HISTOGRAMS; i++)
		assert_int_equal(count(rig, i), 0);
	assert_int_equal(atomic_load(&rig->queue->ring.counters.empty) +
		vhu_reader_looked(&rig->queue->ring.reader), 2);
	rig_free(rig);
}

static void
frames_that_stay_with_the_caller_are_not_counted(void **state)
{
	struct rig *rig = new_rig(TRANSMITS, MERGEABLE);
	struct rte_mbuf *packets[300];

	(void)state;
	for (uint16_t i = 0; i < RTE_DIM(packets); i++)
		packets[i] = frame_to(rig, i < 3 ? 64 : 300, 2048, i < 2 ? unicast : broadcast);
	for (uint16_t i = 0; i < 3; i++)
		rig_buffer(rig, i, RIG_SLOT, WRITE);
	assert_int_equal(vhu_tx_burst(rig->queue, packets, RTE_DIM(packets)), 3);
	assert_int_equal(count(rig, VHU_SIZE_64), 3);
	assert_int_equal(count(rig, VHU_CAST_BROAD), 1);
	assert_int_equal(count(rig, VHU_BURST_2_3), 1);
	assert_int_equal(count(rig, VHU_BURST_FULL), 0);
	assert_int_equal(frames(rig), 3);
	/* No room at all. */
	assert_int_equal(vhu_tx_burst(rig->queue, packets + 3, 10), 0);
	assert_int_equal(frames(rig), 3);
	rte_pktmbuf_free_bulk(packets + 3, RTE_DIM(packets) - 3);
	rig_free(rig);
}

static void
dropped_frames_are_not_counted(void **state)
{
	/* Not mergeable: the buffer that comes next holds the frame, or nothing ever will. */
	struct rig *rig = new_rig(TRANSMITS, 0);
	struct rte_mbuf *packets[4];

	(void)state;
	for (uint16_t i = 0; i < RTE_DIM(packets); i++) {
		rig_buffer(rig, i, 512, WRITE);
		packets[i] = frame_to(rig, i == 1 ? 1500 : 64, 2048, i == 1 ? broadcast : unicast);
	}
	assert_int_equal(vhu_tx_burst(rig->queue, packets, RTE_DIM(packets)), 4);
	assert_int_equal(rig_drops(rig, VHU_DROP_NO_BUFFER_ROOM), 1);
	assert_int_equal(frames(rig), 3);
	assert_int_equal(count(rig, VHU_SIZE_64), 3);
	assert_int_equal(count(rig, VHU_CAST_BROAD), 0);
	assert_int_equal(count(rig, VHU_BURST_2_3), 1);
	rig_free(rig);
}

static void
burst_whose_every_frame_is_dropped_is_in_no_counter(void **state)
{
	struct rig *rig = new_rig(TRANSMITS, 0);

	(void)state;
	rig_buffer(rig, 0, 512, WRITE);
	assert_int_equal(transmit(rig, frame_to(rig, 1500, 2048, multicast)), 1);
	for (unsigned int i = 0; i < VHU_HISTOGRAMS; i++)
		assert_int_equal(count(rig, i), 0);
	rig_free(rig);
}

static void
packed_rings_are_counted_as_well(void **state)
{
	struct rig *rig = rig_new_packed(RECEIVES, 0, 64);
	struct rte_mbuf *packets[32];

	(void)state;
	vhu_histogram_specialise(rig->queue, &rig->snapshot);
	for (uint16_t i = 0; i < 8; i++)
		rig_put_frame(rig, i, 128);
	assert_int_equal(vhu_rx_burst(rig->queue, packets, 32), 8);
	rte_pktmbuf_free_bulk(packets, 8);
	assert_int_equal(count(rig, VHU_SIZE_128_255), 8);
	assert_int_equal(count(rig, VHU_BURST_8_15), 1);
	assert_int_equal(frames(rig), 8);
	rig_free(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_received_size_is_in_its_counter),
		cmocka_unit_test(each_transmitted_size_is_in_its_counter),
		cmocka_unit_test(sizes_of_a_mixed_burst_are_apart),
		cmocka_unit_test(frames_to_groups_are_counted_apart_from_those_to_everybody),
		cmocka_unit_test(address_over_two_segments_is_read),
		cmocka_unit_test(frame_without_a_whole_address_is_to_no_group),
		cmocka_unit_test(each_number_of_received_frames_is_in_its_counter),
		cmocka_unit_test(each_number_of_transmitted_frames_is_in_its_counter),
		cmocka_unit_test(burst_that_could_have_moved_more_is_full),
		cmocka_unit_test(burst_that_moves_nothing_is_in_no_counter),
		cmocka_unit_test(frames_that_stay_with_the_caller_are_not_counted),
		cmocka_unit_test(dropped_frames_are_not_counted),
		cmocka_unit_test(burst_whose_every_frame_is_dropped_is_in_no_counter),
		cmocka_unit_test(packed_rings_are_counted_as_well),
	};

	return cmocka_run_group_tests_name("net histogram", tests, rig_group_setup, NULL);
}
