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
 * bytes. A copy is whole vectors from the front and one vector that ends at the last byte and may
 * overlap them, so that no byte outside the range is touched and there is no loop over a tail.
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

/** Copy @p size bytes; the ranges must not overlap. */
static inline __attribute__((always_inline)) void
vhu_copy(uint8_t *restrict to, const uint8_t *restrict from, size_t size)
{
	size_t done = 0;

	if (__builtin_expect(size < VHU_VECTOR, 0)) {
		vhu_copy_short(to, from, size);
		return;
	}
	/* Four at a time: the loads go out together before the first store. */
	while (size - done >= 4 * VHU_VECTOR) {
		vhu_vector_t a = *(const vhu_vector_t *)(from + done);
		vhu_vector_t b = *(const vhu_vector_t *)(from + done + VHU_VECTOR);
		vhu_vector_t c = *(const vhu_vector_t *)(from + done + 2 * VHU_VECTOR);
		vhu_vector_t d = *(const vhu_vector_t *)(from + done + 3 * VHU_VECTOR);

		*(vhu_vector_t *)(to + done) = a;
		*(vhu_vector_t *)(to + done + VHU_VECTOR) = b;
		*(vhu_vector_t *)(to + done + 2 * VHU_VECTOR) = c;
		*(vhu_vector_t *)(to + done + 3 * VHU_VECTOR) = d;
		done += 4 * VHU_VECTOR;
	}
	while (size - done >= VHU_VECTOR) {
		*(vhu_vector_t *)(to + done) = *(const vhu_vector_t *)(from + done);
		done += VHU_VECTOR;
	}
	if (done != size)
		*(vhu_vector_t *)(to + size - VHU_VECTOR) =
			*(const vhu_vector_t *)(from + size - VHU_VECTOR);
}

#endif /* VHU_NET_COPY_H */
