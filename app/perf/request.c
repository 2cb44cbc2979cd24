/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Frames that ask for a checksum or for segmentation, as TCP of a Linux guest sends them: the
 * virtio-net header says what is to be done, the frame begins with Ethernet, IPv4 and TCP headers,
 * and the checksum field holds the sum of the pseudo header. Back-ends read those headers.
 */

#include <string.h>

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>

#include "perf.h"

#define SEGMENT 1448
#define L2 sizeof(struct rte_ether_hdr)
#define L3 sizeof(struct rte_ipv4_hdr)
#define L4 sizeof(struct rte_tcp_hdr)

void
perf_request_header(const struct perf_row *row, uint8_t header[FRONT_HEADER])
{
	struct virtio_net_hdr_mrg_rxbuf wanted = {
		.hdr = {
			.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			.csum_start = L2 + L3,
			.csum_offset = offsetof(struct rte_tcp_hdr, cksum),
		},
	};

	_Static_assert(L2 + L3 + offsetof(struct rte_tcp_hdr, cksum) == PERF_CHECKSUM_AT, "");
	memset(header, 0, FRONT_HEADER);
	if (row->request == PERF_ASK_NOTHING)
		return;
	if (row->request == PERF_ASK_SEGMENTS) {
		wanted.hdr.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
		wanted.hdr.gso_size = SEGMENT;
		wanted.hdr.hdr_len = L2 + L3 + L4;
	}
	memcpy(header, &wanted, sizeof(wanted));
}

void
perf_request_frame(const struct perf_row *row, uint8_t *frame)
{
	struct rte_ether_hdr ether = {
		.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4),
	};
	struct rte_ipv4_hdr ip = {
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16((uint16_t)(row->size - L2)),
		.time_to_live = 64,
		.next_proto_id = IPPROTO_TCP,
		.src_addr = RTE_BE32(RTE_IPV4(192, 0, 2, 1)),
		.dst_addr = RTE_BE32(RTE_IPV4(192, 0, 2, 2)),
	};
	struct rte_tcp_hdr tcp = { .data_off = 5 << 4, .tcp_flags = RTE_TCP_ACK_FLAG };

	memset(ether.dst_addr.addr_bytes, 0x02, RTE_ETHER_ADDR_LEN);
	memset(ether.src_addr.addr_bytes, 0x06, RTE_ETHER_ADDR_LEN);
	ip.hdr_checksum = rte_ipv4_cksum(&ip);
	tcp.cksum = rte_ipv4_phdr_cksum(&ip, 0);
	memcpy(frame, &ether, L2);
	memcpy(frame + L2, &ip, L3);
	memcpy(frame + L2 + L3, &tcp, L4);
}

void
perf_request_mbuf(const struct perf_row *row, struct rte_mbuf *packet)
{
	packet->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_CKSUM;
	packet->l2_len = L2;
	packet->l3_len = L3;
	packet->l4_len = L4;
	if (row->request == PERF_ASK_SEGMENTS) {
		packet->ol_flags |= RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IP_CKSUM;
		packet->tso_segsz = SEGMENT;
	}
}
