/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * A frame is a function of its number: its length, and one word in each of its cache lines and at
 * its end. Checking those words costs little and finds every page, region or buffer that was
 * mistaken for another.
 */

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

static void
count_gap(struct gaps *gaps, uint64_t raw, uint64_t paused)
{
	time_add(&gaps->raw, raw);
	time_add(&gaps->net, raw > paused ? raw - paused : 0);
}

/* Tell the poller how many frames are there for it. */
static void
publish(const struct stream *stream)
{
	if (stream->book != NULL)
		/* Partner: the load in vhu-poller; the ring's index was stored before. */
		__atomic_store_n(&stream->book->published,
			stream->run << BOOK_RUN_SHIFT | stream->sequence, __ATOMIC_RELEASE);
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
	if (count > 0)
		publish(stream);
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
		stream->expected++;
	}
	front_post(&stream->receive, frames, count);
	counts->received += count;
	stream->received += count;
	return count;
}

void
stream_round(struct stream *stream)
{
	struct stream_counts *counts = &stream->counts[stream->interval];
	uint64_t pause = (uint64_t)(PAUSE_US * stream->ticks_per_us), now;

	send_some(stream, counts);
	now = front_ticks();
	if (stream->last_poll != 0 && now - stream->last_poll > pause) {
		stream->paused += now - stream->last_poll - pause;
		counts->gaps.pauses++;
	}
	stream->last_poll = now;
	if (receive_some(stream, counts) == 0)
		return;
	if (stream->last_frame != 0)
		count_gap(&counts->gaps, now - stream->last_frame, stream->paused);
	stream->last_frame = now;
	stream->paused = 0;
}

/* A gap counts where it ends; the one across the border counts for the new interval. */
void
stream_switch(struct stream *stream, enum interval interval)
{
	stream->interval = interval;
	if (stream->book != NULL)
		__atomic_store_n(&stream->book->interval, interval, __ATOMIC_RELAXED);
}

void
stream_drain(struct stream *stream)
{
	uint64_t since = front_nanoseconds();
	struct stream_counts *counts = &stream->counts[stream->interval];

	while (stream->expected != stream->sequence && front_nanoseconds() - since < PATIENCE_NS)
		if (receive_some(stream, counts) > 0)
			since = front_nanoseconds();
	front_collect(&stream->send);
}
