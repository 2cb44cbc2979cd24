/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "pattern.h"

struct ethernet {
	uint8_t destination[6];
	uint8_t source[6];
	uint8_t type[2];
} __attribute__((packed));

/* What identifies the frame: behind the headers. */
struct identity {
	uint16_t queue;
	uint32_t magic;
	uint64_t sequence;
} __attribute__((packed));

#define MAGIC 0x5655484cu

static const struct ethernet plain_ethernet = {
	.destination = {0x02, 0, 0, 0, 0, 0x02},
	.source = {0x02, 0, 0, 0, 0, 0x01},
	.type = {0x88, 0xb5}, /* reserved for local experiments */
};

/* From 10.0.0.1 to 10.0.0.2; lengths and checksums are filled in. */
static const uint8_t tcp_template[PATTERN_TCP_HEADERS] = {
	0x02, 0, 0, 0, 0, 0x02, 0x02, 0, 0, 0, 0, 0x01, 0x08, 0x00,
	0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
	0x10, 0, 0x10, 0x01, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0,
};

#define IPV4 14
#define IPV4_LENGTH (IPV4 + 2)
#define IPV4_CHECKSUM (IPV4 + 10)
#define IPV4_ADDRESSES (IPV4 + 12)
#define TCP 34
#define TCP_CHECKSUM (TCP + 16)
#define TCP_NUMBER 6

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
parse_size(const char **text, uint32_t *size)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(*text, &end, 10);
	if (end == *text || errno != 0 || value < PATTERN_MIN_LENGTH || value > PATTERN_MAX_LENGTH)
		return -1;
	*size = (uint32_t)value;
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

uint32_t
pattern_longest(const struct pattern *pattern)
{
	uint32_t longest = 0;

	for (uint16_t i = 0; i < pattern->size_count; i++)
		if (pattern->sizes[i] > longest)
			longest = pattern->sizes[i];
	return longest;
}

static uint32_t
choose_length(const struct pattern *pattern, uint64_t sequence, uint64_t random)
{
	if (!pattern->span)
		return pattern->sizes[sequence % pattern->size_count];
	return (uint32_t)(pattern->sizes[0] +
		random % (uint64_t)(pattern->sizes[1] - pattern->sizes[0] + 1));
}

static void
put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* Sum of 16-bit words, not complemented. */
static uint32_t
sum_words(const uint8_t *words, unsigned int bytes, uint32_t sum)
{
	for (unsigned int i = 0; i < bytes; i += 2)
		sum += (uint32_t)(words[i] << 8 | words[i + 1]);
	while (sum > 0xffff)
		sum = (sum >> 16) + (sum & 0xffff);
	return sum;
}

/*
 * The header's own checksum is right; the one of TCP holds the sum of the pseudo header, as it has
 * to be where a device completes it.
 */
static uint32_t
put_tcp_headers(uint8_t *frame, uint32_t length)
{
	uint32_t segment = length - TCP;

	memcpy(frame, tcp_template, sizeof(tcp_template));
	put16(frame + IPV4_LENGTH, length - IPV4);
	put16(frame + IPV4_CHECKSUM, ~sum_words(frame + IPV4, TCP - IPV4, 0));
	put16(frame + TCP_CHECKSUM,
		sum_words(frame + IPV4_ADDRESSES, TCP - IPV4_ADDRESSES, TCP_NUMBER + segment));
	return sizeof(tcp_template);
}

uint32_t
pattern_make(const struct pattern *pattern, uint16_t queue, uint64_t sequence,
	uint8_t frame[PATTERN_MAX_LENGTH])
{
	uint64_t state = pattern->seed + ((uint64_t)queue << 48) + sequence * 0x2545f4914f6cdd1dull;
	uint32_t length = choose_length(pattern, sequence, next_random(&state));
	struct identity identity = { .queue = queue, .magic = MAGIC, .sequence = sequence };
	uint32_t at = sizeof(plain_ethernet);

	if (pattern->tcp)
		at = put_tcp_headers(frame, length);
	else
		memcpy(frame, &plain_ethernet, sizeof(plain_ethernet));
	memcpy(frame + at, &identity, sizeof(identity));
	at += sizeof(identity);
	while (at < length) {
		uint64_t word = next_random(&state);
		size_t left = length - at;
		size_t part = left < sizeof(word) ? left : sizeof(word);

		memcpy(frame + at, &word, part);
		at += (uint32_t)part;
	}
	return length;
}

bool
pattern_identify(const struct pattern *pattern, const uint8_t *frame, uint32_t length,
	uint16_t *queue, uint64_t *sequence)
{
	const uint8_t *type = pattern->tcp ? tcp_template + offsetof(struct ethernet, type) :
		plain_ethernet.type;
	uint32_t at = pattern->tcp ? sizeof(tcp_template) : sizeof(plain_ethernet);
	struct identity identity;

	if (length < at + sizeof(identity))
		return false;
	memcpy(&identity, frame + at, sizeof(identity));
	if (identity.magic != MAGIC || memcmp(frame + offsetof(struct ethernet, type), type,
			sizeof(plain_ethernet.type)) != 0)
		return false;
	*queue = identity.queue;
	*sequence = identity.sequence;
	return true;
}
