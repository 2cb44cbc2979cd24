/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_CURSOR_H
#define VHU_NET_CURSOR_H

/**
 * @file
 * A position in a list of segments, for reading or writing them as one run of bytes.
 */

#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

/**
 * Copies pieces of payload that are worth it: the copy of the bursts' instruction set (body.h).
 * vhu_net_specialise() writes it before the first snapshot is published, always the same; lcores
 * read it.
 */
extern void (*vhu_cursor_copy)(void *to, const void *from, size_t size)
	__attribute__((visibility("hidden")));

/** Shorter pieces are not worth the call. */
#define VHU_CURSOR_SHORT 128

static inline void
vhu_cursor_move(void *to, const void *from, uint32_t size)
{
	if (size < VHU_CURSOR_SHORT)
		memcpy(to, from, size);
	else
		vhu_cursor_copy(to, from, size);
}

struct vhu_cursor {
	const struct iovec *segment;
	const struct iovec *end;
	uint32_t offset; /* in *segment */
};

static inline struct vhu_cursor
vhu_cursor_at(const struct iovec *segments, uint32_t count)
{
	return (struct vhu_cursor){ segments, segments + count, 0 };
}

/*
 * The contiguous piece at the cursor, at most @p size bytes; moves past it. @return 0 at the end.
 */
static inline uint32_t
vhu_cursor_piece(struct vhu_cursor *cursor, uint32_t size, uint8_t **host)
{
	uint64_t room;

	if (cursor->segment == cursor->end)
		return 0;
	room = cursor->segment->iov_len - cursor->offset;
	*host = (uint8_t *)cursor->segment->iov_base + cursor->offset;
	if (size < room) {
		cursor->offset += size;
		return size;
	}
	cursor->segment++;
	cursor->offset = 0;
	return (uint32_t)room;
}

/* Copy @p size bytes out of the segments. @return bytes copied: fewer at the end. */
static inline uint32_t
vhu_cursor_read(struct vhu_cursor *cursor, void *to, uint32_t size)
{
	uint32_t done = 0, piece;
	uint8_t *host;

	while (done < size && (piece = vhu_cursor_piece(cursor, size - done, &host)) != 0) {
		vhu_cursor_move((uint8_t *)to + done, host, piece);
		done += piece;
	}
	return done;
}

/* Copy @p size bytes into the segments. @return bytes copied: fewer at the end. */
static inline uint32_t
vhu_cursor_write(struct vhu_cursor *cursor, const void *from, uint32_t size)
{
	uint32_t done = 0, piece;
	uint8_t *host;

	while (done < size && (piece = vhu_cursor_piece(cursor, size - done, &host)) != 0) {
		vhu_cursor_move(host, (const uint8_t *)from + done, piece);
		done += piece;
	}
	return done;
}

/* Move @p size bytes on. */
static inline void
vhu_cursor_skip(struct vhu_cursor *cursor, uint32_t size)
{
	uint32_t piece;
	uint8_t *host;

	while (size != 0 && (piece = vhu_cursor_piece(cursor, size, &host)) != 0)
		size -= piece;
}

#endif /* VHU_NET_CURSOR_H */
