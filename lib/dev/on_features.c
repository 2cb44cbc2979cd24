/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <inttypes.h>

#include "dev/device_private.h"

/* Features that may change while rings run. */
#define FEATURES_LIVE VHU_BIT(VHU_F_LOG_ALL)

struct vhu_verdict
vhu_on_get_features(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	(void)m;
	vhu_reply_u64(reply, device->offered);
	return vhu_accept();
}

static struct vhu_verdict
check_features(const struct vhu_device *device, uint64_t features)
{
	uint64_t unknown = features & ~(device->offered | device->config.unasked_features);

	if (unknown != 0)
		return vhu_refuse(VHU_REFUSE, "features 0x%" PRIx64 " were not offered, only 0x%"
			PRIx64 " were", unknown, device->offered);
	if (!device->config.legacy && !(features & VHU_BIT(VIRTIO_F_VERSION_1)))
		return vhu_refuse(VHU_REFUSE, "features 0x%" PRIx64
			" lack VERSION_1: legacy guests are not served", features);
	if (((features ^ device->features) & ~FEATURES_LIVE) && vhu_device_any_started(device))
		return vhu_refuse(VHU_REFUSE, "features may not change from 0x%" PRIx64 " to 0x%"
			PRIx64 " while a ring is started", device->features, features);
	return vhu_accept();
}

/* Enable every ring; what runs from here on has been built. */
static void
enable_all(struct vhu_device *device)
{
	unsigned int i;

	for (i = 0; i < device->config.ring_count; i++) {
		struct vhu_device_ring *ring = &device->rings[i];

		if (ring->enabled)
			continue;
		/* A ring that was not visible is parked, so nothing is left to retire. */
		if (!vhu_ring_visible(device, ring))
			vhu_ring_swap(ring, ring->next, NULL);
		ring->next = NULL;
		vhu_ring_set_enabled(ring, true);
		vhu_ring_tell(device, ring, VHU_EVENT_RING_ENABLED, 0);
	}
}

/* Go on with new snapshots where rings run. Those without one were broken by an lcore. */
static void
change_running(struct vhu_device *device, struct vhu_bin *bin)
{
	unsigned int i;

	for (i = 0; i < device->config.ring_count; i++) {
		struct vhu_device_ring *ring = &device->rings[i];

		if (!vhu_ring_visible(device, ring))
			continue;
		vhu_ring_swap(ring, ring->next, bin);
		ring->next = NULL;
	}
}

static void
features_settled(struct vhu_device *device, uint16_t unused)
{
	(void)unused;
	vhu_device_settle(device, vhu_accept());
}

struct vhu_verdict
vhu_on_set_features(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	uint64_t features = m->payload.u64, old = device->features;
	struct vhu_verdict verdict = check_features(device, features);
	/* Without protocol features there is no message to enable a ring: they all are at once. */
	bool enable = !(features & VHU_BIT(VHU_F_PROTOCOL_FEATURES));
	bool changes = features != old;
	struct vhu_bin *bin = vhu_bin_own(device);

	(void)reply;
	if (verdict.severity != VHU_ACCEPT)
		return verdict;
	if (!vhu_log_prepare(device, features))
		return vhu_refuse(VHU_REFUSE, "out of memory for a dirty log");
	if (!vhu_iotlb_prepare(device, features)) {
		vhu_log_tidy(device);
		return vhu_refuse(VHU_REFUSE, "out of memory for an IOTLB");
	}
	device->features = features;
	if (changes)
		verdict = vhu_rings_build(device, device->map, false);
	if (enable && verdict.severity == VHU_ACCEPT)
		verdict = vhu_rings_build(device, device->map, true);
	if (verdict.severity != VHU_ACCEPT)
		device->features = old;
	vhu_log_tidy(device);
	if (verdict.severity != VHU_ACCEPT)
		return verdict;
	if (changes)
		change_running(device, bin);
	if (features != old)
		vhu_device_tell(device, VHU_EVENT_FEATURES, features);
	if (enable)
		enable_all(device);
	if (bin->published == NULL)
		return verdict;
	/* Only when no burst goes by the old features any more is it true that they changed. */
	vhu_device_defer(device);
	bin->then = features_settled;
	vhu_bin_retire(bin, NULL);
	return verdict;
}

struct vhu_verdict
vhu_on_get_protocol_features(struct vhu_device *device, struct vhu_message *m,
	struct vhu_message *reply)
{
	(void)m;
	vhu_reply_u64(reply, device->offered_protocol);
	return vhu_accept();
}

struct vhu_verdict
vhu_on_set_protocol_features(struct vhu_device *device, struct vhu_message *m,
	struct vhu_message *reply)
{
	const uint64_t in_band_needs =
		VHU_BIT(VHU_PROTOCOL_BACKEND_REQ) | VHU_BIT(VHU_PROTOCOL_REPLY_ACK);
	const uint64_t skip_needs = VHU_BIT(VHU_PROTOCOL_INFLIGHT_SHMFD) |
		VHU_BIT(VHU_PROTOCOL_GET_VRING_BASE_INFLIGHT);
	uint64_t features = m->payload.u64;

	(void)reply;
	if (features & ~device->offered_protocol)
		return vhu_refuse(VHU_REFUSE, "protocol features 0x%" PRIx64
			" were not offered, only 0x%" PRIx64 " were",
			features & ~device->offered_protocol, device->offered_protocol);
	if (features != device->protocol && vhu_device_any_started(device))
		return vhu_refuse(VHU_REFUSE, "protocol features may not change from 0x%" PRIx64
			" to 0x%" PRIx64 " while a ring is started", device->protocol, features);
	/* The document wants the connection closed: kicks would be waited for and never come. */
	if ((features & VHU_BIT(VHU_PROTOCOL_INBAND_NOTIFICATIONS)) && (features & in_band_needs) !=
			in_band_needs)
		return vhu_refuse(VHU_REFUSE_CLOSE,
			"INBAND_NOTIFICATIONS comes without BACKEND_REQ and REPLY_ACK");
	if ((features & VHU_BIT(VHU_PROTOCOL_GET_VRING_BASE_SKIP_DRAIN)) &&
	    (features & skip_needs) != skip_needs)
		return vhu_refuse(VHU_REFUSE_FAULT, "GET_VRING_BASE_SKIP_DRAIN comes without "
			"INFLIGHT_SHMFD and GET_VRING_BASE_INFLIGHT");
	device->protocol = features;
	device->protocol_set = true;
	return vhu_accept();
}

struct vhu_verdict
vhu_on_set_owner(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	/* Marks the beginning of a session, which began with the connection. */
	(void)device;
	(void)m;
	(void)reply;
	return vhu_accept();
}

struct vhu_verdict
vhu_on_get_queue_num(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	(void)m;
	vhu_reply_u64(reply, device->config.queue_num);
	return vhu_accept();
}

struct vhu_verdict
vhu_on_set_status(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	(void)reply;
	if (m->payload.u64 > UINT8_MAX)
		return vhu_refuse(VHU_REFUSE_FAULT, "status 0x%" PRIx64 " is more than a byte",
			m->payload.u64);
	/*
	 * Kept for the front-end, and told. Status 0 comes before the rings are stopped and may not
	 * touch them: their positions are asked for afterwards.
	 */
	if (device->status != m->payload.u64) {
		device->status = (uint8_t)m->payload.u64;
		vhu_device_tell(device, VHU_EVENT_STATUS, device->status);
	}
	return vhu_accept();
}

struct vhu_verdict
vhu_on_get_status(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	(void)m;
	vhu_reply_u64(reply, device->status);
	return vhu_accept();
}
