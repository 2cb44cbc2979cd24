/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * A frame is a function of its number: its length, and one word in each of its cache lines and at
 * its end. Checking those words costs little and finds every page, region or buffer that was
 * mistaken for another.
 */

#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "churn.h"
#include "clock.h"

#define BURST 32
/* Two polls further apart than this: the scheduler was in between. */
#define PAUSE_US 4.0
/* While draining: when nothing has come for so long, nothing will. */
#define PATIENCE_NS UINT64_C(500000000)

static const uint16_t lengths[] = { 64, 1518, 128, 60, 512, 256, 1024, 65 };

static inline uint32_t
length_of(uint64_t sequence)
{
	return lengths[sequence % (sizeof(lengths) / sizeof(lengths[0]))];
}

static inline uint64_t
word_of(uint64_t sequence, uint32_t at)
{
	return (sequence + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ at;
}

static void
write_frame(struct front_frame *frame, uint64_t sequence)
{
	uint32_t length = length_of(sequence), at;
	uint64_t word;

	frame->length = length;
	for (at = 8; at + 16 <= length; at += 64) {
		word = word_of(sequence, at);
		memcpy(frame->data + at, &word, sizeof(word));
	}
	word = word_of(sequence, length);
	memcpy(frame->data + length - 8, &word, sizeof(word));
	/* Two addresses of Ethernet would do as well; nobody on the way looks at them. */
	memcpy(frame->data, &sequence, sizeof(sequence));
}

static bool
frame_is_right(const struct front_frame *frame, uint64_t sequence)
{
	uint32_t length = length_of(sequence), at;
	uint64_t word;

	if (frame->length != length || frame->buffers != 1)
		return false;
	for (at = 8; at + 16 <= length; at += 64) {
		memcpy(&word, frame->data + at, sizeof(word));
		if (word != word_of(sequence, at))
			return false;
	}
	memcpy(&word, frame->data + length - 8, sizeof(word));
	return word == word_of(sequence, length);
}

static unsigned int
bucket_of(const struct stream *stream, uint64_t ticks)
{
	double sixteenths = (double)ticks * 16 / stream->ticks_per_us;
	uint64_t scaled = (uint64_t)sixteenths;
	unsigned int octave, bucket;

	if (scaled < 4)
		return 0;
	octave = 63 - (unsigned int)__builtin_clzll(scaled);
	bucket = (octave - 2) * 4 + (unsigned int)(scaled >> (octave - 2) & 3) + 1;
	return bucket < GAP_BUCKETS ? bucket : GAP_BUCKETS - 1;
}

double
gap_quantile(const uint64_t buckets[GAP_BUCKETS], uint64_t count, double quantile)
{
	uint64_t wanted = (uint64_t)((double)count * quantile), sum = 0;
	unsigned int i;

	for (i = 0; i < GAP_BUCKETS - 1; i++) {
		sum += buckets[i];
		if (sum > wanted)
			break;
	}
	if (i == 0)
		return 4.0 / 16;
	return (double)((uint64_t)((i - 1) % 4 + 5) << (i - 1) / 4) / 16;
}

static void
count_gap(struct stream *stream, struct gaps *gaps, uint64_t raw, uint64_t paused)
{
	uint64_t net = raw > paused ? raw - paused : 0;

	gaps->count++;
	gaps->raw[bucket_of(stream, raw)]++;
	gaps->net[bucket_of(stream, net)]++;
	if (raw > gaps->raw_max)
		gaps->raw_max = raw;
	if (net > gaps->net_max)
		gaps->net_max = net;
}

static void
send_some(struct stream *stream, struct stream_counts *counts)
{
	struct front_frame frames[BURST];
	uint64_t room = CHURN_WINDOW - (stream->sequence - stream->expected);
	uint32_t i, count = front_take(&stream->send, frames,
		(uint32_t)(room < BURST ? room : BURST));

	for (i = 0; i < count; i++)
		write_frame(&frames[i], stream->sequence++);
	front_post(&stream->send, frames, count);
	counts->sent += count;
}

/* A frame with a number that is not due: what is missing is lost for the order. */
static void
out_of_order(struct stream *stream, struct stream_counts *counts, uint64_t sequence)
{
	counts->reordered++;
	if (sequence > stream->expected && sequence < stream->sequence)
		stream->expected = sequence;
}

static uint32_t
receive_some(struct stream *stream, struct stream_counts *counts)
{
	struct front_frame frames[BURST];
	uint32_t i, count = front_receive(&stream->receive, frames, BURST);

	for (i = 0; i < count; i++) {
		uint64_t sequence;

		memcpy(&sequence, frames[i].data, sizeof(sequence));
		if (sequence != stream->expected)
			out_of_order(stream, counts, sequence);
		counts->corrupt += !frame_is_right(&frames[i], stream->expected);
		__atomic_store_n(&stream->expected, stream->expected + 1, __ATOMIC_RELAXED);
	}
	front_post(&stream->receive, frames, count);
	counts->received += count;
	return count;
}

static void
pin(int core)
{
	cpu_set_t set;

	if (core < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(core, &set);
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

/* Poll until told otherwise, and keep book of when nothing came. */
static void
run(struct stream *stream)
{
	uint64_t last_poll = front_ticks(), last_frame = last_poll, paused = 0, now;
	uint64_t pause = (uint64_t)(PAUSE_US * stream->ticks_per_us);
	unsigned int interval = 0, wanted;
	bool fresh = true;

	while (__atomic_load_n(&stream->state, __ATOMIC_RELAXED) == STREAM_RUN) {
		struct stream_counts *counts = &stream->counts[interval];

		send_some(stream, counts);
		now = front_ticks();
		if (now - last_poll > pause) {
			paused += now - last_poll - pause;
			counts->gaps.pauses++;
		}
		last_poll = now;
		if (receive_some(stream, counts) > 0) {
			if (!fresh)
				count_gap(stream, &counts->gaps, now - last_frame, paused);
			last_frame = now;
			paused = 0;
			fresh = false;
		}
		wanted = __atomic_load_n(&stream->interval, __ATOMIC_RELAXED);
		/* A gap counts where it ends; the one across the border counts for the new one. */
		interval = wanted;
	}
}

static void
drain(struct stream *stream)
{
	uint64_t since = front_nanoseconds();
	struct stream_counts *counts = &stream->counts[1];

	while (stream->expected != stream->sequence && front_nanoseconds() - since < PATIENCE_NS) {
		if (receive_some(stream, counts) > 0)
			since = front_nanoseconds();
		sched_yield();
	}
	front_collect(&stream->send);
}

void *
stream_main(void *argument)
{
	struct stream *stream = argument;

	pin(stream->core);
	run(stream);
	drain(stream);
	return NULL;
}
