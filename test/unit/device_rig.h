/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_TEST_DEVICE_RIG_H
#define VHU_TEST_DEVICE_RIG_H

/**
 * @file
 * A device on the bench: messages go in as structures, and what comes out is written down.
 *
 * Guest memory is a memfd that the test sees too. Jobs run at once, or wait in a queue until the
 * test lets them. The test plays the lcore with vhu_reader_enter() and vhu_reader_leave().
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit.h"

#include "dev/device.h"
#include "sock/loop.h"

#define RIG_RINGS 4
#define RIG_RING_SIZE 256
#define RIG_MEMORY (UINT64_C(1) << 20)
#define RIG_USER UINT64_C(0x7f0000000000)
#define RIG_FEATURES (VHU_BIT(VIRTIO_F_VERSION_1) | VHU_BIT(VIRTIO_NET_F_MRG_RXBUF))
#define RIG_PROTOCOL VHU_BIT(VHU_F_PROTOCOL_FEATURES)
#define RIG_OFFER (RIG_FEATURES | VHU_BIT(VHU_F_LOG_ALL))

struct rig {
	struct vhu_device *device;
	struct vhu_device_ops ops;
	struct vhu_ring rings[RIG_RINGS];
	struct vhu_ring *ring_pointers[RIG_RINGS];
	struct vhu_grace_domain domain;
	struct vhu_executor executor;
	struct vhu_loop *loop;  /* stepped by tests of the back-end channel only */
	uint32_t channel_timeout_ms; /* these for rig_new_device() */
	const uint64_t *shmem_sizes;
	uint16_t shmem_count;
	bool host_notifiers;
	bool call_handover;
	bool defer_jobs;
	bool legacy;            /* these for rig_new_device() */
	bool in_order;
	uint64_t features;      /* 0: RIG_FEATURES */
	struct vhu_job *jobs;
	unsigned int jobs_run;
	int memory;             /* memfd of RIG_MEMORY bytes */
	uint8_t *guest;         /* the test's view of it */
	unsigned int fds_before;

	unsigned int replies;
	struct vhu_message reply; /* the last one */
	unsigned int answered;
	unsigned int hang_ups;
	unsigned int left;
	int kick_fd[RIG_RINGS];
	int specialise_result;
	uint64_t mtu;
	char told[2048];        /* events: "name ring=value; ..." */
};

static struct rig rig;

static inline void
rig_send_reply(void *owner, struct vhu_message *reply)
{
	assert_ptr_equal(owner, &rig);
	assert_int_equal(reply->flags, VHU_FLAG_VERSION | VHU_FLAG_REPLY);
	rig.replies++;
	rig.reply = *reply;
}

static inline void
rig_answered(void *owner)
{
	assert_ptr_equal(owner, &rig);
	assert_false(vhu_device_busy(rig.device));
	rig.answered++;
}

static inline void
rig_hang_up(void *owner)
{
	assert_ptr_equal(owner, &rig);
	rig.hang_ups++;
}

static inline void
rig_event(void *owner, enum vhu_event_type type, uint16_t ring, uint64_t value)
{
	size_t length = strlen(rig.told);

	assert_ptr_equal(owner, &rig);
	if (ring == UINT16_MAX)
		snprintf(rig.told + length, sizeof(rig.told) - length, "%s=%llx; ",
			vhu_event_name(type), (unsigned long long)value);
	else
		snprintf(rig.told + length, sizeof(rig.told) - length, "%s %u=%llx; ",
			vhu_event_name(type), ring, (unsigned long long)value);
}

static inline uint16_t
rig_burst(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, struct rte_mbuf **packets,
	uint16_t count)
{
	(void)ring;
	(void)snapshot;
	(void)packets;
	return count;
}

static inline int
rig_specialise(void *owner, uint16_t ring, struct vhu_snapshot *snapshot)
{
	assert_ptr_equal(owner, &rig);
	assert_in_range(ring, 0, RIG_RINGS - 1);
	assert_non_null(snapshot->descriptors);
	snapshot->burst = rig_burst;
	snapshot->body = "rig";
	return rig.specialise_result;
}

static inline void
rig_kick_changed(void *owner, uint16_t ring, int kick_fd)
{
	assert_ptr_equal(owner, &rig);
	rig.kick_fd[ring] = kick_fd;
}

static inline int
rig_get_config(void *owner, uint32_t offset, void *data, uint32_t size)
{
	uint32_t i;

	assert_ptr_equal(owner, &rig);
	if (offset + size > 12)
		return -EINVAL;
	for (i = 0; i < size; i++)
		((uint8_t *)data)[i] = (uint8_t)(offset + i);
	return 0;
}

static inline int
rig_announce(void *owner, uint64_t address)
{
	(void)owner;
	(void)address;
	return 0;
}

static inline int
rig_set_mtu(void *owner, uint64_t mtu)
{
	assert_ptr_equal(owner, &rig);
	if (mtu > 9000)
		return -ERANGE;
	rig.mtu = mtu;
	return 0;
}

static inline void
rig_submit(struct vhu_executor *executor, struct vhu_job *job)
{
	struct vhu_job **last = &rig.jobs;

	assert_ptr_equal(executor, &rig.executor);
	if (!rig.defer_jobs) {
		rig.jobs_run++;
		job->run(job);
		job->done(job);
		return;
	}
	job->next = NULL;
	while (*last != NULL)
		last = &(*last)->next;
	*last = job;
}

/** Run one job that waits. */
static inline void
rig_run_job(void)
{
	struct vhu_job *job = rig.jobs;

	assert_non_null(job);
	rig.jobs = job->next;
	rig.jobs_run++;
	job->run(job);
	job->done(job);
}

static inline void
rig_left(void *owner)
{
	assert_ptr_equal(owner, &rig);
	rig.left++;
}

static inline void
rig_new_device(void)
{
	struct vhu_device_config config = {
		.name = "rig",
		.ops = &rig.ops,
		.owner = &rig,
		.features = rig.features != 0 ? rig.features : RIG_OFFER,
		.protocol_features = UINT64_MAX,
		.ring_count = RIG_RINGS,
		.queue_num = RIG_RINGS / 2,
		.rings = rig.ring_pointers,
		.executor = &rig.executor,
		.domain = &rig.domain,
		.loop = rig.loop,
		.channel_timeout_ms = rig.channel_timeout_ms,
		.shmem_sizes = rig.shmem_sizes,
		.shmem_count = rig.shmem_count,
		.host_notifiers = rig.host_notifiers,
		.call_handover = rig.call_handover,
		.legacy = rig.legacy,
		.in_order = rig.in_order,
	};

	rig.device = vhu_device_new(&config);
	assert_non_null(rig.device);
	vhu_device_connect(rig.device);
}

static inline int
rig_setup(void **state)
{
	unsigned int i;

	(void)state;
	memset(&rig, 0, sizeof(rig));
	rig.fds_before = unit_open_fds();
	rig.ops = (struct vhu_device_ops){
		.send = rig_send_reply,
		.answered = rig_answered,
		.hang_up = rig_hang_up,
		.event = rig_event,
		.specialise = rig_specialise,
		.kick_changed = rig_kick_changed,
		.get_config = rig_get_config,
		.announce = rig_announce,
		.set_mtu = rig_set_mtu,
	};
	rig.executor.submit = rig_submit;
	vhu_grace_domain_init(&rig.domain);
	rig.loop = vhu_loop_new();
	assert_non_null(rig.loop);
	for (i = 0; i < RIG_RINGS; i++) {
		vhu_ring_init(&rig.rings[i]);
		rig.ring_pointers[i] = &rig.rings[i];
		rig.kick_fd[i] = -1;
	}
	rig.memory = memfd_create("guest", MFD_CLOEXEC);
	assert_true(rig.memory >= 0);
	assert_int_equal(ftruncate(rig.memory, RIG_MEMORY), 0);
	rig.guest = mmap(NULL, RIG_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, rig.memory, 0);
	assert_true(rig.guest != MAP_FAILED);
	rig_new_device();
	return 0;
}

/** How often a memfd of the rig's memory is mapped, the test's own view not counted. */
static inline unsigned int
rig_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned int count = 0;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps) != NULL)
		count += strstr(line, "memfd:guest") != NULL;
	fclose(maps);
	return count - 1;
}

/** Disconnect if need be, free, and count descriptors and mappings. */
static inline int
rig_teardown(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < RIG_RINGS; i++)
		if (atomic_load(&rig.rings[i].reader.section) & 1)
			vhu_reader_leave(&rig.rings[i].reader);
	if (rig.left == 0 && rig.device != NULL)
		vhu_device_disconnect(rig.device, rig_left);
	rig.defer_jobs = false;
	do {
		vhu_grace_step(&rig.domain);
		if (rig.jobs != NULL)
			rig_run_job();
	} while (rig.jobs != NULL);
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig.left, 1);
	for (i = 0; i < RIG_RINGS; i++)
		assert_ptr_equal(atomic_load(&rig.rings[i].reader.snapshot), &vhu_snapshot_parked);
	vhu_device_free(rig.device);
	vhu_loop_free(rig.loop);
	assert_int_equal(rig_mappings(), 0);
	munmap(rig.guest, RIG_MEMORY);
	close(rig.memory);
	assert_int_equal(unit_open_fds(), rig.fds_before);
	return 0;
}

/** Begin again with a device that is configured anew. */
static inline void
rig_renew_device(void)
{
	vhu_device_disconnect(rig.device, rig_left);
	assert_int_equal(rig.left, 1);
	vhu_device_free(rig.device);
	rig.left = 0;
	rig_new_device();
}

/** Deliver a message. The descriptors become the device's. */
static inline void
rig_send(uint32_t request, uint32_t flags, const void *payload, uint32_t size, const int *fds,
	unsigned int fd_count)
{
	struct vhu_message m = {
		.request = request,
		.flags = VHU_FLAG_VERSION | flags,
		.size = size,
		.fd_count = (uint16_t)fd_count,
	};
	unsigned int i;

	for (i = 0; i < VHU_MESSAGE_FDS; i++)
		m.fds[i] = i < fd_count ? fds[i] : -1;
	if (size != 0)
		memcpy(m.payload.bytes, payload, size);
	vhu_device_receive(rig.device, &m);
}

/** Deliver a message that must be answered with a u64 at once. @return it. */
static inline uint64_t
rig_ask(uint32_t request, const void *payload, uint32_t size, int fd)
{
	unsigned int replies = rig.replies, answered = rig.answered;

	rig_send(request, VHU_FLAG_NEED_REPLY, payload, size, &fd, fd >= 0);
	assert_false(vhu_device_busy(rig.device));
	assert_int_equal(rig.replies, replies + 1);
	assert_int_equal(rig.answered, answered);
	assert_int_equal(rig.reply.request, request);
	assert_int_equal(rig.reply.size, sizeof(uint64_t));
	return rig.reply.payload.u64;
}

static inline uint64_t
rig_u64(uint32_t request, uint64_t value)
{
	return rig_ask(request, &value, sizeof(value), -1);
}

static inline uint64_t
rig_state(uint32_t request, uint32_t index, uint32_t value)
{
	struct vhu_wire_vring_state state = { index, value };

	return rig_ask(request, &state, sizeof(state), -1);
}

/** SET_VRING_KICK, CALL, ERR with a descriptor that becomes the device's; -1: none comes. */
static inline uint64_t
rig_fd(uint32_t request, uint32_t index, int fd)
{
	uint64_t value = index | (fd < 0 ? VHU_VRING_NOFD : 0);

	return rig_ask(request, &value, sizeof(value), fd);
}

static inline int
rig_eventfd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_true(fd >= 0);
	return fd;
}

/** How often an eventfd was signalled since the last look. */
static inline uint64_t
rig_signals(int fd)
{
	uint64_t count = 0;

	if (read(fd, &count, sizeof(count)) < 0)
		return 0;
	return count;
}

static inline int
rig_dup(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	assert_true(copy >= 0);
	return copy;
}

/** A part of the rig's memory, where the identity is: guest address = file offset. */
static inline struct vhu_wire_region
rig_region(uint64_t offset, uint64_t size)
{
	return (struct vhu_wire_region){
		.guest_address = offset,
		.size = size,
		.user_address = RIG_USER + offset,
		.file_offset = offset,
	};
}

static inline void
rig_send_table(const struct vhu_wire_region *regions, uint32_t count)
{
	struct vhu_wire_mem_table table = { .count = count };
	int fds[VHU_MEM_TABLE_REGIONS];
	uint32_t i;

	for (i = 0; i < count; i++) {
		table.regions[i] = regions[i];
		fds[i] = rig_dup(rig.memory);
	}
	rig_send(VHU_SET_MEM_TABLE, VHU_FLAG_NEED_REPLY, &table,
		(uint32_t)(8 + count * sizeof(regions[0])), fds, count);
}

/** Share all of the rig's memory as one region. */
static inline void
rig_share(void)
{
	struct vhu_wire_region region = rig_region(0, RIG_MEMORY);
	unsigned int replies = rig.replies;

	rig_send_table(&region, 1);
	assert_int_equal(rig.replies, replies + 1);
	assert_int_equal(rig.reply.payload.u64, 0);
}

static inline uint64_t
rig_add(struct vhu_wire_region region)
{
	struct vhu_wire_mem_reg add = { .region = region };

	return rig_ask(VHU_ADD_MEM_REG, &add, sizeof(add), rig_dup(rig.memory));
}

static inline uint64_t
rig_remove(struct vhu_wire_region region)
{
	struct vhu_wire_mem_reg removed = { .region = region };

	return rig_ask(VHU_REM_MEM_REG, &removed, sizeof(removed), -1);
}

/** Everything that the rig's device offers, except what changes how rings are notified. */
static inline uint64_t
rig_protocol(void)
{
	unsigned int replies = rig.replies;

	rig_send(VHU_GET_PROTOCOL_FEATURES, 0, NULL, 0, NULL, 0);
	assert_int_equal(rig.replies, replies + 1);
	rig.replies = replies; /* not one that a test counts */
	return rig.reply.payload.u64 & ~VHU_BIT(VHU_PROTOCOL_INBAND_NOTIFICATIONS);
}

/** Accept everything that is offered, as rig_protocol() has it. */
static inline void
rig_negotiate(void)
{
	assert_int_equal(rig_u64(VHU_SET_PROTOCOL_FEATURES, rig_protocol()), 0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, RIG_FEATURES | RIG_PROTOCOL), 0);
}

/** Addresses of a ring: 16 KiB each, descriptors, available and used ring in their own pages. */
static inline struct vhu_wire_vring_addr
rig_address(uint32_t index)
{
	uint64_t base = RIG_USER + index * 0x4000;

	return (struct vhu_wire_vring_addr){
		.index = index,
		.descriptor = base,
		.avail = base + 0x2000,
		.used = base + 0x3000,
	};
}

static inline struct vring_used *
rig_used(uint32_t index)
{
	return (struct vring_used *)(rig.guest + index * 0x4000 + 0x3000);
}

static inline void
rig_describe_ring(uint32_t index, uint16_t base)
{
	struct vhu_wire_vring_addr address = rig_address(index);

	assert_int_equal(rig_state(VHU_SET_VRING_NUM, index, RIG_RING_SIZE), 0);
	assert_int_equal(rig_state(VHU_SET_VRING_BASE, index, base), 0);
	assert_int_equal(rig_ask(VHU_SET_VRING_ADDR, &address, sizeof(address), -1), 0);
}

/** Start a ring, not enabled yet. */
static inline void
rig_start_ring(uint32_t index, uint16_t base)
{
	rig_describe_ring(index, base);
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, index, rig_eventfd()), 0);
}

/** Negotiate, share, start and enable one ring. */
static inline void
rig_run_ring(uint32_t index)
{
	if (vhu_device_features(rig.device) == 0)
		rig_negotiate();
	if (vhu_device_map(rig.device)->count == 0)
		rig_share();
	rig_start_ring(index, 0);
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, index, 1), 0);
	assert_true(vhu_device_ring_running(rig.device, (uint16_t)index));
}

/** What an lcore would see now. */
static inline const struct vhu_snapshot *
rig_seen(uint32_t index)
{
	return atomic_load(&rig.rings[index].reader.snapshot);
}

static inline struct vhu_queue_info
rig_info(uint32_t index)
{
	struct vhu_queue_info info;

	vhu_device_ring_info(rig.device, (uint16_t)index, &info);
	return info;
}

/** Ask for the base; the answer must come at once. */
static inline uint32_t
rig_base(uint32_t index)
{
	struct vhu_wire_vring_state state = { index, 0 };
	unsigned int replies = rig.replies;

	rig_send(VHU_GET_VRING_BASE, 0, &state, sizeof(state), NULL, 0);
	assert_int_equal(rig.replies, replies + 1);
	assert_int_equal(rig.reply.size, sizeof(state));
	assert_int_equal(rig.reply.payload.state.index, index);
	return rig.reply.payload.state.value;
}

static inline void
rig_forget_events(void)
{
	rig.told[0] = '\0';
}

/** One test with a rig of its own. */
#define RIG_TEST(function) cmocka_unit_test_setup_teardown(function, rig_setup, rig_teardown)

#endif /* VHU_TEST_DEVICE_RIG_H */
