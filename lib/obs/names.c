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

/* The first ten as DPDK's vhost library calls them. */
static const char *const histograms[VHU_HISTOGRAMS] = {
	[VHU_SIZE_UNDER] = "undersize_packets",
	[VHU_SIZE_64] = "size_64_packets",
	[VHU_SIZE_65_127] = "size_65_127_packets",
	[VHU_SIZE_128_255] = "size_128_255_packets",
	[VHU_SIZE_256_511] = "size_256_511_packets",
	[VHU_SIZE_512_1023] = "size_512_1023_packets",
	[VHU_SIZE_1024_1518] = "size_1024_1518_packets",
	[VHU_SIZE_1519_MAX] = "size_1519_max_packets",
	[VHU_CAST_MULTI] = "multicast_packets",
	[VHU_CAST_BROAD] = "broadcast_packets",
	[VHU_BURST_1] = "bursts_of_1",
	[VHU_BURST_2_3] = "bursts_of_2_3",
	[VHU_BURST_4_7] = "bursts_of_4_7",
	[VHU_BURST_8_15] = "bursts_of_8_15",
	[VHU_BURST_16_31] = "bursts_of_16_31",
	[VHU_BURST_32_63] = "bursts_of_32_63",
	[VHU_BURST_64_127] = "bursts_of_64_127",
	[VHU_BURST_128_255] = "bursts_of_128_255",
	[VHU_BURST_256_MAX] = "bursts_of_256_max",
	[VHU_BURST_FULL] = "bursts_full",
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

static const char *const stages[VHU_STAGES] = {
	[VHU_STAGE_LOOK] = "look",
	[VHU_STAGE_GATHER] = "gather",
	[VHU_STAGE_MBUFS] = "mbufs",
	[VHU_STAGE_COPY] = "copy",
	[VHU_STAGE_GIVE] = "give",
	[VHU_STAGE_OTHER] = "other",
	[VHU_STAGE_PUBLISH] = "publish",
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
vhu_histogram_name(enum vhu_histogram counter)
{
	return pick(histograms, VHU_HISTOGRAMS, counter);
}

const char *
vhu_stage_name(enum vhu_stage stage)
{
	return pick(stages, VHU_STAGES, stage);
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
