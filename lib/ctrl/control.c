/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <rte_common.h>

#include <vhu.h>

#include "ctrl/connection.h"
#include "ctrl/control.h"
#include "ctrl/events.h"
#include "ctrl/log.h"
#include "ctrl/telemetry.h"
#include "mem/guard.h"
#include "obs/error.h"
#include "ring/ring.h"

/** How long one step of a helping thread waits at most. */
#define HELP_WAIT_MS 1

enum life {
	LIFE_STOPPED,
	LIFE_RUNNING,
	LIFE_STOPPING, /**< a thread ends the loop, without the lock */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed; /* on the monotonic clock */
/* Both under the lock. */
static enum life life;
static struct vhu_control *current;
/* Is this thread in vhu_control_step()? Then it is the control loop, perhaps inside a callback. */
static _Thread_local bool in_loop;

RTE_INIT(control_init)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&changed, &attributes);
	pthread_condattr_destroy(&attributes);
}

void
vhu_control_lock(void)
{
	pthread_mutex_lock(&lock);
}

void
vhu_control_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

void
vhu_control_wait(unsigned int milliseconds)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)milliseconds * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&changed, &lock, &until);
}

void
vhu_control_changed(void)
{
	pthread_cond_broadcast(&changed);
}

static void
submit(struct vhu_executor *executor, struct vhu_job *job)
{
	struct vhu_control *control = RTE_PTR_SUB(executor, offsetof(struct vhu_control, executor));

	vhu_worker_submit(control->worker, job);
}

struct vhu_control *
vhu_control_get(void)
{
	return life == LIFE_RUNNING ? current : NULL;
}

bool
vhu_control_in_loop(void)
{
	return in_loop;
}

static void
control_free(struct vhu_control *control)
{
	if (control->worker != NULL)
		vhu_worker_stop(control->worker);
	if (control->loop != NULL) {
		vhu_watch_remove(&control->wishes);
		vhu_loop_free(control->loop);
	}
	free(control);
}

/* An lcore wants something: that it woke us is all, the step looks what it is. */
static void
wish(struct vhu_watch *watch, uint32_t events)
{
	uint64_t count;
	ssize_t got = read(watch->fd, &count, sizeof(count));

	(void)events;
	(void)got;
}

/* Without the descriptor lcores are heard a little later, see VHU_CONTROL_WAIT_MS. */
static void
watch_wishes(struct vhu_control *control)
{
	control->wishes.ready = wish;
	if (vhu_attention_open() != 0)
		return;
	control->wishes.fd = vhu_attention_fd;
	(void)vhu_watch_set(control->loop, &control->wishes, EPOLLIN);
}

static int
control_start(void)
{
	struct vhu_control *control = calloc(1, sizeof(*control));
	int error;

	if (control == NULL)
		return vhu_error(ENOMEM, "out of memory for the control loop");
	vhu_log_to_rte();
	vhu_telemetry_register();
	vhu_publish_init();
	vhu_grace_domain_init(&control->domain);
	control->executor.submit = submit;
	control->rings_broken = atomic_load_explicit(&vhu_rings_broken, memory_order_relaxed);
	control->rings_calling = atomic_load_explicit(&vhu_rings_calling, memory_order_relaxed);
	TAILQ_INIT(&control->ports);
	TAILQ_INIT(&control->attention);
	TAILQ_INIT(&control->deliveries);
	control->loop = vhu_loop_new();
	if (control->loop != NULL) {
		watch_wishes(control);
		control->worker = vhu_worker_start(control->loop);
	}
	if (control->worker == NULL) {
		control_free(control);
		return vhu_error(
			ENOMEM, "out of memory, descriptors or threads for the control loop");
	}
	error = vhu_service_start(control);
	if (error != 0) {
		control_free(control);
		return error;
	}
	current = control;
	life = LIFE_RUNNING;
	return 0;
}

int
vhu_control_hold(struct vhu_control **control)
{
	while (life == LIFE_STOPPING)
		pthread_cond_wait(&changed, &lock);
	if (life == LIFE_STOPPED) {
		int error = control_start();

		if (error != 0)
			return error;
	}
	*control = current;
	current->port_count++;
	return 0;
}

/* Lock held, life is STOPPING: nobody else uses the context any more, except the loop itself. */
static void
control_stop(void)
{
	struct vhu_control *control = current;

	vhu_control_unlock();
	vhu_service_stop(control);
	control_free(control);
	vhu_control_lock();
	current = NULL;
	life = LIFE_STOPPED;
	pthread_cond_broadcast(&changed);
}

static void *
stopper_main(void *argument)
{
	vhu_control_lock();
	control_stop();
	vhu_control_unlock();
	return argument;
}

/*
 * The last port was destroyed in a callback. The loop cannot wait for its own end, so a thread of
 * its own does; should there be none to have, the context idles until the next port comes and goes.
 */
static void
stop_from_loop(struct vhu_control *control)
{
	pthread_t thread;
	pthread_attr_t attributes;

	if (life != LIFE_RUNNING || control->port_count != 0)
		return;
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	life = LIFE_STOPPING;
	if (pthread_create(&thread, &attributes, stopper_main, NULL) != 0)
		life = LIFE_RUNNING;
	pthread_attr_destroy(&attributes);
}

void
vhu_control_release(struct vhu_control *control)
{
	control->port_count--;
	if (in_loop)
		return; /* vhu_control_step() looks when the callback has returned */
	while (life == LIFE_RUNNING && current == control && control->port_count == 0) {
		if (control->delivering != NULL) {
			pthread_cond_wait(&changed, &lock);
			continue;
		}
		life = LIFE_STOPPING;
		control_stop();
		return;
	}
	/* Stopped by another thread: the caller may want to leave the process now. */
	while (life == LIFE_STOPPING)
		pthread_cond_wait(&changed, &lock);
}

/* Until a descriptor is ready, somebody wakes the loop or the time is over. */
static void
wait_unlocked(struct vhu_control *control, int timeout_ms)
{
	struct pollfd ready = { .fd = vhu_loop_fd(control->loop), .events = POLLIN };

	vhu_control_unlock();
	poll(&ready, 1, timeout_ms);
	vhu_control_lock();
}

static void
tick(struct vhu_control *control)
{
	uint64_t now = vhu_now_ns();

	if (now < control->next_tick_ns)
		return;
	control->next_tick_ns = now + VHU_CONTROL_TICK_NS;
	vhu_connection_tick(control);
}

/* Everything of a step but the callbacks. Lock held, released while waiting. */
static bool
step(struct vhu_control *control, int timeout_ms)
{
	unsigned int waiting = control->waiting;
	uint32_t broken, missing, calling;
	int served;

	control->stepping = true;
	if (!TAILQ_EMPTY(&control->deliveries))
		timeout_ms = 0;
	if (timeout_ms != 0)
		wait_unlocked(control, vhu_loop_timeout(control->loop, timeout_ms));
	served = vhu_loop_step(control->loop, 0);
	if (vhu_worker_collect(control->worker) > 0)
		served = 1;
	/* Partner: the add in vhu_ring_break(); the ring's own broken word is read after it. */
	broken = atomic_load_explicit(&vhu_rings_broken, memory_order_acquire);
	if (broken != control->rings_broken) {
		control->rings_broken = broken;
		vhu_connection_check_broken(control);
	}
	/* Partner: the add in vhu_ring_miss(); what the ring misses is read after it. */
	missing = atomic_load_explicit(&vhu_rings_missing, memory_order_acquire);
	if (missing != control->rings_missing) {
		control->rings_missing = missing;
		vhu_connection_check_missing(control);
	}
	tick(control);
	/* Partner: the add in vhu_ring_call(); the ring's own mark is read after it. */
	calling = atomic_load_explicit(&vhu_rings_calling, memory_order_acquire);
	if (calling != control->rings_calling) {
		control->rings_calling = calling;
		vhu_connection_check_calls(control);
		served = 1;
	}
	vhu_connection_attend(control);
	control->waiting = vhu_grace_step(&control->domain);
	/* A continuation may have ended a connection. */
	vhu_connection_attend(control);
	control->stepping = false;
	pthread_cond_broadcast(&changed);
	return served > 0 || waiting != control->waiting;
}

bool
vhu_control_step(struct vhu_control *control, int timeout_ms)
{
	bool done = false;

	if (timeout_ms == 0) {
		if (pthread_mutex_trylock(&lock) != 0)
			return false;
	} else {
		vhu_control_lock();
	}
	if (control->stepping) {
		if (timeout_ms != 0)
			vhu_control_wait(HELP_WAIT_MS);
	} else if (life == LIFE_RUNNING) {
		in_loop = true;
		done = step(control, timeout_ms);
		vhu_events_deliver(control);
		in_loop = false;
		stop_from_loop(control);
	}
	vhu_control_unlock();
	return done;
}

void
vhu_control_help(struct vhu_control *control)
{
	if (control->stepping)
		vhu_control_wait(HELP_WAIT_MS);
	else
		step(control, HELP_WAIT_MS);
	/* Only the loop runs callbacks. */
	if (!TAILQ_EMPTY(&control->deliveries))
		vhu_loop_wake(control->loop);
}

int
vhu_control_service(void)
{
	int id = -1;

	vhu_control_lock();
	if (life == LIFE_RUNNING && current->service.is_service)
		id = current->service.id;
	vhu_control_unlock();
	return id;
}

int
vhu_guard_memory(void)
{
	return vhu_guard_on();
}
