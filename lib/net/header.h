/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_HEADER_H
#define VHU_NET_HEADER_H

/**
 * @file
 * The virtio-net header of a packet without requests, written by the bursts themselves. Included
 * by body.c only.
 */

#include "net/copy.h"
#include "net/hash.h"
#include "net/offload.h"

/** Write one: @p flags, and @p buffers of the frame where that field exists. */
static inline void
store_header(uint8_t *host, uint32_t header_size, uint64_t flags, uint32_t buffers,
	const struct rte_mbuf *m)
{
	/*
	 * Blind: comparing first would bring the line twice, and the payload makes it dirty anyway.
	 */
	*(vhu_word8_t *)host = flags;
	if (__builtin_expect(header_size == sizeof(struct virtio_net_hdr), 0)) {
		*(vhu_word2_t *)(host + 8) = 0; /* csum_offset */
		return;
	}
	*(vhu_word4_t *)(host + 8) = buffers << 16; /* csum_offset 0, num_buffers */
	if (__builtin_expect(header_size != sizeof(struct virtio_net_hdr_mrg_rxbuf), 0))
		*(vhu_word8_t *)(host + 12) = vhu_hash_fields(m);
}

#endif /* VHU_NET_HEADER_H */
