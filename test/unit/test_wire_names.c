/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Names of requests and feature bits: right, unique, and there for any number. */

#include <string.h>

#include <vhu.h>

#include "unit.h"
#include "wire/message.h"

static void
known_requests_have_their_names(void **state)
{
	(void)state;
	assert_string_equal(vhu_request_name(VHU_SET_VRING_NUM), "SET_VRING_NUM");
	assert_string_equal(vhu_request_name(45), "GET_VRING_BASE_SKIP_DRAIN");
	assert_string_equal(vhu_backend_request_name(10), "BACKEND_SHMEM_UNMAP");
}

static void
unknown_requests_are_called_so(void **state)
{
	static const uint32_t unknown[] = { 0, 46, 0x80000001u, UINT32_MAX };
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		assert_string_equal(vhu_request_name(unknown[i]), "unknown request");
		assert_string_equal(vhu_backend_request_name(unknown[i]), "unknown request");
	}
	assert_string_equal(vhu_backend_request_name(11), "unknown request");
}

static void
virtio_features_have_their_names(void **state)
{
	(void)state;
	assert_string_equal(vhu_feature_name(0), "CSUM");
	assert_string_equal(vhu_feature_name(15), "MRG_RXBUF");
	assert_string_equal(vhu_feature_name(22), "MQ");
	assert_string_equal(vhu_feature_name(26), "LOG_ALL");
	assert_string_equal(vhu_feature_name(28), "INDIRECT_DESC");
	assert_string_equal(vhu_feature_name(29), "EVENT_IDX");
	assert_string_equal(vhu_feature_name(30), "PROTOCOL_FEATURES");
	assert_string_equal(vhu_feature_name(32), "VERSION_1");
	assert_string_equal(vhu_feature_name(34), "RING_PACKED");
	assert_string_equal(vhu_feature_name(56), "HOST_USO");
	assert_string_equal(vhu_feature_name(63), "SPEED_DUPLEX");
}

static void
protocol_features_have_their_names(void **state)
{
	(void)state;
	assert_string_equal(vhu_protocol_feature_name(0), "MQ");
	assert_string_equal(vhu_protocol_feature_name(3), "REPLY_ACK");
	assert_string_equal(vhu_protocol_feature_name(15), "CONFIGURE_MEM_SLOTS");
	assert_string_equal(vhu_protocol_feature_name(23), "GET_VRING_BASE_SKIP_DRAIN");
}

static void
bits_without_a_name_are_numbered(void **state)
{
	(void)state;
	assert_string_equal(vhu_feature_name(4), "bit 4");
	assert_string_equal(vhu_feature_name(49), "bit 49");
	assert_string_equal(vhu_feature_name(50), "DEVICE_STATS");
	assert_string_equal(vhu_feature_name(51), "HASH_TUNNEL");
	assert_string_equal(vhu_protocol_feature_name(24), "bit 24");
	assert_string_equal(vhu_protocol_feature_name(63), "bit 63");
}

static void
bits_that_cannot_exist_are_called_so(void **state)
{
	(void)state;
	assert_string_equal(vhu_feature_name(64), "no such bit");
	assert_string_equal(vhu_protocol_feature_name(UINT32_MAX), "no such bit");
}

static void
names_are_unique(void **state)
{
	unsigned int a, b;

	(void)state;
	for (a = 0; a < 64; a++) {
		for (b = 0; b < a; b++) {
			assert_string_not_equal(vhu_feature_name(a), vhu_feature_name(b));
			assert_string_not_equal(vhu_protocol_feature_name(a),
				vhu_protocol_feature_name(b));
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_requests_have_their_names),
		cmocka_unit_test(unknown_requests_are_called_so),
		cmocka_unit_test(virtio_features_have_their_names),
		cmocka_unit_test(protocol_features_have_their_names),
		cmocka_unit_test(bits_without_a_name_are_numbered),
		cmocka_unit_test(bits_that_cannot_exist_are_called_so),
		cmocka_unit_test(names_are_unique),
	};

	return cmocka_run_group_tests_name("wire/names", tests, NULL, NULL);
}
