/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * The table against the protocol contract, which is written down here once more in plain numbers.
 */

#include "unit.h"
#include "wire/message.h"

#define NO_BIT (-1)

struct expected {
	uint32_t request;
	const char *name;
	unsigned int size_min, size_max, fd_min, fd_max;
	int protocol_bit, feature_bit;
	enum vhu_reply_kind reply;
};

static const struct expected front_end[] = {
	{ 1, "GET_FEATURES", 0, 0, 0, 0, NO_BIT, NO_BIT, VHU_REPLY_U64 },
	{ 2, "SET_FEATURES", 8, 8, 0, 0, NO_BIT, NO_BIT, VHU_REPLY_ACK },
	{ 3, "SET_OWNER", 0, 0, 0, 0, NO_BIT, NO_BIT, VHU_REPLY_ACK },
	{ 4, "RESET_OWNER", 0, 0, 0, 0, NO_BIT, NO_BIT, VHU_REPLY_ACK },
	{ 5, "SET_MEM_TABLE", 8, 264, 0, 8, NO_BIT, NO_BIT, VHU_REPLY_ACK },
	{ 6, "SET_LOG_BASE", 16, 16, 1, 1, NO_BIT, NO_BIT, VHU_REPLY_LOG },
	{ 7, "SET_LOG_FD", 0, 8, 1, 1, NO_BIT, NO_BIT, VHU_REPLY_ACK },
	{ 8, "SET_VRING_NUM", 8, 8, 0, 0, NO_BIT, NO_BIT, VHU_REPLY_ACK },
	{ 9, "SET_VRING_ADDR", 40, 40, 0, 0, NO_BIT, NO_BIT, VHU_REPLY_ACK },
	{ 10, "SET_VRING_BASE", 8, 8, 0, 0, NO_BIT, NO_BIT, VHU_REPLY_ACK },
	{ 11, "GET_VRING_BASE", 8, 8, 0, 0, NO_BIT, NO_BIT, VHU_REPLY_STATE },
	{ 12, "SET_VRING_KICK", 8, 8, 0, 1, NO_BIT, NO_BIT, VHU_REPLY_ACK },
	{ 13, "SET_VRING_CALL", 8, 8, 0, 1, NO_BIT, NO_BIT, VHU_REPLY_ACK },
	{ 14, "SET_VRING_ERR", 8, 8, 0, 1, NO_BIT, NO_BIT, VHU_REPLY_ACK },
	{ 15, "GET_PROTOCOL_FEATURES", 0, 0, 0, 0, NO_BIT, NO_BIT, VHU_REPLY_U64 },
	{ 16, "SET_PROTOCOL_FEATURES", 8, 8, 0, 0, NO_BIT, NO_BIT, VHU_REPLY_ACK },
	{ 17, "GET_QUEUE_NUM", 0, 0, 0, 0, 0, NO_BIT, VHU_REPLY_U64 },
	{ 18, "SET_VRING_ENABLE", 8, 8, 0, 0, NO_BIT, 30, VHU_REPLY_ACK },
	{ 19, "SEND_RARP", 8, 8, 0, 0, 2, NO_BIT, VHU_REPLY_ACK },
	{ 20, "NET_SET_MTU", 8, 8, 0, 0, 4, NO_BIT, VHU_REPLY_ACK },
	{ 21, "SET_BACKEND_REQ_FD", 0, 0, 1, 1, 5, NO_BIT, VHU_REPLY_ACK },
	{ 22, "IOTLB_MSG", 32, 32, 0, 0, NO_BIT, 33, VHU_REPLY_U64 },
	{ 23, "SET_VRING_ENDIAN", 8, 8, 0, 0, 6, NO_BIT, VHU_REPLY_ACK },
	{ 24, "GET_CONFIG", 12, 268, 0, 0, 9, NO_BIT, VHU_REPLY_CONFIG },
	{ 25, "SET_CONFIG", 12, 268, 0, 0, 9, NO_BIT, VHU_REPLY_ACK },
	{ 26, "CREATE_CRYPTO_SESSION", 1, 2056, 0, 0, 7, NO_BIT, VHU_REPLY_SESSION },
	{ 27, "CLOSE_CRYPTO_SESSION", 8, 8, 0, 0, 7, NO_BIT, VHU_REPLY_ACK },
	{ 28, "POSTCOPY_ADVISE", 0, 0, 0, 0, 8, NO_BIT, VHU_REPLY_FD },
	{ 29, "POSTCOPY_LISTEN", 0, 0, 0, 0, 8, NO_BIT, VHU_REPLY_ACK },
	{ 30, "POSTCOPY_END", 0, 0, 0, 0, 8, NO_BIT, VHU_REPLY_U64 },
	{ 31, "GET_INFLIGHT_FD", 20, 24, 0, 0, 12, NO_BIT, VHU_REPLY_INFLIGHT },
	{ 32, "SET_INFLIGHT_FD", 20, 24, 1, 1, 12, NO_BIT, VHU_REPLY_ACK },
	{ 33, "GPU_SET_SOCKET", 0, 0, 1, 1, NO_BIT, NO_BIT, VHU_REPLY_ACK },
	{ 34, "RESET_DEVICE", 0, 0, 0, 0, 13, NO_BIT, VHU_REPLY_ACK },
	{ 35, "VRING_KICK", 8, 8, 0, 0, 14, NO_BIT, VHU_REPLY_ACK },
	{ 36, "GET_MAX_MEM_SLOTS", 0, 0, 0, 0, 15, NO_BIT, VHU_REPLY_U64 },
	{ 37, "ADD_MEM_REG", 40, 40, 1, 1, 15, NO_BIT, VHU_REPLY_ACK },
	{ 38, "REM_MEM_REG", 40, 40, 0, 1, 15, NO_BIT, VHU_REPLY_ACK },
	{ 39, "SET_STATUS", 8, 8, 0, 0, 16, NO_BIT, VHU_REPLY_ACK },
	{ 40, "GET_STATUS", 0, 0, 0, 0, 16, NO_BIT, VHU_REPLY_U64 },
	{ 41, "GET_SHARED_OBJECT", 16, 16, 0, 0, 18, NO_BIT, VHU_REPLY_FD },
	{ 42, "SET_DEVICE_STATE_FD", 8, 8, 1, 1, 19, NO_BIT, VHU_REPLY_U64 },
	{ 43, "CHECK_DEVICE_STATE", 0, 0, 0, 0, 19, NO_BIT, VHU_REPLY_U64 },
	{ 44, "GET_SHMEM_CONFIG", 0, 0, 0, 0, 22, NO_BIT, VHU_REPLY_SHMEM },
	{ 45, "GET_VRING_BASE_SKIP_DRAIN", 8, 8, 0, 0, 23, NO_BIT, VHU_REPLY_STATE },
};

static const struct expected back_end[] = {
	{ 1, "BACKEND_IOTLB_MSG", 32, 32, 0, 0, NO_BIT, 33, VHU_REPLY_ACK },
	{ 2, "BACKEND_CONFIG_CHANGE_MSG", 0, 0, 0, 0, 9, NO_BIT, VHU_REPLY_ACK },
	{ 3, "BACKEND_VRING_HOST_NOTIFIER_MSG", 24, 24, 0, 1, 11, NO_BIT, VHU_REPLY_ACK },
	{ 4, "BACKEND_VRING_CALL", 8, 8, 0, 0, 14, NO_BIT, VHU_REPLY_ACK },
	{ 5, "BACKEND_VRING_ERR", 8, 8, 0, 0, 14, NO_BIT, VHU_REPLY_ACK },
	{ 6, "BACKEND_SHARED_OBJECT_ADD", 16, 16, 0, 0, 18, NO_BIT, VHU_REPLY_ACK },
	{ 7, "BACKEND_SHARED_OBJECT_REMOVE", 16, 16, 0, 0, 18, NO_BIT, VHU_REPLY_ACK },
	{ 8, "BACKEND_SHARED_OBJECT_LOOKUP", 16, 16, 0, 0, 18, NO_BIT, VHU_REPLY_U64 },
	{ 9, "BACKEND_SHMEM_MAP", 40, 40, 1, 1, 22, NO_BIT, VHU_REPLY_ACK },
	{ 10, "BACKEND_SHMEM_UNMAP", 40, 40, 0, 0, 22, NO_BIT, VHU_REPLY_ACK },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void
compare(const struct expected *expected, const struct vhu_request_rule *rule)
{
	assert_non_null(rule);
	assert_string_equal(rule->name, expected->name);
	assert_int_equal(rule->size_min, expected->size_min);
	assert_int_equal(rule->size_max, expected->size_max);
	assert_int_equal(rule->fd_min, expected->fd_min);
	assert_int_equal(rule->fd_max, expected->fd_max);
	assert_int_equal(rule->gate_protocol, expected->protocol_bit);
	assert_int_equal(rule->gate_feature, expected->feature_bit);
	assert_int_equal(rule->reply, expected->reply);
}

static void
front_end_rows_say_what_the_contract_says(void **state)
{
	unsigned int i;

	(void)state;
	assert_int_equal(COUNT(front_end), 45);
	for (i = 0; i < COUNT(front_end); i++) {
		assert_int_equal(front_end[i].request, i + 1);
		compare(&front_end[i], vhu_request_rule(i + 1));
	}
}

static void
back_end_rows_say_what_the_contract_says(void **state)
{
	unsigned int i;

	(void)state;
	assert_int_equal(COUNT(back_end), 10);
	for (i = 0; i < COUNT(back_end); i++) {
		assert_int_equal(back_end[i].request, i + 1);
		compare(&back_end[i], vhu_backend_request_rule(i + 1));
	}
}

static void
ring_requests_and_only_those_carry_an_index(void **state)
{
	static const uint32_t index32[] = { 8, 9, 10, 11, 18, 23, 35, 45 };
	static const uint32_t index8[] = { 12, 13, 14 };
	uint64_t with32 = 0, with8 = 0;
	uint32_t request;
	unsigned int i;

	(void)state;
	for (i = 0; i < COUNT(index32); i++)
		with32 |= VHU_BIT(index32[i]);
	for (i = 0; i < COUNT(index8); i++)
		with8 |= VHU_BIT(index8[i]);
	for (request = 1; request < VHU_REQUESTS; request++) {
		unsigned int flags = vhu_request_rule(request)->flags;

		assert_int_equal((flags & VHU_RULE_INDEX) != 0, (with32 >> request) & 1);
		assert_int_equal((flags & VHU_RULE_NOFD) != 0, (with8 >> request) & 1);
	}
}

static void
numbers_outside_the_table_have_no_row(void **state)
{
	static const uint32_t none[] = { 0, 46, 47, 1000, INT32_MAX, 0x80000001u, UINT32_MAX };
	unsigned int i;

	(void)state;
	for (i = 0; i < COUNT(none); i++)
		assert_null(vhu_request_rule(none[i]));
	assert_null(vhu_backend_request_rule(0));
	assert_null(vhu_backend_request_rule(11));
	assert_null(vhu_backend_request_rule(UINT32_MAX));
}

static void
payload_layouts_have_the_sizes_of_the_protocol(void **state)
{
	(void)state;
	assert_int_equal(sizeof(struct vhu_wire_header), 12);
	assert_int_equal(sizeof(struct vhu_wire_vring_state), 8);
	assert_int_equal(sizeof(struct vhu_wire_vring_addr), 40);
	assert_int_equal(sizeof(struct vhu_wire_region), 32);
	assert_int_equal(sizeof(struct vhu_wire_mem_table), 264);
	assert_int_equal(sizeof(struct vhu_wire_mem_reg), 40);
	assert_int_equal(sizeof(struct vhu_wire_log), 16);
	assert_int_equal(sizeof(struct vhu_wire_inflight), 24);
	assert_int_equal(sizeof(struct vhu_wire_config), 268);
	assert_int_equal(sizeof(struct vhu_wire_iotlb), 32);
	assert_int_equal(sizeof(struct vhu_wire_device_state), 8);
	assert_int_equal(sizeof(struct vhu_wire_vring_area), 24);
	assert_int_equal(sizeof(struct vhu_wire_shmem_map), 40);
	assert_int_equal(sizeof(struct vhu_wire_shmem_config), 2056);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(front_end_rows_say_what_the_contract_says),
		cmocka_unit_test(back_end_rows_say_what_the_contract_says),
		cmocka_unit_test(ring_requests_and_only_those_carry_an_index),
		cmocka_unit_test(numbers_outside_the_table_have_no_row),
		cmocka_unit_test(payload_layouts_have_the_sizes_of_the_protocol),
	};

	return cmocka_run_group_tests_name("wire/table", tests, NULL, NULL);
}
