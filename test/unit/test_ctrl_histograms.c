/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Histograms of a port: on and off while its ring runs, what they outlive, when they begin anew. */

#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdatomic.h>

#include <rte_mbuf.h>

#include <vhu.h>
#include <vhu_net.h>

#include "eal.h"
#include "front_end.h"

#define FRAME 100
#define FRAME_AT 0x10000
#define HEADER 12
/* A device address of RARP announcements. */
#define ADDRESS UINT64_C(0x554433221102)

static struct rte_mempool *pool;
static struct vhu_port *port;
static struct vhu_queue *queue;
static struct front_end front_end;
static uint8_t *memory;
static char path[VHU_PATH_SIZE];

static void
connect_front_end(void)
{
	front_end_connect(&front_end, path);
	front_end_negotiate(&front_end, VHU_BIT(VIRTIO_F_VERSION_1), VHU_BIT(VHU_PROTOCOL_RARP));
	front_end_share_memory(&front_end);
	front_end_start_ring(&front_end, 1);
	front_end_ring_value(&front_end, VHU_SET_VRING_ENABLE, 1, 1);
	front_end_ask_u64(&front_end, VHU_GET_FEATURES);
	memory = mmap(NULL, FRONT_END_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED,
		front_end.memory, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
}

static void
disconnect_front_end(void)
{
	struct vhu_port_info info;

	munmap(memory, FRONT_END_MEMORY);
	front_end_leave(&front_end);
	do {
		usleep(1000);
		vhu_port_info(port, &info);
	} while (info.connected);
}

static int
begin_with(bool histograms)
{
	const struct vhu_rx_options rx = { .mempool = pool };
	struct vhu_port_options options;

	vhu_port_options_init(&options);
	assert_false(options.histograms);
	options.path = eal_socket_path(path, "histograms");
	options.histograms = histograms;
	assert_int_equal(vhu_port_create(&options, &port), 0);
	queue = vhu_port_rx_queue(port, 0);
	assert_int_equal(vhu_rx_queue_setup(queue, &rx), 0);
	connect_front_end();
	return 0;
}

static int
begin(void **state)
{
	(void)state;
	return begin_with(false);
}

static int
begin_on(void **state)
{
	(void)state;
	return begin_with(true);
}

static int
end(void **state)
{
	(void)state;
	disconnect_front_end();
	vhu_port_destroy(port);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
	return 0;
}

/* The guest's ring: available index, and how many are used. */
static struct vring_avail *
avail(void)
{
	return (void *)(memory + FRONT_END_RING_SPACE + 1024);
}

static uint16_t
used_index(void)
{
	struct vring_used *used = (void *)(memory + FRONT_END_RING_SPACE + 2048);

	return __atomic_load_n(&used->idx, __ATOMIC_ACQUIRE);
}

/* The guest sends one frame. */
static void
post(void)
{
	struct vring_desc *table = (void *)(memory + FRONT_END_RING_SPACE);
	uint16_t index = avail()->idx;

	table[0] = (struct vring_desc){ FRAME_AT, HEADER + FRAME, 0, 0 };
	avail()->ring[index % FRONT_END_RING] = 0;
	__atomic_store_n(&avail()->idx, (uint16_t)(index + 1), __ATOMIC_RELEASE);
}

static unsigned int
poll_once(void)
{
	struct rte_mbuf *packets[4];
	uint16_t n = vhu_rx_burst(queue, packets, RTE_DIM(packets));

	rte_pktmbuf_free_bulk(packets, n);
	return n;
}

static void
move(unsigned int frames)
{
	while (frames-- != 0) {
		post();
		assert_int_equal(poll_once(), 1);
	}
}

static uint64_t
count(enum vhu_histogram counter)
{
	struct vhu_queue_histograms histograms;

	vhu_queue_histograms(queue, &histograms);
	return histograms.counts[counter];
}

static bool
are_on(void)
{
	struct vhu_port_info info;

	vhu_port_info(port, &info);
	return info.histograms;
}

static void
port_begins_without_histograms(void **state)
{
	(void)state;
	assert_false(are_on());
	move(3);
	assert_int_equal(count(VHU_SIZE_65_127), 0);
	assert_int_equal(count(VHU_BURST_1), 0);
}

static void
port_begins_with_histograms_if_asked_for(void **state)
{
	(void)state;
	assert_true(are_on());
	move(3);
	assert_int_equal(count(VHU_SIZE_65_127), 3);
	assert_int_equal(count(VHU_BURST_1), 3);
}

static void
running_ring_counts_from_on_to_off(void **state)
{
	(void)state;
	move(1);
	assert_int_equal(vhu_port_set_histograms(port, true), 0);
	assert_true(are_on());
	move(5);
	assert_int_equal(vhu_port_set_histograms(port, true), 0);
	move(5);
	assert_int_equal(vhu_port_set_histograms(port, false), 0);
	assert_false(are_on());
	move(3);
	assert_int_equal(count(VHU_SIZE_65_127), 10);
	assert_int_equal(count(VHU_BURST_1), 10);
	assert_int_equal(vhu_port_set_histograms(port, true), 0);
	move(1);
	assert_int_equal(count(VHU_SIZE_65_127), 11);
}

static void
choice_and_counts_outlive_the_connection(void **state)
{
	(void)state;
	assert_int_equal(vhu_port_set_histograms(port, true), 0);
	move(2);
	disconnect_front_end();
	assert_true(are_on());
	connect_front_end();
	move(2);
	assert_int_equal(count(VHU_SIZE_65_127), 4);
}

static void
histograms_begin_anew_after_a_reset(void **state)
{
	(void)state;
	assert_int_equal(vhu_port_set_histograms(port, true), 0);
	move(2);
	vhu_queue_stats_reset(queue);
	assert_int_equal(count(VHU_SIZE_65_127), 0);
	assert_int_equal(count(VHU_BURST_1), 0);
	move(1);
	assert_int_equal(count(VHU_SIZE_65_127), 1);
}

static void
announcements_are_counted_and_end(void **state)
{
	struct vhu_port_info info;

	(void)state;
	assert_int_equal(vhu_port_set_histograms(port, true), 0);
	front_end_send_u64(&front_end, VHU_SEND_RARP, ADDRESS);
	front_end_ask_u64(&front_end, VHU_GET_FEATURES);
	do {
		poll_once();
		usleep(500);
		vhu_port_info(port, &info);
	} while (info.announced == 0);
	assert_int_equal(count(VHU_SIZE_UNDER), 1);
	assert_int_equal(count(VHU_CAST_BROAD), 1);
	/* The ring goes on as it was, with histograms and without announcements. */
	move(4);
	assert_int_equal(count(VHU_SIZE_65_127), 4);
}

static atomic_bool stop;
static _Atomic(unsigned int) received;

static void *
poll_always(void *argument)
{
	(void)argument;
	while (!atomic_load(&stop))
		atomic_fetch_add(&received, poll_once());
	return NULL;
}

static void
switching_under_traffic_loses_nothing(void **state)
{
	enum { FRAMES = 4000 };
	pthread_t poller;
	bool on = false;

	(void)state;
	atomic_store(&stop, false);
	atomic_store(&received, 0);
	assert_int_equal(pthread_create(&poller, NULL, poll_always, NULL), 0);
	for (unsigned int i = 0; i < FRAMES; i++) {
		while ((uint16_t)(avail()->idx - used_index()) == FRONT_END_RING)
			sched_yield();
		post();
		if (i % 8 == 0)
			assert_int_equal(vhu_port_set_histograms(port, on = !on), 0);
	}
	assert_int_equal(vhu_port_set_histograms(port, true), 0);
	while (used_index() != avail()->idx)
		sched_yield();
	atomic_store(&stop, true);
	assert_int_equal(pthread_join(poller, NULL), 0);
	assert_int_equal(atomic_load(&received), FRAMES);
	assert_in_range(count(VHU_SIZE_65_127), 1, FRAMES);
	/* What came in one period is in both kinds of counter or in neither. */
	vhu_queue_stats_reset(queue);
	move(7);
	assert_int_equal(count(VHU_SIZE_65_127), 7);
	assert_int_equal(count(VHU_BURST_1), 7);
}

static int
start(void **state)
{
	(void)state;
	if (eal_start() != 0)
		return -1;
	pool = rte_pktmbuf_pool_create("histograms", 255, 0, 0, 512, SOCKET_ID_ANY);
	return pool != NULL ? 0 : -1;
}

static int
finish(void **state)
{
	(void)state;
	rte_mempool_free(pool);
	return eal_end();
}

#define TEST(name, setup) cmocka_unit_test_setup_teardown(name, setup, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(port_begins_without_histograms, begin),
		TEST(port_begins_with_histograms_if_asked_for, begin_on),
		TEST(running_ring_counts_from_on_to_off, begin),
		TEST(choice_and_counts_outlive_the_connection, begin),
		TEST(histograms_begin_anew_after_a_reset, begin),
		TEST(announcements_are_counted_and_end, begin),
		TEST(switching_under_traffic_loses_nothing, begin),
	};

	return cmocka_run_group_tests_name("ctrl histograms", tests, start, finish);
}
