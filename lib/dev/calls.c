/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <poll.h>
#include <sys/uio.h>

#include "dev/device_private.h"
#include "obs/log.h"

/*
 * Notifications that the control thread sends: on the back-end channel for rings without a call
 * descriptor (INBAND_NOTIFICATIONS), or to a call descriptor if lcores are not to write to it.
 */

static bool
in_band(const struct vhu_device *device)
{
	return (device->protocol & VHU_BIT(VHU_PROTOCOL_INBAND_NOTIFICATIONS)) != 0;
}

int
vhu_ring_call_fd(const struct vhu_device *device, const struct vhu_device_ring *ring)
{
	if (ring->call_fd >= 0)
		return device->config.call_handover || device->call_filled ? VHU_CALL_BY_CONTROL :
			ring->call_fd;
	/* Said to have none: the driver polls. */
	return in_band(device) && !ring->call_none ? VHU_CALL_BY_CONTROL : -1;
}

static int
send_state(struct vhu_device *device, uint32_t request, uint16_t index, vhu_channel_done done,
	void *argument)
{
	struct vhu_message m;

	vhu_backend_request_init(&m, request, sizeof(m.payload.state), false);
	m.payload.state.index = index;
	return vhu_channel_send(device, &m, false, done, argument);
}

/* A call has left, or was lost with the channel. */
static void
call_sent(struct vhu_device *device, void *argument, int result, struct vhu_message *reply)
{
	struct vhu_device_ring *ring = argument;

	(void)reply;
	ring->call_queued = false;
	if (result == 0)
		vhu_device_check_calls(device);
}

void
vhu_ring_deliver_call(struct vhu_device *device, struct vhu_device_ring *ring)
{
	/* One that still waits to be sent tells the driver of everything up to its departure. */
	if (ring->call_queued)
		return;
	/* Partner: the exchange in vhu_ring_call(). */
	if (!atomic_exchange_explicit(&ring->lcore->call_wanted, false, memory_order_acq_rel))
		return;
	if (ring->call_fd >= 0) {
		vhu_event_signal(ring->call_fd);
		return;
	}
	if (!in_band(device) || ring->call_none)
		return;
	ring->call_queued = true;
	if (send_state(device, VHU_BACKEND_VRING_CALL, ring->index, call_sent, ring) == 0)
		return;
	ring->call_queued = false;
	/* The front-end reads nothing at the moment, or has no channel: again when it does. */
	atomic_store_explicit(&ring->lcore->call_wanted, true, memory_order_release);
}

void
vhu_ring_call_anyway(struct vhu_device *device, struct vhu_device_ring *ring)
{
	/* Partner: the exchange in vhu_ring_call(), which finds that it need not ask. */
	atomic_store_explicit(&ring->lcore->call_wanted, true, memory_order_release);
	vhu_ring_deliver_call(device, ring);
}

void
vhu_ring_end_calls(struct vhu_device *device, struct vhu_device_ring *ring)
{
	if (ring->started)
		vhu_ring_deliver_call(device, ring);
	if (ring->call_queued)
		vhu_channel_withdraw(&device->channel, ring);
	atomic_store_explicit(&ring->lcore->call_wanted, false, memory_order_relaxed);
}

void
vhu_device_check_calls(struct vhu_device *device)
{
	unsigned int i;

	vhu_device_pending_up(device);
	for (i = 0; i < device->config.ring_count; i++)
		if (device->rings[i].started)
			vhu_ring_deliver_call(device, &device->rings[i]);
	vhu_device_pending_down(device);
}

/*
 * A call descriptor that is full was filled by the front-end: adding up to that takes for ever. If
 * it is blocking as well, an lcore that writes to it sleeps, unless somebody reads. The front-end
 * will not, but we can: the descriptor is ours, too.
 *
 * Here an lcore may be waiting at this moment, and the message at hand for that lcore. So nothing
 * is asked but the descriptor, those that are about to be closed included.
 */
static unsigned int
empty_full(struct vhu_device *device)
{
	struct pollfd calls[VHU_VRING_INDEX_MASK + 2];
	unsigned int count = 0, emptied = 0, i;
	uint64_t value;
	struct iovec room = { &value, sizeof(value) };

	for (i = 0; i < device->config.ring_count; i++)
		if (device->rings[i].started && device->rings[i].call_fd >= 0)
			calls[count++] = (struct pollfd){ device->rings[i].call_fd, POLLOUT, 0 };
	if (vhu_device_busy(device) && device->bin.fd >= 0)
		calls[count++] = (struct pollfd){ device->bin.fd, POLLOUT, 0 };
	if (count == 0 || poll(calls, count, 0) < 0)
		return 0;
	for (i = 0; i < count; i++)
		/* It can have been read meanwhile: never wait for another write. */
		if (!(calls[i].revents & POLLOUT) &&
		    preadv2(calls[i].fd, &room, 1, -1, RWF_NOWAIT) > 0)
			emptied++;
	return emptied;
}

static void
hand_calls_over(struct vhu_device *device)
{
	unsigned int i;

	for (i = 0; i < device->config.ring_count; i++) {
		struct vhu_device_ring *ring = &device->rings[i];

		if (ring->published == NULL || ring->call_fd < 0)
			continue;
		if (ring->published->snapshot.call_fd != VHU_CALL_BY_CONTROL)
			(void)vhu_device_renew(device, (uint16_t)i); /* or at the next tick */
		/* What was emptied may have held a call. */
		vhu_ring_call_anyway(device, ring);
	}
}

void
vhu_device_free_writers(struct vhu_device *device)
{
	unsigned int emptied;

	if (device->config.call_handover)
		return;
	emptied = empty_full(device);
	if (emptied != 0 && !device->call_filled)
		vhu_log(VHU_LOG_WARNING, device->name, VHU_LOG_NO_RING, "the front-end filled a "
			"call descriptor: lcores write to none of this device any more");
	device->call_filled |= emptied != 0;
	device->call_handing |= emptied != 0;
	if (!device->call_handing || vhu_device_busy(device))
		return;
	device->call_handing = false;
	hand_calls_over(device);
}

void
vhu_ring_signal_error(struct vhu_device *device, const struct vhu_device_ring *ring)
{
	if (ring->error_fd >= 0)
		vhu_event_signal(ring->error_fd);
	else if (in_band(device) && !ring->error_none)
		(void)send_state(device, VHU_BACKEND_VRING_ERR, ring->index, NULL, NULL);
}
