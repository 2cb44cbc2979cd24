/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_mbuf.h>

#include "net_rig.h"

#define PAGE 4096
#define HEADER 12
#define DESCRIPTORS_AT 0
#define AVAIL_AT (RIG_SIZE * sizeof(struct vring_desc))
#define USED_AT 8192
#define SLOTS_AT 16384

static struct rte_mempool *pool;

int
rig_group_setup(void **state)
{
	char *arguments[] = { "test", "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry",
		"-m", "128", "--lcores", "0", "--log-level", "lib.*:error" };

	(void)state;
	if (rte_eal_init(RTE_DIM(arguments), arguments) < 0)
		return -1;
	pool = rte_pktmbuf_pool_create("rig", 2047, 64, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
	return pool != NULL ? 0 : -1;
}

static uint8_t *
map_region(void)
{
	uint8_t *all = mmap(NULL, RIG_REGION + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		-1, 0);

	assert_ptr_not_equal(all, MAP_FAILED);
	assert_int_equal(mprotect(all + PAGE, RIG_REGION, PROT_READ | PROT_WRITE), 0);
	return all + PAGE;
}

struct rig *
rig_new(uint16_t index, uint64_t features)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct vhu_rx_options options = { .mempool = pool, .port_id = 7 };
	unsigned int i;

	assert_non_null(rig);
	rig->pool = pool;
	rig->map = calloc(1, sizeof(*rig->map) + 2 * sizeof(rig->map->extents[0]));
	rig->map->generation = 1;
	rig->map->count = 2;
	/* The second comes first on the host: neighbours for the guest, not for us. */
	for (i = 0; i < 2; i++) {
		rig->region[i] = map_region();
		rig->map->extents[i] = (struct vhu_extent){ RIG_BASE + i * RIG_REGION, RIG_REGION,
			(uintptr_t)rig->region[i] - (RIG_BASE + i * RIG_REGION) };
	}
	rig->descriptors = (struct vring_desc *)(rig->region[0] + DESCRIPTORS_AT);
	rig->avail = (struct vring_avail *)(rig->region[0] + AVAIL_AT);
	rig->used = (struct vring_used *)(rig->region[0] + USED_AT);
	rig->call_fd = eventfd(0, EFD_NONBLOCK);
	rig->queue = vhu_queue_new(NULL, index);
	assert_non_null(rig->queue);
	if (vhu_ring_receives(index))
		assert_int_equal(vhu_rx_queue_setup(rig->queue, &options), 0);
	rig->snapshot = (struct vhu_snapshot){
		.descriptors = rig->descriptors, .avail = rig->avail, .used = rig->used,
		.space.map = rig->map, .size = RIG_SIZE, .call_fd = rig->call_fd,
		.features = features | VHU_BIT(VIRTIO_F_VERSION_1),
	};
	assert_int_equal(vhu_net_specialise(rig->queue, &rig->snapshot), 0);
	rig_start_at(rig, 0);
	return rig;
}

void
rig_start_at(struct rig *rig, uint16_t position)
{
	struct vhu_ring *ring = vhu_queue_ring(rig->queue);

	rig->filled = rig->avail->idx = rig->used->idx = position;
	vhu_ring_reset(ring, position, position);
	atomic_store(&ring->reader.snapshot, &rig->snapshot);
}

void
rig_free(struct rig *rig)
{
	munmap(rig->region[0] - PAGE, RIG_REGION + 2 * PAGE);
	munmap(rig->region[1] - PAGE, RIG_REGION + 2 * PAGE);
	vhu_queue_free(rig->queue);
	close(rig->call_fd);
	free(rig->map);
	free(rig);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
}

uint64_t
rig_slot(unsigned int slot)
{
	return RIG_BASE + SLOTS_AT + slot * RIG_SLOT;
}

uint8_t *
rig_host(struct rig *rig, uint64_t address)
{
	uint64_t offset = address - RIG_BASE;

	return rig->region[offset / RIG_REGION] + offset % RIG_REGION;
}

void
rig_descriptor(struct rig *rig, uint16_t index, uint64_t address, uint32_t size, uint16_t flags,
	uint16_t next)
{
	rig->descriptors[index] = (struct vring_desc){ address, size, flags, next };
}

void
rig_available(struct rig *rig, uint16_t head)
{
	rig->avail->ring[rig->filled++ % RIG_SIZE] = head;
	__atomic_store_n(&rig->avail->idx, rig->filled, __ATOMIC_RELEASE);
}

void
rig_buffer(struct rig *rig, uint16_t index, uint32_t size, uint16_t flags)
{
	rig_descriptor(rig, index, rig_slot(index), size, flags, 0);
	rig_available(rig, index);
}

void
rig_pattern(uint8_t *data, uint32_t size, unsigned int seed)
{
	uint32_t i;

	for (i = 0; i < size; i++)
		data[i] = (uint8_t)((seed * 2654435761u + i * 40503u) >> 7);
}

int
rig_matches(const uint8_t *data, uint32_t size, unsigned int seed)
{
	uint8_t *expected = malloc(size + 1);
	int same;

	rig_pattern(expected, size, seed);
	same = memcmp(data, expected, size) == 0;
	free(expected);
	return same;
}

void
rig_send(struct rig *rig, uint16_t index, uint32_t frame_size)
{
	uint8_t *host = rig_host(rig, rig_slot(index));

	memset(host, 0, HEADER);
	rig_pattern(host + HEADER, frame_size, index);
	rig_buffer(rig, index, HEADER + frame_size, 0);
}

struct rte_mbuf *
rig_mbuf(struct rig *rig, uint32_t size, uint32_t segment_size, unsigned int seed)
{
	struct rte_mbuf *first = NULL;
	uint8_t *data = malloc(size + 1);
	uint32_t done = 0;

	rig_pattern(data, size, seed);
	do {
		uint32_t piece = size - done < segment_size ? size - done : segment_size;
		struct rte_mbuf *m = rte_pktmbuf_alloc(rig->pool);

		assert_non_null(m);
		memcpy(rte_pktmbuf_append(m, (uint16_t)piece), data + done, piece);
		if (first == NULL)
			first = m;
		else
			assert_int_equal(rte_pktmbuf_chain(first, m), 0);
		done += piece;
	} while (done < size);
	free(data);
	return first;
}

int
rig_packet_matches(const struct rte_mbuf *m, uint32_t size, unsigned int seed)
{
	uint8_t *copy = malloc(size + 1);
	const uint8_t *data;
	int same = m->pkt_len == size && rte_mbuf_check(m, 1, &(const char *){ NULL }) == 0;

	data = same ? rte_pktmbuf_read(m, 0, size, copy) : NULL;
	same = data != NULL && rig_matches(data, size, seed);
	free(copy);
	return same;
}

uint64_t
rig_drops(const struct rig *rig, enum vhu_drop reason)
{
	return atomic_load(&rig->queue->ring.counters.drops[reason]);
}

enum vhu_broken
rig_broken(const struct rig *rig)
{
	return atomic_load(&rig->queue->ring.broken);
}

uint64_t
rig_calls(struct rig *rig)
{
	eventfd_t value = 0;

	return eventfd_read(rig->call_fd, &value) == 0 ? value : 0;
}
