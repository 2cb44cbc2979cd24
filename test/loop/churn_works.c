/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "churn.h"
#include "clock.h"

/* Regions that hold rings and buffers; the others come and go. */
#define BUSY_REGIONS 4u
#define RECEIVE 0u
#define TRANSMIT 1u
/* A call may take that long on a busy machine. */
#define CALL_PATIENCE_NS UINT64_C(5000000000)
/* The first frame may take that long. */
#define PATIENCE_NS UINT64_C(10000000000)
/* Things change for that long, then they stay as they are for as long. */
#define SLICE_NS UINT64_C(50000000)

/* One run of one work. */
struct work {
	const struct churn_options *options;
	struct work_result *result;
	struct front front;
	struct front_memory memory;
	struct stream stream;
	unsigned int first_busy;
	uint32_t random;
	int calls[2];
	uint8_t *log;
	uint64_t log_size;
	int log_fd;
};

/* What a work needs, prepares, and does in each of its cycles. */
struct work_type {
	const char *name;
	unsigned int regions;
	uint64_t protocol;
	uint64_t features;
	bool interrupts;
	int (*prepare)(struct work *work);
	int (*cycle)(struct work *work);
	void (*finish)(struct work *work);
};

/* Nothing but frames for a time. */
static void
let_flow(struct work *work, uint64_t nanoseconds)
{
	uint64_t begin = front_nanoseconds();

	while (front_nanoseconds() - begin < nanoseconds)
		stream_round(&work->stream);
}

/* What the front-end does while it waits for an answer. */
static void
idle(void *argument)
{
	struct stream *stream = argument;

	stream_round(stream);
}

static uint32_t
pick(struct work *work, uint32_t below)
{
	work->random = work->random * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)work->random * below >> 32);
}

/* Take a region away that no frame is in, and bring it back. */
static int
cycle_regions(struct work *work)
{
	unsigned int count = work->memory.count;
	unsigned int busy = count < BUSY_REGIONS + 1 ? count - 1 : BUSY_REGIONS;
	unsigned int region = pick(work, count - busy);
	int error;

	if (region >= work->first_busy)
		region += busy;
	error = front_remove_region(&work->front, region);
	return error != 0 ? error : front_add_region(&work->front, region);
}

static int
cycle_table(struct work *work)
{
	return front_set_table(&work->front, work->memory.count);
}

static int
prepare_calls(struct work *work)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		work->calls[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (work->calls[i] < 0)
			return -errno;
		if (front_set_call(&work->front, i, work->calls[i]) != 0)
			return -EIO;
	}
	return 0;
}

static uint64_t
read_calls(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

/* Wait for a call. What was signalled on the old descriptor is said again on the new one. */
static void
await_call(struct work *work, int fd)
{
	struct pollfd look = { .fd = fd, .events = POLLIN };
	uint64_t begin = front_nanoseconds();

	while (poll(&look, 1, 0) != 1) {
		stream_round(&work->stream);
		if (front_nanoseconds() - begin < CALL_PATIENCE_NS)
			continue;
		work->result->missed_calls++;
		return;
	}
}

/*
 * A burst that began before the swap may still signal the old descriptor; it must not be lost for
 * that. From the acknowledgement on, which front_settle() has waited for, the old one must stay
 * silent, and the new one is signalled.
 */
static int
cycle_calls(struct work *work)
{
	int old[2], error;
	unsigned int i;

	memcpy(old, work->calls, sizeof(old));
	error = prepare_calls(work);
	if (error == 0)
		error = front_settle(&work->front);
	for (i = 0; i < 2; i++)
		work->result->calls += read_calls(old[i]);
	for (i = 0; i < 2; i++)
		await_call(work, work->calls[i]);
	let_flow(work, 50000);
	for (i = 0; i < 2; i++) {
		work->result->late_calls += read_calls(old[i]);
		close(old[i]);
	}
	return error;
}

static void
finish_calls(struct work *work)
{
	close(work->calls[0]);
	close(work->calls[1]);
}

static int
prepare_log(struct work *work)
{
	const struct front_memory *memory = &work->memory;
	uint64_t end = memory->regions[memory->count - 1].guest_address + memory->region_size;

	work->log_size = (end / 4096 / 8 + 4095) & ~UINT64_C(4095);
	work->log_fd = memfd_create("log", MFD_CLOEXEC);
	if (work->log_fd < 0 || ftruncate(work->log_fd, (off_t)work->log_size) != 0)
		return -errno;
	work->log = mmap(NULL, work->log_size, PROT_READ | PROT_WRITE, MAP_SHARED, work->log_fd,
		0);
	if (work->log == MAP_FAILED)
		return -errno;
	return front_set_log(&work->front, work->log_fd, work->log_size);
}

static int
switch_log(struct work *work, bool on)
{
	uint64_t bit = VHU_BIT(VHU_F_LOG_ALL), features = work->front.features & ~bit;
	int error = front_change_features(&work->front, features | (on ? bit : 0));

	if (error == 0)
		error = front_set_addresses(&work->front, RECEIVE, &work->stream.receive);
	if (error == 0)
		error = front_set_addresses(&work->front, TRANSMIT, &work->stream.send);
	return error != 0 ? error : front_settle(&work->front);
}

/* Log on, a moment of traffic, log off: pages must have been marked. */
static int
cycle_log(struct work *work)
{
	uint64_t i, word;
	int error = switch_log(work, true);

	let_flow(work, 200000);
	if (error == 0)
		error = switch_log(work, false);
	for (i = 0; i < work->log_size; i += sizeof(word)) {
		word = __atomic_exchange_n((uint64_t *)(work->log + i), 0, __ATOMIC_ACQUIRE);
		work->result->logged_pages += (uint64_t)__builtin_popcountll(word);
	}
	return error;
}

static void
finish_log(struct work *work)
{
	munmap(work->log, work->log_size);
	close(work->log_fd);
}

#define SLOTS VHU_BIT(VHU_PROTOCOL_CONFIGURE_MEM_SLOTS)

static const struct work_type types[] = {
	{ .name = "regions-8", .regions = 8, .protocol = SLOTS, .cycle = cycle_regions },
	{ .name = "regions-64", .regions = 64, .protocol = SLOTS, .cycle = cycle_regions },
	{ .name = "regions-509", .regions = 509, .protocol = SLOTS, .cycle = cycle_regions },
	{ .name = "table", .regions = 8, .cycle = cycle_table },
	{ .name = "call", .regions = 2, .interrupts = true, .prepare = prepare_calls,
		.cycle = cycle_calls, .finish = finish_calls },
	{ .name = "log", .regions = 4, .protocol = VHU_BIT(VHU_PROTOCOL_LOG_SHMFD),
		.features = VHU_BIT(VHU_F_LOG_ALL), .prepare = prepare_log, .cycle = cycle_log,
		.finish = finish_log },
};

const char *const churn_works[] = { "regions-8", "regions-64", "regions-509", "table", "call",
	"log", NULL };

static uint64_t
ring_features(const struct churn_options *options)
{
	return VHU_BIT(VIRTIO_F_VERSION_1) |
		(options->packed ? VHU_BIT(VIRTIO_F_RING_PACKED) : 0) |
		(options->in_order ? VHU_BIT(VIRTIO_F_IN_ORDER) : 0) |
		(options->mergeable ? VHU_BIT(VIRTIO_NET_F_MRG_RXBUF) : 0);
}

/* Why this back-end cannot be asked for the work, or NULL. */
static const char *
missing(struct work *work, const struct work_type *type)
{
	struct front *front = &work->front;
	uint64_t ring = ring_features(work->options);

	if ((front->offered & ring) != ring)
		return "the back-end does not offer this kind of ring";
	if ((front->offered & type->features) != type->features)
		return "the back-end does not offer LOG_ALL";
	if ((front->protocol & type->protocol) != type->protocol)
		return type->features ? "the back-end does not offer LOG_SHMFD" :
			"the back-end does not offer CONFIGURE_MEM_SLOTS";
	if (type->regions > front->slots)
		return "the back-end has fewer memory slots";
	return NULL;
}

static int
make_rings(struct work *work, const struct work_type *type)
{
	struct front_ring_options ring = {
		.size = CHURN_RING,
		.packed = work->options->packed,
		.in_order = work->options->in_order,
		.interrupts = type->interrupts,
		.buffer_size = 1600,
		.regions = type->regions > BUSY_REGIONS ? BUSY_REGIONS : type->regions - 1,
	};
	int error;

	work->first_busy = ring.first_region = (type->regions - ring.regions) / 2;
	error = front_ring_create(&work->stream.send, &work->memory, &ring);
	if (error != 0)
		return error;
	ring.receive = true;
	ring.mergeable = work->options->mergeable;
	error = front_ring_create(&work->stream.receive, &work->memory, &ring);
	if (error == 0)
		front_post_all(&work->stream.receive);
	return error;
}

static int
set_up(struct work *work, const struct work_type *type)
{
	struct front_memory_options memory = {
		.regions = type->regions,
		.region_size = UINT64_C(4) << 20,
		.guest_base = UINT64_C(1) << 30,
	};
	struct front *front = &work->front;
	int error;

	error = front_negotiate(front, ring_features(work->options),
		type->protocol | VHU_BIT(VHU_PROTOCOL_REPLY_ACK) | VHU_BIT(VHU_PROTOCOL_MQ));
	work->result->skipped = error == 0 ? missing(work, type) : NULL;
	if (error != 0 || work->result->skipped != NULL)
		return error;
	error = front_memory_create(&work->memory, &memory);
	if (error == 0)
		error = make_rings(work, type);
	if (error == 0)
		error = front_share(front, &work->memory, type->regions);
	if (error == 0)
		error = front_start(front, RECEIVE, &work->stream.receive);
	if (error == 0)
		error = front_start(front, TRANSMIT, &work->stream.send);
	if (error == 0)
		error = front_settle(front);
	return error;
}

/* The back-end may listen before it forwards. */
static int
await_stream(struct work *work)
{
	uint64_t begin = front_nanoseconds();

	while (work->stream.expected == 0) {
		if (front_nanoseconds() - begin > PATIENCE_NS)
			return front_fail(&work->front, -ETIMEDOUT, "no frame came back");
		let_flow(work, 1000000);
	}
	return 0;
}

/* Begin, or end, to count time and interrupts for the stream's interval. */
static void
count_slice(struct work *work, bool end)
{
	enum interval interval = work->stream.interval;
	uint64_t now = front_nanoseconds();
	struct interrupts *sums = &work->result->interrupts[interval], got;
	uint64_t sign = end ? 1 : UINT64_MAX;

	work->stream.counts[interval].nanoseconds += sign * now;
	if (work->stream.book == NULL)
		return;
	got = interrupts_of(work->stream.book->core);
	sums->calls += sign * got.calls;
	sums->shootdowns += sign * got.shootdowns;
}

/* Change things for a while. */
static int
churn_slice(struct work *work, const struct work_type *type, uint64_t *taken)
{
	struct work_result *result = work->result;
	uint64_t begin = front_nanoseconds();
	int error = 0;

	stream_switch(&work->stream, CHURN);
	count_slice(work, false);
	do {
		error = type->cycle(work);
		result->cycles++;
		*taken = front_nanoseconds() - begin;
	} while (error == 0 && result->cycles < work->options->cycles && *taken < SLICE_NS);
	count_slice(work, true);
	return error;
}

/* Leave things as they are for as long. */
static void
quiet_slice(struct work *work, uint64_t nanoseconds)
{
	stream_switch(&work->stream, QUIET);
	count_slice(work, false);
	let_flow(work, nanoseconds);
	count_slice(work, true);
}

/*
 * Slices with and without changes take turns, so that both have as much time and the same noise:
 * the longest of many times can be compared only then.
 */
static int
change_things(struct work *work, const struct work_type *type)
{
	int error = await_stream(work);
	uint64_t taken;

	if (error == 0 && type->prepare != NULL)
		error = type->prepare(work);
	if (error != 0)
		return error;
	let_flow(work, SLICE_NS);
	while (work->result->cycles < work->options->cycles && error == 0) {
		error = churn_slice(work, type, &taken);
		quiet_slice(work, taken);
	}
	if (type->finish != NULL)
		type->finish(work);
	return error;
}

static void
run_work(struct work *work, const struct work_type *type)
{
	struct work_result *result = work->result;
	int error;

	work->stream.ticks_per_us = result->ticks_per_us = front_ticks_per_us();
	work->front.idle = idle;
	work->front.idle_argument = &work->stream;
	error = change_things(work, type);
	work->front.idle = NULL;
	/* The poller closes the last slice at its next poll. */
	stream_switch(&work->stream, BEGINNING);
	let_flow(work, 1000000);
	stream_drain(&work->stream);
	if (error != 0)
		snprintf(result->fault, sizeof(result->fault), "cycle %llu: %s",
			(unsigned long long)result->cycles,
			work->front.error[0] ? work->front.error : strerror(abs(error)));
	memcpy(result->counts, work->stream.counts, sizeof(result->counts));
	result->lost = work->stream.sequence - work->stream.received;
	result->faults = work->stream.send.faults + work->stream.receive.faults;
	if (work->stream.book != NULL) {
		result->has_book = true;
		memcpy(&result->book, work->stream.book, sizeof(result->book));
	}
	front_stop(&work->front, RECEIVE, NULL);
	front_stop(&work->front, TRANSMIT, NULL);
}

/* The poller turns a page before there is a ring. */
static void
begin_run(struct stream *stream, struct book *book)
{
	stream->book = book;
	stream_switch(stream, BEGINNING);
	if (book == NULL)
		return;
	stream->run = (__atomic_load_n(&book->published, __ATOMIC_RELAXED) >> BOOK_RUN_SHIFT) + 1;
	__atomic_store_n(&book->published, stream->run << BOOK_RUN_SHIFT, __ATOMIC_RELEASE);
}

void
churn_do(unsigned int number, const struct churn_options *options, struct work_result *result)
{
	const struct work_type *type = &types[number];
	struct work *work = calloc(1, sizeof(*work));
	int error;

	memset(result, 0, sizeof(*result));
	result->name = type->name;
	if (work == NULL) {
		snprintf(result->fault, sizeof(result->fault), "out of memory");
		return;
	}
	work->options = options;
	work->result = result;
	begin_run(&work->stream, options->book);
	work->random = 1;
	error = front_connect(&work->front, options->path);
	if (error == 0)
		error = set_up(work, type);
	if (error != 0)
		snprintf(result->fault, sizeof(result->fault), "%s",
			work->front.error[0] ? work->front.error : strerror(-error));
	else if (result->skipped == NULL)
		run_work(work, type);
	front_close(&work->front);
	if (work->stream.send.kick_fd > 0)
		close(work->stream.send.kick_fd);
	if (work->stream.receive.kick_fd > 0)
		close(work->stream.receive.kick_fd);
	front_ring_destroy(&work->stream.send);
	front_ring_destroy(&work->stream.receive);
	front_memory_destroy(&work->memory);
	free(work);
}
