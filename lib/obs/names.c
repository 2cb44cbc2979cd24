/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stddef.h>

#include <vhu_event.h>
#include <vhu_stats.h>

static const char *const drops[VHU_DROPS] = {
	[VHU_DROP_SHORT] = "short",
	[VHU_DROP_LONG] = "long",
	[VHU_DROP_EMPTY] = "empty",
	[VHU_DROP_BAD_OFFLOAD] = "bad_offload",
	[VHU_DROP_NO_BUFFER_ROOM] = "no_buffer_room",
	[VHU_DROP_NO_MBUF] = "no_mbuf",
};

static const char *const brokens[VHU_BROKENS] = {
	[VHU_BROKEN_NO] = "not broken",
	[VHU_BROKEN_AVAIL_INDEX] = "available index jumped",
	[VHU_BROKEN_HEAD] = "head index outside the descriptor table",
	[VHU_BROKEN_NEXT] = "next index outside the descriptor table",
	[VHU_BROKEN_LOOP] = "chain longer than its table",
	[VHU_BROKEN_ADDRESS] = "address outside guest memory",
	[VHU_BROKEN_ZERO_LENGTH] = "descriptor of length 0",
	[VHU_BROKEN_DIRECTION] = "descriptor of the wrong direction",
	[VHU_BROKEN_INDIRECT] = "malformed, nested or unnegotiated indirect table",
	[VHU_BROKEN_MEMORY] = "memory of the ring was removed",
	[VHU_BROKEN_REUSED] = "buffer made available again before it was used",
};

static const char *const events[VHU_EVENT_TYPES] = {
	[VHU_EVENT_CONNECTED] = "connected",
	[VHU_EVENT_DISCONNECTED] = "disconnected",
	[VHU_EVENT_FEATURES] = "features",
	[VHU_EVENT_MEMORY] = "memory",
	[VHU_EVENT_MTU] = "mtu",
	[VHU_EVENT_DEVICE_UP] = "device up",
	[VHU_EVENT_DEVICE_DOWN] = "device down",
	[VHU_EVENT_RING_STARTED] = "ring started",
	[VHU_EVENT_RING_STOPPED] = "ring stopped",
	[VHU_EVENT_RING_ENABLED] = "ring enabled",
	[VHU_EVENT_RING_DISABLED] = "ring disabled",
	[VHU_EVENT_RING_BROKEN] = "ring broken",
	[VHU_EVENT_REFUSED] = "refused",
	[VHU_EVENT_ANNOUNCE] = "announce",
	[VHU_EVENT_STATUS] = "status",
	[VHU_EVENT_CONTROL] = "control command",
	[VHU_EVENT_OVERFLOW] = "overflow",
};

/* The index is unsigned: a negative enumerator is out of range, too. */
static const char *
pick(const char *const *names, unsigned int count, unsigned int index)
{
	return index < count && names[index] != NULL ? names[index] : "unknown";
}

const char *
vhu_drop_name(enum vhu_drop reason)
{
	return pick(drops, VHU_DROPS, reason);
}

const char *
vhu_broken_text(enum vhu_broken reason)
{
	return pick(brokens, VHU_BROKENS, reason);
}

const char *
vhu_event_name(enum vhu_event_type type)
{
	return pick(events, VHU_EVENT_TYPES, type);
}
