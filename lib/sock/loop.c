/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "sock/loop.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

/*
 * Descriptors collected by one wait. If more are ready, the kernel reports the others next time:
 * epoll puts what it reported at the end of its list, so nobody is passed over twice.
 */
#define READY_MAX 64

struct vhu_loop {
	int epoll_fd;
	int wake_fd;                /* written by any thread, read by the loop's */
	LIST_HEAD(, vhu_timer) timers; /* the earliest first */
	uint64_t served_ns;         /* timers due until then have been served */
	int ready_count;
	int ready_next;             /* first entry that has not been served */
	struct epoll_event ready[READY_MAX]; /* data.ptr is the watch; NULL: removed meanwhile */
};

uint64_t
vhu_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

struct vhu_loop *
vhu_loop_new(void)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct vhu_loop *loop = calloc(1, sizeof(*loop));

	if (loop == NULL)
		return NULL;
	LIST_INIT(&loop->timers);
	/* The loop itself stands for the wake descriptor: no watch can have its address. */
	event.data.ptr = loop;
	loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->wake_fd < 0 || loop->epoll_fd < 0 ||
	    epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) != 0) {
		vhu_loop_free(loop);
		return NULL;
	}
	return loop;
}

void
vhu_loop_free(struct vhu_loop *loop)
{
	if (loop == NULL)
		return;
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	free(loop);
}

int
vhu_watch_set(struct vhu_loop *loop, struct vhu_watch *watch, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };

	if (events == 0) {
		vhu_watch_remove(watch);
		return 0;
	}
	if (events == watch->events)
		return 0;
	if (epoll_ctl(loop->epoll_fd, watch->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD,
			watch->fd, &event) != 0)
		return -errno;
	watch->loop = loop;
	watch->events = events;
	return 0;
}

void
vhu_watch_remove(struct vhu_watch *watch)
{
	struct vhu_loop *loop = watch->loop;
	int i;

	if (watch->events == 0)
		return;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->events = 0;
	/* It may have been collected already; its memory may be gone when its turn would come. */
	for (i = loop->ready_next; i < loop->ready_count; i++)
		if (loop->ready[i].data.ptr == watch)
			loop->ready[i].data.ptr = NULL;
}

void
vhu_timer_start(struct vhu_loop *loop, struct vhu_timer *timer, uint64_t delay_ns)
{
	uint64_t now = vhu_now_ns();
	struct vhu_timer *before = NULL;
	struct vhu_timer *at;

	vhu_timer_stop(timer);
	timer->loop = loop;
	timer->due_ns = delay_ns > UINT64_MAX - now ? UINT64_MAX : now + delay_ns;
	/* A timer that starts itself again must not be served twice in one step. */
	if (timer->due_ns <= loop->served_ns)
		timer->due_ns = loop->served_ns + 1;
	LIST_FOREACH(at, &loop->timers, link) {
		if (at->due_ns > timer->due_ns)
			break;
		before = at;
	}
	if (before == NULL)
		LIST_INSERT_HEAD(&loop->timers, timer, link);
	else
		LIST_INSERT_AFTER(before, timer, link);
}

void
vhu_timer_stop(struct vhu_timer *timer)
{
	if (timer->due_ns == 0)
		return;
	LIST_REMOVE(timer, link);
	timer->due_ns = 0;
}

int
vhu_loop_fd(const struct vhu_loop *loop)
{
	return loop->epoll_fd;
}

int
vhu_loop_timeout(const struct vhu_loop *loop, int timeout_ms)
{
	const struct vhu_timer *first = LIST_FIRST(&loop->timers);
	uint64_t now, left_ms;

	if (timeout_ms == 0 || first == NULL)
		return timeout_ms;
	now = vhu_now_ns();
	if (first->due_ns <= now)
		return 0;
	left_ms = (first->due_ns - now - 1) / NS_PER_MS + 1;
	if (left_ms > INT_MAX)
		left_ms = INT_MAX;
	return timeout_ms < 0 || left_ms < (uint64_t)timeout_ms ? (int)left_ms : timeout_ms;
}

static bool
timer_is_due(const struct vhu_loop *loop)
{
	const struct vhu_timer *first = LIST_FIRST(&loop->timers);

	return first != NULL && first->due_ns <= vhu_now_ns();
}

/* Take the wake-up out of what was collected, and end it, or every wait would return at once. */
static int
drop_wake(struct vhu_loop *loop)
{
	uint64_t wakes;
	int i;

	for (i = 0; i < loop->ready_count; i++) {
		if (loop->ready[i].data.ptr != loop)
			continue;
		loop->ready[i].data.ptr = NULL;
		while (read(loop->wake_fd, &wakes, sizeof(wakes)) < 0 && errno == EINTR)
			;
		return 1;
	}
	return 0;
}

int
vhu_loop_wait(struct vhu_loop *loop, int timeout_ms)
{
	int count = epoll_wait(loop->epoll_fd, loop->ready, READY_MAX,
		vhu_loop_timeout(loop, timeout_ms));
	int error = count < 0 ? errno : 0;

	loop->ready_count = count < 0 ? 0 : count;
	loop->ready_next = 0;
	if (error != 0 && error != EINTR)
		return -error;
	return loop->ready_count - drop_wake(loop) + timer_is_due(loop);
}

static int
serve_ready(struct vhu_loop *loop)
{
	int served = 0;

	/* The cursor is the loop's, not ours: a callback may remove watches, or step the loop. */
	while (loop->ready_next < loop->ready_count) {
		const struct epoll_event *event = &loop->ready[loop->ready_next++];
		struct vhu_watch *watch = event->data.ptr;
		uint32_t events = event->events;

		if (watch == NULL)
			continue;
		/* What is asked for may have changed since it was collected. */
		events &= watch->events | EPOLLHUP | EPOLLERR;
		if (events == 0)
			continue;
		watch->ready(watch, events);
		served++;
	}
	return served;
}

static int
serve_timers(struct vhu_loop *loop)
{
	struct vhu_timer *timer = LIST_FIRST(&loop->timers);
	uint64_t now;
	int served = 0;

	if (timer == NULL)
		return 0;
	now = vhu_now_ns();
	loop->served_ns = now;
	while (timer != NULL && timer->due_ns <= now) {
		vhu_timer_stop(timer);
		timer->expired(timer);
		served++;
		/* Not the next of the old one: the callback may have stopped or freed any. */
		timer = LIST_FIRST(&loop->timers);
	}
	return served;
}

int
vhu_loop_serve(struct vhu_loop *loop)
{
	int served = serve_ready(loop);

	return served + serve_timers(loop);
}

int
vhu_loop_step(struct vhu_loop *loop, int timeout_ms)
{
	int status = vhu_loop_wait(loop, timeout_ms);

	return status < 0 ? status : vhu_loop_serve(loop);
}

void
vhu_loop_wake(struct vhu_loop *loop)
{
	int saved = errno; /* a signal handler must leave it as it was */
	uint64_t one = 1;

	/* The only failure that matters cannot happen: a full counter wakes as well. */
	while (write(loop->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	errno = saved;
}
