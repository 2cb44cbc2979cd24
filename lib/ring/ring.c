/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <string.h>

#include "ring/ring.h"

_Atomic(uint32_t) vhu_rings_broken;

void
vhu_ring_init(struct vhu_ring *ring)
{
	memset(ring, 0, sizeof(*ring));
	atomic_store_explicit(&ring->reader.snapshot, &vhu_snapshot_parked, memory_order_release);
}

void
vhu_ring_reset(struct vhu_ring *ring, uint16_t next_avail, uint16_t next_used)
{
	ring->next_avail = next_avail;
	ring->next_used = next_used;
	ring->avail_seen = next_avail;
	ring->phase = VHU_RING_FRESH;
	ring->hint = (struct vhu_hint){ 0 };
	atomic_store_explicit(&ring->broken_detail, 0, memory_order_relaxed);
	atomic_store_explicit(&ring->broken, VHU_BROKEN_NO, memory_order_relaxed);
}

void
vhu_ring_break(struct vhu_ring *ring, enum vhu_broken reason, uint32_t detail)
{
	if (vhu_ring_is_broken(ring))
		return;
	atomic_store_explicit(&ring->broken_detail, detail, memory_order_relaxed);
	/* Partner: the acquire load of the control thread that looks for broken rings. */
	atomic_store_explicit(&ring->broken, (uint8_t)reason, memory_order_release);
	/* Partner: the control loop's look at the counter; the reason above comes first. */
	atomic_fetch_add_explicit(&vhu_rings_broken, 1, memory_order_release);
}
