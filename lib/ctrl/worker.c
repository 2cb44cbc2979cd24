/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ctrl/fifo.h"
#include "ctrl/thread.h"
#include "ctrl/worker.h"

/** Jobs on their way at once; more wait on the control side. */
#define WORKER_DEPTH 256

struct vhu_worker {
	struct rte_ring *jobs;      /**< control: enqueues; worker: dequeues */
	struct rte_ring *results;   /**< worker: enqueues; control: dequeues */
	struct vhu_job *waiting;    /**< control: first job that did not fit */
	struct vhu_job **waiting_end; /**< control: where to link the next one */
	unsigned int under_way;     /**< control: jobs in the rings or being run */
	int wake_fd;                /**< eventfd; control: writes; worker: reads */
	atomic_bool quit;           /**< control: sets; worker: reads */
	struct vhu_loop *loop;
	vhu_thread thread;
};

static void
worker_wake(struct vhu_worker *worker)
{
	uint64_t one = 1;

	/* Fails only if the counter would overflow, and then the worker is awake anyway. */
	while (write(worker->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void
run_jobs(struct vhu_worker *worker)
{
	void *object;

	while (rte_ring_sc_dequeue(worker->jobs, &object) == 0) {
		struct vhu_job *job = object;

		job->run(job);
		/* Never full: under_way keeps the jobs in both rings below the size of one. */
		rte_ring_sp_enqueue(worker->results, job);
		vhu_loop_wake(worker->loop);
	}
}

static vhu_thread_result
worker_main(void *argument)
{
	struct vhu_worker *worker = argument;
	uint64_t wakes;

	/* Partner: the release store in vhu_worker_stop(). */
	while (!atomic_load_explicit(&worker->quit, memory_order_acquire)) {
		run_jobs(worker);
		if (read(worker->wake_fd, &wakes, sizeof(wakes)) < 0 && errno != EINTR)
			break; /* the descriptor is ours: cannot happen while it is open */
	}
	return 0;
}

struct vhu_worker *
vhu_worker_start(struct vhu_loop *loop)
{
	struct vhu_worker *worker = calloc(1, sizeof(*worker));

	if (worker == NULL)
		return NULL;
	worker->loop = loop;
	worker->waiting_end = &worker->waiting;
	worker->wake_fd = eventfd(0, EFD_CLOEXEC);
	worker->jobs = vhu_fifo_new("vhu_jobs", sizeof(void *), WORKER_DEPTH);
	worker->results = vhu_fifo_new("vhu_results", sizeof(void *), WORKER_DEPTH);
	if (worker->wake_fd >= 0 && worker->jobs != NULL && worker->results != NULL &&
			vhu_thread_start(&worker->thread, "vhu-worker", worker_main, worker) == 0)
		return worker;
	if (worker->wake_fd >= 0)
		close(worker->wake_fd);
	vhu_fifo_free(worker->jobs);
	vhu_fifo_free(worker->results);
	free(worker);
	return NULL;
}

/* Move jobs from the list into the ring as far as there is room on the whole way. */
static void
send_waiting(struct vhu_worker *worker)
{
	bool sent = false;

	while (worker->waiting != NULL && worker->under_way < WORKER_DEPTH) {
		struct vhu_job *job = worker->waiting;

		worker->waiting = job->next;
		if (worker->waiting == NULL)
			worker->waiting_end = &worker->waiting;
		job->next = NULL;
		rte_ring_sp_enqueue(worker->jobs, job);
		worker->under_way++;
		sent = true;
	}
	if (sent)
		worker_wake(worker);
}

void
vhu_worker_submit(struct vhu_worker *worker, struct vhu_job *job)
{
	job->next = NULL;
	*worker->waiting_end = job;
	worker->waiting_end = &job->next;
	send_waiting(worker);
}

unsigned int
vhu_worker_collect(struct vhu_worker *worker)
{
	unsigned int count = 0;
	void *object;

	while (rte_ring_sc_dequeue(worker->results, &object) == 0) {
		struct vhu_job *job = object;

		worker->under_way--;
		count++;
		job->done(job); /* frees the job, may submit more */
	}
	send_waiting(worker);
	return count;
}

void
vhu_worker_stop(struct vhu_worker *worker)
{
	/* Partner: the acquire load in worker_main(). */
	atomic_store_explicit(&worker->quit, true, memory_order_release);
	worker_wake(worker);
	vhu_thread_join(worker->thread);
	close(worker->wake_fd);
	vhu_fifo_free(worker->jobs);
	vhu_fifo_free(worker->results);
	free(worker);
}
