/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Memory that the front-end takes away while the program has elements in it. Ring 0 lies in the
 * rig's region; buffers lie in a second one, which comes and goes.
 */

#include <sys/stat.h>

#include "compat_rig.h"

#define OTHER_GUEST UINT64_C(0x80000000)
#define OTHER_USER UINT64_C(0x7e0000000000)
#define OTHER_SIZE 0x10000u
/* As many as the device serves: what is taken away and still looked at may not be more. */
#define MOST_KEPT 509u

static const VhostUserMemRegMsg other = {
	.region = { OTHER_GUEST, OTHER_SIZE, OTHER_USER, 0 },
};

static int other_fd;
static uint8_t *other_guest;

static int
setup(void **state)
{
	rig_setup(state);
	other_fd = memfd_create("other", MFD_CLOEXEC);
	assert_int_equal(ftruncate(other_fd, OTHER_SIZE), 0);
	other_guest = mmap(NULL, OTHER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, other_fd, 0);
	assert_true(other_guest != MAP_FAILED);
	rig.protocol = BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS) |
		BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE);
	rig_start();
	return 0;
}

static int
teardown(void **state)
{
	close(other_fd);
	munmap(other_guest, OTHER_SIZE);
	return rig_teardown(state);
}

#define MEMORY_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static VuVirtq *
queue(void)
{
	return vu_get_queue(&rig.dev, 0);
}

/* How often the second region's file is mapped, beside our own mapping. */
static unsigned int
mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512], inode[32];
	unsigned int count = 0;
	struct stat status;

	assert_non_null(maps);
	assert_int_equal(fstat(other_fd, &status), 0);
	snprintf(inode, sizeof(inode), " %ju ", (uintmax_t)status.st_ino);
	while (fgets(line, sizeof(line), maps) != NULL)
		count += strstr(line, inode) != NULL && strstr(line, "memfd:other") != NULL;
	fclose(maps);
	return count - 1;
}

static void
add_other(void)
{
	assert_int_equal(rig_ask(VHOST_USER_ADD_MEM_REG, &other, sizeof(other), other_fd), 0);
}

static uint64_t
remove_other(void)
{
	return rig_ask(VHOST_USER_REM_MEM_REG, &other, sizeof(other), -1);
}

/* A table without the second region. */
static void
replace_table(void)
{
	const VhostUserMemory table = { .nregions = 1,
		.regions = { { RIG_GUEST, RIG_MEMORY, RIG_USER, 0 } } };

	assert_int_equal(rig_ask(VHOST_USER_SET_MEM_TABLE, &table, 8 + 32, rig.memory), 0);
}

/* A message without consequences: the library may look around. */
static void
dispatch_something(void)
{
	uint64_t value;

	rig_write(VHOST_USER_GET_PROTOCOL_FEATURES, 1, NULL, 0, -1);
	assert_true(vu_dispatch(&rig.dev));
	rig_read(VHOST_USER_GET_PROTOCOL_FEATURES, &value, sizeof(value));
}

static void
offer_at(uint16_t head, uint64_t guest)
{
	const struct rig_part parts[] = {
		{ (uint32_t)(guest - RIG_GUEST), 16, false },
		{ (uint32_t)(guest - RIG_GUEST) + 0x1000, 512, true },
	};

	rig_offer(head, parts, 2);
}

static VuVirtqElement *
pop_at(uint16_t head, uint64_t guest)
{
	VuVirtqElement *element;

	offer_at(head, guest);
	element = vu_queue_pop(&rig.dev, queue(), sizeof(*element));
	assert_non_null(element);
	assert_int_equal(element->index, head);
	return element;
}

/* Take and give back one whose buffers stay. */
static void
one_request(uint16_t head)
{
	VuVirtqElement *element = pop_at(head, RIG_GUEST + RIG_DATA);

	vu_queue_push(&rig.dev, queue(), element, 0);
	free(element);
}

/* Both directions, to the last byte. */
static void
use(const VuVirtqElement *element, uint8_t value)
{
	memcpy(other_guest, "sixteen bytes...", 16);
	assert_memory_equal(element->out_sg[0].iov_base, "sixteen bytes...", 16);
	memset(element->in_sg[0].iov_base, value, element->in_sg[0].iov_len);
	assert_int_equal(other_guest[0x1000], value);
	assert_int_equal(other_guest[0x1000 + 511], value);
}

static void
push(VuVirtqElement *element)
{
	vu_queue_push(&rig.dev, queue(), element, 512);
	free(element);
}

static void
element_is_usable_until_it_is_pushed_after_its_region_was_removed(void **state)
{
	VuVirtqElement *element;

	(void)state;
	add_other();
	element = pop_at(0, OTHER_GUEST);
	assert_int_equal(remove_other(), 0);
	use(element, 0x11);
	/* Nothing new is taken from there. */
	assert_null(vu_gpa_to_va(&rig.dev, &(uint64_t){ 1 }, OTHER_GUEST));
	push(element);
	assert_int_equal(rig_used_index(), 1);
	assert_int_equal(rig_used(0).len, 512);
	dispatch_something();
	assert_int_equal(mappings(), 0);
	assert_int_equal(rig.panics, 0);
}

static void
element_is_usable_until_it_is_pushed_after_a_new_table(void **state)
{
	VuVirtqElement *element;

	(void)state;
	add_other();
	element = pop_at(0, OTHER_GUEST);
	replace_table();
	use(element, 0x22);
	push(element);
	dispatch_something();
	assert_int_equal(mappings(), 0);
	one_request(2);
	assert_int_equal(rig_used_index(), 2);
}

static void
region_in_which_nothing_is_held_is_gone_when_it_is_acknowledged(void **state)
{
	(void)state;
	add_other();
	push(pop_at(0, OTHER_GUEST));
	assert_int_equal(mappings(), 1);
	assert_int_equal(remove_other(), 0);
	assert_int_equal(mappings(), 0);
}

static void
region_goes_when_its_element_is_back_although_others_are_always_out(void **state)
{
	VuVirtqElement *old, *out, *next;
	unsigned int i;

	(void)state;
	add_other();
	old = pop_at(0, OTHER_GUEST);
	assert_int_equal(remove_other(), 0);
	out = pop_at(2, RIG_GUEST + RIG_DATA);
	push(old);
	for (i = 0; i < 4; i++) {
		next = pop_at(i % 2 == 0 ? 4 : 2, RIG_GUEST + RIG_DATA);
		push(out);
		out = next;
	}
	dispatch_something();
	assert_int_equal(mappings(), 0);
	push(out);
}

static void
region_stays_for_its_element_while_many_others_come_and_go(void **state)
{
	VuVirtqElement *old;
	unsigned int i;

	(void)state;
	add_other();
	old = pop_at(0, OTHER_GUEST);
	assert_int_equal(remove_other(), 0);
	for (i = 0; i < 1000; i++) {
		one_request(2);
		if (i % 100 == 0)
			dispatch_something();
	}
	use(old, 0x33);
	assert_int_equal(mappings(), 1);
	push(old);
	dispatch_something();
	assert_int_equal(mappings(), 0);
}

static void
same_id_taken_again_is_not_mistaken_for_the_old_element(void **state)
{
	VuVirtqElement *old, *again, *out;

	(void)state;
	add_other();
	old = pop_at(0, OTHER_GUEST);
	assert_int_equal(remove_other(), 0);
	out = pop_at(2, RIG_GUEST + RIG_DATA);
	push(old);
	/* The id is in flight at every look from here on. */
	again = pop_at(0, RIG_GUEST + RIG_DATA);
	push(out);
	out = pop_at(2, RIG_GUEST + RIG_DATA);
	dispatch_something();
	assert_int_equal(mappings(), 0);
	push(again);
	push(out);
}

static void
elements_of_a_burst_are_usable_after_their_region_was_removed(void **state)
{
	VuElementPool *pool = vu_element_pool_new(4, sizeof(VuVirtqElement), 4);
	void *elements[2];

	(void)state;
	add_other();
	offer_at(0, OTHER_GUEST);
	offer_at(2, RIG_GUEST + RIG_DATA);
	assert_int_equal(vu_queue_pop_burst(&rig.dev, queue(), pool, elements, 2), 2);
	assert_int_equal(remove_other(), 0);
	use(elements[0], 0x44);
	vu_queue_push_burst(&rig.dev, queue(), pool, elements, NULL, 2);
	dispatch_something();
	assert_int_equal(mappings(), 0);
	vu_element_pool_free(pool);
}

static void
element_put_back_holds_nothing(void **state)
{
	VuVirtqElement *element;

	(void)state;
	add_other();
	element = pop_at(0, OTHER_GUEST);
	vu_queue_unpop(&rig.dev, queue(), element, 0);
	free(element);
	assert_int_equal(remove_other(), 0);
	assert_int_equal(mappings(), 0);
}

static void
never_called(VuDev *dev, int index)
{
	(void)dev;
	fail_msg("queue %d was kicked", index);
}

static void
kick_is_occasion_enough_to_unmap(void **state)
{
	VuVirtqElement *element;

	(void)state;
	vu_set_queue_handler(&rig.dev, queue(), never_called);
	add_other();
	element = pop_at(0, OTHER_GUEST);
	assert_int_equal(remove_other(), 0);
	push(element);
	assert_int_equal(mappings(), 1);
	/* A spurious one: the handler is not called. */
	(void)eventfd_read(rig.kick, &(eventfd_t){ 0 });
	rig.watch_callback(&rig.dev, VU_WATCH_IN, rig.watch_data);
	assert_int_equal(mappings(), 0);
}

static void
element_is_usable_after_its_queue_stopped_until_it_is_pushed(void **state)
{
	VuVirtqElement *element;

	(void)state;
	add_other();
	element = pop_at(0, OTHER_GUEST);
	rig_base(0);
	assert_int_equal(remove_other(), 0);
	use(element, 0x55);
	push(element);
	dispatch_something();
	assert_int_equal(mappings(), 0);
	/* The guest did not see it. */
	assert_int_equal(rig_used_index(), 0);
}

static void
freed_elements_hold_memory_until_their_queue_starts_again(void **state)
{
	(void)state;
	add_other();
	free(pop_at(0, OTHER_GUEST));
	rig_base(0);
	assert_int_equal(remove_other(), 0);
	dispatch_something();
	assert_int_equal(mappings(), 1);
	assert_int_equal(rig_state(VHOST_USER_SET_VRING_BASE, 0, 0), 0);
	assert_int_equal(rig_u64(VHOST_USER_SET_VRING_KICK, 0, rig.kick), 0);
	assert_int_equal(mappings(), 0);
}

static void
reset_leaves_elements_usable(void **state)
{
	VuVirtqElement *element;

	(void)state;
	add_other();
	element = pop_at(0, OTHER_GUEST);
	assert_int_equal(rig_ask(VHOST_USER_RESET_DEVICE, NULL, 0, -1), 0);
	use(element, 0x66);
	assert_int_equal(remove_other(), 0);
	use(element, 0x77);
	push(element);
	dispatch_something();
	assert_int_equal(mappings(), 0);
}

static void
element_is_usable_after_the_ring_itself_was_taken_away(void **state)
{
	const VhostUserMemory nothing = { 0 };
	VuVirtqElement *element;

	(void)state;
	add_other();
	element = pop_at(0, OTHER_GUEST);
	assert_int_equal(rig_ask(VHOST_USER_SET_MEM_TABLE, &nothing, 8, -1), 0);
	assert_int_equal(rig.panics, 1);
	use(element, 0x88);
	/* There is no ring any more to show it in. */
	push(element);
	assert_int_equal(rig_used_index(), 0);
	dispatch_something();
	assert_int_equal(mappings(), 0);
}

static void
end_of_the_device_unmaps_what_elements_hold_and_they_can_be_freed(void **state)
{
	VuVirtqElement *removed, *mapped;

	(void)state;
	add_other();
	removed = pop_at(0, OTHER_GUEST);
	mapped = pop_at(2, RIG_GUEST + RIG_DATA);
	assert_int_equal(remove_other(), 0);
	use(removed, 0x99);
	vu_deinit(&rig.dev);
	vu_deinit(&rig.dev);
	assert_int_equal(mappings(), 0);
	assert_int_equal(mapped->in_num, 1);
	free(removed);
	free(mapped);
}

static void
memory_that_comes_and_goes_cannot_pile_up_behind_one_element(void **state)
{
	VuVirtqElement *element;
	unsigned int i;

	(void)state;
	add_other();
	element = pop_at(0, OTHER_GUEST);
	for (i = 0; i < MOST_KEPT; i++) {
		assert_int_equal(remove_other(), 0);
		add_other();
	}
	assert_int_equal(mappings(), MOST_KEPT + 1);
	/* No more than that: the front-end is told, and the region stays. */
	assert_int_not_equal(remove_other(), 0);
	assert_int_equal(mappings(), MOST_KEPT + 1);
	use(element, 0xaa);
	push(element);
	assert_int_equal(remove_other(), 0);
	assert_int_equal(mappings(), 0);
	assert_int_equal(rig.panics, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		MEMORY_TEST(element_is_usable_until_it_is_pushed_after_its_region_was_removed),
		MEMORY_TEST(element_is_usable_until_it_is_pushed_after_a_new_table),
		MEMORY_TEST(region_in_which_nothing_is_held_is_gone_when_it_is_acknowledged),
		MEMORY_TEST(region_goes_when_its_element_is_back_although_others_are_always_out),
		MEMORY_TEST(region_stays_for_its_element_while_many_others_come_and_go),
		MEMORY_TEST(same_id_taken_again_is_not_mistaken_for_the_old_element),
		MEMORY_TEST(elements_of_a_burst_are_usable_after_their_region_was_removed),
		MEMORY_TEST(element_put_back_holds_nothing),
		MEMORY_TEST(kick_is_occasion_enough_to_unmap),
		MEMORY_TEST(element_is_usable_after_its_queue_stopped_until_it_is_pushed),
		MEMORY_TEST(freed_elements_hold_memory_until_their_queue_starts_again),
		MEMORY_TEST(reset_leaves_elements_usable),
		MEMORY_TEST(element_is_usable_after_the_ring_itself_was_taken_away),
		MEMORY_TEST(end_of_the_device_unmaps_what_elements_hold_and_they_can_be_freed),
		MEMORY_TEST(memory_that_comes_and_goes_cannot_pile_up_behind_one_element),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
