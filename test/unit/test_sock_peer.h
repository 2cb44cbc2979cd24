/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_TEST_SOCK_PEER_H
#define VHU_TEST_SOCK_PEER_H

/**
 * @file
 * A stream with a front-end at its other end: what the stream delivered, and means to send to it.
 */

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sock/loop.h"
#include "sock/stream.h"
#include "unit.h"

#define PEER_MESSAGES 200
#define PEER_HEADER sizeof(struct vhu_wire_header)

struct peer {
	struct vhu_loop *loop;
	struct vhu_stream *stream;
	int fd;        /* the front-end's end; -1 once closed */
	int stream_fd; /* the stream's, to set options */
	unsigned int fds_before;

	unsigned int count; /* messages delivered */
	struct vhu_message *messages;
	unsigned int ends;
	char why[128];
	bool fault;

	bool pause_in_message;
	bool close_in_message;
	bool reply_in_message;
	int reply_status;
};

/* Close the stream, as an owner must after its end. */
static inline void
peer_close_stream(struct peer *peer)
{
	vhu_stream_close(peer->stream);
	peer->stream = NULL;
}

static inline void
peer_message(void *owner, struct vhu_message *message)
{
	struct peer *peer = owner;
	struct vhu_message reply;

	assert_true(peer->count < PEER_MESSAGES);
	peer->messages[peer->count++] = *message;
	if (peer->pause_in_message)
		vhu_stream_pause(peer->stream, true);
	if (peer->reply_in_message) {
		vhu_reply_init(&reply, message);
		vhu_reply_u64(&reply, 0);
		peer->reply_status = vhu_stream_send(peer->stream, &reply);
		/* Whatever became of it, the stream is still there. */
		assert_int_equal(peer->ends, 0);
	}
	if (peer->close_in_message)
		peer_close_stream(peer);
}

static inline void
peer_ended(void *owner, const char *why, bool fault)
{
	struct peer *peer = owner;

	peer->ends++;
	peer->fault = fault;
	strncpy(peer->why, why, sizeof(peer->why) - 1);
	peer_close_stream(peer);
}

static inline struct peer *
peer_new(struct vhu_loop *loop)
{
	static const struct vhu_stream_ops ops = { .message = peer_message, .ended = peer_ended };
	struct peer *peer = calloc(1, sizeof(*peer));
	int pair[2];

	assert_non_null(peer);
	peer->fds_before = unit_open_fds();
	peer->messages = calloc(PEER_MESSAGES, sizeof(*peer->messages));
	assert_non_null(peer->messages);
	peer->loop = loop != NULL ? loop : vhu_loop_new();
	assert_non_null(peer->loop);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	peer->fd = pair[0];
	peer->stream_fd = pair[1];
	peer->stream = vhu_stream_new(peer->loop, pair[1], &ops, peer);
	assert_non_null(peer->stream);
	return peer;
}

/* @param loop the loop that the peer was given, or NULL */
static inline void
peer_free(struct peer *peer, struct vhu_loop *loop)
{
	unsigned int i;

	if (peer->stream != NULL)
		peer_close_stream(peer);
	if (peer->fd >= 0)
		close(peer->fd);
	for (i = 0; i < peer->count; i++)
		vhu_message_close(&peer->messages[i]);
	if (loop == NULL)
		vhu_loop_free(peer->loop);
	assert_int_equal(unit_open_fds(), peer->fds_before);
	free(peer->messages);
	free(peer);
}

static inline int
peer_setup(void **state)
{
	*state = peer_new(NULL);
	return 0;
}

static inline int
peer_teardown(void **state)
{
	peer_free(*state, NULL);
	return 0;
}

#define PEER_TEST(name) cmocka_unit_test_setup_teardown(name, peer_setup, peer_teardown)

/* Serve until there is nothing to serve. A loop that spins fails the test. */
static inline void
peer_serve(struct peer *peer)
{
	unsigned int steps = 0;

	while (vhu_loop_step(peer->loop, 0) > 0)
		assert_true(steps++ < 5000);
}

static inline void
peer_hang_up(struct peer *peer)
{
	close(peer->fd);
	peer->fd = -1;
}

/* A request with a u64; @return its bytes, in @p bytes. */
static inline size_t
peer_encode(uint8_t *bytes, uint32_t request, uint64_t value)
{
	struct vhu_wire_header header = { request, VHU_FLAG_VERSION, sizeof(value) };

	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), &value, sizeof(value));
	return sizeof(header) + sizeof(value);
}

/* Send bytes, with descriptors beside the first one. They stay open here. */
static inline void
peer_send(struct peer *peer, const void *bytes, size_t size, const int *fds, unsigned int fd_count)
{
	struct iovec vector = { (void *)(uintptr_t)bytes, size };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(32 * sizeof(int))];
	} control = { 0 };
	struct msghdr header = { .msg_iov = &vector, .msg_iovlen = 1 };

	if (fd_count > 0) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, fd_count * sizeof(int));
		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
	}
	assert_int_equal(sendmsg(peer->fd, &header, MSG_NOSIGNAL), (ssize_t)size);
}

static inline void
peer_request(struct peer *peer, uint32_t request, uint64_t value)
{
	uint8_t bytes[64];

	peer_send(peer, bytes, peer_encode(bytes, request, value), NULL, 0);
}

/* Descriptors that can be told apart wherever they go. */
static inline void
peer_make_fds(int *fds, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		fds[i] = memfd_create("unit", MFD_CLOEXEC);
		assert_true(fds[i] >= 0);
	}
}

static inline void
peer_close_fds(const int *fds, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		close(fds[i]);
}

static inline void
peer_assert_same_file(int a, int b)
{
	struct stat status_a, status_b;

	assert_int_equal(fstat(a, &status_a), 0);
	assert_int_equal(fstat(b, &status_b), 0);
	assert_int_equal(status_a.st_ino, status_b.st_ino);
}

#endif /* VHU_TEST_SOCK_PEER_H */
