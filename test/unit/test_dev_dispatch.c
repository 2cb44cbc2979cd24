/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "device_rig.h"

#include "obs/log.h"

static void
acknowledgement_comes_only_if_it_is_wanted(void **state)
{
	(void)state;
	rig_send(VHU_SET_OWNER, 0, NULL, 0, NULL, 0);
	assert_int_equal(rig.replies, 0);
	rig_send(VHU_SET_OWNER, VHU_FLAG_NEED_REPLY, NULL, 0, NULL, 0);
	assert_int_equal(rig.replies, 1);
	assert_int_equal(rig.reply.payload.u64, 0);
}

static void
message_with_a_reply_of_its_own_gets_just_that(void **state)
{
	(void)state;
	rig_send(VHU_GET_FEATURES, VHU_FLAG_NEED_REPLY, NULL, 0, NULL, 0);
	assert_int_equal(rig.replies, 1);
	rig_send(VHU_GET_FEATURES, 0, NULL, 0, NULL, 0);
	assert_int_equal(rig.replies, 2);
	assert_int_equal(rig.reply.payload.u64, RIG_OFFER | RIG_PROTOCOL);
}

static void
deferred_message_is_acknowledged_only_if_it_is_wanted(void **state)
{
	struct vhu_wire_vring_state off = { 0, 0 };

	(void)state;
	rig_run_ring(0);
	(void)vhu_reader_enter(&rig.rings[0].reader);
	rig.replies = 0;
	rig_send(VHU_SET_VRING_ENABLE, 0, &off, sizeof(off), NULL, 0);
	assert_true(vhu_device_busy(rig.device));
	vhu_reader_leave(&rig.rings[0].reader);
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig.replies, 0);
	assert_int_equal(rig.answered, 1);
	assert_false(rig_info(0).enabled);
}

static void
unknown_request_is_refused_and_told(void **state)
{
	(void)state;
	rig_send(1000, VHU_FLAG_NEED_REPLY, NULL, 0, NULL, 0);
	assert_int_equal(rig.replies, 1);
	assert_int_equal(rig.reply.request, 1000);
	assert_int_equal(rig.reply.payload.u64, 1);
	assert_string_equal(rig.told, "refused=3e8; ");
	assert_int_equal(rig_ask(VHU_GET_FEATURES, NULL, 0, -1), RIG_OFFER | RIG_PROTOCOL);
}

/* Whatever is not served must say so: a front-end acts upon an acknowledgement. */
static void
what_is_not_served_is_never_acknowledged(void **state)
{
	static const struct {
		uint32_t request, size, fds;
	} messages[] = {
		{ VHU_SET_LOG_BASE, 16, 0 }, { VHU_SEND_RARP, 8, 0 },
		{ VHU_IOTLB_MSG, 32, 0 }, { VHU_SET_VRING_ENDIAN, 8, 0 },
		{ VHU_CLOSE_CRYPTO_SESSION, 8, 0 }, { VHU_POSTCOPY_LISTEN, 0, 0 },
		{ VHU_SET_INFLIGHT_FD, 24, 1 },
		{ VHU_GPU_SET_SOCKET, 0, 1 }, { VHU_VRING_KICK, 8, 0 },
		{ VHU_CHECK_DEVICE_STATE, 0, 0 },
	};
	uint8_t payload[64] = { 0 };
	unsigned int i;

	(void)state;
	rig_negotiate();
	for (i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		int fd = rig_eventfd();

		if (messages[i].fds == 0)
			close(fd);
		rig_send(messages[i].request, VHU_FLAG_NEED_REPLY, payload, messages[i].size, &fd,
			messages[i].fds);
		assert_int_equal(rig.reply.request, messages[i].request);
		assert_int_equal(rig.reply.size, 8);
		assert_int_not_equal(rig.reply.payload.u64, 0);
	}
	assert_int_equal(rig.replies, 2 + i);
}

static void
log_base_without_shared_log_gets_no_unwanted_reply(void **state)
{
	struct vhu_wire_log log = { .size = 4096 };

	(void)state;
	rig_send(VHU_SET_LOG_BASE, 0, &log, sizeof(log), NULL, 0);
	assert_int_equal(rig.replies, 0);
}

static void
refusals_are_counted_and_the_last_is_kept(void **state)
{
	uint64_t messages, refusals;
	char last[VHU_REASON_SIZE];

	(void)state;
	rig_send(VHU_SET_OWNER, 0, NULL, 0, NULL, 0);
	vhu_device_counts(rig.device, &messages, &refusals, last);
	assert_int_equal(messages, 1);
	assert_int_equal(refusals, 0);
	assert_string_equal(last, "");
	rig_u64(VHU_SET_FEATURES, 0);
	vhu_device_counts(rig.device, &messages, &refusals, last);
	assert_int_equal(messages, 2);
	assert_int_equal(refusals, 1);
	assert_non_null(strstr(last, "SET_FEATURES"));
	assert_non_null(strstr(last, "VERSION_1"));
}

static unsigned int lines;

static void
count_lines(enum vhu_log_level level, const char *line)
{
	(void)level;
	(void)line;
	lines++;
}

static void
flood_of_refusals_does_not_flood_the_log(void **state)
{
	uint64_t messages, refusals;
	char last[VHU_REASON_SIZE];
	unsigned int i;

	(void)state;
	lines = 0;
	vhu_log_set_sink(count_lines);
	for (i = 0; i < 100000; i++)
		rig_send(77, 0, NULL, 0, NULL, 0);
	vhu_log_set_sink(NULL);
	vhu_device_counts(rig.device, &messages, &refusals, last);
	assert_int_equal(refusals, 100000);
	assert_in_range(lines, 2, 100);
}

/* One message, its payload all zero, with descriptors of two kinds. */
static void
send_with_surplus(uint32_t request, uint32_t size, unsigned int fd_count)
{
	uint8_t payload[VHU_PAYLOAD_MAX] = { 0 };
	int fds[VHU_MESSAGE_FDS];
	unsigned int i;

	for (i = 0; i < fd_count; i++)
		fds[i] = i % 2 == 0 ? rig_eventfd() : rig_dup(rig.memory);
	rig_send(request, VHU_FLAG_NEED_REPLY, payload, size, fds, fd_count);
	assert_false(vhu_device_busy(rig.device));
}

/* Every request, every size that matters, every number of descriptors; teardown counts. */
static void
no_descriptor_leaks_whatever_comes_with_a_message(void **state)
{
	uint32_t request;

	(void)state;
	rig_negotiate();
	rig_share();
	vhu_log_set_sink(count_lines);
	for (request = 0; request <= VHU_REQUESTS; request++) {
		const struct vhu_request_rule *rule = vhu_request_rule(request);
		uint32_t size = rule != NULL ? rule->size_max : 8;
		unsigned int fds;

		for (fds = 0; fds <= VHU_MESSAGE_FDS; fds++) {
			unsigned int replies = rig.replies;

			send_with_surplus(request, 0, fds);
			send_with_surplus(request, size, fds);
			assert_int_equal(rig.replies, replies + 2);
			if (size != 0)
				send_with_surplus(request, size - 1, fds);
			if (rule != NULL)
				send_with_surplus(request, rule->size_min, fds);
			if (size < VHU_PAYLOAD_MAX)
				send_with_surplus(request, size + 1, fds);
		}
	}
	vhu_log_set_sink(NULL);
}

static void
truncated_descriptors_are_refused_and_closed(void **state)
{
	struct vhu_message m = {
		.request = VHU_SET_VRING_CALL,
		.flags = VHU_FLAG_VERSION,
		.size = 8,
		.fd_count = 1,
		.fds_truncated = true,
		.fds = { rig_eventfd() },
	};

	(void)state;
	vhu_device_receive(rig.device, &m);
	assert_int_equal(rig_info(0).call_fd, -1);
	assert_string_equal(rig.told, "refused=d; ");
}

static void
message_to_a_busy_device_is_dropped_with_its_descriptors(void **state)
{
	struct vhu_wire_vring_state get = { 0, 0 };
	uint64_t index = 0;
	int call = rig_eventfd();

	(void)state;
	rig_run_ring(0);
	(void)vhu_reader_enter(&rig.rings[0].reader);
	rig.replies = 0;
	rig_send(VHU_GET_VRING_BASE, 0, &get, sizeof(get), NULL, 0);
	rig_send(VHU_SET_VRING_CALL, VHU_FLAG_NEED_REPLY, &index, sizeof(index), &call, 1);
	assert_int_equal(fcntl(call, F_GETFD), -1);
	assert_int_equal(rig.replies, 0);
	vhu_reader_leave(&rig.rings[0].reader);
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig.replies, 1);
	assert_int_equal(rig.reply.request, VHU_GET_VRING_BASE);
}

static void
same_message_again_and_again_uses_nothing_up(void **state)
{
	unsigned int i, fds;

	(void)state;
	rig_run_ring(0);
	assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, rig_eventfd()), 0);
	assert_int_equal(rig_fd(VHU_SET_VRING_ERR, 0, rig_eventfd()), 0);
	fds = unit_open_fds();
	for (i = 0; i < 20000; i++) {
		assert_int_equal(rig_fd(VHU_SET_VRING_CALL, 0, rig_eventfd()), 0);
		assert_int_equal(rig_fd(VHU_SET_VRING_ERR, 0, rig_eventfd()), 0);
		assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 0, rig_eventfd()), 0);
		assert_int_equal(rig_state(VHU_SET_VRING_NUM, 1, 64), 0);
	}
	assert_int_equal(unit_open_fds(), fds);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(acknowledgement_comes_only_if_it_is_wanted),
		RIG_TEST(message_with_a_reply_of_its_own_gets_just_that),
		RIG_TEST(deferred_message_is_acknowledged_only_if_it_is_wanted),
		RIG_TEST(unknown_request_is_refused_and_told),
		RIG_TEST(what_is_not_served_is_never_acknowledged),
		RIG_TEST(log_base_without_shared_log_gets_no_unwanted_reply),
		RIG_TEST(refusals_are_counted_and_the_last_is_kept),
		RIG_TEST(flood_of_refusals_does_not_flood_the_log),
		RIG_TEST(no_descriptor_leaks_whatever_comes_with_a_message),
		RIG_TEST(truncated_descriptors_are_refused_and_closed),
		RIG_TEST(message_to_a_busy_device_is_dropped_with_its_descriptors),
		RIG_TEST(same_message_again_and_again_uses_nothing_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
