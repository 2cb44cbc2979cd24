/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * A hostile driver: it writes anything anywhere into a ring, its buffers and the in-flight area,
 * between any two steps of a device that takes chains and gives them back. A hostile front-end
 * beside it: it changes translations, clears the log of written pages and places the log of the
 * used ring anywhere. First two bytes: format, in-order, features, size, log, IOMMU; then steps.
 * Every area ends where the sanitizer sees.
 */

#include <sys/mman.h>
#include <unistd.h>


#include "fuzz.h"

#include "mem/dirty.h"
#include "ring/element.h"
#include "ring/packed.h"

#define LOW UINT64_C(0x1000)
#define LOW_SIZE UINT64_C(0x2000)
#define HIGH (LOW + LOW_SIZE)
#define HIGH_SIZE UINT64_C(0x1000)
#define HELD 64

/* A log for the two regions and little more: what is written elsewhere must not be marked. */
#define LOG_SIZE 8
#define PAGE UINT64_C(4096)

/* Bits of the first two bytes. */
#define IS_PACKED 0x01
#define IS_IN_ORDER 0x02
#define EVENT_INDEX 0x04
#define INDIRECT 0x08
#define TRACKED 0x10
#define BURSTS 0x20 /* chains that come back at once, without the element queue */
#define LARGE 0x40
#define LOGGED 0x80
#define TRANSLATED 0x100

enum area { DESCRIPTORS, AVAIL, USED, DATA, DATA_HIGH, INFLIGHT, AREAS };

struct bench {
	uint8_t *area[AREAS];
	size_t size[AREAS];
	struct vhu_region regions[2];
	struct vhu_map *map;
	struct vhu_snapshot snapshot;
	struct vhu_element_queue queue;
	void *memory;
	struct vhu_dirty *log;
	uint8_t *marks;  /* the same log, as the front-end sees it */
	struct vhu_iotlb *iotlb;
	bool bursts;
	unsigned int held;
	struct vhu_element elements[HELD];
	struct iovec segments[HELD][VHU_SEGMENTS_MAX];
};

static struct bench bench;

static void
make_area(enum area which, size_t size)
{
	bench.size[which] = size;
	bench.area[which] = aligned_alloc(64, (size + 63) / 64 * 64);
	FUZZ_REQUIRE(bench.area[which] != NULL);
	memset(bench.area[which], 0, size);
}

static void
make_map(void)
{
	struct vhu_region *regions[2] = { &bench.regions[0], &bench.regions[1] };
	struct vhu_verdict verdict;

	make_area(DATA, LOW_SIZE);
	make_area(DATA_HIGH, HIGH_SIZE);
	bench.regions[0] = (struct vhu_region){ .guest_address = LOW, .user_address = LOW,
		.size = LOW_SIZE, .host = bench.area[DATA], .references = 1, .fd = -1 };
	bench.regions[1] = (struct vhu_region){ .guest_address = HIGH, .user_address = HIGH,
		.size = HIGH_SIZE, .host = bench.area[DATA_HIGH], .references = 1, .fd = -1 };
	bench.map = vhu_map_of(regions, 2, &verdict);
	FUZZ_REQUIRE(bench.map != NULL);
}

static void
make_log(struct fuzz_input *input)
{
	int fd = memfd_create("log", MFD_CLOEXEC);

	FUZZ_REQUIRE(fd >= 0 && ftruncate(fd, (off_t)PAGE) == 0);
	bench.marks = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	FUZZ_REQUIRE(bench.marks != MAP_FAILED);
	FUZZ_REQUIRE(vhu_dirty_map(fd, LOG_SIZE, 0, &bench.log).severity == VHU_ACCEPT);
	close(fd);
	bench.snapshot.dirty = bench.log;
	bench.snapshot.dirty_ring = fuzz_take8(input) & 1;
	bench.snapshot.used_guest_address = fuzz_take64(input);
}

/* Addresses are translated to themselves, as far as they are. */
static void
translate(uint64_t from, uint64_t size, uint64_t to, uint8_t access)
{
	struct vhu_iotlb_entry *removed = NULL;
	uint64_t at = from, one = 1, user;
	struct vhu_verdict verdict = vhu_iotlb_update(bench.iotlb, bench.map,
		&(struct vhu_translation){ from, size, to, access }, &removed);
	bool inside = to >= LOW && to - LOW < LOW_SIZE + HIGH_SIZE && size != 0 &&
		size <= LOW + LOW_SIZE + HIGH_SIZE - to && from + (size - 1) >= from;

	vhu_iotlb_release(removed);
	FUZZ_REQUIRE(inside == (verdict.severity == VHU_ACCEPT));
	for (; inside && at - from < size; at += PAGE / 2, one = 1)
		FUZZ_REQUIRE(vhu_iotlb_user(bench.iotlb, at, &one, access, &user) &&
			user == to + (at - from));
}

static void
make_iotlb(void)
{
	bench.iotlb = vhu_iotlb_new();
	FUZZ_REQUIRE(bench.iotlb != NULL);
	bench.snapshot.space.iotlb = bench.iotlb;
	bench.snapshot.notes_place = true;
	translate(LOW, LOW_SIZE + HIGH_SIZE, LOW, VHU_READ | VHU_WRITE);
}

/* A message about translations, between two bursts. */
static void
change_translations(struct fuzz_input *input)
{
	struct vhu_iotlb_entry *removed = NULL;
	uint8_t how = fuzz_take8(input), access = (uint8_t)(1 + fuzz_take8(input) % 3);
	uint64_t from = fuzz_take16(input), size = fuzz_take16(input) % 0x4000;
	uint64_t to = how & 2 ? from : fuzz_take16(input);

	if (how & 4)
		from = size = fuzz_take64(input);
	if (how & 1) {
		translate(from, size, to, access);
	} else {
		vhu_iotlb_invalidate(bench.iotlb, from, size, &removed);
		vhu_iotlb_release(removed);
	}
	/* The control thread has looked at what is missing. */
	if (how & 8)
		atomic_store(&bench.queue.ring.miss, 0);
}

/* The front-end fetches the log. Marks are for the memory that there is. */
static void
fetch_log(void)
{
	size_t i;

	for (i = LOG_SIZE; i < PAGE; i++)
		FUZZ_REQUIRE(bench.marks[i] == 0);
	memset(bench.marks, 0, LOG_SIZE);
	(void)vhu_dirty_taken(bench.log);
}

static bool
is_marked(const uint8_t *host)
{
	uint64_t address = LOW + (uint64_t)(host - bench.area[DATA]);

	if (host < bench.area[DATA] || host >= bench.area[DATA] + LOW_SIZE)
		address = HIGH + (uint64_t)(host - bench.area[DATA_HIGH]);
	return bench.marks[address / PAGE / 8] >> address / PAGE % 8 & 1;
}

/* Pages of the first and the last byte of each segment that was written. */
static void
require_marked(const struct vhu_chain *chain, const struct iovec *segment, uint64_t written)
{
	uint16_t i;

	segment += chain->readable;
	for (i = 0; i < chain->writable && written != 0; i++, segment++) {
		uint64_t size = written < segment->iov_len ? written : segment->iov_len;

		FUZZ_REQUIRE(is_marked(segment->iov_base));
		FUZZ_REQUIRE(is_marked((uint8_t *)segment->iov_base + size - 1));
		written -= size;
	}
}

/* Begin a life at positions that the control side would let pass. */
static void
start(struct fuzz_input *input)
{
	const struct vhu_snapshot *snapshot = &bench.snapshot;
	struct vhu_walk avail = { 0, true }, used = { 0, true };

	if (snapshot->format == VHU_PACKED) {
		used.next = fuzz_take16(input) % snapshot->size;
		used.wrap = fuzz_take8(input) & 1;
		avail = used;
		vhu_packed_advance(&avail.next, &avail.wrap,
			fuzz_take8(input) % snapshot->size, snapshot->size);
	} else {
		used.next = vhu_guest_load16(&snapshot->used->idx);
		avail.next = fuzz_take16(input);
	}
	if (bench.bursts)
		avail = used;
	else
		vhu_element_queue_start(&bench.queue, bench.memory, snapshot, snapshot->size,
			&avail, &used);
	vhu_ring_reset(&bench.queue.ring, avail.next, used.next);
	vhu_ring_set_wraps(&bench.queue.ring, avail.wrap, used.wrap);
	bench.held = 0;
}

static void
begin(struct fuzz_input *input)
{
	uint16_t kind = fuzz_take16(input);
	bool packed = kind & IS_PACKED;
	uint16_t size = packed ? (uint16_t)(1 + fuzz_take8(input) % 40) : 16;

	if (kind & LARGE)
		size = 256;
	memset(&bench, 0, sizeof(bench));
	make_map();
	make_area(DESCRIPTORS, 16u * size);
	make_area(AVAIL, packed ? 4 : 6 + 2u * size);
	make_area(USED, packed ? 4 : 6 + 8u * size);
	make_area(INFLIGHT, vhu_inflight_stride(packed, size));
	bench.bursts = kind & BURSTS;
	bench.snapshot = (struct vhu_snapshot){
		.descriptors = (void *)bench.area[DESCRIPTORS],
		.avail = (void *)bench.area[AVAIL],
		.used = (void *)bench.area[USED],
		.space.map = bench.map,
		.size = size,
		.format = packed ? VHU_PACKED : VHU_SPLIT,
		.in_order = kind & IS_IN_ORDER,
		.features = (kind & EVENT_INDEX ? UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX : 0) |
			(kind & INDIRECT ? UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC : 0),
		.inflight = kind & TRACKED ? bench.area[INFLIGHT] : NULL,
		.call_fd = -1,
	};
	if (kind & LOGGED)
		make_log(input);
	if (kind & TRANSLATED)
		make_iotlb();
	vhu_element_queue_init(&bench.queue);
	bench.memory = malloc(vhu_element_queue_memory(size));
	FUZZ_REQUIRE(bench.memory != NULL);
	start(input);
}

static void
end(void)
{
	struct vhu_region *orphans[2];
	unsigned int i;

	if (bench.log != NULL) {
		fetch_log();
		munmap(bench.marks, PAGE);
		vhu_dirty_drop(bench.log);
	}
	vhu_iotlb_free(bench.iotlb);
	vhu_map_drop(bench.map, orphans);
	for (i = 0; i < AREAS; i++)
		free(bench.area[i]);
	free(bench.memory);
}

/* Segments are memory of the guest, as many bytes as the chain says. */
static void
touch(const struct vhu_chain *chain, const struct iovec *segments)
{
	uint32_t count = (uint32_t)chain->readable + chain->writable, i;
	uint64_t readable = 0, writable = 0;

	FUZZ_REQUIRE(count != 0 && count <= VHU_SEGMENTS_MAX);
	FUZZ_REQUIRE(chain->id < bench.snapshot.size);
	FUZZ_REQUIRE(chain->slots != 0 && chain->slots <= bench.snapshot.size);
	for (i = 0; i < count; i++) {
		volatile uint8_t *host = segments[i].iov_base;

		FUZZ_REQUIRE(segments[i].iov_len != 0);
		(void)host[0];
		(void)host[segments[i].iov_len - 1];
		if (i < chain->readable) {
			readable += segments[i].iov_len;
			continue;
		}
		writable += segments[i].iov_len;
		host[0] = 0xa5;
		host[segments[i].iov_len - 1] = 0x5a;
	}
	FUZZ_REQUIRE(readable == chain->readable_size && writable == chain->writable_size);
}

static void
write_anywhere(struct fuzz_input *input)
{
	enum area which = fuzz_take8(input) % AREAS;
	uint16_t at = fuzz_take16(input);
	uint8_t bytes[32], count = (uint8_t)(1 + fuzz_take8(input) % sizeof(bytes)), i;

	fuzz_take(input, bytes, count);
	for (i = 0; i < count; i++)
		bench.area[which][(at + i) % bench.size[which]] = bytes[i];
}

/* A descriptor that has a chance, made available where the device looks next. */
static void
offer(struct fuzz_input *input)
{
	uint16_t next = bench.queue.ring.next_avail, id = fuzz_take16(input) % bench.snapshot.size;
	uint64_t address = LOW + fuzz_take16(input) % (LOW_SIZE + HIGH_SIZE + 64);
	uint32_t length = fuzz_take16(input);
	uint16_t flags = fuzz_take8(input) & 7, to = fuzz_take16(input);

	if (bench.snapshot.format == VHU_PACKED) {
		struct vring_packed_desc *ring = bench.snapshot.packed;

		next = (uint16_t)((next + to % 4) % bench.snapshot.size);
		flags |= bench.queue.ring.avail_wrap ? VHU_PACKED_AVAIL : VHU_PACKED_USED;
		ring[next] = (struct vring_packed_desc){ address, length, id, flags };
	} else {
		struct vring_avail *avail = (void *)bench.area[AVAIL];

		((struct vring_desc *)bench.area[DESCRIPTORS])[id] = (struct vring_desc){ address,
			length, flags, to };
		avail->ring[avail->idx % bench.snapshot.size] = id;
		avail->idx++;
	}
}

static void
take(uint8_t count)
{
	unsigned int i;

	/* One at a time: each has segments of its own while it is held. */
	for (i = 0; i <= count % 8 && bench.held < HELD; i++) {
		struct vhu_element *element = &bench.elements[bench.held];

		if (vhu_elements_take(&bench.queue, &bench.snapshot, element, 1,
				bench.segments[bench.held], VHU_SEGMENTS_MAX) == 0)
			break;
		touch(&element->chain, element->segments);
		bench.held++;
	}
	FUZZ_REQUIRE(bench.queue.in_flight <= bench.snapshot.size);
	FUZZ_REQUIRE(bench.queue.in_flight_slots <= bench.snapshot.size);
}

/* Elements stay here after they came back: giving them twice is one of the things that happen. */
static void
give(struct fuzz_input *input)
{
	struct vhu_element *element;
	uint32_t written = fuzz_take32(input);
	uint8_t which = fuzz_take8(input), place = fuzz_take8(input);
	bool back;

	if (bench.held == 0)
		return;
	element = &bench.elements[which % bench.held];
	if (place & 1)
		back = vhu_elements_fill(&bench.queue, &bench.snapshot, element, written,
			place >> 1);
	else
		back = vhu_elements_give(&bench.queue, &bench.snapshot, element, written);
	if (back && bench.log != NULL)
		require_marked(&element->chain, element->segments, written);
}

static void
flush(struct fuzz_input *input)
{
	uint16_t before = bench.queue.in_flight, count;

	count = vhu_elements_flush(&bench.queue, &bench.snapshot, fuzz_take8(input));
	FUZZ_REQUIRE(bench.queue.in_flight == before - count);
	if (bench.held == HELD && bench.queue.in_flight == 0)
		bench.held = 0;
}

static void
sum(void)
{
	uint64_t readable, writable;

	vhu_elements_sum(&bench.queue, &bench.snapshot, bench.segments[HELD - 1], &readable,
		&writable, UINT64_MAX, UINT64_MAX);
}

static void
step_elements(struct fuzz_input *input, uint8_t what)
{
	switch (what % 8) {
	case 0:
		give(input);
		break;
	case 1:
		flush(input);
		break;
	case 2:
		(void)vhu_elements_untake(&bench.queue, &bench.snapshot, fuzz_take8(input) % 8);
		break;
	case 3:
		(void)vhu_elements_want_kicks(&bench.queue, &bench.snapshot,
			fuzz_take8(input) & 1);
		break;
	case 4:
		if (bench.held < HELD)
			sum();
		break;
	case 5:
		start(input);
		break;
	default:
		take(what);
	}
}

/* As a network burst does. */
static void
step_burst(uint8_t what)
{
	struct vhu_ring *ring = &bench.queue.ring;
	struct vhu_walk walk = vhu_walk_begin(ring), old = vhu_used_position(ring);
	uint32_t count = what % 8, written = what;
	struct vhu_chain chain;

	vhu_hint_check(&bench.snapshot.space, &ring->hint);
	if (ring->phase == VHU_RING_FRESH)
		vhu_ring_begin(ring, &bench.snapshot);
	while (count-- != 0 && vhu_chain_look(ring, &bench.snapshot, &walk, bench.segments[0],
			VHU_SEGMENTS_MAX, &chain) == VHU_FOUND_CHAIN) {
		touch(&chain, bench.segments[0]);
		vhu_walk_take(ring, &walk);
		vhu_used_write(ring, &bench.snapshot, &chain, &written, 1);
	}
	vhu_used_publish(ring, &bench.snapshot, old);
	FUZZ_REQUIRE(vhu_ring_waiting(ring, &bench.snapshot) <= bench.snapshot.size);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fuzz_input input = { bytes, size };

	begin(&input);
	while (input.left != 0) {
		uint8_t what = fuzz_take8(&input);

		if (what < 16 && bench.iotlb != NULL)
			change_translations(&input);
		else if (what < 20 && bench.log != NULL)
			fetch_log();
		else if (what < 64)
			write_anywhere(&input);
		else if (what < 144)
			offer(&input);
		else if (bench.bursts)
			step_burst(what);
		else
			step_elements(&input, what);
	}
	end();
	return 0;
}
