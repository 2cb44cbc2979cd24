/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "blk.h"

/* Queues that a thread may have. */
#define THREAD_QUEUES_MAX 1024

struct poller {
	pthread_t thread;
	bool started;
	atomic_bool end;                        /* main: writes; thread: reads */
	/* main: fills an entry, then counts it with release; thread: reads with acquire */
	struct blk_queue *queues[THREAD_QUEUES_MAX];
	_Atomic(unsigned int) count;
};

static struct poller *pollers;
static unsigned int poller_count;
/* main: writes; polling threads: read: take no more requests */
static atomic_bool draining;

/* Return what is done. @return whether there was anything: then the guest is to be told. */
static bool
return_done(struct blk_queue *queue)
{
	VuDev *dev = &queue->device->vu;
	uint64_t now;
	unsigned int i;

	if (queue->done_count == 0)
		return false;
	now = blk_clock();
	/* The library has the blocks back afterwards. */
	for (i = 0; i < queue->done_count; i++)
		blk_latency_record(queue->done[i], now);
	vu_queue_push_burst(dev, vu_get_queue(dev, queue->index), queue->pool, queue->done,
		queue->done_length, queue->done_count);
	queue->under_way -= queue->done_count;
	queue->done_count = 0;
	return true;
}

/* Take one apart, and note when it came. */
static void
look_at(struct blk_queue *queue, struct blk_request *request, uint64_t now)
{
	request->begun = now;
	blk_request_parse(queue, request);
}

/*
 * Take new requests. A driver that polls works on those that are done in the meantime; the
 * notification waits for the last one. @return whether any was returned.
 */
static bool
take(struct blk_queue *queue)
{
	VuDev *dev = &queue->device->vu;
	void *requests[BLK_BURST];
	bool returned = false;
	uint64_t now;
	/* The pool is no bound: elements with many segments do not come from it. */
	unsigned int i, count = BLK_DEPTH - queue->under_way;

	count = vu_queue_pop_burst(dev, vu_get_queue(dev, queue->index), queue->pool, requests,
		count < BLK_BURST ? count : BLK_BURST);
	if (count == 0) {
		blk_count(&queue->counters.empty_polls, 1);
		return false;
	}
	now = blk_clock();
	look_at(queue, requests[0], now);
	for (i = 0; i < count; i++) {
		if (i + 1 < count)
			look_at(queue, requests[i + 1], now);
		blk_request_begin(queue, requests[i]);
		if (queue->done_count >= BLK_RETURN)
			returned |= return_done(queue);
	}
	blk_count(&queue->counters.bursts, 1);
	return returned;
}

/* @return false if the queue stands still. */
static bool
poll_queue(struct blk_queue *queue)
{
	const struct blk_disk_ops *ops = queue->device->disk.ops;
	/* Partner: blk_queue_run(), which made device and ring ready before. */
	bool wanted = atomic_load_explicit(&queue->wanted, memory_order_acquire) &&
		!atomic_load_explicit(&draining, memory_order_relaxed);
	bool returned = false;

	if (!wanted && !atomic_load_explicit(&queue->running, memory_order_relaxed))
		return false;
	if (wanted) {
		atomic_store_explicit(&queue->running, true, memory_order_relaxed);
		returned = take(queue);
	}
	if (ops->flush_submissions != NULL)
		ops->flush_submissions(queue);
	if (ops->reap != NULL)
		ops->reap(queue);
	returned |= return_done(queue);
	if (returned)
		vu_queue_notify(&queue->device->vu, vu_get_queue(&queue->device->vu, queue->index));
	if (!wanted && queue->under_way == 0)
		/* Partner: the acquire in blk_queue_run(): all of it is given back. */
		atomic_store_explicit(&queue->running, false, memory_order_release);
	return true;
}

static void *
poll_thread(void *argument)
{
	static const struct timespec pause = { .tv_nsec = 100000 };
	struct poller *poller = argument;

	while (!atomic_load_explicit(&poller->end, memory_order_relaxed)) {
		unsigned int i, count = atomic_load_explicit(&poller->count, memory_order_acquire);

		bool any = false;

		for (i = 0; i < count; i++)
			any |= poll_queue(poller->queues[i]);
		/* No front-end: the core is somebody else's until one comes. */
		if (!any)
			nanosleep(&pause, NULL);
	}
	return NULL;
}

bool
blk_pollers_start(unsigned int count, const int *cores, unsigned int core_count)
{
	unsigned int i;

	pollers = calloc(count, sizeof(*pollers));
	if (pollers == NULL)
		return false;
	for (i = 0; i < count; i++) {
		pthread_attr_t attributes;
		cpu_set_t set;
		int rc;

		pthread_attr_init(&attributes);
		if (core_count != 0) {
			CPU_ZERO(&set);
			CPU_SET(cores[i % core_count], &set);
			pthread_attr_setaffinity_np(&attributes, sizeof(set), &set);
		}
		rc = pthread_create(&pollers[i].thread, &attributes, poll_thread, &pollers[i]);
		pthread_attr_destroy(&attributes);
		if (rc != 0) {
			errno = rc;
			return false;
		}
		pollers[i].started = true;
		poller_count++;
	}
	return true;
}

bool
blk_pollers_add(struct blk_queue *queue, unsigned int thread)
{
	struct poller *poller = &pollers[thread % poller_count];
	unsigned int count = atomic_load_explicit(&poller->count, memory_order_relaxed);

	if (count == THREAD_QUEUES_MAX)
		return false;
	poller->queues[count] = queue;
	/* Partner: the acquire in poll_thread(). */
	atomic_store_explicit(&poller->count, count + 1, memory_order_release);
	return true;
}

void
blk_pollers_stop(void)
{
	unsigned int i;

	for (i = 0; i < poller_count; i++)
		atomic_store_explicit(&pollers[i].end, true, memory_order_relaxed);
	for (i = 0; i < poller_count; i++)
		if (pollers[i].started)
			pthread_join(pollers[i].thread, NULL);
	free(pollers);
	pollers = NULL;
	poller_count = 0;
}

void
blk_pollers_drain(void)
{
	atomic_store_explicit(&draining, true, memory_order_relaxed);
}

void
blk_queue_run(struct blk_queue *queue, bool run)
{
	if (run) {
		/* Before wanted: whoever stops it right afterwards must wait. */
		atomic_store_explicit(&queue->running, true, memory_order_relaxed);
		atomic_store_explicit(&queue->wanted, true, memory_order_release);
		return;
	}
	atomic_store_explicit(&queue->wanted, false, memory_order_release);
	blk_queue_wait(queue);
}

void
blk_queue_wait(struct blk_queue *queue)
{
	static const struct timespec pause = { .tv_nsec = 20000 };

	/* Requests under way are finished first; the kernel ends each of them. */
	while (atomic_load_explicit(&queue->running, memory_order_acquire))
		nanosleep(&pause, NULL);
}
