/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <netinet/in.h>
#include <string.h>

#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "net/offload.h"
#include "wire/spec.h"

#define FEATURE(features, bit) (((features) >> (bit)) & 1)
#define TUNNELS (RTE_MBUF_F_TX_TUNNEL_MASK | RTE_MBUF_F_TX_OUTER_IPV4 | RTE_MBUF_F_TX_OUTER_IPV6)

/* Where the packet's headers are, as its mbuf says and as was checked against its length. */
struct layers {
	uint32_t l3, l4;   /* offsets */
	uint32_t l4_size;  /* bytes from l4 on that belong to IP's payload */
	bool ipv6, tcp;
	bool segment;
	uint16_t pseudo;   /* sum of the pseudo header */
};

/* IPv4: addresses, protocol and length; the header's own checksum if asked for. */
static bool
look_at_ipv4(const struct rte_mbuf *packet, struct layers *layers, struct vhu_transmit_plan *plan)
{
	struct rte_ipv4_hdr copy;
	uint8_t options[60];
	const struct rte_ipv4_hdr *ip =
		rte_pktmbuf_read(packet, layers->l3, sizeof(copy), &copy);
	uint32_t header_size, total;
	const void *header;

	if (ip == NULL)
		return false;
	header_size = rte_ipv4_hdr_len(ip);
	total = rte_be_to_cpu_16(ip->total_length);
	if (header_size < sizeof(*ip) || header_size != layers->l4 - layers->l3)
		return false;
	/*
	 * A frame to be cut may be longer than the field can say; padding may follow a short one.
	 */
	layers->l4_size = packet->pkt_len - layers->l4;
	if (!layers->segment && total >= header_size && total - header_size < layers->l4_size)
		layers->l4_size = total - header_size;
	layers->pseudo = rte_raw_cksum(&ip->src_addr, 2 * sizeof(ip->src_addr));
	if ((packet->ol_flags & RTE_MBUF_F_TX_IP_CKSUM) == 0)
		return true;
	header = rte_pktmbuf_read(packet, layers->l3, header_size, options);
	if (header == NULL)
		return false;
	if (header != options)
		memcpy(options, header, header_size);
	memset(options + offsetof(struct rte_ipv4_hdr, hdr_checksum), 0, sizeof(uint16_t));
	plan->patch[plan->patches++] = (struct vhu_patch){
		layers->l3 + (uint32_t)offsetof(struct rte_ipv4_hdr, hdr_checksum),
		(uint16_t)~rte_raw_cksum(options, header_size),
	};
	return true;
}

static bool
look_at_ipv6(const struct rte_mbuf *packet, struct layers *layers)
{
	struct rte_ipv6_hdr copy;
	const struct rte_ipv6_hdr *ip =
		rte_pktmbuf_read(packet, layers->l3, sizeof(copy), &copy);
	uint32_t total;

	if (ip == NULL || layers->l4 - layers->l3 < sizeof(*ip))
		return false;
	total = rte_be_to_cpu_16(ip->payload_len) + (uint32_t)sizeof(*ip);
	layers->l4_size = packet->pkt_len - layers->l4;
	if (!layers->segment && total >= layers->l4 - layers->l3 &&
	    total - (layers->l4 - layers->l3) < layers->l4_size)
		layers->l4_size = total - (layers->l4 - layers->l3);
	layers->pseudo = rte_raw_cksum(&ip->src_addr, 2 * sizeof(ip->src_addr));
	return true;
}

/* Add protocol and length to the sum of the addresses. */
static uint16_t
pseudo_sum(const struct layers *layers)
{
	uint32_t sum = layers->pseudo;

	sum += rte_cpu_to_be_16(layers->tcp ? IPPROTO_TCP : IPPROTO_UDP);
	sum += rte_cpu_to_be_16((uint16_t)(layers->l4_size >> 16));
	sum += rte_cpu_to_be_16((uint16_t)layers->l4_size);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)sum;
}

static uint16_t
checksum_offset(const struct layers *layers)
{
	return layers->tcp ? (uint16_t)offsetof(struct rte_tcp_hdr, cksum) :
		(uint16_t)offsetof(struct rte_udp_hdr, dgram_cksum);
}

/* The whole checksum, for a guest that wants to see no unfinished one. */
static bool
software_checksum(const struct rte_mbuf *packet, const struct layers *layers, uint16_t *value)
{
	uint32_t at = layers->l4 + checksum_offset(layers);
	uint16_t copy, raw;
	const uint16_t *field = rte_pktmbuf_read(packet, at, sizeof(copy), &copy);
	uint32_t sum;

	if (field == NULL || rte_raw_cksum_mbuf(packet, layers->l4, layers->l4_size, &raw) != 0)
		return false;
	memcpy(&copy, field, sizeof(copy));
	/* Take the field's present value out again: subtracting is adding the complement. */
	sum = (uint32_t)raw + (uint16_t)~copy + pseudo_sum(layers);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	*value = (uint16_t)~sum;
	if (*value == 0)
		*value = 0xffff;
	return true;
}

/* Layer-4 checksum: left to the guest if it negotiated that, made here otherwise. */
static bool
plan_checksum(const struct rte_mbuf *packet, uint64_t features, const struct layers *layers,
	struct vhu_transmit_plan *plan)
{
	struct vhu_patch *patch = &plan->patch[plan->patches++];

	patch->offset = layers->l4 + checksum_offset(layers);
	if (!FEATURE(features, VIRTIO_NET_F_GUEST_CSUM))
		return !layers->segment && software_checksum(packet, layers, &patch->value);
	plan->header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	plan->header.csum_start = (uint16_t)layers->l4;
	plan->header.csum_offset = checksum_offset(layers);
	patch->value = pseudo_sum(layers);
	return true;
}

/* The kind of segmentation that the guest takes, or NONE. */
static uint8_t
segmentation_type(uint64_t features, const struct layers *layers)
{
	if (layers->tcp && layers->ipv6)
		return FEATURE(features, VIRTIO_NET_F_GUEST_TSO6) ? VIRTIO_NET_HDR_GSO_TCPV6 : 0;
	if (layers->tcp)
		return FEATURE(features, VIRTIO_NET_F_GUEST_TSO4) ? VIRTIO_NET_HDR_GSO_TCPV4 : 0;
	if (FEATURE(features, layers->ipv6 ? VIRTIO_NET_F_GUEST_USO6 : VIRTIO_NET_F_GUEST_USO4))
		return VIRTIO_NET_HDR_GSO_UDP_L4;
	return FEATURE(features, VIRTIO_NET_F_GUEST_UFO) ? VIRTIO_NET_HDR_GSO_UDP : 0;
}

static bool
plan_segmentation(const struct rte_mbuf *packet, uint64_t features, const struct layers *layers,
	struct vhu_transmit_plan *plan)
{
	uint32_t header_size = layers->l4 +
		(packet->l4_len != 0 ? packet->l4_len : (uint32_t)sizeof(struct rte_udp_hdr));
	uint8_t type = segmentation_type(features, layers);

	if (type == VIRTIO_NET_HDR_GSO_NONE || header_size >= packet->pkt_len)
		return false;
	plan->header.gso_type = type;
	plan->header.gso_size = packet->tso_segsz;
	plan->header.hdr_len = (uint16_t)header_size;
	if (layers->tcp && FEATURE(features, VIRTIO_NET_F_GUEST_ECN)) {
		struct rte_tcp_hdr copy;
		const struct rte_tcp_hdr *tcp =
			rte_pktmbuf_read(packet, layers->l4, sizeof(copy), &copy);

		if (tcp != NULL && (tcp->tcp_flags & RTE_TCP_CWR_FLAG))
			plan->header.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	}
	return true;
}

/* Do the lengths in the mbuf lie within the packet, and which protocols do its flags name? */
static bool
look_at_flags(const struct rte_mbuf *packet, struct layers *layers)
{
	uint64_t flags = packet->ol_flags;
	uint64_t l4 = flags & RTE_MBUF_F_TX_L4_MASK;

	layers->segment = flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG);
	layers->tcp = (flags & RTE_MBUF_F_TX_TCP_SEG) || l4 == RTE_MBUF_F_TX_TCP_CKSUM;
	layers->ipv6 = flags & RTE_MBUF_F_TX_IPV6;
	layers->l3 = packet->l2_len;
	if (flags & TUNNELS)
		layers->l3 += packet->outer_l2_len + packet->outer_l3_len;
	layers->l4 = layers->l3 + packet->l3_len;
	return l4 != RTE_MBUF_F_TX_SCTP_CKSUM && layers->l4 <= UINT16_MAX &&
		layers->l4 < packet->pkt_len;
}

bool
vhu_offload_transmit(const struct rte_mbuf *packet, uint64_t features,
	struct vhu_transmit_plan *plan)
{
	const uint64_t l4_requests =
		RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG;
	struct layers layers;

	memset(plan, 0, sizeof(*plan));
	if ((packet->ol_flags & (l4_requests | RTE_MBUF_F_TX_IP_CKSUM)) == 0) {
		if (FEATURE(features, VIRTIO_NET_F_GUEST_CSUM))
			plan->header.flags = (uint8_t)vhu_offload_data_valid(packet);
		return true;
	}
	if (!look_at_flags(packet, &layers))
		return false;
	/* Nothing to cut: an ordinary packet with a checksum to be made. */
	if (layers.segment && packet->tso_segsz == 0)
		return false;
	if (layers.segment && packet->pkt_len - layers.l4 <= packet->tso_segsz)
		layers.segment = false;
	if (layers.ipv6 ? !look_at_ipv6(packet, &layers) : !look_at_ipv4(packet, &layers, plan))
		return false;
	if ((packet->ol_flags & l4_requests) == 0)
		return true;
	if (layers.l4_size < checksum_offset(&layers) + sizeof(uint16_t))
		return false;
	return plan_checksum(packet, features, &layers, plan) &&
		(!layers.segment || plan_segmentation(packet, features, &layers, plan));
}
