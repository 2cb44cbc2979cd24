/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "snap/publish.h"

bool vhu_reader_fenced;

static uint16_t
parked_burst(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, uint16_t count)
{
	(void)ring;
	(void)snapshot;
	(void)packets;
	(void)count;
	return 0;
}

const struct vhu_snapshot vhu_snapshot_parked = {
	.burst = parked_burst,
	.call_fd = -1,
	.peek = VHU_PEEK_PARKED,
	.body = "",
};

const struct vhu_snapshot vhu_snapshot_resting = {
	.burst = parked_burst,
	.call_fd = -1,
	.peek = VHU_PEEK_PARKED,
	.body = "",
};

static int
membarrier(int command)
{
	return (int)syscall(__NR_membarrier, command, 0, 0);
}

static void
probe_membarrier(void)
{
	if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) != 0 ||
	    membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0)
		vhu_reader_fenced = true;
}

void
vhu_publish_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, probe_membarrier);
}

void
vhu_grace_domain_init(struct vhu_grace_domain *domain)
{
	vhu_publish_init();
	TAILQ_INIT(&domain->waiting);
}

const struct vhu_snapshot *
vhu_publish(struct vhu_reader *reader, const struct vhu_snapshot *snapshot)
{
	const struct vhu_snapshot *old =
		atomic_load_explicit(&reader->snapshot, memory_order_relaxed);

	/* Partner: the acquire load in vhu_reader_enter(); the snapshot's contents come first. */
	atomic_store_explicit(&reader->snapshot, snapshot, memory_order_release);
	return old;
}

/*
 * Order the publications before the look at the sections. Partner: the store and load in
 * vhu_reader_enter(), which have no fence of their own unless vhu_reader_fenced.
 */
static void
order_against_readers(void)
{
	if (vhu_reader_fenced || membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0)
		atomic_thread_fence(memory_order_seq_cst);
}

void
vhu_grace_begin(struct vhu_grace_domain *domain, struct vhu_grace *grace,
	struct vhu_reader *const *readers, unsigned int count, vhu_grace_fn then, void *argument)
{
	unsigned int i;

	grace->then = then;
	grace->argument = argument;
	grace->count = 0;
	order_against_readers();
	for (i = 0; i < count; i++) {
		/* Partner: the release store in vhu_reader_leave(). */
		uint64_t section = atomic_load_explicit(&readers[i]->section, memory_order_acquire);

		if (section & 1)
			grace->busy[grace->count++] =
				(struct vhu_busy_reader){ readers[i], section };
	}
	if (grace->count != 0)
		TAILQ_INSERT_TAIL(&domain->waiting, grace, link);
	else
		then(argument);
}

/* Forget the readers that have left the section they were in. */
static bool
grace_over(struct vhu_grace *grace)
{
	unsigned int i = 0;

	while (i < grace->count) {
		const struct vhu_busy_reader *busy = &grace->busy[i];

		/* Partner: the release store in vhu_reader_leave(). */
		if (atomic_load_explicit(&busy->reader->section, memory_order_acquire) ==
		    busy->section)
			i++;
		else
			grace->busy[i] = grace->busy[--grace->count];
	}
	return grace->count == 0;
}

unsigned int
vhu_grace_step(struct vhu_grace_domain *domain)
{
	struct vhu_grace_list over = TAILQ_HEAD_INITIALIZER(over);
	struct vhu_grace *grace, *next;
	unsigned int waiting = 0;

	/* Continuations may begin new grace periods: take out first what is over, then run it. */
	for (grace = TAILQ_FIRST(&domain->waiting); grace != NULL; grace = next) {
		next = TAILQ_NEXT(grace, link);
		if (!grace_over(grace))
			continue;
		TAILQ_REMOVE(&domain->waiting, grace, link);
		TAILQ_INSERT_TAIL(&over, grace, link);
	}
	while ((grace = TAILQ_FIRST(&over)) != NULL) {
		TAILQ_REMOVE(&over, grace, link);
		grace->then(grace->argument); /* it may be gone, or in use again, afterwards */
	}
	TAILQ_FOREACH(grace, &domain->waiting, link)
		waiting++;
	return waiting;
}
