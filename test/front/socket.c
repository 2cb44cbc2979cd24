/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "front.h"
#include "private.h"

int
front_fail(struct front *front, int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(front->error, sizeof(front->error), format, arguments);
	va_end(arguments);
	return error;
}

static int
new_socket(struct front *front, const char *path, struct sockaddr_un *address)
{
	memset(front, 0, sizeof(*front));
	front->socket = front->channel.socket = -1;
	pthread_mutex_init(&front->lock, NULL);
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(address->sun_path))
		return front_fail(front, -ENAMETOOLONG, "the path %s is too long", path);
	strcpy(address->sun_path, path);
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/** A peer that hangs must not hang us. */
static void
limit_patience(int socket)
{
	struct timeval patience = { .tv_sec = FRONT_PATIENCE };

	setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

int
front_connect(struct front *front, const char *path)
{
	struct sockaddr_un address;
	int fd = new_socket(front, path, &address);

	if (fd < 0)
		return fd;
	limit_patience(fd);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		int error = -errno;

		close(fd);
		return front_fail(front, error, "cannot connect to %s: %s", path,
			strerror(-error));
	}
	front->socket = fd;
	return 0;
}

int
front_accept(struct front *front, const char *path, int timeout_ms)
{
	struct sockaddr_un address;
	int fd = new_socket(front, path, &address);
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	int error = 0;

	if (fd < 0)
		return fd;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 1) != 0)
		error = -errno;
	else if (poll(&wait, 1, timeout_ms) != 1)
		error = -ETIMEDOUT;
	if (error == 0)
		front->socket = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	if (error == 0 && front->socket < 0)
		error = -errno;
	close(fd);
	if (error != -EADDRINUSE)
		unlink(path);
	if (error != 0)
		return front_fail(front, error, "no back-end came to %s: %s", path,
			strerror(-error));
	limit_patience(front->socket);
	return 0;
}

int
front_send_message(int socket, uint32_t request, uint32_t flags, const void *payload, size_t size,
	const int *fds, unsigned int fd_count)
{
	struct vhu_wire_header header = { request, VHU_FLAG_VERSION | flags, (uint32_t)size };
	struct iovec parts[] = {
		{ &header, sizeof(header) },
		{ (void *)(uintptr_t)payload, size },
	};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(VHU_MESSAGE_FDS * sizeof(int))];
	} control;
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	ssize_t sent;

	if (fd_count > 0) {
		memset(&control, 0, sizeof(control));
		control.header.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(&control.header), fds, fd_count * sizeof(int));
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
	}
	do
		sent = sendmsg(socket, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	/* Messages are far smaller than a socket's buffer. */
	return (size_t)sent == sizeof(header) + size ? 0 : -EIO;
}

/** Keep the first descriptor of a message for @p fd, close the others. */
static void
take_descriptors(struct msghdr *message, int *fd)
{
	struct cmsghdr *each;
	size_t i, count;
	int got;

	for (each = CMSG_FIRSTHDR(message); each != NULL; each = CMSG_NXTHDR(message, each)) {
		if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS)
			continue;
		count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < count; i++) {
			memcpy(&got, CMSG_DATA(each) + i * sizeof(int), sizeof(got));
			if (fd != NULL && *fd < 0)
				*fd = got;
			else
				close(got);
		}
	}
}

static int
receive_all(int socket, void *to, size_t size)
{
	ssize_t got = recv(socket, to, size, MSG_WAITALL);

	if (got < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	return (size_t)got == size ? 0 : -EPIPE;
}

int
front_receive_message(int socket, struct vhu_wire_header *header, void *payload, size_t room,
	int *fd)
{
	struct iovec part = { header, sizeof(*header) };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(VHU_MESSAGE_FDS * sizeof(int))];
	} control;
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	ssize_t got;
	int error = 0;

	if (fd != NULL)
		*fd = -1;
	do
		got = recvmsg(socket, &message, MSG_WAITALL | MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	if ((size_t)got == sizeof(*header))
		take_descriptors(&message, fd);
	if ((size_t)got != sizeof(*header))
		return -EPIPE;
	if (header->size > room)
		return -EMSGSIZE;
	if (header->size > 0)
		error = receive_all(socket, payload, header->size);
	return error != 0 ? error : (int)header->size;
}
