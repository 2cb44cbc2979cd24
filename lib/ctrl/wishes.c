/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <endian.h>
#include <string.h>

#include <rte_common.h>

#include "ctrl/commands.h"

#define AT(field) offsetof(struct vhu_wishes, field)

/* What is on or off, in the order of the bits in the saved form: only add at the end. */
static const size_t switches[] = {
	AT(filter.promiscuous), AT(filter.all_multicast), AT(filter.all_unicast),
	AT(filter.no_multicast), AT(filter.no_unicast), AT(filter.no_broadcast),
	AT(filter.unicast_overflow), AT(filter.multicast_overflow), AT(filter.vlan_filter),
	AT(filter.address_known), AT(steering.rss), AT(steering.report),
};

void
vhu_wishes_save(const struct vhu_wishes *wishes, struct vhu_wishes_saved *saved)
{
	const struct vhu_steering *steering = &wishes->steering;
	const struct vhu_filter *filter = &wishes->filter;
	uint32_t on = 0;
	unsigned int i;

	memset(saved, 0, sizeof(*saved));
	for (i = 0; i < RTE_DIM(switches); i++)
		on |= (uint32_t)*(const bool *)((const uint8_t *)wishes + switches[i]) << i;
	saved->switches = htole32(on);
	saved->offloads_off = htole64(wishes->offloads_off);
	for (i = 0; i < RTE_DIM(filter->vlans); i++)
		saved->vlans[i] = htole64(filter->vlans[i]);
	memcpy(saved->address, filter->address, sizeof(saved->address));
	saved->unicast_count = htole16(filter->unicast_count);
	saved->multicast_count = htole16(filter->multicast_count);
	memcpy(saved->unicast, filter->unicast, filter->unicast_count * sizeof(saved->unicast[0]));
	memcpy(saved->multicast, filter->multicast,
		filter->multicast_count * sizeof(saved->multicast[0]));
	saved->types = htole32(steering->types);
	saved->pairs = htole16(steering->pairs);
	saved->unclassified = htole16(steering->unclassified);
	saved->table_size = htole16(steering->table_size);
	memcpy(saved->key, steering->key, sizeof(saved->key));
	for (i = 0; i < steering->table_size; i++)
		saved->table[i] = htole16(steering->table[i]);
}

static bool
load_filter(struct vhu_filter *filter, const struct vhu_wishes_saved *saved)
{
	unsigned int i;

	filter->unicast_count = le16toh(saved->unicast_count);
	filter->multicast_count = le16toh(saved->multicast_count);
	if (filter->unicast_count > VHU_FILTER_ADDRESSES ||
	    filter->multicast_count > VHU_FILTER_ADDRESSES)
		return false;
	for (i = 0; i < RTE_DIM(filter->vlans); i++)
		filter->vlans[i] = le64toh(saved->vlans[i]);
	memcpy(filter->address, saved->address, sizeof(filter->address));
	memcpy(filter->unicast, saved->unicast, sizeof(filter->unicast));
	memcpy(filter->multicast, saved->multicast, sizeof(filter->multicast));
	return true;
}

/* As strict as the commands that set it: lcores rely on that. */
static bool
load_steering(struct vhu_steering *steering, const struct vhu_wishes_saved *saved,
	uint16_t queue_pairs)
{
	unsigned int i;

	steering->types = le32toh(saved->types);
	steering->pairs = le16toh(saved->pairs);
	steering->unclassified = le16toh(saved->unclassified);
	steering->table_size = le16toh(saved->table_size);
	memcpy(steering->key, saved->key, sizeof(steering->key));
	if ((steering->types & ~VHU_HASH_TYPES) != 0 || steering->pairs < 1 ||
	    steering->pairs > queue_pairs || steering->unclassified >= queue_pairs ||
	    steering->table_size > VHU_HASH_TABLE_SIZE ||
	    (steering->table_size & (steering->table_size - 1)) != 0 ||
	    (steering->rss && steering->table_size == 0))
		return false;
	for (i = 0; i < steering->table_size; i++) {
		steering->table[i] = le16toh(saved->table[i]);
		if (steering->table[i] >= queue_pairs)
			return false;
	}
	return true;
}

bool
vhu_wishes_load(struct vhu_wishes *wishes, const struct vhu_wishes_saved *saved)
{
	struct vhu_wishes loaded = {
		.features = wishes->features,
		.queue_pairs = wishes->queue_pairs,
		.offloads_off = le64toh(saved->offloads_off),
	};
	uint32_t on = le32toh(saved->switches);
	unsigned int i;

	if (on >> RTE_DIM(switches) != 0)
		return false;
	for (i = 0; i < RTE_DIM(switches); i++)
		*(bool *)((uint8_t *)&loaded + switches[i]) = on >> i & 1;
	if ((loaded.offloads_off & ~VHU_GUEST_OFFLOADS) != 0 ||
	    !load_filter(&loaded.filter, saved) ||
	    !load_steering(&loaded.steering, saved, loaded.queue_pairs))
		return false;
	*wishes = loaded;
	return true;
}
