/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* vhu on its own interface. */

#include <stdio.h>

#include <vhu.h>
#include <vhu_net.h>

#include "perf.h"

static int
open_port(struct perf_port *port, const char *path, const struct perf_row *row)
{
	struct vhu_rx_options rx = { .mempool = port->mempool };
	struct vhu_port_options options;
	struct vhu_port *handle;

	vhu_port_options_init(&options);
	options.path = path;
	options.name = port->name;
	options.histograms = row->statistics;
	if (row->iommu)
		options.offers |= VHU_OFFER_BIT(IOMMU);
	if (vhu_port_create(&options, &handle) != 0) {
		snprintf(perf_error, sizeof(perf_error), "%s", vhu_error_text());
		return -1;
	}
	port->handle[0] = vhu_port_rx_queue(handle, 0);
	port->handle[1] = vhu_port_tx_queue(handle, 0);
	port->port = handle;
	return vhu_rx_queue_setup(port->handle[0], &rx);
}

static void
close_port(struct perf_port *port)
{
	vhu_port_destroy(port->port);
	port->port = NULL;
}

static bool
ready(struct perf_port *port)
{
	struct vhu_port_info info;

	vhu_port_info(port->port, &info);
	return info.up;
}

static uint16_t
receive(struct perf_port *port, struct rte_mbuf **packets, uint16_t count)
{
	return vhu_rx_burst(port->handle[0], packets, count);
}

PERF_POLL(receive)

static uint16_t
transmit(struct perf_port *port, struct rte_mbuf **packets, uint16_t count)
{
	return vhu_tx_burst(port->handle[1], packets, count);
}

/* Of all bursts since the row was set up: byte check and warm-up are among them. */
static unsigned int
stages(struct perf_port *port, struct perf_stage *list)
{
	static const char *const queues[] = { "receive", "transmit" };
	unsigned int count = 0;

	RTE_BUILD_BUG_ON(RTE_DIM(queues) * VHU_STAGES > PERF_MAX_STAGES);
	for (unsigned int i = 0; i < RTE_DIM(queues); i++) {
		struct vhu_queue_stages found;
		struct vhu_queue_stats stats;

		vhu_queue_stats(port->handle[i], &stats);
		if (vhu_queue_stages(port->handle[i], &found) != 0)
			return 0;
		for (int stage = 0; stage < VHU_STAGES && stats.packets > 0; stage++)
			list[count++] = (struct perf_stage){ queues[i], vhu_stage_name(stage),
				(double)found.cycles[stage] / (double)stats.packets };
	}
	return count;
}

const struct perf_backend perf_vhu = {
	.name = "vhu",
	.most_ports = PERF_MAX_IDLE + 1,
	.open = open_port,
	.close = close_port,
	.ready = ready,
	.receive = receive,
	.transmit = transmit,
	.poll = poll_empty,
	.stages = stages,
};
