/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_FOURS_H
#define VHU_NET_FOURS_H

/**
 * @file
 * Judging four descriptors at once, for bodies with registers of 32 bytes or more.
 *
 * One branch instead of sixteen, and less than half the instructions. Each comparison is a
 * difference whose sign says no; the signs of all are collected and looked at once. Lengths are
 * below 2^32 and extents below 2^63, and whatever is subtracted from a difference is compared with
 * 0 itself, so that none wraps unnoticed. Four that are not all common are left to the code that
 * goes one by one. Included by body.c only.
 */

#include "net/gather.h"

#if defined(__x86_64__) && VHU_VECTOR >= 32
#define VHU_FOURS 4

typedef uint64_t vhu_four8_t __attribute__((vector_size(32), aligned(8), may_alias));
typedef uint32_t vhu_four4_t __attribute__((vector_size(16), aligned(4), may_alias));
typedef uint32_t vhu_eight4_t __attribute__((vector_size(32), aligned(4), may_alias));
typedef uint64_t vhu_two8_t __attribute__((vector_size(16), aligned(8), may_alias));

/** Local copies of four descriptors. */
struct vhu_four {
	vhu_four8_t address;
	vhu_four8_t word;    /* as in struct vhu_descriptor */
};

#ifdef __clang__
#define VHU_SHUFFLE_TWO(a, b, i, j) __builtin_shufflevector(a, b, i, j)
#else
#define VHU_SHUFFLE_TWO(a, b, i, j) __builtin_shuffle(a, b, (vhu_two8_t){ i, j })
#endif

/** The first halves of two pairs, the second halves, and two pairs side by side. */
static inline vhu_two8_t
fours_low(vhu_two8_t a, vhu_two8_t b)
{
	return VHU_SHUFFLE_TWO(a, b, 0, 2);
}

static inline vhu_two8_t
fours_high(vhu_two8_t a, vhu_two8_t b)
{
	return VHU_SHUFFLE_TWO(a, b, 1, 3);
}

static inline vhu_four8_t
fours_of(vhu_two8_t a, vhu_two8_t b)
{
	return (vhu_four8_t){ a[0], a[1], b[0], b[1] };
}

/** Is any lane negative? */
static inline bool
fours_any_negative(vhu_four8_t v)
{
	typedef double four_doubles __attribute__((vector_size(32)));

	return __builtin_ia32_movmskpd256((four_doubles)v) != 0;
}

/** Are four frames behind headers all of 32 to 64 bytes? Sizes include headers. */
static inline bool
fours_short(const uint32_t *size, uint32_t header_size)
{
	typedef float four_floats __attribute__((vector_size(16)));
	vhu_four4_t more = *(const vhu_four4_t *)size - (header_size + 32);

	return __builtin_ia32_movmskps((four_floats)(more | (32 - more))) == 0;
}

/** What four descriptors are compared with, one value in all lanes each. */
struct vhu_four_terms {
	vhu_four8_t start, size, delta; /* the extent */
	vhu_four8_t least, most;        /* bytes of a buffer */
};

/*
 * Ahead of a loop over fours. Told nothing, the compiler sees that few registers stay free next to
 * the code that goes one by one, and makes each of these anew for each four: 25 instructions.
 */
VHU_SPECIALISED struct vhu_four_terms
fours_terms(const struct vhu_terms *terms, const struct vhu_extent *extent)
{
	const vhu_four8_t zero = { 0 };
	struct vhu_four_terms v = {
		.start = zero + extent->start,
		.size = zero + extent->size,
		.delta = zero + extent->delta,
		.least = zero + (terms->header_size + UINT64_C(1)), /* a frame behind the header */
		.most = zero + ((uint64_t)terms->header_size + terms->room), /* that fits an mbuf */
	};

	__asm__("" : "+x"(v.start), "+x"(v.size), "+x"(v.delta), "+x"(v.least), "+x"(v.most));
	return v;
}

/** Negative where a buffer does not lie in the extent as a whole. */
static inline vhu_four8_t
fours_outside(const struct vhu_four_terms *v, vhu_four8_t address, vhu_four8_t length)
{
	vhu_four8_t offset = address - v->start, left = v->size - length;

	return left | offset | (left - offset);
}

/* Two lines of each buffer; see gather_prefetch_read(). Mostly all reach into the second. */
VHU_SPECIALISED void
fours_prefetch_read(const struct vhu_terms *terms, vhu_four4_t size, uint8_t *const *host)
{
	typedef float four_floats __attribute__((vector_size(16)));
	const uint32_t second = terms->unread + 64;
	unsigned int j;

	if (__builtin_ia32_movmskps((four_floats)(size - (second + 1))) == 0) {
		for (j = 0; j < VHU_FOURS; j++)
			gather_prefetch_read(terms, host[j], second);
		return;
	}
	for (j = 0; j < VHU_FOURS; j++)
		gather_prefetch_read(terms, host[j], VHU_SECOND_LINE(terms, size[j]));
}

/**
 * Gather four buffers of the guest's frames.
 * @param flags  how the flags of each differ from those of a common one, below 2^63; 0: not.
 */
VHU_SPECIALISED bool
fours_receive(const struct vhu_terms *terms, const struct vhu_four_terms *v, struct vhu_four d,
	vhu_four8_t flags, struct vhu_gathered *g, unsigned int i)
{
	vhu_four8_t length = d.word & UINT32_MAX, bad;
	vhu_four4_t size;

	bad = -flags;
	bad |= length - v->least;
	bad |= v->most - length;
	bad |= fours_outside(v, d.address, length);
	if (__builtin_expect(fours_any_negative(bad), 0))
		return false;
	*(vhu_four8_t *)&g->host[i] = d.address + v->delta;
	size = __builtin_convertvector(length, vhu_four4_t);
	*(vhu_four4_t *)&g->size[i] = size;
	fours_prefetch_read(terms, size, &g->host[i]);
	return true;
}

/** Gather four pairs of packet and buffer. @param flags  as for fours_receive(). */
VHU_SPECIALISED bool
fours_transmit(const struct vhu_terms *terms, const struct vhu_four_terms *v, struct vhu_four d,
	vhu_four8_t flags, struct rte_mbuf *const *packets, struct vhu_gathered *g, unsigned int i)
{
	vhu_four8_t size8, bad;
	uint64_t odd = 0;
	vhu_four4_t size;
	unsigned int j;

	for (j = 0; j < VHU_FOURS; j++)
		odd |= gather_odd_packet(packets[j]);
	size = (vhu_four4_t){ packets[0]->data_len, packets[1]->data_len, packets[2]->data_len,
		packets[3]->data_len } + terms->header_size;
	size8 = __builtin_convertvector(size, vhu_four8_t);
	bad = -flags;
	bad |= (d.word & UINT32_MAX) - size8; /* room for the frame */
	bad |= fours_outside(v, d.address, size8);
	if (__builtin_expect(fours_any_negative(bad) || odd != 0, 0))
		return false;
	*(vhu_four8_t *)&g->host[i] = d.address + v->delta;
	*(vhu_four4_t *)&g->size[i] = size;
	for (j = 0; j < VHU_FOURS; j++)
		gather_prefetch_frame(g->host[i + j], terms->header_size);
	return true;
}
#else
/** One by one. */
#define VHU_FOURS 1
#endif

/**
 * Gather entries @p i ... @p run - 1 until one is not common: four at a time, and where a stranger
 * is among four, or the extent changes, those one by one. @p i ends at the first that is not
 * common.
 * A macro, because what the two steps take differs from pass to pass.
 * @param terms, extent  for four, which has them as fours_terms() in @p v.
 * @param four, one  expressions that gather from @p i on; false if that is not possible.
 */
#if VHU_FOURS == 4
#define VHU_GATHER_RUN(i, run, terms, extent, v, four, one) \
	for (;;) { \
		const struct vhu_four_terms v = fours_terms(terms, extent); \
		unsigned int end_; \
\
		while ((run) - (i) >= 4 && (four)) \
			(i) += 4; \
		end_ = (run) - (i) > 4 ? (i) + 4 : (run); \
		while ((i) < end_ && (one)) \
			(i)++; \
		if ((i) < end_ || (i) == (run)) \
			break; \
	}
#else
#define VHU_GATHER_RUN(i, run, terms, extent, v, four, one) \
	while ((i) < (run) && (one)) \
		(i)++
#endif

#endif /* VHU_NET_FOURS_H */
