/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "blk.h"

/* Files and block devices: how they are opened, and what can be known of them. */

/* How often and how long to wait for a predecessor's requests to end, nanoseconds. */
#define LOCK_TRIES 60
#define LOCK_PAUSE 50000000L

uint64_t
blk_file_measure(const struct blk_disk *disk)
{
	struct stat status;
	uint64_t size = 0;

	if (fstat(disk->fd, &status) != 0)
		return 0;
	if (S_ISREG(status.st_mode))
		size = (uint64_t)status.st_size;
	else if (ioctl(disk->fd, BLKGETSIZE64, &size) != 0)
		size = 0;
	return size - size % disk->block_size;
}

static void
fill_geometry(struct blk_disk *disk, const struct stat *status)
{
	unsigned int physical = (unsigned int)status->st_blksize;

	disk->size = blk_file_measure(disk);
	if (S_ISBLK(status->st_mode))
		(void)ioctl(disk->fd, BLKPBSZGET, &physical);
	/* Only a hint; what a network file system likes best is none. */
	if (physical < disk->block_size || physical > 65536 || (physical & (physical - 1)) != 0)
		physical = disk->block_size;
	disk->physical_size = physical;
}

/* What buffers, sizes and places of transfers must be multiples of, and which blocks that takes. */
static void
fill_alignment(struct blk_disk *disk, const struct stat *status, uint32_t *block)
{
	int sectors = 512;

	*block = 512;
	disk->alignment = 512;
	if (S_ISBLK(status->st_mode) && ioctl(disk->fd, BLKSSZGET, &sectors) == 0)
		*block = (uint32_t)sectors;
#ifdef STATX_DIOALIGN
	struct statx more;

	if (disk->direct && S_ISREG(status->st_mode) &&
	    statx(disk->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &more) == 0 &&
	    (more.stx_mask & STATX_DIOALIGN) != 0) {
		if (more.stx_dio_offset_align == 0) {
			/* This file cannot although opening it said so. */
			disk->direct = false;
			(void)fcntl(disk->fd, F_SETFL, fcntl(disk->fd, F_GETFL) & ~O_DIRECT);
		} else if (more.stx_dio_offset_align > *block) {
			*block = more.stx_dio_offset_align;
		}
		if (more.stx_dio_mem_align > disk->alignment)
			disk->alignment = more.stx_dio_mem_align;
	}
#endif
	if (*block > disk->alignment)
		disk->alignment = *block;
}

/*
 * One writer or many readers. A process that was killed keeps its lock until the kernel has done
 * the last of its requests: whoever has the lock knows that no old write comes late.
 */
static int
lock(const struct blk_disk *disk)
{
	static const struct timespec pause = { .tv_nsec = LOCK_PAUSE };
	int i, how = (disk->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB;

	for (i = 0; i < LOCK_TRIES; i++) {
		if (flock(disk->fd, how) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		nanosleep(&pause, NULL);
	}
	return -EBUSY;
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

int
blk_file_open(struct blk_disk *disk, const struct blk_options *options, char *why, size_t room)
{
	struct statfs system;
	struct stat status;
	uint32_t block;
	int rc = open_path(disk, options);

	if (rc == 0 && fstat(disk->fd, &status) != 0)
		rc = -errno;
	if (rc != 0) {
		snprintf(why, room, "%s cannot be opened: %s; give a file or a block device%s",
			options->path, strerror(-rc), options->read_only ? "" :
			", or --read-only");
		goto fail;
	}
	if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
		rc = -EINVAL;
		snprintf(why, room, "%s is neither a file nor a block device", options->path);
		goto fail;
	}
	rc = lock(disk);
	if (rc != 0) {
		snprintf(why, room, "%s is in use by another process (or disk of this one); "
			"%s", options->path, rc == -EBUSY ? "end that first" : strerror(-rc));
		goto fail;
	}
	fill_geometry(disk, &status);
	fill_alignment(disk, &status, &block);
	if (block > disk->block_size) {
		rc = -EINVAL;
		snprintf(why, room, "%s has blocks of %u bytes; give --block-size %u%s",
			options->path, block, block,
			S_ISBLK(status.st_mode) ? "" : " or --buffered");
		goto fail;
	}
	if (disk->size == 0) {
		rc = -EINVAL;
		snprintf(why, room, "%s holds no block of %u bytes; make it larger",
			options->path, disk->block_size);
		goto fail;
	}
	disk->discard = !options->read_only;
	/*
	 * What is in memory already never has to be waited for: no ring between us and it. The
	 * nodes of block devices lie on such a file system, too, what they stand for does not.
	 */
	disk->never_waits = S_ISREG(status.st_mode) && fstatfs(disk->fd, &system) == 0 &&
		system.f_type == TMPFS_MAGIC;
	if (disk->never_waits)
		blk_map_open(disk);
	return 0;
fail:
	if (disk->fd >= 0)
		close(disk->fd);
	disk->fd = -1;
	return rc;
}

void
blk_file_close(struct blk_disk *disk)
{
	blk_map_close(disk);
	if (disk->fd >= 0)
		close(disk->fd);
	disk->fd = -1;
}
