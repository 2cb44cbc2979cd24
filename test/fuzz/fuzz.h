/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_TEST_FUZZ_H
#define VHU_TEST_FUZZ_H

/**
 * @file
 * What fuzz targets share: taking values from the input, and saying what must hold.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** A claim about the library. libFuzzer takes the abort for a finding and keeps the input. */
#define FUZZ_REQUIRE(claim) \
	do { \
		if (!(claim)) { \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #claim); \
			abort(); \
		} \
	} while (0)

/** What is left of the input. */
struct fuzz_input {
	const uint8_t *bytes;
	size_t left;
};

/** Take @p size bytes; zeroes when the input is used up. */
static inline void
fuzz_take(struct fuzz_input *input, void *value, size_t size)
{
	size_t available = size < input->left ? size : input->left;

	memset(value, 0, size);
	if (available != 0)
		memcpy(value, input->bytes, available);
	input->bytes += available;
	input->left -= available;
}

static inline uint8_t
fuzz_take8(struct fuzz_input *input)
{
	uint8_t value;

	fuzz_take(input, &value, sizeof(value));
	return value;
}

static inline uint16_t
fuzz_take16(struct fuzz_input *input)
{
	uint16_t value;

	fuzz_take(input, &value, sizeof(value));
	return value;
}

static inline uint32_t
fuzz_take32(struct fuzz_input *input)
{
	uint32_t value;

	fuzz_take(input, &value, sizeof(value));
	return value;
}

static inline uint64_t
fuzz_take64(struct fuzz_input *input)
{
	uint64_t value;

	fuzz_take(input, &value, sizeof(value));
	return value;
}

/** Entry points of libFuzzer. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#endif /* VHU_TEST_FUZZ_H */
