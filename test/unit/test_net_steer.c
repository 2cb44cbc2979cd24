/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Steering of frames to the guest's receive queues. The hashes are those of the published examples
 * that verify a Toeplitz hash with the usual key.
 */

#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>

#include "net/steer.h"
#include "net_rig.h"

#define ALL_TYPES 0x3fu

static const uint8_t key[VHU_HASH_KEY_SIZE] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
	0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
	0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

static struct vhu_steer steer;
static struct rte_mempool *pool;

static struct vhu_steering
make_steering(bool rss)
{
	struct vhu_steering steering = { .pairs = 4, .rss = rss, .report = true,
		.types = ALL_TYPES, .unclassified = 3, .table_size = rss ? 128 : 0 };

	memcpy(steering.key, key, sizeof(key));
	for (unsigned int i = 0; i < VHU_HASH_TABLE_SIZE; i++)
		steering.table[i] = (uint16_t)(i % 4);
	return steering;
}

static struct rte_mbuf *
frame_of(const uint8_t *bytes, uint16_t size)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	assert_non_null(m);
	memcpy(rte_pktmbuf_append(m, 128), (uint8_t[128]){ 0 }, 128);
	memcpy(rte_pktmbuf_mtod(m, void *), bytes, size);
	return m;
}

/* 66.9.149.187:2794 to 161.142.100.80:1766 */
static struct rte_mbuf *
ipv4_frame(uint8_t protocol, uint16_t fragment)
{
	const uint8_t bytes[] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00,
		0x45, 0, 0, 114, 0, 0, (uint8_t)(fragment >> 8), (uint8_t)fragment, 64, protocol,
		0, 0, 66, 9, 149, 187, 161, 142, 100, 80,
		2794 >> 8, 2794 & 0xff, 1766 >> 8, 1766 & 0xff };

	return frame_of(bytes, sizeof(bytes));
}

/* 3ffe:2501:200:1fff::7 port 2794 to 3ffe:2501:200:3::1 port 1766 */
static struct rte_mbuf *
ipv6_tcp_frame(void)
{
	const uint8_t bytes[] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd,
		0x60, 0, 0, 0, 0, 74, 6, 64,
		0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, 7,
		0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x00, 0x03, 0, 0, 0, 0, 0, 0, 0, 1,
		2794 >> 8, 2794 & 0xff, 1766 >> 8, 1766 & 0xff };

	return frame_of(bytes, sizeof(bytes));
}

static uint16_t
pair_of(struct rte_mbuf *m)
{
	uint16_t pair = UINT16_MAX;

	vhu_steer(&steer, &m, 1, &pair);
	return pair;
}

/* Takes the frame. */
static void
assert_hash(struct rte_mbuf *m, uint32_t hash)
{
	assert_int_equal(pair_of(m), hash % 4);
	assert_true((m->ol_flags & RTE_MBUF_F_RX_RSS_HASH) != 0);
	assert_int_equal(m->hash.rss, hash);
	rte_pktmbuf_free(m);
}

static void
hashes_are_those_of_the_published_examples(void **state)
{
	struct vhu_steering steering = make_steering(true);

	(void)state;
	vhu_steer_set(&steer, &steering);
	assert_hash(ipv4_frame(IPPROTO_TCP, 0), 0x51ccc178);
	assert_hash(ipv4_frame(IPPROTO_UDP, 0), 0x51ccc178);
	assert_hash(ipv6_tcp_frame(), 0x40207d3d);
	assert_hash(ipv4_frame(IPPROTO_GRE, 0), 0x323e8fc2);
}

static void
types_that_are_not_wanted_are_hashed_by_their_addresses(void **state)
{
	struct vhu_steering steering = make_steering(true);
	struct rte_mbuf *m = ipv4_frame(IPPROTO_TCP, 0);

	(void)state;
	steering.types = VHU_HASH_IPV4 | VHU_HASH_UDP4;
	vhu_steer_set(&steer, &steering);
	pair_of(m);
	assert_int_equal(m->packet_type & RTE_PTYPE_L4_MASK, 0);
	assert_hash(m, 0x323e8fc2);
}

static void
fragments_are_hashed_by_their_addresses(void **state)
{
	struct vhu_steering steering = make_steering(true);

	(void)state;
	vhu_steer_set(&steer, &steering);
	assert_hash(ipv4_frame(IPPROTO_UDP, 0x2000), 0x323e8fc2);
	assert_hash(ipv4_frame(IPPROTO_UDP, 0x0010), 0x323e8fc2);
}

static void
frame_without_a_hash_goes_to_the_unclassified_queue(void **state)
{
	const uint8_t arp[42] = { [12] = 0x08, [13] = 0x06 };
	struct vhu_steering steering = make_steering(true);
	struct rte_mbuf *m = frame_of(arp, sizeof(arp));

	(void)state;
	vhu_steer_set(&steer, &steering);
	/* What another card found out is not what this guest asked for. */
	m->ol_flags |= RTE_MBUF_F_RX_RSS_HASH;
	assert_int_equal(pair_of(m), 3);
	assert_true((m->ol_flags & RTE_MBUF_F_RX_RSS_HASH) == 0);
	rte_pktmbuf_free(m);
	m = ipv4_frame(IPPROTO_TCP, 0);
	steering.types = VHU_HASH_TCP6;
	vhu_steer_set(&steer, &steering);
	assert_int_equal(pair_of(m), 3);
	rte_pktmbuf_free(m);
}

static void
table_decides_under_rss(void **state)
{
	struct vhu_steering steering = make_steering(true);
	struct rte_mbuf *m = ipv4_frame(IPPROTO_TCP, 0);

	(void)state;
	steering.table_size = 2;
	steering.table[0x51ccc178 & 1] = 2;
	vhu_steer_set(&steer, &steering);
	assert_int_equal(pair_of(m), 2);
	rte_pktmbuf_free(m);
}

static void
without_rss_the_pairs_in_use_share_the_flows(void **state)
{
	struct vhu_steering steering = make_steering(false);
	struct rte_mbuf *m = ipv4_frame(IPPROTO_TCP, 0);

	(void)state;
	steering.report = false;
	steering.pairs = 3;
	vhu_steer_set(&steer, &steering);
	assert_int_equal(pair_of(m), 0x51ccc178 % 3);
	/* Nobody asked for the hash. */
	assert_true(m->ol_flags == 0);
	steering.pairs = 1;
	vhu_steer_set(&steer, &steering);
	assert_int_equal(pair_of(m), 0);
	rte_pktmbuf_free(m);
}

static void
frame_that_ends_before_its_ports_is_hashed_without_them(void **state)
{
	struct vhu_steering steering = make_steering(true);
	struct rte_mbuf *m = ipv4_frame(IPPROTO_TCP, 0);

	(void)state;
	vhu_steer_set(&steer, &steering);
	rte_pktmbuf_trim(m, 128 - 36);
	assert_hash(m, 0x323e8fc2);
	m = ipv4_frame(IPPROTO_TCP, 0);
	rte_pktmbuf_trim(m, 128 - 20);
	assert_int_equal(pair_of(m), 3);
	rte_pktmbuf_free(m);
}

static int
setup(void **state)
{
	if (rig_group_setup(state) != 0)
		return -1;
	pool = rte_pktmbuf_pool_create("steer", 63, 0, 0, 2048, SOCKET_ID_ANY);
	return pool != NULL ? 0 : -1;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes_are_those_of_the_published_examples),
		cmocka_unit_test(types_that_are_not_wanted_are_hashed_by_their_addresses),
		cmocka_unit_test(fragments_are_hashed_by_their_addresses),
		cmocka_unit_test(frame_without_a_hash_goes_to_the_unclassified_queue),
		cmocka_unit_test(table_decides_under_rss),
		cmocka_unit_test(without_rss_the_pairs_in_use_share_the_flows),
		cmocka_unit_test(frame_that_ends_before_its_ports_is_hashed_without_them),
	};

	return cmocka_run_group_tests_name("net steer", tests, setup, NULL);
}
