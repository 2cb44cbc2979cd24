/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Histograms of a port's queues, from the control side: on, off, what they say. */

#include <errno.h>

#include "ctrl/port.h"
#include "net/queue.h"
#include "obs/error.h"

/* All rings, even if one fails: those that did not change are found when this is repeated. */
static int
set(struct vhu_port *port, bool on)
{
	int error = 0;

	port->histograms = on;
	for (uint16_t ring = 0; ring < 2 * port->options.queue_pairs; ring++) {
		const struct vhu_snapshot *snapshot = vhu_device_ring_snapshot(port->device, ring);

		if (snapshot != NULL && (snapshot->counted != NULL) != on &&
				vhu_device_renew(port->device, ring) != 0)
			error = -ENOMEM;
	}
	/* Lcores may still be in bursts on what was replaced. */
	vhu_loop_wake(port->control->loop);
	return error;
}

int
vhu_port_set_histograms(struct vhu_port *port, bool on)
{
	int error;

	vhu_control_lock();
	error = set(port, on);
	vhu_control_unlock();
	return error == 0 ? 0 :
		vhu_error(-error, "out of memory for histograms of port %s", port->name);
}

/* What the lcore has counted since the queue exists. */
static void
read_counts(const struct vhu_port *port, uint16_t ring, struct vhu_queue_histograms *histograms)
{
	const struct vhu_histograms *from = &port->queues[ring]->histograms;

	for (unsigned int i = 0; i < VHU_HISTOGRAMS; i++)
		histograms->counts[i] =
			atomic_load_explicit(&from->counts[i], memory_order_relaxed);
}

void
vhu_port_ring_histograms(const struct vhu_port *port, uint16_t ring,
	struct vhu_queue_histograms *histograms)
{
	read_counts(port, ring, histograms);
	for (unsigned int i = 0; i < VHU_HISTOGRAMS; i++)
		histograms->counts[i] -= port->histograms_before[ring].counts[i];
}

void
vhu_port_ring_histograms_reset(struct vhu_port *port, uint16_t ring)
{
	read_counts(port, ring, &port->histograms_before[ring]);
}

void
vhu_queue_histograms(struct vhu_queue *queue, struct vhu_queue_histograms *histograms)
{
	vhu_control_lock();
	vhu_port_ring_histograms(vhu_queue_port(queue), vhu_queue_index(queue), histograms);
	vhu_control_unlock();
}
