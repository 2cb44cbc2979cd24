/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stdlib.h>

#include "unit.h"

#include <vhu.h>

#include "mem/map.h"
#include "mem/translate.h"

/* The address space that a map alone makes up. Valid until the next call. */
static const struct vhu_space *
space_of(const struct vhu_map *map)
{
	static struct vhu_space space;

	space = (struct vhu_space){ .map = map };
	return &space;
}

#define SIZE 0x1000

/* Regions that were never mapped: maps only do sums with the host address. */
static struct vhu_region regions[VHU_MAX_MEM_SLOTS + 1];

static struct vhu_region *
place(unsigned int i, uint64_t guest, uint64_t user, uintptr_t host)
{
	regions[i] = (struct vhu_region){
		.guest_address = guest,
		.user_address = user,
		.size = SIZE,
		.host = (uint8_t *)host,
		.references = 1,
		.fd = -1,
	};
	return &regions[i];
}

/* Region i of many, with holes between them, in an order that is not sorted. */
static struct vhu_region *
place_many(unsigned int i)
{
	uint64_t slot = (i * 7919u) % (VHU_MAX_MEM_SLOTS + 1);

	return place(i, slot * 2 * SIZE, 0x10000000 + (600 - slot) * 2 * SIZE,
		0x20000000 + slot * 2 * SIZE);
}

static struct vhu_map *
map_of(unsigned int count)
{
	struct vhu_region *list[VHU_MAX_MEM_SLOTS + 1];
	struct vhu_verdict verdict;
	struct vhu_map *map;
	unsigned int i;

	for (i = 0; i < count; i++)
		list[i] = &regions[i];
	map = vhu_map_of(list, count, &verdict);
	assert_int_equal(map == NULL, verdict.severity != VHU_ACCEPT);
	return map;
}

static void
assert_dropped(struct vhu_map *map, unsigned int expected)
{
	struct vhu_region *orphans[VHU_MAX_MEM_SLOTS];

	assert_int_equal(vhu_map_drop(map, orphans), expected);
}

static void
empty_map_translates_nothing(void **state)
{
	struct vhu_map *map = vhu_map_new();
	struct vhu_hint hint = { 0 };
	uint64_t size = 1;

	(void)state;
	vhu_hint_check(space_of(map), &hint);
	assert_null(vhu_translate(space_of(map), &hint, 0, &size, VHU_READ));
	assert_null(vhu_map_user(map, 0, 1));
	assert_dropped(map, 0);
}

static void
overlap_in_guest_addresses_is_refused(void **state)
{
	(void)state;
	place(0, 0x10000, 0x100000, 0);
	place(1, 0x10000 + SIZE - 1, 0x200000, 0);
	assert_null(map_of(2));
	assert_int_equal(regions[0].references, 1);
}

static void
overlap_in_user_addresses_is_refused(void **state)
{
	(void)state;
	place(0, 0x10000, 0x100000 + SIZE - 1, 0);
	place(1, 0x20000, 0x100000, 0);
	assert_null(map_of(2));
}

static void
neighbours_do_not_overlap(void **state)
{
	(void)state;
	place(0, 0x10000, 0x100000, 0);
	place(1, 0x10000 + SIZE, 0x100000 + SIZE, 0);
	assert_dropped(map_of(2), 0);
}

static void
first_and_last_byte_are_inside_the_next_is_not(void **state)
{
	struct vhu_hint hint = { 0 };
	struct vhu_map *map;
	unsigned int i;

	(void)state;
	for (i = 0; i < 8; i++)
		place_many(i);
	map = map_of(8);
	vhu_hint_check(space_of(map), &hint);
	for (i = 0; i < 8; i++) {
		uint64_t size = 1, guest = regions[i].guest_address, user = regions[i].user_address;

		assert_ptr_equal(vhu_translate(space_of(map), &hint,
				guest, &size, VHU_READ),
			regions[i].host);
		assert_ptr_equal(vhu_translate(space_of(map), &hint,
				guest + SIZE - 1, &size, VHU_READ),
			regions[i].host + SIZE - 1);
		assert_int_equal(size, 1);
		assert_null(vhu_translate(space_of(map), &hint, guest + SIZE, &size, VHU_READ));
		assert_ptr_equal(vhu_map_user(map, user, SIZE), regions[i].host);
		assert_ptr_equal(vhu_map_user(map, user + SIZE - 1, 1),
			regions[i].host + SIZE - 1);
		assert_null(vhu_map_user(map, user + SIZE, 1));
		assert_null(vhu_map_user(map, user + 1, SIZE));
	}
	assert_dropped(map, 0);
}

static void
translation_says_how_much_is_contiguous(void **state)
{
	struct vhu_hint hint = { 0 };
	struct vhu_map *map;
	uint64_t size = UINT64_MAX;

	(void)state;
	place(0, 0x10000, 0x100000, 0x50000);
	map = map_of(1);
	vhu_hint_check(space_of(map), &hint);
	assert_ptr_equal(vhu_translate(space_of(map), &hint,
				0x10010, &size, VHU_READ),
			(void *)0x50010);
	assert_int_equal(size, SIZE - 0x10);
	assert_dropped(map, 0);
}

static void
user_range_crosses_regions_that_are_neighbours_here(void **state)
{
	struct vhu_map *map;

	(void)state;
	place(0, 0x10000, 0x100000, 0x50000);
	place(1, 0x80000, 0x100000 + SIZE, 0x50000 + SIZE);
	map = map_of(2);
	assert_ptr_equal(vhu_map_user(map, 0x100000 + SIZE - 8, 16), (void *)(0x50000 + SIZE - 8));
	assert_null(vhu_map_user(map, 0x100000 + SIZE - 8, SIZE + 16));
	assert_dropped(map, 0);
}

static void
user_range_does_not_cross_regions_that_are_apart_here(void **state)
{
	struct vhu_map *map;

	(void)state;
	place(0, 0x10000, 0x100000, 0x50000);
	place(1, 0x80000, 0x100000 + SIZE, 0x60000);
	map = map_of(2);
	assert_null(vhu_map_user(map, 0x100000 + SIZE - 8, 16));
	assert_dropped(map, 0);
}

static void
user_range_of_nothing_or_that_wraps_is_outside(void **state)
{
	struct vhu_map *map;

	(void)state;
	place(0, 0x10000, 0x100000, 0x50000);
	map = map_of(1);
	assert_null(vhu_map_user(map, 0x100000, 0));
	assert_null(vhu_map_user(map, 0x100000, UINT64_MAX));
	assert_dropped(map, 0);
}

static void
all_slots_can_be_used_and_not_one_more(void **state)
{
	struct vhu_map *map = vhu_map_new(), *next;
	struct vhu_verdict verdict;
	struct vhu_hint hint = { 0 };
	unsigned int i;

	(void)state;
	for (i = 0; i < VHU_MAX_MEM_SLOTS; i++) {
		next = vhu_map_with(map, place_many(i), &verdict);
		assert_non_null(next);
		assert_int_equal(verdict.severity, VHU_ACCEPT);
		assert_dropped(map, 0);
		map = next;
	}
	assert_int_equal(map->count, VHU_MAX_MEM_SLOTS);
	vhu_hint_check(space_of(map), &hint);
	for (i = 0; i < VHU_MAX_MEM_SLOTS; i++) {
		uint64_t size = SIZE;

		assert_ptr_equal(vhu_translate(space_of(map), &hint,
				regions[i].guest_address, &size, VHU_READ),
			regions[i].host);
		assert_int_equal(size, SIZE);
		assert_ptr_equal(vhu_map_user(map, regions[i].user_address, SIZE),
			regions[i].host);
	}
	assert_null(vhu_map_with(map, place_many(VHU_MAX_MEM_SLOTS), &verdict));
	assert_int_equal(verdict.severity, VHU_REFUSE);
	assert_dropped(map, 0);
}

static void
map_without_a_region_lacks_just_that(void **state)
{
	struct vhu_map *map, *less;
	struct vhu_verdict verdict;

	(void)state;
	place_many(0);
	place_many(1);
	place_many(2);
	map = map_of(3);
	less = vhu_map_without(map, &regions[1], &verdict);
	assert_int_equal(less->count, 2);
	assert_null(vhu_map_user(less, regions[1].user_address, 1));
	assert_non_null(vhu_map_user(less, regions[0].user_address, 1));
	assert_non_null(vhu_map_user(less, regions[2].user_address, 1));
	assert_int_not_equal(map->generation, less->generation);
	assert_dropped(map, 0);
	assert_dropped(less, 0);
}

static void
find_wants_all_three_numbers(void **state)
{
	struct vhu_wire_region key = { 0x10000, SIZE, 0x100000, 0x777 };
	struct vhu_map *map;

	(void)state;
	place(0, 0x10000, 0x100000, 0);
	map = map_of(1);
	assert_ptr_equal(vhu_map_find(map, &key), &regions[0]);
	key.size--;
	assert_null(vhu_map_find(map, &key));
	key.size++;
	key.guest_address++;
	assert_null(vhu_map_find(map, &key));
	key.guest_address--;
	key.user_address++;
	assert_null(vhu_map_find(map, &key));
	assert_dropped(map, 0);
}

static void
last_reference_gives_the_orphans(void **state)
{
	struct vhu_region *orphans[2];
	struct vhu_map *map, *other;

	(void)state;
	place_many(0);
	place_many(1);
	map = map_of(2);
	other = map_of(1);
	regions[0].references--; /* the test's own */
	regions[1].references--;
	vhu_map_hold(map);
	assert_dropped(map, 0);
	assert_int_equal(vhu_map_drop(map, orphans), 1);
	assert_ptr_equal(orphans[0], &regions[1]);
	assert_int_equal(vhu_map_drop(other, orphans), 1);
	assert_ptr_equal(orphans[0], &regions[0]);
}

static void
hint_of_another_map_is_forgotten(void **state)
{
	struct vhu_map *map, *other;
	struct vhu_hint hint = { 0 };
	uint64_t size = 1;

	(void)state;
	place(0, 0x10000, 0x100000, 0x50000);
	map = map_of(1);
	vhu_hint_check(space_of(map), &hint);
	assert_non_null(vhu_translate(space_of(map), &hint, 0x10000, &size, VHU_READ));
	other = vhu_map_new();
	vhu_hint_check(space_of(other), &hint);
	assert_null(vhu_translate(space_of(other), &hint, 0x10000, &size, VHU_READ));
	assert_dropped(map, 0);
	assert_dropped(other, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_map_translates_nothing),
		cmocka_unit_test(overlap_in_guest_addresses_is_refused),
		cmocka_unit_test(overlap_in_user_addresses_is_refused),
		cmocka_unit_test(neighbours_do_not_overlap),
		cmocka_unit_test(first_and_last_byte_are_inside_the_next_is_not),
		cmocka_unit_test(translation_says_how_much_is_contiguous),
		cmocka_unit_test(user_range_crosses_regions_that_are_neighbours_here),
		cmocka_unit_test(user_range_does_not_cross_regions_that_are_apart_here),
		cmocka_unit_test(user_range_of_nothing_or_that_wraps_is_outside),
		cmocka_unit_test(all_slots_can_be_used_and_not_one_more),
		cmocka_unit_test(map_without_a_region_lacks_just_that),
		cmocka_unit_test(find_wants_all_three_numbers),
		cmocka_unit_test(last_reference_gives_the_orphans),
		cmocka_unit_test(hint_of_another_map_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
