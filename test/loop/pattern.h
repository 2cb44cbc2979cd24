/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_TEST_PATTERN_H
#define VHU_TEST_PATTERN_H

/*
 * Frames whose every byte can be predicted. A frame is a function of (seed, queue, sequence
 * number): its length is taken from a list of lengths, its head carries queue and sequence number,
 * and what follows is a pseudo-random stream. A receiver reads the head, makes the frame that must
 * have been sent and compares all of it.
 *
 * With TCP headers in front, which say what a header says that leaves the checksum to the device,
 * the same frames can be sent with requests for segmentation.
 */

#include <stdbool.h>
#include <stdint.h>

#define PATTERN_MIN_LENGTH 60
/* With the longest IPv4 packet there is. */
#define PATTERN_MAX_LENGTH 65549
/* Of Ethernet, IPv4 and TCP, where a pattern has them; nothing shorter has a payload then. */
#define PATTERN_TCP_HEADERS 54
#define PATTERN_MIN_TCP_LENGTH 80
#define PATTERN_MAX_SIZES 64

/* Which frames a run sends. */
struct pattern {
	uint64_t seed;
	/* Lengths in bytes, used in turn; with a span a pseudo-random length up to it instead. */
	uint32_t sizes[PATTERN_MAX_SIZES];
	uint16_t size_count;
	bool span;
	bool tcp; /* begin with headers of IPv4 and TCP */
};

/* Read "64,512,1518" or "64-1518". Returns 0, or -1 if it is neither or out of bounds. */
int pattern_parse_sizes(struct pattern *pattern, const char *text);

/* The longest frame of the pattern, bytes. */
uint32_t pattern_longest(const struct pattern *pattern);

/* Write frame number @sequence of @queue to @frame; returns its length. */
uint32_t pattern_make(const struct pattern *pattern, uint16_t queue, uint64_t sequence,
	uint8_t frame[PATTERN_MAX_LENGTH]);

/* Read queue and sequence number from a frame; false if it is none of ours. */
bool pattern_identify(const struct pattern *pattern, const uint8_t *frame, uint32_t length,
	uint16_t *queue, uint64_t *sequence);

#endif /* VHU_TEST_PATTERN_H */
