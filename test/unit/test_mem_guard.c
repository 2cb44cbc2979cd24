/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit.h"

#include "mem/guard.h"

#define SIZE 0x10000
#define THREADS 4

static sigjmp_buf back;
/* The guard's handler: the test framework puts its own in place at the beginning of each test. */
static struct sigaction guard;

/* What an application had installed before. */
static void
application_handler(int number)
{
	(void)number;
	siglongjmp(back, 1);
}

/* A mapping of a file that has no page of it any more. */
static volatile uint8_t *
cut_off(void)
{
	int fd = memfd_create("guard", MFD_CLOEXEC);
	uint8_t *mapping;

	assert_int_equal(sigaction(SIGBUS, &guard, NULL), 0);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	mapping = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(mapping != MAP_FAILED);
	memset(mapping, 0x5a, SIZE);
	assert_int_equal(ftruncate(fd, 0), 0);
	close(fd);
	return mapping;
}

static void
end_mapping(volatile uint8_t *mapping)
{
	vhu_guard_remove((void *)(uintptr_t)mapping);
	munmap((void *)(uintptr_t)mapping, SIZE);
}

static volatile uint8_t *
guarded(void)
{
	volatile uint8_t *mapping = cut_off();

	vhu_guard_add((void *)(uintptr_t)mapping, SIZE);
	assert_false(vhu_guard_lost((void *)(uintptr_t)mapping));
	return mapping;
}

static void
missing_page_reads_as_zeros_and_is_told(void **state)
{
	volatile uint8_t *other = guarded(), *mapping = guarded();
	uint64_t count = vhu_guard_count();

	(void)state;
	assert_int_equal(mapping[SIZE - 1], 0);
	assert_true(vhu_guard_lost((void *)(uintptr_t)mapping));
	assert_false(vhu_guard_lost((void *)(uintptr_t)other));
	assert_int_equal(vhu_guard_count(), count + 1);
	end_mapping(mapping);
	end_mapping(other);
}

static void
missing_page_can_be_written(void **state)
{
	volatile uint8_t *mapping = guarded();

	(void)state;
	mapping[5000] = 7;
	assert_int_equal(mapping[5000], 7);
	end_mapping(mapping);
}

static void
mapping_is_lost_once_whatever_is_touched(void **state)
{
	volatile uint8_t *mapping = guarded();
	uint64_t count = vhu_guard_count();
	unsigned int i;

	(void)state;
	for (i = 0; i < SIZE; i += 4096)
		assert_int_equal(mapping[i], 0);
	assert_int_equal(vhu_guard_count(), count + 1);
	end_mapping(mapping);
}

static void
foreign_fault_goes_to_the_handler_before(void **state)
{
	volatile uint8_t *mapping = cut_off();

	(void)state;
	if (sigsetjmp(back, 1) == 0) {
		(void)mapping[0];
		fail_msg("the page was there");
	}
	end_mapping(mapping);
}

static void
removed_mapping_is_not_ours_any_more(void **state)
{
	volatile uint8_t *mapping = guarded();

	(void)state;
	vhu_guard_remove((void *)(uintptr_t)mapping);
	if (sigsetjmp(back, 1) == 0) {
		(void)mapping[0];
		fail_msg("the page was there");
	}
	end_mapping(mapping);
}

static void
signal_from_elsewhere_goes_to_the_handler_before(void **state)
{
	(void)state;
	assert_int_equal(sigaction(SIGBUS, &guard, NULL), 0);
	if (sigsetjmp(back, 1) == 0) {
		raise(SIGBUS);
		fail_msg("nobody heard it");
	}
}

static void *
touch_all(void *argument)
{
	volatile uint8_t *mapping = argument;
	unsigned int i;

	for (i = 0; i < SIZE; i += 64)
		mapping[i]++;
	return NULL;
}

static void
threads_fault_together_and_all_go_on(void **state)
{
	pthread_t threads[THREADS];
	unsigned int round, i;

	(void)state;
	for (round = 0; round < 200; round++) {
		volatile uint8_t *mapping = guarded();

		for (i = 0; i < THREADS; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, touch_all,
				(void *)(uintptr_t)mapping), 0);
		for (i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		end_mapping(mapping);
	}
}

static void
mappings_beyond_the_limit_are_not_guarded(void **state)
{
	static uint8_t places[VHU_GUARD_MAPPINGS];
	volatile uint8_t *mapping;
	unsigned int i;

	(void)state;
	for (i = 0; i < VHU_GUARD_MAPPINGS; i++)
		vhu_guard_add(&places[i], 1);
	mapping = guarded();
	if (sigsetjmp(back, 1) == 0) {
		(void)mapping[0];
		fail_msg("the page was there");
	}
	for (i = 0; i < VHU_GUARD_MAPPINGS; i++)
		vhu_guard_remove(&places[i]);
	end_mapping(mapping);
	mapping = guarded();
	assert_int_equal(mapping[0], 0);
	end_mapping(mapping);
}

static int
install(void **state)
{
	struct sigaction action = { .sa_handler = application_handler };

	(void)state;
	if (sigaction(SIGBUS, &action, NULL) != 0)
		return -1;
	/* Twice: the second time must not make the guard its own predecessor. */
	if (vhu_guard_on() != 0 || vhu_guard_on() != 0)
		return -1;
	return sigaction(SIGBUS, NULL, &guard);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(missing_page_reads_as_zeros_and_is_told),
		cmocka_unit_test(missing_page_can_be_written),
		cmocka_unit_test(mapping_is_lost_once_whatever_is_touched),
		cmocka_unit_test(foreign_fault_goes_to_the_handler_before),
		cmocka_unit_test(removed_mapping_is_not_ours_any_more),
		cmocka_unit_test(signal_from_elsewhere_goes_to_the_handler_before),
		cmocka_unit_test(threads_fault_together_and_all_go_on),
		cmocka_unit_test(mappings_beyond_the_limit_are_not_guarded),
	};

	return cmocka_run_group_tests(tests, install, NULL);
}
