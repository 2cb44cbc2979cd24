/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "dev/device_private.h"

/* Smallest and largest MTU of virtio-net. */
#define MTU_MIN 68
#define MTU_MAX 65535

struct vhu_verdict
vhu_on_get_config(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	const struct vhu_wire_config *asked = &m->payload.config;
	struct vhu_wire_config *config = &reply->payload.config;
	int rc;

	/* The table bounds size, so the difference cannot wrap. */
	if (asked->offset > VHU_CONFIG_SPACE_SIZE - asked->size)
		return vhu_refuse(VHU_REFUSE, "%u bytes at offset %u are asked for, there are %u",
			asked->size, asked->offset, VHU_CONFIG_SPACE_SIZE);
	config->offset = asked->offset;
	config->size = asked->size;
	config->flags = asked->flags;
	rc = device->config.ops->get_config(device->config.owner, asked->offset, config->data,
		asked->size);
	if (rc != 0)
		return vhu_refuse(VHU_REFUSE, "%u bytes at offset %u cannot be read: %s",
			asked->size, asked->offset, strerror(-rc));
	reply->size = offsetof(struct vhu_wire_config, data) + asked->size;
	return vhu_accept();
}

struct vhu_verdict
vhu_on_set_config(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	const struct vhu_wire_config *config = &m->payload.config;
	bool migration = (config->flags & VHU_CONFIG_MIGRATION) != 0;
	int rc = -EPERM;

	(void)reply;
	/* The table bounds size, so the difference cannot wrap. */
	if (config->offset > VHU_CONFIG_SPACE_SIZE - config->size)
		return vhu_refuse(VHU_REFUSE, "%u bytes at offset %u are to be written, there are "
			"%u", config->size, config->offset, VHU_CONFIG_SPACE_SIZE);
	if (config->flags & ~VHU_CONFIG_MIGRATION)
		return vhu_refuse(VHU_REFUSE, "flags 0x%x are not known", config->flags);
	if (device->config.ops->set_config != NULL)
		rc = device->config.ops->set_config(device->config.owner, config->offset,
			config->data, config->size, migration);
	if (rc != 0)
		return vhu_refuse(VHU_REFUSE, "%u bytes at offset %u cannot be written: %s",
			config->size, config->offset, strerror(-rc));
	return vhu_accept();
}

struct vhu_verdict
vhu_on_net_set_mtu(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	uint64_t mtu = m->payload.u64;
	int rc;

	(void)reply;
	if (mtu < MTU_MIN || mtu > MTU_MAX)
		return vhu_refuse(VHU_REFUSE, "MTU %" PRIu64 " is not in %u to %u", mtu, MTU_MIN,
			MTU_MAX);
	rc = device->config.ops->set_mtu(device->config.owner, mtu);
	if (rc != 0)
		return vhu_refuse(VHU_REFUSE, "MTU %" PRIu64 " is not possible: %s", mtu,
			strerror(-rc));
	vhu_device_tell(device, VHU_EVENT_MTU, mtu);
	return vhu_accept();
}

struct vhu_verdict
vhu_on_send_rarp(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	/* Six bytes in the order of memory; the last two of the payload are not used. */
	uint64_t address = le64toh(m->payload.u64) & UINT64_C(0xffffffffffff);
	int rc;

	(void)reply;
	if (address == 0 || (address & 1) != 0)
		return vhu_refuse(VHU_REFUSE, "0x%012" PRIx64 " (last byte first) is not the "
			"address of one network card", address);
	rc = device->config.ops->announce(device->config.owner, address);
	if (rc != 0)
		return vhu_refuse(VHU_REFUSE, "the guest cannot be announced now: %s",
			strerror(-rc));
	vhu_device_tell(device, VHU_EVENT_ANNOUNCE, address);
	return vhu_accept();
}
