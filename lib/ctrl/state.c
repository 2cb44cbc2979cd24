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
#include "dev/requests.h"

#define MTU_MIN 68

/* "vhun": the state of a network device of ours. */
#define STATE_MAGIC UINT32_C(0x6e756876)
#define STATE_VERSION 1
/* With what the guest's driver set up through a control queue that is served here. */
#define STATE_VERSION_CONTROL 2

/* Little-endian. A later version may only add fields behind these; 2 adds vhu_wishes_saved. */
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

static bool
has_control_queue(const struct vhu_port *port)
{
	return port->options.offers & VHU_OFFER_BIT(CONTROL_QUEUE);
}

int
vhu_state_save(void *owner, uint8_t **bytes, size_t *size)
{
	struct vhu_port *port = owner;
	bool control = has_control_queue(port);
	struct vhu_wishes_saved wishes;
	struct port_state state = {
		.magic = htole32(STATE_MAGIC),
		.version = htole16(control ? STATE_VERSION_CONTROL : STATE_VERSION),
		.mtu = htole16(port->mtu),
	};

	*size = sizeof(state) + (control ? sizeof(wishes) : 0);
	state.size = htole16((uint16_t)*size);
	*bytes = malloc(*size);
	if (*bytes == NULL)
		return -ENOMEM;
	memcpy(*bytes, &state, sizeof(state));
	if (control) {
		vhu_wishes_save(&port->wishes, &wishes);
		memcpy(*bytes + sizeof(state), &wishes, sizeof(wishes));
	}
	return 0;
}

/* What the driver set up here continues there, whatever features were acknowledged by now. */
static bool
load_wishes(struct vhu_port *port, const uint8_t *bytes)
{
	struct vhu_wishes_saved saved;

	memcpy(&saved, bytes, sizeof(saved));
	if (!has_control_queue(port) || !vhu_wishes_load(&port->wishes, &saved))
		return false;
	vhu_control_queue_restored(port);
	return true;
}

int
vhu_state_load(void *owner, const uint8_t *bytes, size_t size)
{
	struct vhu_port *port = owner;
	struct port_state state;
	size_t control = 0;
	uint16_t mtu;

	if (size < sizeof(state))
		return -EINVAL;
	memcpy(&state, bytes, sizeof(state));
	mtu = le16toh(state.mtu);
	if (le32toh(state.magic) != STATE_MAGIC)
		return -EINVAL;
	if (le16toh(state.version) == STATE_VERSION_CONTROL)
		control = sizeof(struct vhu_wishes_saved);
	else if (le16toh(state.version) != STATE_VERSION)
		return -ENOTSUP;
	if (le16toh(state.size) != size || size != sizeof(state) + control || !mtu_allowed(mtu))
		return -EINVAL;
	if (control != 0 && !load_wishes(port, bytes + sizeof(state)))
		return -EINVAL;
	set_mtu(port, mtu);
	return 0;
}

/* The configuration space differs: tell the guest, if its front-end wants to know. */
static void
set_link(struct vhu_port *port, bool up)
{
	if (port->link_down == !up)
		return;
	port->link_down = !up;
	if (port->link != VHU_LINK_CONNECTED)
		return;
	/* Otherwise it is read when the driver begins, or not at all. */
	if (vhu_device_config_changed(port->device) == 0)
		vhu_loop_wake(port->control->loop);
}

int
vhu_port_set_link(struct vhu_port *port, bool up)
{
	vhu_control_lock();
	set_link(port, up);
	vhu_control_unlock();
	return 0;
}

void
vhu_state_reset(void *owner)
{
	struct vhu_port *port = owner;

	set_mtu(port, port->options.mtu);
	vhu_control_queue_reset(port);
}
