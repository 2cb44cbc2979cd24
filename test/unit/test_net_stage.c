/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Stages of a burst: counted in builds with the option (tools/check has one), refused in others. */

#include <errno.h>

#include <vhu.h>

#include "net_rig.h"

#define HEADER 12
#define TRANSMITS 0
#define RECEIVES 1

#if VHU_COUNT_STAGES
/* Cycles per stage so far. */
static struct vhu_queue_stages
stages_of(struct rig *rig)
{
	struct vhu_queue_stages stages;

	assert_int_equal(vhu_queue_stages(rig->queue, &stages), 0);
	return stages;
}

static void
receive(struct rig *rig, uint16_t count)
{
	struct rte_mbuf *packets[RIG_SIZE];

	for (uint16_t i = 0; i < count; i++)
		rig_buffer(rig, i, HEADER + 64, 0);
	assert_int_equal(vhu_rx_burst(rig->queue, packets, count), count);
	rte_pktmbuf_free_bulk(packets, count);
}

static void
transmit(struct rig *rig, uint16_t count)
{
	struct rte_mbuf *packets[RIG_SIZE];

	for (uint16_t i = 0; i < count; i++) {
		rig_buffer(rig, i, RIG_SLOT, VRING_DESC_F_WRITE);
		packets[i] = rig_mbuf(rig, 64, 64, 0);
	}
	assert_int_equal(vhu_tx_burst(rig->queue, packets, count), count);
}

/* Each stage of the common kind took time, and nothing went the other way. */
static void
expect_common(struct vhu_queue_stages stages)
{
	for (unsigned int i = 0; i < VHU_STAGES; i++)
		assert_true((stages.cycles[i] != 0) == (i != VHU_STAGE_OTHER));
}

static void
each_stage_of_a_burst_takes_time(void **state)
{
	static const uint16_t counts[] = { 1, 3, 32 };

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(counts); i++) {
		struct rig *rig = rig_new(RECEIVES, 0);

		receive(rig, counts[i]);
		expect_common(stages_of(rig));
		rig_free(rig);
		rig = rig_new(TRANSMITS, 0);
		transmit(rig, counts[i]);
		expect_common(stages_of(rig));
		rig_free(rig);
	}
}

static void
frames_of_another_kind_count_as_other(void **state)
{
	struct rig *rig = rig_new(RECEIVES, 0);
	struct rte_mbuf *packet;

	(void)state;
	rig_descriptor(rig, 0, rig_slot(0), HEADER, VRING_DESC_F_NEXT, 1);
	rig_descriptor(rig, 1, rig_slot(1), 64, 0, 0);
	rig_available(rig, 0);
	assert_int_equal(vhu_rx_burst(rig->queue, &packet, 1), 1);
	rte_pktmbuf_free(packet);
	assert_int_not_equal(stages_of(rig).cycles[VHU_STAGE_OTHER], 0);
	rig_free(rig);
}

static void
polls_that_find_nothing_count_nowhere(void **state)
{
	struct rig *rig = rig_new(RECEIVES, 0);
	struct rte_mbuf *packet;
	struct vhu_queue_stages before, after;

	(void)state;
	receive(rig, 1);
	before = stages_of(rig);
	assert_int_equal(vhu_rx_burst(rig->queue, &packet, 1), 0);
	after = stages_of(rig);
	assert_memory_equal(&before, &after, sizeof(before));
	rig_free(rig);
}

#else
static void
builds_without_the_option_name_it(void **state)
{
	struct rig *rig = rig_new(RECEIVES, 0);
	struct vhu_queue_stages stages;

	(void)state;
	assert_int_equal(vhu_queue_stages(rig->queue, &stages), -ENOTSUP);
	assert_non_null(strstr(vhu_error_text(), "-Dstages=true"));
	rig_free(rig);
}
#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
#if VHU_COUNT_STAGES
		cmocka_unit_test(each_stage_of_a_burst_takes_time),
		cmocka_unit_test(frames_of_another_kind_count_as_other),
		cmocka_unit_test(polls_that_find_nothing_count_nowhere),
#else
		cmocka_unit_test(builds_without_the_option_name_it),
#endif
	};

	return cmocka_run_group_tests_name("net stage", tests, rig_group_setup, NULL);
}
