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

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/virtio_ring.h>

#include <vhu_poll.h>

#include "mem/translate.h"

struct rte_mbuf;
struct vhu_alias;
struct vhu_dirty;
struct vhu_ring;
struct vhu_snapshot;

/** How a ring is laid out (virtio 1.3, sections 2.7 and 2.8). */
enum vhu_ring_format {
	VHU_SPLIT = 0,
	VHU_PACKED,
};

/** In vhu_snapshot.call_fd: the control thread notifies (see vhu_ring_call()). */
#define VHU_CALL_BY_CONTROL (-2)

/** Moves packets; @return how many. One exists per ring format, direction and feature set. */
typedef uint16_t (*vhu_burst_fn)(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, uint16_t count);

/**
 * Written by the control thread before publication, read-only afterwards. First line: hot.
 * A packed ring has other things at the three addresses of a ring than a split one.
 */
struct vhu_snapshot {
	/* From here to peek as in struct vhu_poll_view, which a poll looks at without a call. */
	union {
		const struct vring_desc *descriptors;         /**< split */
		struct vring_packed_desc *packed;             /**< packed: the ring itself */
	};
	union {
		const struct vring_avail *avail;              /**< split */
		const struct vring_packed_desc_event *driver_event; /**< packed: its wishes */
	};
	uint16_t size;             /**< descriptors */
	uint8_t header_size;       /**< 10, 12 or 20 bytes of virtio-net header */
	uint8_t format;            /**< enum vhu_ring_format */
	uint8_t peek;              /**< enum vhu_peek */
	vhu_burst_fn burst;
	union {
		struct vring_used *used;                      /**< split */
		struct vring_packed_desc_event *device_event; /**< packed: ours */
	};
	struct vhu_space space;    /**< the snapshot holds a reference on the map */
	/** owned by the device; -1: do not notify; VHU_CALL_BY_CONTROL: not by the lcore */
	int call_fd;
	/**
	 * Tells this snapshot from those that its memory held before; 0: parked. 32 bits: a reader
	 * would have to sleep through all of them to meet one again.
	 */
	uint32_t serial;

	uint64_t features;         /**< acknowledged virtio features */
	/** where written pages are noted; NULL: nowhere. Outlives the snapshot. */
	const struct vhu_dirty *dirty;
	/** guest-physical address of the used ring for the log; valid if dirty_ring */
	uint64_t used_guest_address;
	/** the ring's part of the inflight area; NULL: none. Outlives the snapshot. */
	void *inflight;
	/** writes to the ring itself are to be noted too, or to be carried over (ring/copied.h) */
	bool dirty_ring;
	bool in_order;             /**< IN_ORDER was acknowledged */
	/*
	 * Entries of a packed ring's indirect tables are to be read, whatever their flags say: a
	 * driver's network header and part of its frames come marked as to be written (DPDK's).
	 */
	bool reads_tables;
	/** after each burst the lcore notes where it stands (vhu_ring_moved()) */
	bool notes_place;
	vhu_burst_fn inner;        /**< what a burst that does more than that calls, or NULL */
	vhu_burst_fn counted;      /**< what a burst that keeps histograms calls, or NULL */
	vhu_burst_fn copied;       /**< what a burst on a copied ring calls (ring/copied.h) */
	const char *body;          /**< name of the burst function, for people */
	/** the second mapping, or copy, that all three addresses are in, or NULL; our own */
	struct vhu_alias *alias;
	struct vhu_map *held_map;  /**< the same map, for the control thread's reference count */
} __attribute__((aligned(64)));

#define VHU_SAME_PLACE(field) \
	_Static_assert(offsetof(struct vhu_snapshot, field) == \
			offsetof(struct vhu_poll_view, field), "struct vhu_poll_view: " #field)
VHU_SAME_PLACE(descriptors);
VHU_SAME_PLACE(avail);
VHU_SAME_PLACE(format);
VHU_SAME_PLACE(peek);
#undef VHU_SAME_PLACE
_Static_assert(offsetof(struct vhu_snapshot, features) == 64, "what each burst reads: one line");

/** For rings that may not be touched: moves nothing. */
extern const struct vhu_snapshot vhu_snapshot_parked;

/**
 * The same for a ring that keeps elements and rests: its memory lost a translation that will come
 * again, perhaps. Elements may come back meanwhile, and are not to be forgotten.
 */
extern const struct vhu_snapshot vhu_snapshot_resting;

#endif /* VHU_SNAP_SNAPSHOT_H */
