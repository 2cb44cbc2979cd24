/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * A disk in memory for one guest: the classic libvhost-user API in a glib main loop, as the guide
 * explains it step by step. Everything happens in one thread, when glib says that a descriptor is
 * readable: the connection (vug_init() watches it) or a queue's kick (handle_queue()).
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <libvhost-user-glib.h>
#include <linux/virtio_blk.h>

#define QUEUES 1
#define SECTOR 512u

struct disk {
	VugDev dev;                       /* first: callbacks get a pointer to its VuDev */
	GMainLoop *loop;
	uint8_t *bytes;
	uint64_t size;
	struct virtio_blk_config config;
};

static struct disk *
disk_of(VuDev *dev)
{
	return (struct disk *)dev;
}

/* The front-end is gone, or nothing sensible can be expected from it any more. */
static void
on_panic(VuDev *dev, const char *text)
{
	fprintf(stderr, "vhu-example: %s\n", text);
	g_main_loop_quit(disk_of(dev)->loop);
}

static uint64_t
get_features(VuDev *dev)
{
	(void)dev;
	return 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_FLUSH;
}

/* With both callbacks of the configuration space the library offers it by itself. */
static int
get_config(VuDev *dev, uint8_t *to, uint32_t size)
{
	if (size > sizeof(struct virtio_blk_config))
		return -1;
	memcpy(to, &disk_of(dev)->config, size);
	return 0;
}

static int
set_config(VuDev *dev, const uint8_t *data, uint32_t offset, uint32_t size, uint32_t flags)
{
	(void)dev;
	(void)data;
	(void)offset;
	(void)size;
	(void)flags;
	return -1; /* there is nothing that a guest may write */
}

/*
 * Move bytes between the disk and the segments. All lengths are the guest's: believe none of them.
 * @param to_guest  read from the disk. @return how many bytes, or -1 beyond the end of the disk.
 */
static int64_t
transfer(struct disk *disk, uint64_t sector, const struct iovec *part, unsigned int count,
	size_t skip_end, bool to_guest)
{
	uint64_t at = sector * SECTOR, begun = at;
	unsigned int i;

	if (sector > disk->size / SECTOR)
		return -1;
	for (i = 0; i < count; i++) {
		size_t size = part[i].iov_len - (i == count - 1 ? skip_end : 0);

		if (size > disk->size - at)
			return -1;
		if (to_guest)
			memcpy(part[i].iov_base, disk->bytes + at, size);
		else
			memcpy(disk->bytes + at, part[i].iov_base, size);
		at += size;
	}
	return (int64_t)(at - begun);
}

/* What the guest wants, by the header in front. @return bytes written before the status byte. */
static unsigned int
execute(struct disk *disk, const VuVirtqElement *request, uint8_t *status)
{
	struct virtio_blk_outhdr header;
	int64_t moved = 0;

	/* Drivers put the header into a segment of its own. */
	*status = VIRTIO_BLK_S_IOERR;
	if (request->out_num == 0 || request->out_sg[0].iov_len != sizeof(header))
		return 0;
	memcpy(&header, request->out_sg[0].iov_base, sizeof(header));
	switch (GUINT32_FROM_LE(header.type)) {
	case VIRTIO_BLK_T_IN:
		moved = transfer(disk, GUINT64_FROM_LE(header.sector), request->in_sg,
			request->in_num, 1, true);
		break;
	case VIRTIO_BLK_T_OUT:
		moved = transfer(disk, GUINT64_FROM_LE(header.sector), request->out_sg + 1,
			request->out_num - 1, 0, false);
		break;
	case VIRTIO_BLK_T_FLUSH:
		break; /* memory is as lasting as it gets here */
	default:
		*status = VIRTIO_BLK_S_UNSUPP;
		return 0;
	}
	if (moved < 0)
		return 0;
	*status = VIRTIO_BLK_S_OK;
	return GUINT32_FROM_LE(header.type) == VIRTIO_BLK_T_IN ? (unsigned int)moved : 0;
}

/* The guest has kicked: do all that waits, then notify it once. */
static void
handle_queue(VuDev *dev, int index)
{
	VuVirtq *vq = vu_get_queue(dev, index);
	VuVirtqElement *request;

	while ((request = vu_queue_pop(dev, vq, sizeof(*request))) != NULL) {
		unsigned int written = 0;

		/* The last byte that we may write is the status; without one there is no answer. */
		if (request->in_num != 0) {
			const struct iovec *last = &request->in_sg[request->in_num - 1];
			uint8_t *status = (uint8_t *)last->iov_base + last->iov_len - 1;

			written = execute(disk_of(dev), request, status) + 1;
		}
		vu_queue_push(dev, vq, request, written);
		free(request);
	}
	vu_queue_notify(dev, vq);
}

static void
queue_set_started(VuDev *dev, int index, bool started)
{
	vu_set_queue_handler(dev, vu_get_queue(dev, index), started ? handle_queue : NULL);
}

static const VuDevIface callbacks = {
	.get_features = get_features,
	.get_config = get_config,
	.set_config = set_config,
	.queue_set_started = queue_set_started,
};

/* Wait for QEMU. @return a connection, or -1. */
static int
accept_one(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), connection = -1;

	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	unlink(path);
	if (listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	    listen(listener, 1) == 0)
		connection = accept(listener, NULL, NULL);
	if (connection < 0)
		fprintf(stderr, "vhu-example: %s: %s\n", path, strerror(errno));
	if (listener >= 0)
		close(listener);
	unlink(path);
	return connection;
}

int
main(int argc, char **argv)
{
	static struct disk disk;
	int connection;

	if (argc != 3 || atoi(argv[2]) < 1) {
		puts("Usage: vhu-example SOCKET MIB\nExample: vhu-example /run/vhu/disk.sock 64");
		return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 2;
	}
	disk.size = (uint64_t)atoi(argv[2]) << 20;
	disk.bytes = mmap(NULL, disk.size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (disk.bytes == MAP_FAILED) {
		fprintf(stderr, "vhu-example: no memory for %s MiB\n", argv[2]);
		return 1;
	}
	disk.config.capacity = GUINT64_TO_LE(disk.size / SECTOR);
	disk.config.seg_max = GUINT32_TO_LE(126);
	disk.loop = g_main_loop_new(NULL, FALSE);
	connection = accept_one(argv[1]);
	if (connection < 0)
		return 1;
	if (!vug_init(&disk.dev, QUEUES, connection, on_panic, &callbacks))
		return 1;
	g_main_loop_run(disk.loop);
	vu_deinit(&disk.dev.parent);
	vug_deinit(&disk.dev);
	g_main_loop_unref(disk.loop);
	return 0;
}
