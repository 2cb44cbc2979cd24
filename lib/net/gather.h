/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_GATHER_H
#define VHU_NET_GATHER_H

/**
 * @file
 * What the first passes of both ring formats share: the list that they fill, and translation.
 *
 * A first pass reads descriptors, judges them in registers, translates their buffers and prefetches
 * payload; the second pass copies. Between the two lie the misses of a whole run, taken at once
 * instead of one after another. Included by body.c only.
 */

#include "net/copy.h"
#include "net/header.h"
#include "net/offload.h"
#include "net/queue.h"

/** Most packets in one run: as many misses as a core can have under way, with some to spare. */
#define VHU_RUN 64
/** Most packets of a burst that is moved in one go: see receive_few() and transmit_few(). */
#define VHU_FEW 4

/**
 * The passes of a burst are functions of their own: together in one they have more live values than
 * there are registers, and each packet would pay for reloading them.
 */
#define VHU_PASS static __attribute__((noinline))
/** Specialised where it is called: parameters that are constants there leave no test behind. */
#define VHU_SPECIALISED static inline __attribute__((always_inline))

/**
 * In a loop of few rounds: several at once would need more code to set it up than it saves.
 */
#define VHU_ONE_BY_ONE() __asm__ volatile("")

/** A gathered run: where each buffer is, how many bytes of it count, what gives it back. */
struct vhu_gathered {
	uint8_t *host[VHU_RUN];
	uint32_t size[VHU_RUN];
	union {
		uint16_t head[VHU_RUN]; /* split: the chain's head */
		uint64_t used[VHU_RUN]; /* packed: the word of the used descriptor */
	};
};

/** What sizes are compared with: a copy that stays in registers. */
struct vhu_terms {
	uint32_t header_size;
	uint32_t room;       /* frame bytes that fit into one mbuf */
	uint32_t unread;     /* bytes at the front of a buffer that nobody will look at */
};

/** What the bodies of a direction have in common but for these constants. */
struct vhu_kind {
	bool packed;
	bool in_order; /* used entries may be skipped; for buffers that are not written */
	bool offload;
};

/**
 * Host address of a whole buffer, NULL if it does not lie in one extent.
 * @param extent  a copy of the ring's hint in the caller's registers; refreshed on a miss.
 */
static inline uint8_t *
gather_translate(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct vhu_extent *extent, uint64_t address, uint32_t size, enum vhu_access access)
{
	uint64_t offset = address - extent->start, contiguous = size;
	uint8_t *host;

	if (__builtin_expect(offset < extent->size && size <= extent->size - offset, 1))
		return (uint8_t *)(uintptr_t)(address + extent->delta);
	host = vhu_translate_slow(&snapshot->space, &ring->hint, address, &contiguous,
		access);
	*extent = ring->hint.extent;
	return contiguous == size ? host : NULL;
}

/**
 * Where the second line to prefetch of a buffer of @p size bytes is: the buffer's last or the next.
 * Beyond two lines the hardware's own prefetching has caught on.
 */
#define VHU_SECOND_LINE(terms, size) ((size) - 1 < (terms)->unread + 64 ? (size) - 1 : \
	(terms)->unread + 64)

/**
 * Two lines, or the only one that will be read: a header without requests that lies in a line of
 * its own stays with the driver, which saves each frame of 64 bytes one of its two transfers
 * between the cores.
 */
static inline void
gather_prefetch_read(const struct vhu_terms *terms, const uint8_t *host, uint32_t second)
{
	__builtin_prefetch(host + terms->unread);
	__builtin_prefetch(host + second);
}

/** For writing, so that the guest's lines arrive in the state in which a store needs them. */
static inline void
gather_prefetch_write(const uint8_t *host)
{
	__builtin_prefetch(host, 1);
	__builtin_prefetch(host + 64, 1);
}

/** The same for a buffer that begins with a header: one that lies apart is only compared. */
static inline void
gather_prefetch_frame(const uint8_t *host, uint32_t header_size)
{
	if (header_lies_apart((uintptr_t)host, header_size))
		__builtin_prefetch(host);
	else
		__builtin_prefetch(host, 1);
	__builtin_prefetch(host + 64, 1);
}

/** 0 for a packet that one buffer can take by a plain copy. */
static inline uint64_t
gather_odd_packet(const struct rte_mbuf *m)
{
	return (m->nb_segs ^ 1u) | (m->ol_flags & VHU_TX_REQUESTS);
}

#endif /* VHU_NET_GATHER_H */
