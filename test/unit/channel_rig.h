/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_TEST_CHANNEL_RIG_H
#define VHU_TEST_CHANNEL_RIG_H

/**
 * @file
 * The front-end's side of the back-end channel of the rig's device.
 */

#include <sys/socket.h>

#include "device_rig.h"

#include "dev/device_private.h"

/** The front-end's end of the channel; -1: there is none. */
static int peer = -1;

/** How often requests ended, and how the last one did. */
static struct {
	unsigned int count;
	int result;
	bool replied;
	int fd;         /* that came with the answer; the test's */
	void *argument;
} ended;

static inline void
channel_done(struct vhu_device *device, void *argument, int result, struct vhu_message *reply)
{
	assert_ptr_equal(device, rig.device);
	ended.count++;
	ended.result = result;
	ended.replied = reply != NULL;
	ended.argument = argument;
	if (reply != NULL && argument == &ended.fd)
		ended.fd = vhu_message_take_fd(reply, 0);
}

/** A new channel; the old end, if any, is the caller's to close. */
static inline void
channel_connect(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(rig_ask(VHU_SET_BACKEND_REQ_FD, NULL, 0, fds[1]), 0);
	peer = fds[0];
}

static inline int
channel_setup(void **state)
{
	rig_setup(state);
	memset(&ended, 0, sizeof(ended));
	ended.fd = -1;
	return 0;
}

static inline int
channel_teardown(void **state)
{
	if (peer >= 0)
		close(peer);
	peer = -1;
	return rig_teardown(state);
}

#define CHANNEL_TEST(function) \
	cmocka_unit_test_setup_teardown(function, channel_setup, channel_teardown)

/** Let the device see what the front-end did. */
static inline void
channel_step(void)
{
	int round;

	for (round = 0; round < 8; round++)
		vhu_loop_step(rig.loop, 0);
}

/** Let the device go on until so many requests have ended. */
static inline void
channel_wait_ended(unsigned int count)
{
	int round;

	/* Five seconds, for a machine that is busy with something else. */
	for (round = 0; round < 500 && ended.count < count; round++)
		vhu_loop_step(rig.loop, 10);
	assert_int_equal(ended.count, count);
}

/** The next request as the front-end reads it. @return false: there is none. */
static inline bool
channel_read(struct vhu_message *m)
{
	struct vhu_wire_header header;
	struct iovec vector = { &header, sizeof(header) };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(VHU_MESSAGE_FDS * sizeof(int))];
	} control;
	struct msghdr parts = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *fds;

	memset(m, 0, sizeof(*m));
	if (recvmsg(peer, &parts, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(header))
		return false;
	m->request = header.request;
	m->flags = header.flags;
	m->size = header.size;
	fds = CMSG_FIRSTHDR(&parts);
	if (fds != NULL) {
		m->fd_count = (uint16_t)((fds->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(m->fds, CMSG_DATA(fds), m->fd_count * sizeof(int));
	}
	assert_in_range(m->size, 0, sizeof(m->payload));
	if (m->size > 0)
		assert_int_equal(recv(peer, m->payload.bytes, m->size, 0), m->size);
	return true;
}

/** Read a request that must be there. */
static inline struct vhu_message
channel_take(uint32_t request)
{
	struct vhu_message m;

	assert_true(channel_read(&m));
	assert_int_equal(m.request, request);
	return m;
}

static inline void
channel_write(uint32_t request, uint32_t flags, uint32_t size, uint64_t value, int fd)
{
	struct {
		struct vhu_wire_header header;
		uint64_t value;
	} __attribute__((packed)) bytes = { { request, flags, size }, value };
	struct iovec vector = { &bytes, sizeof(bytes.header) + size };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .header = {
		.cmsg_level = SOL_SOCKET,
		.cmsg_type = SCM_RIGHTS,
		.cmsg_len = CMSG_LEN(sizeof(int)),
	} };
	struct msghdr parts = { .msg_iov = &vector, .msg_iovlen = 1 };

	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
		parts.msg_control = control.bytes;
		parts.msg_controllen = sizeof(control.bytes);
	}
	assert_int_equal(sendmsg(peer, &parts, MSG_NOSIGNAL), sizeof(bytes.header) + size);
	channel_step();
}

/** Answer a request as a front-end does. */
static inline void
channel_answer(uint32_t request, uint64_t value)
{
	channel_write(request, VHU_FLAG_VERSION | VHU_FLAG_REPLY, 8, value, -1);
}

/** Has the device closed its end? */
static inline bool
channel_closed(void)
{
	char byte;

	return recv(peer, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

#endif /* VHU_TEST_CHANNEL_RIG_H */
