/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "device_rig.h"

static uint64_t
ask(uint32_t request)
{
	return rig_ask(request, NULL, 0, -1);
}

static void
get_features_offers_what_was_configured_and_bit_30(void **state)
{
	(void)state;
	assert_int_equal(ask(VHU_GET_FEATURES), RIG_OFFER | RIG_PROTOCOL);
}

static void
offer_may_change_and_leaves_what_was_acknowledged(void **state)
{
	const uint64_t more = RIG_FEATURES | VHU_BIT(VIRTIO_RING_F_EVENT_IDX);

	(void)state;
	rig_negotiate();
	vhu_device_offer(rig.device, more, VHU_BIT(VHU_PROTOCOL_REPLY_ACK));
	assert_int_equal(ask(VHU_GET_FEATURES), more | RIG_PROTOCOL);
	assert_int_equal(ask(VHU_GET_PROTOCOL_FEATURES), VHU_BIT(VHU_PROTOCOL_REPLY_ACK));
	assert_int_equal(vhu_device_features(rig.device), RIG_FEATURES | RIG_PROTOCOL);
}

static void
features_not_offered_are_refused(void **state)
{
	(void)state;
	rig_negotiate();
	assert_int_equal(rig_u64(VHU_SET_FEATURES,
		RIG_FEATURES | VHU_BIT(VIRTIO_RING_F_EVENT_IDX)), 1);
	assert_int_equal(vhu_device_features(rig.device), RIG_FEATURES | RIG_PROTOCOL);
}

static void
features_without_version_1_are_refused_and_with_it_accepted_later(void **state)
{
	(void)state;
	assert_int_equal(rig_u64(VHU_SET_FEATURES, RIG_PROTOCOL), 1);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, 0), 1);
	assert_int_equal(vhu_device_features(rig.device), 0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, RIG_FEATURES | RIG_PROTOCOL), 0);
	assert_int_equal(vhu_device_features(rig.device), RIG_FEATURES | RIG_PROTOCOL);
}

static void
features_without_version_1_are_accepted_by_a_device_for_legacy_drivers(void **state)
{
	(void)state;
	rig.legacy = true;
	rig_renew_device();
	assert_int_equal(rig_u64(VHU_SET_FEATURES, RIG_PROTOCOL), 0);
	assert_int_equal(vhu_device_features(rig.device), RIG_PROTOCOL);
}

static void
features_event_comes_on_change_only(void **state)
{
	(void)state;
	rig_u64(VHU_SET_FEATURES, RIG_FEATURES | RIG_PROTOCOL);
	assert_string_equal(rig.told, "features=140008000; ");
	rig_u64(VHU_SET_FEATURES, RIG_FEATURES | RIG_PROTOCOL);
	assert_string_equal(rig.told, "features=140008000; ");
}

static void
features_may_be_repeated_but_not_changed_while_a_ring_is_started(void **state)
{
	(void)state;
	rig_run_ring(0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, RIG_FEATURES | RIG_PROTOCOL), 0);
	assert_int_equal(
		rig_u64(VHU_SET_FEATURES, VHU_BIT(VIRTIO_F_VERSION_1) | RIG_PROTOCOL), 1);
	assert_int_equal(vhu_device_features(rig.device), RIG_FEATURES | RIG_PROTOCOL);
	assert_true(vhu_device_ring_running(rig.device, 0));
}

static void
features_without_bit_30_enable_all_rings(void **state)
{
	unsigned int i;

	(void)state;
	assert_int_equal(rig_u64(VHU_SET_FEATURES, RIG_FEATURES), 0);
	for (i = 0; i < RIG_RINGS; i++)
		assert_true(rig_info(i).enabled);
	assert_string_equal(rig.told, "features=100008000; ring enabled 0=0; "
		"ring enabled 1=0; ring enabled 2=0; ring enabled 3=0; ");
}

static void
features_with_bit_30_neither_enable_nor_disable(void **state)
{
	(void)state;
	rig_negotiate();
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, 1, 1), 0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, RIG_FEATURES | RIG_PROTOCOL), 0);
	assert_false(rig_info(0).enabled);
	assert_true(rig_info(1).enabled);
}

static void
features_without_bit_30_run_a_ring_that_reset_owner_disabled(void **state)
{
	(void)state;
	assert_int_equal(rig_u64(VHU_SET_FEATURES, RIG_FEATURES), 0);
	rig_share();
	rig_start_ring(0, 0);
	assert_true(vhu_device_ring_running(rig.device, 0));
	assert_int_equal(ask(VHU_RESET_OWNER), 0);
	assert_ptr_equal(rig_seen(0), &vhu_snapshot_parked);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, RIG_FEATURES), 0);
	assert_true(vhu_device_ring_running(rig.device, 0));
	assert_ptr_equal(rig_seen(0)->burst, rig_burst);
}

static void
protocol_features_work_before_set_features(void **state)
{
	(void)state;
	assert_int_not_equal(ask(VHU_GET_PROTOCOL_FEATURES), 0);
	assert_int_equal(rig.reply.payload.u64 & ~vhu_device_protocol_features(), 0);
	assert_int_equal(
		rig_u64(VHU_SET_PROTOCOL_FEATURES, VHU_BIT(VHU_PROTOCOL_REPLY_ACK)), 0);
	assert_int_equal(vhu_device_negotiated_protocol_features(rig.device),
		VHU_BIT(VHU_PROTOCOL_REPLY_ACK));
}

static void
protocol_features_not_offered_are_refused(void **state)
{
	(void)state;
	assert_int_equal(
		rig_u64(VHU_SET_PROTOCOL_FEATURES, VHU_BIT(VHU_PROTOCOL_CRYPTO_SESSION)), 1);
	assert_int_equal(vhu_device_negotiated_protocol_features(rig.device), 0);
}

static void
protocol_features_may_be_repeated_but_not_changed_while_a_ring_is_started(void **state)
{
	(void)state;
	rig_run_ring(0);
	assert_int_equal(rig_u64(VHU_SET_PROTOCOL_FEATURES, rig_protocol()), 0);
	assert_int_equal(rig_u64(VHU_SET_PROTOCOL_FEATURES, 0), 1);
	assert_int_equal(vhu_device_negotiated_protocol_features(rig.device),
		rig_protocol());
}

static void
what_has_no_operation_is_not_offered(void **state)
{
	uint64_t features;

	(void)state;
	rig.ops.get_config = NULL;
	rig.ops.set_mtu = NULL;
	rig_renew_device();
	features = ask(VHU_GET_PROTOCOL_FEATURES);
	assert_int_equal(features & VHU_BIT(VHU_PROTOCOL_CONFIG), 0);
	assert_int_equal(features & VHU_BIT(VHU_PROTOCOL_NET_MTU), 0);
	assert_int_not_equal(features & VHU_BIT(VHU_PROTOCOL_MQ), 0);
}

static void
queue_num_and_memory_slots_are_told(void **state)
{
	(void)state;
	rig_negotiate();
	assert_int_equal(ask(VHU_GET_QUEUE_NUM), RIG_RINGS / 2);
	assert_int_equal(ask(VHU_GET_MAX_MEM_SLOTS), 509);
}

static void
gated_messages_are_refused_before_negotiation(void **state)
{
	struct vhu_wire_mem_reg add = { .region = rig_region(0, RIG_MEMORY) };

	(void)state;
	assert_int_equal(rig_ask(VHU_ADD_MEM_REG, &add, sizeof(add), rig_dup(rig.memory)), 1);
	assert_int_equal(rig_u64(VHU_NET_SET_MTU, 1500), 1);
	assert_int_equal(vhu_device_map(rig.device)->count, 0);
	/* A refusal that a front-end may try for is no fault. */
	assert_string_equal(rig.told, "");
}

static void
enable_is_refused_without_any_sign_of_bit_30(void **state)
{
	(void)state;
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, 0, 1), 1);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, RIG_FEATURES), 0);
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, 0, 0), 1);
	assert_true(rig_info(0).enabled);
}

static void
enable_is_accepted_between_protocol_features_and_features(void **state)
{
	(void)state;
	assert_int_equal(
		rig_u64(VHU_SET_PROTOCOL_FEATURES, VHU_BIT(VHU_PROTOCOL_REPLY_ACK)), 0);
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	assert_true(rig_info(0).enabled);
}

static void
status_is_kept(void **state)
{
	(void)state;
	rig_negotiate();
	assert_int_equal(rig_u64(VHU_SET_STATUS, 0x0f), 0);
	assert_int_equal(ask(VHU_GET_STATUS), 0x0f);
	assert_int_equal(rig_u64(VHU_SET_STATUS, 0x100), 1);
	assert_int_equal(ask(VHU_GET_STATUS), 0x0f);
}

static void
status_0_leaves_the_position_alone(void **state)
{
	(void)state;
	rig_run_ring(0);
	rig.rings[0].next_avail = 77;
	assert_int_equal(rig_u64(VHU_SET_STATUS, 0), 0);
	assert_true(vhu_device_ring_running(rig.device, 0));
	assert_int_equal(rig_base(0), 77);
}

static uint32_t
ask_config(uint32_t offset, uint32_t size)
{
	struct vhu_wire_config config = { .offset = offset, .size = size };

	rig_send(VHU_GET_CONFIG, 0, &config, 12 + size, NULL, 0);
	return rig.reply.size;
}

static void
config_is_read_from_its_offset(void **state)
{
	(void)state;
	rig_negotiate();
	assert_int_equal(ask_config(4, 8), 20);
	assert_int_equal(rig.reply.payload.config.offset, 4);
	assert_int_equal(rig.reply.payload.config.size, 8);
	assert_int_equal(rig.reply.payload.config.data[0], 4);
	assert_int_equal(rig.reply.payload.config.data[7], 11);
}

static void
config_that_cannot_be_read_is_answered_with_size_0(void **state)
{
	(void)state;
	rig_negotiate();
	assert_int_equal(ask_config(0, 13), 0);
	assert_int_equal(ask_config(UINT32_MAX, 8), 0);
	assert_int_equal(ask_config(250, 8), 0);
	assert_int_equal(rig.replies, 5);
}

static void
config_is_read_only(void **state)
{
	struct vhu_wire_config config = { .offset = 0, .size = 6 };

	(void)state;
	rig_negotiate();
	assert_int_equal(rig_ask(VHU_SET_CONFIG, &config, 18, -1), 1);
}

static void
mtu_is_set_and_told(void **state)
{
	(void)state;
	rig_negotiate();
	rig_forget_events();
	assert_int_equal(rig_u64(VHU_NET_SET_MTU, 9000), 0);
	assert_int_equal(rig.mtu, 9000);
	assert_string_equal(rig.told, "mtu=2328; ");
}

static void
mtu_that_is_out_of_range_is_refused(void **state)
{
	(void)state;
	rig_negotiate();
	assert_int_equal(rig_u64(VHU_NET_SET_MTU, 67), 1);
	assert_int_equal(rig_u64(VHU_NET_SET_MTU, 65536), 1);
	assert_int_equal(rig_u64(VHU_NET_SET_MTU, 9001), 1);
	assert_int_equal(rig.mtu, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(get_features_offers_what_was_configured_and_bit_30),
		RIG_TEST(offer_may_change_and_leaves_what_was_acknowledged),
		RIG_TEST(features_not_offered_are_refused),
		RIG_TEST(features_without_version_1_are_refused_and_with_it_accepted_later),
		RIG_TEST(features_without_version_1_are_accepted_by_a_device_for_legacy_drivers),
		RIG_TEST(features_event_comes_on_change_only),
		RIG_TEST(features_may_be_repeated_but_not_changed_while_a_ring_is_started),
		RIG_TEST(features_without_bit_30_enable_all_rings),
		RIG_TEST(features_with_bit_30_neither_enable_nor_disable),
		RIG_TEST(features_without_bit_30_run_a_ring_that_reset_owner_disabled),
		RIG_TEST(protocol_features_work_before_set_features),
		RIG_TEST(protocol_features_not_offered_are_refused),
		RIG_TEST(protocol_features_may_be_repeated_but_not_changed_while_a_ring_is_started),
		RIG_TEST(what_has_no_operation_is_not_offered),
		RIG_TEST(queue_num_and_memory_slots_are_told),
		RIG_TEST(gated_messages_are_refused_before_negotiation),
		RIG_TEST(enable_is_refused_without_any_sign_of_bit_30),
		RIG_TEST(enable_is_accepted_between_protocol_features_and_features),
		RIG_TEST(status_is_kept),
		RIG_TEST(status_0_leaves_the_position_alone),
		RIG_TEST(config_is_read_from_its_offset),
		RIG_TEST(config_that_cannot_be_read_is_answered_with_size_0),
		RIG_TEST(config_is_read_only),
		RIG_TEST(mtu_is_set_and_told),
		RIG_TEST(mtu_that_is_out_of_range_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
