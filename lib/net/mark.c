/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "mem/dirty.h"
#include "net/mark.h"

void
vhu_mark_buffers(const struct vhu_snapshot *snapshot, uint8_t *const *host, const uint32_t *size,
	unsigned int count)
{
	struct vhu_dirty_cache cache;
	unsigned int i;

	vhu_dirty_begin(&cache);
	for (i = 0; i < count; i++)
		vhu_dirty_note_host(snapshot->dirty, &cache, snapshot->space.map, host[i],
			size[i]);
	vhu_dirty_flush(snapshot->dirty, &cache);
}

void
vhu_mark_segments(const struct vhu_snapshot *snapshot, const struct iovec *segments,
	uint32_t count, uint64_t size)
{
	struct vhu_dirty_cache cache;
	uint32_t i;

	vhu_dirty_begin(&cache);
	for (i = 0; i < count && size != 0; i++) {
		uint64_t piece = segments[i].iov_len < size ? segments[i].iov_len : size;

		vhu_dirty_note_host(snapshot->dirty, &cache, snapshot->space.map,
			segments[i].iov_base, piece);
		size -= piece;
	}
	vhu_dirty_flush(snapshot->dirty, &cache);
}
