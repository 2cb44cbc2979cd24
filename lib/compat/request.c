/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "compat/private.h"
#include "dev/channel.h"

/*
 * Requests to the front-end. The channel never waits; who must know the outcome steps the channel
 * until it is there. Not while the front-end waits for a reply of ours, though: it would not look
 * at the channel before, so the outcome is taken for granted then.
 */

/* A request that somebody waits for. */
struct wait {
	bool ended;
	int result;
	int fd; /* that came with the answer, or -1 */
};

static void
ended(struct vhu_device *device, void *argument, int result, struct vhu_message *reply)
{
	struct wait *wait = argument;

	(void)device;
	wait->ended = true;
	wait->result = result;
	if (reply != NULL && reply->fd_count != 0)
		wait->fd = vhu_message_take_fd(reply, 0);
}

/* Send, and wait if asked for and possible. @return whether it went well, as far as known. */
static bool
request(VuDev *dev, struct vhu_message *message, bool wait_for_it, int *fd)
{
	struct vu_device *own = dev->own;
	struct wait wait = { .fd = -1 };
	bool accepted;

	if (own->reply_owed)
		wait_for_it = false;
	accepted = vhu_channel_send(own->device, message, wait_for_it,
		wait_for_it ? ended : NULL, &wait) == 0;
	while (accepted && wait_for_it && !wait.ended)
		vhu_loop_step(own->loop, 1000);
	if (fd != NULL)
		*fd = wait.fd;
	else if (wait.fd >= 0)
		close(wait.fd);
	return accepted && (!wait_for_it || wait.result == 0);
}

bool
vu_set_queue_host_notifier(VuDev *dev, VuVirtq *vq, int fd, int size, int offset)
{
	struct vhu_message message;
	int copy = -1;

	vhu_backend_request_init(&message, VHU_BACKEND_VRING_HOST_NOTIFIER,
		sizeof(message.payload.area), true);
	message.payload.area.value = (uint64_t)(vq - dev->vq) | (fd < 0 ? VHU_VRING_NOFD : 0);
	message.payload.area.size = (uint64_t)size;
	message.payload.area.offset = (uint64_t)offset;
	if (fd >= 0) {
		/* The channel closes what it sends; the program's own stays open. */
		copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (copy < 0)
			return false;
		message.fds[0] = copy;
		message.fd_count = 1;
	}
	return request(dev, &message, true, NULL);
}

bool
vu_config_change_msg(VuDev *dev)
{
	struct vhu_message message;

	vhu_backend_request_init(&message, VHU_BACKEND_CONFIG_CHANGE, 0, false);
	return request(dev, &message, false, NULL);
}

static bool
about_object(VuDev *dev, uint32_t what, const unsigned char uuid[UUID_LEN], int *fd)
{
	struct vhu_message message;

	vhu_backend_request_init(&message, what, UUID_LEN, true);
	memcpy(message.payload.uuid, uuid, UUID_LEN);
	return request(dev, &message, true, fd);
}

bool
vu_add_shared_object(VuDev *dev, unsigned char uuid[UUID_LEN])
{
	return about_object(dev, VHU_BACKEND_SHARED_OBJECT_ADD, uuid, NULL);
}

bool
vu_rm_shared_object(VuDev *dev, unsigned char uuid[UUID_LEN])
{
	return about_object(dev, VHU_BACKEND_SHARED_OBJECT_REMOVE, uuid, NULL);
}

bool
vu_lookup_shared_object(VuDev *dev, unsigned char uuid[UUID_LEN], int *dmabuf_fd)
{
	return about_object(dev, VHU_BACKEND_SHARED_OBJECT_LOOKUP, uuid, dmabuf_fd) &&
		*dmabuf_fd >= 0;
}

bool
vu_shmem_map(VuDev *dev, uint8_t shmid, uint64_t fd_offset, uint64_t shm_offset, uint64_t len,
	uint64_t flags, int fd)
{
	struct vhu_message message;
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (copy < 0)
		return false;
	vhu_backend_request_init(&message, VHU_BACKEND_SHMEM_MAP,
		sizeof(message.payload.shmem_map), true);
	message.payload.shmem_map = (struct vhu_wire_shmem_map){
		.shmem_id = shmid,
		.fd_offset = fd_offset,
		.shmem_offset = shm_offset,
		.size = len,
		.flags = flags,
	};
	message.fds[0] = copy;
	message.fd_count = 1;
	return request(dev, &message, true, NULL);
}

bool
vu_shmem_unmap(VuDev *dev, uint8_t shmid, uint64_t shm_offset, uint64_t len)
{
	struct vhu_message message;

	vhu_backend_request_init(&message, VHU_BACKEND_SHMEM_UNMAP,
		sizeof(message.payload.shmem_map), true);
	message.payload.shmem_map = (struct vhu_wire_shmem_map){
		.shmem_id = shmid,
		.shmem_offset = shm_offset,
		.size = len,
	};
	return request(dev, &message, true, NULL);
}

/* One in-band notification of a queue that wants one. */
static void
send_call(struct vu_queue *queue, bool wait)
{
	struct vhu_message message;

	/* Partner: the exchange in vhu_ring_call(). */
	if (!atomic_exchange_explicit(&queue->elements.ring.call_wanted, false,
			memory_order_acq_rel))
		return;
	vhu_backend_request_init(&message, VHU_BACKEND_VRING_CALL, sizeof(message.payload.state),
		wait);
	message.payload.state.index = queue->index;
	(void)request(queue->dev, &message, wait, NULL);
}

void
vu_attend(struct vu_device *own)
{
	if (own->dispatching || vhu_device_busy(own->device))
		return;
	vhu_device_check_broken(own->device);
	vhu_device_tick(own->device);
	vu_kept_release(own);
	vu_wake_debtors(own);
}

void
vu_queue_missing(struct vu_queue *queue)
{
	struct vu_device *own = queue->dev->own;
	int fd = atomic_load_explicit(&own->wake_fd, memory_order_relaxed);

	/* The device belongs to one thread. */
	if (pthread_equal(own->thread, pthread_self()))
		vu_attend(own);
	else if (fd >= 0)
		eventfd_write(fd, 1);
}

/* Another thread has something to be sent. */
static void
woken(VuDev *dev, int condition, void *data)
{
	uint64_t value;
	uint16_t i;

	(void)condition;
	(void)data;
	if (read(dev->own->wake_fd, &value, sizeof(value)) < 0)
		return;
	for (i = 0; i < dev->max_queues; i++)
		send_call(&dev->own->queues[i], false);
	vu_attend(dev->own);
}

void
vu_watch_wishes(VuDev *dev, bool wanted)
{
	struct vu_device *own = dev->own;

	if (wanted && own->wake_fd < 0) {
		own->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (own->wake_fd >= 0)
			dev->set_watch(dev, own->wake_fd, VU_WATCH_IN, woken, NULL);
	} else if (!wanted && own->wake_fd >= 0) {
		dev->remove_watch(dev, own->wake_fd);
		close(own->wake_fd);
		own->wake_fd = -1;
	}
}

void
vu_send_calls(struct vu_queue *queue, bool wait)
{
	struct vu_device *own = queue->dev->own;

	/* Set when there is no call descriptor; otherwise the guest has been notified already. */
	if (!atomic_load_explicit(&queue->elements.ring.call_wanted, memory_order_relaxed))
		return;
	/* The channel belongs to one thread. */
	if (pthread_equal(own->thread, pthread_self()))
		send_call(queue, wait);
	else if (own->wake_fd >= 0)
		eventfd_write(own->wake_fd, 1);
}
