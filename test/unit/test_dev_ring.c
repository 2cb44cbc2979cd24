/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "device_rig.h"

static void
prepare(void)
{
	rig_negotiate();
	rig_share();
}

/* KICK is answered with failure and the ring does not start. */
static void
assert_kick_refused(uint32_t index)
{
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, index, rig_eventfd()), 1);
	assert_false(rig_info(index).started);
	assert_int_equal(rig_info(index).kick_fd, -1);
	assert_ptr_equal(rig_seen(index), &vhu_snapshot_parked);
}

static void
canonical_order_starts_once_and_enables_last(void **state)
{
	(void)state;
	prepare();
	rig_start_ring(0, 0);
	assert_ptr_equal(rig_seen(0), &vhu_snapshot_parked);
	assert_false(vhu_device_ring_running(rig.device, 0));
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	assert_string_equal(rig.told, "features=140008000; memory=1; "
		"ring started 0=100; ring enabled 0=0; ");
	assert_true(vhu_device_ring_running(rig.device, 0));
}

static void
running_ring_shows_its_snapshot(void **state)
{
	const struct vhu_snapshot *seen;
	int call = rig_eventfd();

	(void)state;
	prepare();
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 1, call), 0);
	rig_run_ring(1);
	seen = rig_seen(1);
	assert_ptr_equal(seen->burst, rig_burst);
	assert_int_equal(seen->size, RIG_RING_SIZE);
	assert_int_equal(seen->features, RIG_FEATURES | RIG_PROTOCOL);
	assert_int_equal(seen->call_fd, call);
	assert_ptr_equal(seen->space.map, vhu_device_map(rig.device));
	/* The pointers lead to the same bytes that the guest sees. */
	rig_used(1)->idx = 0x1234;
	assert_int_equal(seen->used->idx, 0x1234);
	assert_int_equal((uintptr_t)seen->avail - (uintptr_t)seen->descriptors, 0x2000);
	assert_string_equal(rig_info(1).body, "rig");
}

static void
enable_before_kick_runs_at_kick(void **state)
{
	(void)state;
	prepare();
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, 2, 1), 0);
	assert_false(vhu_device_ring_running(rig.device, 2));
	rig_start_ring(2, 0);
	assert_true(vhu_device_ring_running(rig.device, 2));
	assert_ptr_equal(rig_seen(2)->burst, rig_burst);
}

static void
kick_without_size_is_refused(void **state)
{
	struct vhu_wire_vring_addr address = rig_address(0);

	(void)state;
	prepare();
	assert_int_equal(rig_ask(VHU_SET_VRING_ADDR, &address, sizeof(address), -1), 0);
	rig_forget_events();
	assert_kick_refused(0);
	assert_string_equal(rig.told, "refused=c; ");
}

static void
kick_without_addresses_is_refused(void **state)
{
	(void)state;
	prepare();
	assert_int_equal(rig_state(VHU_SET_VRING_NUM, 0, 256), 0);
	assert_kick_refused(0);
}

static void
kick_without_memory_is_refused_and_works_once_there_is_some(void **state)
{
	(void)state;
	rig_negotiate();
	rig_describe_ring(0, 0);
	assert_kick_refused(0);
	rig_share();
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 0, rig_eventfd()), 0);
	assert_true(rig_info(0).started);
}

static void
ring_with_its_tail_beyond_the_region_is_refused(void **state)
{
	struct vhu_wire_vring_addr address = rig_address(0);

	(void)state;
	prepare();
	rig_describe_ring(0, 0);
	/* The used ring has 6 + 8 * 256 bytes: here its last two are outside. */
	address.used = RIG_USER + RIG_MEMORY - 2052;
	assert_int_equal(rig_ask(VHU_SET_VRING_ADDR, &address, sizeof(address), -1), 0);
	assert_kick_refused(0);
	address.used -= 4;
	assert_int_equal(rig_ask(VHU_SET_VRING_ADDR, &address, sizeof(address), -1), 0);
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 0, rig_eventfd()), 0);
}

static void
ring_in_a_region_that_is_askew_is_refused(void **state)
{
	struct vhu_wire_region region = rig_region(0, RIG_MEMORY - 0x1000);

	(void)state;
	rig_negotiate();
	region.file_offset = 1;
	assert_int_equal(rig_add(region), 0);
	rig_describe_ring(0, 0);
	assert_kick_refused(0);
}

static void
sizes_that_are_no_power_of_two_or_too_large_are_refused(void **state)
{
	static const uint32_t bad[] = { 0, 3, 255, 32769, 65536, UINT32_MAX, 0x80000000 };
	unsigned int i;

	(void)state;
	assert_int_equal(rig_state(VHU_SET_VRING_NUM, 0, 32768), 0);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(rig_state(VHU_SET_VRING_NUM, 0, bad[i]), 1);
	assert_int_equal(rig_info(0).size, 32768);
}

static void
misaligned_addresses_are_refused(void **state)
{
	struct vhu_wire_vring_addr address = rig_address(0);

	(void)state;
	address.descriptor += 8;
	assert_int_equal(rig_ask(VHU_SET_VRING_ADDR, &address, sizeof(address), -1), 1);
	address = rig_address(0);
	address.avail += 1;
	assert_int_equal(rig_ask(VHU_SET_VRING_ADDR, &address, sizeof(address), -1), 1);
	address = rig_address(0);
	address.used += 2;
	assert_int_equal(rig_ask(VHU_SET_VRING_ADDR, &address, sizeof(address), -1), 1);
}

static void
base_of_more_than_16_bits_is_refused(void **state)
{
	(void)state;
	assert_int_equal(rig_state(VHU_SET_VRING_BASE, 0, 0xffff), 0);
	assert_int_equal(rig_state(VHU_SET_VRING_BASE, 0, 0x10000), 1);
	assert_int_equal(rig_base(0), 0xffff);
}

static void
rings_that_do_not_exist_are_refused(void **state)
{
	static const uint32_t requests[] = { VHU_SET_VRING_NUM, VHU_SET_VRING_BASE,
		VHU_SET_VRING_ENABLE };
	unsigned int i;

	(void)state;
	rig_negotiate();
	for (i = 0; i < 3; i++) {
		assert_int_equal(rig_state(requests[i], RIG_RINGS, 1), 1);
		assert_int_equal(rig_state(requests[i], UINT32_MAX, 1), 1);
	}
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, RIG_RINGS, rig_eventfd()), 1);
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 255, rig_eventfd()), 1);
	assert_int_equal(rig_base(RIG_RINGS), 0);
}

static void
started_ring_takes_no_new_size_base_or_address(void **state)
{
	struct vhu_wire_vring_addr address = rig_address(1);

	(void)state;
	rig_run_ring(0);
	rig.rings[0].next_avail = 9;
	address.index = 0;
	assert_int_equal(rig_state(VHU_SET_VRING_NUM, 0, 128), 1);
	assert_int_equal(rig_state(VHU_SET_VRING_BASE, 0, 3), 1);
	assert_int_equal(rig_ask(VHU_SET_VRING_ADDR, &address, sizeof(address), -1), 1);
	assert_true(vhu_device_ring_running(rig.device, 0));
	assert_int_equal(rig_info(0).size, RIG_RING_SIZE);
	assert_int_equal(rig_base(0), 9);
}

static void
started_ring_takes_its_address_again_with_another_flag(void **state)
{
	struct vhu_wire_vring_addr address = rig_address(0);
	const struct vhu_snapshot *seen;

	(void)state;
	rig_run_ring(0);
	seen = rig_seen(0);
	rig.rings[0].next_avail = 5;
	address.flags = 1;
	assert_int_equal(rig_ask(VHU_SET_VRING_ADDR, &address, sizeof(address), -1), 0);
	assert_ptr_equal(rig_seen(0), seen);
	assert_int_equal(rig.rings[0].next_avail, 5);
}

static void
ring_starts_at_its_base_and_the_used_index_of_the_guest(void **state)
{
	(void)state;
	prepare();
	rig_used(0)->idx = 0xfff0;
	rig_start_ring(0, 0xfff8);
	assert_int_equal(rig.rings[0].next_avail, 0xfff8);
	assert_int_equal(rig.rings[0].next_used, 0xfff0);
}

static void
ring_of_an_in_order_device_starts_at_the_used_index_of_the_guest(void **state)
{
	(void)state;
	rig.in_order = true;
	rig_renew_device();
	prepare();
	rig_used(0)->idx = 0xfff0;
	rig_start_ring(0, 0xfff8);
	assert_int_equal(rig.rings[0].next_avail, 0xfff0);
	assert_int_equal(rig.rings[0].next_used, 0xfff0);
	assert_int_equal(rig_base(0), 0xfff0);
}

static void
kick_without_descriptor_starts_the_ring(void **state)
{
	(void)state;
	prepare();
	rig_describe_ring(0, 0);
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 0, -1), 0);
	assert_true(rig_info(0).started);
	assert_int_equal(rig_info(0).kick_fd, -1);
}

static void
kick_descriptor_of_a_started_ring_is_replaced(void **state)
{
	int first, second = rig_eventfd();

	(void)state;
	rig_run_ring(0);
	first = rig_info(0).kick_fd;
	assert_int_equal(rig.kick_fd[0], first);
	rig.rings[0].next_avail = 4;
	rig_forget_events();
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 0, second), 0);
	assert_int_equal(rig.kick_fd[0], second);
	assert_int_equal(fcntl(first, F_GETFD), -1);
	assert_int_equal(rig.rings[0].next_avail, 4);
	assert_string_equal(rig.told, "");
}

static void
kick_descriptor_may_be_a_pipe_but_no_file(void **state)
{
	int ends[2];

	(void)state;
	prepare();
	rig_describe_ring(0, 0);
	rig_describe_ring(1, 0);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 0, ends[0]), 0);
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 1, rig_dup(rig.memory)), 1);
	close(ends[1]);
}

static void
call_descriptor_must_be_an_eventfd(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, ends[1]), 1);
	assert_int_equal(rig_fd(VHU_SET_VRING_ERR, 0, ends[0]), 1);
	assert_int_equal(rig_info(0).call_fd, -1);
}

static void
call_descriptor_does_not_block(void **state)
{
	int call = eventfd(0, EFD_CLOEXEC);

	(void)state;
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, call), 0);
	assert_true(fcntl(call, F_GETFL) & O_NONBLOCK);
}

static void
call_descriptor_is_signalled_at_start_and_when_replaced(void **state)
{
	int first = rig_eventfd(), second = rig_eventfd();
	int first_peer = rig_dup(first), second_peer = rig_dup(second);

	(void)state;
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, first), 0);
	assert_int_equal(rig_signals(first_peer), 0);
	rig_run_ring(0);
	assert_int_equal(rig_signals(first_peer), 1);
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, second), 0);
	assert_int_equal(rig_signals(second_peer), 1);
	assert_int_equal(rig_signals(first_peer), 0);
	assert_int_equal(rig_seen(0)->call_fd, second);
	close(first_peer);
	close(second_peer);
}

static void
call_descriptor_that_is_full_harms_nobody(void **state)
{
	uint64_t full = UINT64_MAX - 1;
	int call = rig_eventfd();

	(void)state;
	assert_int_equal(write(call, &full, sizeof(full)), sizeof(full));
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, call), 0);
	rig_run_ring(0);
}

/* SET_VRING_CALL, whose answer may have to wait. */
static void
replace_call(uint64_t ring, int fd)
{
	rig_send(VHU_SET_VRING_CALL, VHU_FLAG_NEED_REPLY, &ring, sizeof(ring), &fd, 1);
}

static void
new_call_descriptor_is_acknowledged_after_the_last_burst_with_the_old_one(void **state)
{
	unsigned int replies;

	(void)state;
	rig_run_ring(0);
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, rig_eventfd()), 0);
	(void)vhu_reader_enter(&rig.rings[0].reader);
	replies = rig.replies;
	replace_call(0, rig_eventfd());
	vhu_grace_step(&rig.domain);
	assert_true(vhu_device_busy(rig.device));
	assert_int_equal(rig.replies, replies);
	vhu_reader_leave(&rig.rings[0].reader);
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig.replies, replies + 1);
	assert_int_equal(rig.reply.payload.u64, 0);
	assert_int_equal(rig.answered, 1);
}

static void
disconnect_while_a_call_descriptor_is_replaced_closes_both(void **state)
{
	int first = rig_eventfd(), second = rig_eventfd();

	(void)state;
	rig_run_ring(0);
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, first), 0);
	(void)vhu_reader_enter(&rig.rings[0].reader);
	replace_call(0, second);
	vhu_device_disconnect(rig.device, rig_left);
	assert_int_equal(rig.left, 0);
	assert_int_not_equal(fcntl(first, F_GETFD), -1);
	vhu_reader_leave(&rig.rings[0].reader);
	vhu_grace_step(&rig.domain);
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig.left, 1);
	assert_int_equal(fcntl(first, F_GETFD), -1);
	assert_int_equal(fcntl(second, F_GETFD), -1);
}

static void
old_call_descriptor_lives_as_long_as_a_burst_may_use_it(void **state)
{
	int first = rig_eventfd();

	(void)state;
	rig_run_ring(0);
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, first), 0);
	assert_int_equal(vhu_reader_enter(&rig.rings[0].reader)->call_fd, first);
	replace_call(0, rig_eventfd());
	vhu_grace_step(&rig.domain);
	assert_int_not_equal(fcntl(first, F_GETFD), -1);
	vhu_reader_leave(&rig.rings[0].reader);
	vhu_grace_step(&rig.domain);
	assert_int_equal(fcntl(first, F_GETFD), -1);
}

static void
new_call_descriptor_is_signalled_after_the_last_burst_with_the_old_one(void **state)
{
	int first = rig_eventfd(), second = rig_eventfd(), peer = rig_dup(second);

	(void)state;
	rig_run_ring(0);
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, first), 0);
	(void)vhu_reader_enter(&rig.rings[0].reader);
	replace_call(0, second);
	assert_int_equal(rig_signals(peer), 0);
	vhu_reader_leave(&rig.rings[0].reader);
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig_signals(peer), 1);
	close(peer);
}

static void
call_without_descriptor_polls(void **state)
{
	(void)state;
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, rig_eventfd()), 0);
	rig_run_ring(0);
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, -1), 0);
	assert_int_equal(rig_seen(0)->call_fd, -1);
}

static void
ring_that_cannot_be_specialised_does_not_start(void **state)
{
	(void)state;
	prepare();
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	rig_describe_ring(0, 0);
	rig.specialise_result = -ENOTSUP;
	assert_kick_refused(0);
	rig.specialise_result = 0;
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 0, rig_eventfd()), 0);
}

static void
enable_takes_only_0_and_1(void **state)
{
	(void)state;
	rig_negotiate();
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, 0, 2), 1);
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, 0, UINT32_MAX), 1);
	assert_false(rig_info(0).enabled);
}

static void
enable_twice_tells_once(void **state)
{
	const struct vhu_snapshot *seen;

	(void)state;
	rig_run_ring(0);
	seen = rig_seen(0);
	rig_forget_events();
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	assert_ptr_equal(rig_seen(0), seen);
	assert_string_equal(rig.told, "");
}

static void
message_about_one_ring_leaves_the_other_alone(void **state)
{
	const struct vhu_snapshot *seen;

	(void)state;
	rig_run_ring(0);
	rig_run_ring(1);
	seen = rig_seen(0);
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 1, rig_eventfd()), 0);
	rig_base(1);
	assert_ptr_equal(rig_seen(0), seen);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(canonical_order_starts_once_and_enables_last),
		RIG_TEST(running_ring_shows_its_snapshot),
		RIG_TEST(enable_before_kick_runs_at_kick),
		RIG_TEST(kick_without_size_is_refused),
		RIG_TEST(kick_without_addresses_is_refused),
		RIG_TEST(kick_without_memory_is_refused_and_works_once_there_is_some),
		RIG_TEST(ring_with_its_tail_beyond_the_region_is_refused),
		RIG_TEST(ring_in_a_region_that_is_askew_is_refused),
		RIG_TEST(sizes_that_are_no_power_of_two_or_too_large_are_refused),
		RIG_TEST(misaligned_addresses_are_refused),
		RIG_TEST(base_of_more_than_16_bits_is_refused),
		RIG_TEST(rings_that_do_not_exist_are_refused),
		RIG_TEST(started_ring_takes_no_new_size_base_or_address),
		RIG_TEST(started_ring_takes_its_address_again_with_another_flag),
		RIG_TEST(ring_starts_at_its_base_and_the_used_index_of_the_guest),
		RIG_TEST(ring_of_an_in_order_device_starts_at_the_used_index_of_the_guest),
		RIG_TEST(kick_without_descriptor_starts_the_ring),
		RIG_TEST(kick_descriptor_of_a_started_ring_is_replaced),
		RIG_TEST(kick_descriptor_may_be_a_pipe_but_no_file),
		RIG_TEST(call_descriptor_must_be_an_eventfd),
		RIG_TEST(call_descriptor_does_not_block),
		RIG_TEST(call_descriptor_is_signalled_at_start_and_when_replaced),
		RIG_TEST(call_descriptor_that_is_full_harms_nobody),
		RIG_TEST(new_call_descriptor_is_acknowledged_after_the_last_burst_with_the_old_one),
		RIG_TEST(disconnect_while_a_call_descriptor_is_replaced_closes_both),
		RIG_TEST(old_call_descriptor_lives_as_long_as_a_burst_may_use_it),
		RIG_TEST(new_call_descriptor_is_signalled_after_the_last_burst_with_the_old_one),
		RIG_TEST(call_without_descriptor_polls),
		RIG_TEST(ring_that_cannot_be_specialised_does_not_start),
		RIG_TEST(enable_takes_only_0_and_1),
		RIG_TEST(enable_twice_tells_once),
		RIG_TEST(message_about_one_ring_leaves_the_other_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
