/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_CTRL_COMMANDS_H
#define VHU_CTRL_COMMANDS_H

/**
 * @file
 * Commands of the control queue: bytes in, state and a status out (virtio 1.3, section 5.1.6.5).
 *
 * Pure functions on a copy of what the driver wrote. A command that is too short, too long, out of
 * range or of a feature that was not negotiated changes nothing and is answered with an error.
 */

#include <stddef.h>

#include <vhu_control.h>

#include "wire/spec.h"

/** Longest command that is looked at: a table of some ten thousand addresses. */
#define VHU_COMMAND_MAX 65536
/** Kinds of frames that can be hashed. */
#define VHU_HASH_TYPES \
	(VHU_HASH_IPV4 | VHU_HASH_TCP4 | VHU_HASH_UDP4 | VHU_HASH_IPV6 | VHU_HASH_TCP6 | \
	VHU_HASH_UDP6)
/** Features that a driver may switch off again. */
#define VHU_GUEST_OFFLOADS \
	(VHU_BIT(VIRTIO_NET_F_GUEST_CSUM) | VHU_BIT(VIRTIO_NET_F_GUEST_TSO4) | \
	VHU_BIT(VIRTIO_NET_F_GUEST_TSO6) | VHU_BIT(VIRTIO_NET_F_GUEST_ECN) | \
	VHU_BIT(VIRTIO_NET_F_GUEST_UFO) | VHU_BIT(VIRTIO_NET_F_GUEST_USO4) | \
	VHU_BIT(VIRTIO_NET_F_GUEST_USO6))

/** What the driver has asked for since the negotiation. */
struct vhu_wishes {
	uint64_t features;      /**< negotiated */
	uint16_t queue_pairs;   /**< that exist */
	uint64_t offloads_off;  /**< GUEST_* features that the driver has switched off */
	struct vhu_filter filter;
	struct vhu_steering steering;
};

/** Those as another host can go on with them: little-endian, no holes. */
struct vhu_wishes_saved {
	uint64_t offloads_off;
	uint64_t vlans[64];
	uint32_t switches;      /**< what is on or off */
	uint32_t types;
	uint16_t pairs;
	uint16_t unclassified;
	uint16_t table_size;
	uint16_t unicast_count;
	uint16_t multicast_count;
	uint8_t address[6];
	uint8_t unicast[VHU_FILTER_ADDRESSES][6];
	uint8_t multicast[VHU_FILTER_ADDRESSES][6];
	uint8_t key[VHU_HASH_KEY_SIZE];
	uint16_t table[VHU_HASH_TABLE_SIZE];
};

/** Begin anew with these features. */
void vhu_wishes_init(struct vhu_wishes *wishes, uint64_t features, uint16_t queue_pairs);
/** Run one command: class, command, data. @return VIRTIO_NET_OK or VIRTIO_NET_ERR. */
uint8_t vhu_command_run(struct vhu_wishes *wishes, const uint8_t *bytes, size_t size);

void vhu_wishes_save(const struct vhu_wishes *wishes, struct vhu_wishes_saved *saved);
/** @return false if no driver could have asked for that: nothing has changed. */
bool vhu_wishes_load(struct vhu_wishes *wishes, const struct vhu_wishes_saved *saved);

#endif /* VHU_CTRL_COMMANDS_H */
