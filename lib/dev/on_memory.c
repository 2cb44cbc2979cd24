/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "dev/device_private.h"

/* Regions to be mapped on the worker; the job holds one reference on each of them. */
struct map_job {
	struct vhu_job job;
	struct vhu_device *device;
	bool populate;
	bool closed;               /* postcopy: until the front-end serves faults */
	unsigned int count;
	unsigned int failed;       /* run(): which one could not be mapped */
	struct vhu_region *regions[VHU_MEM_TABLE_REGIONS];
};

/* Runs on the worker: touches regions that nobody else knows yet, and reads the others' state. */
static void
run_map(struct vhu_job *job)
{
	struct map_job *map = (struct map_job *)job;
	unsigned int i;

	for (i = 0; i < map->count && job->result == 0; i++) {
		if (map->regions[i]->fd < 0)
			continue; /* mapped already: kept from the old table */
		job->result = map->closed ? vhu_region_map_closed(map->regions[i]) :
			vhu_region_map(map->regions[i], map->populate);
		map->failed = i;
	}
}

static struct map_job *
map_job_new(struct vhu_device *device, void (*done)(struct vhu_job *job))
{
	struct map_job *map = calloc(1, sizeof(*map));

	if (map == NULL)
		return NULL;
	map->job.run = run_map;
	map->job.done = done;
	map->device = device;
	map->populate = device->config.populate;
	map->closed = device->postcopy == VHU_POSTCOPY_LISTENING;
	return map;
}

static void
map_job_free(struct map_job *map)
{
	vhu_device_drop_regions(map->device, map->regions, map->count);
	free(map);
}

/* What became of the mapping itself. */
static struct vhu_verdict
map_job_verdict(const struct map_job *map)
{
	if (map->device->leaving)
		return vhu_refuse(VHU_REFUSE, "the connection was lost");
	if (map->job.result != 0)
		return vhu_refuse(VHU_REFUSE, "region at guest address 0x%" PRIx64 " of 0x%" PRIx64
			" bytes cannot be mapped: %s; the old table stays",
			map->regions[map->failed]->guest_address, map->regions[map->failed]->size,
			strerror(-map->job.result));
	return vhu_accept();
}

struct vhu_verdict
vhu_memory_switch(struct vhu_device *device, struct vhu_map *map, struct vhu_bin *bin)
{
	struct vhu_verdict verdict = vhu_rings_build(device, map, false);

	if (verdict.severity != VHU_ACCEPT) {
		vhu_device_drop_map(device, map);
		return verdict;
	}
	vhu_rings_commit(device, map, bin);
	if (device->iotlb != NULL)
		vhu_iotlb_follow(device->iotlb, map, &bin->entries);
	bin->map = device->map;
	device->map = map;
	return verdict;
}

/* The old map is out of use and what only it had is unmapped. */
static void
memory_settled(struct vhu_device *device)
{
	unsigned int i;

	for (i = 0; i < device->config.ring_count; i++) {
		struct vhu_device_ring *ring = &device->rings[i];

		if (!ring->lost)
			continue;
		ring->lost = false;
		/* Parked and quiet: no lcore writes the mark at the same time. */
		vhu_ring_break(ring->lcore, VHU_BROKEN_MEMORY, 0);
		vhu_ring_tell_broken(device, ring);
	}
	vhu_device_tell(device, VHU_EVENT_MEMORY, device->map->count);
	vhu_device_settle(device, vhu_accept());
}

void
vhu_memory_settle(struct vhu_device *device, struct vhu_bin *bin)
{
	vhu_device_pending_up(device);
	device->when_idle = memory_settled;
	vhu_bin_retire(bin, NULL);
	vhu_device_pending_down(device);
}

static void
done_table(struct vhu_job *job)
{
	struct map_job *table = (struct map_job *)job;
	struct vhu_device *device = table->device;
	struct vhu_verdict verdict = map_job_verdict(table);
	struct vhu_bin *bin = vhu_bin_own(device);
	struct vhu_map *map = NULL;

	if (verdict.severity == VHU_ACCEPT)
		map = vhu_map_of(table->regions, table->count, &verdict);
	if (table->closed) {
		map_job_free(table);
		vhu_memory_coming(device, map, verdict);
		return;
	}
	map_job_free(table);
	if (verdict.severity == VHU_ACCEPT)
		verdict = vhu_memory_switch(device, map, bin);
	if (verdict.severity == VHU_ACCEPT)
		vhu_memory_settle(device, bin);
	else
		vhu_device_settle(device, verdict);
}

/* May memory go, or does the owner of the device look at too much that went before? */
static struct vhu_verdict
check_removal(const struct vhu_device *device)
{
	if (device->config.ops->regions_crowd != NULL &&
	    device->config.ops->regions_crowd(device->config.owner))
		return vhu_refuse(VHU_REFUSE, "requests of before are still being worked on in "
			"memory that was removed, try again later");
	return vhu_accept();
}

/* A region of the new table: the one that is mapped already if it is the same, or a new one. */
static struct vhu_verdict
table_region(struct vhu_device *device, const struct vhu_wire_region *wire, int fd,
	struct vhu_region **region)
{
	struct vhu_region *known = vhu_map_find(device->map, wire);
	struct vhu_verdict verdict = vhu_region_prepare(wire, fd, region);

	if (verdict.severity == VHU_ACCEPT && known != NULL && vhu_region_same(known, *region)) {
		vhu_region_free(*region);
		known->references++;
		*region = known;
	}
	return verdict;
}

/* Would these make a map? Asked before the slow part. */
static struct vhu_verdict
try_map(struct vhu_region *const *regions, unsigned int count)
{
	struct vhu_region *none[VHU_MEM_TABLE_REGIONS];
	struct vhu_verdict verdict;
	struct vhu_map *map = vhu_map_of(regions, count, &verdict);

	if (map != NULL)
		(void)vhu_map_drop(map, none); /* the caller has a reference on each: no orphans */
	return verdict;
}

struct vhu_verdict
vhu_on_set_mem_table(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	struct map_job *table;
	struct vhu_verdict verdict;
	uint32_t i;

	(void)reply;
	if (vhu_postcopy_is_go(device, m))
		return vhu_memory_open(device, m);
	verdict = check_removal(device);
	if (verdict.severity != VHU_ACCEPT)
		return verdict;
	table = map_job_new(device, done_table);
	if (table == NULL)
		return vhu_refuse(VHU_REFUSE, "out of memory");
	for (i = 0; i < m->payload.table.count && verdict.severity == VHU_ACCEPT; i++) {
		verdict = table_region(device, &m->payload.table.regions[i],
			vhu_message_take_fd(m, i), &table->regions[i]);
		if (verdict.severity == VHU_ACCEPT)
			table->count++;
	}
	if (verdict.severity == VHU_ACCEPT)
		verdict = try_map(table->regions, table->count);
	if (verdict.severity != VHU_ACCEPT) {
		map_job_free(table);
		return verdict;
	}
	vhu_device_defer(device);
	device->config.executor->submit(device->config.executor, &table->job);
	return verdict;
}

struct vhu_verdict
vhu_on_get_max_mem_slots(struct vhu_device *device, struct vhu_message *m,
	struct vhu_message *reply)
{
	(void)device;
	(void)m;
	vhu_reply_u64(reply, VHU_MAX_MEM_SLOTS);
	return vhu_accept();
}

/* What a region is added to. */
static const struct vhu_map *
map_to_extend(const struct vhu_device *device)
{
	return device->coming != NULL ? device->coming : device->map;
}

/* Every burst that begins or goes on from here sees the new region. */
static void
region_added(struct vhu_device *device, uint16_t unused)
{
	(void)unused;
	vhu_device_tell(device, VHU_EVENT_MEMORY, device->map->count);
	vhu_device_settle(device, vhu_accept());
}

static void
done_add(struct vhu_job *job)
{
	struct map_job *add = (struct map_job *)job;
	struct vhu_device *device = add->device;
	struct vhu_verdict verdict = map_job_verdict(add);
	struct vhu_bin *bin = vhu_bin_own(device);
	struct vhu_map *map = NULL;

	if (verdict.severity == VHU_ACCEPT)
		map = vhu_map_with(map_to_extend(device), add->regions[0], &verdict);
	if (add->closed) {
		map_job_free(add);
		vhu_memory_coming(device, map, verdict);
		return;
	}
	if (verdict.severity == VHU_ACCEPT)
		verdict = vhu_memory_switch(device, map, bin);
	map_job_free(add);
	if (verdict.severity != VHU_ACCEPT) {
		vhu_device_settle(device, verdict);
		return;
	}
	/*
	 * Once it is acknowledged the guest may put buffers there, and a burst that began with the
	 * old map would take them for bad addresses. So this waits as well, if only for the burst.
	 */
	bin->then = region_added;
	vhu_bin_retire(bin, NULL);
}

/* Would the region fit into the device's map? Asked before the slow part. */
static struct vhu_verdict
try_region(const struct vhu_device *device, struct vhu_region *region)
{
	struct vhu_region *none[VHU_MAX_MEM_SLOTS];
	struct vhu_verdict verdict;
	struct vhu_map *map = vhu_map_with(map_to_extend(device), region, &verdict);

	if (map != NULL)
		(void)vhu_map_drop(map, none); /* all have another reference: no orphans */
	return verdict;
}

/*
 * Front-ends with several queue pairs exist that add each region, and later remove it, once per
 * pair (QEMU before 8.0). The very same memory again is no overlap: it is counted.
 */
static bool
is_repeat(const struct vhu_device *device, const struct vhu_wire_region *wire,
	const struct vhu_region *region)
{
	struct vhu_region *known = vhu_map_find(map_to_extend(device), wire);

	if (known == NULL || !vhu_region_same(known, region) || known->repeats == UINT_MAX)
		return false;
	known->repeats++;
	return true;
}

struct vhu_verdict
vhu_on_add_mem_reg(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	const struct vhu_wire_region *wire = &m->payload.mem_reg.region;
	struct map_job *add;
	struct vhu_verdict verdict;
	bool repeat = false;

	(void)reply;
	if (vhu_postcopy_is_go(device, m))
		return vhu_memory_open(device, m);
	add = map_job_new(device, done_add);
	if (add == NULL)
		return vhu_refuse(VHU_REFUSE, "out of memory");
	verdict = vhu_region_prepare(wire, vhu_message_take_fd(m, 0), &add->regions[0]);
	if (verdict.severity == VHU_ACCEPT) {
		add->count = 1;
		repeat = is_repeat(device, wire, add->regions[0]);
		if (!repeat)
			verdict = try_region(device, add->regions[0]);
	}
	if (repeat || verdict.severity != VHU_ACCEPT) {
		map_job_free(add);
		if (repeat && device->postcopy == VHU_POSTCOPY_LISTENING)
			vhu_memory_reply(device, map_to_extend(device));
		return verdict;
	}
	vhu_device_defer(device);
	device->config.executor->submit(device->config.executor, &add->job);
	return verdict;
}

/* May the ring go on with this map? */
static struct vhu_verdict
check_rings_stay(const struct vhu_device *device, const struct vhu_map *map)
{
	unsigned int i;

	for (i = 0; i < device->config.ring_count; i++) {
		const struct vhu_device_ring *ring = &device->rings[i];

		if (vhu_ring_alive(ring) && !vhu_ring_in_memory(device, ring, map))
			return vhu_refuse(VHU_REFUSE, "ring %u is started and lies in the region, "
				"stop it first", ring->index);
	}
	return vhu_accept();
}

struct vhu_verdict
vhu_on_rem_mem_reg(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	const struct vhu_wire_region *wire = &m->payload.mem_reg.region;
	struct vhu_region *region = vhu_map_find(device->map, wire);
	struct vhu_bin *bin = vhu_bin_own(device);
	struct vhu_verdict verdict;
	struct vhu_map *map;

	(void)reply;
	if (region == NULL)
		return vhu_refuse(VHU_REFUSE, "there is no region at guest address 0x%" PRIx64
			", user address 0x%" PRIx64 " of 0x%" PRIx64 " bytes", wire->guest_address,
			wire->user_address, wire->size);
	if (region->repeats > 0) {
		region->repeats--;
		return vhu_accept();
	}
	if (device->coming != NULL)
		return vhu_refuse(VHU_REFUSE, "memory is still to come, it cannot be removed");
	verdict = check_removal(device);
	if (verdict.severity != VHU_ACCEPT)
		return verdict;
	map = vhu_map_without(device->map, region, &verdict);
	if (map == NULL)
		return verdict;
	verdict = check_rings_stay(device, map);
	if (verdict.severity != VHU_ACCEPT) {
		vhu_device_drop_map(device, map);
		return verdict;
	}
	verdict = vhu_memory_switch(device, map, bin);
	if (verdict.severity != VHU_ACCEPT)
		return verdict;
	vhu_device_defer(device);
	vhu_memory_settle(device, bin);
	return verdict;
}
