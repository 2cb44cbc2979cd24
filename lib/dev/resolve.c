/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "dev/device_private.h"

/*
 * Where a ring's memory is in this process. Mostly each area is one piece of it. Behind an IOMMU
 * pages of an area may lie anywhere: then all three are mapped once more, each in one piece.
 */

/* The addresses of the areas, or what is to be mapped and where in that they are. */
struct location {
	void *hosts[3];
	bool whole;                 /* hosts are valid; else: */
	struct vhu_alias_plan plan;
	uint64_t offsets[3];
};

void
vhu_ring_areas(const struct vhu_device_ring *ring, struct vhu_ring_area areas[3])
{
	const struct vhu_wire_vring_addr *address = &ring->address;
	const uint64_t size = ring->size;

	if (ring->packed) {
		areas[0] = (struct vhu_ring_area){ "descriptor ring", address->descriptor,
			16 * size, 16, VHU_READ | VHU_WRITE };
		areas[1] = (struct vhu_ring_area){ "driver event area", address->avail, 4, 4,
			VHU_READ };
		areas[2] = (struct vhu_ring_area){ "device event area", address->used, 4, 4,
			VHU_READ | VHU_WRITE };
		return;
	}
	/* Sizes include the event index words at the ends: used or not, they belong to the ring. */
	areas[0] = (struct vhu_ring_area){ "descriptor table", address->descriptor, 16 * size, 16,
		VHU_READ };
	areas[1] = (struct vhu_ring_area){ "available ring", address->avail, 6 + 2 * size, 2,
		VHU_READ };
	areas[2] = (struct vhu_ring_area){ "used ring", address->used, 6 + 8 * size, 4,
		VHU_READ | VHU_WRITE };
}

static struct vhu_verdict
not_in_memory(const struct vhu_device *device, const struct vhu_device_ring *ring,
	const struct vhu_ring_area *area)
{
	return vhu_refuse(VHU_REFUSE_FAULT, "%s of ring %u at %s address 0x%" PRIx64
		", %" PRIu64 " bytes, is not in guest memory", area->what, ring->index,
		vhu_device_iotlb(device) != NULL ? "I/O" : "user", area->address, area->size);
}

/* Where an area behind an IOMMU is, or NULL if it is not in one piece, or not known. */
static void *
find_translated(const struct vhu_iotlb *iotlb, const struct vhu_map *map,
	const struct vhu_ring_area *area)
{
	uint64_t done = 0;
	uint8_t *host = NULL;

	/* The user addresses are looked up in this map: it may be a new one. */
	while (done < area->size) {
		uint64_t size = area->size - done, user;
		uint8_t *piece;

		if (!vhu_iotlb_user(iotlb, area->address + done, &size, area->access, &user))
			return NULL;
		piece = vhu_map_user(map, user, size);
		if (piece == NULL || (done != 0 && piece != host + done))
			return NULL;
		if (done == 0)
			host = piece;
		done += size;
	}
	return host;
}

/* The next piece of an area that lies in one region. @return its first byte, NULL: not known. */
static uint8_t *
next_piece(const struct vhu_iotlb *iotlb, const struct vhu_map *map, uint64_t iova,
	enum vhu_access access, uint64_t *size, uintptr_t *delta)
{
	struct vhu_extent extent;
	uint64_t user;
	uint8_t *host;

	if (!vhu_iotlb_user(iotlb, iova, size, access, &user))
		return NULL;
	host = vhu_map_user_part(map, user, size);
	if (host == NULL || !vhu_map_host(map, (uintptr_t)host, &extent))
		return NULL;
	if (*size > extent.start + extent.size - (uintptr_t)host)
		*size = extent.start + extent.size - (uintptr_t)host;
	*delta = extent.delta;
	return host;
}

static struct vhu_verdict
plan_area(const struct vhu_device *device, const struct vhu_device_ring *ring,
	const struct vhu_map *map, const struct vhu_ring_area *area, struct vhu_alias_plan *plan,
	uint64_t *offset)
{
	uint64_t done = 0;

	while (done < area->size) {
		uint64_t size = area->size - done;
		uintptr_t delta;
		uint8_t *host = next_piece(vhu_device_iotlb(device), map, area->address + done,
			area->access, &size, &delta);

		if (host == NULL)
			return not_in_memory(device, ring, area);
		if (!vhu_alias_add(plan, done == 0, host, delta, size))
			return vhu_refuse(VHU_REFUSE_FAULT, "%s of ring %u is neither one piece of "
				"guest memory nor several of whole pages", area->what, ring->index);
		if (done == 0)
			*offset = plan->end - size;
		done += size;
	}
	return vhu_accept();
}

/* Inside guest memory, and aligned in this process as well. */
static struct vhu_verdict
locate(const struct vhu_device *device, const struct vhu_device_ring *ring,
	const struct vhu_map *map, struct location *at)
{
	const struct vhu_iotlb *iotlb = vhu_device_iotlb(device);
	struct vhu_verdict verdict = vhu_accept();
	struct vhu_ring_area areas[3];
	unsigned int i;

	at->whole = true;
	at->plan = (struct vhu_alias_plan){ 0 };
	vhu_ring_areas(ring, areas);
	for (i = 0; i < 3; i++) {
		at->hosts[i] = iotlb != NULL ? find_translated(iotlb, map, &areas[i]) :
			vhu_map_user(map, areas[i].address, areas[i].size);
		if (at->hosts[i] == NULL && iotlb == NULL)
			return not_in_memory(device, ring, &areas[i]);
		at->whole = at->whole && at->hosts[i] != NULL;
	}
	for (i = 0; i < 3 && !at->whole && verdict.severity == VHU_ACCEPT; i++)
		verdict = plan_area(device, ring, map, &areas[i], &at->plan, &at->offsets[i]);
	for (i = 0; i < 3 && verdict.severity == VHU_ACCEPT; i++)
		if ((at->whole ? (uintptr_t)at->hosts[i] : at->offsets[i]) % areas[i].alignment)
			verdict = vhu_refuse(VHU_REFUSE_FAULT, "%s of ring %u at user address 0x%"
				PRIx64 " lies in a region that is not aligned to %u bytes",
				areas[i].what, ring->index, areas[i].address, areas[i].alignment);
	return verdict;
}

bool
vhu_ring_in_memory(const struct vhu_device *device, const struct vhu_device_ring *ring,
	const struct vhu_map *map)
{
	struct location at;

	return locate(device, ring, map, &at).severity == VHU_ACCEPT;
}

/* EINVAL: it is not possible with this kind of memory. */
static struct vhu_verdict
cannot_map(const struct vhu_device_ring *ring, uint32_t pieces, int error)
{
	if (error != -EINVAL)
		return vhu_refuse(VHU_REFUSE, "the %u pieces of ring %u cannot be mapped as one: "
			"%s", pieces, ring->index, strerror(-error));
	return vhu_refuse(VHU_REFUSE, "ring %u of %u descriptors is in %u pieces of huge pages, "
		"which cannot be mapped as one: give the guest ordinary pages, or rings of 256 "
		"descriptors", ring->index, ring->size, pieces);
}

/* Elements are taken from the ring itself, not by bursts: they have no use for a copy. */
static int
make_one(const struct vhu_device *device, const struct vhu_alias_plan *plan,
	struct vhu_alias **made)
{
	int rc = vhu_alias_new(plan, made);

	return rc == -EINVAL && !device->config.keeps_elements ? vhu_alias_copy(plan, made) : rc;
}

struct vhu_verdict
vhu_ring_resolve(const struct vhu_device *device, const struct vhu_device_ring *ring,
	const struct vhu_map *map, struct vhu_snapshot *snapshot)
{
	struct location at;
	struct vhu_verdict verdict = locate(device, ring, map, &at);
	unsigned int i;
	int rc;

	snapshot->alias = NULL;
	if (verdict.severity != VHU_ACCEPT)
		return verdict;
	if (!at.whole) {
		rc = make_one(device, &at.plan, &snapshot->alias);
		if (rc != 0)
			return cannot_map(ring, at.plan.count, rc);
		for (i = 0; i < 3; i++)
			at.hosts[i] = snapshot->alias->host + at.offsets[i];
	}
	snapshot->descriptors = at.hosts[0];
	snapshot->avail = at.hosts[1];
	snapshot->used = at.hosts[2];
	return verdict;
}
