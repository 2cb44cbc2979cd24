/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_POLL_H
#define VHU_POLL_H

/**
 * @file
 * The look at an idle ring, in the application's own code.
 *
 * Most polls of most queues find nothing. What such a poll costs is nearly all call and return, so
 * vhu_rx_burst() and vhu_tx_burst() (vhu_net.h) look by themselves, with what is declared here, and
 * call the library only if there may be something to do. Nothing of this file is for an application
 * to use directly; its layout belongs to the library's binary interface.
 *
 * The library has the same layouts under their own names: struct vhu_ring (ring/ring.h) begins like
 * struct vhu_poll, struct vhu_snapshot (snap/snapshot.h) like struct vhu_poll_view. Both say what
 * each field is and are compared with these when they are compiled.
 */

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How to see that a ring is idle without a call. */
enum vhu_peek {
	VHU_PEEK_NOT = 0, /**< call: there is more to do than look */
	VHU_PEEK_SPLIT,   /**< the driver's index has not moved */
	VHU_PEEK_PACKED,  /**< the next descriptor is not available */
	VHU_PEEK_PARKED,  /**< nothing ever moves */
};

/** In the flags of a packed descriptor (virtio 1.3, section 2.8.1): which lap it was made in. */
#define VHU_POLL_AVAIL (UINT16_C(1) << 7)

/** Bytes of a packed descriptor, and where its flags are. */
#define VHU_POLL_DESCRIPTOR 16
#define VHU_POLL_FLAGS 14

/** Where the driver's index is in the available ring of a split ring. */
#define VHU_POLL_INDEX 2

/** What the control thread published last; read-only. */
struct vhu_poll_view {
	const uint8_t *descriptors;
	const uint8_t *avail;
	uint16_t size;
	uint8_t header_size;
	uint8_t format;
	uint8_t peek;               /**< enum vhu_peek */
};

/** A queue's first bytes; written by the thread that bursts, except @p view. */
struct vhu_poll {
	const struct vhu_poll_view *view; /**< control: writes; lcore: reads */
	uint64_t section;           /**< odd inside a burst; polls that only looked from bit 8 on */
	uint16_t next_avail;
	uint16_t avail_seen;
	bool avail_wrap;
	bool looks;                 /**< polls may look by themselves */
} __attribute__((may_alias));

/** A poll under way. */
struct vhu_poll_section {
	const struct vhu_poll_view *view;
	uint64_t number;            /**< what poll->section was */
};

/**
 * What a poll that only looked adds to poll->section: they are counted there, which spares each of
 * them a counter of its own.
 */
#define VHU_POLL_LOOKED (UINT64_C(1) << 8)

/** May a poll of this queue look by itself, or has it to call? */
static inline bool
vhu_poll_looks(const struct vhu_poll *poll)
{
	return __builtin_expect(__atomic_load_n(&poll->looks, __ATOMIC_RELAXED), 1);
}

/**
 * Enter the queue: the memory that the view leads to stays mapped until it is left. The library's
 * own form of this, with the reasons, is vhu_reader_enter() (snap/reader.h). Only where polls may
 * look, which is not the case on machines where a fence is needed here.
 */
static inline struct vhu_poll_section
vhu_poll_enter(struct vhu_poll *poll)
{
	struct vhu_poll_section section;

	section.number = __atomic_load_n(&poll->section, __ATOMIC_RELAXED);
	__atomic_store_n(&poll->section, section.number + 1, __ATOMIC_RELAXED);
	/* Compiler only; partner: membarrier() in vhu_grace_begin(). */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	/* Partner: the release store in vhu_publish(); the contents of the view follow it. */
	section.view = __atomic_load_n(&poll->view, __ATOMIC_ACQUIRE);
	return section;
}

/** Has the driver left the index of a split ring where the last burst found it? */
static inline bool
vhu_poll_split_is_idle(const struct vhu_poll *poll, const struct vhu_poll_view *view)
{
	const void *index = view->avail + VHU_POLL_INDEX;

	/* Entries known to wait spare the look at the guest's line. */
	return poll->avail_seen == poll->next_avail &&
		__atomic_load_n((const uint16_t *)index, __ATOMIC_RELAXED) == poll->next_avail;
}

/** Was the next descriptor of a packed ring not made available in this lap? */
static inline bool
vhu_poll_packed_is_idle(const struct vhu_poll *poll, const struct vhu_poll_view *view)
{
	const void *flags = view->descriptors +
		(uint32_t)poll->next_avail * VHU_POLL_DESCRIPTOR + VHU_POLL_FLAGS;
	uint16_t value = __atomic_load_n((const uint16_t *)flags, __ATOMIC_RELAXED);

	/* One that is available by this bit and used by the other is the burst's to judge. */
	return ((value & VHU_POLL_AVAIL) != 0) != poll->avail_wrap;
}

/**
 * Is there nothing to do, for sure? One load of guest memory. The burst looks again, with acquire,
 * at whatever it is called for.
 */
static inline bool
vhu_poll_is_idle(const struct vhu_poll *poll, const struct vhu_poll_view *view)
{
	if (__builtin_expect(view->peek == VHU_PEEK_SPLIT, 1))
		return vhu_poll_split_is_idle(poll, view);
	if (view->peek == VHU_PEEK_PACKED)
		return vhu_poll_packed_is_idle(poll, view);
	return view->peek == VHU_PEEK_PARKED;
}

/**
 * Leave after a look that found nothing. Partner: the acquire load in vhu_grace_step(). The
 * section's number is still in a register: a load would wait for the store of vhu_poll_enter().
 */
static inline void
vhu_poll_leave_idle(struct vhu_poll *poll, struct vhu_poll_section section)
{
	__atomic_store_n(&poll->section, section.number + VHU_POLL_LOOKED, __ATOMIC_RELEASE);
}

#ifdef __cplusplus
}
#endif
#endif /* VHU_POLL_H */
