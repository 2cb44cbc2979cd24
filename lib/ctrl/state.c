/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctrl/connection.h"
#include "ctrl/control_queue.h"
#include "ctrl/events.h"
#include "ctrl/state.h"

#define MTU_MIN 68

/* "vhun": the state of a network device of ours. */
#define STATE_MAGIC UINT32_C(0x6e756876)
#define STATE_VERSION 1

/* Little-endian. A later version may only add fields behind these. */
struct port_state {
	uint32_t magic;
	uint16_t version;
	uint16_t size; /* of all of it */
	uint16_t mtu;  /* 0: none */
	uint16_t padding;
};

static void
set_mtu(struct vhu_port *port, uint16_t mtu)
{
	if (mtu == port->mtu)
		return;
	port->mtu = mtu;
	vhu_events_tell(port, VHU_EVENT_MTU, UINT16_MAX, mtu);
}

static bool
mtu_allowed(uint16_t mtu)
{
	return mtu == 0 || mtu >= MTU_MIN;
}

int
vhu_state_set_config(void *owner, uint32_t offset, const void *data, uint32_t size, bool migration)
{
	struct vhu_port *port = owner;
	union {
		struct virtio_net_config net;
		uint8_t bytes[VHU_CONFIG_SPACE_SIZE];
	} space;
	uint16_t pairs;

	/* The only writable field would be the address of a legacy device, which is not ours. */
	if (!migration)
		return -EPERM;
	if (offset > sizeof(space) || size > sizeof(space) - offset)
		return -EINVAL;
	vhu_connection_device_ops.get_config(port, 0, &space, sizeof(space));
	pairs = space.net.max_virtqueue_pairs;
	memcpy(space.bytes + offset, data, size);
	if (space.net.max_virtqueue_pairs != pairs || !mtu_allowed(space.net.mtu))
		return -EINVAL;
	set_mtu(port, space.net.mtu);
	return 0;
}

int
vhu_state_save(void *owner, uint8_t **bytes, size_t *size)
{
	struct vhu_port *port = owner;
	const struct port_state state = {
		.magic = htole32(STATE_MAGIC),
		.version = htole16(STATE_VERSION),
		.size = htole16(sizeof(state)),
		.mtu = htole16(port->mtu),
	};

	*bytes = malloc(sizeof(state));
	if (*bytes == NULL)
		return -ENOMEM;
	memcpy(*bytes, &state, sizeof(state));
	*size = sizeof(state);
	return 0;
}

int
vhu_state_load(void *owner, const uint8_t *bytes, size_t size)
{
	struct vhu_port *port = owner;
	struct port_state state;
	uint16_t mtu;

	if (size < sizeof(state))
		return -EINVAL;
	memcpy(&state, bytes, sizeof(state));
	mtu = le16toh(state.mtu);
	if (le32toh(state.magic) != STATE_MAGIC)
		return -EINVAL;
	if (le16toh(state.version) != STATE_VERSION)
		return -ENOTSUP;
	if (le16toh(state.size) != size || size != sizeof(state) || !mtu_allowed(mtu))
		return -EINVAL;
	set_mtu(port, mtu);
	return 0;
}

void
vhu_state_reset(void *owner)
{
	struct vhu_port *port = owner;

	set_mtu(port, port->options.mtu);
	vhu_control_queue_reset(port);
}
