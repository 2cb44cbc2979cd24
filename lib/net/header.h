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

/** Write one: @p flags, and @p buffers of the frame where that field exists. */
static inline void
store_header(uint8_t *host, uint32_t header_size, uint64_t flags, uint32_t buffers,
	const struct rte_mbuf *m)
{
	const uint32_t rest = buffers << 16; /* csum_offset 0, num_buffers */

	/*
	 * A line that holds only what a header of before left there is not written: a store would
	 * take it away from the driver, which then fetches it again for each frame. Where the frame
	 * begins in the same line it has to come anyway; comparing would only wait for it.
	 */
	if (header_lies_apart((uintptr_t)host, header_size) &&
			header_size == sizeof(struct virtio_net_hdr_mrg_rxbuf) &&
			HEADER_WORD(vhu_word8_t, host, 0) == flags &&
			HEADER_WORD(vhu_word4_t, host, 8) == rest)
		return;
	*(vhu_word8_t *)host = flags;
	if (__builtin_expect(header_size == sizeof(struct virtio_net_hdr), 0)) {
		*(vhu_word2_t *)(host + 8) = 0; /* csum_offset */
		return;
	}
	*(vhu_word4_t *)(host + 8) = rest;
	if (__builtin_expect(header_size != sizeof(struct virtio_net_hdr_mrg_rxbuf), 0))
		*(vhu_word8_t *)(host + 12) = vhu_hash_fields(m);
}

#endif /* VHU_NET_HEADER_H */
