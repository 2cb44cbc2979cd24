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

/* One function per negotiated set: what is constant in it leaves no test in the loops. */
#define BURST(name, generic, ...) \
	static uint16_t \
	name(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, \
		struct rte_mbuf **packets, uint16_t count) \
	{ \
		return generic(ring, snapshot, packets, count, (struct vhu_kind){ __VA_ARGS__ }); \
	}

BURST(split_receive, receive_burst, false)
BURST(split_receive_offload, receive_burst, .offload = true)
BURST(split_receive_in_order, receive_burst, .in_order = true)
BURST(split_receive_in_order_offload, receive_burst, .in_order = true, .offload = true)
BURST(packed_receive, receive_burst, .packed = true)
BURST(packed_receive_offload, receive_burst, .packed = true, .offload = true)
BURST(packed_receive_in_order, receive_burst, .packed = true, .in_order = true)
BURST(packed_receive_in_order_offload, receive_burst, .packed = true, .in_order = true,
	.offload = true)

BURST(split_transmit, transmit_burst, false)
BURST(split_transmit_offload, transmit_burst, .offload = true)
BURST(packed_transmit, transmit_burst, .packed = true)
BURST(packed_transmit_offload, transmit_burst, .packed = true, .offload = true)

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
