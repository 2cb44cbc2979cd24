/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stddef.h>

#include "mem/dirty.h"
#include "ring/chain_private.h"
#include "ring/copied.h"
#include "ring/packed.h"
#include "ring/split.h"

/* Bit 15 of an event position is its wrap counter. */
#define EVENT_WRAP (1u << VRING_PACKED_EVENT_F_WRAP_CTR)

/* The two halves of an event structure of a packed ring are read and written as one word. */
typedef uint32_t event_word_t __attribute__((may_alias));

void
vhu_ring_begin(struct vhu_ring *ring, const struct vhu_snapshot *snapshot)
{
	ring->phase = VHU_RING_BEGUN;
	atomic_store_explicit(&ring->looks, !vhu_reader_fenced, memory_order_relaxed);
	vhu_ring_want_kicks(ring, snapshot, ring->kick_wanted);
}

static void
ask_split(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot, bool wanted)
{
	/*
	 * avail_event lies behind the last used element (virtio 1.3, 2.7.10). Not wanted: an entry
	 * that was just passed, 65535 entries away from being reached.
	 */
	if (vhu_snapshot_has(snapshot, VIRTIO_RING_F_EVENT_IDX))
		vhu_guest_store16(&snapshot->used->ring[snapshot->size],
			wanted ? ring->next_avail : (uint16_t)(ring->next_avail - 1));
	else
		vhu_guest_store16(&snapshot->used->flags, wanted ? 0 : VRING_USED_F_NO_NOTIFY);
}

static void
ask_packed(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot, bool wanted)
{
	uint32_t word = VRING_PACKED_EVENT_FLAG_DISABLE << 16;

	if (wanted && vhu_snapshot_has(snapshot, VIRTIO_RING_F_EVENT_IDX))
		word = VRING_PACKED_EVENT_FLAG_DESC << 16 |
			(ring->avail_wrap ? EVENT_WRAP : 0) | ring->next_avail;
	else if (wanted)
		word = VRING_PACKED_EVENT_FLAG_ENABLE << 16;
	__atomic_store_n((event_word_t *)snapshot->device_event, word, __ATOMIC_RELAXED);
}

bool
vhu_ring_any_waiting(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot)
{
	struct vhu_descriptor d;

	if (snapshot->format == VHU_SPLIT)
		return vhu_guest_acquire16(vhu_ring_real(snapshot, &snapshot->avail->idx)) !=
			ring->next_avail;
	d = vhu_packed_load_at(vhu_ring_real(snapshot, &snapshot->packed[ring->next_avail]));
	return vhu_packed_is_available(vhu_packed_flags(d), ring->avail_wrap);
}

/* Note that our wish was written: one of the words around the used ring, or ours of two areas. */
static void
note_wish(const struct vhu_snapshot *snapshot)
{
	struct vhu_dirty_cache cache;

	vhu_dirty_begin(&cache);
	if (snapshot->format == VHU_PACKED)
		vhu_used_note(snapshot, &cache, snapshot->device_event,
			sizeof(*snapshot->device_event));
	else if (vhu_snapshot_has(snapshot, VIRTIO_RING_F_EVENT_IDX))
		vhu_used_note(snapshot, &cache, &snapshot->used->ring[snapshot->size],
			sizeof(uint16_t));
	else
		vhu_used_note(snapshot, &cache, &snapshot->used->flags, sizeof(uint16_t));
	vhu_dirty_flush(snapshot->dirty, &cache);
}

bool
vhu_ring_want_kicks(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, bool wanted)
{
	if (snapshot->format == VHU_PACKED)
		ask_packed(ring, snapshot, wanted);
	else
		ask_split(ring, snapshot, wanted);
	if (vhu_ring_is_copied(snapshot))
		vhu_copied_push_wish(snapshot);
	if (snapshot->dirty_ring && snapshot->dirty != NULL)
		note_wish(snapshot);
	if (!wanted)
		return false;
	/*
	 * Partner: the driver's barrier between making a chain available and reading our flag or
	 * event. Either it sees that we want kicks, or we see its chain here.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return vhu_ring_any_waiting(ring, snapshot);
}

uint16_t
vhu_ring_waiting(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot)
{
	struct vhu_walk walk = vhu_walk_begin(ring);
	uint16_t waiting = 0;

	if (snapshot->format == VHU_SPLIT) {
		const void *index = vhu_ring_real(snapshot, &snapshot->avail->idx);

		waiting = (uint16_t)(vhu_guest_load16(index) - ring->next_avail);
		return waiting < snapshot->size ? waiting : snapshot->size;
	}
	if (walk.next >= snapshot->size) /* another thread may ask, between two stores */
		return 0;
	while (waiting < snapshot->size) {
		struct vhu_descriptor d = vhu_packed_load_at(
			vhu_ring_real(snapshot, &snapshot->packed[walk.next]));

		if (!vhu_packed_is_available(vhu_packed_flags(d), walk.wrap))
			break;
		waiting++;
		vhu_packed_advance(&walk.next, &walk.wrap, 1, snapshot->size);
	}
	return waiting;
}

static bool
split_wanted(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot, uint16_t old)
{
	uint16_t event;

	if (vhu_snapshot_has(snapshot, VIRTIO_F_NOTIFY_ON_EMPTY) &&
	    ring->next_used == ring->next_avail && !vhu_ring_any_waiting(ring, snapshot))
		return true;
	if (!vhu_snapshot_has(snapshot, VIRTIO_RING_F_EVENT_IDX))
		return !(vhu_guest_load16(&snapshot->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	event = vhu_guest_load16(&snapshot->avail->ring[snapshot->size]);
	return vring_need_event(event, ring->next_used, old);
}

static bool
packed_wanted(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct vhu_walk old)
{
	uint32_t word = __atomic_load_n((const event_word_t *)snapshot->driver_event,
		__ATOMIC_RELAXED);
	uint16_t flags = (uint16_t)(word >> 16), event = word & (EVENT_WRAP - 1);
	uint16_t used = vhu_packed_distance(old, vhu_used_position(ring), snapshot->size);

	if (flags != VRING_PACKED_EVENT_FLAG_DESC ||
	    !vhu_snapshot_has(snapshot, VIRTIO_RING_F_EVENT_IDX))
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	/* In another lap than ours: taken as the last one. In the next, it is not reached yet. */
	if (((word & EVENT_WRAP) != 0) != ring->used_wrap)
		event = (uint16_t)(event - snapshot->size);
	return vring_need_event(event, ring->next_used, (uint16_t)(ring->next_used - used));
}

/* Does the driver want to hear of what was used since @p old? */
static bool
notification_wanted(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct vhu_walk old)
{
	if (ring->phase != VHU_RING_NOTIFIED)
		return true;
	return snapshot->format == VHU_PACKED ? packed_wanted(ring, snapshot, old) :
		split_wanted(ring, snapshot, old.next);
}

void
vhu_ring_notify(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, struct vhu_walk old)
{
	/*
	 * Partner: the driver's barrier between asking for interrupts and looking at what is used.
	 * Either it sees that, or we see its wish.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!notification_wanted(ring, snapshot, old)) {
		vhu_count(&ring->counters.calls_suppressed, 1);
		return;
	}
	ring->phase = VHU_RING_NOTIFIED;
	vhu_ring_call(ring, snapshot);
}
