/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Replies: when there is one, what a failure of each kind looks like, and what goes on the wire. */

#include <stdbool.h>

#include "messages.h"
#include "unit.h"

#define EACH_REQUEST(request) \
	for (uint32_t request = 1; request < VHU_REQUESTS; request++)

/* What a front-end compares the flags of a reply with. */
#define REPLY_FLAGS 0x5u

/* Requests that have an answer of their own, of which 6 depends on LOG_SHMFD. */
static bool
has_own_reply(uint32_t request)
{
	static const uint8_t own[] = { 1, 6, 11, 15, 17, 22, 24, 26, 28, 30, 31, 36, 40, 41, 42, 43,
		44, 45 };

	return memchr(own, (int)request, sizeof(own)) != NULL;
}

static void
failure_of(uint32_t request, struct vhu_message *reply)
{
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m;

	test_message(&m, request);
	m.flags |= VHU_FLAG_NEED_REPLY;
	memset(reply, 0x5a, sizeof(*reply));
	vhu_reply_failure(reply, &m, &gates);
	assert_int_equal(reply->request, request);
	assert_int_equal(reply->flags, REPLY_FLAGS);
	assert_int_equal(reply->fd_count, 0);
}

static void
own_replies_are_sent_unasked(void **state)
{
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m;

	(void)state;
	EACH_REQUEST(request) {
		test_message(&m, request);
		assert_int_equal(vhu_reply_wanted(&m, &gates), has_own_reply(request));
	}
}

static void
need_reply_gets_a_reply_to_anything(void **state)
{
	struct vhu_gates shut = { 0 };
	struct vhu_message m;

	(void)state;
	for (uint32_t request = 0; request <= VHU_REQUESTS; request++) {
		test_message(&m, request);
		m.flags |= VHU_FLAG_NEED_REPLY;
		assert_true(vhu_reply_wanted(&m, &shut));
	}
}

static void
unknown_request_is_answered_only_on_demand(void **state)
{
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m;

	(void)state;
	test_message(&m, 1000);
	assert_false(vhu_reply_wanted(&m, &gates));
	assert_int_equal(vhu_reply_kind(&m, &gates), VHU_REPLY_ACK);
}

static void
log_base_has_its_own_reply_only_with_log_shmfd(void **state)
{
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m;

	(void)state;
	test_message(&m, VHU_SET_LOG_BASE);
	assert_int_equal(vhu_reply_kind(&m, &gates), VHU_REPLY_U64);
	assert_true(vhu_reply_wanted(&m, &gates));
	gates.protocol_features &= ~VHU_BIT(VHU_PROTOCOL_LOG_SHMFD);
	assert_int_equal(vhu_reply_kind(&m, &gates), VHU_REPLY_ACK);
	assert_false(vhu_reply_wanted(&m, &gates));
}

static void
listening_memory_is_answered_with_addresses_until_go(void **state)
{
	static const uint32_t requests[] = { VHU_SET_MEM_TABLE, VHU_ADD_MEM_REG };
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m, reply;
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		test_message(&m, requests[i]);
		gates.listening = false;
		assert_false(vhu_reply_wanted(&m, &gates));
		gates.listening = true;
		assert_true(vhu_reply_wanted(&m, &gates));
		assert_int_equal(vhu_reply_kind(&m, &gates), VHU_REPLY_MEMORY);
		assert_int_equal(vhu_message_check(&m, &gates).severity, VHU_ACCEPT);
		vhu_reply_failure(&reply, &m, &gates);
		assert_int_equal(reply.size, 0);
		m.size = 8;
		assert_int_not_equal(vhu_message_check(&m, &gates).severity, VHU_ACCEPT);
		m.fd_count = 0;
		assert_int_equal(vhu_message_check(&m, &gates).severity, VHU_ACCEPT);
		assert_int_equal(vhu_reply_kind(&m, &gates), VHU_REPLY_ACK);
	}
	gates.listening = false;
	assert_int_not_equal(vhu_message_check(&m, &gates).severity, VHU_ACCEPT);
}

static void
reply_begins_empty_with_exact_flags(void **state)
{
	struct vhu_message m, reply;
	unsigned int i;

	(void)state;
	test_message(&m, VHU_GET_FEATURES);
	m.flags = 0xfffffff0u | VHU_FLAG_NEED_REPLY | VHU_FLAG_VERSION;
	memset(&reply, 0x5a, sizeof(reply));
	vhu_reply_init(&reply, &m);
	assert_int_equal(reply.request, VHU_GET_FEATURES);
	assert_int_equal(reply.flags, REPLY_FLAGS);
	assert_int_equal(reply.size, 0);
	assert_int_equal(reply.fd_count, 0);
	for (i = 0; i < VHU_MESSAGE_FDS; i++)
		assert_int_equal(reply.fds[i], -1);
}

static void
u64_reply_carries_its_value(void **state)
{
	struct vhu_message m, reply;

	(void)state;
	test_message(&m, VHU_GET_FEATURES);
	vhu_reply_init(&reply, &m);
	vhu_reply_u64(&reply, 0x123456789abcdef0u);
	assert_int_equal(reply.size, 8);
	assert_true(reply.payload.u64 == 0x123456789abcdef0u);
}

/* Is the answer a set or a number, so that 1 would be an answer? */
static bool
counts(uint32_t request)
{
	return request == VHU_GET_FEATURES || request == VHU_GET_PROTOCOL_FEATURES ||
		request == VHU_GET_QUEUE_NUM || request == VHU_GET_MAX_MEM_SLOTS ||
		request == VHU_GET_STATUS;
}

static void
failed_question_about_a_set_or_number_is_answered_with_none(void **state)
{
	struct vhu_message reply;

	(void)state;
	EACH_REQUEST(request) {
		if (!counts(request))
			continue;
		failure_of(request, &reply);
		assert_int_equal(reply.size, 8);
		assert_int_equal(reply.payload.u64, 0);
	}
}

static void
failed_acknowledgement_or_u64_is_one(void **state)
{
	struct vhu_gates gates = test_gates_open();
	struct vhu_message reply;

	(void)state;
	EACH_REQUEST(request) {
		enum vhu_reply_kind kind;
		struct vhu_message m;

		test_message(&m, request);
		kind = vhu_reply_kind(&m, &gates);
		if ((kind != VHU_REPLY_ACK && kind != VHU_REPLY_U64) ||
				request == VHU_SET_DEVICE_STATE_FD || counts(request))
			continue;
		failure_of(request, &reply);
		assert_int_equal(reply.size, 8);
		assert_int_equal(reply.payload.u64, 1);
	}
}

static void
failed_unknown_request_is_one(void **state)
{
	struct vhu_message reply;

	(void)state;
	failure_of(1000, &reply);
	assert_int_equal(reply.size, 8);
	assert_int_equal(reply.payload.u64, 1);
}

static void
failed_device_state_says_error_and_no_descriptor(void **state)
{
	struct vhu_message reply;

	(void)state;
	failure_of(VHU_SET_DEVICE_STATE_FD, &reply);
	assert_int_equal(reply.size, 8);
	assert_int_not_equal(reply.payload.u64 & 0xff, 0);
	assert_int_equal(reply.payload.u64 & 0x100, 0x100);
}

static void
failed_vring_base_names_the_ring_with_value_zero(void **state)
{
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m, reply;

	(void)state;
	test_message(&m, VHU_GET_VRING_BASE);
	m.payload.state.index = 300;
	m.payload.state.value = 77;
	vhu_reply_failure(&reply, &m, &gates);
	assert_int_equal(reply.size, 8);
	assert_int_equal(reply.payload.state.index, 300);
	assert_int_equal(reply.payload.state.value, 0);
}

static void
failed_config_and_descriptor_replies_are_empty(void **state)
{
	static const uint32_t empty[] = { VHU_GET_CONFIG, VHU_POSTCOPY_ADVISE,
		VHU_GET_SHARED_OBJECT };
	struct vhu_message reply;
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
		failure_of(empty[i], &reply);
		assert_int_equal(reply.size, 0);
	}
}

static void
failed_inflight_echoes_the_area_with_size_zero(void **state)
{
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m, reply;
	uint32_t size;

	(void)state;
	for (size = 20; size <= 24; size += 4) {
		test_message(&m, VHU_GET_INFLIGHT_FD);
		m.size = size;
		m.payload.inflight.size = 4096;
		m.payload.inflight.queue_count = 3;
		m.payload.inflight.queue_size = 256;
		vhu_reply_failure(&reply, &m, &gates);
		assert_int_equal(reply.size, size);
		assert_true(reply.payload.inflight.size == 0);
		assert_int_equal(reply.payload.inflight.queue_count, 3);
		assert_int_equal(reply.payload.inflight.queue_size, 256);
	}
}

static void
failed_shared_memory_table_is_empty_and_whole(void **state)
{
	struct vhu_message reply;
	size_t i;

	(void)state;
	failure_of(VHU_GET_SHMEM_CONFIG, &reply);
	assert_int_equal(reply.size, 2056);
	for (i = 0; i < reply.size; i++)
		assert_int_equal(reply.payload.bytes[i], 0);
}

/* Front-ends want the size that they sent and a negative number, which some have at the end. */
static void
failed_session_is_as_long_as_it_was_with_number_minus_one(void **state)
{
	static const uint32_t sizes[] = { 8, 64, 700, 1113, VHU_PAYLOAD_MAX };
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m, reply;
	int64_t first, last;
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		test_message(&m, VHU_CREATE_CRYPTO_SESSION);
		m.size = sizes[i];
		memset(&m.payload, 0x5a, sizeof(m.payload));
		vhu_reply_failure(&reply, &m, &gates);
		assert_int_equal(reply.size, sizes[i]);
		memcpy(&first, reply.payload.bytes, sizeof(first));
		memcpy(&last, reply.payload.bytes + reply.size - sizeof(last), sizeof(last));
		assert_int_equal(first, -1);
		assert_int_equal(last, -1);
		assert_null(memchr(reply.payload.bytes, 0x5a, reply.size)); /* the key */
	}
	m.size = 0;
	vhu_reply_failure(&reply, &m, &gates);
	assert_int_equal(reply.size, 8);
}

static void
failure_echoes_nothing_that_did_not_arrive(void **state)
{
	static const uint32_t echoing[] = { VHU_GET_VRING_BASE, VHU_GET_INFLIGHT_FD };
	struct vhu_gates gates = test_gates_open();
	struct vhu_message m, reply;
	unsigned int i;
	size_t byte;

	(void)state;
	for (i = 0; i < sizeof(echoing) / sizeof(echoing[0]); i++) {
		test_message(&m, echoing[i]);
		memset(&m.payload, 0x5a, sizeof(m.payload)); /* what an earlier message left */
		m.size = 0;
		vhu_reply_failure(&reply, &m, &gates);
		assert_true(reply.size > 0);
		for (byte = 0; byte < reply.size; byte++)
			assert_int_equal(reply.payload.bytes[byte], 0);
	}
}

static void
backend_request_begins_zeroed(void **state)
{
	struct vhu_message m;
	size_t i;

	(void)state;
	memset(&m, 0x5a, sizeof(m));
	vhu_backend_request_init(&m, VHU_BACKEND_CONFIG_CHANGE, 0, false);
	assert_int_equal(m.request, 2);
	assert_int_equal(m.flags, 0x1);
	assert_int_equal(m.size, 0);
	vhu_backend_request_init(&m, VHU_BACKEND_SHMEM_MAP, 40, true);
	assert_int_equal(m.flags, 0x9);
	assert_int_equal(m.size, 40);
	assert_int_equal(m.fd_count, 0);
	for (i = 0; i < sizeof(m.payload); i++)
		assert_int_equal(m.payload.bytes[i], 0);
}

static void
encoded_message_decodes_to_itself(void **state)
{
	uint8_t bytes[sizeof(struct vhu_wire_header) + VHU_PAYLOAD_MAX];
	struct vhu_message m, again;
	size_t i, size;

	(void)state;
	EACH_REQUEST(request) {
		test_message(&m, request);
		for (i = 0; i < m.size; i++)
			m.payload.bytes[i] = (uint8_t)(i + request);
		size = vhu_message_encode(&m, bytes, sizeof(bytes));
		assert_int_equal(size, sizeof(struct vhu_wire_header) + m.size);
		assert_int_equal(vhu_header_decode(bytes, &again).severity, VHU_ACCEPT);
		assert_int_equal(again.request, m.request);
		assert_int_equal(again.flags, m.flags);
		assert_int_equal(again.size, m.size);
		assert_memory_equal(
			bytes + sizeof(struct vhu_wire_header), m.payload.bytes, m.size);
	}
}

static void
message_that_does_not_fit_is_not_encoded(void **state)
{
	struct vhu_message m;
	uint8_t bytes[20];
	size_t room;

	(void)state;
	test_message(&m, VHU_SET_FEATURES);
	memset(bytes, 0x5a, sizeof(bytes));
	for (room = 0; room < sizeof(bytes); room++)
		assert_int_equal(vhu_message_encode(&m, bytes, room), 0);
	for (room = 0; room < sizeof(bytes); room++)
		assert_int_equal(bytes[room], 0x5a);
	assert_int_equal(vhu_message_encode(&m, bytes, sizeof(bytes)), sizeof(bytes));
}

static void
size_beyond_the_payload_is_not_encoded(void **state)
{
	static uint8_t bytes[2 * sizeof(struct vhu_message)];
	struct vhu_message m;

	(void)state;
	test_message(&m, VHU_SET_FEATURES);
	m.size = VHU_PAYLOAD_MAX + 1;
	assert_int_equal(vhu_message_encode(&m, bytes, sizeof(bytes)), 0);
	m.size = UINT32_MAX;
	assert_int_equal(vhu_message_encode(&m, bytes, SIZE_MAX), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_replies_are_sent_unasked),
		cmocka_unit_test(need_reply_gets_a_reply_to_anything),
		cmocka_unit_test(unknown_request_is_answered_only_on_demand),
		cmocka_unit_test(listening_memory_is_answered_with_addresses_until_go),
		cmocka_unit_test(log_base_has_its_own_reply_only_with_log_shmfd),
		cmocka_unit_test(reply_begins_empty_with_exact_flags),
		cmocka_unit_test(u64_reply_carries_its_value),
		cmocka_unit_test(failed_acknowledgement_or_u64_is_one),
		cmocka_unit_test(failed_question_about_a_set_or_number_is_answered_with_none),
		cmocka_unit_test(failed_unknown_request_is_one),
		cmocka_unit_test(failed_device_state_says_error_and_no_descriptor),
		cmocka_unit_test(failed_vring_base_names_the_ring_with_value_zero),
		cmocka_unit_test(failed_config_and_descriptor_replies_are_empty),
		cmocka_unit_test(failed_inflight_echoes_the_area_with_size_zero),
		cmocka_unit_test(failed_shared_memory_table_is_empty_and_whole),
		cmocka_unit_test(failed_session_is_as_long_as_it_was_with_number_minus_one),
		cmocka_unit_test(failure_echoes_nothing_that_did_not_arrive),
		cmocka_unit_test(backend_request_begins_zeroed),
		cmocka_unit_test(encoded_message_decodes_to_itself),
		cmocka_unit_test(message_that_does_not_fit_is_not_encoded),
		cmocka_unit_test(size_beyond_the_payload_is_not_encoded),
	};

	return cmocka_run_group_tests_name("wire/encode", tests, NULL, NULL);
}
