/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_MEM_REGION_H
#define VHU_MEM_REGION_H

/**
 * @file
 * Regions: one range of guest memory, mapped from the file that the front-end sent.
 *
 * A region is validated (cheap, control thread) before it is mapped (slow, worker thread). It is
 * immutable once mapped and is shared by maps through a reference count that only the control
 * thread touches; whoever drops the last reference hands the region to the worker for unmapping.
 */

#include <stdbool.h>
#include <stdint.h>

#include "wire/message.h"

struct vhu_region {
	uint64_t guest_address; /**< guest-physical */
	uint64_t size;          /**< bytes */
	uint64_t user_address;  /**< in the front-end */
	uint64_t file_offset;   /**< of the first byte of the region */
	uint64_t page_size;     /**< of the file, bytes */
	uint8_t *host;          /**< first byte of the region in this process */
	void *mapping;          /**< what mmap returned: host aligned down to a page of the file */
	uint64_t mapping_size;
	uint64_t device;        /**< st_dev and st_ino: two regions are the same memory if */
	uint64_t inode;         /**< these, offset, size and addresses agree */
	unsigned int references; /**< control thread only */
	unsigned int repeats;   /**< control thread only: added again so often, and not removed */
	int fd;                 /**< open until mapped, -1 afterwards; owned */
	bool closed;            /**< mapped without access: vhu_region_open() comes */
	struct vhu_region *next; /**< both: for whoever keeps it after its last reference */
	uint32_t removal;
};

/**
 * Check a description against its file and prepare a region; nothing is mapped yet.
 * Refused: size 0, sums that wrap, a descriptor that is no readable and writable file, a file that
 * is too short.
 * @param fd  taken over in every case.
 * @param region  receives the new region with one reference, NULL when refused.
 */
struct vhu_verdict vhu_region_prepare(const struct vhu_wire_region *wire, int fd,
	struct vhu_region **region);

/**
 * Map a prepared region: shared, readable and writable, without core dump; closes its fd.
 * @param populate  fault all pages in.
 * Worker thread (or the caller's, in a process without one).
 * @return 0 or -errno.
 */
int vhu_region_map(struct vhu_region *region, bool populate);

/**
 * Map as vhu_region_map(), but such that nothing can be read or written (and nothing is faulted in)
 * until vhu_region_open().
 */
int vhu_region_map_closed(struct vhu_region *region);
/**
 * Have faults of a closed region served by whoever reads the userfaultfd, and open it. Pages that
 * are missing then block whoever touches them. Worker thread. @return 0 or -errno.
 */
int vhu_region_open(struct vhu_region *region, int userfaultfd);

/** Unmap and free. Worker thread. */
void vhu_region_free(struct vhu_region *region);

/** Do two describe the same bytes of the same file at the same addresses? */
bool vhu_region_same(const struct vhu_region *a, const struct vhu_region *b);

#endif /* VHU_MEM_REGION_H */
