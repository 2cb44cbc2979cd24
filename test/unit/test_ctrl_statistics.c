/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Device statistics over the control queue (virtio 1.4, "Device Statistics"). */

#include <stdlib.h>

#include "control_rig.h"

#define QUERY 0
#define GET 1
#define NUMBER 50
#define RX_BASIC 0
#define TX_BASIC 16
#define CONTROL 32
/* Where the driver wants its answer, in two buffers that are not neighbours. */
#define ANSWER_AT STATUS_AT - 0x8000
#define REST_AT STATUS_AT - 0x4000
#define SPLIT 21
#define HEAD 8
#define BASIC (HEAD + 48)

static uint8_t answer[0x4000];

struct question {
	uint16_t ring, reserved[3];
	uint64_t kinds;
};

/* Bytes behind the status that the device says it wrote; they are in answer[]. */
static uint32_t answered;

/* Ask with room for so many bytes of answer. @return the status. */
static uint8_t
ask_bytes(const void *bytes, uint32_t size, uint32_t room)
{
	struct vring_used *used = (void *)((uint8_t *)descriptors() + 2048);
	struct vring_used_elem *element = &used->ring[avail_index % FRONT_END_RING];
	uint32_t first = room < SPLIT ? room : SPLIT;

	memcpy(memory + COMMAND_AT, bytes, size);
	memset(memory + ANSWER_AT, UNTOUCHED, 0x8000);
	memory[STATUS_AT] = UNTOUCHED;
	descriptors()[0] = (struct vring_desc){ COMMAND_AT, size, VRING_DESC_F_NEXT, 1 };
	descriptors()[1] = (struct vring_desc){ STATUS_AT, 1, VRING_DESC_F_WRITE |
		(room > 0 ? VRING_DESC_F_NEXT : 0), 2 };
	descriptors()[2] = (struct vring_desc){ ANSWER_AT, first, VRING_DESC_F_WRITE |
		(room > first ? VRING_DESC_F_NEXT : 0), 3 };
	descriptors()[3] = (struct vring_desc){ REST_AT, room - first, VRING_DESC_F_WRITE, 0 };
	submit();
	wait_used();
	assert_in_range(element->len, 1, 1 + room);
	answered = element->len - 1;
	memcpy(answer, memory + ANSWER_AT, first);
	memcpy(answer + first, memory + REST_AT, sizeof(answer) - first);
	for (uint32_t i = answered; i < sizeof(answer) - SPLIT; i++)
		assert_int_equal(answer[i], UNTOUCHED);
	return memory[STATUS_AT];
}

static uint8_t
ask(uint8_t command, const struct question *questions, unsigned int count, uint32_t room)
{
	uint8_t bytes[2 + 600 * sizeof(*questions)] = { 8, command };

	memcpy(bytes + 2, questions, count * sizeof(*questions));
	return ask_bytes(bytes, 2 + count * (uint32_t)sizeof(*questions), room);
}

static uint8_t
get(uint16_t ring, uint64_t kinds)
{
	return ask(GET, &(struct question){ .ring = ring, .kinds = kinds }, 1, 4096);
}

static uint64_t
number(size_t at)
{
	uint64_t value;

	memcpy(&value, answer + at, sizeof(value));
	return value;
}

/* The part of an answer that begins here. */
static void
assert_part(size_t at, uint8_t kind, uint16_t ring, uint16_t size)
{
	const uint8_t head[HEAD] = { kind, 0, (uint8_t)ring, (uint8_t)(ring >> 8), 0, 0,
		(uint8_t)size, (uint8_t)(size >> 8) };

	assert_memory_equal(answer + at, head, HEAD);
}

static void
kinds_that_are_counted_can_be_queried(void **state)
{
	struct vhu_port_info info;

	(void)state;
	vhu_port_info(port, &info);
	assert_true(info.features_offered >> NUMBER & 1);
	assert_int_equal(ask(QUERY, NULL, 0, 8), OK);
	assert_int_equal(answered, 8);
	assert_int_equal(number(0), VHU_BIT(RX_BASIC) | VHU_BIT(TX_BASIC) | VHU_BIT(CONTROL));
	assert_int_equal(ask(QUERY, NULL, 0, 7), ERR);
	assert_int_equal(answered, 0);
	assert_int_equal(ask(QUERY, &(struct question){ 0 }, 1, 8), ERR);
}

/* Transmit frames to the guest: one that fits and one that never will. */
static void
transmit(void)
{
	struct rte_mempool *pool = rte_pktmbuf_pool_create("statistics", 63, 0, 0, 2048, 0);
	struct vring_avail *avail = (void *)(memory + 1024);
	struct vring_desc *table = (void *)memory;
	struct rte_mbuf *packets[2];

	assert_non_null(pool);
	for (unsigned int i = 0; i < 2; i++) {
		packets[i] = rte_pktmbuf_alloc(pool);
		memset(rte_pktmbuf_append(packets[i], i == 0 ? 100 : 1500), 7, 100);
		table[i] = (struct vring_desc){ 0x8000 + i * 0x1000, 512, VRING_DESC_F_WRITE, 0 };
		avail->ring[i] = (uint16_t)i;
	}
	__atomic_store_n(&avail->idx, 2, __ATOMIC_RELEASE);
	assert_int_equal(vhu_tx_burst(vhu_port_tx_queue(port, 0), packets, 2), 2);
	rte_mempool_free(pool);
}

static void
counters_of_rings_are_those_of_the_queues(void **state)
{
	struct vhu_queue_stats stats;

	(void)state;
	connect_again(state, ALL_FEATURES & ~VHU_BIT(VIRTIO_NET_F_MRG_RXBUF));
	start(0);
	transmit();
	vhu_queue_stats(vhu_port_tx_queue(port, 0), &stats);
	assert_int_equal(stats.packets, 1);
	/* What the application begins to count anew goes on for the guest. */
	vhu_queue_stats_reset(vhu_port_tx_queue(port, 0));
	assert_int_equal(get(0, VHU_BIT(RX_BASIC)), OK);
	assert_int_equal(answered, BASIC);
	assert_part(0, RX_BASIC, 0, BASIC);
	assert_int_equal(number(HEAD), 0);
	assert_int_equal(number(HEAD + 8), 1);
	assert_int_equal(number(HEAD + 16), 100);
	assert_int_equal(number(HEAD + 24), stats.calls);
	assert_int_equal(number(HEAD + 32), 1);
	assert_int_equal(number(HEAD + 40), 0);
}

static void
malformed_frames_of_the_guest_are_counted(void **state)
{
	struct vring_avail *avail = (void *)(memory + FRONT_END_RING_SPACE + 1024);
	struct vring_desc *table = (void *)(memory + FRONT_END_RING_SPACE);
	struct rte_mempool *pool = rte_pktmbuf_pool_create("malformed", 63, 0, 0, 2048, 0);
	const struct vhu_rx_options options = { .mempool = pool };
	struct vhu_queue *queue = vhu_port_rx_queue(port, 0);
	struct rte_mbuf *packets[4];

	(void)state;
	assert_int_equal(vhu_rx_queue_setup(queue, &options), 0);
	start(1);
	table[0] = (struct vring_desc){ 0x8000, 5, 0, 0 }; /* shorter than the header */
	avail->ring[0] = 0;
	__atomic_store_n(&avail->idx, 1, __ATOMIC_RELEASE);
	assert_int_equal(vhu_rx_burst(queue, packets, 4), 0);
	assert_int_equal(get(1, VHU_BIT(TX_BASIC)), OK);
	assert_part(0, TX_BASIC, 1, BASIC);
	assert_int_equal(number(HEAD + 8), 0);
	assert_int_equal(number(HEAD + 32), 1);
	assert_int_equal(number(HEAD + 40), 1);
	rte_mempool_free(pool);
}

static void
commands_count_themselves(void **state)
{
	(void)state;
	assert_int_equal(RUN(0, 0, 1), OK);
	assert_int_equal(RUN(0, 99, 1), ERR);
	assert_int_equal(get((uint16_t)control, VHU_BIT(CONTROL)), OK);
	assert_int_equal(answered, HEAD + 16);
	assert_part(0, CONTROL, (uint16_t)control, HEAD + 16);
	assert_int_equal(number(HEAD), 3);
	assert_int_equal(number(HEAD + 8), 2);
}

static void
several_rings_are_answered_in_turn(void **state)
{
	const struct question questions[] = {
		{ .ring = 2, .kinds = VHU_BIT(RX_BASIC), .reserved = { 1, 2, 3 } },
		{ .ring = (uint16_t)control, .kinds = VHU_BIT(CONTROL) },
		{ .ring = 3, .kinds = VHU_BIT(TX_BASIC) },
		{ .ring = 4, .kinds = 0 },
	};

	(void)state;
	assert_int_equal(ask(GET, questions, 4, 4096), OK);
	assert_int_equal(answered, 2 * BASIC + HEAD + 16);
	assert_part(0, RX_BASIC, 2, BASIC);
	assert_part(BASIC, CONTROL, (uint16_t)control, HEAD + 16);
	assert_part(BASIC + HEAD + 16, TX_BASIC, 3, BASIC);
	/* Whole parts as far as there is room. */
	assert_int_equal(ask(GET, questions, 4, 2 * BASIC + HEAD + 15), OK);
	assert_int_equal(answered, BASIC + HEAD + 16);
	assert_int_equal(ask(GET, questions, 4, BASIC - 1), OK);
	assert_int_equal(answered, HEAD + 16);
	assert_part(0, CONTROL, (uint16_t)control, HEAD + 16);
	assert_int_equal(ask(GET, questions, 4, 0), OK);
}

static void
question_that_is_wrong_in_part_is_refused_as_a_whole(void **state)
{
	static const struct {
		unsigned int ring;
		uint64_t kinds;
	} wrong[] = {
		{ 2 * PAIRS + 1, 0 },
		{ 0xffff, VHU_BIT(RX_BASIC) },
		{ 0, VHU_BIT(TX_BASIC) },
		{ 1, VHU_BIT(RX_BASIC) },
		{ 1, VHU_BIT(TX_BASIC) | VHU_BIT(RX_BASIC) },
		{ 0, VHU_BIT(CONTROL) },
		{ 2 * PAIRS, VHU_BIT(RX_BASIC) },
		{ 0, VHU_BIT(1) }, /* checksums are not counted */
		{ 0, VHU_BIT(63) },
	};
	struct question questions[2] = { { .ring = 0, .kinds = VHU_BIT(RX_BASIC) } };

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(wrong); i++) {
		questions[1] = (struct question){ .ring = (uint16_t)wrong[i].ring,
			.kinds = wrong[i].kinds };
		assert_int_equal(ask(GET, questions, 2, 4096), ERR);
		assert_int_equal(answered, 0);
	}
	assert_int_equal(RUN(8, GET), ERR);
	assert_int_equal(RUN(8, GET, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0), ERR);
	assert_int_equal(RUN(8, 2), ERR);
	assert_int_equal(RUN(8), ERR);
}

static void
the_same_over_and_over_is_bounded(void **state)
{
	struct question questions[600];

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(questions); i++)
		questions[i] = (struct question){ .ring = 0, .kinds = VHU_BIT(RX_BASIC) };
	assert_int_equal(ask(GET, questions, 600, 0x4000), OK);
	assert_int_equal(answered, 0x4000 / BASIC * BASIC);
}

static void
statistics_that_were_not_negotiated_are_refused(void **state)
{
	connect_again(state, ALL_FEATURES & ~VHU_BIT(NUMBER));
	assert_int_equal(ask(QUERY, NULL, 0, 8), ERR);
	assert_int_equal(get(0, VHU_BIT(RX_BASIC)), ERR);
}

static void
without_several_queues_there_are_three_rings(void **state)
{
	connect_again(state, ALL_FEATURES & ~(VHU_BIT(VIRTIO_NET_F_MQ) | VHU_BIT(VHU_NET_F_RSS)));
	assert_int_equal(get(2, VHU_BIT(CONTROL)), OK);
	assert_int_equal(get(1, VHU_BIT(TX_BASIC)), OK);
	assert_int_equal(get(3, VHU_BIT(TX_BASIC)), ERR);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(kinds_that_are_counted_can_be_queried),
		TEST(counters_of_rings_are_those_of_the_queues),
		TEST(malformed_frames_of_the_guest_are_counted),
		TEST(commands_count_themselves),
		TEST(several_rings_are_answered_in_turn),
		TEST(question_that_is_wrong_in_part_is_refused_as_a_whole),
		TEST(the_same_over_and_over_is_bounded),
		TEST(statistics_that_were_not_negotiated_are_refused),
		TEST(without_several_queues_there_are_three_rings),
	};

	return cmocka_run_group_tests_name("ctrl statistics", tests, start_group, end_group);
}
