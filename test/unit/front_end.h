/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_TEST_FRONT_END_H
#define VHU_TEST_FRONT_END_H

/**
 * @file
 * A front-end in a few lines: enough to bring the rings of a port up and down over a real socket.
 * What it expects it asserts, so a test reads as the list of what the front-end does.
 */

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "unit.h"
#include "wire/spec.h"

/** One region: guest address 0, user address as mapped by nobody but agreed upon. */
#define FRONT_END_MEMORY (2u << 20)
#define FRONT_END_USER UINT64_C(0x7f0000000000)
/** Descriptors of each ring; ring n has its three parts in page n of the region. */
#define FRONT_END_RING 8
#define FRONT_END_RING_SPACE 4096

struct front_end {
	int socket;
	int memory;
};

static inline void
front_end_connect(struct front_end *front_end, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	front_end->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	front_end->memory = memfd_create("guest", MFD_CLOEXEC);
	assert_true(front_end->socket >= 0 && front_end->memory >= 0);
	assert_int_equal(ftruncate(front_end->memory, FRONT_END_MEMORY), 0);
	assert_int_equal(connect(front_end->socket, (void *)&address, sizeof(address)), 0);
}

static inline void
front_end_leave(struct front_end *front_end)
{
	close(front_end->socket);
	close(front_end->memory);
}

/** Send one message, with one descriptor unless @p fd is -1. */
static inline void
front_end_send(struct front_end *front_end, uint32_t request, const void *payload, uint32_t size,
	int fd)
{
	struct vhu_wire_header header = { request, VHU_FLAG_VERSION, size };
	struct iovec parts[] = {
		{ &header, sizeof(header) },
		{ (void *)(uintptr_t)payload, size },
	};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };

	if (fd >= 0) {
		control.header = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(fd)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		};
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
	}
	assert_int_equal(sendmsg(front_end->socket, &message, MSG_NOSIGNAL),
		sizeof(header) + size);
}

static inline void
front_end_send_u64(struct front_end *front_end, uint32_t request, uint64_t value)
{
	front_end_send(front_end, request, &value, sizeof(value), -1);
}

/** Receive a reply to @p request of at most @p size bytes. @return its size. */
static inline uint32_t
front_end_reply(struct front_end *front_end, uint32_t request, void *payload, uint32_t size)
{
	struct vhu_wire_header header;

	assert_int_equal(recv(front_end->socket, &header, sizeof(header), MSG_WAITALL),
		sizeof(header));
	assert_int_equal(header.request, request);
	assert_true(header.size <= size);
	if (header.size > 0)
		assert_int_equal(recv(front_end->socket, payload, header.size, MSG_WAITALL),
			header.size);
	return header.size;
}

/** Ask for a u64. When it has come, everything sent before has been handled. */
static inline uint64_t
front_end_ask_u64(struct front_end *front_end, uint32_t request)
{
	uint64_t value;

	front_end_send(front_end, request, NULL, 0, -1);
	assert_int_equal(front_end_reply(front_end, request, &value, sizeof(value)), sizeof(value));
	return value;
}

/** Accept these of the features that are offered, always with protocol features. @return them. */
static inline uint64_t
front_end_negotiate(struct front_end *front_end, uint64_t wanted, uint64_t protocol)
{
	uint64_t features = front_end_ask_u64(front_end, VHU_GET_FEATURES);

	features &= wanted | VHU_BIT(VHU_F_PROTOCOL_FEATURES);
	protocol &= front_end_ask_u64(front_end, VHU_GET_PROTOCOL_FEATURES);
	front_end_send_u64(front_end, VHU_SET_PROTOCOL_FEATURES, protocol);
	front_end_send(front_end, VHU_SET_OWNER, NULL, 0, -1);
	front_end_send_u64(front_end, VHU_SET_FEATURES, features);
	return features;
}

static inline void
front_end_share_memory(struct front_end *front_end)
{
	struct vhu_wire_mem_table table = {
		.count = 1,
		.regions[0] = { .size = FRONT_END_MEMORY, .user_address = FRONT_END_USER },
	};

	front_end_send(front_end, VHU_SET_MEM_TABLE, &table,
		offsetof(struct vhu_wire_mem_table, regions[1]), front_end->memory);
}

static inline void
front_end_ring_value(struct front_end *front_end, uint32_t request, uint32_t ring, uint32_t value)
{
	struct vhu_wire_vring_state state = { ring, value };

	front_end_send(front_end, request, &state, sizeof(state), -1);
}

static inline void
front_end_start_ring(struct front_end *front_end, uint32_t ring)
{
	uint64_t base = FRONT_END_USER + ring * FRONT_END_RING_SPACE;
	struct vhu_wire_vring_addr address = {
		.index = ring,
		.descriptor = base,
		.avail = base + 1024,
		.used = base + 2048,
	};
	uint64_t index = ring;
	int kick = eventfd(0, EFD_CLOEXEC);

	assert_true(kick >= 0);
	front_end_ring_value(front_end, VHU_SET_VRING_NUM, ring, FRONT_END_RING);
	front_end_ring_value(front_end, VHU_SET_VRING_BASE, ring, 0);
	front_end_send(front_end, VHU_SET_VRING_ADDR, &address, sizeof(address), -1);
	front_end_send(front_end, VHU_SET_VRING_KICK, &index, sizeof(index), kick);
	close(kick);
}

/** @return the next available entry, as the back-end reports it. */
static inline uint32_t
front_end_stop_ring(struct front_end *front_end, uint32_t ring)
{
	struct vhu_wire_vring_state state;

	front_end_ring_value(front_end, VHU_GET_VRING_BASE, ring, 0);
	assert_int_equal(
		front_end_reply(front_end, VHU_GET_VRING_BASE, &state, sizeof(state)),
		sizeof(state));
	assert_int_equal(state.index, ring);
	return state.value;
}

#endif /* VHU_TEST_FRONT_END_H */
