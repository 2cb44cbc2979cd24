/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit.h"

#include "mem/region.h"

#define FILE_SIZE 0x10000

static int
memory_file(uint64_t size)
{
	int fd = memfd_create("region", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

/* What a front-end would send for the whole file. */
static struct vhu_wire_region
whole(void)
{
	return (struct vhu_wire_region){
		.guest_address = 0x100000,
		.size = FILE_SIZE,
		.user_address = 0x7f0000000000,
	};
}

static void
assert_refused(struct vhu_wire_region wire, int fd)
{
	unsigned int before = unit_open_fds();
	struct vhu_region *region;
	struct vhu_verdict verdict = vhu_region_prepare(&wire, fd, &region);

	assert_int_not_equal(verdict.severity, VHU_ACCEPT);
	assert_true(verdict.text[0] != '\0');
	assert_null(region);
	assert_int_equal(unit_open_fds(), before - (fd >= 0));
}

static void
size_zero_is_refused(void **state)
{
	struct vhu_wire_region wire = whole();

	(void)state;
	wire.size = 0;
	assert_refused(wire, memory_file(FILE_SIZE));
}

static void
guest_address_that_wraps_is_refused(void **state)
{
	struct vhu_wire_region wire = whole();

	(void)state;
	wire.guest_address = UINT64_MAX - FILE_SIZE + 1;
	assert_refused(wire, memory_file(FILE_SIZE));
}

static void
user_address_that_wraps_is_refused(void **state)
{
	struct vhu_wire_region wire = whole();

	(void)state;
	wire.user_address = UINT64_MAX - FILE_SIZE + 1;
	assert_refused(wire, memory_file(FILE_SIZE));
}

static void
file_offset_that_wraps_is_refused(void **state)
{
	struct vhu_wire_region wire = whole();

	(void)state;
	wire.file_offset = UINT64_MAX - FILE_SIZE + 1;
	assert_refused(wire, memory_file(FILE_SIZE));
	wire.file_offset = INT64_MAX;
	assert_refused(wire, memory_file(FILE_SIZE));
}

static void
file_one_byte_short_is_refused(void **state)
{
	(void)state;
	assert_refused(whole(), memory_file(FILE_SIZE - 1));
}

static void
offset_beyond_the_end_is_refused(void **state)
{
	struct vhu_wire_region wire = whole();

	(void)state;
	wire.file_offset = 1;
	assert_refused(wire, memory_file(FILE_SIZE));
}

static void
read_only_file_is_refused(void **state)
{
	int file = memory_file(FILE_SIZE);
	char path[64];
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_refused(whole(), fd);
	close(file);
}

static void
eventfd_is_refused(void **state)
{
	(void)state;
	assert_refused(whole(), eventfd(0, EFD_CLOEXEC));
}

static void
directory_is_refused(void **state)
{
	(void)state;
	assert_refused(whole(), open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static void
missing_descriptor_is_refused(void **state)
{
	(void)state;
	assert_refused(whole(), -1);
}

static struct vhu_region *
prepared(struct vhu_wire_region wire, int fd)
{
	struct vhu_region *region;

	assert_int_equal(vhu_region_prepare(&wire, fd, &region).severity, VHU_ACCEPT);
	assert_non_null(region);
	assert_int_equal(region->references, 1);
	return region;
}

static void
prepared_region_is_freed_without_being_mapped(void **state)
{
	unsigned int before = unit_open_fds();

	(void)state;
	vhu_region_free(prepared(whole(), memory_file(FILE_SIZE)));
	assert_int_equal(unit_open_fds(), before);
}

static void
mapping_shares_the_bytes_and_closes_the_descriptor(void **state)
{
	unsigned int before = unit_open_fds();
	int file = memory_file(FILE_SIZE);
	struct vhu_region *region = prepared(whole(), fcntl(file, F_DUPFD_CLOEXEC, 0));
	char byte = 'x';

	(void)state;
	assert_int_equal(vhu_region_map(region, false), 0);
	assert_int_equal(region->fd, -1);
	assert_int_equal(pwrite(file, &byte, 1, FILE_SIZE - 1), 1);
	assert_int_equal(region->host[FILE_SIZE - 1], 'x');
	region->host[0] = 'y';
	assert_int_equal(pread(file, &byte, 1, 0), 1);
	assert_int_equal(byte, 'y');
	vhu_region_free(region);
	close(file);
	assert_int_equal(unit_open_fds(), before);
}

static void
offset_inside_a_page_is_mapped_from_its_page(void **state)
{
	int file = memory_file(FILE_SIZE);
	struct vhu_wire_region wire = whole();
	struct vhu_region *region;
	char byte = 'z';

	(void)state;
	wire.file_offset = 0x1234;
	wire.size = 0x2000;
	region = prepared(wire, fcntl(file, F_DUPFD_CLOEXEC, 0));
	assert_int_equal(vhu_region_map(region, false), 0);
	assert_int_equal(region->host - (uint8_t *)region->mapping, 0x234);
	assert_int_equal(region->mapping_size, 0x3000);
	assert_int_equal(pwrite(file, &byte, 1, 0x1234), 1);
	assert_int_equal(region->host[0], 'z');
	vhu_region_free(region);
	close(file);
}

static void
populating_takes_the_pages_in(void **state)
{
	struct vhu_region *region = prepared(whole(), memory_file(FILE_SIZE));
	unsigned char resident[FILE_SIZE / 4096];
	size_t i;

	(void)state;
	assert_int_equal(vhu_region_map(region, true), 0);
	assert_int_equal(mincore(region->mapping, FILE_SIZE, resident), 0);
	for (i = 0; i < sizeof(resident); i++)
		assert_true(resident[i] & 1);
	vhu_region_free(region);
}

/* Huge page files are mapped in whole huge pages, whatever the offset. */
static void
huge_page_file_is_mapped_from_its_page(void **state)
{
	int fd = memfd_create("region", MFD_CLOEXEC | MFD_HUGETLB);
	struct vhu_wire_region wire = whole();
	struct vhu_region *region;

	(void)state;
	if (fd < 0 || ftruncate(fd, 4 << 20) != 0) {
		print_message("skipped: this kernel has no huge page files of 2 MiB\n");
		if (fd >= 0)
			close(fd);
		skip();
	}
	wire.file_offset = 0x201000;
	wire.size = 0x1000;
	region = prepared(wire, fd);
	assert_int_equal(region->page_size, 2 << 20);
	/* Mapping reserves nothing, so this needs no free huge page. */
	assert_int_equal(vhu_region_map(region, false), 0);
	assert_int_equal(region->mapping_size, 2 << 20);
	assert_int_equal(region->host - (uint8_t *)region->mapping, 0x1000);
	vhu_region_free(region);
}

static void
same_compares_file_and_addresses(void **state)
{
	int file = memory_file(FILE_SIZE);
	struct vhu_wire_region wire = whole();
	struct vhu_region *a = prepared(wire, fcntl(file, F_DUPFD_CLOEXEC, 0));
	struct vhu_region *b = prepared(wire, fcntl(file, F_DUPFD_CLOEXEC, 0));
	struct vhu_region *other_file = prepared(wire, memory_file(FILE_SIZE));
	struct vhu_region *moved;

	(void)state;
	wire.guest_address += 0x1000;
	moved = prepared(wire, fcntl(file, F_DUPFD_CLOEXEC, 0));
	assert_true(vhu_region_same(a, b));
	assert_false(vhu_region_same(a, other_file));
	assert_false(vhu_region_same(a, moved));
	vhu_region_free(a);
	vhu_region_free(b);
	vhu_region_free(other_file);
	vhu_region_free(moved);
	close(file);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(size_zero_is_refused),
		cmocka_unit_test(guest_address_that_wraps_is_refused),
		cmocka_unit_test(user_address_that_wraps_is_refused),
		cmocka_unit_test(file_offset_that_wraps_is_refused),
		cmocka_unit_test(file_one_byte_short_is_refused),
		cmocka_unit_test(offset_beyond_the_end_is_refused),
		cmocka_unit_test(read_only_file_is_refused),
		cmocka_unit_test(eventfd_is_refused),
		cmocka_unit_test(directory_is_refused),
		cmocka_unit_test(missing_descriptor_is_refused),
		cmocka_unit_test(prepared_region_is_freed_without_being_mapped),
		cmocka_unit_test(mapping_shares_the_bytes_and_closes_the_descriptor),
		cmocka_unit_test(offset_inside_a_page_is_mapped_from_its_page),
		cmocka_unit_test(populating_takes_the_pages_in),
		cmocka_unit_test(huge_page_file_is_mapped_from_its_page),
		cmocka_unit_test(same_compares_file_and_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
