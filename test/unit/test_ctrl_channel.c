/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* What a port tells its front-end by itself: changes of the link, and calls that lcores leave. */

#include <fcntl.h>
#include <poll.h>

#include <rte_mbuf.h>

#include <vhu.h>
#include <vhu_net.h>

#include "eal.h"
#include "front_end.h"
#include "wire/message.h"

#define PATIENCE_MS 5000
#define HEADER 12
#define FRAME 60
#define FRAMES_AT (1u << 20)
#define RING 1
#define CHANNEL (VHU_BIT(VHU_PROTOCOL_BACKEND_REQ) | VHU_BIT(VHU_PROTOCOL_CONFIG))

static struct rte_mempool *pool;
static struct vhu_port *port;
static struct front_end front_end;
static uint8_t *memory;
static int channel; /* the front-end's end */
static uint16_t offered;

static void
begin(bool handover, uint64_t protocol)
{
	const struct vhu_rx_options rx = { .mempool = pool };
	struct vhu_port_options options;
	char path[VHU_PATH_SIZE];
	int ends[2];

	vhu_port_options_init(&options);
	options.path = eal_socket_path(path, "channel");
	options.call_handover = handover;
	options.offers |= VHU_OFFER_BIT(IN_BAND);
	assert_int_equal(vhu_port_create(&options, &port), 0);
	assert_int_equal(vhu_rx_queue_setup(vhu_port_rx_queue(port, 0), &rx), 0);
	front_end_connect(&front_end, path);
	memory = mmap(NULL, FRONT_END_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, front_end.memory,
		0);
	assert_true(memory != MAP_FAILED);
	front_end_negotiate(&front_end,
		VHU_BIT(VIRTIO_F_VERSION_1) | VHU_BIT(VIRTIO_NET_F_STATUS), protocol);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	channel = ends[0];
	if (protocol & VHU_BIT(VHU_PROTOCOL_BACKEND_REQ))
		front_end_send(&front_end, VHU_SET_BACKEND_REQ_FD, NULL, 0, ends[1]);
	close(ends[1]);
	front_end_share_memory(&front_end);
	offered = 0;
}

static int
end(void **state)
{
	(void)state;
	vhu_port_destroy(port);
	front_end_leave(&front_end);
	munmap(memory, FRONT_END_MEMORY);
	close(channel);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
	return 0;
}

static void
run_ring(void)
{
	front_end_start_ring(&front_end, RING);
	front_end_ring_value(&front_end, VHU_SET_VRING_ENABLE, RING, 1);
	front_end_ask_u64(&front_end, VHU_GET_FEATURES);
}

/* Is there something to read within @p milliseconds? */
static bool
comes(int fd, int milliseconds)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };

	return poll(&wait, 1, milliseconds) == 1 && (wait.revents & POLLIN);
}

/* Read a request of @p size bytes behind its header from the channel. */
static void
expect_request(uint32_t request, void *payload, uint32_t size)
{
	struct vhu_wire_header header;

	assert_true(comes(channel, PATIENCE_MS));
	assert_int_equal(recv(channel, &header, sizeof(header), MSG_WAITALL), sizeof(header));
	assert_int_equal(header.request, request);
	assert_int_equal(header.size, size);
	if (size > 0)
		assert_int_equal(recv(channel, payload, size, MSG_WAITALL), size);
}

static uint16_t
status_word(void)
{
	struct vhu_wire_config config = {
		.offset = offsetof(struct virtio_net_config, status),
		.size = sizeof(uint16_t),
	};
	uint16_t status;

	front_end_send(&front_end, VHU_GET_CONFIG, &config, 12 + sizeof(status), -1);
	assert_int_equal(front_end_reply(&front_end, VHU_GET_CONFIG, &config, sizeof(config)),
		12 + sizeof(status));
	memcpy(&status, config.data, sizeof(status));
	return status;
}

static void
link_is_told_and_can_be_read(void **state)
{
	(void)state;
	begin(false, CHANNEL);
	run_ring();
	assert_int_equal(status_word(), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(vhu_port_set_link(port, false), 0);
	expect_request(VHU_BACKEND_CONFIG_CHANGE, NULL, 0);
	assert_int_equal(status_word(), 0);
	/* Not a change. */
	assert_int_equal(vhu_port_set_link(port, false), 0);
	assert_false(comes(channel, 100));
	assert_int_equal(vhu_port_set_link(port, true), 0);
	expect_request(VHU_BACKEND_CONFIG_CHANGE, NULL, 0);
	assert_int_equal(status_word(), VIRTIO_NET_S_LINK_UP);
}

static void
link_without_channel_can_be_read(void **state)
{
	(void)state;
	begin(false, VHU_BIT(VHU_PROTOCOL_CONFIG));
	run_ring();
	assert_int_equal(vhu_port_set_link(port, false), 0);
	assert_int_equal(status_word(), 0);
	front_end_ask_u64(&front_end, VHU_GET_FEATURES);
}

static void
link_outlives_the_connection(void **state)
{
	char path[VHU_PATH_SIZE];

	(void)state;
	begin(false, CHANNEL);
	run_ring();
	front_end_leave(&front_end);
	assert_int_equal(vhu_port_set_link(port, false), 0);
	front_end_connect(&front_end, eal_socket_path(path, "channel"));
	front_end_negotiate(&front_end, VHU_BIT(VIRTIO_F_VERSION_1), CHANNEL);
	assert_int_equal(status_word(), 0);
}

/* The guest sends a frame, and the application receives it. */
static void
move_frame(void)
{
	uint8_t *ring = memory + RING * FRONT_END_RING_SPACE;
	struct vring_avail *avail = (void *)(ring + 1024);
	struct rte_mbuf *packet = NULL;
	unsigned int waited = 0;

	memset(memory + FRAMES_AT, 0, HEADER + FRAME);
	*(struct vring_desc *)ring = (struct vring_desc){ FRAMES_AT, HEADER + FRAME, 0, 0 };
	avail->ring[offered % FRONT_END_RING] = 0;
	offered++;
	__atomic_store_n(&avail->idx, offered, __ATOMIC_RELEASE);
	while (vhu_rx_burst(vhu_port_rx_queue(port, 0), &packet, 1) == 0) {
		usleep(1000);
		assert_true(++waited < PATIENCE_MS);
	}
	assert_int_equal(packet->pkt_len, FRAME);
	rte_pktmbuf_free(packet);
}

static void
call_goes_in_band_if_there_is_no_descriptor(void **state)
{
	struct vhu_wire_vring_state call;

	(void)state;
	begin(false, CHANNEL | VHU_BIT(VHU_PROTOCOL_INBAND_NOTIFICATIONS) |
		VHU_BIT(VHU_PROTOCOL_REPLY_ACK));
	run_ring();
	/* One when the ring starts, whatever happened before. */
	expect_request(VHU_BACKEND_VRING_CALL, &call, sizeof(call));
	for (unsigned int i = 0; i < 10; i++) {
		move_frame();
		expect_request(VHU_BACKEND_VRING_CALL, &call, sizeof(call));
		assert_int_equal(call.index, RING);
	}
	assert_false(comes(channel, 100));
}

static void
call_that_is_handed_over_reaches_the_descriptor(void **state)
{
	uint64_t index = RING, count;
	struct vhu_queue_info info;
	int call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	begin(true, CHANNEL);
	front_end_send(&front_end, VHU_SET_VRING_CALL, &index, sizeof(index), call);
	run_ring();
	vhu_queue_info(vhu_port_rx_queue(port, 0), &info);
	assert_true(info.started);
	assert_true(comes(call, PATIENCE_MS));
	assert_int_equal(eventfd_read(call, &count), 0);
	for (unsigned int i = 0; i < 10; i++) {
		move_frame();
		assert_true(comes(call, PATIENCE_MS));
		assert_int_equal(eventfd_read(call, &count), 0);
		assert_int_equal(count, 1);
	}
	assert_false(comes(call, 100));
	close(call);
}

/* The point of it: what the front-end does to its descriptor is not the lcore's business. */
static void
call_that_is_handed_over_holds_up_no_burst(void **state)
{
	uint64_t index = RING;
	int call = eventfd(0, EFD_CLOEXEC);

	(void)state;
	begin(true, CHANNEL);
	front_end_send(&front_end, VHU_SET_VRING_CALL, &index, sizeof(index), call);
	run_ring();
	/* Blocking and full: a write would sleep for ever. */
	assert_int_equal(fcntl(call, F_SETFL, 0), 0);
	assert_int_equal(eventfd_read(call, &index), 0);
	assert_int_equal(eventfd_write(call, UINT64_MAX - 1), 0);
	for (unsigned int i = 0; i < 10; i++)
		move_frame();
	front_end_ask_u64(&front_end, VHU_GET_FEATURES);
	close(call);
}

static int
start(void **state)
{
	(void)state;
	if (eal_start() != 0)
		return -1;
	pool = rte_pktmbuf_pool_create("pool", 1023, 0, 0, 2048, SOCKET_ID_ANY);
	return pool != NULL ? 0 : -1;
}

static int
finish(void **state)
{
	(void)state;
	return eal_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(link_is_told_and_can_be_read, end),
		cmocka_unit_test_teardown(link_without_channel_can_be_read, end),
		cmocka_unit_test_teardown(link_outlives_the_connection, end),
		cmocka_unit_test_teardown(call_goes_in_band_if_there_is_no_descriptor, end),
		cmocka_unit_test_teardown(call_that_is_handed_over_reaches_the_descriptor, end),
		cmocka_unit_test_teardown(call_that_is_handed_over_holds_up_no_burst, end),
	};

	return cmocka_run_group_tests_name("ctrl channel", tests, start, finish);
}
