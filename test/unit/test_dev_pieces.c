/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Rings behind an IOMMU whose pages lie anywhere in guest memory. */

#include <signal.h>

#include "iotlb_rig.h"

#include "ring/chain.h"

/* The guard's handler: the test framework puts its own in place at the beginning of each test. */
static struct sigaction guard;

/*
 * A ring of 512 descriptors whose areas are neither one piece nor in order: the I/O addresses count
 * up from IOVA, the pages count down from 0x1f000.
 */
#define SCATTERED_AVAIL UINT64_C(0x2000)
#define SCATTERED_USED UINT64_C(0x4000)
#define SCATTERED_SIZE 512
#define SCATTERED_PIECES 5 /* one page of six is not the ring's */
#define SCATTERED_FLOOR UINT64_C(0x1f000)

/* Where in the rig's memory a byte of it is. */
static uint64_t
scattered(uint64_t offset)
{
	return SCATTERED_FLOOR - offset / PAGE * PAGE + offset % PAGE;
}

static void
map_scattered_page(uint64_t offset)
{
	assert_int_equal(tell(VHU_IOTLB_UPDATE, IOVA + offset, PAGE, RIG_USER + scattered(offset),
		VHU_READ | VHU_WRITE), 0);
}

static void
map_scattered(void)
{
	uint64_t page;

	for (page = 0; page < 6; page++)
		map_scattered_page(page * PAGE);
}

static void
run_scattered(uint32_t base, uint32_t flags)
{
	struct vhu_wire_vring_addr address = {
		.descriptor = IOVA,
		.avail = IOVA + SCATTERED_AVAIL,
		.used = IOVA + SCATTERED_USED,
		.flags = flags,
		.log_guest_address = IOVA + SCATTERED_USED,
	};

	assert_int_equal(rig_state(VHU_SET_VRING_NUM, 0, SCATTERED_SIZE), 0);
	assert_int_equal(rig_state(VHU_SET_VRING_BASE, 0, base), 0);
	assert_int_equal(rig_ask(VHU_SET_VRING_ADDR, &address, sizeof(address), -1), 0);
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 0, rig_eventfd()), 0);
}

/* The guest's way to a byte of the ring. */
static void *
guest_at(uint64_t offset)
{
	return rig.guest + scattered(offset);
}

static void
acknowledge(uint64_t features)
{
	assert_int_equal(rig_u64(VHU_SET_FEATURES, RIG_FEATURES | RIG_PROTOCOL | ACCESS | features),
		0);
}

static void
ring_in_pieces_is_served(void **state)
{
	const struct vhu_snapshot *snapshot;
	struct vhu_chain chain = { .id = 300, .slots = 1 };
	struct vhu_walk old;
	uint32_t i, written = 77;

	(void)state;
	map_scattered();
	/* The index is read on the way to the start, from where it is. */
	*(uint16_t *)guest_at(SCATTERED_USED + 2) = 400;
	run_scattered(400, 0);
	assert_false(is_parked());
	snapshot = rig_seen(0);
	assert_int_equal(rig.rings[0].next_used, 400);
	for (i = 0; i < SCATTERED_SIZE; i++)
		((struct vring_desc *)guest_at(i * sizeof(struct vring_desc)))->len = i;
	for (i = 0; i < SCATTERED_SIZE; i++)
		assert_int_equal(snapshot->descriptors[i].len, i);
	*(uint16_t *)guest_at(SCATTERED_AVAIL + 4 + 2 * 511) = 0x1234;
	assert_int_equal(snapshot->avail->ring[511], 0x1234);
	/* Element 400 begins before the border of two pages, 511 lies behind it. */
	old = vhu_used_position(&rig.rings[0]);
	for (i = 400; i < 512; i++)
		vhu_used_write(&rig.rings[0], snapshot, &chain, &written, 1);
	vhu_used_publish(&rig.rings[0], snapshot, old);
	assert_int_equal(*(uint16_t *)guest_at(SCATTERED_USED + 2), 512);
	for (i = 400; i < 512; i++) {
		assert_int_equal(*(uint32_t *)guest_at(SCATTERED_USED + 4 + 8 * i), 300);
		assert_int_equal(*(uint32_t *)guest_at(SCATTERED_USED + 8 + 8 * i), 77);
	}
	assert_int_equal(rig_base(0), 400);
}

static void
packed_ring_in_pieces_is_served(void **state)
{
	struct vhu_chain chain = { .id = 300, .slots = 1 };
	struct vring_packed_desc *last;
	struct vhu_walk old;

	(void)state;
	acknowledge(VHU_BIT(VIRTIO_F_RING_PACKED));
	map_scattered();
	run_scattered(0x81ff81ff, 0); /* at descriptor 511, in the first lap */
	assert_false(is_parked());
	last = guest_at(511 * sizeof(*last));
	last->id = 5;
	assert_int_equal(rig_seen(0)->packed[511].id, 5);
	old = vhu_used_position(&rig.rings[0]);
	vhu_used_write(&rig.rings[0], rig_seen(0), &chain, NULL, 1);
	vhu_used_publish(&rig.rings[0], rig_seen(0), old);
	assert_int_equal(last->id, 300);
	vhu_ring_want_kicks(&rig.rings[0], rig_seen(0), false);
	assert_int_equal(*(uint16_t *)guest_at(SCATTERED_USED + 2),
		VRING_PACKED_EVENT_FLAG_DISABLE);
}

/* A log over the rig's memory in a file that ends with the test. */
static uint64_t *
log_begin(void)
{
	struct vhu_wire_log log = { .size = PAGE };
	int fd = memfd_create("log", MFD_CLOEXEC);
	uint64_t *words;

	assert_int_equal(ftruncate(fd, (off_t)PAGE), 0);
	words = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(words != MAP_FAILED);
	rig_send(VHU_SET_LOG_BASE, 0, &log, sizeof(log), &fd, 1);
	return words;
}

static uint64_t
page_bit(uint64_t offset)
{
	return UINT64_C(1) << scattered(offset) / PAGE;
}

static void
used_ring_in_pieces_is_logged_page_by_page(void **state)
{
	struct vhu_chain chain = { .slots = 1 };
	struct vhu_walk old;
	uint64_t *log;
	unsigned int i;

	(void)state;
	acknowledge(VHU_BIT(VHU_F_LOG_ALL));
	log = log_begin();
	map_scattered();
	*(uint16_t *)guest_at(SCATTERED_USED + 2) = 511;
	run_scattered(511, VHU_VRING_LOG);
	old = vhu_used_position(&rig.rings[0]);
	vhu_used_write(&rig.rings[0], rig_seen(0), &chain, NULL, 1);
	vhu_used_show(&rig.rings[0], rig_seen(0), old);
	/* The element lies in the second page, the index in the first. */
	assert_int_equal(log[0], page_bit(SCATTERED_USED) | page_bit(SCATTERED_USED + PAGE));
	log[0] = 0;
	old = vhu_used_position(&rig.rings[0]);
	for (i = 0; i < 512; i++)
		vhu_used_write(&rig.rings[0], rig_seen(0), &chain, NULL, 1);
	vhu_used_show(&rig.rings[0], rig_seen(0), old);
	assert_int_equal(log[0], page_bit(SCATTERED_USED) | page_bit(SCATTERED_USED + PAGE));
	log[0] = 0;
	vhu_ring_want_kicks(&rig.rings[0], rig_seen(0), false);
	assert_int_equal(log[0], page_bit(SCATTERED_USED));
	munmap(log, PAGE);
}

static void
packed_ring_in_pieces_is_logged_page_by_page(void **state)
{
	struct vhu_chain chain = { .slots = 1 };
	struct vhu_walk old;
	uint64_t *log;

	(void)state;
	acknowledge(VHU_BIT(VHU_F_LOG_ALL) | VHU_BIT(VIRTIO_F_RING_PACKED));
	log = log_begin();
	map_scattered();
	run_scattered(0x81ff81ff, VHU_VRING_LOG);
	old = vhu_used_position(&rig.rings[0]);
	vhu_used_write(&rig.rings[0], rig_seen(0), &chain, NULL, 1);
	vhu_used_show(&rig.rings[0], rig_seen(0), old);
	assert_int_equal(log[0], page_bit(PAGE));
	old = vhu_used_position(&rig.rings[0]);
	vhu_used_write(&rig.rings[0], rig_seen(0), &chain, NULL, 1);
	vhu_used_show(&rig.rings[0], rig_seen(0), old);
	assert_int_equal(log[0], page_bit(PAGE) | page_bit(0));
	vhu_ring_want_kicks(&rig.rings[0], rig_seen(0), false);
	assert_int_equal(log[0], page_bit(PAGE) | page_bit(0) | page_bit(SCATTERED_USED));
	munmap(log, PAGE);
}

static void
ring_in_pieces_rests_while_one_of_them_is_gone(void **state)
{
	unsigned int mapped = rig_mappings();

	(void)state;
	map_scattered();
	run_scattered(0, 0);
	assert_int_equal(rig_mappings(), mapped + SCATTERED_PIECES);
	/* A burst that has begun may go on with the old pages, and nobody gets them before. */
	(void)vhu_reader_enter(&rig.rings[0].reader);
	send_iotlb(VHU_IOTLB_INVALIDATE, IOVA + PAGE, PAGE, 0, 0);
	assert_true(is_parked());
	assert_int_equal(rig_mappings(), mapped + SCATTERED_PIECES);
	vhu_reader_leave(&rig.rings[0].reader);
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig_mappings(), mapped);
	assert_asked(IOVA + PAGE, VHU_READ);
	assert_not_asked();
	/* The page is somewhere else now, and has other contents. */
	assert_int_equal(tell(VHU_IOTLB_UPDATE, IOVA + PAGE, PAGE, RIG_USER + 0x80000, VHU_READ),
		0);
	assert_false(is_parked());
	((struct vring_desc *)(rig.guest + 0x80000))->len = 4711;
	assert_int_equal(rig_seen(0)->descriptors[256].len, 4711);
	assert_int_equal(rig_mappings(), mapped + SCATTERED_PIECES);
	(void)rig_base(0);
	assert_int_equal(rig_mappings(), mapped);
}

static void
ring_in_pieces_goes_with_its_memory(void **state)
{
	struct vhu_wire_region other = rig_region(RIG_MEMORY / 2, RIG_MEMORY / 2);

	(void)state;
	map_scattered();
	run_scattered(0, 0);
	rig_send_table(&other, 1);
	assert_int_equal(rig.reply.payload.u64, 0);
	assert_true(is_parked());
	assert_int_equal(rig_mappings(), 1);
}

static void
ring_in_pieces_is_mapped_anew_with_other_memory(void **state)
{
	struct vhu_wire_region low = rig_region(0, RIG_MEMORY / 2);

	(void)state;
	rig_send_table(&low, 1);
	map_scattered();
	run_scattered(0, 0);
	/* Guest memory grows: the ring keeps its pages. */
	assert_int_equal(rig_add(rig_region(RIG_MEMORY / 2, RIG_MEMORY / 2)), 0);
	assert_false(is_parked());
	((struct vring_desc *)guest_at(PAGE))->len = 42;
	assert_int_equal(rig_seen(0)->descriptors[256].len, 42);
	assert_int_equal(rig_mappings(), 2 + SCATTERED_PIECES);
}

static void
file_that_is_cut_off_under_a_ring_in_pieces_ends_the_connection(void **state)
{
	(void)state;
	assert_int_equal(sigaction(SIGBUS, &guard, NULL), 0);
	map_scattered();
	run_scattered(0, 0);
	assert_int_equal(ftruncate(rig.memory, 0), 0);
	assert_int_equal(((const volatile struct vring_desc *)rig_seen(0)->descriptors)->len, 0);
	vhu_device_tick(rig.device);
	assert_int_equal(rig.hang_ups, 1);
}

/* Each page of it is a piece: 128 of descriptors, 17 and 65 of the two rings. */
static void
ring_of_the_largest_size_is_served_though_no_two_pages_are_neighbours(void **state)
{
	const uint64_t avail = 128 * PAGE, used = avail + 17 * PAGE, pages = 210;
	const uint64_t floor = RIG_MEMORY - PAGE;
	struct vhu_wire_vring_addr address = { .descriptor = IOVA, .avail = IOVA + avail,
		.used = IOVA + used };
	unsigned int mapped = rig_mappings();
	const struct vhu_snapshot *snapshot;
	uint64_t page;

	(void)state;
	for (page = 0; page < pages; page++)
		assert_int_equal(tell(VHU_IOTLB_UPDATE, IOVA + page * PAGE, PAGE,
			RIG_USER + floor - page * PAGE, VHU_READ | VHU_WRITE), 0);
	assert_int_equal(rig_state(VHU_SET_VRING_NUM, 0, 32768), 0);
	assert_int_equal(rig_ask(VHU_SET_VRING_ADDR, &address, sizeof(address), -1), 0);
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	assert_int_equal(rig_fd(VHU_SET_VRING_KICK, 0, rig_eventfd()), 0);
	assert_false(is_parked());
	assert_int_equal(rig_mappings(), mapped + pages);
	snapshot = rig_seen(0);
	((struct vring_desc *)(rig.guest + floor - 127 * PAGE))[255].len = 4711;
	assert_int_equal(snapshot->descriptors[32767].len, 4711);
	snapshot->used->ring[32767].id = 42;
	snapshot->used->ring[32767].len = 43;
	/* Behind flags and index: the border of two pages goes through the last element. */
	assert_int_equal(*(uint32_t *)(rig.guest + floor - 208 * PAGE + PAGE - 4), 42);
	assert_int_equal(*(uint32_t *)(rig.guest + floor - 209 * PAGE), 43);
	(void)rig_base(0);
	assert_int_equal(rig_mappings(), mapped);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IOTLB_TEST(ring_in_pieces_is_served),
		IOTLB_TEST(packed_ring_in_pieces_is_served),
		IOTLB_TEST(used_ring_in_pieces_is_logged_page_by_page),
		IOTLB_TEST(packed_ring_in_pieces_is_logged_page_by_page),
		IOTLB_TEST(ring_in_pieces_rests_while_one_of_them_is_gone),
		IOTLB_TEST(ring_in_pieces_goes_with_its_memory),
		IOTLB_TEST(ring_in_pieces_is_mapped_anew_with_other_memory),
		IOTLB_TEST(file_that_is_cut_off_under_a_ring_in_pieces_ends_the_connection),
		IOTLB_TEST(
			ring_of_the_largest_size_is_served_though_no_two_pages_are_neighbours),
	};

	if (vhu_guard_on() != 0 || sigaction(SIGBUS, NULL, &guard) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
