/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dev/device_private.h"

/*
 * The dirty log. While LOG_ALL is acknowledged every snapshot has a log, so no write is forgotten
 * in whatever order features, log and rings come: what is written before the front-end's log is
 * there is marked in one of our own, and moves over with the log's arrival.
 *
 * When logging ends, the front-end's log stays: it may begin again with it. It may also have given
 * the log up and send another only after logging and rings have begun, as QEMU does where a device
 * starts during a migration that follows a cancelled one. So what is marked there moves as well.
 */

bool
vhu_log_prepare(struct vhu_device *device, uint64_t features)
{
	if (!(features & VHU_BIT(VHU_F_LOG_ALL)) || device->log != NULL)
		return true;
	device->log = vhu_dirty_new_own();
	return device->log != NULL;
}

void
vhu_log_tidy(struct vhu_device *device)
{
	if (device->log == NULL || (device->features & VHU_BIT(VHU_F_LOG_ALL)))
		return;
	if (!device->log->own) {
		device->log->left = true;
		return;
	}
	/* Snapshots that are still in use have references of their own. */
	vhu_dirty_drop(device->log);
	device->log = NULL;
}

void
vhu_log_signal(struct vhu_device *device)
{
	if (device->log_fd >= 0 && device->log != NULL && vhu_dirty_taken(device->log))
		vhu_event_signal(device->log_fd);
}

/* No burst marks pages in the old log any more, and what it had of its own has moved. */
static void
log_replaced(struct vhu_device *device, uint16_t unused)
{
	(void)unused;
	vhu_device_settle(device, vhu_accept());
}

struct vhu_verdict
vhu_on_set_log_base(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	struct vhu_dirty *log, *old = device->log;
	struct vhu_bin *bin = vhu_bin_own(device);
	struct vhu_verdict verdict;

	/* Without LOG_SHMFD no descriptor comes, and the address in it means nothing to us. */
	if (!(device->protocol & VHU_BIT(VHU_PROTOCOL_LOG_SHMFD)))
		return vhu_refuse(VHU_REFUSE, "a log without LOG_SHMFD cannot be reached");
	verdict = vhu_dirty_map(m->fds[0], m->payload.log.size, m->payload.log.offset, &log);
	if (verdict.severity != VHU_ACCEPT)
		return verdict;
	device->log = log;
	if (device->features & VHU_BIT(VHU_F_LOG_ALL))
		verdict = vhu_rings_build(device, device->map, false);
	if (verdict.severity != VHU_ACCEPT) {
		device->log = old;
		vhu_dirty_drop(log);
		return verdict;
	}
	vhu_reply_u64(reply, 0);
	vhu_device_defer(device);
	if (device->features & VHU_BIT(VHU_F_LOG_ALL))
		vhu_rings_commit(device, device->map, bin);
	bin->log = old;
	bin->then = log_replaced;
	vhu_bin_retire(bin, NULL);
	return verdict;
}

struct vhu_verdict
vhu_on_set_log_fd(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	int flags = fcntl(m->fds[0], F_GETFL);
	struct stat status;

	(void)reply;
	if (flags < 0 || fstat(m->fds[0], &status) != 0)
		return vhu_refuse(VHU_REFUSE, "descriptor for the log cannot be used: %s",
			strerror(errno));
	/* Anonymous inodes have no file type; a pipe or socket could raise SIGPIPE. */
	if ((status.st_mode & S_IFMT) != 0)
		return vhu_refuse(VHU_REFUSE_FAULT, "descriptor for the log is no eventfd");
	if (!(flags & O_NONBLOCK))
		(void)fcntl(m->fds[0], F_SETFL, flags | O_NONBLOCK);
	if (device->log_fd >= 0)
		close(device->log_fd);
	device->log_fd = vhu_message_take_fd(m, 0);
	return vhu_accept();
}
