/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "ring/chain_private.h"
#include "ring/split.h"

static enum vhu_found
add_descriptor(const struct vhu_chain_build *build, struct vhu_descriptor d, uint32_t at)
{
	return vhu_chain_add(build, d.address, vhu_descriptor_length(d),
		vhu_descriptor_flags(d) & VRING_DESC_F_WRITE, at);
}

/* A table that one descriptor of the chain points to; it ends the chain. */
static enum vhu_found
add_indirect(const struct vhu_chain_build *build, struct vhu_descriptor table, uint32_t at)
{
	uint32_t count = vhu_descriptor_length(table) / sizeof(struct vring_desc);
	enum vhu_found found = vhu_chain_check_table(build, table.address,
		vhu_descriptor_length(table), vhu_descriptor_flags(table) & VRING_DESC_F_NEXT, at);
	uint32_t steps, index = 0;

	for (steps = 0; steps < count && found == VHU_FOUND_CHAIN; steps++) {
		struct vhu_descriptor d;

		found = vhu_chain_load(build, table.address, index, &d);
		if (found != VHU_FOUND_CHAIN)
			return found;
		if (vhu_descriptor_flags(d) & VRING_DESC_F_INDIRECT)
			return vhu_chain_broken(build, VHU_BROKEN_INDIRECT, at);
		found = add_descriptor(build, d, at);
		if (found != VHU_FOUND_CHAIN || !(vhu_descriptor_flags(d) & VRING_DESC_F_NEXT))
			return found;
		index = vhu_descriptor_next(d);
		if (index >= count)
			return vhu_chain_broken(build, VHU_BROKEN_NEXT, at);
	}
	if (found != VHU_FOUND_CHAIN)
		return found;
	return vhu_chain_broken(build, VHU_BROKEN_LOOP, at);
}

enum vhu_found
vhu_split_add(const struct vhu_chain_build *build, uint32_t head)
{
	const struct vhu_snapshot *snapshot = build->snapshot;
	uint32_t index = head, steps;

	for (steps = 0; steps < snapshot->size; steps++) {
		struct vhu_descriptor d = vhu_guest_descriptor(&snapshot->descriptors[index]);
		enum vhu_found found;

		if (vhu_descriptor_flags(d) & VRING_DESC_F_INDIRECT)
			return add_indirect(build, d, index);
		found = add_descriptor(build, d, index);
		if (found != VHU_FOUND_CHAIN || !(vhu_descriptor_flags(d) & VRING_DESC_F_NEXT))
			return found;
		index = vhu_descriptor_next(d);
		if (index >= snapshot->size)
			return vhu_chain_broken(build, VHU_BROKEN_NEXT, index);
	}
	return vhu_chain_broken(build, VHU_BROKEN_LOOP, head);
}

enum vhu_found
vhu_split_look(const struct vhu_chain_build *build, struct vhu_walk *walk)
{
	uint16_t passed = (uint16_t)(walk->next - build->ring->next_avail);
	enum vhu_found found;
	uint16_t head;

	if (passed >= build->snapshot->size ||
	    vhu_split_available(build->ring, build->snapshot, (uint16_t)(passed + 1)) <= passed)
		return vhu_ring_is_broken(build->ring) ? VHU_FOUND_STOP : VHU_FOUND_NONE;
	head = vhu_split_head(build->snapshot, walk->next);
	if (head >= build->snapshot->size)
		return vhu_chain_broken(build, VHU_BROKEN_HEAD, head);
	build->chain->id = head;
	build->chain->slots = 1;
	found = vhu_split_add(build, head);
	if (found == VHU_FOUND_CHAIN)
		walk->next++;
	return found;
}
