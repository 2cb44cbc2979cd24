/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * csum: every frame leaves with right checksums.
 *
 * IPv4 header checksums are always made here. TCP and UDP checksums are asked for (offload) or
 * made here (software), as the transmitting port is set up. TCP frames may be cut into segments:
 * with the size the guest asked for, or with the port's own.
 */

#include <netinet/in.h>

#include <rte_ip.h>
#include <rte_net.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "fwd.h"

/* What of a frame was understood. */
struct layers {
	struct rte_net_hdr_lens lengths;
	uint32_t type; /* RTE_PTYPE_* */
	bool ipv4;
	bool tcp;
	bool udp;
};

static bool
parse(const struct rte_mbuf *packet, struct layers *layers)
{
	layers->lengths = (struct rte_net_hdr_lens){ 0 };
	layers->type = rte_net_get_ptype(packet, &layers->lengths,
		RTE_PTYPE_L2_MASK | RTE_PTYPE_L3_MASK | RTE_PTYPE_L4_MASK);
	layers->ipv4 = RTE_ETH_IS_IPV4_HDR(layers->type);
	layers->tcp = (layers->type & RTE_PTYPE_L4_MASK) == RTE_PTYPE_L4_TCP;
	layers->udp = (layers->type & RTE_PTYPE_L4_MASK) == RTE_PTYPE_L4_UDP;
	/* Headers are written to below, so they must lie in the first segment. */
	uint32_t end = layers->lengths.l2_len + layers->lengths.l3_len;
	if (layers->tcp || layers->udp)
		end += layers->lengths.l4_len;
	return (layers->ipv4 || RTE_ETH_IS_IPV6_HDR(layers->type)) &&
		layers->lengths.l3_len != 0 && end <= rte_pktmbuf_data_len(packet);
}

/* Bytes of the IP packet, as its header says. */
static uint32_t
ip_length(const struct layers *layers, const void *ip)
{
	if (layers->ipv4)
		return rte_be_to_cpu_16(((const struct rte_ipv4_hdr *)ip)->total_length);
	return rte_be_to_cpu_16(((const struct rte_ipv6_hdr *)ip)->payload_len) +
		(uint32_t)sizeof(struct rte_ipv6_hdr);
}

/* What the guest claims to send cannot be longer than what it sent. */
static bool
lengths_agree(const struct rte_mbuf *packet, const struct layers *layers, const void *ip)
{
	uint32_t claimed = ip_length(layers, ip);

	return claimed >= (uint32_t)layers->lengths.l3_len + layers->lengths.l4_len &&
		claimed + layers->lengths.l2_len <= rte_pktmbuf_pkt_len(packet);
}

static uint16_t
pseudo_sum(const struct layers *layers, const void *ip, uint64_t flags)
{
	return layers->ipv4 ? rte_ipv4_phdr_cksum(ip, flags) : rte_ipv6_phdr_cksum(ip, flags);
}

/* The checksum of a frame whose checksum field is 0. */
static uint16_t
transport_checksum(const struct rte_mbuf *packet, const struct layers *layers, const void *ip)
{
	uint32_t offset = layers->lengths.l2_len + layers->lengths.l3_len;
	uint32_t end = layers->lengths.l2_len + ip_length(layers, ip);
	uint16_t payload = 0;

	if (rte_raw_cksum_mbuf(packet, offset, end - offset, &payload) != 0)
		return 0;
	uint32_t sum = (uint32_t)payload + pseudo_sum(layers, ip, 0);
	sum = (sum & 0xffff) + (sum >> 16);
	uint16_t checksum = (uint16_t)~sum;
	return layers->udp && checksum == 0 ? 0xffff : checksum;
}

/* 0 unless the frame is to be cut into segments of that many bytes. */
static uint16_t
segment_size(const struct stream *stream, const struct rte_mbuf *packet,
	const struct layers *layers, uint32_t headers)
{
	uint16_t size = 0;

	if (!layers->tcp)
		return 0;
	if (packet->ol_flags & (RTE_MBUF_F_RX_LRO | RTE_MBUF_F_TX_TCP_SEG))
		size = packet->tso_segsz;
	if (stream->tso_size != 0)
		size = stream->tso_size;
	return rte_pktmbuf_pkt_len(packet) > headers + size ? size : 0;
}

static void
serve_transport(const struct stream *stream, struct rte_mbuf *packet, const struct layers *layers,
	void *ip)
{
	uint8_t *l4 = (uint8_t *)ip + layers->lengths.l3_len;
	uint16_t *checksum = layers->tcp ? &((struct rte_tcp_hdr *)l4)->cksum :
		&((struct rte_udp_hdr *)l4)->dgram_cksum;
	uint32_t headers = layers->lengths.l2_len + layers->lengths.l3_len + layers->lengths.l4_len;
	uint16_t size = segment_size(stream, packet, layers, headers);

	/* UDP over IPv4 may go without a checksum. */
	if (layers->udp && layers->ipv4 && *checksum == 0)
		return;
	if (stream->software_checksum && size == 0) {
		*checksum = 0;
		*checksum = transport_checksum(packet, layers, ip);
		return;
	}
	uint64_t flags = layers->ipv4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
	flags |= layers->tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
	if (size != 0) {
		flags |= RTE_MBUF_F_TX_TCP_SEG;
		packet->tso_segsz = size;
	}
	packet->ol_flags |= flags;
	packet->l2_len = layers->lengths.l2_len;
	packet->l3_len = layers->lengths.l3_len;
	packet->l4_len = layers->lengths.l4_len;
	*checksum = pseudo_sum(layers, ip, flags);
}

static void
serve_packet(struct stream *stream, struct rte_mbuf *packet)
{
	/* A UDP frame to be segmented keeps the guest's own request, which is complete. */
	const uint64_t kept = RTE_MBUF_F_TX_UDP_SEG;
	struct layers layers;

	if (!has_ethernet_header(packet) || packet->ol_flags & kept)
		return;
	struct rte_ether_hdr *ethernet = rte_pktmbuf_mtod(packet, struct rte_ether_hdr *);
	ethernet->dst_addr = stream->peer;
	ethernet->src_addr = stream->source;
	if (!parse(packet, &layers))
		return;
	void *ip = rte_pktmbuf_mtod_offset(packet, void *, layers.lengths.l2_len);
	if (layers.ipv4) {
		struct rte_ipv4_hdr *header = ip;
		if (rte_raw_cksum(header, layers.lengths.l3_len) != 0xffff)
			count_add(&stream->rx_counters->bad_checksums, 1);
		header->hdr_checksum = 0;
		header->hdr_checksum = (uint16_t)~rte_raw_cksum(header, layers.lengths.l3_len);
	}
	if ((packet->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_BAD)
		count_add(&stream->rx_counters->bad_checksums, 1);
	if ((!layers.tcp && !layers.udp) || !lengths_agree(packet, &layers, ip))
		return;
	packet->ol_flags &= ~(RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG |
		RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6);
	serve_transport(stream, packet, &layers, ip);
}

static unsigned int
csum_serve(struct stream *stream)
{
	struct rte_mbuf *packets[MAX_BURST];
	uint16_t count = vhu_rx_burst(stream->rx, packets, stream->burst);

	for (uint16_t i = 0; i < count; i++)
		serve_packet(stream, packets[i]);
	if (count != 0)
		stream_send(stream, packets, count);
	return count;
}

const struct fwd_mode fwd_csum = {
	.name = "csum",
	.help = "make or ask for checksums and TCP segments",
	.receives = true,
	.serve = csum_serve,
};
