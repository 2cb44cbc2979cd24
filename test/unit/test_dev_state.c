/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* The state of a device, saved to and loaded from a pipe. */

#include <sys/socket.h>

#include "device_rig.h"

#include "dev/device_private.h"

#define ACCEPTED 0x100u /* no error, no descriptor comes back */
#define REFUSED 0x101u

static struct {
	size_t saved_size; /* what the device is to save, all bytes 'x' */
	int result;        /* of both operations */
	unsigned int loads;
	size_t loaded_size;
	uint8_t loaded_last;
	int pipe[2];       /* read end, write end; -1: closed or given away */
} state_rig;

static int
save(void *owner, uint8_t **bytes, size_t *size)
{
	assert_ptr_equal(owner, &rig);
	if (state_rig.result != 0)
		return state_rig.result;
	*bytes = malloc(state_rig.saved_size + 1);
	assert_non_null(*bytes);
	memset(*bytes, 'x', state_rig.saved_size);
	*size = state_rig.saved_size;
	return 0;
}

static int
load(void *owner, const uint8_t *bytes, size_t size)
{
	assert_ptr_equal(owner, &rig);
	state_rig.loads++;
	state_rig.loaded_size = size;
	state_rig.loaded_last = size > 0 ? bytes[size - 1] : 0;
	return state_rig.result;
}

static int
setup(void **state)
{
	rig_setup(state);
	memset(&state_rig, 0, sizeof(state_rig));
	rig.ops.save_state = save;
	rig.ops.load_state = load;
	rig_renew_device();
	rig_negotiate();
	assert_int_equal(pipe2(state_rig.pipe, O_CLOEXEC), 0);
	return 0;
}

static void
close_end(int end)
{
	if (state_rig.pipe[end] >= 0)
		close(state_rig.pipe[end]);
	state_rig.pipe[end] = -1;
}

static int
teardown(void **state)
{
	close_end(0);
	close_end(1);
	return rig_teardown(state);
}

#define STATE_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

static void
step(void)
{
	int round;

	for (round = 0; round < 4; round++)
		vhu_loop_step(rig.loop, 0);
}

/* @param fd becomes the device's. */
static uint64_t
transfer(uint32_t direction, uint32_t phase, int fd)
{
	struct vhu_wire_device_state asked = { direction, phase };

	return rig_ask(VHU_SET_DEVICE_STATE_FD, &asked, sizeof(asked), fd);
}

/* As a front-end does: it gives its end away. */
static uint64_t
begin_save(void)
{
	int fd = state_rig.pipe[1];

	state_rig.pipe[1] = -1;
	return transfer(0, 0, fd);
}

static uint64_t
begin_load(void)
{
	int fd = state_rig.pipe[0];

	state_rig.pipe[0] = -1;
	return transfer(1, 0, fd);
}

static uint64_t
check(void)
{
	return rig_ask(VHU_CHECK_DEVICE_STATE, NULL, 0, -1);
}

/* Everything that comes through the pipe until it ends. */
static size_t
drain(void)
{
	static char bytes[1 << 16];
	size_t total = 0;
	ssize_t count;

	assert_int_equal(fcntl(state_rig.pipe[0], F_SETFL, O_NONBLOCK), 0);
	do {
		step();
		count = read(state_rig.pipe[0], bytes, sizeof(bytes));
		if (count > 0)
			total += (size_t)count;
	} while (count > 0);
	assert_int_equal(count, 0);
	return total;
}

static void
saved_state_comes_through_the_pipe_and_ends(void **state)
{
	(void)state;
	state_rig.saved_size = 100;
	assert_int_equal(begin_save(), ACCEPTED);
	assert_int_equal(drain(), 100);
	assert_int_equal(check(), 0);
}

static void
empty_state_is_saved(void **state)
{
	(void)state;
	assert_int_equal(begin_save(), ACCEPTED);
	assert_int_equal(drain(), 0);
	assert_int_equal(check(), 0);
}

static void
state_larger_than_the_pipe_is_saved(void **state)
{
	(void)state;
	state_rig.saved_size = 1 << 20;
	assert_int_equal(begin_save(), ACCEPTED);
	assert_int_equal(drain(), 1 << 20);
	assert_int_equal(check(), 0);
}

static void
state_is_saved_to_a_socket(void **state)
{
	(void)state;
	close_end(0);
	close_end(1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, state_rig.pipe), 0);
	state_rig.saved_size = 1 << 20;
	assert_int_equal(begin_save(), ACCEPTED);
	assert_int_equal(drain(), 1 << 20);
	assert_int_equal(check(), 0);
}

static void
loaded_state_is_applied_at_its_end(void **state)
{
	(void)state;
	assert_int_equal(begin_load(), ACCEPTED);
	assert_int_equal(write(state_rig.pipe[1], "abc", 3), 3);
	step();
	assert_int_equal(state_rig.loads, 0);
	assert_int_equal(write(state_rig.pipe[1], "de", 2), 2);
	close_end(1);
	step();
	assert_int_equal(state_rig.loads, 1);
	assert_int_equal(state_rig.loaded_size, 5);
	assert_int_equal(state_rig.loaded_last, 'e');
	assert_int_equal(check(), 0);
}

static void
state_that_was_written_before_the_message_is_loaded(void **state)
{
	(void)state;
	assert_int_equal(write(state_rig.pipe[1], "abc", 3), 3);
	close_end(1);
	assert_int_equal(begin_load(), ACCEPTED);
	step();
	assert_int_equal(state_rig.loaded_size, 3);
	assert_int_equal(check(), 0);
}

static void
empty_state_is_loaded(void **state)
{
	(void)state;
	close_end(1);
	assert_int_equal(begin_load(), ACCEPTED);
	step();
	assert_int_equal(state_rig.loads, 1);
	assert_int_equal(check(), 0);
}

static void
check_waits_for_the_end_of_the_transfer(void **state)
{
	unsigned int replies;

	(void)state;
	assert_int_equal(begin_load(), ACCEPTED);
	replies = rig.replies;
	rig_send(VHU_CHECK_DEVICE_STATE, 0, NULL, 0, NULL, 0);
	step();
	assert_true(vhu_device_busy(rig.device));
	assert_int_equal(rig.replies, replies);
	close_end(1);
	step();
	assert_false(vhu_device_busy(rig.device));
	assert_int_equal(rig.replies, replies + 1);
	assert_int_equal(rig.reply.request, VHU_CHECK_DEVICE_STATE);
	assert_int_equal(rig.reply.payload.u64, 0);
	assert_int_equal(rig.answered, 1);
}

static void
state_that_the_device_does_not_take_fails_the_check(void **state)
{
	(void)state;
	state_rig.result = -EINVAL;
	assert_int_equal(begin_load(), ACCEPTED);
	close_end(1);
	step();
	assert_int_equal(check(), 1);
}

static void
state_that_cannot_be_saved_is_refused_at_once(void **state)
{
	(void)state;
	state_rig.result = -EIO;
	assert_int_equal(begin_save(), REFUSED);
	assert_int_equal(check(), 1);
}

/* SIGPIPE would end this process. */
static void
reader_that_leaves_early_fails_the_check(void **state)
{
	(void)state;
	state_rig.saved_size = 1 << 20;
	assert_int_equal(begin_save(), ACCEPTED);
	step();
	close_end(0);
	step();
	assert_int_equal(check(), 1);
}

static void
state_without_end_is_given_up(void **state)
{
	static char bytes[1 << 16];
	unsigned int i;

	(void)state;
	assert_int_equal(begin_load(), ACCEPTED);
	assert_int_equal(fcntl(state_rig.pipe[1], F_SETFL, O_NONBLOCK), 0);
	for (i = 0; i <= VHU_STATE_MAX / sizeof(bytes); i++) {
		if (write(state_rig.pipe[1], bytes, sizeof(bytes)) < 0)
			break;
		step();
	}
	assert_int_equal(state_rig.loads, 0);
	assert_int_equal(check(), 1);
}

static void
blocking_pipe_that_nobody_reads_holds_up_nobody(void **state)
{
	(void)state;
	state_rig.saved_size = 1 << 20;
	assert_int_equal(transfer(0, 0, rig_dup(state_rig.pipe[1])), ACCEPTED);
	assert_int_equal(fcntl(state_rig.pipe[1], F_SETFL, 0), 0);
	alarm(5);
	step();
	alarm(0);
	assert_int_not_equal(rig_ask(VHU_GET_FEATURES, NULL, 0, -1), 0);
}

static void
device_that_runs_is_refused(void **state)
{
	(void)state;
	rig_share();
	rig_start_ring(0, 0);
	assert_int_equal(begin_save(), REFUSED);
	rig_base(0);
	assert_int_equal(begin_load(), ACCEPTED);
}

static void
device_that_starts_during_the_load_keeps_its_state(void **state)
{
	(void)state;
	rig_share();
	assert_int_equal(begin_load(), ACCEPTED);
	rig_start_ring(0, 0);
	close_end(1);
	step();
	assert_int_equal(state_rig.loads, 0);
	assert_int_equal(check(), 1);
}

static void
second_transfer_waits_its_turn(void **state)
{
	(void)state;
	assert_int_equal(begin_load(), ACCEPTED);
	assert_int_equal(begin_save(), REFUSED);
	step();
	assert_int_equal(check(), 0);
	assert_int_equal(state_rig.loads, 1);
}

static void
other_directions_and_phases_are_refused(void **state)
{
	(void)state;
	assert_int_equal(transfer(2, 0, rig_dup(state_rig.pipe[1])), REFUSED);
	assert_int_equal(transfer(0, 1, rig_dup(state_rig.pipe[1])), REFUSED);
}

static void
file_is_refused(void **state)
{
	(void)state;
	assert_int_equal(transfer(0, 0, rig_dup(rig.memory)), REFUSED);
	assert_int_equal(transfer(1, 0, rig_eventfd()), REFUSED);
}

static void
check_without_a_transfer_fails(void **state)
{
	(void)state;
	assert_int_equal(check(), 1);
}

static void
disconnect_ends_the_transfer_and_its_check(void **state)
{
	(void)state;
	assert_int_equal(begin_load(), ACCEPTED);
	rig_send(VHU_CHECK_DEVICE_STATE, 0, NULL, 0, NULL, 0);
	assert_true(vhu_device_busy(rig.device));
	vhu_device_disconnect(rig.device, rig_left);
	assert_int_equal(rig.left, 1);
}

static void
disconnect_ends_the_transfer_that_nobody_asks_for(void **state)
{
	(void)state;
	state_rig.saved_size = 1 << 20;
	assert_int_equal(begin_save(), ACCEPTED);
	vhu_device_disconnect(rig.device, rig_left);
	assert_int_equal(rig.left, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STATE_TEST(saved_state_comes_through_the_pipe_and_ends),
		STATE_TEST(empty_state_is_saved),
		STATE_TEST(state_larger_than_the_pipe_is_saved),
		STATE_TEST(state_is_saved_to_a_socket),
		STATE_TEST(loaded_state_is_applied_at_its_end),
		STATE_TEST(state_that_was_written_before_the_message_is_loaded),
		STATE_TEST(empty_state_is_loaded),
		STATE_TEST(check_waits_for_the_end_of_the_transfer),
		STATE_TEST(state_that_the_device_does_not_take_fails_the_check),
		STATE_TEST(state_that_cannot_be_saved_is_refused_at_once),
		STATE_TEST(reader_that_leaves_early_fails_the_check),
		STATE_TEST(state_without_end_is_given_up),
		STATE_TEST(blocking_pipe_that_nobody_reads_holds_up_nobody),
		STATE_TEST(device_that_runs_is_refused),
		STATE_TEST(device_that_starts_during_the_load_keeps_its_state),
		STATE_TEST(second_transfer_waits_its_turn),
		STATE_TEST(other_directions_and_phases_are_refused),
		STATE_TEST(file_is_refused),
		STATE_TEST(check_without_a_transfer_fails),
		STATE_TEST(disconnect_ends_the_transfer_and_its_check),
		STATE_TEST(disconnect_ends_the_transfer_that_nobody_asks_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
