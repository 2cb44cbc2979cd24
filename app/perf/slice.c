/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * One slice: the main lcore drives the guest's side for a while, the worker the back-end's.
 *
 * The back-end's time is stamped once for about 32 packets, not once a call, so that reading the
 * clock weighs the same for all and little for small bursts. Stamped stretches in which nothing
 * moved are idle time and count for nobody. Polls of an empty ring are stamped once for 1024.
 */

#include <string.h>

#include <rte_cycles.h>
#include <rte_lcore.h>
#include <rte_pause.h>

#include "perf.h"

/* Packets between two looks at the clock. */
#define STAMP 32
/* Polls of an empty ring between two looks: a look costs about as much as one of them. */
#define POLLS 1024
/* No stretch takes so long by itself: the scheduler had the core, so it counts for nobody. */
#define INTERRUPTION_US 1000
#define FRONT_BURST 64
/* Longest wait for the last frames of a check slice. */
#define SETTLE_SECONDS 5
/* Drivers with vector code refill this many at once. */
#define FIXED_BURST 64

enum { WORKER_WAITS, WORKER_RUNS, WORKER_STOPS, WORKER_ENDS };

/*
 * What the worker is to do. The main lcore writes RUNS, STOPS and ENDS, the worker answers STOPS
 * with WAITS; release and acquire make the slice's fields visible in both directions.
 */
static unsigned int worker_state;
static struct perf_slice *worker_slice;

static inline bool
stopping(void)
{
	return __atomic_load_n(&worker_state, __ATOMIC_RELAXED) != WORKER_RUNS;
}

static uint64_t
weigh(const uint8_t *bytes, uint32_t length, uint32_t from)
{
	uint64_t sum = 0;
	uint32_t i;

	for (i = 0; i < length; i++)
		sum += (uint64_t)bytes[i] * (from + i + 1);
	return sum;
}

/*
 * The share of the checksum field in that sum, where it is not the same on both sides: if segments
 * are asked for, some back-ends write the pseudo header's sum without the length, others with it.
 */
static uint64_t
weigh_field(const struct perf_row *row, const uint8_t *frame)
{
	return row->request != PERF_ASK_SEGMENTS ? 0 :
		weigh(frame + PERF_CHECKSUM_AT, sizeof(uint16_t), PERF_CHECKSUM_AT);
}

/* So that what is too much in one frame does not make up for what is too little in another. */
static uint64_t
mix(uint64_t weight)
{
	weight *= UINT64_C(0x9e3779b97f4a7c15);
	weight ^= weight >> 32;
	weight *= UINT64_C(0xd6e8feb86659fd93);
	return weight ^ weight >> 29;
}

/* A sum over frames, in which each byte counts by its place in the frame. */
static uint64_t
weigh_packets(const struct perf_row *row, struct rte_mbuf **packets, uint16_t count)
{
	uint64_t sum = 0;
	uint16_t i;

	for (i = 0; i < count; i++) {
		const struct rte_mbuf *segment = packets[i];
		uint64_t frame = -weigh_field(row, rte_pktmbuf_mtod(segment, const uint8_t *));
		uint32_t at = 0;

		for (; segment != NULL; at += segment->data_len, segment = segment->next)
			frame += weigh(rte_pktmbuf_mtod(segment, const uint8_t *),
				segment->data_len, at);
		sum += mix(frame);
	}
	return sum;
}

/* Make @count frames of the row from mbufs whose bytes are whatever they were. */
static uint16_t
generate(struct perf_slice *slice, struct rte_mbuf **packets, uint16_t count)
{
	struct rte_mempool *pool = slice->port->mempool;
	uint16_t room = (uint16_t)(rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM), i;

	if (rte_pktmbuf_alloc_bulk(pool, packets, count) != 0)
		return 0;
	for (i = 0; i < count; i++) {
		uint32_t length = perf_length(slice->row, i), left = length;
		struct rte_mbuf *last = packets[i];

		last->data_len = (uint16_t)RTE_MIN(left, room);
		last->pkt_len = length;
		while ((left -= last->data_len) > 0) {
			struct rte_mbuf *next = rte_pktmbuf_alloc(pool);

			if (next == NULL)
				break;
			next->data_len = (uint16_t)RTE_MIN(left, room);
			last->next = next;
			last = next;
			packets[i]->nb_segs++;
		}
		packets[i]->pkt_len = length - left;
		if (slice->row->request != PERF_ASK_NOTHING) {
			perf_request_frame(slice->row, rte_pktmbuf_mtod(packets[i], uint8_t *));
			perf_request_mbuf(slice->row, packets[i]);
		}
	}
	return count;
}

static bool
is_floor(const struct perf_slice *slice)
{
	return slice->port->backend == &perf_floor;
}

static uint16_t
do_receive(struct perf_slice *slice, struct rte_mbuf **packets)
{
	uint16_t count = slice->port->backend->receive(slice->port, packets, slice->row->burst);

	if (count == 0 || is_floor(slice))
		return count;
	if (slice->check)
		slice->back.sum += weigh_packets(slice->row, packets, count);
	rte_pktmbuf_free_bulk(packets, count);
	return count;
}

/*
 * Frames that the ring had no room for are kept for the next call, so that a call costs what its
 * packets cost.
 */
static uint16_t
do_transmit(struct perf_slice *slice, struct rte_mbuf **packets, uint16_t *kept)
{
	uint16_t burst = slice->row->burst, sent;
	uint64_t sums[PERF_MAX_BURST];

	if (is_floor(slice))
		return slice->port->backend->transmit(slice->port, packets, burst);
	if (*kept < burst)
		*kept = (uint16_t)(*kept + generate(slice, packets + *kept,
			(uint16_t)(burst - *kept)));
	if (slice->check)
		for (sent = 0; sent < *kept; sent++)
			sums[sent] = weigh_packets(slice->row, &packets[sent], 1);
	sent = slice->port->backend->transmit(slice->port, packets, *kept);
	*kept = (uint16_t)(*kept - sent);
	if (slice->check)
		for (uint16_t i = 0; i < sent; i++)
			slice->back.sum_back += sums[i];
	if (*kept > 0)
		memmove(packets, packets + sent, *kept * sizeof(packets[0]));
	return sent;
}

static uint16_t
do_loop(struct perf_slice *slice, struct rte_mbuf **packets)
{
	struct perf_port *port = slice->port;
	uint16_t count = port->backend->receive(port, packets, slice->row->burst);
	uint16_t sent = 0, tries;

	if (count == 0)
		return 0;
	if (is_floor(slice))
		return port->backend->transmit(port, packets, count);
	if (slice->check)
		slice->back.sum += weigh_packets(slice->row, packets, count);
	for (uint16_t i = 0; slice->row->request != PERF_ASK_NOTHING && i < count; i++)
		perf_request_mbuf(slice->row, packets[i]);
	/* The driver sends no more than it has room for, so one call should do. */
	for (tries = 0; tries < 100 && sent < count; tries++)
		sent = (uint16_t)(sent + port->backend->transmit(port, packets + sent,
			(uint16_t)(count - sent)));
	if (sent < count) {
		rte_pktmbuf_free_bulk(packets + sent, count - sent);
		slice->back.dropped += (uint64_t)(count - sent);
	}
	return count;
}

static void
poll_idle(struct perf_slice *slice, struct rte_mbuf **packets)
{
	for (uint16_t i = 0; i < slice->row->idle; i++) {
		uint16_t count = slice->idle[i].backend->receive(&slice->idle[i], packets,
			slice->row->burst);

		rte_pktmbuf_free_bulk(packets, count);
	}
}

/* Calls that find nothing. */
static void
run_empty(struct perf_slice *slice)
{
	struct rte_mbuf *packets[PERF_MAX_BURST];
	struct perf_count *count = &slice->back;
	uint64_t begin = rte_rdtsc(), last = begin, now;
	uint64_t interruption = rte_get_tsc_hz() / 1000000 * INTERRUPTION_US;
	uint16_t burst = slice->row->burst;

	while (!stopping()) {
		slice->port->backend->poll(slice->port, packets, burst, POLLS);
		now = rte_rdtsc();
		if (now - last > interruption) {
			count->interrupted += now - last;
		} else {
			count->busy_cycles += now - last;
			count->packets += POLLS;
		}
		last = now;
	}
	count->cycles = rte_rdtsc() - begin - count->interrupted;
}

static uint16_t
step(struct perf_slice *slice, struct rte_mbuf **packets, uint16_t *kept)
{
	poll_idle(slice, packets + PERF_MAX_BURST);
	switch (slice->row->work) {
	case PERF_TRANSMIT: return do_transmit(slice, packets, kept);
	case PERF_LOOP: return do_loop(slice, packets);
	default: return do_receive(slice, packets);
	}
}

static void
run_back(struct perf_slice *slice)
{
	struct rte_mbuf *packets[2 * PERF_MAX_BURST];
	uint32_t calls = RTE_MAX(STAMP / slice->row->burst, 1), i;
	struct perf_count *count = &slice->back;
	uint64_t begin = rte_rdtsc(), last = begin, now;
	uint64_t interruption = rte_get_tsc_hz() / 1000000 * INTERRUPTION_US;
	uint16_t kept = 0;

	while (!stopping()) {
		uint32_t moved = 0;

		for (i = 0; i < calls; i++) {
			uint16_t each = step(slice, packets, &kept);

			moved += each;
			count->calls += each > 0;
		}
		now = rte_rdtsc();
		if (now - last > interruption) {
			count->interrupted += now - last;
		} else if (moved > 0) {
			count->busy_cycles += now - last;
			count->packets += moved;
		}
		last = now;
	}
	count->cycles = rte_rdtsc() - begin - count->interrupted;
	rte_pktmbuf_free_bulk(packets, kept);
}

int
perf_worker(void *argument)
{
	unsigned int state;

	(void)argument;
	while ((state = __atomic_load_n(&worker_state, __ATOMIC_ACQUIRE)) != WORKER_ENDS) {
		if (state == WORKER_RUNS && worker_slice->row->work == PERF_EMPTY)
			run_empty(worker_slice);
		else if (state == WORKER_RUNS)
			run_back(worker_slice);
		if (state != WORKER_WAITS && __atomic_load_n(&worker_state, __ATOMIC_ACQUIRE) ==
				WORKER_STOPS)
			__atomic_store_n(&worker_state, WORKER_WAITS, __ATOMIC_RELEASE);
		rte_pause();
	}
	return 0;
}

void
perf_worker_end(void)
{
	__atomic_store_n(&worker_state, WORKER_ENDS, __ATOMIC_RELEASE);
}

/* The driver's side. */

static uint64_t
weigh_frames(const struct perf_row *row, const struct front_frame *frames, uint32_t count)
{
	uint64_t sum = 0, frame = 0;
	uint32_t i, at = 0;

	for (i = 0; i < count; i++) {
		/* The first buffer of a frame has the number of them. */
		if (frames[i].buffers > 0) {
			sum += i > 0 ? mix(frame) : 0;
			frame = -weigh_field(row, frames[i].data);
			at = 0;
		}
		frame += weigh(frames[i].data, frames[i].length, at);
		at += frames[i].length;
	}
	return count > 0 ? sum + mix(frame) : 0;
}

/* Take what has come, count frames, give the buffers back. */
static uint32_t
receive_frames(struct perf_slice *slice)
{
	struct front_frame frames[FRONT_BURST];
	uint32_t entries = front_receive(&slice->port->receive, frames, FRONT_BURST), i;
	uint32_t whole = 0;
	uint64_t bytes = 0;

	for (i = 0; i < entries; i++) {
		whole += frames[i].buffers > 0;
		bytes += frames[i].length;
	}
	if (slice->check)
		slice->front.sum_back += weigh_frames(slice->row, frames, entries);
	else if (slice->row->touch)
		slice->front.sum += front_touch_read(frames, entries);
	front_post(&slice->port->receive, frames, entries);
	slice->front.packets += whole;
	slice->front.bytes += bytes;
	return whole;
}

static uint32_t
send_frames(struct perf_slice *slice, uint64_t most)
{
	struct front_ring *ring = &slice->port->send;
	struct front_frame frames[FRONT_BURST];
	uint32_t count = (uint32_t)RTE_MIN(most, (uint64_t)FRONT_BURST), i;

	if (slice->row->fixed && slice->row->window == 0 && front_free(ring) < FIXED_BURST &&
			front_free(ring) + front_collect(ring) < FIXED_BURST)
		return 0;
	count = front_take(ring, frames, count);
	for (i = 0; i < count; i++) {
		frames[i].length = perf_length(slice->row, slice->front.calls + i);
		slice->front.bytes += slice->row->work == PERF_RECEIVE ? frames[i].length : 0;
	}
	if (slice->check || slice->row->touch) {
		front_touch_write(frames, count, slice->front.calls);
		for (i = 0; slice->row->request != PERF_ASK_NOTHING && i < count; i++)
			perf_request_frame(slice->row, frames[i].data);
	}
	if (slice->check)
		slice->front.sum += weigh_frames(slice->row, frames, count);
	slice->front.calls += count;
	front_post(ring, frames, count);
	return count;
}

uint64_t
perf_window(const struct perf_row *row)
{
	uint64_t window = row->window ? row->window : PERF_WINDOW;

	/* Of frames in more buffers than one, the ring has room for fewer. */
	return perf_longest(row) > 2048 ? RTE_MIN(window, (uint64_t)PERF_RING / 8) : window;
}

static void
run_loop(struct perf_slice *slice, uint64_t end)
{
	uint64_t window = perf_window(slice->row);
	struct perf_port *port = slice->port;

	while (rte_rdtsc() < end) {
		port->outstanding -= receive_frames(slice);
		if (port->outstanding < window)
			port->outstanding += send_frames(slice, window - port->outstanding);
	}
}

static void
run_receive(struct perf_slice *slice, uint64_t end)
{
	struct front_ring *ring = &slice->port->send;
	uint32_t window = slice->row->window ? slice->row->window : ring->slots;

	while (rte_rdtsc() < end) {
		front_collect(ring);
		if (ring->slots - front_free(ring) < window)
			send_frames(slice, window - (ring->slots - front_free(ring)));
	}
}

static void
run_front(struct perf_slice *slice, uint64_t end)
{
	switch (slice->row->work) {
	case PERF_LOOP:
		run_loop(slice, end);
		break;
	case PERF_RECEIVE:
		run_receive(slice, end);
		break;
	case PERF_TRANSMIT:
		while (rte_rdtsc() < end)
			receive_frames(slice);
		break;
	case PERF_EMPTY:
		while (rte_rdtsc() < end)
			rte_pause();
		break;
	}
}

/* Let what is under way arrive while the back-end still works. */
static void
settle(struct perf_slice *slice)
{
	uint64_t end = rte_rdtsc() + SETTLE_SECONDS * rte_get_tsc_hz();
	struct perf_port *port = slice->port;

	while (rte_rdtsc() < end && slice->row->work != PERF_TRANSMIT) {
		if (slice->row->work == PERF_LOOP)
			port->outstanding -= receive_frames(slice);
		front_collect(&port->send);
		if (slice->row->work == PERF_LOOP ? port->outstanding == 0 :
				front_free(&port->send) == port->send.slots)
			break;
	}
}

void
perf_slice_run(struct perf_slice *slice)
{
	bool guest = slice->port->backend != &perf_floor;
	uint64_t end;

	memset(&slice->front, 0, sizeof(slice->front));
	memset(&slice->back, 0, sizeof(slice->back));
	worker_slice = slice;
	__atomic_store_n(&worker_state, WORKER_RUNS, __ATOMIC_RELEASE);
	end = rte_rdtsc() + slice->ticks;
	if (guest)
		run_front(slice, end);
	else
		floor_front(slice, end);
	if (guest && slice->check)
		settle(slice);
	__atomic_store_n(&worker_state, WORKER_STOPS, __ATOMIC_RELEASE);
	while (__atomic_load_n(&worker_state, __ATOMIC_ACQUIRE) != WORKER_WAITS)
		rte_pause();
	/* What was received stays nobody's: the buffers are those of the next slice as well. */
	while (guest && slice->row->work != PERF_RECEIVE && slice->row->work != PERF_EMPTY) {
		uint32_t got = receive_frames(slice);

		if (slice->row->work == PERF_LOOP)
			slice->port->outstanding -= got;
		if (got == 0)
			break;
	}
	if (slice->row->work == PERF_LOOP)
		slice->port->outstanding -= RTE_MIN(slice->port->outstanding, slice->back.dropped);
}
