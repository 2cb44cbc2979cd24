/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_HASH_H
#define VHU_NET_HASH_H

/**
 * @file
 * The hash of a frame in its virtio-net header (virtio 1.3, 5.1.6.4), for guests that acknowledged
 * HASH_REPORT. lcore only.
 */

#include <stdint.h>

#include <rte_mbuf.h>

/**
 * The last 8 bytes of the 20-byte header as one word: hash value, kind of hash, padding. The value
 * is what the mbuf carries (RTE_MBUF_F_RX_RSS_HASH), the kind follows from its packet type; without
 * either the header reports no hash.
 */
uint64_t vhu_hash_fields(const struct rte_mbuf *packet);

#endif /* VHU_NET_HASH_H */
