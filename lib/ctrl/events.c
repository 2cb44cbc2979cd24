/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <assert.h>
#include <errno.h>

#include "ctrl/connection.h"
#include "ctrl/events.h"
#include "ctrl/fifo.h"

/** Events that a port keeps for a slow application. */
#define EVENTS_KEPT 1024

static_assert(sizeof(struct vhu_event) % 4 == 0, "an rte_ring moves elements in words of 4 bytes");

int
vhu_events_init(struct vhu_port *port)
{
	port->events = vhu_fifo_new("vhu_events", sizeof(struct vhu_event), EVENTS_KEPT);
	return port->events != NULL ? 0 : -ENOMEM;
}

void
vhu_events_free(struct vhu_port *port)
{
	vhu_fifo_free(port->events);
}

static bool
enqueue(struct vhu_port *port, enum vhu_event_type type, uint16_t ring, uint64_t value)
{
	struct vhu_event event = {
		.type = type,
		.ring = ring,
		.value = value,
		.sequence = port->sequence + 1,
	};

	if (rte_ring_sp_enqueue_elem(port->events, &event, sizeof(event)) != 0)
		return false;
	port->sequence++;
	return true;
}

static void
schedule_delivery(struct vhu_port *port)
{
	if (port->options.on_event == NULL || port->in_deliveries)
		return;
	port->in_deliveries = true;
	TAILQ_INSERT_TAIL(&port->control->deliveries, port, deliveries_link);
}

bool
vhu_events_tell_overflow(struct vhu_port *port)
{
	uint64_t lost = atomic_load_explicit(&port->events_lost, memory_order_relaxed);

	if (lost == 0)
		return true;
	if (!enqueue(port, VHU_EVENT_OVERFLOW, UINT16_MAX, lost))
		return false;
	atomic_store_explicit(&port->events_lost, 0, memory_order_relaxed);
	schedule_delivery(port);
	return true;
}

static void
tell_one(struct vhu_port *port, enum vhu_event_type type, uint16_t ring, uint64_t value)
{
	uint64_t lost;

	if (atomic_load_explicit(&port->detached, memory_order_relaxed))
		return;
	vhu_events_tell_overflow(port);
	lost = atomic_load_explicit(&port->events_lost, memory_order_relaxed);
	/* Never before the OVERFLOW of those that were lost earlier. */
	if (lost > 0 || !enqueue(port, type, ring, value)) {
		/* The number is used up all the same, so that a gap shows how many are missing. */
		port->sequence++;
		atomic_store_explicit(&port->events_lost, lost + 1, memory_order_relaxed);
		/* Partner: the fence in vhu_port_events(). */
		atomic_thread_fence(memory_order_seq_cst);
		vhu_connection_need_attention(port);
	}
	schedule_delivery(port);
}

/*
 * Whether a ring runs is taken from what was told, not from the device: a ring that an lcore broke
 * this moment must not show in DEVICE_DOWN before RING_BROKEN.
 */
static void
follow(uint8_t *told, enum vhu_event_type type)
{
	switch (type) {
	case VHU_EVENT_RING_STARTED:
		*told = (*told | VHU_TOLD_STARTED) & ~VHU_TOLD_BROKEN;
		break;
	case VHU_EVENT_RING_STOPPED:
		*told &= ~(VHU_TOLD_STARTED | VHU_TOLD_BROKEN);
		break;
	case VHU_EVENT_RING_ENABLED:
		*told |= VHU_TOLD_ENABLED;
		break;
	case VHU_EVENT_RING_DISABLED:
		*told &= ~VHU_TOLD_ENABLED;
		break;
	case VHU_EVENT_RING_BROKEN:
		*told |= VHU_TOLD_BROKEN;
		break;
	default:
		break;
	}
}

static bool
pair_runs(const struct vhu_port *port, uint16_t pair)
{
	const uint8_t *told = &port->told[2 * pair];

	return told[0] == VHU_TOLD_RUNNING && told[1] == VHU_TOLD_RUNNING;
}

void
vhu_events_tell(struct vhu_port *port, enum vhu_event_type type, uint16_t ring, uint64_t value)
{
	uint16_t pair = ring / 2;
	bool ran;

	tell_one(port, type, ring, value);
	if (ring >= port->ring_count)
		return;
	ran = pair_runs(port, pair);
	follow(&port->told[ring], type);
	if (pair_runs(port, pair) == ran)
		return;
	if (!ran && port->pairs_running++ == 0)
		tell_one(port, VHU_EVENT_DEVICE_UP, UINT16_MAX, 0);
	else if (ran && --port->pairs_running == 0)
		tell_one(port, VHU_EVENT_DEVICE_DOWN, UINT16_MAX, 0);
}

/* The events that one port has now. Called and left with the lock held. */
static void
deliver_port(struct vhu_control *control, struct vhu_port *port)
{
	struct vhu_event event;
	unsigned int budget = EVENTS_KEPT;

	control->delivering = port;
	vhu_control_unlock();
	/*
	 * Whoever sets `detached` waits until we are done with this port, or is a callback below:
	 * so it cannot be freed, and the callback's owner sees none begin after vhu_port_destroy().
	 */
	while (budget-- > 0 && !atomic_load_explicit(&port->detached, memory_order_acquire) &&
			rte_ring_sc_dequeue_elem(port->events, &event, sizeof(event)) == 0)
		port->options.on_event(port, &event, port->options.on_event_data);
	vhu_control_lock();
	control->delivering = NULL;
	if (port->free_after_delivery) {
		vhu_port_free(port);
		vhu_control_release(control);
	} else {
		vhu_events_tell_overflow(port);
	}
	vhu_control_changed();
}

void
vhu_events_deliver(struct vhu_control *control)
{
	struct vhu_port *port;
	unsigned int round = 0;

	/* One round: events that appear meanwhile must not keep the loop from its sockets. */
	TAILQ_FOREACH(port, &control->deliveries, deliveries_link)
		round++;
	while (round-- > 0 && (port = TAILQ_FIRST(&control->deliveries)) != NULL) {
		TAILQ_REMOVE(&control->deliveries, port, deliveries_link);
		port->in_deliveries = false;
		deliver_port(control, port);
	}
}

unsigned int
vhu_port_events(struct vhu_port *port, struct vhu_event *events, unsigned int count)
{
	unsigned int taken;

	if (port->options.on_event != NULL)
		return 0;
	taken = rte_ring_sc_dequeue_burst_elem(port->events, events, sizeof(*events), count, NULL);
	/*
	 * Partner: the fence in tell_one(). Either the control side found the room that we made, or
	 * we see that it lost an event and wake it to tell so.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	if (taken > 0 && atomic_load_explicit(&port->events_lost, memory_order_relaxed) > 0)
		vhu_loop_wake(port->control->loop);
	return taken;
}
