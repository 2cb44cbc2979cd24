/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* What of a port moves with its guest to another host. */

#include <fcntl.h>

#include <vhu.h>

#include "eal.h"
#include "front_end.h"

#define PROTOCOL (VHU_BIT(VHU_PROTOCOL_DEVICE_STATE) | VHU_BIT(VHU_PROTOCOL_CONFIG) | \
	VHU_BIT(VHU_PROTOCOL_NET_MTU) | VHU_BIT(VHU_PROTOCOL_RESET_DEVICE) | \
	VHU_BIT(VHU_PROTOCOL_REPLY_ACK))

static struct vhu_port *port;
static struct front_end front_end;

/* A port of MTU 1500 with a front-end that has negotiated. */
static int
setup(void **state)
{
	struct vhu_port_options options;
	char path[VHU_PATH_SIZE];

	(void)state;
	vhu_port_options_init(&options);
	options.path = eal_socket_path(path, "state");
	options.mtu = 1500;
	if (vhu_port_create(&options, &port) != 0)
		fail_msg("%s", vhu_error_text());
	front_end_connect(&front_end, path);
	front_end_negotiate(&front_end, VHU_BIT(VIRTIO_F_VERSION_1), PROTOCOL);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	front_end_leave(&front_end);
	vhu_port_destroy(port);
	return 0;
}

static uint16_t
mtu_now(void)
{
	struct vhu_port_info info;

	front_end_ask_u64(&front_end, VHU_GET_FEATURES); /* all before has been handled */
	vhu_port_info(port, &info);
	return info.mtu;
}

/* @param fd stays ours. */
static void
transfer(uint32_t direction, int fd)
{
	struct vhu_wire_device_state asked = { direction, 0 };
	uint64_t value;

	front_end_send(&front_end, VHU_SET_DEVICE_STATE_FD, &asked, sizeof(asked), fd);
	assert_int_equal(front_end_reply(&front_end, VHU_SET_DEVICE_STATE_FD, &value, 8), 8);
	assert_int_equal(value, 0x100);
}

static size_t
save(uint8_t *bytes, size_t room)
{
	ssize_t got;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	transfer(0, fds[1]);
	close(fds[1]);
	assert_int_equal(front_end_ask_u64(&front_end, VHU_CHECK_DEVICE_STATE), 0);
	got = read(fds[0], bytes, room);
	assert_true(got > 0);
	assert_int_equal(read(fds[0], bytes + got, 1), 0);
	close(fds[0]);
	return (size_t)got;
}

/* @return what CHECK_DEVICE_STATE says. */
static uint64_t
load(const uint8_t *bytes, size_t size)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	transfer(1, fds[0]);
	close(fds[0]);
	assert_int_equal(write(fds[1], bytes, size), size);
	close(fds[1]);
	return front_end_ask_u64(&front_end, VHU_CHECK_DEVICE_STATE);
}

static void
mtu_moves_with_the_state(void **state)
{
	uint8_t bytes[64];
	size_t size;

	(void)state;
	front_end_send_u64(&front_end, VHU_NET_SET_MTU, 9000);
	size = save(bytes, sizeof(bytes));
	front_end_send_u64(&front_end, VHU_NET_SET_MTU, 1400);
	assert_int_equal(mtu_now(), 1400);
	assert_int_equal(load(bytes, size), 0);
	assert_int_equal(mtu_now(), 9000);
}

static void
state_that_was_tampered_with_changes_nothing(void **state)
{
	uint8_t bytes[64], changed[65];
	size_t size, i;

	(void)state;
	size = save(bytes, sizeof(bytes));
	front_end_send_u64(&front_end, VHU_NET_SET_MTU, 1400);
	/* Magic, version (the byte at 4 and 5) and size. */
	for (i = 0; i < 8; i++) {
		memcpy(changed, bytes, size);
		changed[i] ^= 0x80;
		assert_int_equal(load(changed, size), 1);
	}
	memcpy(changed, bytes, size);
	changed[size] = 0;
	assert_int_equal(load(changed, size + 1), 1);
	assert_int_equal(load(changed, size - 1), 1);
	assert_int_equal(load(changed, 0), 1);
	changed[8] = 67; /* an MTU that no network has */
	changed[9] = 0;
	assert_int_equal(load(changed, size), 1);
	assert_int_equal(mtu_now(), 1400);
}

/* Write the MTU field of the configuration space. */
static void
write_mtu(uint16_t mtu, uint32_t flags)
{
	struct vhu_wire_config config = {
		.offset = offsetof(struct virtio_net_config, mtu),
		.size = sizeof(mtu),
		.flags = flags,
	};

	memcpy(config.data, &mtu, sizeof(mtu));
	front_end_send(&front_end, VHU_SET_CONFIG, &config, 12 + sizeof(mtu), -1);
}

static void
configuration_is_written_by_migration_only(void **state)
{
	(void)state;
	write_mtu(4000, 0);
	assert_int_equal(mtu_now(), 1500);
	write_mtu(67, 1);
	assert_int_equal(mtu_now(), 1500);
	write_mtu(4000, 1);
	assert_int_equal(mtu_now(), 4000);
}

static void
reset_forgets_what_the_front_end_set(void **state)
{
	(void)state;
	front_end_send_u64(&front_end, VHU_NET_SET_MTU, 9000);
	assert_int_equal(mtu_now(), 9000);
	front_end_send(&front_end, VHU_RESET_DEVICE, NULL, 0, -1);
	assert_int_equal(mtu_now(), 1500);
}

static int
start(void **state)
{
	(void)state;
	return eal_start();
}

static int
end(void **state)
{
	(void)state;
	return eal_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(mtu_moves_with_the_state, setup, teardown),
		cmocka_unit_test_setup_teardown(
			state_that_was_tampered_with_changes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(
			configuration_is_written_by_migration_only, setup, teardown),
		cmocka_unit_test_setup_teardown(
			reset_forgets_what_the_front_end_set, setup, teardown),
	};

	return cmocka_run_group_tests_name("ctrl state", tests, start, end);
}
