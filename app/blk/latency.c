/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <time.h>

#include "blk.h"

/* How long requests took, from the burst that they were taken with until they were returned. */

static const char *const names[BLK_OPERATIONS] = {
	[BLK_READ] = "read",
	[BLK_WRITE] = "write",
	[BLK_FLUSH] = "flush",
	[BLK_DISCARD] = "discard",
	[BLK_WRITE_ZEROES] = "write_zeroes",
};

uint64_t
blk_clock(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

/* @return BLK_OPERATIONS for what is not counted. */
static enum blk_operation
operation_of(const struct blk_request *request)
{
	if (!request->whole)
		return BLK_OPERATIONS;
	switch (request->type) {
	case VIRTIO_BLK_T_IN:
		return BLK_READ;
	case VIRTIO_BLK_T_OUT:
		return BLK_WRITE;
	case VIRTIO_BLK_T_FLUSH:
		return BLK_FLUSH;
	case VIRTIO_BLK_T_DISCARD:
		return BLK_DISCARD;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return BLK_WRITE_ZEROES;
	default:
		return BLK_OPERATIONS;
	}
}

void
blk_latency_record(const struct blk_request *request, uint64_t now)
{
	enum blk_operation operation = operation_of(request);
	uint64_t time = now - request->begun;
	unsigned int bucket = 63 - (unsigned int)__builtin_clzll(time | 1);

	if (operation == BLK_OPERATIONS)
		return;
	if (bucket >= BLK_LATENCY_BUCKETS)
		bucket = BLK_LATENCY_BUCKETS - 1;
	blk_count(&request->queue->counters.latency[operation][bucket], 1);
}

void
blk_latency_add(uint64_t sums[BLK_OPERATIONS][BLK_LATENCY_BUCKETS],
	const struct blk_counters *counters)
{
	unsigned int i, j;

	for (i = 0; i < BLK_OPERATIONS; i++)
		for (j = 0; j < BLK_LATENCY_BUCKETS; j++)
			sums[i][j] += atomic_load_explicit(&counters->latency[i][j],
				memory_order_relaxed);
}

uint64_t
blk_latency_below(const uint64_t buckets[BLK_LATENCY_BUCKETS], unsigned int thousandths)
{
	uint64_t all = 0, seen = 0;
	unsigned int i;

	for (i = 0; i < BLK_LATENCY_BUCKETS; i++)
		all += buckets[i];
	for (i = 0; i < BLK_LATENCY_BUCKETS && all != 0; i++) {
		seen += buckets[i];
		/* Divided first: the sum may be near the end of what fits. */
		if (seen == all || (double)seen / (double)all >= thousandths / 1e3)
			return UINT64_C(2) << i;
	}
	return 0;
}

const char *
blk_operation_name(enum blk_operation operation)
{
	return names[operation];
}
