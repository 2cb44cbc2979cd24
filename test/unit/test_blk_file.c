/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * The file engine of vhu-blk against a kernel of the test's own: what it asks for through io_uring
 * is looked at, and answered as a kernel may answer on a bad day. Files on a tmpfs are real.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <liburing.h>

#include "unit.h"

#include "blk/blk.h"

#define ENTRIES 512u
#define DISK (1u << 20)

/* The rings that the kernel would share. */
static unsigned int sq_head, cq_head, cq_tail, flags;
static struct io_uring_sqe sqes[ENTRIES];
static struct io_uring_cqe cqes[ENTRIES];

int __wrap_io_uring_queue_init(unsigned int entries, struct io_uring *ring, unsigned int how);
void __wrap_io_uring_queue_exit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);

int
__wrap_io_uring_queue_init(unsigned int entries, struct io_uring *ring, unsigned int how)
{
	(void)entries;
	(void)how;
	memset(ring, 0, sizeof(*ring));
	sq_head = cq_head = cq_tail = flags = 0;
	ring->sq.khead = &sq_head;
	ring->sq.kflags = &flags;
	ring->sq.sqes = sqes;
	ring->sq.ring_entries = ENTRIES;
	ring->sq.ring_mask = ENTRIES - 1;
	ring->cq.khead = &cq_head;
	ring->cq.ktail = &cq_tail;
	ring->cq.cqes = cqes;
	ring->cq.ring_entries = ENTRIES;
	ring->cq.ring_mask = ENTRIES - 1;
	return 0;
}

void
__wrap_io_uring_queue_exit(struct io_uring *ring)
{
	(void)ring;
}

int
__wrap_io_uring_submit(struct io_uring *ring)
{
	(void)ring;
	return 0;
}

static struct blk_device device;
static struct blk_queue queue;
static struct blk_request request;
static struct iovec readable[4], writable[4];
static struct {
	struct virtio_blk_outhdr header;
	struct virtio_blk_discard_write_zeroes ranges[2];
} asked;
static uint8_t data[8192] __attribute__((aligned(4096)));
static uint8_t status;

static void
open_disk(const char *template)
{
	char why[5000];
	int fd;

	device.options.buffered = true;
	strcpy(device.options.path, template);
	fd = mkstemp(device.options.path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, DISK), 0);
	close(fd);
	device.disk = (struct blk_disk){ .ops = &blk_file_ops, .block_size = 512 };
	assert_int_equal(blk_file_ops.open(&device.disk, &device.options, why, sizeof(why)), 0);
	queue.device = &device;
	assert_int_equal(blk_file_ops.queue_open(&queue), 0);
}

static int
setup(void **state)
{
	(void)state;
	memset(&device, 0, sizeof(device));
	memset(&queue, 0, sizeof(queue));
	open_disk("/tmp/vhu-blk-unit-XXXXXX");
	/* Wherever /tmp is: through the ring. */
	device.disk.never_waits = false;
	blk_map_close(&device.disk);
	return 0;
}

static int
setup_tmpfs(void **state)
{
	(void)state;
	memset(&device, 0, sizeof(device));
	memset(&queue, 0, sizeof(queue));
	open_disk("/dev/shm/vhu-blk-unit-XXXXXX");
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	blk_file_ops.queue_close(&queue);
	blk_file_ops.close(&device.disk);
	unlink(device.options.path);
	return 0;
}

/* Begin a request of so many bytes of data, or with so many ranges. */
static void
begin(uint32_t type, uint64_t sector, size_t size)
{
	memset(&request, 0, sizeof(request));
	request.element.out_sg = readable;
	request.element.in_sg = writable;
	asked.header = (struct virtio_blk_outhdr){ .type = type, .sector = sector };
	readable[0] = (struct iovec){ &asked.header, sizeof(asked.header) };
	request.element.out_num = request.element.in_num = 1;
	if (type == VIRTIO_BLK_T_IN)
		writable[request.element.in_num++ - 1] = (struct iovec){ data, size };
	else if (type == VIRTIO_BLK_T_OUT)
		readable[request.element.out_num++] = (struct iovec){ data, size };
	else if (size != 0)
		readable[request.element.out_num++] = (struct iovec){ asked.ranges, size };
	writable[request.element.in_num - 1] = (struct iovec){ &status, 1 };
	status = 0xff;
	queue.done_count = 0;
	queue.under_way = 0;
	blk_request_parse(&queue, &request);
	blk_request_begin(&queue, &request);
}

/* What the kernel was asked for last; there must be something. */
static const struct io_uring_sqe *
taken(void)
{
	const struct io_uring *ring = queue.engine;

	assert_int_equal(ring->sq.sqe_tail, sq_head + 1);
	return &sqes[sq_head++ & (ENTRIES - 1)];
}

/* The kernel's answer to that. */
static void
answer(const struct io_uring_sqe *entry, int result)
{
	cqes[cq_tail & (ENTRIES - 1)] = (struct io_uring_cqe){ .user_data = entry->user_data,
		.res = result };
	cq_tail++;
	blk_file_ops.reap(&queue);
}

static void
nothing_is_asked_for(void)
{
	const struct io_uring *ring = queue.engine;

	assert_int_equal(ring->sq.sqe_tail, sq_head);
}

static void
part_of_a_read_is_followed_by_the_rest(void **state)
{
	const struct io_uring_sqe *entry;

	(void)state;
	begin(VIRTIO_BLK_T_IN, 8, 4096);
	entry = taken();
	assert_int_equal(entry->opcode, IORING_OP_READV);
	assert_int_equal(entry->off, 4096);
	answer(entry, 1000);
	assert_int_equal(queue.done_count, 0);
	entry = taken();
	assert_int_equal(entry->off, 5096);
	assert_ptr_equal(((struct iovec *)(uintptr_t)entry->addr)->iov_base, data + 1000);
	answer(entry, 3096);
	assert_int_equal(queue.done_count, 1);
	assert_int_equal(status, VIRTIO_BLK_S_OK);
}

static void
end_of_the_file_is_an_error(void **state)
{
	(void)state;
	begin(VIRTIO_BLK_T_IN, 8, 4096);
	answer(taken(), 0);
	assert_int_equal(status, VIRTIO_BLK_S_IOERR);
	nothing_is_asked_for();
}

static void
interrupted_is_tried_again(void **state)
{
	static const int results[] = { -EINTR, -EAGAIN };
	static const struct {
		uint32_t type;
		size_t size;
	} kinds[] = { { VIRTIO_BLK_T_IN, 4096 }, { VIRTIO_BLK_T_OUT, 4096 },
		{ VIRTIO_BLK_T_FLUSH, 0 }, { VIRTIO_BLK_T_WRITE_ZEROES, 16 } };
	unsigned int i, j;

	(void)state;
	asked.ranges[0] = (struct virtio_blk_discard_write_zeroes){ .num_sectors = 8 };
	for (i = 0; i < 2; i++)
		for (j = 0; j < sizeof(kinds) / sizeof(kinds[0]); j++) {
			const struct io_uring_sqe *entry;
			uint64_t offset;

			begin(kinds[j].type, 0, kinds[j].size);
			entry = taken();
			offset = entry->off;
			answer(entry, results[i]);
			assert_int_equal(queue.done_count, 0);
			entry = taken();
			assert_int_equal(entry->off, offset);
			answer(entry, (int)(j < 2 ? kinds[j].size : 0));
			assert_int_equal(status, VIRTIO_BLK_S_OK);
		}
}

static void
trying_again_ends(void **state)
{
	unsigned int i;

	(void)state;
	begin(VIRTIO_BLK_T_IN, 0, 512);
	for (i = 0; queue.done_count == 0 && i < 100000; i++)
		answer(taken(), -EAGAIN);
	assert_int_equal(status, VIRTIO_BLK_S_IOERR);
}

/* O_DIRECT and a guest that does not align: the rest of the bounce buffer, not the next bytes. */
static void
part_of_a_bounced_write_is_followed_by_the_rest(void **state)
{
	const struct io_uring_sqe *entry;
	unsigned int i;

	(void)state;
	device.disk.direct = true;
	device.disk.alignment = 8192;
	for (i = 0; i < 4096; i++)
		data[i] = (uint8_t)(i / 512);
	begin(VIRTIO_BLK_T_OUT, 0, 4096);
	entry = taken();
	assert_int_equal(entry->opcode, IORING_OP_WRITE);
	answer(entry, 1024);
	assert_int_equal(queue.done_count, 0);
	entry = taken();
	assert_int_equal(entry->off, 1024);
	assert_int_equal(entry->len, 3072);
	assert_memory_equal((void *)(uintptr_t)entry->addr, data + 1024, 3072);
	answer(entry, -EAGAIN);
	entry = taken();
	assert_int_equal(entry->off, 1024);
	assert_memory_equal((void *)(uintptr_t)entry->addr, data + 1024, 3072);
	answer(entry, 3072);
	assert_int_equal(status, VIRTIO_BLK_S_OK);
	nothing_is_asked_for();
}

/* Virtio 1.3, 5.2.5: without VIRTIO_BLK_F_FLUSH the guest takes what is done for safe. */
static void
without_flush_a_write_is_safe_when_it_is_done(void **state)
{
	const struct io_uring_sqe *entry;

	(void)state;
	begin(VIRTIO_BLK_T_OUT, 0, 4096);
	entry = taken();
	assert_int_equal(entry->rw_flags, 0);
	answer(entry, 4096);
	queue.write_through = true;
	begin(VIRTIO_BLK_T_OUT, 0, 4096);
	entry = taken();
	assert_int_equal(entry->rw_flags, RWF_DSYNC);
	answer(entry, 4096);
	begin(VIRTIO_BLK_T_IN, 0, 4096);
	entry = taken();
	assert_int_equal(entry->rw_flags, 0);
	answer(entry, 4096);
}

static void
without_flush_zeroes_are_safe_when_they_are_done(void **state)
{
	const struct io_uring_sqe *entry;

	(void)state;
	queue.write_through = true;
	asked.ranges[0] = (struct virtio_blk_discard_write_zeroes){ .num_sectors = 8 };
	asked.ranges[1] = (struct virtio_blk_discard_write_zeroes){ .sector = 8,
		.num_sectors = 8 };
	begin(VIRTIO_BLK_T_WRITE_ZEROES, 0, 32);
	answer(taken(), 0);
	answer(taken(), 0);
	assert_int_equal(queue.done_count, 0);
	entry = taken();
	assert_int_equal(entry->opcode, IORING_OP_FSYNC);
	answer(entry, -EINTR);
	entry = taken();
	assert_int_equal(entry->opcode, IORING_OP_FSYNC);
	answer(entry, -EIO);
	assert_int_equal(queue.done_count, 1);
	assert_int_equal(status, VIRTIO_BLK_S_IOERR);
}

static void
zeroes_are_written_another_way_where_the_first_is_not_known(void **state)
{
	const struct io_uring_sqe *entry;
	unsigned int first;

	(void)state;
	asked.ranges[0] = (struct virtio_blk_discard_write_zeroes){ .num_sectors = 8 };
	begin(VIRTIO_BLK_T_WRITE_ZEROES, 0, 16);
	entry = taken();
	first = entry->len;
	answer(entry, -EOPNOTSUPP);
	entry = taken();
	assert_int_not_equal(entry->len, first);
	answer(entry, -EOPNOTSUPP);
	assert_int_equal(status, VIRTIO_BLK_S_UNSUPP);
}

/* Blocks of 512 bytes that the file has, all of the disk. */
static unsigned int
blocks_there(void)
{
	struct stat file;

	assert_int_equal(fstat(device.disk.fd, &file), 0);
	return (unsigned int)file.st_blocks;
}

static void
reading_a_hole_of_a_tmpfs_file_does_not_fill_it(void **state)
{
	(void)state;
	memset(data, 0xee, sizeof(data));
	begin(VIRTIO_BLK_T_IN, 8, 4096);
	assert_int_equal(status, VIRTIO_BLK_S_OK);
	assert_int_equal(data[0] | data[4095], 0);
	assert_int_equal(blocks_there(), 0);
}

static void
what_is_written_to_a_tmpfs_file_is_read_mapped_and_is_in_the_file(void **state)
{
	uint8_t found[4096];

	(void)state;
	assert_non_null(device.disk.map);
	memset(data, 0x11, sizeof(data));
	begin(VIRTIO_BLK_T_OUT, 9, 4096);
	assert_int_equal(status, VIRTIO_BLK_S_OK);
	memset(data, 0x22, sizeof(data));
	begin(VIRTIO_BLK_T_OUT, 9, 4096);
	assert_int_equal(pread(device.disk.fd, found, sizeof(found), 9 * 512), 4096);
	assert_memory_equal(found, data, 4096);
	memset(data, 0, sizeof(data));
	begin(VIRTIO_BLK_T_IN, 9, 4096);
	assert_memory_equal(found, data, 4096);
	assert_true(blk_map_transfer(&device.disk, &request));
	nothing_is_asked_for();
}

/* The page is a hole again: touching it through the mapping would bring it back. */
static void
what_was_discarded_is_not_touched_through_the_mapping(void **state)
{
	(void)state;
	begin(VIRTIO_BLK_T_OUT, 8, 4096);
	begin(VIRTIO_BLK_T_IN, 8, 4096);
	assert_true(blk_map_transfer(&device.disk, &request));
	asked.ranges[0] = (struct virtio_blk_discard_write_zeroes){ .sector = 8,
		.num_sectors = 8 };
	begin(VIRTIO_BLK_T_DISCARD, 0, 16);
	answer(taken(), 0);
	begin(VIRTIO_BLK_T_IN, 8, 4096);
	assert_false(blk_map_transfer(&device.disk, &request));
}

static void
tmpfs_file_that_was_cut_off_is_an_error_and_no_signal(void **state)
{
	(void)state;
	/* cmocka has taken the signal since then; it puts things back at the end. */
	blk_map_close(&device.disk);
	blk_map_open(&device.disk);
	begin(VIRTIO_BLK_T_OUT, 8, 4096);
	assert_int_equal(ftruncate(device.disk.fd, 4096), 0);
	begin(VIRTIO_BLK_T_IN, 8, 4096);
	assert_int_equal(status, VIRTIO_BLK_S_IOERR);
	/* What is left is served. */
	begin(VIRTIO_BLK_T_IN, 0, 4096);
	assert_int_equal(status, VIRTIO_BLK_S_OK);
	assert_int_equal(ftruncate(device.disk.fd, DISK), 0);
	memset(data, 0x33, sizeof(data));
	begin(VIRTIO_BLK_T_OUT, 8, 4096);
	memset(data, 0, sizeof(data));
	begin(VIRTIO_BLK_T_IN, 8, 4096);
	assert_int_equal(status, VIRTIO_BLK_S_OK);
	assert_int_equal(data[4095], 0x33);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define RING(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TMPFS(name) cmocka_unit_test_setup_teardown(name, setup_tmpfs, teardown)
		RING(part_of_a_read_is_followed_by_the_rest),
		RING(end_of_the_file_is_an_error),
		RING(interrupted_is_tried_again),
		RING(trying_again_ends),
		RING(part_of_a_bounced_write_is_followed_by_the_rest),
		RING(without_flush_a_write_is_safe_when_it_is_done),
		RING(without_flush_zeroes_are_safe_when_they_are_done),
		RING(zeroes_are_written_another_way_where_the_first_is_not_known),
		TMPFS(reading_a_hole_of_a_tmpfs_file_does_not_fill_it),
		TMPFS(what_is_written_to_a_tmpfs_file_is_read_mapped_and_is_in_the_file),
		TMPFS(what_was_discarded_is_not_touched_through_the_mapping),
		TMPFS(tmpfs_file_that_was_cut_off_is_an_error_and_no_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
