/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_SNAP_READER_H
#define VHU_SNAP_READER_H

/**
 * @file
 * Readers: how a burst enters and leaves, at the price of two plain stores.
 *
 * The lcore makes `section` odd, then loads the snapshot; the control side stores a new snapshot,
 * runs membarrier(), then loads `section`. The processor may let the lcore's load overtake its
 * store; the membarrier (which runs a full barrier on every core of the process) orders them after
 * the fact: either the lcore saw the new snapshot or the control side sees the odd section. So no
 * fence is needed here unless the kernel has no membarrier, in which case vhu_reader_fenced is set
 * before the first reader exists.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdatomic.h>

#include "snap/snapshot.h"

struct vhu_reader {
	/** control: writes; lcore: reads. */
	_Atomic(const struct vhu_snapshot *) snapshot;
	/**
	 * lcore: writes, odd inside a burst; control: reads. Bits 1-7 count what a call was needed
	 * for, without a carry: one that reads the same odd number after a multiple of 128 of them
	 * waits for another, nothing worse. Bits 8-63 count the polls that only looked
	 * (VHU_POLL_LOOKED).
	 */
	_Atomic(uint64_t) section;
};

/**
 * Set once, before any reader exists, if membarrier() does not work here. Hidden: no burst has to
 * load its address first.
 */
extern bool vhu_reader_fenced __attribute__((visibility("hidden")));

static inline const struct vhu_snapshot *
vhu_reader_enter(struct vhu_reader *reader)
{
	uint64_t section = atomic_load_explicit(&reader->section, memory_order_relaxed);

	atomic_store_explicit(&reader->section, section + 1, memory_order_relaxed);
	/* Compiler only; partner: membarrier() in vhu_publish(). */
	atomic_signal_fence(memory_order_seq_cst);
	if (__builtin_expect(vhu_reader_fenced, 0))
		/* Partner: the fence in vhu_publish(). */
		atomic_thread_fence(memory_order_seq_cst);
	/* Partner: the release store in vhu_publish(); the contents of the snapshot follow it. */
	return atomic_load_explicit(&reader->snapshot, memory_order_acquire);
}

static inline void
vhu_reader_leave(struct vhu_reader *reader)
{
	uint64_t section = atomic_load_explicit(&reader->section, memory_order_relaxed);

	/*
	 * Partner: the acquire load in vhu_grace_step(): what the burst wrote is visible to whoever
	 * saw it end.
	 */
	atomic_store_explicit(&reader->section, (section & -VHU_POLL_LOOKED) |
		((section + 1) & (VHU_POLL_LOOKED - 1)), memory_order_release);
}

/** Polls that only looked. */
static inline uint64_t
vhu_reader_looked(const struct vhu_reader *reader)
{
	return atomic_load_explicit(&reader->section, memory_order_relaxed) / VHU_POLL_LOOKED;
}

#endif /* VHU_SNAP_READER_H */
