/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_BODY_H
#define VHU_NET_BODY_H

/**
 * @file
 * Bodies: the burst functions, compiled once per instruction set.
 *
 * Distributions build DPDK for the oldest x86-64; the copy and the index arithmetic of a burst gain
 * from wider registers. body.c is written once and compiled with -march=x86-64-v2, -v3 and -v4
 * (the latter for 32- and 64-byte registers); select.c picks one when a snapshot is built.
 */

#include "snap/snapshot.h"

/** A burst function and what people call it. */
struct vhu_body_entry {
	vhu_burst_fn burst;
	const char *name;
};

/**
 * One instruction set's functions. The first index is enum vhu_ring_format; [offload]: are checksum
 * or segmentation requests negotiated? [in_order]: is IN_ORDER? Transmitting does not gain by it.
 */
struct vhu_body {
	struct vhu_body_entry receive[2][2][2]; /* [format][in_order][offload] */
	struct vhu_body_entry transmit[2][2];   /* [format][offload] */
	void (*copy)(void *to, const void *from, size_t size); /* for vhu_cursor_copy */
};

extern const struct vhu_body vhu_body_base;
#ifdef __x86_64__
extern const struct vhu_body vhu_body_v3;
extern const struct vhu_body vhu_body_v4;
extern const struct vhu_body vhu_body_v4wide;
#endif

#endif /* VHU_NET_BODY_H */
