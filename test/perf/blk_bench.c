/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * A virtio-blk driver that asks for as much as it can: random blocks at a fixed depth, against
 * several back-ends in turn. Slices alternate in random order; back-ends whose turn it is not are
 * stopped (SIGSTOP), so that those that poll do not take the core from the others. This thread
 * polls; back-ends run on another core (test/perf/blk sees to that).
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <linux/virtio_blk.h>

#include "driver.h"
#include "front.h"

#define PEERS_MAX 8
#define DEPTH_MAX 128
#define RING_SIZE 512 /* three descriptors a request */
#define SLICES_MAX 1000

struct peer {
	char name[64];
	pid_t pid;
	struct front front;
	struct front_memory memory;
	struct front_ring ring;
	struct virtio_blk_outhdr *headers;
	uint8_t *data;
	uint8_t *status;
	uint64_t blocks;
	uint16_t seen;          /* of the used ring */
	uint64_t errors;
	unsigned int slices;
	double rate[SLICES_MAX];    /* requests per second */
};

static struct peer peers[PEERS_MAX];
static unsigned int peer_count, depth = 32, block = 4096, pairs = 15, slice_ms = 100;
static bool writes;
static uint64_t seed = 1;

static uint64_t
random_number(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
die(const char *name, const char *what)
{
	fprintf(stderr, "vhu-blk-bench: %s: %s\n", name, what);
	exit(1);
}

/* Request number @p i, always in the same three descriptors. */
static void
describe(struct peer *p, unsigned int i)
{
	struct vring_desc *d = &p->ring.descriptor[3 * i];
	uint16_t first = (uint16_t)(3 * i);

	d[0] = (struct vring_desc){ front_device_address(&p->memory, &p->headers[i]), 16,
		VRING_DESC_F_NEXT, (uint16_t)(first + 1) };
	d[1] = (struct vring_desc){ front_device_address(&p->memory, p->data + i * block), block,
		(uint16_t)(VRING_DESC_F_NEXT | (writes ? 0 : VRING_DESC_F_WRITE)),
		(uint16_t)(first + 2) };
	d[2] = (struct vring_desc){ front_device_address(&p->memory, &p->status[i]), 1,
		VRING_DESC_F_WRITE, 0 };
	p->headers[i].type = writes ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
}

static void
open_peer(struct peer *p, const char *path)
{
	const struct front_memory_options memory = { .regions = 1, .region_size = 64u << 20 };
	const struct front_ring_options ring = { .size = RING_SIZE, .chain = 1, .buffer_size = 64 };
	const uint64_t protocol = VHU_BIT(VHU_PROTOCOL_REPLY_ACK) | VHU_BIT(VHU_PROTOCOL_CONFIG);
	/* Of the configuration only the size in sectors is of interest. */
	struct vhu_wire_config config = { .size = sizeof(uint64_t) };
	uint64_t capacity;
	unsigned int i;

	if (front_memory_create(&p->memory, &memory) != 0)
		die(p->name, "no memory");
	if (front_connect(&p->front, path) != 0 ||
	    front_negotiate(&p->front, VHU_BIT(VIRTIO_F_VERSION_1), protocol) != 0 ||
	    front_share(&p->front, &p->memory, 1) != 0)
		die(p->name, p->front.error);
	if (front_request(&p->front, VHU_GET_CONFIG, &config, 12 + sizeof(capacity), NULL, 0,
			&config, 12 + sizeof(capacity), NULL) < 0)
		die(p->name, p->front.error);
	memcpy(&capacity, config.data, sizeof(capacity));
	p->blocks = capacity * 512 / block;
	if (p->blocks == 0)
		die(p->name, "the disk is too small");
	if (front_ring_create(&p->ring, &p->memory, &ring) != 0)
		die(p->name, "no memory for the ring");
	p->headers = front_memory_take(&p->memory, 0, DEPTH_MAX * sizeof(*p->headers), 64);
	p->data = front_memory_take(&p->memory, 0, (uint64_t)DEPTH_MAX * block, 4096);
	p->status = front_memory_take(&p->memory, 0, DEPTH_MAX, 64);
	for (i = 0; i < DEPTH_MAX; i++)
		describe(p, i);
	p->ring.avail[0] = VRING_AVAIL_F_NO_INTERRUPT;
	if (front_start(&p->front, 0, &p->ring) != 0)
		die(p->name, p->front.error);
}

/* Make a request available; the caller publishes. */
static void
offer(struct peer *p, unsigned int i, uint16_t *index)
{
	p->headers[i].sector = random_number() % p->blocks * (block / 512);
	p->status[i] = 0xff;
	p->ring.avail[2 + (*index)++ % RING_SIZE] = (uint16_t)(3 * i);
}

static void
publish(struct peer *p, uint16_t index)
{
	static const uint64_t one = 1;

	__atomic_store_n(&p->ring.avail[1], index, __ATOMIC_RELEASE);
	/* Partner: the device's fence between asking for kicks and looking at the index. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!(__atomic_load_n(&p->ring.used->flags, __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY) &&
	    write(p->ring.kick_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		die(p->name, "cannot kick");
}

/* Keep @p depth requests under way for a while, then wait for all. @return requests per second. */
static double
run_slice(struct peer *p, double seconds)
{
	double begun = now(), end = begun + seconds, time = begun;
	uint16_t index = p->ring.avail[1];
	unsigned int i, under_way = depth;
	uint64_t done = 0;

	for (i = 0; i < depth; i++)
		offer(p, i, &index);
	publish(p, index);
	while (under_way != 0) {
		uint16_t used = __atomic_load_n(&p->ring.used->idx, __ATOMIC_ACQUIRE);
		uint16_t before = index;

		if (used == p->seen) {
			time = now();
			if (time > end + 10)
				die(p->name, "a request was not answered within 10 seconds");
			continue;
		}
		while (p->seen != used) {
			uint32_t id = p->ring.used->ring[p->seen++ % RING_SIZE].id / 3;

			p->errors += p->status[id] != VIRTIO_BLK_S_OK;
			done++;
			if (time < end)
				offer(p, id, &index);
			else
				under_way--;
		}
		if (index != before)
			publish(p, index);
		/* Looking at the clock for every answer would cost more than the answer. */
		if ((done & 15) == 0 || depth < 16)
			time = now();
	}
	return (double)done / (now() - begun);
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* One number a round, in their order: whoever compares takes those of the same round. */
static void
report_rounds(const struct peer *p)
{
	unsigned int i;

	printf("\"rounds\": [");
	for (i = 0; i < p->slices; i++)
		printf("%s%.0f", i == 0 ? "" : ", ", p->rate[i]);
	printf("], ");
}

static void
report(void)
{
	unsigned int i;

	printf("{\"depth\": %u, \"block\": %u, \"write\": %s, \"peers\": [", depth, block,
		writes ? "true" : "false");
	for (i = 0; i < peer_count; i++) {
		struct peer *p = &peers[i];

		printf("%s{\"name\": \"%s\", ", i == 0 ? "" : ", ", p->name);
		report_rounds(p);
		qsort(p->rate, p->slices, sizeof(p->rate[0]), compare);
		printf("\"slices\": %u, \"median\": %.0f, \"low\": %.0f, "
			"\"high\": %.0f, \"errors\": %" PRIu64 "}", p->slices,
			p->rate[p->slices / 2], p->rate[p->slices / 4],
			p->rate[3 * p->slices / 4], p->errors);
	}
	printf("]}\n");
}

static void
measure(void)
{
	unsigned int round, i;

	for (round = 0; round <= pairs; round++) {
		unsigned int order[PEERS_MAX] = { 0 };

		for (i = 0; i < peer_count; i++) {
			unsigned int j = (unsigned int)(random_number() % (i + 1));

			order[i] = order[j];
			order[j] = i;
		}
		for (i = 0; i < peer_count; i++) {
			struct peer *p = &peers[order[i]];
			double rate;

			kill(p->pid, SIGCONT);
			rate = run_slice(p, slice_ms / 1e3);
			kill(p->pid, SIGSTOP);
			/* The first round warms everything up. */
			if (round != 0)
				p->rate[p->slices++] = rate;
		}
	}
}

static void
usage(void)
{
	puts("Usage: vhu-blk-bench [options] NAME,PID,SOCKET...\n"
		"Compare vhost-user-blk back-ends: requests per second as JSON.\n"
		"Example: vhu-blk-bench --depth 32 vhu-blk,4711,/run/vhu/blk.sock\n"
		"  --depth N      requests under way, 1 to 128 (32)\n"
		"  --block BYTES  of a request (4096)\n"
		"  --write        write instead of reading\n"
		"  --pairs N      slices of each (15)\n"
		"  --slice MS     milliseconds of a slice (100)\n"
		"Back-ends are stopped while it is not their turn, and are running at the end.");
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "depth", required_argument, NULL, 'd' },
		{ "block", required_argument, NULL, 'b' },
		{ "write", no_argument, NULL, 'w' }, { "pairs", required_argument, NULL, 'p' },
		{ "slice", required_argument, NULL, 's' }, { "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	unsigned int i;
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (option) {
		case 'd': depth = (unsigned int)atoi(optarg); break;
		case 'b': block = (unsigned int)atoi(optarg); break;
		case 'w': writes = true; break;
		case 'p': pairs = (unsigned int)atoi(optarg); break;
		case 's': slice_ms = (unsigned int)atoi(optarg); break;
		case 'h': usage(); return 0;
		default: return 2;
		}
	}
	if (optind == argc || depth == 0 || depth > DEPTH_MAX || block % 512 != 0 || block == 0 ||
	    block > 65536 || pairs == 0 || pairs > SLICES_MAX || slice_ms == 0) {
		usage();
		return 2;
	}
	for (; optind < argc && peer_count < PEERS_MAX; optind++) {
		struct peer *p = &peers[peer_count++];
		char path[256];

		if (sscanf(argv[optind], "%63[^,],%d,%255s", p->name, &p->pid, path) != 3)
			die(argv[optind], "is not NAME,PID,SOCKET");
		open_peer(p, path);
		kill(p->pid, SIGSTOP);
	}
	measure();
	for (i = 0; i < peer_count; i++) {
		kill(peers[i].pid, SIGCONT);
		front_stop(&peers[i].front, 0, NULL);
		front_close(&peers[i].front);
	}
	report();
	return 0;
}
