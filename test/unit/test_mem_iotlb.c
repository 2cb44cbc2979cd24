/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* The IOTLB against a plain list, and with readers while it changes. */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "unit.h"

#include "mem/iotlb.h"

#define PAGE UINT64_C(4096)
#define USER UINT64_C(0x7f0000000000)
#define HOST UINT64_C(0x100000000000)
#define MEMORY (UINT64_C(1) << 40)

/* Regions that were never mapped: only sums are done with the host address. One per map. */
static struct vhu_region regions[8];
static unsigned int maps;
static struct vhu_map *map;
static struct vhu_iotlb *iotlb;

static struct vhu_map *
map_of(uint64_t size, uint64_t host)
{
	struct vhu_region *list[] = { &regions[maps++ % 8] };
	struct vhu_verdict verdict;

	*list[0] = (struct vhu_region){
		.size = size,
		.user_address = USER,
		.host = (uint8_t *)(uintptr_t)host,
		.references = 1,
		.fd = -1,
	};
	return vhu_map_of(list, 1, &verdict);
}

static int
setup(void **state)
{
	(void)state;
	map = map_of(MEMORY, HOST);
	iotlb = vhu_iotlb_new();
	return map == NULL || iotlb == NULL;
}

static int
teardown(void **state)
{
	struct vhu_region *orphans[3];

	(void)state;
	vhu_iotlb_free(iotlb);
	(void)vhu_map_drop(map, orphans);
	return 0;
}

/* @return whether something was taken out, which is freed. */
static bool
enter(uint64_t iova, uint64_t size, uint64_t offset, unsigned int access)
{
	struct vhu_iotlb_entry *removed = NULL;
	bool any;

	assert_int_equal(vhu_iotlb_update(iotlb, map, &(struct vhu_translation){ iova, size,
		USER + offset, access }, &removed).severity, VHU_ACCEPT);
	any = removed != NULL;
	vhu_iotlb_release(removed);
	return any;
}

static bool
take_out(uint64_t iova, uint64_t size)
{
	struct vhu_iotlb_entry *removed = NULL;
	bool any;

	vhu_iotlb_invalidate(iotlb, iova, size, &removed);
	any = removed != NULL;
	vhu_iotlb_release(removed);
	return any;
}

/* Offset in memory behind an address, or UINT64_MAX. */
static uint64_t
look_up(uint64_t iova, uint64_t *size, unsigned int access)
{
	struct vhu_hint hint = { 0 };
	void *host = vhu_iotlb_translate(iotlb, &hint, iova, size, access);

	return host == NULL ? UINT64_MAX : (uintptr_t)host - HOST;
}

static uint64_t
look(uint64_t iova)
{
	uint64_t size = 1;

	return look_up(iova, &size, VHU_READ);
}

static void
entry_translates_its_bytes_and_no_others(void **state)
{
	uint64_t size = 100;

	(void)state;
	assert_false(enter(0x12345, 0x1000, 0x777, 3));
	assert_int_equal(look(0x12344), UINT64_MAX);
	assert_int_equal(look(0x12345), 0x777);
	assert_int_equal(look(0x13344), 0x1776);
	assert_int_equal(look(0x13345), UINT64_MAX);
	assert_int_equal(look_up(0x13340, &size, VHU_READ), 0x1772);
	assert_int_equal(size, 5);
}

static void
permission_must_suffice(void **state)
{
	uint64_t size = 1;

	(void)state;
	enter(0, PAGE, 0, VHU_READ);
	enter(PAGE, PAGE, 0, VHU_WRITE);
	assert_int_equal(look_up(0, &size, VHU_READ), 0);
	assert_int_equal(look_up(0, &size, VHU_WRITE), UINT64_MAX);
	size = 1;
	assert_int_equal(look_up(PAGE, &size, VHU_WRITE), 0);
	assert_int_equal(look_up(PAGE, &size, VHU_READ | VHU_WRITE), UINT64_MAX);
}

static void
only_what_may_be_read_and_written_becomes_the_hint(void **state)
{
	struct vhu_hint hint = { .generation = 5 };
	uint64_t size = 1;

	(void)state;
	enter(0, PAGE, 0, VHU_READ);
	enter(PAGE, PAGE, 0, VHU_READ | VHU_WRITE);
	assert_non_null(vhu_iotlb_translate(iotlb, &hint, 0, &size, VHU_READ));
	assert_int_equal(hint.extent.size, 0);
	assert_non_null(vhu_iotlb_translate(iotlb, &hint, PAGE, &size, VHU_READ));
	assert_int_equal(hint.extent.start, PAGE);
	assert_int_equal(hint.extent.size, PAGE);
	/* What the burst began with, so that a change meanwhile is noticed by the next. */
	assert_int_equal(hint.generation, 5);
}

static void
the_same_again_changes_nothing(void **state)
{
	uint64_t generation;

	(void)state;
	enter(PAGE, PAGE, 0, 3);
	generation = vhu_iotlb_generation(iotlb);
	assert_false(enter(PAGE, PAGE, 0, 3));
	assert_int_equal(vhu_iotlb_generation(iotlb), generation);
	assert_int_equal(vhu_iotlb_count(iotlb), 1);
	assert_true(enter(PAGE, PAGE, 0, 1));
	assert_int_not_equal(vhu_iotlb_generation(iotlb), generation);
	assert_int_equal(vhu_iotlb_count(iotlb), 1);
}

static void
entry_may_end_with_the_address_space(void **state)
{
	(void)state;
	enter(UINT64_MAX - PAGE + 1, PAGE, 0, 3);
	assert_int_equal(look(UINT64_MAX), PAGE - 1);
	assert_true(take_out(0, UINT64_MAX - 5));
	enter(UINT64_MAX - PAGE + 1, PAGE, 0, 3);
	assert_true(take_out(5, 0));
	assert_int_equal(vhu_iotlb_count(iotlb), 0);
	enter(UINT64_MAX - PAGE + 1, PAGE, 0, 3);
	assert_true(take_out(UINT64_MAX, 7));
}

static void
entries_follow_their_memory(void **state)
{
	struct vhu_iotlb_entry *removed = NULL;
	struct vhu_region *orphans[1];
	struct vhu_map *other = map_of(MEMORY / 2, HOST);

	(void)state;
	enter(0, PAGE, 0, 3);
	enter(PAGE, 2 * PAGE, MEMORY / 2 - PAGE, 3);
	enter(3 * PAGE, PAGE, MEMORY / 2, 3);
	vhu_iotlb_follow(iotlb, other, &removed);
	vhu_iotlb_release(removed);
	assert_int_equal(vhu_iotlb_count(iotlb), 1);
	assert_int_equal(look(0), 0);
	(void)vhu_map_drop(other, orphans);
	/* The same memory elsewhere in this process. */
	other = map_of(MEMORY, HOST + MEMORY);
	removed = NULL;
	vhu_iotlb_follow(iotlb, other, &removed);
	vhu_iotlb_release(removed);
	assert_int_equal(vhu_iotlb_count(iotlb), 0);
	(void)vhu_map_drop(other, orphans);
}

/* Neighbours for the front-end, at unrelated addresses here; behind the third there is nothing. */
static void
use_pieces(void)
{
	static struct vhu_region pieces[3];
	struct vhu_region *list[3], *orphans[1];
	struct vhu_verdict verdict;

	for (unsigned int i = 0; i < 3; i++) {
		pieces[i] = (struct vhu_region){ .guest_address = 8 * i * PAGE, .size = 2 * PAGE,
			.user_address = USER + 2 * i * PAGE, .references = 1, .fd = -1,
			.host = (uint8_t *)(uintptr_t)(HOST + (2 - i) * 16 * PAGE) };
		list[i] = &pieces[i];
	}
	(void)vhu_map_drop(map, orphans);
	map = vhu_map_of(list, 3, &verdict);
	assert_non_null(map);
}

static void
translation_over_several_regions_has_an_entry_for_each(void **state)
{
	uint64_t size = 3 * PAGE;

	(void)state;
	use_pieces();
	assert_false(enter(7 * PAGE, 4 * PAGE, PAGE, 3));
	assert_int_equal(vhu_iotlb_count(iotlb), 3);
	assert_int_equal(look_up(7 * PAGE + 1, &size, VHU_READ), 33 * PAGE + 1);
	assert_int_equal(size, PAGE - 1);
	size = 3 * PAGE;
	assert_int_equal(look_up(8 * PAGE, &size, VHU_READ), 16 * PAGE);
	assert_int_equal(size, 2 * PAGE);
	size = 3 * PAGE;
	assert_int_equal(look_up(10 * PAGE, &size, VHU_READ), 0);
	assert_int_equal(size, PAGE);
	/* It is one translation: known as a whole, changed as a whole. */
	assert_false(enter(7 * PAGE, 4 * PAGE, PAGE, 3));
	assert_true(enter(7 * PAGE, 4 * PAGE, 2 * PAGE, 3));
	assert_int_equal(vhu_iotlb_count(iotlb), 2);
	assert_true(take_out(7 * PAGE, 4 * PAGE));
	assert_int_equal(vhu_iotlb_count(iotlb), 0);
}

static void
translation_beyond_memory_is_refused_with_the_first_byte_that_lacks(void **state)
{
	struct vhu_iotlb_entry *removed = NULL;
	struct vhu_verdict verdict;

	(void)state;
	use_pieces();
	enter(5 * PAGE, PAGE, 0, 3);
	verdict = vhu_iotlb_update(iotlb, map, &(struct vhu_translation){ 4 * PAGE, 6 * PAGE + 1,
		USER, 3 }, &removed);
	assert_int_equal(verdict.severity, VHU_REFUSE_FAULT);
	assert_non_null(strstr(verdict.text, "no guest memory at user address 0x7f0000006000"));
	/* The old entries stand. */
	assert_null(removed);
	assert_int_equal(vhu_iotlb_count(iotlb), 1);
	assert_int_equal(look(5 * PAGE), 32 * PAGE);
	/* User addresses end where numbers do. */
	verdict = vhu_iotlb_update(iotlb, map, &(struct vhu_translation){ 0, UINT64_MAX, USER, 3 },
		&removed);
	assert_int_equal(verdict.severity, VHU_REFUSE_FAULT);
}

/* The model: one cell per page of a small address space. */
#define MODEL_PAGES 512

struct cell {
	uint64_t offset; /* in memory, where the page is */
	unsigned int access, entry;
};
static struct cell model[MODEL_PAGES];
static unsigned int entries;

static void
model_take_out(unsigned int first, unsigned int last)
{
	unsigned int i, k;

	for (i = first; i <= last; i++)
		for (k = 0; model[i].entry != 0 && k < MODEL_PAGES; k++)
			if (k != i && model[k].entry == model[i].entry)
				model[k].entry = 0;
	for (i = first; i <= last; i++)
		model[i].entry = 0;
}

static void
compare_with_model(void)
{
	unsigned int i, access;

	for (i = 0; i < MODEL_PAGES; i++)
		for (access = 1; access <= 3; access++) {
			uint64_t size = PAGE, found = look_up(i * PAGE + 5, &size, access);

			if (model[i].entry == 0 || (access & ~model[i].access))
				assert_int_equal(found, UINT64_MAX);
			else
				assert_int_equal(found, model[i].offset + 5);
		}
}

static void
random_changes_agree_with_a_plain_list(void **state)
{
	unsigned int round, i;

	(void)state;
	srandom(4711);
	memset(model, 0, sizeof(model));
	for (round = 0; round < 4000; round++) {
		unsigned int first = (unsigned int)random() % MODEL_PAGES;
		unsigned int count = 1 + (unsigned int)random() % 12, access;
		uint64_t offset = (uint64_t)random() % 1000 * PAGE;

		if (first + count > MODEL_PAGES)
			count = MODEL_PAGES - first;
		model_take_out(first, first + count - 1);
		if (random() % 3 == 0) {
			take_out(first * PAGE, count * PAGE);
		} else {
			access = 1 + (unsigned int)random() % 3;
			enter(first * PAGE, count * PAGE, offset, access);
			entries++;
			for (i = 0; i < count; i++)
				model[first + i] = (struct cell){ offset + i * PAGE, access,
					entries };
		}
		if (round % 50 == 0)
			compare_with_model();
	}
	compare_with_model();
	take_out(0, UINT64_MAX);
	assert_int_equal(vhu_iotlb_count(iotlb), 0);
}

static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void
full_cache_is_emptied_and_everything_stays_fast(void **state)
{
	double begin = seconds();
	uint32_t i;

	(void)state;
	/* In an order that is neither up nor down. A list would take hours. */
	for (i = 0; i < VHU_IOTLB_ENTRIES; i++)
		enter((uint64_t)(i * UINT32_C(2654435761)) * 2 * PAGE, PAGE, 0, 3);
	assert_int_equal(vhu_iotlb_count(iotlb), VHU_IOTLB_ENTRIES);
	assert_int_equal(look((uint64_t)(7 * UINT32_C(2654435761)) * 2 * PAGE), 0);
	assert_true(enter(1, 1, 0, 3));
	assert_int_equal(vhu_iotlb_count(iotlb), 1);
	assert_true(take_out(0, 0));
	assert_true(seconds() - begin < 60);
}

/* Readers while the writer enters and takes out; nothing is freed before they are gone. */
#define READERS 2

static atomic_bool stop;

static void *
read_always(void *argument)
{
	uint64_t *wrong = argument, i = 0;

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		uint64_t page = i++ * 7919 % 256, found = look(page * PAGE + 9);

		/* Page n is at memory page n or n + 1000, whenever it is anywhere. */
		if (found != UINT64_MAX && found != page * PAGE + 9 &&
		    found != (page + 1000) * PAGE + 9)
			(*wrong)++;
		/* These are never touched. */
		if (look((300 + page % 16) * PAGE) != (300 + page % 16) * PAGE)
			(*wrong)++;
	}
	return NULL;
}

static void
readers_see_old_or_new_entries_only(void **state)
{
	struct vhu_iotlb_entry *removed = NULL;
	uint64_t wrong[READERS] = { 0 };
	pthread_t threads[READERS];
	unsigned int i;

	(void)state;
	atomic_store(&stop, false);
	for (i = 0; i < 16; i++)
		enter((300 + i) * PAGE, PAGE, (300 + i) * PAGE, 3);
	for (i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_always, &wrong[i]), 0);
	srandom(42);
	for (i = 0; i < 30000; i++) {
		uint64_t page = (uint64_t)random() % 256, shift = (uint64_t)random() % 2 * 1000;

		if (random() % 4 == 0)
			vhu_iotlb_invalidate(iotlb, page * PAGE, 3 * PAGE, &removed);
		else
			(void)vhu_iotlb_update(iotlb, map, &(struct vhu_translation){ page * PAGE,
				PAGE, USER + (page + shift) * PAGE, 3 }, &removed);
	}
	atomic_store(&stop, true);
	for (i = 0; i < READERS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(wrong[i], 0);
	}
	vhu_iotlb_release(removed);
}

#define IOTLB_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IOTLB_TEST(entry_translates_its_bytes_and_no_others),
		IOTLB_TEST(permission_must_suffice),
		IOTLB_TEST(only_what_may_be_read_and_written_becomes_the_hint),
		IOTLB_TEST(the_same_again_changes_nothing),
		IOTLB_TEST(entry_may_end_with_the_address_space),
		IOTLB_TEST(entries_follow_their_memory),
		IOTLB_TEST(translation_over_several_regions_has_an_entry_for_each),
		IOTLB_TEST(translation_beyond_memory_is_refused_with_the_first_byte_that_lacks),
		IOTLB_TEST(random_changes_agree_with_a_plain_list),
		IOTLB_TEST(full_cache_is_emptied_and_everything_stays_fast),
		IOTLB_TEST(readers_see_old_or_new_entries_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
