/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Publication: when a continuation may run, and that no reader uses what was given back. */

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "snap/publish.h"

#define READERS 3
#define SWAPS 20000

static struct vhu_grace_domain domain;
static struct vhu_reader readers[READERS];
static struct vhu_reader *const all[READERS] = { &readers[0], &readers[1], &readers[2] };
static unsigned int calls;

/* Memory for grace periods; a test uses each once. */
static struct period {
	struct vhu_grace grace;
	struct vhu_busy_reader busy[READERS];
} periods[4];
static unsigned int periods_used;

static struct vhu_grace *
new_period(void)
{
	struct period *period = &periods[periods_used++];

	assert_in_range(periods_used, 1, 4);
	period->grace.busy = period->busy;
	return &period->grace;
}

static void
count_call(void *argument)
{
	calls += (unsigned int)(uintptr_t)argument;
}

static int
fresh(void **state)
{
	unsigned int i;

	(void)state;
	vhu_grace_domain_init(&domain);
	calls = 0;
	periods_used = 0;
	for (i = 0; i < READERS; i++) {
		atomic_store(&readers[i].section, 0);
		atomic_store(&readers[i].snapshot, &vhu_snapshot_parked);
	}
	return 0;
}

static void
begin(unsigned int count, uintptr_t weight)
{
	vhu_grace_begin(&domain, new_period(), all, count, count_call, (void *)weight);
}

static void
continuation_runs_at_once_when_nobody_reads(void **state)
{
	(void)state;
	begin(READERS, 1);
	assert_int_equal(calls, 1);
	assert_int_equal(vhu_grace_step(&domain), 0);
}

static void
publish_returns_what_was_there(void **state)
{
	static const struct vhu_snapshot one = { .body = "one" };

	(void)state;
	assert_ptr_equal(vhu_publish(&readers[0], &one), &vhu_snapshot_parked);
	assert_ptr_equal(vhu_reader_enter(&readers[0]), &one);
	vhu_reader_leave(&readers[0]);
}

static void
reader_inside_delays_the_continuation(void **state)
{
	(void)state;
	(void)vhu_reader_enter(&readers[1]);
	begin(READERS, 1);
	assert_int_equal(vhu_grace_step(&domain), 1);
	assert_int_equal(calls, 0);
	vhu_reader_leave(&readers[1]);
	assert_int_equal(vhu_grace_step(&domain), 0);
	assert_int_equal(calls, 1);
}

static void
reader_that_entered_again_does_not_delay(void **state)
{
	(void)state;
	(void)vhu_reader_enter(&readers[0]);
	begin(READERS, 1);
	vhu_reader_leave(&readers[0]);
	(void)vhu_reader_enter(&readers[0]);
	assert_int_equal(vhu_grace_step(&domain), 0);
	assert_int_equal(calls, 1);
	vhu_reader_leave(&readers[0]);
}

static void
other_readers_do_not_delay(void **state)
{
	(void)state;
	(void)vhu_reader_enter(&readers[2]);
	begin(2, 1);
	assert_int_equal(calls, 1);
	vhu_reader_leave(&readers[2]);
}

static void
continuations_run_in_order(void **state)
{
	(void)state;
	(void)vhu_reader_enter(&readers[0]);
	begin(1, 1);
	begin(1, 10);
	assert_int_equal(vhu_grace_step(&domain), 2);
	vhu_reader_leave(&readers[0]);
	assert_int_equal(vhu_grace_step(&domain), 0);
	assert_int_equal(calls, 11);
}

static void
begin_again(void *argument)
{
	(void)argument;
	begin(READERS, 1);
}

static void
continuation_may_begin_another(void **state)
{
	(void)state;
	(void)vhu_reader_enter(&readers[0]);
	vhu_grace_begin(&domain, new_period(), all, 1, begin_again, NULL);
	vhu_reader_leave(&readers[0]);
	vhu_grace_step(&domain);
	assert_int_equal(calls, 1);
}

static void
fenced_readers_enter_and_leave(void **state)
{
	(void)state;
	vhu_reader_fenced = true;
	assert_ptr_equal(vhu_reader_enter(&readers[0]), &vhu_snapshot_parked);
	begin(1, 1);
	vhu_reader_leave(&readers[0]);
	vhu_grace_step(&domain);
	vhu_reader_fenced = false;
	assert_int_equal(calls, 1);
}

/* The stress: each snapshot's size is 1 while it may be seen and 0 once it was given back. */
static atomic_bool quit;
static atomic_uint seen_dead, sections;

static void *
read_for_ever(void *argument)
{
	struct vhu_reader *reader = argument;

	while (!atomic_load_explicit(&quit, memory_order_relaxed)) {
		const struct vhu_snapshot *snapshot = vhu_reader_enter(reader);
		unsigned int i;

		for (i = 0; i < 20; i++)
			if (snapshot != &vhu_snapshot_parked &&
			    ((const volatile struct vhu_snapshot *)snapshot)->size != 1)
				atomic_fetch_add(&seen_dead, 1);
		vhu_reader_leave(reader);
		atomic_fetch_add_explicit(&sections, 1, memory_order_relaxed);
	}
	return NULL;
}

/* A snapshot with what it needs to be given back. */
struct mortal {
	struct vhu_snapshot snapshot;
	struct vhu_grace grace;
	struct vhu_busy_reader busy;
};

static void
give_back(void *argument)
{
	struct mortal *mortal = argument;

	((volatile struct vhu_snapshot *)&mortal->snapshot)->size = 0;
	free(mortal);
	calls++;
}

static void
no_reader_sees_what_was_given_back(void **state)
{
	pthread_t threads[READERS];
	unsigned int i, s;

	(void)state;
	for (i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_for_ever, &readers[i]), 0);
	while (atomic_load(&sections) < 100)
		sched_yield();
	for (s = 0; s < SWAPS; s++) {
		struct mortal *mortal = aligned_alloc(64, sizeof(*mortal)), *old;

		*mortal = (struct mortal){ .snapshot.size = 1, .grace.busy = &mortal->busy };
		old = (struct mortal *)(uintptr_t)vhu_publish(&readers[s % READERS],
			&mortal->snapshot);
		if (&old->snapshot != &vhu_snapshot_parked)
			vhu_grace_begin(&domain, &old->grace, &all[s % READERS], 1, give_back, old);
		vhu_grace_step(&domain);
	}
	while (vhu_grace_step(&domain) != 0)
		sched_yield();
	atomic_store(&quit, true);
	for (i = 0; i < READERS; i++) {
		pthread_join(threads[i], NULL);
		free((void *)(uintptr_t)atomic_load(&readers[i].snapshot));
	}
	assert_int_equal(calls, SWAPS - READERS);
	assert_int_equal(atomic_load(&seen_dead), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(continuation_runs_at_once_when_nobody_reads, fresh),
		cmocka_unit_test_setup(publish_returns_what_was_there, fresh),
		cmocka_unit_test_setup(reader_inside_delays_the_continuation, fresh),
		cmocka_unit_test_setup(reader_that_entered_again_does_not_delay, fresh),
		cmocka_unit_test_setup(other_readers_do_not_delay, fresh),
		cmocka_unit_test_setup(continuations_run_in_order, fresh),
		cmocka_unit_test_setup(continuation_may_begin_another, fresh),
		cmocka_unit_test_setup(fenced_readers_enter_and_leave, fresh),
		cmocka_unit_test_setup(no_reader_sees_what_was_given_back, fresh),
	};

	return cmocka_run_group_tests_name("snap publish", tests, NULL, NULL);
}
