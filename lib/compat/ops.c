/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compat/private.h"

/*
 * What the engine asks and tells, in the words of the API. All of it runs inside vu_dispatch() or
 * vu_deinit().
 */

static void
on_send(void *owner, struct vhu_message *reply)
{
	struct vu_device *own = owner;

	if (!vu_message_send_engine(own->dev, own->dev->sock, reply))
		own->send_failed = true;
}

static void
on_answered(void *owner)
{
	(void)owner; /* vu_settle() looks */
}

static void
on_hang_up(void *owner)
{
	struct vu_device *own = owner;

	own->hung_up = true;
}

/* Let a program that sleeps on kicks look into a ring that may have been filled before. */
void
vu_kick_ourselves(const VuVirtq *vq)
{
	static const uint64_t one = 1;
	ssize_t written;

	if (vq->kick_fd < 0 || (vq->handler == NULL && !vu_queue_owes(vq->own)))
		return;
	written = write(vq->kick_fd, &one, sizeof(one));
	(void)written; /* full: it is readable; a pipe's reading end: its writer will have kicked */
}

static void
tell_started(struct vu_queue *queue, bool started)
{
	VuVirtq *vq = vu_public(queue);
	VuDev *dev = queue->dev;

	/* Partner: vu_queue_started() in any thread. */
	__atomic_store_n(&vq->started, started, __ATOMIC_RELAXED);
	if (dev->iface->queue_set_started != NULL)
		dev->iface->queue_set_started(dev, queue->index, started);
	if (!started)
		return;
	vu_watch_update(queue);
	vu_kick_ourselves(vq);
}

static void
tell_enabled(struct vu_queue *queue, bool enabled)
{
	VuVirtq *vq = vu_public(queue);

	/* Partner: vu_queue_enabled() in any thread. */
	__atomic_store_n(&vq->enable, enabled, __ATOMIC_RELAXED);
	/* Whoever was kicked while it was disabled could pop nothing and has read the kick. */
	if (enabled && vq->started)
		vu_kick_ourselves(vq);
}

static void
on_event(void *owner, enum vhu_event_type type, uint16_t ring, uint64_t value)
{
	struct vu_device *own = owner;
	struct vu_queue *queue = ring < own->dev->max_queues ? &own->queues[ring] : NULL;

	switch (type) {
	case VHU_EVENT_RING_STARTED:
		tell_started(queue, true);
		break;
	case VHU_EVENT_RING_STOPPED:
		__atomic_store_n(&vu_public(queue)->started, false, __ATOMIC_RELAXED);
		vu_queue_end(queue);
		break;
	case VHU_EVENT_RING_ENABLED:
	case VHU_EVENT_RING_DISABLED:
		tell_enabled(queue, type == VHU_EVENT_RING_ENABLED);
		break;
	case VHU_EVENT_RING_BROKEN:
		vu_queue_panic(queue, (enum vhu_broken)value);
		break;
	case VHU_EVENT_MEMORY:
		vu_memory_update(own);
		break;
	case VHU_EVENT_REFUSED:
		own->fault = true; /* vu_dispatch() has the words */
		break;
	default:
		break;
	}
}

static int
on_specialise(void *owner, uint16_t ring, struct vhu_snapshot *snapshot)
{
	(void)owner;
	(void)ring;
	/* Requests go through the vu_queue_ functions; a burst of frames has no place. */
	snapshot->burst = vhu_snapshot_parked.burst;
	snapshot->body = "elements";
	return 0;
}

static int
on_ring_prepare(void *owner, uint16_t ring, uint16_t size)
{
	struct vu_device *own = owner;

	return vu_queue_prepare(&own->queues[ring], size);
}

static void
on_ring_place(void *owner, uint16_t ring, const struct vhu_snapshot *snapshot, uint16_t capacity,
	struct vhu_walk *avail, struct vhu_walk *used)
{
	struct vu_device *own = owner;

	vu_queue_place(&own->queues[ring], snapshot, capacity, avail, used);
}

static bool
on_in_order(void *owner, uint16_t ring)
{
	struct vu_device *own = owner;
	const VuDevIface *iface = own->dev->iface;

	return iface->queue_is_processed_in_order != NULL &&
		iface->queue_is_processed_in_order(own->dev, ring);
}

static void
on_stopping(void *owner, uint16_t ring)
{
	struct vu_device *own = owner;
	struct vu_queue *queue = &own->queues[ring];

	/* What the program pushes before this returns still reaches the guest. */
	tell_started(queue, false);
}

static void
on_quiet(void *owner, uint16_t ring)
{
	struct vu_device *own = owner;

	vu_queue_return_rest(&own->queues[ring]);
}

static void
on_kick_changed(void *owner, uint16_t ring, int kick_fd)
{
	struct vu_device *own = owner;
	struct vu_queue *queue = &own->queues[ring];
	bool replaced = vu_public(queue)->started && kick_fd >= 0;

	/* Programs that watch the descriptor themselves must let go of the old one. */
	if (replaced)
		tell_started(queue, false);
	vu_watch_kick(queue, kick_fd);
	if (replaced)
		tell_started(queue, true);
}

static int
on_get_config(void *owner, uint32_t offset, void *data, uint32_t size)
{
	struct vu_device *own = owner;
	uint8_t space[VHOST_USER_MAX_CONFIG_SIZE] = { 0 };

	if (own->dev->iface->get_config == NULL || offset > sizeof(space) ||
	    size > sizeof(space) - offset)
		return -EINVAL;
	/* Programs fill in from the beginning only. */
	if (own->dev->iface->get_config(own->dev, space, offset + size) != 0)
		return -EINVAL;
	memcpy(data, space + offset, size);
	return 0;
}

static int
on_set_config(void *owner, uint32_t offset, const void *data, uint32_t size, bool migration)
{
	struct vu_device *own = owner;

	if (own->dev->iface->set_config == NULL)
		return -EPERM;
	return own->dev->iface->set_config(own->dev, data, offset, size,
		migration ? VHOST_SET_CONFIG_TYPE_MIGRATION : VHOST_SET_CONFIG_TYPE_FRONTEND) == 0 ?
		0 : -EPERM;
}

static int
on_get_shared_object(void *owner, const uint8_t *uuid)
{
	struct vu_device *own = owner;
	int fd = own->dev->iface->get_shared_object == NULL ? -1 :
		own->dev->iface->get_shared_object(own->dev, uuid);

	/* The program keeps its own. */
	if (fd >= 0)
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return fd >= 0 ? fd : -ENOENT;
}

/* Programs that offer these look after them in process_msg(); what comes here nobody wanted. */
static int
on_announce(void *owner, uint64_t address)
{
	(void)owner;
	(void)address;
	return -EOPNOTSUPP;
}

static int
on_set_mtu(void *owner, uint64_t mtu)
{
	(void)owner;
	(void)mtu;
	return -EOPNOTSUPP;
}

const struct vhu_device_ops vu_device_ops = {
	.send = on_send,
	.answered = on_answered,
	.hang_up = on_hang_up,
	.event = on_event,
	.specialise = on_specialise,
	.ring_prepare = on_ring_prepare,
	.ring_place = on_ring_place,
	.in_order = on_in_order,
	.stopping = on_stopping,
	.quiet = on_quiet,
	.kick_changed = on_kick_changed,
	.get_config = on_get_config,
	.set_config = on_set_config,
	.get_shared_object = on_get_shared_object,
	.announce = on_announce,
	.set_mtu = on_set_mtu,
	.region_gone = vu_region_gone,
	.regions_crowd = vu_regions_crowd,
};
