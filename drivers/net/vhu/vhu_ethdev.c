/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Coming and going of devices: probe, open, shut, remove.
 */

#include <errno.h>
#include <string.h>

#include <ethdev_vdev.h>
#include <rte_eal.h>
#include <rte_ether.h>
#include <rte_malloc.h>
#include <rte_string_fns.h>

#include "vhu_ethdev.h"

RTE_LOG_REGISTER_DEFAULT(vhu_eth_log_type, NOTICE);

static void
fill_options(struct vhu_eth *eth, char name[VHU_NAME_SIZE], struct vhu_port_options *options)
{
	const struct vhu_eth_arguments *arguments = &eth->arguments;

	/* A longer device name is cut: it serves logs and telemetry only. */
	(void)rte_strscpy(name, eth->dev->data->name, VHU_NAME_SIZE);
	vhu_port_options_init(options);
	options->name = name;
	options->path = arguments->iface;
	options->role = arguments->client ? VHU_ROLE_CLIENT : VHU_ROLE_SERVER;
	options->queue_pairs = arguments->queues;
	options->mtu = arguments->mtu;
	options->offers = vhu_eth_offers(arguments);
	options->features_disabled = vhu_eth_features_disabled(arguments);
	options->socket_mode = arguments->mode;
	options->socket_uid = arguments->owner;
	options->socket_gid = arguments->group;
	options->reconnect_min_ms = arguments->reconnect_min;
	options->reconnect_max_ms = arguments->reconnect_max;
	options->populate = arguments->populate;
	options->call_handover = arguments->call_handover;
	options->histograms = arguments->histograms;
	options->on_event = vhu_eth_event;
	options->on_event_data = eth;
}

int
vhu_eth_open(struct vhu_eth *eth)
{
	struct vhu_port_options options;
	char name[VHU_NAME_SIZE];
	uint16_t pair;
	int result;

	fill_options(eth, name, &options);
	result = vhu_port_create(&options, &eth->port);
	if (result != 0) {
		eth->port = NULL;
		VHU_ETH_LOG(ERR, eth->dev->data->name, "%s", vhu_error_text());
		return result;
	}
	for (pair = 0; pair < eth->arguments.queues; pair++) {
		eth->receive[pair].handle = vhu_port_rx_queue(eth->port, pair);
		eth->transmit[pair].handle = vhu_port_tx_queue(eth->port, pair);
	}
	return 0;
}

void
vhu_eth_shut(struct vhu_eth *eth)
{
	vhu_port_destroy(eth->port);
	eth->port = NULL;
}

static int
allocate(struct rte_eth_dev *dev, struct vhu_eth *eth)
{
	const size_t count = eth->arguments.queues;
	const int socket = dev->data->numa_node;

	eth->receive = rte_zmalloc_socket("vhu receive", count * sizeof(*eth->receive),
		RTE_CACHE_LINE_SIZE, socket);
	eth->transmit = rte_zmalloc_socket("vhu transmit", count * sizeof(*eth->transmit),
		RTE_CACHE_LINE_SIZE, socket);
	dev->data->mac_addrs = rte_zmalloc_socket("vhu mac", sizeof(*dev->data->mac_addrs), 0,
		socket);
	dev->intr_handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
	if (eth->receive == NULL || eth->transmit == NULL || dev->data->mac_addrs == NULL ||
			dev->intr_handle == NULL) {
		VHU_ETH_LOG(ERR, dev->data->name, "not enough memory for %zu queue pairs", count);
		return -ENOMEM;
	}
	return 0;
}

static void
describe(struct rte_eth_dev *dev, struct vhu_eth *eth)
{
	struct rte_eth_dev_data *data = dev->data;

	data->dev_flags |= RTE_ETH_DEV_INTR_LSC;
	data->dev_link.link_duplex = RTE_ETH_LINK_FULL_DUPLEX;
	data->dev_link.link_status = RTE_ETH_LINK_DOWN;
	data->promiscuous = 1;
	data->all_multicast = 1;
	if (eth->arguments.mtu != 0)
		data->mtu = eth->arguments.mtu;
	if (rte_is_zero_ether_addr(&eth->arguments.mac))
		rte_eth_random_addr(data->mac_addrs->addr_bytes);
	else
		rte_ether_addr_copy(&eth->arguments.mac, data->mac_addrs);
	dev->dev_ops = &vhu_eth_ops;
	vhu_eth_set_bursts(dev);
}

static int
create(struct rte_vdev_device *vdev, const struct vhu_eth_arguments *arguments)
{
	struct rte_eth_dev *dev;
	struct vhu_eth *eth;
	int result;

	dev = rte_eth_vdev_allocate(vdev, sizeof(*eth));
	if (dev == NULL) {
		VHU_ETH_LOG(ERR, rte_vdev_device_name(vdev), "no room for one more ethdev port");
		return -ENOMEM;
	}
	eth = vhu_eth_of(dev);
	eth->dev = dev;
	eth->arguments = *arguments;
	result = allocate(dev, eth);
	if (result == 0) {
		describe(dev, eth);
		/* Last: events may come from here on. */
		result = vhu_eth_open(eth);
	}
	if (result != 0) {
		vhu_eth_close(dev);
		rte_eth_dev_release_port(dev);
		return result;
	}
	rte_eth_dev_probing_finish(dev);
	return 0;
}

static int
probe(struct rte_vdev_device *vdev)
{
	const char *name = rte_vdev_device_name(vdev);
	struct vhu_eth_arguments arguments;
	int result;

	if (rte_eal_process_type() != RTE_PROC_PRIMARY) {
		VHU_ETH_LOG(ERR, name, "the guest's memory is mapped in the primary process only;"
			" use the port there");
		return -ENOTSUP;
	}
	result = vhu_eth_read_arguments(name, rte_vdev_device_args(vdev), &arguments);
	if (result != 0)
		return result;
	if (vdev->device.numa_node == SOCKET_ID_ANY)
		vdev->device.numa_node = rte_socket_id();
	return create(vdev, &arguments);
}

static int
remove_device(struct rte_vdev_device *vdev)
{
	struct rte_eth_dev *dev = rte_eth_dev_allocated(rte_vdev_device_name(vdev));

	if (dev == NULL)
		return 0; /* closed before: rte_eth_dev_close() freed everything */
	if (dev->data->dev_started)
		vhu_eth_stop(dev);
	vhu_eth_close(dev);
	return rte_eth_dev_release_port(dev);
}

static struct rte_vdev_driver vhu_driver = {
	.probe = probe,
	.remove = remove_device,
};

RTE_PMD_REGISTER_VDEV(net_vhu, vhu_driver);
RTE_PMD_REGISTER_PARAM_STRING(net_vhu, VHU_ETH_PARAMETERS);
