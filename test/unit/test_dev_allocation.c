/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * A whole session in which the n-th allocation fails, for every n: each message is answered, the
 * process lives, and the teardown of the rig finds every descriptor and mapping given back.
 * The program is linked with --wrap for the three functions below.
 */

#include "device_rig.h"

#include "obs/log.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

/* Allocations until the one that fails; negative: none does. */
static int countdown = -1;

static bool
fails_now(void)
{
	return countdown >= 0 && countdown-- == 0;
}

void *
__wrap_malloc(size_t size)
{
	return fails_now() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
	return fails_now() ? NULL : __real_calloc(count, size);
}

void *
__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return fails_now() ? NULL : __real_aligned_alloc(alignment, size);
}

/* Send a message that must be answered once, whatever the answer. */
static void
send(uint32_t request, const void *payload, uint32_t size, int fd)
{
	unsigned int replies = rig.replies;

	rig_send(request, VHU_FLAG_NEED_REPLY, payload, size, &fd, fd >= 0);
	assert_false(vhu_device_busy(rig.device));
	assert_int_equal(rig.replies, replies + 1);
}

static void
send_state(uint32_t request, uint32_t index, uint32_t value)
{
	struct vhu_wire_vring_state state = { index, value };

	send(request, &state, sizeof(state), -1);
}

static void
session(void)
{
	struct vhu_wire_region half = rig_region(0, RIG_MEMORY / 2);
	struct vhu_wire_mem_reg other = { .region = rig_region(RIG_MEMORY / 2, 0x1000) };
	struct vhu_wire_vring_addr address = rig_address(0);
	uint64_t value = rig_protocol();

	send(VHU_SET_PROTOCOL_FEATURES, &value, sizeof(value), -1);
	value = RIG_FEATURES | RIG_PROTOCOL;
	send(VHU_SET_FEATURES, &value, sizeof(value), -1);
	rig_send_table(&half, 1);
	send_state(VHU_SET_VRING_NUM, 0, RIG_RING_SIZE);
	send(VHU_SET_VRING_ADDR, &address, sizeof(address), -1);
	value = 0;
	send(VHU_SET_VRING_CALL, &value, sizeof(value), rig_eventfd());
	send_state(VHU_SET_VRING_ENABLE, 0, 1);
	send(VHU_SET_VRING_KICK, &value, sizeof(value), rig_eventfd());
	send(VHU_ADD_MEM_REG, &other, sizeof(other), rig_dup(rig.memory));
	send(VHU_SET_VRING_CALL, &value, sizeof(value), rig_eventfd());
	send(VHU_REM_MEM_REG, &other, sizeof(other), -1);
	send_state(VHU_SET_VRING_ENABLE, 0, 0);
	send_state(VHU_SET_VRING_ENABLE, 0, 1);
	vhu_ring_break(&rig.rings[0], VHU_BROKEN_HEAD, 0);
	vhu_device_check_broken(rig.device);
	send_state(VHU_GET_VRING_BASE, 0, 0);
	rig_send_table(NULL, 0);
	vhu_device_disconnect(rig.device, rig_left);
	assert_int_equal(rig.left, 1);
}

static void
ignore_line(enum vhu_log_level level, const char *line)
{
	(void)level;
	(void)line;
}

static void
session_survives_the_failure_of_any_one_allocation(void **state)
{
	int n;

	vhu_log_set_sink(ignore_line);
	for (n = 0;; n++) {
		bool all_worked;

		rig_setup(state);
		countdown = n;
		session();
		all_worked = countdown >= 0;
		countdown = -1;
		rig_teardown(state);
		if (all_worked)
			break;
	}
	vhu_log_set_sink(NULL);
	/* It did fail, in many places. */
	assert_in_range(n, 20, 1000);
}

static void
device_is_not_created_without_memory(void **state)
{
	struct vhu_device_config config = { .name = "none", .ops = &rig.ops, .ring_count = 2,
		.rings = rig.ring_pointers };
	struct vhu_device *device = NULL;
	int n;

	(void)state;
	for (n = 0; device == NULL; n++) {
		countdown = n;
		device = vhu_device_new(&config);
		countdown = -1;
	}
	assert_int_equal(n, 6);
	vhu_device_free(device);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(session_survives_the_failure_of_any_one_allocation),
		RIG_TEST(device_is_not_created_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
