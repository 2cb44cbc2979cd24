/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <endian.h>
#include <string.h>

#include "blk.h"

/*
 * A request is a header to be read, data to be read or written, and a status byte to be written
 * last (virtio 1.3, 5.2.6). How these are spread over segments is the guest's choice.
 */

/* Copy bytes from the front of the segments and cut them off. @return false if there are fewer. */
static bool
take_front(struct iovec **segments, unsigned int *count, void *to, size_t size)
{
	while (size != 0) {
		size_t piece;

		if (*count == 0)
			return false;
		piece = (*segments)->iov_len < size ? (*segments)->iov_len : size;
		memcpy(to, (*segments)->iov_base, piece);
		to = (uint8_t *)to + piece;
		size -= piece;
		(*segments)->iov_base = (uint8_t *)(*segments)->iov_base + piece;
		(*segments)->iov_len -= piece;
		if ((*segments)->iov_len == 0) {
			(*segments)++;
			(*count)--;
		}
	}
	return true;
}

/* Cut the last byte off. @return where it is, or NULL. */
static uint8_t *
take_last(struct iovec *segments, unsigned int *count)
{
	struct iovec *last;

	while (*count != 0 && segments[*count - 1].iov_len == 0)
		(*count)--;
	if (*count == 0)
		return NULL;
	last = &segments[*count - 1];
	last->iov_len--;
	if (last->iov_len == 0)
		(*count)--;
	return (uint8_t *)last->iov_base + last->iov_len;
}

static uint64_t
total(const struct iovec *segments, unsigned int count)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < count; i++)
		sum += segments[i].iov_len;
	return sum;
}

void
blk_request_done(struct blk_request *request, uint8_t status)
{
	struct blk_queue *queue = request->queue;

	if (request->status != NULL)
		*request->status = status;
	if (status != VIRTIO_BLK_S_OK)
		blk_count(&queue->counters.errors, 1);
	queue->done[queue->done_count] = request;
	queue->done_length[queue->done_count++] = request->written;
}

/* Does the range lie on the disk, in whole blocks? */
static bool
on_disk(const struct blk_disk *disk, uint64_t sector, uint64_t size)
{
	return ((sector << BLK_SECTOR_SHIFT) | size) % disk->block_size == 0 &&
		sector <= disk->size >> BLK_SECTOR_SHIFT &&
		size <= disk->size - (sector << BLK_SECTOR_SHIFT);
}

/* Read or write. */
static void
begin_transfer(struct blk_queue *queue, struct blk_request *request)
{
	const struct blk_disk *disk = &queue->device->disk;
	bool write = request->type == VIRTIO_BLK_T_OUT;

	if (!on_disk(disk, request->sector, request->size) || (write && disk->read_only)) {
		blk_request_done(request, VIRTIO_BLK_S_IOERR);
		return;
	}
	request->offset = request->sector << BLK_SECTOR_SHIFT;
	blk_count(write ? &queue->counters.writes : &queue->counters.reads, 1);
	blk_count(write ? &queue->counters.bytes_written : &queue->counters.bytes_read,
		request->size);
	if (request->size == 0)
		blk_request_done(request, VIRTIO_BLK_S_OK);
	else
		disk->ops->begin(queue, request);
}

/* Copy the ranges of a discard or write-zeroes request. @return a status. */
static uint8_t
read_ranges(const struct blk_disk *disk, struct blk_request *request)
{
	const size_t each = sizeof(struct virtio_blk_discard_write_zeroes);
	bool zeroes = request->type == VIRTIO_BLK_T_WRITE_ZEROES;
	unsigned int left;

	if (disk->read_only || request->size == 0 || request->size % each != 0 ||
	    request->size / each > BLK_RANGES_MAX)
		return VIRTIO_BLK_S_IOERR;
	request->range_count = 0;
	for (left = (unsigned int)(request->size / each); left != 0; left--) {
		struct virtio_blk_discard_write_zeroes raw;
		struct blk_range *range = &request->ranges[request->range_count];
		uint32_t flags, sectors;

		take_front(&request->data, &request->data_count, &raw, sizeof(raw));
		flags = le32toh(raw.flags);
		sectors = le32toh(raw.num_sectors);
		if ((flags & ~VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) != 0 || (!zeroes && flags != 0))
			return VIRTIO_BLK_S_UNSUPP;
		if (sectors > BLK_RANGE_SECTORS_MAX || !on_disk(disk, le64toh(raw.sector),
				(uint64_t)sectors << BLK_SECTOR_SHIFT))
			return VIRTIO_BLK_S_IOERR;
		range->offset = le64toh(raw.sector) << BLK_SECTOR_SHIFT;
		range->size = (uint64_t)sectors << BLK_SECTOR_SHIFT;
		range->unmap = flags != 0;
		/* An empty range asks for nothing, which the kernel would call an error. */
		if (sectors != 0)
			request->range_count++;
	}
	return VIRTIO_BLK_S_OK;
}

static void
begin_ranges(struct blk_queue *queue, struct blk_request *request)
{
	const struct blk_disk *disk = &queue->device->disk;
	bool zeroes = request->type == VIRTIO_BLK_T_WRITE_ZEROES;
	uint8_t status = zeroes || disk->discard ? read_ranges(disk, request) :
		VIRTIO_BLK_S_UNSUPP;

	if (status != VIRTIO_BLK_S_OK) {
		blk_request_done(request, status);
		return;
	}
	request->range = 0;
	blk_count(zeroes ? &queue->counters.write_zeroes : &queue->counters.discards, 1);
	if (request->range_count == 0)
		blk_request_done(request, VIRTIO_BLK_S_OK);
	else
		disk->ops->begin(queue, request);
}

static void
answer_id(struct blk_queue *queue, struct blk_request *request)
{
	const char *serial = queue->device->options.serial;
	size_t left = VIRTIO_BLK_ID_BYTES, at = 0;
	unsigned int i;

	blk_count(&queue->counters.other, 1);
	for (i = 0; i < request->data_count && left != 0; i++) {
		size_t piece = request->data[i].iov_len < left ? request->data[i].iov_len : left;

		memcpy(request->data[i].iov_base, serial + at, piece);
		at += piece;
		left -= piece;
	}
	blk_request_done(request, VIRTIO_BLK_S_OK);
}

/* Header and status are cut off; what is left is data, on the side that the type says. */
static bool
take_apart(struct blk_request *request)
{
	struct virtio_blk_outhdr header;
	VuVirtqElement *e = &request->element;
	struct iovec *readable = e->out_sg, *writable = e->in_sg;
	unsigned int readable_count = e->out_num, writable_count = e->in_num;
	uint64_t writable_size = total(writable, writable_count);

	request->status = take_last(writable, &writable_count);
	/* The status is the last byte: what is in front counts, or the log would lose its page. */
	request->written = writable_size < UINT32_MAX ? (unsigned int)writable_size : UINT32_MAX;
	if (request->status == NULL ||
	    !take_front(&readable, &readable_count, &header, sizeof(header)))
		return false;
	request->type = le32toh(header.type);
	request->sector = le64toh(header.sector);
	if (request->type == VIRTIO_BLK_T_IN || request->type == VIRTIO_BLK_T_GET_ID) {
		request->data = writable;
		request->data_count = writable_count;
	} else {
		request->data = readable;
		request->data_count = readable_count;
	}
	request->size = total(request->data, request->data_count);
	return true;
}

/*
 * A disk in memory is larger than any cache, and a copy that begins only when it is its turn waits
 * for every other line. Asked for while the request before is worked on, they come in the meantime.
 * As a function of its own gcc would take it for one without effect and leave it out.
 */
static inline __attribute__((always_inline)) void
prefetch(const struct blk_disk *disk, const struct blk_request *request)
{
	uint64_t i, size = request->size < BLK_PREFETCH ? request->size : BLK_PREFETCH;
	const uint8_t *at;

	if (request->type > VIRTIO_BLK_T_OUT || !on_disk(disk, request->sector, request->size))
		return;
	at = disk->memory + (request->sector << BLK_SECTOR_SHIFT);
	for (i = 0; i < size; i += 64)
		__builtin_prefetch(at + i, 0, 2);
}

void
blk_request_parse(struct blk_queue *queue, struct blk_request *request)
{
	request->queue = queue;
	request->bounce = NULL;
	request->moved = 0;
	request->step = 0;
	request->tries = 0;
	request->second_try = false;
	request->syncing = false;
	request->whole = take_apart(request);
	if (request->whole && queue->device->disk.memory != NULL)
		prefetch(&queue->device->disk, request);
}

void
blk_request_begin(struct blk_queue *queue, struct blk_request *request)
{
	queue->under_way++;
	if (!request->whole) {
		blk_count(&queue->counters.malformed, 1);
		blk_request_done(request, VIRTIO_BLK_S_IOERR);
		return;
	}
	switch (request->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		begin_transfer(queue, request);
		break;
	case VIRTIO_BLK_T_FLUSH:
		blk_count(&queue->counters.flushes, 1);
		queue->device->disk.ops->begin(queue, request);
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		begin_ranges(queue, request);
		break;
	case VIRTIO_BLK_T_GET_ID:
		answer_id(queue, request);
		break;
	default:
		blk_count(&queue->counters.other, 1);
		blk_request_done(request, VIRTIO_BLK_S_UNSUPP);
	}
}
