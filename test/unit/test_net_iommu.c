/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Bursts behind an IOMMU: addresses are I/O virtual, and a translation may be missing. */

#include <limits.h>
#include <string.h>

#include "mem/dirty.h"
#include "net_rig.h"

#define HEADER 12
#define WRITE VRING_DESC_F_WRITE
#define PAGE 4096u
#define USER UINT64_C(0x7f0000000000)
/* I/O virtual address of guest address 0. */
#define IOVA UINT64_C(0x500000000)

static struct rte_mbuf *packets[64];
static struct vhu_region regions[2];
static struct vhu_region *by_user[2] = { &regions[0], &regions[1] };

/* Put the rig behind an IOMMU that knows nothing yet. */
static void
start_iommu(struct rig *rig)
{
	unsigned int i;

	for (i = 0; i < 2; i++)
		regions[i] = (struct vhu_region){
			.guest_address = RIG_BASE + i * RIG_REGION, .size = RIG_REGION,
			.user_address = USER + i * RIG_REGION, .host = rig->region[i],
		};
	rig->map->by_guest = by_user;
	rig->map->by_user = by_user;
	rig->snapshot.space.iotlb = vhu_iotlb_new();
	assert_non_null(rig->snapshot.space.iotlb);
}

static void
stop_iommu(struct rig *rig)
{
	vhu_iotlb_free(rig->snapshot.space.iotlb);
	rig_free(rig);
}

/* The front-end tells where the page of this guest address is. */
static void
tell_page(struct rig *rig, uint64_t guest_address, enum vhu_access access)
{
	struct vhu_iotlb_entry *removed = NULL;
	uint64_t page = guest_address & ~UINT64_C(0xfff);

	assert_int_equal(vhu_iotlb_update(rig->snapshot.space.iotlb, rig->map,
		&(struct vhu_translation){ IOVA + page, PAGE, USER + (page - RIG_BASE), access },
		&removed).severity, VHU_ACCEPT);
	vhu_iotlb_release(removed);
}

static void
tell_slots(struct rig *rig, unsigned int from, unsigned int to, enum vhu_access access)
{
	for (; from < to; from += PAGE / RIG_SLOT)
		tell_page(rig, rig_slot(from), access);
}

/* A frame in a slot, at its I/O virtual address. */
static void
send(struct rig *rig, uint16_t slot, uint32_t size)
{
	uint8_t *host = rig_host(rig, rig_slot(slot));
	uint64_t address = IOVA + rig_slot(slot);

	memset(host, 0, HEADER);
	rig_pattern(host + HEADER, size, slot);
	if (rig->packed != NULL) {
		rig_chain(rig, slot, &(struct rig_piece){ address, HEADER + size, 0 }, 1);
	} else {
		rig_descriptor(rig, slot, address, HEADER + size, 0, 0);
		rig_available(rig, slot);
	}
}

/* A buffer to be written, likewise. */
static void
put(struct rig *rig, uint16_t slot, uint32_t size)
{
	uint64_t address = IOVA + rig_slot(slot);

	if (rig->packed != NULL) {
		rig_chain(rig, slot, &(struct rig_piece){ address, size, WRITE }, 1);
	} else {
		rig_descriptor(rig, slot, address, size, WRITE, 0);
		rig_available(rig, slot);
	}
}

/* A rig of either format. */
static struct rig *
iommu_rig(bool packed, uint16_t index, uint64_t features)
{
	struct rig *rig = packed ? rig_new_packed(index, features, 37) : rig_new(index, features);

	start_iommu(rig);
	return rig;
}

static uint64_t
take_miss(struct rig *rig)
{
	return atomic_exchange(&rig->queue->ring.miss, 0);
}

static void
expect_frames(unsigned int from, unsigned int count, uint32_t size)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		assert_true(rig_packet_matches(packets[i], size, from + i));
		rte_pktmbuf_free(packets[i]);
	}
}

static void
receive_waits_for_a_translation(void **state)
{
	unsigned int packed;
	uint16_t i;

	(void)state;
	for (packed = 0; packed < 2; packed++) {
		struct rig *rig = iommu_rig(packed, 1, 0);

		tell_slots(rig, 0, 10, VHU_READ | VHU_WRITE);
		for (i = 0; i < 20; i++)
			send(rig, i, 100);
		assert_int_equal(vhu_rx_burst(rig->queue, packets, 32), 10);
		expect_frames(0, 10, 100);
		assert_int_equal(take_miss(rig), (IOVA + rig_slot(10)) | VHU_READ);
		assert_int_equal(rig_broken(rig), VHU_BROKEN_NO);
		assert_int_equal(vhu_rx_burst(rig->queue, packets, 32), 0);
		assert_int_equal(take_miss(rig), (IOVA + rig_slot(10)) | VHU_READ);
		tell_slots(rig, 10, 20, VHU_READ);
		assert_int_equal(vhu_rx_burst(rig->queue, packets, 32), 10);
		expect_frames(10, 10, 100);
		assert_int_equal(take_miss(rig), 0);
		stop_iommu(rig);
	}
}

static void
transmit_waits_for_a_writable_translation(void **state)
{
	unsigned int packed;
	uint16_t i;

	(void)state;
	for (packed = 0; packed < 2; packed++) {
		struct rig *rig = iommu_rig(packed, 0, 0);

		tell_slots(rig, 0, 4, VHU_READ | VHU_WRITE);
		tell_slots(rig, 4, 8, VHU_READ);
		for (i = 0; i < 8; i++) {
			put(rig, i, RIG_SLOT);
			packets[i] = rig_mbuf(rig, 100, 2000, i);
		}
		assert_int_equal(vhu_tx_burst(rig->queue, packets, 8), 4);
		assert_int_equal(take_miss(rig), (IOVA + rig_slot(4)) | VHU_WRITE);
		assert_int_equal(rig_broken(rig), VHU_BROKEN_NO);
		tell_slots(rig, 4, 8, VHU_READ | VHU_WRITE);
		assert_int_equal(vhu_tx_burst(rig->queue, packets + 4, 4), 4);
		for (i = 0; i < 8; i++)
			assert_true(rig_matches(rig_host(rig, rig_slot(i) + HEADER), 100, i));
		stop_iommu(rig);
	}
}

static void
frame_waits_until_all_its_buffers_are_translated(void **state)
{
	unsigned int packed;
	uint16_t i;

	(void)state;
	for (packed = 0; packed < 2; packed++) {
		struct rig *rig = iommu_rig(packed, 0, VHU_BIT(VIRTIO_NET_F_MRG_RXBUF));

		tell_slots(rig, 0, 2, VHU_READ | VHU_WRITE);
		for (i = 0; i < 4; i++)
			put(rig, i, RIG_SLOT);
		packets[0] = rig_mbuf(rig, 6000, 1500, 1);
		assert_int_equal(vhu_tx_burst(rig->queue, packets, 1), 0);
		assert_int_equal(take_miss(rig), (IOVA + rig_slot(2)) | VHU_WRITE);
		tell_slots(rig, 2, 4, VHU_READ | VHU_WRITE);
		assert_int_equal(vhu_tx_burst(rig->queue, packets, 1), 1);
		assert_true(rig_matches(rig_host(rig, rig_slot(0) + HEADER), 6000, 1));
		stop_iommu(rig);
	}
}

static void
chain_waits_for_its_table(void **state)
{
	struct rig *rig = iommu_rig(true, 1, VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC));
	struct vring_packed_desc *table =
		(struct vring_packed_desc *)rig_host(rig, rig_slot(8));

	(void)state;
	tell_slots(rig, 0, 4, VHU_READ);
	memset(rig_host(rig, rig_slot(0)), 0, HEADER);
	rig_pattern(rig_host(rig, rig_slot(1)), 200, 6);
	table[0] = (struct vring_packed_desc){ IOVA + rig_slot(0), HEADER, 0, 0 };
	table[1] = (struct vring_packed_desc){ IOVA + rig_slot(1), 200, 0, 0 };
	rig_chain(rig, 1, &(struct rig_piece){ IOVA + rig_slot(8), 2 * sizeof(*table),
		VRING_DESC_F_INDIRECT }, 1);
	assert_int_equal(vhu_rx_burst(rig->queue, packets, 32), 0);
	assert_int_equal(take_miss(rig), (IOVA + rig_slot(8)) | VHU_READ);
	tell_slots(rig, 8, 10, VHU_READ);
	assert_int_equal(vhu_rx_burst(rig->queue, packets, 32), 1);
	expect_frames(6, 1, 200);
	stop_iommu(rig);
}

/* A batch holds what came before the missing translation. */
static void
in_order_batch_ends_at_a_missing_translation(void **state)
{
	struct rig *rig = iommu_rig(true, 1, VHU_BIT(VHU_F_IN_ORDER));
	uint16_t i;

	(void)state;
	tell_slots(rig, 0, 6, VHU_READ | VHU_WRITE);
	for (i = 0; i < 10; i++)
		send(rig, i, 100);
	assert_int_equal(vhu_rx_burst(rig->queue, packets, 32), 6);
	expect_frames(0, 6, 100);
	rig_expect_used(rig, 6, 5, 0);
	tell_slots(rig, 6, 10, VHU_READ | VHU_WRITE);
	assert_int_equal(vhu_rx_burst(rig->queue, packets, 32), 4);
	expect_frames(6, 4, 100);
	rig_expect_used(rig, 4, 9, 0);
	stop_iommu(rig);
}

static void
invalidated_translation_is_not_used(void **state)
{
	struct rig *rig = iommu_rig(false, 1, 0);
	struct vhu_iotlb_entry *removed = NULL;

	(void)state;
	tell_slots(rig, 0, 4, VHU_READ | VHU_WRITE);
	send(rig, 0, 100);
	assert_int_equal(vhu_rx_burst(rig->queue, packets, 32), 1);
	expect_frames(0, 1, 100);
	vhu_iotlb_invalidate(rig->snapshot.space.iotlb, IOVA + rig_slot(0), PAGE, &removed);
	vhu_iotlb_release(removed);
	send(rig, 1, 100);
	assert_int_equal(vhu_rx_burst(rig->queue, packets, 32), 0);
	assert_int_equal(take_miss(rig), (IOVA + rig_slot(0)) | VHU_READ);
	stop_iommu(rig);
}

/* The log speaks of guest-physical pages. */
static void
marks_are_guest_physical(void **state)
{
	static _Atomic(uint64_t) words[(RIG_BASE + 2 * RIG_REGION) / PAGE / 64 + 1];
	struct vhu_dirty_state dirty_state = { 0 };
	const struct vhu_dirty log = {
		.words = words, .pages = 64 * RTE_DIM(words), .state = &dirty_state,
	};
	struct rig *rig = iommu_rig(true, 0, 0);
	uint64_t page = rig_slot(2) / PAGE, i;

	(void)state;
	tell_slots(rig, 2, 4, VHU_READ | VHU_WRITE);
	put(rig, 2, RIG_SLOT);
	rig->snapshot.dirty = &log;
	packets[0] = rig_mbuf(rig, 100, 2000, 1);
	assert_int_equal(vhu_tx_burst(rig->queue, packets, 1), 1);
	for (i = 0; i < RTE_DIM(words); i++)
		assert_int_equal(words[i], i == page / 64 ? UINT64_C(1) << page % 64 : 0);
	stop_iommu(rig);
}

/* Buffers for 36 frames, of which all translations are known but that of one page. */
static struct rig *
rig_with_buffers(bool packed, unsigned int missing)
{
	struct rig *rig = iommu_rig(packed, 0, 0);
	unsigned int slot;

	rig_specialise(rig);
	for (slot = 0; slot < 36; slot++) {
		if (slot / (PAGE / RIG_SLOT) != missing)
			tell_page(rig, rig_slot(slot), VHU_READ | VHU_WRITE);
		put(rig, (uint16_t)slot, RIG_SLOT);
	}
	return rig;
}

/* Send so many frames, one at a time. @return how often the control thread was called to look. */
static uint32_t
looks_wanted(struct rig *rig, unsigned int count)
{
	uint32_t before = atomic_load(&vhu_rings_missing);

	for (; count > 0; count--) {
		packets[0] = rig_mbuf(rig, 64, 64, 0);
		assert_int_equal(vhu_tx_burst(rig->queue, packets, 1), 1);
	}
	return atomic_load(&vhu_rings_missing) - before;
}

static void
known_buffers_ahead_wake_nobody(void **state)
{
	(void)state;
	for (int packed = 0; packed < 2; packed++) {
		struct rig *rig = rig_with_buffers(packed, UINT_MAX);

		assert_int_equal(looks_wanted(rig, 30), 0);
		stop_iommu(rig);
	}
}

static void
unknown_buffer_ahead_wakes_the_control_thread_once(void **state)
{
	(void)state;
	for (int packed = 0; packed < 2; packed++) {
		struct rig *rig = rig_with_buffers(packed, 20 / (PAGE / RIG_SLOT));

		assert_int_equal(looks_wanted(rig, 1), 1);
		assert_int_equal(looks_wanted(rig, 10), 0);
		stop_iommu(rig);
	}
}

static void
buffers_ahead_are_looked_at_again_after_an_invalidation(void **state)
{
	(void)state;
	for (int packed = 0; packed < 2; packed++) {
		struct rig *rig = rig_with_buffers(packed, UINT_MAX);
		struct vhu_iotlb_entry *removed = NULL;

		assert_int_equal(looks_wanted(rig, 1), 0);
		vhu_iotlb_invalidate(rig->snapshot.space.iotlb, IOVA + rig_slot(20), PAGE,
			&removed);
		vhu_iotlb_release(removed);
		assert_int_equal(looks_wanted(rig, 1), 1);
		stop_iommu(rig);
	}
}

static void
table_ahead_is_left_to_the_control_thread(void **state)
{
	struct rig *rig = iommu_rig(false, 0, VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC));
	unsigned int slot;

	(void)state;
	rig_specialise(rig);
	for (slot = 0; slot < 3; slot++) {
		tell_page(rig, rig_slot(slot), VHU_READ | VHU_WRITE);
		put(rig, (uint16_t)slot, RIG_SLOT);
	}
	rig_descriptor(rig, 3, IOVA + rig_slot(0), 16, VRING_DESC_F_INDIRECT, 0);
	rig_available(rig, 3);
	assert_int_equal(looks_wanted(rig, 1), 1);
	stop_iommu(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(receive_waits_for_a_translation),
		cmocka_unit_test(transmit_waits_for_a_writable_translation),
		cmocka_unit_test(frame_waits_until_all_its_buffers_are_translated),
		cmocka_unit_test(chain_waits_for_its_table),
		cmocka_unit_test(in_order_batch_ends_at_a_missing_translation),
		cmocka_unit_test(invalidated_translation_is_not_used),
		cmocka_unit_test(marks_are_guest_physical),
		cmocka_unit_test(known_buffers_ahead_wake_nobody),
		cmocka_unit_test(unknown_buffer_ahead_wakes_the_control_thread_once),
		cmocka_unit_test(buffers_ahead_are_looked_at_again_after_an_invalidation),
		cmocka_unit_test(table_ahead_is_left_to_the_control_thread),
	};

	return cmocka_run_group_tests(tests, rig_group_setup, NULL);
}
