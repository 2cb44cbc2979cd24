/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* What a stream reads: messages in any pieces, their descriptors, pauses, ends. */

#include <fcntl.h>
#include <sys/resource.h>

#include "test_sock_peer.h"

static void
message_arrives_byte_by_byte(void **state)
{
	struct peer *peer = *state;
	uint8_t bytes[64];
	size_t size = peer_encode(bytes, VHU_SET_FEATURES, UINT64_C(0x1122334455667788));
	size_t i;

	for (i = 0; i < size; i++) {
		assert_int_equal(peer->count, 0);
		peer_send(peer, bytes + i, 1, NULL, 0);
		peer_serve(peer);
	}
	assert_int_equal(peer->count, 1);
	assert_int_equal(peer->messages[0].request, VHU_SET_FEATURES);
	assert_int_equal(peer->messages[0].flags, VHU_FLAG_VERSION);
	assert_int_equal(peer->messages[0].size, 8);
	assert_true(peer->messages[0].payload.u64 == UINT64_C(0x1122334455667788));
}

static void
message_without_payload_is_delivered(void **state)
{
	struct peer *peer = *state;
	const struct vhu_wire_header header = { VHU_SET_OWNER, VHU_FLAG_VERSION, 0 };

	peer_send(peer, &header, sizeof(header), NULL, 0);
	peer_serve(peer);
	assert_int_equal(peer->count, 1);
	assert_int_equal(peer->messages[0].request, VHU_SET_OWNER);
}

static void
largest_payload_is_delivered(void **state)
{
	struct peer *peer = *state;
	struct vhu_wire_header header = { VHU_SET_CONFIG, VHU_FLAG_VERSION, VHU_PAYLOAD_MAX };
	uint8_t payload[VHU_PAYLOAD_MAX];

	memset(payload, 0x5a, sizeof(payload));
	peer_send(peer, &header, sizeof(header), NULL, 0);
	peer_send(peer, payload, sizeof(payload), NULL, 0);
	peer_serve(peer);
	assert_int_equal(peer->count, 1);
	assert_memory_equal(peer->messages[0].payload.bytes, payload, sizeof(payload));
}

static void
payload_too_large_ends_the_stream(void **state)
{
	struct peer *peer = *state;
	struct vhu_wire_header header = { VHU_SET_CONFIG, VHU_FLAG_VERSION, VHU_PAYLOAD_MAX + 1 };

	peer_send(peer, &header, sizeof(header), NULL, 0);
	peer_serve(peer);
	assert_int_equal(peer->count, 0);
	assert_int_equal(peer->ends, 1);
	assert_true(peer->fault);
	assert_non_null(strstr(peer->why, "2057"));
}

static void
nothing_of_an_earlier_message_is_left_in_a_later_one(void **state)
{
	struct peer *peer = *state;
	const struct vhu_wire_header header = { VHU_SET_OWNER, VHU_FLAG_VERSION, 0 };

	peer_request(peer, VHU_SET_FEATURES, UINT64_MAX);
	peer_send(peer, &header, sizeof(header), NULL, 0);
	peer_serve(peer);
	assert_int_equal(peer->count, 2);
	assert_true(peer->messages[1].payload.u64 == 0);
	assert_int_equal(peer->messages[1].fd_count, 0);
}

static void
descriptors_of_two_messages_in_one_buffer_stay_apart(void **state)
{
	struct peer *peer = *state;
	uint8_t bytes[64];
	int fds[3];

	peer_make_fds(fds, 3);
	peer_send(peer, bytes, peer_encode(bytes, VHU_SET_VRING_KICK, 0), &fds[0], 1);
	peer_send(peer, bytes, peer_encode(bytes, VHU_SET_VRING_CALL, 1), &fds[1], 2);
	peer_serve(peer);
	assert_int_equal(peer->count, 2);
	assert_int_equal(peer->messages[0].fd_count, 1);
	peer_assert_same_file(peer->messages[0].fds[0], fds[0]);
	assert_int_equal(peer->messages[1].fd_count, 2);
	peer_assert_same_file(peer->messages[1].fds[0], fds[1]);
	peer_assert_same_file(peer->messages[1].fds[1], fds[2]);
	peer_close_fds(fds, 3);
}

static void
two_messages_in_one_send_are_two_messages(void **state)
{
	struct peer *peer = *state;
	uint8_t bytes[64];
	size_t size = peer_encode(bytes, VHU_SET_VRING_KICK, 0);
	int fd;

	size += peer_encode(bytes + size, VHU_SET_FEATURES, 7);
	peer_make_fds(&fd, 1);
	peer_send(peer, bytes, size, &fd, 1);
	peer_serve(peer);
	assert_int_equal(peer->count, 2);
	assert_int_equal(peer->messages[0].request, VHU_SET_VRING_KICK);
	assert_int_equal(peer->messages[0].fd_count, 1);
	assert_int_equal(peer->messages[1].request, VHU_SET_FEATURES);
	assert_int_equal(peer->messages[1].fd_count, 0);
	peer_close_fds(&fd, 1);
}

static void
descriptors_may_come_with_any_byte_of_a_message(void **state)
{
	struct peer *peer = *state;
	uint8_t bytes[64];
	size_t size = peer_encode(bytes, VHU_SET_MEM_TABLE, 0);
	int fds[3];

	peer_make_fds(fds, 3);
	peer_send(peer, bytes, 5, &fds[0], 1);
	peer_send(peer, bytes + 5, PEER_HEADER - 5, &fds[1], 1);
	peer_send(peer, bytes + PEER_HEADER, size - PEER_HEADER, &fds[2], 1);
	peer_serve(peer);
	assert_int_equal(peer->count, 1);
	assert_int_equal(peer->messages[0].fd_count, 3);
	assert_false(peer->messages[0].fds_truncated);
	peer_assert_same_file(peer->messages[0].fds[0], fds[0]);
	peer_assert_same_file(peer->messages[0].fds[1], fds[1]);
	peer_assert_same_file(peer->messages[0].fds[2], fds[2]);
	peer_close_fds(fds, 3);
}

static void
eight_descriptors_are_taken(void **state)
{
	struct peer *peer = *state;
	uint8_t bytes[64];
	int fds[8];

	peer_make_fds(fds, 8);
	peer_send(peer, bytes, peer_encode(bytes, VHU_SET_MEM_TABLE, 0), fds, 8);
	peer_serve(peer);
	assert_int_equal(peer->messages[0].fd_count, 8);
	assert_false(peer->messages[0].fds_truncated);
	peer_assert_same_file(peer->messages[0].fds[7], fds[7]);
	peer_close_fds(fds, 8);
}

/* @p count descriptors at once: the message says so, and the census shows that none stayed. */
static void
send_too_many_descriptors(struct peer *peer, unsigned int count)
{
	uint8_t bytes[64];
	int fds[32];

	peer_make_fds(fds, count);
	peer_send(peer, bytes, peer_encode(bytes, VHU_SET_MEM_TABLE, 0), fds, count);
	peer_serve(peer);
	assert_int_equal(peer->count, 1);
	assert_int_equal(peer->messages[0].fd_count, 8);
	assert_true(peer->messages[0].fds_truncated);
	peer_close_fds(fds, count);
}

static void
nine_descriptors_are_noticed(void **state)
{
	send_too_many_descriptors(*state, 9);
}

static void
thirty_descriptors_are_noticed(void **state)
{
	send_too_many_descriptors(*state, 30);
}

static void
one_descriptor_per_byte_is_noticed(void **state)
{
	struct peer *peer = *state;
	uint8_t bytes[64];
	size_t size = peer_encode(bytes, VHU_SET_MEM_TABLE, 0);
	size_t i;
	int fd;

	peer_make_fds(&fd, 1);
	for (i = 0; i < size; i++)
		peer_send(peer, bytes + i, 1, &fd, 1);
	peer_serve(peer);
	assert_int_equal(peer->count, 1);
	assert_int_equal(peer->messages[0].fd_count, 8);
	assert_true(peer->messages[0].fds_truncated);
	peer_close_fds(&fd, 1);
}

static void
descriptors_that_the_process_has_no_room_for_are_noticed(void **state)
{
	struct peer *peer = *state;
	struct rlimit before, tight;
	uint8_t bytes[64];
	int fds[4];

	peer_make_fds(fds, 4);
	peer_send(peer, bytes, peer_encode(bytes, VHU_SET_MEM_TABLE, 0), fds, 4);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	tight = before;
	/* Room for none but the highest that is open already. */
	tight.rlim_cur = (rlim_t)fds[3] + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	peer_serve(peer);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(peer->count, 1);
	assert_true(peer->messages[0].fd_count < 4);
	assert_true(peer->messages[0].fds_truncated);
	peer_close_fds(fds, 4);
}

static void
received_descriptors_do_not_survive_exec(void **state)
{
	struct peer *peer = *state;
	uint8_t bytes[64];
	int fd;

	peer_make_fds(&fd, 1);
	peer_send(peer, bytes, peer_encode(bytes, VHU_SET_VRING_KICK, 0), &fd, 1);
	peer_serve(peer);
	assert_int_equal(fcntl(peer->messages[0].fds[0], F_GETFD), FD_CLOEXEC);
	peer_close_fds(&fd, 1);
}

static void
descriptors_of_a_half_message_are_closed_with_the_stream(void **state)
{
	struct peer *peer = *state;
	uint8_t bytes[64];
	int fds[2];

	peer_encode(bytes, VHU_SET_VRING_KICK, 0);
	peer_make_fds(fds, 2);
	peer_send(peer, bytes, 3, fds, 2);
	peer_serve(peer);
	peer_close_fds(fds, 2);
	/* peer_teardown() closes the stream and counts. */
	assert_int_equal(peer->count, 0);
}

static void
half_a_message_delays_nobody_else(void **state)
{
	struct peer *slow = *state;
	struct peer *quick = peer_new(slow->loop);
	uint8_t bytes[64];
	size_t size = peer_encode(bytes, VHU_SET_FEATURES, 1);
	unsigned int i;

	peer_send(slow, bytes, size - 1, NULL, 0);
	for (i = 0; i < 100; i++)
		peer_request(quick, VHU_SET_FEATURES, i);
	peer_serve(slow);
	assert_int_equal(slow->count, 0);
	assert_int_equal(quick->count, 100);
	assert_true(quick->messages[99].payload.u64 == 99);
	peer_send(slow, bytes + size - 1, 1, NULL, 0);
	peer_serve(slow);
	assert_int_equal(slow->count, 1);
	peer_free(quick, slow->loop);
}

static void
half_a_message_does_not_keep_the_loop_busy(void **state)
{
	struct peer *peer = *state;
	uint8_t bytes[64];

	peer_encode(bytes, VHU_SET_FEATURES, 1);
	peer_send(peer, bytes, 13, NULL, 0);
	assert_int_equal(vhu_loop_step(peer->loop, 0), 1);
	assert_int_equal(vhu_loop_wait(peer->loop, 0), 0);
}

static void
one_message_is_read_per_step(void **state)
{
	struct peer *peer = *state;
	unsigned int i;

	for (i = 0; i < 5; i++)
		peer_request(peer, VHU_SET_FEATURES, i);
	for (i = 0; i < 5; i++) {
		assert_int_equal(peer->count, i);
		vhu_loop_step(peer->loop, 0);
	}
	assert_int_equal(peer->count, 5);
}

static void
paused_stream_reads_nothing_and_keeps_the_loop_idle(void **state)
{
	struct peer *peer = *state;

	vhu_stream_pause(peer->stream, true);
	peer_request(peer, VHU_SET_FEATURES, 1);
	assert_int_equal(vhu_loop_wait(peer->loop, 0), 0);
	assert_int_equal(peer->count, 0);
	vhu_stream_pause(peer->stream, false);
	peer_serve(peer);
	assert_int_equal(peer->count, 1);
}

static void
pause_inside_a_message_holds_the_next_one_back(void **state)
{
	struct peer *peer = *state;

	peer->pause_in_message = true;
	peer_request(peer, VHU_SET_FEATURES, 1);
	peer_request(peer, VHU_SET_FEATURES, 2);
	peer_serve(peer);
	assert_int_equal(peer->count, 1);
	vhu_stream_pause(peer->stream, false);
	peer_serve(peer);
	assert_int_equal(peer->count, 2);
}

static void
hang_up_in_a_pause_ends_the_stream(void **state)
{
	struct peer *peer = *state;

	vhu_stream_pause(peer->stream, true);
	peer_hang_up(peer);
	peer_serve(peer);
	assert_int_equal(peer->ends, 1);
	assert_false(peer->fault);
}

static void
hang_up_in_a_pause_loses_no_message(void **state)
{
	struct peer *peer = *state;

	vhu_stream_pause(peer->stream, true);
	peer_request(peer, VHU_SET_FEATURES, 1);
	peer_hang_up(peer);
	peer_serve(peer);
	assert_int_equal(vhu_loop_wait(peer->loop, 0), 0);
	assert_int_equal(peer->ends, 0);
	vhu_stream_pause(peer->stream, false);
	peer_serve(peer);
	assert_int_equal(peer->count, 1);
	assert_int_equal(peer->ends, 1);
	assert_false(peer->fault);
}

static void
front_end_that_only_stops_sending_still_gets_its_reply(void **state)
{
	struct peer *peer = *state;
	struct vhu_message reply;
	uint8_t bytes[64];

	peer->pause_in_message = true;
	peer_request(peer, VHU_GET_FEATURES, 0);
	shutdown(peer->fd, SHUT_WR);
	peer_serve(peer);
	assert_int_equal(peer->ends, 0);
	vhu_reply_init(&reply, &peer->messages[0]);
	vhu_reply_u64(&reply, 1);
	assert_int_equal(vhu_stream_send(peer->stream, &reply), 0);
	assert_int_equal(recv(peer->fd, bytes, sizeof(bytes), MSG_DONTWAIT), 20);
	vhu_stream_pause(peer->stream, false);
	peer_serve(peer);
	assert_int_equal(peer->ends, 1);
	assert_false(peer->fault);
}

static void
end_between_messages_is_nobodys_fault(void **state)
{
	struct peer *peer = *state;

	peer_request(peer, VHU_SET_FEATURES, 1);
	peer_hang_up(peer);
	peer_serve(peer);
	assert_int_equal(peer->count, 1);
	assert_int_equal(peer->ends, 1);
	assert_false(peer->fault);
	assert_string_equal(peer->why, "closed by the front-end");
}

static void
end_after(struct peer *peer, size_t size)
{
	uint8_t bytes[64];

	peer_encode(bytes, VHU_SET_FEATURES, 1);
	peer_send(peer, bytes, size, NULL, 0);
	peer_hang_up(peer);
	peer_serve(peer);
	assert_int_equal(peer->count, 0);
	assert_int_equal(peer->ends, 1);
	assert_true(peer->fault);
	assert_string_equal(peer->why, "closed in the middle of a message");
}

static void
end_inside_a_header_is_a_fault(void **state)
{
	end_after(*state, 1);
}

static void
end_between_header_and_payload_is_a_fault(void **state)
{
	end_after(*state, PEER_HEADER);
}

static void
end_inside_a_payload_is_a_fault(void **state)
{
	end_after(*state, PEER_HEADER + 7);
}

static void
stream_closed_inside_a_message_delivers_no_more(void **state)
{
	struct peer *peer = *state;

	peer->close_in_message = true;
	peer_request(peer, VHU_SET_FEATURES, 1);
	peer_request(peer, VHU_SET_FEATURES, 2);
	peer_serve(peer);
	assert_int_equal(peer->count, 1);
	assert_int_equal(peer->ends, 0);
}

static void
stream_closed_before_its_end_is_told_says_nothing(void **state)
{
	struct peer *peer = *state;
	struct vhu_message message;

	peer_hang_up(peer);
	vhu_backend_request_init(&message, VHU_BACKEND_CONFIG_CHANGE, 0, false);
	assert_int_equal(vhu_stream_send(peer->stream, &message), -EPIPE);
	peer_close_stream(peer);
	peer_serve(peer);
	assert_int_equal(peer->ends, 0);
}

static void
socket_becomes_non_blocking_and_close_on_exec(void **state)
{
	static const struct vhu_stream_ops ops = { peer_message, peer_ended };
	struct peer *peer = *state;
	struct vhu_stream *stream;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	stream = vhu_stream_new(peer->loop, pair[1], &ops, peer);
	assert_int_equal(fcntl(pair[1], F_GETFD), FD_CLOEXEC);
	assert_true((fcntl(pair[1], F_GETFL) & O_NONBLOCK) != 0);
	vhu_stream_close(stream);
	close(pair[0]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PEER_TEST(message_arrives_byte_by_byte),
		PEER_TEST(message_without_payload_is_delivered),
		PEER_TEST(largest_payload_is_delivered),
		PEER_TEST(payload_too_large_ends_the_stream),
		PEER_TEST(nothing_of_an_earlier_message_is_left_in_a_later_one),
		PEER_TEST(descriptors_of_two_messages_in_one_buffer_stay_apart),
		PEER_TEST(two_messages_in_one_send_are_two_messages),
		PEER_TEST(descriptors_may_come_with_any_byte_of_a_message),
		PEER_TEST(eight_descriptors_are_taken),
		PEER_TEST(nine_descriptors_are_noticed),
		PEER_TEST(thirty_descriptors_are_noticed),
		PEER_TEST(one_descriptor_per_byte_is_noticed),
		PEER_TEST(descriptors_that_the_process_has_no_room_for_are_noticed),
		PEER_TEST(received_descriptors_do_not_survive_exec),
		PEER_TEST(descriptors_of_a_half_message_are_closed_with_the_stream),
		PEER_TEST(half_a_message_delays_nobody_else),
		PEER_TEST(half_a_message_does_not_keep_the_loop_busy),
		PEER_TEST(one_message_is_read_per_step),
		PEER_TEST(paused_stream_reads_nothing_and_keeps_the_loop_idle),
		PEER_TEST(pause_inside_a_message_holds_the_next_one_back),
		PEER_TEST(hang_up_in_a_pause_ends_the_stream),
		PEER_TEST(hang_up_in_a_pause_loses_no_message),
		PEER_TEST(front_end_that_only_stops_sending_still_gets_its_reply),
		PEER_TEST(end_between_messages_is_nobodys_fault),
		PEER_TEST(end_inside_a_header_is_a_fault),
		PEER_TEST(end_between_header_and_payload_is_a_fault),
		PEER_TEST(end_inside_a_payload_is_a_fault),
		PEER_TEST(stream_closed_inside_a_message_delivers_no_more),
		PEER_TEST(stream_closed_before_its_end_is_told_says_nothing),
		PEER_TEST(socket_becomes_non_blocking_and_close_on_exec),
	};

	return cmocka_run_group_tests_name("sock/stream", tests, NULL, NULL);
}
