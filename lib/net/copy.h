/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_COPY_H
#define VHU_NET_COPY_H

/**
 * @file
 * Copying payload between guest memory and mbufs.
 *
 * The including file is compiled once per instruction set; VHU_VECTOR is its widest register in
 * bytes. A copy is vectors from the front and vectors that end at the last byte and may overlap
 * them, so that no byte outside the range is touched and there is no loop over a tail.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef VHU_VECTOR
#define VHU_VECTOR 16
#endif

typedef uint8_t vhu_vector_t __attribute__((vector_size(VHU_VECTOR), aligned(1), may_alias));
typedef uint8_t vhu_vector16_t __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint8_t vhu_vector32_t __attribute__((vector_size(32), aligned(1), may_alias));
typedef uint64_t vhu_word8_t __attribute__((aligned(1), may_alias));
typedef uint32_t vhu_word4_t __attribute__((aligned(1), may_alias));
typedef uint16_t vhu_word2_t __attribute__((aligned(1), may_alias));

/*
 * Both ends of the range as one @p type each; right for sizeof(type) <= size <= 2 * sizeof(type).
 */
#define VHU_COPY_ENDS(type, to, from, size) \
	do { \
		type head_ = *(const type *)(from); \
		type tail_ = *(const type *)((from) + (size) - sizeof(type)); \
		*(type *)(to) = head_; \
		*(type *)((to) + (size) - sizeof(type)) = tail_; \
	} while (0)

/** Fewer bytes than a vector. */
static inline void
vhu_copy_short(uint8_t *to, const uint8_t *from, size_t size)
{
#if VHU_VECTOR >= 64
	if (size >= 32) {
		VHU_COPY_ENDS(vhu_vector32_t, to, from, size);
		return;
	}
#endif
#if VHU_VECTOR >= 32
	if (size >= 16) {
		VHU_COPY_ENDS(vhu_vector16_t, to, from, size);
		return;
	}
#endif
	if (size >= 8)
		VHU_COPY_ENDS(vhu_word8_t, to, from, size);
	else if (size >= 4)
		VHU_COPY_ENDS(vhu_word4_t, to, from, size);
	else if (size >= 2)
		VHU_COPY_ENDS(vhu_word2_t, to, from, size);
	else if (size == 1)
		*to = *from;
}

/** Bytes that the loop moves at a time: enough loads go out together before the first store. */
#define VHU_COPY_BLOCK (VHU_VECTOR >= 64 ? 2 * VHU_VECTOR : 4 * VHU_VECTOR)

/** A block of 64 or 128 bytes. */
static inline __attribute__((always_inline)) void
vhu_copy_block(uint8_t *restrict to, const uint8_t *restrict from)
{
	vhu_vector_t part[VHU_COPY_BLOCK / VHU_VECTOR];
	unsigned int i;

#pragma GCC unroll 4
	for (i = 0; i < VHU_COPY_BLOCK / VHU_VECTOR; i++)
		part[i] = *(const vhu_vector_t *)(from + i * VHU_VECTOR);
#pragma GCC unroll 4
	for (i = 0; i < VHU_COPY_BLOCK / VHU_VECTOR; i++)
		*(vhu_vector_t *)(to + i * VHU_VECTOR) = part[i];
}

/**
 * Copy @p size bytes; the ranges must not overlap. What is left behind whole blocks is no loop,
 * whose length would be mispredicted, but one more block that ends at the last byte.
 */
static inline __attribute__((always_inline)) void
vhu_copy(uint8_t *restrict to, const uint8_t *restrict from, size_t size)
{
	size_t done = 0;

	if (__builtin_expect(size < VHU_VECTOR, 0)) {
		vhu_copy_short(to, from, size);
		return;
	}
	if (size <= 2 * VHU_VECTOR) {
		VHU_COPY_ENDS(vhu_vector_t, to, from, size);
		return;
	}
	if (size < VHU_COPY_BLOCK) {
		/* Only where a block is more than two vectors. */
		VHU_COPY_ENDS(vhu_vector_t, to, from, 2 * VHU_VECTOR);
		VHU_COPY_ENDS(vhu_vector_t, to + size - 2 * VHU_VECTOR,
			from + size - 2 * VHU_VECTOR, 2 * VHU_VECTOR);
		return;
	}
	for (; size - done > VHU_COPY_BLOCK; done += VHU_COPY_BLOCK)
		vhu_copy_block(to + done, from + done);
	vhu_copy_block(to + size - VHU_COPY_BLOCK, from + size - VHU_COPY_BLOCK);
}

/**
 * vhu_copy() for what is mostly long. With registers of 16 bytes the C library's copy is as quick,
 * and takes fewer instructions.
 */
static inline void
vhu_copy_long(uint8_t *restrict to, const uint8_t *restrict from, size_t size)
{
	if (VHU_VECTOR > 16)
		vhu_copy(to, from, size);
	else
		memcpy(to, from, size);
}

#endif /* VHU_NET_COPY_H */
