/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stdio.h>
#include <string.h>

#include "ctrl/control_queue.h"
#include "ctrl/port.h"
#include "net/announce.h"

void
vhu_port_describe(struct vhu_port *port, struct vhu_port_info *info)
{
	uint16_t control;

	*info = (struct vhu_port_info){
		.role = port->options.role,
		.connected = port->link == VHU_LINK_CONNECTED,
		.up = port->pairs_running > 0,
		.queue_pairs = port->options.queue_pairs,
		.queue_pairs_running = port->pairs_running,
		.mtu = port->mtu,
		.features_offered = port->features_offered,
		.offers = port->options.offers,
		.histograms = port->histograms,
		.connections = port->connections,
		.announcements = port->announcements,
		.announced = port->announcements - port->announcements_lost -
			vhu_queue_announcing(port->queues[VHU_ANNOUNCING_RING]),
	};
	memcpy(info->name, port->name, sizeof(info->name));
	memcpy(info->path, port->path, sizeof(info->path));
	vhu_device_describe(port->device, info);
	control = vhu_control_queue_ring(port);
	info->control_queue = control != UINT16_MAX &&
		vhu_device_ring_snapshot(port->device, control) != NULL;
	info->header_size = vhu_net_header_size(info->features);
}

int
vhu_port_info(struct vhu_port *port, struct vhu_port_info *info)
{
	vhu_control_lock();
	vhu_port_describe(port, info);
	vhu_control_unlock();
	return 0;
}

int
vhu_queue_info(struct vhu_queue *queue, struct vhu_queue_info *info)
{
	vhu_control_lock();
	vhu_device_ring_info(vhu_queue_port(queue)->device, vhu_queue_index(queue), info);
	vhu_control_unlock();
	return 0;
}

int
vhu_port_regions(struct vhu_port *port, struct vhu_region_info *regions, unsigned int count)
{
	const struct vhu_map *map;
	unsigned int total = 0;

	vhu_control_lock();
	map = vhu_device_map(port->device);
	if (map != NULL)
		total = map->count;
	for (unsigned int i = 0; i < total && i < count; i++) {
		const struct vhu_region *region = map->by_guest[i];

		regions[i] = (struct vhu_region_info){
			.guest_address = region->guest_address,
			.user_address = region->user_address,
			.size = region->size,
			.file_offset = region->file_offset,
			.page_size = region->page_size,
			.host = region->host,
		};
	}
	vhu_control_unlock();
	return total;
}

static uint64_t
load(const _Atomic(uint64_t) *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* What the lcore has counted since the queue exists. */
static void
read_counters(const struct vhu_ring *ring, struct vhu_queue_stats *stats)
{
	const struct vhu_ring_counters *counters = &ring->counters;

	stats->packets = load(&counters->packets);
	stats->bytes = load(&counters->bytes);
	stats->bursts = load(&counters->bursts);
	stats->empty = load(&counters->empty) + vhu_reader_looked(&ring->reader);
	stats->mbuf_failures = load(&counters->mbuf_failures);
	stats->calls = load(&counters->calls);
	stats->calls_suppressed = load(&counters->calls_suppressed);
	for (unsigned int reason = 0; reason < VHU_DROPS; reason++)
		stats->drops[reason] = load(&counters->drops[reason]);
}

void
vhu_port_ring_counted(const struct vhu_port *port, uint16_t ring, struct vhu_queue_stats *stats)
{
	read_counters(port->rings[ring], stats);
}

void
vhu_port_ring_stats(struct vhu_port *port, uint16_t ring, struct vhu_queue_stats *stats)
{
	const struct vhu_queue_stats *before = &port->counted[ring];

	read_counters(port->rings[ring], stats);
	stats->packets -= before->packets;
	stats->bytes -= before->bytes;
	stats->bursts -= before->bursts;
	stats->empty -= before->empty;
	stats->mbuf_failures -= before->mbuf_failures;
	stats->calls -= before->calls;
	stats->calls_suppressed -= before->calls_suppressed;
	for (unsigned int reason = 0; reason < VHU_DROPS; reason++)
		stats->drops[reason] -= before->drops[reason];
}

void
vhu_queue_stats(struct vhu_queue *queue, struct vhu_queue_stats *stats)
{
	vhu_control_lock();
	vhu_port_ring_stats(vhu_queue_port(queue), vhu_queue_index(queue), stats);
	vhu_control_unlock();
}

void
vhu_queue_stats_reset(struct vhu_queue *queue)
{
	struct vhu_port *port = vhu_queue_port(queue);
	uint16_t ring = vhu_queue_index(queue);

	vhu_control_lock();
	read_counters(port->rings[ring], &port->counted[ring]);
	vhu_port_ring_histograms_reset(port, ring);
	vhu_control_unlock();
}

const char *
vhu_version(void)
{
	return VHU_VERSION;
}
