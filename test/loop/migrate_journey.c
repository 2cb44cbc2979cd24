/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Each journey switches the log on, copies all memory, and then what is marked, some rounds of it.
 * Two of three are given up in the middle and the next begins at once. The third stops the rings;
 * whatever then differs between the memory and its copy was written and not marked.
 */

#include <inttypes.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#include "clock.h"
#include "migrate.h"

#define SAID_AT_MOST 10

static uint32_t
pick(struct mover *mover, uint32_t below)
{
	mover->random = mover->random * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)mover->random * below >> 32);
}

static void
drive_or_rest(struct driver *driver, enum drive wanted)
{
	atomic_store_explicit(&driver->wanted, wanted, memory_order_release);
	while (atomic_load_explicit(&driver->rests, memory_order_acquire) != (wanted == REST))
		sched_yield();
}

/* Wait until some frames have moved, or a second has passed. */
static void
let_frames_move(struct mover *mover, uint64_t frames)
{
	uint64_t begin = front_nanoseconds();
	uint64_t until = atomic_load_explicit(&mover->driver.received, memory_order_relaxed) +
		frames;

	while (atomic_load_explicit(&mover->driver.received, memory_order_relaxed) < until &&
			front_nanoseconds() - begin < 1000000000)
		sched_yield();
}

/* The rings' addresses say whether the back-end notes what it writes to the rings themselves. */
static int
tell_addresses(struct mover *mover)
{
	int error = front_set_addresses(&mover->front, MIGRATE_RECEIVE, &mover->driver.receive);

	return error != 0 ? error :
		front_set_addresses(&mover->front, MIGRATE_TRANSMIT, &mover->driver.transmit);
}

static int
switch_log(struct mover *mover, bool on)
{
	uint64_t bit = VHU_BIT(VHU_F_LOG_ALL);

	return front_change_features(&mover->front,
		(mover->front.features & ~bit) | (on ? bit : 0));
}

static int
start_rings(struct mover *mover, const uint32_t base[2])
{
	int error = front_start_at(&mover->front, MIGRATE_RECEIVE, &mover->driver.receive,
		base[MIGRATE_RECEIVE]);

	return error != 0 ? error : front_start_at(&mover->front, MIGRATE_TRANSMIT,
		&mover->driver.transmit, base[MIGRATE_TRANSMIT]);
}

static int
stop_rings(struct mover *mover, uint32_t base[2])
{
	unsigned int i;
	int error = 0;

	/* Some front-ends disable first. */
	for (i = 0; i < 2 && error == 0 && pick(mover, 2) == 0; i++)
		error = front_enable(&mover->front, i, false);
	for (i = 0; i < 2 && error == 0; i++)
		error = front_stop(&mover->front, i, &base[i]);
	return error;
}

static int
new_log(struct mover *mover, struct log *log)
{
	/* Each has another size, as after memory was added or taken away. */
	int error = log_create(log, &mover->memory, pick(mover, 4));

	if (error == 0) {
		error = front_set_log(&mover->front, log->fd, log->size);
		mover->logs++;
	}
	return error;
}

/* As QEMU begins where rings run. */
static int
begin_running(struct mover *mover)
{
	int error = new_log(mover, &mover->log);

	if (error == 0)
		error = switch_log(mover, true);
	return error != 0 ? error : tell_addresses(mover);
}

/* As QEMU starts a device while a migration is under way: the log comes last. */
static int
begin_with_start(struct mover *mover)
{
	uint32_t base[2];
	int error = stop_rings(mover, base);

	if (error == 0)
		error = switch_log(mover, true);
	/* All that the back-end writes from here on has to be marked. */
	copy_all(&mover->copy, 0);
	if (error == 0)
		error = start_rings(mover, base);
	let_frames_move(mover, pick(mover, 200));
	return error != 0 ? error : new_log(mover, &mover->log);
}

/* Another log in the middle, as when memory grows; what is in the old one still counts. */
static int
replace_log(struct mover *mover)
{
	struct log old = mover->log;
	int error = new_log(mover, &mover->log);

	copy_marked(&mover->copy, &old);
	let_frames_move(mover, pick(mover, 200));
	/* After the acknowledgement nobody may mark there. */
	mover->late += copy_marked(&mover->copy, &old);
	log_destroy(&old);
	return error;
}

static int
copy_in_rounds(struct mover *mover)
{
	unsigned int rounds = pick(mover, 5);
	int error = 0;

	while (rounds-- != 0 && error == 0) {
		if (pick(mover, 4) == 0)
			error = replace_log(mover);
		copy_marked(&mover->copy, &mover->log);
		let_frames_move(mover, pick(mover, 400));
	}
	return error;
}

static int
give_up(struct mover *mover)
{
	int error = switch_log(mover, false);

	if (error == 0)
		error = tell_addresses(mover);
	/* Its bits do not matter any more. */
	log_destroy(&mover->log);
	let_frames_move(mover, pick(mover, 400));
	mover->cancelled++;
	return error;
}

/* The guest stops here, and all of it has to be there. */
static int
arrive(struct mover *mover)
{
	struct difference difference;
	uint64_t differing;
	uint32_t base[2];
	int error;

	drive_or_rest(&mover->driver, REST);
	/* Meanwhile the back-end goes on with what it was given. */
	copy_driver_pages(&mover->copy);
	error = stop_rings(mover, base);
	if (error != 0)
		return error;
	copy_marked(&mover->copy, &mover->log);
	differing = copy_compare(&mover->copy, &difference);
	if (differing != 0 && mover->differing++ < SAID_AT_MOST)
		fprintf(stderr, "journey %" PRIu64 ": %" PRIu64 " pages differ, the first at 0x%"
			PRIx64 ", from byte %u on, %u bytes of it\n",
			mover->cancelled + mover->arrived, differing, difference.guest_address,
			difference.offset, difference.bytes);
	mover->arrived++;
	error = switch_log(mover, false);
	log_destroy(&mover->log);
	if (error == 0)
		error = start_rings(mover, base);
	drive_or_rest(&mover->driver, DRIVE);
	return error;
}

int
migrate_journey(struct mover *mover)
{
	uint64_t pages = mover->memory.count * mover->memory.region_size / MIGRATE_PAGE;
	int error;

	if (pick(mover, 4) == 0) {
		error = begin_with_start(mover);
	} else {
		error = begin_running(mover);
		copy_all(&mover->copy, pick(mover, (uint32_t)pages));
	}
	if (error == 0)
		error = copy_in_rounds(mover);
	if (error != 0)
		return error;
	return pick(mover, 3) == 0 ? arrive(mover) : give_up(mover);
}
