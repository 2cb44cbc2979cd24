/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Requests in every shape, taken apart by app/blk/request.c; the disk is one of ours. */

#include <stdlib.h>
#include <string.h>

#include "unit.h"

#include "blk/blk.h"

#define DISK (1u << 20)
#define SEGMENTS 64

/* What the stand-in for a disk was asked for, and what it answers. */
static struct blk_request *begun;
static unsigned int begun_count;
static uint8_t answer;
static uint8_t disk_memory[DISK];

static void
fake_begin(struct blk_queue *queue, struct blk_request *request)
{
	uint8_t *at = disk_memory + request->offset;
	unsigned int i;

	(void)queue;
	begun = request;
	begun_count++;
	for (i = 0; i < request->data_count && request->type <= VIRTIO_BLK_T_OUT; i++) {
		if (request->type == VIRTIO_BLK_T_IN)
			memcpy(request->data[i].iov_base, at, request->data[i].iov_len);
		else
			memcpy(at, request->data[i].iov_base, request->data[i].iov_len);
		at += request->data[i].iov_len;
	}
	blk_request_done(request, answer);
}

static const struct blk_disk_ops fake_ops = { .name = "fake", .begin = fake_begin };
static struct blk_device device;
static struct blk_queue queue;
static struct blk_request request;
static struct iovec readable[SEGMENTS], writable[SEGMENTS];

static int
setup(void **state)
{
	(void)state;
	memset(&device, 0, sizeof(device));
	memset(&queue, 0, sizeof(queue));
	memset(&request, 0, sizeof(request));
	device.disk = (struct blk_disk){ .ops = &fake_ops, .size = DISK, .block_size = 512,
		.discard = true };
	strcpy(device.options.serial, "serial number 12345");
	queue.device = &device;
	request.element.out_sg = readable;
	request.element.in_sg = writable;
	begun = NULL;
	begun_count = 0;
	answer = VIRTIO_BLK_S_OK;
	return 0;
}

/* Spread bytes over segments of at most @p piece bytes, each an allocation of its own size. */
static unsigned int
spread(struct iovec *segments, const uint8_t *bytes, size_t size, size_t piece)
{
	unsigned int count = 0;

	while (size != 0) {
		size_t now = size < piece ? size : piece;

		assert_true(count < SEGMENTS);
		segments[count].iov_base = malloc(now);
		segments[count].iov_len = now;
		memcpy(segments[count++].iov_base, bytes, now);
		bytes += now;
		size -= now;
	}
	return count;
}

/* Put segments together again and free them. */
static void
gather(struct iovec *segments, unsigned int count, uint8_t *bytes)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		memcpy(bytes, segments[i].iov_base, segments[i].iov_len);
		bytes += segments[i].iov_len;
		free(segments[i].iov_base);
	}
}

/*
 * One request from bytes that the device reads and room that it writes, in pieces. What was
 * written is in @p out. @return the status byte, 0xff if none was written.
 */
static uint8_t
run(const void *in, size_t in_size, uint8_t *out, size_t out_size, size_t piece)
{
	struct iovec in_copy[SEGMENTS], out_copy[SEGMENTS];
	uint8_t *bytes = malloc(in_size + 1);

	memset(out, 0xff, out_size);
	memset(&request, 0, sizeof(request));
	request.element.out_sg = readable;
	request.element.in_sg = writable;
	request.element.out_num = spread(readable, in, in_size, piece);
	request.element.in_num = spread(writable, out, out_size, piece);
	/* What is under test may change the lists. */
	memcpy(in_copy, readable, sizeof(readable));
	memcpy(out_copy, writable, sizeof(writable));
	queue.done_count = 0;
	queue.under_way = 0;
	blk_request_parse(&queue, &request);
	blk_request_begin(&queue, &request);
	assert_int_equal(queue.done_count, 1);
	assert_ptr_equal(queue.done[0], &request);
	assert_int_equal(queue.under_way, 1);
	assert_true(queue.done_length[0] <= out_size);
	gather(in_copy, request.element.out_num, bytes);
	gather(out_copy, request.element.in_num, out);
	free(bytes);
	return out_size == 0 ? 0xff : out[out_size - 1];
}

struct message {
	struct virtio_blk_outhdr header;
	uint8_t data[2048];
};

static uint8_t
plain(uint32_t type, uint64_t sector, size_t data_in, size_t data_out)
{
	struct message m = { .header = { .type = type, .sector = sector } };
	uint8_t out[4096];

	return run(&m, sizeof(m.header) + data_in, out, data_out + 1, 4096);
}

static void
write_and_read_in_pieces_of_every_size(void **state)
{
	static const size_t pieces[] = { 33, 40, 100, 511, 512, 513, 1025, 5000 };
	struct message m = { .header = { .type = VIRTIO_BLK_T_OUT, .sector = 3 } };
	uint8_t out[sizeof(m.data) + 1];
	unsigned int i, j;

	(void)state;
	for (i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		for (j = 0; j < sizeof(m.data); j++)
			m.data[j] = (uint8_t)(j * 7 + i);
		m.header.type = VIRTIO_BLK_T_OUT;
		memset(disk_memory, 0, sizeof(disk_memory));
		assert_int_equal(run(&m, sizeof(m), out, 1, pieces[i]), VIRTIO_BLK_S_OK);
		assert_memory_equal(disk_memory + 3 * 512, m.data, sizeof(m.data));
		assert_int_equal(queue.done_length[0], 1);
		m.header.type = VIRTIO_BLK_T_IN;
		assert_int_equal(run(&m, sizeof(m.header), out, sizeof(out), pieces[i]),
			VIRTIO_BLK_S_OK);
		assert_memory_equal(out, m.data, sizeof(m.data));
		assert_int_equal(queue.done_length[0], sizeof(out));
	}
}

static void
header_and_status_in_single_bytes(void **state)
{
	struct message m = { .header = { .type = VIRTIO_BLK_T_GET_ID } };
	uint8_t out[21];

	(void)state;
	assert_int_equal(run(&m, sizeof(m.header), out, sizeof(out), 1), VIRTIO_BLK_S_OK);
	assert_string_equal((char *)out, "serial number 12345");
}

static void
id_that_fills_the_room_is_not_terminated(void **state)
{
	struct message m = { .header = { .type = VIRTIO_BLK_T_GET_ID } };
	uint8_t out[101];

	(void)state;
	strcpy(device.options.serial, "12345678901234567890");
	assert_int_equal(run(&m, sizeof(m.header), out, sizeof(out), 4096), VIRTIO_BLK_S_OK);
	assert_memory_equal(out, "12345678901234567890\xff", 21);
	assert_int_equal(run(&m, sizeof(m.header), out, 6, 4096), VIRTIO_BLK_S_OK);
	assert_memory_equal(out, "12345", 5);
}

static void
header_that_is_too_short_is_an_error(void **state)
{
	struct message m = { .header = { .type = VIRTIO_BLK_T_IN } };
	uint8_t out[513];
	size_t size;

	(void)state;
	for (size = 0; size < sizeof(m.header); size++)
		assert_int_equal(run(&m, size, out, sizeof(out), 4096), VIRTIO_BLK_S_IOERR);
	assert_int_equal(begun_count, 0);
	assert_int_equal(queue.counters.malformed, sizeof(m.header));
}

static void
request_without_status_comes_back_unanswered(void **state)
{
	struct message m = { .header = { .type = VIRTIO_BLK_T_OUT } };
	uint8_t out[1];

	(void)state;
	assert_int_equal(run(&m, sizeof(m), out, 0, 4096), 0xff);
	assert_int_equal(queue.done_length[0], 0);
	assert_int_equal(begun_count, 0);
	assert_int_equal(queue.counters.malformed, 1);
}

static void
beyond_the_end_is_an_error(void **state)
{
	static const uint64_t sectors[] = { DISK / 512, DISK / 512 - 1, DISK / 512 + 1,
		UINT64_MAX, UINT64_MAX >> 9, (UINT64_MAX >> 9) + 1, UINT64_C(1) << 55 };
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(sectors) / sizeof(sectors[0]); i++) {
		assert_int_equal(plain(VIRTIO_BLK_T_OUT, sectors[i], 1024, 0), VIRTIO_BLK_S_IOERR);
		assert_int_equal(plain(VIRTIO_BLK_T_IN, sectors[i], 0, 1024), VIRTIO_BLK_S_IOERR);
	}
	assert_int_equal(begun_count, 0);
	assert_int_equal(plain(VIRTIO_BLK_T_OUT, DISK / 512 - 2, 1024, 0), VIRTIO_BLK_S_OK);
}

static void
parts_of_blocks_are_an_error(void **state)
{
	(void)state;
	assert_int_equal(plain(VIRTIO_BLK_T_OUT, 0, 511, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(plain(VIRTIO_BLK_T_IN, 0, 0, 513), VIRTIO_BLK_S_IOERR);
	device.disk.block_size = 1024;
	assert_int_equal(plain(VIRTIO_BLK_T_IN, 0, 0, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(plain(VIRTIO_BLK_T_IN, 1, 0, 1024), VIRTIO_BLK_S_IOERR);
	assert_int_equal(begun_count, 0);
	assert_int_equal(plain(VIRTIO_BLK_T_IN, 2, 0, 1024), VIRTIO_BLK_S_OK);
}

static void
nothing_to_transfer_succeeds_without_the_disk(void **state)
{
	(void)state;
	assert_int_equal(plain(VIRTIO_BLK_T_OUT, 0, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(plain(VIRTIO_BLK_T_IN, 0, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(begun_count, 0);
}

static void
read_only_refuses_what_would_change_it(void **state)
{
	(void)state;
	device.disk.read_only = true;
	assert_int_equal(plain(VIRTIO_BLK_T_OUT, 0, 512, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(plain(VIRTIO_BLK_T_DISCARD, 0, 16, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(plain(VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(begun_count, 0);
	assert_int_equal(plain(VIRTIO_BLK_T_IN, 0, 0, 512), VIRTIO_BLK_S_OK);
}

static void
unknown_types_are_unsupported(void **state)
{
	uint32_t type;

	(void)state;
	for (type = 0; type < 64; type++)
		if (type != VIRTIO_BLK_T_IN && type != VIRTIO_BLK_T_OUT &&
		    type != VIRTIO_BLK_T_FLUSH && type != VIRTIO_BLK_T_GET_ID &&
		    type != VIRTIO_BLK_T_DISCARD && type != VIRTIO_BLK_T_WRITE_ZEROES)
			assert_int_equal(plain(type, 0, 0, 0), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(plain(UINT32_MAX, 0, 0, 0), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(begun_count, 0);
}

static void
errors_of_the_disk_reach_the_guest(void **state)
{
	(void)state;
	answer = VIRTIO_BLK_S_IOERR;
	assert_int_equal(plain(VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(begun_count, 1);
	assert_int_equal(queue.counters.errors, 1);
	assert_int_equal(queue.counters.flushes, 1);
}

/* A request of @p count ranges, all alike but for the first. */
static uint8_t
ranges(uint32_t type, unsigned int count, struct virtio_blk_discard_write_zeroes first)
{
	struct {
		struct virtio_blk_outhdr header;
		struct virtio_blk_discard_write_zeroes ranges[BLK_RANGES_MAX + 1];
	} m = { .header.type = type };
	uint8_t out[1];
	unsigned int i;

	for (i = 0; i < count; i++)
		m.ranges[i] = (struct virtio_blk_discard_write_zeroes){ .sector = 8 * i,
			.num_sectors = 8 };
	m.ranges[0] = first;
	return run(&m, sizeof(m.header) + count * sizeof(m.ranges[0]), out, 1, 13);
}

static void
ranges_are_read_wherever_they_lie(void **state)
{
	const struct virtio_blk_discard_write_zeroes first = { .sector = 100, .num_sectors = 2,
		.flags = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP };

	(void)state;
	assert_int_equal(ranges(VIRTIO_BLK_T_WRITE_ZEROES, BLK_RANGES_MAX, first),
		VIRTIO_BLK_S_OK);
	assert_int_equal(begun->range_count, BLK_RANGES_MAX);
	assert_int_equal(begun->ranges[0].offset, 100 * 512);
	assert_int_equal(begun->ranges[0].size, 1024);
	assert_true(begun->ranges[0].unmap);
	assert_int_equal(begun->ranges[15].offset, 15 * 4096);
	assert_false(begun->ranges[15].unmap);
}

static void
ranges_that_make_no_sense_are_refused(void **state)
{
	const struct virtio_blk_discard_write_zeroes good = { .num_sectors = 8 },
		far = { .sector = DISK / 512 - 7, .num_sectors = 8 },
		wrapping = { .sector = UINT64_MAX - 3, .num_sectors = 8 },
		long_one = { .num_sectors = BLK_RANGE_SECTORS_MAX + 1 },
		flag = { .num_sectors = 8, .flags = 2 }, unmap = { .num_sectors = 8, .flags = 1 };

	(void)state;
	assert_int_equal(ranges(VIRTIO_BLK_T_DISCARD, 1, far), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ranges(VIRTIO_BLK_T_DISCARD, 1, wrapping), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ranges(VIRTIO_BLK_T_DISCARD, 1, long_one), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ranges(VIRTIO_BLK_T_DISCARD, BLK_RANGES_MAX + 1, good),
		VIRTIO_BLK_S_IOERR);
	assert_int_equal(ranges(VIRTIO_BLK_T_WRITE_ZEROES, 2, flag), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(ranges(VIRTIO_BLK_T_DISCARD, 1, unmap), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(plain(VIRTIO_BLK_T_DISCARD, 0, 0, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(plain(VIRTIO_BLK_T_DISCARD, 0, 17, 0), VIRTIO_BLK_S_IOERR);
	device.disk.discard = false;
	assert_int_equal(ranges(VIRTIO_BLK_T_DISCARD, 1, good), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(begun_count, 0);
}

static void
empty_ranges_ask_for_nothing(void **state)
{
	const struct virtio_blk_discard_write_zeroes empty = { .sector = 8 };

	(void)state;
	assert_int_equal(ranges(VIRTIO_BLK_T_DISCARD, 1, empty), VIRTIO_BLK_S_OK);
	assert_int_equal(begun_count, 0);
	assert_int_equal(ranges(VIRTIO_BLK_T_DISCARD, 2, empty), VIRTIO_BLK_S_OK);
	assert_int_equal(begun->range_count, 1);
	assert_int_equal(begun->ranges[0].offset, 4096);
}

/* Whatever is in the request: it ends, and nothing outside the disk is asked for. */
static void
random_requests_end(void **state)
{
	unsigned int i;

	(void)state;
	srandom(1);
	for (i = 0; i < 20000; i++) {
		struct message m;
		uint8_t out[1100];
		size_t in = (size_t)random() % 600, room = (size_t)random() % sizeof(out);
		size_t j;

		for (j = 0; j < sizeof(m.header); j++)
			((uint8_t *)&m)[j] = (uint8_t)(random() % 3 == 0 ? random() : 0);
		memset(m.data, 0, sizeof(m.data));
		m.header.type = (uint32_t)random() % 16;
		begun = NULL;
		run(&m, in, out, room, 20 + (size_t)random() % 600);
		if (begun != NULL && begun->type <= VIRTIO_BLK_T_OUT)
			assert_true(begun->offset + begun->size <= DISK);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(write_and_read_in_pieces_of_every_size, setup),
		cmocka_unit_test_setup(header_and_status_in_single_bytes, setup),
		cmocka_unit_test_setup(id_that_fills_the_room_is_not_terminated, setup),
		cmocka_unit_test_setup(header_that_is_too_short_is_an_error, setup),
		cmocka_unit_test_setup(request_without_status_comes_back_unanswered, setup),
		cmocka_unit_test_setup(beyond_the_end_is_an_error, setup),
		cmocka_unit_test_setup(parts_of_blocks_are_an_error, setup),
		cmocka_unit_test_setup(nothing_to_transfer_succeeds_without_the_disk, setup),
		cmocka_unit_test_setup(read_only_refuses_what_would_change_it, setup),
		cmocka_unit_test_setup(unknown_types_are_unsupported, setup),
		cmocka_unit_test_setup(errors_of_the_disk_reach_the_guest, setup),
		cmocka_unit_test_setup(ranges_are_read_wherever_they_lie, setup),
		cmocka_unit_test_setup(ranges_that_make_no_sense_are_refused, setup),
		cmocka_unit_test_setup(empty_ranges_ask_for_nothing, setup),
		cmocka_unit_test_setup(random_requests_end, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
