/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "front.h"
#include "private.h"

static bool
has(const struct front *front, enum vhu_protocol_feature feature)
{
	return (front->protocol & VHU_BIT(feature)) != 0;
}

/** Do other things until the socket has something, or patience ends. */
static void
idle_until_readable(struct front *front)
{
	uint64_t end = front_nanoseconds() + FRONT_PATIENCE * UINT64_C(1000000000);
	struct pollfd look = { .fd = front->socket, .events = POLLIN };

	while (poll(&look, 1, 0) == 0 && front_nanoseconds() < end)
		front->idle(front->idle_argument);
}

/** Wait for the reply to @p request, which may carry a descriptor. */
static int
await_reply(struct front *front, uint32_t request, void *reply, size_t size, int *fd)
{
	struct vhu_wire_header header;
	int got;

	if (front->idle != NULL)
		idle_until_readable(front);
	got = front_receive_message(front->socket, &header, reply, size, fd);
	if (got < 0)
		return front_fail(front, got, "no reply to request %u: %s", request,
			strerror(-got));
	/* Whether SET_LOG_BASE is answered with a u64 or with nothing differs between back-ends. */
	if (request == VHU_SET_LOG_BASE && got == 0)
		size = 0;
	if (header.request != request || !(header.flags & VHU_FLAG_REPLY) || (size_t)got != size)
		return front_fail(front, -EPROTO, "request %u was answered by %u, flags %#x, %d "
			"bytes", request, header.request, header.flags, got);
	return 0;
}

static int
request_locked(struct front *front, enum vhu_request request, const void *payload, size_t size,
	const int *fds, unsigned int fd_count, void *reply, size_t reply_size, int *reply_fd)
{
	bool acknowledge = reply == NULL && has(front, VHU_PROTOCOL_REPLY_ACK);
	uint64_t status;
	int error = front_send_message(front->socket, request,
		acknowledge ? VHU_FLAG_NEED_REPLY : 0, payload, size, fds, fd_count);

	if (error != 0)
		return front_fail(front, error, "cannot send request %u: %s", request,
			strerror(-error));
	if (reply != NULL)
		return await_reply(front, request, reply, reply_size, reply_fd);
	if (!acknowledge)
		return 0;
	error = await_reply(front, request, &status, sizeof(status), NULL);
	if (error != 0)
		return error;
	front->acknowledged++;
	return status == 0 ? 0 :
		front_fail(front, -EREMOTEIO, "the back-end refused request %u", request);
}

int
front_request(struct front *front, enum vhu_request request, const void *payload, size_t size,
	const int *fds, unsigned int fd_count, void *reply, size_t reply_size, int *reply_fd)
{
	int error;

	pthread_mutex_lock(&front->lock);
	error = request_locked(front, request, payload, size, fds, fd_count, reply, reply_size,
		reply_fd);
	pthread_mutex_unlock(&front->lock);
	return error;
}

int
front_set_u64(struct front *front, enum vhu_request request, uint64_t value)
{
	return front_request(front, request, &value, sizeof(value), NULL, 0, NULL, 0, NULL);
}

int
front_get_u64(struct front *front, enum vhu_request request, uint64_t *value)
{
	return front_request(front, request, NULL, 0, NULL, 0, value, sizeof(*value), NULL);
}

int
front_settle(struct front *front)
{
	uint64_t features;

	return front_get_u64(front, VHU_GET_FEATURES, &features);
}

static int
negotiate_protocol(struct front *front, uint64_t wanted)
{
	int error = front_get_u64(front, VHU_GET_PROTOCOL_FEATURES, &front->protocol_offered);
	uint64_t accepted = front->protocol_offered & wanted;

	if (error == 0)
		error = front_set_u64(front, VHU_SET_PROTOCOL_FEATURES, accepted);
	front->protocol = accepted;
	return error;
}

int
front_negotiate(struct front *front, uint64_t features, uint64_t protocol)
{
	int error = front_get_u64(front, VHU_GET_FEATURES, &front->offered);

	front->slots = VHU_MEM_TABLE_REGIONS;
	features |= VHU_BIT(VHU_F_PROTOCOL_FEATURES);
	if (error == 0 && (front->offered & VHU_BIT(VHU_F_PROTOCOL_FEATURES)))
		error = negotiate_protocol(front, protocol);
	if (error == 0)
		error = front_request(front, VHU_SET_OWNER, NULL, 0, NULL, 0, NULL, 0, NULL);
	if (error == 0 && has(front, VHU_PROTOCOL_CONFIGURE_MEM_SLOTS))
		error = front_get_u64(front, VHU_GET_MAX_MEM_SLOTS, &front->slots);
	return error != 0 ? error : front_change_features(front, features & front->offered);
}

int
front_change_features(struct front *front, uint64_t features)
{
	int error = front_set_u64(front, VHU_SET_FEATURES, features);

	if (error == 0)
		front->features = features;
	return error;
}

static struct vhu_wire_region
wire_region(const struct front_memory *memory, unsigned int index)
{
	const struct front_region *region = &memory->regions[index];

	return (struct vhu_wire_region){
		.guest_address = region->guest_address,
		.size = memory->region_size,
		.user_address = region->user_address,
		.file_offset = region->file_offset,
	};
}

int
front_set_table(struct front *front, unsigned int count)
{
	struct vhu_wire_mem_table table = { .count = count };
	int fds[VHU_MEM_TABLE_REGIONS];
	unsigned int i;

	if (count == 0 || count > VHU_MEM_TABLE_REGIONS || count > front->memory->count)
		return front_fail(front, -EINVAL, "a table of %u regions", count);
	for (i = 0; i < count; i++) {
		table.regions[i] = wire_region(front->memory, i);
		fds[i] = front->memory->fd;
	}
	return front_request(front, VHU_SET_MEM_TABLE, &table,
		offsetof(struct vhu_wire_mem_table, regions[0]) + count * sizeof(table.regions[0]),
		fds, count, NULL, 0, NULL);
}

int
front_add_region(struct front *front, unsigned int region)
{
	struct vhu_wire_mem_reg payload = { .region = wire_region(front->memory, region) };

	return front_request(front, VHU_ADD_MEM_REG, &payload, sizeof(payload),
		&front->memory->fd, 1, NULL, 0, NULL);
}

int
front_remove_region(struct front *front, unsigned int region)
{
	struct vhu_wire_mem_reg payload = { .region = wire_region(front->memory, region) };

	return front_request(front, VHU_REM_MEM_REG, &payload, sizeof(payload), NULL, 0, NULL, 0,
		NULL);
}

int
front_share(struct front *front, struct front_memory *memory, unsigned int count)
{
	unsigned int i;
	int error = 0;

	front->memory = memory;
	if (count > front->slots || count > memory->count)
		return front_fail(front, -ENOSPC, "%u regions, the back-end has room for %llu",
			count, (unsigned long long)front->slots);
	if (count <= VHU_MEM_TABLE_REGIONS && !has(front, VHU_PROTOCOL_CONFIGURE_MEM_SLOTS))
		return front_set_table(front, count);
	for (i = 0; i < count && error == 0; i++)
		error = front_add_region(front, i);
	return error;
}

int
front_set_log(struct front *front, int fd, uint64_t size)
{
	struct vhu_wire_log log = { .size = size };
	uint64_t reply;
	int error;

	/* With LOG_SHMFD it has a reply of its own, otherwise it is of no use to us. */
	if (!has(front, VHU_PROTOCOL_LOG_SHMFD))
		return front_fail(front, -ENOTSUP, "the back-end takes no log (LOG_SHMFD)");
	error = front_request(front, VHU_SET_LOG_BASE, &log, sizeof(log), &fd, 1, &reply,
		sizeof(reply), NULL);
	return error;
}

int
front_get_inflight(struct front *front, uint16_t queues, uint16_t ring_size,
	struct front_inflight *inflight)
{
	struct vhu_wire_inflight wanted = { .queue_count = queues, .queue_size = ring_size };
	int error = front_request(front, VHU_GET_INFLIGHT_FD, &wanted, sizeof(wanted), NULL, 0,
		&inflight->area, sizeof(inflight->area), &inflight->fd);

	if (error == 0 && inflight->fd < 0)
		error = front_fail(front, -EPROTO, "the inflight area came without a descriptor");
	return error;
}

int
front_set_inflight(struct front *front, const struct front_inflight *inflight)
{
	return front_request(front, VHU_SET_INFLIGHT_FD, &inflight->area, sizeof(inflight->area),
		&inflight->fd, 1, NULL, 0, NULL);
}

void
front_close(struct front *front)
{
	if (front->channel.running) {
		shutdown(front->channel.socket, SHUT_RDWR);
		pthread_join(front->channel.thread, NULL);
		front->channel.running = false;
	}
	if (front->channel.socket >= 0)
		close(front->channel.socket);
	if (front->socket >= 0)
		close(front->socket);
	front->channel.socket = front->socket = -1;
	pthread_mutex_destroy(&front->lock);
}
