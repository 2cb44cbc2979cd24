/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Bursts of a packed ring whose driver goes on meanwhile: it does whenever a burst takes mbufs from
 * the pool or gives them back.
 */

#include "net_rig.h"

static struct rte_mbuf *packets[32];
static struct rig *driver_at_work;
static rte_mempool_dequeue_t take_mbufs;
static rte_mempool_enqueue_t give_mbufs;

static int
take_while_the_driver_goes_on(struct rte_mempool *pool, void **objects, unsigned int count)
{
	rig_put_frame(driver_at_work, 8, 60);
	return take_mbufs(pool, objects, count);
}

static int
give_while_the_driver_goes_on(struct rte_mempool *pool, void *const *objects, unsigned int count)
{
	rig_put(driver_at_work, 8, RIG_SLOT, VRING_DESC_F_WRITE);
	return give_mbufs(pool, objects, count);
}

static void
receive_burst_ends_where_the_driver_stood(void **state)
{
	struct rig *rig = rig_new_packed(1, 0, 64);
	struct rte_mempool_ops *ops = rte_mempool_get_ops(rig->pool->ops_index);
	uint16_t i;

	(void)state;
	for (i = 0; i < 8; i++)
		rig_put_frame(rig, i, 60);
	rte_mempool_cache_flush(rte_mempool_default_cache(rig->pool, rte_lcore_id()), rig->pool);
	driver_at_work = rig;
	take_mbufs = ops->dequeue;
	ops->dequeue = take_while_the_driver_goes_on;
	i = vhu_rx_burst(rig->queue, packets, 32);
	ops->dequeue = take_mbufs;
	assert_int_equal(i, 8);
	rte_pktmbuf_free_bulk(packets, i);
	assert_int_equal(vhu_rx_burst(rig->queue, packets, 32), 1);
	assert_true(rig_packet_matches(packets[0], 60, 8));
	rte_pktmbuf_free(packets[0]);
	rig_free(rig);
}

/* Who is refused a packet drops it: worth another look. */
static void
transmit_burst_takes_what_came_meanwhile(void **state)
{
	struct rig *rig = rig_new_packed(0, 0, 64);
	struct rte_mempool_cache *cache = rte_mempool_default_cache(rig->pool, rte_lcore_id());
	struct rte_mempool_ops *ops = rte_mempool_get_ops(rig->pool->ops_index);
	unsigned int left = 128;
	void *surplus[128];
	uint16_t i, taken;

	(void)state;
	for (i = 0; i < 8; i++)
		rig_put(rig, i, RIG_SLOT, VRING_DESC_F_WRITE);
	for (i = 0; i < 9; i++)
		packets[i] = rig_mbuf(rig, 60, 60, i);
	assert_int_equal(rte_mempool_get_bulk(rig->pool, surplus, left), 0);
	/* Full: the next mbufs that are given back go past it. */
	while (cache->len < cache->flushthresh)
		rte_mempool_put(rig->pool, surplus[--left]);
	driver_at_work = rig;
	give_mbufs = ops->enqueue;
	ops->enqueue = give_while_the_driver_goes_on;
	taken = vhu_tx_burst(rig->queue, packets, 9);
	ops->enqueue = give_mbufs;
	assert_int_equal(taken, 9);
	for (i = 0; i < 9; i++) {
		rig_expect_used(rig, 1, i, 60 + 12);
		assert_true(rig_matches(rig_host(rig, rig_slot(i)) + 12, 60, i));
	}
	rte_mempool_put_bulk(rig->pool, surplus, left);
	rig_free(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(receive_burst_ends_where_the_driver_stood),
		cmocka_unit_test(transmit_burst_takes_what_came_meanwhile),
	};

	return cmocka_run_group_tests(tests, rig_group_setup, NULL);
}
