/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_SLOW_H
#define VHU_NET_SLOW_H

/**
 * @file
 * Everything that the bursts' common case leaves out.
 *
 * Chains and indirect tables, buffers that cross regions, frames over several guest buffers or
 * several mbufs, tags to insert. The bursts call these between runs of the common case, so order
 * is kept. Any ring format; compiled once; lcore only.
 */

#include <stdint.h>

#include <rte_ether.h>

#include "net/queue.h"
#include "ring/chain.h"

/** The largest frame a guest may send: 64 KiB of IP behind an Ethernet header with two tags. */
#define VHU_FRAME_MAX (UINT16_MAX + RTE_ETHER_HDR_LEN + 2 * RTE_VLAN_HLEN)

/** What became of one packet. */
enum vhu_slow {
	VHU_SLOW_DONE,    /**< moved */
	VHU_SLOW_DROPPED, /**< consumed and counted as a drop */
	/** not consumed: no room, no mbuf, a translation that was asked for, or the ring broke */
	VHU_SLOW_STOP,
};

/** Most chains that vhu_slow_receive() takes at once. */
#define VHU_SLOW_RUN 16

/** What vhu_slow_receive() did. */
struct vhu_slow_received {
	struct vhu_chain chains[VHU_SLOW_RUN]; /**< taken; to be given back by the caller */
	unsigned int count;                    /**< of chains; 0: stop */
	unsigned int packets;
	uint64_t bytes;
};

/**
 * Receive the next chain and those behind it that are not of the common kind either.
 * @param most  chains, not 0.
 * @param packets  receives the frames of chains that were not dropped.
 */
void vhu_slow_receive(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, unsigned int most, struct vhu_slow_received *received);

/**
 * Transmit one packet: takes the buffers it needs, notes them in the dirty log, gives them back.
 * The packet is freed when done or dropped.
 */
enum vhu_slow vhu_slow_transmit(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	struct rte_mbuf *packet);

#endif /* VHU_NET_SLOW_H */
