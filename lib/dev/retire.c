/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dev/device_private.h"
#include "obs/log.h"

/* Regions that lost their last reference, on their way to the worker. */
struct unmap_job {
	struct vhu_job job;
	struct vhu_device *device;
	unsigned int count;
	struct vhu_region *regions[];
};

void
vhu_device_pending_up(struct vhu_device *device)
{
	device->pending++;
}

void
vhu_device_pending_down(struct vhu_device *device)
{
	void (*then)(struct vhu_device *device) = device->when_idle;

	if (--device->pending != 0 || then == NULL)
		return;
	device->when_idle = NULL;
	then(device);
}

static void
run_unmap(struct vhu_job *job)
{
	struct unmap_job *unmap = (struct unmap_job *)job;
	unsigned int i;

	for (i = 0; i < unmap->count; i++)
		vhu_region_free(unmap->regions[i]);
}

static void
done_unmap(struct vhu_job *job)
{
	struct vhu_device *device = ((struct unmap_job *)job)->device;

	free(job);
	vhu_device_pending_down(device);
}

static void
unmap_regions(struct vhu_device *device, struct vhu_region **regions, unsigned int count)
{
	struct unmap_job *unmap;
	unsigned int i;

	if (count == 0)
		return;
	if (device->config.ops->region_gone != NULL) {
		for (i = 0; i < count; i++)
			device->config.ops->region_gone(device->config.owner, regions[i]);
		return;
	}
	unmap = calloc(1, sizeof(*unmap) + count * sizeof(regions[0]));
	if (unmap == NULL) {
		/* Slow here, but memory that the front-end wants back may not be kept. */
		for (i = 0; i < count; i++)
			vhu_region_free(regions[i]);
		return;
	}
	unmap->job.run = run_unmap;
	unmap->job.done = done_unmap;
	unmap->device = device;
	unmap->count = count;
	memcpy(unmap->regions, regions, count * sizeof(regions[0]));
	vhu_device_pending_up(device);
	device->config.executor->submit(device->config.executor, &unmap->job);
}

void
vhu_device_drop_map(struct vhu_device *device, struct vhu_map *map)
{
	struct vhu_region *orphans[VHU_MAX_MEM_SLOTS];

	unmap_regions(device, orphans, vhu_map_drop(map, orphans));
}

void
vhu_device_drop_regions(struct vhu_device *device, struct vhu_region *const *regions,
	unsigned int count)
{
	struct vhu_region *orphans[VHU_MAX_MEM_SLOTS];
	unsigned int i, mapped = 0;

	for (i = 0; i < count; i++) {
		if (--regions[i]->references != 0)
			continue;
		if (regions[i]->mapping != NULL)
			orphans[mapped++] = regions[i];
		else
			vhu_region_free(regions[i]); /* was never mapped: quick */
	}
	unmap_regions(device, orphans, mapped);
}

static void
bin_init(struct vhu_bin *bin, struct vhu_device *device, bool allocated)
{
	*bin = (struct vhu_bin){
		.device = device,
		.fd = -1,
		.ring = UINT16_MAX,
		.allocated = allocated,
	};
}

struct vhu_bin *
vhu_bin_new(struct vhu_device *device)
{
	struct vhu_bin *bin = malloc(sizeof(*bin));

	if (bin != NULL)
		bin_init(bin, device, true);
	return bin;
}

struct vhu_bin *
vhu_bin_own(struct vhu_device *device)
{
	bin_init(&device->bin, device, false);
	return &device->bin;
}

void
vhu_bin_discard(struct vhu_bin *bin)
{
	if (bin != NULL && bin->allocated)
		free(bin);
}

/* Nobody marks pages in this log any more. */
static void
retire_log(struct vhu_device *device, struct vhu_dirty *log)
{
	uint64_t beyond = atomic_load_explicit(&log->state->beyond, memory_order_relaxed);

	if ((log->own || log->left) && device->log != NULL)
		vhu_dirty_merge(device->log, log);
	else if (beyond != 0)
		vhu_log(VHU_LOG_WARNING, device->name, VHU_LOG_NO_RING,
			"%" PRIu64 " writes to pages outside the dirty log could not be marked",
			beyond);
	vhu_dirty_drop(log);
}

/* The grace period is over: nobody can be using what is in the bin. */
static void
empty_bin(void *argument)
{
	/* A copy: the continuation may use the device's own bin for the next message. */
	struct vhu_bin bin = *(struct vhu_bin *)argument;
	struct vhu_published *published, *next;

	vhu_bin_discard(argument);
	for (published = bin.published; published != NULL; published = next) {
		next = published->next;
		vhu_published_free(bin.device, published);
	}
	if (bin.map != NULL)
		vhu_device_drop_map(bin.device, bin.map);
	if (bin.log != NULL)
		retire_log(bin.device, bin.log);
	vhu_iotlb_release(bin.entries);
	if (bin.fd >= 0)
		close(bin.fd);
	if (bin.then != NULL)
		bin.then(bin.device, bin.ring);
	vhu_device_pending_down(bin.device);
}

void
vhu_bin_retire(struct vhu_bin *bin, struct vhu_device_ring *ring)
{
	struct vhu_device *device = bin->device;
	struct vhu_reader **readers = ring != NULL ? &device->readers[ring->index] :
		device->readers;
	unsigned int count = ring != NULL ? 1 : device->config.ring_count;

	vhu_device_pending_up(device);
	bin->grace.busy = bin->allocated ? &bin->busy : device->busy;
	vhu_grace_begin(device->config.domain, &bin->grace, readers, count, empty_bin, bin);
}
