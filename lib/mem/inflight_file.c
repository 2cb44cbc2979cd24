/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/guard.h"
#include "mem/inflight.h"

/* Parts of rings do not share cache lines. */
#define PART_ALIGNMENT 64

uint64_t
vhu_inflight_stride(bool packed, uint16_t ring_size)
{
	uint64_t size = packed ?
		offsetof(struct vhu_inflight_packed, entries) +
			sizeof(struct vhu_inflight_packed_entry) * (uint64_t)ring_size :
		offsetof(struct vhu_inflight_split, entries) +
			sizeof(struct vhu_inflight_split_entry) * (uint64_t)ring_size;

	return (size + PART_ALIGNMENT - 1) / PART_ALIGNMENT * PART_ALIGNMENT;
}

uint64_t
vhu_inflight_create(bool packed, uint16_t rings, uint16_t ring_size, int *fd)
{
	uint64_t size = rings * vhu_inflight_stride(packed, ring_size);
	int result;

	*fd = memfd_create("vhu-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd < 0)
		return 0;
	if (ftruncate(*fd, (off_t)size) == 0 &&
	    fcntl(*fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0)
		return size;
	result = errno;
	close(*fd);
	*fd = -1;
	errno = result;
	return 0;
}

static struct vhu_verdict
check_wire(const struct vhu_wire_inflight *wire, bool packed, uint16_t rings_max)
{
	uint64_t needed = wire->queue_count * vhu_inflight_stride(packed, wire->queue_size);
	uint64_t end;

	if (wire->queue_count == 0 || wire->queue_count > rings_max)
		return vhu_refuse(VHU_REFUSE_FAULT,
			"in-flight area is for %u rings, the device has %u", wire->queue_count,
			rings_max);
	if (wire->queue_size == 0 || wire->queue_size > INT16_MAX + 1)
		return vhu_refuse(VHU_REFUSE_FAULT, "in-flight area is for rings of %u descriptors",
			wire->queue_size);
	if (wire->size < needed)
		return vhu_refuse(VHU_REFUSE_FAULT, "in-flight area of %" PRIu64
			" bytes is too small, %" PRIu64 " are needed", (uint64_t)wire->size,
			needed);
	if (wire->offset % PART_ALIGNMENT != 0)
		return vhu_refuse(VHU_REFUSE_FAULT, "in-flight area at offset 0x%" PRIx64
			" is not aligned to %d bytes", (uint64_t)wire->offset, PART_ALIGNMENT);
	if (__builtin_add_overflow(wire->offset, wire->size, &end) || end > INT64_MAX)
		return vhu_refuse(VHU_REFUSE_FAULT, "in-flight area of 0x%" PRIx64
			" bytes at offset 0x%" PRIx64 " reaches beyond any file",
			(uint64_t)wire->size, (uint64_t)wire->offset);
	return vhu_accept();
}

/* A byte beyond the file would be a SIGBUS later. */
static struct vhu_verdict
check_file(const struct vhu_wire_inflight *wire, int fd)
{
	struct stat status;

	if (fstat(fd, &status) != 0)
		return vhu_refuse(VHU_REFUSE,
			"descriptor of the in-flight area cannot be used: %s", strerror(errno));
	if (!S_ISREG(status.st_mode))
		return vhu_refuse(VHU_REFUSE_FAULT,
			"descriptor of the in-flight area is no file");
	if (status.st_size < 0 || wire->offset + wire->size > (uint64_t)status.st_size)
		return vhu_refuse(VHU_REFUSE_FAULT, "in-flight area ends at 0x%" PRIx64
			" of a file of 0x%" PRIx64 " bytes", wire->offset + wire->size,
			(uint64_t)status.st_size);
	return vhu_accept();
}

static struct vhu_verdict
map_area(const struct vhu_wire_inflight *wire, int fd, bool packed,
	struct vhu_inflight_area *area)
{
	uint64_t skip = wire->offset % (uint64_t)sysconf(_SC_PAGESIZE);
	/* Only what is used: the size is the front-end's word. */
	uint64_t size = wire->queue_count * vhu_inflight_stride(packed, wire->queue_size);

	area->mapping_size = skip + size;
	area->mapping = mmap(NULL, area->mapping_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		(off_t)(wire->offset - skip));
	if (area->mapping == MAP_FAILED)
		return vhu_refuse(VHU_REFUSE, "in-flight area cannot be mapped: %s",
			strerror(errno));
	area->base = (uint8_t *)area->mapping + skip;
	area->size = size;
	area->rings = wire->queue_count;
	area->ring_size = wire->queue_size;
	area->references = 1;
	return vhu_accept();
}

struct vhu_verdict
vhu_inflight_attach(const struct vhu_wire_inflight *wire, int fd, bool packed, uint16_t rings_max,
	struct vhu_inflight_area **area)
{
	struct vhu_verdict verdict = check_wire(wire, packed, rings_max);
	struct vhu_inflight_area *a;

	*area = NULL;
	if (verdict.severity == VHU_ACCEPT)
		verdict = check_file(wire, fd);
	if (verdict.severity != VHU_ACCEPT)
		return verdict;
	a = calloc(1, sizeof(*a));
	if (a == NULL)
		return vhu_refuse(VHU_REFUSE, "out of memory for the in-flight area");
	verdict = map_area(wire, fd, packed, a);
	if (verdict.severity != VHU_ACCEPT) {
		free(a);
		return verdict;
	}
	vhu_guard_add(a->mapping, a->mapping_size);
	*area = a;
	return verdict;
}

void
vhu_inflight_drop(struct vhu_inflight_area *area)
{
	if (area == NULL || --area->references != 0)
		return;
	vhu_guard_remove(area->mapping);
	munmap(area->mapping, area->mapping_size);
	free(area);
}

void *
vhu_inflight_part(const struct vhu_inflight_area *area, bool packed, uint16_t ring,
	uint16_t ring_size)
{
	uint64_t stride;

	if (area == NULL || ring >= area->rings || ring_size > area->ring_size)
		return NULL;
	stride = vhu_inflight_stride(packed, area->ring_size);
	/* The area may have been attached before the ring's format was known. */
	if ((ring + 1) * stride > area->size)
		return NULL;
	return area->base + ring * stride;
}
