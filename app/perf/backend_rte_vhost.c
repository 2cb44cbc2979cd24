/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * librte_vhost on its public interface, set up as its guide advises: compliant offload flags, and
 * guests that need not notify a back-end that polls. Its bursts do not free what they have sent,
 * so that is done here, in bulk.
 */

#include <stdio.h>
#include <string.h>

#include <rte_vhost.h>

#include "perf.h"

/* Virtqueues by their number in the device. */
#define GUEST_RECEIVES 0
#define GUEST_TRANSMITS 1

/* Ports by socket: its callbacks know nothing else. Written while no slice runs. */
static struct perf_port *open_ports[PERF_MAX_IDLE + 2];

static struct perf_port **
find(const char *path)
{
	unsigned int i;

	for (i = 0; i < RTE_DIM(open_ports); i++)
		if (path == NULL ? open_ports[i] == NULL :
				open_ports[i] != NULL && strcmp(open_ports[i]->path, path) == 0)
			return &open_ports[i];
	return NULL;
}

static struct perf_port *
port_of(int device)
{
	struct perf_port **found;
	char path[108];

	if (rte_vhost_get_ifname(device, path, sizeof(path)) != 0)
		return NULL;
	found = find(path);
	return found != NULL ? *found : NULL;
}

static int
new_device(int device)
{
	struct perf_port *port = port_of(device);

	if (port == NULL)
		return -1;
	rte_vhost_enable_guest_notification(device, GUEST_RECEIVES, 0);
	rte_vhost_enable_guest_notification(device, GUEST_TRANSMITS, 0);
	/* Read by ready(); on its thread before the front-end's next reply. */
	__atomic_store_n(&port->number, device, __ATOMIC_RELEASE);
	return 0;
}

static void
destroy_device(int device)
{
	struct perf_port *port = port_of(device);

	if (port != NULL)
		__atomic_store_n(&port->number, -1, __ATOMIC_RELEASE);
}

static const struct rte_vhost_device_ops ops = {
	.new_device = new_device,
	.destroy_device = destroy_device,
};

static int
open_port(struct perf_port *port, const char *path, const struct perf_row *row)
{
	uint64_t flags = RTE_VHOST_USER_NET_COMPLIANT_OL_FLAGS;
	struct perf_port **entry = find(NULL);

	if (row->iommu)
		flags |= RTE_VHOST_USER_IOMMU_SUPPORT;
	if (row->statistics)
		flags |= RTE_VHOST_USER_NET_STATS_ENABLE;
	port->number = -1;
	if (entry == NULL || rte_vhost_driver_register(path, flags) != 0) {
		snprintf(perf_error, sizeof(perf_error), "rte_vhost takes no socket at %s", path);
		return -1;
	}
	*entry = port;
	if (rte_vhost_driver_callback_register(path, &ops) == 0 &&
			rte_vhost_driver_start(path) == 0)
		return 0;
	snprintf(perf_error, sizeof(perf_error), "rte_vhost does not start at %s", path);
	rte_vhost_driver_unregister(path);
	*entry = NULL;
	return -1;
}

static void
close_port(struct perf_port *port)
{
	struct perf_port **entry = find(port->path);

	rte_vhost_driver_unregister(port->path);
	if (entry != NULL)
		*entry = NULL;
}

static bool
ready(struct perf_port *port)
{
	return __atomic_load_n(&port->number, __ATOMIC_ACQUIRE) >= 0;
}

static uint16_t
receive(struct perf_port *port, struct rte_mbuf **packets, uint16_t count)
{
	return rte_vhost_dequeue_burst(port->number, GUEST_TRANSMITS, port->mempool, packets,
		count);
}

PERF_POLL(receive)

static uint16_t
transmit(struct perf_port *port, struct rte_mbuf **packets, uint16_t count)
{
	uint16_t sent = rte_vhost_enqueue_burst(port->number, GUEST_RECEIVES, packets, count);

	rte_pktmbuf_free_bulk(packets, sent);
	return sent;
}

/*
 * The library's thread polls the sockets that it knew when it went to sleep: a new one waits until
 * something happens at another, or for a second. So there is another, at which something happens.
 */
static char bell[sizeof(((struct perf_options *)NULL)->folder) + 16];

void
perf_rte_vhost_wake(const char *folder)
{
	struct front ringing;

	if (bell[0] == '\0') {
		snprintf(bell, sizeof(bell), "%s/bell.sock", folder);
		if (rte_vhost_driver_register(bell, 0) != 0 ||
				rte_vhost_driver_callback_register(bell, &ops) != 0 ||
				rte_vhost_driver_start(bell) != 0)
			return;
	}
	if (front_connect(&ringing, bell) == 0)
		front_close(&ringing);
}

void
perf_rte_vhost_end(void)
{
	if (bell[0] != '\0')
		rte_vhost_driver_unregister(bell);
}

const struct perf_backend perf_rte_vhost = {
	.name = "rte_vhost",
	.most_ports = PERF_MAX_IDLE + 1,
	.wake = perf_rte_vhost_wake,
	.open = open_port,
	.close = close_port,
	.ready = ready,
	.receive = receive,
	.transmit = transmit,
	.poll = poll_empty,
};
