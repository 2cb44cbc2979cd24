/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "dev/device_private.h"

const struct vhu_snapshot *
vhu_device_ring_snapshot(const struct vhu_device *device, uint16_t ring)
{
	const struct vhu_published *published = device->rings[ring].published;

	return published != NULL ? &published->snapshot : NULL;
}

/* Everything that people may ask a device about; its handlers have no use for it. */
void
vhu_device_describe(const struct vhu_device *device, struct vhu_port_info *info)
{
	const struct vhu_map *map = device->map;
	uint32_t i;

	info->features = device->features;
	info->protocol_features = device->protocol;
	info->packed = device->features & VHU_BIT(VIRTIO_F_RING_PACKED);
	info->in_order = device->features & VHU_BIT(VHU_F_IN_ORDER);
	info->iommu = device->features & VHU_BIT(VIRTIO_F_IOMMU_PLATFORM);
	info->logging = device->features & VHU_BIT(VHU_F_LOG_ALL);
	info->inflight = device->inflight != NULL;
	info->channel = vhu_channel_open(&device->channel);
	if (info->iommu && device->iotlb != NULL)
		info->iotlb_entries = vhu_iotlb_count(device->iotlb);
	info->iotlb_misses = device->misses;
	info->postcopy = device->postcopy;
	info->memory_regions = map->count;
	info->memory_bytes = 0;
	for (i = 0; i < map->count; i++)
		info->memory_bytes += map->extents[i].size;
	vhu_device_counts(device, &info->messages, &info->refusals, info->last_refusal);
}
