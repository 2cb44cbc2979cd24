/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blk.h"

#define BIT(n) (UINT64_C(1) << (n))

static struct blk_device *
device_of(VuDev *vu)
{
	return (struct blk_device *)((char *)vu - offsetof(struct blk_device, vu));
}

static void
panic(VuDev *vu, const char *text)
{
	struct blk_device *device = device_of(vu);

	/* The control thread, or the polling thread of a queue. */
	if (!atomic_exchange(&device->panicked, true))
		fprintf(stderr, "vhu-blk: %s: %s\n", device->options.socket, text);
}

static uint64_t
get_features(VuDev *vu)
{
	const struct blk_device *device = device_of(vu);
	uint64_t features = BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) |
		BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_F_RING_PACKED);

	if (device->options.queues > 1)
		features |= BIT(VIRTIO_BLK_F_MQ);
	if (device->disk.read_only)
		features |= BIT(VIRTIO_BLK_F_RO);
	else
		features |= BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	if (device->disk.discard && !device->disk.read_only)
		features |= BIT(VIRTIO_BLK_F_DISCARD);
	return features;
}

static uint64_t
get_protocol_features(VuDev *vu)
{
	(void)vu;
	return BIT(VHOST_USER_PROTOCOL_F_CONFIG) | BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD);
}

static int
get_config(VuDev *vu, uint8_t *config, uint32_t length)
{
	const struct blk_device *device = device_of(vu);
	size_t size = length < sizeof(device->config) ? length : sizeof(device->config);

	memset(config, 0, length);
	memcpy(config, &device->config, size);
	return 0;
}

static int
set_config(VuDev *vu, const uint8_t *data, uint32_t offset, uint32_t size, uint32_t flags)
{
	(void)vu;
	(void)data;
	(void)offset;
	(void)size;
	(void)flags;
	return -1; /* nothing in it can be written */
}

static void
queue_set_started(VuDev *vu, int index, bool started)
{
	struct blk_device *device = device_of(vu);

	if (index >= device->options.queues)
		return;
	/* The queue is polled: kicks would only cost the guest its time. */
	if (started)
		vu_queue_set_notification(vu, vu_get_queue(vu, index), 0);
	device->queues[index].started = started;
	if (started)
		device->queues[index].write_through = (vu->features & BIT(VIRTIO_BLK_F_FLUSH)) == 0;
	blk_queue_run(&device->queues[index], started);
}

/*
 * Requests under way name guest memory by where it is mapped here. Before a message takes any of
 * it away they are finished; blk_device_dispatch() goes on afterwards.
 */
static int
process_msg(VuDev *vu, VhostUserMsg *message, int *do_reply)
{
	struct blk_device *device = device_of(vu);
	uint16_t i;

	(void)do_reply;
	if (message->request != VHOST_USER_SET_MEM_TABLE &&
	    message->request != VHOST_USER_REM_MEM_REG)
		return 0;
	for (i = 0; i < device->options.queues; i++)
		blk_queue_run(&device->queues[i], false);
	device->paused = true;
	return 0; /* the library does the rest */
}

static const VuDevIface iface = {
	.get_features = get_features,
	.get_protocol_features = get_protocol_features,
	.process_msg = process_msg,
	.queue_set_started = queue_set_started,
	.get_config = get_config,
	.set_config = set_config,
};

/* Kicks are not waited for: the queues are polled. */
static void
set_watch(VuDev *vu, int fd, int condition, vu_watch_cb callback, void *data)
{
	(void)vu;
	(void)fd;
	(void)condition;
	(void)callback;
	(void)data;
}

static void
remove_watch(VuDev *vu, int fd)
{
	(void)vu;
	(void)fd;
}

static unsigned int
log2_of(uint32_t value)
{
	unsigned int n = 0;

	while ((value >>= 1) != 0)
		n++;
	return n;
}

static void
fill_config(struct blk_device *device)
{
	const struct blk_disk *disk = &device->disk;
	struct virtio_blk_config *config = &device->config;

	config->capacity = htole64(disk->size >> BLK_SECTOR_SHIFT);
	config->seg_max = htole32(BLK_SEGMENTS_MAX);
	config->blk_size = htole32(disk->block_size);
	config->physical_block_exp = (uint8_t)log2_of(disk->physical_size / disk->block_size);
	config->min_io_size = htole16((uint16_t)(disk->physical_size / disk->block_size));
	config->num_queues = htole16(device->options.queues);
	config->max_discard_sectors = htole32(BLK_RANGE_SECTORS_MAX);
	config->max_discard_seg = htole32(BLK_RANGES_MAX);
	config->discard_sector_alignment = htole32(disk->block_size >> BLK_SECTOR_SHIFT);
	config->max_write_zeroes_sectors = htole32(BLK_RANGE_SECTORS_MAX);
	config->max_write_zeroes_seg = htole32(BLK_RANGES_MAX);
	config->write_zeroes_may_unmap = 1;
}

static bool
open_queues(struct blk_device *device)
{
	uint16_t i;

	device->queues = calloc(device->options.queues, sizeof(device->queues[0]));
	if (device->queues == NULL)
		return false;
	for (i = 0; i < device->options.queues; i++) {
		struct blk_queue *queue = &device->queues[i];

		queue->device = device;
		queue->index = i;
		/* Header and status beside the data. */
		queue->pool = vu_element_pool_new(BLK_DEPTH, sizeof(struct blk_request),
			BLK_SEGMENTS_MAX + 2);
		if (queue->pool == NULL)
			return false;
		if (device->disk.ops->queue_open != NULL &&
		    device->disk.ops->queue_open(queue) != 0)
			return false;
	}
	return true;
}

bool
blk_device_open(struct blk_device *device, char *why, size_t room)
{
	static const struct blk_disk_ops *const kinds[] = {
		[BLK_FILE] = &blk_file_ops,
		[BLK_MALLOC] = &blk_malloc_ops,
		[BLK_NULL] = &blk_null_ops,
	};

	device->listener = -1;
	device->wake = -1;
	device->connection = -1;
	device->disk.fd = -1;
	pthread_mutex_init(&device->lock, NULL);
	device->disk.ops = kinds[device->options.kind];
	device->disk.block_size = device->options.block_size;
	device->disk.read_only = device->options.read_only;
	if (device->disk.ops->open(&device->disk, &device->options, why, room) != 0)
		return false;
	fill_config(device);
	if (!open_queues(device)) {
		snprintf(why, room, "no memory or descriptors for %u queues; give fewer",
			device->options.queues);
		return false;
	}
	return true;
}

bool
blk_device_connect(struct blk_device *device, int socket)
{
	atomic_store(&device->panicked, false);
	if (!vu_init(&device->vu, device->options.queues, socket, panic, NULL, set_watch,
			remove_watch, &iface)) {
		fprintf(stderr, "vhu-blk: %s: out of memory for a front-end\n",
			device->options.socket);
		close(socket);
		return false;
	}
	blk_count(&device->connections, 1);
	return true;
}

bool
blk_device_dispatch(struct blk_device *device)
{
	bool more = vu_dispatch(&device->vu);
	uint16_t i;

	if (!device->paused)
		return more;
	device->paused = false;
	for (i = 0; i < device->options.queues; i++)
		if (device->queues[i].started)
			blk_queue_run(&device->queues[i], true);
	return more;
}

void
blk_device_resize(struct blk_device *device, bool connected)
{
	struct blk_disk *disk = &device->disk;
	uint64_t size = disk->ops->measure != NULL ? disk->ops->measure(disk) : 0;

	if (size == 0 || size == disk->size)
		return;
	/* Requests for what is gone get an error from the kernel. */
	if (size < disk->size) {
		fprintf(stderr, "vhu-blk: %s: %s is smaller than it was; make it larger again\n",
			device->options.socket, device->options.path);
		return;
	}
	disk->size = size;
	device->config.capacity = htole64(size >> BLK_SECTOR_SHIFT);
	fprintf(stderr, "vhu-blk: %s: %llu MiB from now on\n", device->options.socket,
		(unsigned long long)(size >> 20));
	/* A front-end that cannot be told looks when it starts the device again. */
	if (connected)
		(void)vu_config_change_msg(&device->vu);
}

void
blk_device_disconnect(struct blk_device *device)
{
	uint16_t i;

	for (i = 0; i < device->options.queues; i++) {
		blk_queue_run(&device->queues[i], false);
		device->queues[i].started = false;
	}
	vu_deinit(&device->vu);
}

void
blk_device_close(struct blk_device *device)
{
	uint16_t i;

	for (i = 0; device->queues != NULL && i < device->options.queues; i++) {
		if (device->disk.ops->queue_close != NULL)
			device->disk.ops->queue_close(&device->queues[i]);
		vu_element_pool_free(device->queues[i].pool);
	}
	if (device->disk.ops != NULL)
		device->disk.ops->close(&device->disk);
	if (device->listener >= 0) {
		close(device->listener);
		/* The path of an inherited one is somebody else's. */
		if (device->options.listener < 0)
			unlink(device->options.socket);
	}
	if (device->wake >= 0)
		close(device->wake);
	pthread_mutex_destroy(&device->lock);
	free(device->queues);
	free(device);
}
