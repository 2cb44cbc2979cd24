/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "dev/device_private.h"
#include "dev/requests.h"

#define SHMEM_WRITABLE 1u

/* Whom to tell of the end of a request. */
struct waiter {
	vhu_request_done done;
	void *argument;
};

static void
tell_waiter(struct vhu_device *device, void *argument, int result, struct vhu_message *reply)
{
	struct waiter waiter = *(struct waiter *)argument;

	(void)device;
	(void)reply;
	free(argument);
	waiter.done(waiter.argument, result, -1);
}

static void
tell_object(struct vhu_device *device, void *argument, int result, struct vhu_message *reply)
{
	struct waiter waiter = *(struct waiter *)argument;
	int fd = result == 0 && reply != NULL ? vhu_message_take_fd(reply, 0) : -1;

	(void)device;
	free(argument);
	if (result == -EREMOTEIO || (result == 0 && fd < 0))
		result = -ENOENT;
	waiter.done(waiter.argument, result, fd);
}

/* Send what somebody wants to hear the end of. Takes over the message's descriptors. */
static int
ask(struct vhu_device *device, struct vhu_message *m, vhu_channel_done tell,
	vhu_request_done done, void *argument)
{
	struct waiter *waiter = NULL;
	int rc = vhu_device_any_started(device) ? 0 : -EAGAIN;

	if (rc == 0 && done != NULL) {
		waiter = malloc(sizeof(*waiter));
		if (waiter == NULL)
			rc = -ENOMEM;
		else
			*waiter = (struct waiter){ done, argument };
	}
	if (rc != 0) {
		vhu_message_close(m);
		return rc;
	}
	rc = vhu_channel_send(device, m, done != NULL, done != NULL ? tell : NULL, waiter);
	if (rc != 0)
		free(waiter);
	return rc;
}

/* Let a copy of the descriptor travel with the message. */
static int
add_fd(struct vhu_message *m, int fd)
{
	m->fds[0] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (m->fds[0] < 0)
		return -errno;
	m->fd_count = 1;
	return 0;
}

int
vhu_device_config_changed(struct vhu_device *device)
{
	struct vhu_message m;

	vhu_backend_request_init(&m, VHU_BACKEND_CONFIG_CHANGE, 0, false);
	return ask(device, &m, NULL, NULL, NULL);
}

int
vhu_device_host_notifier(struct vhu_device *device, uint16_t ring, int fd, uint64_t offset,
	uint64_t size, vhu_request_done done, void *argument)
{
	struct vhu_message m;
	int rc;

	if (ring >= device->config.ring_count)
		return -EINVAL;
	vhu_backend_request_init(&m, VHU_BACKEND_VRING_HOST_NOTIFIER, sizeof(m.payload.area),
		false);
	m.payload.area.value = ring | (fd < 0 ? VHU_VRING_NOFD : 0);
	m.payload.area.size = size;
	m.payload.area.offset = offset;
	rc = fd < 0 ? 0 : add_fd(&m, fd);
	return rc != 0 ? rc : ask(device, &m, tell_waiter, done, argument);
}

static int
ask_object(struct vhu_device *device, uint32_t request, const uint8_t uuid[VHU_UUID_SIZE],
	vhu_channel_done tell, vhu_request_done done, void *argument)
{
	struct vhu_message m;

	vhu_backend_request_init(&m, request, VHU_UUID_SIZE, false);
	memcpy(m.payload.uuid, uuid, VHU_UUID_SIZE);
	return ask(device, &m, tell, done, argument);
}

int
vhu_device_object_add(struct vhu_device *device, const uint8_t uuid[VHU_UUID_SIZE],
	vhu_request_done done, void *argument)
{
	return ask_object(device, VHU_BACKEND_SHARED_OBJECT_ADD, uuid, tell_waiter, done, argument);
}

int
vhu_device_object_remove(struct vhu_device *device, const uint8_t uuid[VHU_UUID_SIZE],
	vhu_request_done done, void *argument)
{
	return ask_object(device, VHU_BACKEND_SHARED_OBJECT_REMOVE, uuid, tell_waiter, done,
		argument);
}

int
vhu_device_object_lookup(struct vhu_device *device, const uint8_t uuid[VHU_UUID_SIZE],
	vhu_request_done done, void *argument)
{
	if (done == NULL)
		return -EINVAL;
	return ask_object(device, VHU_BACKEND_SHARED_OBJECT_LOOKUP, uuid, tell_object, done,
		argument);
}

/* Does the part lie in a region that the device has declared? */
static bool
part_fits(const struct vhu_device *device, const struct vhu_shmem_part *part)
{
	uint64_t room;

	if (part->region >= device->config.shmem_count)
		return false;
	room = device->config.shmem_sizes[part->region];
	return part->size > 0 && part->size <= room && part->region_offset <= room - part->size;
}

static void
shmem_message(struct vhu_message *m, uint32_t request, const struct vhu_shmem_part *part)
{
	vhu_backend_request_init(m, request, sizeof(m->payload.shmem_map), false);
	m->payload.shmem_map.shmem_id = part->region;
	m->payload.shmem_map.fd_offset = part->file_offset;
	m->payload.shmem_map.shmem_offset = part->region_offset;
	m->payload.shmem_map.size = part->size;
	m->payload.shmem_map.flags = part->writable ? SHMEM_WRITABLE : 0;
}

int
vhu_device_shmem_map(struct vhu_device *device, const struct vhu_shmem_part *part, int fd,
	vhu_request_done done, void *argument)
{
	struct vhu_message m;
	int rc;

	if (!part_fits(device, part))
		return -EINVAL;
	shmem_message(&m, VHU_BACKEND_SHMEM_MAP, part);
	rc = add_fd(&m, fd);
	return rc != 0 ? rc : ask(device, &m, tell_waiter, done, argument);
}

int
vhu_device_shmem_unmap(struct vhu_device *device, const struct vhu_shmem_part *part,
	vhu_request_done done, void *argument)
{
	struct vhu_message m;

	if (!part_fits(device, part))
		return -EINVAL;
	shmem_message(&m, VHU_BACKEND_SHMEM_UNMAP, part);
	return ask(device, &m, tell_waiter, done, argument);
}
