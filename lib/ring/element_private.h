/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_RING_ELEMENT_PRIVATE_H
#define VHU_RING_ELEMENT_PRIVATE_H

/**
 * @file
 * What the files of the element queue share.
 */

#include "ring/element.h"

/** In queue->filled: nothing there. No id is that large. */
#define VHU_ELEMENT_GAP UINT16_MAX

/** Place in queue->order or queue->filled of entry @p n. */
static inline uint32_t
vhu_element_place(const struct vhu_element_queue *queue, uint64_t n)
{
	return (uint32_t)n & queue->mask;
}

#endif /* VHU_RING_ELEMENT_PRIVATE_H */
