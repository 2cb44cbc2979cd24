/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_OFFLOAD_H
#define VHU_NET_OFFLOAD_H

/**
 * @file
 * The virtio-net header (virtio 1.3, section 5.1.6) and mbuf flags, both ways.
 *
 * What the guest writes into a header is a claim about the frame behind it: it is compared with
 * the frame's own headers and refused where they disagree. lcore only.
 */

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_net.h>

#include "net/queue.h"

/** mbuf requests that cost a transmitted packet more than a copy. */
#define VHU_TX_REQUESTS (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG | \
	RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_VLAN)

/** Flag bits of the header that say something about a received frame: flags and gso_type. */
#define VHU_HEADER_CLAIMS UINT64_C(0xffff)

/**
 * Turn the guest's header into mbuf flags.
 * @param features  that the guest acknowledged.
 * @param header  local copy; at least one of flags and gso_type is not 0.
 * @return false if header and frame do not fit together: drop the frame (VHU_DROP_BAD_OFFLOAD).
 */
bool vhu_offload_receive(const struct vhu_queue *queue, uint64_t features,
	const struct virtio_net_hdr *header, struct rte_mbuf *packet);

/**
 * The same for a burst that has loaded the first 8 bytes of the header; the rest is at @p rest.
 * A frame that does not fit is counted and freed.
 */
bool vhu_offload_receive_claims(struct vhu_queue *queue, uint64_t features, uint64_t claims,
	const uint8_t *rest, struct rte_mbuf *packet);

/** Take an 802.1Q tag out of a received frame. */
void vhu_offload_strip_vlan(struct rte_mbuf *packet);

/** Changes that the copy of a frame in guest memory needs, in frame offsets. */
struct vhu_patch {
	uint32_t offset;
	uint16_t value;    /**< as it lies in memory */
};

/** What becomes of a transmitted packet's requests. */
struct vhu_transmit_plan {
	struct virtio_net_hdr header;
	uint8_t patches;           /**< entries of patch */
	struct vhu_patch patch[2]; /**< IPv4 header checksum, layer-4 checksum */
};

/**
 * Plan for a packet with requests (VHU_TX_REQUESTS) other than a VLAN tag, or with none. The packet
 * is not changed.
 * @param features  that the guest acknowledged: requests it cannot take are done in software.
 * @return false if that is impossible: drop the packet (VHU_DROP_BAD_OFFLOAD).
 */
bool vhu_offload_transmit(const struct rte_mbuf *packet, uint64_t features,
	struct vhu_transmit_plan *plan);

/** Header flags for a packet without requests: DATA_VALID if its checksum was seen to be good. */
static inline uint64_t
vhu_offload_data_valid(const struct rte_mbuf *packet)
{
	return (packet->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD ?
		VIRTIO_NET_HDR_F_DATA_VALID : 0;
}

#endif /* VHU_NET_OFFLOAD_H */
