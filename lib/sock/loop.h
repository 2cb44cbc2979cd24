/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_SOCK_LOOP_H
#define VHU_SOCK_LOOP_H

/**
 * @file
 * The loop: descriptors and timers, served step by step.
 *
 * A loop is an epoll set and a list of timers. It never blocks longer than its caller allows, so it
 * can be driven by a service core (time-out 0), by a thread of its own (time-out to the next
 * timer), or by a test. One thread at a time.
 */

#include <stdint.h>
#include <sys/queue.h>

struct vhu_loop;

/** A watched descriptor. The owner of the descriptor embeds it; it must not move while added. */
struct vhu_watch {
	int fd;
	/** @param events EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR. It may be removed inside. */
	void (*ready)(struct vhu_watch *watch, uint32_t events);
	uint32_t events;     /**< loop: what is asked for; 0: not in the set */
	struct vhu_loop *loop;
};

/** A one-shot timer. The owner embeds it. */
struct vhu_timer {
	LIST_ENTRY(vhu_timer) link;
	uint64_t due_ns;     /**< CLOCK_MONOTONIC; 0: not running */
	void (*expired)(struct vhu_timer *timer);
	struct vhu_loop *loop;
};

struct vhu_loop *vhu_loop_new(void);
/** Everything must have been removed. */
void vhu_loop_free(struct vhu_loop *loop);

/** Begin, change (@p events differ) or end (@p events 0) watching. @return 0 or -errno. */
int vhu_watch_set(struct vhu_loop *loop, struct vhu_watch *watch, uint32_t events);
void vhu_watch_remove(struct vhu_watch *watch);

void vhu_timer_start(struct vhu_loop *loop, struct vhu_timer *timer, uint64_t delay_ns);
void vhu_timer_stop(struct vhu_timer *timer);

/**
 * Wait for at most @p timeout_ms (-1: until something happens; shortened to the next timer), then
 * serve what is ready: every ready descriptor once, every timer that is due.
 * Removing or freeing another watch inside a callback is safe.
 * @return how many callbacks ran, or -errno.
 */
int vhu_loop_step(struct vhu_loop *loop, int timeout_ms);
/**
 * Only the collecting part, and only the serving of what was collected. Waiting returns how much
 * there is to serve (all due timers count as one; a wake-up counts as nothing): 0 means that
 * serving may be left out. Interrupted by a signal it returns early.
 */
int vhu_loop_wait(struct vhu_loop *loop, int timeout_ms);
int vhu_loop_serve(struct vhu_loop *loop);

/**
 * For callers with a lock around the loop, who must not hold it while they wait: take the time-out
 * with the lock, poll() the descriptor for POLLIN without it, step with time-out 0 with it again.
 * Timers started meanwhile need a vhu_loop_wake().
 */
int vhu_loop_fd(const struct vhu_loop *loop);
/** @p timeout_ms (-1: no limit) or the time to the next timer if shorter; never early. */
int vhu_loop_timeout(const struct vhu_loop *loop, int timeout_ms);

/** Wake a vhu_loop_wait() of another thread. Any thread, async-signal-safe. */
void vhu_loop_wake(struct vhu_loop *loop);

uint64_t vhu_now_ns(void);

#endif /* VHU_SOCK_LOOP_H */
