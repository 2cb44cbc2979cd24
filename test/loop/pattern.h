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
 */

#include <stdbool.h>
#include <stdint.h>

#define PATTERN_MIN_LENGTH 60
#define PATTERN_MAX_LENGTH 9216
#define PATTERN_MAX_SIZES 64

/* Which frames a run sends. */
struct pattern {
	uint64_t seed;
	/* Lengths in bytes, used in turn; with a span a pseudo-random length up to it instead. */
	uint16_t sizes[PATTERN_MAX_SIZES];
	uint16_t size_count;
	bool span;
};

/* Read "64,512,1518" or "64-1518". Returns 0, or -1 if it is neither or out of bounds. */
int pattern_parse_sizes(struct pattern *pattern, const char *text);

/* The longest frame of the pattern, bytes. */
uint16_t pattern_longest(const struct pattern *pattern);

/* Write frame number @sequence of @queue to @frame; returns its length. */
uint16_t pattern_make(const struct pattern *pattern, uint16_t queue, uint64_t sequence,
	uint8_t frame[PATTERN_MAX_LENGTH]);

/* Read queue and sequence number from a frame; false if it is none of ours. */
bool pattern_identify(const uint8_t *frame, uint32_t length, uint16_t *queue, uint64_t *sequence);

#endif /* VHU_TEST_PATTERN_H */
