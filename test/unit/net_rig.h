/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_TEST_NET_RIG_H
#define VHU_TEST_NET_RIG_H

/**
 * @file
 * A guest in the test's own memory: one ring, buffers, and a queue of lib/net that serves it.
 *
 * Guest memory is two regions with neighbouring guest addresses whose mappings are far apart, each
 * between inaccessible pages: a byte outside a region ends the test. The ring and most buffers
 * lie in the first. Buffers are RIG_SLOT bytes apart; slot 0 begins behind the ring. The ring is
 * split (rig_new) or packed (rig_new_packed); what follows is for one of them where it says so.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <vhu_net.h>

#include "net/queue.h"
#include "ring/packed.h"
#include "ring/split.h"
#include "wire/spec.h"

#define RIG_BASE   0x100000u  /* guest address of the first region */
#define RIG_REGION 0x400000u  /* bytes of each region */
#define RIG_SIZE   256        /* descriptors */
#define RIG_SLOT   2048       /* bytes between buffers */

struct rig {
	struct vhu_queue *queue;
	struct vhu_snapshot snapshot;
	struct vhu_map *map;
	uint8_t *region[2];
	struct vring_desc *descriptors;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t filled;          /* avail->idx as the driver means it; packed: next descriptor */
	bool filled_wrap;         /* packed: the driver's wrap counter there */
	uint16_t reaped;          /* packed: where the driver looks for used descriptors */
	bool reaped_wrap;
	struct vring_packed_desc *packed;
	struct vring_packed_desc_event *driver_event, *device_event;
	int call_fd;
	struct rte_mempool *pool;
};

/* Start EAL (once) and make the pools. For cmocka_run_group_tests(). */
int rig_group_setup(void **state);

/* A running ring: @p index as in vhost-user, @p features beyond VERSION_1. */
struct rig *rig_new(uint16_t index, uint64_t features);
void rig_free(struct rig *rig);
/*
 * Choose the burst function for what the snapshot says now. With VHU_TEST_COPIED in the environment
 * all rings of the rig are copied ones (ring/copied.h).
 */
void rig_specialise(struct rig *rig);
/* Restart at positions, as after SET_VRING_BASE. */
void rig_start_at(struct rig *rig, uint16_t position);

/* Guest address of a slot, and where it is mapped. */
uint64_t rig_slot(unsigned int slot);
uint8_t *rig_host(struct rig *rig, uint64_t address);

/* Write a descriptor; make a head available; both as a driver does. */
void rig_descriptor(struct rig *rig, uint16_t index, uint64_t address, uint32_t size,
	uint16_t flags, uint16_t next);
void rig_available(struct rig *rig, uint16_t head);
/* One buffer of one descriptor: descriptor and slot of the same number. */
void rig_buffer(struct rig *rig, uint16_t index, uint32_t size, uint16_t flags);

/*
 * The same with a packed ring of @p size descriptors (at most RIG_SIZE). @p features beyond
 * VERSION_1 and RING_PACKED.
 */
struct rig *rig_new_packed(uint16_t index, uint64_t features, uint16_t size);
/* Packed: restart at positions, as after SET_VRING_BASE. */
void rig_start_packed_at(struct rig *rig, uint16_t avail, bool avail_wrap, uint16_t used,
	bool used_wrap);

/* A descriptor of a packed ring to be made available. */
struct rig_piece {
	uint64_t address;
	uint32_t size;
	uint16_t flags;           /* NEXT is added where it belongs */
};
/* Packed: make a chain available, its first descriptor last. */
void rig_chain(struct rig *rig, uint16_t id, const struct rig_piece *pieces, unsigned int count);
/* Packed: one buffer of one descriptor: id and slot of the same number. */
void rig_put(struct rig *rig, uint16_t id, uint32_t size, uint16_t flags);
/* Packed: a header of zeros and a patterned frame in the id's slot. */
void rig_put_frame(struct rig *rig, uint16_t id, uint32_t frame_size);
/*
 * Packed: take the next used descriptor, which stands for @p slots. @return false if there is none.
 * Fails the test unless WRITE says whether there is a length.
 */
bool rig_reap(struct rig *rig, uint16_t slots, uint16_t *id, uint32_t *length);
/* Packed: the next used descriptor must be this one. */
void rig_expect_used(struct rig *rig, uint16_t slots, uint16_t id, uint32_t length);

/* Bytes of a frame: a pattern that depends on @p seed. */
void rig_pattern(uint8_t *data, uint32_t size, unsigned int seed);
int rig_matches(const uint8_t *data, uint32_t size, unsigned int seed);
/* Put a header of zeros and a patterned frame into a slot and make it available. */
void rig_send(struct rig *rig, uint16_t index, uint32_t frame_size);
/* An mbuf (chain) with a patterned frame in segments of @p segment_size. */
struct rte_mbuf *rig_mbuf(struct rig *rig, uint32_t size, uint32_t segment_size,
	unsigned int seed);
/* Does a received packet hold the pattern? */
int rig_packet_matches(const struct rte_mbuf *m, uint32_t size, unsigned int seed);

uint64_t rig_drops(const struct rig *rig, enum vhu_drop reason);
enum vhu_broken rig_broken(const struct rig *rig);
/* Notifications since the last look. */
uint64_t rig_calls(struct rig *rig);

#endif /* VHU_TEST_NET_RIG_H */
