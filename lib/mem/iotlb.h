/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_MEM_IOTLB_H
#define VHU_MEM_IOTLB_H

/**
 * @file
 * IOTLB: translations of I/O virtual addresses that the front-end sent (IOTLB_MSG).
 *
 * One writer (the control thread), any number of lcores that read without a lock. An entry that is
 * taken out stays readable for bursts under way: whoever invalidates moves the generation on and
 * waits for a grace period before it answers. Entries are the front-end's pages resolved to host
 * addresses; lookup cost does not grow with their number.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mem/map.h"

/** What a range may be used for; the bits of the IOTLB message (VHOST_ACCESS_RO, _WO). */
enum vhu_access {
	VHU_READ = 1,
	VHU_WRITE = 2,
};

struct vhu_iotlb;

/** The extent used last. Private to the lcore that bursts on the ring. */
struct vhu_hint {
	struct vhu_extent extent; /**< may be read and written */
	uint64_t generation; /**< of the map or IOTLB it was taken from; 0: empty */
};

/**
 * lcore: search. @return as vhu_translate(). An extent that may be both read and written becomes
 * the hint. The caller remembers a miss (vhu_ring_miss()).
 */
void *vhu_iotlb_translate(const struct vhu_iotlb *iotlb, struct vhu_hint *hint, uint64_t address,
	uint64_t *size, enum vhu_access access);

/** lcore: changes whenever an entry was taken out or replaced; differs from that of any map. */
uint64_t vhu_iotlb_generation(const struct vhu_iotlb *iotlb);

#endif /* VHU_MEM_IOTLB_H */
