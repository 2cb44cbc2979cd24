/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <string.h>
#include <sys/epoll.h>

#include <rte_common.h>

#include "ctrl/connection.h"
#include "ctrl/control_queue.h"
#include "ctrl/events.h"
#include "ctrl/statistics.h"
#include "mem/dirty.h"
#include "obs/log.h"
#include "ring/chain.h"

/* Commands served in one step; more wait for the next, so that sockets have their turn. */
#define COMMANDS_PER_STEP 64
/* Class and command. */
#define COMMAND_HEADER 2

/* All are for one command at a time, under the control lock. */
static struct iovec segments[VHU_SEGMENTS_MAX];
static uint8_t bytes[VHU_COMMAND_MAX];
static struct vhu_statistics_answer answer;

uint16_t
vhu_control_queue_ring(const struct vhu_port *port)
{
	const uint64_t several = VHU_BIT(VIRTIO_NET_F_MQ) | VHU_BIT(VHU_NET_F_RSS);
	uint64_t features = vhu_device_features(port->device);

	if (!(port->options.offers & VHU_OFFER_BIT(CONTROL_QUEUE)) ||
			!(features & VHU_BIT(VIRTIO_NET_F_CTRL_VQ)))
		return UINT16_MAX;
	return (features & several) ? 2 * port->options.queue_pairs : 2;
}

void
vhu_control_queue_specialise(struct vhu_snapshot *snapshot)
{
	snapshot->burst = vhu_snapshot_parked.burst; /* elements, no frames */
	snapshot->body = "control queue";
}

static void
kicked(struct vhu_watch *watch, uint32_t events)
{
	(void)events;
	vhu_connection_need_attention(RTE_PTR_SUB(watch, offsetof(struct vhu_port, control_kick)));
}

void
vhu_control_queue_kick(struct vhu_port *port, uint16_t ring, int kick_fd)
{
	struct vhu_watch *watch = &port->control_kick;

	if (port->control_kick_ring == ring)
		vhu_watch_remove(watch);
	if (ring != vhu_control_queue_ring(port))
		return;
	vhu_connection_need_attention(port);
	if (kick_fd < 0)
		return;
	port->control_kick_ring = ring;
	*watch = (struct vhu_watch){ .fd = kick_fd, .ready = kicked };
	/*
	 * Each kick is an edge, so the descriptor, which others may read too, is never read. One
	 * that epoll does not take wakes nobody; the ring is looked at in each step all the same.
	 */
	(void)vhu_watch_set(port->control->loop, watch, EPOLLIN | EPOLLET);
}

void
vhu_control_queue_features(struct vhu_port *port, uint64_t features)
{
	uint64_t changed = (features ^ port->wishes.features) & ~VHU_BIT(VHU_F_LOG_ALL);

	port->wishes.features = features;
	/*
	 * Logging comes and goes while the driver runs, which notices nothing. A driver that moved
	 * here goes on with the features that it had.
	 */
	if (changed != 0 && !port->wishes_restored)
		vhu_control_queue_reset(port);
}

void
vhu_control_queue_reset(struct vhu_port *port)
{
	vhu_wishes_init(&port->wishes, vhu_device_features(port->device),
		port->options.queue_pairs);
	port->wishes_restored = false;
	vhu_steer_set(&port->steer, &port->wishes.steering);
}

void
vhu_control_queue_restored(struct vhu_port *port)
{
	port->wishes_restored = true;
	vhu_steer_set(&port->steer, &port->wishes.steering);
	/* An application that filters or steers looks again; the command is none in particular. */
	port->control_told = 0;
	vhu_connection_need_attention(port);
}

/* Copy a command out of the guest's memory, once. */
static size_t
copy_in(const struct vhu_chain *chain)
{
	size_t size = 0;

	for (unsigned int i = 0; i < chain->readable; i++) {
		memcpy(bytes + size, segments[i].iov_base, segments[i].iov_len);
		size += segments[i].iov_len;
	}
	return size;
}

/* Bursts follow what the driver switched on and off among the offloads that it negotiated. */
static void
apply_offloads(struct vhu_port *port, uint64_t before)
{
	uint16_t control = vhu_control_queue_ring(port);

	if (port->wishes.offloads_off == before)
		return;
	for (uint16_t ring = 0; ring < 2 * port->options.queue_pairs; ring += 2) {
		if (ring != control && vhu_device_renew(port->device, ring) != 0)
			vhu_log(VHU_LOG_ERROR, port->name, ring,
				"out of memory: the guest's choice of offloads is not followed");
	}
}

static void
read_ring(const void *owner, uint16_t ring, struct vhu_queue_stats *stats)
{
	vhu_port_ring_counted(owner, ring, stats);
}

static uint8_t
run_statistics(const struct vhu_port *port, size_t size)
{
	const struct vhu_statistics_source source = {
		.control = vhu_control_queue_ring(port),
		.commands = port->control_commands,
		.obeyed = port->control_obeyed,
		.read = read_ring,
		.owner = port,
	};

	if (!(port->wishes.features & VHU_BIT(VHU_NET_F_DEVICE_STATS)))
		return VIRTIO_NET_ERR;
	return vhu_statistics_run(&source, bytes[1], bytes + COMMAND_HEADER,
		size - COMMAND_HEADER, &answer);
}

/* Run the command of a chain. @return its status. */
static uint8_t
run(struct vhu_port *port, const struct vhu_chain *chain)
{
	size_t size;
	uint8_t status;

	answer.size = 0;
	answer.room = chain->writable_size > 1 ? chain->writable_size - 1 : 0;
	if (chain->readable_size > sizeof(bytes))
		return VIRTIO_NET_ERR;
	size = copy_in(chain);
	if (size >= COMMAND_HEADER && bytes[0] == VHU_NET_CTRL_STATS)
		return run_statistics(port, size);
	status = vhu_command_run(&port->wishes, bytes, size);
	if (status != VIRTIO_NET_OK) {
		vhu_log(VHU_LOG_DEBUG, port->name, vhu_control_queue_ring(port),
			"command refused: class %d, command %d, %zu bytes",
			size > 0 ? bytes[0] : -1, size > 1 ? bytes[1] : -1, size);
		return status;
	}
	port->control_told = bytes[0] << 8 | bytes[1];
	return status;
}

/* The status, then what was asked for. @return bytes written, 0 if there is no room at all. */
static uint32_t
write_answer(const struct vhu_snapshot *snapshot, const struct vhu_chain *chain, uint8_t status)
{
	size_t size = chain->writable == 0 ? 0 : 1 + answer.size, done = 0;
	const struct iovec *to = segments + chain->readable;
	struct vhu_dirty_cache cache;

	vhu_dirty_begin(&cache);
	for (; done < size; to++) {
		size_t from = done == 0, part = RTE_MIN(to->iov_len, size - done);

		if (from != 0)
			*(uint8_t *)to->iov_base = status;
		memcpy((uint8_t *)to->iov_base + from, answer.bytes + done + from - 1,
			part - from);
		if (snapshot->dirty != NULL)
			vhu_dirty_note_host(snapshot->dirty, &cache, snapshot->space.map,
				to->iov_base, part);
		done += part;
	}
	if (snapshot->dirty != NULL)
		vhu_dirty_flush(snapshot->dirty, &cache);
	return (uint32_t)size;
}

/*
 * A driver that begins anew finds a card after reset. One that was only interrupted goes on where
 * it was in the ring, which is not the beginning; one that moved here is known by its state.
 */
static void
begin(struct vhu_port *port, struct vhu_ring *ring, const struct vhu_snapshot *snapshot)
{
	if (port->wishes_restored)
		port->wishes_restored = false;
	else if (ring->next_avail == 0 && ring->avail_wrap)
		vhu_control_queue_reset(port);
	ring->kick_wanted = true;
	vhu_ring_begin(ring, snapshot);
}

/* Once a step, so that a driver cannot fill the ring of events by itself. */
static void
tell(struct vhu_port *port)
{
	if (port->control_told < 0)
		return;
	vhu_steer_set(&port->steer, &port->wishes.steering);
	vhu_events_tell(port, VHU_EVENT_CONTROL, UINT16_MAX, port->control_told);
	port->control_told = -1;
}

/* @return true if there may be more. */
static bool
serve_one(struct vhu_port *port, struct vhu_ring *ring, const struct vhu_snapshot *snapshot)
{
	struct vhu_walk walk = vhu_walk_begin(ring);
	struct vhu_chain chain;
	uint32_t written;
	uint8_t status;

	if (vhu_chain_look(ring, snapshot, &walk, segments, RTE_DIM(segments), &chain) !=
			VHU_FOUND_CHAIN)
		return false;
	status = run(port, &chain);
	port->control_commands++;
	port->control_obeyed += status == VIRTIO_NET_OK;
	written = write_answer(snapshot, &chain, status);
	vhu_walk_take(ring, &walk);
	vhu_used_write(ring, snapshot, &chain, &written, 1);
	return true;
}

bool
vhu_control_queue_serve(struct vhu_port *port)
{
	uint16_t index = vhu_control_queue_ring(port);
	uint64_t offloads = port->wishes.offloads_off;
	const struct vhu_snapshot *snapshot;
	struct vhu_ring *ring;
	struct vhu_walk old;
	unsigned int served = 0;

	if (index == UINT16_MAX)
		return false;
	ring = port->rings[index];
	snapshot = vhu_device_ring_snapshot(port->device, index);
	if (snapshot == NULL || vhu_ring_is_broken(ring))
		return true;
	if (ring->phase == VHU_RING_FRESH)
		begin(port, ring, snapshot);
	vhu_hint_check(&snapshot->space, &ring->hint);
	old = vhu_used_position(ring);
	while (served < COMMANDS_PER_STEP && serve_one(port, ring, snapshot))
		served++;
	/* Before the driver learns that its commands were obeyed. */
	tell(port);
	if (served > 0) {
		vhu_used_publish(ring, snapshot, old);
		/* What waits already is seen in the next step. */
		vhu_ring_want_kicks(ring, snapshot, true);
		vhu_count(&ring->counters.packets, served);
	}
	/* Last: it publishes, and the snapshot above is not to be used any more. */
	apply_offloads(port, offloads);
	return true;
}
