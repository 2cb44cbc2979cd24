/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit.h"

#include "mem/alias.h"
#include "mem/dirty.h"
#include "mem/guard.h"
#include "mem/postcopy.h"

#define PAGE UINT64_C(4096)
#define PAGES 8
/* Guest-physical address of the first page. */
#define GUEST UINT64_C(0x100000)

/* Guest memory: a file and our mapping of it. */
static int memory;
static uint8_t *host;
/* The guard's handler: the test framework puts its own in place at the beginning of each test. */
static struct sigaction guard;

static int
setup(void **state)
{
	(void)state;
	memory = memfd_create("alias", MFD_CLOEXEC);
	assert_true(memory >= 0);
	assert_int_equal(ftruncate(memory, PAGES * PAGE), 0);
	host = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	assert_true(host != MAP_FAILED);
	return 0;
}

static unsigned int
count_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned int count = 0;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps) != NULL)
		count += strstr(line, "memfd:alias") != NULL;
	fclose(maps);
	return count;
}

static int
teardown(void **state)
{
	(void)state;
	munmap(host, PAGES * PAGE);
	close(memory);
	assert_int_equal(count_mappings(), 0);
	return 0;
}

static bool
add(struct vhu_alias_plan *plan, bool begins, uint64_t offset, uint64_t size)
{
	return vhu_alias_add(plan, begins, host + offset, GUEST - (uintptr_t)host, size);
}

/* Pages 5 and 2, in this order. */
static struct vhu_alias_plan
plan_two(void)
{
	struct vhu_alias_plan plan = { 0 };

	assert_true(add(&plan, true, 5 * PAGE, PAGE));
	assert_true(add(&plan, false, 2 * PAGE, PAGE));
	return plan;
}

static void
pages_follow_each_other_and_are_the_same_memory(void **state)
{
	struct vhu_alias_plan plan = plan_two();
	struct vhu_alias *alias;

	(void)state;
	assert_int_equal(vhu_alias_new(&plan, &alias), 0);
	assert_int_equal(alias->size, 2 * PAGE);
	host[6 * PAGE - 1] = 1;
	host[2 * PAGE] = 2;
	assert_int_equal(alias->host[PAGE - 1], 1);
	assert_int_equal(alias->host[PAGE], 2);
	alias->host[PAGE + 1] = 3;
	assert_int_equal(host[2 * PAGE + 1], 3);
	vhu_alias_free(alias);
	assert_int_equal(count_mappings(), 1);
}

static void
areas_begin_where_they_do_in_their_pages(void **state)
{
	struct vhu_alias_plan plan = { 0 };
	struct vhu_alias *alias;

	(void)state;
	assert_true(add(&plan, true, PAGE + 100, PAGE - 100));
	assert_true(add(&plan, false, 7 * PAGE, 10));
	assert_int_equal(plan.end, PAGE + 10);
	assert_true(add(&plan, true, 300, 4));
	assert_int_equal(plan.end, 2 * PAGE + 304);
	assert_int_equal(vhu_alias_new(&plan, &alias), 0);
	host[300] = 9;
	assert_int_equal(alias->host[2 * PAGE + 300], 9);
	vhu_alias_free(alias);
}

static void
neighbours_are_one_piece(void **state)
{
	struct vhu_alias_plan plan = { 0 };

	(void)state;
	assert_true(add(&plan, true, 100, 50));
	assert_true(add(&plan, false, 150, 3 * PAGE));
	assert_int_equal(plan.count, 1);
	/* Not if their guest-physical addresses are no neighbours. */
	assert_false(vhu_alias_add(&plan, false, host + 150 + 3 * PAGE, 0, 1));
}

static void
pieces_that_meet_inside_of_a_page_are_refused(void **state)
{
	struct vhu_alias_plan plan = { 0 };

	(void)state;
	assert_true(add(&plan, true, 0, 0x800));
	assert_false(add(&plan, false, 2 * PAGE + 0x800, 0x800));
	assert_false(add(&plan, false, 2 * PAGE, 0x800));
	assert_true(add(&plan, false, 0x800, 0x800));
	assert_false(add(&plan, false, 2 * PAGE + 0x800, 0x800));
	assert_true(add(&plan, false, 2 * PAGE, 0x800));
}

static void
pieces_are_limited(void **state)
{
	struct vhu_alias_plan plan = { 0 };
	unsigned int i;

	(void)state;
	for (i = 0; i < VHU_ALIAS_PIECES; i++)
		assert_true(add(&plan, i == 0, i % 2 * 2 * PAGE, PAGE));
	assert_false(add(&plan, false, 0, PAGE));
}

static void
memory_that_cannot_be_mapped_twice_leaves_nothing_behind(void **state)
{
	struct vhu_alias_plan plan = plan_two();
	struct vhu_alias *alias;
	void *own = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_true(vhu_alias_add(&plan, false, own, 0, PAGE));
	assert_int_equal(vhu_alias_new(&plan, &alias), -EINVAL);
	assert_null(alias);
	assert_int_equal(count_mappings(), 1);
	munmap(own, PAGE);
}

static void
copy_holds_what_the_pages_did_and_knows_them(void **state)
{
	struct vhu_alias_plan plan = plan_two();
	struct vhu_alias *alias;

	(void)state;
	host[6 * PAGE - 1] = 1;
	host[2 * PAGE] = 2;
	assert_int_equal(vhu_alias_copy(&plan, &alias), 0);
	assert_int_equal(alias->host[PAGE - 1], 1);
	assert_int_equal(alias->host[PAGE], 2);
	assert_ptr_equal(vhu_alias_real(alias, alias->host + PAGE - 1), host + 6 * PAGE - 1);
	assert_ptr_equal(vhu_alias_real(alias, alias->host + PAGE), host + 2 * PAGE);
	/* It is no second mapping. */
	alias->host[PAGE] = 3;
	assert_int_equal(host[2 * PAGE], 2);
	vhu_alias_free(alias);
}

static void
huge_pages_are_refused(void **state)
{
	const size_t size = (size_t)2 << 20;
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	struct vhu_alias_plan plan = { 0 };
	struct vhu_alias *alias;
	uint8_t *huge = MAP_FAILED;

	(void)state;
	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
		huge = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (huge == MAP_FAILED) {
		printf("skipped: no huge page of 2 MiB is free\n");
		skip();
	}
	assert_true(vhu_alias_add(&plan, true, huge, 0, PAGE));
	assert_true(vhu_alias_add(&plan, false, huge + 2 * PAGE, 0, PAGE));
	assert_int_equal(vhu_alias_new(&plan, &alias), -EINVAL);
	munmap(huge, size);
}

static void
writes_are_noted_where_the_pages_are_in_the_guest(void **state)
{
	struct vhu_alias_plan plan = plan_two();
	struct vhu_dirty *dirty = vhu_dirty_new_own();
	struct vhu_dirty_cache cache;
	struct vhu_alias *alias;
	const uint64_t first = GUEST / PAGE;

	(void)state;
	assert_int_equal(vhu_alias_new(&plan, &alias), 0);
	vhu_dirty_begin(&cache);
	vhu_alias_note(alias, dirty, &cache, alias->host + PAGE - 1, 1);
	vhu_dirty_flush(dirty, &cache);
	assert_int_equal(dirty->words[first / 64], UINT64_C(1) << (first + 5) % 64);
	vhu_alias_note(alias, dirty, &cache, alias->host + PAGE - 1, 2);
	vhu_dirty_flush(dirty, &cache);
	assert_int_equal(dirty->words[first / 64], UINT64_C(0x24) << first % 64);
	vhu_alias_free(alias);
	vhu_dirty_drop(dirty);
}

static void
file_that_is_cut_off_is_told(void **state)
{
	struct vhu_alias_plan plan = plan_two();
	struct vhu_alias *alias;

	(void)state;
	assert_int_equal(sigaction(SIGBUS, &guard, NULL), 0);
	assert_int_equal(vhu_alias_new(&plan, &alias), 0);
	assert_int_equal(ftruncate(memory, 0), 0);
	assert_int_equal(*(volatile uint8_t *)&alias->host[PAGE], 0);
	assert_true(vhu_guard_lost(alias->host));
	vhu_alias_free(alias);
}

/* Serve faults of postcopy until two pages have come: each has its number in its first byte. */
static void *
serve(void *argument)
{
	struct pollfd faults = { .fd = *(int *)argument, .events = POLLIN };
	unsigned int served;

	for (served = 0; served < 2; served++) {
		struct uffdio_range wake = { .len = PAGE };
		struct uffd_msg message;
		uint8_t number;

		if (poll(&faults, 1, 10000) != 1 ||
		    read(faults.fd, &message, sizeof(message)) <= 0)
			return NULL;
		wake.start = message.arg.pagefault.address & ~(PAGE - 1);
		number = (uint8_t)((wake.start - (uintptr_t)host) / PAGE);
		if (pwrite(memory, &number, 1, (off_t)(wake.start - (uintptr_t)host)) != 1 ||
		    ioctl(faults.fd, UFFDIO_WAKE, &wake) != 0)
			return NULL;
	}
	return argument;
}

static void
page_that_is_still_to_come_comes_by_the_region(void **state)
{
	struct vhu_alias_plan plan = plan_two();
	struct vhu_alias *alias;
	int faults = vhu_postcopy_open();
	pthread_t thread;
	void *served;

	(void)state;
	if (faults < 0 || vhu_postcopy_register(faults, host, PAGES * PAGE) != 0) {
		printf("skipped: userfaultfd is not permitted here\n");
		skip();
	}
	assert_int_equal(pthread_create(&thread, NULL, serve, &faults), 0);
	assert_int_equal(vhu_alias_new(&plan, &alias), 0);
	pthread_join(thread, &served);
	assert_non_null(served);
	assert_int_equal(alias->host[0], 5);
	assert_int_equal(alias->host[PAGE], 2);
	vhu_alias_free(alias);
	close(faults);
}

#define ALIAS_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		ALIAS_TEST(pages_follow_each_other_and_are_the_same_memory),
		ALIAS_TEST(areas_begin_where_they_do_in_their_pages),
		ALIAS_TEST(neighbours_are_one_piece),
		ALIAS_TEST(pieces_that_meet_inside_of_a_page_are_refused),
		ALIAS_TEST(pieces_are_limited),
		ALIAS_TEST(memory_that_cannot_be_mapped_twice_leaves_nothing_behind),
		ALIAS_TEST(copy_holds_what_the_pages_did_and_knows_them),
		ALIAS_TEST(huge_pages_are_refused),
		ALIAS_TEST(writes_are_noted_where_the_pages_are_in_the_guest),
		ALIAS_TEST(file_that_is_cut_off_is_told),
		ALIAS_TEST(page_that_is_still_to_come_comes_by_the_region),
	};

	if (vhu_guard_on() != 0 || sigaction(SIGBUS, NULL, &guard) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
