/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "front.h"
#include "private.h"

/* Types and permissions of an IOTLB message, as in linux/vhost_types.h. */
#define IOTLB_MISS       1
#define IOTLB_UPDATE     2
#define IOTLB_INVALIDATE 3
#define IOTLB_READ_WRITE 3

static int
send_iotlb(struct front *front, uint64_t address, uint64_t size, uint64_t user_address,
	uint8_t type)
{
	struct vhu_wire_iotlb message = {
		.iova = address,
		.size = size,
		.user_address = user_address,
		.permission = IOTLB_READ_WRITE,
		.type = type,
	};

	return front_request(front, VHU_IOTLB_MSG, &message, sizeof(message), NULL, 0, NULL, 0,
		NULL);
}

/** One update for each piece that lies in one region. */
int
front_map_iotlb(struct front *front, uint64_t address, uint64_t size)
{
	const struct front_memory *memory = front->memory;
	int error = 0;

	while (size > 0 && error == 0) {
		uint64_t left;
		void *host = front_memory_at(memory, address - memory->device_offset, &left);

		if (host == NULL)
			return front_fail(front, -EFAULT, "no memory behind the address %#llx",
				(unsigned long long)address);
		if (left > size)
			left = size;
		error = send_iotlb(front, address, left, (uintptr_t)host, IOTLB_UPDATE);
		address += left;
		size -= left;
	}
	return error;
}

int
front_unmap_iotlb(struct front *front, uint64_t address, uint64_t size)
{
	int error = send_iotlb(front, address, size, 0, IOTLB_INVALIDATE);

	return error != 0 ? error : front_settle(front);
}

static void
count(uint64_t *counter)
{
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

/** Answer a miss with the granule around its address, cut off at the region's ends. */
static int
answer_miss(struct front *front, uint64_t address)
{
	const struct front_memory *memory = front->memory;
	uint64_t begin, back, left;
	uint8_t *host = front_memory_at(memory, address - memory->device_offset, &left);

	if (host == NULL) {
		count(&front->channel.unknown);
		return 0;
	}
	count(&front->channel.misses);
	back = memory->region_size - left;
	begin = address & ~(front->channel.granule - 1);
	if (front->channel.granule == 0 || address - begin > back)
		begin = address - back;
	left += address - begin;
	if (front->channel.granule != 0 && left > front->channel.granule)
		left = front->channel.granule;
	return send_iotlb(front, begin, left, (uintptr_t)host - (address - begin), IOTLB_UPDATE);
}

/** Serve one message of the back-end. @return 0, or an error that ends the channel. */
static int
serve(struct front *front)
{
	struct front_channel *channel = &front->channel;
	struct vhu_wire_header header;
	union {
		struct vhu_wire_iotlb iotlb;
		uint8_t bytes[512];
	} payload;
	uint64_t status = 0;
	int got = front_receive_message(channel->socket, &header, &payload, sizeof(payload), NULL);

	if (got == -ETIMEDOUT)
		return 0;
	if (got < 0)
		return got;
	if (header.request == VHU_BACKEND_IOTLB_MSG && got >= (int)sizeof(payload.iotlb) - 6 &&
			payload.iotlb.type == IOTLB_MISS)
		got = answer_miss(front, payload.iotlb.iova);
	else
		count(&channel->unknown);
	if (header.flags & VHU_FLAG_NEED_REPLY)
		return front_send_message(channel->socket, header.request, VHU_FLAG_REPLY, &status,
			sizeof(status), NULL, 0);
	return got < 0 ? got : 0;
}

static void *
channel_main(void *argument)
{
	struct front *front = argument;

	while (serve(front) == 0)
		;
	return NULL;
}

int
front_open_channel(struct front *front, uint64_t granule)
{
	struct front_channel *channel = &front->channel;
	int pair[2], error;

	if (!(front->protocol & VHU_BIT(VHU_PROTOCOL_BACKEND_REQ)))
		return front_fail(front, -ENOTSUP, "the back-end wants no channel (BACKEND_REQ)");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return front_fail(front, -errno, "no socket pair: %s", strerror(errno));
	channel->socket = pair[0];
	channel->granule = granule;
	error = front_request(front, VHU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1, NULL, 0, NULL);
	close(pair[1]);
	if (error != 0)
		return error;
	error = -pthread_create(&channel->thread, NULL, channel_main, front);
	if (error != 0)
		return front_fail(front, error, "no thread: %s", strerror(-error));
	channel->running = true;
	return 0;
}
