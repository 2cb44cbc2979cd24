/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * icmpecho: answers ARP requests and ICMP echo requests for any address; discards the rest.
 *
 * Makes a peer for a guest's ping out of nothing. Nothing is kept between packets: answers are
 * made in place, and later fragments of an ICMP message go back as they are, so that large pings
 * work. Frames may carry one or two VLAN tags, which stay.
 */

#include <netinet/in.h>

#include <rte_arp.h>
#include <rte_byteorder.h>
#include <rte_icmp.h>
#include <rte_ip.h>

#include "fwd.h"

/* 224.0.0.0: from here on addresses are groups, reserved, or everybody. */
#define FIRST_GROUP_ADDRESS UINT32_C(0xe0000000)
/* Types of ICMP messages; DPDK renamed its own. */
#define ICMP_ECHO_REPLY 0
#define ICMP_ECHO_REQUEST 8

enum answer { ANSWER_NONE, ANSWER_ARP, ANSWER_ECHO };

static bool
is_vlan(rte_be16_t type)
{
	return type == rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN) ||
		type == rte_cpu_to_be_16(RTE_ETHER_TYPE_QINQ);
}

/* Size of the Ethernet header with its tags; the type behind them goes to *type. */
static uint32_t
skip_ethernet(const struct rte_mbuf *packet, rte_be16_t *type)
{
	const struct rte_ether_hdr *ethernet = rte_pktmbuf_mtod(packet, struct rte_ether_hdr *);
	uint32_t size = sizeof(*ethernet);

	*type = ethernet->ether_type;
	for (int tags = 0; tags < 2 && is_vlan(*type); tags++) {
		const struct rte_vlan_hdr *tag =
			rte_pktmbuf_mtod_offset(packet, struct rte_vlan_hdr *, size);
		size += sizeof(*tag);
		if (size > rte_pktmbuf_data_len(packet))
			return size;
		*type = tag->eth_proto;
	}
	return size;
}

static enum answer
answer_arp(struct stream *stream, struct rte_arp_hdr *arp)
{
	struct rte_arp_ipv4 *data = &arp->arp_data;
	uint32_t target = data->arp_tip;

	/*
	 * Probes and announcements are no questions: an answer would look like a duplicate
	 * address.
	 */
	if (arp->arp_opcode != rte_cpu_to_be_16(RTE_ARP_OP_REQUEST) ||
	    arp->arp_protocol != rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4) ||
	    data->arp_sip == 0 || data->arp_sip == target)
		return ANSWER_NONE;
	arp->arp_opcode = rte_cpu_to_be_16(RTE_ARP_OP_REPLY);
	data->arp_tha = data->arp_sha;
	data->arp_tip = data->arp_sip;
	data->arp_sha = stream->source;
	data->arp_sip = target;
	return ANSWER_ARP;
}

/*
 * The type changes from 8 to 0, so the one's complement sum shrinks by that and its inverse
 * grows.
 */
static void
turn_echo(struct rte_icmp_hdr *icmp)
{
	uint32_t checksum = (uint16_t)~icmp->icmp_cksum;

	checksum += (uint16_t)~rte_cpu_to_be_16(ICMP_ECHO_REQUEST << 8);
	checksum = (checksum & 0xffff) + (checksum >> 16);
	icmp->icmp_cksum = (uint16_t)~checksum;
	icmp->icmp_type = ICMP_ECHO_REPLY;
}

static enum answer
answer_ip(struct rte_ipv4_hdr *ip, uint32_t room)
{
	uint32_t size = rte_ipv4_hdr_len(ip);
	uint32_t target = rte_be_to_cpu_32(ip->dst_addr);

	if (ip->version != 4 || size < sizeof(*ip) || size > room ||
	    ip->next_proto_id != IPPROTO_ICMP || target >= FIRST_GROUP_ADDRESS)
		return ANSWER_NONE;
	if ((rte_be_to_cpu_16(ip->fragment_offset) & RTE_IPV4_HDR_OFFSET_MASK) == 0) {
		struct rte_icmp_hdr *icmp = RTE_PTR_ADD(ip, size);
		if (size + sizeof(*icmp) > room || icmp->icmp_type != ICMP_ECHO_REQUEST ||
		    icmp->icmp_code != 0)
			return ANSWER_NONE;
		turn_echo(icmp);
	}
	/* Swapping the addresses leaves the header's checksum right. */
	rte_be32_t source = ip->src_addr;
	ip->src_addr = ip->dst_addr;
	ip->dst_addr = source;
	return ANSWER_ECHO;
}

static enum answer
answer_packet(struct stream *stream, struct rte_mbuf *packet)
{
	enum answer answer = ANSWER_NONE;
	rte_be16_t type;

	if (!has_ethernet_header(packet))
		return ANSWER_NONE;
	uint32_t size = skip_ethernet(packet, &type);
	uint32_t length = rte_pktmbuf_data_len(packet);
	if (size > length)
		return ANSWER_NONE;
	void *next = rte_pktmbuf_mtod_offset(packet, void *, size);
	if (type == rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP) &&
	    length - size >= sizeof(struct rte_arp_hdr))
		answer = answer_arp(stream, next);
	else if (type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4) &&
	    length - size >= sizeof(struct rte_ipv4_hdr))
		answer = answer_ip(next, length - size);
	if (answer == ANSWER_NONE)
		return ANSWER_NONE;
	struct rte_ether_hdr *ethernet = rte_pktmbuf_mtod(packet, struct rte_ether_hdr *);
	ethernet->dst_addr = ethernet->src_addr;
	ethernet->src_addr = stream->source;
	return answer;
}

static unsigned int
icmpecho_serve(struct stream *stream)
{
	struct rte_mbuf *packets[MAX_BURST], *answers[MAX_BURST];
	uint16_t count = vhu_rx_burst(stream->rx, packets, stream->burst);
	uint16_t answered = 0;

	for (uint16_t i = 0; i < count; i++) {
		enum answer answer = answer_packet(stream, packets[i]);
		if (answer == ANSWER_NONE) {
			count_add(&stream->rx_counters->ignored, 1);
			rte_pktmbuf_free(packets[i]);
			continue;
		}
		count_add(answer == ANSWER_ARP ? &stream->rx_counters->arp_replies :
			&stream->rx_counters->echo_replies, 1);
		answers[answered++] = packets[i];
	}
	if (answered != 0)
		stream_send(stream, answers, answered);
	return count;
}

const struct fwd_mode fwd_icmpecho = {
	.name = "icmpecho",
	.help = "answer ARP and ICMP echo requests",
	.receives = true,
	.loops = true,
	.serve = icmpecho_serve,
};
