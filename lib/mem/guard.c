/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

#include "mem/guard.h"

/*
 * One mapping. The handler may interrupt any thread anywhere, so it takes no lock: a place is
 * valid for it if version was even and the same before and after it read the rest. The place of
 * the mapping in which it faulted does not change meanwhile: nobody unmaps what is in use.
 */
struct place {
	_Atomic(uint32_t) version; /* with the lock: written; handler: reads. Odd while changed */
	atomic_bool lost;          /* handler: sets; with the lock: cleared, read */
	_Atomic(uintptr_t) start;  /* with the lock: written; handler: reads. 0: free */
	_Atomic(uint64_t) size;    /* likewise */
};

static struct place places[VHU_GUARD_MAPPINGS];
/* With the lock: written; handler: reads. No place from here on was ever used. */
static _Atomic(uint32_t) places_used;
/* Handler: adds; control threads: read. */
static _Atomic(uint64_t) lost_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool on; /* with the lock */
static struct sigaction before;

/* The place of the mapping that this address is in, or NULL. Async-signal-safe. */
static struct place *
place_of(uintptr_t address)
{
	/* Partner: the release store in vhu_guard_add(). */
	uint32_t i, count = atomic_load_explicit(&places_used, memory_order_acquire);

	for (i = 0; i < count; i++) {
		struct place *place = &places[i];
		/* Partner: the release store and the fence in set_place(). */
		uint32_t version = atomic_load_explicit(&place->version, memory_order_acquire);
		uintptr_t start = atomic_load_explicit(&place->start, memory_order_relaxed);
		uint64_t size = atomic_load_explicit(&place->size, memory_order_relaxed);

		atomic_thread_fence(memory_order_acquire);
		if (start != 0 && address - start < size && version % 2 == 0 &&
		    atomic_load_explicit(&place->version, memory_order_relaxed) == version)
			return place;
	}
	return NULL;
}

/* Others may be about to fault in the same mapping: to them it was replaced by somebody else. */
static bool
replace(struct place *place)
{
	void *start = (void *)atomic_load_explicit(&place->start, memory_order_relaxed);
	uint64_t size = atomic_load_explicit(&place->size, memory_order_relaxed);

	if (atomic_exchange_explicit(&place->lost, true, memory_order_relaxed))
		return true;
	if (mmap(start, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED) {
		atomic_store_explicit(&place->lost, false, memory_order_relaxed);
		return false;
	}
	/* Partner: the acquire load in vhu_guard_count(). */
	atomic_fetch_add_explicit(&lost_count, 1, memory_order_release);
	return true;
}

/* Not ours: what would have happened without us. */
static void
pass_on(int number, siginfo_t *info, void *context)
{
	if (before.sa_flags & SA_SIGINFO)
		before.sa_sigaction(number, info, context);
	else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
		before.sa_handler(number);
	else
		/* The access is done again, and then the kernel does what it does. */
		sigaction(SIGBUS, &before, NULL);
}

static void
handle(int number, siginfo_t *info, void *context)
{
	int error = errno;
	/* A broken memory module (BUS_MCEERR_*) or a signal from elsewhere is not our matter. */
	struct place *place = info->si_code == BUS_ADRERR ?
		place_of((uintptr_t)info->si_addr) : NULL;

	if (place == NULL || !replace(place))
		pass_on(number, info, context);
	errno = error;
}

int
vhu_guard_on(void)
{
	struct sigaction action = { .sa_sigaction = handle, .sa_flags = SA_SIGINFO };
	int error = 0;

	sigemptyset(&action.sa_mask);
	pthread_mutex_lock(&lock);
	if (!on && sigaction(SIGBUS, &action, &before) != 0)
		error = -errno;
	else
		on = true;
	pthread_mutex_unlock(&lock);
	return error;
}

/* With the lock. */
static void
set_place(struct place *place, uintptr_t start, uint64_t size)
{
	uint32_t version = atomic_load_explicit(&place->version, memory_order_relaxed);

	atomic_store_explicit(&place->version, version + 1, memory_order_relaxed);
	/* Partner: the loads of version in place_of(). */
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&place->start, start, memory_order_relaxed);
	atomic_store_explicit(&place->size, size, memory_order_relaxed);
	atomic_store_explicit(&place->lost, false, memory_order_relaxed);
	atomic_store_explicit(&place->version, version + 2, memory_order_release);
}

/* The place that begins there; 0: the first free one. With the lock. NULL if there is none. */
static struct place *
find(uintptr_t start)
{
	uint32_t i, used = atomic_load_explicit(&places_used, memory_order_relaxed);

	for (i = 0; i < used; i++)
		if (atomic_load_explicit(&places[i].start, memory_order_relaxed) == start)
			return &places[i];
	return NULL;
}

void
vhu_guard_add(void *mapping, uint64_t size)
{
	struct place *place;
	uint32_t used;

	pthread_mutex_lock(&lock);
	used = atomic_load_explicit(&places_used, memory_order_relaxed);
	place = on ? find(0) : NULL;
	if (on && place == NULL && used < VHU_GUARD_MAPPINGS) {
		place = &places[used];
		/* Partner: the acquire load in place_of(); a place that is new is free. */
		atomic_store_explicit(&places_used, used + 1, memory_order_release);
	}
	if (place != NULL)
		set_place(place, (uintptr_t)mapping, size);
	pthread_mutex_unlock(&lock);
}

void
vhu_guard_remove(void *mapping)
{
	struct place *place;

	pthread_mutex_lock(&lock);
	place = find((uintptr_t)mapping);
	if (place != NULL)
		set_place(place, 0, 0);
	pthread_mutex_unlock(&lock);
}

bool
vhu_guard_lost(const void *mapping)
{
	struct place *place;
	bool lost;

	pthread_mutex_lock(&lock);
	place = find((uintptr_t)mapping);
	lost = place != NULL && atomic_load_explicit(&place->lost, memory_order_relaxed);
	pthread_mutex_unlock(&lock);
	return lost;
}

uint64_t
vhu_guard_count(void)
{
	/* Partner: the add in replace(). */
	return atomic_load_explicit(&lost_count, memory_order_acquire);
}
