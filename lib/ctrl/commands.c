/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <string.h>

#include <rte_byteorder.h>
#include <rte_common.h>
#include <rte_ether.h>

#include "ctrl/commands.h"

#define VLANS 4096

/* The key with which most drivers begin; frames are spread by it until the guest sets its own. */
static const uint8_t first_key[VHU_HASH_KEY_SIZE] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
	0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
	0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

/* What is left of a command's data. Reading beyond its end gives nothing and is remembered. */
struct reader {
	const uint8_t *bytes;
	size_t left;
	bool short_of;
};

static const uint8_t *
take(struct reader *reader, size_t size)
{
	const uint8_t *bytes = reader->bytes;

	if (size > reader->left) {
		reader->short_of = true;
		reader->left = 0;
		return NULL;
	}
	reader->bytes += size;
	reader->left -= size;
	return bytes;
}

static uint64_t
take_number(struct reader *reader, size_t size)
{
	const uint8_t *bytes = take(reader, size);
	uint64_t value = 0;

	for (size_t i = 0; bytes != NULL && i < size; i++)
		value |= (uint64_t)bytes[i] << 8 * i;
	return value;
}

/* Was everything there, and nothing more? */
static bool
complete(const struct reader *reader)
{
	return !reader->short_of && reader->left == 0;
}

void
vhu_wishes_init(struct vhu_wishes *wishes, uint64_t features, uint16_t queue_pairs)
{
	memset(wishes, 0, sizeof(*wishes));
	wishes->features = features;
	wishes->queue_pairs = queue_pairs;
	wishes->filter.promiscuous = true;
	wishes->filter.vlan_filter = features & VHU_BIT(VIRTIO_NET_F_CTRL_VLAN);
	wishes->steering.pairs = 1;
	wishes->steering.types = VHU_HASH_TYPES;
	memcpy(wishes->steering.key, first_key, sizeof(first_key));
}

static bool
has(const struct vhu_wishes *wishes, unsigned int bit)
{
	return wishes->features >> bit & 1;
}

static bool
run_rx(struct vhu_wishes *wishes, uint8_t command, struct reader *data)
{
	struct vhu_filter *filter = &wishes->filter;
	bool *const modes[] = {
		[VIRTIO_NET_CTRL_RX_PROMISC] = &filter->promiscuous,
		[VIRTIO_NET_CTRL_RX_ALLMULTI] = &filter->all_multicast,
		[VIRTIO_NET_CTRL_RX_ALLUNI] = &filter->all_unicast,
		[VIRTIO_NET_CTRL_RX_NOMULTI] = &filter->no_multicast,
		[VIRTIO_NET_CTRL_RX_NOUNI] = &filter->no_unicast,
		[VIRTIO_NET_CTRL_RX_NOBCAST] = &filter->no_broadcast,
	};
	bool on = take_number(data, 1) != 0;

	if (!complete(data) || command >= RTE_DIM(modes) || !has(wishes,
			command <= VIRTIO_NET_CTRL_RX_ALLMULTI ? VIRTIO_NET_F_CTRL_RX :
			VIRTIO_NET_F_CTRL_RX_EXTRA))
		return false;
	*modes[command] = on;
	return true;
}

/* One of the two tables: how many, then that many addresses. Kept as far as there is room. */
static void
take_table(struct reader *data, uint8_t addresses[VHU_FILTER_ADDRESSES][6], uint16_t *count,
	bool *overflow)
{
	uint64_t entries = take_number(data, 4);
	const uint8_t *bytes = take(data, entries * RTE_ETHER_ADDR_LEN);

	*overflow = entries > VHU_FILTER_ADDRESSES;
	*count = 0;
	if (bytes == NULL || *overflow)
		return;
	*count = (uint16_t)entries;
	memcpy(addresses, bytes, entries * RTE_ETHER_ADDR_LEN);
}

static bool
run_mac(struct vhu_wishes *wishes, uint8_t command, struct reader *data)
{
	struct vhu_filter filter = wishes->filter;
	const uint8_t *address;

	if (command == VIRTIO_NET_CTRL_MAC_TABLE_SET && has(wishes, VIRTIO_NET_F_CTRL_RX)) {
		take_table(data, filter.unicast, &filter.unicast_count, &filter.unicast_overflow);
		take_table(data, filter.multicast, &filter.multicast_count,
			&filter.multicast_overflow);
	} else if (command == VIRTIO_NET_CTRL_MAC_ADDR_SET &&
			has(wishes, VIRTIO_NET_F_CTRL_MAC_ADDR)) {
		address = take(data, RTE_ETHER_ADDR_LEN);
		if (address == NULL ||
		    !rte_is_valid_assigned_ether_addr((const struct rte_ether_addr *)address))
			return false;
		memcpy(filter.address, address, sizeof(filter.address));
		filter.address_known = true;
	} else {
		return false;
	}
	if (!complete(data))
		return false;
	wishes->filter = filter;
	return true;
}

static bool
run_vlan(struct vhu_wishes *wishes, uint8_t command, struct reader *data)
{
	uint64_t vlan = take_number(data, 2);

	if (!complete(data) || vlan >= VLANS || !has(wishes, VIRTIO_NET_F_CTRL_VLAN) ||
	    command > VIRTIO_NET_CTRL_VLAN_DEL)
		return false;
	if (command == VIRTIO_NET_CTRL_VLAN_ADD)
		wishes->filter.vlans[vlan / 64] |= VHU_BIT(vlan % 64);
	else
		wishes->filter.vlans[vlan / 64] &= ~VHU_BIT(vlan % 64);
	return true;
}

/* The status word never asks for an announcement here, so there is none to be forgotten. */
static bool
run_announce(const struct vhu_wishes *wishes, uint8_t command, const struct reader *data)
{
	return command == VIRTIO_NET_CTRL_ANNOUNCE_ACK && complete(data) &&
		has(wishes, VIRTIO_NET_F_GUEST_ANNOUNCE);
}

static void
take_key(struct reader *data, struct vhu_steering *steering)
{
	size_t size = take_number(data, 1);
	const uint8_t *key = take(data, size);

	if (size > sizeof(steering->key))
		data->short_of = true; /* longer than the configuration space allows */
	if (key == NULL || data->short_of)
		return;
	memset(steering->key, 0, sizeof(steering->key));
	memcpy(steering->key, key, size);
}

static bool
take_rss(const struct vhu_wishes *wishes, struct reader *data, struct vhu_steering *steering)
{
	uint64_t size;

	steering->types = (uint32_t)take_number(data, 4);
	size = take_number(data, 2) + 1;
	steering->unclassified = (uint16_t)take_number(data, 2);
	if (data->short_of || size > VHU_HASH_TABLE_SIZE || (size & (size - 1)) != 0 ||
	    steering->unclassified >= wishes->queue_pairs)
		return false;
	steering->table_size = (uint16_t)size;
	for (unsigned int i = 0; i < size; i++) {
		steering->table[i] = (uint16_t)take_number(data, 2);
		if (steering->table[i] >= wishes->queue_pairs)
			return false;
	}
	steering->pairs = (uint16_t)take_number(data, 2);
	steering->rss = true;
	return true;
}

static bool
run_mq(struct vhu_wishes *wishes, uint8_t command, struct reader *data)
{
	struct vhu_steering steering = wishes->steering;

	if (command == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET && has(wishes, VIRTIO_NET_F_MQ)) {
		steering.pairs = (uint16_t)take_number(data, 2);
		steering.rss = false;
	} else if (command == VIRTIO_NET_CTRL_MQ_RSS_CONFIG && has(wishes, VHU_NET_F_RSS)) {
		if (!take_rss(wishes, data, &steering))
			return false;
		take_key(data, &steering);
	} else if (command == VIRTIO_NET_CTRL_MQ_HASH_CONFIG &&
			has(wishes, VHU_NET_F_HASH_REPORT)) {
		steering.types = (uint32_t)take_number(data, 4);
		take(data, 8); /* reserved */
		take_key(data, &steering);
	} else {
		return false;
	}
	if (!complete(data) || steering.pairs < 1 || steering.pairs > wishes->queue_pairs ||
	    (steering.types & ~VHU_HASH_TYPES) != 0)
		return false;
	if (command != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET)
		steering.report = has(wishes, VHU_NET_F_HASH_REPORT);
	wishes->steering = steering;
	return true;
}

static bool
run_offloads(struct vhu_wishes *wishes, uint8_t command, struct reader *data)
{
	uint64_t on = take_number(data, 8), negotiated = wishes->features & VHU_GUEST_OFFLOADS;

	if (command != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET || !complete(data) ||
	    (on & ~negotiated) != 0 || !has(wishes, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS))
		return false;
	wishes->offloads_off = negotiated & ~on;
	return true;
}

uint8_t
vhu_command_run(struct vhu_wishes *wishes, const uint8_t *bytes, size_t size)
{
	struct reader data = { bytes, size, false };
	uint8_t class = (uint8_t)take_number(&data, 1);
	uint8_t command = (uint8_t)take_number(&data, 1);
	bool good = false;

	if (data.short_of)
		return VIRTIO_NET_ERR;
	switch (class) {
	case VIRTIO_NET_CTRL_RX:
		good = run_rx(wishes, command, &data);
		break;
	case VIRTIO_NET_CTRL_MAC:
		good = run_mac(wishes, command, &data);
		break;
	case VIRTIO_NET_CTRL_VLAN:
		good = run_vlan(wishes, command, &data);
		break;
	case VIRTIO_NET_CTRL_ANNOUNCE:
		good = run_announce(wishes, command, &data);
		break;
	case VIRTIO_NET_CTRL_MQ:
		good = run_mq(wishes, command, &data);
		break;
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		good = run_offloads(wishes, command, &data);
		break;
	default:
		break;
	}
	return good ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
}
