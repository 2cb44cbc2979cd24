/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Queues and bursts. A burst is one call into the library: counting, notifying and all work per
 * packet is done there.
 */

#include <errno.h>
#include <stdio.h>

#include <rte_branch_prediction.h>

#include "vhu_ethdev.h"

/* Some queries of ethdev changed their type between releases; this says "whatever it is here". */
#define RETURNED_BY(type) __typeof__(((type)NULL)(NULL))

static uint16_t
receive_burst(void *handle, struct rte_mbuf **packets, uint16_t count)
{
	const struct vhu_eth_queue *queue = handle;

	/* Partner: set_started(). Only a late burst of the application can meet it. */
	if (unlikely(!__atomic_load_n(&queue->started, __ATOMIC_RELAXED)))
		return 0;
	return vhu_rx_burst(queue->handle, packets, count);
}

static uint16_t
transmit_burst(void *handle, struct rte_mbuf **packets, uint16_t count)
{
	const struct vhu_eth_queue *queue = handle;

	/* Partner: set_started(). */
	if (unlikely(!__atomic_load_n(&queue->started, __ATOMIC_RELAXED)))
		return 0;
	return vhu_tx_burst(queue->handle, packets, count);
}

static RETURNED_BY(eth_rx_queue_count_t)
receive_count(void *handle)
{
	const struct vhu_eth_queue *queue = handle;

	return vhu_queue_count(queue->handle);
}

static int
receive_descriptor_status(void *handle, uint16_t offset)
{
	const struct vhu_eth_queue *queue = handle;

	return offset < vhu_queue_count(queue->handle) ? RTE_ETH_RX_DESC_DONE :
		RTE_ETH_RX_DESC_AVAIL;
}

void
vhu_eth_set_bursts(struct rte_eth_dev *dev)
{
	dev->rx_pkt_burst = receive_burst;
	dev->tx_pkt_burst = transmit_burst;
	dev->rx_queue_count = receive_count;
	dev->rx_descriptor_status = receive_descriptor_status;
}

int
vhu_eth_rx_apply(struct rte_eth_dev *dev, uint16_t index)
{
	const struct vhu_eth *eth = vhu_eth_of(dev);
	const struct vhu_eth_queue *queue = &eth->receive[index];
	const uint64_t checksums = RTE_ETH_RX_OFFLOAD_UDP_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
	const uint64_t offloads = queue->offloads | dev->data->dev_conf.rxmode.offloads;
	const struct vhu_rx_options options = {
		.mempool = queue->pool,
		.port_id = dev->data->port_id,
		.vlan_strip = (offloads & RTE_ETH_RX_OFFLOAD_VLAN_STRIP) != 0,
		.tx_hints = eth->arguments.tx_hints,
		/* An application that did not ask for checksum flags will not look at them. */
		.complete_checksum = (offloads & checksums) == 0 && !eth->arguments.tx_hints,
	};
	int result;

	result = vhu_rx_queue_setup(queue->handle, &options);
	if (result != 0)
		VHU_ETH_LOG(ERR, dev->data->name, "receive queue %u: %s", index, vhu_error_text());
	return result;
}

int
vhu_eth_rx_queue_setup(struct rte_eth_dev *dev, uint16_t index, uint16_t descriptors,
	unsigned int socket __rte_unused, const struct rte_eth_rxconf *conf,
	struct rte_mempool *pool)
{
	struct vhu_eth_queue *queue = &vhu_eth_of(dev)->receive[index];

	queue->pool = pool;
	queue->descriptors = descriptors;
	queue->deferred = conf->rx_deferred_start;
	queue->offloads = conf->offloads;
	dev->data->rx_queues[index] = queue;
	return vhu_eth_rx_apply(dev, index);
}

int
vhu_eth_tx_queue_setup(struct rte_eth_dev *dev, uint16_t index, uint16_t descriptors,
	unsigned int socket __rte_unused, const struct rte_eth_txconf *conf)
{
	struct vhu_eth_queue *queue = &vhu_eth_of(dev)->transmit[index];

	queue->descriptors = descriptors;
	queue->deferred = conf->tx_deferred_start;
	queue->offloads = conf->offloads;
	dev->data->tx_queues[index] = queue;
	return 0;
}

/* Queues live as long as the device; releasing one forgets what the application said about it. */
void
vhu_eth_rx_queue_release(struct rte_eth_dev *dev, uint16_t index)
{
	struct vhu_eth_queue *queue = dev->data->rx_queues[index];

	if (queue == NULL)
		return;
	queue->pool = NULL;
	dev->data->rx_queues[index] = NULL;
}

void
vhu_eth_tx_queue_release(struct rte_eth_dev *dev, uint16_t index)
{
	dev->data->tx_queues[index] = NULL;
}

/* Partner: the loads in the burst functions. The application keeps lcores away meanwhile. */
static void
set_started(struct vhu_eth_queue *queue, uint8_t *state, bool started)
{
	__atomic_store_n(&queue->started, started, __ATOMIC_RELAXED);
	*state = started ? RTE_ETH_QUEUE_STATE_STARTED : RTE_ETH_QUEUE_STATE_STOPPED;
}

int
vhu_eth_rx_queue_start(struct rte_eth_dev *dev, uint16_t index)
{
	set_started(&vhu_eth_of(dev)->receive[index], &dev->data->rx_queue_state[index], true);
	return 0;
}

int
vhu_eth_rx_queue_stop(struct rte_eth_dev *dev, uint16_t index)
{
	set_started(&vhu_eth_of(dev)->receive[index], &dev->data->rx_queue_state[index], false);
	return 0;
}

int
vhu_eth_tx_queue_start(struct rte_eth_dev *dev, uint16_t index)
{
	set_started(&vhu_eth_of(dev)->transmit[index], &dev->data->tx_queue_state[index], true);
	return 0;
}

int
vhu_eth_tx_queue_stop(struct rte_eth_dev *dev, uint16_t index)
{
	set_started(&vhu_eth_of(dev)->transmit[index], &dev->data->tx_queue_state[index], false);
	return 0;
}

/* The size of the guest's ring once it is known, until then what the application asked for. */
static uint16_t
descriptors_of(const struct vhu_eth_queue *queue)
{
	struct vhu_queue_info info;

	if (vhu_queue_info(queue->handle, &info) == 0 && info.size != 0)
		return info.size;
	return queue->descriptors;
}

void
vhu_eth_rxq_info(struct rte_eth_dev *dev, uint16_t index, struct rte_eth_rxq_info *info)
{
	const struct vhu_eth_queue *queue = dev->data->rx_queues[index];

	info->mp = queue->pool;
	info->scattered_rx = dev->data->scattered_rx;
	info->nb_desc = descriptors_of(queue);
	info->conf.rx_deferred_start = queue->deferred;
	info->conf.offloads = queue->offloads;
}

void
vhu_eth_txq_info(struct rte_eth_dev *dev, uint16_t index, struct rte_eth_txq_info *info)
{
	const struct vhu_eth_queue *queue = dev->data->tx_queues[index];

	info->nb_desc = descriptors_of(queue);
	info->conf.tx_deferred_start = queue->deferred;
	info->conf.offloads = queue->offloads;
}

static int
burst_mode(const struct vhu_eth_queue *queue, struct rte_eth_burst_mode *mode)
{
	struct vhu_queue_info info;
	int result;

	result = vhu_queue_info(queue->handle, &info);
	if (result != 0)
		return result;
	(void)snprintf(mode->info, sizeof(mode->info), "%s",
		info.body[0] != '\0' ? info.body : "waiting for the guest");
	return 0;
}

int
vhu_eth_rx_burst_mode(struct rte_eth_dev *dev, uint16_t index, struct rte_eth_burst_mode *mode)
{
	return burst_mode(&vhu_eth_of(dev)->receive[index], mode);
}

int
vhu_eth_tx_burst_mode(struct rte_eth_dev *dev, uint16_t index, struct rte_eth_burst_mode *mode)
{
	return burst_mode(&vhu_eth_of(dev)->transmit[index], mode);
}

int
vhu_eth_tx_done_cleanup(void *queue __rte_unused, uint32_t count __rte_unused)
{
	return 0; /* a burst frees what it took: nothing is ever left to clean */
}
