/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Which messages the check lets through, which not, and how bad it finds them. */

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "messages.h"
#include "unit.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define EACH_REQUEST(request) \
	for (uint32_t request = 1; request < VHU_REQUESTS; request++)

/* A refusal must explain itself in one clause that names the message. */
static void
expect(const struct vhu_message *m, const struct vhu_gates *gates, enum vhu_severity severity)
{
	struct vhu_verdict verdict = vhu_message_check(m, gates);

	if (verdict.severity != severity)
		fail_msg("%s size %u fds %u: severity %d (%s), expected %d",
			vhu_request_name(m->request), m->size, m->fd_count, verdict.severity,
			verdict.text, severity);
	if (severity == VHU_ACCEPT) {
		assert_string_equal(verdict.text, "");
		return;
	}
	assert_true(strlen(verdict.text) > 10);
	assert_true(strlen(verdict.text) < sizeof(verdict.text) - 1);
	assert_null(strchr(verdict.text, '\n'));
	if (vhu_request_rule(m->request) != NULL)
		assert_non_null(strstr(verdict.text, vhu_request_name(m->request)));
}

static void
expect_text(const struct vhu_message *m, const char *text)
{
	struct vhu_gates gates = test_gates_open();

	assert_string_equal(vhu_message_check(m, &gates).text, text);
}

static void
well_formed_message_of_each_request_is_accepted(void **state)
{
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m;

	(void)state;
	EACH_REQUEST(request) {
		test_message(&m, request);
		expect(&m, &gates, VHU_ACCEPT);
	}
}

/* Sizes that the contract allows besides the one that test_message() chooses. */
static bool
size_is_right(uint32_t request, uint32_t size)
{
	const struct vhu_request_rule *rule = vhu_request_rule(request);

	switch (request) {
	case VHU_SET_MEM_TABLE:
		return size == 8 + 2 * 32;
	case VHU_GET_CONFIG:
	case VHU_SET_CONFIG:
		return size == 12 + 8;
	case VHU_CREATE_CRYPTO_SESSION:
		return size > 0;
	default:
		return size == rule->size_min || size == rule->size_max;
	}
}

static void
each_wrong_size_is_a_fault(void **state)
{
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m;
	uint32_t size;

	(void)state;
	EACH_REQUEST(request) {
		for (size = 0; size <= VHU_PAYLOAD_MAX; size++) {
			test_message(&m, request);
			m.size = size;
			expect(&m, &gates, size_is_right(request, size) ?
				VHU_ACCEPT : VHU_REFUSE_FAULT);
		}
	}
}

static void
memory_table_of_each_count_needs_its_own_size(void **state)
{
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m;
	uint32_t count;

	(void)state;
	for (count = 0; count <= 8; count++) {
		test_message(&m, VHU_SET_MEM_TABLE);
		m.payload.table.count = m.fd_count = count;
		m.size = 8 + 32 * count;
		expect(&m, &gates, VHU_ACCEPT);
		m.size += 32;
		expect(&m, &gates, VHU_REFUSE_FAULT);
	}
}

static void
memory_table_of_more_than_eight_regions_is_a_fault(void **state)
{
	static const uint32_t counts[] = { 9, 32, 33, 0x08000000u, UINT32_MAX };
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m;
	unsigned int i;

	(void)state;
	for (i = 0; i < COUNT(counts); i++) {
		test_message(&m, VHU_SET_MEM_TABLE);
		m.payload.table.count = counts[i];
		/* Including the size that fits if 32 * count wraps to 0. */
		for (m.size = 8; m.size <= 264; m.size += 32)
			expect(&m, &gates, VHU_REFUSE_FAULT);
	}
}

static void
configuration_longer_than_the_space_is_a_fault(void **state)
{
	static const uint32_t sizes[] = { 257, 0x7fffffffu, 0xfffffff4u, UINT32_MAX };
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m;
	unsigned int i;

	(void)state;
	for (i = 0; i < COUNT(sizes); i++) {
		test_message(&m, VHU_GET_CONFIG);
		m.payload.config.size = sizes[i];
		expect(&m, &gates, VHU_REFUSE_FAULT);
		m.size = sizes[i] + 12; /* may wrap, to 0 for one of them */
		expect(&m, &gates, VHU_REFUSE_FAULT);
	}
	test_message(&m, VHU_GET_CONFIG);
	m.payload.config.size = 256;
	m.size = 268;
	expect(&m, &gates, VHU_ACCEPT);
}

static void
descriptors_of_messages_that_take_none_are_tolerated(void **state)
{
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m;
	uint16_t count;

	(void)state;
	EACH_REQUEST(request) {
		if (vhu_request_rule(request)->fd_max != 0)
			continue;
		for (count = 0; count <= VHU_MESSAGE_FDS; count++) {
			test_message(&m, request);
			m.fd_count = count;
			expect(&m, &gates, VHU_ACCEPT);
		}
	}
}

static void
wrong_number_of_descriptors_is_refused(void **state)
{
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m;
	uint16_t count;

	(void)state;
	EACH_REQUEST(request) {
		const struct vhu_request_rule *rule = vhu_request_rule(request);

		if (rule->fd_max == 0)
			continue;
		for (count = 0; count <= VHU_MESSAGE_FDS; count++) {
			uint16_t right;
			bool tolerated = request == VHU_REM_MEM_REG && count == 0;

			test_message(&m, request);
			right = m.fd_count;
			m.fd_count = count;
			expect(&m, &gates, count == right || tolerated ? VHU_ACCEPT : VHU_REFUSE);
		}
	}
}

static void
ring_descriptor_comes_exactly_if_nofd_is_clear(void **state)
{
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m;

	(void)state;
	for (uint32_t request = VHU_SET_VRING_KICK; request <= VHU_SET_VRING_ERR; request++) {
		test_message(&m, request);
		m.fd_count = 0;
		expect(&m, &gates, VHU_REFUSE);
		m.payload.u64 = VHU_VRING_NOFD | 1;
		expect(&m, &gates, VHU_ACCEPT);
		m.fd_count = 1;
		expect(&m, &gates, VHU_REFUSE);
	}
}

static void
log_base_without_log_shmfd_comes_without_descriptor(void **state)
{
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m;

	(void)state;
	test_message(&m, VHU_SET_LOG_BASE);
	m.fd_count = 0;
	expect(&m, &gates, VHU_REFUSE);
	gates.protocol_features &= ~VHU_BIT(VHU_PROTOCOL_LOG_SHMFD);
	expect(&m, &gates, VHU_ACCEPT);
}

static void
truncated_descriptors_are_a_fault_of_any_message(void **state)
{
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m;

	(void)state;
	EACH_REQUEST(request) {
		test_message(&m, request);
		m.fds_truncated = true;
		expect(&m, &gates, VHU_REFUSE_FAULT);
	}
}

static void
gate_that_is_shut_refuses_without_fault(void **state)
{
	struct vhu_message m;

	(void)state;
	EACH_REQUEST(request) {
		const struct vhu_request_rule *rule = vhu_request_rule(request);
		struct vhu_gates gates = test_gates_open();
		bool gated = rule->gate_protocol >= 0 || rule->gate_feature >= 0;

		if (rule->gate_protocol >= 0)
			gates.protocol_features &= ~VHU_BIT(rule->gate_protocol);
		if (rule->gate_feature >= 0)
			gates.features &= ~VHU_BIT(rule->gate_feature);
		test_message(&m, request);
		expect(&m, &gates, gated ? VHU_REFUSE : VHU_ACCEPT);
	}
}

static void
only_its_own_gate_is_needed(void **state)
{
	struct vhu_message m;

	(void)state;
	EACH_REQUEST(request) {
		const struct vhu_request_rule *rule = vhu_request_rule(request);
		struct vhu_gates gates = { 0, 0, TEST_RINGS };

		if (rule->gate_protocol >= 0)
			gates.protocol_features = VHU_BIT(rule->gate_protocol);
		if (rule->gate_feature >= 0)
			gates.features = VHU_BIT(rule->gate_feature);
		test_message(&m, request);
		if (request == VHU_SET_LOG_BASE)
			m.fd_count = 0;
		expect(&m, &gates, VHU_ACCEPT);
	}
}

static void
ring_index_outside_the_device_is_a_fault(void **state)
{
	static const uint32_t outside[] = { TEST_RINGS, 255, 256, 0x80000000u, UINT32_MAX };
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m;
	unsigned int i;

	(void)state;
	EACH_REQUEST(request) {
		if (!(vhu_request_rule(request)->flags & VHU_RULE_INDEX))
			continue;
		test_message(&m, request);
		m.payload.state.index = TEST_RINGS - 1;
		expect(&m, &gates, VHU_ACCEPT);
		for (i = 0; i < COUNT(outside); i++) {
			m.payload.state.index = outside[i];
			expect(&m, &gates, VHU_REFUSE_FAULT);
		}
	}
}

static void
eight_bit_ring_index_outside_the_device_is_a_fault(void **state)
{
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m;
	unsigned int index;

	(void)state;
	for (uint32_t request = VHU_SET_VRING_KICK; request <= VHU_SET_VRING_ERR; request++) {
		for (index = 0; index < 256; index++) {
			test_message(&m, request);
			m.payload.u64 = index;
			expect(&m, &gates, index < TEST_RINGS ? VHU_ACCEPT : VHU_REFUSE_FAULT);
			m.payload.u64 |= VHU_VRING_NOFD;
			m.fd_count = 0;
			expect(&m, &gates, index < TEST_RINGS ? VHU_ACCEPT : VHU_REFUSE_FAULT);
		}
	}
	gates.ring_count = 256;
	test_message(&m, VHU_SET_VRING_KICK);
	m.payload.u64 = 255;
	expect(&m, &gates, VHU_ACCEPT);
}

static void
unknown_request_is_a_fault_whatever_comes_with_it(void **state)
{
	static const uint32_t unknown[] = { 0, 46, 1000, 0x80000001u, UINT32_MAX };
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m;
	unsigned int i;

	(void)state;
	for (i = 0; i < COUNT(unknown); i++) {
		test_message(&m, unknown[i]);
		expect(&m, &gates, VHU_REFUSE_FAULT);
		m.size = 8;
		m.fd_count = 8;
		m.flags |= VHU_FLAG_NEED_REPLY;
		expect(&m, &gates, VHU_REFUSE_FAULT);
	}
}

static void
other_version_is_a_fault(void **state)
{
	static const uint32_t versions[] = { 0, 2, 3 };
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m;
	unsigned int i;

	(void)state;
	EACH_REQUEST(request) {
		for (i = 0; i < COUNT(versions); i++) {
			test_message(&m, request);
			m.flags = versions[i];
			expect(&m, &gates, VHU_REFUSE_FAULT);
		}
	}
}

static void
reply_that_nobody_asked_for_is_a_fault(void **state)
{
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m;

	(void)state;
	EACH_REQUEST(request) {
		test_message(&m, request);
		m.flags |= VHU_FLAG_REPLY;
		expect(&m, &gates, VHU_REFUSE_FAULT);
	}
}

static void
reserved_flags_are_ignored(void **state)
{
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m;

	(void)state;
	EACH_REQUEST(request) {
		test_message(&m, request);
		m.flags |= 0xfffffff0u | VHU_FLAG_NEED_REPLY;
		expect(&m, &gates, VHU_ACCEPT);
	}
}

static void
refusal_tells_what_was_seen_and_what_is_allowed(void **state)
{
	struct vhu_message m;

	(void)state;
	test_message(&m, VHU_SET_VRING_NUM);
	m.size = 7;
	expect_text(&m, "SET_VRING_NUM has 7 bytes of payload, 8 are required");
	m.size = 8;
	m.payload.state.index = 9;
	expect_text(&m, "SET_VRING_NUM names ring 9, the device has 4");
	test_message(&m, VHU_SET_INFLIGHT_FD);
	m.size = 21;
	expect_text(&m, "SET_INFLIGHT_FD has 21 bytes of payload, 20 or 24 are required");
	test_message(&m, VHU_SET_MEM_TABLE);
	m.fd_count = 3;
	expect_text(&m, "SET_MEM_TABLE came with 3 descriptors, 2 are required");
	test_message(&m, VHU_REM_MEM_REG);
	m.fd_count = 2;
	expect_text(&m, "REM_MEM_REG came with 2 descriptors, 0 to 1 are allowed");
	test_message(&m, 46);
	expect_text(&m, "request 46 does not exist, known are 1 to 45");
}

static void
shut_gate_is_named(void **state)
{
	struct vhu_gates gates = { 0, 0, TEST_RINGS };
	struct vhu_message m;

	(void)state;
	test_message(&m, VHU_ADD_MEM_REG);
	assert_string_equal(vhu_message_check(&m, &gates).text,
		"ADD_MEM_REG needs protocol feature CONFIGURE_MEM_SLOTS, which was not negotiated");
	test_message(&m, VHU_SET_VRING_ENABLE);
	assert_string_equal(vhu_message_check(&m, &gates).text,
		"SET_VRING_ENABLE needs virtio feature PROTOCOL_FEATURES, which was not acknowledged");
}

static struct vhu_verdict
decode_header(uint32_t request, uint32_t flags, uint32_t size, struct vhu_message *m)
{
	struct vhu_wire_header header = { request, flags, size };

	return vhu_header_decode((const uint8_t *)&header, m);
}

static void
header_is_decoded_and_nothing_else_touched(void **state)
{
	struct vhu_message m;

	(void)state;
	memset(&m, 0x5a, sizeof(m));
	assert_int_equal(decode_header(37, 9, 40, &m).severity, VHU_ACCEPT);
	assert_int_equal(m.request, 37);
	assert_int_equal(m.flags, 9);
	assert_int_equal(m.size, 40);
	assert_int_equal(m.fd_count, 0x5a5a);
	assert_int_equal(m.payload.bytes[0], 0x5a);
}

static void
payload_that_cannot_be_read_closes_the_connection(void **state)
{
	static const uint32_t sizes[] = { 2057, 0x7fffffffu, UINT32_MAX };
	struct vhu_verdict verdict;
	struct vhu_message m;
	unsigned int i;

	(void)state;
	for (i = 0; i < COUNT(sizes); i++)
		assert_int_equal(decode_header(2, 1, sizes[i], &m).severity, VHU_REFUSE_CLOSE);
	verdict = decode_header(2, 1, 2057, &m);
	assert_string_equal(verdict.text,
		"SET_FEATURES (2) announces 2057 bytes of payload, at most 2056 can be read");
}

static void
payload_that_is_too_long_but_readable_keeps_the_stream(void **state)
{
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m;

	(void)state;
	test_message(&m, VHU_SET_FEATURES);
	assert_int_equal(decode_header(2, 1, 273, &m).severity, VHU_ACCEPT);
	expect(&m, &gates, VHU_REFUSE_FAULT);
	assert_int_equal(decode_header(2, 1, 2056, &m).severity, VHU_ACCEPT);
	expect(&m, &gates, VHU_REFUSE_FAULT);
}

static void
open_message(struct vhu_message *m, uint16_t count)
{
	test_message(m, VHU_SET_OWNER);
	for (m->fd_count = 0; m->fd_count < count; m->fd_count++) {
		m->fds[m->fd_count] = open("/dev/null", O_RDWR | O_CLOEXEC);
		assert_true(m->fds[m->fd_count] >= 0);
	}
}

static void
close_closes_all_descriptors_of_the_message(void **state)
{
	unsigned int before = unit_open_fds();
	struct vhu_message m;

	(void)state;
	open_message(&m, VHU_MESSAGE_FDS);
	assert_int_equal(unit_open_fds(), before + VHU_MESSAGE_FDS);
	vhu_message_close(&m);
	assert_int_equal(unit_open_fds(), before);
}

static void
taken_descriptor_survives_close(void **state)
{
	unsigned int before = unit_open_fds();
	struct vhu_message m;
	int fd;

	(void)state;
	open_message(&m, 3);
	fd = vhu_message_take_fd(&m, 1);
	vhu_message_close(&m);
	assert_int_equal(unit_open_fds(), before + 1);
	assert_true(fcntl(fd, F_GETFD) >= 0);
	close(fd);
}

static void
descriptor_is_taken_only_once(void **state)
{
	struct vhu_message m;
	int fd;

	(void)state;
	open_message(&m, 1);
	fd = vhu_message_take_fd(&m, 0);
	assert_true(fd >= 0);
	assert_int_equal(vhu_message_take_fd(&m, 0), -1);
	close(fd);
}

static void
descriptor_that_did_not_come_cannot_be_taken(void **state)
{
	struct vhu_message m;

	(void)state;
	test_message(&m, VHU_SET_OWNER);
	/* stale entries beyond the count: 0 is a real descriptor */
	memset(m.fds, 0, sizeof(m.fds));
	m.fd_count = 2;
	assert_int_equal(vhu_message_take_fd(&m, 2), -1);
	assert_int_equal(vhu_message_take_fd(&m, UINT32_MAX), -1);
}

static void
closing_twice_closes_nothing_of_others(void **state)
{
	struct vhu_message m;
	int number, other;

	(void)state;
	open_message(&m, 1);
	number = m.fds[0];
	vhu_message_close(&m);
	other = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(other, number);
	vhu_message_close(&m);
	assert_true(fcntl(other, F_GETFD) >= 0);
	close(other);
}

static void
long_refusal_is_cut_and_terminated(void **state)
{
	struct vhu_verdict verdict = vhu_refuse(VHU_REFUSE, "%0300d", 1);

	(void)state;
	assert_int_equal(verdict.severity, VHU_REFUSE);
	assert_int_equal(strlen(verdict.text), sizeof(verdict.text) - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(well_formed_message_of_each_request_is_accepted),
		cmocka_unit_test(each_wrong_size_is_a_fault),
		cmocka_unit_test(memory_table_of_each_count_needs_its_own_size),
		cmocka_unit_test(memory_table_of_more_than_eight_regions_is_a_fault),
		cmocka_unit_test(configuration_longer_than_the_space_is_a_fault),
		cmocka_unit_test(descriptors_of_messages_that_take_none_are_tolerated),
		cmocka_unit_test(wrong_number_of_descriptors_is_refused),
		cmocka_unit_test(ring_descriptor_comes_exactly_if_nofd_is_clear),
		cmocka_unit_test(log_base_without_log_shmfd_comes_without_descriptor),
		cmocka_unit_test(truncated_descriptors_are_a_fault_of_any_message),
		cmocka_unit_test(gate_that_is_shut_refuses_without_fault),
		cmocka_unit_test(only_its_own_gate_is_needed),
		cmocka_unit_test(ring_index_outside_the_device_is_a_fault),
		cmocka_unit_test(eight_bit_ring_index_outside_the_device_is_a_fault),
		cmocka_unit_test(unknown_request_is_a_fault_whatever_comes_with_it),
		cmocka_unit_test(other_version_is_a_fault),
		cmocka_unit_test(reply_that_nobody_asked_for_is_a_fault),
		cmocka_unit_test(reserved_flags_are_ignored),
		cmocka_unit_test(refusal_tells_what_was_seen_and_what_is_allowed),
		cmocka_unit_test(shut_gate_is_named),
		cmocka_unit_test(header_is_decoded_and_nothing_else_touched),
		cmocka_unit_test(payload_that_cannot_be_read_closes_the_connection),
		cmocka_unit_test(payload_that_is_too_long_but_readable_keeps_the_stream),
		cmocka_unit_test(close_closes_all_descriptors_of_the_message),
		cmocka_unit_test(taken_descriptor_survives_close),
		cmocka_unit_test(descriptor_is_taken_only_once),
		cmocka_unit_test(descriptor_that_did_not_come_cannot_be_taken),
		cmocka_unit_test(closing_twice_closes_nothing_of_others),
		cmocka_unit_test(long_refusal_is_cut_and_terminated),
	};

	return cmocka_run_group_tests_name("wire/decode", tests, NULL, NULL);
}
