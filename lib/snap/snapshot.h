/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_SNAP_SNAPSHOT_H
#define VHU_SNAP_SNAPSHOT_H

/**
 * @file
 * Snapshots: all that an lcore may know of a running ring, in one immutable object.
 *
 * The control side builds a snapshot, publishes it (snap/publish.h) and never changes it again; a
 * burst loads the pointer once (snap/reader.h) and uses nothing else of the device. A ring that
 * must not be touched has the parked snapshot, whose burst function moves nothing.
 */

#include <stdint.h>

#include <linux/virtio_ring.h>

#include "mem/map.h"

struct rte_mbuf;
struct vhu_ring;
struct vhu_snapshot;

/** Moves packets; @return how many. One exists per ring format, direction and feature set. */
typedef uint16_t (*vhu_burst_fn)(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, uint16_t count);

/** Written by the control thread before publication, read-only afterwards. First line: hot. */
struct vhu_snapshot {
	vhu_burst_fn burst;
	const struct vring_desc *descriptors;
	const struct vring_avail *avail;
	struct vring_used *used;
	const struct vhu_map *map; /**< the snapshot holds a reference */
	uint16_t size;             /**< descriptors */
	uint16_t header_size;      /**< 10 or 12 bytes of virtio-net header */
	int call_fd;               /**< owned by the device; -1: do not notify */
	uint64_t features;         /**< acknowledged virtio features */

	const char *body;          /**< name of the burst function, for people */
	struct vhu_map *held_map;  /**< the same map, for the control thread's reference count */
} __attribute__((aligned(64)));

/** For rings that may not be touched: moves nothing. */
extern const struct vhu_snapshot vhu_snapshot_parked;

#endif /* VHU_SNAP_SNAPSHOT_H */
