/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * The floor: what it costs two cores of this machine to hand the same bytes to one another with
 * nothing around them. A single-producer, single-consumer ring of slots; a slot is a frame, and has
 * a word in an array beside it: the frame's length, and the lap that it was filled in. So whoever
 * takes frames waits for one line at most before all of a burst are on their way, as there is no
 * index to look at first; how far he is, which an index tells, interests the other side only once
 * in a lap. A header that nobody reads does not have to move, so there is none; where offloads are
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

#define LINE 64u
/* Frames that the guest's side handles at a time. */
#define GUEST_BURST 64
/* An odd number of lines, as mbufs have. */
#define PRIVATE_STRIDE (147 * LINE)
/* Lines between slots, at least. */
#define GAP 2
/* What a slot of a receive ring holds where frames may be spread over several. */
#define MERGEABLE_SLOT 2048u
/* In a slot's word, beside the length. */
#define LAP (UINT64_C(1) << 63)

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CLONES
#endif

/* Where a side is. */
struct place {
	uint32_t at;            /* slot */
	uint32_t count;         /* slots since the beginning; runs free */
	uint64_t lap;           /* LAP or 0: of words filled in this lap */
};

struct direction {
	uint8_t *slots;
	uint64_t *words;        /* of the slots: written by the producer, read by the consumer */
	uint64_t stride;
	uint32_t size;          /* slots */
	uint32_t header;        /* bytes in front of the frame: a line, or 0 */
	uint32_t lines;         /* that a slot uses */
	uint32_t *consumed;     /* written by the consumer, read by the producer */
	/* Private to each side, in lines of their own as well. */
	struct place consumer __rte_cache_aligned;
	struct place producer __rte_cache_aligned;
	uint32_t seen;          /* producer: of consumed */
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
	return direction->slots + at * direction->stride;
}

static int
create_direction(struct direction *direction, struct front_memory *memory,
	const struct perf_row *row, bool headers, uint32_t size)
{
	uint64_t lines = (perf_longest(row) + LINE - 1) / LINE + headers;
	/* Two lines: processors fetch neighbours. */
	uint8_t *consumed = front_memory_take(memory, 0, 128, 128);

	memset(direction, 0, sizeof(*direction));
	direction->size = size;
	direction->header = headers ? LINE : 0;
	direction->lines = (uint32_t)lines;
	/*
	 * What processors fetch ahead of a copy must not be the next slot, which the other side may
	 * be about to write: buffers of a driver are apart as well.
	 */
	direction->stride = ((lines + GAP) | 1) * LINE;
	direction->slots = front_memory_take(memory, 0, size * direction->stride, 64);
	direction->words = front_memory_take(memory, 0, size * sizeof(uint64_t), 128);
	if (consumed == NULL || direction->slots == NULL || direction->words == NULL)
		return -1;
	memset(direction->words, 0, size * sizeof(uint64_t));
	memset(consumed, 0, sizeof(uint32_t));
	direction->consumed = (uint32_t *)consumed;
	direction->consumer.lap = direction->producer.lap = LAP;
	return 0;
}

/* As many frames as the driver's ring holds, so that as much memory is in use. */
static uint32_t
slots_to_guest(const struct perf_row *row)
{
	bool spread = (row->features & UINT64_C(1) << VIRTIO_NET_F_MRG_RXBUF) != 0;
	uint32_t each = spread ? (perf_longest(row) + MERGEABLE_SLOT - 1) / MERGEABLE_SLOT : 1;

	return PERF_RING / each;
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
			create_direction(&floor->to_back, memory, row, row->offloads,
				PERF_RING) != 0 ||
			create_direction(&floor->to_guest, memory, row, false,
				slots_to_guest(row)) != 0) {
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

static void
advance(const struct direction *direction, struct place *place, uint32_t count)
{
	place->count += count;
	place->at += count;
	if (place->at == direction->size) {
		place->at = 0;
		place->lap ^= LAP;
	}
}

/* Slots up to the end of the ring, at most @count. */
static inline uint32_t
straight(const struct direction *direction, const struct place *place, uint32_t count)
{
	return RTE_MIN(direction->size - place->at, count);
}

/* The length of the next frame but @ahead; false: it is not there. */
static inline bool
waits(const struct direction *direction, uint32_t ahead, uint32_t *length)
{
	const struct place *place = &direction->consumer;
	/* Partner: publish(). */
	uint64_t word = __atomic_load_n(&direction->words[place->at + ahead], __ATOMIC_ACQUIRE);

	*length = (uint32_t)word;
	return (word & LAP) == place->lap;
}

/* How many slots the producer may fill, at most @count. */
static inline uint32_t
empty(struct direction *direction, uint32_t count)
{
	uint32_t there = direction->size - (direction->producer.count - direction->seen);

	if (there < count) {
		/* Partner: release(). */
		direction->seen = __atomic_load_n(direction->consumed, __ATOMIC_ACQUIRE);
		there = direction->size - (direction->producer.count - direction->seen);
	}
	return straight(direction, &direction->producer, RTE_MIN(there, count));
}

/* Frames of these lengths are in the next slots. */
static inline void
publish(struct direction *direction, const uint32_t *lengths, uint32_t count)
{
	uint64_t *words = &direction->words[direction->producer.at];
	uint32_t i;

	for (i = 0; i < count; i++)
		__atomic_store_n(&words[i], direction->producer.lap | lengths[i],
			__ATOMIC_RELEASE);
	advance(direction, &direction->producer, count);
}

static inline void
release(struct direction *direction, uint32_t count)
{
	advance(direction, &direction->consumer, count);
	__atomic_store_n(direction->consumed, direction->consumer.count, __ATOMIC_RELEASE);
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

/*
 * Lines of each frame of a burst that are asked for before the first is used: the processor goes on
 * by itself from the second.
 */
static inline uint32_t
lines_ahead(const struct direction *direction)
{
	return RTE_MIN(direction->lines, 2u);
}

/* The back-end's receive: no mbufs, so the array is not used. */
static uint16_t
receive(struct perf_port *port, struct rte_mbuf **packets, uint16_t count)
{
	struct floor *floor = port->floor;
	struct direction *from = &floor->to_back;
	uint32_t most = straight(from, &from->consumer, count), ahead = lines_ahead(from);
	uint32_t there, i, line;

	(void)packets;
	for (there = 0; there < most && waits(from, there, &floor->length[there]); there++)
		for (line = 0; line < ahead; line++)
			rte_prefetch0(slot_of(from, from->consumer.at + there) + line * LINE);
	if (there == 0)
		return 0;
	for (i = 0; i < there; i++) {
		const uint8_t *slot = slot_of(from, from->consumer.at + i);

		if (from->header != 0)
			floor->claims |= *(const uint64_t *)slot;
		copy(floor->private + i * PRIVATE_STRIDE, slot + from->header, floor->length[i]);
	}
	release(from, there);
	return (uint16_t)there;
}

/* Transmit from the private buffers, beginning with this one, what fits in one go. */
static uint32_t
transmit_run(struct floor *floor, uint32_t first, uint32_t count)
{
	struct direction *to = &floor->to_guest;
	uint32_t there = empty(to, count), ahead = lines_ahead(to), i, line;
	uint32_t *lengths = &floor->length[first];

	for (i = 0; i < there; i += LINE / sizeof(uint64_t))
		front_prefetch_write(&to->words[to->producer.at + i]);
	for (i = 0; i < there; i++)
		for (line = 0; line < ahead; line++)
			front_prefetch_write(slot_of(to, to->producer.at + i) + line * LINE);
	for (i = 0; i < there; i++) {
		if (floor->row->work == PERF_TRANSMIT)
			lengths[i] = perf_length(floor->row, i);
		copy(slot_of(to, to->producer.at + i),
			floor->private + (first + i) * PRIVATE_STRIDE, lengths[i]);
	}
	publish(to, lengths, there);
	return there;
}

static uint16_t
transmit(struct perf_port *port, struct rte_mbuf **packets, uint16_t count)
{
	uint32_t done = 0, run;

	(void)packets;
	do {
		run = transmit_run(port->floor, done, count - done);
		done += run;
	} while (run > 0 && done < count);
	return (uint16_t)done;
}

/* The guest's side, as long as the slice lasts: it touches frames only if it is to. */
static uint32_t
guest_receives(struct floor *floor, struct perf_slice *slice)
{
	struct direction *from = &floor->to_guest;
	bool touch = slice->row->touch || slice->check;
	uint32_t most = straight(from, &from->consumer, GUEST_BURST), there, i;
	uint32_t lengths[GUEST_BURST];

	for (there = 0; there < most && waits(from, there, &lengths[there]); there++)
		if (touch)
			rte_prefetch0(slot_of(from, from->consumer.at + there));
	for (i = 0; i < there; i++) {
		struct front_frame frame = { .data = slot_of(from, from->consumer.at + i),
			.length = lengths[i] };

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
	uint32_t there = empty(to, (uint32_t)RTE_MIN(most, (uint64_t)GUEST_BURST)), i;
	uint32_t lengths[GUEST_BURST];

	for (i = 0; i < there && (touch || to->header != 0); i++)
		front_prefetch_write(slot_of(to, to->producer.at + i));
	for (i = 0; i < there; i++) {
		uint8_t *slot = slot_of(to, to->producer.at + i);
		struct front_frame frame = { .data = slot + to->header,
			.length = perf_length(slice->row, floor->sent) };

		lengths[i] = frame.length;
		if (to->header != 0)
			memset(slot, 0, FRONT_HEADER);
		if (touch)
			front_touch_write(&frame, 1, floor->sent);
		floor->sent++;
	}
	publish(to, lengths, there);
	slice->port->outstanding += there;
}

void
floor_front(struct perf_slice *slice, uint64_t end)
{
	struct floor *floor = slice->port->floor;
	enum perf_work work = slice->row->work;
	uint64_t window = work == PERF_LOOP ? perf_window(slice->row) :
		slice->row->window ? slice->row->window : PERF_RING;

	while (rte_rdtsc() < end) {
		if (work == PERF_LOOP)
			slice->port->outstanding -= guest_receives(floor, slice);
		else if (work == PERF_TRANSMIT)
			guest_receives(floor, slice);
		if (work == PERF_RECEIVE)
			slice->port->outstanding = floor->to_back.producer.count -
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
