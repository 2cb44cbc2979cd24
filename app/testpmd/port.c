/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <vhu_net.h>

#include "port.h"
#include "stats.h"

struct port *ports[MAX_PORTS];
struct rte_mempool *mbuf_pool;
static uint64_t last_serial;

bool
mbuf_pool_create(char why[WHY_SIZE])
{
	/* Caches may hold back half as much again as their size, on every lcore. */
	unsigned int cache = settings.mbufs / (4 * (rte_lcore_count() + 1));

	if (cache > RTE_MEMPOOL_CACHE_MAX_SIZE)
		cache = RTE_MEMPOOL_CACHE_MAX_SIZE;
	mbuf_pool = rte_pktmbuf_pool_create("testpmd", settings.mbufs, cache, 0,
		(uint16_t)settings.mbuf_size, SOCKET_ID_ANY);
	if (mbuf_pool == NULL)
		snprintf(why, WHY_SIZE, "no room for %u mbufs of %u bytes (%s): give EAL more "
			"memory (-m MEGABYTES) or lower --mbufs", settings.mbufs,
			settings.mbuf_size,
			rte_strerror(rte_errno));
	return mbuf_pool != NULL;
}

struct port *
port_next(unsigned int id)
{
	while (id < MAX_PORTS && ports[id] == NULL)
		id++;
	return id < MAX_PORTS ? ports[id] : NULL;
}

struct port *
port_find(const char *text, char why[WHY_SIZE])
{
	char ignored[WHY_SIZE];
	uint64_t id;

	PORT_FOREACH(port) {
		struct vhu_port_info info;
		vhu_port_info(port->vhu, &info);
		if (strcmp(info.name, text) == 0)
			return port;
	}
	if (parse_number("port", text, 0, MAX_PORTS - 1, &id, ignored) && ports[id] != NULL)
		return ports[id];
	int used = snprintf(why, WHY_SIZE, "no port '%.32s'; there %s", text,
		port_next(0) == NULL ? "are none" : "are");
	PORT_FOREACH(port) {
		if (used < WHY_SIZE)
			used += snprintf(why + used, WHY_SIZE - used, " %u", port->id);
	}
	return NULL;
}

/* Addresses are made up, locally administered, and differ between ports. */
static struct rte_ether_addr
made_up_address(unsigned int id)
{
	return (struct rte_ether_addr){ { 0x02, 0x76, 0x68, 0x75, 0x00, (uint8_t)id } };
}

static void
port_free(struct port *port)
{
	vhu_port_destroy(port->vhu);
	free(port->rx);
	free(port->tx);
	free(port);
}

static struct queue_counters *
counters_new(unsigned int count)
{
	struct queue_counters *counters =
		aligned_alloc(RTE_CACHE_LINE_SIZE, count * sizeof(*counters));

	if (counters != NULL)
		memset(counters, 0, count * sizeof(*counters));
	return counters;
}

static bool
port_open(struct port *port, char why[WHY_SIZE])
{
	const struct port_spec *spec = &port->spec;
	struct vhu_port_options options;

	vhu_port_options_init(&options);
	options.name = spec->name[0] != '\0' ? spec->name : NULL;
	options.path = spec->path;
	options.role = spec->role;
	options.queue_pairs = spec->queue_pairs;
	options.mtu = spec->mtu;
	options.offers = spec->offers;
	options.features_disabled = spec->features_disabled;
	options.call_handover = spec->call_handover;
	options.histograms = spec->histograms;
	options.socket_mode = spec->socket_mode;
	if (vhu_port_create(&options, &port->vhu) != 0) {
		snprintf(why, WHY_SIZE, "port %s: %s", spec->path, vhu_error_text());
		port->vhu = NULL;
		return false;
	}
	struct vhu_rx_options rx = { .mempool = mbuf_pool, .port_id = (uint16_t)port->id,
		.tx_hints = true };
	for (uint16_t pair = 0; pair < spec->queue_pairs; pair++) {
		if (vhu_rx_queue_setup(vhu_port_rx_queue(port->vhu, pair), &rx) != 0) {
			snprintf(why, WHY_SIZE, "port %s queue %u: %s", spec->path, pair,
				vhu_error_text());
			return false;
		}
	}
	return true;
}

struct port *
port_attach(const struct port_spec *spec, char why[WHY_SIZE])
{
	unsigned int id = 0;

	while (id < MAX_PORTS && ports[id] != NULL)
		id++;
	if (id == MAX_PORTS)
		return snprintf(why, WHY_SIZE, "want at most %u ports", MAX_PORTS), NULL;
	struct port *port = calloc(1, sizeof(*port));
	if (port == NULL)
		return snprintf(why, WHY_SIZE, "out of memory"), NULL;
	port->id = id;
	port->spec = *spec;
	port->address = made_up_address(id);
	port->rx = counters_new(spec->queue_pairs);
	port->tx = counters_new(spec->queue_pairs);
	if (port->rx == NULL || port->tx == NULL) {
		snprintf(why, WHY_SIZE, "out of memory");
		port_free(port);
		return NULL;
	}
	if (!port_open(port, why)) {
		port_free(port);
		return NULL;
	}
	port->serial = ++last_serial;
	port->cleared_time = now_seconds();
	ports[id] = port;
	return port;
}

void
port_detach(struct port *port)
{
	ports[port->id] = NULL;
	port_free(port);
}

void
port_detach_all(void)
{
	while (port_next(0) != NULL)
		port_detach(port_next(0));
}

unsigned int
port_running_tx(const struct port *port, uint16_t pairs[VHU_MAX_QUEUE_PAIRS])
{
	unsigned int count = 0;

	for (uint16_t pair = 0; pair < port->spec.queue_pairs; pair++) {
		struct vhu_queue_info info;
		vhu_queue_info(vhu_port_tx_queue(port->vhu, pair), &info);
		if (info.started && info.enabled && !info.broken)
			pairs[count++] = pair;
	}
	return count;
}
