/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "ring/chain_private.h"
#include "ring/packed.h"

/*
 * A table that a descriptor points to; it ends the chain. Its entries are used as listed: they have
 * no flags but WRITE (virtio 1.3, 2.8.7).
 */
static enum vhu_found
add_indirect(const struct vhu_chain_build *build, struct vhu_descriptor table, uint32_t at)
{
	uint32_t count = vhu_descriptor_length(table) / sizeof(struct vring_packed_desc);
	enum vhu_found found = vhu_chain_check_table(build, table.address,
		vhu_descriptor_length(table), vhu_packed_flags(table) & VRING_DESC_F_NEXT, at);
	uint32_t i;

	for (i = 0; i < count && found == VHU_FOUND_CHAIN; i++) {
		struct vhu_descriptor d;

		found = vhu_chain_load(build, table.address, i, &d);
		if (found != VHU_FOUND_CHAIN)
			return found;
		if (vhu_packed_flags(d) & VRING_DESC_F_INDIRECT)
			return vhu_chain_broken(build, VHU_BROKEN_INDIRECT, at);
		found = vhu_chain_add(build, d.address, vhu_descriptor_length(d),
			(vhu_packed_flags(d) & VRING_DESC_F_WRITE) &&
			!build->snapshot->reads_tables, at);
	}
	return found;
}

enum vhu_found
vhu_packed_add(const struct vhu_chain_build *build, struct vhu_descriptor d, uint32_t at)
{
	build->chain->id = vhu_packed_id(d);
	build->chain->slots++;
	if (vhu_packed_flags(d) & VRING_DESC_F_INDIRECT)
		return add_indirect(build, d, at);
	return vhu_chain_add(build, d.address, vhu_descriptor_length(d),
		vhu_packed_flags(d) & VRING_DESC_F_WRITE, at);
}

/*
 * The descriptors behind the first were written before its flags, so nobody looks at whose they
 * are. @param room  descriptors that may belong to the chain.
 */
static enum vhu_found
add_chain(const struct vhu_chain_build *build, struct vhu_descriptor d, uint16_t index,
	uint16_t room)
{
	for (;;) {
		enum vhu_found found = vhu_packed_add(build, d, index);

		if (found != VHU_FOUND_CHAIN || !(vhu_packed_flags(d) & VRING_DESC_F_NEXT))
			return found;
		if (build->chain->slots == room)
			return vhu_chain_broken(build, VHU_BROKEN_LOOP, index);
		index = index + 1 == build->snapshot->size ? 0 : (uint16_t)(index + 1);
		d = vhu_packed_load(build->snapshot, index);
	}
}

enum vhu_found
vhu_packed_look(const struct vhu_chain_build *build, struct vhu_walk *walk)
{
	const uint16_t size = build->snapshot->size;
	/* What was passed already is not taken yet and cannot be available again. */
	uint16_t passed = vhu_packed_distance(vhu_walk_begin(build->ring), *walk, size);
	struct vhu_descriptor d;
	enum vhu_found found;

	if (passed >= size)
		return VHU_FOUND_NONE;
	d = vhu_packed_load(build->snapshot, walk->next);
	if (!vhu_packed_is_available(vhu_packed_flags(d), walk->wrap))
		return VHU_FOUND_NONE;
	found = add_chain(build, d, walk->next, (uint16_t)(size - passed));
	if (found != VHU_FOUND_CHAIN)
		return found;
	/* The id comes back to the driver, and is an index of ours into tables of this size. */
	if (build->chain->id >= size)
		return vhu_chain_broken(build, VHU_BROKEN_HEAD, build->chain->id);
	vhu_packed_advance(&walk->next, &walk->wrap, build->chain->slots, size);
	return VHU_FOUND_CHAIN;
}
