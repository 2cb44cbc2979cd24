/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Statistics: the library's counters under ethdev's names. They exist for each queue of the port
 * from the beginning, so that names and identifiers never change.
 */

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "vhu_ethdev.h"

struct counter {
	const char *name;
	size_t field;      /* offset in struct vhu_queue_stats */
};

static const struct counter counters[] = {
	{ "packets", offsetof(struct vhu_queue_stats, packets) },
	{ "bytes", offsetof(struct vhu_queue_stats, bytes) },
	{ "bursts", offsetof(struct vhu_queue_stats, bursts) },
	{ "empty_bursts", offsetof(struct vhu_queue_stats, empty) },
	{ "mbuf_failures", offsetof(struct vhu_queue_stats, mbuf_failures) },
	{ "calls", offsetof(struct vhu_queue_stats, calls) },
	{ "calls_suppressed", offsetof(struct vhu_queue_stats, calls_suppressed) },
};

/* After the counters: drops by reason, histograms if there are any, what the ring is like now. */
static const char *const states[] = { "running", "broken" };

#define MOST_PER_QUEUE (RTE_DIM(counters) + VHU_DROPS + VHU_HISTOGRAMS + RTE_DIM(states))

static unsigned int
count_all(const struct vhu_eth *eth)
{
	const unsigned int without = eth->arguments.histograms ? 0 : VHU_HISTOGRAMS;

	return eth->arguments.queues * 2 * (MOST_PER_QUEUE - without);
}

static uint64_t
dropped(const struct vhu_queue_stats *stats)
{
	uint64_t sum = 0;
	unsigned int reason;

	for (reason = 0; reason < VHU_DROPS; reason++)
		sum += stats->drops[reason];
	return sum;
}

#ifdef VHU_ETH_STATS_BY_QUEUE
#define QUEUE_STATS struct eth_queue_stats
#else
#define QUEUE_STATS struct rte_eth_stats
#endif

static void
add_receive(const struct vhu_eth *eth, uint16_t pair, struct rte_eth_stats *stats,
	QUEUE_STATS *by_queue)
{
	struct vhu_queue_stats from;

	vhu_queue_stats(eth->receive[pair].handle, &from);
	stats->ipackets += from.packets;
	stats->ibytes += from.bytes;
	stats->ierrors += dropped(&from);
	stats->rx_nombuf += from.mbuf_failures;
	if (by_queue == NULL || pair >= RTE_ETHDEV_QUEUE_STAT_CNTRS)
		return;
	by_queue->q_ipackets[pair] = from.packets;
	by_queue->q_ibytes[pair] = from.bytes;
	by_queue->q_errors[pair] = dropped(&from);
}

static void
add_transmit(const struct vhu_eth *eth, uint16_t pair, struct rte_eth_stats *stats,
	QUEUE_STATS *by_queue)
{
	struct vhu_queue_stats from;

	vhu_queue_stats(eth->transmit[pair].handle, &from);
	stats->opackets += from.packets;
	stats->obytes += from.bytes;
	stats->oerrors += dropped(&from);
	if (by_queue == NULL || pair >= RTE_ETHDEV_QUEUE_STAT_CNTRS)
		return;
	by_queue->q_opackets[pair] = from.packets;
	by_queue->q_obytes[pair] = from.bytes;
}

static int
get_stats(struct rte_eth_dev *dev, struct rte_eth_stats *stats, QUEUE_STATS *by_queue)
{
	const struct vhu_eth *eth = vhu_eth_of(dev);
	uint16_t pair;

	for (pair = 0; pair < eth->arguments.queues; pair++) {
		add_receive(eth, pair, stats, by_queue);
		add_transmit(eth, pair, stats, by_queue);
	}
	return 0;
}

#ifdef VHU_ETH_STATS_BY_QUEUE
int
vhu_eth_stats_get(struct rte_eth_dev *dev, struct rte_eth_stats *stats,
	struct eth_queue_stats *by_queue)
{
	return get_stats(dev, stats, by_queue);
}
#else
int
vhu_eth_stats_get(struct rte_eth_dev *dev, struct rte_eth_stats *stats)
{
	return get_stats(dev, stats, stats);
}
#endif

int
vhu_eth_stats_reset(struct rte_eth_dev *dev)
{
	const struct vhu_eth *eth = vhu_eth_of(dev);
	uint16_t pair;

	for (pair = 0; pair < eth->arguments.queues; pair++) {
		vhu_queue_stats_reset(eth->receive[pair].handle);
		vhu_queue_stats_reset(eth->transmit[pair].handle);
	}
	return 0;
}

static unsigned int
name_queue(const struct vhu_eth *eth, struct rte_eth_xstat_name *names, const char *direction,
	uint16_t pair)
{
	unsigned int row;
	unsigned int at = 0;

	for (row = 0; row < RTE_DIM(counters); row++)
		(void)snprintf(names[at++].name, RTE_ETH_XSTATS_NAME_SIZE, "%s_q%u_%s", direction,
			pair, counters[row].name);
	for (row = 0; row < VHU_DROPS; row++)
		(void)snprintf(names[at++].name, RTE_ETH_XSTATS_NAME_SIZE, "%s_q%u_drop_%s",
			direction, pair, vhu_drop_name(row));
	for (row = 0; eth->arguments.histograms && row < VHU_HISTOGRAMS; row++)
		(void)snprintf(names[at++].name, RTE_ETH_XSTATS_NAME_SIZE, "%s_q%u_%s", direction,
			pair, vhu_histogram_name(row));
	for (row = 0; row < RTE_DIM(states); row++)
		(void)snprintf(names[at++].name, RTE_ETH_XSTATS_NAME_SIZE, "%s_q%u_%s", direction,
			pair, states[row]);
	return at;
}

static unsigned int
read_queue(const struct vhu_eth *eth, struct vhu_queue *queue, uint64_t values[MOST_PER_QUEUE])
{
	struct vhu_queue_histograms histograms;
	struct vhu_queue_stats stats;
	struct vhu_queue_info info;
	unsigned int row;
	unsigned int at = 0;

	vhu_queue_stats(queue, &stats);
	for (row = 0; row < RTE_DIM(counters); row++)
		memcpy(&values[at++], (const char *)&stats + counters[row].field, sizeof(*values));
	for (row = 0; row < VHU_DROPS; row++)
		values[at++] = stats.drops[row];
	if (eth->arguments.histograms) {
		vhu_queue_histograms(queue, &histograms);
		memcpy(&values[at], histograms.counts, sizeof(histograms.counts));
		at += VHU_HISTOGRAMS;
	}
	memset(&info, 0, sizeof(info));
	(void)vhu_queue_info(queue, &info);
	values[at++] = info.started && info.enabled && !info.broken;
	values[at++] = info.broken;
	return at;
}

int
vhu_eth_xstats_names(struct rte_eth_dev *dev, struct rte_eth_xstat_name *names,
	unsigned int size)
{
	const struct vhu_eth *eth = vhu_eth_of(dev);
	const unsigned int count = count_all(eth);
	unsigned int at = 0;
	uint16_t pair;

	if (names == NULL || size < count)
		return count;
	for (pair = 0; pair < eth->arguments.queues; pair++)
		at += name_queue(eth, names + at, "rx", pair);
	for (pair = 0; pair < eth->arguments.queues; pair++)
		at += name_queue(eth, names + at, "tx", pair);
	return at;
}

static unsigned int
put_queue(const struct vhu_eth *eth, struct vhu_queue *queue, struct rte_eth_xstat *stats,
	unsigned int first)
{
	uint64_t values[MOST_PER_QUEUE];
	const unsigned int count = read_queue(eth, queue, values);
	unsigned int row;

	for (row = 0; row < count; row++) {
		stats[first + row].id = first + row;
		stats[first + row].value = values[row];
	}
	return count;
}

int
vhu_eth_xstats_get(struct rte_eth_dev *dev, struct rte_eth_xstat *stats, unsigned int size)
{
	const struct vhu_eth *eth = vhu_eth_of(dev);
	const unsigned int count = count_all(eth);
	unsigned int at = 0;
	uint16_t pair;

	if (stats == NULL || size < count)
		return count;
	for (pair = 0; pair < eth->arguments.queues; pair++)
		at += put_queue(eth, eth->receive[pair].handle, stats, at);
	for (pair = 0; pair < eth->arguments.queues; pair++)
		at += put_queue(eth, eth->transmit[pair].handle, stats, at);
	return at;
}
