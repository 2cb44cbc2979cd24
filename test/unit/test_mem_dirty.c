/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit.h"

#include "mem/dirty.h"

#define PAGE UINT64_C(4096)

/* A log of so many bytes at an offset of its file, and what the front-end sees of it. */
static struct vhu_dirty *dirty;
static uint8_t *bits;
static int file;

static void
make_log(uint64_t size, uint64_t offset)
{
	struct vhu_verdict verdict;

	file = memfd_create("log", MFD_CLOEXEC);
	assert_true(file >= 0);
	assert_int_equal(ftruncate(file, (off_t)(offset + size)), 0);
	bits = (uint8_t *)mmap(NULL, offset + size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) +
		offset;
	verdict = vhu_dirty_map(file, size, offset, &dirty);
	assert_int_equal(verdict.severity, VHU_ACCEPT);
	assert_non_null(dirty);
}

static int
drop_log(void **state)
{
	(void)state;
	vhu_dirty_drop(dirty);
	dirty = NULL;
	if (file > 0)
		close(file);
	file = -1;
	return 0;
}

static bool
is_marked(uint64_t page)
{
	return bits[page / 8] >> page % 8 & 1;
}

static unsigned int
count_marked(uint64_t size)
{
	unsigned int count = 0;
	uint64_t i;

	for (i = 0; i < size; i++)
		count += (unsigned int)__builtin_popcount(bits[i]);
	return count;
}

static void
write_at(uint64_t address, uint64_t size)
{
	struct vhu_dirty_cache cache;

	vhu_dirty_begin(&cache);
	vhu_dirty_note(dirty, &cache, address, size);
	vhu_dirty_flush(dirty, &cache);
}

static uint64_t
beyond(void)
{
	return atomic_load(&dirty->state->beyond);
}

static void
touched_pages_are_marked_and_no_others(void **state)
{
	(void)state;
	make_log(64, 0);
	write_at(PAGE - 1, 1);
	assert_true(is_marked(0));
	assert_int_equal(count_marked(64), 1);
	write_at(5 * PAGE - 1, 2);
	assert_true(is_marked(4) && is_marked(5));
	write_at(70 * PAGE + 4095, 4098);
	assert_true(is_marked(70) && is_marked(71) && is_marked(72));
	assert_int_equal(count_marked(64), 6);
	write_at(100 * PAGE, 0);
	assert_int_equal(count_marked(64), 6);
}

static void
run_over_several_words_is_marked_whole(void **state)
{
	(void)state;
	make_log(64, 0);
	write_at(3 * PAGE, 300 * PAGE);
	assert_int_equal(count_marked(64), 300);
	assert_false(is_marked(2));
	assert_true(is_marked(3));
	assert_true(is_marked(302));
	assert_false(is_marked(303));
}

static void
nothing_is_marked_before_the_flush(void **state)
{
	struct vhu_dirty_cache cache;

	(void)state;
	make_log(64, 0);
	vhu_dirty_begin(&cache);
	vhu_dirty_note(dirty, &cache, 7 * PAGE, 1);
	vhu_dirty_note(dirty, &cache, 9 * PAGE, 1);
	assert_int_equal(count_marked(64), 0);
	assert_false(vhu_dirty_taken(dirty));
	vhu_dirty_flush(dirty, &cache);
	assert_int_equal(count_marked(64), 2);
	assert_true(vhu_dirty_taken(dirty));
	assert_false(vhu_dirty_taken(dirty));
	vhu_dirty_flush(dirty, &cache);
	assert_int_equal(count_marked(64), 2);
}

static void
more_words_than_the_cache_holds_are_all_marked(void **state)
{
	struct vhu_dirty_cache cache;
	uint64_t i;

	(void)state;
	make_log(4096, 0);
	vhu_dirty_begin(&cache);
	for (i = 0; i < 4096 * 8; i += 61)
		vhu_dirty_note(dirty, &cache, i * PAGE, 1);
	vhu_dirty_flush(dirty, &cache);
	for (i = 0; i < 4096 * 8; i++)
		assert_int_equal(is_marked(i), i % 61 == 0);
}

static void
pages_outside_the_log_are_counted_and_not_marked(void **state)
{
	(void)state;
	/* The last page of the mapping holds words that are not the log's. */
	make_log(13, 0);
	write_at(103 * PAGE, 1);
	assert_true(is_marked(103));
	assert_int_equal(beyond(), 0);
	write_at(104 * PAGE, 1);
	assert_int_equal(beyond(), 1);
	write_at(102 * PAGE, 4 * PAGE);
	assert_int_equal(beyond(), 3);
	write_at(UINT64_MAX, 1);
	assert_int_equal(beyond(), 4);
	write_at(UINT64_MAX - 10, UINT64_MAX);
	assert_int_equal(beyond(), 5);
	write_at(0, UINT64_MAX);
	assert_int_equal(count_marked(13), 104);
	assert_int_equal(bits[13], 0);
	assert_int_equal(beyond(), 5 + (UINT64_C(1) << 52) - 104);
}

static void
log_may_begin_inside_a_page_of_its_file(void **state)
{
	(void)state;
	make_log(4096, 4096 + 24);
	write_at(8 * PAGE, 1);
	assert_int_equal(bits[1], 1);
	assert_int_equal(bits[-1], 0);
	write_at(32767 * PAGE, 1);
	assert_int_equal(bits[4095], 0x80);
	assert_int_equal(beyond(), 0);
}

static void
log_that_does_not_lie_in_its_file_is_refused(void **state)
{
	static const struct {
		uint64_t size, offset;
	} bad[] = {
		{ 0, 0 }, { UINT64_C(1) << 63, 0 }, { 4097, 0 }, { 4096, 8 }, { 8, 4096 },
		{ UINT64_MAX, 8 }, { 8, UINT64_MAX - 7 }, { 8, 4 }, { UINT64_MAX - 7, 8 },
	};
	int fd = memfd_create("short", MFD_CLOEXEC), read_only, pipes[2];
	struct vhu_dirty *none;
	char path[64];
	unsigned int i;

	(void)state;
	assert_int_equal(ftruncate(fd, 4096), 0);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vhu_verdict verdict = vhu_dirty_map(fd, bad[i].size, bad[i].offset, &none);

		assert_int_not_equal(verdict.severity, VHU_ACCEPT);
		assert_null(none);
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_not_equal(vhu_dirty_map(read_only, 4096, 0, &none).severity, VHU_ACCEPT);
	assert_int_equal(pipe(pipes), 0);
	assert_int_not_equal(vhu_dirty_map(pipes[0], 4096, 0, &none).severity, VHU_ACCEPT);
	assert_int_not_equal(vhu_dirty_map(-1, 4096, 0, &none).severity, VHU_ACCEPT);
	assert_int_equal(vhu_dirty_map(fd, 4096, 0, &none).severity, VHU_ACCEPT);
	vhu_dirty_drop(none);
	close(pipes[0]);
	close(pipes[1]);
	close(read_only);
	close(fd);
}

/* Regions that were never mapped: only sums are done with the host address. */
static struct vhu_map *
map_of(struct vhu_region *regions, unsigned int count)
{
	struct vhu_region *list[8];
	struct vhu_verdict verdict;
	struct vhu_map *map;
	unsigned int i;

	for (i = 0; i < count; i++)
		list[i] = &regions[i];
	map = vhu_map_of(list, count, &verdict);
	assert_non_null(map);
	return map;
}

static void
host_addresses_are_marked_by_guest_page(void **state)
{
	struct vhu_region regions[] = {
		{ .guest_address = 0x100000, .size = 0x3000, .user_address = 0x10000000,
			.host = (uint8_t *)0x70000000, .references = 1, .fd = -1 },
		/* neighbour in this process, far away in the guest */
		{ .guest_address = 0x10000, .size = 0x2000, .user_address = 0x20000000,
			.host = (uint8_t *)0x70003000, .references = 1, .fd = -1 },
		{ .guest_address = 0x0, .size = 0x1000, .user_address = 0x30000000,
			.host = (uint8_t *)0x60000000, .references = 1, .fd = -1 },
	};
	struct vhu_map *map = map_of(regions, 3);
	struct vhu_region *orphans[3];
	struct vhu_dirty_cache cache;

	(void)state;
	make_log(64, 0);
	vhu_dirty_begin(&cache);
	vhu_dirty_note_host(dirty, &cache, map, (void *)0x70001fff, 1);
	vhu_dirty_note_host(dirty, &cache, map, (void *)0x60000000, 1);
	vhu_dirty_note_host(dirty, &cache, map, (void *)0x70002ff0, 0x20);
	vhu_dirty_flush(dirty, &cache);
	assert_true(is_marked(0x101) && is_marked(0x102) && is_marked(0x10) && is_marked(0));
	assert_int_equal(count_marked(64), 4);
	/* Elsewhere in this process, and behind the end of a region. */
	vhu_dirty_note_host(dirty, &cache, map, (void *)0x50000000, 1);
	vhu_dirty_note_host(dirty, &cache, map, (void *)0x60000fff, 0x1000);
	vhu_dirty_flush(dirty, &cache);
	assert_int_equal(count_marked(64), 4);
	assert_int_equal(beyond(), 0);
	assert_int_equal(vhu_map_drop(map, orphans), 0);
}

static void
own_log_is_merged_into_the_front_ends(void **state)
{
	struct vhu_dirty *own = vhu_dirty_new_own();
	struct vhu_dirty_cache cache;

	(void)state;
	assert_true(own->own);
	vhu_dirty_begin(&cache);
	vhu_dirty_note(own, &cache, 5 * PAGE, 1);
	vhu_dirty_note(own, &cache, 300 * PAGE, 3 * PAGE);
	vhu_dirty_note(own, &cache, UINT64_C(1) << 41, 1);
	vhu_dirty_flush(own, &cache);
	make_log(64, 0);
	vhu_dirty_merge(dirty, own);
	assert_true(is_marked(5) && is_marked(300) && is_marked(301) && is_marked(302));
	assert_int_equal(count_marked(64), 4);
	assert_int_equal(beyond(), 1);
	vhu_dirty_drop(own);
}

/* L10: the front-end fetches and clears words while lcores mark. */
#define WRITERS 3
#define ROUNDS 20000

static void *
mark_many(void *argument)
{
	unsigned int seed = *(unsigned int *)argument, i;
	struct vhu_dirty_cache cache;

	vhu_dirty_begin(&cache);
	for (i = 0; i < ROUNDS; i++) {
		seed = seed * 1103515245 + 12345;
		vhu_dirty_note(dirty, &cache, seed / 65536 % 512 * PAGE, 1);
		if (i % 32 == 0)
			vhu_dirty_flush(dirty, &cache);
	}
	vhu_dirty_flush(dirty, &cache);
	return NULL;
}

static void
concurrent_marks_and_clears_lose_nothing(void **state)
{
	static uint8_t seen[64], expected[64];
	unsigned int seeds[WRITERS] = { 1, 2, 3 }, i, round, w;
	_Atomic(uint64_t) *words;
	pthread_t threads[WRITERS];

	(void)state;
	make_log(64, 0);
	words = (_Atomic(uint64_t) *)bits;
	for (w = 0; w < WRITERS; w++) {
		unsigned int seed = seeds[w];

		for (i = 0; i < ROUNDS; i++) {
			unsigned int page;

			seed = seed * 1103515245 + 12345;
			page = seed / 65536 % 512;
			expected[page / 8] |= (uint8_t)(1u << page % 8);
		}
		assert_int_equal(pthread_create(&threads[w], NULL, mark_many, &seeds[w]), 0);
	}
	for (round = 0; round < 2000; round++)
		for (i = 0; i < 8; i++) {
			uint64_t got = atomic_exchange(&words[i], 0), had;

			memcpy(&had, &seen[8 * i], 8);
			had |= got;
			memcpy(&seen[8 * i], &had, 8);
		}
	for (w = 0; w < WRITERS; w++)
		pthread_join(threads[w], NULL);
	for (i = 0; i < 64; i++)
		assert_int_equal(seen[i] | bits[i], expected[i]);
}

#define LOG_TEST(function) cmocka_unit_test_teardown(function, drop_log)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		LOG_TEST(touched_pages_are_marked_and_no_others),
		LOG_TEST(run_over_several_words_is_marked_whole),
		LOG_TEST(nothing_is_marked_before_the_flush),
		LOG_TEST(more_words_than_the_cache_holds_are_all_marked),
		LOG_TEST(pages_outside_the_log_are_counted_and_not_marked),
		LOG_TEST(log_may_begin_inside_a_page_of_its_file),
		LOG_TEST(log_that_does_not_lie_in_its_file_is_refused),
		LOG_TEST(host_addresses_are_marked_by_guest_page),
		LOG_TEST(own_log_is_merged_into_the_front_ends),
		LOG_TEST(concurrent_marks_and_clears_lose_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
