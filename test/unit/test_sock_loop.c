/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "sock/loop.h"
#include "unit.h"

#define MS UINT64_C(1000000)

static unsigned int fds_before;
static const struct timespec *stopped_at; /* NULL: time passes */

/* In the place of the C library's: a clock that can be stopped. */
int
clock_gettime(clockid_t clock, struct timespec *now)
{
	if (stopped_at == NULL)
		return (int)syscall(SYS_clock_gettime, clock, now);
	*now = *stopped_at;
	return 0;
}

/* A watched eventfd that counts its callbacks. */
struct bell {
	struct vhu_watch watch; /* first: a watch is a bell */
	unsigned int calls;
	uint32_t events;
	struct bell *victim; /* removed in the callback */
	struct vhu_loop *stepped; /* stepped in the callback */
};

/* A timer that writes down when its turn came. */
struct alarm_clock {
	struct vhu_timer timer; /* first: a timer is an alarm clock */
	unsigned int calls;
	unsigned int turn;
	struct alarm_clock *victim; /* stopped in the callback */
	struct vhu_loop *again; /* started again in the callback */
};

static unsigned int turns;

static void
bell_ready(struct vhu_watch *watch, uint32_t events)
{
	struct bell *bell = (struct bell *)watch;

	bell->calls++;
	bell->events = events;
	if (bell->victim != NULL)
		vhu_watch_remove(&bell->victim->watch);
	if (bell->stepped != NULL)
		vhu_loop_step(bell->stepped, 0);
}

static void
bell_hang(struct bell *bell, struct vhu_loop *loop, unsigned int rings)
{
	memset(bell, 0, sizeof(*bell));
	bell->watch.fd = eventfd(rings, EFD_CLOEXEC | EFD_NONBLOCK);
	bell->watch.ready = bell_ready;
	assert_true(bell->watch.fd >= 0);
	assert_int_equal(vhu_watch_set(loop, &bell->watch, EPOLLIN), 0);
}

static void
bell_take_down(struct bell *bell)
{
	vhu_watch_remove(&bell->watch);
	close(bell->watch.fd);
}

static void
clock_expired(struct vhu_timer *timer)
{
	struct alarm_clock *clock = (struct alarm_clock *)timer;

	clock->calls++;
	clock->turn = ++turns;
	if (clock->victim != NULL)
		vhu_timer_stop(&clock->victim->timer);
	if (clock->again != NULL && clock->calls < 10)
		vhu_timer_start(clock->again, timer, 0);
}

static void
clock_set(struct alarm_clock *clock, struct vhu_loop *loop, uint64_t delay_ns)
{
	memset(clock, 0, sizeof(*clock));
	clock->timer.expired = clock_expired;
	vhu_timer_start(loop, &clock->timer, delay_ns);
}

static int
make_loop(void **state)
{
	fds_before = unit_open_fds();
	turns = 0;
	*state = vhu_loop_new();
	return *state == NULL;
}

static int
free_loop(void **state)
{
	vhu_loop_free(*state);
	assert_int_equal(unit_open_fds(), fds_before);
	return 0;
}

static void
ready_descriptor_is_served(void **state)
{
	struct bell bell;

	bell_hang(&bell, *state, 1);
	assert_int_equal(vhu_loop_step(*state, 0), 1);
	assert_int_equal(bell.calls, 1);
	assert_int_equal(bell.events, EPOLLIN);
	bell_take_down(&bell);
}

static void
idle_loop_has_nothing_to_serve(void **state)
{
	struct bell bell;

	bell_hang(&bell, *state, 0);
	assert_int_equal(vhu_loop_wait(*state, 0), 0);
	assert_int_equal(vhu_loop_serve(*state), 0);
	assert_int_equal(bell.calls, 0);
	bell_take_down(&bell);
}

static void
watch_removed_in_anothers_callback_is_not_called(void **state)
{
	struct bell a, b;

	bell_hang(&a, *state, 1);
	bell_hang(&b, *state, 1);
	a.victim = &b;
	b.victim = &a;
	assert_int_equal(vhu_loop_wait(*state, 0), 2);
	assert_int_equal(vhu_loop_serve(*state), 1);
	assert_int_equal(a.calls + b.calls, 1);
	bell_take_down(&a);
	bell_take_down(&b);
}

static void
watch_freed_between_wait_and_serve_is_not_called(void **state)
{
	struct bell *bell = malloc(sizeof(*bell));

	assert_non_null(bell);
	bell_hang(bell, *state, 1);
	assert_int_equal(vhu_loop_wait(*state, 0), 1);
	bell_take_down(bell);
	memset(bell, 0xa5, sizeof(*bell));
	free(bell);
	assert_int_equal(vhu_loop_serve(*state), 0);
}

static void
watch_set_anew_does_not_get_the_old_events(void **state)
{
	struct bell bell;

	bell_hang(&bell, *state, 1);
	assert_int_equal(vhu_loop_wait(*state, 0), 1);
	bell_take_down(&bell);
	bell_hang(&bell, *state, 0);
	assert_int_equal(vhu_loop_serve(*state), 0);
	assert_int_equal(bell.calls, 0);
	bell_take_down(&bell);
}

static void
events_no_longer_asked_for_are_not_reported(void **state)
{
	struct bell bell;

	bell_hang(&bell, *state, 1);
	assert_int_equal(vhu_loop_wait(*state, 0), 1);
	assert_int_equal(vhu_watch_set(*state, &bell.watch, EPOLLOUT), 0);
	assert_int_equal(vhu_loop_serve(*state), 0);
	assert_int_equal(vhu_loop_step(*state, 0), 1);
	assert_int_equal(bell.events, EPOLLOUT);
	bell_take_down(&bell);
}

static void
watch_set_to_no_events_is_removed(void **state)
{
	struct bell bell;

	bell_hang(&bell, *state, 1);
	assert_int_equal(vhu_watch_set(*state, &bell.watch, 0), 0);
	assert_int_equal(bell.watch.events, 0);
	assert_int_equal(vhu_loop_step(*state, 0), 0);
	bell_take_down(&bell);
}

static void
watching_a_closed_descriptor_fails(void **state)
{
	struct vhu_watch watch = { .ready = bell_ready };

	watch.fd = eventfd(0, EFD_CLOEXEC);
	close(watch.fd);
	assert_int_equal(vhu_watch_set(*state, &watch, EPOLLIN), -EBADF);
	assert_int_equal(watch.events, 0);
}

static void
every_one_of_many_ready_descriptors_has_its_turn(void **state)
{
	struct bell bells[100];
	unsigned int i;

	for (i = 0; i < 100; i++)
		bell_hang(&bells[i], *state, 1);
	vhu_loop_step(*state, 0);
	vhu_loop_step(*state, 0);
	for (i = 0; i < 100; i++) {
		assert_true(bells[i].calls >= 1);
		bell_take_down(&bells[i]);
	}
}

static void
loop_stepped_inside_a_callback_loses_nothing(void **state)
{
	struct bell a, b;

	bell_hang(&a, *state, 1);
	bell_hang(&b, *state, 1);
	a.stepped = b.stepped = NULL;
	assert_int_equal(vhu_loop_wait(*state, 0), 2);
	a.victim = &a; /* else it would step for ever */
	a.stepped = *state;
	b.victim = &b;
	b.stepped = *state;
	vhu_loop_serve(*state);
	assert_int_equal(a.calls, 1);
	assert_int_equal(b.calls, 1);
	bell_take_down(&a);
	bell_take_down(&b);
}

static void
timers_are_served_in_order_of_their_times(void **state)
{
	struct alarm_clock late, early, middle;

	clock_set(&late, *state, 3 * MS);
	clock_set(&early, *state, 1 * MS);
	clock_set(&middle, *state, 2 * MS);
	while (late.calls == 0)
		assert_true(vhu_loop_step(*state, -1) >= 0);
	assert_int_equal(early.turn, 1);
	assert_int_equal(middle.turn, 2);
	assert_int_equal(late.turn, 3);
}

static void
timers_of_equal_times_are_served_as_they_were_started(void **state)
{
	struct alarm_clock first, second;

	clock_set(&first, *state, UINT64_MAX);
	clock_set(&second, *state, UINT64_MAX);
	assert_true(first.timer.due_ns == second.timer.due_ns);
	assert_ptr_equal(LIST_NEXT(&first.timer, link), &second.timer);
	vhu_timer_stop(&first.timer);
	vhu_timer_stop(&second.timer);
}

static void
timer_is_never_early(void **state)
{
	struct alarm_clock clock;
	uint64_t due_ns;

	clock_set(&clock, *state, 2 * MS);
	due_ns = clock.timer.due_ns;
	while (clock.calls == 0)
		assert_true(vhu_loop_step(*state, -1) >= 0);
	assert_true(vhu_now_ns() >= due_ns);
	assert_true(clock.timer.due_ns == 0);
}

static void
due_timer_counts_as_something_to_serve(void **state)
{
	struct alarm_clock clock;

	clock_set(&clock, *state, 0);
	while (vhu_now_ns() < clock.timer.due_ns)
		;
	assert_int_equal(vhu_loop_wait(*state, 0), 1);
	assert_int_equal(vhu_loop_serve(*state), 1);
	assert_int_equal(vhu_loop_wait(*state, 0), 0);
}

static void
stopped_timer_is_not_served(void **state)
{
	struct alarm_clock clock;

	clock_set(&clock, *state, 0);
	vhu_timer_stop(&clock.timer);
	vhu_timer_stop(&clock.timer);
	assert_int_equal(vhu_loop_step(*state, 2), 0);
	assert_int_equal(clock.calls, 0);
}

static void
timer_stopped_in_anothers_callback_is_not_served(void **state)
{
	struct alarm_clock first, second;

	clock_set(&first, *state, 0);
	clock_set(&second, *state, 0);
	first.victim = &second;
	while (vhu_now_ns() < second.timer.due_ns)
		;
	assert_int_equal(vhu_loop_serve(*state), 1);
	assert_int_equal(second.calls, 0);
	assert_true(second.timer.due_ns == 0);
}

static void
timer_that_starts_itself_again_is_served_once_per_step(void **state)
{
	const struct timespec moment = { 1000, 0 };
	struct alarm_clock clock;

	/* Even if the clock is too coarse to have moved meanwhile. */
	stopped_at = &moment;
	clock_set(&clock, *state, 0);
	clock.again = *state;
	assert_int_equal(vhu_loop_step(*state, 0), 1);
	stopped_at = NULL;
	assert_int_equal(clock.calls, 1);
	assert_true(clock.timer.due_ns != 0);
	vhu_timer_stop(&clock.timer);
}

static void
started_timer_can_be_started_again_with_another_time(void **state)
{
	struct alarm_clock clock;

	clock_set(&clock, *state, UINT64_MAX);
	vhu_timer_start(*state, &clock.timer, 1 * MS);
	while (clock.calls == 0)
		assert_true(vhu_loop_step(*state, -1) >= 0);
	assert_int_equal(clock.calls, 1);
}

static void
wake_ends_one_wait(void **state)
{
	vhu_loop_wake(*state);
	vhu_loop_wake(*state);
	/* Without time-out: it would not return but for the wake-up. */
	assert_int_equal(vhu_loop_wait(*state, -1), 0);
	assert_int_equal(vhu_loop_serve(*state), 0);
	/* The wake-up is spent: this wait ends with its time-out, not before. */
	{
		uint64_t begin = vhu_now_ns();

		assert_int_equal(vhu_loop_wait(*state, 5), 0);
		assert_true(vhu_now_ns() - begin >= 4 * MS);
	}
}

static bool
readable(const struct vhu_loop *loop)
{
	struct pollfd look = { .fd = vhu_loop_fd(loop), .events = POLLIN };

	return poll(&look, 1, 0) == 1;
}

static void
descriptor_of_the_loop_is_readable_while_there_is_something_to_serve(void **state)
{
	struct bell bell;

	assert_false(readable(*state));
	bell_hang(&bell, *state, 1);
	assert_true(readable(*state));
	bell_take_down(&bell);
	assert_false(readable(*state));
}

static void
descriptor_of_the_loop_is_readable_until_a_wake_has_been_seen(void **state)
{
	vhu_loop_wake(*state);
	assert_true(readable(*state));
	assert_int_equal(vhu_loop_step(*state, 0), 0);
	assert_false(readable(*state));
}

static void
timeout_without_timers_is_the_callers(void **state)
{
	assert_int_equal(vhu_loop_timeout(*state, -1), -1);
	assert_int_equal(vhu_loop_timeout(*state, 0), 0);
	assert_int_equal(vhu_loop_timeout(*state, 77), 77);
}

static void
timeout_is_the_time_to_the_next_timer_rounded_up(void **state)
{
	const struct timespec moment = { 1000, 0 };
	struct alarm_clock clock;

	stopped_at = &moment;
	clock_set(&clock, *state, 2 * MS + 1);
	assert_int_equal(vhu_loop_timeout(*state, -1), 3);
	assert_int_equal(vhu_loop_timeout(*state, 1000), 3);
	assert_int_equal(vhu_loop_timeout(*state, 2), 2);
	assert_int_equal(vhu_loop_timeout(*state, 0), 0);
	vhu_timer_start(*state, &clock.timer, 0);
	assert_int_equal(vhu_loop_timeout(*state, -1), 0);
	stopped_at = NULL;
	vhu_timer_stop(&clock.timer);
}

static void *
wake_from_outside(void *loop)
{
	vhu_loop_wake(loop);
	return NULL;
}

static void
wake_comes_from_another_thread(void **state)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, wake_from_outside, *state), 0);
	assert_int_equal(vhu_loop_wait(*state, -1), 0);
	pthread_join(thread, NULL);
}

static void
wake_leaves_errno_alone(void **state)
{
	errno = EDOM;
	vhu_loop_wake(*state);
	assert_int_equal(errno, EDOM);
}

static void
signal_came(int number)
{
	(void)number;
}

static void
interrupted_wait_returns_nothing_to_serve(void **state)
{
	const struct itimerval often = { { 0, 2000 }, { 0, 2000 } };
	const struct itimerval never = { 0 };
	struct sigaction action = { .sa_handler = signal_came };
	int status;

	assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	status = vhu_loop_wait(*state, -1);
	setitimer(ITIMER_REAL, &never, NULL);
	assert_int_equal(status, 0);
}

#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, make_loop, free_loop)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		LOOP_TEST(ready_descriptor_is_served),
		LOOP_TEST(idle_loop_has_nothing_to_serve),
		LOOP_TEST(watch_removed_in_anothers_callback_is_not_called),
		LOOP_TEST(watch_freed_between_wait_and_serve_is_not_called),
		LOOP_TEST(watch_set_anew_does_not_get_the_old_events),
		LOOP_TEST(events_no_longer_asked_for_are_not_reported),
		LOOP_TEST(watch_set_to_no_events_is_removed),
		LOOP_TEST(watching_a_closed_descriptor_fails),
		LOOP_TEST(every_one_of_many_ready_descriptors_has_its_turn),
		LOOP_TEST(loop_stepped_inside_a_callback_loses_nothing),
		LOOP_TEST(timers_are_served_in_order_of_their_times),
		LOOP_TEST(timers_of_equal_times_are_served_as_they_were_started),
		LOOP_TEST(timer_is_never_early),
		LOOP_TEST(due_timer_counts_as_something_to_serve),
		LOOP_TEST(stopped_timer_is_not_served),
		LOOP_TEST(timer_stopped_in_anothers_callback_is_not_served),
		LOOP_TEST(timer_that_starts_itself_again_is_served_once_per_step),
		LOOP_TEST(started_timer_can_be_started_again_with_another_time),
		LOOP_TEST(wake_ends_one_wait),
		LOOP_TEST(descriptor_of_the_loop_is_readable_while_there_is_something_to_serve),
		LOOP_TEST(descriptor_of_the_loop_is_readable_until_a_wake_has_been_seen),
		LOOP_TEST(timeout_without_timers_is_the_callers),
		LOOP_TEST(timeout_is_the_time_to_the_next_timer_rounded_up),
		LOOP_TEST(wake_comes_from_another_thread),
		LOOP_TEST(wake_leaves_errno_alone),
		LOOP_TEST(interrupted_wait_returns_nothing_to_serve),
	};

	return cmocka_run_group_tests_name("sock/loop", tests, NULL, NULL);
}
