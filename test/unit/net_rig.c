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

#include "ring/copied.h"

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

/* Two regions and a queue; no ring yet. */
static struct rig *
rig_base(uint16_t index)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct vhu_rx_options options = { .mempool = pool, .port_id = 7 };
	unsigned int i;

	assert_non_null(rig);
	rig->pool = pool;
	rig->map = calloc(1, sizeof(*rig->map) + 4 * sizeof(rig->map->extents[0]));
	rig->map->generation = 1;
	rig->map->count = 2;
	rig->map->by_host = &rig->map->extents[2];
	/* The second comes first on the host: neighbours for the guest, not for us. */
	for (i = 0; i < 2; i++) {
		rig->region[i] = map_region();
		rig->map->extents[i] = (struct vhu_extent){ RIG_BASE + i * RIG_REGION, RIG_REGION,
			(uintptr_t)rig->region[i] - (RIG_BASE + i * RIG_REGION) };
	}
	for (i = 0; i < 2; i++) {
		unsigned int lower = rig->region[0] < rig->region[1] ? i : 1 - i;
		struct vhu_extent extent = rig->map->extents[lower];

		rig->map->by_host[i] = (struct vhu_extent){ extent.start + extent.delta,
			extent.size, -extent.delta };
	}
	rig->call_fd = eventfd(0, EFD_NONBLOCK);
	rig->queue = vhu_queue_new(NULL, index);
	assert_non_null(rig->queue);
	if (vhu_ring_receives(index))
		assert_int_equal(vhu_rx_queue_setup(rig->queue, &options), 0);
	return rig;
}

/* As behind an IOMMU on huge pages: the back-end sees a copy, of areas in reverse order. */
static void
copy_ring(struct rig *rig)
{
	const void *const areas[] = { rig->snapshot.descriptors, rig->snapshot.avail,
		rig->snapshot.used };
	struct vhu_alias_plan plan = { 0 };
	unsigned int i;

	for (i = 0; i < 3; i++)
		assert_true(vhu_alias_add(&plan, true, (uint8_t *)(uintptr_t)areas[2 - i],
			RIG_BASE - (uintptr_t)rig->region[0], 2 * PAGE));
	assert_int_equal(vhu_alias_copy(&plan, &rig->snapshot.alias), 0);
	rig->snapshot.descriptors = (void *)(rig->snapshot.alias->host + 4 * PAGE);
	rig->snapshot.avail = (void *)(rig->snapshot.alias->host + 2 * PAGE);
	rig->snapshot.used = (void *)rig->snapshot.alias->host;
}

void
rig_specialise(struct rig *rig)
{
	assert_int_equal(vhu_net_specialise(rig->queue, &rig->snapshot), 0);
	if (getenv("VHU_TEST_COPIED") == NULL)
		return;
	if (rig->snapshot.alias == NULL)
		copy_ring(rig);
	vhu_copied_specialise(&rig->snapshot);
}

struct rig *
rig_new(uint16_t index, uint64_t features)
{
	struct rig *rig = rig_base(index);

	rig->descriptors = (struct vring_desc *)(rig->region[0] + DESCRIPTORS_AT);
	rig->avail = (struct vring_avail *)(rig->region[0] + AVAIL_AT);
	rig->used = (struct vring_used *)(rig->region[0] + USED_AT);
	rig->snapshot = (struct vhu_snapshot){
		.descriptors = rig->descriptors, .avail = rig->avail, .used = rig->used,
		.space.map = rig->map, .size = RIG_SIZE, .call_fd = rig->call_fd,
		.in_order = features >> VHU_F_IN_ORDER & 1,
		.features = features | VHU_BIT(VIRTIO_F_VERSION_1),
	};
	rig_specialise(rig);
	rig_start_at(rig, 0);
	return rig;
}

struct rig *
rig_new_packed(uint16_t index, uint64_t features, uint16_t size)
{
	struct rig *rig = rig_base(index);

	assert_in_range(size, 1, RIG_SIZE);
	rig->packed = (struct vring_packed_desc *)(rig->region[0] + DESCRIPTORS_AT);
	rig->driver_event = (struct vring_packed_desc_event *)(rig->region[0] + AVAIL_AT);
	rig->device_event = (struct vring_packed_desc_event *)(rig->region[0] + USED_AT);
	rig->snapshot = (struct vhu_snapshot){
		.packed = rig->packed, .driver_event = rig->driver_event,
		.device_event = rig->device_event, .format = VHU_PACKED,
		.space.map = rig->map, .size = size, .call_fd = rig->call_fd,
		.in_order = features >> VHU_F_IN_ORDER & 1,
		.features = features | VHU_BIT(VIRTIO_F_VERSION_1) | VHU_BIT(VIRTIO_F_RING_PACKED),
	};
	rig_specialise(rig);
	rig_start_packed_at(rig, 0, true, 0, true);
	return rig;
}

/* A start has a copy of its own. */
static void
forget_copied(struct rig *rig)
{
	if (rig->snapshot.alias != NULL)
		rig->snapshot.alias->pulled.begun = false;
}

void
rig_start_packed_at(struct rig *rig, uint16_t avail, bool avail_wrap, uint16_t used,
	bool used_wrap)
{
	struct vhu_ring *ring = vhu_queue_ring(rig->queue);

	rig->filled = avail;
	rig->filled_wrap = avail_wrap;
	rig->reaped = used;
	rig->reaped_wrap = used_wrap;
	forget_copied(rig);
	vhu_ring_reset(ring, avail, used);
	vhu_ring_set_wraps(ring, avail_wrap, used_wrap);
	atomic_store(&ring->reader.snapshot, &rig->snapshot);
}

void
rig_start_at(struct rig *rig, uint16_t position)
{
	struct vhu_ring *ring = vhu_queue_ring(rig->queue);

	rig->filled = rig->avail->idx = rig->used->idx = position;
	forget_copied(rig);
	vhu_ring_reset(ring, position, position);
	atomic_store(&ring->reader.snapshot, &rig->snapshot);
}

void
rig_free(struct rig *rig)
{
	vhu_alias_free(rig->snapshot.alias);
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
rig_chain(struct rig *rig, uint16_t id, const struct rig_piece *pieces, unsigned int count)
{
	struct vring_packed_desc *first = &rig->packed[rig->filled];
	uint16_t first_flags = 0;
	unsigned int i;

	for (i = 0; i < count; i++) {
		struct vring_packed_desc *d = &rig->packed[rig->filled];
		uint32_t flags = pieces[i].flags | (i + 1 < count ? VRING_DESC_F_NEXT : 0) |
			(rig->filled_wrap ? VHU_PACKED_AVAIL : VHU_PACKED_USED);

		d->addr = pieces[i].address;
		d->len = pieces[i].size;
		d->id = id;
		if (i == 0)
			first_flags = (uint16_t)flags;
		else
			d->flags = (uint16_t)flags;
		vhu_packed_advance(&rig->filled, &rig->filled_wrap, 1, rig->snapshot.size);
	}
	__atomic_store_n(&first->flags, first_flags, __ATOMIC_RELEASE);
}

void
rig_put(struct rig *rig, uint16_t id, uint32_t size, uint16_t flags)
{
	rig_chain(rig, id, &(struct rig_piece){ rig_slot(id), size, flags }, 1);
}

void
rig_put_frame(struct rig *rig, uint16_t id, uint32_t frame_size)
{
	uint8_t *host = rig_host(rig, rig_slot(id));

	memset(host, 0, HEADER);
	rig_pattern(host + HEADER, frame_size, id);
	rig_put(rig, id, HEADER + frame_size, 0);
}

bool
rig_reap(struct rig *rig, uint16_t slots, uint16_t *id, uint32_t *length)
{
	const struct vring_packed_desc *d = &rig->packed[rig->reaped];
	uint16_t flags = __atomic_load_n(&d->flags, __ATOMIC_ACQUIRE);
	bool avail = flags & VHU_PACKED_AVAIL, used = flags & VHU_PACKED_USED;

	if (avail != used || used != rig->reaped_wrap)
		return false;
	*id = d->id;
	*length = d->len;
	assert_int_equal((flags & VRING_DESC_F_WRITE) != 0, *length != 0);
	vhu_packed_advance(&rig->reaped, &rig->reaped_wrap, slots, rig->snapshot.size);
	return true;
}

void
rig_expect_used(struct rig *rig, uint16_t slots, uint16_t id, uint32_t length)
{
	uint32_t used_length;
	uint16_t used_id;

	assert_true(rig_reap(rig, slots, &used_id, &used_length));
	assert_int_equal(used_id, id);
	assert_int_equal(used_length, length);
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
