/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <string.h>

#include "dev/device_private.h"

/*
 * The front-end keeps the file of the area: GET makes a fresh one for it, SET gives it to whoever
 * serves the device from then on. Nothing of it is kept here between the two.
 */

/* Of the features that decide about the layout; the front-end acknowledges them before it asks. */
static bool
is_packed(const struct vhu_device *device)
{
	return device->features & VHU_BIT(VIRTIO_F_RING_PACKED);
}

struct vhu_verdict
vhu_on_get_inflight_fd(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	struct vhu_wire_inflight *wire = &reply->payload.inflight;
	uint16_t rings = m->payload.inflight.queue_count;
	uint16_t size = m->payload.inflight.queue_size;
	uint64_t bytes;
	int fd;

	if (rings == 0 || rings > device->config.ring_count || size == 0 || size > VHU_RING_MAX)
		return vhu_refuse(VHU_REFUSE,
			"no in-flight area for %u rings of %u descriptors", rings, size);
	bytes = vhu_inflight_create(is_packed(device), rings, size, &fd);
	if (bytes == 0)
		return vhu_refuse(VHU_REFUSE, "in-flight area cannot be made: %s",
			strerror(errno));
	*wire = m->payload.inflight;
	wire->size = bytes;
	wire->offset = 0;
	/* With or without padding, as it was asked for. */
	reply->size = m->size;
	reply->fds[0] = fd;
	reply->fd_count = 1;
	return vhu_accept();
}

struct vhu_verdict
vhu_on_set_inflight_fd(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	struct vhu_inflight_area *area;
	struct vhu_verdict verdict;

	(void)reply;
	/* What runs has begun without it, or with another one. */
	if (vhu_device_any_started(device))
		return vhu_refuse(VHU_REFUSE,
			"the in-flight area may not change while a ring is started");
	verdict = vhu_inflight_attach(&m->payload.inflight, m->fds[0], is_packed(device),
		device->config.ring_count, &area);
	if (verdict.severity != VHU_ACCEPT)
		return verdict;
	vhu_inflight_drop(device->inflight);
	device->inflight = area;
	return verdict;
}
