/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "device_rig.h"

/* The rig's memory in two halves; rings 0 ... 3 lie in the first. */
#define HALF (RIG_MEMORY / 2)

static uint32_t
count(void)
{
	return vhu_device_map(rig.device)->count;
}

static void
enter(uint32_t ring)
{
	(void)vhu_reader_enter(&rig.rings[ring].reader);
}

/* The lcore ends its burst, the control loop looks again. */
static void
leave(uint32_t ring)
{
	vhu_reader_leave(&rig.rings[ring].reader);
	vhu_grace_step(&rig.domain);
}

static void
table_is_mapped_and_told(void **state)
{
	struct vhu_wire_region regions[] = { rig_region(0, HALF), rig_region(HALF, HALF) };

	(void)state;
	rig_send_table(regions, 2);
	assert_int_equal(rig.reply.payload.u64, 0);
	assert_int_equal(count(), 2);
	rig.guest[HALF + 5] = 0x5a;
	assert_int_equal(
		*(uint8_t *)vhu_map_user(vhu_device_map(rig.device), RIG_USER + HALF + 5, 1), 0x5a);
	assert_string_equal(rig.told, "memory=2; ");
}

static void
empty_table_drops_all(void **state)
{
	(void)state;
	rig_share();
	rig_send_table(NULL, 0);
	assert_int_equal(rig.reply.payload.u64, 0);
	assert_int_equal(count(), 0);
	assert_int_equal(rig_mappings(), 0);
}

static void
same_region_keeps_its_mapping(void **state)
{
	const struct vhu_region *region;
	const void *host;

	(void)state;
	rig_share();
	region = vhu_device_map(rig.device)->by_guest[0];
	host = region->host;
	rig_share();
	assert_ptr_equal(vhu_device_map(rig.device)->by_guest[0], region);
	assert_ptr_equal(region->host, host);
}

static void
refused_table_leaves_the_old_one(void **state)
{
	struct vhu_wire_region overlap[] = { rig_region(0, HALF), rig_region(0x1000, HALF) };
	struct vhu_wire_region beyond[] = { rig_region(0, HALF), rig_region(HALF, HALF + 1) };
	const struct vhu_map *map;

	(void)state;
	rig_share();
	map = vhu_device_map(rig.device);
	rig_send_table(overlap, 2);
	assert_int_equal(rig.reply.payload.u64, 1);
	rig_send_table(beyond, 2);
	assert_int_equal(rig.reply.payload.u64, 1);
	assert_ptr_equal(vhu_device_map(rig.device), map);
	assert_int_equal(rig.jobs_run, 1);
}

static void
table_that_cannot_be_mapped_leaves_the_old_one(void **state)
{
	struct vhu_wire_region huge = { .size = UINT64_C(1) << 50, .user_address = RIG_USER };
	struct vhu_wire_mem_table table = { .count = 1, .regions[0] = huge };
	int fd = memfd_create("huge", MFD_CLOEXEC);
	const struct vhu_map *map;

	(void)state;
	/* The file may be that large, since it has holes; no address space has room for it. */
	assert_int_equal(ftruncate(fd, (off_t)huge.size), 0);
	rig_run_ring(0);
	map = vhu_device_map(rig.device);
	assert_int_equal(rig_ask(VHU_SET_MEM_TABLE, &table, 8 + 32, fd), 1);
	assert_ptr_equal(vhu_device_map(rig.device), map);
	assert_true(vhu_device_ring_running(rig.device, 0));
}

static void
table_with_too_few_descriptors_is_refused(void **state)
{
	struct vhu_wire_mem_table table = { .count = 3 };
	int fds[] = { rig_dup(rig.memory), rig_dup(rig.memory) };

	(void)state;
	rig_send(VHU_SET_MEM_TABLE, VHU_FLAG_NEED_REPLY, &table, 8 + 3 * 32, fds, 2);
	assert_int_equal(rig.reply.payload.u64, 1);
	assert_int_not_equal(fcntl(0, F_GETFD), -1);
}

static void
table_swap_keeps_a_ring_that_stays(void **state)
{
	struct vhu_wire_region halves[] = { rig_region(0, HALF), rig_region(HALF, HALF) };

	(void)state;
	rig_run_ring(0);
	rig.rings[0].next_avail = 33;
	rig_forget_events();
	rig_send_table(halves, 2);
	assert_int_equal(rig.reply.payload.u64, 0);
	assert_ptr_equal(rig_seen(0)->space.map, vhu_device_map(rig.device));
	assert_int_equal(rig.rings[0].next_avail, 33);
	rig_used(0)->idx = 0x4321;
	assert_int_equal(rig_seen(0)->used->idx, 0x4321);
	assert_string_equal(rig.told, "memory=2; ");
}

static void
table_swap_breaks_a_ring_that_loses_its_memory(void **state)
{
	struct vhu_wire_region second = rig_region(HALF, HALF);
	int error = rig_eventfd(), error_peer = rig_dup(error);

	(void)state;
	rig_run_ring(0);
	assert_int_equal(rig_fd(VHU_SET_VRING_ERR, 0, error), 0);
	rig_forget_events();
	rig_send_table(&second, 1);
	assert_int_equal(rig.reply.payload.u64, 0);
	assert_ptr_equal(rig_seen(0), &vhu_snapshot_parked);
	assert_false(vhu_device_ring_running(rig.device, 0));
	assert_true(rig_info(0).broken);
	assert_int_equal(rig_signals(error_peer), 1);
	assert_string_equal(rig.told, "ring broken 0=9; memory=1; ");
	close(error_peer);
}

static void
ring_that_lost_its_memory_can_be_restarted(void **state)
{
	struct vhu_wire_region second = rig_region(HALF, HALF);

	(void)state;
	rig_run_ring(0);
	rig.rings[0].next_avail = 6;
	rig_send_table(&second, 1);
	rig_share();
	assert_false(vhu_device_ring_running(rig.device, 0));
	assert_int_equal(rig_base(0), 6);
	rig_start_ring(0, 6);
	assert_true(vhu_device_ring_running(rig.device, 0));
	assert_false(rig_info(0).broken);
}

static void
broken_ring_does_not_hold_the_old_table(void **state)
{
	struct vhu_wire_region second = rig_region(HALF, HALF);

	(void)state;
	rig_run_ring(0);
	vhu_ring_break(&rig.rings[0], VHU_BROKEN_HEAD, 1);
	rig_send_table(&second, 1);
	assert_int_equal(rig.reply.payload.u64, 0);
	assert_ptr_equal(rig_seen(0), &vhu_snapshot_parked);
	assert_int_equal(rig_mappings(), 1);
}

static void
table_swap_waits_for_a_burst_before_it_unmaps(void **state)
{
	struct vhu_wire_region second = rig_region(HALF, HALF);
	const struct vhu_snapshot *seen;
	unsigned int replies;

	(void)state;
	rig_run_ring(0);
	seen = vhu_reader_enter(&rig.rings[0].reader);
	replies = rig.replies;
	rig_send_table(&second, 1);
	vhu_grace_step(&rig.domain);
	assert_true(vhu_device_busy(rig.device));
	assert_int_equal(rig.replies, replies);
	/* The burst still reads and writes what it saw. */
	seen->used->idx = 0x77;
	assert_int_equal(rig_used(0)->idx, 0x77);
	leave(0);
	assert_false(vhu_device_busy(rig.device));
	assert_int_equal(rig.replies, replies + 1);
	assert_int_equal(rig.answered, 1);
	assert_int_equal(rig_mappings(), 1);
}

static void
table_is_answered_after_the_worker_has_unmapped(void **state)
{
	struct vhu_wire_region second = rig_region(HALF, HALF);
	unsigned int replies;

	(void)state;
	rig_share();
	replies = rig.replies;
	rig.defer_jobs = true;
	rig_send_table(&second, 1);
	assert_true(vhu_device_busy(rig.device));
	rig_run_job(); /* map the new */
	assert_true(vhu_device_busy(rig.device));
	assert_int_equal(rig.replies, replies);
	rig_run_job(); /* unmap the old */
	assert_false(vhu_device_busy(rig.device));
	assert_int_equal(rig.replies, replies + 1);
	assert_int_equal(rig.reply.payload.u64, 0);
	assert_int_equal(rig.answered, 1);
}

static void
add_and_remove_change_the_map(void **state)
{
	(void)state;
	rig_negotiate();
	rig_forget_events();
	assert_int_equal(rig_add(rig_region(0, HALF)), 0);
	assert_int_equal(rig_add(rig_region(HALF, HALF)), 0);
	assert_int_equal(count(), 2);
	assert_int_equal(rig_remove(rig_region(0, HALF)), 0);
	assert_int_equal(count(), 1);
	assert_int_equal(rig_mappings(), 1);
	assert_string_equal(rig.told, "memory=1; memory=2; memory=1; ");
}

/* After the acknowledgement a buffer may come that lies in the region: no burst may find it bad. */
static void
add_is_acknowledged_when_no_burst_has_the_old_map(void **state)
{
	struct vhu_wire_mem_reg add = { .region = rig_region(HALF, HALF) };
	unsigned int replies;
	int fd;

	(void)state;
	rig_negotiate();
	assert_int_equal(rig_add(rig_region(0, HALF)), 0);
	rig_run_ring(0);
	enter(0);
	replies = rig.replies;
	fd = rig_dup(rig.memory);
	rig_send(VHU_ADD_MEM_REG, VHU_FLAG_NEED_REPLY, &add, sizeof(add), &fd, 1);
	assert_true(vhu_device_busy(rig.device));
	/* The next burst sees the new map already. */
	assert_int_equal(rig_seen(0)->space.map->count, 2);
	leave(0);
	assert_int_equal(rig.replies, replies + 1);
	assert_int_equal(rig.reply.payload.u64, 0);
}

static void
add_does_not_stop_a_ring(void **state)
{
	const struct vring_desc *descriptors;

	(void)state;
	rig_negotiate();
	assert_int_equal(rig_add(rig_region(0, HALF)), 0);
	rig_run_ring(0);
	descriptors = rig_seen(0)->descriptors;
	rig.rings[0].next_avail = 12;
	rig_forget_events();
	assert_int_equal(rig_add(rig_region(HALF, HALF)), 0);
	assert_ptr_equal(rig_seen(0)->descriptors, descriptors);
	assert_int_equal(rig.rings[0].next_avail, 12);
	assert_string_equal(rig.told, "memory=2; ");
}

static void
add_that_overlaps_is_refused(void **state)
{
	struct vhu_wire_region user = rig_region(HALF, HALF);

	(void)state;
	rig_negotiate();
	assert_int_equal(rig_add(rig_region(0, HALF)), 0);
	assert_int_equal(rig_add(rig_region(HALF - 1, HALF)), 1);
	user.user_address = RIG_USER + HALF - 1;
	assert_int_equal(rig_add(user), 1);
	assert_int_equal(count(), 1);
	assert_int_equal(rig.jobs_run, 1);
}

static void
same_memory_elsewhere_in_the_file_is_an_overlap(void **state)
{
	struct vhu_wire_region other = rig_region(0, HALF);

	(void)state;
	rig_negotiate();
	assert_int_equal(rig_add(rig_region(0, HALF)), 0);
	other.file_offset = HALF;
	assert_int_equal(rig_add(other), 1);
}

static void
very_same_region_is_counted_and_removed_as_often(void **state)
{
	(void)state;
	rig_negotiate();
	assert_int_equal(rig_add(rig_region(0, HALF)), 0);
	assert_int_equal(rig_add(rig_region(0, HALF)), 0);
	assert_int_equal(count(), 1);
	assert_int_equal(rig_remove(rig_region(0, HALF)), 0);
	assert_int_equal(count(), 1);
	assert_int_equal(rig_remove(rig_region(0, HALF)), 0);
	assert_int_equal(count(), 0);
	assert_int_equal(rig_remove(rig_region(0, HALF)), 1);
}

static void
add_that_cannot_be_mapped_is_refused(void **state)
{
	struct vhu_wire_mem_reg add = { .region = { .size = UINT64_C(1) << 50 } };
	int fd = memfd_create("huge", MFD_CLOEXEC);

	(void)state;
	rig_negotiate();
	assert_int_equal(ftruncate(fd, (off_t)(UINT64_C(1) << 50)), 0);
	assert_int_equal(rig_ask(VHU_ADD_MEM_REG, &add, sizeof(add), fd), 1);
	assert_int_equal(count(), 0);
}

static void
all_slots_can_be_used_and_not_one_more(void **state)
{
	unsigned int i;

	(void)state;
	rig_negotiate();
	/* Pages are few; what counts is that the addresses differ. */
	for (i = 0; i <= VHU_MAX_MEM_SLOTS; i++) {
		struct vhu_wire_region region = {
			.guest_address = i * UINT64_C(0x10000),
			.user_address = RIG_USER + i * UINT64_C(0x10000),
			.size = 0x1000,
			.file_offset = i % 16 * UINT64_C(0x1000),
		};

		assert_int_equal(rig_add(region), i == VHU_MAX_MEM_SLOTS);
	}
	assert_int_equal(count(), VHU_MAX_MEM_SLOTS);
	assert_non_null(vhu_map_user(vhu_device_map(rig.device), RIG_USER + 508 * 0x10000, 0x1000));
}

static void
remove_wants_the_exact_region_but_ignores_the_offset(void **state)
{
	struct vhu_wire_region region = rig_region(0, HALF);

	(void)state;
	rig_negotiate();
	assert_int_equal(rig_add(region), 0);
	region.size -= 0x1000;
	assert_int_equal(rig_remove(region), 1);
	region = rig_region(0, HALF);
	region.user_address += 0x1000;
	assert_int_equal(rig_remove(region), 1);
	assert_int_equal(count(), 1);
	region = rig_region(0, HALF);
	region.file_offset = 0x123000;
	assert_int_equal(rig_remove(region), 0);
	assert_int_equal(rig_remove(region), 1);
}

static void
remove_with_a_descriptor_closes_it(void **state)
{
	struct vhu_wire_mem_reg removed = { .region = rig_region(0, HALF) };

	(void)state;
	rig_negotiate();
	assert_int_equal(rig_add(removed.region), 0);
	assert_int_equal(
		rig_ask(VHU_REM_MEM_REG, &removed, sizeof(removed), rig_dup(rig.memory)), 0);
}

static void
remove_under_a_started_ring_is_refused(void **state)
{
	(void)state;
	rig_negotiate();
	assert_int_equal(rig_add(rig_region(0, HALF)), 0);
	rig_run_ring(0);
	assert_int_equal(rig_remove(rig_region(0, HALF)), 1);
	assert_true(vhu_device_ring_running(rig.device, 0));
	assert_int_equal(count(), 1);
	rig_base(0);
	assert_int_equal(rig_remove(rig_region(0, HALF)), 0);
}

static void
remove_waits_for_a_burst(void **state)
{
	struct vhu_wire_mem_reg removed = { .region = rig_region(HALF, HALF) };
	unsigned int replies;

	(void)state;
	rig_negotiate();
	assert_int_equal(rig_add(rig_region(0, HALF)), 0);
	assert_int_equal(rig_add(rig_region(HALF, HALF)), 0);
	rig_run_ring(0);
	enter(0);
	replies = rig.replies;
	rig_send(VHU_REM_MEM_REG, VHU_FLAG_NEED_REPLY, &removed, sizeof(removed), NULL, 0);
	assert_true(vhu_device_busy(rig.device));
	assert_int_equal(rig_seen(0)->space.map->count, 1);
	leave(0);
	assert_int_equal(rig.replies, replies + 1);
	assert_int_equal(rig.reply.payload.u64, 0);
	assert_int_equal(rig_mappings(), 1);
}

static void
remove_waits_for_an_older_map_that_a_burst_still_uses(void **state)
{
	struct vhu_wire_mem_reg removed = { .region = rig_region(HALF, HALF) };
	unsigned int replies;

	(void)state;
	rig_negotiate();
	assert_int_equal(rig_add(rig_region(0, HALF)), 0);
	assert_int_equal(rig_add(rig_region(HALF, HALF)), 0);
	rig_run_ring(0);
	enter(0);
	/* Leaves a snapshot with the present map behind. */
	assert_int_equal(vhu_device_renew(rig.device, 0), 0);
	vhu_reader_leave(&rig.rings[0].reader);
	/* The burst is over, but nobody has looked yet when the next message comes. */
	replies = rig.replies;
	rig_send(VHU_REM_MEM_REG, VHU_FLAG_NEED_REPLY, &removed, sizeof(removed), NULL, 0);
	assert_true(vhu_device_busy(rig.device));
	assert_int_equal(rig.replies, replies);
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig.replies, replies + 1);
	assert_int_equal(rig_mappings(), 1);
}

static void
add_and_remove_ten_thousand_times_leaves_nothing(void **state)
{
	struct vhu_wire_region region = rig_region(HALF, 0x1000);
	unsigned int i, fds;

	(void)state;
	rig_negotiate();
	assert_int_equal(rig_add(rig_region(0, HALF)), 0);
	rig_run_ring(0);
	fds = unit_open_fds();
	for (i = 0; i < 10000; i++) {
		region.file_offset = HALF + i % 16 * 0x1000;
		assert_int_equal(rig_add(region), 0);
		assert_int_equal(rig_remove(region), 0);
	}
	assert_int_equal(unit_open_fds(), fds);
	assert_int_equal(rig_mappings(), 1);
}

static void
populate_maps_as_well(void **state)
{
	struct vhu_device_config config = {
		.name = "populate",
		.ops = &rig.ops,
		.owner = &rig,
		.features = RIG_FEATURES,
		.ring_count = RIG_RINGS,
		.rings = rig.ring_pointers,
		.executor = &rig.executor,
		.domain = &rig.domain,
		.populate = true,
	};

	(void)state;
	vhu_device_disconnect(rig.device, rig_left);
	vhu_device_free(rig.device);
	rig.left = 0;
	rig.device = vhu_device_new(&config);
	vhu_device_connect(rig.device);
	rig_share();
	assert_int_equal(count(), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(table_is_mapped_and_told),
		RIG_TEST(empty_table_drops_all),
		RIG_TEST(same_region_keeps_its_mapping),
		RIG_TEST(refused_table_leaves_the_old_one),
		RIG_TEST(table_that_cannot_be_mapped_leaves_the_old_one),
		RIG_TEST(table_with_too_few_descriptors_is_refused),
		RIG_TEST(table_swap_keeps_a_ring_that_stays),
		RIG_TEST(table_swap_breaks_a_ring_that_loses_its_memory),
		RIG_TEST(ring_that_lost_its_memory_can_be_restarted),
		RIG_TEST(broken_ring_does_not_hold_the_old_table),
		RIG_TEST(table_swap_waits_for_a_burst_before_it_unmaps),
		RIG_TEST(table_is_answered_after_the_worker_has_unmapped),
		RIG_TEST(add_and_remove_change_the_map),
		RIG_TEST(add_is_acknowledged_when_no_burst_has_the_old_map),
		RIG_TEST(add_does_not_stop_a_ring),
		RIG_TEST(add_that_overlaps_is_refused),
		RIG_TEST(same_memory_elsewhere_in_the_file_is_an_overlap),
		RIG_TEST(very_same_region_is_counted_and_removed_as_often),
		RIG_TEST(add_that_cannot_be_mapped_is_refused),
		RIG_TEST(all_slots_can_be_used_and_not_one_more),
		RIG_TEST(remove_wants_the_exact_region_but_ignores_the_offset),
		RIG_TEST(remove_with_a_descriptor_closes_it),
		RIG_TEST(remove_under_a_started_ring_is_refused),
		RIG_TEST(remove_waits_for_a_burst),
		RIG_TEST(remove_waits_for_an_older_map_that_a_burst_still_uses),
		RIG_TEST(add_and_remove_ten_thousand_times_leaves_nothing),
		RIG_TEST(populate_maps_as_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
