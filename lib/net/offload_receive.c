/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <netinet/in.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_net.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "net/offload.h"
#include "wire/spec.h"

#define FEATURE(features, bit) (((features) >> (bit)) & 1)
/* More of the packet is in other frames. */
#define FRAGMENT RTE_BE16(RTE_IPV4_HDR_OFFSET_MASK | RTE_IPV4_HDR_MF_FLAG)

/* What the frame's own headers say. */
struct layers {
	struct rte_net_hdr_lens lens;
	uint32_t ptype;
	uint32_t l4_offset;
	bool tcp, udp, ipv4, ipv6;
};

/*
 * Ethernet, IPv4 or IPv6 without options, TCP or UDP: what nearly all requests are about, at a
 * tenth of the instructions. @return false if the frame is not of that kind; nothing is told then.
 */
static bool
parse_common(const struct rte_mbuf *packet, struct layers *layers)
{
	const struct rte_ether_hdr *ether = rte_pktmbuf_mtod(packet, const struct rte_ether_hdr *);
	const struct rte_ipv4_hdr *ip4 = (const struct rte_ipv4_hdr *)(ether + 1);
	const struct rte_ipv6_hdr *ip6 = (const struct rte_ipv6_hdr *)(ether + 1);
	const struct rte_tcp_hdr *tcp;
	bool ipv4;
	uint8_t protocol;
	uint32_t l3;

	if (packet->data_len < sizeof(*ether) + sizeof(*ip4) + sizeof(*tcp))
		return false;
	ipv4 = ether->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4) &&
		ip4->version_ihl == RTE_IPV4_VHL_DEF && (ip4->fragment_offset & FRAGMENT) == 0;
	l3 = ipv4 ? sizeof(*ip4) : sizeof(*ip6);
	protocol = ipv4 ? ip4->next_proto_id : ip6->proto;
	if (!ipv4 && (ether->ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV6) ||
			packet->data_len < sizeof(*ether) + sizeof(*ip6) + sizeof(*tcp)))
		return false;
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return false;
	layers->ipv4 = ipv4;
	layers->ipv6 = !ipv4;
	layers->tcp = protocol == IPPROTO_TCP;
	layers->udp = !layers->tcp;
	layers->ptype = RTE_PTYPE_L2_ETHER | (ipv4 ? RTE_PTYPE_L3_IPV4 : RTE_PTYPE_L3_IPV6) |
		(layers->tcp ? RTE_PTYPE_L4_TCP : RTE_PTYPE_L4_UDP);
	tcp = (const struct rte_tcp_hdr *)((const uint8_t *)(ether + 1) + l3);
	layers->lens.l2_len = sizeof(*ether);
	layers->lens.l3_len = (uint16_t)l3;
	layers->lens.l4_len = layers->tcp ? (tcp->data_off & 0xf0) >> 2 :
		sizeof(struct rte_udp_hdr);
	layers->l4_offset = sizeof(*ether) + l3;
	return true;
}

static void
parse(const struct rte_mbuf *packet, struct layers *layers)
{
	uint32_t l3;

	if (parse_common(packet, layers))
		return;
	layers->ptype = rte_net_get_ptype(packet, &layers->lens,
		RTE_PTYPE_L2_MASK | RTE_PTYPE_L3_MASK | RTE_PTYPE_L4_MASK);
	l3 = layers->ptype & RTE_PTYPE_L3_MASK;
	layers->ipv4 = l3 == RTE_PTYPE_L3_IPV4 || l3 == RTE_PTYPE_L3_IPV4_EXT;
	layers->ipv6 = l3 == RTE_PTYPE_L3_IPV6 || l3 == RTE_PTYPE_L3_IPV6_EXT;
	layers->tcp = (layers->ptype & RTE_PTYPE_L4_MASK) == RTE_PTYPE_L4_TCP;
	layers->udp = (layers->ptype & RTE_PTYPE_L4_MASK) == RTE_PTYPE_L4_UDP;
	layers->l4_offset = layers->lens.l2_len + layers->lens.l3_len;
}

/* Write two bytes into a frame that may be segmented. */
static void
write16(struct rte_mbuf *m, uint32_t offset, uint16_t value)
{
	uint8_t bytes[2];
	unsigned int i;

	memcpy(bytes, &value, sizeof(bytes));
	for (i = 0; i < 2; i++) {
		uint32_t at = offset + i;
		struct rte_mbuf *segment = m;

		while (segment != NULL && at >= segment->data_len) {
			at -= segment->data_len;
			segment = segment->next;
		}
		if (segment != NULL)
			*rte_pktmbuf_mtod_offset(segment, uint8_t *, at) = bytes[i];
	}
}

/*
 * Make the checksum that the guest left to us: the sum from csum_start to the end, the field
 * holding the pseudo header's share. An all-zero result is written as ones, which is the same
 * number and which UDP does not read as "no checksum".
 */
static bool
complete_checksum(struct rte_mbuf *packet, const struct virtio_net_hdr *header)
{
	uint16_t sum;

	if (rte_raw_cksum_mbuf(packet, header->csum_start, packet->pkt_len - header->csum_start,
			&sum) != 0)
		return false;
	sum = (uint16_t)~sum;
	write16(packet, header->csum_start + header->csum_offset, sum != 0 ? sum : 0xffff);
	packet->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	return true;
}

/* A checksum to be made. */
static bool
receive_checksum(const struct vhu_queue *queue, const struct virtio_net_hdr *header,
	const struct layers *layers, struct rte_mbuf *packet)
{
	uint32_t field = (uint32_t)header->csum_start + header->csum_offset;
	bool known = header->csum_start == layers->l4_offset &&
		((layers->tcp && header->csum_offset == 16) ||
		 (layers->udp && header->csum_offset == 6));

	if (field + sizeof(uint16_t) > packet->pkt_len)
		return false;
	/*
	 * What mbuf flags cannot say (another protocol, a tunnel's inner header) is done here and
	 * now.
	 */
	if (!known || (queue->complete_checksum && header->gso_type == VIRTIO_NET_HDR_GSO_NONE))
		return complete_checksum(packet, header);
	packet->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
	packet->l2_len = layers->lens.l2_len;
	packet->l3_len = layers->lens.l3_len;
	packet->l4_len = layers->lens.l4_len;
	if (queue->tx_hints)
		packet->ol_flags |=
			(layers->tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM) |
			(layers->ipv4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6);
	return true;
}

/* Is the checksum left to others, and do the mbuf's lengths say where it is? */
static bool
is_unfinished(const struct rte_mbuf *packet)
{
	/* NONE is the bits of GOOD and of BAD. */
	return (packet->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE;
}

/* Is the kind of segmentation one that was negotiated, for the protocol that the frame has? */
static bool
segmentation_fits(uint64_t features, uint8_t type, const struct layers *layers)
{
	switch (type) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return layers->tcp && layers->ipv4 && FEATURE(features, VIRTIO_NET_F_HOST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return layers->tcp && layers->ipv6 && FEATURE(features, VIRTIO_NET_F_HOST_TSO6);
	case VIRTIO_NET_HDR_GSO_UDP:
		return layers->udp && FEATURE(features, VIRTIO_NET_F_HOST_UFO);
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return layers->udp && FEATURE(features, VIRTIO_NET_F_HOST_USO);
	default:
		return false;
	}
}

/* A frame that is many: segment size and lengths for whoever cuts it. */
static bool
receive_segmentation(const struct vhu_queue *queue, uint64_t features,
	const struct virtio_net_hdr *header, const struct layers *layers, struct rte_mbuf *packet)
{
	uint8_t type = header->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;

	if ((header->gso_type & VIRTIO_NET_HDR_GSO_ECN) &&
	    (!layers->tcp || !FEATURE(features, VIRTIO_NET_F_HOST_ECN)))
		return false;
	if (header->gso_size == 0 || !segmentation_fits(features, type, layers) ||
	    !is_unfinished(packet) ||
	    layers->l4_offset + layers->lens.l4_len >= packet->pkt_len)
		return false;
	packet->tso_segsz = header->gso_size;
	packet->ol_flags |= RTE_MBUF_F_RX_LRO;
	if (queue->tx_hints)
		packet->ol_flags |= (layers->tcp ? RTE_MBUF_F_TX_TCP_SEG : RTE_MBUF_F_TX_UDP_SEG) |
			(layers->ipv4 ? RTE_MBUF_F_TX_IP_CKSUM : 0);
	return true;
}

bool
vhu_offload_receive(const struct vhu_queue *queue, uint64_t features,
	const struct virtio_net_hdr *header, struct rte_mbuf *packet)
{
	bool checksum = header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
	struct layers layers;

	/*
	 * Other flags are for the other direction; drivers may not set them, devices ignore them.
	 */
	if (!checksum && header->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return true;
	if (!FEATURE(features, VIRTIO_NET_F_CSUM))
		return false;
	parse(packet, &layers);
	packet->packet_type = layers.ptype;
	packet->tx_offload = 0;
	if (checksum && !receive_checksum(queue, header, &layers, packet))
		return false;
	return header->gso_type == VIRTIO_NET_HDR_GSO_NONE ||
		receive_segmentation(queue, features, header, &layers, packet);
}

bool
vhu_offload_receive_claims(struct vhu_queue *queue, uint64_t features, uint64_t claims,
	const uint8_t *rest, struct rte_mbuf *packet)
{
	struct virtio_net_hdr header;

	memcpy(&header, &claims, sizeof(claims));
	memcpy((uint8_t *)&header + sizeof(claims), rest, sizeof(header) - sizeof(claims));
	if (vhu_offload_receive(queue, features, &header, packet))
		return true;
	vhu_count(&queue->ring.counters.drops[VHU_DROP_BAD_OFFLOAD], 1);
	rte_pktmbuf_free(packet);
	return false;
}

void
vhu_offload_strip_vlan(struct rte_mbuf *packet)
{
	const struct rte_ether_hdr *ether = rte_pktmbuf_mtod(packet, const struct rte_ether_hdr *);
	const struct rte_vlan_hdr *vlan = (const struct rte_vlan_hdr *)(ether + 1);
	uint8_t *data = rte_pktmbuf_mtod(packet, uint8_t *);

	if (packet->data_len < sizeof(*ether) + sizeof(*vlan) ||
	    ether->ether_type != rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN))
		return;
	packet->vlan_tci = rte_be_to_cpu_16(vlan->vlan_tci);
	packet->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
	memmove(data + RTE_VLAN_HLEN, data, 2 * RTE_ETHER_ADDR_LEN);
	rte_pktmbuf_adj(packet, RTE_VLAN_HLEN);
	if (is_unfinished(packet))
		packet->l2_len -= RTE_VLAN_HLEN;
}
