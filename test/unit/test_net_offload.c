/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* The virtio-net header and mbuf flags, both ways, through whole bursts. */

#include <netinet/in.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_net.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "net_rig.h"

#define HEADER 12
#define L4 (sizeof(struct rte_ether_hdr) + sizeof(struct rte_ipv4_hdr))
#define PAYLOAD 1000
#define SIZE (L4 + sizeof(struct rte_tcp_hdr) + PAYLOAD)
#define CSUM VHU_BIT(VIRTIO_NET_F_CSUM)
#define GUEST_CSUM VHU_BIT(VIRTIO_NET_F_GUEST_CSUM)

/* A frame of Ethernet, IPv4 and TCP or UDP; the layer-4 checksum is right. */
static void
make_frame(uint8_t *frame, uint8_t protocol)
{
	struct rte_ether_hdr *ether = (struct rte_ether_hdr *)frame;
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(ether + 1);

	rig_pattern(frame, SIZE, 1);
	ether->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
	memset(ip, 0, sizeof(*ip));
	ip->version_ihl = RTE_IPV4_VHL_DEF;
	ip->total_length = rte_cpu_to_be_16(SIZE - sizeof(*ether));
	ip->time_to_live = 64;
	ip->next_proto_id = protocol;
	ip->src_addr = rte_cpu_to_be_32(0x0a000001);
	ip->dst_addr = rte_cpu_to_be_32(0x0a000002);
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	if (protocol == IPPROTO_TCP) {
		struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(ip + 1);

		tcp->data_off = 5 << 4;
		tcp->tcp_flags = RTE_TCP_ACK_FLAG;
		tcp->cksum = 0;
		tcp->cksum = rte_ipv4_udptcp_cksum(ip, tcp);
	} else {
		struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);

		udp->src_port = rte_cpu_to_be_16(1);
		udp->dst_port = rte_cpu_to_be_16(2);
		udp->dgram_len = rte_cpu_to_be_16(SIZE - L4);
		udp->dgram_cksum = 0;
		udp->dgram_cksum = rte_ipv4_udptcp_cksum(ip, udp);
	}
}

static uint16_t *
tcp_checksum(uint8_t *frame)
{
	return &((struct rte_tcp_hdr *)(frame + L4))->cksum;
}

static bool
checksum_right(const uint8_t *frame)
{
	return rte_ipv4_udptcp_cksum_verify(
		(const struct rte_ipv4_hdr *)(frame + sizeof(struct rte_ether_hdr)),
		frame + L4) == 0;
}

/* The guest sends a frame with this header; @return the mbuf, NULL if it was dropped. */
static struct rte_mbuf *
guest_sends(struct rig *rig, const struct virtio_net_hdr *header, const uint8_t *frame,
	uint32_t size)
{
	uint8_t *host = rig_host(rig, rig_slot(0));
	struct rte_mbuf *m = NULL;

	memset(host, 0, HEADER);
	memcpy(host, header, sizeof(*header));
	memcpy(host + HEADER, frame, size);
	rig_buffer(rig, 0, HEADER + size, 0);
	return vhu_rx_burst(rig->queue, &m, 1) == 1 ? m : NULL;
}

static struct virtio_net_hdr
needs_checksum(void)
{
	return (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = L4,
		.csum_offset = 16 };
}

static struct virtio_net_hdr
large_send(uint8_t type, uint16_t segment)
{
	struct virtio_net_hdr header = needs_checksum();

	header.gso_type = type;
	header.gso_size = segment;
	header.hdr_len = 54;
	return header;
}

/* The receive side with these options and features. */
static struct rig *
receiver(uint64_t features, bool hints, bool complete)
{
	struct rig *rig = rig_new(1, features);
	struct vhu_rx_options options = { .mempool = rig->pool, .tx_hints = hints,
		.complete_checksum = complete };

	assert_int_equal(vhu_rx_queue_setup(rig->queue, &options), 0);
	return rig;
}

static void
expect_refused(uint64_t features, const struct virtio_net_hdr *header, uint32_t size)
{
	struct rig *rig = receiver(features, false, false);
	uint8_t frame[SIZE];

	make_frame(frame, IPPROTO_TCP);
	assert_null(guest_sends(rig, header, frame, size));
	assert_int_equal(rig_drops(rig, VHU_DROP_BAD_OFFLOAD), 1);
	assert_int_equal(rig->used->idx, 1);
	assert_int_equal(rig_broken(rig), VHU_BROKEN_NO);
	rig_free(rig);
}

static void
checksum_request_becomes_flags(void **state)
{
	struct rig *rig = receiver(CSUM, true, false);
	struct virtio_net_hdr header = needs_checksum();
	uint8_t frame[SIZE];
	struct rte_mbuf *m;

	(void)state;
	make_frame(frame, IPPROTO_TCP);
	m = guest_sends(rig, &header, frame, SIZE);
	assert_non_null(m);
	assert_int_equal(m->ol_flags, RTE_MBUF_F_RX_L4_CKSUM_NONE | RTE_MBUF_F_TX_TCP_CKSUM |
		RTE_MBUF_F_TX_IPV4);
	assert_int_equal(m->l2_len, 14);
	assert_int_equal(m->l3_len, 20);
	rte_pktmbuf_free(m);
	rig_free(rig);
}

/* Protocols and lengths of a received frame must be those that rte_net tells. */
static void
expect_layers(struct rig *rig, const uint8_t *frame, uint32_t size)
{
	/* Of a protocol that is not known the checksum is made: anywhere in the payload. */
	const struct virtio_net_hdr header = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.csum_start = L4, .csum_offset = 16 };
	struct rte_mbuf *m = guest_sends(rig, &header, frame, size);
	struct rte_net_hdr_lens lens;

	rig_start_at(rig, 0);
	assert_non_null(m);
	assert_int_equal(m->packet_type, rte_net_get_ptype(m, &lens,
		RTE_PTYPE_L2_MASK | RTE_PTYPE_L3_MASK | RTE_PTYPE_L4_MASK));
	if ((m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE) {
		assert_int_equal(m->l2_len, lens.l2_len);
		assert_int_equal(m->l3_len, lens.l3_len);
		assert_int_equal(m->l4_len, lens.l4_len);
	}
	rte_pktmbuf_free(m);
}

static void
protocols_and_lengths_are_those_of_rte_net(void **state)
{
	static const uint32_t sizes[] = { L4 + 18, L4 + 20, L4 + 39, L4 + 40, SIZE };
	static const uint8_t values[] = { 0, 1, 6, 8, 17, 0x20, 0x45, 0x46, 0x50, 0x60, 0x81, 0x86,
		0xdd, 0xff };
	static const char ipv6[] = "\x86\xdd\x60\0\0\0\0\0\6";
	struct rig *rig = receiver(CSUM, false, false);
	uint8_t frame[SIZE];
	unsigned int kind, at, i, k;

	(void)state;
	for (kind = 0; kind < 4; kind++) {
		for (at = 12; at < L4 + 13; at++) {
			for (i = 0; i < RTE_DIM(values); i++) {
				make_frame(frame, IPPROTO_TCP);
				if (kind & 1) /* addresses may be any */
					memcpy(frame + 12, ipv6, sizeof(ipv6) - 1);
				if (kind & 2)
					frame[kind & 1 ? 20 : 23] = IPPROTO_UDP;
				frame[at] = values[i];
				for (k = 0; k < RTE_DIM(sizes); k++)
					expect_layers(rig, frame, sizes[k]);
			}
		}
	}
	rig_free(rig);
}

static void
without_hints_no_transmit_flag_is_set(void **state)
{
	struct rig *rig = receiver(CSUM, false, false);
	struct virtio_net_hdr header = needs_checksum();
	uint8_t frame[SIZE];
	struct rte_mbuf *m;

	(void)state;
	make_frame(frame, IPPROTO_TCP);
	m = guest_sends(rig, &header, frame, SIZE);
	assert_int_equal(m->ol_flags, RTE_MBUF_F_RX_L4_CKSUM_NONE);
	rte_pktmbuf_free(m);
	rig_free(rig);
}

static void
checksum_is_completed_on_request(void **state)
{
	struct rig *rig = receiver(CSUM, false, true);
	struct virtio_net_hdr header = needs_checksum();
	uint8_t frame[SIZE];
	struct rte_mbuf *m;

	(void)state;
	make_frame(frame, IPPROTO_TCP);
	*tcp_checksum(frame) = rte_ipv4_phdr_cksum((struct rte_ipv4_hdr *)(frame + 14), 0);
	assert_false(checksum_right(frame));
	m = guest_sends(rig, &header, frame, SIZE);
	assert_int_equal(m->ol_flags, RTE_MBUF_F_RX_L4_CKSUM_GOOD);
	assert_true(checksum_right(rte_pktmbuf_mtod(m, uint8_t *)));
	rte_pktmbuf_free(m);
	rig_free(rig);
}

static void
checksum_of_an_unknown_protocol_is_made_at_once(void **state)
{
	struct rig *rig = receiver(CSUM, true, false);
	struct virtio_net_hdr header = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 20,
		.csum_offset = 4 };
	uint8_t frame[100] = { 0 };
	struct rte_mbuf *m;

	(void)state;
	frame[12] = 0x88;
	frame[13] = 0xb5;
	frame[50] = 0x12;
	m = guest_sends(rig, &header, frame, sizeof(frame));
	assert_int_equal(m->ol_flags, RTE_MBUF_F_RX_L4_CKSUM_GOOD);
	assert_int_equal(rte_raw_cksum(rte_pktmbuf_mtod_offset(m, void *, 20), 80), 0xffff);
	rte_pktmbuf_free(m);
	rig_free(rig);
}

static void
checksum_field_outside_the_frame_is_refused(void **state)
{
	struct virtio_net_hdr header = needs_checksum();

	(void)state;
	header.csum_start = SIZE - 17;
	expect_refused(CSUM, &header, SIZE);
	header.csum_start = 0xffff;
	header.csum_offset = 0xffff;
	expect_refused(CSUM, &header, SIZE);
	header = needs_checksum();
	expect_refused(CSUM | VHU_BIT(VIRTIO_NET_F_HOST_TSO4), &header, L4 + 16);
}

static void
large_send_becomes_lro(void **state)
{
	struct rig *rig = receiver(CSUM | VHU_BIT(VIRTIO_NET_F_HOST_TSO4), true, false);
	struct virtio_net_hdr header = large_send(VIRTIO_NET_HDR_GSO_TCPV4, 500);
	uint8_t frame[SIZE];
	struct rte_mbuf *m;

	(void)state;
	make_frame(frame, IPPROTO_TCP);
	m = guest_sends(rig, &header, frame, SIZE);
	assert_non_null(m);
	assert_int_equal(m->tso_segsz, 500);
	assert_int_equal(m->l4_len, 20);
	assert_true(m->ol_flags & RTE_MBUF_F_RX_LRO);
	assert_true(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG);
	assert_true(m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM);
	rte_pktmbuf_free(m);
	rig_free(rig);
}

static void
large_send_that_does_not_fit_the_frame_is_refused(void **state)
{
	const uint64_t all = CSUM | VHU_BIT(VIRTIO_NET_F_HOST_TSO4) |
		VHU_BIT(VIRTIO_NET_F_HOST_TSO6) | VHU_BIT(VIRTIO_NET_F_HOST_USO);
	struct virtio_net_hdr header;

	(void)state;
	header = large_send(VIRTIO_NET_HDR_GSO_TCPV4, 0);
	expect_refused(all, &header, SIZE);
	header = large_send(VIRTIO_NET_HDR_GSO_TCPV6, 500);
	expect_refused(all, &header, SIZE);
	header = large_send(VIRTIO_NET_HDR_GSO_UDP_L4, 500);
	expect_refused(all, &header, SIZE);
	header = large_send(77, 500);
	expect_refused(all, &header, SIZE);
	header = large_send(VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, 500);
	expect_refused(all, &header, SIZE); /* HOST_ECN was not negotiated */
	header = large_send(VIRTIO_NET_HDR_GSO_TCPV4, 500);
	header.flags = 0;
	expect_refused(all, &header, SIZE);
	expect_refused(CSUM, &header, SIZE); /* HOST_TSO4 was not negotiated */
	header = large_send(VIRTIO_NET_HDR_GSO_TCPV4, 500);
	expect_refused(all, &header, L4 + sizeof(struct rte_tcp_hdr));
	header.csum_start += 20; /* a checksum of something else, which nobody would cut */
	expect_refused(all, &header, SIZE);
}

static void
tag_is_stripped(void **state)
{
	struct rig *rig = rig_new(1, 0);
	struct vhu_rx_options options = { .mempool = rig->pool, .vlan_strip = true };
	struct virtio_net_hdr header = { 0 };
	uint8_t frame[64];
	struct rte_mbuf *m;

	(void)state;
	assert_int_equal(vhu_rx_queue_setup(rig->queue, &options), 0);
	rig_pattern(frame, sizeof(frame), 5);
	memcpy(frame + 12, "\x81\x00\x20\x05", 4);
	m = guest_sends(rig, &header, frame, sizeof(frame));
	assert_int_equal(m->pkt_len, 60);
	assert_int_equal(m->vlan_tci, 0x2005);
	assert_int_equal(m->ol_flags, RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED);
	assert_memory_equal(rte_pktmbuf_mtod(m, uint8_t *), frame, 12);
	assert_memory_equal(rte_pktmbuf_mtod(m, uint8_t *) + 12, frame + 16, 48);
	rte_pktmbuf_free(m);
	rig_free(rig);
}

/* Transmit a TCP or UDP frame with requests; @return the frame in guest memory. */
static uint8_t *
deliver(struct rig *rig, uint8_t protocol, uint64_t flags, uint16_t segment,
	struct virtio_net_hdr *header)
{
	uint8_t *host = rig_host(rig, rig_slot(0));
	struct rte_mbuf *m = rte_pktmbuf_alloc(rig->pool);
	uint8_t *frame = (uint8_t *)rte_pktmbuf_append(m, SIZE);

	make_frame(frame, protocol);
	m->ol_flags = flags;
	m->l2_len = 14;
	m->l3_len = 20;
	m->l4_len = protocol == IPPROTO_TCP ? 20 : 8;
	m->tso_segsz = segment;
	memset(host, 0xaa, RIG_SLOT);
	rig_buffer(rig, 0, RIG_SLOT, VRING_DESC_F_WRITE);
	assert_int_equal(vhu_tx_burst(rig->queue, &m, 1), 1);
	memcpy(header, host, sizeof(*header));
	return host + HEADER;
}

static void
good_checksum_is_told_to_a_guest_that_may_hear_it(void **state)
{
	struct rig *rig = rig_new(0, GUEST_CSUM), *plain = rig_new(0, 0);
	struct virtio_net_hdr header;

	(void)state;
	deliver(rig, IPPROTO_TCP, RTE_MBUF_F_RX_L4_CKSUM_GOOD, 0, &header);
	assert_int_equal(header.flags, VIRTIO_NET_HDR_F_DATA_VALID);
	deliver(rig, IPPROTO_TCP, RTE_MBUF_F_RX_L4_CKSUM_BAD, 0, &header);
	assert_int_equal(header.flags, 0);
	deliver(plain, IPPROTO_TCP, RTE_MBUF_F_RX_L4_CKSUM_GOOD, 0, &header);
	assert_int_equal(header.flags, 0);
	rig_free(rig);
	rig_free(plain);
}

static void
checksum_request_is_left_to_the_guest(void **state)
{
	struct rig *rig = rig_new(0, GUEST_CSUM);
	struct virtio_net_hdr header;
	uint8_t *frame;

	(void)state;
	frame = deliver(rig, IPPROTO_TCP, RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4, 0, &header);
	assert_int_equal(header.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(header.csum_start, L4);
	assert_int_equal(header.csum_offset, 16);
	/* What the guest then does gives the right sum. */
	*tcp_checksum(frame) = (uint16_t)~rte_raw_cksum(frame + L4, SIZE - L4);
	assert_true(checksum_right(frame));
	rig_free(rig);
}

static void
checksum_is_made_for_a_guest_that_cannot(void **state)
{
	static const struct { uint8_t protocol; uint64_t flag; } kinds[] = {
		{ IPPROTO_TCP, RTE_MBUF_F_TX_TCP_CKSUM },
		{ IPPROTO_UDP, RTE_MBUF_F_TX_UDP_CKSUM },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(kinds); i++) {
		struct rig *rig = rig_new(0, 0);
		struct virtio_net_hdr header;
		struct rte_mbuf *m = rte_pktmbuf_alloc(rig->pool);
		uint8_t *host = rig_host(rig, rig_slot(0)), *frame;

		frame = (uint8_t *)rte_pktmbuf_append(m, SIZE);
		make_frame(frame, kinds[i].protocol);
		/* Garbage in the field must not matter. */
		memset(frame + L4 + (kinds[i].protocol == IPPROTO_TCP ? 16 : 6), 0x5a, 2);
		memset(frame + 14 + 10, 0x5a, 2);
		m->ol_flags = kinds[i].flag | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
		m->l2_len = 14;
		m->l3_len = 20;
		rig_buffer(rig, 0, RIG_SLOT, VRING_DESC_F_WRITE);
		assert_int_equal(vhu_tx_burst(rig->queue, &m, 1), 1);
		memcpy(&header, host, sizeof(header));
		assert_int_equal(header.flags, 0);
		assert_true(checksum_right(host + HEADER));
		assert_int_equal(rte_raw_cksum(host + HEADER + 14, 20), 0xffff);
		rig_free(rig);
	}
}

/* A TCP frame whose checksum is to be made, first met by a buffer of @p first frame bytes. */
static void
deliver_cut(struct rig *rig, uint32_t first)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(rig->pool);
	uint8_t *frame = (uint8_t *)rte_pktmbuf_append(m, SIZE), whole[SIZE];

	make_frame(frame, IPPROTO_TCP);
	m->ol_flags = RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
	m->l2_len = 14;
	m->l3_len = 20;
	rig_buffer(rig, 0, HEADER + first, VRING_DESC_F_WRITE);
	rig_buffer(rig, 1, RIG_SLOT, VRING_DESC_F_WRITE);
	assert_int_equal(vhu_tx_burst(rig->queue, &m, 1), 1);
	memcpy(whole, rig_host(rig, rig_slot(0)) + HEADER, first);
	memcpy(whole + first, rig_host(rig, rig_slot(1)), SIZE - first);
	assert_true(checksum_right(whole));
	assert_int_equal(rte_raw_cksum(whole + 14, 20), 0xffff);
}

static void
checksums_are_made_wherever_a_buffer_ends(void **state)
{
	uint32_t first;

	(void)state;
	for (first = 1; first < SIZE; first++) {
		struct rig *rig = rig_new(0, VHU_BIT(VIRTIO_NET_F_MRG_RXBUF));

		deliver_cut(rig, first);
		rig_free(rig);
	}
}

static void
segmentation_is_left_to_the_guest(void **state)
{
	struct rig *rig = rig_new(0, GUEST_CSUM | VHU_BIT(VIRTIO_NET_F_GUEST_TSO4));
	struct virtio_net_hdr header;
	uint8_t *frame;

	(void)state;
	frame = deliver(rig, IPPROTO_TCP, RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4 |
		RTE_MBUF_F_TX_IP_CKSUM, 400, &header);
	assert_int_equal(header.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(header.gso_size, 400);
	assert_int_equal(header.hdr_len, 54);
	assert_int_equal(header.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(*tcp_checksum(frame),
		rte_ipv4_phdr_cksum((struct rte_ipv4_hdr *)(frame + 14), 0));
	rig_free(rig);
}

static void
udp_segmentation_takes_what_was_negotiated(void **state)
{
	static const struct { uint64_t feature; uint8_t type; } kinds[] = {
		{ VHU_BIT(VIRTIO_NET_F_GUEST_USO4), VIRTIO_NET_HDR_GSO_UDP_L4 },
		{ VHU_BIT(VIRTIO_NET_F_GUEST_UFO), VIRTIO_NET_HDR_GSO_UDP } };
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(kinds); i++) {
		struct rig *rig = rig_new(0, GUEST_CSUM | kinds[i].feature);
		struct virtio_net_hdr header;

		deliver(rig, IPPROTO_UDP, RTE_MBUF_F_TX_UDP_SEG | RTE_MBUF_F_TX_IPV4, 400, &header);
		assert_int_equal(header.gso_type, kinds[i].type);
		assert_int_equal(header.csum_offset, 6);
		rig_free(rig);
	}
}

static void
segmentation_that_the_guest_cannot_take_is_dropped(void **state)
{
	struct rig *rig = rig_new(0, GUEST_CSUM);
	struct virtio_net_hdr header;

	(void)state;
	deliver(rig, IPPROTO_TCP, RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4, 400, &header);
	assert_int_equal(rig_drops(rig, VHU_DROP_BAD_OFFLOAD), 1);
	assert_int_equal(rig->used->idx, 0);
	rig_free(rig);
}

static void
congestion_flag_is_told(void **state)
{
	struct rig *rig = rig_new(0, GUEST_CSUM | VHU_BIT(VIRTIO_NET_F_GUEST_TSO4) |
		VHU_BIT(VIRTIO_NET_F_GUEST_ECN));
	struct rte_mbuf *m = rte_pktmbuf_alloc(rig->pool);
	uint8_t *frame = (uint8_t *)rte_pktmbuf_append(m, SIZE);

	(void)state;
	make_frame(frame, IPPROTO_TCP);
	((struct rte_tcp_hdr *)(frame + L4))->tcp_flags |= RTE_TCP_CWR_FLAG;
	m->ol_flags = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
	m->l2_len = 14;
	m->l3_len = 20;
	m->l4_len = 20;
	m->tso_segsz = 100;
	rig_buffer(rig, 0, RIG_SLOT, VRING_DESC_F_WRITE);
	assert_int_equal(vhu_tx_burst(rig->queue, &m, 1), 1);
	assert_int_equal(rig_host(rig, rig_slot(0))[1],
		VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN);
	rig_free(rig);
}

static void
lengths_outside_the_packet_are_dropped(void **state)
{
	struct rig *rig = rig_new(0, GUEST_CSUM);
	struct rte_mbuf *m = rig_mbuf(rig, 60, 2048, 0);

	(void)state;
	m->ol_flags = RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4;
	m->l2_len = 14;
	m->l3_len = 60;
	rig_buffer(rig, 0, RIG_SLOT, VRING_DESC_F_WRITE);
	assert_int_equal(vhu_tx_burst(rig->queue, &m, 1), 1);
	assert_int_equal(rig_drops(rig, VHU_DROP_BAD_OFFLOAD), 1);
	rig_free(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checksum_request_becomes_flags),
		cmocka_unit_test(protocols_and_lengths_are_those_of_rte_net),
		cmocka_unit_test(without_hints_no_transmit_flag_is_set),
		cmocka_unit_test(checksum_is_completed_on_request),
		cmocka_unit_test(checksum_of_an_unknown_protocol_is_made_at_once),
		cmocka_unit_test(checksum_field_outside_the_frame_is_refused),
		cmocka_unit_test(large_send_becomes_lro),
		cmocka_unit_test(large_send_that_does_not_fit_the_frame_is_refused),
		cmocka_unit_test(tag_is_stripped),
		cmocka_unit_test(good_checksum_is_told_to_a_guest_that_may_hear_it),
		cmocka_unit_test(checksum_request_is_left_to_the_guest),
		cmocka_unit_test(checksum_is_made_for_a_guest_that_cannot),
		cmocka_unit_test(checksums_are_made_wherever_a_buffer_ends),
		cmocka_unit_test(segmentation_is_left_to_the_guest),
		cmocka_unit_test(udp_segmentation_takes_what_was_negotiated),
		cmocka_unit_test(segmentation_that_the_guest_cannot_take_is_dropped),
		cmocka_unit_test(congestion_flag_is_told),
		cmocka_unit_test(lengths_outside_the_packet_are_dropped),
	};

	return cmocka_run_group_tests_name("net offload", tests, rig_group_setup, NULL);
}
