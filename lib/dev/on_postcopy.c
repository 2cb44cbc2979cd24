/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dev/device_private.h"
#include "mem/postcopy.h"

/*
 * Postcopy, the side that the guest moves to. ADVISE hands the front-end a userfaultfd of ours;
 * after LISTEN memory is mapped closed and told with our addresses (on_memory.c), so that the
 * front-end can tell which page a fault is about; when it says go, memory is opened and becomes the
 * device's. So nobody can touch a page before somebody serves its fault. Faults are only slow, but
 * they stop whoever takes them: a burst, or the control thread when a ring starts.
 */

struct vhu_verdict
vhu_on_postcopy_advise(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	int fd, theirs;

	(void)m;
	if (device->postcopy == VHU_POSTCOPY_LISTENING)
		return vhu_refuse(VHU_REFUSE, "postcopy has begun, END comes first");
	fd = vhu_postcopy_open();
	if (fd < 0)
		return vhu_refuse(VHU_REFUSE, "no userfaultfd: %s", strerror(-fd));
	theirs = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (theirs < 0) {
		int error = errno;

		close(fd);
		return vhu_refuse(VHU_REFUSE, "no userfaultfd: %s", strerror(error));
	}
	if (device->userfaultfd >= 0)
		close(device->userfaultfd);
	device->userfaultfd = fd;
	device->postcopy = VHU_POSTCOPY_ADVISED;
	reply->fds[0] = theirs;
	reply->fd_count = 1;
	return vhu_accept();
}

struct vhu_verdict
vhu_on_postcopy_listen(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	(void)m;
	(void)reply;
	if (device->postcopy == VHU_POSTCOPY_NONE)
		return vhu_refuse(VHU_REFUSE, "postcopy was not advised");
	/* Its pages would not be missing, whatever the front-end means to put there. */
	if (device->postcopy == VHU_POSTCOPY_ADVISED && device->map->count != 0)
		return vhu_refuse(VHU_REFUSE, "%u memory regions are mapped already",
			device->map->count);
	device->postcopy = VHU_POSTCOPY_LISTENING;
	return vhu_accept();
}

bool
vhu_postcopy_is_go(const struct vhu_device *device, const struct vhu_message *m)
{
	const struct vhu_gates gates = { .listening = device->postcopy == VHU_POSTCOPY_LISTENING };

	return vhu_message_is_go(m, &gates);
}

void
vhu_memory_reply(struct vhu_device *device, const struct vhu_map *map)
{
	const struct vhu_message *m = &device->message;
	struct vhu_message *reply = &device->reply;
	struct vhu_wire_region *wire = &reply->payload.mem_reg.region;
	uint32_t i, count = 1;

	reply->size = m->size;
	memcpy(reply->payload.bytes, m->payload.bytes, m->size);
	if (m->request == VHU_SET_MEM_TABLE) {
		wire = reply->payload.table.regions;
		count = reply->payload.table.count;
	}
	for (i = 0; i < count; i++)
		wire[i].user_address = (uintptr_t)vhu_map_find(map, &wire[i])->host;
}

void
vhu_memory_coming(struct vhu_device *device, struct vhu_map *map, struct vhu_verdict verdict)
{
	if (verdict.severity == VHU_ACCEPT) {
		if (device->coming != NULL)
			vhu_device_drop_map(device, device->coming);
		device->coming = map;
		vhu_memory_reply(device, map);
	}
	vhu_device_settle(device, verdict);
}

/* Opens all regions of the map that is to come; nobody else has it while the message is at hand. */
struct open_job {
	struct vhu_job job;
	struct vhu_device *device;
};

static void
run_open(struct vhu_job *job)
{
	struct vhu_device *device = ((struct open_job *)job)->device;
	uint32_t i;

	for (i = 0; i < device->coming->count && job->result == 0; i++)
		job->result = vhu_region_open(device->coming->by_guest[i], device->userfaultfd);
}

static void
done_open(struct vhu_job *job)
{
	struct vhu_device *device = ((struct open_job *)job)->device;
	struct vhu_verdict verdict = vhu_accept();
	struct vhu_bin *bin = vhu_bin_own(device);
	struct vhu_map *map = device->coming;

	device->coming = NULL;
	if (device->leaving)
		verdict = vhu_refuse(VHU_REFUSE, "the connection was lost");
	else if (job->result != 0)
		verdict = vhu_refuse(VHU_REFUSE, "faults of memory cannot be served: %s",
			strerror(-job->result));
	free(job);
	if (verdict.severity != VHU_ACCEPT)
		vhu_device_drop_map(device, map);
	else
		verdict = vhu_memory_switch(device, map, bin);
	if (verdict.severity != VHU_ACCEPT)
		vhu_device_settle(device, verdict);
	else
		vhu_memory_settle(device, bin);
}

struct vhu_verdict
vhu_memory_open(struct vhu_device *device, const struct vhu_message *m)
{
	struct open_job *open;

	if (m->payload.u64 != 0) {
		if (device->coming != NULL)
			vhu_device_drop_map(device, device->coming);
		device->coming = NULL;
		return vhu_refuse(VHU_REFUSE, "the front-end cannot serve faults of its memory");
	}
	/* Front-ends that send each region several times, one per queue pair, say go as often. */
	if (device->coming == NULL)
		return vhu_accept();
	open = calloc(1, sizeof(*open));
	if (open == NULL)
		return vhu_refuse(VHU_REFUSE, "out of memory");
	open->job.run = run_open;
	open->job.done = done_open;
	open->device = device;
	vhu_device_defer(device);
	device->config.executor->submit(device->config.executor, &open->job);
	return vhu_accept();
}

void
vhu_postcopy_forget(struct vhu_device *device)
{
	uint32_t i;

	if (device->userfaultfd >= 0) {
		/* The front-end has the descriptor as well: closing ours would not end it. */
		for (i = 0; i < device->map->count; i++)
			vhu_postcopy_unregister(device->userfaultfd,
				device->map->by_guest[i]->mapping,
				device->map->by_guest[i]->mapping_size);
		close(device->userfaultfd);
	}
	device->userfaultfd = -1;
	device->postcopy = VHU_POSTCOPY_NONE;
	if (device->coming != NULL)
		vhu_device_drop_map(device, device->coming);
	device->coming = NULL;
}

struct vhu_verdict
vhu_on_postcopy_end(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	(void)m;
	vhu_postcopy_forget(device);
	vhu_reply_u64(reply, 0);
	return vhu_accept();
}
