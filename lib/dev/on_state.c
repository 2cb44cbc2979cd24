/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "dev/device_private.h"
#include "obs/log.h"

/*
 * The state of a device, on its way to or from another host (SET_DEVICE_STATE_FD).
 *
 * It goes through the loop and not through the worker: a front-end that neither reads nor writes
 * holds up nobody. For the same reason a pipe is opened anew, so that its flags are ours alone.
 */

enum direction {
	SAVE = 0,
	LOAD = 1,
};

/* Only phase of the protocol: the device is stopped. */
#define PHASE_STOPPED 0u
/* In the answer: no descriptor comes back. */
#define NO_DESCRIPTOR 0x100u

/* A descriptor that can never block us, in place of the front-end's. @return it or -errno. */
static int
own_descriptor(int fd, bool writing)
{
	char path[32];
	struct stat status;
	int own;

	if (fstat(fd, &status) != 0)
		return -errno;
	if (S_ISSOCK(status.st_mode))
		return fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (!S_ISFIFO(status.st_mode))
		return -ESPIPE;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, (writing ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_CLOEXEC);
	return own >= 0 ? own : -errno;
}

/* Write without SIGPIPE. @return bytes or -errno. */
static ssize_t
write_some(int fd, const uint8_t *bytes, size_t size)
{
	static const struct timespec now;
	sigset_t pipe_signal, before, pending;
	ssize_t count = send(fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	int error;

	if (count >= 0 || errno != ENOTSOCK)
		return count >= 0 ? count : -errno;
	/* A pipe has no such flag: hold the signal back and take what this write caused. */
	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
	count = write(fd, bytes, size);
	error = errno;
	if (count < 0 && error == EPIPE && !sigismember(&pending, SIGPIPE))
		(void)sigtimedwait(&pipe_signal, NULL, &now);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return count >= 0 ? count : -error;
}

static ssize_t
read_some(int fd, uint8_t *bytes, size_t size)
{
	ssize_t count = recv(fd, bytes, size, MSG_DONTWAIT);

	if (count < 0 && errno == ENOTSOCK)
		count = read(fd, bytes, size);
	return count >= 0 ? count : -errno;
}

/* Close and forget, but for the result. */
static void
stop(struct vhu_transfer *transfer, int result)
{
	vhu_watch_remove(&transfer->watch);
	close(transfer->watch.fd);
	free(transfer->bytes);
	transfer->bytes = NULL;
	transfer->active = false;
	transfer->result = result;
}

static struct vhu_verdict
verdict_of(const struct vhu_transfer *transfer)
{
	if (transfer->result != 0)
		return vhu_refuse(VHU_REFUSE, "the device's state was not transferred: %s",
			strerror(-transfer->result));
	return vhu_accept();
}

/* The transfer is over: tell whoever asked. The device may be gone afterwards, if it is leaving. */
static void
finish(struct vhu_device *device, int result)
{
	struct vhu_transfer *transfer = &device->transfer;

	stop(transfer, result);
	if (result != 0 && !device->leaving)
		vhu_log(VHU_LOG_WARNING, device->name, VHU_LOG_NO_RING,
			"state of the device: %s", strerror(-result));
	if (!transfer->asked)
		return;
	transfer->asked = false;
	vhu_reply_u64(&device->reply, 0);
	vhu_device_settle(device, verdict_of(transfer));
}

/* All of it has come. */
static int
load(struct vhu_device *device)
{
	const struct vhu_transfer *transfer = &device->transfer;

	if (vhu_device_any_started(device))
		return -EBUSY;
	return device->config.ops->load_state(device->config.owner, transfer->bytes,
		transfer->done);
}

static void
read_state(struct vhu_device *device)
{
	struct vhu_transfer *transfer = &device->transfer;
	ssize_t count;

	/* A byte more than is allowed shows that there is more. */
	count = read_some(transfer->watch.fd, transfer->bytes + transfer->done,
		VHU_STATE_MAX + 1 - transfer->done);
	if (count == -EAGAIN || count == -EINTR)
		return;
	if (count > 0)
		transfer->done += (size_t)count;
	if (count < 0)
		finish(device, (int)count);
	else if (transfer->done > VHU_STATE_MAX)
		finish(device, -EFBIG);
	else if (count == 0)
		finish(device, load(device));
}

static void
write_state(struct vhu_device *device)
{
	struct vhu_transfer *transfer = &device->transfer;
	ssize_t count = 0;

	if (transfer->done < transfer->size)
		count = write_some(transfer->watch.fd, transfer->bytes + transfer->done,
			transfer->size - transfer->done);
	if (count == -EAGAIN || count == -EINTR)
		return;
	if (count > 0)
		transfer->done += (size_t)count;
	if (count < 0 || transfer->done == transfer->size)
		finish(device, count < 0 ? (int)count : 0);
}

static void
ready(struct vhu_watch *watch, uint32_t events)
{
	struct vhu_device *device =
		(struct vhu_device *)((char *)watch - offsetof(struct vhu_device, transfer.watch));

	(void)events;
	if (device->transfer.direction == SAVE)
		write_state(device);
	else
		read_state(device);
}

static struct vhu_verdict
check_transfer(const struct vhu_device *device, const struct vhu_wire_device_state *asked)
{
	if (asked->direction != SAVE && asked->direction != LOAD)
		return vhu_refuse(VHU_REFUSE_FAULT, "direction %u is neither 0 (save) nor 1 (load)",
			asked->direction);
	if (asked->phase != PHASE_STOPPED)
		return vhu_refuse(VHU_REFUSE, "phase %u is not known, only 0 is", asked->phase);
	if (vhu_device_any_started(device))
		return vhu_refuse(VHU_REFUSE, "a ring is started, stop all of them first");
	if (device->transfer.active)
		return vhu_refuse(VHU_REFUSE, "another transfer is under way");
	return vhu_accept();
}

/* What is to be written, or room for what will be read. */
static int
prepare(struct vhu_device *device)
{
	struct vhu_transfer *transfer = &device->transfer;

	transfer->size = 0;
	transfer->done = 0;
	if (transfer->direction == SAVE)
		return device->config.ops->save_state(device->config.owner, &transfer->bytes,
			&transfer->size);
	/* Untouched pages cost nothing. */
	transfer->bytes = malloc(VHU_STATE_MAX + 1);
	return transfer->bytes != NULL ? 0 : -ENOMEM;
}

static int
begin(struct vhu_device *device, int fd)
{
	struct vhu_transfer *transfer = &device->transfer;
	bool saving = transfer->direction == SAVE;
	int rc;

	transfer->bytes = NULL;
	transfer->watch.ready = ready;
	transfer->watch.fd = own_descriptor(fd, saving);
	if (transfer->watch.fd < 0)
		return transfer->watch.fd;
	rc = prepare(device);
	if (rc == 0 && transfer->size > VHU_STATE_MAX)
		rc = -EFBIG;
	if (rc == 0)
		rc = vhu_watch_set(device->config.loop, &transfer->watch,
			saving ? EPOLLOUT : EPOLLIN);
	if (rc != 0) {
		close(transfer->watch.fd);
		free(transfer->bytes);
		return rc;
	}
	transfer->active = true;
	transfer->begun = true;
	return 0;
}

struct vhu_verdict
vhu_on_set_device_state_fd(struct vhu_device *device, struct vhu_message *m,
	struct vhu_message *reply)
{
	struct vhu_verdict verdict = check_transfer(device, &m->payload.device_state);
	int rc, fd;

	if (verdict.severity != VHU_ACCEPT)
		return verdict;
	device->transfer.direction = (uint8_t)m->payload.device_state.direction;
	fd = vhu_message_take_fd(m, 0);
	rc = begin(device, fd);
	close(fd);
	if (rc != 0)
		return vhu_refuse(VHU_REFUSE, "the transfer cannot begin: %s", strerror(-rc));
	vhu_reply_u64(reply, NO_DESCRIPTOR);
	return verdict;
}

struct vhu_verdict
vhu_on_check_device_state(struct vhu_device *device, struct vhu_message *m,
	struct vhu_message *reply)
{
	(void)m;
	if (!device->transfer.begun)
		return vhu_refuse(VHU_REFUSE, "no transfer was begun");
	if (device->transfer.active) {
		device->transfer.asked = true;
		vhu_device_defer(device);
		return vhu_accept();
	}
	vhu_reply_u64(reply, 0);
	return verdict_of(&device->transfer);
}

void
vhu_transfer_cancel(struct vhu_device *device)
{
	device->transfer.begun = false;
	if (device->transfer.active)
		finish(device, -ECANCELED);
}
