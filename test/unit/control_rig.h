/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_TEST_CONTROL_RIG_H
#define VHU_TEST_CONTROL_RIG_H

/**
 * @file
 * A port that serves the control queue, and a driver that writes its commands into a ring.
 */

#include <fcntl.h>
#include <string.h>

#include <rte_mbuf.h>

#include <vhu.h>
#include <vhu_control.h>
#include <vhu_net.h>

#include "eal.h"
#include "front_end.h"

#define PAIRS 4
#define OK VIRTIO_NET_OK
#define ERR VIRTIO_NET_ERR
/* Status byte before the device writes it. */
#define UNTOUCHED 0x77
/* Where commands and statuses lie. */
#define COMMAND_AT (1u << 20)
#define STATUS_AT ((1u << 20) - 64)
#define ALL_FEATURES (~(VHU_BIT(VIRTIO_F_RING_PACKED) | VHU_BIT(VHU_F_IN_ORDER) | \
	VHU_BIT(VHU_F_LOG_ALL)))

static struct vhu_port *port;
static struct front_end front_end;
static uint8_t *memory;
static unsigned int control;
static uint16_t avail_index;

static inline void
connect_with(uint64_t features)
{
	char path[VHU_PATH_SIZE];

	front_end_connect(&front_end, eal_socket_path(path, "control"));
	memory = mmap(NULL, FRONT_END_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, front_end.memory,
		0);
	assert_true(memory != MAP_FAILED);
	front_end_negotiate(&front_end, features, 0);
	front_end_share_memory(&front_end);
	avail_index = 0;
}

static inline void
start(unsigned int ring)
{
	front_end_start_ring(&front_end, ring);
	front_end_ring_value(&front_end, VHU_SET_VRING_ENABLE, ring, 1);
	front_end_ask_u64(&front_end, VHU_GET_FEATURES);
}

static inline int
create(void **state)
{
	struct vhu_port_options options;
	char path[VHU_PATH_SIZE];

	(void)state;
	vhu_port_options_init(&options);
	options.path = eal_socket_path(path, "control");
	options.queue_pairs = PAIRS;
	options.offers |= VHU_OFFER_BIT(CONTROL_QUEUE) | VHU_OFFER_BIT(HASH);
	assert_int_equal(vhu_port_create(&options, &port), 0);
	return 0;
}

static inline int
begin(void **state)
{
	create(state);
	connect_with(ALL_FEATURES);
	control = 2 * PAIRS;
	start(control);
	return 0;
}

static inline int
end(void **state)
{
	(void)state;
	vhu_port_destroy(port);
	munmap(memory, FRONT_END_MEMORY);
	front_end_leave(&front_end);
	return 0;
}

/* Another driver, with these features. */
static inline void
connect_again(void **state, uint64_t features)
{
	const uint64_t several = VHU_BIT(VIRTIO_NET_F_MQ) | VHU_BIT(VHU_NET_F_RSS);

	end(state);
	create(state);
	connect_with(features);
	control = features & several ? 2 * PAIRS : 2;
	start(control);
}

static inline struct vring_desc *
descriptors(void)
{
	return (struct vring_desc *)(memory + control * FRONT_END_RING_SPACE);
}

/* Make the chain that begins with descriptor 0 available. */
static inline void
submit(void)
{
	struct vring_avail *avail = (void *)((uint8_t *)descriptors() + 1024);

	avail->ring[avail_index % FRONT_END_RING] = 0;
	avail_index++;
	__atomic_store_n(&avail->idx, avail_index, __ATOMIC_RELEASE);
}

/* Wait until everything was used. @return how long it took, in milliseconds. */
static inline unsigned int
wait_used(void)
{
	struct vring_used *used = (void *)((uint8_t *)descriptors() + 2048);
	unsigned int waited = 0;

	while (__atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) != avail_index) {
		usleep(1000);
		assert_true(++waited < 5000);
	}
	return waited;
}

/* Run one command of @p size bytes, class and command included. @return its status. */
static inline uint8_t
run(const void *bytes, uint32_t size)
{
	struct vring_used *used = (void *)((uint8_t *)descriptors() + 2048);
	struct vring_used_elem *element = &used->ring[avail_index % FRONT_END_RING];

	memcpy(memory + COMMAND_AT, bytes, size < FRONT_END_MEMORY / 2 ? size : 0);
	memory[STATUS_AT] = UNTOUCHED;
	descriptors()[0] = (struct vring_desc){ COMMAND_AT, size, VRING_DESC_F_NEXT, 1 };
	descriptors()[1] = (struct vring_desc){ STATUS_AT, 1, VRING_DESC_F_WRITE, 0 };
	submit();
	wait_used();
	assert_int_equal(element->id, 0);
	assert_int_equal(element->len, 1);
	return memory[STATUS_AT];
}

#define RUN(...) run((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static inline struct vhu_filter
filter(void)
{
	struct vhu_filter now;

	assert_int_equal(vhu_port_filter(port, &now), 0);
	return now;
}

static inline struct vhu_steering
steering(void)
{
	struct vhu_steering now;

	assert_int_equal(vhu_port_steering(port, &now), 0);
	return now;
}

static inline int
start_group(void **state)
{
	(void)state;
	return eal_start();
}

static inline int
end_group(void **state)
{
	(void)state;
	return eal_end();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

#endif /* VHU_TEST_CONTROL_RIG_H */
