/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* What a stream sends: to a peer that reads, that does not, that is gone. */

#include <sys/syscall.h>

#include "test_sock_peer.h"

/* Most bytes that one sendmsg() of this process takes; 0: as many as the kernel does. */
static size_t send_at_most;
static unsigned int sends;

/*
 * In the place of the C library's. The kernel takes messages of our sizes whole or not at all, but
 * promises it nowhere.
 */
ssize_t
sendmsg(int fd, const struct msghdr *header, int flags)
{
	struct iovec vector = header->msg_iov[0];
	struct msghdr some = *header;

	sends++;
	if (send_at_most != 0 && vector.iov_len > send_at_most) {
		vector.iov_len = send_at_most;
		some.msg_iov = &vector;
	}
	return syscall(SYS_sendmsg, fd, &some, flags);
}

static int
send_setup(void **state)
{
	send_at_most = 0;
	return peer_setup(state);
}

#define SEND_TEST(name) cmocka_unit_test_setup_teardown(name, send_setup, peer_teardown)

static void
make_message(struct vhu_message *message, uint32_t number, uint32_t size)
{
	vhu_backend_request_init(message, VHU_BACKEND_CONFIG_CHANGE, size, false);
	memset(message->payload.bytes, (int)number, size);
}

/* Read exactly what is announced and compare it with make_message(number, size). */
static void
expect_message(struct peer *peer, uint32_t number, uint32_t size)
{
	uint8_t expected[PEER_HEADER + VHU_PAYLOAD_MAX], bytes[sizeof(expected)];
	struct vhu_message message;
	size_t length, got = 0;
	ssize_t count;

	make_message(&message, number, size);
	length = vhu_message_encode(&message, expected, sizeof(expected));
	while (got < length) {
		count = recv(peer->fd, bytes + got, length - got, MSG_DONTWAIT);
		if (count < 0) {
			/* It is our turn to make room: the stream must notice and send more. */
			assert_true(vhu_loop_step(peer->loop, 0) > 0);
			continue;
		}
		assert_true(count > 0);
		got += (size_t)count;
	}
	assert_memory_equal(bytes, expected, length);
}

/* Let the kernel take two or three messages at most. */
static void
shrink_buffer(struct peer *peer)
{
	int least = 1;

	assert_int_equal(setsockopt(peer->stream_fd, SOL_SOCKET, SO_SNDBUF, &least,
		sizeof(least)), 0);
}

#define QUEUED 40

/* Send far more than the kernel takes. */
static void
send_more_than_fits(struct peer *peer)
{
	struct vhu_message message;
	uint32_t number;

	shrink_buffer(peer);
	for (number = 0; number < QUEUED; number++) {
		make_message(&message, number, VHU_PAYLOAD_MAX);
		assert_int_equal(vhu_stream_send(peer->stream, &message), 0);
	}
}

static void
message_is_sent_at_once(void **state)
{
	struct peer *peer = *state;
	struct vhu_message message;

	make_message(&message, 0x31, 8);
	assert_int_equal(vhu_stream_send(peer->stream, &message), 0);
	expect_message(peer, 0x31, 8);
}

static void
paused_stream_sends(void **state)
{
	struct peer *peer = *state;
	struct vhu_message message;

	vhu_stream_pause(peer->stream, true);
	make_message(&message, 0x32, 8);
	assert_int_equal(vhu_stream_send(peer->stream, &message), 0);
	expect_message(peer, 0x32, 8);
}

/* Count the descriptors that come with the next @p size bytes, in as many reads as it takes. */
static unsigned int
receive_and_count_fds(struct peer *peer, size_t size, const int *like)
{
	uint8_t bytes[64];
	struct iovec vector = { bytes, sizeof(bytes) };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(32 * sizeof(int))];
	} control;
	struct msghdr header = { .msg_iov = &vector, .msg_iovlen = 1 };
	unsigned int count = 0;
	size_t got = 0;
	ssize_t more;
	int fd;

	while (got < size) {
		header.msg_control = control.bytes;
		header.msg_controllen = sizeof(control.bytes);
		more = recvmsg(peer->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		assert_true(more > 0);
		got += (size_t)more;
		if (header.msg_controllen == 0)
			continue;
		assert_int_equal(control.header.cmsg_len, CMSG_LEN(sizeof(int)));
		memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
		peer_assert_same_file(fd, *like);
		close(fd);
		count++;
	}
	assert_int_equal(got, size);
	return count;
}

static void
descriptor_goes_with_its_message_and_is_closed_here(void **state)
{
	struct peer *peer = *state;
	struct vhu_message message;
	unsigned int before;
	int fd;

	peer_make_fds(&fd, 1);
	before = unit_open_fds();
	make_message(&message, 1, 8);
	message.fds[0] = dup(fd);
	message.fd_count = 1;
	assert_int_equal(vhu_stream_send(peer->stream, &message), 0);
	assert_int_equal(unit_open_fds(), before);
	assert_int_equal(receive_and_count_fds(peer, 20, &fd), 1);
	peer_close_fds(&fd, 1);
}

static void
descriptor_goes_once_however_many_pieces_a_message_has(void **state)
{
	struct peer *peer = *state;
	struct vhu_message message;
	int fd;

	peer_make_fds(&fd, 1);
	make_message(&message, 1, 8);
	message.fds[0] = dup(fd);
	message.fd_count = 1;
	send_at_most = 3;
	sends = 0;
	assert_int_equal(vhu_stream_send(peer->stream, &message), 0);
	assert_int_equal(sends, 7);
	assert_int_equal(receive_and_count_fds(peer, 20, &fd), 1);
	peer_close_fds(&fd, 1);
}

static void
peer_that_reads_late_gets_everything_in_order(void **state)
{
	struct peer *peer = *state;
	uint32_t number;

	send_at_most = 700;
	send_more_than_fits(peer);
	for (number = 0; number < QUEUED; number++)
		expect_message(peer, number, VHU_PAYLOAD_MAX);
	assert_int_equal(recv(peer->fd, &number, 1, MSG_DONTWAIT), -1);
	assert_int_equal(vhu_loop_wait(peer->loop, 0), 0);
}

static void
full_buffer_does_not_keep_the_loop_busy(void **state)
{
	struct peer *peer = *state;

	send_more_than_fits(peer);
	assert_int_equal(vhu_loop_wait(peer->loop, 0), 0);
}

static void
nothing_is_read_while_a_message_waits_to_be_sent(void **state)
{
	struct peer *peer = *state;
	uint32_t number;

	send_more_than_fits(peer);
	peer_request(peer, VHU_SET_FEATURES, 1);
	peer_serve(peer);
	assert_int_equal(peer->count, 0);
	for (number = 0; number < QUEUED; number++)
		expect_message(peer, number, VHU_PAYLOAD_MAX);
	peer_serve(peer);
	assert_int_equal(peer->count, 1);
}

static void
peer_that_never_reads_is_given_up(void **state)
{
	struct peer *peer = *state;
	struct vhu_message message;
	unsigned int number = 0;
	int status;

	shrink_buffer(peer);
	do {
		make_message(&message, number, VHU_PAYLOAD_MAX);
		status = vhu_stream_send(peer->stream, &message);
	} while (status == 0 && ++number < 1000);
	assert_int_equal(status, -ENOBUFS);
	assert_int_equal(peer->ends, 0);
	peer_serve(peer);
	assert_int_equal(peer->ends, 1);
	assert_true(peer->fault);
}

static void
peer_that_left_ends_the_stream_from_the_loop(void **state)
{
	struct peer *peer = *state;
	struct vhu_message message;

	peer_hang_up(peer);
	make_message(&message, 1, 8);
	/* SIGPIPE would end this test. */
	assert_int_equal(vhu_stream_send(peer->stream, &message), -EPIPE);
	assert_int_equal(peer->ends, 0);
	peer_serve(peer);
	assert_int_equal(peer->ends, 1);
	assert_false(peer->fault);
	assert_string_equal(peer->why, "closed by the front-end");
}

static void
peer_that_leaves_while_we_reply_ends_the_stream_after_the_message(void **state)
{
	struct peer *peer = *state;

	peer->reply_in_message = true;
	peer_request(peer, VHU_GET_FEATURES, 0);
	peer_hang_up(peer);
	peer_serve(peer);
	assert_int_equal(peer->count, 1);
	assert_int_equal(peer->reply_status, -EPIPE);
	assert_int_equal(peer->ends, 1);
	assert_false(peer->fault);
}

static void
peer_that_leaves_replies_unread_is_not_at_fault(void **state)
{
	struct peer *peer = *state;
	struct vhu_message message;

	make_message(&message, 1, 8);
	assert_int_equal(vhu_stream_send(peer->stream, &message), 0);
	peer_hang_up(peer);
	peer_serve(peer);
	assert_int_equal(peer->ends, 1);
	assert_false(peer->fault);
	assert_string_equal(peer->why, "closed by the front-end");
}

static void
peer_that_leaves_while_messages_wait_ends_the_stream(void **state)
{
	struct peer *peer = *state;

	send_more_than_fits(peer);
	peer_hang_up(peer);
	peer_serve(peer);
	assert_int_equal(peer->ends, 1);
}

static void
message_sent_after_the_end_is_refused_and_its_descriptor_closed(void **state)
{
	struct peer *peer = *state;
	struct vhu_message message;
	unsigned int before;

	peer_hang_up(peer);
	make_message(&message, 1, 8);
	assert_int_equal(vhu_stream_send(peer->stream, &message), -EPIPE);
	before = unit_open_fds();
	make_message(&message, 2, 8);
	peer_make_fds(message.fds, 1);
	message.fd_count = 1;
	assert_int_equal(vhu_stream_send(peer->stream, &message), -EPIPE);
	assert_int_equal(unit_open_fds(), before);
}

static void
descriptors_of_messages_that_wait_are_closed_with_the_stream(void **state)
{
	struct peer *peer = *state;
	struct vhu_message message;
	unsigned int before = unit_open_fds();
	uint32_t number;

	shrink_buffer(peer);
	for (number = 0; number < QUEUED; number++) {
		make_message(&message, number, VHU_PAYLOAD_MAX);
		peer_make_fds(message.fds, 1);
		message.fd_count = 1;
		assert_int_equal(vhu_stream_send(peer->stream, &message), 0);
	}
	assert_true(unit_open_fds() > before);
	peer_close_stream(peer);
	assert_int_equal(unit_open_fds(), before - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		SEND_TEST(message_is_sent_at_once),
		SEND_TEST(paused_stream_sends),
		SEND_TEST(descriptor_goes_with_its_message_and_is_closed_here),
		SEND_TEST(descriptor_goes_once_however_many_pieces_a_message_has),
		SEND_TEST(peer_that_reads_late_gets_everything_in_order),
		SEND_TEST(full_buffer_does_not_keep_the_loop_busy),
		SEND_TEST(nothing_is_read_while_a_message_waits_to_be_sent),
		SEND_TEST(peer_that_never_reads_is_given_up),
		SEND_TEST(peer_that_left_ends_the_stream_from_the_loop),
		SEND_TEST(peer_that_leaves_while_we_reply_ends_the_stream_after_the_message),
		SEND_TEST(peer_that_leaves_replies_unread_is_not_at_fault),
		SEND_TEST(peer_that_leaves_while_messages_wait_ends_the_stream),
		SEND_TEST(message_sent_after_the_end_is_refused_and_its_descriptor_closed),
		SEND_TEST(descriptors_of_messages_that_wait_are_closed_with_the_stream),
	};

	return cmocka_run_group_tests_name("sock/stream: sending", tests, NULL, NULL);
}
