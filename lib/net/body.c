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
 * Functions for each negotiated set: what is constant in it leaves no test in the loops. A burst
 * of one frame, of a few, and of many end in functions of their own, so that the small ones need
 * neither the registers nor the stack of the loops.
 */
#define SMALL(name, suffix, direction, count, ...) \
	VHU_PASS uint16_t \
	name##suffix(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, \
		struct rte_mbuf **packets, unsigned int n) \
	{ \
		(void)n; \
		return direction##_small(ring, snapshot, packets, count, name##_many, \
			(struct vhu_kind){ __VA_ARGS__ }); \
	}
#define BURST(name, direction, ...) \
	VHU_PASS uint16_t \
	name##_many(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, \
		struct rte_mbuf **packets, unsigned int n, \
		const struct direction##_progress *sofar) \
	{ \
		return direction##_many(ring, snapshot, packets, n, sofar, \
			(struct vhu_kind){ __VA_ARGS__ }); \
	} \
	SMALL(name, _single, direction, 1, __VA_ARGS__) \
	SMALL(name, _few, direction, n, __VA_ARGS__) \
	static uint16_t name(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, \
		struct rte_mbuf **packets, uint16_t count); \
	VHU_PASS uint16_t \
	name##_first(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, \
		struct rte_mbuf **packets, uint16_t count) \
	{ \
		vhu_ring_begin(ring, snapshot); \
		return name(ring, snapshot, packets, count); \
	} \
	static uint16_t \
	name(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, \
		struct rte_mbuf **packets, uint16_t count) \
	{ \
		return direction##_burst(ring, snapshot, packets, count, name##_first, \
			name##_single, name##_few, name##_many, \
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

static void
copy(void *to, const void *from, size_t size)
{
	vhu_copy_long(to, from, size);
}

#define TEXT(what) what ", " VHU_BODY_TEXT

const struct vhu_body JOIN(vhu_body_, VHU_BODY) = {
	.copy = copy,
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
