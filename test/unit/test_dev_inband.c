/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Notifications as messages, and calls that the control thread makes for an lcore. */

#include <pthread.h>

#include "channel_rig.h"

#define IN_BAND (VHU_BIT(VHU_PROTOCOL_INBAND_NOTIFICATIONS) | \
	VHU_BIT(VHU_PROTOCOL_BACKEND_REQ) | VHU_BIT(VHU_PROTOCOL_REPLY_ACK))

/* Negotiate in-band notifications, connect the channel and describe ring 0, enabled. */
static void
negotiate(void)
{
	assert_int_equal(rig_u64(VHU_SET_PROTOCOL_FEATURES, IN_BAND), 0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, RIG_FEATURES | RIG_PROTOCOL), 0);
	channel_connect();
	rig_share();
	rig_describe_ring(0, 0);
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
}

static void
kick(void)
{
	assert_int_equal(rig_state(VHU_VRING_KICK, 0, 0), 0);
}

/* What an lcore does when the driver wants to be notified. */
static void
call(void)
{
	vhu_ring_call(&rig.rings[0], rig_seen(0));
	vhu_device_check_calls(rig.device);
}

static void
expect_call(void)
{
	struct vhu_message m = channel_take(VHU_BACKEND_VRING_CALL);

	assert_int_equal(m.flags, 0x1);
	assert_int_equal(m.size, 8);
	assert_int_equal(m.payload.state.index, 0);
	assert_int_equal(m.payload.state.value, 0);
}

static void
expect_silence(void)
{
	struct vhu_message m;

	channel_step();
	assert_false(channel_read(&m));
}

static void
kick_message_starts_the_ring(void **state)
{
	(void)state;
	negotiate();
	rig_forget_events();
	kick();
	assert_true(vhu_device_ring_running(rig.device, 0));
	assert_string_equal(rig.told, "ring started 0=100; ");
}

static void
kick_message_wakes_who_sleeps_on_the_ring(void **state)
{
	(void)state;
	negotiate();
	kick();
	assert_true(rig.kick_fd[0] >= 0);
	assert_int_equal(rig_signals(rig.kick_fd[0]), 1);
	kick();
	kick();
	assert_int_equal(rig_signals(rig.kick_fd[0]), 2);
}

static void
kick_message_leaves_the_front_ends_descriptor_alone(void **state)
{
	int fd = rig_eventfd();

	(void)state;
	negotiate();
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 0, fd), 0);
	kick();
	assert_int_equal(rig_signals(fd), 0);
}

static void
kick_message_for_an_incomplete_ring_is_refused(void **state)
{
	(void)state;
	negotiate();
	assert_int_equal(rig_state(VHU_VRING_KICK, 1, 0), 1);
	assert_false(rig_info(1).started);
}

static void
kick_message_needs_its_feature(void **state)
{
	(void)state;
	rig_negotiate();
	assert_int_equal(rig_state(VHU_VRING_KICK, 0, 0), 1);
}

static void
feature_without_channel_or_acknowledgements_closes_the_connection(void **state)
{
	uint64_t features = IN_BAND & ~VHU_BIT(VHU_PROTOCOL_REPLY_ACK);

	(void)state;
	rig_send(VHU_SET_PROTOCOL_FEATURES, 0, &features, 8, NULL, 0);
	assert_int_equal(rig.hang_ups, 1);
	features = IN_BAND & ~VHU_BIT(VHU_PROTOCOL_BACKEND_REQ);
	rig_send(VHU_SET_PROTOCOL_FEATURES, 0, &features, 8, NULL, 0);
	assert_int_equal(rig.hang_ups, 2);
	assert_int_equal(vhu_device_negotiated_protocol_features(rig.device), 0);
}

static void
start_calls_once(void **state)
{
	(void)state;
	negotiate();
	kick();
	expect_call();
	expect_silence();
}

static void
call_of_an_lcore_becomes_a_message(void **state)
{
	(void)state;
	negotiate();
	kick();
	expect_call();
	call();
	expect_call();
	vhu_device_check_calls(rig.device);
	expect_silence();
	assert_int_equal(atomic_load(&rig.rings[0].counters.calls), 1);
}

static void
calls_before_the_control_thread_looks_are_one(void **state)
{
	uint32_t before = atomic_load(&vhu_rings_calling);

	(void)state;
	negotiate();
	kick();
	expect_call();
	vhu_ring_call(&rig.rings[0], rig_seen(0));
	vhu_ring_call(&rig.rings[0], rig_seen(0));
	assert_int_equal(atomic_load(&vhu_rings_calling), before + 1);
	vhu_device_check_calls(rig.device);
	expect_call();
	expect_silence();
}

static void
call_descriptor_takes_precedence(void **state)
{
	int fd = rig_eventfd();

	(void)state;
	negotiate();
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, fd), 0);
	kick();
	assert_int_equal(rig_signals(fd), 1);
	assert_int_equal(rig_seen(0)->call_fd, fd);
	call();
	assert_int_equal(rig_signals(fd), 1);
	expect_silence();
}

static void
driver_that_polls_is_not_called(void **state)
{
	(void)state;
	negotiate();
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, -1), 0);
	kick();
	assert_int_equal(rig_seen(0)->call_fd, -1);
	expect_silence();
}

static void
driver_that_polls_no_longer_wants_the_call_under_way(void **state)
{
	(void)state;
	negotiate();
	kick();
	expect_call();
	vhu_ring_call(&rig.rings[0], rig_seen(0));
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, -1), 0);
	vhu_device_check_calls(rig.device);
	expect_silence();
}

static void
call_before_there_is_a_channel_is_sent_on_it_later(void **state)
{
	(void)state;
	assert_int_equal(rig_u64(VHU_SET_PROTOCOL_FEATURES, IN_BAND), 0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, RIG_FEATURES | RIG_PROTOCOL), 0);
	rig_share();
	rig_describe_ring(0, 0);
	kick();
	channel_connect();
	expect_call();
}

static void
calls_to_a_front_end_that_reads_nothing_are_one_per_ring(void **state)
{
	unsigned int i, calls = 0;
	struct vhu_message m;

	(void)state;
	negotiate();
	kick();
	for (i = 0; i < 100000; i++)
		call();
	while (channel_read(&m)) {
		calls++;
		channel_step();
	}
	assert_in_range(calls, 1, 99999);
	call();
	expect_call();
}

static void
call_left_before_the_stop_comes_before_the_answer(void **state)
{
	(void)state;
	negotiate();
	kick();
	expect_call();
	vhu_ring_call(&rig.rings[0], rig_seen(0));
	rig_base(0);
	expect_call();
	vhu_device_check_calls(rig.device);
	expect_silence();
}

static void
nothing_is_sent_after_the_ring_stopped(void **state)
{
	struct vhu_message m;
	unsigned int i;

	(void)state;
	negotiate();
	kick();
	/* So many that the last ones wait in this process. */
	for (i = 0; i < 100000; i++)
		call();
	rig_base(0);
	while (channel_read(&m))
		;
	/* The one that the stream was about to send when the socket was full, and no other. */
	channel_step();
	(void)channel_read(&m);
	expect_silence();
}

static void
broken_ring_without_error_descriptor_is_told_in_band(void **state)
{
	struct vhu_message m;

	(void)state;
	negotiate();
	kick();
	expect_call();
	vhu_ring_break(&rig.rings[0], VHU_BROKEN_HEAD, 7);
	vhu_device_check_broken(rig.device);
	vhu_device_check_broken(rig.device);
	m = channel_take(VHU_BACKEND_VRING_ERR);
	assert_int_equal(m.payload.state.index, 0);
	expect_silence();
}

static void
broken_ring_with_error_descriptor_is_told_there(void **state)
{
	int fd = rig_eventfd();

	(void)state;
	negotiate();
	assert_int_equal(rig_fd(VHU_SET_VRING_ERR, 0, fd), 0);
	kick();
	expect_call();
	vhu_ring_break(&rig.rings[0], VHU_BROKEN_HEAD, 7);
	vhu_device_check_broken(rig.device);
	assert_int_equal(rig_signals(fd), 1);
	expect_silence();
}

static void
handed_over_call_reaches_the_descriptor(void **state)
{
	int fd = rig_eventfd();

	(void)state;
	rig.call_handover = true;
	rig_renew_device();
	rig_negotiate();
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, fd), 0);
	rig_run_ring(0);
	assert_int_equal(rig_signals(fd), 1);
	assert_int_equal(rig_seen(0)->call_fd, VHU_CALL_BY_CONTROL);
	vhu_ring_call(&rig.rings[0], rig_seen(0));
	assert_int_equal(rig_signals(fd), 0);
	vhu_device_check_calls(rig.device);
	assert_int_equal(rig_signals(fd), 1);
}

/* An event descriptor that would put whoever writes to it to sleep. */
static int
full_blocking_eventfd(void)
{
	int fd = rig_eventfd();
	uint64_t most = UINT64_MAX - 1;

	assert_int_equal(write(fd, &most, sizeof(most)), sizeof(most));
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
	return fd;
}

static void
full_descriptor_blocks_neither_lcore_nor_control(void **state)
{
	int fd = rig_eventfd(), flags;
	uint64_t most = UINT64_MAX - 1;

	(void)state;
	rig.call_handover = true;
	rig_renew_device();
	rig_negotiate();
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, fd), 0);
	rig_run_ring(0);
	assert_int_equal(rig_signals(fd), 1);
	/* What the front-end does on its side of the open file. */
	flags = fcntl(fd, F_GETFL);
	assert_int_equal(fcntl(fd, F_SETFL, flags & ~O_NONBLOCK), 0);
	assert_int_equal(write(fd, &most, sizeof(most)), sizeof(most));
	alarm(5);
	call();
	call();
	alarm(0);
	assert_int_equal(rig_signals(fd), UINT64_MAX); /* as full as it gets */
}

/* What the front-end does on its side of the open file: an lcore that writes to it sleeps. */
static void
fill(int fd)
{
	uint64_t most = UINT64_MAX - 1;

	assert_int_equal(write(fd, &most, sizeof(most)), sizeof(most));
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
}

static atomic_int burst; /* 1: inside, 2: over */

static void *
burst_that_calls(void *unused)
{
	const struct vhu_snapshot *snapshot = vhu_reader_enter(&rig.rings[0].reader);

	atomic_store(&burst, 1);
	vhu_ring_call(&rig.rings[0], snapshot);
	vhu_reader_leave(&rig.rings[0].reader);
	atomic_store(&burst, 2);
	return unused;
}

/* Ring 0 runs, and an lcore is about to write to its call descriptor, which is full. */
static int
hold_up_lcore(pthread_t *lcore)
{
	int fd = rig_eventfd();

	rig_negotiate();
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, fd), 0);
	rig_run_ring(0);
	rig_signals(fd);
	fill(fd);
	atomic_store(&burst, 0);
	assert_int_equal(pthread_create(lcore, NULL, burst_that_calls, NULL), 0);
	while (atomic_load(&burst) == 0)
		sched_yield();
	return fd;
}

static void
lcore_that_a_full_descriptor_holds_up_is_freed(void **state)
{
	pthread_t lcore;
	int fd;

	(void)state;
	alarm(5);
	fd = hold_up_lcore(&lcore);
	while (atomic_load(&burst) != 2)
		vhu_device_tick(rig.device);
	pthread_join(lcore, NULL);
	/* The guest is notified all the same, and no lcore writes to it again. */
	vhu_device_tick(rig.device);
	assert_true(rig_signals(fd) >= 1);
	assert_int_equal(rig_seen(0)->call_fd, VHU_CALL_BY_CONTROL);
	fill(fd);
	call();
	/* Nor to another one, in this connection or the next. */
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, rig_eventfd()), 0);
	assert_int_equal(rig_seen(0)->call_fd, VHU_CALL_BY_CONTROL);
	alarm(0);
}

static void
lcore_held_up_by_a_descriptor_that_was_replaced_is_freed(void **state)
{
	uint64_t ring = 0;
	pthread_t lcore;
	int fd;

	(void)state;
	alarm(5);
	(void)hold_up_lcore(&lcore);
	fd = rig_eventfd();
	rig_send(VHU_SET_VRING_CALL, VHU_FLAG_NEED_REPLY, &ring, sizeof(ring), &fd, 1);
	/* The answer waits for the lcore. */
	while (vhu_device_busy(rig.device)) {
		vhu_device_tick(rig.device);
		vhu_grace_step(&rig.domain);
	}
	pthread_join(lcore, NULL);
	assert_int_equal(rig.reply.payload.u64, 0);
	alarm(0);
}

static void
descriptor_that_is_not_full_is_left_alone(void **state)
{
	int fd = rig_eventfd();

	(void)state;
	rig_negotiate();
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, fd), 0);
	rig_run_ring(0);
	rig_signals(fd);
	call();
	vhu_device_tick(rig.device);
	assert_int_equal(rig_signals(fd), 1);
	assert_int_not_equal(rig_seen(0)->call_fd, VHU_CALL_BY_CONTROL);
}

static void
signal_of_the_control_thread_is_counted_once(void **state)
{
	int fd = rig_eventfd(), i;

	(void)state;
	for (i = 0; i < 1000; i++)
		vhu_event_signal(fd);
	assert_int_equal(rig_signals(fd), 1000);
	close(fd);
}

static void
signal_to_a_full_descriptor_returns(void **state)
{
	int fd = full_blocking_eventfd(), i;

	(void)state;
	alarm(5);
	for (i = 0; i < 1000; i++)
		vhu_event_signal(fd);
	alarm(0);
	close(fd);
}

static void
signal_to_what_is_no_event_descriptor_does_nothing(void **state)
{
	(void)state;
	vhu_event_signal(rig.memory);
	vhu_event_signal(-1);
	vhu_event_signal(1 << 20);
	assert_int_equal(lseek(rig.memory, 0, SEEK_CUR), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CHANNEL_TEST(kick_message_starts_the_ring),
		CHANNEL_TEST(kick_message_wakes_who_sleeps_on_the_ring),
		CHANNEL_TEST(kick_message_leaves_the_front_ends_descriptor_alone),
		CHANNEL_TEST(kick_message_for_an_incomplete_ring_is_refused),
		CHANNEL_TEST(kick_message_needs_its_feature),
		CHANNEL_TEST(feature_without_channel_or_acknowledgements_closes_the_connection),
		CHANNEL_TEST(start_calls_once),
		CHANNEL_TEST(call_of_an_lcore_becomes_a_message),
		CHANNEL_TEST(calls_before_the_control_thread_looks_are_one),
		CHANNEL_TEST(call_descriptor_takes_precedence),
		CHANNEL_TEST(driver_that_polls_is_not_called),
		CHANNEL_TEST(driver_that_polls_no_longer_wants_the_call_under_way),
		CHANNEL_TEST(call_before_there_is_a_channel_is_sent_on_it_later),
		CHANNEL_TEST(calls_to_a_front_end_that_reads_nothing_are_one_per_ring),
		CHANNEL_TEST(call_left_before_the_stop_comes_before_the_answer),
		CHANNEL_TEST(nothing_is_sent_after_the_ring_stopped),
		CHANNEL_TEST(broken_ring_without_error_descriptor_is_told_in_band),
		CHANNEL_TEST(broken_ring_with_error_descriptor_is_told_there),
		CHANNEL_TEST(handed_over_call_reaches_the_descriptor),
		CHANNEL_TEST(full_descriptor_blocks_neither_lcore_nor_control),
		CHANNEL_TEST(lcore_that_a_full_descriptor_holds_up_is_freed),
		CHANNEL_TEST(lcore_held_up_by_a_descriptor_that_was_replaced_is_freed),
		CHANNEL_TEST(descriptor_that_is_not_full_is_left_alone),
		CHANNEL_TEST(signal_of_the_control_thread_is_counted_once),
		CHANNEL_TEST(signal_to_a_full_descriptor_returns),
		CHANNEL_TEST(signal_to_what_is_no_event_descriptor_does_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
