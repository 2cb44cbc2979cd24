/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_RING_RING_H
#define VHU_RING_RING_H

/**
 * @file
 * Rings: the lcore's side of one virtqueue.
 *
 * Position in the ring, what was last seen of the guest's index, the translation hint and the
 * counters belong to the lcore that bursts. The control thread writes the position only while the
 * ring is parked and a grace period has passed since it was, and reads it under the same condition;
 * the publication of the next snapshot orders its writes before the lcore's reads.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vhu_stats.h>

#include "mem/translate.h"
#include "snap/reader.h"

/** Counters: one writer (the lcore), read by anybody with relaxed loads. */
struct vhu_ring_counters {
	_Atomic(uint64_t) packets;
	_Atomic(uint64_t) bytes;
	_Atomic(uint64_t) bursts;
	_Atomic(uint64_t) empty; /**< that were called and found nothing; see vhu_reader_looked() */
	_Atomic(uint64_t) mbuf_failures;
	_Atomic(uint64_t) calls;
	_Atomic(uint64_t) calls_suppressed;
	_Atomic(uint64_t) drops[VHU_DROPS];
};

/** How far a ring has come since it was started. */
enum vhu_ring_phase {
	VHU_RING_FRESH = 0, /**< no burst has seen it */
	VHU_RING_BEGUN,     /**< the guest was told whether to kick; not notified yet */
	VHU_RING_NOTIFIED,  /**< notified at least once: its wishes count from here on */
};

/*
 * The first line is all that a poll of an idle ring touches of it: what lies behind stays cold
 * where a core polls hundreds.
 */
struct vhu_ring {
	/* From here to looks as in struct vhu_poll, which a poll uses without a call. */
	struct vhu_reader reader;
	/**
	 * lcore (control while parked): next entry of the available ring, free running; packed:
	 * next descriptor, below the ring's size.
	 */
	uint16_t next_avail;
	/** lcore: split: the guest's index when last read; entries up to it are ours */
	uint16_t avail_seen;
	/** lcore (control while parked): packed: wrap counter that goes with next_avail */
	bool avail_wrap;
	/**
	 * A poll of it may look by itself: no fence is needed to enter, and a burst has seen the
	 * ring, whose driver was to be told about kicks. lcore (control while parked): writes;
	 * lcore: reads, also outside a section, where a poll that is one too late finds nothing.
	 */
	atomic_bool looks;
	uint8_t phase;         /**< lcore (control while parked): enum vhu_ring_phase */
	/**
	 * lcore: packed: the first used descriptor of what is being given back. Stored last, it
	 * makes all of it visible at once.
	 */
	uint64_t held_word;
	uint16_t held_at;
	bool held;             /**< there is one */
	uint16_t next_used;    /**< lcore (control while parked): next_avail of the used ring */
	bool used_wrap;        /**< lcore (control while parked): wrap counter of next_used */
	bool kick_wanted;      /**< lcore: the application sleeps on kicks of this ring */
	union {
		struct {
			/**
			 * Elements may be given back but not taken: the ring is disabled. control:
			 * writes, then waits for a grace period where it matters; lcore: reads.
			 */
			atomic_bool closed;
			/**
			 * enum vhu_broken, 0: fine. lcore: sets once, with release; control: reads,
			 * clears while parked. Anybody may read it.
			 */
			_Atomic(uint8_t) broken;
		};
		_Atomic(uint16_t) shut; /**< lcore: reads both at once; 0: neither */
	};
	/**
	 * lcore: writes before broken; control: reads after it: which entry or descriptor was bad.
	 */
	_Atomic(uint32_t) broken_detail;
	struct vhu_hint hint __attribute__((aligned(64))); /**< lcore */
	/**
	 * A translation that is missing, or 0: I/O virtual address with the wanted enum vhu_access
	 * in its low bits. lcore: sets when 0, with release; control: takes (exchanges with 0).
	 */
	_Atomic(uint64_t) miss;
	/**
	 * Behind an IOMMU: next_avail, with the wrap counter at VHU_PLACE_WRAP: from here on the
	 * control thread asks for translations before they are missed. lcore (control while
	 * parked): writes at a miss and in vhu_ring_moved(); control: reads.
	 */
	_Atomic(uint32_t) place;
	/** lcore: next_avail at the last vhu_ring_moved(), and how many behind it were looked at */
	uint16_t attended;
	uint16_t looked;
	uint64_t looked_generation; /**< lcore: of the IOTLB that knew them */
	/**
	 * The driver is to be notified by the control thread. lcore: sets, with release; control:
	 * takes (exchanges with false).
	 */
	_Atomic(bool) call_wanted;
	struct vhu_ring_counters counters __attribute__((aligned(64)));
} __attribute__((aligned(64)));

#define VHU_SAME_PLACE(field, poll_field) \
	_Static_assert(offsetof(struct vhu_ring, field) == \
			offsetof(struct vhu_poll, poll_field), "struct vhu_poll: " #poll_field)
VHU_SAME_PLACE(reader.snapshot, view);
VHU_SAME_PLACE(reader.section, section);
VHU_SAME_PLACE(next_avail, next_avail);
VHU_SAME_PLACE(avail_seen, avail_seen);
VHU_SAME_PLACE(avail_wrap, avail_wrap);
VHU_SAME_PLACE(looks, looks);
#undef VHU_SAME_PLACE
_Static_assert(offsetof(struct vhu_ring, hint) == 64, "what a poll touches: one line");

/**
 * Times any lcore broke a ring, process-wide. The control loop compares it with what it saw before
 * and looks at rings only when it moved. lcores: add; control: reads.
 */
extern _Atomic(uint32_t) vhu_rings_broken;

/** In vhu_ring.place: the wrap counter of a packed ring. */
#define VHU_PLACE_WRAP (UINT32_C(1) << 16)

/**
 * Buffers behind the lcore's position whose translations are asked for before it comes to them, so
 * that a sender who does not wait for a missing one need not drop.
 */
#define VHU_RING_AHEAD 32

/**
 * lcore: after bursts that moved a ring behind an IOMMU (vhu_snapshot.notes_place), within their
 * section: notes where it stands, and each time half of VHU_RING_AHEAD are gone looks at those that
 * follow. Asks for attention if a translation of them is missing, or cannot be judged here.
 */
void vhu_ring_moved(struct vhu_ring *ring, const struct vhu_snapshot *snapshot);
/** lcore (control while parked): the part of that which tells the control thread the position. */
void vhu_ring_note_place(struct vhu_ring *ring);
/** lcore: make the control thread look at the misses and the places of all rings. */
void vhu_ring_ask_attention(void);

/**
 * lcore: a translation of the page at @p address is missing. Asks the control thread to ask the
 * front-end; the chain stays where it is and is tried again in the next burst.
 */
void vhu_ring_miss(struct vhu_ring *ring, uint64_t address, enum vhu_access access);

/**
 * An eventfd that becomes readable when an lcore wants the control thread's attention;
 * process-wide, made on first use by the control thread (vhu_attention_open()). -1: not made.
 * lcores: write at most once per request; control: reads.
 */
extern int vhu_attention_fd;
/** Make it. Control thread, before any device exists. @return 0 or -errno. */
int vhu_attention_open(void);
/** Times a translation was missed, process-wide; as vhu_rings_broken. */
extern _Atomic(uint32_t) vhu_rings_missing;

/** Times a call was left to the control thread, process-wide; as vhu_rings_broken. */
extern _Atomic(uint32_t) vhu_rings_calling;

/**
 * lcore: notify the driver, which wants it: by writing to the call descriptor or, if that is
 * VHU_CALL_BY_CONTROL, by asking the control thread to do it. Counts the call. The snapshot's
 * call_fd is not -1.
 */
void vhu_ring_call(struct vhu_ring *ring, const struct vhu_snapshot *snapshot);

/** Prepare the lcore's side: parked, position 0, counters 0. */
void vhu_ring_init(struct vhu_ring *ring);

/**
 * Set the position before the ring is published. Control thread, ring parked and quiet.
 * Forgets what was seen, notified and broken in the ring's former life.
 */
void vhu_ring_reset(struct vhu_ring *ring, uint16_t next_avail, uint16_t next_used);
/** Set the wrap counters of a packed ring, after vhu_ring_reset(), which sets both to 1. */
void vhu_ring_set_wraps(struct vhu_ring *ring, bool avail_wrap, bool used_wrap);

/** Mark the ring broken: sticky, counted. lcore. */
void vhu_ring_break(struct vhu_ring *ring, enum vhu_broken reason, uint32_t detail);

/** Is the ring broken? */
static inline bool
vhu_ring_is_broken(const struct vhu_ring *ring)
{
	return atomic_load_explicit(&ring->broken, memory_order_relaxed) != VHU_BROKEN_NO;
}

/** Add to a counter with one writer: a plain load and store, no locked instruction. */
static inline void
vhu_count(_Atomic(uint64_t) *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
		memory_order_relaxed);
}

#endif /* VHU_RING_RING_H */
