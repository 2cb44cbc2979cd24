/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_RING_ELEMENT_H
#define VHU_RING_ELEMENT_H

/**
 * @file
 * Elements: chains that stay with the device for a while.
 *
 * A network burst takes chains and gives them back in one call; a disk keeps a request until its
 * data is there. An element queue remembers what is in flight: each id at most once and no more
 * than the ring holds. Elements come back in any order and become visible when they are flushed;
 * with IN_ORDER they wait until all taken before them are back. What was taken last can be put
 * back. If the front-end gave an in-flight area, it is kept so that a successor finds every
 * element that was not given back, and what a predecessor left is taken first.
 *
 * Whoever bursts on the ring owns the queue; the control thread touches it only between
 * vhu_element_queue_start() and the ring's publication. Nothing here allocates.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "mem/inflight.h"
#include "ring/chain.h"

/** One element. Filled in by vhu_elements_take(); give the same back, segments included. */
struct vhu_element {
	struct vhu_chain chain;
	/** tells elements with the same id apart; a former life's is never mistaken for ours */
	uint32_t sequence;
	/** chain.readable, then chain.writable segments; the caller's memory */
	struct iovec *segments;
};

/** Of an id. */
enum vhu_element_state {
	VHU_ELEMENT_NONE = 0, /**< with the driver */
	VHU_ELEMENT_TAKEN,    /**< with the device */
	VHU_ELEMENT_BACK,     /**< given back, to be flushed */
};

/** In vhu_element_slot.marks: a predecessor took it. */
#define VHU_ELEMENT_AGAIN 1
/** ... for whoever takes elements to set; cleared when the next element with this id is taken. */
#define VHU_ELEMENT_KEPT 2

/** What the queue knows of an id. */
struct vhu_element_slot {
	uint32_t sequence;   /**< low bits of queue->taken when it was */
	uint32_t room;       /**< bytes that can be written, UINT32_MAX if more */
	uint32_t written;    /**< bytes, when it is back */
	uint16_t slots;      /**< descriptors of the ring that it takes */
	uint8_t state;       /**< enum vhu_element_state */
	uint8_t marks;       /**< VHU_ELEMENT_AGAIN, _KEPT */
	struct vhu_inflight_place place; /**< packed: in the in-flight area */
} __attribute__((aligned(32)));  /* found by a shift */

struct vhu_element_queue {
	struct vhu_ring ring;             /**< first: what the device publishes */

	/* All below: whoever bursts; the control thread while the ring is parked. */
	uint16_t size;                    /**< of the ring; 0: never started */
	/** of the arrays order and filled, whose sizes are powers of two: no division */
	uint32_t mask;
	/**
	 * Serial of the snapshot with which the short way is open (ring/element_direct.h). Whoever
	 * bursts, or the control thread while the ring is parked: writes; whoever bursts: reads,
	 * even if it is parked.
	 */
	_Atomic(uint32_t) open;
	union {
		struct {
			uint16_t in_flight;       /**< taken and not flushed */
			uint16_t in_flight_slots; /**< descriptors of those */
		};
		uint32_t in_flight_both;  /**< changed at once where each has one descriptor */
	};
	struct vhu_element_slot *slots;   /**< by id */

	uint16_t *order;                  /**< ids as taken: entry n & mask */
	uint64_t taken;                   /**< entries of order in this and all former lives */
	uint64_t oldest;                  /**< in order: the first that is not flushed */

	uint16_t *filled;                 /**< ids as given back, or none: entry n & mask */
	uint64_t fill;                    /**< next to be flushed */
	uint64_t fill_end;                /**< behind the last one filled */

	struct vhu_walk notified;         /**< used position when the driver was notified last */
	uint32_t silent;                  /**< descriptors flushed since then */

	uint16_t batch_head;              /**< in-flight area: last_batch_head */
	uint64_t counter;                 /**< in-flight area: of the next element */
	struct vhu_inflight_free free;    /**< in-flight area of a packed ring */
	uint16_t again_next;              /**< of the array below: next to be taken */
	uint16_t again_count;
	struct vhu_inflight_chain *again; /**< what a predecessor left, in its order */
	struct vhu_inflight_copy *copies; /**< packed: their descriptors */
};

/** Prepare a queue that was never started: parked, nothing in flight. */
void vhu_element_queue_init(struct vhu_element_queue *queue);

/** Bytes of memory that a queue on a ring of this size needs. */
size_t vhu_element_queue_memory(uint16_t size);

/**
 * Begin a life. Control thread, ring parked and quiet, before vhu_ring_reset(): elements of the
 * former life are forgotten. Recovers from the in-flight area if the snapshot has one.
 * @param memory  vhu_element_queue_memory() bytes, aligned as malloc() does; kept until the next
 *                start. @param capacity  entries of the in-flight area.
 * @param snapshot  as it will be published.
 * @param avail, used  in: positions as the front-end and the ring tell; out: where to begin.
 */
void vhu_element_queue_start(struct vhu_element_queue *queue, void *memory,
	const struct vhu_snapshot *snapshot, uint16_t capacity, struct vhu_walk *avail,
	struct vhu_walk *used);

/**
 * Take up to @p count elements. What a predecessor left comes first.
 * @param segments  room for @p room of them, shared by the elements; with VHU_SEGMENTS_MAX at
 *                  least one element always fits.
 * @return how many. 0: nothing waits, everything is in flight, the ring is parked or broken.
 */
uint16_t vhu_elements_take(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	struct vhu_element *elements, uint16_t count, struct iovec *segments, uint32_t room);

/**
 * Put the @p count elements that were taken last back, as if they had not been taken.
 * @return false, and nothing is done, if fewer are in flight or one of them was given back.
 */
bool vhu_elements_untake(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	uint16_t count);

/**
 * Give an element back, to be seen by the driver after the next flush. What was written is noted
 * in the dirty log. Refused (false): not in flight, or back already.
 * @param written  bytes written to the writable segments from the front; more than they hold is
 *                 taken for all.
 */
bool vhu_elements_give(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	const struct vhu_element *element, uint32_t written);

/**
 * The same at a certain place: @p index elements behind what has been flushed. Places may be
 * filled in any order. With IN_ORDER the place is that of the taking, whatever the index.
 */
bool vhu_elements_fill(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	const struct vhu_element *element, uint32_t written, uint16_t index);

/**
 * Show the driver up to @p count of the elements that are back, without notifying it. Ends before
 * a place that was not filled; with IN_ORDER before an element that is not back.
 * @param count  UINT16_MAX: all. @return how many.
 */
uint16_t vhu_elements_flush(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	uint16_t count);

/** Notify the driver of all that was flushed since the last time, if it asked for that. */
void vhu_elements_notify(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot);

/** Does anything wait to be taken? */
bool vhu_elements_waiting(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot);

/**
 * Ask for kicks, or stop asking. While they are asked for, each vhu_elements_take() that finds
 * nothing more asks again, for the next element.
 * @return true if kicks are wanted and elements wait already.
 */
bool vhu_elements_want_kicks(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	bool wanted);

/**
 * Sum what waits to be taken, without taking it; stops when both sums have reached their limits,
 * so they may be larger. A broken chain makes both 0.
 * @param segments  room for VHU_SEGMENTS_MAX.
 */
void vhu_elements_sum(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	struct iovec *segments, uint64_t *readable, uint64_t *writable, uint64_t readable_limit,
	uint64_t writable_limit);

/**
 * Walk the descriptors of an element on a split ring again, for its writable segments, which come
 * behind the readable ones. A driver that changed them meanwhile breaks the ring, or misleads
 * itself.
 * @param segments  room for VHU_SEGMENTS_MAX. @return false: there is no such element any more.
 */
bool vhu_elements_again(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	struct vhu_element *element, struct iovec *segments);

/** The element in flight with this id. @return false if there is none. Segments are not filled. */
bool vhu_elements_find(const struct vhu_element_queue *queue, uint16_t id,
	struct vhu_element *element);

#endif /* VHU_RING_ELEMENT_H */
