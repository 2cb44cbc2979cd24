/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * A front-end that means harm, against a device that serves everything: each message in all sizes
 * and with any number of descriptors, and the same message for ever (rows HF2 and HF7).
 */

#include <malloc.h>

#include "channel_rig.h"

#include "obs/log.h"

/* Often enough to show any growth; fewer where each one costs system calls. */
#define REPEATS 100000
#define REPEATS_SLOW 5000
#define WARM_UP 200

static const uint64_t regions[2] = { 0x10000, 0x20000 };

static void
ignore_line(enum vhu_log_level level, const char *line)
{
	(void)level;
	(void)line;
}

static int
get_object(void *owner, const uint8_t *uuid)
{
	(void)owner;
	return uuid[0] == 0 ? rig_dup(rig.memory) : -ENOENT;
}

static int
set_config(void *owner, uint32_t offset, const void *data, uint32_t size, bool migration)
{
	(void)owner;
	(void)data;
	assert_true(offset <= VHU_CONFIG_SPACE_SIZE && size <= VHU_CONFIG_SPACE_SIZE - offset);
	return migration ? 0 : -EPERM;
}

static int
save(void *owner, uint8_t **bytes, size_t *size)
{
	(void)owner;
	*bytes = calloc(1, 64);
	*size = 64;
	return *bytes != NULL ? 0 : -ENOMEM;
}

static int
load(void *owner, const uint8_t *bytes, size_t size)
{
	(void)owner;
	(void)bytes;
	return size == 64 ? 0 : -EINVAL;
}

static int
gpu_socket(void *owner, int fd)
{
	(void)owner;
	close(fd);
	return 0;
}

static void
close_descriptors_of_reply(void *owner, struct vhu_message *reply)
{
	rig_send_reply(owner, reply);
	vhu_message_close(reply);
}

/* Everything that can be offered is, and acknowledged. */
static int
setup(void **state)
{
	uint64_t protocol;

	channel_setup(state);
	rig.ops.send = close_descriptors_of_reply;
	rig.ops.get_shared_object = get_object;
	rig.ops.set_config = set_config;
	rig.ops.save_state = save;
	rig.ops.load_state = load;
	rig.ops.gpu_socket = gpu_socket;
	rig.shmem_sizes = regions;
	rig.shmem_count = 2;
	rig.host_notifiers = true;
	rig_renew_device();
	vhu_log_set_sink(ignore_line);
	protocol = rig_protocol() | VHU_BIT(VHU_PROTOCOL_INBAND_NOTIFICATIONS);
	assert_int_equal(rig_u64(VHU_SET_PROTOCOL_FEATURES, protocol), 0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, RIG_FEATURES | RIG_PROTOCOL), 0);
	channel_connect();
	rig_share();
	return 0;
}

static int
teardown(void **state)
{
	vhu_log_set_sink(NULL);
	return channel_teardown(state);
}

/* A descriptor that some message has a use for; what the message cannot use must be closed. */
static int
any_descriptor(unsigned int kind)
{
	int fds[2];

	switch (kind % 4) {
	case 0:
		return rig_eventfd();
	case 1:
		return rig_dup(rig.memory);
	case 2:
		assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
		break;
	default:
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
		break;
	}
	close(fds[0]);
	return fds[1];
}

/* @p kind of the first descriptor, the others follow. */
static void
send_message(uint32_t request, uint32_t size, unsigned int fd_count, unsigned int kind)
{
	static const uint8_t zeroes[VHU_PAYLOAD_MAX];
	unsigned int i, round;
	int fds[VHU_MESSAGE_FDS];

	for (i = 0; i < fd_count; i++)
		fds[i] = any_descriptor(kind + i);
	rig_send(request, VHU_FLAG_NEED_REPLY, zeroes, size, fds, fd_count);
	/* Only the check of a transfer may wait, and only for the loop. */
	for (round = 0; round < 3 && vhu_device_busy(rig.device); round++)
		vhu_loop_step(rig.loop, 0);
	assert_false(vhu_device_busy(rig.device));
}

/* What must still work afterwards. */
static void
expect_intact(void)
{
	rig_run_ring(2);
	assert_int_equal(rig_base(2), 0);
}

static void
every_message_in_every_size_with_any_descriptors_is_answered_once(void **state)
{
	uint32_t request;

	(void)state;
	for (request = 0; request <= VHU_REQUESTS; request++) {
		const struct vhu_request_rule *rule = vhu_request_rule(request);
		uint32_t right = rule != NULL ? rule->size_max : 8;
		uint32_t sizes[] = { 0, right - (right > 0), right, right + 1, VHU_PAYLOAD_MAX,
			rule != NULL ? rule->size_min : 0 };
		unsigned int fds, kind, i;

		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			if (sizes[i] > VHU_PAYLOAD_MAX)
				continue;
			for (fds = 0; fds <= VHU_MESSAGE_FDS; fds++) {
				for (kind = 0; kind < (fds > 0 ? 4u : 1u); kind++) {
					unsigned int replies = rig.replies;

					send_message(request, sizes[i], fds, kind);
					assert_int_equal(rig.replies, replies + 1);
				}
			}
		}
	}
	/* Features were among what was sent: all zero. */
	assert_int_equal(rig_u64(VHU_SET_PROTOCOL_FEATURES, VHU_BIT(VHU_PROTOCOL_REPLY_ACK)), 0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, RIG_FEATURES | RIG_PROTOCOL), 0);
	rig_share();
	expect_intact();
}

/* With its right payload (all zero) and descriptors. */
static void
send_right(uint32_t request, unsigned int kind)
{
	const struct vhu_request_rule *rule = vhu_request_rule(request);
	unsigned int fds = rule->flags & VHU_RULE_SIZE_MEM_TABLE ? 0 : rule->fd_max;

	send_message(request, rule->size_min, fds, kind);
}

static void
same_message_for_ever_costs_nothing(void **state)
{
	uint32_t request;

	(void)state;
	for (request = 1; request < VHU_REQUESTS; request++) {
		const struct vhu_request_rule *rule = vhu_request_rule(request);
		unsigned int kind, i, fds, repeats = rule->fd_max > 0 ||
			request == VHU_GET_SHARED_OBJECT || rule->size_max > 64 ?
			REPEATS_SLOW : REPEATS;
		size_t bytes;

		/* What a session of its own may set is set before: nothing is forgotten between. */
		for (kind = 0; kind < (rule->fd_max > 0 ? 4u : 1u); kind++) {
			for (i = 0; i < WARM_UP; i++)
				send_right(request, kind);
			bytes = mallinfo2().uordblks;
			fds = unit_open_fds();
			for (i = 0; i < repeats; i++)
				send_right(request, kind);
			assert_int_equal(unit_open_fds(), fds);
			assert_int_equal(mallinfo2().uordblks, bytes);
		}
	}
	assert_in_range(rig_mappings(), 0, 8);
}

/* Run, stop and run again: what a start takes a stop gives back. */
static void
ring_that_starts_and_stops_for_ever_costs_nothing(void **state)
{
	unsigned int i, fds = 0;
	struct vhu_message m;
	size_t bytes = 0;

	(void)state;
	for (i = 0; i < REPEATS_SLOW; i++) {
		if (i == WARM_UP) {
			bytes = mallinfo2().uordblks;
			fds = unit_open_fds();
		}
		rig_run_ring(0);
		assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, rig_eventfd()), 0);
		rig_base(0);
		rig_forget_events();
		while (channel_read(&m)) /* the calls at the start */
			channel_step();
	}
	assert_int_equal(unit_open_fds(), fds);
	assert_int_equal(mallinfo2().uordblks, bytes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			every_message_in_every_size_with_any_descriptors_is_answered_once, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			same_message_for_ever_costs_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(
			ring_that_starts_and_stops_for_ever_costs_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
