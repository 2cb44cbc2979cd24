/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <string.h>

#include <rte_ether.h>

#include "ctrl/port.h"

/* Destination, source, type; with a tag its control word and the type behind it. */
#define HEADER 14
#define TAGGED_HEADER 18
#define TYPE_AT 12
#define VLAN_AT 14

static bool
listed(const uint8_t addresses[VHU_FILTER_ADDRESSES][6], unsigned int count, const uint8_t *address)
{
	for (unsigned int i = 0; i < count; i++)
		if (memcmp(addresses[i], address, sizeof(addresses[i])) == 0)
			return true;
	return false;
}

static bool
vlan_passes(const struct vhu_filter *filter, const uint8_t *frame, uint32_t size)
{
	unsigned int type = frame[TYPE_AT] << 8 | frame[TYPE_AT + 1], vlan;

	if (!filter->vlan_filter || type != RTE_ETHER_TYPE_VLAN || size < TAGGED_HEADER)
		return true;
	vlan = (frame[VLAN_AT] << 8 | frame[VLAN_AT + 1]) & 0xfff;
	return filter->vlans[vlan / 64] >> vlan % 64 & 1;
}

static bool
unicast_passes(const struct vhu_filter *filter, const uint8_t *address)
{
	if (filter->no_unicast)
		return false;
	if (filter->all_unicast || filter->unicast_overflow || !filter->address_known)
		return true;
	return memcmp(filter->address, address, sizeof(filter->address)) == 0 ||
		listed(filter->unicast, filter->unicast_count, address);
}

bool
vhu_filter_passes(const struct vhu_filter *filter, const void *frame, uint32_t size)
{
	const uint8_t *address = frame;
	struct rte_ether_addr to; /* aligned, which the frame need not be */

	if (size < HEADER)
		return false;
	memcpy(&to, frame, sizeof(to));
	if (filter->promiscuous)
		return true;
	if (!vlan_passes(filter, frame, size))
		return false;
	if (rte_is_broadcast_ether_addr(&to))
		return !filter->no_broadcast;
	if (!rte_is_multicast_ether_addr(&to))
		return unicast_passes(filter, address);
	if (filter->no_multicast)
		return false;
	return filter->all_multicast || filter->multicast_overflow ||
		listed(filter->multicast, filter->multicast_count, address);
}

int
vhu_port_filter(struct vhu_port *port, struct vhu_filter *filter)
{
	vhu_control_lock();
	*filter = port->wishes.filter;
	vhu_control_unlock();
	return 0;
}

int
vhu_port_steering(struct vhu_port *port, struct vhu_steering *steering)
{
	vhu_control_lock();
	*steering = port->wishes.steering;
	vhu_control_unlock();
	return 0;
}

void
vhu_port_steer(struct vhu_port *port, struct rte_mbuf **packets, uint16_t count, uint16_t *pairs)
{
	vhu_steer(&port->steer, packets, count, pairs);
}
