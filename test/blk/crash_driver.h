/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef BLK_CRASH_DRIVER_H
#define BLK_CRASH_DRIVER_H

/**
 * @file
 * A virtio-blk driver that knows what every block must hold, and survives its device.
 *
 * Each block is written with its number and a generation. At most one request for a block is under
 * way at a time, so there is exactly one thing that a block may hold: the last generation whose
 * write was completed. A write that is lost, and one that is executed again after a later one,
 * both show as a block of the wrong generation; a request that is completed twice, as a used entry
 * that belongs to nothing.
 */

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_blk.h>

#include "driver.h"
#include "front.h"

#define CRASH_BLOCK 4096u
#define CRASH_BLOCKS 1024u
#define CRASH_DEPTH 40u /* requests of a queue, three descriptors each */
#define CRASH_QUEUES_MAX 4

/** A request under way. */
struct crash_slot {
	bool busy;
	uint32_t type;
	uint32_t block;
	uint64_t generation;  /**< to be written, or that must be read */
};

struct crash_queue {
	struct front_ring ring;
	uint16_t used;        /**< split: used entries seen, runs free */
	struct virtio_blk_outhdr *headers;
	uint8_t *data;
	uint8_t *status;
	struct crash_slot slots[CRASH_DEPTH];
	unsigned int busy;
};

struct crash_disk {
	struct front_memory memory;
	bool packed;
	bool created;         /**< the rings are laid out */
	unsigned int queue_count;
	struct crash_queue queues[CRASH_QUEUES_MAX];
	uint64_t generation[CRASH_BLOCKS]; /**< of the last completed write */
	bool locked[CRASH_BLOCKS];         /**< a request is under way */
	uint64_t last_generation;
	uint64_t random;
	uint64_t writes, reads;            /**< completed */
	char error[200];                   /**< what went wrong; empty: nothing */
};

/** Lay memory and rings out. @return false: no memory. */
bool crash_disk_create(struct crash_disk *disk, unsigned int queues, bool packed, uint64_t seed);
/** Begin random writes and reads on every free slot of a queue. */
void crash_submit(struct crash_disk *disk, struct crash_queue *queue);
/** Begin one read of a block that is not locked. @return false: no slot is free. */
bool crash_read(struct crash_disk *disk, struct crash_queue *queue, uint32_t block);
/** Take completed requests and check them. @return how many. */
unsigned int crash_collect(struct crash_disk *disk, struct crash_queue *queue);
/** xorshift */
uint64_t crash_random(struct crash_disk *disk);

#endif /* BLK_CRASH_DRIVER_H */
