/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_MARK_H
#define VHU_NET_MARK_H

/**
 * @file
 * Noting frames in the dirty log after they were copied to guest memory and before the guest hears
 * of them. Called only while there is a log (snapshot->dirty), so that a burst without migration
 * pays one branch per run. Buffers are noted by where they are mapped, which holds whatever their
 * addresses in descriptors mean. lcore only.
 */

#include <stdint.h>
#include <sys/uio.h>

#include "snap/snapshot.h"

/** Note @p count buffers: @p size bytes at each @p host. */
void vhu_mark_buffers(const struct vhu_snapshot *snapshot, uint8_t *const *host,
	const uint32_t *size, unsigned int count);

/** Note the first @p size bytes of a list of segments. */
void vhu_mark_segments(const struct vhu_snapshot *snapshot, const struct iovec *segments,
	uint32_t count, uint64_t size);

#endif /* VHU_NET_MARK_H */
