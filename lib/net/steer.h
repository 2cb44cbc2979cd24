/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_STEER_H
#define VHU_NET_STEER_H

/**
 * @file
 * Steering: which of the guest's receive queues a frame goes to, on lcores.
 *
 * The control thread changes the description now and then; any number of lcores read it. It is
 * small, so it is copied word by word under a version number: odd while it is being written, and
 * a reader that saw it change does its frames again. Whatever mixture is read in between, each
 * number is bounded before it is used.
 */

#include <stdatomic.h>
#include <stdint.h>

#include <vhu_control.h>

/** Words of the key, and two entries of the table in each word of it. */
#define VHU_STEER_KEY_WORDS (VHU_HASH_KEY_SIZE / 4)
#define VHU_STEER_TABLE_WORDS (VHU_HASH_TABLE_SIZE / 2)

/** control: writes; lcores: read. */
struct vhu_steer {
	_Atomic(uint32_t) version;
	_Atomic(uint32_t) flags;   /**< VHU_STEER_* */
	_Atomic(uint32_t) types;
	_Atomic(uint32_t) pairs;   /**< unclassified in the upper half */
	_Atomic(uint32_t) mask;    /**< of the table */
	_Atomic(uint32_t) key[VHU_STEER_KEY_WORDS];
	_Atomic(uint32_t) table[VHU_STEER_TABLE_WORDS];
};

/** Control: publish. */
void vhu_steer_set(struct vhu_steer *steer, const struct vhu_steering *steering);
/** lcore: see vhu_port_steer(). */
void vhu_steer(const struct vhu_steer *steer, struct rte_mbuf **packets, uint16_t count,
	uint16_t *pairs);

#endif /* VHU_NET_STEER_H */
