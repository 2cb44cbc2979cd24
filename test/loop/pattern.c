/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pattern.h"

/* Head of each frame: Ethernet addresses and type, then what identifies the frame. */
struct head {
	uint8_t destination[6];
	uint8_t source[6];
	uint8_t type[2];
	uint16_t queue;
	uint32_t magic;
	uint64_t sequence;
} __attribute__((packed));

#define MAGIC 0x5655484cu

static const struct head head_template = {
	.destination = {0x02, 0, 0, 0, 0, 0x02},
	.source = {0x02, 0, 0, 0, 0, 0x01},
	.type = {0x88, 0xb5}, /* reserved for local experiments */
	.magic = MAGIC,
};

/* A step of the splitmix64 generator. */
static uint64_t
next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static int
parse_size(const char **text, uint16_t *size)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(*text, &end, 10);
	if (end == *text || errno != 0 || value < PATTERN_MIN_LENGTH || value > PATTERN_MAX_LENGTH)
		return -1;
	*size = (uint16_t)value;
	*text = end;
	return 0;
}

int
pattern_parse_sizes(struct pattern *pattern, const char *text)
{
	pattern->size_count = 0;
	pattern->span = false;
	for (;;) {
		if (pattern->size_count == PATTERN_MAX_SIZES ||
		    parse_size(&text, &pattern->sizes[pattern->size_count]) != 0)
			return -1;
		pattern->size_count++;
		if (*text == '\0')
			break;
		if (*text == '-' && pattern->size_count == 1)
			pattern->span = true;
		else if (*text != ',' || pattern->span)
			return -1;
		text++;
	}
	if (pattern->span && (pattern->size_count != 2 || pattern->sizes[0] > pattern->sizes[1]))
		return -1;
	return 0;
}

uint16_t
pattern_longest(const struct pattern *pattern)
{
	uint16_t longest = 0;

	for (uint16_t i = 0; i < pattern->size_count; i++)
		if (pattern->sizes[i] > longest)
			longest = pattern->sizes[i];
	return longest;
}

static uint16_t
choose_length(const struct pattern *pattern, uint64_t sequence, uint64_t random)
{
	if (!pattern->span)
		return pattern->sizes[sequence % pattern->size_count];
	return (uint16_t)(pattern->sizes[0] +
		random % (uint64_t)(pattern->sizes[1] - pattern->sizes[0] + 1));
}

uint16_t
pattern_make(const struct pattern *pattern, uint16_t queue, uint64_t sequence,
	uint8_t frame[PATTERN_MAX_LENGTH])
{
	uint64_t state = pattern->seed + ((uint64_t)queue << 48) + sequence * 0x2545f4914f6cdd1dull;
	uint16_t length = choose_length(pattern, sequence, next_random(&state));
	uint16_t at = sizeof(struct head);
	struct head head = head_template;

	head.queue = queue;
	head.sequence = sequence;
	memcpy(frame, &head, sizeof(head));
	while (at < length) {
		uint64_t word = next_random(&state);
		size_t left = length - at;
		size_t part = left < sizeof(word) ? left : sizeof(word);

		memcpy(frame + at, &word, part);
		at += (uint16_t)part;
	}
	return length;
}

bool
pattern_identify(const uint8_t *frame, uint32_t length, uint16_t *queue, uint64_t *sequence)
{
	struct head head;

	if (length < sizeof(head))
		return false;
	memcpy(&head, frame, sizeof(head));
	if (head.magic != MAGIC || memcmp(head.type, head_template.type, sizeof(head.type)) != 0)
		return false;
	*queue = head.queue;
	*sequence = head.sequence;
	return true;
}
