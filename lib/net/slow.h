/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_SLOW_H
#define VHU_NET_SLOW_H

/**
 * @file
 * One packet at a time: everything that the bursts' common case leaves out.
 *
 * Chains and indirect tables, buffers that cross regions, frames over several guest buffers or
 * several mbufs, tags to insert. The bursts call these between runs of the common case, so order
 * is kept. Any ring format; compiled once; lcore only.
 */

#include <stdint.h>

#include "net/queue.h"
#include "ring/chain.h"

/** What became of one packet. */
enum vhu_slow {
	VHU_SLOW_DONE,    /**< moved */
	VHU_SLOW_DROPPED, /**< consumed and counted as a drop */
	/** not consumed: no room, no mbuf, a translation that was asked for, or the ring broke */
	VHU_SLOW_STOP,
};

/**
 * Receive the next chain. It is taken when done or dropped; giving it back is left to the caller.
 * @param packet  receives the mbuf when DONE.
 * @param chain  receives what was taken when done or dropped.
 */
enum vhu_slow vhu_slow_receive(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packet, struct vhu_chain *chain);

/**
 * Transmit one packet: takes the buffers it needs, notes them in the dirty log, gives them back.
 * The packet is freed when done or dropped.
 */
enum vhu_slow vhu_slow_transmit(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	struct rte_mbuf *packet);

#endif /* VHU_NET_SLOW_H */
