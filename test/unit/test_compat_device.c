/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "compat_rig.h"

static uint64_t
get(int request)
{
	uint64_t value;

	rig_write(request, 1, NULL, 0, -1);
	assert_true(vu_dispatch(&rig.dev));
	assert_int_equal(rig_read(request, &value, sizeof(value)), sizeof(value));
	return value;
}

static void
init_and_deinit_call_nothing(void **state)
{
	(void)state;
	vu_deinit(&rig.dev);
	assert_string_equal(rig.log, "");
	assert_int_equal(rig.panics, 0);
	assert_int_equal(rig.watches, 0);
	/* Once more does nothing: the teardown does it again as well. */
	vu_deinit(&rig.dev);
}

static void
features_of_the_library_come_with_those_of_the_device(void **state)
{
	const uint64_t always = BIT(24) | BIT(26) | BIT(28) | BIT(29) | BIT(30) | BIT(32);
	uint64_t offered;

	(void)state;
	offered = get(VHOST_USER_GET_FEATURES);
	assert_int_equal(offered & always, always);
	assert_int_equal(offered & (BIT(33) | BIT(34) | BIT(35)), 0);
	rig.features = BIT(5) | BIT(34);
	assert_int_equal(get(VHOST_USER_GET_FEATURES), offered | BIT(5) | BIT(34));
}

static void
features_that_were_not_offered_are_refused(void **state)
{
	(void)state;
	get(VHOST_USER_GET_FEATURES);
	assert_int_equal(rig_u64(VHOST_USER_SET_FEATURES, BIT(32) | BIT(35), -1), 1);
	assert_int_equal(rig_u64(VHOST_USER_SET_FEATURES, BIT(32) | BIT(49), -1), 1);
	assert_int_equal(rig.dev.features, 0);
}

static void
features_of_the_device_type_need_not_be_offered(void **state)
{
	const uint64_t acked = BIT(32) | BIT(28) | BIT(2) | BIT(23) | BIT(50);

	(void)state;
	/* QEMU's vhost-user-scsi does that with bit 2, hot-plug. */
	get(VHOST_USER_GET_FEATURES);
	assert_int_equal(rig_u64(VHOST_USER_SET_FEATURES, acked, -1), 0);
	assert_int_equal(rig.dev.features, acked);
}

static void
inflight_is_offered_only_if_the_device_asks_for_it(void **state)
{
	(void)state;
	assert_false(get(VHOST_USER_GET_PROTOCOL_FEATURES) >>
		VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD & 1);
	rig.protocol = BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD);
	assert_true(get(VHOST_USER_GET_PROTOCOL_FEATURES) >>
		VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD & 1);
}

static void
unknown_request_is_refused_and_panics_and_the_stream_goes_on(void **state)
{
	uint64_t zero = 0;

	(void)state;
	rig_write(1000, 1 | 8, &zero, sizeof(zero), rig.kick);
	assert_true(vu_dispatch(&rig.dev));
	rig_read(1000, &zero, sizeof(zero));
	assert_int_not_equal(zero, 0);
	assert_int_equal(rig.panics, 1);
	assert_true(get(VHOST_USER_GET_FEATURES) >> 32 & 1);
}

static void
oversized_payload_panics_and_ends_the_connection(void **state)
{
	(void)state;
	rig_write(VHOST_USER_SET_FEATURES, 1, NULL, 0, -1);
	assert_true(vu_dispatch(&rig.dev)); /* refused: too short */
	{
		uint32_t header[3] = { VHOST_USER_SET_FEATURES, 1, 0x7fffffff };

		assert_int_equal(send(rig.peer, header, sizeof(header), 0), sizeof(header));
	}
	assert_false(vu_dispatch(&rig.dev));
	assert_int_equal(rig.panics, 2);
}

static void
hanging_up_panics_once_and_ends_the_connection(void **state)
{
	(void)state;
	shutdown(rig.peer, SHUT_WR);
	assert_false(vu_dispatch(&rig.dev));
	assert_int_equal(rig.panics, 1);
	assert_true(rig.dev.broken);
}

static int
take_none(VuDev *dev, VhostUserMsg *message, int *reply)
{
	(void)dev;
	*reply = 0;
	if (message->request == VHOST_USER_NONE)
		rig_log("none; ", 0, 0);
	return message->request == VHOST_USER_NONE;
}

static void
hanging_up_is_offered_to_the_program_first(void **state)
{
	(void)state;
	rig.iface.process_msg = take_none;
	shutdown(rig.peer, SHUT_WR);
	assert_false(vu_dispatch(&rig.dev));
	assert_string_equal(rig.log, "none; ");
	assert_int_equal(rig.panics, 0);
}

static int
answer_long(VuDev *dev, VhostUserMsg *message, int *reply)
{
	(void)dev;
	if (message->request != VHOST_USER_GPU_SET_SOCKET)
		return 0;
	message->data = calloc(1, 2056);
	message->data[2055] = 0x5a;
	message->size = 2056;
	message->fd_num = 0;
	*reply = 1;
	return 1;
}

static void
program_may_answer_with_more_than_the_union_holds(void **state)
{
	uint8_t answer[2056] = { 0 };

	(void)state;
	rig.iface.process_msg = answer_long;
	rig_write(VHOST_USER_GPU_SET_SOCKET, 1 | 8, NULL, 0, -1);
	assert_true(vu_dispatch(&rig.dev));
	assert_int_equal(rig_read(VHOST_USER_GPU_SET_SOCKET, answer, sizeof(answer)), 2056);
	assert_int_equal(answer[2055], 0x5a);
}

static void
addresses_translate_within_the_table_only(void **state)
{
	uint64_t size = 0x2000;

	(void)state;
	assert_null(vu_gpa_to_va(&rig.dev, &size, RIG_GUEST));
	rig_start();
	assert_non_null(vu_gpa_to_va(&rig.dev, &size, RIG_GUEST));
	assert_int_equal(size, 0x2000);
	assert_non_null(vu_gpa_to_va(&rig.dev, &size, RIG_GUEST + RIG_MEMORY - 1));
	assert_int_equal(size, 1);
	assert_null(vu_gpa_to_va(&rig.dev, &size, RIG_GUEST + RIG_MEMORY));
	assert_null(vu_gpa_to_va(&rig.dev, &size, RIG_GUEST - 1));
	size = 0;
	assert_null(vu_gpa_to_va(&rig.dev, &size, RIG_GUEST));
}

static void
names_of_requests_are_the_usual_ones(void **state)
{
	(void)state;
	assert_string_equal(vu_request_to_string(VHOST_USER_NONE), "VHOST_USER_NONE");
	assert_string_equal(vu_request_to_string(VHOST_USER_SET_VRING_KICK),
		"VHOST_USER_SET_VRING_KICK");
	assert_string_equal(vu_request_to_string(VHOST_USER_RESET_DEVICE),
		"VHOST_USER_RESET_DEVICE");
	assert_non_null(vu_request_to_string(12345));
}

static void
layouts_are_those_of_the_interface(void **state)
{
	(void)state;
	assert_int_equal(sizeof(VhostUserMsg), 328);
	assert_int_equal(VHOST_USER_HDR_SIZE, 12);
	assert_int_equal(VHOST_USER_CONFIG_HDR_SIZE, 12);
	assert_int_equal(sizeof(VhostUserMemory), 264);
	assert_int_equal(sizeof(VhostUserMemRegMsg), 40);
	assert_int_equal(sizeof(VhostUserInflight), 24);
	assert_int_equal(sizeof(VuVirtqElement), 32);
	assert_int_equal(sizeof(VuVirtqInflight), 16);
	assert_int_equal(sizeof(VuDescStateSplit), 16);
	assert_int_equal(VHOST_USER_PROTOCOL_F_SLAVE_REQ, VHOST_USER_PROTOCOL_F_BACKEND_REQ);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(init_and_deinit_call_nothing),
		RIG_TEST(features_of_the_library_come_with_those_of_the_device),
		RIG_TEST(features_that_were_not_offered_are_refused),
		RIG_TEST(features_of_the_device_type_need_not_be_offered),
		RIG_TEST(inflight_is_offered_only_if_the_device_asks_for_it),
		RIG_TEST(unknown_request_is_refused_and_panics_and_the_stream_goes_on),
		RIG_TEST(oversized_payload_panics_and_ends_the_connection),
		RIG_TEST(hanging_up_panics_once_and_ends_the_connection),
		RIG_TEST(hanging_up_is_offered_to_the_program_first),
		RIG_TEST(program_may_answer_with_more_than_the_union_holds),
		RIG_TEST(addresses_translate_within_the_table_only),
		RIG_TEST(names_of_requests_are_the_usual_ones),
		RIG_TEST(layouts_are_those_of_the_interface),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
