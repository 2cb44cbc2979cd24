/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Rings that lie, seen through vu_queue_pop() and its like. The rows are those of the acceptance
 * table; the engine has tests of its own for each.
 */

#include <stdatomic.h>
#include <time.h>

#include "compat_rig.h"

/* Where rows put their indirect tables. */
#define TABLE 0x8000u
#define OTHER_GUEST (RIG_GUEST + RIG_MEMORY) /* right behind the rig's region */
#define OTHER_USER UINT64_C(0x7e0000000000)
#define OTHER_SIZE 0x10000u

static struct vring_desc *
table(uint32_t offset)
{
	return (struct vring_desc *)(rig.guest + offset);
}

static struct vring_avail *
avail(void)
{
	return (struct vring_avail *)(rig.guest + RIG_AVAIL);
}

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

/* Make the chain at descriptor 0 available. */
static void
show(uint16_t flags, uint64_t address, uint32_t size, uint16_t next)
{
	table(0)[0] = (struct vring_desc){ address, size, flags, next };
	avail()->ring[avail()->idx % RIG_SIZE] = 0;
	avail()->idx++;
}

static void
one(uint64_t address, uint32_t size)
{
	show(0, address, size, 0);
}

static void
indirect(uint32_t size)
{
	show(VRING_DESC_F_INDIRECT, RIG_GUEST + TABLE, size, 0);
}

static struct vring_desc
data(uint16_t flags, uint16_t next)
{
	return (struct vring_desc){ RIG_GUEST + RIG_DATA, 16, flags, next };
}

/* What a ring can contain that breaks it. */

static void
index_jumps_by_one_too_many(void)
{
	one(RIG_GUEST + RIG_DATA, 16);
	avail()->idx = RIG_SIZE + 1;
}

static void
index_jumps_by_half(void)
{
	one(RIG_GUEST + RIG_DATA, 16);
	avail()->idx = 0x8000;
}

static void
head_behind_the_table(void)
{
	one(RIG_GUEST + RIG_DATA, 16);
	avail()->ring[0] = RIG_SIZE;
}

static void
head_far_away(void)
{
	one(RIG_GUEST + RIG_DATA, 16);
	avail()->ring[0] = 0xffff;
}

static void
next_behind_the_table(void)
{
	show(VRING_DESC_F_NEXT, RIG_GUEST + RIG_DATA, 16, RIG_SIZE);
}

static void
loop_of_two(void)
{
	table(0)[1] = data(VRING_DESC_F_NEXT, 0);
	show(VRING_DESC_F_NEXT, RIG_GUEST + RIG_DATA, 16, 1);
}

static void
loop_of_one(void)
{
	show(VRING_DESC_F_NEXT, RIG_GUEST + RIG_DATA, 16, 0);
}

static void
loop_in_a_table(void)
{
	table(TABLE)[0] = data(VRING_DESC_F_NEXT, 1);
	table(TABLE)[1] = data(VRING_DESC_F_NEXT, 0);
	indirect(32);
}

static void
address_that_wraps(void)
{
	one(UINT64_C(0xfffffffffffff000), 0x2000);
}

static void
address_in_a_hole(void)
{
	one(0x1000, 16);
}

static void
one_byte_too_many(void)
{
	one(RIG_GUEST + RIG_MEMORY - 16, 17);
}

static void
no_bytes(void)
{
	one(RIG_GUEST + RIG_DATA, 0);
}

static void
no_bytes_at_the_end(void)
{
	table(0)[1] = (struct vring_desc){ RIG_GUEST + RIG_DATA, 0, VRING_DESC_F_WRITE, 0 };
	show(VRING_DESC_F_NEXT, RIG_GUEST + RIG_DATA, 16, 1);
}

static void
writable_before_readable(void)
{
	table(0)[1] = data(0, 0);
	show(VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, RIG_GUEST + RIG_DATA, 16, 1);
}

static void
table_without_entries(void)
{
	indirect(0);
}

static void
table_of_half_an_entry(void)
{
	indirect(8);
}

static void
table_of_an_entry_and_a_byte(void)
{
	table(TABLE)[0] = data(0, 0);
	indirect(17);
}

static void
table_in_a_hole(void)
{
	show(VRING_DESC_F_INDIRECT, 0x1000, 16, 0);
}

static void
table_in_a_table(void)
{
	table(TABLE)[0] = data(VRING_DESC_F_INDIRECT, 0);
	indirect(16);
}

static void
table_and_a_next(void)
{
	table(TABLE)[0] = data(0, 0);
	table(0)[1] = data(0, 0);
	show(VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, RIG_GUEST + TABLE, 16, 1);
}

static void
more_segments_than_an_element_can_have(void)
{
	uint16_t i;

	for (i = 0; i <= VIRTQUEUE_MAX_SIZE; i++)
		table(TABLE)[i] = data(i < VIRTQUEUE_MAX_SIZE ? VRING_DESC_F_NEXT : 0,
			(uint16_t)(i + 1));
	indirect((VIRTQUEUE_MAX_SIZE + 1) * 16);
}

static const struct {
	const char *row;
	void (*make)(void);
} lies[] = {
	{ "G1", index_jumps_by_one_too_many }, { "G1", index_jumps_by_half },
	{ "G2", head_behind_the_table }, { "G2", head_far_away },
	{ "G3", next_behind_the_table }, { "G3", loop_of_two }, { "G3", loop_of_one },
	{ "G3", loop_in_a_table },
	{ "G4", address_that_wraps }, { "G4", address_in_a_hole }, { "G4", one_byte_too_many },
	{ "G6", no_bytes }, { "G6", no_bytes_at_the_end },
	{ "G7", writable_before_readable },
	{ "G8", table_without_entries }, { "G8", table_of_half_an_entry },
	{ "G8", table_of_an_entry_and_a_byte }, { "G8", table_in_a_hole },
	{ "G8", table_in_a_table }, { "G8", table_and_a_next },
	{ "G10", more_segments_than_an_element_can_have },
};

#define LIES (sizeof(lies) / sizeof(lies[0]))

/* Told once, whatever the program tries; the control side goes on. */
static void
check_broken(unsigned int which)
{
	VuElementPool *pool = vu_element_pool_new(4, sizeof(VuVirtqElement), 4);
	unsigned int in, out;
	uint64_t features;
	void *elements[4];

	if (rig.panics != 1)
		fail_msg("%s, lie %u: %u panics", lies[which].row, which, rig.panics);
	assert_null(pop());
	assert_int_equal(vu_queue_pop_burst(&rig.dev, queue(), pool, elements, 4), 0);
	assert_true(vu_queue_empty(&rig.dev, queue()));
	vu_queue_get_avail_bytes(&rig.dev, queue(), &in, &out, ~0u, ~0u);
	assert_int_equal(in + out, 0);
	vu_queue_notify(&rig.dev, queue());
	vu_queue_set_notification(&rig.dev, queue(), 1);
	assert_int_equal(rig.panics, 1);
	assert_int_equal(rig_used_index(), 0);
	rig_write(VHOST_USER_GET_FEATURES, 1, NULL, 0, -1);
	assert_true(vu_dispatch(&rig.dev));
	assert_int_equal(rig_read(VHOST_USER_GET_FEATURES, &features, sizeof(features)), 8);
	(void)rig_base(0);
	vu_element_pool_free(pool);
}

static void
each_lie(void (*look)(void))
{
	unsigned int i;

	for (i = 0; i < LIES; i++) {
		void *state = NULL;

		rig_setup(&state);
		rig_start();
		lies[i].make();
		look();
		check_broken(i);
		rig_teardown(&state);
	}
}

static void
look_by_popping(void)
{
	assert_null(pop());
}

static void
look_by_a_burst(void)
{
	VuElementPool *pool = vu_element_pool_new(4, sizeof(VuVirtqElement), 4);
	void *elements[4];

	assert_int_equal(vu_queue_pop_burst(&rig.dev, queue(), pool, elements, 4), 0);
	vu_element_pool_free(pool);
}

static void
look_by_counting(void)
{
	assert_false(vu_queue_avail_bytes(&rig.dev, queue(), 1, 1));
}

static void
pop_refuses_every_lie_and_panics_once(void **state)
{
	(void)state;
	each_lie(look_by_popping);
}

static void
burst_refuses_every_lie_and_panics_once(void **state)
{
	(void)state;
	each_lie(look_by_a_burst);
}

static void
counting_refuses_every_lie_and_panics_once(void **state)
{
	(void)state;
	each_lie(look_by_counting);
}

static void
table_is_refused_when_none_was_negotiated(void **state)
{
	(void)state;
	rig_start();
	assert_int_equal(rig_state(VHOST_USER_SET_VRING_ENABLE, 0, 0), 0);
	(void)rig_base(0);
	assert_int_equal(rig_u64(VHOST_USER_SET_FEATURES, BIT(32) | BIT(30), -1), 0);
	assert_int_equal(rig_u64(VHOST_USER_SET_VRING_KICK, 0, rig.kick), 0);
	assert_int_equal(rig_state(VHOST_USER_SET_VRING_ENABLE, 0, 1), 0);
	table(TABLE)[0] = data(0, 0);
	indirect(16);
	assert_null(pop());
	assert_int_equal(rig.panics, 1);
}

/* Right behind the rig's region for the guest, somewhere else for us. */
static int
add_neighbour(void)
{
	const VhostUserMemRegMsg other = {
		.region = { OTHER_GUEST, OTHER_SIZE, OTHER_USER, 0 } };
	int fd = memfd_create("other", MFD_CLOEXEC);

	rig.protocol = BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS);
	rig_start();
	assert_int_equal(ftruncate(fd, OTHER_SIZE), 0);
	assert_int_equal(rig_ask(VHOST_USER_ADD_MEM_REG, &other, sizeof(other), fd), 0);
	return fd;
}

static void
check_split(int fd)
{
	VuVirtqElement *element = pop();
	uint8_t bytes[24];

	assert_non_null(element);
	assert_int_equal(element->in_num, 2);
	assert_int_equal(element->in_sg[0].iov_len, 8);
	assert_int_equal(element->in_sg[1].iov_len, 24);
	memset(element->in_sg[0].iov_base, 0x5a, 8);
	memset(element->in_sg[1].iov_base, 0xa5, 24);
	assert_int_equal(rig.guest[RIG_MEMORY - 8], 0x5a);
	assert_int_equal(rig.guest[RIG_MEMORY - 1], 0x5a);
	assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	assert_int_equal(bytes[0], 0xa5);
	assert_int_equal(bytes[23], 0xa5);
	vu_queue_push(&rig.dev, queue(), element, 32);
	free(element);
	assert_int_equal(rig.panics, 0);
}

static void
buffer_across_neighbouring_regions_is_two_segments(void **state)
{
	int fd = add_neighbour();

	(void)state;
	show(VRING_DESC_F_WRITE, OTHER_GUEST - 8, 32, 0);
	check_split(fd);
	/* In a table of one entry there are more segments than entries. */
	table(TABLE)[0] = (struct vring_desc){ OTHER_GUEST - 8, 32, VRING_DESC_F_WRITE, 0 };
	indirect(16);
	check_split(fd);
	close(fd);
}

static void
table_may_lie_across_neighbouring_regions(void **state)
{
	const struct vring_desc second = data(VRING_DESC_F_WRITE, 0);
	int fd = add_neighbour();
	VuVirtqElement *element;

	(void)state;
	/* One entry before the end; the second is cut in the middle by an odd beginning. */
	*table(RIG_MEMORY - 16) = data(VRING_DESC_F_NEXT, 1);
	assert_int_equal(pwrite(fd, &second, sizeof(second), 0), sizeof(second));
	show(VRING_DESC_F_INDIRECT, OTHER_GUEST - 16, 32, 0);
	element = pop();
	assert_non_null(element);
	assert_int_equal(element->out_num, 1);
	assert_int_equal(element->in_num, 1);
	free(element);
	close(fd);
}

static void
table_of_as_many_entries_as_an_element_can_have_is_taken(void **state)
{
	VuVirtqElement *element;
	uint16_t i;

	(void)state;
	rig_start();
	for (i = 0; i < VIRTQUEUE_MAX_SIZE; i++)
		table(TABLE)[i] = data(i + 1 < VIRTQUEUE_MAX_SIZE ? VRING_DESC_F_NEXT : 0,
			(uint16_t)(i + 1));
	indirect(VIRTQUEUE_MAX_SIZE * 16);
	element = pop();
	assert_non_null(element);
	assert_int_equal(element->out_num, VIRTQUEUE_MAX_SIZE);
	free(element);
}

static void
translation_ends_with_its_region(void **state)
{
	const uint64_t last = RIG_GUEST + RIG_MEMORY - 1;
	int fd = add_neighbour();
	uint64_t size = 0;
	uint8_t *host;

	(void)state;
	assert_null(vu_gpa_to_va(&rig.dev, &size, RIG_GUEST));
	size = 1;
	host = vu_gpa_to_va(&rig.dev, &size, last);
	assert_non_null(host);
	*host = 0x42;
	assert_int_equal(rig.guest[RIG_MEMORY - 1], 0x42);
	/* What crosses into the neighbour comes in pieces. */
	size = 100;
	assert_ptr_equal(vu_gpa_to_va(&rig.dev, &size, last), host);
	assert_int_equal(size, 1);
	size = UINT64_MAX;
	assert_ptr_equal(vu_gpa_to_va(&rig.dev, &size, last), host);
	assert_int_equal(size, 1);
	size = UINT64_MAX;
	assert_non_null(vu_gpa_to_va(&rig.dev, &size, OTHER_GUEST));
	assert_int_equal(size, OTHER_SIZE);
	/* Outside the length stays what it was. */
	size = 7;
	assert_null(vu_gpa_to_va(&rig.dev, &size, OTHER_GUEST + OTHER_SIZE));
	assert_int_equal(size, 7);
	assert_null(vu_gpa_to_va(&rig.dev, &size, UINT64_MAX));
	assert_null(vu_gpa_to_va(&rig.dev, &size, RIG_GUEST - 1));
	close(fd);
}

static void
head_that_is_out_already_breaks_the_ring(void **state)
{
	VuVirtqElement *element;

	(void)state;
	rig_start();
	one(RIG_GUEST + RIG_DATA, 16);
	element = pop();
	assert_non_null(element);
	one(RIG_GUEST + RIG_DATA, 16);
	assert_null(pop());
	assert_int_equal(rig.panics, 1);
	assert_int_equal(queue()->inuse, 1);
	free(element);
}

static void
ring_may_be_a_buffer_of_its_own(void **state)
{
	VuVirtqElement *element;

	(void)state;
	rig_start();
	show(VRING_DESC_F_WRITE, RIG_GUEST + RIG_USED, 64, 0);
	element = pop();
	assert_non_null(element);
	memset(element->in_sg[0].iov_base, 0xff, element->in_sg[0].iov_len);
	vu_queue_push(&rig.dev, queue(), element, 64);
	vu_queue_notify(&rig.dev, queue());
	free(element);
	assert_int_equal(rig_used_index(), 1);
	assert_int_equal(rig.panics, 0);
}

static void
device_cannot_push_what_it_should_not(void **state)
{
	VuVirtqElement *element, stranger = { .index = 9 }, outside = { .index = 70000 };

	(void)state;
	rig_start();
	show(VRING_DESC_F_WRITE, RIG_GUEST + RIG_DATA, 16, 0);
	element = pop();
	/* Of another queue, of no queue; put back already. */
	vu_queue_push(&rig.dev, vu_get_queue(&rig.dev, 1), element, 16);
	vu_queue_push(&rig.dev, queue(), &stranger, 16);
	vu_queue_push(&rig.dev, queue(), &outside, 16);
	assert_int_equal(rig_used_index(), 0);
	assert_true(vu_queue_rewind(&rig.dev, queue(), 1));
	vu_queue_push(&rig.dev, queue(), element, 16);
	assert_int_equal(rig_used_index(), 0);
	assert_false(vu_queue_rewind(&rig.dev, queue(), 1));
	free(element);
	/* More than fits, and twice. */
	element = pop();
	vu_queue_push(&rig.dev, queue(), element, 4096);
	vu_queue_push(&rig.dev, queue(), element, 4096);
	assert_int_equal(rig_used_index(), 1);
	assert_int_equal(rig_used(0).len, 16);
	/* Nothing of it is left to be flushed. */
	vu_queue_flush(&rig.dev, queue(), 5);
	assert_int_equal(rig_used_index(), 1);
	assert_int_equal(queue()->inuse, 0);
	free(element);
}

static void
bytes_beyond_32_bits_saturate(void **state)
{
	const uint64_t size = UINT64_C(0xc0000000);
	const VhostUserMemRegMsg huge = { .region = { BIT(40), size, OTHER_USER, 0 } };
	int fd = memfd_create("huge", MFD_CLOEXEC);
	unsigned int in = 1, out = 1;

	(void)state;
	rig.protocol = BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS);
	rig_start();
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(rig_ask(VHOST_USER_ADD_MEM_REG, &huge, sizeof(huge), fd), 0);
	table(0)[1] = (struct vring_desc){ BIT(40), (uint32_t)size, VRING_DESC_F_WRITE, 0 };
	table(0)[2] = (struct vring_desc){ BIT(40), (uint32_t)size,
		VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1 };
	show(VRING_DESC_F_NEXT, RIG_GUEST + RIG_DATA, 16, 2);
	vu_queue_get_avail_bytes(&rig.dev, queue(), &in, &out, ~0u, ~0u);
	assert_int_equal(in, UINT32_MAX);
	assert_int_equal(out, 16);
	assert_true(vu_queue_avail_bytes(&rig.dev, queue(), UINT32_MAX, 16));
	assert_false(vu_queue_avail_bytes(&rig.dev, queue(), 1, 17));
	assert_true(vu_queue_avail_bytes(&rig.dev, queue(), 0, 0));
	close(fd);
}

static void
garbage_in_the_wishes_of_the_guest_is_harmless(void **state)
{
	static const uint16_t garbage[] = { 0, 1, 0x7fff, 0x8000, 0xffff, 0x1234 };
	unsigned int i;

	(void)state;
	rig.features = BIT(29);
	rig_start();
	for (i = 0; i < 6; i++) {
		VuVirtqElement *element;

		avail()->ring[RIG_SIZE] = garbage[i];
		avail()->flags = garbage[i];
		one(RIG_GUEST + RIG_DATA, 16);
		element = pop();
		assert_non_null(element);
		vu_queue_push(&rig.dev, queue(), element, 0);
		vu_queue_notify(&rig.dev, queue());
		free(element);
		assert_int_equal(rig_used_index(), i + 1);
	}
	assert_int_equal(rig.panics, 0);
}

static void
guest_that_wants_no_interrupt_is_told_when_the_queue_is_empty(void **state)
{
	VuVirtqElement *a, *b;

	(void)state;
	rig.features = BIT(24);
	rig_start();
	avail()->flags = VRING_AVAIL_F_NO_INTERRUPT;
	one(RIG_GUEST + RIG_DATA, 16);
	a = pop();
	table(0)[1] = data(0, 0);
	avail()->ring[1] = 1;
	avail()->idx++;
	b = pop();
	assert_non_null(b);
	vu_queue_push(&rig.dev, queue(), a, 0);
	vu_queue_notify(&rig.dev, queue());
	/* The first after a start is always sent. */
	(void)rig_called();
	free(a);
	a = b;
	one(RIG_GUEST + RIG_DATA, 16);
	b = pop();
	vu_queue_push(&rig.dev, queue(), a, 0);
	vu_queue_notify(&rig.dev, queue());
	assert_false(rig_called());
	vu_queue_push(&rig.dev, queue(), b, 0);
	vu_queue_notify(&rig.dev, queue());
	assert_true(rig_called());
	free(a);
	free(b);
}

/* Packed rings. */

static void
start_packed(void)
{
	uint64_t features;

	rig.features = BIT(34);
	rig_write(VHOST_USER_GET_FEATURES, 1, NULL, 0, -1);
	assert_true(vu_dispatch(&rig.dev));
	rig_read(VHOST_USER_GET_FEATURES, &features, sizeof(features));
	rig_start();
}

/* Descriptor 0 as the driver makes it available in its first lap. */
static void
show_packed(uint16_t flags, uint64_t address, uint32_t size, uint16_t id)
{
	struct vring_packed_desc *ring = (struct vring_packed_desc *)rig.guest;

	ring[0] = (struct vring_packed_desc){ address, size, id, (uint16_t)(flags | 1u << 7) };
}

static void
packed_id_too_large(void)
{
	show_packed(0, RIG_GUEST + RIG_DATA, 16, RIG_SIZE);
}

static void
packed_chain_longer_than_its_ring(void)
{
	struct vring_packed_desc *ring = (struct vring_packed_desc *)rig.guest;
	unsigned int i;

	for (i = 0; i < RIG_SIZE; i++)
		ring[i] = (struct vring_packed_desc){ RIG_GUEST + RIG_DATA, 16, 0,
			VRING_DESC_F_NEXT | 1u << 7 };
}

static void
packed_table_and_a_next(void)
{
	show_packed(VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, RIG_GUEST + TABLE, 16, 0);
}

static void
packed_address_in_a_hole(void)
{
	show_packed(0, 0x1000, 16, 0);
}

static void
lies_of_a_packed_ring_panic_once(void **state)
{
	static void (*const make[])(void) = { packed_id_too_large,
		packed_chain_longer_than_its_ring, packed_table_and_a_next,
		packed_address_in_a_hole };
	unsigned int i;

	(void)state;
	for (i = 0; i < 4; i++) {
		void *rigs = NULL;

		rig_setup(&rigs);
		start_packed();
		make[i]();
		assert_null(pop());
		assert_null(pop());
		if (rig.panics != 1)
			fail_msg("lie %u: %u panics", i, rig.panics);
		(void)rig_base(0);
		rig_teardown(&rigs);
	}
}

/* A guest that rewrites its descriptors while they are taken. */

static atomic_bool quit;

static void *
rewrite(void *unused)
{
	struct vring_desc *desc = (struct vring_desc *)rig.guest;
	unsigned int i;

	(void)unused;
	for (i = 0; !atomic_load_explicit(&quit, memory_order_relaxed); i++) {
		/* Each pair of these lies in memory, however they meet. */
		__atomic_store_n(&desc[0].addr, i & 1 ? RIG_GUEST + RIG_DATA :
			RIG_GUEST + RIG_MEMORY - 0x1000, __ATOMIC_RELAXED);
		__atomic_store_n(&desc[0].len, i & 2 ? 0x1000 : 1, __ATOMIC_RELAXED);
		__atomic_store_n(&desc[0].flags, i & 4 ? VRING_DESC_F_WRITE : 0,
			__ATOMIC_RELAXED);
		__atomic_store_n(&avail()->flags, (uint16_t)(i & 1), __ATOMIC_RELAXED);
	}
	return NULL;
}

static void
descriptors_rewritten_meanwhile_give_elements_that_hold_together(void **state)
{
	const time_t end = time(NULL) + 2;
	pthread_t thread;
	uint64_t done = 0;

	(void)state;
	rig_start();
	one(RIG_GUEST + RIG_DATA, 1);
	avail()->idx = 0;
	assert_int_equal(pthread_create(&thread, NULL, rewrite, NULL), 0);
	while (time(NULL) < end) {
		VuVirtqElement *element;
		struct iovec *segment;

		__atomic_store_n(&avail()->idx, (uint16_t)(done + 1), __ATOMIC_RELEASE);
		element = pop();
		assert_non_null(element);
		assert_int_equal(element->out_num + element->in_num, 1);
		segment = element->in_num != 0 ? element->in_sg : element->out_sg;
		assert_true(segment->iov_len == 1 || segment->iov_len == 0x1000);
		/* A sanitizer, or the end of the mapping, says if it reaches too far. */
		if (element->in_num != 0)
			memset(segment->iov_base, 1, segment->iov_len);
		vu_queue_push(&rig.dev, queue(), element, 0x1000);
		vu_queue_notify(&rig.dev, queue());
		assert_true(rig_used((uint16_t)done).len <= segment->iov_len);
		free(element);
		done++;
	}
	atomic_store(&quit, true);
	pthread_join(thread, NULL);
	assert_true(done > 100);
	assert_int_equal(rig.panics, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pop_refuses_every_lie_and_panics_once),
		cmocka_unit_test(burst_refuses_every_lie_and_panics_once),
		cmocka_unit_test(counting_refuses_every_lie_and_panics_once),
		RIG_TEST(table_is_refused_when_none_was_negotiated),
		RIG_TEST(buffer_across_neighbouring_regions_is_two_segments),
		RIG_TEST(table_may_lie_across_neighbouring_regions),
		RIG_TEST(table_of_as_many_entries_as_an_element_can_have_is_taken),
		RIG_TEST(translation_ends_with_its_region),
		RIG_TEST(head_that_is_out_already_breaks_the_ring),
		RIG_TEST(ring_may_be_a_buffer_of_its_own),
		RIG_TEST(device_cannot_push_what_it_should_not),
		RIG_TEST(bytes_beyond_32_bits_saturate),
		RIG_TEST(garbage_in_the_wishes_of_the_guest_is_harmless),
		RIG_TEST(guest_that_wants_no_interrupt_is_told_when_the_queue_is_empty),
		cmocka_unit_test(lies_of_a_packed_ring_panic_once),
		RIG_TEST(descriptors_rewritten_meanwhile_give_elements_that_hold_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
