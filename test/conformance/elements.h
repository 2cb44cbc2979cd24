/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef CONFORMANCE_ELEMENTS_H
#define CONFORMANCE_ELEMENTS_H

/**
 * @file
 * A device that does what its driver tells it: each request names an operation, so that a test can
 * let it hold requests, complete them in any order, ask the front-end for something, or die.
 *
 * A request's readable part begins with struct command; what follows is copied to the writable
 * part. Operations that ask the front-end leave the outcome there instead (int64_t, 0 or -errno)
 * when it is known.
 */

#include "dev/device.h"
#include "dev/requests.h"
#include "ring/element.h"

#define RINGS_MAX 8
#define CONFIG_SIZE 64
/* The guest may write the first half of the configuration. */
#define CONFIG_WRITABLE 32
#define NOTIFIER_SIZE 4096

enum operation {
	OP_ECHO = 0,
	OP_HOLD,             /* until released */
	OP_RELEASE,          /* the held one with this tag, then this one */
	OP_RELEASE_ALL,      /* oldest first */
	OP_CRASH,            /* end the process at once, without any cleaning up */
	OP_TWICE,            /* give it back twice */
	OP_LONG,             /* say that more was written than there was room for */
	OP_UNTAKE,           /* put it back once before it is served */
	OP_CONFIG_CHANGED,
	OP_NOTIFIER_SET,     /* argument: ring */
	OP_NOTIFIER_REMOVE,
	OP_OBJECT_ADD,       /* data: name */
	OP_OBJECT_REMOVE,
	OP_OBJECT_LOOKUP,
	OP_SHMEM_MAP,        /* argument: offset and size of the part */
	OP_SHMEM_UNMAP,
	OP_STATE,            /* the state to save has this many bytes */
};

struct command {
	uint32_t operation;
	uint32_t tag;
	uint64_t argument;
	uint8_t data[VHU_UUID_SIZE];
};

/* A request that is kept. */
struct held {
	struct held *next;
	struct machine *machine;
	struct command command;
	struct vhu_element element;
	const void *map;         /* guest memory as it was when the request was taken */
	uint16_t ring;
	struct iovec segments[];
};

/* The device. Everything runs on one thread. */
struct machine {
	struct vhu_device *device;
	struct vhu_element_queue queues[RINGS_MAX];
	struct vhu_ring *rings[RINGS_MAX];
	void *memory[RINGS_MAX];
	uint16_t ring_count;
	uint32_t untaken;        /* tag + 1 of the request that was put back last */
	struct held *held;       /* oldest first */
	uint8_t config[CONFIG_SIZE];
	uint8_t *state;
	size_t state_size;
	int file;                /* what is handed to the front-end */
};

/* The operations of the device that concern requests; main fills in the others. */
void machine_init(struct machine *machine, uint16_t ring_count);
void machine_free(struct machine *machine);
void machine_ops(struct vhu_device_ops *ops);
/* Serve what waits in all rings. */
void machine_poll(struct machine *machine);

#endif /* CONFORMANCE_ELEMENTS_H */
