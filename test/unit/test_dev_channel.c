/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* The back-end channel: each request ends exactly once, whatever the front-end does. */

#include "channel_rig.h"

/* A request that anybody may send: the configuration changed. */
static int
ask(bool need_reply)
{
	struct vhu_message m;

	vhu_backend_request_init(&m, VHU_BACKEND_CONFIG_CHANGE, 0, false);
	return vhu_channel_send(rig.device, &m, need_reply, channel_done, NULL);
}

static void
open_channel(void)
{
	rig_negotiate();
	channel_connect();
}

static void
request_without_answer_is_sent_and_done(void **state)
{
	struct vhu_message m;

	(void)state;
	open_channel();
	assert_int_equal(ask(false), 0);
	m = channel_take(VHU_BACKEND_CONFIG_CHANGE);
	assert_int_equal(m.flags, 0x1);
	assert_int_equal(m.size, 0);
	assert_int_equal(ended.count, 1);
	assert_int_equal(ended.result, 0);
	assert_false(ended.replied);
}

static void
answer_ends_the_request(void **state)
{
	struct vhu_message m;

	(void)state;
	open_channel();
	assert_int_equal(ask(true), 0);
	m = channel_take(VHU_BACKEND_CONFIG_CHANGE);
	assert_int_equal(m.flags, 0x9);
	assert_int_equal(ended.count, 0);
	channel_answer(VHU_BACKEND_CONFIG_CHANGE, 0);
	assert_int_equal(ended.count, 1);
	assert_int_equal(ended.result, 0);
}

static void
answer_other_than_0_is_a_failure(void **state)
{
	(void)state;
	open_channel();
	assert_int_equal(ask(true), 0);
	channel_answer(VHU_BACKEND_CONFIG_CHANGE, 1);
	assert_int_equal(ended.count, 1);
	assert_int_equal(ended.result, -EREMOTEIO);
	assert_false(channel_closed());
}

static void
second_question_waits_for_the_first_answer(void **state)
{
	struct vhu_message m;

	(void)state;
	open_channel();
	assert_int_equal(ask(true), 0);
	assert_int_equal(ask(true), 0);
	channel_take(VHU_BACKEND_CONFIG_CHANGE);
	assert_false(channel_read(&m));
	channel_answer(VHU_BACKEND_CONFIG_CHANGE, 0);
	channel_take(VHU_BACKEND_CONFIG_CHANGE);
	channel_answer(VHU_BACKEND_CONFIG_CHANGE, 0);
	assert_int_equal(ended.count, 2);
}

static void
what_needs_no_answer_does_not_wait_for_one(void **state)
{
	(void)state;
	open_channel();
	assert_int_equal(ask(true), 0);
	assert_int_equal(ask(false), 0);
	channel_take(VHU_BACKEND_CONFIG_CHANGE);
	channel_take(VHU_BACKEND_CONFIG_CHANGE);
	assert_int_equal(ended.count, 1);
}

static void
silence_ends_the_request_but_not_the_channel(void **state)
{
	(void)state;
	rig.channel_timeout_ms = 20;
	rig_renew_device();
	open_channel();
	assert_int_equal(ask(true), 0);
	channel_wait_ended(1);
	assert_int_equal(ended.result, -ETIMEDOUT);
	channel_take(VHU_BACKEND_CONFIG_CHANGE);
	assert_false(channel_closed());
}

static void
late_answer_is_dropped_and_the_next_request_follows(void **state)
{
	(void)state;
	rig.channel_timeout_ms = 20;
	rig_renew_device();
	open_channel();
	assert_int_equal(ask(true), 0);
	channel_wait_ended(1);
	channel_take(VHU_BACKEND_CONFIG_CHANGE);
	assert_int_equal(ask(true), 0);
	channel_answer(VHU_BACKEND_CONFIG_CHANGE, 1); /* to the first */
	assert_int_equal(ended.count, 1);
	channel_take(VHU_BACKEND_CONFIG_CHANGE);
	channel_answer(VHU_BACKEND_CONFIG_CHANGE, 0);
	assert_int_equal(ended.count, 2);
	assert_int_equal(ended.result, 0);
}

static void
request_behind_an_unanswered_one_times_out_too(void **state)
{
	(void)state;
	rig.channel_timeout_ms = 20;
	rig_renew_device();
	open_channel();
	assert_int_equal(ask(true), 0);
	assert_int_equal(ask(true), 0);
	channel_wait_ended(2);
	assert_int_equal(ended.result, -ETIMEDOUT);
}

static void
closing_by_the_front_end_fails_what_waits(void **state)
{
	(void)state;
	open_channel();
	assert_int_equal(ask(true), 0);
	assert_int_equal(ask(true), 0);
	close(peer);
	peer = -1;
	channel_step();
	assert_int_equal(ended.count, 2);
	assert_int_equal(ended.result, -ECONNRESET);
	assert_int_equal(ask(true), -ENOTCONN);
}

static void
replacement_fails_what_waits_and_serves_on(void **state)
{
	int old;

	(void)state;
	open_channel();
	assert_int_equal(ask(true), 0);
	old = peer;
	channel_connect();
	assert_int_equal(ended.count, 1);
	assert_int_equal(ended.result, -ECANCELED);
	close(old);
	assert_int_equal(ask(true), 0);
	channel_take(VHU_BACKEND_CONFIG_CHANGE);
	channel_answer(VHU_BACKEND_CONFIG_CHANGE, 0);
	assert_int_equal(ended.count, 2);
	assert_int_equal(ended.result, 0);
}

static void
disconnect_fails_what_waits(void **state)
{
	(void)state;
	open_channel();
	assert_int_equal(ask(true), 0);
	vhu_device_disconnect(rig.device, rig_left);
	assert_int_equal(rig.left, 1);
	assert_int_equal(ended.count, 1);
	assert_int_equal(ended.result, -ECANCELED);
}

static void
next_connection_begins_without_a_channel(void **state)
{
	(void)state;
	open_channel();
	vhu_device_disconnect(rig.device, rig_left);
	rig.left = 0;
	vhu_device_connect(rig.device);
	rig_negotiate();
	assert_int_equal(ask(false), -ENOTCONN);
}

/* What is no answer to the request under way must close the channel. */
static void
expect_closed(uint32_t request, uint32_t flags, uint32_t size)
{
	open_channel();
	assert_int_equal(ask(true), 0);
	channel_take(VHU_BACKEND_CONFIG_CHANGE);
	channel_write(request, flags, size, 0, -1);
	assert_int_equal(ended.count, 1);
	assert_int_equal(ended.result, -ECONNRESET);
	assert_true(channel_closed());
}

static void
answer_to_another_request_closes_the_channel(void **state)
{
	(void)state;
	expect_closed(VHU_BACKEND_VRING_CALL, VHU_FLAG_VERSION | VHU_FLAG_REPLY, 8);
}

static void
answer_of_the_wrong_size_closes_the_channel(void **state)
{
	(void)state;
	expect_closed(VHU_BACKEND_CONFIG_CHANGE, VHU_FLAG_VERSION | VHU_FLAG_REPLY, 4);
}

static void
answer_of_another_version_closes_the_channel(void **state)
{
	(void)state;
	expect_closed(VHU_BACKEND_CONFIG_CHANGE, 2 | VHU_FLAG_REPLY, 8);
}

static void
request_of_the_front_end_closes_the_channel(void **state)
{
	(void)state;
	expect_closed(VHU_BACKEND_CONFIG_CHANGE, VHU_FLAG_VERSION, 8);
}

static void
announcement_of_a_huge_answer_closes_the_channel(void **state)
{
	struct vhu_wire_header header = {
		VHU_BACKEND_CONFIG_CHANGE, VHU_FLAG_VERSION | VHU_FLAG_REPLY, UINT32_MAX,
	};

	(void)state;
	open_channel();
	assert_int_equal(ask(true), 0);
	assert_int_equal(send(peer, &header, sizeof(header), 0), sizeof(header));
	channel_step();
	assert_int_equal(ended.count, 1);
	assert_int_equal(ended.result, -ECONNRESET);
}

static void
unasked_answer_closes_the_channel(void **state)
{
	(void)state;
	open_channel();
	channel_answer(VHU_BACKEND_CONFIG_CHANGE, 0);
	assert_true(channel_closed());
	assert_int_equal(ask(false), -ENOTCONN);
}

/* The census of the teardown would find it. */
static void
descriptor_that_comes_with_an_answer_is_closed(void **state)
{
	(void)state;
	open_channel();
	assert_int_equal(ask(true), 0);
	channel_write(VHU_BACKEND_CONFIG_CHANGE, VHU_FLAG_VERSION | VHU_FLAG_REPLY, 8, 0,
		rig.memory);
	assert_int_equal(ended.count, 1);
	assert_int_equal(ended.result, 0);
}

static void
nothing_is_sent_without_the_feature(void **state)
{
	struct vhu_message m;

	(void)state;
	assert_int_equal(rig_u64(VHU_SET_PROTOCOL_FEATURES,
		VHU_BIT(VHU_PROTOCOL_BACKEND_REQ) | VHU_BIT(VHU_PROTOCOL_REPLY_ACK)), 0);
	channel_connect();
	assert_int_equal(ask(true), -EOPNOTSUPP);
	assert_false(channel_read(&m));
	assert_int_equal(ended.count, 0);
}

static void
without_acknowledgements_a_request_is_done_when_sent(void **state)
{
	(void)state;
	assert_int_equal(rig_u64(VHU_SET_PROTOCOL_FEATURES,
		VHU_BIT(VHU_PROTOCOL_BACKEND_REQ) | VHU_BIT(VHU_PROTOCOL_CONFIG)), 0);
	channel_connect();
	assert_int_equal(ask(true), 0);
	assert_int_equal(channel_take(VHU_BACKEND_CONFIG_CHANGE).flags, 0x1);
	assert_int_equal(ended.count, 1);
}

static void
channel_needs_its_feature(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(rig_ask(VHU_SET_BACKEND_REQ_FD, NULL, 0, fds[1]), 1);
	close(fds[0]);
}

static void
what_is_no_stream_socket_is_refused_and_the_channel_stays(void **state)
{
	(void)state;
	open_channel();
	assert_int_equal(rig_ask(VHU_SET_BACKEND_REQ_FD, NULL, 0, rig_eventfd()), 1);
	assert_int_equal(rig_ask(VHU_SET_BACKEND_REQ_FD, NULL, 0, rig_dup(rig.memory)), 1);
	assert_int_equal(rig_ask(VHU_SET_BACKEND_REQ_FD, NULL, 0,
		socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)), 1);
	assert_int_equal(ask(false), 0);
	channel_take(VHU_BACKEND_CONFIG_CHANGE);
}

static void
front_end_that_reads_nothing_cannot_make_us_keep_more(void **state)
{
	unsigned int sent = 0, i;
	int rc;

	(void)state;
	open_channel();
	for (i = 0; i < 100000; i++) {
		rc = ask(false);
		if (rc != 0)
			break;
		sent++;
	}
	assert_int_equal(rc, -ENOBUFS);
	for (i = 0; i < sent; i++) {
		channel_take(VHU_BACKEND_CONFIG_CHANGE);
		channel_step();
	}
	assert_int_equal(ended.count, sent);
	assert_int_equal(ask(false), 0);
}

static void
ask_again(struct vhu_device *device, void *argument, int result, struct vhu_message *reply)
{
	unsigned int *rounds = argument;
	struct vhu_message m;

	(void)reply;
	assert_int_equal(result, 0);
	if (--*rounds == 0)
		return;
	vhu_backend_request_init(&m, VHU_BACKEND_CONFIG_CHANGE, 0, false);
	assert_int_equal(vhu_channel_send(device, &m, false, ask_again, rounds), 0);
}

static void
request_may_be_sent_from_the_end_of_another(void **state)
{
	struct vhu_message m;
	unsigned int rounds = 100;

	(void)state;
	open_channel();
	vhu_backend_request_init(&m, VHU_BACKEND_CONFIG_CHANGE, 0, false);
	assert_int_equal(vhu_channel_send(rig.device, &m, false, ask_again, &rounds), 0);
	assert_int_equal(rounds, 0);
}

static void
leave(struct vhu_device *device, void *argument, int result, struct vhu_message *reply)
{
	(void)argument;
	(void)result;
	(void)reply;
	ended.count++;
	vhu_device_disconnect(device, rig_left);
}

static void
end_of_a_request_may_disconnect(void **state)
{
	struct vhu_message m;

	(void)state;
	open_channel();
	vhu_backend_request_init(&m, VHU_BACKEND_CONFIG_CHANGE, 0, false);
	assert_int_equal(vhu_channel_send(rig.device, &m, true, leave, NULL), 0);
	assert_int_equal(ask(true), 0);
	channel_answer(VHU_BACKEND_CONFIG_CHANGE, 0);
	assert_int_equal(rig.left, 1);
	assert_int_equal(ended.count, 2);
	assert_int_equal(ended.result, -ECANCELED);
}

static void
missing_translation_is_asked_for(void **state)
{
	struct vhu_message m;

	(void)state;
	rig.features = RIG_FEATURES | VHU_BIT(VIRTIO_F_ACCESS_PLATFORM);
	rig_renew_device();
	assert_int_equal(rig_u64(VHU_SET_PROTOCOL_FEATURES, rig_protocol()), 0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, rig.features | RIG_PROTOCOL), 0);
	channel_connect();
	assert_int_equal(vhu_device_ask_translation(rig.device, 0xabcd000, VHU_WRITE), 0);
	m = channel_take(VHU_BACKEND_IOTLB_MSG);
	assert_int_equal(m.flags, 0x1);
	assert_int_equal(m.size, 32);
	assert_int_equal(m.payload.iotlb.iova, 0xabcd000);
	assert_int_equal(m.payload.iotlb.size, 0);
	assert_int_equal(m.payload.iotlb.permission, 2);
	assert_int_equal(m.payload.iotlb.type, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CHANNEL_TEST(request_without_answer_is_sent_and_done),
		CHANNEL_TEST(answer_ends_the_request),
		CHANNEL_TEST(answer_other_than_0_is_a_failure),
		CHANNEL_TEST(second_question_waits_for_the_first_answer),
		CHANNEL_TEST(what_needs_no_answer_does_not_wait_for_one),
		CHANNEL_TEST(silence_ends_the_request_but_not_the_channel),
		CHANNEL_TEST(late_answer_is_dropped_and_the_next_request_follows),
		CHANNEL_TEST(request_behind_an_unanswered_one_times_out_too),
		CHANNEL_TEST(closing_by_the_front_end_fails_what_waits),
		CHANNEL_TEST(replacement_fails_what_waits_and_serves_on),
		CHANNEL_TEST(disconnect_fails_what_waits),
		CHANNEL_TEST(next_connection_begins_without_a_channel),
		CHANNEL_TEST(answer_to_another_request_closes_the_channel),
		CHANNEL_TEST(answer_of_the_wrong_size_closes_the_channel),
		CHANNEL_TEST(answer_of_another_version_closes_the_channel),
		CHANNEL_TEST(request_of_the_front_end_closes_the_channel),
		CHANNEL_TEST(announcement_of_a_huge_answer_closes_the_channel),
		CHANNEL_TEST(unasked_answer_closes_the_channel),
		CHANNEL_TEST(descriptor_that_comes_with_an_answer_is_closed),
		CHANNEL_TEST(nothing_is_sent_without_the_feature),
		CHANNEL_TEST(without_acknowledgements_a_request_is_done_when_sent),
		CHANNEL_TEST(channel_needs_its_feature),
		CHANNEL_TEST(what_is_no_stream_socket_is_refused_and_the_channel_stays),
		CHANNEL_TEST(front_end_that_reads_nothing_cannot_make_us_keep_more),
		CHANNEL_TEST(request_may_be_sent_from_the_end_of_another),
		CHANNEL_TEST(end_of_a_request_may_disconnect),
		CHANNEL_TEST(missing_translation_is_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
