/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mem/postcopy.h"

/* For headers older than the kernel. */
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

#define FLAGS (O_CLOEXEC | O_NONBLOCK)

/*
 * The best first: one that also serves faults inside system calls needs a privilege, or access to
 * a device file. Without it lcores are served, which is what we are here for.
 */
static int
open_any(void)
{
	int fd = (int)syscall(__NR_userfaultfd, FLAGS), device;

	if (fd >= 0)
		return fd;
	device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (device >= 0) {
		fd = ioctl(device, USERFAULTFD_IOC_NEW, FLAGS);
		close(device);
		if (fd >= 0)
			return fd;
	}
	fd = (int)syscall(__NR_userfaultfd, FLAGS | UFFD_USER_MODE_ONLY);
	return fd >= 0 ? fd : -errno;
}

int
vhu_postcopy_open(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = open_any();

	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api) != 0) {
		int error = errno;

		close(fd);
		return -error;
	}
	return fd;
}

int
vhu_postcopy_register(int userfaultfd, void *start, uint64_t size)
{
	struct uffdio_register range = {
		.range = { .start = (uintptr_t)start, .len = size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (ioctl(userfaultfd, UFFDIO_REGISTER, &range) != 0)
		return -errno;
	/* What cannot be filled in would never go on. */
	if (!(range.ioctls & (UINT64_C(1) << _UFFDIO_COPY))) {
		vhu_postcopy_unregister(userfaultfd, start, size);
		return -EOPNOTSUPP;
	}
	return 0;
}

void
vhu_postcopy_unregister(int userfaultfd, void *start, uint64_t size)
{
	struct uffdio_range range = { .start = (uintptr_t)start, .len = size };

	(void)ioctl(userfaultfd, UFFDIO_UNREGISTER, &range);
}

static bool works;

/* As with a front-end's memory: a shared file, closed first. */
static void
probe(void)
{
	const uint64_t size = (uint64_t)sysconf(_SC_PAGESIZE);
	int fd = vhu_postcopy_open(), file = memfd_create("vhu-probe", MFD_CLOEXEC);
	void *page = MAP_FAILED;

	if (fd >= 0 && file >= 0 && ftruncate(file, (off_t)size) == 0)
		page = mmap(NULL, size, PROT_NONE, MAP_SHARED, file, 0);
	if (page != MAP_FAILED) {
		works = vhu_postcopy_register(fd, page, size) == 0;
		munmap(page, size);
	}
	if (file >= 0)
		close(file);
	if (fd >= 0)
		close(fd);
}

bool
vhu_postcopy_works(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, probe);
	return works;
}
