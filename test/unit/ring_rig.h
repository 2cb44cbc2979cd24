/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_TEST_RING_RIG_H
#define VHU_TEST_RING_RIG_H

/**
 * @file
 * A ring of either format on the bench, with a driver that can write anything into it.
 *
 * Guest memory has two regions that are neighbours for the guest and not in this process: LOW ends
 * where HIGH begins. The ring lies in LOW; buffers of tests lie at RIG_DATA and behind it.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "unit.h"

#include "mem/dirty.h"
#include "ring/chain.h"
#include "ring/packed.h"

#define RIG_LOW UINT64_C(0x100000)
#define RIG_LOW_SIZE UINT64_C(0x200000)
#define RIG_HIGH (RIG_LOW + RIG_LOW_SIZE)
#define RIG_HIGH_SIZE UINT64_C(0x10000)
#define RIG_END (RIG_HIGH + RIG_HIGH_SIZE)

#define RIG_DESCRIPTORS RIG_LOW
#define RIG_AVAIL (RIG_LOW + 0x90000)
#define RIG_USED (RIG_LOW + 0xb0000)
#define RIG_DATA (RIG_LOW + 0x100000)
#define RIG_TABLE (RIG_LOW + 0x180000)

#define RIG_W VRING_DESC_F_WRITE
#define RIG_N VRING_DESC_F_NEXT
#define RIG_I VRING_DESC_F_INDIRECT

struct ring_rig {
	struct vhu_ring *ring;
	struct vhu_ring own;           /* unless a test brings its own */
	struct vhu_snapshot snapshot;
	struct vhu_region low, high;
	struct vhu_map *map;
	int call_fd;
	uint16_t avail;                /* driver: split: index; packed: next descriptor */
	bool wrap;                     /* driver: packed */
	struct iovec segments[VHU_SEGMENTS_MAX + 8];
	struct vhu_chain chain;
};

static struct ring_rig rig;

/** Where a guest address is in this process. */
static inline void *
rig_host(uint64_t address)
{
	if (address >= RIG_HIGH)
		return rig.high.host + (address - RIG_HIGH);
	return rig.low.host + (address - RIG_LOW);
}

static inline void
rig_region(struct vhu_region *region, uint64_t address, uint64_t size)
{
	*region = (struct vhu_region){
		.guest_address = address,
		.size = size,
		.user_address = address,
		.host = aligned_alloc(4096, size),
		.references = 1,
		.fd = -1,
	};
	assert_non_null(region->host);
	memset(region->host, 0, size);
}

/** A fresh ring of this format and size. */
static inline void
rig_begin(enum vhu_ring_format format, uint16_t size)
{
	struct vhu_region *regions[2] = { &rig.low, &rig.high };
	struct vhu_verdict verdict;

	memset(&rig, 0, sizeof(rig));
	rig_region(&rig.low, RIG_LOW, RIG_LOW_SIZE);
	rig_region(&rig.high, RIG_HIGH, RIG_HIGH_SIZE);
	rig.map = vhu_map_of(regions, 2, &verdict);
	assert_non_null(rig.map);
	rig.call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rig.wrap = true;
	rig.ring = &rig.own;
	vhu_ring_init(&rig.own);
	vhu_ring_reset(&rig.own, 0, 0);
	rig.snapshot = (struct vhu_snapshot){
		.descriptors = rig_host(RIG_DESCRIPTORS),
		.avail = rig_host(RIG_AVAIL),
		.used = rig_host(RIG_USED),
		.space.map = rig.map,
		.size = size,
		.format = format,
		.features = VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC),
		.call_fd = rig.call_fd,
		.used_guest_address = RIG_USED,
	};
}

static inline void
rig_end(void)
{
	struct vhu_region *orphans[2];

	vhu_map_drop(rig.map, orphans);
	free(rig.low.host);
	free(rig.high.host);
	close(rig.call_fd);
}

static inline bool
rig_packed(void)
{
	return rig.snapshot.format == VHU_PACKED;
}

static inline struct vring_desc *
rig_split_descriptors(void)
{
	return rig_host(RIG_DESCRIPTORS);
}

static inline struct vring_avail *
rig_avail(void)
{
	return rig_host(RIG_AVAIL);
}

static inline struct vring_used *
rig_used(void)
{
	return rig_host(RIG_USED);
}

static inline struct vring_packed_desc_event *
rig_driver_event(void)
{
	return rig_host(RIG_AVAIL);
}

static inline struct vring_packed_desc_event *
rig_device_event(void)
{
	return rig_host(RIG_USED);
}

/** One descriptor of a chain, in the words of either format. */
struct rig_buffer {
	uint64_t address;
	uint32_t length;
	uint16_t flags;
	uint16_t next; /* split only */
};

/** The driver makes an entry of the split ring available. */
static inline void
rig_offer_head(uint16_t head)
{
	rig_avail()->ring[rig.avail % rig.snapshot.size] = head;
	__atomic_store_n(&rig_avail()->idx, ++rig.avail, __ATOMIC_RELEASE);
}

/** The driver puts descriptors where it stands in the packed ring; the first one last. */
static inline void
rig_offer_packed(const struct rig_buffer *buffers, unsigned int count, uint16_t id)
{
	uint16_t first = rig.avail, at = rig.avail, first_flags = 0;
	unsigned int i;

	for (i = 0; i < count; i++) {
		uint16_t flags = buffers[i].flags |
			(uint16_t)(rig.wrap ? VHU_PACKED_AVAIL : VHU_PACKED_USED);

		rig.snapshot.packed[at].addr = buffers[i].address;
		rig.snapshot.packed[at].len = buffers[i].length;
		rig.snapshot.packed[at].id = id;
		if (i == 0)
			first_flags = flags;
		else
			rig.snapshot.packed[at].flags = flags;
		vhu_packed_advance(&at, &rig.wrap, 1, rig.snapshot.size);
	}
	__atomic_store_n(&rig.snapshot.packed[first].flags, first_flags, __ATOMIC_RELEASE);
	rig.avail = at;
}

/**
 * The driver makes a chain available. Split: its descriptors are those from @p id on, as they are,
 * next fields included.
 */
static inline void
rig_offer(const struct rig_buffer *buffers, unsigned int count, uint16_t id)
{
	unsigned int i;

	if (rig_packed()) {
		rig_offer_packed(buffers, count, id);
		return;
	}
	for (i = 0; i < count; i++)
		rig_split_descriptors()[id + i] = (struct vring_desc){ buffers[i].address,
			buffers[i].length, buffers[i].flags, buffers[i].next };
	rig_offer_head(id);
}

/** Entry @p index of an indirect table at RIG_TABLE + @p offset. */
static inline void
rig_table(uint64_t table, unsigned int index, struct rig_buffer buffer)
{
	uint8_t bytes[16] = { 0 };
	unsigned int i;

	memcpy(bytes, &buffer.address, 8);
	memcpy(bytes + 8, &buffer.length, 4);
	memcpy(bytes + (rig_packed() ? 14 : 12), &buffer.flags, 2);
	if (!rig_packed())
		memcpy(bytes + 14, &buffer.next, 2);
	for (i = 0; i < sizeof(bytes); i++)
		*(uint8_t *)rig_host(table + 16 * index + i) = bytes[i];
}

/** Look at the next chain, with all the room there may be. */
static inline enum vhu_found
rig_look(struct vhu_walk *walk)
{
	vhu_hint_check(&rig.snapshot.space, &rig.ring->hint);
	return vhu_chain_look(rig.ring, &rig.snapshot, walk, rig.segments, VHU_SEGMENTS_MAX,
		&rig.chain);
}

/** Look at and take the next chain. */
static inline enum vhu_found
rig_take(void)
{
	struct vhu_walk walk = vhu_walk_begin(rig.ring);
	enum vhu_found found = rig_look(&walk);

	if (found == VHU_FOUND_CHAIN)
		vhu_walk_take(rig.ring, &walk);
	return found;
}

static inline enum vhu_broken
rig_broken(void)
{
	return atomic_load(&rig.ring->broken);
}

/** Notifications since the last call. */
static inline uint64_t
rig_calls(void)
{
	uint64_t count = 0;

	return read(rig.call_fd, &count, sizeof(count)) == (ssize_t)sizeof(count) ? count : 0;
}

#ifdef SIZE
/* Fixtures of tests whose rings all have SIZE descriptors: the name says the format. */
static inline int
begin_split(void **state)
{
	(void)state;
	rig_begin(VHU_SPLIT, SIZE);
	return 0;
}

static inline int
begin_packed(void **state)
{
	(void)state;
	rig_begin(VHU_PACKED, SIZE);
	return 0;
}

static inline int
end(void **state)
{
	(void)state;
	rig_end();
	return 0;
}
#endif

#endif /* VHU_TEST_RING_RIG_H */
