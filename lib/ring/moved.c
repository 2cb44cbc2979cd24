/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "ring/packed.h"
#include "ring/split.h"

/*
 * A look at the buffers ahead of a ring behind an IOMMU, by the lcore itself. Mostly their
 * translations are known, and then nobody has to be asked: waking the control thread is a system
 * call, which every few frames costs more than the frames do. Each buffer is looked at once.
 */

/* A chain or a table is not followed: the control thread does that. */
#define NOT_ONE (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT)

/* Can the whole buffer be written? */
static bool
is_known(const struct vhu_snapshot *snapshot, struct vhu_hint *hint, struct vhu_descriptor d,
	uint16_t flags)
{
	uint64_t size = vhu_descriptor_length(d);

	if ((flags & NOT_ONE) != 0)
		return false;
	return size == 0 ||
		(vhu_translate(&snapshot->space, hint, d.address, &size, VHU_WRITE) != NULL &&
			size == vhu_descriptor_length(d));
}

/*
 * Look from the ring->looked-th buffer on, as far as there are any.
 * @param hint  a copy: the ring's own is for the buffers that come first.
 */
static bool
split_known(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, struct vhu_hint hint)
{
	uint16_t there = (uint16_t)(ring->avail_seen - ring->next_avail);
	bool known = true;

	if (there < VHU_RING_AHEAD)
		there = (uint16_t)(vhu_guest_acquire16(&snapshot->avail->idx) - ring->next_avail);
	if (there > snapshot->size) /* the burst will break the ring */
		return true;
	for (; ring->looked < there && ring->looked < VHU_RING_AHEAD; ring->looked++) {
		uint16_t head = vhu_split_head(snapshot,
			(uint16_t)(ring->next_avail + ring->looked));
		struct vhu_descriptor d;

		if (head >= snapshot->size)
			break;
		d = vhu_guest_descriptor(&snapshot->descriptors[head]);
		known = known && is_known(snapshot, &hint, d, vhu_descriptor_flags(d));
	}
	return known;
}

static bool
packed_known(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, struct vhu_hint hint)
{
	uint16_t next = ring->next_avail;
	bool wrap = ring->avail_wrap, known = true;

	for (vhu_packed_advance(&next, &wrap, ring->looked, snapshot->size);
	     ring->looked < VHU_RING_AHEAD && ring->looked < snapshot->size; ring->looked++) {
		struct vhu_descriptor d = vhu_packed_load(snapshot, next);

		if (!vhu_packed_is_available(vhu_packed_flags(d), wrap))
			break;
		known = known && is_known(snapshot, &hint, d, vhu_packed_flags(d));
		vhu_packed_advance(&next, &wrap, 1, snapshot->size);
	}
	return known;
}

/* How far the ring has come since the last look. */
static uint16_t
steps(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot)
{
	uint16_t moved = (uint16_t)(ring->next_avail - ring->attended);

	if (snapshot->format == VHU_PACKED && ring->next_avail < ring->attended)
		moved = (uint16_t)(moved + snapshot->size);
	return moved;
}

void
vhu_ring_moved(struct vhu_ring *ring, const struct vhu_snapshot *snapshot)
{
	uint16_t moved = steps(ring, snapshot);

	vhu_ring_note_place(ring);
	ring->looked = ring->looked > moved ? (uint16_t)(ring->looked - moved) : 0;
	ring->attended = ring->next_avail;
	if (ring->looked_generation != ring->hint.generation) {
		/* What was known may have been taken out. */
		ring->looked_generation = ring->hint.generation;
		ring->looked = 0;
	}
	if (ring->looked > VHU_RING_AHEAD / 2)
		return;
	if (!(snapshot->format == VHU_PACKED ? packed_known(ring, snapshot, ring->hint) :
			split_known(ring, snapshot, ring->hint)))
		vhu_ring_ask_attention();
}
