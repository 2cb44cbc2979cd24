/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * The floor: what it costs two cores of this machine to hand the same bytes to one another with
 * nothing around them. A single-producer, single-consumer ring of slots; a slot is a frame, whose
 * length is in an array beside it; an index tells how far the producer is, another how far the
 * consumer. A header that nobody reads does not have to move, so there is none; where offloads are
 * negotiated, the guest's side writes one for each frame, into a line of its own as in DPDK's
 * mbufs, and the back-end's side reads it. The back-end's side prefetches a burst and copies it to
 * (or from) private buffers that stay in its cache, as mbufs of a busy pool do. No descriptors, no
 * mbufs, no addresses to translate.
 */

#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_malloc.h>
#include <rte_prefetch.h>

#include "perf.h"

#define MASK (PERF_RING - 1)
#define LINE 64u
/* An odd number of lines, as mbufs have. */
#define PRIVATE_STRIDE (147 * LINE)

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CLONES
#endif

struct direction {
	uint8_t *slots;
	uint32_t *lengths;      /* of the frames in the slots */
	uint64_t stride;
	uint32_t header;        /* bytes in front of the frame: a line, or 0 */
	uint32_t lines;         /* that a slot uses */
	/* Each index in a line of its own: written by one side, read by the other. */
	uint32_t *produced;
	uint32_t *consumed;
	/* Private to each side, in lines of their own as well. */
	struct {
		uint32_t at, other;
	} __rte_cache_aligned producer, consumer;
};

struct floor {
	struct direction to_back, to_guest;
	uint8_t *private;
	uint32_t length[PERF_MAX_BURST]; /* of the frames in the private buffers */
	uint64_t claims;        /* what headers have said, so that they are read */
	const struct perf_row *row;
	uint64_t sent;          /* guest's side */
};

static uint8_t *
slot_of(const struct direction *direction, uint32_t at)
{
	return direction->slots + (at & MASK) * direction->stride;
}

static int
create_direction(struct direction *direction, struct front_memory *memory,
	const struct perf_row *row, bool headers)
{
	uint64_t lines = (perf_longest(row) + LINE - 1) / LINE + headers;
	uint8_t *indices = front_memory_take(memory, 0, 256, 128);

	memset(direction, 0, sizeof(*direction));
	direction->header = headers ? LINE : 0;
	direction->lines = (uint32_t)lines;
	direction->stride = (lines | 1) * LINE;
	direction->slots = front_memory_take(memory, 0, PERF_RING * direction->stride, 64);
	direction->lengths = front_memory_take(memory, 0, PERF_RING * sizeof(uint32_t), 64);
	if (indices == NULL || direction->slots == NULL || direction->lengths == NULL)
		return -1;
	direction->produced = (uint32_t *)indices;
	direction->consumed = (uint32_t *)(indices + 128);
	return 0;
}

int
floor_create(struct perf_port *port, struct front_memory *memory, const struct perf_row *row)
{
	struct floor *floor = rte_zmalloc("floor", sizeof(*floor), 64);

	if (floor == NULL)
		return -1;
	floor->row = row;
	floor->private = rte_zmalloc("floor", PERF_MAX_BURST * PRIVATE_STRIDE, 64);
	port->floor = floor;
	if (floor->private == NULL ||
			create_direction(&floor->to_back, memory, row, row->offloads) != 0 ||
			create_direction(&floor->to_guest, memory, row, false) != 0) {
		floor_destroy(port);
		return -1;
	}
	return 0;
}

void
floor_destroy(struct perf_port *port)
{
	if (port->floor != NULL)
		rte_free(port->floor->private);
	rte_free(port->floor);
	port->floor = NULL;
}

/* How many slots the consumer may take, at most @count. */
static inline uint32_t
filled(struct direction *direction, uint32_t count)
{
	uint32_t there = direction->consumer.other - direction->consumer.at;

	if (there < count) {
		/* Partner: publish() of the producer. */
		direction->consumer.other = __atomic_load_n(direction->produced, __ATOMIC_ACQUIRE);
		there = direction->consumer.other - direction->consumer.at;
	}
	return RTE_MIN(there, count);
}

/* How many slots the producer may fill, at most @count. */
static inline uint32_t
empty(struct direction *direction, uint32_t count)
{
	uint32_t there = direction->producer.other + PERF_RING - direction->producer.at;

	if (there < count) {
		/* Partner: release() of the consumer. */
		direction->producer.other = __atomic_load_n(direction->consumed, __ATOMIC_ACQUIRE);
		there = direction->producer.other + PERF_RING - direction->producer.at;
	}
	return RTE_MIN(there, count);
}

static inline void
publish(struct direction *direction, uint32_t count)
{
	direction->producer.at += count;
	__atomic_store_n(direction->produced, direction->producer.at, __ATOMIC_RELEASE);
}

static inline void
release(struct direction *direction, uint32_t count)
{
	direction->consumer.at += count;
	__atomic_store_n(direction->consumed, direction->consumer.at, __ATOMIC_RELEASE);
}

static inline uint32_t *
length_of(const struct direction *direction, uint32_t at)
{
	return &direction->lengths[at & MASK];
}

/*
 * Whole lines, with the widest registers there are: what it was compiled for must not raise
 * the floor. Slots and private buffers end at a line.
 */
CLONES static void
copy(uint8_t *to, const uint8_t *from, uint32_t size)
{
	uint32_t at;

	for (at = 0; at < size; at += LINE)
		memcpy(to + at, from + at, LINE);
}

/* Lines of a burst that are asked for before the first is used; of a long frame only some. */
static inline uint32_t
lines_ahead(const struct direction *direction)
{
	return (uint32_t)RTE_MIN(direction->lines, 4u);
}

/* The back-end's receive: no mbufs, so the array is not used. */
static uint16_t
receive(struct perf_port *port, struct rte_mbuf **packets, uint16_t count)
{
	struct floor *floor = port->floor;
	struct direction *from = &floor->to_back;
	uint32_t there = filled(from, count), ahead = lines_ahead(from), i, line;

	(void)packets;
	if (there == 0)
		return 0;
	for (i = 0; i < there; i++)
		for (line = 0; line < ahead; line++)
			rte_prefetch0(slot_of(from, from->consumer.at + i) + line * LINE);
	for (i = 0; i < there; i++) {
		const uint8_t *slot = slot_of(from, from->consumer.at + i);

		floor->length[i] = *length_of(from, from->consumer.at + i);
		if (from->header != 0)
			floor->claims |= *(const uint64_t *)slot;
		copy(floor->private + i * PRIVATE_STRIDE, slot + from->header, floor->length[i]);
	}
	release(from, there);
	return (uint16_t)there;
}

static uint16_t
transmit(struct perf_port *port, struct rte_mbuf **packets, uint16_t count)
{
	struct floor *floor = port->floor;
	struct direction *to = &floor->to_guest;
	uint32_t there = empty(to, count), ahead = lines_ahead(to), i, line;
	bool generate = floor->row->work == PERF_TRANSMIT;

	(void)packets;
	for (i = 0; i < there; i++)
		for (line = 0; line < ahead; line++)
			front_prefetch_write(slot_of(to, to->producer.at + i) + line * LINE);
	for (i = 0; i < there; i++) {
		uint32_t length = generate ? perf_length(floor->row, i) : floor->length[i];

		*length_of(to, to->producer.at + i) = length;
		copy(slot_of(to, to->producer.at + i), floor->private + i * PRIVATE_STRIDE,
			length);
	}
	if (there > 0)
		publish(to, there);
	return (uint16_t)there;
}

/* The guest's side, as long as the slice lasts: it touches frames only if it is to. */
static uint32_t
guest_receives(struct floor *floor, struct perf_slice *slice)
{
	struct direction *from = &floor->to_guest;
	bool touch = slice->row->touch || slice->check;
	uint32_t there = filled(from, 64), i;

	for (i = 0; i < there && touch; i++)
		rte_prefetch0(slot_of(from, from->consumer.at + i));
	for (i = 0; i < there; i++) {
		uint32_t at = from->consumer.at + i;
		struct front_frame frame = { .data = slot_of(from, at),
			.length = *length_of(from, at) };

		slice->front.bytes += frame.length;
		if (touch)
			slice->front.sum += front_touch_read(&frame, 1);
	}
	if (there > 0)
		release(from, there);
	slice->front.packets += there;
	return there;
}

static void
guest_sends(struct floor *floor, struct perf_slice *slice, uint64_t most)
{
	struct direction *to = &floor->to_back;
	bool touch = slice->row->touch || slice->check;
	uint32_t there = empty(to, (uint32_t)RTE_MIN(most, 64u)), i;

	for (i = 0; i < there && (touch || to->header != 0); i++)
		front_prefetch_write(slot_of(to, to->producer.at + i));
	for (i = 0; i < there; i++) {
		uint32_t at = to->producer.at + i;
		struct front_frame frame = { .data = slot_of(to, at) + to->header,
			.length = perf_length(slice->row, floor->sent) };

		*length_of(to, at) = frame.length;
		if (to->header != 0)
			memset(slot_of(to, at), 0, FRONT_HEADER);
		if (touch)
			front_touch_write(&frame, 1, floor->sent);
		floor->sent++;
	}
	if (there > 0)
		publish(to, there);
	slice->port->outstanding += there;
}

void
floor_front(struct perf_slice *slice, uint64_t end)
{
	struct floor *floor = slice->port->floor;
	enum perf_work work = slice->row->work;
	uint64_t window = slice->row->window ? slice->row->window :
		work == PERF_LOOP ? PERF_WINDOW : PERF_RING;

	while (rte_rdtsc() < end) {
		if (work == PERF_LOOP)
			slice->port->outstanding -= guest_receives(floor, slice);
		else if (work == PERF_TRANSMIT)
			guest_receives(floor, slice);
		if (work == PERF_RECEIVE)
			slice->port->outstanding = floor->to_back.producer.at -
				__atomic_load_n(floor->to_back.consumed, __ATOMIC_RELAXED);
		if (work == PERF_LOOP || work == PERF_RECEIVE)
			guest_sends(floor, slice, window - slice->port->outstanding);
	}
}

/*
 * The floor has no ring to look at: it shows what the loop costs without a call, which is in the
 * figures of the others as well.
 */
static void
poll_empty(struct perf_port *port, struct rte_mbuf **packets, uint16_t count, uint32_t polls)
{
	(void)port;
	(void)packets;
	(void)count;
	while (polls-- != 0)
		rte_compiler_barrier();
}

const struct perf_backend perf_floor = {
	.name = "floor",
	.most_ports = 1,
	.receive = receive,
	.transmit = transmit,
	.poll = poll_empty,
};
