/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include "ctrl/statistics.h"
#include "wire/spec.h"

/* Kinds that a ring can be asked for, by what it is for. */
#define RECEIVE_KINDS VHU_BIT(VHU_STATISTICS_RX_BASIC)
#define TRANSMIT_KINDS VHU_BIT(VHU_STATISTICS_TX_BASIC)
#define CONTROL_KINDS VHU_BIT(VHU_STATISTICS_CONTROL)

/* What the driver asks for of one ring, and the head of one part of the answer: little-endian. */
struct question {
	uint16_t ring;
	uint16_t reserved[3];
	uint64_t kinds;
} __attribute__((packed));

struct head {
	uint8_t kind;
	uint8_t reserved;
	uint16_t ring;
	uint16_t reserved_too;
	uint16_t size; /* of the part, this included */
} __attribute__((packed));

static uint64_t
kinds_of(const struct vhu_statistics_source *source, uint16_t ring)
{
	if (ring > source->control)
		return 0;
	if (ring == source->control)
		return CONTROL_KINDS;
	return ring % 2 == 0 ? RECEIVE_KINDS : TRANSMIT_KINDS;
}

static void
put_part(struct vhu_statistics_answer *answer, uint8_t kind, uint16_t ring,
	const uint64_t *counters, size_t count)
{
	size_t size = sizeof(struct head) + count * sizeof(uint64_t);
	struct head head = { .kind = kind, .ring = htole16(ring), .size = htole16((uint16_t)size) };
	uint8_t *at = answer->bytes + answer->size;

	if (size > answer->room - answer->size)
		return;
	memcpy(at, &head, sizeof(head));
	for (size_t i = 0; i < count; i++) {
		uint64_t counter = htole64(counters[i]);

		memcpy(at + sizeof(head) + i * sizeof(counter), &counter, sizeof(counter));
	}
	answer->size += size;
}

static void
put_control(const struct vhu_statistics_source *source, struct vhu_statistics_answer *answer)
{
	/* The command at hand counts, and when the driver reads this it has been obeyed. */
	const uint64_t counters[] = { source->commands + 1, source->obeyed + 1 };

	put_part(answer, VHU_STATISTICS_CONTROL, source->control, counters, 2);
}

/*
 * Both basic kinds begin with kicks received: none, an lcore polls whether there were any or not,
 * and does not read them. Frames that found no buffer are not dropped here but stay with the
 * application, so there are none of those in a receive ring.
 */
static void
put_basic(const struct vhu_statistics_source *source, uint16_t ring,
	struct vhu_statistics_answer *answer)
{
	bool receive = ring % 2 == 0;
	struct vhu_queue_stats stats;
	uint64_t drops = 0, malformed;

	source->read(source->owner, ring, &stats);
	for (unsigned int reason = 0; reason < VHU_DROPS; reason++)
		drops += stats.drops[reason];
	malformed = stats.drops[VHU_DROP_SHORT] + stats.drops[VHU_DROP_LONG] +
		stats.drops[VHU_DROP_EMPTY];
	put_part(answer, receive ? VHU_STATISTICS_RX_BASIC : VHU_STATISTICS_TX_BASIC, ring,
		(const uint64_t[]){ 0, stats.packets, stats.bytes, stats.calls, drops,
			receive ? 0 : malformed }, 6);
}

/* @return false if the driver may not ask that. */
static bool
read_question(const struct vhu_statistics_source *source, const uint8_t *data,
	struct question *question)
{
	memcpy(question, data, sizeof(*question));
	question->ring = le16toh(question->ring);
	question->kinds = le64toh(question->kinds);
	return question->ring <= source->control &&
		!(question->kinds & ~kinds_of(source, question->ring));
}

static uint8_t
run_get(const struct vhu_statistics_source *source, const uint8_t *data, size_t size,
	struct vhu_statistics_answer *answer)
{
	struct question question;
	size_t at;

	if (size == 0 || size % sizeof(question) != 0)
		return VIRTIO_NET_ERR;
	/* One that is wrong fails all. */
	for (at = 0; at < size; at += sizeof(question))
		if (!read_question(source, data + at, &question))
			return VIRTIO_NET_ERR;
	for (at = 0; at < size; at += sizeof(question)) {
		(void)read_question(source, data + at, &question);
		if (question.kinds & CONTROL_KINDS)
			put_control(source, answer);
		else if (question.kinds != 0)
			put_basic(source, question.ring, answer);
	}
	return VIRTIO_NET_OK;
}

uint8_t
vhu_statistics_run(const struct vhu_statistics_source *source, uint8_t command,
	const uint8_t *data, size_t size, struct vhu_statistics_answer *answer)
{
	const uint64_t kinds = htole64(RECEIVE_KINDS | TRANSMIT_KINDS | CONTROL_KINDS);

	answer->size = 0;
	if (answer->room > sizeof(answer->bytes))
		answer->room = sizeof(answer->bytes);
	if (command == VHU_NET_CTRL_STATS_GET)
		return run_get(source, data, size, answer);
	if (command != VHU_NET_CTRL_STATS_QUERY || size != 0 || answer->room < sizeof(kinds))
		return VIRTIO_NET_ERR;
	memcpy(answer->bytes, &kinds, sizeof(kinds));
	answer->size = sizeof(kinds);
	return VIRTIO_NET_OK;
}
