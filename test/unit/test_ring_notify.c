/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <fcntl.h>
#include <sys/mman.h>

#define SIZE 8 /* descriptors of the rings; ring_rig.h makes its fixtures for it */
#include "ring_rig.h"

static void
negotiate(unsigned int bit)
{
	rig.snapshot.features |= UINT64_C(1) << bit;
}

/* Offer, take and give back so many chains of one descriptor, in one burst. */
static void
use(unsigned int count)
{
	const struct rig_buffer buffer = { RIG_DATA, 8, RIG_W, 0 };
	struct vhu_walk old = vhu_used_position(rig.ring);
	unsigned int i;

	for (i = 0; i < count; i++) {
		uint32_t written = i;

		rig_offer(&buffer, 1, (uint16_t)(rig.avail % SIZE));
		assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
		vhu_used_write(rig.ring, &rig.snapshot, &rig.chain, &written, 1);
	}
	vhu_used_publish(rig.ring, &rig.snapshot, old);
}

/* The first notification is always sent: have it behind us. */
static void
begin_notified(void)
{
	vhu_ring_begin(rig.ring, &rig.snapshot);
	rig.ring->phase = VHU_RING_NOTIFIED;
}

static void
used_elements_are_written_before_the_index(void **state)
{
	const struct rig_buffer buffer = { RIG_DATA, 8, RIG_W, 0 };
	struct vhu_walk old = vhu_used_position(rig.ring);
	uint32_t written[2] = { 5, 6 };
	struct vhu_chain chains[2];

	(void)state;
	rig_offer(&buffer, 1, 3);
	rig_offer(&buffer, 1, 4);
	assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
	chains[0] = rig.chain;
	assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
	chains[1] = rig.chain;
	vhu_used_write(rig.ring, &rig.snapshot, chains, written, 2);
	assert_int_equal(rig_used()->ring[0].id, 3);
	assert_int_equal(rig_used()->ring[0].len, 5);
	assert_int_equal(rig_used()->ring[1].id, 4);
	assert_int_equal(rig_used()->ring[1].len, 6);
	assert_int_equal(rig_used()->idx, 0);
	vhu_used_publish(rig.ring, &rig.snapshot, old);
	assert_int_equal(rig_used()->idx, 2);
}

static void
first_used_descriptor_is_shown_last(void **state)
{
	const struct rig_buffer pair[] = { { RIG_DATA, 8, RIG_N, 0 }, { RIG_DATA, 8, RIG_W, 0 } };
	const struct vring_packed_desc *ring = rig.snapshot.packed;
	struct vhu_walk old = vhu_used_position(rig.ring);
	uint32_t written = 5;
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		rig_offer(pair, 2, (uint16_t)(3 + i));
		assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
		/* Twice: what is shown last is the first of all, not of each call. */
		vhu_used_write(rig.ring, &rig.snapshot, &rig.chain, i == 0 ? &written : NULL, 1);
	}
	assert_true(vhu_packed_is_available(ring[0].flags, true));
	/* A chain takes its slots, and one descriptor tells of it. */
	assert_int_equal(ring[2].id, 4);
	assert_int_equal(ring[2].len, 0);
	assert_int_equal(ring[2].flags, VHU_PACKED_AVAIL | VHU_PACKED_USED);
	vhu_used_publish(rig.ring, &rig.snapshot, old);
	assert_int_equal(ring[0].id, 3);
	assert_int_equal(ring[0].len, 5);
	assert_int_equal(ring[0].flags, VHU_PACKED_AVAIL | VHU_PACKED_USED | RIG_W);
	assert_int_equal(rig.ring->next_used, 4);
}

static void
used_flags_change_in_the_next_lap(void **state)
{
	(void)state;
	use(SIZE);
	use(1);
	assert_int_equal(rig.snapshot.packed[0].flags & (VHU_PACKED_AVAIL | VHU_PACKED_USED), 0);
	assert_false(rig.ring->used_wrap);
	assert_int_equal(rig.ring->next_used, 1);
}

static void
publishing_nothing_does_nothing(void **state)
{
	(void)state;
	vhu_used_publish(rig.ring, &rig.snapshot, vhu_used_position(rig.ring));
	assert_int_equal(rig_calls(), 0);
}

static void
first_notification_is_always_sent(void **state)
{
	(void)state;
	if (rig_packed())
		rig_driver_event()->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
	else
		rig_avail()->flags = VRING_AVAIL_F_NO_INTERRUPT;
	use(1);
	assert_int_equal(rig_calls(), 1);
	use(1);
	assert_int_equal(rig_calls(), 0);
	/* A new life of the ring begins the same way. */
	vhu_ring_reset(rig.ring, rig.ring->next_avail, rig.ring->next_used);
	use(1);
	assert_int_equal(rig_calls(), 1);
}

static void
driver_that_wants_no_interrupt_gets_none(void **state)
{
	(void)state;
	begin_notified();
	use(1);
	assert_int_equal(rig_calls(), 1);
	if (rig_packed())
		rig_driver_event()->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
	else
		rig_avail()->flags = VRING_AVAIL_F_NO_INTERRUPT;
	use(1);
	assert_int_equal(rig_calls(), 0);
	assert_int_equal(atomic_load(&rig.ring->counters.calls_suppressed), 1);
}

static void
burst_is_one_notification(void **state)
{
	(void)state;
	begin_notified();
	use(5);
	assert_int_equal(rig_calls(), 1);
	assert_int_equal(atomic_load(&rig.ring->counters.calls), 1);
}

/* Used so many before; the event lies there; so many are used then: is that a notification? */
static void
split_event_index_follows_the_standard(void **state)
{
	static const uint16_t starts[] = { 0, 5, 0x7ffe, 0xfffc, 0xffff };
	unsigned int i, count;
	int ahead;

	(void)state;
	negotiate(VIRTIO_RING_F_EVENT_IDX);
	for (i = 0; i < 5; i++)
		for (count = 1; count <= SIZE; count++)
			for (ahead = -12; ahead <= 12; ahead++) {
				uint16_t event = (uint16_t)(starts[i] + ahead);

				vhu_ring_reset(rig.ring, starts[i], starts[i]);
				rig.avail = starts[i];
				begin_notified();
				rig_avail()->ring[SIZE] = event;
				use(count);
				assert_int_equal(rig_calls(),
					ahead >= 0 && ahead < (int)count);
			}
}

/* The same in descriptors, over both laps. */
static void
packed_event_index_follows_the_standard(void **state)
{
	unsigned int start, count, event;

	(void)state;
	negotiate(VIRTIO_RING_F_EVENT_IDX);
	for (start = 0; start < 2 * SIZE; start++)
		for (count = 1; count <= SIZE; count++)
			for (event = start; event < start + SIZE + 2; event++) {
				bool wrap = start / SIZE % 2 == 0;

				vhu_ring_reset(rig.ring, start % SIZE, start % SIZE);
				vhu_ring_set_wraps(rig.ring, wrap, wrap);
				rig.avail = (uint16_t)(start % SIZE);
				rig.wrap = wrap;
				begin_notified();
				rig_driver_event()->flags = VRING_PACKED_EVENT_FLAG_DESC;
				rig_driver_event()->off_wrap = (uint16_t)(event % SIZE |
					(event / SIZE % 2 == 0 ? 0x8000 : 0));
				use(count);
				assert_int_equal(rig_calls(), event < start + count);
			}
}

static void
packed_event_of_a_descriptor_needs_event_index(void **state)
{
	(void)state;
	begin_notified();
	rig_driver_event()->flags = VRING_PACKED_EVENT_FLAG_DESC;
	rig_driver_event()->off_wrap = 0x8000 | 7;
	use(1);
	assert_int_equal(rig_calls(), 1);
}

static void
nonsense_events_only_cost_or_save_a_notification(void **state)
{
	unsigned int i;

	(void)state;
	negotiate(VIRTIO_RING_F_EVENT_IDX);
	begin_notified();
	for (i = 0; i < 1000; i++) {
		memset(rig_host(RIG_AVAIL + (rig_packed() ? 0 : 4 + 2 * SIZE)), (int)(i * 37),
			rig_packed() ? 4 : 2);
		use(1);
		assert_true(rig_calls() <= 1);
	}
	assert_int_equal(rig_broken(), VHU_BROKEN_NO);
}

static void
emptied_ring_notifies_whatever_the_flag_says(void **state)
{
	const struct rig_buffer buffer = { RIG_DATA, 8, RIG_W, 0 };

	(void)state;
	negotiate(VIRTIO_F_NOTIFY_ON_EMPTY);
	begin_notified();
	rig_avail()->flags = VRING_AVAIL_F_NO_INTERRUPT;
	use(1);
	assert_int_equal(rig_calls(), 1);
	/* One more waits: it is not empty. */
	rig_split_descriptors()[6] = (struct vring_desc){ buffer.address, 8, RIG_W, 0 };
	rig_offer_head(6);
	assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
	rig_offer_head(6);
	vhu_used_write(rig.ring, &rig.snapshot, &rig.chain, NULL, 1);
	vhu_used_publish(rig.ring, &rig.snapshot, (struct vhu_walk){ 1, true });
	assert_int_equal(rig_calls(), 0);
}

static void
without_call_descriptor_nobody_is_notified(void **state)
{
	(void)state;
	rig.snapshot.call_fd = -1;
	use(1);
	assert_int_equal(rig_calls(), 0);
	assert_int_equal(atomic_load(&rig.ring->counters.calls), 0);
}

static void
full_call_counter_is_success(void **state)
{
	const uint64_t full = UINT64_MAX - 1;

	(void)state;
	assert_int_equal(write(rig.call_fd, &full, sizeof(full)), sizeof(full));
	use(1);
	assert_int_equal(atomic_load(&rig.ring->counters.calls), 1);
}

static void
kicks_are_refused_by_flag(void **state)
{
	(void)state;
	vhu_ring_begin(rig.ring, &rig.snapshot);
	if (rig_packed())
		assert_int_equal(rig_device_event()->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
	else
		assert_int_equal(rig_used()->flags, VRING_USED_F_NO_NOTIFY);
	assert_false(vhu_ring_want_kicks(rig.ring, &rig.snapshot, true));
	if (rig_packed())
		assert_int_equal(rig_device_event()->flags, VRING_PACKED_EVENT_FLAG_ENABLE);
	else
		assert_int_equal(rig_used()->flags, 0);
}

static void
kicks_are_asked_for_by_event_index(void **state)
{
	const uint16_t *avail_event = (const uint16_t *)&rig_used()->ring[SIZE];

	(void)state;
	negotiate(VIRTIO_RING_F_EVENT_IDX);
	use(3);
	assert_false(vhu_ring_want_kicks(rig.ring, &rig.snapshot, true));
	if (rig_packed()) {
		assert_int_equal(rig_device_event()->flags, VRING_PACKED_EVENT_FLAG_DESC);
		assert_int_equal(rig_device_event()->off_wrap, 0x8000 | 3);
	} else {
		assert_int_equal(*avail_event, 3);
		assert_int_equal(rig_used()->flags, 0);
	}
	vhu_ring_want_kicks(rig.ring, &rig.snapshot, false);
	if (rig_packed())
		assert_int_equal(rig_device_event()->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
	else
		assert_int_equal(*avail_event, 2);
}

static void
asking_for_kicks_finds_what_waits_already(void **state)
{
	const struct rig_buffer buffer = { RIG_DATA, 8, RIG_W, 0 };

	(void)state;
	rig_offer(&buffer, 1, 0);
	assert_true(vhu_ring_want_kicks(rig.ring, &rig.snapshot, true));
	assert_int_equal(vhu_ring_waiting(rig.ring, &rig.snapshot), 1);
	rig_offer(&buffer, 1, 1);
	assert_int_equal(vhu_ring_waiting(rig.ring, &rig.snapshot), 2);
}

/* A log of one bit for each page below RIG_END, and what is set in it. */
static struct vhu_dirty *dirty;

static bool
marked(uint64_t address)
{
	uint64_t page = address / 4096;

	return atomic_load(&dirty->words[page / 64]) >> page % 64 & 1;
}

static void
begin_log(void)
{
	dirty = vhu_dirty_new_own();
	assert_non_null(dirty);
	rig.snapshot.dirty = dirty;
	rig.snapshot.dirty_ring = true;
}

static void
split_ring_notes_at_the_address_it_was_told(void **state)
{
	(void)state;
	begin_log();
	rig.snapshot.used_guest_address = RIG_HIGH + 4096 - 4;
	use(1);
	/* Flags and index in one page, elements in the next. */
	assert_true(marked(RIG_HIGH));
	assert_true(marked(RIG_HIGH + 4096));
	assert_false(marked(RIG_USED));
	vhu_dirty_drop(dirty);
}

static void
packed_ring_notes_ring_and_event_area_where_they_are(void **state)
{
	(void)state;
	begin_log();
	vhu_ring_begin(rig.ring, &rig.snapshot);
	assert_true(marked(RIG_USED));
	assert_false(marked(RIG_DESCRIPTORS));
	use(1);
	assert_true(marked(RIG_DESCRIPTORS));
	vhu_dirty_drop(dirty);
}

static void
ring_without_log_flag_notes_nothing(void **state)
{
	(void)state;
	begin_log();
	rig.snapshot.dirty_ring = false;
	vhu_ring_begin(rig.ring, &rig.snapshot);
	use(1);
	assert_false(marked(RIG_USED));
	assert_false(marked(RIG_DESCRIPTORS));
	vhu_dirty_drop(dirty);
}

#define SPLIT(test) { #test, test, begin_split, end, NULL }
#define PACKED(test) { #test, test, begin_packed, end, NULL }
#define BOTH(test) { #test " (split)", test, begin_split, end, NULL }, \
	{ #test " (packed)", test, begin_packed, end, NULL }

int
main(void)
{
	const struct CMUnitTest tests[] = {
		SPLIT(used_elements_are_written_before_the_index),
		PACKED(first_used_descriptor_is_shown_last),
		PACKED(used_flags_change_in_the_next_lap),
		BOTH(publishing_nothing_does_nothing),
		BOTH(first_notification_is_always_sent),
		BOTH(driver_that_wants_no_interrupt_gets_none),
		BOTH(burst_is_one_notification),
		SPLIT(split_event_index_follows_the_standard),
		PACKED(packed_event_index_follows_the_standard),
		PACKED(packed_event_of_a_descriptor_needs_event_index),
		BOTH(nonsense_events_only_cost_or_save_a_notification),
		SPLIT(emptied_ring_notifies_whatever_the_flag_says),
		BOTH(without_call_descriptor_nobody_is_notified),
		BOTH(full_call_counter_is_success),
		BOTH(kicks_are_refused_by_flag),
		BOTH(kicks_are_asked_for_by_event_index),
		BOTH(asking_for_kicks_finds_what_waits_already),
		SPLIT(split_ring_notes_at_the_address_it_was_told),
		PACKED(packed_ring_notes_ring_and_event_area_where_they_are),
		BOTH(ring_without_log_flag_notes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
