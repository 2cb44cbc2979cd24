/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Devices behind an IOMMU: I/O virtual address = file offset + IOVA throughout. */

#include <poll.h>

#include "iotlb_rig.h"

#include "mem/iotlb.h"
#include "mem/translate.h"

/* Start and enable ring 0 with I/O virtual addresses. */
static void
run_ring(void)
{
	struct vhu_wire_vring_addr address = rig_address(0);

	address.descriptor += IOVA - RIG_USER;
	address.avail += IOVA - RIG_USER;
	address.used += IOVA - RIG_USER;
	assert_int_equal(rig_state(VHU_SET_VRING_NUM, 0, RIG_RING_SIZE), 0);
	assert_int_equal(rig_state(VHU_SET_VRING_BASE, 0, 7), 0);
	assert_int_equal(rig_ask(VHU_SET_VRING_ADDR, &address, sizeof(address), -1), 0);
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 0, rig_eventfd()), 0);
}

/* What a burst does for one byte. @return host address or NULL. */
static void *
translate(uint64_t iova, enum vhu_access access)
{
	const struct vhu_snapshot *snapshot = vhu_reader_enter(&rig.rings[0].reader);
	uint64_t size = 1;
	void *host;

	vhu_hint_check(&snapshot->space, &rig.rings[0].hint);
	host = vhu_translate(&snapshot->space, &rig.rings[0].hint, iova, &size, access);
	if (host == NULL)
		vhu_ring_miss(&rig.rings[0], iova, access);
	vhu_reader_leave(&rig.rings[0].reader);
	return host;
}

static void
ring_waits_for_its_own_translations_and_then_runs(void **state)
{
	(void)state;
	rig_used(0)->idx = 7;
	run_ring();
	assert_true(is_parked());
	assert_asked(IOVA, VHU_READ);
	assert_asked(IOVA + 0x2000, VHU_READ);
	assert_asked(IOVA + 0x3000, VHU_READ | VHU_WRITE);
	vhu_device_tick(rig.device);
	assert_not_asked();
	assert_int_equal(map_range(0, PAGE, VHU_READ), 0);
	assert_true(is_parked());
	assert_int_equal(map_range(0x2000, PAGE, VHU_READ), 0);
	assert_int_equal(map_range(0x3000, PAGE, VHU_READ | VHU_WRITE), 0);
	assert_false(is_parked());
	assert_ptr_equal(rig_seen(0)->used,
		vhu_map_user(vhu_device_map(rig.device), RIG_USER + 0x3000, 1));
	assert_int_equal(rig.rings[0].next_avail, 7);
	assert_int_equal(rig.rings[0].next_used, 7);
	assert_int_equal(rig_base(0), 7);
}

static void
ring_over_several_entries_runs_if_they_are_neighbours(void **state)
{
	(void)state;
	assert_int_equal(map_range(0, 0x800, VHU_READ), 0);
	assert_int_equal(map_range(0x800, 0x2800, VHU_READ), 0);
	assert_int_equal(map_range(0x3000, 0x10, VHU_READ | VHU_WRITE), 0);
	assert_int_equal(map_range(0x3010, 0x2000, VHU_READ | VHU_WRITE), 0);
	run_ring();
	assert_false(is_parked());
	assert_not_asked();
}

static void
ring_in_pieces_that_share_a_page_breaks(void **state)
{
	(void)state;
	assert_int_equal(map_range(0x2000, 0x2000, VHU_READ | VHU_WRITE), 0);
	assert_int_equal(map_range(0, 0x800, VHU_READ), 0);
	run_ring();
	assert_asked(IOVA + 0x800, VHU_READ);
	assert_int_equal(tell(VHU_IOTLB_UPDATE, IOVA + 0x800, 0x800, RIG_USER + 0x9000, 1), 0);
	assert_true(is_parked());
	assert_true(rig_info(0).broken);
	assert_int_equal(rig_base(0), 7);
}

static void
stopped_ring_that_never_ran_keeps_its_base(void **state)
{
	(void)state;
	run_ring();
	assert_int_equal(rig_base(0), 7);
	vhu_device_tick(rig.device);
	assert_int_equal(map_range(0, 0x4000, VHU_READ | VHU_WRITE), 0);
	assert_true(is_parked());
}

static void
missing_buffer_is_asked_for_once_and_found_after_the_update(void **state)
{
	(void)state;
	assert_int_equal(map_range(0, 0x4000, VHU_READ | VHU_WRITE), 0);
	run_ring();
	assert_null(translate(IOVA + 0x8123, VHU_WRITE));
	assert_null(translate(IOVA + 0x8123, VHU_WRITE));
	vhu_device_check_missing(rig.device);
	vhu_device_check_missing(rig.device);
	assert_asked(IOVA + 0x8000, VHU_WRITE);
	assert_not_asked();
	assert_int_equal(map_range(0x8000, PAGE, VHU_WRITE), 0);
	assert_int_equal(atomic_load(&rig.rings[0].miss), 0);
	assert_non_null(translate(IOVA + 0x8123, VHU_WRITE));
	/* It may only be written. */
	assert_null(translate(IOVA + 0x8123, VHU_READ));
	vhu_device_check_missing(rig.device);
	assert_asked(IOVA + 0x8000, VHU_READ);
}

static void
question_without_answer_is_asked_again_after_a_while(void **state)
{
	struct pollfd asked = { .events = POLLIN };
	unsigned int rounds;

	(void)state;
	assert_int_equal(map_range(0, 0x4000, VHU_READ | VHU_WRITE), 0);
	run_ring();
	assert_null(translate(IOVA + 0x8000, VHU_WRITE));
	vhu_device_tick(rig.device);
	assert_asked(IOVA + 0x8000, VHU_WRITE);
	/* The control loop ticks about every 10 ms. */
	asked.fd = peer;
	for (rounds = 0; rounds < 500 && poll(&asked, 1, 10) == 0; rounds++)
		vhu_device_tick(rig.device);
	assert_true(rounds > 1);
	assert_asked(IOVA + 0x8000, VHU_WRITE);
}

static void
answer_that_permits_less_leaves_the_question_open(void **state)
{
	(void)state;
	assert_int_equal(map_range(0, 0x4000, VHU_READ | VHU_WRITE), 0);
	run_ring();
	assert_null(translate(IOVA + 0x8000, VHU_WRITE));
	vhu_device_check_missing(rig.device);
	assert_asked(IOVA + 0x8000, VHU_WRITE);
	/* Asking again at once would be answered in the same way, for ever. */
	assert_int_equal(map_range(0x8000, PAGE, VHU_READ), 0);
	assert_null(translate(IOVA + 0x8000, VHU_WRITE));
	vhu_device_check_missing(rig.device);
	assert_not_asked();
}

static void
answer_for_another_part_of_the_page_leaves_the_question_open(void **state)
{
	(void)state;
	assert_int_equal(map_range(0, 0x4000, VHU_READ | VHU_WRITE), 0);
	run_ring();
	assert_null(translate(IOVA + 0x8000, VHU_WRITE));
	vhu_device_check_missing(rig.device);
	assert_asked(IOVA + 0x8000, VHU_WRITE);
	assert_int_equal(map_range(0x8800, 0x800, VHU_WRITE), 0);
	vhu_device_check_missing(rig.device);
	assert_not_asked();
}

/* Buffers of one page each behind the lcore's position, from 0x10000 on. */
static void
post(unsigned int first, unsigned int count)
{
	const struct vhu_snapshot *snapshot = rig_seen(0);
	struct vring_avail *avail = (struct vring_avail *)(uintptr_t)snapshot->avail;
	struct vring_desc *table = (struct vring_desc *)(uintptr_t)snapshot->descriptors;
	unsigned int i;

	for (i = first; i < first + count; i++) {
		uint16_t slot = (uint16_t)((7 + i) % RIG_RING_SIZE);

		table[slot] = (struct vring_desc){ .addr = IOVA + 0x10000 + i * PAGE,
			.len = 1500, .flags = VRING_DESC_F_WRITE };
		avail->ring[slot] = slot;
	}
	avail->idx = (uint16_t)(7 + first + count);
}

static void
rest_of_a_page_is_asked_for_by_its_own_address(void **state)
{
	struct vring_desc *table;

	(void)state;
	rig_used(0)->idx = 7;
	assert_int_equal(map_range(0, 0x4000, VHU_READ | VHU_WRITE), 0);
	run_ring();
	post(0, 1);
	table = (struct vring_desc *)(uintptr_t)rig_seen(0)->descriptors;
	table[7].addr += 0x100;
	assert_null(translate(IOVA + 0x10100, VHU_WRITE));
	vhu_device_check_missing(rig.device);
	assert_asked(IOVA + 0x10000, VHU_WRITE);
	assert_int_equal(map_range(0x10000, 0x400, VHU_WRITE), 0);
	assert_null(translate(IOVA + 0x10400, VHU_WRITE));
	vhu_device_check_missing(rig.device);
	assert_asked(IOVA + 0x10400, VHU_WRITE);
	assert_int_equal(map_range(0x10400, 0x300, VHU_WRITE), 0);
	assert_non_null(translate(IOVA + 0x10400, VHU_WRITE));
}

static void
buffers_of_a_waiting_ring_are_asked_for_at_once(void **state)
{
	unsigned int i;

	(void)state;
	rig_used(0)->idx = 7;
	assert_int_equal(map_range(0, 0x4000, VHU_READ | VHU_WRITE), 0);
	run_ring();
	post(0, 3);
	/* Nobody has missed anything, and the ring's lcore does not note its place. */
	vhu_device_tick(rig.device);
	assert_not_asked();
	assert_null(translate(IOVA + 0x10000, VHU_WRITE));
	vhu_device_check_missing(rig.device);
	for (i = 0; i < 3; i++)
		assert_asked(IOVA + 0x10000 + i * PAGE, VHU_WRITE);
	vhu_device_check_missing(rig.device);
	assert_not_asked();
}

static void
buffers_ahead_are_asked_for_before_they_are_missed(void **state)
{
	unsigned int i;

	(void)state;
	rig_used(0)->idx = 7;
	assert_int_equal(map_range(0, 0x4000, VHU_READ | VHU_WRITE), 0);
	run_ring();
	((struct vhu_snapshot *)(uintptr_t)rig_seen(0))->notes_place = true;
	post(0, 40);
	vhu_device_tick(rig.device);
	for (i = 0; i < VHU_RING_AHEAD; i++)
		assert_asked(IOVA + 0x10000 + i * PAGE, VHU_WRITE);
	assert_not_asked();
	assert_int_equal(map_range(0x10000, 40 * PAGE, VHU_WRITE), 0);
	/* What was used and unmapped is not asked for again. */
	rig.rings[0].next_avail += 20;
	vhu_ring_moved(&rig.rings[0], rig_seen(0));
	assert_int_equal(unmap_range(0x10000, 40 * PAGE), 0);
	for (i = 20; i < 40; i++)
		assert_asked(IOVA + 0x10000 + i * PAGE, VHU_WRITE);
	assert_not_asked();
}

static void
page_of_two_parts_of_a_ring_is_asked_for_once(void **state)
{
	struct vhu_wire_vring_addr address = rig_address(0);

	(void)state;
	address.descriptor += IOVA - RIG_USER;
	address.avail += IOVA - RIG_USER;
	address.used = address.avail + 0x800;
	assert_int_equal(rig_state(VHU_SET_VRING_NUM, 0, 64), 0);
	assert_int_equal(rig_state(VHU_SET_VRING_BASE, 0, 7), 0);
	assert_int_equal(rig_ask(VHU_SET_VRING_ADDR, &address, sizeof(address), -1), 0);
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 0, rig_eventfd()), 0);
	assert_asked(IOVA, VHU_READ);
	assert_asked(IOVA + 0x2000, VHU_READ | VHU_WRITE);
	assert_not_asked();
}

static void
invalidation_is_answered_when_no_burst_uses_the_entry(void **state)
{
	unsigned int replies;

	(void)state;
	assert_int_equal(map_range(0, 0x4000, VHU_READ | VHU_WRITE), 0);
	assert_int_equal(map_range(0x8000, PAGE, VHU_READ | VHU_WRITE), 0);
	run_ring();
	assert_non_null(translate(IOVA + 0x8000, VHU_WRITE));
	(void)vhu_reader_enter(&rig.rings[0].reader);
	replies = rig.replies;
	send_iotlb(VHU_IOTLB_INVALIDATE, IOVA + 0x8000, PAGE, 0, 0);
	assert_int_equal(rig.replies, replies);
	vhu_reader_leave(&rig.rings[0].reader);
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig.replies, replies + 1);
	assert_int_equal(rig.reply.payload.u64, 0);
	/* Neither the entry nor the hint that was taken from it. */
	assert_null(translate(IOVA + 0x8000, VHU_WRITE));
	assert_false(is_parked());
}

static void
ring_rests_while_its_own_pages_are_gone(void **state)
{
	(void)state;
	assert_int_equal(map_range(0, 0x4000, VHU_READ | VHU_WRITE), 0);
	run_ring();
	rig.rings[0].next_avail = 20;
	assert_int_equal(unmap_range(0x3000, PAGE), 0);
	assert_true(is_parked());
	/* The entry went whole. */
	assert_asked(IOVA, VHU_READ);
	assert_asked(IOVA + 0x2000, VHU_READ);
	assert_asked(IOVA + 0x3000, VHU_READ | VHU_WRITE);
	assert_int_equal(map_range(0, 0x4000, VHU_READ | VHU_WRITE), 0);
	assert_false(is_parked());
	assert_int_equal(rig.rings[0].next_avail, 20);
}

static void
everything_can_be_invalidated_at_once(void **state)
{
	(void)state;
	assert_int_equal(map_range(0, 0x4000, VHU_READ | VHU_WRITE), 0);
	run_ring();
	assert_int_equal(tell(VHU_IOTLB_INVALIDATE, 0, UINT64_MAX, 0, 0), 0);
	assert_true(is_parked());
	assert_int_equal(map_range(0, 0x4000, VHU_READ | VHU_WRITE), 0);
	assert_false(is_parked());
}

static void
translation_to_no_memory_is_refused(void **state)
{
	(void)state;
	assert_int_equal(tell(VHU_IOTLB_UPDATE, IOVA, PAGE, 0x1000, 3), 1);
	assert_int_equal(tell(VHU_IOTLB_UPDATE, IOVA, 2 * RIG_MEMORY, RIG_USER, 3), 1);
	assert_int_equal(tell(VHU_IOTLB_UPDATE, IOVA, 0, RIG_USER, 3), 1);
	assert_int_equal(tell(VHU_IOTLB_UPDATE, UINT64_MAX - 10, PAGE, RIG_USER, 3), 1);
	assert_int_equal(tell(VHU_IOTLB_UPDATE, IOVA, PAGE, RIG_USER, 0), 1);
	assert_int_equal(tell(VHU_IOTLB_UPDATE, IOVA, PAGE, RIG_USER, 4), 1);
	assert_int_equal(tell(VHU_IOTLB_MISS, IOVA, PAGE, RIG_USER, 3), 1);
	assert_int_equal(tell(9, IOVA, PAGE, RIG_USER, 3), 1);
	assert_int_equal(tell(VHU_IOTLB_UPDATE, IOVA, RIG_MEMORY, RIG_USER, 3), 0);
}

static void
translation_over_two_regions_leads_to_both(void **state)
{
	struct vhu_wire_region halves[2] = { rig_region(0, RIG_MEMORY / 2),
		rig_region(RIG_MEMORY / 2, RIG_MEMORY / 2) };
	const uint64_t edge = RIG_MEMORY / 2;

	(void)state;
	rig_send_table(halves, 2);
	assert_int_equal(map_range(0, RIG_MEMORY, VHU_READ | VHU_WRITE), 0);
	run_ring();
	assert_false(is_parked());
	assert_ptr_equal(translate(IOVA + edge - 1, VHU_WRITE),
		vhu_map_user(vhu_device_map(rig.device), RIG_USER + edge - 1, 1));
	assert_ptr_equal(translate(IOVA + edge, VHU_WRITE),
		vhu_map_user(vhu_device_map(rig.device), RIG_USER + edge, 1));
	assert_not_asked();
}

static void
translations_go_with_their_memory(void **state)
{
	struct vhu_wire_region low = rig_region(0, RIG_MEMORY / 2);

	(void)state;
	assert_int_equal(map_range(0, 0x4000, VHU_READ | VHU_WRITE), 0);
	assert_int_equal(map_range(RIG_MEMORY / 2, PAGE, VHU_READ | VHU_WRITE), 0);
	run_ring();
	assert_non_null(translate(IOVA + RIG_MEMORY / 2, VHU_READ));
	rig_send_table(&low, 1);
	assert_int_equal(rig.reply.payload.u64, 0);
	assert_null(translate(IOVA + RIG_MEMORY / 2, VHU_READ));
	/* The ring's own memory was mapped anew, somewhere else: it asks where it is. */
	vhu_device_tick(rig.device);
	assert_int_equal(map_range(0, 0x4000, VHU_READ | VHU_WRITE), 0);
	assert_false(is_parked());
	assert_ptr_equal(rig_seen(0)->descriptors,
		vhu_map_user(vhu_device_map(rig.device), RIG_USER, 1));
}

static void
log_of_the_used_ring_goes_by_guest_address(void **state)
{
	struct vhu_wire_vring_addr address = rig_address(0);

	(void)state;
	assert_int_equal(map_range(0, 0x4000, VHU_READ | VHU_WRITE), 0);
	run_ring();
	address.descriptor += IOVA - RIG_USER;
	address.avail += IOVA - RIG_USER;
	address.used += IOVA - RIG_USER;
	address.flags = VHU_VRING_LOG;
	address.log_guest_address = address.used;
	assert_int_equal(rig_u64(VHU_SET_FEATURES,
		RIG_FEATURES | RIG_PROTOCOL | ACCESS | VHU_BIT(VHU_F_LOG_ALL)), 0);
	assert_int_equal(rig_ask(VHU_SET_VRING_ADDR, &address, sizeof(address), -1), 0);
	assert_true(rig_seen(0)->dirty_ring);
	assert_int_equal(rig_seen(0)->used_guest_address, 0x3000);
}

static void
translations_are_forgotten_when_the_last_ring_stops(void **state)
{
	(void)state;
	assert_int_equal(map_range(0, 0x4000, VHU_READ | VHU_WRITE), 0);
	run_ring();
	assert_false(is_parked());
	(void)rig_base(0);
	run_ring();
	assert_true(is_parked());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IOTLB_TEST(ring_waits_for_its_own_translations_and_then_runs),
		IOTLB_TEST(ring_over_several_entries_runs_if_they_are_neighbours),
		IOTLB_TEST(ring_in_pieces_that_share_a_page_breaks),
		IOTLB_TEST(stopped_ring_that_never_ran_keeps_its_base),
		IOTLB_TEST(missing_buffer_is_asked_for_once_and_found_after_the_update),
		IOTLB_TEST(question_without_answer_is_asked_again_after_a_while),
		IOTLB_TEST(answer_that_permits_less_leaves_the_question_open),
		IOTLB_TEST(answer_for_another_part_of_the_page_leaves_the_question_open),
		IOTLB_TEST(rest_of_a_page_is_asked_for_by_its_own_address),
		IOTLB_TEST(buffers_of_a_waiting_ring_are_asked_for_at_once),
		IOTLB_TEST(buffers_ahead_are_asked_for_before_they_are_missed),
		IOTLB_TEST(page_of_two_parts_of_a_ring_is_asked_for_once),
		IOTLB_TEST(invalidation_is_answered_when_no_burst_uses_the_entry),
		IOTLB_TEST(ring_rests_while_its_own_pages_are_gone),
		IOTLB_TEST(everything_can_be_invalidated_at_once),
		IOTLB_TEST(translation_to_no_memory_is_refused),
		IOTLB_TEST(translation_over_two_regions_leads_to_both),
		IOTLB_TEST(translations_go_with_their_memory),
		IOTLB_TEST(log_of_the_used_ring_goes_by_guest_address),
		IOTLB_TEST(translations_are_forgotten_when_the_last_ring_stops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
