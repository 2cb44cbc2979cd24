/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * What an element costs: vu_queue_pop() and vu_queue_push() of chains of two descriptors. One
 * source for both libraries of the API: test/perf/elements builds a shared object with each, which
 * element_slices.c loads side by side. The front-end is this thread: it makes a batch of chains
 * available, and only what the device does with them is timed.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <libvhost-user.h>

#include "element_bench.h"

#ifdef __x86_64__
#include <x86intrin.h>
#define now() __rdtsc()
#else
#include <time.h>
static uint64_t
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}
#endif

#define SIZE 256
#define BATCH 32
#define MEMORY 0x200000u
#define USER UINT64_C(0x7f0000000000)
#define AVAIL 0x2000u
#define USED 0x4000u
#define DATA 0x10000u

static VuDev dev;
static int peer;
static uint8_t *guest;

static void
panic(VuDev *d, const char *text)
{
	(void)d;
	fprintf(stderr, "panic: %s\n", text);
	exit(1);
}

static void
set_watch(VuDev *d, int fd, int condition, vu_watch_cb callback, void *data)
{
	(void)d;
	(void)fd;
	(void)condition;
	(void)callback;
	(void)data;
}

static void
remove_watch(VuDev *d, int fd)
{
	(void)d;
	(void)fd;
}

/* Send a message and let the device handle it. */
static void
tell(uint32_t request, const void *payload, uint32_t size, int fd)
{
	uint32_t header[3] = { request, 1, size };
	struct iovec parts[2] = { { header, sizeof(header) },
		{ (void *)(uintptr_t)payload, size } };
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct msghdr m = { .msg_iov = parts, .msg_iovlen = 2 };

	if (fd >= 0) {
		m.msg_control = control;
		m.msg_controllen = sizeof(control);
		CMSG_FIRSTHDR(&m)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&m)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&m)->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof(fd));
	}
	if (sendmsg(peer, &m, 0) < 0 || !vu_dispatch(&dev)) {
		fprintf(stderr, "request %u failed\n", request);
		exit(1);
	}
}

static void
start(void)
{
	VhostUserMemory table = { .nregions = 1, .regions = { { 0, MEMORY, USER, 0 } } };
	struct vhost_vring_addr address = { .desc_user_addr = USER,
		.avail_user_addr = USER + AVAIL, .used_user_addr = USER + USED };
	struct vhost_vring_state size = { 0, SIZE }, base = { 0, 0 };
	static const VuDevIface iface;
	uint64_t features = UINT64_C(1) << 32, none = 0x100;
	int ends[2], memory = memfd_create("guest", 0);

	if (memory < 0 || ftruncate(memory, MEMORY) != 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
		exit(1);
	guest = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, memory, 0);
	peer = ends[1];
	if (!vu_init(&dev, 1, ends[0], panic, NULL, set_watch, remove_watch, &iface))
		exit(1);
	/* No bit 30: all rings are enabled at once. */
	tell(VHOST_USER_SET_FEATURES, &features, sizeof(features), -1);
	tell(VHOST_USER_SET_MEM_TABLE, &table, 8 + 32, memory);
	tell(VHOST_USER_SET_VRING_NUM, &size, sizeof(size), -1);
	tell(VHOST_USER_SET_VRING_BASE, &base, sizeof(base), -1);
	tell(VHOST_USER_SET_VRING_ADDR, &address, sizeof(address), -1);
	tell(VHOST_USER_SET_VRING_KICK, &none, sizeof(none), -1);
	vu_get_queue(&dev, 0)->enable = 1;
}

/* Chains of a buffer to be read and one to be written. */
static void
offer(void)
{
	struct vring_desc *ring = (struct vring_desc *)guest;
	volatile struct vring_avail *avail = (struct vring_avail *)(guest + AVAIL);
	unsigned int i;

	for (i = 0; i < BATCH; i++) {
		uint16_t slot = (uint16_t)(avail->idx + i) % (SIZE / 2), head = 2 * slot;

		ring[head] = (struct vring_desc){ DATA + slot * 4096u, 16, VRING_DESC_F_NEXT,
			head + 1 };
		ring[head + 1] = (struct vring_desc){ DATA + slot * 4096u + 64, 512,
			VRING_DESC_F_WRITE, 0 };
		avail->ring[(uint16_t)(avail->idx + i) % SIZE] = head;
	}
	__atomic_store_n(&avail->idx, (uint16_t)(avail->idx + BATCH), __ATOMIC_RELEASE);
	/*
	 * A driver is another core: what it wrote is in memory, not in this core's store buffer,
	 * where it matters with how many instructions it was written.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static uint64_t
one_by_one(void)
{
	VuVirtq *vq = vu_get_queue(&dev, 0);
	uint64_t begun = now();
	unsigned int i;

	for (i = 0; i < BATCH; i++) {
		VuVirtqElement *element = vu_queue_pop(&dev, vq, sizeof(*element));

		if (element == NULL || element->out_num != 1 || element->in_num != 1)
			exit(1);
		vu_queue_push(&dev, vq, element, 1);
		free(element);
	}
	return now() - begun;
}

#ifdef BURST
static uint64_t
in_bursts(void)
{
	static VuElementPool *pool;
	VuVirtq *vq = vu_get_queue(&dev, 0);
	static const unsigned int lengths[BATCH] = { 1 };
	void *elements[BATCH];
	uint64_t begun;
	unsigned int n;

	if (pool == NULL)
		pool = vu_element_pool_new(BATCH, sizeof(VuVirtqElement), 4);
	begun = now();
	n = vu_queue_pop_burst(&dev, vq, pool, elements, BATCH);
	if (n != BATCH)
		exit(1);
	vu_queue_push_burst(&dev, vq, pool, elements, lengths, n);
	return now() - begun;
}
#endif

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The median over batches. */
static double
measure(uint64_t (*work)(void), unsigned int batches)
{
	static uint64_t cost[ELEMENT_BATCHES_MAX];
	unsigned int i;

	for (i = 0; i < batches; i++) {
		offer();
		cost[i] = work();
	}
	qsort(cost, batches, sizeof(*cost), compare);
	return (double)cost[batches / 2] / BATCH;
}

static double
pair(unsigned int batches)
{
	return measure(one_by_one, batches);
}

#ifdef BURST
static double
burst(unsigned int batches)
{
	return measure(in_bursts, batches);
}
#endif

const struct element_bench element_bench = {
	.start = start,
	.pair = pair,
#ifdef BURST
	.burst = burst,
#endif
};
