/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_MEM_INFLIGHT_H
#define VHU_MEM_INFLIGHT_H

/**
 * @file
 * The in-flight area: which chains a back-end has taken and not given back (vhost-user, "Inflight
 * I/O tracking").
 *
 * The front-end keeps the shared file; whoever serves the device after a crash finds there what is
 * to be done again. The order of our stores is what makes it work: it must survive the death of
 * this process between any two of them, so the compiler may not move them, but no other processor
 * watches. The front-end can write there at any time: nothing is read at run time, and recovery
 * reads each field once, bounds it, and ends whatever it finds.
 */

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_ring.h>

#include "wire/message.h"

/** One descriptor of a split ring, at the index of the chain's head. */
struct vhu_inflight_split_entry {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next;      /**< the head before it in the last batch given back */
	uint64_t counter;   /**< order in which chains were taken */
};

/** The part of one split ring. */
struct vhu_inflight_split {
	uint64_t features;
	uint16_t version;   /**< 0: not in use yet */
	uint16_t size;      /**< of the array */
	uint16_t last_batch_head;
	uint16_t used_idx;  /**< of the ring, as far as the marks here agree with it */
	struct vhu_inflight_split_entry entries[];
};

/** One descriptor of a packed ring, copied: the ring's own may be overwritten when used. */
struct vhu_inflight_packed_entry {
	uint8_t inflight;   /**< of a chain's first entry: the chain is taken */
	uint8_t padding;
	uint16_t next;      /**< the next entry of the chain or of the free list */
	uint16_t last;      /**< first entry only: the chain's last */
	uint16_t num;       /**< first entry only: descriptors of the chain */
	uint64_t counter;   /**< first entry only */
	uint16_t id;
	uint16_t flags;
	uint32_t length;
	uint64_t address;
};

/**
 * The part of one packed ring. The old_ fields are the last state that is certain; the others may
 * be ahead of what the driver was shown.
 */
struct vhu_inflight_packed {
	uint64_t features;
	uint16_t version;
	uint16_t size;
	uint16_t free_head;
	uint16_t old_free_head;
	uint16_t used_idx;
	uint16_t old_used_idx;
	uint8_t used_wrap;
	uint8_t old_used_wrap;
	uint8_t padding[7];
	struct vhu_inflight_packed_entry entries[];
};

/** Keeps the compiler from moving stores to the area, or to the ring, across this point. */
static inline void
vhu_inflight_step(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/*
 * Devices that take and give back within one burst (net) have nothing in flight; only the used
 * position is kept up to date.
 */

/** Split: after used->idx was stored. */
static inline void
vhu_inflight_split_used(void *area, uint16_t used_idx)
{
	struct vhu_inflight_split *split = (struct vhu_inflight_split *)area;

	vhu_inflight_step();
	__atomic_store_n(&split->used_idx, used_idx, __ATOMIC_RELAXED);
}

/** Packed: before the first used descriptor of a burst is stored. @param next, wrap  after it. */
static inline void
vhu_inflight_packed_begin(void *area, uint16_t next, bool wrap)
{
	struct vhu_inflight_packed *packed = (struct vhu_inflight_packed *)area;

	__atomic_store_n(&packed->used_idx, next, __ATOMIC_RELAXED);
	__atomic_store_n(&packed->used_wrap, wrap, __ATOMIC_RELAXED);
	vhu_inflight_step();
}

/** Packed: after the last store that makes the burst visible. Same values. */
static inline void
vhu_inflight_packed_end(void *area, uint16_t next, bool wrap)
{
	struct vhu_inflight_packed *packed = (struct vhu_inflight_packed *)area;

	vhu_inflight_step();
	__atomic_store_n(&packed->old_used_idx, next, __ATOMIC_RELAXED);
	__atomic_store_n(&packed->old_used_wrap, wrap, __ATOMIC_RELAXED);
}

/* What devices with requests under way do, chain by chain. */

/** Split: taken. */
void vhu_inflight_split_take(struct vhu_inflight_split *area, uint16_t head, uint64_t counter);
/** Split: put back, or given back and published. */
void vhu_inflight_split_clear(struct vhu_inflight_split *area, uint16_t head);
/** Split: about to be published; @p before is the head of the batch so far. */
void vhu_inflight_split_link(struct vhu_inflight_split *area, uint16_t head, uint16_t before);

/** Packed: the free list as we know it; the one in the area is never read back. */
struct vhu_inflight_free {
	uint16_t head;
	uint16_t *next;     /**< one for each entry */
};

/** A chain in the area of a packed ring. */
struct vhu_inflight_place {
	uint16_t first;
	uint16_t last;
	uint16_t count;     /**< entries */
};

/** A descriptor as it is copied. */
struct vhu_inflight_copy {
	uint64_t address;
	uint32_t length;
	uint16_t id;
	uint16_t flags;
};

/** Packed: one descriptor of the chain being taken goes to the end of @p place. */
void vhu_inflight_packed_add(struct vhu_inflight_packed *area, struct vhu_inflight_free *free,
	struct vhu_inflight_place *place, const struct vhu_inflight_copy *copy);
/** Packed: all of the chain is there: taken. */
void vhu_inflight_packed_take(struct vhu_inflight_packed *area,
	const struct vhu_inflight_free *free, const struct vhu_inflight_place *place,
	uint64_t counter);
/** Packed: about to be published: back to the free list, but still marked. */
void vhu_inflight_packed_link(struct vhu_inflight_packed *area, struct vhu_inflight_free *free,
	const struct vhu_inflight_place *place);
/** Packed: published, or put back after a link: no longer marked. */
void vhu_inflight_packed_clear(struct vhu_inflight_packed *area,
	const struct vhu_inflight_place *place);
/** Packed: the free list as it is now is certain. */
void vhu_inflight_packed_settle(struct vhu_inflight_packed *area,
	const struct vhu_inflight_free *free);

/* Recovery, at ring start. */

/** A chain that was taken and not given back. */
struct vhu_inflight_chain {
	uint64_t counter;
	uint16_t head;      /**< split: of the ring; packed: place.first */
	uint16_t id;        /**< packed: buffer id */
	uint16_t copy;      /**< packed: its first descriptor in the copies */
	struct vhu_inflight_place place; /**< packed */
};

/** Where a ring goes on, and what is to be done again first. The arrays are the caller's. */
struct vhu_inflight_state {
	/** in: the used side as far as the ring itself or the front-end knows; out: as it is */
	uint16_t next_used;
	bool used_wrap;
	uint16_t next_avail; /**< out */
	bool avail_wrap;     /**< out */
	uint64_t counter;    /**< out: for the next chain */
	uint16_t count;      /**< out: of chains */
	/** out: in the order in which they were taken; as many as the ring's size */
	struct vhu_inflight_chain *chains;
	struct vhu_inflight_copy *copies;  /**< packed: out; as many */
	struct vhu_inflight_free free;     /**< packed: out; as many */
};

/**
 * For devices that give back within a burst: where the ring goes on. All marks are cleared. Sets
 * the positions of @p state only, and needs none of its arrays.
 */
void vhu_inflight_split_resume(struct vhu_inflight_split *area, uint16_t capacity,
	struct vhu_inflight_state *state);
void vhu_inflight_packed_resume(struct vhu_inflight_packed *area, uint16_t size,
	uint16_t capacity, const struct vring_packed_desc *ring, struct vhu_inflight_state *state);

/**
 * Find out what is in flight, and make the area agree with it. An area that is fresh, or that makes
 * no sense, is begun anew with nothing in flight.
 * @param size  of the ring. @param capacity  entries that there is room for, at least size.
 */
void vhu_inflight_split_recover(struct vhu_inflight_split *area, uint16_t size,
	uint16_t capacity, struct vhu_inflight_state *state);
/** The same of a packed ring, whose descriptors tell what the driver was shown. */
void vhu_inflight_packed_recover(struct vhu_inflight_packed *area, uint16_t size,
	uint16_t capacity, const struct vring_packed_desc *ring, struct vhu_inflight_state *state);

/* The file. */

/** An area that the front-end attached. */
struct vhu_inflight_area {
	void *mapping;
	uint64_t mapping_size;
	uint8_t *base;       /**< of the first ring's part */
	uint64_t size;       /**< bytes from there */
	uint16_t rings;
	uint16_t ring_size;  /**< entries of each */
	unsigned int references; /**< control thread only */
};

/** Bytes from one ring's part to the next. */
uint64_t vhu_inflight_stride(bool packed, uint16_t ring_size);

/**
 * Make a file for an area: all 0, sealed against growing and shrinking.
 * @param fd  receives the descriptor. @return bytes of the area, or 0 (errno says why).
 */
uint64_t vhu_inflight_create(bool packed, uint16_t rings, uint16_t ring_size, int *fd);

/**
 * Map an area. The descriptor stays the caller's.
 * @param rings_max  rings of the device. @param area  receives it with one reference.
 */
struct vhu_verdict vhu_inflight_attach(const struct vhu_wire_inflight *wire, int fd, bool packed,
	uint16_t rings_max, struct vhu_inflight_area **area);

/** Drop a reference; unmap with the last. NULL is allowed. */
void vhu_inflight_drop(struct vhu_inflight_area *area);

/** The part of one ring. @return NULL if there is none of this format and size. */
void *vhu_inflight_part(const struct vhu_inflight_area *area, bool packed, uint16_t ring,
	uint16_t ring_size);

#endif /* VHU_MEM_INFLIGHT_H */
