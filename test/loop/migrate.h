/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_TEST_MIGRATE_H
#define VHU_TEST_MIGRATE_H

/*
 * What the files of vhu-migrate share.
 *
 * One thread drives the rings, as a guest would; the other pretends to be a front-end that migrates
 * it: it copies memory while frames move and keeps the copy up to date from the log alone. What the
 * driver itself writes is not in the log, so those pages are copied when it rests: from then on
 * only the back-end writes to them, and has to say so.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver.h"
#include "front.h"
#include "memory.h"

#define MIGRATE_RECEIVE 0u
#define MIGRATE_TRANSMIT 1u
#define MIGRATE_PAGE 4096u

/* A log, as handed to the back-end. */
struct log {
	int fd;
	uint64_t size;         /* bytes */
	uint64_t *words;
};

/* Memory of the guest as it would arrive. */
struct copy {
	const struct front_memory *memory;
	uint8_t *bytes;        /* as many as the memory has */
	bool *driver_writes;   /* one per page: not only the back-end does */
	uint64_t marked;       /* pages taken from the log */
	uint64_t outside;      /* bits of the log that stand for no page of memory */
};

/* A page that did not arrive as it was. */
struct difference {
	uint64_t guest_address;
	unsigned int offset;   /* of its first byte that differs */
	unsigned int bytes;    /* that differ */
};

struct options {
	const char *path;
	uint64_t seconds;
	bool packed, in_order, mergeable;
	uint32_t seed;
};

enum drive { DRIVE, REST, END };

/* The thread that is the guest. */
struct driver {
	struct front_ring receive, transmit;
	uint64_t sequence;
	_Atomic(uint64_t) received;   /* driver: writes; main: reads */
	_Atomic(enum drive) wanted;   /* main: writes; driver: reads */
	_Atomic(bool) rests;          /* driver: writes; main: reads */
};

struct mover {
	const struct options *options;
	struct front front;
	struct front_memory memory;
	struct driver driver;
	struct copy copy;
	struct log log;
	uint32_t random;
	uint64_t cancelled, arrived, logs, differing, late;
	const char *skipped;
};

/* One migration, to its end or given up. @return 0 or a negative errno, as the front-end says. */
int migrate_journey(struct mover *mover);

/* A log for this memory, @p spare pages larger than needed. @return 0 or a negative errno. */
int log_create(struct log *log, const struct front_memory *memory, uint64_t spare);
void log_destroy(struct log *log);

int copy_create(struct copy *copy, const struct front_memory *memory);
void copy_destroy(struct copy *copy);
/* Note which pages the driver of this ring writes to. */
void copy_expect_driver(struct copy *copy, const struct front_ring *ring);
/* Copy every page, beginning with this one. */
void copy_all(struct copy *copy, uint64_t first);
/* Copy what the driver writes to; it rests. */
void copy_driver_pages(struct copy *copy);
/* Take what is marked and copy it. @return how many pages. */
uint64_t copy_marked(struct copy *copy, struct log *log);
/* @return how many pages differ; the first of them goes to @p difference. */
uint64_t copy_compare(const struct copy *copy, struct difference *difference);

#endif /* VHU_TEST_MIGRATE_H */
