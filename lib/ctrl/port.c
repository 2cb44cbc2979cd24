/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_lcore.h>

#include "ctrl/connection.h"
#include "ctrl/control_queue.h"
#include "ctrl/events.h"
#include "ctrl/offers.h"
#include "ctrl/options.h"
#include "ctrl/port.h"
#include "obs/error.h"
#include "obs/log.h"

struct vhu_port *
vhu_port_find(struct vhu_control *control, const char *name)
{
	struct vhu_port *port;

	TAILQ_FOREACH(port, &control->ports, ports_link) {
		if (strcmp(port->name, name) == 0)
			return port;
	}
	return NULL;
}

static int
make_queues(struct vhu_port *port)
{
	port->ring_count = 2 * port->options.queue_pairs;
	if (port->options.offers & VHU_OFFER_BIT(CONTROL_QUEUE))
		port->ring_count++;
	port->queues = calloc(port->ring_count, sizeof(*port->queues));
	port->rings = calloc(port->ring_count, sizeof(*port->rings));
	port->counted = calloc(port->ring_count, sizeof(*port->counted));
	port->histograms_before = calloc(port->ring_count, sizeof(*port->histograms_before));
	if (port->queues == NULL || port->rings == NULL || port->counted == NULL ||
			port->histograms_before == NULL)
		return -ENOMEM;
	for (uint16_t ring = 0; ring < port->ring_count; ring++) {
		port->queues[ring] = vhu_queue_new(port, ring);
		if (port->queues[ring] == NULL)
			return -ENOMEM;
		port->rings[ring] = vhu_queue_ring(port->queues[ring]);
	}
	return 0;
}

static int
make_device(struct vhu_port *port)
{
	struct vhu_device_config config = {
		.name = port->name,
		.ops = &vhu_connection_device_ops,
		.owner = port,
		.features = port->features_offered,
		.protocol_features = vhu_offers_protocol_features(&port->options),
		.ring_count = port->ring_count,
		/* Front-ends for network devices compare the answer with their queue pairs. */
		.queue_num = port->options.queue_pairs,
		.rings = port->rings,
		.executor = &port->control->executor,
		.domain = &port->control->domain,
		.loop = port->control->loop,
		.populate = port->options.populate,
		.call_handover = port->options.call_handover,
		.in_order = true,
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
		/* A guest of another byte order could not share this machine's processor type. */
		.legacy = true,
#endif
	};

	port->device = vhu_device_new(&config);
	return port->device != NULL ? 0 : -ENOMEM;
}

static int
open_endpoint(struct vhu_port *port)
{
	struct vhu_endpoint_config config = {
		.path = port->path,
		.client = port->options.role == VHU_ROLE_CLIENT,
		.mode = port->options.socket_mode,
		.uid = port->options.socket_uid,
		.gid = port->options.socket_gid,
		.reconnect_min_ms = port->options.reconnect_min_ms,
		.reconnect_max_ms = port->options.reconnect_max_ms,
		.connected = vhu_connection_begin,
		.owner = port,
		.name = port->name,
	};
	char text[VHU_REASON_SIZE];
	int error;

	error = vhu_endpoint_open(
		port->control->loop, &config, &port->endpoint, text, sizeof(text));
	if (error != 0)
		return vhu_error(-error, "%s", text);
	return 0;
}

/* Lock held. */
static int
check_unique(struct vhu_control *control, const struct vhu_port_options *options,
	const char *name)
{
	struct vhu_port *port;

	TAILQ_FOREACH(port, &control->ports, ports_link) {
		if (options->role == VHU_ROLE_SERVER && port->options.role == VHU_ROLE_SERVER &&
				strcmp(port->path, options->path) == 0)
			return vhu_error(EADDRINUSE,
				"'%s' is served by port %s of this process: choose another path",
				options->path, port->name);
		if (strcmp(port->name, name) == 0)
			return vhu_error(EEXIST,
				"a port called '%s' exists (on '%s'): set vhu_port_options.name",
				name, port->path);
	}
	return 0;
}

void
vhu_port_free(struct vhu_port *port)
{
	if (port->in_attention)
		TAILQ_REMOVE(&port->control->attention, port, attention_link);
	if (port->in_deliveries)
		TAILQ_REMOVE(&port->control->deliveries, port, deliveries_link);
	if (port->device != NULL)
		vhu_device_free(port->device);
	for (uint16_t ring = 0; port->queues != NULL && ring < port->ring_count; ring++) {
		if (port->queues[ring] != NULL)
			vhu_queue_free(port->queues[ring]);
	}
	vhu_events_free(port);
	free(port->queues);
	free(port->rings);
	free(port->counted);
	free(port->histograms_before);
	free(port);
}

/* Lock held. */
static int
make_port(struct vhu_control *control, const struct vhu_port_options *options,
	struct vhu_port **created)
{
	struct vhu_port *port;
	int error;
	char name[VHU_NAME_SIZE];

	vhu_options_name(options, name);
	error = check_unique(control, options, name);
	if (error != 0)
		return error;
	port = calloc(1, sizeof(*port));
	if (port == NULL)
		return vhu_error(ENOMEM, "out of memory for port %s", name);
	port->control = control;
	port->options = *options;
	port->options.name = strcpy(port->name, name);
	port->options.path = strcpy(port->path, options->path);
	port->features_offered = vhu_offers_features(options);
	port->mtu = options->mtu;
	port->histograms = options->histograms;
	port->control_told = -1;
	error = make_queues(port);
	if (error == 0)
		error = vhu_events_init(port);
	if (error == 0)
		error = make_device(port);
	if (error == 0)
		vhu_control_queue_reset(port);
	if (error != 0)
		vhu_error(ENOMEM, "out of memory for port %s with %u queue pairs", name,
			options->queue_pairs);
	else
		error = open_endpoint(port);
	if (error != 0) {
		vhu_port_free(port);
		return error;
	}
	TAILQ_INSERT_TAIL(&control->ports, port, ports_link);
	*created = port;
	return 0;
}

int
vhu_port_create(const struct vhu_port_options *options, struct vhu_port **port)
{
	struct vhu_control *control;
	int error;

	if (port != NULL)
		*port = NULL;
	if (options == NULL || port == NULL)
		return vhu_error(EINVAL, "vhu_port_create() needs options and room for the port");
	error = vhu_options_check(options);
	if (error != 0)
		return error;
	if (rte_lcore_count() == 0)
		return vhu_error(EINVAL, "no port without EAL: call rte_eal_init() first");
	if (rte_eal_process_type() != RTE_PROC_PRIMARY)
		return vhu_error(ENOTSUP,
			"a secondary process cannot create ports: let the primary process do it");
	vhu_control_lock();
	error = vhu_control_hold(&control);
	if (error == 0) {
		error = make_port(control, options, port);
		if (error == 0)
			vhu_loop_wake(control->loop); /* a reconnect timer may have been set */
		else
			vhu_control_release(control);
	}
	vhu_control_unlock();
	return error;
}

/*
 * Lock held. Nothing of the port is in use on the control side afterwards, but perhaps its
 * callback.
 */
static void
wind_down(struct vhu_port *port)
{
	/* Partner: the acquire load in deliver_port(): no callback begins after this. */
	atomic_store_explicit(&port->detached, true, memory_order_release);
	TAILQ_REMOVE(&port->control->ports, port, ports_link);
	vhu_endpoint_close(port->endpoint);
	vhu_connection_end(port);
	vhu_loop_wake(port->control->loop); /* perhaps lcores are to be waited for now */
	while (port->link != VHU_LINK_IDLE)
		vhu_control_help(port->control);
}

void
vhu_port_destroy(struct vhu_port *port)
{
	struct vhu_control *control;

	if (port == NULL)
		return;
	control = port->control;
	vhu_control_lock();
	wind_down(port);
	if (control->delivering == port && vhu_control_in_loop()) {
		port->free_after_delivery = true; /* we are its callback */
	} else {
		while (control->delivering == port)
			vhu_control_wait(VHU_CONTROL_WAIT_MS);
		vhu_port_free(port);
		vhu_control_release(control);
	}
	vhu_control_unlock();
}

struct vhu_queue *
vhu_port_rx_queue(struct vhu_port *port, uint16_t pair)
{
	return pair < port->options.queue_pairs ? port->queues[2 * pair + 1] : NULL;
}

struct vhu_queue *
vhu_port_tx_queue(struct vhu_port *port, uint16_t pair)
{
	return pair < port->options.queue_pairs ? port->queues[2 * pair] : NULL;
}
