/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <liburing.h>

#include "blk.h"

/*
 * Files and block devices. Everything goes through one io_uring per queue: begun requests are
 * handed to the kernel once per poll, and what is done is picked up without a system call.
 */

/* Most bytes that one step moves through a buffer of ours. */
#define BOUNCE_MAX (256u << 10)
/* How often the kernel may say that a request shall be tried again. */
#define TRIES 1000

static int
file_queue_open(struct blk_queue *queue)
{
	struct io_uring *ring = calloc(1, sizeof(*ring));
	int rc;

	if (ring == NULL)
		return -ENOMEM;
	/* The kernel need not interrupt a thread that comes by all the time. */
	rc = io_uring_queue_init(BLK_DEPTH, ring, IORING_SETUP_COOP_TASKRUN |
		IORING_SETUP_TASKRUN_FLAG);
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

/*
 * There are as many entries as requests, and each has one at a time. @return NULL, and the request
 * is done, should that ever be wrong.
 */
static struct io_uring_sqe *
next_entry(struct blk_queue *queue, struct blk_request *request)
{
	struct io_uring_sqe *entry = io_uring_get_sqe(queue->engine);

	if (entry == NULL) {
		free(request->bounce);
		blk_request_done(request, VIRTIO_BLK_S_IOERR);
	}
	return entry;
}

static bool
aligned(const struct blk_disk *disk, const struct blk_request *request)
{
	uintptr_t odd = 0;
	unsigned int i;

	for (i = 0; i < request->data_count; i++)
		odd |= (uintptr_t)request->data[i].iov_base | request->data[i].iov_len;
	return odd % disk->alignment == 0;
}

/* Bytes were moved: the segments begin behind them. @param bounce to or from there; NULL: not. */
static void
advance(struct blk_request *request, size_t size, uint8_t *bounce, bool to_bounce)
{
	while (size != 0 && request->data_count != 0) {
		struct iovec *segment = request->data;
		size_t piece = segment->iov_len < size ? segment->iov_len : size;

		if (bounce != NULL && to_bounce)
			memcpy(bounce, segment->iov_base, piece);
		else if (bounce != NULL)
			memcpy(segment->iov_base, bounce, piece);
		if (bounce != NULL)
			bounce += piece;
		segment->iov_base = (uint8_t *)segment->iov_base + piece;
		segment->iov_len -= piece;
		size -= piece;
		if (segment->iov_len == 0) {
			request->data++;
			request->data_count--;
		}
	}
}

/* Plain calls, for what is in memory. */
static void
transfer_now(const struct blk_disk *disk, struct blk_request *request)
{
	bool write = request->type == VIRTIO_BLK_T_OUT;

	if (disk->map != NULL && blk_map_transfer(disk, request)) {
		blk_request_done(request, VIRTIO_BLK_S_OK);
		return;
	}
	/* The kernel moves no more than 2 GiB in one call. */
	while (request->moved < request->size) {
		off_t at = (off_t)(request->offset + request->moved);
		int count = (int)request->data_count;
		ssize_t moved = write ? pwritev(disk->fd, request->data, count, at) :
			preadv(disk->fd, request->data, count, at);

		if (moved < 0 && errno == EINTR)
			continue;
		if (moved <= 0)
			break;
		request->moved += (uint64_t)moved;
		if (request->moved < request->size)
			advance(request, (size_t)moved, NULL, false);
	}
	if (write && disk->map != NULL)
		blk_map_note(disk, request->offset, request->moved, true);
	blk_request_done(request, request->moved == request->size ? VIRTIO_BLK_S_OK :
		VIRTIO_BLK_S_IOERR);
}

/* What is written is safe when it is done, for a guest that does not know how to flush. */
static int
write_flags(const struct blk_queue *queue)
{
	return queue->write_through ? RWF_DSYNC : 0;
}

/* Hand what is left of a transfer to the kernel, or as much of it as the bounce buffer holds. */
static void
transfer_step(struct blk_queue *queue, struct blk_request *request)
{
	const int fd = queue->device->disk.fd;
	const bool write = request->type == VIRTIO_BLK_T_OUT;
	const uint64_t at = request->offset + request->moved, left = request->size - request->moved;
	const unsigned int piece = left < BOUNCE_MAX ? (unsigned int)left : BOUNCE_MAX;
	struct io_uring_sqe *entry = next_entry(queue, request);

	if (entry == NULL)
		return;
	if (request->bounce != NULL && write) {
		if (request->step == 0) {
			advance(request, piece, request->bounce, true);
			request->step = piece;
			request->bounce_at = 0;
		}
		io_uring_prep_write(entry, fd, request->bounce + request->bounce_at, request->step,
			at);
		entry->rw_flags = write_flags(queue);
	} else if (request->bounce != NULL) {
		io_uring_prep_read(entry, fd, request->bounce, piece, at);
	} else if (write) {
		io_uring_prep_writev2(entry, fd, request->data, request->data_count, at,
			write_flags(queue));
	} else {
		io_uring_prep_readv(entry, fd, request->data, request->data_count, at);
	}
	io_uring_sqe_set_data(entry, request);
}

static void
begin_transfer(struct blk_queue *queue, struct blk_request *request)
{
	const struct blk_disk *disk = &queue->device->disk;
	void *bounce = NULL;
	size_t room = request->size < BOUNCE_MAX ? request->size : BOUNCE_MAX;

	if (disk->never_waits) {
		transfer_now(disk, request);
		return;
	}
	/* Where alignment does not suit O_DIRECT the data goes through a buffer of ours. */
	if (disk->direct && !aligned(disk, request) &&
	    posix_memalign(&bounce, disk->alignment > 4096 ? disk->alignment : 4096, room) != 0) {
		blk_request_done(request, VIRTIO_BLK_S_IOERR);
		return;
	}
	request->bounce = bounce;
	transfer_step(queue, request);
}

/* How a range is emptied: what was tried before it did not work here. */
static int
mode_of(const struct blk_queue *queue, const struct blk_request *request)
{
	bool punch = request->type == VIRTIO_BLK_T_DISCARD ||
		request->ranges[request->range].unmap || queue->device->disk.never_waits;

	if (request->second_try)
		punch = !punch;
	return FALLOC_FL_KEEP_SIZE | (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
}

static void
range_step(struct blk_queue *queue, struct blk_request *request)
{
	const struct blk_range *range = &request->ranges[request->range];
	struct io_uring_sqe *entry = next_entry(queue, request);

	if (entry == NULL)
		return;
	if (queue->device->disk.map != NULL)
		blk_map_note(&queue->device->disk, range->offset, range->size, false);
	io_uring_prep_fallocate(entry, queue->device->disk.fd, mode_of(queue, request),
		(off_t)range->offset, (off_t)range->size);
	io_uring_sqe_set_data(entry, request);
}

static void
sync_step(struct blk_queue *queue, struct blk_request *request)
{
	struct io_uring_sqe *entry = next_entry(queue, request);

	if (entry == NULL)
		return;
	io_uring_prep_fsync(entry, queue->device->disk.fd, IORING_FSYNC_DATASYNC);
	io_uring_sqe_set_data(entry, request);
}

/* The next thing that the kernel is asked for. */
static void
step(struct blk_queue *queue, struct blk_request *request)
{
	if (request->type == VIRTIO_BLK_T_IN || request->type == VIRTIO_BLK_T_OUT)
		transfer_step(queue, request);
	else if (request->type == VIRTIO_BLK_T_FLUSH || request->syncing)
		sync_step(queue, request);
	else
		range_step(queue, request);
}

static void
file_begin(struct blk_queue *queue, struct blk_request *request)
{
	switch (request->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		begin_transfer(queue, request);
		break;
	default:
		step(queue, request);
		break;
	}
}

static void
finish_transfer(struct blk_queue *queue, struct blk_request *request, int result)
{
	bool ok = result > 0;

	if (ok && request->bounce != NULL && request->type == VIRTIO_BLK_T_IN)
		advance(request, (size_t)result, request->bounce, false);
	/* Of a bounced write the rest is not where the segments begin any more. */
	if (ok && request->bounce != NULL && request->type == VIRTIO_BLK_T_OUT) {
		request->bounce_at += (unsigned int)result;
		request->step -= (unsigned int)result;
	}
	if (ok && request->bounce == NULL)
		advance(request, (size_t)result, NULL, false);
	if (ok)
		request->moved += (uint64_t)result;
	if (ok && request->moved < request->size) {
		transfer_step(queue, request);
		return;
	}
	free(request->bounce);
	request->bounce = NULL;
	blk_request_done(request, ok ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
}

static void
finish_range(struct blk_queue *queue, struct blk_request *request, int result)
{
	bool zeroes = request->type == VIRTIO_BLK_T_WRITE_ZEROES;

	if (result == -EOPNOTSUPP && zeroes && !request->second_try) {
		request->second_try = true;
		range_step(queue, request);
		return;
	}
	if (result == 0 && !request->syncing && ++request->range < request->range_count) {
		range_step(queue, request);
		return;
	}
	if (result == 0 && queue->write_through && !request->syncing) {
		request->syncing = true;
		sync_step(queue, request);
		return;
	}
	/* Forgetting is a hint: a file system that cannot do it has not failed. */
	if (result == -EOPNOTSUPP && !zeroes)
		result = 0;
	/* The guest then writes zeros itself. */
	blk_request_done(request, result == 0 ? VIRTIO_BLK_S_OK :
		result == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR);
}

/* The kernel is done with one step. */
static void
finish(struct blk_queue *queue, struct blk_request *request, int result)
{
	bool transfer = request->type == VIRTIO_BLK_T_IN || request->type == VIRTIO_BLK_T_OUT;

	/* A signal or a moment without memory is no error of the disk. */
	if ((result == -EINTR || result == -EAGAIN) && request->tries++ < TRIES) {
		step(queue, request);
		return;
	}
	if (transfer)
		finish_transfer(queue, request, result);
	else if (request->type == VIRTIO_BLK_T_FLUSH)
		blk_request_done(request, result == 0 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
	else
		finish_range(queue, request, result);
}

static void
file_reap(struct blk_queue *queue)
{
	struct io_uring *ring = queue->engine;
	struct io_uring_cqe *entry;
	unsigned int head, seen = 0;

	if (queue->under_way == queue->done_count)
		return;
	/* Without this, what is done waits for the next tick of the clock to be shown. */
	if (IO_URING_READ_ONCE(*ring->sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW))
		io_uring_get_events(ring);
	io_uring_for_each_cqe(ring, head, entry) {
		finish(queue, io_uring_cqe_get_data(entry), entry->res);
		seen++;
	}
	io_uring_cq_advance(ring, seen);
}

const struct blk_disk_ops blk_file_ops = {
	.name = "file",
	.open = blk_file_open,
	.close = blk_file_close,
	.measure = blk_file_measure,
	.queue_open = file_queue_open,
	.queue_close = file_queue_close,
	.flush_submissions = file_flush_submissions,
	.reap = file_reap,
	.begin = file_begin,
};
