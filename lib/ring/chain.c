/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "ring/chain_private.h"

enum vhu_found
vhu_chain_broken(const struct vhu_chain_build *build, enum vhu_broken reason, uint32_t detail)
{
	vhu_ring_break(build->ring, reason, detail);
	return VHU_FOUND_STOP;
}

/* The first byte has no translation: a fault, unless the front-end can be asked for it. */
static enum vhu_found
untranslated(const struct vhu_chain_build *build, uint64_t address, enum vhu_access access,
	uint32_t at)
{
	if (build->snapshot->space.iotlb == NULL)
		return vhu_chain_broken(build, VHU_BROKEN_ADDRESS, at);
	vhu_ring_miss(build->ring, address, access);
	return VHU_FOUND_STOP;
}

static enum vhu_found
add_segment(const struct vhu_chain_build *build, void *host, uint64_t size, bool writable,
	uint32_t at)
{
	struct vhu_chain *chain = build->chain;
	uint32_t count = (uint32_t)chain->readable + chain->writable;

	if (count == VHU_SEGMENTS_MAX)
		return vhu_chain_broken(build, VHU_BROKEN_LOOP, at);
	if (count >= build->room)
		return VHU_FOUND_ROOM;
	build->segments[count] = (struct iovec){ host, size };
	if (writable) {
		chain->writable++;
		chain->writable_size += size;
	} else {
		chain->readable++;
		chain->readable_size += size;
	}
	return VHU_FOUND_CHAIN;
}

enum vhu_found
vhu_chain_add(const struct vhu_chain_build *build, uint64_t address, uint64_t length,
	bool writable, uint32_t at)
{
	enum vhu_access access = writable ? VHU_WRITE : VHU_READ;
	enum vhu_found found = VHU_FOUND_CHAIN;

	if (!writable && build->chain->writable != 0)
		return vhu_chain_broken(build, VHU_BROKEN_DIRECTION, at);
	if (length == 0)
		return vhu_chain_broken(build, VHU_BROKEN_ZERO_LENGTH, at);
	while (length != 0 && found == VHU_FOUND_CHAIN) {
		uint64_t size = length;
		void *host = vhu_translate(&build->snapshot->space, &build->ring->hint, address,
			&size, access);

		if (host == NULL)
			return untranslated(build, address, access, at);
		found = add_segment(build, host, size, writable, at);
		address += size;
		length -= size;
	}
	return found;
}

enum vhu_found
vhu_chain_check_table(const struct vhu_chain_build *build, uint64_t address, uint32_t length,
	bool next, uint32_t at)
{
	uint32_t count = length / sizeof(struct vring_desc);

	if (!vhu_snapshot_has(build->snapshot, VIRTIO_RING_F_INDIRECT_DESC) || length == 0 ||
	    length % sizeof(struct vring_desc) != 0 || count > VHU_SEGMENTS_MAX || next ||
	    address + length < address)
		return vhu_chain_broken(build, VHU_BROKEN_INDIRECT, at);
	return VHU_FOUND_CHAIN;
}

enum vhu_found
vhu_chain_load(const struct vhu_chain_build *build, uint64_t table, uint32_t index,
	struct vhu_descriptor *descriptor)
{
	uint64_t address = table + (uint64_t)index * sizeof(struct vring_desc);
	uint8_t *copy = (uint8_t *)descriptor;
	unsigned int done = 0;

	while (done < sizeof(*descriptor)) {
		uint64_t size = sizeof(*descriptor) - done;
		const uint8_t *host = vhu_translate(&build->snapshot->space, &build->ring->hint,
			address + done, &size, VHU_READ);
		uint64_t i;

		if (host == NULL)
			return untranslated(build, address + done, VHU_READ, index);
		if (size == sizeof(*descriptor) && ((uintptr_t)host & 7) == 0) {
			*descriptor = vhu_guest_descriptor((const struct vring_desc *)host);
			return VHU_FOUND_CHAIN;
		}
		for (i = 0; i < size; i++)
			copy[done++] = __atomic_load_n(&host[i], __ATOMIC_RELAXED);
	}
	return VHU_FOUND_CHAIN;
}

enum vhu_found
vhu_chain_look(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, struct vhu_walk *walk,
	struct iovec *segments, uint32_t room, struct vhu_chain *chain)
{
	const struct vhu_chain_build build = { ring, snapshot, segments, room, chain };

	*chain = (struct vhu_chain){ 0 };
	if (vhu_ring_is_broken(ring))
		return VHU_FOUND_STOP;
	return snapshot->format == VHU_PACKED ? vhu_packed_look(&build, walk) :
		vhu_split_look(&build, walk);
}
