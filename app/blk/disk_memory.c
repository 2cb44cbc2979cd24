/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "blk.h"

/* Disks whose requests are done at once: in memory, and nowhere. */

static int
open_sized(struct blk_disk *disk, const struct blk_options *options)
{
	disk->size = options->size - options->size % options->block_size;
	disk->physical_size = options->block_size;
	disk->discard = true;
	disk->fd = -1;
	return 0;
}

static int
malloc_open(struct blk_disk *disk, const struct blk_options *options, char *why, size_t room)
{
	open_sized(disk, options);
	disk->memory = mmap(NULL, disk->size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (disk->memory == MAP_FAILED) {
		int error = errno;

		disk->memory = NULL;
		snprintf(why, room, "no memory for a disk of %llu bytes: %s; choose a smaller one",
			(unsigned long long)disk->size, strerror(error));
		return -error;
	}
	/* Large pages where the kernel has them, and all of them now: no request waits for one. */
	(void)madvise(disk->memory, disk->size, MADV_HUGEPAGE);
	if (madvise(disk->memory, disk->size, MADV_POPULATE_WRITE) != 0 && errno == ENOMEM) {
		munmap(disk->memory, disk->size);
		disk->memory = NULL;
		snprintf(why, room, "no memory for a disk of %llu bytes; choose a smaller one",
			(unsigned long long)disk->size);
		return -ENOMEM;
	}
	return 0;
}

static void
malloc_close(struct blk_disk *disk)
{
	if (disk->memory != NULL)
		munmap(disk->memory, disk->size);
	disk->memory = NULL;
}

static void
zero(const struct blk_disk *disk, const struct blk_range *range)
{
	/* Whole pages go back to the kernel and read as zeros; the rest is written. */
	const uint64_t page = 4096;
	uint64_t start = (range->offset + page - 1) / page * page;
	uint64_t end = (range->offset + range->size) / page * page;

	if (start < end && madvise(disk->memory + start, end - start, MADV_DONTNEED) == 0) {
		memset(disk->memory + range->offset, 0, start - range->offset);
		memset(disk->memory + end, 0, range->offset + range->size - end);
	} else {
		memset(disk->memory + range->offset, 0, range->size);
	}
}

void
blk_memory_copy(const struct blk_request *request, uint8_t *at)
{
	unsigned int i;

	for (i = 0; i < request->data_count; i++) {
		const struct iovec *segment = &request->data[i];

		if (request->type == VIRTIO_BLK_T_IN)
			memcpy(segment->iov_base, at, segment->iov_len);
		else
			memcpy(at, segment->iov_base, segment->iov_len);
		at += segment->iov_len;
	}
}

static void
malloc_begin(struct blk_queue *queue, struct blk_request *request)
{
	const struct blk_disk *disk = &queue->device->disk;
	unsigned int i;

	switch (request->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		blk_memory_copy(request, disk->memory + request->offset);
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		for (i = 0; i < request->range_count; i++)
			zero(disk, &request->ranges[i]);
		break;
	default: /* nothing to flush */
		break;
	}
	blk_request_done(request, VIRTIO_BLK_S_OK);
}

const struct blk_disk_ops blk_malloc_ops = {
	.name = "malloc",
	.open = malloc_open,
	.close = malloc_close,
	.begin = malloc_begin,
};

static int
null_open(struct blk_disk *disk, const struct blk_options *options, char *why, size_t room)
{
	(void)why;
	(void)room;
	return open_sized(disk, options);
}

static void
null_close(struct blk_disk *disk)
{
	(void)disk;
}

static void
null_begin(struct blk_queue *queue, struct blk_request *request)
{
	unsigned int i;

	(void)queue;
	if (request->type == VIRTIO_BLK_T_IN)
		for (i = 0; i < request->data_count; i++)
			memset(request->data[i].iov_base, 0, request->data[i].iov_len);
	blk_request_done(request, VIRTIO_BLK_S_OK);
}

const struct blk_disk_ops blk_null_ops = {
	.name = "null",
	.open = null_open,
	.close = null_close,
	.begin = null_begin,
};
