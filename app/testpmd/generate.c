/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <netinet/in.h>
#include <string.h>

#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_udp.h>

#include "generate.h"

/* Documentation addresses (RFC 2544 benchmarks) and the discard port. */
#define SOURCE_ADDRESS RTE_IPV4(198u, 18, 0, 1)
#define TARGET_ADDRESS RTE_IPV4(198u, 18, 0, 2)
#define TARGET_PORT 9
#define FIRST_SOURCE_PORT 1024
#define PAYLOAD_BYTE 0x5a

struct headers {
	struct rte_ether_hdr ethernet;
	struct rte_ipv4_hdr ip;
	struct rte_udp_hdr udp;
} __attribute__((packed, aligned(2)));

_Static_assert(sizeof(struct headers) == GENERATED_HEADER, "headers are packed");

static struct {
	struct headers headers;
	uint32_t checksum_base; /* sum of all that UDP's checksum covers, except the source port */
	uint16_t segments;
	uint16_t sizes[MAX_SEGMENTS];
	uint32_t total;
} template;

void
generate_prepare(void)
{
	template.segments = settings.segments;
	template.total = 0;
	for (unsigned int i = 0; i < settings.segments; i++) {
		template.sizes[i] = settings.segment_sizes[i];
		template.total += settings.segment_sizes[i];
	}
	uint16_t ip_length = (uint16_t)(template.total - sizeof(struct rte_ether_hdr));
	uint16_t udp_length = (uint16_t)(ip_length - sizeof(struct rte_ipv4_hdr));
	struct headers *headers = &template.headers;

	*headers = (struct headers){
		.ethernet = { .ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4) },
		.ip = {
			.version_ihl = RTE_IPV4_VHL_DEF,
			.total_length = rte_cpu_to_be_16(ip_length),
			.time_to_live = 64,
			.next_proto_id = IPPROTO_UDP,
			.src_addr = rte_cpu_to_be_32(SOURCE_ADDRESS),
			.dst_addr = rte_cpu_to_be_32(TARGET_ADDRESS),
		},
		.udp = {
			.dst_port = rte_cpu_to_be_16(TARGET_PORT),
			.dgram_len = rte_cpu_to_be_16(udp_length),
		},
	};
	headers->ip.hdr_checksum = rte_ipv4_cksum(&headers->ip);
	/* Pseudo header, UDP header, payload: in network order, as rte_raw_cksum() sums. */
	uint32_t payload = udp_length - (uint32_t)sizeof(struct rte_udp_hdr);
	uint64_t sum = rte_ipv4_phdr_cksum(&headers->ip, 0);
	sum += rte_raw_cksum(&headers->udp, sizeof(headers->udp));
	sum += (uint64_t)(payload / 2) * (PAYLOAD_BYTE << 8 | PAYLOAD_BYTE);
	if (payload % 2 != 0)
		sum += rte_cpu_to_be_16(PAYLOAD_BYTE << 8);
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	template.checksum_base = (uint32_t)sum;
}

static uint16_t
udp_checksum(rte_be16_t source_port)
{
	uint32_t sum = template.checksum_base + source_port;

	sum = (sum & 0xffff) + (sum >> 16);
	uint16_t checksum = (uint16_t)~sum;
	return checksum == 0 ? 0xffff : checksum;
}

static void
write_first(struct rte_mbuf *packet, struct stream *stream, uint32_t flows)
{
	uint8_t *data = rte_pktmbuf_mtod(packet, uint8_t *);
	struct headers *headers = (struct headers *)data;
	rte_be16_t source_port = rte_cpu_to_be_16((uint16_t)(FIRST_SOURCE_PORT + stream->flow));

	*headers = template.headers;
	headers->ethernet.dst_addr = stream->peer;
	headers->ethernet.src_addr = stream->source;
	headers->udp.src_port = source_port;
	headers->udp.dgram_cksum = udp_checksum(source_port);
	memset(data + sizeof(*headers), PAYLOAD_BYTE, template.sizes[0] - sizeof(*headers));
	stream->flow = stream->flow + 1 < flows ? stream->flow + 1 : 0;
	packet->data_len = template.sizes[0];
	packet->pkt_len = template.total;
	packet->nb_segs = template.segments;
	packet->l2_len = sizeof(struct rte_ether_hdr);
	packet->l3_len = sizeof(struct rte_ipv4_hdr);
}

/* @return false if the pool had no mbufs; the packet is unchanged then. */
static bool
add_segments(struct rte_mbuf *packet)
{
	struct rte_mbuf *more[MAX_SEGMENTS];
	struct rte_mbuf *last = packet;

	if (rte_pktmbuf_alloc_bulk(mbuf_pool, more, template.segments - 1u) != 0)
		return false;
	for (unsigned int i = 1; i < template.segments; i++) {
		struct rte_mbuf *segment = more[i - 1];
		memset(rte_pktmbuf_mtod(segment, void *), PAYLOAD_BYTE, template.sizes[i]);
		segment->data_len = template.sizes[i];
		last->next = segment;
		last = segment;
	}
	return true;
}

uint16_t
generate_burst(struct stream *stream, struct rte_mbuf **packets, uint16_t count, uint32_t flows)
{
	if (rte_pktmbuf_alloc_bulk(mbuf_pool, packets, count) != 0)
		return 0;
	for (uint16_t i = 0; i < count; i++) {
		if (template.segments > 1 && !add_segments(packets[i])) {
			rte_pktmbuf_free_bulk(packets + i, count - i);
			return i;
		}
		write_first(packets[i], stream, flows);
	}
	return count;
}
