/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "ring/split.h"

#define FEATURE(snapshot, bit) (((snapshot)->features >> (bit)) & 1)

/* A walk in progress. */
struct walk {
	struct vhu_ring *ring;
	const struct vhu_snapshot *snapshot;
	struct vhu_segment *segments;
	struct vhu_split_result *chain;
	uint16_t flags_wanted; /* VRING_DESC_F_WRITE or 0 */
};

static bool
broken(const struct walk *walk, enum vhu_broken reason, uint32_t detail)
{
	vhu_ring_break(walk->ring, reason, detail);
	return false;
}

/* Append the pieces of one buffer. */
static bool
add_buffer(const struct walk *walk, uint64_t address, uint64_t length, uint32_t index)
{
	enum vhu_access access = walk->flags_wanted ? VHU_WRITE : VHU_READ;

	if (length == 0)
		return broken(walk, VHU_BROKEN_ZERO_LENGTH, index);
	while (length != 0) {
		uint64_t size = length;
		uint8_t *host =
			vhu_translate(&walk->snapshot->space, &walk->ring->hint, address,
				&size, access);

		if (host == NULL)
			return broken(walk, VHU_BROKEN_ADDRESS, index);
		if (walk->chain->count == VHU_SEGMENTS_MAX)
			return broken(walk, VHU_BROKEN_LOOP, index);
		walk->segments[walk->chain->count++] =
			(struct vhu_segment){ host, (uint32_t)size };
		walk->chain->size += size;
		address += size;
		length -= size;
	}
	return true;
}

/* One data descriptor. */
static bool
add_descriptor(const struct walk *walk, struct vhu_descriptor d, uint32_t index)
{
	if ((vhu_descriptor_flags(d) & VRING_DESC_F_WRITE) != walk->flags_wanted)
		return broken(walk, VHU_BROKEN_DIRECTION, index);
	return add_buffer(walk, d.address, vhu_descriptor_length(d), index);
}

/* Copy entry @p index of an indirect table that may cross regions. */
static bool
load_indirect(const struct walk *walk, uint64_t table, uint32_t index, struct vhu_descriptor *d)
{
	uint64_t address = table + (uint64_t)index * sizeof(struct vring_desc);
	uint8_t *copy = (uint8_t *)d;
	unsigned int done = 0;

	while (done < sizeof(*d)) {
		uint64_t size = sizeof(*d) - done;
		const uint8_t *host = vhu_translate(&walk->snapshot->space, &walk->ring->hint,
			address + done, &size, VHU_READ);
		uint64_t i;

		if (host == NULL)
			return broken(walk, VHU_BROKEN_ADDRESS, index);
		if (size == sizeof(*d) && ((uintptr_t)host & 7) == 0) {
			*d = vhu_guest_descriptor((const struct vring_desc *)host);
			return true;
		}
		for (i = 0; i < size; i++)
			copy[done++] = __atomic_load_n(&host[i], __ATOMIC_RELAXED);
	}
	return true;
}

/* A table that one descriptor of the chain points to; it ends the chain. */
static bool
add_indirect(const struct walk *walk, struct vhu_descriptor table, uint32_t at)
{
	uint32_t length = vhu_descriptor_length(table);
	uint32_t count = length / sizeof(struct vring_desc);
	uint32_t steps, index = 0;

	if (!FEATURE(walk->snapshot, VIRTIO_RING_F_INDIRECT_DESC) || length == 0 ||
	    length % sizeof(struct vring_desc) != 0 || count > VHU_SEGMENTS_MAX ||
	    (vhu_descriptor_flags(table) & VRING_DESC_F_NEXT) ||
	    table.address + length < table.address)
		return broken(walk, VHU_BROKEN_INDIRECT, at);
	for (steps = 0; steps < count; steps++) {
		struct vhu_descriptor d;

		if (!load_indirect(walk, table.address, index, &d))
			return false;
		if (vhu_descriptor_flags(d) & VRING_DESC_F_INDIRECT)
			return broken(walk, VHU_BROKEN_INDIRECT, at);
		if (!add_descriptor(walk, d, at))
			return false;
		if (!(vhu_descriptor_flags(d) & VRING_DESC_F_NEXT))
			return true;
		index = vhu_descriptor_next(d);
		if (index >= count)
			return broken(walk, VHU_BROKEN_NEXT, at);
	}
	return broken(walk, VHU_BROKEN_LOOP, at);
}

bool
vhu_split_chain(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, uint16_t head,
	bool writable, struct vhu_segment *segments, struct vhu_split_result *chain)
{
	const struct walk walk = {
		ring, snapshot, segments, chain, writable ? VRING_DESC_F_WRITE : 0,
	};
	uint32_t index = head, steps;

	*chain = (struct vhu_split_result){ 0 };
	if (head >= snapshot->size)
		return broken(&walk, VHU_BROKEN_HEAD, head);
	for (steps = 0; steps < snapshot->size; steps++) {
		struct vhu_descriptor d = vhu_guest_descriptor(&snapshot->descriptors[index]);

		if (vhu_descriptor_flags(d) & VRING_DESC_F_INDIRECT)
			return add_indirect(&walk, d, index);
		if (!add_descriptor(&walk, d, index))
			return false;
		if (!(vhu_descriptor_flags(d) & VRING_DESC_F_NEXT))
			return true;
		index = vhu_descriptor_next(d);
		if (index >= snapshot->size)
			return broken(&walk, VHU_BROKEN_NEXT, index);
	}
	return broken(&walk, VHU_BROKEN_LOOP, head);
}
