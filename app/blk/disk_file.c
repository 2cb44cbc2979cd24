/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <liburing.h>

#include "blk.h"

/*
 * Files and block devices. Everything goes through one io_uring per queue: begun requests are
 * handed to the kernel once per poll, and what is done is picked up without a system call.
 */

/* Buffers for O_DIRECT begin and are sized in multiples of this, whatever the disk's block size. */
#define DIRECT_ALIGNMENT 512u

static void
fill_geometry(struct blk_disk *disk, const struct stat *status)
{
	unsigned int physical = 0;

	disk->size = (uint64_t)status->st_size;
	disk->physical_size = (uint32_t)status->st_blksize;
	if (S_ISBLK(status->st_mode)) {
		uint64_t size;

		if (ioctl(disk->fd, BLKGETSIZE64, &size) == 0)
			disk->size = size;
		if (ioctl(disk->fd, BLKPBSZGET, &physical) == 0)
			disk->physical_size = physical;
	}
	if (disk->physical_size < disk->block_size)
		disk->physical_size = disk->block_size;
	disk->size -= disk->size % disk->block_size;
}

static int
open_path(struct blk_disk *disk, const struct blk_options *options)
{
	int flags = (options->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;

	disk->direct = !options->buffered;
	disk->fd = open(options->path, flags | (disk->direct ? O_DIRECT : 0));
	if (disk->fd < 0 && disk->direct && errno == EINVAL) {
		/* File systems in memory have no cache to go around. */
		disk->direct = false;
		disk->fd = open(options->path, flags);
	}
	return disk->fd < 0 ? -errno : 0;
}

static int
file_open(struct blk_disk *disk, const struct blk_options *options, char *why, size_t room)
{
	struct statfs system;
	struct stat status;
	int rc = open_path(disk, options);

	if (rc == 0 && fstat(disk->fd, &status) != 0)
		rc = -errno;
	if (rc != 0) {
		snprintf(why, room, "%s cannot be opened: %s; give a file or a block device%s",
			options->path, strerror(-rc), options->read_only ? "" : ", or ro=1");
		goto fail;
	}
	if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
		rc = -EINVAL;
		snprintf(why, room, "%s is neither a file nor a block device", options->path);
		goto fail;
	}
	fill_geometry(disk, &status);
	if (disk->size == 0) {
		rc = -EINVAL;
		snprintf(why, room, "%s holds no block of %u bytes; make it larger",
			options->path, disk->block_size);
		goto fail;
	}
	disk->discard = !options->read_only;
	/* What is in memory already never has to be waited for: no ring between us and it. */
	disk->never_waits = fstatfs(disk->fd, &system) == 0 && system.f_type == TMPFS_MAGIC;
	return 0;
fail:
	if (disk->fd >= 0)
		close(disk->fd);
	disk->fd = -1;
	return rc;
}

static void
file_close(struct blk_disk *disk)
{
	if (disk->fd >= 0)
		close(disk->fd);
	disk->fd = -1;
}

static int
file_queue_open(struct blk_queue *queue)
{
	struct io_uring *ring = calloc(1, sizeof(*ring));
	int rc;

	if (ring == NULL)
		return -ENOMEM;
	/* The kernel need not interrupt a thread that comes by all the time. */
	rc = io_uring_queue_init(BLK_DEPTH, ring, IORING_SETUP_COOP_TASKRUN);
	if (rc == -EINVAL)
		rc = io_uring_queue_init(BLK_DEPTH, ring, 0);
	if (rc != 0) {
		free(ring);
		return rc;
	}
	queue->engine = ring;
	return 0;
}

static void
file_queue_close(struct blk_queue *queue)
{
	if (queue->engine == NULL)
		return;
	io_uring_queue_exit(queue->engine);
	free(queue->engine);
	queue->engine = NULL;
}

static void
file_flush_submissions(struct blk_queue *queue)
{
	struct io_uring *ring = queue->engine;

	if (io_uring_sq_ready(ring) != 0)
		io_uring_submit(ring);
}

static struct io_uring_sqe *
next_entry(struct blk_queue *queue)
{
	struct io_uring_sqe *entry = io_uring_get_sqe(queue->engine);

	/* As many entries as requests: there is room once the kernel has taken the others. */
	while (entry == NULL) {
		io_uring_submit(queue->engine);
		entry = io_uring_get_sqe(queue->engine);
	}
	return entry;
}

static bool
aligned(const struct blk_request *request)
{
	uintptr_t odd = 0;
	unsigned int i;

	for (i = 0; i < request->data_count; i++)
		odd |= (uintptr_t)request->data[i].iov_base | request->data[i].iov_len;
	return odd % DIRECT_ALIGNMENT == 0;
}

static void
copy_segments(struct blk_request *request, bool to_bounce)
{
	uint8_t *at = request->bounce;
	unsigned int i;

	for (i = 0; i < request->data_count; i++) {
		const struct iovec *segment = &request->data[i];

		if (to_bounce)
			memcpy(at, segment->iov_base, segment->iov_len);
		else
			memcpy(segment->iov_base, at, segment->iov_len);
		at += segment->iov_len;
	}
}

/* Where alignment does not suit O_DIRECT the data goes through a buffer of ours. */
static bool
make_bounce(struct blk_request *request)
{
	if (posix_memalign(&request->bounce, 4096, request->size) != 0) {
		request->bounce = NULL;
		return false;
	}
	if (request->type == VIRTIO_BLK_T_OUT)
		copy_segments(request, true);
	return true;
}

/* Plain calls, for what is in memory. */
static void
transfer_now(const struct blk_disk *disk, struct blk_request *request)
{
	ssize_t moved = request->type == VIRTIO_BLK_T_OUT ?
		pwritev(disk->fd, request->data, (int)request->data_count,
			(off_t)request->offset) :
		preadv(disk->fd, request->data, (int)request->data_count, (off_t)request->offset);

	blk_request_done(request, moved == (ssize_t)request->size ? VIRTIO_BLK_S_OK :
		VIRTIO_BLK_S_IOERR);
}

static void
begin_transfer(struct blk_queue *queue, struct blk_request *request)
{
	const struct blk_disk *disk = &queue->device->disk;
	bool write = request->type == VIRTIO_BLK_T_OUT;
	struct io_uring_sqe *entry;

	if (disk->never_waits) {
		transfer_now(disk, request);
		return;
	}
	if (disk->direct && !aligned(request) && !make_bounce(request)) {
		blk_request_done(request, VIRTIO_BLK_S_IOERR);
		return;
	}
	entry = next_entry(queue);
	if (request->bounce != NULL && write)
		io_uring_prep_write(entry, disk->fd, request->bounce, (unsigned int)request->size,
			request->offset);
	else if (request->bounce != NULL)
		io_uring_prep_read(entry, disk->fd, request->bounce, (unsigned int)request->size,
			request->offset);
	else if (write)
		io_uring_prep_writev(entry, disk->fd, request->data, request->data_count,
			request->offset);
	else
		io_uring_prep_readv(entry, disk->fd, request->data, request->data_count,
			request->offset);
	io_uring_sqe_set_data(entry, request);
}

static void
begin_range(struct blk_queue *queue, struct blk_request *request)
{
	const struct blk_range *range = &request->ranges[request->range];
	bool punch = request->type == VIRTIO_BLK_T_DISCARD || range->unmap ||
		queue->device->disk.never_waits;
	struct io_uring_sqe *entry = next_entry(queue);

	io_uring_prep_fallocate(entry, queue->device->disk.fd, FALLOC_FL_KEEP_SIZE |
		(punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE), (off_t)range->offset,
		(off_t)range->size);
	io_uring_sqe_set_data(entry, request);
}

static void
file_begin(struct blk_queue *queue, struct blk_request *request)
{
	struct io_uring_sqe *entry;

	switch (request->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		begin_transfer(queue, request);
		break;
	case VIRTIO_BLK_T_FLUSH:
		entry = next_entry(queue);
		io_uring_prep_fsync(entry, queue->device->disk.fd, IORING_FSYNC_DATASYNC);
		io_uring_sqe_set_data(entry, request);
		break;
	default:
		begin_range(queue, request);
		break;
	}
}

/* The kernel is done with one step. */
static void
finish(struct blk_queue *queue, struct blk_request *request, int result)
{
	bool transfer = request->type == VIRTIO_BLK_T_IN || request->type == VIRTIO_BLK_T_OUT;
	bool ok = transfer ? result >= 0 && (uint64_t)result == request->size : result == 0;

	if (request->bounce != NULL) {
		if (ok && request->type == VIRTIO_BLK_T_IN)
			copy_segments(request, false);
		free(request->bounce);
		request->bounce = NULL;
	}
	if (ok && !transfer && ++request->range < request->range_count) {
		begin_range(queue, request);
		return;
	}
	/* Forgetting is a hint: a file system that cannot do it has not failed. */
	if (request->type == VIRTIO_BLK_T_DISCARD && result == -EOPNOTSUPP)
		ok = true;
	blk_request_done(request, ok ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
}

static void
file_reap(struct blk_queue *queue)
{
	struct io_uring *ring = queue->engine;
	struct io_uring_cqe *entry;
	unsigned int head, seen = 0;

	if (queue->under_way == queue->done_count)
		return;
	io_uring_for_each_cqe(ring, head, entry) {
		finish(queue, io_uring_cqe_get_data(entry), entry->res);
		seen++;
	}
	io_uring_cq_advance(ring, seen);
}

const struct blk_disk_ops blk_file_ops = {
	.name = "file",
	.open = file_open,
	.close = file_close,
	.queue_open = file_queue_open,
	.queue_close = file_queue_close,
	.flush_submissions = file_flush_submissions,
	.reap = file_reap,
	.begin = file_begin,
};
