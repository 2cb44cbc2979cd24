/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* What else bursts write: marks in the dirty log, the in-flight area, the hash in the header. */

#include <stdlib.h>
#include <string.h>

#include "mem/dirty.h"
#include "mem/inflight.h"
#include "net_rig.h"

#define HEADER 12
#define HASHED_HEADER 20
#define WRITE VRING_DESC_F_WRITE
#define PAGE 4096u
#define PAGES ((RIG_BASE + 2 * RIG_REGION) / PAGE)

static _Atomic(uint64_t) words[PAGES / 64 + 1];
static struct vhu_dirty_state dirty_state;
static const struct vhu_dirty log_of_all = {
	.words = words, .pages = PAGES, .state = &dirty_state,
};

/* Begin to log buffers, not the ring. */
static void
start_log(struct rig *rig)
{
	memset(words, 0, sizeof(words));
	rig->snapshot.dirty = &log_of_all;
}

/* The pages of this range are marked; forget them. */
static void
expect_marked(uint64_t address, uint64_t size)
{
	uint64_t page;

	for (page = address / PAGE; page <= (address + size - 1) / PAGE; page++) {
		assert_true(words[page / 64] >> page % 64 & 1);
		words[page / 64] &= ~(UINT64_C(1) << page % 64);
	}
}

static void
expect_no_more_marks(void)
{
	unsigned int i;

	for (i = 0; i < RTE_DIM(words); i++)
		assert_int_equal(words[i], 0);
}

static void
transmit(struct rig *rig, uint32_t size, uint32_t segment_size)
{
	struct rte_mbuf *m = rig_mbuf(rig, size, segment_size, 1);

	assert_int_equal(vhu_tx_burst(rig->queue, &m, 1), 1);
}

/* Every other page, and a frame over the end of a page: nothing but those. */
static void
check_runs(struct rig *rig)
{
	struct rte_mbuf *packets[20];
	unsigned int i;

	start_log(rig);
	for (i = 0; i < 20; i++)
		packets[i] = rig_mbuf(rig, 60 + 90 * i, 2000, i);
	assert_int_equal(vhu_tx_burst(rig->queue, packets, 20), 20);
	for (i = 0; i < 20; i++)
		expect_marked(rig_slot(4 * i) + i * 200, HEADER + 60 + 90 * i);
	expect_no_more_marks();
	rig_free(rig);
}

static void
runs_mark_what_they_wrote(void **state)
{
	struct rig *rig = rig_new(0, 0);
	uint16_t i;

	(void)state;
	for (i = 0; i < 20; i++) {
		rig_descriptor(rig, i, rig_slot(4 * i) + i * 200, RIG_SLOT, WRITE, 0);
		rig_available(rig, i);
	}
	check_runs(rig);
}

static void
runs_on_a_packed_ring_mark_what_they_wrote(void **state)
{
	struct rig *rig = rig_new_packed(0, 0, 21);
	uint16_t i;

	(void)state;
	for (i = 0; i < 20; i++)
		rig_chain(rig, i, &(struct rig_piece){ rig_slot(4 * i) + i * 200, RIG_SLOT,
			WRITE }, 1);
	check_runs(rig);
}

static void
merged_buffers_are_marked_as_far_as_written(void **state)
{
	struct rig *rig = rig_new_packed(0, VHU_BIT(VIRTIO_NET_F_MRG_RXBUF), 21);
	uint16_t i;

	(void)state;
	for (i = 0; i < 4; i++)
		rig_chain(rig, i, &(struct rig_piece){ rig_slot(8 * i), 3 * PAGE, WRITE }, 1);
	start_log(rig);
	transmit(rig, 3 * PAGE + 100, 1000);
	expect_marked(rig_slot(0), 3 * PAGE);
	expect_marked(rig_slot(8), HEADER + 100);
	expect_no_more_marks();
	rig_free(rig);
}

static void
buffer_over_two_regions_is_marked(void **state)
{
	struct rig *rig = rig_new(0, 0);
	uint64_t address = RIG_BASE + RIG_REGION - 300;

	(void)state;
	rig_descriptor(rig, 0, address, 1000, WRITE, 0);
	rig_available(rig, 0);
	start_log(rig);
	transmit(rig, 900, 1000);
	expect_marked(address, HEADER + 900);
	expect_no_more_marks();
	rig_free(rig);
}

static void
receiving_marks_no_buffer(void **state)
{
	struct rig *rig = rig_new(1, 0);
	struct rte_mbuf *m;

	(void)state;
	rig_send(rig, 0, 60);
	start_log(rig);
	assert_int_equal(vhu_rx_burst(rig->queue, &m, 1), 1);
	rte_pktmbuf_free(m);
	expect_no_more_marks();
	rig_free(rig);
}

/* A split ring's own pages, at the address that the front-end gave for them. */
static void
split_ring_marks_elements_and_index(void **state)
{
	const uint64_t used = RIG_BASE + 5 * PAGE - 8;
	struct rig *rig = rig_new(1, 0);
	struct rte_mbuf *m;

	(void)state;
	rig_start_at(rig, 128);
	rig_send(rig, 0, 60);
	start_log(rig);
	rig->snapshot.dirty_ring = true;
	rig->snapshot.used_guest_address = used;
	/* What the first burst tells the guest is its own matter. */
	vhu_ring_begin(&rig->queue->ring, &rig->snapshot);
	memset(words, 0, sizeof(words));
	assert_int_equal(vhu_rx_burst(rig->queue, &m, 1), 1);
	rte_pktmbuf_free(m);
	expect_marked(used + offsetof(struct vring_used, idx), 2);
	expect_marked(used + offsetof(struct vring_used, ring) + 128 * 8, 8);
	expect_no_more_marks();
	rig_free(rig);
}

static void
packed_ring_marks_its_descriptors(void **state)
{
	struct rig *rig = rig_new_packed(0, 0, 21);
	uint16_t i;

	(void)state;
	for (i = 0; i < 3; i++)
		rig_put(rig, i, RIG_SLOT, WRITE);
	start_log(rig);
	rig->snapshot.dirty_ring = true;
	vhu_ring_begin(&rig->queue->ring, &rig->snapshot);
	memset(words, 0, sizeof(words));
	transmit(rig, 60, 1000);
	expect_marked(RIG_BASE, sizeof(struct vring_packed_desc));
	expect_marked(rig_slot(0), HEADER + 60);
	expect_no_more_marks();
	rig_free(rig);
}

/* The in-flight area always says where the used side stands. */
static void
inflight_area_follows_the_used_side(void **state)
{
	static struct vhu_inflight_split split;
	static struct vhu_inflight_packed packed;
	struct rig *rig = rig_new(1, 0);
	struct rte_mbuf *m[8];
	uint16_t i;

	(void)state;
	rig_start_at(rig, 65530);
	rig->snapshot.inflight = &split;
	for (i = 0; i < 8; i++)
		rig_send(rig, i, 60);
	assert_int_equal(vhu_rx_burst(rig->queue, m, 8), 8);
	rte_pktmbuf_free_bulk(m, 8);
	assert_int_equal(split.used_idx, 2);
	rig_free(rig);

	rig = rig_new_packed(1, VHU_BIT(VHU_F_IN_ORDER), 6);
	rig->snapshot.inflight = &packed;
	rig_start_packed_at(rig, 2, true, 2, true);
	for (i = 0; i < 5; i++)
		rig_put_frame(rig, i, 60);
	assert_int_equal(vhu_rx_burst(rig->queue, m, 8), 5);
	rte_pktmbuf_free_bulk(m, 5);
	assert_int_equal(packed.used_idx, 1);
	assert_int_equal(packed.used_wrap, 0);
	assert_int_equal(packed.old_used_idx, 1);
	assert_int_equal(packed.old_used_wrap, 0);
	rig_free(rig);
}

/* The header of a packet with this hash and type must report so. */
static void
expect_hash(uint64_t flags, uint32_t type, uint32_t segment_size, uint32_t value, uint16_t report)
{
	struct rig *rig = rig_new(0, VHU_BIT(VHU_NET_F_HASH_REPORT));
	struct rte_mbuf *m = rig_mbuf(rig, 200, segment_size, 4);
	const struct virtio_net_hdr_v1_hash *header =
		(const void *)rig_host(rig, rig_slot(0));

	assert_int_equal(rig->snapshot.header_size, HASHED_HEADER);
	memset(rig_host(rig, rig_slot(0)), 0xa5, RIG_SLOT);
	rig_buffer(rig, 0, RIG_SLOT, WRITE);
	m->ol_flags |= flags;
	m->packet_type = type;
	m->hash.rss = 0x12345678;
	assert_int_equal(vhu_tx_burst(rig->queue, &m, 1), 1);
	assert_int_equal(rig->used->ring[0].len, HASHED_HEADER + 200);
	assert_int_equal(header->hdr.num_buffers, 1);
	assert_int_equal(header->hash_value, value);
	assert_int_equal(header->hash_report, report);
	assert_int_equal(header->padding, 0);
	assert_true(rig_matches((const uint8_t *)(header + 1), 200, 4));
	rig_free(rig);
}

static void
hash_is_reported(void **state)
{
	const uint32_t tcp4 = RTE_PTYPE_L2_ETHER | RTE_PTYPE_L3_IPV4 | RTE_PTYPE_L4_TCP;
	const uint32_t udp6 = RTE_PTYPE_L2_ETHER | RTE_PTYPE_L3_IPV6_EXT_UNKNOWN |
		RTE_PTYPE_L4_UDP;
	const uint32_t ip4 = RTE_PTYPE_L2_ETHER | RTE_PTYPE_L3_IPV4;
	const uint64_t hashed = RTE_MBUF_F_RX_RSS_HASH;

	(void)state;
	expect_hash(hashed, tcp4, 2000, 0x12345678, VIRTIO_NET_HASH_REPORT_TCPv4);
	expect_hash(hashed, udp6, 2000, 0x12345678, VIRTIO_NET_HASH_REPORT_UDPv6);
	expect_hash(hashed, ip4, 2000, 0x12345678, VIRTIO_NET_HASH_REPORT_IPv4);
	/* Segments go by the slow path. */
	expect_hash(hashed, tcp4, 50, 0x12345678, VIRTIO_NET_HASH_REPORT_TCPv4);
}

static void
packet_without_hash_reports_none(void **state)
{
	(void)state;
	expect_hash(0, RTE_PTYPE_L3_IPV4, 2000, 0, VIRTIO_NET_HASH_REPORT_NONE);
	expect_hash(RTE_MBUF_F_RX_RSS_HASH, 0, 2000, 0, VIRTIO_NET_HASH_REPORT_NONE);
	expect_hash(0, RTE_PTYPE_L3_IPV4, 50, 0, VIRTIO_NET_HASH_REPORT_NONE);
}

/* A guest's frames have the longer header, too; what it says about hashes is not read. */
static void
longer_header_is_left_behind_when_received(void **state)
{
	static const uint32_t sizes[] = { 60, 4000 };
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(sizes); i++) {
		struct rig *rig = rig_new(1, VHU_BIT(VHU_NET_F_HASH_REPORT));
		uint8_t *host = rig_host(rig, rig_slot(0));
		struct rte_mbuf *m;

		memset(host, 0, HEADER);
		memset(host + HEADER, 0xff, HASHED_HEADER - HEADER);
		rig_pattern(host + HASHED_HEADER, sizes[i], 2);
		rig_buffer(rig, 0, HASHED_HEADER + sizes[i], 0);
		assert_int_equal(vhu_rx_burst(rig->queue, &m, 1), 1);
		assert_true(rig_packet_matches(m, sizes[i], 2));
		rte_pktmbuf_free(m);
		rig_free(rig);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_mark_what_they_wrote),
		cmocka_unit_test(runs_on_a_packed_ring_mark_what_they_wrote),
		cmocka_unit_test(merged_buffers_are_marked_as_far_as_written),
		cmocka_unit_test(buffer_over_two_regions_is_marked),
		cmocka_unit_test(receiving_marks_no_buffer),
		cmocka_unit_test(split_ring_marks_elements_and_index),
		cmocka_unit_test(packed_ring_marks_its_descriptors),
		cmocka_unit_test(inflight_area_follows_the_used_side),
		cmocka_unit_test(hash_is_reported),
		cmocka_unit_test(packet_without_hash_reports_none),
		cmocka_unit_test(longer_header_is_left_behind_when_received),
	};

	return cmocka_run_group_tests(tests, rig_group_setup, NULL);
}
