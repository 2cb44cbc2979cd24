/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "compat_rig.h"

static const struct rig_part request[] = {
	{ RIG_DATA, 16, false },
	{ RIG_DATA + 0x1000, 512, true },
	{ RIG_DATA + 0x2000, 1, true },
};

static VuVirtq *
queue(void)
{
	return vu_get_queue(&rig.dev, 0);
}

static VuVirtqElement *
pop(void)
{
	return vu_queue_pop(&rig.dev, queue(), sizeof(VuVirtqElement));
}

static void
check_request(const VuVirtqElement *element)
{
	assert_non_null(element);
	assert_int_equal(element->out_num, 1);
	assert_int_equal(element->in_num, 2);
	assert_int_equal(element->out_sg[0].iov_len, 16);
	assert_int_equal(element->in_sg[0].iov_len, 512);
	assert_int_equal(element->in_sg[1].iov_len, 1);
	memset(element->in_sg[1].iov_base, 0x77, 1);
	assert_int_equal(rig.guest[RIG_DATA + 0x2000], 0x77);
}

static void
element_goes_out_and_comes_back(void **state)
{
	VuVirtqElement *element;

	(void)state;
	rig_start();
	assert_null(pop());
	rig_offer(3, request, 3);
	assert_false(vu_queue_empty(&rig.dev, queue()));
	element = pop();
	check_request(element);
	assert_int_equal(element->index, 3);
	assert_true(vu_queue_empty(&rig.dev, queue()));
	rig_called();
	vu_queue_push(&rig.dev, queue(), element, 513);
	free(element);
	assert_int_equal(rig_used_index(), 1);
	assert_int_equal(rig_used(0).id, 3);
	assert_int_equal(rig_used(0).len, 513);
	assert_false(rig_called());
	vu_queue_notify(&rig.dev, queue());
	assert_true(rig_called());
}

static void
element_goes_out_and_comes_back_on_a_packed_ring(void **state)
{
	const struct vring_packed_desc *ring = (struct vring_packed_desc *)rig.guest;
	VuVirtqElement *element;
	unsigned int lap;

	(void)state;
	rig.features = BIT(34);
	rig_write(VHOST_USER_GET_FEATURES, 1, NULL, 0, -1);
	assert_true(vu_dispatch(&rig.dev));
	rig_read(VHOST_USER_GET_FEATURES, &(uint64_t){ 0 }, sizeof(uint64_t));
	rig_start();
	/* Chains of three on sixteen descriptors cross the end; the wrap counters turn. */
	for (lap = 0; lap < 20; lap++) {
		uint16_t at = rig.next;
		bool wrap = rig.wrap;

		rig_offer(5, request, 3);
		element = pop();
		check_request(element);
		assert_int_equal(element->index, 5);
		vu_queue_push(&rig.dev, queue(), element, 513);
		free(element);
		assert_int_equal(ring[at].id, 5);
		assert_int_equal(ring[at].len, 513);
		assert_int_equal(ring[at].flags >> 7 & 1, wrap);
		assert_int_equal(ring[at].flags >> 15 & 1, wrap);
	}
}

static void
space_behind_the_element_is_the_programs_and_zero(void **state)
{
	struct mine { VuVirtqElement element; uint8_t more[100]; } *mine;
	unsigned int i;

	(void)state;
	rig_start();
	rig_offer(0, request, 3);
	mine = vu_queue_pop(&rig.dev, queue(), sizeof(*mine));
	check_request(&mine->element);
	for (i = 0; i < sizeof(mine->more); i++)
		assert_int_equal(mine->more[i], 0);
	memset(mine->more, 0xff, sizeof(mine->more));
	assert_int_equal(mine->element.in_sg[0].iov_len, 512);
	free(mine);
}

static void
elements_come_back_in_any_order(void **state)
{
	VuVirtqElement *a, *b;

	(void)state;
	rig_start();
	rig_offer(0, request, 3);
	rig_offer(4, request, 3);
	a = pop();
	b = pop();
	assert_int_equal(queue()->inuse, 2);
	vu_queue_push(&rig.dev, queue(), b, 1);
	vu_queue_push(&rig.dev, queue(), a, 2);
	assert_int_equal(rig_used(0).id, 4);
	assert_int_equal(rig_used(1).id, 0);
	assert_int_equal(queue()->inuse, 0);
	free(a);
	free(b);
}

static void
filled_elements_are_seen_after_the_flush_only(void **state)
{
	VuVirtqElement *a, *b;

	(void)state;
	rig_start();
	rig_offer(0, request, 3);
	rig_offer(4, request, 3);
	a = pop();
	b = pop();
	vu_queue_fill(&rig.dev, queue(), b, 7, 1);
	vu_queue_fill(&rig.dev, queue(), a, 6, 0);
	assert_int_equal(rig_used_index(), 0);
	vu_queue_flush(&rig.dev, queue(), 2);
	assert_int_equal(rig_used_index(), 2);
	assert_int_equal(rig_used(0).id, 0);
	assert_int_equal(rig_used(1).id, 4);
	assert_int_equal(rig_used(1).len, 7);
	free(a);
	free(b);
}

static void
pushing_twice_publishes_once(void **state)
{
	VuVirtqElement *element;

	(void)state;
	rig_start();
	rig_offer(0, request, 3);
	element = pop();
	vu_queue_push(&rig.dev, queue(), element, 1);
	vu_queue_push(&rig.dev, queue(), element, 1);
	assert_int_equal(rig_used_index(), 1);
	free(element);
}

static void
what_is_put_back_is_popped_again(void **state)
{
	VuVirtqElement *element;

	(void)state;
	rig_start();
	rig_offer(0, request, 3);
	rig_offer(4, request, 3);
	free(pop());
	element = pop();
	vu_queue_unpop(&rig.dev, queue(), element, 0);
	free(element);
	element = pop();
	assert_int_equal(element->index, 4);
	free(element);
	assert_false(vu_queue_rewind(&rig.dev, queue(), 3));
	assert_true(vu_queue_rewind(&rig.dev, queue(), 2));
	element = pop();
	assert_int_equal(element->index, 0);
	free(element);
}

static void
bytes_that_wait_are_counted(void **state)
{
	unsigned int in, out;

	(void)state;
	rig_start();
	rig_offer(0, request, 3);
	rig_offer(4, request, 3);
	vu_queue_get_avail_bytes(&rig.dev, queue(), &in, &out, ~0u, ~0u);
	assert_int_equal(in, 2 * 513);
	assert_int_equal(out, 32);
	assert_true(vu_queue_avail_bytes(&rig.dev, queue(), 513, 16));
	assert_false(vu_queue_avail_bytes(&rig.dev, queue(), 2000, 16));
	assert_int_equal(queue()->inuse, 0);
}

static void
disabled_queue_gives_nothing_and_takes_back(void **state)
{
	VuVirtqElement *element;

	(void)state;
	rig_start();
	rig_offer(0, request, 3);
	element = pop();
	assert_int_equal(rig_state(VHOST_USER_SET_VRING_ENABLE, 0, 0), 0);
	assert_false(vu_queue_enabled(&rig.dev, queue()));
	rig_offer(4, request, 3);
	assert_null(pop());
	vu_queue_push(&rig.dev, queue(), element, 1);
	free(element);
	assert_int_equal(rig_used_index(), 1);
	assert_int_equal(rig_state(VHOST_USER_SET_VRING_ENABLE, 0, 1), 0);
	element = pop();
	assert_int_equal(element->index, 4);
	free(element);
}

static void
push_on_stop(VuDev *dev, int index, bool started)
{
	if (!started)
		vu_queue_push(dev, vu_get_queue(dev, index), rig.watch_data, 9);
}

static void
elements_pushed_while_the_queue_stops_reach_the_guest(void **state)
{
	VuVirtqElement *element;

	(void)state;
	rig_start();
	rig_offer(0, request, 3);
	element = pop();
	rig.iface.queue_set_started = push_on_stop;
	rig.watch_data = element;
	assert_int_equal(rig_base(0), 1);
	assert_int_equal(rig_used_index(), 1);
	assert_int_equal(rig_used(0).len, 9);
	free(element);
}

static void
elements_never_pushed_are_left_to_the_next_back_end(void **state)
{
	(void)state;
	rig_start();
	rig_offer(0, request, 3);
	rig_offer(4, request, 3);
	free(pop());
	free(pop());
	assert_int_equal(rig_base(0), 0);
	assert_int_equal(rig_used_index(), 0);
}

static void
stopped_queue_takes_nothing_back(void **state)
{
	VuVirtqElement *element;

	(void)state;
	rig_start();
	rig_offer(0, request, 3);
	element = pop();
	rig_base(0);
	vu_queue_push(&rig.dev, queue(), element, 1);
	vu_queue_notify(&rig.dev, queue());
	assert_int_equal(rig_used_index(), 0);
	assert_null(pop());
	free(element);
}

static void
lying_ring_panics_once_and_gives_nothing(void **state)
{
	struct vring_avail *avail = (struct vring_avail *)(rig.guest + RIG_AVAIL);

	(void)state;
	rig_start();
	avail->idx = 0x4000;
	assert_null(pop());
	assert_null(pop());
	assert_int_equal(rig.panics, 1);
	/* The control side goes on. */
	rig_base(0);
}

static void
handle(VuDev *dev, int index)
{
	assert_ptr_equal(dev, &rig.dev);
	rig_log("handle %d; ", index, 0);
}

static void
arm(VuDev *dev, int index, bool started)
{
	vu_set_queue_handler(dev, vu_get_queue(dev, index), started ? handle : NULL);
}

static void
handler_runs_at_a_kick_and_once_after_the_start(void **state)
{
	(void)state;
	rig.iface.queue_set_started = arm;
	rig_start();
	assert_true(rig.watched >= 0);
	/* What was there before the start may have been kicked for before the start. */
	rig.watch_callback(&rig.dev, VU_WATCH_IN, rig.watch_data);
	assert_string_equal(rig.log, "handle 0; ");
	/* Nothing there: somebody else was faster. */
	rig.watch_callback(&rig.dev, VU_WATCH_IN, rig.watch_data);
	assert_string_equal(rig.log, "handle 0; ");
	assert_int_equal(eventfd_write(rig.kick, 1), 0);
	rig.watch_callback(&rig.dev, VU_WATCH_IN, rig.watch_data);
	assert_string_equal(rig.log, "handle 0; handle 0; ");
	rig_base(0);
	assert_int_equal(rig.watched, -1);
	assert_int_equal(rig.panics, 0);
}

static void
handler_runs_again_for_what_was_kicked_while_the_queue_was_disabled(void **state)
{
	(void)state;
	rig.iface.queue_set_started = arm;
	rig_start();
	assert_int_equal(rig_state(VHOST_USER_SET_VRING_ENABLE, 0, 0), 0);
	rig_offer(0, request, 3);
	assert_int_equal(eventfd_write(rig.kick, 1), 0);
	rig.watch_callback(&rig.dev, VU_WATCH_IN, rig.watch_data);
	assert_string_equal(rig.log, "handle 0; ");
	assert_null(pop());
	/* Nobody kicks again: the driver waits for its answer. */
	assert_int_equal(rig_state(VHOST_USER_SET_VRING_ENABLE, 0, 1), 0);
	rig.watch_callback(&rig.dev, VU_WATCH_IN, rig.watch_data);
	assert_string_equal(rig.log, "handle 0; handle 0; ");
}

static void
new_kick_descriptor_stops_and_starts_the_queue_for_the_program(void **state)
{
	(void)state;
	rig_start();
	assert_int_equal(rig_u64(VHOST_USER_SET_VRING_KICK, 0, rig.kick), 0);
	assert_string_equal(rig.log, "start 0; stop 0; start 0; ");
}

static void
burst_moves_many_and_returns_their_blocks(void **state)
{
	VuElementPool *pool = vu_element_pool_new(4, sizeof(VuVirtqElement), 3);
	const unsigned int lengths[4] = { 10, 11, 12, 13 };
	void *elements[8];
	unsigned int round, i;

	(void)state;
	assert_non_null(pool);
	rig_start();
	for (round = 0; round < 3; round++) {
		for (i = 0; i < 5; i++)
			rig_offer((uint16_t)(3 * i), request, 3);
		/* No more than the pool has blocks. */
		assert_int_equal(vu_queue_pop_burst(&rig.dev, queue(), pool, elements, 8), 4);
		for (i = 0; i < 4; i++)
			check_request(elements[i]);
		vu_queue_push_burst(&rig.dev, queue(), pool, elements, lengths, 4);
		assert_int_equal(rig_used_index(), 5 * round + 4);
		assert_int_equal(rig_used((uint16_t)(5 * round + 3)).len, 13);
		assert_int_equal(vu_queue_pop_burst(&rig.dev, queue(), pool, elements, 8), 1);
		vu_queue_push_burst(&rig.dev, queue(), pool, elements, NULL, 1);
	}
	vu_element_pool_free(pool);
}

static void
burst_takes_elements_larger_than_the_pools_blocks(void **state)
{
	VuElementPool *pool = vu_element_pool_new(2, sizeof(VuVirtqElement), 1);
	void *elements[2];

	(void)state;
	rig_start();
	rig_offer(0, request, 3);
	assert_int_equal(vu_queue_pop_burst(&rig.dev, queue(), pool, elements, 2), 1);
	check_request(elements[0]);
	vu_queue_push_burst(&rig.dev, queue(), pool, elements, NULL, 1);
	assert_int_equal(rig_used_index(), 1);
	vu_element_pool_free(pool);
}

static void
pages_of_an_element_that_was_out_when_the_log_came_are_marked(void **state)
{
	const uint64_t size = (RIG_GUEST + RIG_MEMORY) >> 12 >> 3;
	VhostUserLog log = { size, 0 };
	int fd = memfd_create("log", MFD_CLOEXEC);
	VuVirtqElement *element;
	uint64_t answer;
	uint8_t *bits;

	(void)state;
	rig.protocol = BIT(VHOST_USER_PROTOCOL_F_LOG_SHMFD);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	bits = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(bits != MAP_FAILED);
	rig_start();
	/* The first is taken the long way, which finds the region; the second the short way. */
	rig_offer(0, request, 3);
	element = pop();
	vu_queue_push(&rig.dev, queue(), element, 1);
	free(element);
	rig_offer(4, request, 3);
	element = pop();
	/* The program's list is its own. */
	memset(element->in_sg, 0, element->in_num * sizeof(element->in_sg[0]));
	rig_write(VHOST_USER_SET_LOG_BASE, 1, &log, sizeof(log), fd);
	assert_true(vu_dispatch(&rig.dev));
	rig_read(VHOST_USER_SET_LOG_BASE, &answer, sizeof(answer));
	assert_int_equal(rig_u64(VHOST_USER_SET_FEATURES,
		BIT(32) | BIT(30) | BIT(28) | BIT(26), -1), 0);
	vu_queue_push(&rig.dev, queue(), element, 513);
	free(element);
	assert_int_equal(bits[((RIG_GUEST + RIG_DATA + 0x1000) >> 12) / 8], 0x06);
	munmap(bits, size);
	close(fd);
}

/* Layouts that a driver may choose: R to be read, W to be written. The last has many segments. */
static const char *const layouts[] = { "R", "W", "RW", "RRWW", "RWWWW", "RRRRRRRRRWWWW" };

static void
offer_layout(const char *layout)
{
	struct rig_part parts[RIG_SIZE];
	unsigned int i;

	for (i = 0; layout[i] != 0; i++)
		parts[i] = (struct rig_part){ RIG_DATA + i * 0x1000, 100 + i, layout[i] == 'W' };
	rig_offer(0, parts, i);
}

static void
check_layout(const char *layout, const VuVirtqElement *element)
{
	unsigned int readable = 0, i;

	assert_non_null(element);
	for (i = 0; layout[i] != 0; i++) {
		const struct iovec *segment = layout[i] == 'R' ? &element->out_sg[readable++] :
			&element->in_sg[i - readable];
		uint64_t size = 1;

		assert_ptr_equal(segment->iov_base, vu_gpa_to_va(&rig.dev, &size,
			RIG_GUEST + RIG_DATA + i * 0x1000));
		assert_int_equal(segment->iov_len, 100 + i);
	}
	assert_int_equal(element->out_num, readable);
	assert_int_equal(element->in_num, i - readable);
}

/* The first element of a ring goes the long way, those behind it the short way if they can. */
static void
every_layout_is_the_same_each_time(void **state)
{
	VuElementPool *pool = vu_element_pool_new(2, sizeof(VuVirtqElement), 4);
	unsigned int i;
	void *element;

	(void)state;
	rig_start();
	for (i = 0; i < 4 * (sizeof(layouts) / sizeof(layouts[0])); i++) {
		const char *layout = layouts[i % (sizeof(layouts) / sizeof(layouts[0]))];

		offer_layout(layout);
		element = pop();
		check_layout(layout, element);
		vu_queue_push(&rig.dev, queue(), element, 1000000);
		free(element);
		/* No more than there is room for was written. */
		assert_true(rig_used((uint16_t)(2 * i)).len < 600);
		offer_layout(layout);
		assert_int_equal(vu_queue_pop_burst(&rig.dev, queue(), pool, &element, 2), 1);
		check_layout(layout, element);
		vu_queue_push_burst(&rig.dev, queue(), pool, &element, NULL, 1);
		assert_int_equal(rig_used_index(), 2 * i + 2);
		assert_int_equal(queue()->inuse, 0);
	}
	vu_element_pool_free(pool);
}

/* A chain that breaks the rules, behind one that does not: the short way leaves it alone. */
static void
assert_breaks(uint16_t head, uint64_t address, uint32_t length, uint16_t flags, uint16_t next)
{
	struct vring_desc *ring = (struct vring_desc *)rig.guest;
	struct vring_avail *avail = (struct vring_avail *)(rig.guest + RIG_AVAIL);
	VuVirtqElement *element;
	unsigned int i;

	rig_start();
	for (i = 0; i < 2; i++) {
		rig_offer(0, request, 3);
		element = pop();
		check_request(element);
		vu_queue_push(&rig.dev, queue(), element, 1);
		free(element);
	}
	ring[0] = (struct vring_desc){ RIG_GUEST + RIG_DATA, 1, VRING_DESC_F_WRITE |
		VRING_DESC_F_NEXT, 1 };
	ring[1] = (struct vring_desc){ address, length, flags, next };
	avail->ring[avail->idx % RIG_SIZE] = head;
	__atomic_store_n(&avail->idx, (uint16_t)(avail->idx + 1), __ATOMIC_RELEASE);
	assert_null(pop());
	assert_int_equal(rig.panics, 1);
	assert_int_equal(queue()->inuse, 0);
}

#define BREAKS(name, ...) \
	static void \
	name(void **state) \
	{ \
		(void)state; \
		assert_breaks(__VA_ARGS__); \
	}

BREAKS(head_behind_the_ring_panics, RIG_SIZE, 0, 0, 0, 0)
BREAKS(next_behind_the_ring_panics, 0, RIG_GUEST + RIG_DATA, 1,
	VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, RIG_SIZE)
BREAKS(loop_panics, 0, RIG_GUEST + RIG_DATA, 1, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 0)
BREAKS(reading_after_writing_panics, 0, RIG_GUEST + RIG_DATA, 1, 0, 0)
BREAKS(segment_before_the_memory_panics, 0, RIG_GUEST - 1, 2, VRING_DESC_F_WRITE, 0)
BREAKS(segment_behind_the_memory_panics, 0, RIG_GUEST + RIG_MEMORY - 1, 2, VRING_DESC_F_WRITE, 0)
BREAKS(segment_round_the_end_of_all_addresses_panics, 0, UINT64_MAX, 2, VRING_DESC_F_WRITE, 0)
BREAKS(segment_of_no_bytes_panics, 0, RIG_GUEST + RIG_DATA, 0, VRING_DESC_F_WRITE, 0)

static void
common_elements_are_put_back_too(void **state)
{
	VuVirtqElement *element;
	unsigned int i;

	(void)state;
	rig_start();
	for (i = 0; i < 40; i++) {
		rig_offer(0, request, 3);
		element = pop();
		check_request(element);
		vu_queue_unpop(&rig.dev, queue(), element, 0);
		free(element);
		assert_int_equal(queue()->inuse, 0);
		element = pop();
		check_request(element);
		assert_false(i % 2 == 0 && vu_queue_rewind(&rig.dev, queue(), 2));
		vu_queue_push(&rig.dev, queue(), element, 1);
		free(element);
		assert_int_equal(rig_used_index(), i + 1);
	}
}

/* A place that is filled out of turn ends the short way until all before it have been flushed. */
static void
pushing_waits_for_no_place_that_was_filled_later(void **state)
{
	VuVirtqElement *a, *b;
	unsigned int i;

	(void)state;
	rig_start();
	for (i = 0; i < 6; i++) {
		rig_offer(0, request, 3);
		rig_offer(4, request, 3);
		a = pop();
		b = pop();
		vu_queue_fill(&rig.dev, queue(), b, 1, 1);
		assert_int_equal(rig_used_index(), 2 * i);
		vu_queue_fill(&rig.dev, queue(), a, 1, 0);
		vu_queue_flush(&rig.dev, queue(), 2);
		assert_int_equal(rig_used_index(), 2 * i + 2);
		assert_int_equal(rig_used((uint16_t)(2 * i)).id, 0);
		assert_int_equal(rig_used((uint16_t)(2 * i + 1)).id, 4);
		free(a);
		free(b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(element_goes_out_and_comes_back),
		RIG_TEST(element_goes_out_and_comes_back_on_a_packed_ring),
		RIG_TEST(space_behind_the_element_is_the_programs_and_zero),
		RIG_TEST(elements_come_back_in_any_order),
		RIG_TEST(filled_elements_are_seen_after_the_flush_only),
		RIG_TEST(pushing_twice_publishes_once),
		RIG_TEST(what_is_put_back_is_popped_again),
		RIG_TEST(bytes_that_wait_are_counted),
		RIG_TEST(disabled_queue_gives_nothing_and_takes_back),
		RIG_TEST(elements_pushed_while_the_queue_stops_reach_the_guest),
		RIG_TEST(elements_never_pushed_are_left_to_the_next_back_end),
		RIG_TEST(stopped_queue_takes_nothing_back),
		RIG_TEST(lying_ring_panics_once_and_gives_nothing),
		RIG_TEST(handler_runs_at_a_kick_and_once_after_the_start),
		RIG_TEST(handler_runs_again_for_what_was_kicked_while_the_queue_was_disabled),
		RIG_TEST(new_kick_descriptor_stops_and_starts_the_queue_for_the_program),
		RIG_TEST(pages_of_an_element_that_was_out_when_the_log_came_are_marked),
		RIG_TEST(burst_moves_many_and_returns_their_blocks),
		RIG_TEST(burst_takes_elements_larger_than_the_pools_blocks),
		RIG_TEST(every_layout_is_the_same_each_time),
		RIG_TEST(head_behind_the_ring_panics),
		RIG_TEST(next_behind_the_ring_panics),
		RIG_TEST(loop_panics),
		RIG_TEST(reading_after_writing_panics),
		RIG_TEST(segment_before_the_memory_panics),
		RIG_TEST(segment_behind_the_memory_panics),
		RIG_TEST(segment_round_the_end_of_all_addresses_panics),
		RIG_TEST(segment_of_no_bytes_panics),
		RIG_TEST(common_elements_are_put_back_too),
		RIG_TEST(pushing_waits_for_no_place_that_was_filled_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
