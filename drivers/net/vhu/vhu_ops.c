/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * What ethdev asks of a device as a whole: configure, start, stop, describe.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include <rte_malloc.h>

#include "vhu_ethdev.h"

#define LONGEST_FRAME (UINT16_MAX + RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN)
#define SMALLEST_DATA_ROOM 128
#define USUAL_DESCRIPTORS 1024
#define USUAL_BURST 32

static int
configure(struct rte_eth_dev *dev)
{
	/*
	 * Counts of queues and offloads were compared with what infos_get() says. Link state
	 * follows events whether or not the application wants interrupts for it.
	 */
	dev->data->scattered_rx = 1;
	return 0;
}

static void
start_queues(struct rte_eth_dev *dev)
{
	const struct vhu_eth *eth = vhu_eth_of(dev);
	uint16_t index;

	for (index = 0; index < dev->data->nb_rx_queues; index++)
		if (!eth->receive[index].deferred)
			vhu_eth_rx_queue_start(dev, index);
	for (index = 0; index < dev->data->nb_tx_queues; index++)
		if (!eth->transmit[index].deferred)
			vhu_eth_tx_queue_start(dev, index);
}

static void
stop_queues(struct rte_eth_dev *dev)
{
	uint16_t index;

	for (index = 0; index < dev->data->nb_rx_queues; index++)
		vhu_eth_rx_queue_stop(dev, index);
	for (index = 0; index < dev->data->nb_tx_queues; index++)
		vhu_eth_tx_queue_stop(dev, index);
}

static int
start(struct rte_eth_dev *dev)
{
	struct vhu_eth *eth = vhu_eth_of(dev);
	uint16_t index;
	int result;

	/* Receive offloads may have changed since the queue was set up (VLAN stripping). */
	for (index = 0; index < dev->data->nb_rx_queues; index++) {
		result = vhu_eth_rx_apply(dev, index);
		if (result != 0)
			return result;
	}
	if (dev->data->dev_conf.intr_conf.rxq) {
		result = vhu_eth_interrupts_on(dev);
		if (result != 0)
			return result;
	}
	start_queues(dev);
	__atomic_store_n(&eth->started, 1, __ATOMIC_SEQ_CST);
	vhu_eth_refresh_link(eth);
	return 0;
}

int
vhu_eth_stop(struct rte_eth_dev *dev)
{
	struct vhu_eth *eth = vhu_eth_of(dev);

	__atomic_store_n(&eth->started, 0, __ATOMIC_SEQ_CST);
	stop_queues(dev);
	vhu_eth_interrupts_off(dev);
	dev->data->dev_started = 0;
	vhu_eth_refresh_link(eth);
	return 0;
}

int
vhu_eth_close(struct rte_eth_dev *dev)
{
	struct vhu_eth *eth = vhu_eth_of(dev);

	if (eth == NULL)
		return 0;
	vhu_eth_shut(eth);
	vhu_eth_interrupts_off(dev);
	rte_intr_instance_free(dev->intr_handle);
	dev->intr_handle = NULL;
	rte_free(eth->receive);
	rte_free(eth->transmit);
	eth->receive = NULL;
	eth->transmit = NULL;
	return 0; /* ethdev frees private data and addresses */
}

static uint64_t
receive_offloads(const struct vhu_eth *eth)
{
	uint64_t offloads = RTE_ETH_RX_OFFLOAD_SCATTER | RTE_ETH_RX_OFFLOAD_VLAN_STRIP |
		RTE_ETH_RX_OFFLOAD_UDP_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM;

	if (eth->arguments.tso)
		offloads |= RTE_ETH_RX_OFFLOAD_TCP_LRO;
	return offloads;
}

static uint64_t
transmit_offloads(const struct vhu_eth *eth)
{
	/*
	 * Checksums and VLAN tags are made in software where the guest does not take the request.
	 */
	uint64_t offloads = RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_VLAN_INSERT |
		RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM |
		RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;

	if (eth->arguments.tso)
		offloads |= RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_UDP_TSO;
	return offloads;
}

static int
infos_get(struct rte_eth_dev *dev, struct rte_eth_dev_info *info)
{
	const struct vhu_eth *eth = vhu_eth_of(dev);
	/* The guest chooses the size of its rings; any wish is accepted. */
	const struct rte_eth_desc_lim any = { .nb_max = 32768, .nb_min = 1, .nb_align = 1,
		.nb_seg_max = UINT16_MAX, .nb_mtu_seg_max = UINT16_MAX };
	const struct rte_eth_dev_portconf usual = { .burst_size = USUAL_BURST,
		.ring_size = USUAL_DESCRIPTORS, .nb_queues = eth->arguments.queues };

	info->max_rx_queues = eth->arguments.queues;
	info->max_tx_queues = eth->arguments.queues;
	info->max_mac_addrs = 1;
	info->min_mtu = RTE_ETHER_MIN_MTU;
	info->max_mtu = UINT16_MAX;
	info->max_rx_pktlen = LONGEST_FRAME;
	info->min_rx_bufsize = SMALLEST_DATA_ROOM;
	if (eth->arguments.tso)
		info->max_lro_pkt_size = LONGEST_FRAME;
	info->rx_offload_capa = receive_offloads(eth);
	info->rx_queue_offload_capa = RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
	info->tx_offload_capa = transmit_offloads(eth);
	info->tx_queue_offload_capa = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	info->dev_capa &= ~RTE_ETH_DEV_CAPA_FLOW_RULE_KEEP;
	info->rx_desc_lim = any;
	info->tx_desc_lim = any;
	info->default_rxportconf = usual;
	info->default_txportconf = usual;
	return 0;
}

/* Each frame that the guest sends is delivered and each frame for it is given to it. */
static int
everything_passes(struct rte_eth_dev *dev __rte_unused)
{
	return 0;
}

static int
mac_addr_set(struct rte_eth_dev *dev __rte_unused, struct rte_ether_addr *address __rte_unused)
{
	return 0; /* ethdev keeps it; no frame is refused because of its address */
}

static int
mtu_set(struct rte_eth_dev *dev __rte_unused, uint16_t mtu __rte_unused)
{
	/*
	 * Rings carry any frame that fits into the guest's buffers. What the guest is told is
	 * decided when the socket is made (argument mtu): vhost-user cannot change it later.
	 */
	return 0;
}

static int
vlan_offload_set(struct rte_eth_dev *dev, int mask)
{
	uint16_t index;
	int result;

	if ((mask & RTE_ETH_VLAN_STRIP_MASK) == 0)
		return 0;
	if (dev->data->dev_started) {
		VHU_ETH_LOG(ERR, dev->data->name,
			"VLAN stripping cannot change while the port runs; stop it first");
		return -EBUSY;
	}
	for (index = 0; index < dev->data->nb_rx_queues; index++) {
		result = vhu_eth_rx_apply(dev, index);
		if (result != 0)
			return result;
	}
	return 0;
}

static void
dump_features(const char *title, uint64_t features, const char *(*name)(unsigned int bit),
	FILE *file)
{
	unsigned int bit;

	fprintf(file, "  %s:", title);
	for (bit = 0; bit < 64; bit++)
		if (features & (UINT64_C(1) << bit))
			fprintf(file, " %s", name(bit));
	fprintf(file, "\n");
}

static int
private_dump(struct rte_eth_dev *dev, FILE *file)
{
	const struct vhu_eth *eth = vhu_eth_of(dev);
	struct vhu_port_info info;
	int result;

	result = vhu_port_info(eth->port, &info);
	if (result != 0)
		return result;
	fprintf(file, "  socket: %s (%s)\n", info.path,
		info.role == VHU_ROLE_CLIENT ? "client" : "server");
	fprintf(file, "  connected: %s, connections so far: %" PRIu64 "\n",
		info.connected ? "yes" : "no", info.connections);
	fprintf(file, "  queue pairs: %u, running: %u, header: %u bytes, guest MTU: %u\n",
		info.queue_pairs, info.queue_pairs_running, info.header_size, info.mtu);
	fprintf(file, "  memory: %u regions, %" PRIu64 " bytes\n", info.memory_regions,
		info.memory_bytes);
	fprintf(file, "  messages: %" PRIu64 ", refused: %" PRIu64 "%s%s\n", info.messages,
		info.refusals, info.refusals > 0 ? ", last: " : "", info.last_refusal);
	dump_features("features offered", info.features_offered, vhu_feature_name, file);
	dump_features("features accepted", info.features, vhu_feature_name, file);
	dump_features("protocol features", info.protocol_features, vhu_protocol_feature_name, file);
	return 0;
}

const struct eth_dev_ops vhu_eth_ops = {
	.dev_configure = configure,
	.dev_start = start,
	.dev_stop = vhu_eth_stop,
	.dev_close = vhu_eth_close,
	.dev_infos_get = infos_get,
	.link_update = vhu_eth_link_update,
	.promiscuous_enable = everything_passes,
	.promiscuous_disable = everything_passes,
	.allmulticast_enable = everything_passes,
	.allmulticast_disable = everything_passes,
	.mac_addr_set = mac_addr_set,
	.mtu_set = mtu_set,
	.vlan_offload_set = vlan_offload_set,
	.rx_queue_setup = vhu_eth_rx_queue_setup,
	.rx_queue_release = vhu_eth_rx_queue_release,
	.rx_queue_start = vhu_eth_rx_queue_start,
	.rx_queue_stop = vhu_eth_rx_queue_stop,
	.rx_queue_intr_enable = vhu_eth_rx_interrupt_enable,
	.rx_queue_intr_disable = vhu_eth_rx_interrupt_disable,
	.rxq_info_get = vhu_eth_rxq_info,
	.rx_burst_mode_get = vhu_eth_rx_burst_mode,
	.tx_queue_setup = vhu_eth_tx_queue_setup,
	.tx_queue_release = vhu_eth_tx_queue_release,
	.tx_queue_start = vhu_eth_tx_queue_start,
	.tx_queue_stop = vhu_eth_tx_queue_stop,
	.txq_info_get = vhu_eth_txq_info,
	.tx_burst_mode_get = vhu_eth_tx_burst_mode,
	.tx_done_cleanup = vhu_eth_tx_done_cleanup,
	.stats_get = vhu_eth_stats_get,
	.stats_reset = vhu_eth_stats_reset,
	.xstats_get_names = vhu_eth_xstats_names,
	.xstats_get = vhu_eth_xstats_get,
	.xstats_reset = vhu_eth_stats_reset,
	.eth_dev_priv_dump = private_dump,
};
