/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Receiving with IN_ORDER: one used entry stands for a burst (virtio 1.3, 2.7.9 and 2.8.9). */

#include <string.h>

#include "net_rig.h"

#define HEADER 12
#define IN_ORDER VHU_BIT(VHU_F_IN_ORDER)
#define UNTOUCHED 0xa5a5a5a5u

static struct rte_mbuf *packets[512];

static uint16_t
receive(struct rig *rig, uint16_t count)
{
	uint16_t i, n = vhu_rx_burst(rig->queue, packets, count);

	for (i = 0; i < n; i++)
		rte_pktmbuf_free(packets[i]);
	return n;
}

/* Fill the used ring with something that must stay where nothing is written. */
static void
taint(struct rig *rig)
{
	unsigned int i;

	for (i = 0; i < RIG_SIZE; i++)
		rig->used->ring[i] = (struct vring_used_elem){ UNTOUCHED, UNTOUCHED };
}

/* Of the entries of a batch of @p count at @p first, only the first is written. */
static void
expect_batch(const struct rig *rig, unsigned int first, unsigned int count, uint16_t last)
{
	unsigned int i;

	assert_int_equal(rig->used->ring[first % RIG_SIZE].id, last);
	assert_int_equal(rig->used->ring[first % RIG_SIZE].len, 0);
	for (i = 1; i < count; i++)
		assert_int_equal(rig->used->ring[(first + i) % RIG_SIZE].id, UNTOUCHED);
}

static void
split_burst_has_one_used_element(void **state)
{
	struct rig *rig = rig_new(1, IN_ORDER);
	uint16_t i;

	(void)state;
	taint(rig);
	for (i = 0; i < 100; i++)
		rig_send(rig, i, 60);
	assert_int_equal(receive(rig, 32), 32);
	expect_batch(rig, 0, 32, 31);
	assert_int_equal(rig->used->idx, 32);
	assert_int_equal(receive(rig, 512), 68);
	expect_batch(rig, 32, 68, 99);
	assert_int_equal(rig->used->idx, 100);
	rig_free(rig);
}

static void
split_batch_passes_the_end(void **state)
{
	struct rig *rig = rig_new(1, IN_ORDER);
	uint16_t i;

	(void)state;
	rig_start_at(rig, 0xfff8);
	taint(rig);
	for (i = 0; i < 20; i++)
		rig_send(rig, (0xf8 + i) % RIG_SIZE, 60);
	assert_int_equal(receive(rig, 64), 20);
	expect_batch(rig, 0xf8, 20, (0xf8 + 19) % RIG_SIZE);
	assert_int_equal(rig->used->idx, 12);
	rig_free(rig);
}

/* Chains and dropped ones belong to the batch. */
static void
split_batch_holds_all_kinds(void **state)
{
	struct rig *rig = rig_new(1, IN_ORDER);

	(void)state;
	taint(rig);
	rig_send(rig, 0, 60);
	rig_descriptor(rig, 1, rig_slot(1), HEADER, VRING_DESC_F_NEXT, 2);
	rig_descriptor(rig, 2, rig_slot(2), 100, 0, 0);
	memset(rig_host(rig, rig_slot(1)), 0, HEADER);
	rig_available(rig, 1);
	rig_send(rig, 3, 60);
	rig_buffer(rig, 4, HEADER - 1, 0);
	assert_int_equal(receive(rig, 64), 3);
	expect_batch(rig, 0, 4, 4);
	assert_int_equal(rig->used->idx, 4);
	rig_free(rig);
}

static void
packed_burst_has_one_used_descriptor(void **state)
{
	struct rig *rig = rig_new_packed(1, IN_ORDER, 33);
	uint16_t round, i;

	(void)state;
	for (round = 0; round < 10; round++) {
		uint16_t first = rig->filled, at = first;
		bool wrap = rig->filled_wrap;

		for (i = 0; i < 30; i++)
			rig_put_frame(rig, i, 60);
		assert_int_equal(receive(rig, 64), 30);
		for (i = 0; i < 30; i++) {
			uint16_t flags = rig->packed[at].flags;

			/* The others still look available. */
			assert_int_equal(flags, i == 0 ?
				(wrap ? VHU_PACKED_AVAIL | VHU_PACKED_USED : 0) :
				(wrap ? VHU_PACKED_AVAIL : VHU_PACKED_USED));
			vhu_packed_advance(&at, &wrap, 1, 33);
		}
		rig_expect_used(rig, 30, 29, 0);
		assert_int_equal(receive(rig, 64), 0);
	}
	rig_free(rig);
}

static void
packed_batch_may_be_the_whole_ring(void **state)
{
	struct rig *rig = rig_new_packed(1, IN_ORDER, 32);
	uint16_t round, i;

	(void)state;
	for (round = 0; round < 5; round++) {
		for (i = 0; i < 32; i++)
			rig_put_frame(rig, i, 60);
		assert_int_equal(receive(rig, 64), 32);
		rig_expect_used(rig, 32, 31, 0);
	}
	rig_free(rig);
}

static void
packed_batch_holds_all_kinds(void **state)
{
	struct rig *rig = rig_new_packed(1, IN_ORDER, 11);
	const struct rig_piece pieces[] = { { rig_slot(20), HEADER, 0 }, { rig_slot(21), 90, 0 } };
	unsigned int round;

	(void)state;
	memset(rig_host(rig, rig_slot(20)), 0, HEADER);
	for (round = 0; round < 11; round++) {
		rig_put_frame(rig, 0, 60);
		rig_chain(rig, 1, pieces, 2);
		rig_put_frame(rig, 3, 60);
		rig_put(rig, 4, HEADER - 1, 0);
		assert_int_equal(receive(rig, 64), 3);
		rig_expect_used(rig, 5, 4, 0);
	}
	rig_free(rig);
}

/* A drop alone is a batch, too. */
static void
batch_of_drops_is_given_back(void **state)
{
	struct rig *rig = rig_new_packed(1, IN_ORDER, 8);

	(void)state;
	rig_put(rig, 2, HEADER, 0);
	rig_put(rig, 3, HEADER, 0);
	assert_int_equal(receive(rig, 64), 0);
	rig_expect_used(rig, 2, 3, 0);
	rig_free(rig);
}

/* What was taken before the ring broke is given back. */
static void
batch_ends_before_a_bad_chain(void **state)
{
	struct rig *rig = rig_new(1, IN_ORDER);
	uint16_t i;

	(void)state;
	taint(rig);
	for (i = 0; i < 5; i++)
		rig_send(rig, i, 60);
	rig_available(rig, RIG_SIZE);
	assert_int_equal(receive(rig, 64), 5);
	assert_int_equal(rig_broken(rig), VHU_BROKEN_HEAD);
	expect_batch(rig, 0, 6, 4);
	assert_int_equal(rig->used->idx, 5);
	rig_free(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_burst_has_one_used_element),
		cmocka_unit_test(split_batch_passes_the_end),
		cmocka_unit_test(split_batch_holds_all_kinds),
		cmocka_unit_test(packed_burst_has_one_used_descriptor),
		cmocka_unit_test(packed_batch_may_be_the_whole_ring),
		cmocka_unit_test(packed_batch_holds_all_kinds),
		cmocka_unit_test(batch_of_drops_is_given_back),
		cmocka_unit_test(batch_ends_before_a_bad_chain),
	};

	return cmocka_run_group_tests(tests, rig_group_setup, NULL);
}
