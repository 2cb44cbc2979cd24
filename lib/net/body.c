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

/*
 * One function per negotiated set: what is constant in it leaves no test in the loops. The loops
 * have one of their own, so that a burst of a few frames needs neither their registers nor their
 * stack.
 */
#define BURST(name, direction, ...) \
	VHU_PASS uint16_t \
	name##_many(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, \
		struct rte_mbuf **packets, unsigned int count, struct direction##_progress p) \
	{ \
		return direction##_many(ring, snapshot, packets, count, p, \
			(struct vhu_kind){ __VA_ARGS__ }); \
	} \
	static uint16_t \
	name(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, \
		struct rte_mbuf **packets, uint16_t count) \
	{ \
		return direction##_burst(ring, snapshot, packets, count, name##_many, \
			(struct vhu_kind){ __VA_ARGS__ }); \
	}

BURST(split_receive, receive, false)
BURST(split_receive_offload, receive, .offload = true)
BURST(split_receive_in_order, receive, .in_order = true)
BURST(split_receive_in_order_offload, receive, .in_order = true, .offload = true)
BURST(packed_receive, receive, .packed = true)
BURST(packed_receive_offload, receive, .packed = true, .offload = true)
BURST(packed_receive_in_order, receive, .packed = true, .in_order = true)
BURST(packed_receive_in_order_offload, receive, .packed = true, .in_order = true, .offload = true)

BURST(split_transmit, transmit, false)
BURST(split_transmit_offload, transmit, .offload = true)
BURST(packed_transmit, transmit, .packed = true)
BURST(packed_transmit_offload, transmit, .packed = true, .offload = true)

#define TEXT(what) what ", " VHU_BODY_TEXT

const struct vhu_body JOIN(vhu_body_, VHU_BODY) = {
	.receive = {
		[VHU_SPLIT] = {
			{ { split_receive, TEXT("split receive") },
			  { split_receive_offload, TEXT("split receive with offloads") } },
			{ { split_receive_in_order, TEXT("split in-order receive") },
			  { split_receive_in_order_offload,
			    TEXT("split in-order receive with offloads") } },
		},
		[VHU_PACKED] = {
			{ { packed_receive, TEXT("packed receive") },
			  { packed_receive_offload, TEXT("packed receive with offloads") } },
			{ { packed_receive_in_order, TEXT("packed in-order receive") },
			  { packed_receive_in_order_offload,
			    TEXT("packed in-order receive with offloads") } },
		},
	},
	.transmit = {
		[VHU_SPLIT] = {
			{ split_transmit, TEXT("split transmit") },
			{ split_transmit_offload, TEXT("split transmit with offloads") },
		},
		[VHU_PACKED] = {
			{ packed_transmit, TEXT("packed transmit") },
			{ packed_transmit_offload, TEXT("packed transmit with offloads") },
		},
	},
};
