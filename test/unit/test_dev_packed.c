/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "device_rig.h"

#define PACKED VHU_BIT(VIRTIO_F_RING_PACKED)
#define FRESH 0x80008000u

static int
offer_packed(void **state)
{
	rig_setup(state);
	rig.features = RIG_OFFER | PACKED | VHU_BIT(VHU_F_IN_ORDER);
	rig_renew_device();
	return 0;
}

static void
negotiate(uint64_t features)
{
	assert_int_equal(rig_u64(VHU_SET_PROTOCOL_FEATURES, rig_protocol()), 0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, RIG_FEATURES | RIG_PROTOCOL | features), 0);
	rig_share();
}

static uint64_t
start(uint32_t size, uint32_t base)
{
	struct vhu_wire_vring_addr address = rig_address(0);

	assert_int_equal(rig_state(VHU_SET_VRING_NUM, 0, size), 0);
	assert_int_equal(rig_state(VHU_SET_VRING_BASE, 0, base), 0);
	assert_int_equal(rig_ask(VHU_SET_VRING_ADDR, &address, sizeof(address), -1), 0);
	return rig_fd(VHU_SET_VRING_KICK, 0, rig_eventfd());
}

static void
packed_ring_shows_its_three_areas(void **state)
{
	const struct vhu_snapshot *seen;

	(void)state;
	negotiate(PACKED | VHU_BIT(VHU_F_IN_ORDER));
	assert_int_equal(start(RIG_RING_SIZE, FRESH), 0);
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	seen = rig_seen(0);
	assert_int_equal(seen->format, VHU_PACKED);
	assert_true(seen->in_order);
	assert_int_equal((uintptr_t)seen->driver_event - (uintptr_t)seen->packed, 0x2000);
	assert_int_equal((uintptr_t)seen->device_event - (uintptr_t)seen->packed, 0x3000);
}

static void
event_areas_are_four_bytes(void **state)
{
	struct vhu_wire_vring_addr address = rig_address(0);

	(void)state;
	negotiate(PACKED);
	assert_int_equal(rig_state(VHU_SET_VRING_NUM, 0, RIG_RING_SIZE), 0);
	/* A split ring would reach far beyond the end of memory. */
	address.used = RIG_USER + RIG_MEMORY - 4;
	address.avail = RIG_USER + RIG_MEMORY - 8;
	assert_int_equal(rig_ask(VHU_SET_VRING_ADDR, &address, sizeof(address), -1), 0);
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 0, rig_eventfd()), 0);
}

static void
misaligned_driver_event_area_does_not_start(void **state)
{
	struct vhu_wire_vring_addr address = rig_address(0);

	(void)state;
	negotiate(PACKED);
	assert_int_equal(rig_state(VHU_SET_VRING_NUM, 0, RIG_RING_SIZE), 0);
	address.avail += 2;
	assert_int_equal(rig_ask(VHU_SET_VRING_ADDR, &address, sizeof(address), -1), 0);
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 0, rig_eventfd()), 1);
}

static void
packed_ring_may_have_any_size(void **state)
{
	(void)state;
	negotiate(PACKED);
	assert_int_equal(start(101, FRESH), 0);
	assert_int_equal(rig_info(0).size, 101);
}

static void
size_may_come_before_the_features_that_allow_it(void **state)
{
	(void)state;
	assert_int_equal(rig_state(VHU_SET_VRING_NUM, 0, 101), 0);
	assert_int_equal(rig_state(VHU_SET_VRING_BASE, 0, FRESH), 0);
	negotiate(0);
	/* Split after all. */
	assert_int_equal(start(256, 0), 0);
	assert_int_equal(rig_state(VHU_SET_VRING_NUM, 1, 101), 1);
	assert_int_equal(rig_state(VHU_SET_VRING_BASE, 1, FRESH), 1);
}

static void
split_ring_of_an_odd_size_does_not_start(void **state)
{
	struct vhu_wire_vring_addr address = rig_address(0);

	(void)state;
	assert_int_equal(rig_state(VHU_SET_VRING_NUM, 0, 101), 0);
	negotiate(0);
	assert_int_equal(rig_ask(VHU_SET_VRING_ADDR, &address, sizeof(address), -1), 0);
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 0, rig_eventfd()), 1);
}

static void
base_carries_both_positions(void **state)
{
	(void)state;
	negotiate(PACKED);
	/* Used: 5 in the lap before; available: 3 in this one. */
	assert_int_equal(start(RIG_RING_SIZE, 0x80050003u), 0);
	assert_int_equal(rig.rings[0].next_avail, 3);
	assert_false(rig.rings[0].avail_wrap);
	assert_int_equal(rig.rings[0].next_used, 5);
	assert_true(rig.rings[0].used_wrap);
	assert_int_equal(rig_base(0), 0x80050003u);
	assert_int_equal(rig_base(0), 0x80050003u);
}

static void
base_of_one_position_means_nothing_in_flight(void **state)
{
	(void)state;
	negotiate(PACKED);
	assert_int_equal(start(RIG_RING_SIZE, 0x8007), 0);
	assert_int_equal(rig.rings[0].next_used, 7);
	assert_true(rig.rings[0].used_wrap);
	assert_int_equal(rig_base(0), 0x80078007u);
}

static void
packed_ring_without_a_base_begins_in_the_first_lap(void **state)
{
	struct vhu_wire_vring_addr address = rig_address(0);

	(void)state;
	negotiate(PACKED);
	assert_int_equal(rig_state(VHU_SET_VRING_NUM, 0, RIG_RING_SIZE), 0);
	assert_int_equal(rig_ask(VHU_SET_VRING_ADDR, &address, sizeof(address), -1), 0);
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 0, rig_eventfd()), 0);
	assert_true(rig.rings[0].avail_wrap && rig.rings[0].used_wrap);
	assert_int_equal(rig_base(0), FRESH);
}

static void
base_outside_the_ring_does_not_start(void **state)
{
	static const uint32_t bases[] = {
		0x8000 | RIG_RING_SIZE, 0x80000000u | RIG_RING_SIZE << 16 | 0x8000,
		/* available behind used */
		0x80058003u, 0x80030005u,
	};
	unsigned int i;

	(void)state;
	negotiate(PACKED);
	for (i = 0; i < 4; i++)
		assert_int_equal(start(RIG_RING_SIZE, bases[i]), 1);
	assert_false(rig_info(0).started);
}

static void
in_order_device_takes_again_what_is_in_flight(void **state)
{
	(void)state;
	rig.in_order = true;
	rig_renew_device();
	negotiate(PACKED);
	assert_int_equal(start(RIG_RING_SIZE, 0x80058009u), 0);
	assert_int_equal(rig.rings[0].next_avail, 5);
	assert_int_equal(rig.rings[0].next_used, 5);
}

#define PACKED_TEST(test) cmocka_unit_test_setup_teardown(test, offer_packed, rig_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PACKED_TEST(packed_ring_shows_its_three_areas),
		PACKED_TEST(event_areas_are_four_bytes),
		PACKED_TEST(misaligned_driver_event_area_does_not_start),
		PACKED_TEST(packed_ring_may_have_any_size),
		PACKED_TEST(size_may_come_before_the_features_that_allow_it),
		PACKED_TEST(split_ring_of_an_odd_size_does_not_start),
		PACKED_TEST(base_carries_both_positions),
		PACKED_TEST(base_of_one_position_means_nothing_in_flight),
		PACKED_TEST(packed_ring_without_a_base_begins_in_the_first_lap),
		PACKED_TEST(base_outside_the_ring_does_not_start),
		PACKED_TEST(in_order_device_takes_again_what_is_in_flight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
