/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Transmitting to a guest with a packed ring: what lies in its buffers and what it is told. */

#include <stdlib.h>
#include <string.h>

#include <rte_vect.h>

#include "net_rig.h"

#define HEADER 12
#define WRITE VRING_DESC_F_WRITE

static struct rte_mbuf *packets[512];

/* Send one patterned frame; @return how many were taken. */
static uint16_t
transmit(struct rig *rig, uint32_t size, unsigned int seed)
{
	struct rte_mbuf *m = rig_mbuf(rig, size, 2000, seed);
	uint16_t n = vhu_tx_burst(rig->queue, &m, 1);

	if (n == 0)
		rte_pktmbuf_free(m);
	return n;
}

/* A slot must hold a header of zeros that names so many buffers, and the frame. */
static void
expect_in_slot(struct rig *rig, unsigned int slot, uint16_t buffers, uint32_t size,
	unsigned int seed)
{
	struct virtio_net_hdr_mrg_rxbuf expected = { .num_buffers = buffers };
	const uint8_t *host = rig_host(rig, rig_slot(slot));

	assert_memory_equal(host, &expected, HEADER);
	assert_true(rig_matches(host + HEADER, size, seed));
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
		rig = rig_new_packed(0, 0, 7);
		for (size = 1; size <= 1900; size++) {
			uint16_t id = (uint16_t)(size % 5);

			memset(rig_host(rig, rig_slot(id)), 0xa5, RIG_SLOT);
			rig_put(rig, id, RIG_SLOT, WRITE);
			assert_int_equal(transmit(rig, size, size), 1);
			rig_expect_used(rig, 1, id, HEADER + size);
			expect_in_slot(rig, id, 1, size, size);
			assert_int_equal(*rig_host(rig, rig_slot(id) + HEADER + size), 0xa5);
		}
		rig_free(rig);
	}
	rte_vect_set_max_simd_bitwidth(before);
}

static void
bursts_pass_the_end_of_an_odd_ring(void **state)
{
	struct rig *rig = rig_new_packed(0, 0, 131);
	uint16_t burst, i;

	(void)state;
	for (burst = 1; burst <= 131; burst += 13) {
		for (i = 0; i < burst; i++) {
			rig_put(rig, i, RIG_SLOT, WRITE);
			packets[i] = rig_mbuf(rig, 60u + i, 2000, i);
		}
		assert_int_equal(vhu_tx_burst(rig->queue, packets, burst), burst);
		for (i = 0; i < burst; i++) {
			rig_expect_used(rig, 1, i, HEADER + 60u + i);
			expect_in_slot(rig, i, 1, 60u + i, i);
		}
	}
	rig_free(rig);
}

static void
packets_without_a_buffer_stay_with_the_caller(void **state)
{
	struct rig *rig = rig_new_packed(0, 0, 32);
	uint16_t i;

	(void)state;
	for (i = 0; i < 8; i++)
		packets[i] = rig_mbuf(rig, 60, 2000, i);
	for (i = 0; i < 5; i++)
		rig_put(rig, i, RIG_SLOT, WRITE);
	assert_int_equal(vhu_tx_burst(rig->queue, packets, 8), 5);
	for (i = 5; i < 8; i++)
		rte_pktmbuf_free(packets[i]);
	assert_int_equal(transmit(rig, 60, 1), 0);
	rig_free(rig);
}

static void
frame_is_spread_over_mergeable_buffers(void **state)
{
	struct rig *rig = rig_new_packed(0, VHU_BIT(VIRTIO_NET_F_MRG_RXBUF), 7);
	uint8_t *frame = malloc(4200);
	uint16_t round, i;
	uint32_t at;

	(void)state;
	for (round = 0; round < 7; round++) {
		for (i = 0; i < 5; i++)
			rig_put(rig, i, 1000, WRITE);
		packets[0] = rig_mbuf(rig, 4200, 1500, round);
		packets[1] = rig_mbuf(rig, 70, 2000, 90);
		rig_put(rig, 6, RIG_SLOT, WRITE);
		assert_int_equal(vhu_tx_burst(rig->queue, packets, 2), 2);
		memcpy(frame, rig_host(rig, rig_slot(0) + HEADER), 1000 - HEADER);
		for (i = 1, at = 1000 - HEADER; i < 5; i++, at += 1000)
			memcpy(frame + at, rig_host(rig, rig_slot(i)),
				4200 - at < 1000 ? 4200 - at : 1000);
		assert_true(rig_matches(frame, 4200, round));
		assert_int_equal(*rig_host(rig, rig_slot(0) + 10), 5);
		for (i = 0; i < 4; i++)
			rig_expect_used(rig, 1, i, 1000);
		rig_expect_used(rig, 1, 4, 212);
		rig_expect_used(rig, 1, 6, HEADER + 70);
		expect_in_slot(rig, 6, 1, 70, 90);
	}
	free(frame);
	rig_free(rig);
}

static void
too_few_mergeable_buffers_are_left_alone(void **state)
{
	struct rig *rig = rig_new_packed(0, VHU_BIT(VIRTIO_NET_F_MRG_RXBUF), 16);
	uint32_t length;
	uint16_t i, id;

	(void)state;
	for (i = 0; i < 4; i++)
		rig_put(rig, i, 1000, WRITE);
	assert_int_equal(transmit(rig, 5000, 0), 0);
	assert_false(rig_reap(rig, 1, &id, &length));
	for (; i < 6; i++)
		rig_put(rig, i, 1000, WRITE);
	assert_int_equal(transmit(rig, 5000, 0), 1);
	assert_int_equal(*rig_host(rig, rig_slot(0) + 10), 6);
	rig_free(rig);
}

static void
frame_larger_than_all_buffers_is_dropped(void **state)
{
	struct rig *rig = rig_new_packed(0, VHU_BIT(VIRTIO_NET_F_MRG_RXBUF), 8);
	const struct rig_piece two[] = {
		{ rig_slot(0), 100, WRITE }, { rig_slot(1), 100, WRITE },
	};
	uint16_t i;

	(void)state;
	for (i = 0; i < 4; i++)
		rig_chain(rig, i, two, 2);
	assert_int_equal(transmit(rig, 1000, 0), 1);
	assert_int_equal(rig_drops(rig, VHU_DROP_NO_BUFFER_ROOM), 1);
	assert_int_equal(transmit(rig, 100, 0), 1);
	rig_expect_used(rig, 2, 0, HEADER + 100);
	rig_free(rig);
}

static void
largest_segment_is_spread_over_the_ring(void **state)
{
	struct rig *rig = rig_new_packed(0, VHU_BIT(VIRTIO_NET_F_MRG_RXBUF), 99);
	uint16_t round, i;

	(void)state;
	for (round = 0; round < 3; round++) {
		for (i = 0; i < 33; i++)
			rig_put(rig, i, RIG_SLOT, WRITE);
		assert_int_equal(transmit(rig, 65535 + 14, 1), 1);
		assert_int_equal(*rig_host(rig, rig_slot(0) + 10), 33);
		for (i = 0; i < 32; i++)
			rig_expect_used(rig, 1, i, RIG_SLOT);
		rig_expect_used(rig, 1, 32, HEADER + 65549 - 32 * RIG_SLOT);
		/* Slots are neighbours, so the frame lies in one piece. */
		assert_true(rig_matches(rig_host(rig, rig_slot(0)) + HEADER, 65549, 1));
	}
	rig_free(rig);
}

static void
segmented_packet_meets_a_chain(void **state)
{
	struct rig *rig = rig_new_packed(0, 0, 5);
	const struct rig_piece pieces[] = {
		{ rig_slot(0), HEADER, WRITE }, { rig_slot(1), 500, WRITE },
		{ rig_slot(2), 1500, WRITE },
	};
	uint8_t frame[1400];
	unsigned int round;

	(void)state;
	for (round = 0; round < 5; round++) {
		rig_chain(rig, 3, pieces, 3);
		packets[0] = rig_mbuf(rig, 1400, 300, round);
		assert_int_equal(vhu_tx_burst(rig->queue, packets, 1), 1);
		memcpy(frame, rig_host(rig, rig_slot(1)), 500);
		memcpy(frame + 500, rig_host(rig, rig_slot(2)), 900);
		assert_true(rig_matches(frame, 1400, round));
		rig_expect_used(rig, 3, 3, HEADER + 1400);
	}
	rig_free(rig);
}

static void
indirect_buffer_is_filled(void **state)
{
	struct rig *rig = rig_new_packed(0, VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC), 5);
	struct vring_packed_desc *table =
		(struct vring_packed_desc *)rig_host(rig, rig_slot(9));

	(void)state;
	table[0] = (struct vring_packed_desc){ rig_slot(0), HEADER, 0, WRITE };
	table[1] = (struct vring_packed_desc){ rig_slot(1), 1600, 0, WRITE };
	rig_chain(rig, 2, &(struct rig_piece){ rig_slot(9), 2 * sizeof(*table),
		VRING_DESC_F_INDIRECT }, 1);
	assert_int_equal(transmit(rig, 1400, 8), 1);
	assert_true(rig_matches(rig_host(rig, rig_slot(1)), 1400, 8));
	rig_expect_used(rig, 1, 2, HEADER + 1400);
	rig_free(rig);
}

static void
in_order_guest_learns_each_length(void **state)
{
	struct rig *rig = rig_new_packed(0, VHU_BIT(VHU_F_IN_ORDER), 16);
	uint16_t i;

	(void)state;
	for (i = 0; i < 9; i++) {
		rig_put(rig, i, RIG_SLOT, WRITE);
		packets[i] = rig_mbuf(rig, 60u + i, 2000, i);
	}
	assert_int_equal(vhu_tx_burst(rig->queue, packets, 9), 9);
	for (i = 0; i < 9; i++)
		rig_expect_used(rig, 1, i, HEADER + 60u + i);
	rig_free(rig);
}

static void
readable_buffer_breaks_the_ring(void **state)
{
	struct rig *rig = rig_new_packed(0, 0, 16);

	(void)state;
	rig_put(rig, 0, RIG_SLOT, 0);
	assert_int_equal(transmit(rig, 60, 0), 0);
	assert_int_equal(rig_broken(rig), VHU_BROKEN_DIRECTION);
	rig_free(rig);
}

static void
notification_follows_the_event_flags(void **state)
{
	struct rig *rig = rig_new_packed(0, 0, 16);
	uint16_t i;

	(void)state;
	for (i = 0; i < 3; i++)
		rig_put(rig, i, RIG_SLOT, WRITE);
	rig->driver_event->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
	assert_int_equal(transmit(rig, 60, 0), 1);
	assert_int_equal(rig_calls(rig), 1); /* the first one always */
	assert_int_equal(transmit(rig, 60, 0), 1);
	assert_int_equal(rig_calls(rig), 0);
	rig->driver_event->flags = VRING_PACKED_EVENT_FLAG_ENABLE;
	assert_int_equal(transmit(rig, 60, 0), 1);
	assert_int_equal(rig_calls(rig), 1);
	rig_free(rig);
}

static void
event_descriptor_notifies_exactly_when_crossed(void **state)
{
	struct rig *rig = rig_new_packed(0, VHU_BIT(VIRTIO_RING_F_EVENT_IDX), 7);
	uint16_t i;

	(void)state;
	rig_put(rig, 0, RIG_SLOT, WRITE);
	assert_int_equal(transmit(rig, 60, 0), 1);
	rig_calls(rig);
	rig->driver_event->flags = VRING_PACKED_EVENT_FLAG_DESC;
	/* Descriptor 2 of the second lap. */
	rig->driver_event->off_wrap = 2;
	for (i = 1; i < 12; i++) {
		rig_put(rig, i % 7, RIG_SLOT, WRITE);
		assert_int_equal(transmit(rig, 60, 0), 1);
		assert_int_equal(rig_calls(rig), i == 9);
	}
	rig_free(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_size_arrives_whole_in_every_body),
		cmocka_unit_test(bursts_pass_the_end_of_an_odd_ring),
		cmocka_unit_test(packets_without_a_buffer_stay_with_the_caller),
		cmocka_unit_test(frame_is_spread_over_mergeable_buffers),
		cmocka_unit_test(too_few_mergeable_buffers_are_left_alone),
		cmocka_unit_test(frame_larger_than_all_buffers_is_dropped),
		cmocka_unit_test(largest_segment_is_spread_over_the_ring),
		cmocka_unit_test(segmented_packet_meets_a_chain),
		cmocka_unit_test(indirect_buffer_is_filled),
		cmocka_unit_test(in_order_guest_learns_each_length),
		cmocka_unit_test(readable_buffer_breaks_the_ring),
		cmocka_unit_test(notification_follows_the_event_flags),
		cmocka_unit_test(event_descriptor_notifies_exactly_when_crossed),
	};

	return cmocka_run_group_tests(tests, rig_group_setup, NULL);
}
