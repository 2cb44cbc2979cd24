/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * The pauses of a client, on a clock of this program's own: clock_gettime(), epoll_wait() and
 * connect() below stand in for the C library's, so that seconds pass at once and exactly.
 */

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "obs/log.h"
#include "sock/endpoint.h"
#include "unit.h"

#define NS_PER_MS UINT64_C(1000000)
#define ATTEMPTS_MAX 64

static uint64_t clock_ns;
static uint64_t attempts_ms[ATTEMPTS_MAX]; /* when each attempt was made */
static unsigned int attempts;
static int connect_error; /* 0: attempts succeed */
static unsigned int lines;
static unsigned int connections;
static unsigned int fds_before;

int
clock_gettime(clockid_t clock, struct timespec *now)
{
	(void)clock;
	now->tv_sec = (time_t)(clock_ns / 1000000000);
	now->tv_nsec = (long)(clock_ns % 1000000000);
	return 0;
}

/* Nothing but timers ever happens here: a wait is the passing of its time-out. */
int
epoll_wait(int fd, struct epoll_event *events, int count, int timeout_ms)
{
	(void)fd;
	(void)events;
	(void)count;
	assert_true(timeout_ms >= 0);
	clock_ns += (uint64_t)timeout_ms * NS_PER_MS;
	return 0;
}

int
connect(int fd, const struct sockaddr *address, socklen_t length)
{
	(void)fd;
	(void)address;
	(void)length;
	assert_true(attempts < ATTEMPTS_MAX);
	attempts_ms[attempts++] = clock_ns / NS_PER_MS;
	errno = connect_error;
	return connect_error == 0 ? 0 : -1;
}

static void
connected(void *owner, int fd)
{
	(void)owner;
	close(fd);
	connections++;
}

static void
count_line(enum vhu_log_level level, const char *line)
{
	(void)level;
	assert_non_null(strstr(line, "/x.sock"));
	lines++;
}

static int
setup(void **state)
{
	fds_before = unit_open_fds();
	clock_ns = 1000 * NS_PER_MS;
	attempts = 0;
	connect_error = ENOENT;
	connections = 0;
	lines = 0;
	vhu_log_set_sink(count_line);
	*state = vhu_loop_new();
	return *state == NULL;
}

static int
teardown(void **state)
{
	vhu_log_set_sink(NULL);
	vhu_loop_free(*state);
	assert_int_equal(unit_open_fds(), fds_before);
	return 0;
}

static struct vhu_endpoint *
open_client(struct vhu_loop *loop, uint32_t min_ms, uint32_t max_ms)
{
	const struct vhu_endpoint_config config = {
		.path = "/x.sock", .client = true, .uid = -1, .gid = -1,
		.reconnect_min_ms = min_ms, .reconnect_max_ms = max_ms,
		.connected = connected, .name = "unit",
	};
	struct vhu_endpoint *endpoint = NULL;
	char error[128];

	assert_int_equal(vhu_endpoint_open(loop, &config, &endpoint, error, sizeof(error)), 0);
	return endpoint;
}

static void
attempt_until(struct vhu_loop *loop, unsigned int count)
{
	while (attempts < count)
		assert_true(vhu_loop_step(loop, -1) >= 0);
}

/* The pauses between attempts, from attempt @p first on. */
static void
expect_pauses(unsigned int first, const uint64_t *pauses_ms, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		assert_int_equal(attempts_ms[first + i + 1] - attempts_ms[first + i],
			pauses_ms[i]);
}

static void
pauses_double_up_to_the_longest(void **state)
{
	static const uint64_t pauses_ms[] = { 10, 20, 40, 80, 160, 200, 200, 200 };
	struct vhu_endpoint *endpoint = open_client(*state, 10, 200);

	attempt_until(*state, 9);
	assert_int_equal(attempts_ms[0], 1000);
	expect_pauses(0, pauses_ms, 8);
	vhu_endpoint_close(endpoint);
}

static void
pauses_are_one_millisecond_to_one_second_if_none_are_given(void **state)
{
	static const uint64_t pauses_ms[] = { 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000 };
	struct vhu_endpoint *endpoint = open_client(*state, 0, 0);

	attempt_until(*state, 13);
	expect_pauses(0, pauses_ms, 12);
	vhu_endpoint_close(endpoint);
}

static void
longest_pause_below_the_shortest_is_the_shortest(void **state)
{
	static const uint64_t pauses_ms[] = { 50, 50, 50 };
	struct vhu_endpoint *endpoint = open_client(*state, 50, 10);

	attempt_until(*state, 4);
	expect_pauses(0, pauses_ms, 3);
	vhu_endpoint_close(endpoint);
}

static void
largest_pauses_do_not_overflow(void **state)
{
	static const uint64_t pauses_ms[] = { 3000000000, UINT32_MAX, UINT32_MAX };
	struct vhu_endpoint *endpoint = open_client(*state, 3000000000, UINT32_MAX);

	attempt_until(*state, 4);
	expect_pauses(0, pauses_ms, 3);
	vhu_endpoint_close(endpoint);
}

static void
success_makes_the_next_pause_the_shortest(void **state)
{
	static const uint64_t pauses_ms[] = { 10, 20, 40 };
	struct vhu_endpoint *endpoint = open_client(*state, 10, 200);
	uint64_t resumed_ms;

	attempt_until(*state, 5);
	connect_error = 0;
	attempt_until(*state, 6);
	assert_int_equal(connections, 1);
	connect_error = ECONNREFUSED;
	clock_ns += 5 * NS_PER_MS;
	resumed_ms = clock_ns / NS_PER_MS;
	vhu_endpoint_resume(endpoint);
	attempt_until(*state, 10);
	assert_int_equal(attempts_ms[6] - resumed_ms, 10);
	expect_pauses(6, pauses_ms, 3);
	vhu_endpoint_close(endpoint);
}

static void
same_failure_is_logged_once(void **state)
{
	struct vhu_endpoint *endpoint = open_client(*state, 1, 10);

	attempt_until(*state, 5);
	assert_int_equal(lines, 1);
	connect_error = ECONNREFUSED;
	attempt_until(*state, 10);
	assert_int_equal(lines, 2);
	vhu_endpoint_close(endpoint);
}

static void
full_backlog_is_tried_again(void **state)
{
	struct vhu_endpoint *endpoint = open_client(*state, 1, 10);

	connect_error = EAGAIN;
	attempt_until(*state, 3);
	connect_error = 0;
	attempt_until(*state, 4);
	assert_int_equal(connections, 1);
	vhu_endpoint_close(endpoint);
}

#define BACKOFF_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		BACKOFF_TEST(pauses_double_up_to_the_longest),
		BACKOFF_TEST(pauses_are_one_millisecond_to_one_second_if_none_are_given),
		BACKOFF_TEST(longest_pause_below_the_shortest_is_the_shortest),
		BACKOFF_TEST(largest_pauses_do_not_overflow),
		BACKOFF_TEST(success_makes_the_next_pause_the_shortest),
		BACKOFF_TEST(same_failure_is_logged_once),
		BACKOFF_TEST(full_backlog_is_tried_again),
	};

	return cmocka_run_group_tests_name("sock/endpoint: pauses", tests, NULL, NULL);
}
