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
 * is kept. Compiled once; lcore only.
 */

#include <stdint.h>

#include "net/queue.h"
#include "ring/split.h"

/** What became of one packet. */
enum vhu_slow {
	VHU_SLOW_DONE,    /**< moved; ring positions advanced, used elements written */
	VHU_SLOW_DROPPED, /**< consumed and counted as a drop */
	VHU_SLOW_STOP,    /**< not consumed: no room, no mbuf, or the ring broke */
};

/**
 * Receive the chain at queue->ring.next_avail. Advances next_avail and next_used by one when done
 * or dropped.
 * @param packet  receives the mbuf when DONE.
 */
enum vhu_slow vhu_slow_receive(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packet);

/**
 * Transmit one packet. Advances next_avail and next_used by the buffers used. The packet is freed
 * when done or dropped.
 */
enum vhu_slow vhu_slow_transmit(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	struct rte_mbuf *packet);

#endif /* VHU_NET_SLOW_H */
