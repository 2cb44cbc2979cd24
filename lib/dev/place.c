/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "dev/device_private.h"
#include "ring/guest.h"

/*
 * Where a ring begins and where it has got to. A split ring's base is the available index; the
 * driver's own used index tells the rest. A packed ring has no index in memory: its base carries
 * both positions with their wrap counters.
 */
#define BASE_WRAP 0x8000u
#define BASE_FRESH (BASE_WRAP << 16 | BASE_WRAP)

static bool
is_packed(const struct vhu_device *device)
{
	return device->features & VHU_BIT(VIRTIO_F_RING_PACKED);
}

/* One half of a packed ring's base. */
static struct vhu_walk
unpack(uint16_t half)
{
	return (struct vhu_walk){ half & (BASE_WRAP - 1), half & BASE_WRAP };
}

static uint32_t
pack(uint16_t next, bool wrap)
{
	return next | (wrap ? BASE_WRAP : 0);
}

static void
packed_base(const struct vhu_device_ring *ring, struct vhu_walk *avail, struct vhu_walk *used)
{
	uint32_t base = ring->based ? ring->base : BASE_FRESH;

	*avail = unpack((uint16_t)base);
	/* Front-ends that know of one position only mean that nothing is in flight. */
	*used = base >> 16 != 0 ? unpack((uint16_t)(base >> 16)) : *avail;
}

/*
 * Features may be acknowledged after SET_VRING_NUM and SET_VRING_BASE: these accept what any format
 * that may still come could mean, and the start decides.
 */
bool
vhu_ring_may_be_packed(const struct vhu_device *device)
{
	return is_packed(device) || (device->features == 0 &&
		(device->offered & VHU_BIT(VIRTIO_F_RING_PACKED)));
}

struct vhu_verdict
vhu_ring_check_layout(const struct vhu_device *device, const struct vhu_device_ring *ring)
{
	struct vhu_walk avail, used;

	if (!is_packed(device)) {
		if ((ring->size & (ring->size - 1)) != 0)
			return vhu_refuse(VHU_REFUSE_FAULT,
				"split ring %u has %u descriptors, not a power of two",
				ring->index, ring->size);
		if (ring->base > UINT16_MAX)
			return vhu_refuse(VHU_REFUSE_FAULT,
				"split ring %u cannot start at %u", ring->index, ring->base);
		return vhu_accept();
	}
	packed_base(ring, &avail, &used);
	/* Available is at most a lap ahead of used. */
	if (avail.next >= ring->size || used.next >= ring->size ||
	    (avail.wrap == used.wrap ? avail.next < used.next : avail.next > used.next))
		return vhu_refuse(VHU_REFUSE_FAULT,
			"packed ring %u of %u descriptors cannot start at 0x%x", ring->index,
			ring->size, ring->base);
	return vhu_accept();
}

void *
vhu_ring_inflight(const struct vhu_device *device, const struct vhu_device_ring *ring)
{
	return vhu_inflight_part(device->inflight, is_packed(device), ring->index, ring->size);
}

/* Does the device give buffers of this ring back in the order in which they came? */
static bool
in_order(const struct vhu_device *device, const struct vhu_device_ring *ring)
{
	const struct vhu_device_ops *ops = device->config.ops;

	return ops->in_order == NULL ? device->config.in_order :
		ops->in_order(device->config.owner, ring->index);
}

/* For devices without elements: what was in flight is taken from the ring again. */
static void
resume(const struct vhu_device *device, const struct vhu_snapshot *at, struct vhu_walk *avail,
	struct vhu_walk *used)
{
	struct vhu_inflight_state state = { .next_used = used->next, .used_wrap = used->wrap };
	uint16_t capacity = device->inflight->ring_size;

	if (at->format == VHU_PACKED)
		vhu_inflight_packed_resume(at->inflight, at->size, capacity, at->packed, &state);
	else
		vhu_inflight_split_resume(at->inflight, capacity, &state);
	*avail = (struct vhu_walk){ state.next_avail, state.avail_wrap };
	*used = (struct vhu_walk){ state.next_used, state.used_wrap };
}

void
vhu_ring_place(struct vhu_device *device, struct vhu_device_ring *ring,
	const struct vhu_snapshot *resolved)
{
	struct vhu_snapshot at = {
		.descriptors = resolved->descriptors,
		.avail = resolved->avail,
		.used = resolved->used,
		.size = ring->size,
		.format = is_packed(device) ? VHU_PACKED : VHU_SPLIT,
		.features = device->features,
		.inflight = vhu_ring_inflight(device, ring),
		.call_fd = -1,
	};
	struct vhu_walk avail = { .next = (uint16_t)ring->base }, used;

	if (at.format == VHU_PACKED)
		packed_base(ring, &avail, &used);
	else
		/* The driver goes on from its own used index, whatever base was given. */
		used = (struct vhu_walk){ .next = vhu_guest_load16(&at.used->idx) };
	/* What a former back-end took and never returned is taken again, where that is sure. */
	if (in_order(device, ring))
		avail = used;
	if (device->config.ops->ring_place != NULL)
		device->config.ops->ring_place(device->config.owner, ring->index, &at,
			at.inflight != NULL ? device->inflight->ring_size : 0, &avail, &used);
	else if (at.inflight != NULL)
		resume(device, &at, &avail, &used);
	vhu_ring_reset(ring->lcore, avail.next, used.next);
	if (at.format == VHU_PACKED)
		vhu_ring_set_wraps(ring->lcore, avail.wrap, used.wrap);
	ring->placed = true;
}

uint32_t
vhu_ring_position(const struct vhu_device *device, const struct vhu_device_ring *ring)
{
	const struct vhu_ring *lcore = ring->lcore;

	if (!is_packed(device))
		return lcore->next_avail;
	return pack(lcore->next_avail, lcore->avail_wrap) |
		pack(lcore->next_used, lcore->used_wrap) << 16;
}
