/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "dev/device_private.h"

/*
 * Messages after which lcores may not touch a ring any more. All of them park first and are
 * answered when every burst that may have seen the ring is over.
 */

/* The ring is quiet: its position is final. */
static void
base_final(struct vhu_device *device, uint16_t index)
{
	struct vhu_device_ring *ring = &device->rings[index];

	if (vhu_ring_stop(device, ring))
		vhu_ring_tell(device, ring, VHU_EVENT_RING_STOPPED, ring->base);
	device->reply.size = sizeof(device->reply.payload.state);
	device->reply.payload.state.index = index;
	device->reply.payload.state.value = ring->base;
	vhu_device_settle(device, vhu_accept());
}

/*
 * May what is in flight stay there? The front-end has to ask for it, and there has to be an
 * in-flight area where it stays marked for whoever comes next; without one it would be lost.
 */
static bool
leaves_in_flight(const struct vhu_device *device, const struct vhu_device_ring *ring,
	uint32_t request)
{
	if (vhu_ring_inflight(device, ring) == NULL)
		return false;
	return request == VHU_GET_VRING_BASE_SKIP_DRAIN ||
		(device->protocol & VHU_BIT(VHU_PROTOCOL_GET_VRING_BASE_INFLIGHT));
}

struct vhu_verdict
vhu_on_get_vring_base(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	struct vhu_device_ring *ring = &device->rings[m->payload.state.index];
	struct vhu_bin *bin = vhu_bin_own(device);

	(void)reply;
	if (!leaves_in_flight(device, ring, m->request))
		vhu_ring_tell_stopping(device, ring);
	vhu_device_defer(device);
	vhu_ring_park(ring, bin);
	bin->ring = ring->index;
	bin->then = base_final;
	vhu_bin_retire(bin, ring);
	return vhu_accept();
}

static struct vhu_verdict
enable_ring(struct vhu_device *device, struct vhu_device_ring *ring)
{
	struct vhu_verdict verdict = vhu_accept();
	struct vhu_published *next = NULL;

	if (ring->enabled)
		return verdict;
	if (vhu_ring_alive(ring) && !vhu_ring_visible(device, ring)) {
		next = vhu_ring_build(device, ring, device->map, &verdict);
		if (next == NULL)
			return verdict;
		vhu_ring_swap(ring, next, NULL);
	}
	vhu_ring_set_enabled(ring, true);
	vhu_ring_tell(device, ring, VHU_EVENT_RING_ENABLED, 0);
	return verdict;
}

/* Lcores take nothing more from the ring. */
static void
hide(struct vhu_device *device, struct vhu_device_ring *ring, struct vhu_bin *bin)
{
	if (device->config.keeps_elements)
		atomic_store_explicit(&ring->lcore->closed, true, memory_order_release);
	else
		vhu_ring_swap(ring, NULL, bin);
}

static void
ring_disabled(struct vhu_device *device, uint16_t index)
{
	struct vhu_device_ring *ring = &device->rings[index];

	vhu_ring_set_enabled(ring, false);
	vhu_ring_tell(device, ring, VHU_EVENT_RING_DISABLED, 0);
	vhu_device_settle(device, vhu_accept());
}

struct vhu_verdict
vhu_on_set_vring_enable(struct vhu_device *device, struct vhu_message *m,
	struct vhu_message *reply)
{
	struct vhu_device_ring *ring = &device->rings[m->payload.state.index];
	struct vhu_bin *bin;

	(void)reply;
	if (m->payload.state.value > 1)
		return vhu_refuse(VHU_REFUSE, "ring %u can be set to 0 or 1, not %u", ring->index,
			m->payload.state.value);
	if (m->payload.state.value == 1)
		return enable_ring(device, ring);
	if (!ring->enabled)
		return vhu_accept();
	bin = vhu_bin_own(device);
	vhu_device_defer(device);
	hide(device, ring, bin);
	bin->ring = ring->index;
	bin->then = ring_disabled;
	vhu_bin_retire(bin, ring);
	return vhu_accept();
}

static void
all_disabled(struct vhu_device *device, uint16_t unused)
{
	unsigned int i;

	(void)unused;
	for (i = 0; i < device->config.ring_count; i++) {
		struct vhu_device_ring *ring = &device->rings[i];

		if (!ring->enabled)
			continue;
		vhu_ring_set_enabled(ring, false);
		vhu_ring_tell(device, ring, VHU_EVENT_RING_DISABLED, 0);
	}
	vhu_device_settle(device, vhu_accept());
}

struct vhu_verdict
vhu_on_reset_owner(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	struct vhu_bin *bin = vhu_bin_own(device);
	unsigned int i;

	(void)m;
	(void)reply;
	vhu_device_defer(device);
	for (i = 0; i < device->config.ring_count; i++)
		hide(device, &device->rings[i], bin);
	bin->then = all_disabled;
	vhu_bin_retire(bin, NULL);
	return vhu_accept();
}

/*
 * The connection, the memory and the protocol features stay. So do the error descriptors: a
 * front-end sends them once, when it connects.
 */
static void
device_reset(struct vhu_device *device, uint16_t unused)
{
	unsigned int i;

	(void)unused;
	vhu_rings_stop(device);
	for (i = 0; i < device->config.ring_count; i++)
		vhu_ring_forget(&device->rings[i]);
	vhu_iotlb_forget(device);
	device->status = 0;
	if (device->config.ops->reset != NULL)
		device->config.ops->reset(device->config.owner);
	vhu_inflight_drop(device->inflight);
	device->inflight = NULL;
	if (device->features != 0) {
		device->features = 0;
		vhu_log_tidy(device);
		vhu_device_tell(device, VHU_EVENT_FEATURES, 0);
	}
	vhu_device_settle(device, vhu_accept());
}

struct vhu_verdict
vhu_on_reset_device(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	struct vhu_bin *bin = vhu_bin_own(device);

	(void)m;
	(void)reply;
	vhu_rings_tell_stopping(device);
	vhu_device_defer(device);
	vhu_rings_park(device, bin);
	bin->then = device_reset;
	vhu_bin_retire(bin, NULL);
	return vhu_accept();
}
