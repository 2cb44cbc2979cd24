/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "driver.h"
#include "front.h"

static int
set_state(struct front *front, enum vhu_request request, unsigned int index, uint32_t value)
{
	struct vhu_wire_vring_state state = { index, value };

	return front_request(front, request, &state, sizeof(state), NULL, 0, NULL, 0, NULL);
}

/** A descriptor for one ring, or the word that says there is none. */
static int
set_descriptor(struct front *front, enum vhu_request request, unsigned int index, int fd)
{
	uint64_t value = index | (fd < 0 ? VHU_VRING_NOFD : 0);

	return front_request(front, request, &value, sizeof(value), &fd, fd >= 0, NULL, 0, NULL);
}

/** Behind an IOMMU rings are told by device address, otherwise by user address. */
static uint64_t
ring_address(const struct front *front, const void *host)
{
	if (front->features & VHU_BIT(VIRTIO_F_ACCESS_PLATFORM))
		return front_device_address(front->memory, host);
	return (uintptr_t)host;
}

int
front_set_addresses(struct front *front, unsigned int index, const struct front_ring *ring)
{
	struct vhu_wire_vring_addr address = {
		.index = index,
		.flags = (front->features & VHU_BIT(VHU_F_LOG_ALL)) != 0,
		.descriptor = ring_address(front, ring->descriptor),
		.avail = ring_address(front, ring->avail),
		.used = ring_address(front, ring->used),
		.log_guest_address = front_guest_address(front->memory, ring->used),
	};

	return front_request(front, VHU_SET_VRING_ADDR, &address, sizeof(address), NULL, 0, NULL,
		0, NULL);
}

int
front_start(struct front *front, unsigned int index, struct front_ring *ring)
{
	return front_start_at(front, index, ring, front_ring_base(ring));
}

int
front_start_at(struct front *front, unsigned int index, struct front_ring *ring, uint32_t base)
{
	int error;

	if (ring->kick_fd < 0)
		ring->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ring->kick_fd < 0)
		return front_fail(front, -errno, "no eventfd: %s", strerror(errno));
	error = set_state(front, VHU_SET_VRING_NUM, index, ring->size);
	if (error == 0)
		error = set_state(front, VHU_SET_VRING_BASE, index, base);
	if (error == 0)
		error = front_set_addresses(front, index, ring);
	if (error == 0)
		error = front_set_call(front, index, -1);
	if (error == 0)
		error = set_descriptor(front, VHU_SET_VRING_KICK, index, ring->kick_fd);
	return error != 0 ? error : front_enable(front, index, true);
}

int
front_enable(struct front *front, unsigned int index, bool enable)
{
	return set_state(front, VHU_SET_VRING_ENABLE, index, enable);
}

int
front_set_call(struct front *front, unsigned int index, int fd)
{
	return set_descriptor(front, VHU_SET_VRING_CALL, index, fd);
}

int
front_stop(struct front *front, unsigned int index, uint32_t *base)
{
	struct vhu_wire_vring_state state = { index, 0 }, reply;
	int error = front_request(front, VHU_GET_VRING_BASE, &state, sizeof(state), NULL, 0, &reply,
		sizeof(reply), NULL);

	if (error == 0 && reply.index != index)
		return front_fail(front, -EPROTO, "the base of ring %u came for ring %u",
			reply.index, index);
	if (error == 0 && base != NULL)
		*base = reply.value;
	return error;
}
