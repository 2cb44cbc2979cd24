/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "device_rig.h"

static void
send_state(uint32_t request, uint32_t index, uint32_t value)
{
	struct vhu_wire_vring_state state = { index, value };

	rig_send(request, VHU_FLAG_NEED_REPLY, &state, sizeof(state), NULL, 0);
}

static void
base_is_the_next_available_entry(void **state)
{
	(void)state;
	rig_run_ring(0);
	rig.rings[0].next_avail = 0x000f;
	rig_forget_events();
	assert_int_equal(rig_base(0), 0x000f);
	assert_string_equal(rig.told, "ring stopped 0=f; ");
	assert_ptr_equal(rig_seen(0), &vhu_snapshot_parked);
}

/* The last moment: the ring can still be used. */
static void
note_stopping(void *owner, uint16_t ring)
{
	assert_ptr_equal(owner, &rig);
	assert_ptr_not_equal(rig_seen(ring), &vhu_snapshot_parked);
	rig.rings[ring].next_avail += 100;
}

/* Negotiate without leaving anything in flight at a stop. */
static void
negotiate_drained(void)
{
	uint64_t left = VHU_BIT(VHU_PROTOCOL_GET_VRING_BASE_INFLIGHT) |
		VHU_BIT(VHU_PROTOCOL_GET_VRING_BASE_SKIP_DRAIN);

	assert_int_equal(rig_u64(VHU_SET_PROTOCOL_FEATURES, rig_protocol() & ~left), 0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, RIG_FEATURES | RIG_PROTOCOL), 0);
}

/* The bits alone say only that something may be left there. */
static void
base_without_an_inflight_area_asks_the_owner(void **state)
{
	struct vhu_wire_vring_state ring = { 1, 0 };

	(void)state;
	rig.ops.stopping = note_stopping;
	rig_run_ring(0);
	rig_run_ring(1);
	assert_true(vhu_device_negotiated_protocol_features(rig.device) &
		VHU_BIT(VHU_PROTOCOL_GET_VRING_BASE_INFLIGHT));
	rig.rings[0].next_avail = 5;
	assert_int_equal(rig_base(0), 105);
	rig.rings[1].next_avail = 6;
	rig_send(VHU_GET_VRING_BASE_SKIP_DRAIN, 0, &ring, sizeof(ring), NULL, 0);
	assert_int_equal(rig.reply.payload.state.value, 106);
}

static void
base_counts_what_the_owner_does_before_the_ring_stops(void **state)
{
	(void)state;
	rig.ops.stopping = note_stopping;
	negotiate_drained();
	rig_run_ring(0);
	rig.rings[0].next_avail = 5;
	assert_int_equal(rig_base(0), 105);
	/* Stopped already: nothing to be told. */
	assert_int_equal(rig_base(0), 105);
}

static void
reset_device_tells_the_owner_before_the_rings_stop(void **state)
{
	(void)state;
	rig.ops.stopping = note_stopping;
	rig_run_ring(0);
	rig_run_ring(1);
	assert_int_equal(rig_ask(VHU_RESET_DEVICE, NULL, 0, -1), 0);
	assert_int_equal(rig.rings[0].next_avail, 100);
	assert_int_equal(rig.rings[1].next_avail, 100);
}

static void
base_can_be_asked_for_twice(void **state)
{
	(void)state;
	rig_run_ring(0);
	rig.rings[0].next_avail = 41;
	assert_int_equal(rig_base(0), 41);
	rig_forget_events();
	assert_int_equal(rig_base(0), 41);
	assert_string_equal(rig.told, "");
}

static void
base_of_a_ring_that_never_started_is_what_was_set(void **state)
{
	(void)state;
	assert_int_equal(rig_base(3), 0);
	assert_int_equal(rig_state(VHU_SET_VRING_BASE, 3, 99), 0);
	assert_int_equal(rig_base(3), 99);
}

static void
base_closes_kick_and_call_but_keeps_the_rest(void **state)
{
	int kick, call = rig_eventfd();

	(void)state;
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, call), 0);
	rig_run_ring(0);
	kick = rig_info(0).kick_fd;
	rig_base(0);
	assert_int_equal(fcntl(kick, F_GETFD), -1);
	assert_int_equal(fcntl(call, F_GETFD), -1);
	assert_int_equal(rig.kick_fd[0], -1);
	assert_int_equal(rig_info(0).size, RIG_RING_SIZE);
	assert_true(rig_info(0).enabled);
	assert_false(rig_info(0).started);
}

static void
base_closes_the_call_descriptor_of_a_ring_that_never_started(void **state)
{
	int call = rig_eventfd();

	(void)state;
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, call), 0);
	rig_base(0);
	assert_int_equal(fcntl(call, F_GETFD), -1);
}

static void
ring_restarts_where_it_stopped_with_a_new_kick_only(void **state)
{
	(void)state;
	rig_run_ring(0);
	rig.rings[0].next_avail = 17;
	rig_base(0);
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 0, rig_eventfd()), 0);
	assert_true(vhu_device_ring_running(rig.device, 0));
	assert_int_equal(rig.rings[0].next_avail, 17);
}

static void
ring_restarts_where_it_is_told_to(void **state)
{
	(void)state;
	rig_run_ring(0);
	rig_base(0);
	assert_int_equal(rig_state(VHU_SET_VRING_BASE, 0, 500), 0);
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 0, rig_eventfd()), 0);
	assert_int_equal(rig.rings[0].next_avail, 500);
}

static void
base_waits_for_a_burst_and_counts_what_it_took(void **state)
{
	unsigned int replies;

	(void)state;
	rig_run_ring(0);
	(void)vhu_reader_enter(&rig.rings[0].reader);
	rig.rings[0].next_avail = 10;
	replies = rig.replies;
	rig_forget_events();
	send_state(VHU_GET_VRING_BASE, 0, 0);
	assert_true(vhu_device_busy(rig.device));
	assert_ptr_equal(rig_seen(0), &vhu_snapshot_parked);
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig.replies, replies);
	assert_string_equal(rig.told, "");
	rig.rings[0].next_avail = 20;
	vhu_reader_leave(&rig.rings[0].reader);
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig.replies, replies + 1);
	assert_int_equal(rig.answered, 1);
	assert_int_equal(rig.reply.size, 8);
	assert_int_equal(rig.reply.payload.state.value, 20);
	assert_string_equal(rig.told, "ring stopped 0=14; ");
}

static void
base_of_one_ring_does_not_wait_for_a_burst_on_another(void **state)
{
	(void)state;
	rig_run_ring(0);
	rig_run_ring(1);
	(void)vhu_reader_enter(&rig.rings[1].reader);
	assert_int_equal(rig_base(0), 0);
}

static void
disable_parks_and_is_told_after_the_burst(void **state)
{
	unsigned int replies;

	(void)state;
	rig_run_ring(0);
	(void)vhu_reader_enter(&rig.rings[0].reader);
	replies = rig.replies;
	rig_forget_events();
	send_state(VHU_SET_VRING_ENABLE, 0, 0);
	assert_int_equal(rig.replies, replies);
	assert_string_equal(rig.told, "");
	vhu_reader_leave(&rig.rings[0].reader);
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig.replies, replies + 1);
	assert_int_equal(rig.reply.payload.u64, 0);
	assert_string_equal(rig.told, "ring disabled 0=0; ");
	assert_true(rig_info(0).started);
	assert_false(vhu_device_ring_running(rig.device, 0));
}

static void
enable_after_disable_goes_on_where_it_was(void **state)
{
	(void)state;
	rig_run_ring(0);
	rig.rings[0].next_avail = 7;
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, 0, 0), 0);
	assert_ptr_equal(rig_seen(0), &vhu_snapshot_parked);
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	assert_ptr_equal(rig_seen(0)->burst, rig_burst);
	assert_int_equal(rig.rings[0].next_avail, 7);
}

static void
reset_owner_disables_all_rings_and_stops_none(void **state)
{
	(void)state;
	rig_run_ring(0);
	rig_run_ring(1);
	rig_forget_events();
	assert_int_equal(rig_ask(VHU_RESET_OWNER, NULL, 0, -1), 0);
	assert_string_equal(rig.told, "ring disabled 0=0; ring disabled 1=0; ");
	assert_true(rig_info(0).started);
	assert_ptr_equal(rig_seen(0), &vhu_snapshot_parked);
	assert_ptr_equal(rig_seen(1), &vhu_snapshot_parked);
}

static void
reset_device_stops_all_and_keeps_memory_and_protocol(void **state)
{
	(void)state;
	rig_run_ring(0);
	rig_u64(VHU_SET_STATUS, 0xf);
	rig_forget_events();
	assert_int_equal(rig_ask(VHU_RESET_DEVICE, NULL, 0, -1), 0);
	assert_string_equal(rig.told, "ring stopped 0=0; ring disabled 0=0; features=0; ");
	assert_int_equal(vhu_device_features(rig.device), 0);
	assert_int_equal(vhu_device_map(rig.device)->count, 1);
	assert_int_equal(rig_ask(VHU_GET_STATUS, NULL, 0, -1), 0);
	assert_int_equal(rig_info(0).size, 0);
}

static void
device_starts_again_after_a_reset(void **state)
{
	(void)state;
	rig_run_ring(0);
	assert_int_equal(rig_ask(VHU_RESET_DEVICE, NULL, 0, -1), 0);
	rig_run_ring(0);
	assert_ptr_equal(rig_seen(0)->burst, rig_burst);
}

static void
broken_ring_is_parked_told_and_signalled_once(void **state)
{
	int error = rig_eventfd(), peer = rig_dup(error);

	(void)state;
	assert_int_equal(rig_fd(VHU_SET_VRING_ERR, 0, error), 0);
	rig_run_ring(0);
	rig_forget_events();
	vhu_ring_break(&rig.rings[0], VHU_BROKEN_LOOP, 3);
	vhu_device_check_broken(rig.device);
	vhu_device_check_broken(rig.device);
	assert_string_equal(rig.told, "ring broken 0=4; ");
	assert_int_equal(rig_signals(peer), 1);
	assert_ptr_equal(rig_seen(0), &vhu_snapshot_parked);
	assert_false(vhu_device_ring_running(rig.device, 0));
	assert_string_equal(rig_info(0).broken_reason, vhu_broken_text(VHU_BROKEN_LOOP));
	close(peer);
}

static void
broken_ring_leaves_the_others_running(void **state)
{
	(void)state;
	rig_run_ring(0);
	rig_run_ring(1);
	vhu_ring_break(&rig.rings[0], VHU_BROKEN_LOOP, 3);
	vhu_device_check_broken(rig.device);
	assert_true(vhu_device_ring_running(rig.device, 1));
	assert_ptr_equal(rig_seen(1)->burst, rig_burst);
}

static void
broken_ring_is_told_before_it_is_told_stopped(void **state)
{
	(void)state;
	rig_run_ring(0);
	vhu_ring_break(&rig.rings[0], VHU_BROKEN_HEAD, 3);
	rig_forget_events();
	rig_base(0);
	assert_string_equal(rig.told, "ring broken 0=2; ring stopped 0=0; ");
}

static void
broken_ring_stays_parked_whatever_comes_but_a_restart(void **state)
{
	(void)state;
	rig_run_ring(0);
	vhu_ring_break(&rig.rings[0], VHU_BROKEN_HEAD, 3);
	vhu_device_check_broken(rig.device);
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, 0, 0), 0);
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, rig_eventfd()), 0);
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 0, rig_eventfd()), 0);
	rig_share();
	assert_ptr_equal(rig_seen(0), &vhu_snapshot_parked);
	rig_base(0);
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 0, rig_eventfd()), 0);
	assert_true(vhu_device_ring_running(rig.device, 0));
	assert_false(rig_info(0).broken);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(base_is_the_next_available_entry),
		RIG_TEST(base_without_an_inflight_area_asks_the_owner),
		RIG_TEST(base_counts_what_the_owner_does_before_the_ring_stops),
		RIG_TEST(reset_device_tells_the_owner_before_the_rings_stop),
		RIG_TEST(base_can_be_asked_for_twice),
		RIG_TEST(base_of_a_ring_that_never_started_is_what_was_set),
		RIG_TEST(base_closes_kick_and_call_but_keeps_the_rest),
		RIG_TEST(base_closes_the_call_descriptor_of_a_ring_that_never_started),
		RIG_TEST(ring_restarts_where_it_stopped_with_a_new_kick_only),
		RIG_TEST(ring_restarts_where_it_is_told_to),
		RIG_TEST(base_waits_for_a_burst_and_counts_what_it_took),
		RIG_TEST(base_of_one_ring_does_not_wait_for_a_burst_on_another),
		RIG_TEST(disable_parks_and_is_told_after_the_burst),
		RIG_TEST(enable_after_disable_goes_on_where_it_was),
		RIG_TEST(reset_owner_disables_all_rings_and_stops_none),
		RIG_TEST(reset_device_stops_all_and_keeps_memory_and_protocol),
		RIG_TEST(device_starts_again_after_a_reset),
		RIG_TEST(broken_ring_is_parked_told_and_signalled_once),
		RIG_TEST(broken_ring_leaves_the_others_running),
		RIG_TEST(broken_ring_is_told_before_it_is_told_stopped),
		RIG_TEST(broken_ring_stays_parked_whatever_comes_but_a_restart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
