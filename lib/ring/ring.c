/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ring/ring.h"
#include "snap/publish.h"

_Atomic(uint32_t) vhu_rings_broken;
_Atomic(uint32_t) vhu_rings_missing;
_Atomic(uint32_t) vhu_rings_calling;
int vhu_attention_fd = -1;

void
vhu_ring_init(struct vhu_ring *ring)
{
	memset(ring, 0, sizeof(*ring));
	vhu_publish_init();
	/* At the parked snapshot. */
	atomic_store_explicit(&ring->looks, !vhu_reader_fenced, memory_order_relaxed);
	atomic_store_explicit(&ring->reader.snapshot, &vhu_snapshot_parked, memory_order_release);
}

/* Relaxed: whoever reads it can do with an old one. */
void
vhu_ring_note_place(struct vhu_ring *ring)
{
	atomic_store_explicit(&ring->place,
		ring->next_avail | (ring->avail_wrap ? VHU_PLACE_WRAP : 0), memory_order_relaxed);
}

void
vhu_ring_reset(struct vhu_ring *ring, uint16_t next_avail, uint16_t next_used)
{
	ring->next_avail = next_avail;
	ring->next_used = next_used;
	ring->avail_seen = next_avail;
	ring->avail_wrap = true;
	ring->used_wrap = true;
	ring->held = false;
	ring->phase = VHU_RING_FRESH;
	atomic_store_explicit(&ring->looks, false, memory_order_relaxed);
	ring->hint = (struct vhu_hint){ 0 };
	ring->attended = next_avail;
	ring->looked = 0;
	vhu_ring_note_place(ring);
	atomic_store_explicit(&ring->miss, 0, memory_order_relaxed);
	atomic_store_explicit(&ring->call_wanted, false, memory_order_relaxed);
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

void
vhu_ring_set_wraps(struct vhu_ring *ring, bool avail_wrap, bool used_wrap)
{
	ring->avail_wrap = avail_wrap;
	ring->used_wrap = used_wrap;
	vhu_ring_note_place(ring);
}

int
vhu_attention_open(void)
{
	if (vhu_attention_fd < 0)
		vhu_attention_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return vhu_attention_fd < 0 ? -errno : 0;
}

/* Make the control thread look at the rings. */
static void
ask_attention(void)
{
	static const uint64_t one = 1;
	ssize_t written;

	if (vhu_attention_fd < 0)
		return;
	written = write(vhu_attention_fd, &one, sizeof(one));
	(void)written; /* full: it is readable, which is all that matters */
}

void
vhu_ring_miss(struct vhu_ring *ring, uint64_t address, enum vhu_access access)
{
	uint64_t page = address & ~UINT64_C(0xfff);

	/* The next try begins here, and what lies behind is missing as well, perhaps. */
	vhu_ring_note_place(ring);
	/* One question at a time: whoever waits for it comes here again. */
	if (atomic_load_explicit(&ring->miss, memory_order_relaxed) != 0)
		return;
	/* Partner: the control thread's exchange, after it saw the counter move. */
	atomic_store_explicit(&ring->miss, page | access, memory_order_release);
	vhu_ring_ask_attention();
}

void
vhu_ring_ask_attention(void)
{
	/* Partner: the control loop's look at the counter; miss and place come first. */
	atomic_fetch_add_explicit(&vhu_rings_missing, 1, memory_order_release);
	ask_attention();
}

static void
leave_call_to_control(struct vhu_ring *ring)
{
	/*
	 * Partner: the control thread's exchange. A call that it has not taken yet is one that the
	 * driver has not seen yet: it serves for both. What this burst published is visible to
	 * whoever takes it.
	 */
	if (atomic_exchange_explicit(&ring->call_wanted, true, memory_order_acq_rel))
		return;
	atomic_fetch_add_explicit(&vhu_rings_calling, 1, memory_order_release);
	ask_attention();
}

void
vhu_ring_call(struct vhu_ring *ring, const struct vhu_snapshot *snapshot)
{
	static const uint64_t one = 1;

	if (snapshot->call_fd == VHU_CALL_BY_CONTROL)
		leave_call_to_control(ring);
	/*
	 * EAGAIN: the counter is full, so the guest has a notification waiting. EBADF cannot
	 * happen: the descriptor is closed only after a grace period.
	 */
	else if (write(snapshot->call_fd, &one, sizeof(one)) != (ssize_t)sizeof(one) &&
		 errno != EAGAIN)
		return;
	vhu_count(&ring->counters.calls, 1);
}
