/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "blk.h"

/* The control thread of a device: accepts front-ends, one at a time, and serves their messages. */

/* Listen. A socket that nobody listens on any more is a left-over and makes room. */
static int
listen_on(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat status;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc;

	if (fd < 0)
		return -errno;
	memcpy(address.sun_path, path, strlen(path) + 1);
	rc = bind(fd, (struct sockaddr *)&address, sizeof(address));
	if (rc != 0 && errno == EADDRINUSE && stat(path, &status) == 0 &&
	    S_ISSOCK(status.st_mode)) {
		int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		bool dead = connect(probe, (struct sockaddr *)&address, sizeof(address)) != 0 &&
			errno == ECONNREFUSED;

		close(probe);
		errno = EADDRINUSE;
		if (dead && unlink(path) == 0)
			rc = bind(fd, (struct sockaddr *)&address, sizeof(address));
	}
	if (rc == 0)
		rc = listen(fd, 1);
	if (rc != 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

/* A socket that whoever started us listens on already. */
static int
inherited(int fd)
{
	int listening = 0;
	socklen_t size = sizeof(listening);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0)
		return -errno;
	return listening ? fd : -EINVAL;
}

/* Whose connection it is now; -1: nobody's. @return false if there shall be none. */
static bool
set_connection(struct blk_device *device, int fd)
{
	bool ending;

	pthread_mutex_lock(&device->lock);
	ending = device->ending;
	device->connection = ending ? -1 : fd;
	pthread_mutex_unlock(&device->lock);
	return !ending;
}

static bool
is_ending(struct blk_device *device)
{
	bool ending;

	pthread_mutex_lock(&device->lock);
	ending = device->ending;
	pthread_mutex_unlock(&device->lock);
	return ending;
}

/*
 * Wait for something on the descriptor; a disk that has grown is seen to in the meantime.
 * @return false: it is time to end.
 */
static bool
wait_for(struct blk_device *device, int fd, bool connected)
{
	struct pollfd fds[] = { { .fd = fd, .events = POLLIN },
		{ .fd = device->wake, .events = POLLIN } };

	while (fds[0].revents == 0) {
		uint64_t times;

		if (poll(fds, 2, -1) < 0)
			continue; /* no signal reaches this thread, and the rest passes */
		if (is_ending(device))
			return false;
		if (fds[1].revents != 0 && read(device->wake, &times, sizeof(times)) > 0)
			blk_device_resize(device, connected);
	}
	return true;
}

static void
serve(struct blk_device *device, int fd)
{
	if (!blk_device_connect(device, fd))
		return;
	if (set_connection(device, fd))
		while (wait_for(device, fd, true) && blk_device_dispatch(device))
			;
	/* Before the descriptor is closed: main must not shut down what has its number then. */
	set_connection(device, -1);
	blk_device_disconnect(device);
}

static void *
control_thread(void *argument)
{
	static const struct timespec pause = { .tv_nsec = 50000000 };
	struct blk_device *device = argument;

	while (set_connection(device, -1)) {
		int fd = -1;

		if (wait_for(device, device->listener, false))
			fd = accept4(device->listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			serve(device, fd);
		else
			nanosleep(&pause, NULL); /* out of descriptors passes */
	}
	return NULL;
}

bool
blk_server_start(struct blk_device *device, char *why, size_t room)
{
	int fd = device->options.listener < 0 ? listen_on(device->options.socket) :
		inherited(device->options.listener);

	if (fd < 0) {
		snprintf(why, room, "%s cannot be listened on: %s", device->options.socket,
			strerror(-fd));
		return false;
	}
	device->listener = fd;
	device->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (device->wake < 0) {
		snprintf(why, room, "no descriptor for %s; give fewer disks",
			device->options.socket);
		return false;
	}
	device->has_thread = pthread_create(&device->thread, NULL, control_thread, device) == 0;
	if (!device->has_thread)
		snprintf(why, room, "no thread for %s; give fewer disks", device->options.socket);
	return device->has_thread;
}

/* Wake the control thread. The counter can only be full when it was told already. */
static void
wake(const struct blk_device *device)
{
	static const uint64_t one = 1;

	if (write(device->wake, &one, sizeof(one)) < 0)
		return;
}

void
blk_server_resize(struct blk_device *device)
{
	wake(device);
}

void
blk_server_stop(struct blk_device *device)
{
	if (!device->has_thread)
		return;
	atomic_store(&device->panicked, true); /* that we hang up is no news */
	pthread_mutex_lock(&device->lock);
	device->ending = true;
	if (device->connection >= 0)
		shutdown(device->connection, SHUT_RDWR);
	pthread_mutex_unlock(&device->lock);
	/* An inherited listener is not ours to shut down: others may go on with it. */
	wake(device);
	pthread_join(device->thread, NULL);
	device->has_thread = false;
}
