/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_ETHDEV_H
#define VHU_ETHDEV_H

/**
 * @file
 * net_vhu: a vhu port behind the interface of a network card.
 *
 * The driver translates and holds as little as possible. A vdev is probed: its arguments become a
 * vhu port, whose socket exists from then on. ethdev's queues are those of the port; a burst is one
 * call into the library. What the guest does arrives as events on vhu's control thread and becomes
 * link state and ethdev events.
 *
 * Three kinds of threads come by: application threads that configure (ethdev wants one at a time
 * per port), lcores that burst, and the control thread that brings events.
 */

#include <stdbool.h>
#include <stdint.h>

#include <ethdev_driver.h>
#include <rte_log.h>

#include <vhu.h>
#include <vhu_net.h>

/** One line about a device in the log of this driver. */
#define VHU_ETH_LOG(level, name, ...) \
	VHU_ETH_LOG_LINE(level, name, __VA_ARGS__, "")
#define VHU_ETH_LOG_LINE(level, name, format, ...) \
	rte_log(RTE_LOG_##level, vhu_eth_log_type, "net_vhu: %s: " format "%s\n", name, __VA_ARGS__)

extern int vhu_eth_log_type;

/** What the arguments of a device say. Numbers share a type: one table describes them. */
struct vhu_eth_arguments {
	char iface[VHU_PATH_SIZE];
	uint64_t queues;
	uint64_t client;
	uint64_t mtu;
	uint64_t mode;
	int64_t owner;
	int64_t group;
	uint64_t csum;
	uint64_t tso;
	uint64_t offers[VHU_OFFERS]; /**< enum vhu_offer: made or not */
	uint64_t features_off;
	uint64_t populate;
	uint64_t call_handover;
	uint64_t tx_hints;
	uint64_t histograms;
	uint64_t reconnect_min;
	uint64_t reconnect_max;
	struct rte_ether_addr mac; /**< all zero: choose one */
};

/** What ethdev calls a queue: one direction of one pair. */
struct vhu_eth_queue {
	struct vhu_queue *handle;
	uint8_t started;           /**< configuring thread writes, lcore reads; atomic, relaxed */
	bool deferred;             /**< not started together with the device */
	uint16_t descriptors;      /**< that the application asked for; the guest decides */
	uint64_t offloads;
	struct rte_mempool *pool;  /**< receive queues */
} __attribute__((aligned(RTE_CACHE_LINE_SIZE)));

/** One device. */
struct vhu_eth {
	struct rte_eth_dev *dev;
	struct vhu_port *port;
	struct vhu_eth_arguments arguments;
	struct vhu_eth_queue *receive;  /**< arguments.queues of them */
	struct vhu_eth_queue *transmit;
	uint8_t guest_up;  /**< control thread writes, whoever asks for the link reads; atomic */
	uint8_t started;   /**< configuring thread writes, control thread reads; atomic */
	bool interrupts;   /**< the wait descriptors are in the device's interrupt handle */
};

static inline struct vhu_eth *
vhu_eth_of(const struct rte_eth_dev *dev)
{
	return dev->data->dev_private;
}

/* vhu_args.c */

/** The arguments that there are, for the tools that list drivers. */
#define VHU_ETH_PARAMETERS \
	"iface=<path> queues=<1-128> client=<0|1> mtu=<68-65535> mac=<address> " \
	"mode=<octal> owner=<user> group=<group> csum=<0|1> tso=<0|1> mergeable=<0|1> " \
	"packed=<0|1> in-order=<0|1> event-idx=<0|1> indirect=<0|1> " \
	"iommu-support=<0|1> postcopy-support=<0|1> inflight=<0|1> log=<0|1> " \
	"control-queue=<0|1> hash=<0|1> announce=<0|1> in-band=<0|1> " \
	"ring-reset=<0|1> " \
	"features-off=<mask> populate=<0|1> call-handover=<0|1> tx-hints=<0|1> " \
	"reconnect-min=<ms> reconnect-max=<ms>"

/**
 * Read device arguments. What is wrong, and what is allowed, goes to the log as one line.
 * @return 0 or -EINVAL.
 */
int vhu_eth_read_arguments(const char *name, const char *text, struct vhu_eth_arguments *arguments);
/** Offers that these arguments make, as vhu_port_options.offers. */
uint32_t vhu_eth_offers(const struct vhu_eth_arguments *arguments);
/** Virtio features that these arguments take away, as a mask. */
uint64_t vhu_eth_features_disabled(const struct vhu_eth_arguments *arguments);

/* vhu_ethdev.c */

/** Create the vhu port and point the queues at it. @return 0 or -errno, explained in the log. */
int vhu_eth_open(struct vhu_eth *eth);
/** Destroy the vhu port; everything that bursts has stopped. No event comes after it. */
void vhu_eth_shut(struct vhu_eth *eth);

/* vhu_ops.c */

extern const struct eth_dev_ops vhu_eth_ops;

/** Start or stop all queues and the device. @return 0 or -errno. */
int vhu_eth_stop(struct rte_eth_dev *dev);
int vhu_eth_close(struct rte_eth_dev *dev);

/* vhu_rxtx.c */

/** Install burst functions and the queries that lcores make. */
void vhu_eth_set_bursts(struct rte_eth_dev *dev);
int vhu_eth_rx_queue_setup(struct rte_eth_dev *dev, uint16_t index, uint16_t descriptors,
	unsigned int socket, const struct rte_eth_rxconf *conf, struct rte_mempool *pool);
int vhu_eth_tx_queue_setup(struct rte_eth_dev *dev, uint16_t index, uint16_t descriptors,
	unsigned int socket, const struct rte_eth_txconf *conf);
void vhu_eth_rx_queue_release(struct rte_eth_dev *dev, uint16_t index);
void vhu_eth_tx_queue_release(struct rte_eth_dev *dev, uint16_t index);
int vhu_eth_rx_queue_start(struct rte_eth_dev *dev, uint16_t index);
int vhu_eth_rx_queue_stop(struct rte_eth_dev *dev, uint16_t index);
int vhu_eth_tx_queue_start(struct rte_eth_dev *dev, uint16_t index);
int vhu_eth_tx_queue_stop(struct rte_eth_dev *dev, uint16_t index);
void vhu_eth_rxq_info(struct rte_eth_dev *dev, uint16_t index, struct rte_eth_rxq_info *info);
void vhu_eth_txq_info(struct rte_eth_dev *dev, uint16_t index, struct rte_eth_txq_info *info);
int vhu_eth_rx_burst_mode(struct rte_eth_dev *dev, uint16_t index,
	struct rte_eth_burst_mode *mode);
int vhu_eth_tx_burst_mode(struct rte_eth_dev *dev, uint16_t index,
	struct rte_eth_burst_mode *mode);
int vhu_eth_tx_done_cleanup(void *queue, uint32_t count);
/** Give the options of a receive queue to the library again, after a change. */
int vhu_eth_rx_apply(struct rte_eth_dev *dev, uint16_t index);

/* vhu_intr.c */

/** Make the wait descriptors of the configured receive queues the device's interrupts. */
int vhu_eth_interrupts_on(struct rte_eth_dev *dev);
void vhu_eth_interrupts_off(struct rte_eth_dev *dev);
int vhu_eth_rx_interrupt_enable(struct rte_eth_dev *dev, uint16_t index);
int vhu_eth_rx_interrupt_disable(struct rte_eth_dev *dev, uint16_t index);

/* vhu_stats.c */

#ifdef VHU_ETH_STATS_BY_QUEUE
int vhu_eth_stats_get(struct rte_eth_dev *dev, struct rte_eth_stats *stats,
	struct eth_queue_stats *by_queue);
#else
int vhu_eth_stats_get(struct rte_eth_dev *dev, struct rte_eth_stats *stats);
#endif
int vhu_eth_stats_reset(struct rte_eth_dev *dev);
int vhu_eth_xstats_names(struct rte_eth_dev *dev, struct rte_eth_xstat_name *names,
	unsigned int size);
int vhu_eth_xstats_get(struct rte_eth_dev *dev, struct rte_eth_xstat *stats, unsigned int size);

/* vhu_events.c */

/** vhu's callback: an event of the port. Control thread. */
void vhu_eth_event(struct vhu_port *port, const struct vhu_event *event, void *data);
/** Bring the link state of ethdev up to date. Any thread. @return 0 if it changed, else -1. */
int vhu_eth_refresh_link(struct vhu_eth *eth);
int vhu_eth_link_update(struct rte_eth_dev *dev, int wait);

#endif /* VHU_ETHDEV_H */
