/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dev/device_private.h"
#include "mem/guard.h"
#include "mem/postcopy.h"
#include "obs/log.h"

/* What is of no use without a channel to the front-end. */
#define NEEDS_CHANNEL (VHU_BIT(VHU_PROTOCOL_BACKEND_REQ) | \
	VHU_BIT(VHU_PROTOCOL_BACKEND_SEND_FD) | VHU_BIT(VHU_PROTOCOL_HOST_NOTIFIER) | \
	VHU_BIT(VHU_PROTOCOL_INBAND_NOTIFICATIONS) | VHU_BIT(VHU_PROTOCOL_SHARED_OBJECT) | \
	VHU_BIT(VHU_PROTOCOL_SHMEM))

uint64_t
vhu_device_virtio_features(void)
{
	/*
	 * What a kick carries beside itself is not needed: rings are polled. A ring is reset with
	 * GET_VRING_BASE and started anew, which never concerned the others.
	 */
	return VHU_BIT(VHU_F_NOTIFICATION_DATA) | VHU_BIT(VHU_F_RING_RESET);
}

uint64_t
vhu_device_protocol_features(void)
{
	return (vhu_postcopy_works() ? VHU_BIT(VHU_PROTOCOL_PAGEFAULT) : 0) |
		VHU_BIT(VHU_PROTOCOL_MQ) | VHU_BIT(VHU_PROTOCOL_REPLY_ACK) |
		VHU_BIT(VHU_PROTOCOL_NET_MTU) | VHU_BIT(VHU_PROTOCOL_RARP) |
		VHU_BIT(VHU_PROTOCOL_CONFIG) |
		VHU_BIT(VHU_PROTOCOL_RESET_DEVICE) | VHU_BIT(VHU_PROTOCOL_CONFIGURE_MEM_SLOTS) |
		VHU_BIT(VHU_PROTOCOL_STATUS) | VHU_BIT(VHU_PROTOCOL_BACKEND_REQ) |
		VHU_BIT(VHU_PROTOCOL_BACKEND_SEND_FD) | VHU_BIT(VHU_PROTOCOL_HOST_NOTIFIER) |
		VHU_BIT(VHU_PROTOCOL_INBAND_NOTIFICATIONS) |
		VHU_BIT(VHU_PROTOCOL_SHARED_OBJECT) | VHU_BIT(VHU_PROTOCOL_DEVICE_STATE) |
		VHU_BIT(VHU_PROTOCOL_SHMEM) | VHU_BIT(VHU_PROTOCOL_GET_VRING_BASE_INFLIGHT) |
		VHU_BIT(VHU_PROTOCOL_GET_VRING_BASE_SKIP_DRAIN) |
		VHU_BIT(VHU_PROTOCOL_LOG_SHMFD) | VHU_BIT(VHU_PROTOCOL_INFLIGHT_SHMFD);
}

/* What this device can serve with the operations that it was given. */
static uint64_t
offered_protocol_features(const struct vhu_device_config *config)
{
	uint64_t features = config->protocol_features & vhu_device_protocol_features();

	if (config->ops->get_config == NULL)
		features &= ~VHU_BIT(VHU_PROTOCOL_CONFIG);
	if (config->ops->announce == NULL)
		features &= ~VHU_BIT(VHU_PROTOCOL_RARP);
	if (config->ops->set_mtu == NULL)
		features &= ~VHU_BIT(VHU_PROTOCOL_NET_MTU);
	if (config->loop == NULL)
		features &= ~NEEDS_CHANNEL;
	if (config->ops->save_state == NULL || config->ops->load_state == NULL ||
	    config->loop == NULL)
		features &= ~VHU_BIT(VHU_PROTOCOL_DEVICE_STATE);
	if (config->ops->get_shared_object == NULL)
		features &= ~VHU_BIT(VHU_PROTOCOL_SHARED_OBJECT);
	if (config->shmem_count == 0)
		features &= ~VHU_BIT(VHU_PROTOCOL_SHMEM);
	if (!config->host_notifiers)
		features &= ~VHU_BIT(VHU_PROTOCOL_HOST_NOTIFIER);
	if (!(features & VHU_BIT(VHU_PROTOCOL_INFLIGHT_SHMFD)))
		features &= ~(VHU_BIT(VHU_PROTOCOL_GET_VRING_BASE_INFLIGHT) |
			VHU_BIT(VHU_PROTOCOL_GET_VRING_BASE_SKIP_DRAIN));
	if (!(config->features & VHU_BIT(VHU_F_LOG_ALL)))
		features &= ~VHU_BIT(VHU_PROTOCOL_LOG_SHMFD);
	return features;
}

static void
init_rings(struct vhu_device *device)
{
	uint16_t i;

	for (i = 0; i < device->config.ring_count; i++) {
		device->rings[i] = (struct vhu_device_ring){
			.index = i,
			.kick_fd = -1,
			.call_fd = -1,
			.error_fd = -1,
			.lcore = device->config.rings[i],
		};
		device->readers[i] = &device->config.rings[i]->reader;
		vhu_ring_set_enabled(&device->rings[i], false);
	}
}

struct vhu_device *
vhu_device_new(const struct vhu_device_config *config)
{
	struct vhu_device *device = calloc(1, sizeof(*device));

	if (device == NULL)
		return NULL;
	device->config = *config;
	snprintf(device->name, sizeof(device->name), "%s", config->name);
	device->config.name = device->name;
	if (config->channel_timeout_ms == 0)
		device->config.channel_timeout_ms = VHU_CHANNEL_TIMEOUT_MS;
	vhu_channel_init(&device->channel, device);
	vhu_device_offer(device, config->features, config->protocol_features);
	device->rings = calloc(config->ring_count, sizeof(device->rings[0]));
	device->readers = calloc(config->ring_count, sizeof(device->readers[0]));
	device->busy = calloc(config->ring_count, sizeof(device->busy[0]));
	device->empty = vhu_map_new();
	if (device->rings == NULL || device->readers == NULL || device->busy == NULL ||
	    device->empty == NULL) {
		free(device->rings);
		free(device->readers);
		free(device->busy);
		free(device->empty);
		free(device);
		return NULL;
	}
	device->map = device->empty;
	device->log_fd = -1;
	device->userfaultfd = -1;
	vhu_map_hold(device->empty);
	init_rings(device);
	return device;
}

void
vhu_device_offer(struct vhu_device *device, uint64_t features, uint64_t protocol_features)
{
	device->config.features = features;
	device->config.protocol_features = protocol_features;
	device->offered = features | VHU_BIT(VHU_F_PROTOCOL_FEATURES);
	device->offered_protocol = offered_protocol_features(&device->config);
}

void
vhu_device_free(struct vhu_device *device)
{
	struct vhu_region *none[1]; /* the empty map has no regions */

	if (device == NULL)
		return;
	vhu_map_drop(device->map, none);
	vhu_map_drop(device->empty, none);
	vhu_iotlb_free(device->iotlb);
	free(device->rings);
	free(device->readers);
	free(device->busy);
	free(device);
}

void
vhu_device_connect(struct vhu_device *device)
{
	device->connected = true;
	device->features = 0;
	device->protocol = 0;
	device->protocol_set = false;
	device->status = 0;
	device->refusals_logged = 0;
	device->misses = 0;
}

bool
vhu_device_busy(const struct vhu_device *device)
{
	return device->progress != VHU_PROGRESS_IDLE || device->leaving;
}

/* Everything is unmapped: the device is as new. */
static void
leave_end(struct vhu_device *device)
{
	device->features = 0;
	device->protocol = 0;
	device->protocol_set = false;
	device->status = 0;
	vhu_inflight_drop(device->inflight);
	device->inflight = NULL;
	device->connected = false;
	device->leaving = false;
	/* Last: the owner may free the device. */
	device->left(device->config.owner);
}

/* No lcore uses anything of the device any more. */
static void
leave_quiet(struct vhu_device *device, uint16_t unused)
{
	unsigned int i;

	(void)unused;
	vhu_rings_stop(device);
	vhu_iotlb_forget(device);
	if (device->log_fd >= 0)
		close(device->log_fd);
	device->log_fd = -1;
	for (i = 0; i < device->config.ring_count; i++) {
		struct vhu_device_ring *ring = &device->rings[i];

		if (ring->error_fd >= 0)
			close(ring->error_fd);
		ring->error_fd = -1;
		ring->error_none = false;
		vhu_ring_forget(ring);
	}
}

void
vhu_device_leave(struct vhu_device *device)
{
	struct vhu_bin *bin = vhu_bin_own(device);

	vhu_rings_park(device, bin);
	/* Bursts that wait for a page would never end otherwise. */
	vhu_postcopy_forget(device);
	bin->map = device->map;
	bin->log = device->log;
	device->log = NULL;
	bin->then = leave_quiet;
	device->map = device->empty;
	vhu_map_hold(device->empty);
	/* Waits for background work of earlier messages too: all of it counts as pending. */
	device->when_idle = leave_end;
	vhu_bin_retire(bin, NULL);
}

void
vhu_device_disconnect(struct vhu_device *device, void (*then)(void *owner))
{
	bool idle = device->progress == VHU_PROGRESS_IDLE;

	device->leaving = true;
	device->left = then;
	/* Held: what is told may not end the device before the last line. */
	vhu_device_pending_up(device);
	vhu_channel_close(&device->channel, -ECANCELED);
	/* A message at hand is finished first, without a reply; whoever ends it goes on here. */
	if (idle)
		vhu_device_leave(device);
	vhu_transfer_cancel(device);
	vhu_device_pending_down(device);
}

void
vhu_device_check_broken(struct vhu_device *device)
{
	unsigned int i;

	/* Held: what is told may make the owner disconnect, and that may not end in this loop. */
	vhu_device_pending_up(device);
	for (i = 0; i < device->config.ring_count; i++) {
		struct vhu_device_ring *ring = &device->rings[i];
		struct vhu_bin *bin;

		vhu_ring_tell_broken(device, ring);
		if (!ring->broken_told || ring->published == NULL)
			continue;
		/* Bursts look at the mark themselves: no harm if there is no memory to park. */
		bin = vhu_bin_new(device);
		if (bin == NULL)
			continue;
		vhu_ring_swap(ring, NULL, bin);
		vhu_bin_retire(bin, ring);
	}
	vhu_device_pending_down(device);
}

/* Is anything lost of what the front-end shares? */
static bool
shares_lost(const struct vhu_device *device)
{
	unsigned int i;

	for (i = 0; i < device->config.ring_count; i++) {
		const struct vhu_published *seen = device->rings[i].published;

		if (seen != NULL && seen->snapshot.alias != NULL &&
		    vhu_guard_lost(seen->snapshot.alias->host))
			return true;
	}
	return vhu_map_lost(device->map) ||
		(device->coming != NULL && vhu_map_lost(device->coming)) ||
		(device->log != NULL && vhu_guard_lost(device->log->mapping)) ||
		(device->inflight != NULL && vhu_guard_lost(device->inflight->mapping));
}

/* A front-end that takes away what it has shared is not one to go on with. */
static void
check_guard(struct vhu_device *device)
{
	uint64_t count = vhu_guard_count();

	if (count == device->guard_count)
		return;
	device->guard_count = count;
	if (device->leaving || !shares_lost(device))
		return;
	vhu_log(VHU_LOG_ERROR, device->name, VHU_LOG_NO_RING,
		"the front-end cut off a file whose memory it shares, the connection ends");
	device->config.ops->hang_up(device->config.owner);
}

void
vhu_device_tick(struct vhu_device *device)
{
	check_guard(device);
	vhu_log_signal(device);
	vhu_device_free_writers(device);
	vhu_device_check_missing(device);
}

void
vhu_device_tell(struct vhu_device *device, enum vhu_event_type type, uint64_t value)
{
	device->config.ops->event(device->config.owner, type, UINT16_MAX, value);
}

bool
vhu_device_any_started(const struct vhu_device *device)
{
	unsigned int i;

	for (i = 0; i < device->config.ring_count; i++)
		if (device->rings[i].started)
			return true;
	return false;
}

uint64_t
vhu_device_features(const struct vhu_device *device)
{
	return device->features;
}

uint64_t
vhu_device_negotiated_protocol_features(const struct vhu_device *device)
{
	return device->protocol;
}

const struct vhu_map *
vhu_device_map(const struct vhu_device *device)
{
	return device->map;
}

void
vhu_device_counts(const struct vhu_device *device, uint64_t *messages, uint64_t *refusals,
	char last_refusal[VHU_REASON_SIZE])
{
	*messages = device->messages;
	*refusals = device->refusals;
	memcpy(last_refusal, device->last_refusal, VHU_REASON_SIZE);
}

void
vhu_device_ring_info(const struct vhu_device *device, uint16_t index, struct vhu_queue_info *info)
{
	const struct vhu_device_ring *ring = &device->rings[index];
	uint8_t reason = atomic_load_explicit(&ring->lcore->broken, memory_order_acquire);

	*info = (struct vhu_queue_info){
		.ring = index,
		.size = ring->size,
		.started = ring->started,
		.enabled = ring->enabled,
		.broken = reason != VHU_BROKEN_NO,
		/* The lcore's while the ring runs: a word each, true for a moment of its own. */
		.next_avail = ring->started ?
			__atomic_load_n(&ring->lcore->next_avail, __ATOMIC_RELAXED) :
			(uint16_t)ring->base,
		.next_used = __atomic_load_n(&ring->lcore->next_used, __ATOMIC_RELAXED),
		.call_fd = ring->call_fd,
		.kick_fd = ring->kick_fd,
		.body = ring->published != NULL ? ring->published->snapshot.body : "",
	};
	if (info->broken)
		snprintf(info->broken_reason, sizeof(info->broken_reason), "%s",
			vhu_broken_text(reason));
}

bool
vhu_device_ring_running(const struct vhu_device *device, uint16_t ring)
{
	return vhu_ring_alive(&device->rings[ring]) && device->rings[ring].enabled;
}
