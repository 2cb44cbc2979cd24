/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dev/device_private.h"
#include "obs/log.h"

/*
 * Where the used ring is for the dirty log, unless it is in an alias; under an IOMMU the front-end
 * says its I/O address.
 */
static uint64_t
used_guest_address(const struct vhu_device_ring *ring, const struct vhu_snapshot *snapshot)
{
	uintptr_t host = (uintptr_t)snapshot->used;
	struct vhu_extent extent;

	if (snapshot->space.iotlb == NULL ||
	    !vhu_map_host(snapshot->space.map, host, &extent))
		return ring->address.log_guest_address;
	return host + extent.delta;
}

/* Neither 0 nor UINT32_MAX. Devices are built in threads of their own with lib/compat. */
static uint32_t
next_serial(void)
{
	static _Atomic(uint32_t) serials;
	uint32_t n = atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed);

	return n % (UINT32_MAX - 1) + 1;
}

struct vhu_published *
vhu_ring_build(struct vhu_device *device, const struct vhu_device_ring *ring, struct vhu_map *map,
	struct vhu_verdict *verdict)
{
	struct vhu_published *published =
		aligned_alloc(_Alignof(struct vhu_published), sizeof(*published));
	int rc;

	if (published == NULL) {
		*verdict = vhu_refuse(VHU_REFUSE, "out of memory for ring %u", ring->index);
		return NULL;
	}
	memset(published, 0, sizeof(*published));
	published->snapshot = (struct vhu_snapshot){
		.space = { map, vhu_device_iotlb(device) },
		.held_map = map,
		.size = ring->size,
		.call_fd = vhu_ring_call_fd(device, ring),
		.features = device->features,
		.format = ring->packed ? VHU_PACKED : VHU_SPLIT,
		.in_order = device->features & VHU_BIT(VHU_F_IN_ORDER),
		.inflight = vhu_ring_inflight(device, ring),
		.body = "",
		.serial = next_serial(),
	};
	if (device->features & VHU_BIT(VHU_F_LOG_ALL)) {
		published->log = device->log;
		published->snapshot.dirty = device->log;
		published->snapshot.dirty_ring = ring->address.flags & VHU_VRING_LOG;
	}
	*verdict = vhu_ring_resolve(device, ring, map, &published->snapshot);
	if (verdict->severity == VHU_ACCEPT) {
		published->snapshot.used_guest_address =
			used_guest_address(ring, &published->snapshot);
		rc = device->config.ops->specialise(device->config.owner, ring->index,
			&published->snapshot);
		if (rc != 0)
			*verdict = vhu_refuse(VHU_REFUSE,
				"ring %u cannot run with these features: %s", ring->index,
				strerror(-rc));
	}
	if (verdict->severity != VHU_ACCEPT) {
		vhu_alias_free(published->snapshot.alias);
		free(published);
		return NULL;
	}
	vhu_map_hold(map);
	if (published->log != NULL)
		published->log->references++;
	if (published->snapshot.inflight != NULL) {
		published->inflight = device->inflight;
		published->inflight->references++;
	}
	return published;
}

void
vhu_published_free(struct vhu_device *device, struct vhu_published *published)
{
	struct vhu_map *map = published->snapshot.held_map;

	/* Before the map: the removal of memory is answered when it is nowhere mapped. */
	vhu_alias_free(published->snapshot.alias);
	vhu_dirty_drop(published->log);
	vhu_inflight_drop(published->inflight);
	free(published);
	vhu_device_drop_map(device, map);
}

/* @param shown  what lcores see if nothing is published. */
static void
swap(struct vhu_device_ring *ring, struct vhu_published *published,
	const struct vhu_snapshot *shown, struct vhu_bin *bin)
{
	struct vhu_published *old = ring->published;

	if (old == NULL && published == NULL)
		return;
	ring->published = published;
	(void)vhu_publish(&ring->lcore->reader,
		published != NULL ? &published->snapshot : shown);
	if (old != NULL) {
		old->next = bin->published;
		bin->published = old;
	}
}

void
vhu_ring_swap(struct vhu_device_ring *ring, struct vhu_published *published, struct vhu_bin *bin)
{
	swap(ring, published, &vhu_snapshot_parked, bin);
}

void
vhu_ring_rest(const struct vhu_device *device, struct vhu_device_ring *ring, struct vhu_bin *bin)
{
	ring->unmapped = true;
	swap(ring, NULL, device->config.keeps_elements ? &vhu_snapshot_resting :
		&vhu_snapshot_parked, bin);
}

void
vhu_ring_park(struct vhu_device_ring *ring, struct vhu_bin *bin)
{
	vhu_ring_swap(ring, NULL, bin);
	(void)vhu_publish(&ring->lcore->reader, &vhu_snapshot_parked);
}

int
vhu_device_renew(struct vhu_device *device, uint16_t index)
{
	struct vhu_device_ring *ring = &device->rings[index];
	struct vhu_published *next;
	struct vhu_verdict verdict;
	struct vhu_bin *bin;

	if (ring->published == NULL)
		return 0;
	bin = vhu_bin_new(device);
	if (bin == NULL)
		return -ENOMEM;
	next = vhu_ring_build(device, ring, device->map, &verdict);
	if (next == NULL) {
		vhu_bin_discard(bin);
		return -ENOMEM;
	}
	vhu_ring_swap(ring, next, bin);
	vhu_bin_retire(bin, ring);
	return 0;
}

bool
vhu_ring_visible(const struct vhu_device *device, const struct vhu_device_ring *ring)
{
	return ring->enabled || device->config.keeps_elements;
}

void
vhu_ring_set_enabled(struct vhu_device_ring *ring, bool enabled)
{
	ring->enabled = enabled;
	/* Partner: the load in vhu_elements_take(); who must be sure waits for a grace period. */
	atomic_store_explicit(&ring->lcore->closed, !enabled, memory_order_release);
}

bool
vhu_ring_alive(const struct vhu_device_ring *ring)
{
	return ring->started && !ring->lost && !ring->unmapped &&
		!vhu_ring_is_broken(ring->lcore);
}

static void
discard_next(struct vhu_device *device)
{
	unsigned int i;

	for (i = 0; i < device->config.ring_count; i++) {
		struct vhu_device_ring *ring = &device->rings[i];

		if (ring->next != NULL)
			vhu_published_free(device, ring->next);
		ring->next = NULL;
	}
}

struct vhu_verdict
vhu_rings_build(struct vhu_device *device, struct vhu_map *map, bool enabling)
{
	struct vhu_verdict verdict;
	unsigned int i;

	for (i = 0; i < device->config.ring_count; i++) {
		struct vhu_device_ring *ring = &device->rings[i];

		if (!vhu_ring_alive(ring) || vhu_ring_visible(device, ring) == enabling)
			continue;
		if (!vhu_ring_in_memory(device, ring, map))
			continue;
		ring->next = vhu_ring_build(device, ring, map, &verdict);
		if (ring->next == NULL) {
			discard_next(device);
			return verdict;
		}
	}
	return vhu_accept();
}

void
vhu_rings_commit(struct vhu_device *device, const struct vhu_map *map, struct vhu_bin *bin)
{
	unsigned int i;

	for (i = 0; i < device->config.ring_count; i++) {
		struct vhu_device_ring *ring = &device->rings[i];

		/*
		 * Without a successor a ring is parked: its memory is gone or an lcore broke it.
		 * Nobody may keep the old map.
		 */
		if (ring->next != NULL || !ring->started || ring->unmapped ||
		    vhu_ring_in_memory(device, ring, map)) {
			vhu_ring_swap(ring, ring->next, bin);
		} else if (vhu_device_iotlb(device) != NULL) {
			/* Other translations may follow. */
			vhu_ring_rest(device, ring, bin);
		} else {
			vhu_ring_swap(ring, NULL, bin);
			ring->lost = true;
		}
		ring->next = NULL;
	}
}

void
vhu_rings_park(struct vhu_device *device, struct vhu_bin *bin)
{
	unsigned int i;

	for (i = 0; i < device->config.ring_count; i++)
		vhu_ring_park(&device->rings[i], bin);
}

void
vhu_ring_tell(struct vhu_device *device, const struct vhu_device_ring *ring,
	enum vhu_event_type type, uint64_t value)
{
	device->config.ops->event(device->config.owner, type, ring->index, value);
}

void
vhu_ring_tell_broken(struct vhu_device *device, struct vhu_device_ring *ring)
{
	uint8_t reason;

	if (!ring->started || ring->broken_told)
		return;
	/* Partner: the release store in vhu_ring_break(); the detail comes first. */
	reason = atomic_load_explicit(&ring->lcore->broken, memory_order_acquire);
	if (reason == VHU_BROKEN_NO)
		return;
	ring->broken_told = true;
	vhu_log(VHU_LOG_WARNING, device->name, ring->index,
		"broken: %s (%" PRIu32 "); it rests until it is restarted", vhu_broken_text(reason),
		atomic_load_explicit(&ring->lcore->broken_detail, memory_order_relaxed));
	vhu_ring_signal_error(device, ring);
	vhu_ring_tell(device, ring, VHU_EVENT_RING_BROKEN, reason);
}

void
vhu_ring_tell_stopping(struct vhu_device *device, const struct vhu_device_ring *ring)
{
	if (ring->started && device->config.ops->stopping != NULL)
		device->config.ops->stopping(device->config.owner, ring->index);
}

void
vhu_rings_tell_stopping(struct vhu_device *device)
{
	unsigned int i;

	for (i = 0; i < device->config.ring_count; i++)
		vhu_ring_tell_stopping(device, &device->rings[i]);
}

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

bool
vhu_ring_stop(struct vhu_device *device, struct vhu_device_ring *ring)
{
	bool was_started = ring->started;

	vhu_ring_tell_broken(device, ring);
	vhu_ring_end_calls(device, ring);
	if (was_started && ring->placed) {
		if (device->config.ops->quiet != NULL)
			device->config.ops->quiet(device->config.owner, ring->index);
		ring->base = vhu_ring_position(device, ring);
		ring->based = true;
	}
	ring->started = false;
	ring->lost = false;
	ring->placed = false;
	ring->unmapped = false;
	if (ring->kick_fd >= 0 && device->config.ops->kick_changed != NULL)
		device->config.ops->kick_changed(device->config.owner, ring->index, -1);
	close_fd(&ring->kick_fd);
	close_fd(&ring->call_fd);
	ring->kick_own = false;
	/* Nobody tells us of changes while nothing runs. */
	if (!vhu_device_any_started(device))
		vhu_iotlb_forget(device);
	return was_started;
}

void
vhu_rings_stop(struct vhu_device *device)
{
	unsigned int i;

	/* One after the other: an event tells what has happened to its ring only. */
	for (i = 0; i < device->config.ring_count; i++) {
		struct vhu_device_ring *ring = &device->rings[i];
		bool was_enabled = ring->enabled;

		vhu_ring_set_enabled(ring, false);
		if (vhu_ring_stop(device, ring))
			vhu_ring_tell(device, ring, VHU_EVENT_RING_STOPPED, ring->base);
		if (was_enabled)
			vhu_ring_tell(device, ring, VHU_EVENT_RING_DISABLED, 0);
	}
}

void
vhu_ring_forget(struct vhu_device_ring *ring)
{
	ring->size = 0;
	ring->base = 0;
	ring->based = false;
	ring->addressed = false;
	ring->call_none = false;
	ring->address = (struct vhu_wire_vring_addr){ 0 };
}
