/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "device_rig.h"

#include "mem/inflight.h"

/* Ask for an area. @return its descriptor, -1 if none came. */
static int
get_area(uint16_t rings, uint16_t size, uint32_t message_size, struct vhu_wire_inflight *area)
{
	const struct vhu_wire_inflight wire = { .queue_count = rings, .queue_size = size };
	unsigned int replies = rig.replies;

	rig_send(VHU_GET_INFLIGHT_FD, 0, &wire, message_size, NULL, 0);
	assert_int_equal(rig.replies, replies + 1);
	*area = rig.reply.payload.inflight;
	if (area->size == 0) {
		assert_int_equal(rig.reply.fd_count, 0);
		return -1;
	}
	assert_int_equal(rig.reply.size, message_size);
	assert_int_equal(rig.reply.fd_count, 1);
	return rig.reply.fds[0];
}

static void
area_is_made_for_the_rings_asked_for(void **state)
{
	struct vhu_wire_inflight area;
	int fd;

	(void)state;
	rig_negotiate();
	fd = get_area(4, 128, 24, &area);
	assert_true(fd >= 0);
	assert_int_equal(area.size, 4 * 2112);
	assert_int_equal(area.offset, 0);
	assert_int_equal(area.queue_count, 4);
	assert_int_equal(area.queue_size, 128);
	close(fd);
	fd = get_area(1, 1, 20, &area);
	assert_true(fd >= 0);
	close(fd);
}

static void
area_of_impossible_size_is_declined(void **state)
{
	struct vhu_wire_inflight area;

	(void)state;
	rig_negotiate();
	assert_int_equal(get_area(0, 128, 24, &area), -1);
	assert_int_equal(get_area(1, 0, 24, &area), -1);
	assert_int_equal(get_area(RIG_RINGS + 1, 128, 24, &area), -1);
	assert_int_equal(get_area(UINT16_MAX, UINT16_MAX, 24, &area), -1);
}

static void
repeated_questions_leave_nothing_behind(void **state)
{
	struct vhu_wire_inflight area;
	unsigned int i, fds;

	(void)state;
	rig_negotiate();
	fds = unit_open_fds();
	for (i = 0; i < 1000; i++)
		close(get_area(4, 128, 24, &area));
	assert_int_equal(unit_open_fds(), fds);
}

/* Make an area, give it to the device, and look at it from here. */
static uint8_t *
share_area(uint16_t size)
{
	struct vhu_wire_inflight area;
	int fd = get_area(RIG_RINGS, size, 24, &area);
	uint8_t *seen = mmap(NULL, area.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_ptr_not_equal(seen, MAP_FAILED);
	assert_int_equal(rig_ask(VHU_SET_INFLIGHT_FD, &area, sizeof(area), fd), 0);
	return seen;
}

static void
ring_that_starts_finds_its_part(void **state)
{
	const struct vhu_inflight_split *part;
	uint8_t *seen;

	(void)state;
	rig_negotiate();
	rig_share();
	seen = share_area(512);
	rig_used(1)->idx = 77;
	rig_run_ring(1);
	part = (const void *)(seen + vhu_inflight_stride(false, 512));
	assert_int_equal(part->version, 1);
	assert_int_equal(part->size, 512);
	assert_int_equal(part->used_idx, 77);
	assert_non_null(rig_seen(1)->inflight);
	/* What is written there is what the front-end sees. */
	vhu_inflight_split_used(rig_seen(1)->inflight, 78);
	assert_int_equal(part->used_idx, 78);
	munmap(seen, RIG_RINGS * vhu_inflight_stride(false, 512));
}

static void
ring_goes_on_where_the_area_says(void **state)
{
	uint8_t *seen;

	(void)state;
	rig_negotiate();
	rig_share();
	seen = share_area(256);
	rig_used(0)->idx = 9;
	/* Without elements what is in flight is taken from the ring again, whatever the base. */
	rig_start_ring(0, 12);
	assert_int_equal(rig.rings[0].next_avail, 9);
	assert_int_equal(rig.rings[0].next_used, 9);
	munmap(seen, RIG_RINGS * vhu_inflight_stride(false, 256));
}

static void
ring_larger_than_the_area_runs_without(void **state)
{
	uint8_t *seen;

	(void)state;
	rig_negotiate();
	rig_share();
	seen = share_area(RIG_RING_SIZE / 2);
	rig_run_ring(0);
	assert_null(rig_seen(0)->inflight);
	munmap(seen, RIG_RINGS * vhu_inflight_stride(false, RIG_RING_SIZE / 2));
}

static void
note_stopping(void *owner, uint16_t ring)
{
	assert_ptr_equal(owner, &rig);
	rig.rings[ring].next_avail += 100;
}

/* It stays marked in the area, for whoever serves the device next. */
static void
base_with_an_area_leaves_what_is_in_flight(void **state)
{
	struct vhu_wire_vring_state ring = { 1, 0 };
	uint8_t *seen;

	(void)state;
	rig.ops.stopping = note_stopping;
	rig_negotiate();
	rig_share();
	seen = share_area(RIG_RING_SIZE);
	rig_run_ring(0);
	rig_run_ring(1);
	rig.rings[0].next_avail = 5;
	assert_int_equal(rig_base(0), 5);
	rig.rings[1].next_avail = 6;
	rig_send(VHU_GET_VRING_BASE_SKIP_DRAIN, 0, &ring, sizeof(ring), NULL, 0);
	assert_int_equal(rig.reply.payload.state.value, 6);
	munmap(seen, RIG_RINGS * vhu_inflight_stride(false, RIG_RING_SIZE));
}

static void
ring_without_an_area_runs_without(void **state)
{
	(void)state;
	rig_run_ring(0);
	assert_null(rig_seen(0)->inflight);
}

static void
area_may_not_change_while_a_ring_runs(void **state)
{
	struct vhu_wire_inflight area;
	unsigned int fds;
	int fd;

	(void)state;
	rig_run_ring(0);
	fds = unit_open_fds();
	fd = get_area(RIG_RINGS, 256, 24, &area);
	assert_int_equal(rig_ask(VHU_SET_INFLIGHT_FD, &area, sizeof(area), fd), 1);
	assert_int_equal(unit_open_fds(), fds);
}

static void
area_that_is_not_there_is_refused(void **state)
{
	struct vhu_wire_inflight area;
	unsigned int fds;
	int fd;

	(void)state;
	rig_negotiate();
	fds = unit_open_fds();
	fd = get_area(RIG_RINGS, 256, 24, &area);
	area.size++;
	assert_int_equal(rig_ask(VHU_SET_INFLIGHT_FD, &area, sizeof(area), fd), 1);
	fd = get_area(RIG_RINGS, 256, 24, &area);
	area.queue_count++;
	assert_int_equal(rig_ask(VHU_SET_INFLIGHT_FD, &area, sizeof(area), fd), 1);
	fd = get_area(RIG_RINGS, 256, 24, &area);
	area.offset = 3;
	assert_int_equal(rig_ask(VHU_SET_INFLIGHT_FD, &area, sizeof(area), fd), 1);
	assert_int_equal(unit_open_fds(), fds);
}

static uint16_t placed_capacity;
static uint16_t prepared_size;

static int
prepare(void *owner, uint16_t ring, uint16_t size)
{
	assert_ptr_equal(owner, &rig);
	assert_int_equal(ring, 2);
	prepared_size = size;
	return rig.specialise_result;
}

static void
place(void *owner, uint16_t ring, const struct vhu_snapshot *snapshot, uint16_t capacity,
	struct vhu_walk *avail, struct vhu_walk *used)
{
	assert_ptr_equal(owner, &rig);
	assert_int_equal(ring, 2);
	assert_non_null(snapshot->inflight);
	placed_capacity = capacity;
	avail->next = 40;
	used->next = 30;
}

static void
device_with_elements_recovers_itself(void **state)
{
	uint8_t *seen;

	(void)state;
	rig.ops.ring_prepare = prepare;
	rig.ops.ring_place = place;
	rig_negotiate();
	rig_share();
	seen = share_area(300);
	rig_start_ring(2, 0);
	assert_int_equal(prepared_size, RIG_RING_SIZE);
	assert_int_equal(placed_capacity, 300);
	assert_int_equal(rig.rings[2].next_avail, 40);
	assert_int_equal(rig.rings[2].next_used, 30);
	munmap(seen, RIG_RINGS * vhu_inflight_stride(false, 300));
}

static void
ring_without_memory_for_elements_does_not_start(void **state)
{
	(void)state;
	rig.ops.ring_prepare = prepare;
	rig_negotiate();
	rig_share();
	rig_describe_ring(2, 0);
	rig.specialise_result = -ENOMEM;
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 2, rig_eventfd()), 1);
	assert_false(rig_info(2).started);
	rig.specialise_result = 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(area_is_made_for_the_rings_asked_for),
		RIG_TEST(area_of_impossible_size_is_declined),
		RIG_TEST(repeated_questions_leave_nothing_behind),
		RIG_TEST(ring_that_starts_finds_its_part),
		RIG_TEST(ring_goes_on_where_the_area_says),
		RIG_TEST(ring_larger_than_the_area_runs_without),
		RIG_TEST(base_with_an_area_leaves_what_is_in_flight),
		RIG_TEST(ring_without_an_area_runs_without),
		RIG_TEST(area_may_not_change_while_a_ring_runs),
		RIG_TEST(area_that_is_not_there_is_refused),
		RIG_TEST(device_with_elements_recovers_itself),
		RIG_TEST(ring_without_memory_for_elements_does_not_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
