/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <inttypes.h>
#include <string.h>

#include "dev/device_private.h"
#include "obs/log.h"
#include "sock/loop.h"

/*
 * Devices behind an IOMMU (ACCESS_PLATFORM). The IOTLB holds what the front-end told so far.
 * Whoever misses a translation asks for it over the back-end channel and goes on with something
 * else: an lcore leaves the chain where it is, a ring whose own memory is unknown stays parked.
 * The answer comes as an update on the main socket, or never.
 */

/* So long a question is not repeated. */
#define ASK_AGAIN_NS UINT64_C(500000000)

#define PAGE_MASK UINT64_C(0xfff)

struct vhu_iotlb *
vhu_device_iotlb(const struct vhu_device *device)
{
	return device->features & VHU_BIT(VIRTIO_F_IOMMU_PLATFORM) ? device->iotlb : NULL;
}

bool
vhu_iotlb_prepare(struct vhu_device *device, uint64_t features)
{
	/* This bit changes only while no ring is started. */
	if ((features ^ device->features) & VHU_BIT(VIRTIO_F_IOMMU_PLATFORM))
		vhu_iotlb_forget(device);
	if (!(features & VHU_BIT(VIRTIO_F_IOMMU_PLATFORM)) || device->iotlb != NULL)
		return true;
	device->iotlb = vhu_iotlb_new();
	return device->iotlb != NULL;
}

void
vhu_iotlb_forget(struct vhu_device *device)
{
	struct vhu_iotlb_entry *removed = NULL;

	if (device->iotlb == NULL)
		return;
	vhu_iotlb_invalidate(device->iotlb, 0, 0, &removed);
	vhu_iotlb_release(removed);
	memset(device->asks, 0, sizeof(device->asks));
}

static struct vhu_ask *
ask_of(struct vhu_device *device, uint64_t iova)
{
	uint64_t number = iova / (PAGE_MASK + 1);

	/* Neighbours do not meet. */
	return &device->asks[(number ^ number >> 8) % VHU_ASKS];
}

/* What to ask for when this address is missing: its page, as far as that is not known already. */
static uint64_t
question(const struct vhu_device *device, uint64_t iova, uint8_t access)
{
	uint64_t page = iova & ~PAGE_MASK, size = 1, user;

	if (vhu_iotlb_user(device->iotlb, page, &size, (enum vhu_access)access, &user))
		return iova;
	return page;
}

bool
vhu_iotlb_ask(struct vhu_device *device, uint64_t iova, uint8_t access)
{
	uint64_t asked = question(device, iova, access), now = vhu_now_ns();
	struct vhu_ask *at = ask_of(device, asked);

	if (at->iova == asked && now < at->due_ns) {
		if ((at->access & access) == access)
			return true;
		access |= at->access;
	}
	/* Without a channel, or with a full one, it is asked for again later. */
	if (vhu_device_ask_translation(device, asked, access) != 0)
		return false;
	*at = (struct vhu_ask){ asked, now + ASK_AGAIN_NS, access };
	device->misses++;
	return true;
}

/* Questions about addresses of an update have been answered, if it permits what was asked for. */
static void
forget_asks(struct vhu_device *device, const struct vhu_wire_iotlb *update, uint64_t last)
{
	unsigned int i;

	for (i = 0; i < VHU_ASKS; i++) {
		const struct vhu_ask *at = &device->asks[i];

		if (at->iova >= update->iova && at->iova <= last &&
		    !(at->access & ~update->permission))
			device->asks[i] = (struct vhu_ask){ 0 };
	}
}

/* The first address from an offset of the area on whose translation is missing. */
static bool
find_missing(const struct vhu_iotlb *iotlb, const struct vhu_ring_area *area, uint64_t done,
	uint64_t *iova)
{
	while (done < area->size) {
		uint64_t size = area->size - done, user;

		*iova = area->address + done;
		if (!vhu_iotlb_user(iotlb, *iova, &size, area->access, &user))
			return true;
		done += size;
	}
	return false;
}

bool
vhu_ring_is_unmapped(const struct vhu_device *device, const struct vhu_device_ring *ring)
{
	const struct vhu_iotlb *iotlb = vhu_device_iotlb(device);
	struct vhu_ring_area areas[3];
	uint64_t iova;
	unsigned int i;

	if (iotlb == NULL)
		return false;
	vhu_ring_areas(ring, areas);
	for (i = 0; i < 3; i++)
		if (find_missing(iotlb, &areas[i], 0, &iova))
			return true;
	return false;
}

/* Does an area behind this one have a part in the page that it needs for at least the same? */
static bool
asks_later(const struct vhu_ring_area areas[3], unsigned int at, uint64_t iova)
{
	unsigned int i;

	for (i = at + 1; i < 3; i++)
		if (areas[i].address <= (iova | PAGE_MASK) &&
		    areas[i].address + (areas[i].size - 1) >= (iova & ~PAGE_MASK) &&
		    (areas[i].access & areas[at].access) == areas[at].access)
			return true;
	return false;
}

/*
 * Ask for all that the ring misses, each page once: it rests until the last answer, and each takes
 * the front-end a turn of its loop.
 */
static void
ask_for_ring(struct vhu_device *device, const struct vhu_device_ring *ring)
{
	const struct vhu_iotlb *iotlb = vhu_device_iotlb(device);
	struct vhu_ring_area areas[3];
	uint64_t iova, done;
	unsigned int i;

	vhu_ring_areas(ring, areas);
	for (i = 0; i < 3; i++) {
		done = 0;
		while (done < areas[i].size && find_missing(iotlb, &areas[i], done, &iova)) {
			if (!asks_later(areas, i, iova) &&
			    !vhu_iotlb_ask(device, iova, areas[i].access))
				return;
			done = (iova | PAGE_MASK) + 1 - areas[i].address;
		}
	}
}

/* All translations are there, the ring is parked and quiet: go on. */
static void
remap_ring(struct vhu_device *device, struct vhu_device_ring *ring)
{
	struct vhu_published *next = NULL;
	struct vhu_snapshot resolved;
	struct vhu_verdict verdict = vhu_ring_resolve(device, ring, device->map, &resolved);

	if (verdict.severity == VHU_ACCEPT && !ring->placed)
		vhu_ring_place(device, ring, &resolved);
	vhu_alias_free(resolved.alias);
	ring->unmapped = false;
	if (verdict.severity == VHU_ACCEPT && vhu_ring_visible(device, ring))
		next = vhu_ring_build(device, ring, device->map, &verdict);
	if (verdict.severity == VHU_ACCEPT) {
		vhu_ring_swap(ring, next, NULL);
		vhu_ring_ask_ahead(device, ring);
		return;
	}
	vhu_log(VHU_LOG_WARNING, device->name, ring->index, "cannot go on: %s", verdict.text);
	vhu_ring_break(ring->lcore, VHU_BROKEN_MEMORY, 0);
	vhu_ring_tell_broken(device, ring);
}

void
vhu_rings_remap(struct vhu_device *device)
{
	unsigned int i;

	if (vhu_device_iotlb(device) == NULL)
		return;
	for (i = 0; i < device->config.ring_count; i++) {
		struct vhu_device_ring *ring = &device->rings[i];

		if (!ring->unmapped || vhu_ring_is_broken(ring->lcore))
			continue;
		if (vhu_ring_is_unmapped(device, ring))
			ask_for_ring(device, ring);
		else
			remap_ring(device, ring);
	}
}

/* Ask for what an lcore misses, unless it has come meanwhile. */
static void
check_ring(struct vhu_device *device, struct vhu_device_ring *ring)
{
	/* Partner: the release store in vhu_ring_miss(). */
	uint64_t miss = atomic_load_explicit(&ring->lcore->miss, memory_order_acquire);
	uint64_t page = miss & ~PAGE_MASK, size = 1, user;

	if (miss == 0)
		return;
	/* Until then the lcore does not ask again, however often it tries. */
	if (vhu_iotlb_user(device->iotlb, page, &size, (enum vhu_access)(miss & PAGE_MASK), &user))
		atomic_store_explicit(&ring->lcore->miss, 0, memory_order_relaxed);
	else
		(void)vhu_iotlb_ask(device, page, (uint8_t)(miss & PAGE_MASK));
}

static void
check_rings(struct vhu_device *device)
{
	unsigned int i;

	for (i = 0; i < device->config.ring_count; i++)
		if (device->rings[i].started)
			check_ring(device, &device->rings[i]);
}

static void
ask_ahead(struct vhu_device *device)
{
	unsigned int i;

	for (i = 0; i < device->config.ring_count; i++)
		vhu_ring_ask_ahead(device, &device->rings[i]);
}

void
vhu_device_check_missing(struct vhu_device *device)
{
	/* A message at hand may be about to stop rings, or waits to let them go on itself. */
	if (vhu_device_iotlb(device) == NULL || vhu_device_busy(device))
		return;
	/* First: what has come meanwhile is not missed any more. */
	ask_ahead(device);
	check_rings(device);
	vhu_rings_remap(device);
}

/* Does the ring have memory of its own in a range, or misses translations now? */
static bool
is_concerned(const struct vhu_device *device, const struct vhu_device_ring *ring, uint64_t first,
	uint64_t last)
{
	struct vhu_ring_area areas[3];
	unsigned int i;

	vhu_ring_areas(ring, areas);
	for (i = 0; i < 3; i++)
		if (areas[i].address <= last &&
		    areas[i].address + (areas[i].size - 1) >= first)
			return true;
	return vhu_ring_is_unmapped(device, ring);
}

/* Park the rings whose own memory is concerned. */
static void
unmap_rings(struct vhu_device *device, uint64_t first, uint64_t last, struct vhu_bin *bin)
{
	unsigned int i;

	for (i = 0; i < device->config.ring_count; i++) {
		struct vhu_device_ring *ring = &device->rings[i];

		if (!vhu_ring_alive(ring) || !is_concerned(device, ring, first, last))
			continue;
		vhu_ring_rest(device, ring, bin);
	}
}

/* No burst uses what was taken out. */
static void
iotlb_settled(struct vhu_device *device, uint16_t unused)
{
	(void)unused;
	ask_ahead(device);
	check_rings(device);
	vhu_rings_remap(device);
	vhu_device_settle(device, vhu_accept());
}

struct vhu_verdict
vhu_on_iotlb_msg(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	const struct vhu_wire_iotlb *wire = &m->payload.iotlb;
	struct vhu_verdict verdict = vhu_accept();
	struct vhu_bin *bin = vhu_bin_own(device);
	uint64_t last;

	/* An update that wraps is refused, an invalidation ends with the address space. */
	if (wire->size == 0 || __builtin_add_overflow(wire->iova, wire->size - 1, &last))
		last = UINT64_MAX;
	if (wire->type == VHU_IOTLB_INVALIDATE)
		vhu_iotlb_invalidate(device->iotlb, wire->iova, wire->size, &bin->entries);
	else if (wire->type != VHU_IOTLB_UPDATE)
		return vhu_refuse(VHU_REFUSE, "message of type %u is none for a back-end",
			wire->type);
	else if (wire->permission == 0 || wire->permission > (VHU_READ | VHU_WRITE))
		return vhu_refuse(VHU_REFUSE_FAULT, "translation with permission %u",
			wire->permission);
	else
		verdict = vhu_iotlb_update(device->iotlb, device->map, &(struct vhu_translation){
			wire->iova, wire->size, wire->user_address, wire->permission
		}, &bin->entries);
	if (verdict.severity != VHU_ACCEPT)
		return verdict;
	if (wire->type == VHU_IOTLB_UPDATE)
		forget_asks(device, wire, last);
	/* Whatever an update replaces goes the way of an invalidation. */
	if (wire->type == VHU_IOTLB_INVALIDATE || bin->entries != NULL)
		unmap_rings(device, wire->iova, last, bin);
	vhu_reply_u64(reply, 0);
	if (bin->entries == NULL && bin->published == NULL) {
		check_rings(device);
		vhu_rings_remap(device);
		return verdict;
	}
	vhu_device_defer(device);
	bin->then = iotlb_settled;
	vhu_bin_retire(bin, NULL);
	return verdict;
}
