/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_TEST_COMPAT_RIG_H
#define VHU_TEST_COMPAT_RIG_H

/**
 * @file
 * A program of the libvhost-user API and its front-end, in one thread: the test writes a message,
 * lets vu_dispatch() read it, and reads the reply. Guest memory is a memfd; ring 0 lies at its
 * beginning, with a driver of a few lines for both formats.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit.h"

#include <libvhost-user.h>

#define RIG_QUEUES 2
#define RIG_SIZE 16
#define RIG_MEMORY 0x100000u
#define RIG_GUEST UINT64_C(0x40000000)
#define RIG_USER UINT64_C(0x7f0000000000)
#define RIG_AVAIL 0x1000u
#define RIG_USED 0x2000u
#define RIG_DATA 0x10000u
#define BIT(n) (UINT64_C(1) << (n))

struct rig {
	VuDev dev;
	VuDevIface iface;
	int peer;                 /* the front-end's end */
	bool gone;                /* vu_deinit() was called by the test */
	int memory;
	uint8_t *guest;
	int kick, call;           /* of ring 0; the back-end has copies */
	uint64_t features;        /* that the device type offers, and that are negotiated */
	uint64_t protocol;
	bool packed;
	bool wrap;                /* packed: driver's wrap counter */
	uint16_t next;            /* split: avail index; packed: descriptor */
	unsigned int panics;
	char panic[256];
	unsigned int watches;
	int watched;
	vu_watch_cb watch_callback;
	void *watch_data;
	char log[512];            /* callbacks, in words */
	unsigned int fds_before;
};

static struct rig rig;

static inline void
rig_log(const char *format, int a, int b)
{
	size_t length = strlen(rig.log);

	snprintf(rig.log + length, sizeof(rig.log) - length, format, a, b);
}

static inline void
rig_panic(VuDev *dev, const char *text)
{
	assert_true(dev->broken);
	rig.panics++;
	snprintf(rig.panic, sizeof(rig.panic), "%s", text);
}

static inline void
rig_set_watch(VuDev *dev, int fd, int condition, vu_watch_cb callback, void *data)
{
	assert_ptr_equal(dev, &rig.dev);
	assert_int_equal(condition, VU_WATCH_IN);
	rig.watches++;
	rig.watched = fd;
	rig.watch_callback = callback;
	rig.watch_data = data;
}

static inline void
rig_remove_watch(VuDev *dev, int fd)
{
	assert_ptr_equal(dev, &rig.dev);
	/* Still open: programs look it up by its number. */
	assert_true(fcntl(fd, F_GETFD) >= 0);
	if (fd == rig.watched)
		rig.watched = -1;
}

static inline uint64_t
rig_get_features(VuDev *dev)
{
	(void)dev;
	return rig.features;
}

static inline uint64_t
rig_get_protocol_features(VuDev *dev)
{
	(void)dev;
	return rig.protocol;
}

static inline void
rig_started(VuDev *dev, int index, bool started)
{
	assert_int_equal(vu_queue_started(dev, vu_get_queue(dev, index)), started);
	rig_log(started ? "start %d; " : "stop %d; ", index, 0);
}

static inline void
rig_new_device(void)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	rig.peer = ends[1];
	assert_true(vu_init(&rig.dev, RIG_QUEUES, ends[0], rig_panic, NULL, rig_set_watch,
		rig_remove_watch, &rig.iface));
}

static inline int
rig_setup(void **state)
{
	(void)state;
	memset(&rig, 0, sizeof(rig));
	rig.fds_before = unit_open_fds();
	rig.watched = -1;
	rig.wrap = true;
	rig.iface = (VuDevIface){
		.get_features = rig_get_features,
		.get_protocol_features = rig_get_protocol_features,
		.queue_set_started = rig_started,
	};
	rig.memory = memfd_create("guest", MFD_CLOEXEC);
	assert_int_equal(ftruncate(rig.memory, RIG_MEMORY), 0);
	rig.guest = mmap(NULL, RIG_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, rig.memory, 0);
	assert_true(rig.guest != MAP_FAILED);
	rig.kick = eventfd(0, EFD_NONBLOCK);
	rig.call = eventfd(0, EFD_NONBLOCK);
	rig_new_device();
	return 0;
}

static inline int
rig_teardown(void **state)
{
	(void)state;
	vu_deinit(&rig.dev);
	close(rig.peer);
	close(rig.kick);
	close(rig.call);
	close(rig.memory);
	munmap(rig.guest, RIG_MEMORY);
	assert_int_equal(unit_open_fds(), rig.fds_before);
	return 0;
}

#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

/** Write a message to the socket. */
static inline void
rig_write(int request, uint32_t flags, const void *payload, uint32_t size, int fd)
{
	struct { uint32_t request, flags, size; } header = { (uint32_t)request, flags, size };
	struct iovec parts[2] = { { &header, sizeof(header) },
		{ (void *)(uintptr_t)payload, size } };
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct msghdr m = { .msg_iov = parts, .msg_iovlen = 2 };

	if (fd >= 0) {
		struct cmsghdr *c;

		m.msg_control = control;
		m.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	assert_int_equal(sendmsg(rig.peer, &m, 0), sizeof(header) + size);
}

/** Read a reply's payload. @return its size. */
static inline uint32_t
rig_read(int request, void *payload, uint32_t room)
{
	struct { uint32_t request, flags, size; } header;

	assert_int_equal(recv(rig.peer, &header, sizeof(header), MSG_DONTWAIT | MSG_WAITALL),
		sizeof(header));
	assert_int_equal(header.request, (uint32_t)request);
	assert_int_equal(header.flags, 5);
	assert_true(header.size <= room);
	if (header.size != 0)
		assert_int_equal(recv(rig.peer, payload, header.size, MSG_DONTWAIT), header.size);
	return header.size;
}

/** A message with NEED_REPLY. @return the u64 that comes back. */
static inline uint64_t
rig_ask(int request, const void *payload, uint32_t size, int fd)
{
	uint64_t answer;

	rig_write(request, 1 | 8, payload, size, fd);
	assert_true(vu_dispatch(&rig.dev));
	assert_int_equal(rig_read(request, &answer, sizeof(answer)), sizeof(answer));
	return answer;
}

static inline uint64_t
rig_u64(int request, uint64_t value, int fd)
{
	return rig_ask(request, &value, sizeof(value), fd);
}

static inline uint64_t
rig_state(int request, uint32_t index, uint32_t value)
{
	struct vhost_vring_state state = { index, value };

	return rig_ask(request, &state, sizeof(state), -1);
}

static inline uint32_t
rig_base(uint32_t index)
{
	struct vhost_vring_state state = { index, 0 };

	rig_write(VHOST_USER_GET_VRING_BASE, 1, &state, sizeof(state), -1);
	assert_true(vu_dispatch(&rig.dev));
	rig_read(VHOST_USER_GET_VRING_BASE, &state, sizeof(state));
	return state.num;
}

/** Negotiate, hand over memory, start and enable ring 0. */
static inline void
rig_start(void)
{
	const uint64_t acked = rig.features | BIT(32) | BIT(30) | BIT(28);
	VhostUserMemory table = { .nregions = 1, .regions = { { RIG_GUEST, RIG_MEMORY, RIG_USER,
		0 } } };
	struct vhost_vring_addr address = { .desc_user_addr = RIG_USER,
		.avail_user_addr = RIG_USER + RIG_AVAIL, .used_user_addr = RIG_USER + RIG_USED };

	rig.packed = acked >> 34 & 1;
	assert_int_equal(rig_u64(VHOST_USER_SET_PROTOCOL_FEATURES,
		BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) | rig.protocol, -1), 0);
	assert_int_equal(rig_u64(VHOST_USER_SET_FEATURES, acked, -1), 0);
	assert_int_equal(rig_ask(VHOST_USER_SET_MEM_TABLE, &table, 8 + 32, rig.memory), 0);
	assert_int_equal(rig_state(VHOST_USER_SET_VRING_NUM, 0, RIG_SIZE), 0);
	assert_int_equal(rig_state(VHOST_USER_SET_VRING_BASE, 0, rig.packed ? 0x80008000 : 0), 0);
	assert_int_equal(rig_ask(VHOST_USER_SET_VRING_ADDR, &address, sizeof(address), -1), 0);
	assert_int_equal(rig_u64(VHOST_USER_SET_VRING_CALL, 0, rig.call), 0);
	assert_int_equal(rig_u64(VHOST_USER_SET_VRING_KICK, 0, rig.kick), 0);
	assert_int_equal(rig_state(VHOST_USER_SET_VRING_ENABLE, 0, 1), 0);
}

/** One descriptor of a chain: @p offset of its bytes in guest memory. */
struct rig_part {
	uint32_t offset;
	uint32_t size;
	bool writable;
};

/** Make a chain available whose descriptors begin at @p head (split) or at the next (packed). */
static inline void
rig_offer(uint16_t head, const struct rig_part *part, unsigned int count)
{
	struct vring_desc *split = (struct vring_desc *)rig.guest;
	struct vring_packed_desc *packed = (struct vring_packed_desc *)rig.guest;
	struct vring_avail *avail = (struct vring_avail *)(rig.guest + RIG_AVAIL);
	unsigned int i;

	for (i = 0; i < count; i++) {
		uint16_t flags = (uint16_t)((part[i].writable ? VRING_DESC_F_WRITE : 0) |
			(i + 1 < count ? VRING_DESC_F_NEXT : 0));

		if (rig.packed) {
			packed[rig.next] = (struct vring_packed_desc){
				RIG_GUEST + part[i].offset, part[i].size, head,
				(uint16_t)(flags | (rig.wrap ? 1u << 7 : 1u << 15)),
			};
			rig.next = (uint16_t)((rig.next + 1) % RIG_SIZE);
			rig.wrap ^= rig.next == 0;
		} else {
			split[head + i] = (struct vring_desc){ RIG_GUEST + part[i].offset,
				part[i].size, flags, (uint16_t)(head + i + 1) };
		}
	}
	if (rig.packed)
		return;
	avail->ring[avail->idx % RIG_SIZE] = head;
	avail->idx++;
}

/** Entry @p index of the used ring of a split ring. */
static inline struct vring_used_elem
rig_used(uint16_t index)
{
	return ((struct vring_used *)(rig.guest + RIG_USED))->ring[index % RIG_SIZE];
}

static inline uint16_t
rig_used_index(void)
{
	return ((struct vring_used *)(rig.guest + RIG_USED))->idx;
}

/** Has the guest been notified since the last look? */
static inline bool
rig_called(void)
{
	uint64_t count;

	return read(rig.call, &count, sizeof(count)) == sizeof(count);
}

#endif /* VHU_TEST_COMPAT_RIG_H */
