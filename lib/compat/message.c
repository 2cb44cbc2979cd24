/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "compat/private.h"

/* Room for more descriptors than a message may have, so that too many are seen and closed. */
#define CONTROL_FDS 32

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(CONTROL_FDS * sizeof(int))];
};

/* Wait until the socket can be used. @return false if that is impossible. */
static bool
wait_for(int sock, short events)
{
	struct pollfd state = { .fd = sock, .events = events };
	int rc;

	do
		rc = poll(&state, 1, -1);
	while (rc < 0 && errno == EINTR);
	return rc > 0;
}

/* Keep the first eight descriptors, close the others. @return false if there were too many. */
static bool
collect_fds(struct msghdr *header, VhostUserMsg *message)
{
	bool fit = !(header->msg_flags & MSG_CTRUNC);
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
		size_t count, i;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (message->fd_num < VHOST_MEMORY_BASELINE_NREGIONS) {
				message->fds[message->fd_num++] = fd;
			} else {
				close(fd);
				fit = false;
			}
		}
	}
	return fit;
}

enum outcome {
	READ_WHOLE,
	READ_NOTHING, /* the peer hung up before the first byte */
	READ_FAILED,
};

/* Read @p size bytes and the descriptors that travel with them. */
static enum outcome
read_bytes(VuDev *dev, int sock, VhostUserMsg *message, uint8_t *to, size_t size)
{
	size_t done = 0;

	while (done < size) {
		struct iovec part = { to + done, size - done };
		union control control;
		struct msghdr header = {
			.msg_iov = &part,
			.msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof(control),
		};
		ssize_t got = recvmsg(sock, &header, MSG_CMSG_CLOEXEC);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && wait_for(sock, POLLIN))
			continue;
		if (got < 0) {
			vu_panic(dev, "reading from the front-end failed: %s", strerror(errno));
			return READ_FAILED;
		}
		if (!collect_fds(&header, message)) {
			vu_panic(dev, "more than %d descriptors came with one message",
				VHOST_MEMORY_BASELINE_NREGIONS);
			return READ_FAILED;
		}
		if (got == 0) {
			if (done == 0)
				return READ_NOTHING;
			vu_panic(dev, "the front-end hung up in the middle of a message");
			return READ_FAILED;
		}
		done += (size_t)got;
	}
	return READ_WHOLE;
}

bool
vu_message_read(VuDev *dev, int sock, VhostUserMsg *message)
{
	uint8_t header[VHOST_USER_HDR_SIZE], payload[sizeof(message->payload)];
	enum outcome outcome = read_bytes(dev, sock, message, header, sizeof(header));

	/* All zero: the caller knows what that means. */
	if (outcome == READ_NOTHING)
		return true;
	if (outcome == READ_FAILED)
		goto fail;
	memcpy(message, header, sizeof(header));
	if (message->size > sizeof(payload)) {
		vu_panic(dev, "message %d with %u bytes of payload, at most %zu are allowed",
			message->request, message->size, sizeof(payload));
		goto fail;
	}
	outcome = read_bytes(dev, sock, message, payload, message->size);
	if (outcome == READ_NOTHING)
		vu_panic(dev, "the front-end hung up in the middle of a message");
	if (outcome != READ_WHOLE)
		goto fail;
	memcpy(&message->payload, payload, message->size);
	return true;
fail:
	vu_message_close(message);
	return false;
}

void
vu_message_close(VhostUserMsg *message)
{
	int i;

	for (i = 0; i < message->fd_num; i++)
		if (message->fds[i] >= 0)
			close(message->fds[i]);
	message->fd_num = 0;
}

/* Attach descriptors to a message that is about to be sent. */
static void
attach_fds(struct msghdr *header, union control *control, const int *fds, unsigned int count)
{
	struct cmsghdr *c;

	if (count == 0)
		return;
	memset(control, 0, sizeof(*control));
	header->msg_control = control;
	header->msg_controllen = CMSG_SPACE(count * sizeof(fds[0]));
	c = CMSG_FIRSTHDR(header);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(count * sizeof(fds[0]));
	memcpy(CMSG_DATA(c), fds, count * sizeof(fds[0]));
}

/* Send header and payload, descriptors with the first byte. */
static bool
send_parts(VuDev *dev, int sock, const void *start, const void *payload, size_t size,
	const int *fds, unsigned int fd_count)
{
	struct iovec part[2] = { { (void *)(uintptr_t)start, VHOST_USER_HDR_SIZE },
		{ (void *)(uintptr_t)payload, size } };
	size_t left = VHOST_USER_HDR_SIZE + size;
	struct msghdr header = { .msg_iov = part, .msg_iovlen = 2 };
	union control control;

	attach_fds(&header, &control, fds, fd_count);
	while (left != 0) {
		/* A peer that is gone is an error to return, not a signal to die of. */
		ssize_t sent = sendmsg(sock, &header, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) &&
		    wait_for(sock, POLLOUT))
			continue;
		if (sent < 0) {
			vu_panic(dev, "sending to the front-end failed: %s", strerror(errno));
			return false;
		}
		left -= (size_t)sent;
		header.msg_control = NULL;
		header.msg_controllen = 0;
		while (header.msg_iovlen != 0 && (size_t)sent >= header.msg_iov->iov_len) {
			sent -= (ssize_t)header.msg_iov->iov_len;
			header.msg_iov++;
			header.msg_iovlen--;
		}
		if (header.msg_iovlen != 0) {
			header.msg_iov->iov_base = (uint8_t *)header.msg_iov->iov_base + sent;
			header.msg_iov->iov_len -= (size_t)sent;
		}
	}
	return true;
}

bool
vu_message_send(VuDev *dev, int sock, const VhostUserMsg *message)
{
	int fds[VHOST_MEMORY_BASELINE_NREGIONS];
	int count = message->fd_num;

	if (count < 0 || count > VHOST_MEMORY_BASELINE_NREGIONS ||
	    (message->data == NULL && message->size > sizeof(message->payload))) {
		vu_panic(dev, "a reply with %d descriptors and %u bytes cannot be sent", count,
			message->size);
		return false;
	}
	memcpy(fds, message->fds, sizeof(fds));
	return send_parts(dev, sock, message,
		message->data != NULL ? (const void *)message->data : &message->payload,
		message->size, fds, (unsigned int)count);
}

void
vu_message_to_engine(VhostUserMsg *from, struct vhu_message *to)
{
	size_t size = from->size < sizeof(from->payload) ? from->size : sizeof(from->payload);

	memset(to, 0, offsetof(struct vhu_message, payload));
	to->request = (uint32_t)from->request;
	to->flags = from->flags;
	to->size = from->size;
	to->fd_count = (uint16_t)from->fd_num;
	memcpy(to->fds, from->fds, sizeof(from->fds));
	memset(&to->payload, 0, sizeof(to->payload));
	memcpy(&to->payload, &from->payload, size);
	from->fd_num = 0;
}

bool
vu_message_send_engine(VuDev *dev, int sock, struct vhu_message *message)
{
	struct vhu_wire_header header = {
		.request = message->request,
		.flags = message->flags,
		.size = message->size,
	};
	int fds[VHU_MESSAGE_FDS];
	unsigned int i, count = 0;
	bool sent;

	for (i = 0; i < message->fd_count; i++)
		if (message->fds[i] >= 0)
			fds[count++] = message->fds[i];
	sent = send_parts(dev, sock, &header, &message->payload, message->size, fds, count);
	vhu_message_close(message);
	return sent;
}
