/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* The two drivers, net_vhu and net_vhost, with the same configuration. */

#include <stdio.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>

#include "perf.h"

/* RTE_MAX_ETHPORTS of distributions is 32; two drivers share them. */
#define MOST_PORTS 9

static int
failed(struct perf_port *port, const char *what, int error)
{
	snprintf(perf_error, sizeof(perf_error), "%s: %s: %s", port->name, what,
		rte_strerror(-error));
	if (port->number >= 0)
		rte_eth_dev_stop((uint16_t)port->number);
	rte_eal_hotplug_remove("vdev", port->name);
	port->number = -1;
	return -1;
}

/*
 * What a switch asks drivers for: frames of several mbufs, and if the guest may leave checksums
 * and segmentation to us, flags that say so instead of finished frames.
 */
static void
choose_offloads(struct rte_eth_conf *configuration, const struct rte_eth_dev_info *info,
	bool offloads)
{
	uint64_t receive = RTE_ETH_RX_OFFLOAD_SCATTER, transmit = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;

	if (offloads) {
		receive |= RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_LRO;
		transmit |= RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_TSO;
	}
	configuration->rxmode.offloads = info->rx_offload_capa & receive;
	configuration->txmode.offloads = info->tx_offload_capa & transmit;
}

static int
open_device(struct perf_port *port, const char *arguments, bool offloads)
{
	struct rte_eth_conf configuration = { 0 };
	struct rte_eth_dev_info info;
	uint16_t number;
	int error;

	port->number = -1;
	error = rte_eal_hotplug_add("vdev", port->name, arguments);
	if (error == 0)
		error = rte_eth_dev_get_port_by_name(port->name, &number);
	if (error != 0)
		return failed(port, "cannot be created", error);
	port->number = number;
	error = rte_eth_dev_info_get(number, &info);
	if (error != 0)
		return failed(port, "says nothing of itself", error);
	choose_offloads(&configuration, &info, offloads);
	error = rte_eth_dev_configure(number, 1, 1, &configuration);
	if (error == 0)
		error = rte_eth_rx_queue_setup(number, 0, PERF_RING, SOCKET_ID_ANY, NULL,
			port->mempool);
	if (error == 0)
		error = rte_eth_tx_queue_setup(number, 0, PERF_RING, SOCKET_ID_ANY, NULL);
	if (error == 0)
		error = rte_eth_dev_start(number);
	return error == 0 ? 0 : failed(port, "cannot be started", error);
}

static int
open_port(struct perf_port *port, const char *path, const struct perf_row *row)
{
	char arguments[192];
	int used;

	/* Both offer the guest checksum and segmentation offload, or neither does. */
	used = snprintf(arguments, sizeof(arguments), "iface=%s,queues=1,tso=%d,iommu-support=%d",
		path, row->offloads, row->iommu);
	/* net_vhost cannot do without: it always keeps them. */
	if (row->statistics && port->backend == &perf_net_vhu)
		snprintf(arguments + used, sizeof(arguments) - used, ",histograms=1");
	return open_device(port, arguments, row->offloads);
}

static void
close_port(struct perf_port *port)
{
	rte_eth_dev_stop((uint16_t)port->number);
	rte_eth_dev_close((uint16_t)port->number);
	rte_eal_hotplug_remove("vdev", port->name);
	port->number = -1;
}

static bool
ready(struct perf_port *port)
{
	struct rte_eth_link link;

	return rte_eth_link_get_nowait((uint16_t)port->number, &link) == 0 &&
		link.link_status == RTE_ETH_LINK_UP;
}

static uint16_t
receive(struct perf_port *port, struct rte_mbuf **packets, uint16_t count)
{
	return rte_eth_rx_burst((uint16_t)port->number, 0, packets, count);
}

PERF_POLL(receive)

static uint16_t
transmit(struct perf_port *port, struct rte_mbuf **packets, uint16_t count)
{
	return rte_eth_tx_burst((uint16_t)port->number, 0, packets, count);
}

const struct perf_backend perf_net_vhu = {
	.name = "net_vhu",
	.most_ports = MOST_PORTS,
	.open = open_port,
	.close = close_port,
	.ready = ready,
	.receive = receive,
	.transmit = transmit,
	.poll = poll_empty,
};

const struct perf_backend perf_net_vhost = {
	.name = "net_vhost",
	.most_ports = MOST_PORTS,
	.wake = perf_rte_vhost_wake,
	.open = open_port,
	.close = close_port,
	.ready = ready,
	.receive = receive,
	.transmit = transmit,
	.poll = poll_empty,
};
