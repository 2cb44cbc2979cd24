/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <inttypes.h>

#include "events.h"
#include "port.h"
#include "stats.h"

#define BATCH 32

static struct kept_event kept[MAX_EVENTS];
static unsigned int kept_total;
static double program_start;

static bool
concerns_plan(enum vhu_event_type type)
{
	switch (type) {
	case VHU_EVENT_RING_STARTED:
	case VHU_EVENT_RING_STOPPED:
	case VHU_EVENT_RING_ENABLED:
	case VHU_EVENT_RING_DISABLED:
	case VHU_EVENT_RING_BROKEN:
	case VHU_EVENT_DISCONNECTED:
	case VHU_EVENT_OVERFLOW:
		return true;
	default:
		return false;
	}
}

/* As the event has it: first byte in the lowest bits. */
static void
tell_address(FILE *out, uint64_t value)
{
	for (unsigned int i = 0; i < RTE_ETHER_ADDR_LEN; i++)
		fprintf(out, "%c%02x", i == 0 ? ' ' : ':', (unsigned int)(value >> 8 * i & 0xff));
}

static void
tell(FILE *out, const struct kept_event *entry)
{
	const struct vhu_event *event = &entry->event;

	fprintf(out, "port %u: %s", entry->port, vhu_event_name(event->type));
	if (event->ring != UINT16_MAX)
		fprintf(out, " %u", event->ring);
	if (event->type == VHU_EVENT_FEATURES || event->type == VHU_EVENT_STATUS ||
	    event->type == VHU_EVENT_CONTROL)
		fprintf(out, " 0x%" PRIx64, event->value);
	else if (event->type == VHU_EVENT_ANNOUNCE)
		tell_address(out, event->value);
	else if (event->type == VHU_EVENT_RING_BROKEN)
		fprintf(out, " (%s)", vhu_broken_text((enum vhu_broken)event->value));
	else if (event->type == VHU_EVENT_MEMORY || event->type == VHU_EVENT_MTU ||
	    event->type == VHU_EVENT_REFUSED || event->type == VHU_EVENT_OVERFLOW)
		fprintf(out, " %" PRIu64, event->value);
	fputc('\n', out);
}

static void
keep(unsigned int port, const struct vhu_event *event)
{
	struct kept_event *entry = &kept[kept_total++ % MAX_EVENTS];

	entry->seconds = now_seconds() - program_start;
	entry->port = port;
	entry->event = *event;
}

bool
events_take(FILE *out)
{
	struct vhu_event events[BATCH];
	bool plan = false;

	if (program_start == 0)
		program_start = now_seconds();
	PORT_FOREACH(port) {
		/* One batch a port and call: a front-end that makes many does not hold us up. */
		unsigned int count = vhu_port_events(port->vhu, events, BATCH);
		for (unsigned int i = 0; i < count; i++) {
			keep(port->id, &events[i]);
			plan |= concerns_plan(events[i].type);
			if (out != NULL)
				tell(out, &kept[(kept_total - 1) % MAX_EVENTS]);
		}
	}
	return plan;
}

const struct kept_event *
events_at(unsigned int index)
{
	unsigned int first = kept_total > MAX_EVENTS ? kept_total - MAX_EVENTS : 0;

	return index < kept_total - first ? &kept[(first + index) % MAX_EVENTS] : NULL;
}
