/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "ring_rig.h"

#include "ring/element.h"

#define SIZE 8

static struct vhu_element_queue queue;
static void *memory;
static struct vhu_element elements[2 * SIZE];

/* Begin a life of the queue where the ring stands. */
static void
start(void)
{
	struct vhu_walk avail = vhu_walk_begin(&queue.ring);
	struct vhu_walk used = vhu_used_position(&queue.ring);

	vhu_element_queue_start(&queue, memory, &rig.snapshot, 0, &avail, &used);
}

static int
begin(enum vhu_ring_format format)
{
	rig_begin(format, SIZE);
	vhu_element_queue_init(&queue);
	vhu_ring_reset(&queue.ring, 0, 0);
	rig.ring = &queue.ring;
	memory = malloc(vhu_element_queue_memory(SIZE));
	assert_non_null(memory);
	start();
	return 0;
}

static int
begin_split(void **state)
{
	(void)state;
	return begin(VHU_SPLIT);
}

static int
begin_packed(void **state)
{
	(void)state;
	return begin(VHU_PACKED);
}

static int
end(void **state)
{
	(void)state;
	free(memory);
	rig_end();
	return 0;
}

/* A chain of one readable and one writable descriptor; its id is that of both formats. */
static void
offer(uint16_t id)
{
	const struct rig_buffer buffers[] = {
		{ RIG_DATA + 8192u * id, 16, RIG_N, (uint16_t)(id + 1) },
		{ RIG_DATA + 8192u * id + 4096, 100, RIG_W, 0 },
	};

	rig_offer(buffers, 2, id);
}

static uint16_t
take(uint16_t count)
{
	return vhu_elements_take(&queue, &rig.snapshot, elements, count, rig.segments,
		VHU_SEGMENTS_MAX);
}

/* Offer some chains with even ids from 0 on, and take them all into elements[]. */
static void
take_fresh(uint16_t count)
{
	uint16_t i;

	for (i = 0; i < count; i++)
		offer((uint16_t)(2 * i));
	assert_int_equal(take(SIZE), count);
}

static bool
give(unsigned int which, uint32_t written)
{
	return vhu_elements_give(&queue, &rig.snapshot, &elements[which], written);
}

static uint16_t
flush(void)
{
	return vhu_elements_flush(&queue, &rig.snapshot, UINT16_MAX);
}

/* The used entry that the driver finds as number @p n, if it is there. */
static bool
used_entry(unsigned int n, uint16_t *id, uint32_t *length)
{
	const struct vring_packed_desc *d;

	if (!rig_packed()) {
		*id = (uint16_t)rig_used()->ring[n % SIZE].id;
		*length = rig_used()->ring[n % SIZE].len;
		return n < rig_used()->idx;
	}
	d = &rig.snapshot.packed[2 * n % SIZE];
	*id = d->id;
	*length = d->len;
	return (d->flags >> 15 & 1) == (d->flags >> 7 & 1) &&
		(d->flags >> 15 & 1) == (2 * n / SIZE % 2 == 0);
}

static void
assert_used(unsigned int n, uint16_t id, uint32_t length)
{
	uint16_t seen_id = 0;
	uint32_t seen_length = 0;

	assert_true(used_entry(n, &seen_id, &seen_length));
	assert_int_equal(seen_id, id);
	assert_int_equal(seen_length, length);
}

static void
assert_not_used(unsigned int n)
{
	uint16_t id;
	uint32_t length;

	assert_false(used_entry(n, &id, &length));
}

static void
elements_of_a_burst_share_the_segments(void **state)
{
	(void)state;
	take_fresh(3);
	assert_ptr_equal(elements[0].segments, rig.segments);
	assert_ptr_equal(elements[1].segments, rig.segments + 2);
	assert_ptr_equal(elements[2].segments, rig.segments + 4);
	assert_ptr_equal(rig.segments[5].iov_base, rig_host(RIG_DATA + 8192 * 4 + 4096));
	assert_int_equal(elements[2].chain.id, 4);
	assert_int_equal(take(SIZE), 0);
}

static void
burst_ends_where_segments_end(void **state)
{
	(void)state;
	offer(0);
	offer(2);
	assert_int_equal(vhu_elements_take(&queue, &rig.snapshot, elements, SIZE, rig.segments, 3),
		1);
	assert_int_equal(take(SIZE), 1);
	assert_int_equal(elements[0].chain.id, 2);
}

static void
elements_come_back_in_any_order(void **state)
{
	(void)state;
	take_fresh(3);
	assert_true(give(2, 30));
	assert_true(give(0, 10));
	assert_not_used(0);
	assert_int_equal(flush(), 2);
	assert_used(0, 4, 30);
	assert_used(1, 0, 10);
	assert_true(give(1, 20));
	assert_int_equal(flush(), 1);
	assert_used(2, 2, 20);
	assert_int_equal(queue.in_flight, 0);
	assert_int_equal(queue.in_flight_slots, 0);
}

static void
flush_shows_no_more_than_asked_for(void **state)
{
	(void)state;
	take_fresh(3);
	assert_true(give(0, 1));
	assert_true(give(1, 1));
	assert_int_equal(vhu_elements_flush(&queue, &rig.snapshot, 1), 1);
	assert_used(0, 0, 1);
	assert_not_used(1);
	assert_int_equal(flush(), 1);
	assert_int_equal(flush(), 0);
}

static void
places_may_be_filled_in_any_order(void **state)
{
	(void)state;
	take_fresh(3);
	assert_true(vhu_elements_fill(&queue, &rig.snapshot, &elements[0], 1, 1));
	/* A gap is never shown, and a place is filled once. */
	assert_int_equal(flush(), 0);
	assert_false(vhu_elements_fill(&queue, &rig.snapshot, &elements[1], 1, 1));
	assert_true(vhu_elements_fill(&queue, &rig.snapshot, &elements[1], 2, 0));
	assert_int_equal(flush(), 2);
	assert_used(0, 2, 2);
	assert_used(1, 0, 1);
}

static void
element_comes_back_once(void **state)
{
	(void)state;
	take_fresh(1);
	assert_true(give(0, 1));
	assert_false(give(0, 1));
	assert_int_equal(flush(), 1);
	assert_false(give(0, 1));
	assert_int_equal(flush(), 0);
	assert_not_used(1);
}

static void
element_of_a_former_life_is_refused(void **state)
{
	struct vhu_element old;

	(void)state;
	take_fresh(1);
	old = elements[0];
	start();
	vhu_ring_reset(&queue.ring, 0, 0);
	assert_int_equal(take(1), 1);
	assert_false(vhu_elements_give(&queue, &rig.snapshot, &old, 1));
	assert_true(give(0, 1));
}

static void
written_is_at_most_what_is_writable(void **state)
{
	(void)state;
	take_fresh(1);
	assert_true(give(0, 101));
	flush();
	assert_used(0, 0, 100);
}

static void
buffer_offered_twice_breaks_the_ring(void **state)
{
	(void)state;
	take_fresh(1);
	offer(0);
	assert_int_equal(take(1), 0);
	assert_int_equal(rig_broken(), VHU_BROKEN_REUSED);
	/* What was taken can still be returned. */
	assert_true(give(0, 1));
	assert_int_equal(flush(), 1);
}

static void
packed_ring_offers_no_more_than_it_holds(void **state)
{
	const struct rig_buffer buffer = { RIG_DATA, 8, RIG_W, 0 };

	(void)state;
	take_fresh(3);
	rig_offer(&buffer, 1, 7);
	rig_offer(&buffer, 1, 6);
	assert_int_equal(take(SIZE), 2);
	/* The ring is full; the driver overwrites what it offered. */
	rig_offer(&buffer, 1, 5);
	assert_int_equal(take(SIZE), 0);
	assert_int_equal(rig_broken(), VHU_BROKEN_REUSED);
}

static void
untaken_elements_are_taken_again(void **state)
{
	(void)state;
	take_fresh(3);
	assert_true(vhu_elements_untake(&queue, &rig.snapshot, 2));
	assert_int_equal(queue.in_flight, 1);
	assert_int_equal(take(SIZE), 2);
	assert_int_equal(elements[0].chain.id, 2);
	assert_int_equal(elements[1].chain.id, 4);
}

static void
untake_goes_back_over_the_end_of_the_ring(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		offer(0);
		assert_int_equal(take(1), 1);
		assert_true(give(0, 1));
		assert_int_equal(flush(), 1);
	}
	offer(2);
	offer(4);
	assert_int_equal(take(2), 2);
	assert_true(vhu_elements_untake(&queue, &rig.snapshot, 2));
	assert_int_equal(queue.ring.next_avail, rig_packed() ? 6 : 3);
	assert_true(queue.ring.avail_wrap);
	assert_int_equal(take(2), 2);
	assert_int_equal(elements[1].chain.id, 4);
}

static void
untake_is_refused_for_what_is_not_there(void **state)
{
	(void)state;
	assert_false(vhu_elements_untake(&queue, &rig.snapshot, 1));
	take_fresh(2);
	assert_false(vhu_elements_untake(&queue, &rig.snapshot, 3));
	/* The last one is back already. */
	assert_true(give(1, 1));
	assert_false(vhu_elements_untake(&queue, &rig.snapshot, 1));
	flush();
	assert_false(vhu_elements_untake(&queue, &rig.snapshot, 1));
	assert_int_equal(queue.in_flight, 1);
}

static void
untaken_element_cannot_come_back(void **state)
{
	(void)state;
	take_fresh(1);
	assert_true(vhu_elements_untake(&queue, &rig.snapshot, 1));
	assert_false(give(0, 1));
}

static void
with_in_order_elements_wait_for_those_before(void **state)
{
	(void)state;
	rig.snapshot.in_order = true;
	take_fresh(3);
	assert_true(give(2, 30));
	assert_true(give(1, 20));
	assert_int_equal(flush(), 0);
	assert_not_used(0);
	assert_true(give(0, 10));
	assert_int_equal(flush(), 3);
	assert_used(0, 0, 10);
	assert_used(1, 2, 20);
	assert_used(2, 4, 30);
}

static void
notification_covers_several_flushes(void **state)
{
	(void)state;
	take_fresh(3);
	give(0, 1);
	flush();
	give(1, 1);
	flush();
	assert_int_equal(rig_calls(), 0);
	vhu_elements_notify(&queue, &rig.snapshot);
	assert_int_equal(rig_calls(), 1);
	vhu_elements_notify(&queue, &rig.snapshot);
	assert_int_equal(rig_calls(), 0);
}

static void
event_between_two_flushes_is_not_missed(void **state)
{
	(void)state;
	rig.snapshot.features |= VHU_BIT(VIRTIO_RING_F_EVENT_IDX);
	take_fresh(3);
	queue.ring.phase = VHU_RING_NOTIFIED;
	if (rig_packed()) {
		rig_driver_event()->flags = VRING_PACKED_EVENT_FLAG_DESC;
		rig_driver_event()->off_wrap = 0x8000;
	}
	give(0, 1);
	flush();
	give(1, 1);
	flush();
	vhu_elements_notify(&queue, &rig.snapshot);
	assert_int_equal(rig_calls(), 1);
}

static void
element_that_comes_while_kicks_are_asked_for_is_taken(void **state)
{
	(void)state;
	rig.snapshot.features |= VHU_BIT(VIRTIO_RING_F_EVENT_IDX);
	assert_false(vhu_elements_want_kicks(&queue, &rig.snapshot, true));
	take_fresh(2);
	/* The driver is asked to kick for the next one. */
	if (rig_packed())
		assert_int_equal(rig_device_event()->off_wrap, 0x8000 | 4);
	else
		assert_int_equal(rig_used()->ring[SIZE].id & 0xffff, 2);
	assert_false(vhu_elements_waiting(&queue, &rig.snapshot));
	offer(4);
	assert_true(vhu_elements_waiting(&queue, &rig.snapshot));
	assert_true(vhu_elements_want_kicks(&queue, &rig.snapshot, true));
}

static void
sums_take_nothing_and_stop_at_their_limits(void **state)
{
	uint64_t readable, writable;
	struct iovec segments[VHU_SEGMENTS_MAX];

	(void)state;
	offer(0);
	offer(2);
	offer(4);
	vhu_elements_sum(&queue, &rig.snapshot, segments, &readable, &writable, UINT64_MAX,
		UINT64_MAX);
	assert_int_equal(readable, 48);
	assert_int_equal(writable, 300);
	vhu_elements_sum(&queue, &rig.snapshot, segments, &readable, &writable, 17, 1);
	assert_int_equal(readable, 32);
	assert_int_equal(writable, 200);
	assert_int_equal(take(SIZE), 3);
}

static void
sums_of_a_broken_ring_are_0(void **state)
{
	const struct rig_buffer bad = { RIG_END, 8, 0, 0 };
	struct iovec segments[VHU_SEGMENTS_MAX];
	uint64_t readable, writable;

	(void)state;
	offer(0);
	rig_offer(&bad, 1, 2);
	vhu_elements_sum(&queue, &rig.snapshot, segments, &readable, &writable, UINT64_MAX,
		UINT64_MAX);
	assert_int_equal(readable, 0);
	assert_int_equal(writable, 0);
	assert_int_equal(rig_broken(), VHU_BROKEN_ADDRESS);
}

static void
parked_ring_is_left_alone(void **state)
{
	(void)state;
	take_fresh(1);
	offer(2);
	assert_int_equal(vhu_elements_take(&queue, &vhu_snapshot_parked, elements + 1, 1,
		rig.segments, VHU_SEGMENTS_MAX), 0);
	assert_false(vhu_elements_give(&queue, &vhu_snapshot_parked, &elements[0], 1));
	assert_int_equal(vhu_elements_flush(&queue, &vhu_snapshot_parked, UINT16_MAX), 0);
	assert_false(vhu_elements_untake(&queue, &vhu_snapshot_parked, 1));
	assert_false(vhu_elements_waiting(&queue, &vhu_snapshot_parked));
	vhu_elements_notify(&queue, &vhu_snapshot_parked);
	assert_true(give(0, 1));
}

static void
written_pages_are_noted_before_they_are_shown(void **state)
{
	struct vhu_dirty *dirty = vhu_dirty_new_own();
	uint64_t page = (RIG_DATA + 4096) / 4096;

	(void)state;
	take_fresh(2);
	/* Migration begins while both are in flight. */
	rig.snapshot.dirty = dirty;
	assert_true(give(0, 1));
	assert_true(atomic_load(&dirty->words[page / 64]) >> page % 64 & 1);
	assert_true(give(1, 0));
	page += 2;
	assert_false(atomic_load(&dirty->words[page / 64]) >> page % 64 & 1);
	vhu_dirty_drop(dirty);
}

static void
element_in_flight_is_found_by_its_id(void **state)
{
	struct vhu_element found;

	(void)state;
	take_fresh(2);
	assert_true(vhu_elements_find(&queue, 2, &found));
	assert_int_equal(found.sequence, elements[1].sequence);
	assert_false(vhu_elements_find(&queue, 3, &found));
	assert_false(vhu_elements_find(&queue, SIZE, &found));
	give(1, 1);
	assert_false(vhu_elements_find(&queue, 2, &found));
}

#define PACKED(test) { #test, test, begin_packed, end, NULL }
#define BOTH(test) { #test " (split)", test, begin_split, end, NULL }, \
	{ #test " (packed)", test, begin_packed, end, NULL }

int
main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(elements_of_a_burst_share_the_segments),
		BOTH(burst_ends_where_segments_end),
		BOTH(elements_come_back_in_any_order),
		BOTH(flush_shows_no_more_than_asked_for),
		BOTH(places_may_be_filled_in_any_order),
		BOTH(element_comes_back_once),
		BOTH(element_of_a_former_life_is_refused),
		BOTH(written_is_at_most_what_is_writable),
		BOTH(buffer_offered_twice_breaks_the_ring),
		PACKED(packed_ring_offers_no_more_than_it_holds),
		BOTH(untaken_elements_are_taken_again),
		BOTH(untake_goes_back_over_the_end_of_the_ring),
		BOTH(untake_is_refused_for_what_is_not_there),
		BOTH(untaken_element_cannot_come_back),
		BOTH(with_in_order_elements_wait_for_those_before),
		BOTH(notification_covers_several_flushes),
		BOTH(event_between_two_flushes_is_not_missed),
		BOTH(element_that_comes_while_kicks_are_asked_for_is_taken),
		BOTH(sums_take_nothing_and_stop_at_their_limits),
		BOTH(sums_of_a_broken_ring_are_0),
		BOTH(parked_ring_is_left_alone),
		BOTH(written_pages_are_noted_before_they_are_shown),
		BOTH(element_in_flight_is_found_by_its_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
