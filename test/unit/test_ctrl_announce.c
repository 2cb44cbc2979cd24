/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* SEND_RARP: the application receives an announcement of the guest from the port. */

#include <string.h>

#include <rte_mbuf.h>

#include <vhu.h>
#include <vhu_net.h>

#include "eal.h"
#include "front_end.h"

#define BURST 32
#define PORT_ID 7
/* 02:11:22:33:44:55 in the order of memory, with something behind it that does not count. */
#define ADDRESS UINT64_C(0xffff554433221102)

static struct rte_mempool *pool;
static struct vhu_port *port;
static struct front_end front_end;
static struct rte_mbuf *packets[BURST];

static int
begin(void **state)
{
	const struct vhu_rx_options rx = { .mempool = pool, .port_id = PORT_ID };
	struct vhu_port_options options;
	char path[VHU_PATH_SIZE];

	(void)state;
	vhu_port_options_init(&options);
	options.path = eal_socket_path(path, "announce");
	assert_int_equal(vhu_port_create(&options, &port), 0);
	assert_int_equal(vhu_rx_queue_setup(vhu_port_rx_queue(port, 0), &rx), 0);
	front_end_connect(&front_end, path);
	front_end_negotiate(&front_end, VHU_BIT(VIRTIO_F_VERSION_1), VHU_BIT(VHU_PROTOCOL_RARP));
	front_end_share_memory(&front_end);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	vhu_port_destroy(port);
	front_end_leave(&front_end);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
	return 0;
}

static void
run_ring(void)
{
	front_end_start_ring(&front_end, 1);
	front_end_ring_value(&front_end, VHU_SET_VRING_ENABLE, 1, 1);
	front_end_ask_u64(&front_end, VHU_GET_FEATURES);
}

/* When this returns the message has been handled. */
static void
announce(uint64_t address)
{
	front_end_send_u64(&front_end, VHU_SEND_RARP, address);
	front_end_ask_u64(&front_end, VHU_GET_FEATURES);
}

/*
 * Burst until @p expected frames have come, and some more.
 * @return how many came, freed but the first.
 */
static unsigned int
receive(unsigned int expected, uint16_t burst)
{
	unsigned int count = 0, quiet = 0;
	struct rte_mbuf *first = NULL;

	for (unsigned int i = 0; i < 2000 && quiet < 100; i++) {
		uint16_t n = vhu_rx_burst(vhu_port_rx_queue(port, 0), packets, burst);

		assert_true(n <= burst);
		for (uint16_t k = 0; k < n; k++) {
			if (first == NULL)
				first = packets[k];
			else
				rte_pktmbuf_free(packets[k]);
		}
		count += n;
		quiet += count >= expected;
		usleep(500);
	}
	packets[0] = first;
	return count;
}

static void
assert_frame(const struct rte_mbuf *m)
{
	static const uint8_t expected[60] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x80, 0x35,
		0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 0x03,
		0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0, 0, 0, 0,
		0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0, 0, 0, 0,
	};

	assert_int_equal(m->pkt_len, sizeof(expected));
	assert_int_equal(m->data_len, sizeof(expected));
	assert_int_equal(m->nb_segs, 1);
	assert_int_equal(m->port, PORT_ID);
	assert_true(m->ol_flags == 0);
	assert_memory_equal(rte_pktmbuf_mtod(m, uint8_t *), expected, sizeof(expected));
}

static void
announcement_is_received_once(void **state)
{
	(void)state;
	run_ring();
	announce(ADDRESS);
	assert_int_equal(receive(1, BURST), 1);
	assert_frame(packets[0]);
	rte_pktmbuf_free(packets[0]);
	assert_int_equal(receive(0, BURST), 0);
}

static void
each_message_is_one_announcement(void **state)
{
	(void)state;
	run_ring();
	for (unsigned int i = 0; i < 5; i++)
		announce(ADDRESS);
	/* One place in the burst: they come one after the other. */
	assert_int_equal(receive(5, 1), 5);
	rte_pktmbuf_free(packets[0]);
}

static void
announcement_waits_for_the_ring_to_start(void **state)
{
	(void)state;
	announce(ADDRESS);
	assert_int_equal(receive(0, BURST), 0);
	run_ring();
	assert_int_equal(receive(1, BURST), 1);
	assert_frame(packets[0]);
	rte_pktmbuf_free(packets[0]);
}

static void
announcement_is_forgotten_with_the_connection(void **state)
{
	struct vhu_port_info info;

	(void)state;
	announce(ADDRESS);
	front_end_leave(&front_end);
	do {
		usleep(1000);
		vhu_port_info(port, &info);
	} while (info.connected);
	front_end_connect(&front_end, info.path);
	front_end_negotiate(&front_end, VHU_BIT(VIRTIO_F_VERSION_1), 0);
	front_end_share_memory(&front_end);
	run_ring();
	assert_int_equal(receive(0, BURST), 0);
	vhu_port_info(port, &info);
	assert_true(info.announcements == 1 && info.announced == 0);
}

static void
announcement_is_an_event_and_counted(void **state)
{
	struct vhu_event events[BURST];
	struct vhu_queue_stats stats;
	struct vhu_port_info info;
	unsigned int count, told = 0;

	(void)state;
	run_ring();
	announce(ADDRESS);
	count = vhu_port_events(port, events, BURST);
	for (unsigned int i = 0; i < count; i++) {
		if (events[i].type != VHU_EVENT_ANNOUNCE)
			continue;
		told++;
		assert_true(events[i].value == (ADDRESS & UINT64_C(0xffffffffffff)));
		assert_int_equal(events[i].ring, UINT16_MAX);
	}
	assert_int_equal(told, 1);
	vhu_port_info(port, &info);
	assert_true(info.announcements == 1 && info.announced == 0);
	assert_int_equal(receive(1, BURST), 1);
	rte_pktmbuf_free(packets[0]);
	vhu_port_info(port, &info);
	assert_true(info.announcements == 1 && info.announced == 1);
	vhu_queue_stats(vhu_port_rx_queue(port, 0), &stats);
	assert_true(stats.packets == 1 && stats.bytes == 60);
}

static void
announcement_waits_for_mbufs(void **state)
{
	struct rte_mbuf *taken[256];
	unsigned int available = rte_mempool_avail_count(pool);

	(void)state;
	run_ring();
	assert_true(available <= RTE_DIM(taken));
	assert_int_equal(rte_pktmbuf_alloc_bulk(pool, taken, available), 0);
	announce(ADDRESS);
	assert_int_equal(receive(0, BURST), 0);
	rte_pktmbuf_free_bulk(taken, available);
	assert_int_equal(receive(1, BURST), 1);
	rte_pktmbuf_free(packets[0]);
}

static void
address_of_a_group_is_refused(void **state)
{
	struct vhu_port_info info;

	(void)state;
	run_ring();
	announce(0x01);
	announce(0);
	assert_int_equal(receive(0, BURST), 0);
	vhu_port_info(port, &info);
	assert_true(info.refusals == 2 && info.announcements == 0);
}

static void
announcements_that_nobody_takes_are_limited(void **state)
{
	struct vhu_port_info info;

	(void)state;
	for (unsigned int i = 0; i < 100; i++)
		announce(ADDRESS);
	vhu_port_info(port, &info);
	assert_true(info.announcements == 16 && info.refusals == 84);
	run_ring();
	assert_int_equal(receive(16, BURST), 16);
	rte_pktmbuf_free(packets[0]);
}

static int
start(void **state)
{
	(void)state;
	if (eal_start() != 0)
		return -1;
	/* No cache: each mbuf is in use or available. */
	pool = rte_pktmbuf_pool_create("announce", 255, 0, 0, 512, SOCKET_ID_ANY);
	return pool != NULL ? 0 : -1;
}

static int
finish(void **state)
{
	(void)state;
	rte_mempool_free(pool);
	return eal_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(announcement_is_received_once, begin, end),
		cmocka_unit_test_setup_teardown(each_message_is_one_announcement, begin, end),
		cmocka_unit_test_setup_teardown(
			announcement_waits_for_the_ring_to_start, begin, end),
		cmocka_unit_test_setup_teardown(
			announcement_is_forgotten_with_the_connection, begin, end),
		cmocka_unit_test_setup_teardown(announcement_is_an_event_and_counted, begin, end),
		cmocka_unit_test_setup_teardown(announcement_waits_for_mbufs, begin, end),
		cmocka_unit_test_setup_teardown(address_of_a_group_is_refused, begin, end),
		cmocka_unit_test_setup_teardown(
			announcements_that_nobody_takes_are_limited, begin, end),
	};

	return cmocka_run_group_tests_name("ctrl announce", tests, start, finish);
}
