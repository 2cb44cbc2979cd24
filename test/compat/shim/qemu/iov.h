/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef QEMU_IOV_H
#define QEMU_IOV_H

/**
 * @file
 * Functions over lists of segments with the names that programs of QEMU's tree use.
 */

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

/** Visit the bytes from @p offset on; @return how many were visited, at most @p bytes. */
static inline size_t
shim_iov_move(const struct iovec *iov, unsigned int count, size_t offset, void *buffer,
	size_t bytes, int to_segments)
{
	size_t done = 0;
	unsigned int i;

	for (i = 0; i < count && done < bytes; i++) {
		size_t piece;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		piece = iov[i].iov_len - offset;
		if (piece > bytes - done)
			piece = bytes - done;
		if (to_segments)
			memcpy((char *)iov[i].iov_base + offset, (char *)buffer + done, piece);
		else
			memcpy((char *)buffer + done, (char *)iov[i].iov_base + offset, piece);
		done += piece;
		offset = 0;
	}
	return done;
}

static inline size_t
iov_from_buf(const struct iovec *iov, unsigned int count, size_t offset, const void *buffer,
	size_t bytes)
{
	return shim_iov_move(iov, count, offset, (void *)(uintptr_t)buffer, bytes, 1);
}

static inline size_t
iov_to_buf(const struct iovec *iov, unsigned int count, size_t offset, void *buffer, size_t bytes)
{
	return shim_iov_move(iov, count, offset, buffer, bytes, 0);
}

static inline size_t
iov_size(const struct iovec *iov, unsigned int count)
{
	size_t sum = 0;

	while (count-- != 0)
		sum += iov++->iov_len;
	return sum;
}

/** Segments of the range that begins at @p offset. @return how many. */
static inline unsigned int
iov_copy(struct iovec *to, unsigned int room, const struct iovec *iov, unsigned int count,
	size_t offset, size_t bytes)
{
	unsigned int i, n = 0;

	for (i = 0; i < count && n < room && bytes != 0; i++) {
		size_t piece;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		piece = iov[i].iov_len - offset;
		if (piece > bytes)
			piece = bytes;
		to[n].iov_base = (char *)iov[i].iov_base + offset;
		to[n++].iov_len = piece;
		bytes -= piece;
		offset = 0;
	}
	return n;
}

/** Cut bytes off the front. @return how many were. */
static inline size_t
iov_discard_front(struct iovec **iov, unsigned int *count, size_t bytes)
{
	size_t done = 0;

	while (*count != 0 && done < bytes) {
		size_t piece = (*iov)->iov_len;

		if (piece > bytes - done) {
			piece = bytes - done;
			(*iov)->iov_base = (char *)(*iov)->iov_base + piece;
			(*iov)->iov_len -= piece;
			return done + piece;
		}
		done += piece;
		(*iov)++;
		(*count)--;
	}
	return done;
}

static inline void
iov_hexdump(const struct iovec *iov, unsigned int count, FILE *file, const char *prefix,
	size_t limit)
{
	unsigned int i;
	size_t at, n = 0;

	fprintf(file, "%s", prefix);
	for (i = 0; i < count; i++)
		for (at = 0; at < iov[i].iov_len && n < limit; at++, n++)
			fprintf(file, " %02x", ((const unsigned char *)iov[i].iov_base)[at]);
	fputc('\n', file);
}

#endif
