/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "device_rig.h"

static void
disconnect_stops_and_disables_and_forgets(void **state)
{
	(void)state;
	rig_run_ring(0);
	rig.rings[0].next_avail = 3;
	rig_forget_events();
	vhu_device_disconnect(rig.device, rig_left);
	assert_int_equal(rig.left, 1);
	assert_false(vhu_device_busy(rig.device));
	assert_string_equal(rig.told, "ring stopped 0=3; ring disabled 0=0; ");
	assert_int_equal(vhu_device_features(rig.device), 0);
	assert_int_equal(vhu_device_negotiated_protocol_features(rig.device), 0);
	assert_int_equal(vhu_device_map(rig.device)->count, 0);
	assert_int_equal(rig_mappings(), 0);
	assert_int_equal(rig_info(0).size, 0);
	assert_int_equal(rig.kick_fd[0], -1);
}

static void
disconnect_of_a_fresh_device_ends_at_once(void **state)
{
	(void)state;
	vhu_device_disconnect(rig.device, rig_left);
	assert_int_equal(rig.left, 1);
	assert_string_equal(rig.told, "");
}

static void
device_serves_the_next_connection_like_the_first(void **state)
{
	(void)state;
	rig_run_ring(0);
	vhu_device_disconnect(rig.device, rig_left);
	rig.left = 0;
	rig_forget_events();
	vhu_device_connect(rig.device);
	rig_run_ring(0);
	assert_string_equal(rig.told, "features=140008000; memory=1; "
		"ring started 0=100; ring enabled 0=0; ");
	assert_int_equal(rig.rings[0].next_avail, 0);
}

static void
disconnect_waits_for_a_burst(void **state)
{
	const struct vhu_snapshot *seen;

	(void)state;
	rig_run_ring(0);
	seen = vhu_reader_enter(&rig.rings[0].reader);
	vhu_device_disconnect(rig.device, rig_left);
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig.left, 0);
	assert_true(vhu_device_busy(rig.device));
	seen->used->idx = 5;
	assert_int_equal(rig_used(0)->idx, 5);
	vhu_reader_leave(&rig.rings[0].reader);
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig.left, 1);
}

static void
disconnect_waits_for_the_worker_to_unmap(void **state)
{
	(void)state;
	rig_share();
	rig.defer_jobs = true;
	vhu_device_disconnect(rig.device, rig_left);
	assert_int_equal(rig.left, 0);
	rig_run_job();
	assert_int_equal(rig.left, 1);
	assert_int_equal(rig_mappings(), 0);
}

static void
disconnect_while_memory_is_mapped_gives_it_back_without_reply(void **state)
{
	struct vhu_wire_region region = rig_region(0, RIG_MEMORY);

	(void)state;
	rig.defer_jobs = true;
	rig_send_table(&region, 1);
	assert_true(vhu_device_busy(rig.device));
	vhu_device_disconnect(rig.device, rig_left);
	assert_int_equal(rig.left, 0);
	rig_run_job(); /* maps */
	assert_int_equal(rig.left, 0);
	rig_run_job(); /* unmaps */
	assert_int_equal(rig.left, 1);
	assert_int_equal(rig.replies, 0);
	assert_int_equal(rig.answered, 0);
	assert_int_equal(rig_mappings(), 0);
	assert_string_equal(rig.told, "");
}

static void
disconnect_while_a_region_is_added_gives_it_back_without_reply(void **state)
{
	struct vhu_wire_mem_reg add = { .region = rig_region(0, RIG_MEMORY) };
	int fd = rig_dup(rig.memory);

	(void)state;
	rig_negotiate();
	rig.replies = 0;
	rig.defer_jobs = true;
	rig_send(VHU_ADD_MEM_REG, VHU_FLAG_NEED_REPLY, &add, sizeof(add), &fd, 1);
	vhu_device_disconnect(rig.device, rig_left);
	while (rig.jobs != NULL)
		rig_run_job();
	assert_int_equal(rig.left, 1);
	assert_int_equal(rig.replies, 0);
	assert_int_equal(rig_mappings(), 0);
}

static void
disconnect_while_a_ring_stops_finishes_without_reply(void **state)
{
	struct vhu_wire_vring_state get = { 0, 0 };

	(void)state;
	rig_run_ring(0);
	(void)vhu_reader_enter(&rig.rings[0].reader);
	rig.replies = 0;
	rig_forget_events();
	rig_send(VHU_GET_VRING_BASE, 0, &get, sizeof(get), NULL, 0);
	vhu_device_disconnect(rig.device, rig_left);
	assert_int_equal(rig.left, 0);
	vhu_reader_leave(&rig.rings[0].reader);
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig.left, 1);
	assert_int_equal(rig.replies, 0);
	assert_int_equal(rig.answered, 0);
	assert_string_equal(rig.told, "ring stopped 0=0; ring disabled 0=0; ");
}

static void
disconnect_waits_for_what_earlier_messages_left_behind(void **state)
{
	struct vhu_wire_region half = rig_region(0, RIG_MEMORY / 2);

	(void)state;
	rig_negotiate();
	assert_int_equal(rig_add(half), 0);
	rig_run_ring(0);
	(void)vhu_reader_enter(&rig.rings[0].reader);
	assert_int_equal(vhu_device_renew(rig.device, 0), 0);
	vhu_reader_leave(&rig.rings[0].reader);
	/* Nobody has looked yet: the old snapshot and its map are still there. */
	vhu_device_disconnect(rig.device, rig_left);
	assert_int_equal(rig.left, 0);
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig.left, 1);
	assert_int_equal(rig_mappings(), 0);
}

static void
leave_from_event(void *owner, enum vhu_event_type type, uint16_t ring, uint64_t value)
{
	rig_event(owner, type, ring, value);
	if (type == VHU_EVENT_RING_STARTED || type == VHU_EVENT_RING_BROKEN)
		vhu_device_disconnect(rig.device, rig_left);
}

static void
disconnect_from_within_an_event_waits_for_the_message_to_end(void **state)
{
	int kick = rig_eventfd();
	uint64_t index = 0;

	(void)state;
	rig_negotiate();
	rig_share();
	rig_describe_ring(0, 0);
	rig.replies = 0;
	rig_forget_events();
	rig.ops.event = leave_from_event;
	rig_send(VHU_SET_VRING_KICK, VHU_FLAG_NEED_REPLY, &index, sizeof(index), &kick, 1);
	assert_int_equal(rig.left, 1);
	assert_int_equal(rig.replies, 0);
	assert_string_equal(rig.told, "ring started 0=100; ring stopped 0=0; ");
}

static void
disconnect_from_within_the_look_for_broken_rings_is_safe(void **state)
{
	(void)state;
	rig_run_ring(0);
	rig_run_ring(1);
	vhu_ring_break(&rig.rings[0], VHU_BROKEN_HEAD, 0);
	rig.ops.event = leave_from_event;
	vhu_device_check_broken(rig.device);
	assert_int_equal(rig.left, 1);
}

static void
leave_from_send(void *owner, struct vhu_message *reply)
{
	rig_send_reply(owner, reply);
	vhu_device_disconnect(rig.device, rig_left);
}

static void
disconnect_from_within_a_reply_is_safe(void **state)
{
	(void)state;
	rig_run_ring(0);
	rig.ops.send = leave_from_send;
	rig_send(VHU_GET_FEATURES, 0, NULL, 0, NULL, 0);
	assert_int_equal(rig.left, 1);
}

static void
disconnect_from_within_a_late_reply_is_safe(void **state)
{
	struct vhu_wire_vring_state get = { 0, 0 };

	(void)state;
	rig_run_ring(0);
	rig.ops.send = leave_from_send;
	(void)vhu_reader_enter(&rig.rings[0].reader);
	rig_send(VHU_GET_VRING_BASE, 0, &get, sizeof(get), NULL, 0);
	vhu_reader_leave(&rig.rings[0].reader);
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig.left, 1);
	assert_int_equal(rig.answered, 0);
}

/* What the stream does: read the next message as soon as the last is answered. */
static void
receive_next(void *owner)
{
	rig_answered(owner);
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, 1, 0), 0);
}

static void
next_message_may_be_delivered_from_within_answered(void **state)
{
	struct vhu_wire_vring_state get = { 0, 0 };

	(void)state;
	rig_run_ring(0);
	rig_run_ring(1);
	rig.ops.answered = receive_next;
	(void)vhu_reader_enter(&rig.rings[0].reader);
	rig_send(VHU_GET_VRING_BASE, 0, &get, sizeof(get), NULL, 0);
	vhu_reader_leave(&rig.rings[0].reader);
	/* rig_state() checks the count of calls of answered, so it is one by then. */
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig.answered, 1);
	assert_false(rig_info(1).enabled);
	assert_false(rig_info(0).started);
}

static void
free_at_the_end_of_a_disconnect(void *owner)
{
	rig_left(owner);
	vhu_device_free(rig.device);
	rig_new_device(); /* for the teardown, which disconnects it again */
	rig.left = 0;
}

static void
device_may_be_freed_when_it_has_left(void **state)
{
	(void)state;
	rig_run_ring(0);
	(void)vhu_reader_enter(&rig.rings[0].reader);
	vhu_device_disconnect(rig.device, free_at_the_end_of_a_disconnect);
	vhu_reader_leave(&rig.rings[0].reader);
	vhu_grace_step(&rig.domain);
	assert_false(vhu_device_busy(rig.device));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(disconnect_stops_and_disables_and_forgets),
		RIG_TEST(disconnect_of_a_fresh_device_ends_at_once),
		RIG_TEST(device_serves_the_next_connection_like_the_first),
		RIG_TEST(disconnect_waits_for_a_burst),
		RIG_TEST(disconnect_waits_for_the_worker_to_unmap),
		RIG_TEST(disconnect_while_memory_is_mapped_gives_it_back_without_reply),
		RIG_TEST(disconnect_while_a_region_is_added_gives_it_back_without_reply),
		RIG_TEST(disconnect_while_a_ring_stops_finishes_without_reply),
		RIG_TEST(disconnect_waits_for_what_earlier_messages_left_behind),
		RIG_TEST(disconnect_from_within_an_event_waits_for_the_message_to_end),
		RIG_TEST(disconnect_from_within_the_look_for_broken_rings_is_safe),
		RIG_TEST(disconnect_from_within_a_reply_is_safe),
		RIG_TEST(disconnect_from_within_a_late_reply_is_safe),
		RIG_TEST(next_message_may_be_delivered_from_within_answered),
		RIG_TEST(device_may_be_freed_when_it_has_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
