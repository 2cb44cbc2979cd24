/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctrl/connection.h"
#include "ctrl/control_queue.h"
#include "ctrl/events.h"
#include "ctrl/state.h"
#include "net/announce.h"
#include "net/histogram.h"
#include "obs/log.h"
#include "ring/copied.h"

#define DETACHED(port) atomic_load_explicit(&(port)->detached, memory_order_relaxed)

void
vhu_connection_need_attention(struct vhu_port *port)
{
	if (port->in_attention)
		return;
	port->in_attention = true;
	TAILQ_INSERT_TAIL(&port->control->attention, port, attention_link);
}

static void
stream_message(void *owner, struct vhu_message *message)
{
	struct vhu_port *port = owner;

	/* A condemned connection is read no more, whatever the stream holds already. */
	if (port->condemned || port->link != VHU_LINK_CONNECTED) {
		vhu_message_close(message);
		return;
	}
	vhu_device_receive(port->device, message);
	if (port->stream != NULL && vhu_device_busy(port->device))
		vhu_stream_pause(port->stream, true);
}

static void
stream_ended(void *owner, const char *why, bool fault)
{
	struct vhu_port *port = owner;

	snprintf(port->lost, sizeof(port->lost), "%s", why);
	if (fault)
		vhu_log(VHU_LOG_WARNING, port->name, VHU_LOG_NO_RING,
			"the front-end broke the protocol: %s", why);
	vhu_stream_close(port->stream);
	port->stream = NULL;
	vhu_connection_need_attention(port);
}

static const struct vhu_stream_ops stream_ops = {
	.message = stream_message,
	.ended = stream_ended,
};

static void
device_send(void *owner, struct vhu_message *reply)
{
	struct vhu_port *port = owner;

	if (port->stream == NULL)
		vhu_message_close(reply);
	else
		/* a failure ends the stream, which tells us */
		vhu_stream_send(port->stream, reply);
}

static void
device_answered(void *owner)
{
	struct vhu_port *port = owner;

	if (port->stream != NULL && !port->condemned)
		vhu_stream_pause(port->stream, false);
}

static void
device_hang_up(void *owner)
{
	struct vhu_port *port = owner;

	port->condemned = true;
	if (port->stream != NULL)
		vhu_stream_pause(port->stream, true);
	vhu_connection_need_attention(port);
}

static void
device_event(void *owner, enum vhu_event_type type, uint16_t ring, uint64_t value)
{
	struct vhu_port *port = owner;

	if (type == VHU_EVENT_FEATURES)
		vhu_control_queue_features(port, value);
	if (ring != UINT16_MAX && ring == vhu_control_queue_ring(port))
		vhu_connection_need_attention(port);
	if (type == VHU_EVENT_RING_STARTED)
		vhu_log(VHU_LOG_INFO, port->name, ring, "started with %u descriptors",
			(unsigned int)value);
	else if (type == VHU_EVENT_RING_STOPPED)
		vhu_log(VHU_LOG_INFO, port->name, ring, "stopped at entry %u", (unsigned int)value);
	vhu_events_tell(port, type, ring, value);
}

static int
device_specialise(void *owner, uint16_t ring, struct vhu_snapshot *snapshot)
{
	struct vhu_port *port = owner;

	int error;

	if (ring == vhu_control_queue_ring(port)) {
		if (vhu_ring_is_copied(snapshot))
			return -ENOTSUP; /* it takes chains from the ring itself */
		vhu_control_queue_specialise(snapshot);
		return 0;
	}
	snapshot->features &= ~port->wishes.offloads_off;
	error = vhu_net_specialise(port->queues[ring], snapshot);
	if (error != 0)
		return error;
	vhu_announce_specialise(port->queues[ring], snapshot);
	/* After those that move frames: they count what all of them have moved. */
	if (port->histograms)
		vhu_histogram_specialise(port->queues[ring], snapshot);
	vhu_copied_specialise(snapshot);
	return 0;
}

static void
device_kick_changed(void *owner, uint16_t ring, int kick_fd)
{
	struct vhu_port *port = owner;

	vhu_control_queue_kick(port, ring, kick_fd);
	vhu_queue_set_kick(port->queues[ring], kick_fd);
}

static int
device_get_config(void *owner, uint32_t offset, void *data, uint32_t size)
{
	struct vhu_port *port = owner;
	/* The rest of the space is reserved and reads as zero. */
	union {
		struct virtio_net_config net;
		uint8_t bytes[VHU_CONFIG_SPACE_SIZE];
	} space = { .bytes = { 0 } };

	if (offset > sizeof(space) || size > sizeof(space) - offset)
		return -EINVAL;
	/* No address: the front-end gives the guest one (VIRTIO_NET_F_MAC is not ours to offer). */
	space.net.status = port->link_down ? 0 : VIRTIO_NET_S_LINK_UP;
	space.net.max_virtqueue_pairs = port->options.queue_pairs;
	space.net.mtu = port->mtu;
	if (port->options.offers & VHU_OFFER_BIT(HASH)) {
		space.net.rss_max_key_size = VHU_HASH_KEY_SIZE;
		space.net.rss_max_indirection_table_length = VHU_HASH_TABLE_SIZE;
		space.net.supported_hash_types = VHU_HASH_TYPES;
	}
	memcpy(data, space.bytes + offset, size);
	return 0;
}

static int
device_announce(void *owner, uint64_t address)
{
	struct vhu_port *port = owner;
	int error = vhu_queue_announce(port->queues[VHU_ANNOUNCING_RING], address);

	if (error != 0)
		return error;
	port->announcements++;
	port->announcing = true;
	vhu_connection_need_attention(port);
	return 0;
}

static int
device_set_mtu(void *owner, uint64_t mtu)
{
	struct vhu_port *port = owner;

	if (mtu < 68 || mtu > UINT16_MAX)
		return -EINVAL;
	port->mtu = mtu;
	return 0;
}

const struct vhu_device_ops vhu_connection_device_ops = {
	.send = device_send,
	.answered = device_answered,
	.hang_up = device_hang_up,
	.event = device_event,
	.specialise = device_specialise,
	.kick_changed = device_kick_changed,
	.get_config = device_get_config,
	.set_config = vhu_state_set_config,
	.save_state = vhu_state_save,
	.load_state = vhu_state_load,
	.reset = vhu_state_reset,
	.announce = device_announce,
	.set_mtu = device_set_mtu,
};

void
vhu_connection_begin(void *owner, int fd)
{
	struct vhu_port *port = owner;

	port->stream = vhu_stream_new(port->control->loop, fd, &stream_ops, port);
	if (port->stream == NULL) {
		vhu_log(VHU_LOG_ERROR, port->name, VHU_LOG_NO_RING,
			"connection dropped: out of memory or descriptors");
		vhu_endpoint_resume(port->endpoint);
		return;
	}
	port->link = VHU_LINK_CONNECTED;
	port->condemned = false;
	port->lost[0] = '\0';
	port->connections++;
	port->mtu = port->options.mtu;
	vhu_log(VHU_LOG_NOTICE, port->name, VHU_LOG_NO_RING, "front-end connected (%s)",
		port->path);
	vhu_control_queue_reset(port);
	vhu_events_tell(port, VHU_EVENT_CONNECTED, UINT16_MAX, 0);
	vhu_device_connect(port->device);
}

/* The device has wound down: nothing of the connection is left. */
static void
left(void *owner)
{
	struct vhu_port *port = owner;

	port->link = VHU_LINK_IDLE;
	port->condemned = false;
	port->mtu = port->options.mtu;
	port->announcements_lost +=
		vhu_queue_forget_announcements(port->queues[VHU_ANNOUNCING_RING]);
	port->announcing = false;
	vhu_events_tell(port, VHU_EVENT_DISCONNECTED, UINT16_MAX, 0);
	vhu_control_changed();
	if (DETACHED(port))
		return;
	vhu_log(VHU_LOG_NOTICE, port->name, VHU_LOG_NO_RING, "front-end disconnected: %s",
		port->lost);
	vhu_endpoint_resume(port->endpoint);
}

void
vhu_connection_end(struct vhu_port *port)
{
	if (port->link != VHU_LINK_CONNECTED)
		return;
	if (port->stream != NULL) {
		vhu_stream_close(port->stream);
		port->stream = NULL;
	}
	port->link = VHU_LINK_LEAVING;
	vhu_device_disconnect(port->device, left);
}

/*
 * The snapshot shall look for announcements exactly while some wait. Looked at once a step until
 * that is so; without memory it is tried again.
 */
static void
follow_announcements(struct vhu_port *port)
{
	const struct vhu_snapshot *snapshot =
		vhu_device_ring_snapshot(port->device, VHU_ANNOUNCING_RING);
	bool wait = vhu_queue_announcing(port->queues[VHU_ANNOUNCING_RING]) != 0;

	if (snapshot != NULL && (snapshot->inner != NULL) != wait)
		vhu_device_renew(port->device, VHU_ANNOUNCING_RING);
	else if (!wait)
		port->announcing = false;
}

static void
attend(struct vhu_port *port)
{
	if (port->announcing && port->link == VHU_LINK_CONNECTED)
		follow_announcements(port);
	if (port->link == VHU_LINK_CONNECTED && vhu_control_queue_serve(port))
		vhu_connection_need_attention(port);
	if (port->announcing)
		vhu_connection_need_attention(port);
	if (!vhu_events_tell_overflow(port))
		vhu_connection_need_attention(port);
	if (port->link != VHU_LINK_CONNECTED)
		return;
	if (port->stream != NULL && port->condemned)
		snprintf(port->lost, sizeof(port->lost),
			"closed by us after a message that nothing can follow");
	if (port->stream == NULL || port->condemned)
		vhu_connection_end(port);
}

void
vhu_connection_attend(struct vhu_control *control)
{
	struct vhu_port *port;
	unsigned int round = 0;

	/* One round: a port whose events find no room stays, and is looked at in each step. */
	TAILQ_FOREACH(port, &control->attention, attention_link)
		round++;
	while (round-- > 0 && (port = TAILQ_FIRST(&control->attention)) != NULL) {
		TAILQ_REMOVE(&control->attention, port, attention_link);
		port->in_attention = false;
		attend(port);
	}
}

void
vhu_connection_check_broken(struct vhu_control *control)
{
	struct vhu_port *port;

	TAILQ_FOREACH(port, &control->ports, ports_link)
		vhu_device_check_broken(port->device);
}

void
vhu_connection_tick(struct vhu_control *control)
{
	struct vhu_port *port;

	TAILQ_FOREACH(port, &control->ports, ports_link)
		vhu_device_tick(port->device);
}

void
vhu_connection_check_calls(struct vhu_control *control)
{
	struct vhu_port *port;

	TAILQ_FOREACH(port, &control->ports, ports_link)
		vhu_device_check_calls(port->device);
}

void
vhu_connection_check_missing(struct vhu_control *control)
{
	struct vhu_port *port;

	TAILQ_FOREACH(port, &control->ports, ports_link)
		vhu_device_check_missing(port->device);
}
