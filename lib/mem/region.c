/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "mem/guard.h"
#include "mem/postcopy.h"
#include "mem/region.h"

/* Is [start, start + size) a range whose end can be written down? */
static bool
range_wraps(uint64_t start, uint64_t size)
{
	uint64_t end;

	return __builtin_add_overflow(start, size, &end);
}

static struct vhu_verdict
check_ranges(const struct vhu_wire_region *wire)
{
	if (wire->size == 0)
		return vhu_refuse(VHU_REFUSE_FAULT, "region at guest address 0x%" PRIx64
			" is empty, its size must be at least 1", wire->guest_address);
	if (range_wraps(wire->guest_address, wire->size))
		return vhu_refuse(VHU_REFUSE_FAULT, "region at guest address 0x%" PRIx64 " of 0x%"
			PRIx64 " bytes reaches beyond 64 bits", wire->guest_address, wire->size);
	if (range_wraps(wire->user_address, wire->size))
		return vhu_refuse(VHU_REFUSE_FAULT, "region at user address 0x%" PRIx64 " of 0x%"
			PRIx64 " bytes reaches beyond 64 bits", wire->user_address, wire->size);
	if (range_wraps(wire->file_offset, wire->size) ||
	    wire->file_offset + wire->size > INT64_MAX)
		return vhu_refuse(VHU_REFUSE_FAULT, "region of 0x%" PRIx64
			" bytes at file offset 0x%" PRIx64 " reaches beyond any file", wire->size,
			wire->file_offset);
	return vhu_accept();
}

/* Reading, writing and sharing must be possible, and the file must have all the bytes. */
static struct vhu_verdict
check_file(const struct vhu_wire_region *wire, int fd, struct stat *status)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fstat(fd, status) != 0)
		return vhu_refuse(VHU_REFUSE, "descriptor of the region at guest address 0x%" PRIx64
			" cannot be used: %s", wire->guest_address, strerror(errno));
	if (!S_ISREG(status->st_mode))
		return vhu_refuse(VHU_REFUSE_FAULT, "descriptor of the region at guest address 0x%"
			PRIx64 " is no file, guest memory must be a shared file or memfd",
			wire->guest_address);
	if ((flags & O_ACCMODE) != O_RDWR || (flags & O_PATH))
		return vhu_refuse(VHU_REFUSE_FAULT, "file of the region at guest address 0x%" PRIx64
			" is not open for reading and writing", wire->guest_address);
	/* A byte beyond the file would be a SIGBUS later. */
	if (status->st_size < 0 ||
	    wire->file_offset + wire->size > (uint64_t)status->st_size)
		return vhu_refuse(VHU_REFUSE_FAULT, "region ends at 0x%" PRIx64
			" of a file of 0x%" PRIx64 " bytes", wire->file_offset + wire->size,
			(uint64_t)status->st_size);
	return vhu_accept();
}

static uint64_t
page_size_of(int fd)
{
	struct statfs filesystem;

	/* mmap of a huge page file takes offset and length in its own pages only. */
	if (fstatfs(fd, &filesystem) == 0 && filesystem.f_type == HUGETLBFS_MAGIC &&
	    filesystem.f_bsize > 0)
		return (uint64_t)filesystem.f_bsize;
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

struct vhu_verdict
vhu_region_prepare(const struct vhu_wire_region *wire, int fd, struct vhu_region **region)
{
	struct vhu_verdict verdict = check_ranges(wire);
	struct stat status;
	struct vhu_region *r = NULL;

	*region = NULL;
	if (verdict.severity == VHU_ACCEPT)
		verdict = check_file(wire, fd, &status);
	if (verdict.severity == VHU_ACCEPT) {
		r = calloc(1, sizeof(*r));
		if (r == NULL)
			verdict = vhu_refuse(VHU_REFUSE, "out of memory for a region");
	}
	if (r == NULL) {
		if (fd >= 0)
			close(fd);
		return verdict;
	}
	*r = (struct vhu_region){
		.guest_address = wire->guest_address,
		.size = wire->size,
		.user_address = wire->user_address,
		.file_offset = wire->file_offset,
		.page_size = page_size_of(fd),
		.device = status.st_dev,
		.inode = status.st_ino,
		.references = 1,
		.fd = fd,
	};
	*region = r;
	return verdict;
}

static void *
map_file(const struct vhu_region *region, uint64_t start, uint64_t size, int flags)
{
	int access = region->closed ? PROT_NONE : PROT_READ | PROT_WRITE;

	return mmap(NULL, size, access, MAP_SHARED | MAP_NORESERVE | flags, region->fd,
		(off_t)start);
}

/* Fault all pages in. Kernels before 5.14 do not know the request: map again, populated. */
static int
populate_pages(struct vhu_region *region, uint64_t start)
{
	int error = EINVAL;

#ifdef MADV_POPULATE_WRITE
	if (madvise(region->mapping, region->mapping_size, MADV_POPULATE_WRITE) == 0)
		return 0;
	error = errno;
#endif
	if (error != EINVAL)
		return -error;
	if (munmap(region->mapping, region->mapping_size) != 0)
		return -errno;
	region->mapping = map_file(region, start, region->mapping_size, MAP_POPULATE);
	if (region->mapping == MAP_FAILED) {
		region->mapping = NULL;
		return -errno;
	}
	return 0;
}

int
vhu_region_map(struct vhu_region *region, bool populate)
{
	uint64_t mask = region->page_size - 1;
	uint64_t start = region->file_offset & ~mask;
	uint64_t end = region->file_offset + region->size; /* at most INT64_MAX: checked */
	int rc = 0;

	/* Cannot wrap: a page is far smaller than 2^63. */
	region->mapping_size = ((end + mask) & ~mask) - start;
	region->mapping = map_file(region, start, region->mapping_size, 0);
	if (region->mapping == MAP_FAILED) {
		region->mapping = NULL;
		return -errno;
	}
	if (populate)
		rc = populate_pages(region, start);
	if (rc != 0)
		return rc;
	/* A core dump with the guest in it helps nobody; failing to say so is no failure. */
	(void)madvise(region->mapping, region->mapping_size, MADV_DONTDUMP);
	vhu_guard_add(region->mapping, region->mapping_size);
	region->host = (uint8_t *)region->mapping + (region->file_offset - start);
	close(region->fd);
	region->fd = -1;
	return 0;
}

int
vhu_region_map_closed(struct vhu_region *region)
{
	region->closed = true;
	return vhu_region_map(region, false);
}

int
vhu_region_open(struct vhu_region *region, int userfaultfd)
{
	int rc;

	if (!region->closed)
		return 0;
	/* Only single pages can be missing; where pages are huge anyway this is no request. */
	(void)madvise(region->mapping, region->mapping_size, MADV_NOHUGEPAGE);
	rc = vhu_postcopy_register(userfaultfd, region->mapping, region->mapping_size);
	if (rc != 0)
		return rc;
	if (mprotect(region->mapping, region->mapping_size, PROT_READ | PROT_WRITE) != 0)
		return -errno;
	region->closed = false;
	return 0;
}

void
vhu_region_free(struct vhu_region *region)
{
	if (region->mapping != NULL) {
		vhu_guard_remove(region->mapping);
		munmap(region->mapping, region->mapping_size);
	}
	if (region->fd >= 0)
		close(region->fd);
	free(region);
}

bool
vhu_region_same(const struct vhu_region *a, const struct vhu_region *b)
{
	return a->guest_address == b->guest_address && a->size == b->size &&
		a->user_address == b->user_address && a->file_offset == b->file_offset &&
		a->device == b->device && a->inode == b->inode;
}
