/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_HEADER_H
#define VHU_NET_HEADER_H

/**
 * @file
 * The virtio-net header of a transmitted packet, written by the bursts themselves. Included by
 * body.c only.
 */

#include "net/copy.h"
#include "net/hash.h"
#include "net/offload.h"

/**
 * Does a header end where a line ends, as in mbufs? Then the frame does not share its line, and
 * drivers leave there what the device wrote last: mostly the same header (see store_header()).
 */
static inline bool
header_lies_apart(uintptr_t host, uint32_t header_size)
{
	return ((host + header_size) & 63) == 0;
}

/* The word at @p offset of a header in the guest's memory, read once. */
#define HEADER_WORD(type, host, offset) (*(volatile type *)((host) + (offset)))

/** The last field of a header that has it, and how many buffers the frame takes. */
static inline uint32_t
header_rest(uint16_t csum_offset, uint32_t buffers)
{
	return csum_offset | buffers << 16;
}

/**
 * Write one.
 * @param first  its first 8 bytes: flags, gso_type, hdr_len, gso_size, csum_start.
 * @param rest   header_rest().
 */
static inline void
store_header(uint8_t *host, uint32_t header_size, uint64_t first, uint32_t rest,
	const struct rte_mbuf *m)
{
	/*
	 * A line that holds only what a header of before left there is not written: a store would
	 * take it away from the driver, which then fetches it again for each frame. Where the frame
	 * begins in the same line it has to come anyway; comparing would only wait for it.
	 */
	if (header_lies_apart((uintptr_t)host, header_size) &&
			header_size == sizeof(struct virtio_net_hdr_mrg_rxbuf) &&
			HEADER_WORD(vhu_word8_t, host, 0) == first &&
			HEADER_WORD(vhu_word4_t, host, 8) == rest)
		return;
	*(vhu_word8_t *)host = first;
	if (__builtin_expect(header_size == sizeof(struct virtio_net_hdr), 0)) {
		*(vhu_word2_t *)(host + 8) = (uint16_t)rest;
		return;
	}
	*(vhu_word4_t *)(host + 8) = rest;
	if (__builtin_expect(header_size != sizeof(struct virtio_net_hdr_mrg_rxbuf), 0))
		*(vhu_word8_t *)(host + 12) = vhu_hash_fields(m);
}

#endif /* VHU_NET_HEADER_H */
