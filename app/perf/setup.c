/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Ports and front-ends of one row. All back-ends share the guest's memory, and the rings to them
 * share the buffers in it, so that no one is nearer to the payload than another.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "perf.h"

#define MIB (UINT64_C(1) << 20)
#define GUEST_RECEIVES 0
#define GUEST_TRANSMITS 1
#define IDLE_RING 64
/* Device addresses behind the IOMMU are not guest-physical ones. */
#define IOMMU_OFFSET (UINT64_C(1) << 40)
#define READY_SECONDS 5

char perf_error[160];

const struct perf_backend *const perf_backends[] = {
	&perf_vhu, &perf_net_vhu, &perf_rte_vhost, &perf_net_vhost, &perf_floor,
};
unsigned int perf_backend_count = RTE_DIM(perf_backends);

static uint64_t
wanted_features(const struct perf_row *row)
{
	uint64_t offloads = VHU_BIT(VIRTIO_NET_F_CSUM) | VHU_BIT(VIRTIO_NET_F_GUEST_CSUM) |
		VHU_BIT(VIRTIO_NET_F_HOST_TSO4) | VHU_BIT(VIRTIO_NET_F_HOST_TSO6) |
		VHU_BIT(VIRTIO_NET_F_GUEST_TSO4) | VHU_BIT(VIRTIO_NET_F_GUEST_TSO6);

	return VHU_BIT(VIRTIO_F_VERSION_1) | row->features |
		(row->indirect ? VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC) : 0) |
		(row->logging ? VHU_BIT(VHU_F_LOG_ALL) : 0) |
		(row->iommu ? VHU_BIT(VIRTIO_F_ACCESS_PLATFORM) : 0) |
		(row->offloads ? offloads : 0);
}

static uint64_t
wanted_protocol(const struct perf_row *row)
{
	return VHU_BIT(VHU_PROTOCOL_REPLY_ACK) | VHU_BIT(VHU_PROTOCOL_MQ) |
		(row->logging ? VHU_BIT(VHU_PROTOCOL_LOG_SHMFD) : 0) |
		(row->iommu ? VHU_BIT(VHU_PROTOCOL_BACKEND_REQ) : 0) |
		(row->regions > VHU_MEM_TABLE_REGIONS ?
			VHU_BIT(VHU_PROTOCOL_CONFIGURE_MEM_SLOTS) : 0);
}

/* Name the first feature that is missing. */
static const char *
feature_name(uint64_t missing)
{
	static const struct {
		unsigned int bit;
		const char *name;
	} names[] = {
		{ VIRTIO_F_RING_PACKED, "packed rings" }, { VIRTIO_F_IN_ORDER, "IN_ORDER" },
		{ VIRTIO_NET_F_MRG_RXBUF, "MRG_RXBUF" }, { VHU_F_LOG_ALL, "LOG_ALL" },
		{ VIRTIO_F_ACCESS_PLATFORM, "ACCESS_PLATFORM" },
		{ VIRTIO_RING_F_INDIRECT_DESC, "INDIRECT_DESC" },
	};

	for (unsigned int i = 0; i < RTE_DIM(names); i++)
		if (missing & VHU_BIT(names[i].bit))
			return names[i].name;
	return "checksum and segmentation offload";
}

static int
negotiate(struct perf_bench *bench, struct perf_port *port)
{
	const struct perf_row *row = bench->row;
	uint64_t wanted = wanted_features(row);
	int error = front_negotiate(&port->front, wanted, wanted_protocol(row));

	if (error == 0 && (port->front.features & wanted) != wanted)
		return front_fail(&port->front, -1, "does not offer %s",
			feature_name(wanted & ~port->front.features));
	if (error == 0 && row->iommu)
		error = front_open_channel(&port->front, 0);
	if (error == 0)
		error = front_share(&port->front, &bench->memory, row->regions);
	if (error == 0 && row->logging)
		error = front_set_log(&port->front, bench->log_fd, 4 * MIB);
	return error;
}

/* A driver that is short of buffers: only these are ever in the ring. */
static void
post_some(struct front_ring *ring, uint32_t count)
{
	struct front_frame frames[PERF_MAX_BURST];

	front_post(ring, frames, front_take(ring, frames, count));
}

/* The rings of a busy port; the buffers are those of the first back-end's rings. */
static int
make_rings(struct perf_bench *bench, struct perf_port *port, const struct perf_port *first)
{
	const struct perf_row *row = bench->row;
	bool large = perf_longest(row) > 2048;
	struct front_ring_options options = {
		.size = PERF_RING,
		.packed = (row->features & VHU_BIT(VIRTIO_F_RING_PACKED)) != 0,
		.in_order = (row->features & VHU_BIT(VIRTIO_F_IN_ORDER)) != 0,
		.indirect = row->indirect != 0,
		.chain = row->indirect == 2 ? 2 : 1,
		.buffer_size = large ? 9216 : 1536,
		.regions = RTE_MIN(row->regions, 4u),
		.buffers_of = first != NULL ? &first->send : NULL,
	};
	int error;

	options.fixed = row->fixed && !options.packed && !row->indirect;
	perf_request_header(row, options.header);
	error = front_ring_create(&port->send, &bench->memory, &options);
	if (error != 0)
		return front_fail(&port->front, error, "too little guest memory");
	for (uint32_t i = 0; row->request != PERF_ASK_NOTHING && i < port->send.slots; i++)
		perf_request_frame(row, port->send.slot[i].data);
	options.receive = true;
	options.indirect = false;
	options.chain = 1;
	options.mergeable = (row->features & VHU_BIT(VIRTIO_NET_F_MRG_RXBUF)) != 0;
	options.buffers_of = first != NULL ? &first->receive : NULL;
	if (large && options.mergeable)
		options.buffer_size = 2048;
	error = front_ring_create(&port->receive, &bench->memory, &options);
	if (error != 0)
		return front_fail(&port->front, error, "too little guest memory");
	if (row->work == PERF_TRANSMIT && row->window > 0)
		post_some(&port->receive, row->window);
	else
		front_post_all(&port->receive);
	return 0;
}

/* An idle port's rings: running, and nothing in them. */
static int
make_idle_rings(struct perf_bench *bench, struct perf_port *port, const struct perf_port *first)
{
	struct front_ring_options options = {
		.size = IDLE_RING,
		.packed = (bench->row->features & VHU_BIT(VIRTIO_F_RING_PACKED)) != 0,
		.in_order = (bench->row->features & VHU_BIT(VIRTIO_F_IN_ORDER)) != 0,
		.buffer_size = 64,
		.buffers_of = first != NULL ? &first->send : NULL,
	};
	int error = front_ring_create(&port->send, &bench->memory, &options);

	options.receive = true;
	options.buffers_of = first != NULL ? &first->receive : NULL;
	if (error == 0)
		error = front_ring_create(&port->receive, &bench->memory, &options);
	return error == 0 ? 0 : front_fail(&port->front, error, "too little guest memory");
}

static int
start(struct perf_port *port)
{
	uint64_t end = rte_rdtsc() + READY_SECONDS * rte_get_tsc_hz();
	int error = front_start(&port->front, GUEST_RECEIVES, &port->receive);

	if (error == 0)
		error = front_start(&port->front, GUEST_TRANSMITS, &port->send);
	if (error == 0)
		error = front_settle(&port->front);
	while (error == 0 && !port->backend->ready(port)) {
		if (rte_rdtsc() > end)
			return front_fail(&port->front, -1, "the port does not come up");
		usleep(1000);
	}
	return error;
}

static int
open_port(struct perf_bench *bench, struct perf_port *port, unsigned int kind)
{
	static unsigned int serial;

	port->backend = perf_backends[kind];
	port->mempool = bench->mempool;
	port->number = -1;
	port->send.kick_fd = port->receive.kick_fd = -1;
	snprintf(port->name, sizeof(port->name), "%s%u", port->backend->name, serial);
	snprintf(port->path, sizeof(port->path), "%s/%u.sock", bench->options->folder, serial++);
	if (port->backend->open == NULL)
		return 0;
	if (port->backend->open(port, port->path, bench->row) != 0)
		return -1;
	port->open = true;
	if (front_connect(&port->front, port->path) != 0)
		return snprintf(perf_error, sizeof(perf_error), "%s", port->front.error), -1;
	if (port->backend->wake != NULL)
		port->backend->wake(bench->options->folder);
	port->connected = true;
	return 0;
}

static int
connect_port(struct perf_bench *bench, struct perf_port *port, const struct perf_port *first,
	bool idle)
{
	int error = negotiate(bench, port);

	if (error == 0)
		error = (idle ? make_idle_rings : make_rings)(bench, port, first);
	if (error == 0)
		error = start(port);
	if (error != 0)
		snprintf(perf_error, sizeof(perf_error), "%s", port->front.error);
	return error;
}

/* The busy port whose rings have the buffers, among those opened so far. */
static const struct perf_port *
owner_of_buffers(const struct perf_bench *bench, unsigned int before)
{
	for (unsigned int i = 0; i < before; i++)
		if (bench->ports[i] != NULL && bench->ports[i]->send.slot != NULL &&
				bench->ports[i]->receive.slot != NULL)
			return bench->ports[i];
	return NULL;
}

static void
close_port(struct perf_port *port)
{
	struct front_ring *rings[2] = { &port->send, &port->receive };

	if (port->backend == NULL)
		return;
	if (port->backend == &perf_floor)
		floor_destroy(port);
	if (port->connected)
		front_close(&port->front);
	for (unsigned int i = 0; i < 2; i++) {
		if (rings[i]->kick_fd >= 0)
			close(rings[i]->kick_fd);
		front_ring_destroy(rings[i]);
	}
	if (port->open)
		port->backend->close(port);
	port->open = port->connected = false;
}

static void
close_ports(struct perf_bench *bench, unsigned int kind)
{
	if (bench->ports[kind] == NULL)
		return;
	for (unsigned int i = 0; i <= bench->row->idle; i++)
		close_port(&bench->ports[kind][i]);
	free(bench->ports[kind]);
	bench->ports[kind] = NULL;
}

static int
open_ports(struct perf_bench *bench, unsigned int kind)
{
	struct perf_port *ports = calloc(bench->row->idle + 1u, sizeof(*ports));
	int error = -1;

	bench->ports[kind] = ports;
	if (ports == NULL)
		return snprintf(perf_error, sizeof(perf_error), "out of memory"), -1;
	if (bench->row->idle >= perf_backends[kind]->most_ports)
		return snprintf(perf_error, sizeof(perf_error), "has not so many ports"), -1;
	for (unsigned int i = 0; i <= bench->row->idle; i++) {
		const struct perf_port *first = i == 0 ? owner_of_buffers(bench, kind) :
			i > 1 ? &ports[1] : NULL;

		error = open_port(bench, &ports[i], kind);
		if (error == 0 && perf_backends[kind] == &perf_floor)
			error = floor_create(&ports[i], &bench->memory, bench->row);
		else if (error == 0)
			error = connect_port(bench, &ports[i], first, i > 0);
		if (error != 0)
			return -1;
	}
	return 0;
}

static int
make_memory(struct perf_bench *bench)
{
	const struct perf_row *row = bench->row;
	struct front_memory_options options = {
		.regions = row->regions,
		.region_size = row->regions > 8 ? 2 * MIB :
			row->idle > 0 || perf_longest(row) > 2048 ? 96 * MIB : 24 * MIB,
		.huge = bench->options->huge,
	};
	int error = front_memory_create(&bench->memory, &options);

	if (error != 0)
		snprintf(perf_error, sizeof(perf_error),
			"no guest memory of %u MiB (%s); reserve more hugepages",
			(unsigned int)(options.regions * options.region_size / MIB),
			strerror(-error));
	if (row->iommu)
		bench->memory.device_offset = IOMMU_OFFSET;
	return error;
}

int
perf_bench_open(struct perf_bench *bench, struct perf_outcome *outcomes)
{
	unsigned int opened = 0;

	if (make_memory(bench) != 0)
		return -1;
	bench->log_fd = memfd_create("log", MFD_CLOEXEC);
	if (bench->log_fd < 0 || ftruncate(bench->log_fd, 4 * MIB) != 0)
		return -1;
	for (unsigned int i = 0; i < perf_backend_count; i++) {
		struct perf_outcome *outcome = &outcomes[i];

		memset(outcome, 0, sizeof(*outcome));
		if (!bench->options->chosen[i]) {
			outcome->missing = "not chosen";
			continue;
		}
		if (open_ports(bench, i) != 0) {
			snprintf(outcome->reason, sizeof(outcome->reason), "%s", perf_error);
			outcome->missing = outcome->reason;
			/* If its rings own the buffers, they have to stay until the end. */
			if (owner_of_buffers(bench, i + 1) != bench->ports[i])
				close_ports(bench, i);
			continue;
		}
		outcome->features = bench->ports[i][0].front.features;
		opened++;
	}
	return opened > 0 ? 0 : -1;
}

void
perf_bench_close(struct perf_bench *bench)
{
	for (unsigned int i = 0; i < perf_backend_count; i++)
		close_ports(bench, i);
	if (bench->log_fd >= 0)
		close(bench->log_fd);
	front_memory_destroy(&bench->memory);
}
