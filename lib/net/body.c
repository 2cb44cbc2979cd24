/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Compiled once per instruction set: lib/net/meson.build gives each its -march, VHU_VECTOR (bytes
 * of a register), VHU_BODY (suffix of the symbol) and VHU_BODY_TEXT (for people).
 */

#include "net/body.h"
#include "net/receive.h"
#include "net/transmit.h"

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

static uint16_t
receive_plain(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, uint16_t count)
{
	return split_receive(ring, snapshot, packets, count, false);
}

static uint16_t
receive_offload(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, uint16_t count)
{
	return split_receive(ring, snapshot, packets, count, true);
}

static uint16_t
transmit_plain(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, uint16_t count)
{
	return split_transmit(ring, snapshot, packets, count, false);
}

static uint16_t
transmit_offload(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, uint16_t count)
{
	return split_transmit(ring, snapshot, packets, count, true);
}

const struct vhu_body JOIN(vhu_body_, VHU_BODY) = {
	.split_receive = {
		{ receive_plain, "split receive, " VHU_BODY_TEXT },
		{ receive_offload, "split receive with offloads, " VHU_BODY_TEXT },
	},
	.split_transmit = {
		{ transmit_plain, "split transmit, " VHU_BODY_TEXT },
		{ transmit_offload, "split transmit with offloads, " VHU_BODY_TEXT },
	},
};
