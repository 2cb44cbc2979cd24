/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Transmitting to a guest: how frames meet its buffers, when it is notified, and what breaks the
 * ring.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <rte_vect.h>

#include "net_rig.h"

#define HEADER 12
#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define MERGEABLE VHU_BIT(VIRTIO_NET_F_MRG_RXBUF)
#define EVENT VHU_BIT(VIRTIO_RING_F_EVENT_IDX)

static uint16_t
transmit(struct rig *rig, struct rte_mbuf *m)
{
	return vhu_tx_burst(rig->queue, &m, 1);
}

static uint16_t
num_buffers(struct rig *rig, uint64_t address)
{
	uint16_t value;

	memcpy(&value, rig_host(rig, address) + 10, sizeof(value));
	return value;
}

static void
every_size_arrives_whole_in_every_body(void **state)
{
	static const uint16_t widths[] = { RTE_VECT_SIMD_128, RTE_VECT_SIMD_256,
		RTE_VECT_SIMD_512 };
	uint16_t before = rte_vect_get_max_simd_bitwidth();
	unsigned int w, size;

	(void)state;
	for (w = 0; w < RTE_DIM(widths); w++) {
		struct rig *rig;

		rte_vect_set_max_simd_bitwidth(widths[w]);
		rig = rig_new(0, MERGEABLE);
		for (size = 1; size <= 1900; size++) {
			uint16_t slot = (uint16_t)(size % RIG_SIZE);
			uint8_t *host = rig_host(rig, rig_slot(slot));

			memset(host, 0xaa, RIG_SLOT);
			rig_buffer(rig, slot, HEADER + size, WRITE);
			assert_int_equal(transmit(rig, rig_mbuf(rig, size, 2048, size)), 1);
			assert_true(rig_matches(host + HEADER, size, size));
			assert_int_equal(host[HEADER + size], 0xaa);
			assert_int_equal(num_buffers(rig, rig_slot(slot)), 1);
			assert_int_equal(rig->used->ring[(size - 1) % RIG_SIZE].len, HEADER + size);
		}
		rig_free(rig);
	}
	rte_vect_set_max_simd_bitwidth(before);
}

static void
burst_larger_than_a_run_keeps_order(void **state)
{
	struct rig *rig = rig_new(0, MERGEABLE);
	struct rte_mbuf *packets[200];
	uint16_t i;

	(void)state;
	for (i = 0; i < 200; i++) {
		rig_buffer(rig, i, 1600, WRITE);
		packets[i] = rig_mbuf(rig, 60 + i, 2048, i);
	}
	assert_int_equal(vhu_tx_burst(rig->queue, packets, 200), 200);
	for (i = 0; i < 200; i++) {
		assert_int_equal(rig->used->ring[i].id, i);
		assert_true(rig_matches(rig_host(rig, rig_slot(i)) + HEADER, 60 + i, i));
	}
	rig_free(rig);
}

static void
packets_without_a_buffer_stay_with_the_caller(void **state)
{
	struct rig *rig = rig_new(0, MERGEABLE);
	struct rte_mbuf *packets[3];
	uint16_t i;

	(void)state;
	for (i = 0; i < 3; i++)
		packets[i] = rig_mbuf(rig, 60, 2048, i);
	rig_buffer(rig, 0, 1600, WRITE);
	rig_buffer(rig, 1, 1600, WRITE);
	assert_int_equal(vhu_tx_burst(rig->queue, packets, 3), 2);
	assert_int_equal(rte_mbuf_refcnt_read(packets[2]), 1);
	rte_pktmbuf_free(packets[2]);
	rig_free(rig);
}

static void
frame_is_spread_over_mergeable_buffers(void **state)
{
	struct rig *rig = rig_new(0, MERGEABLE);
	uint8_t frame[3000];
	unsigned int i;

	(void)state;
	for (i = 0; i < 4; i++)
		rig_buffer(rig, (uint16_t)i, 1024, WRITE);
	assert_int_equal(transmit(rig, rig_mbuf(rig, 3000, 2048, 8)), 1);
	assert_int_equal(num_buffers(rig, rig_slot(0)), 3);
	assert_int_equal(rig->used->idx, 3);
	assert_int_equal(rig->used->ring[0].len, 1024);
	assert_int_equal(rig->used->ring[2].len, HEADER + 3000 - 2048);
	memcpy(frame, rig_host(rig, rig_slot(0)) + HEADER, 1012);
	memcpy(frame + 1012, rig_host(rig, rig_slot(1)), 1024);
	memcpy(frame + 2036, rig_host(rig, rig_slot(2)), 964);
	assert_true(rig_matches(frame, 3000, 8));
	rig_free(rig);
}

static void
too_few_mergeable_buffers_are_left_alone(void **state)
{
	struct rig *rig = rig_new(0, MERGEABLE);
	struct rte_mbuf *m = rig_mbuf(rig, 3000, 2048, 8);

	(void)state;
	rig_buffer(rig, 0, 1024, WRITE);
	rig_buffer(rig, 1, 1024, WRITE);
	assert_int_equal(transmit(rig, m), 0);
	assert_int_equal(rig->used->idx, 0);
	rig_buffer(rig, 2, 1024, WRITE);
	assert_int_equal(transmit(rig, m), 1);
	assert_int_equal(rig->used->idx, 3);
	rig_free(rig);
}

/* One packet of each small burst is not of the common kind, at every place. */
static void
small_bursts_take_what_is_not_common(void **state)
{
	struct rig *rig = rig_new(0, 0);
	uint16_t count, odd, i, slot = 0;

	(void)state;
	for (count = 1; count <= 5; count++) {
		for (odd = 0; odd < count; odd++) {
			struct rte_mbuf *packets[5];

			for (i = 0; i < count; i++) {
				rig_buffer(rig, (uint16_t)(slot + i), RIG_SLOT, WRITE);
				packets[i] = rig_mbuf(rig, 200u + i, i == odd ? 90 : 2048, i);
			}
			assert_int_equal(vhu_tx_burst(rig->queue, packets, count), count);
			for (i = 0; i < count; i++, slot++) {
				assert_true(rig_matches(rig_host(rig, rig_slot(slot)) + HEADER,
					200u + i, i));
				assert_int_equal(rig->used->ring[slot].id, slot);
				assert_int_equal(rig->used->ring[slot].len, HEADER + 200u + i);
			}
			assert_int_equal(rig->used->idx, slot);
		}
	}
	rig_free(rig);
}

/* Packets of one, three and five buffers in turn, more than one run of them. */
static void
wide_packets_of_a_burst_keep_order(void **state)
{
	static const uint32_t sizes[] = { 70, 2500, 5000 };
	struct rig *rig = rig_new(0, MERGEABLE);
	unsigned int free_before = rte_mempool_avail_count(rig->pool), i, entry = 0;
	struct rte_mbuf *packets[75];
	uint8_t frame[5120 + HEADER];

	(void)state;
	for (i = 0; i < 225; i++)
		rig_buffer(rig, (uint16_t)i, 1024, WRITE);
	for (i = 0; i < 75; i++)
		packets[i] = rig_mbuf(rig, sizes[i % 3], 1500, i);
	assert_int_equal(vhu_tx_burst(rig->queue, packets, 75), 75);
	assert_int_equal(rte_mempool_avail_count(rig->pool), free_before);
	assert_int_equal(rig->used->idx, 225);
	for (i = 0; i < 75; i++) {
		uint32_t left = sizes[i % 3] + HEADER, at = 0;

		assert_int_equal(num_buffers(rig, rig_slot(entry)), (left + 1023) / 1024);
		for (; left != 0; entry++) {
			uint32_t size = left < 1024 ? left : 1024;

			assert_int_equal(rig->used->ring[entry].id, entry);
			assert_int_equal(rig->used->ring[entry].len, size);
			memcpy(frame + at, rig_host(rig, rig_slot(entry)), size);
			at += size;
			left -= size;
		}
		assert_true(rig_matches(frame + HEADER, sizes[i % 3], i));
	}
	rig_free(rig);
}

static void
segmented_packet_meets_a_plain_buffer(void **state)
{
	struct rig *rig = rig_new(0, 0);
	struct rte_mbuf *packets[6];
	uint16_t i;

	(void)state;
	for (i = 0; i < 6; i++) {
		rig_buffer(rig, i, RIG_SLOT, WRITE);
		packets[i] = rig_mbuf(rig, 1000u + i, 300, i);
	}
	assert_int_equal(vhu_tx_burst(rig->queue, packets, 6), 6);
	for (i = 0; i < 6; i++) {
		assert_true(rig_matches(rig_host(rig, rig_slot(i)) + HEADER, 1000u + i, i));
		assert_int_equal(rig->used->ring[i].len, HEADER + 1000u + i);
	}
	rig_free(rig);
}

static void
segmented_packet_meets_a_chain(void **state)
{
	struct rig *rig = rig_new(0, 0);
	uint8_t frame[1500];

	(void)state;
	rig_descriptor(rig, 0, rig_slot(0), HEADER, WRITE | NEXT, 1);
	rig_descriptor(rig, 1, rig_slot(1), 700, WRITE | NEXT, 2);
	rig_descriptor(rig, 2, rig_slot(2), 900, WRITE, 0);
	rig_available(rig, 0);
	assert_int_equal(transmit(rig, rig_mbuf(rig, 1500, 333, 6)), 1);
	memcpy(frame, rig_host(rig, rig_slot(1)), 700);
	memcpy(frame + 700, rig_host(rig, rig_slot(2)), 800);
	assert_true(rig_matches(frame, 1500, 6));
	assert_int_equal(rig->used->idx, 1);
	assert_int_equal(rig->used->ring[0].len, HEADER + 1500);
	rig_free(rig);
}

static void
frame_too_large_for_a_plain_buffer_is_dropped(void **state)
{
	struct rig *rig = rig_new(0, 0);

	(void)state;
	rig_buffer(rig, 0, 1000, WRITE);
	assert_int_equal(transmit(rig, rig_mbuf(rig, 989, 2048, 0)), 1);
	assert_int_equal(rig_drops(rig, VHU_DROP_NO_BUFFER_ROOM), 1);
	assert_int_equal(rig->used->idx, 0);
	assert_int_equal(transmit(rig, rig_mbuf(rig, 988, 2048, 0)), 1);
	assert_int_equal(rig->used->idx, 1);
	rig_free(rig);
}

/* A buffer whose header ends page @p page of the first region; its frame begins the next page. */
static uint8_t *
buffer_across_pages(struct rig *rig, uint16_t index, unsigned int page)
{
	uint64_t address = RIG_BASE + page * 4096 - HEADER;

	rig_descriptor(rig, index, address, HEADER + 100, WRITE, 0);
	rig_available(rig, index);
	return rig_host(rig, address);
}

static void
header_that_is_there_is_not_written_again(void **state)
{
	struct rig *rig = rig_new(0, MERGEABLE);
	struct rte_mbuf *packets[8];
	uint16_t i;

	(void)state;
	for (i = 0; i < 8; i++) {
		uint8_t *host = buffer_across_pages(rig, i, 512 + 2 * i);

		memset(host, 0, HEADER);
		host[10] = 1;
		/* A store to it would end the test. */
		assert_int_equal(mprotect(host + HEADER - 4096, 4096, PROT_READ), 0);
		packets[i] = rig_mbuf(rig, 64, 2048, i);
	}
	assert_int_equal(vhu_tx_burst(rig->queue, packets, 8), 8);
	for (i = 0; i < 8; i++)
		assert_true(rig_matches(rig->region[0] + (512 + 2 * i) * 4096, 64, i));
	rig_free(rig);
}

static void
every_stale_byte_of_a_header_is_replaced(void **state)
{
	struct rig *rig = rig_new(0, MERGEABLE);
	uint8_t header[HEADER] = { [10] = 1 };
	unsigned int i;

	(void)state;
	for (i = 0; i < HEADER; i++) {
		uint8_t *host = buffer_across_pages(rig, (uint16_t)i, 512);

		memcpy(host, header, HEADER);
		host[i] ^= 0x80;
		assert_int_equal(transmit(rig, rig_mbuf(rig, 64, 2048, 0)), 1);
		assert_memory_equal(host, header, HEADER);
	}
	rig_free(rig);
}

static void
legacy_header_has_ten_bytes(void **state)
{
	struct rig *rig = rig_new(0, 0);
	uint8_t *host = rig_host(rig, rig_slot(0));

	(void)state;
	rig->snapshot.features = 0;
	rig_specialise(rig);
	assert_int_equal(rig->snapshot.header_size, 10);
	memset(host, 0xaa, 200);
	rig_buffer(rig, 0, 110, WRITE);
	assert_int_equal(transmit(rig, rig_mbuf(rig, 100, 2048, 2)), 1);
	assert_true(rig_matches(host + 10, 100, 2));
	assert_int_equal(host[110], 0xaa);
	assert_int_equal(rig->used->ring[0].len, 110);
	rig_free(rig);
}

static void
buffer_over_two_regions_is_filled(void **state)
{
	unsigned int before;

	(void)state;
	for (before = 1; before < HEADER + 60; before++) {
		struct rig *rig = rig_new(0, MERGEABLE);
		uint8_t bytes[HEADER + 60];

		rig_descriptor(rig, 0, RIG_BASE + RIG_REGION - before, sizeof(bytes), WRITE, 0);
		rig_available(rig, 0);
		assert_int_equal(transmit(rig, rig_mbuf(rig, 60, 2048, 4)), 1);
		memcpy(bytes, rig->region[0] + RIG_REGION - before, before);
		memcpy(bytes + before, rig->region[1], sizeof(bytes) - before);
		assert_true(rig_matches(bytes + HEADER, 60, 4));
		rig_free(rig);
	}
}

static void
frame_at_the_end_of_a_region_is_not_written_past(void **state)
{
	struct rig *rig = rig_new(0, MERGEABLE);
	unsigned int size;

	(void)state;
	for (size = 1; size < 300; size++) {
		uint64_t at = RIG_BASE + 2 * RIG_REGION - HEADER - size;

		rig_descriptor(rig, 0, at, HEADER + size, WRITE, 0);
		rig_available(rig, 0);
		assert_int_equal(transmit(rig, rig_mbuf(rig, size, 2048, size)), 1);
		assert_true(rig_matches(rig_host(rig, at) + HEADER, size, size));
	}
	rig_free(rig);
}

static void
readable_buffer_breaks_the_ring(void **state)
{
	struct rig *rig = rig_new(0, MERGEABLE);
	struct rte_mbuf *m = rig_mbuf(rig, 60, 2048, 0);

	(void)state;
	rig_buffer(rig, 0, 1600, 0);
	assert_int_equal(transmit(rig, m), 0);
	assert_int_equal(rig_broken(rig), VHU_BROKEN_DIRECTION);
	rte_pktmbuf_free(m);
	rig_free(rig);
}

static void
loop_breaks_the_ring(void **state)
{
	struct rig *rig = rig_new(0, MERGEABLE);
	struct rte_mbuf *m = rig_mbuf(rig, 60, 2048, 0);

	(void)state;
	rig_descriptor(rig, 0, rig_slot(0), 1, WRITE | NEXT, 0);
	rig_available(rig, 0);
	assert_int_equal(transmit(rig, m), 0);
	assert_int_equal(rig_broken(rig), VHU_BROKEN_LOOP);
	rte_pktmbuf_free(m);
	rig_free(rig);
}

static void
tiny_buffers_that_never_suffice_drop_the_frame(void **state)
{
	struct rig *rig = rig_new(0, MERGEABLE);
	unsigned int i;

	(void)state;
	for (i = 0; i < RIG_SIZE; i++)
		rig_buffer(rig, (uint16_t)i, HEADER, WRITE);
	assert_int_equal(transmit(rig, rig_mbuf(rig, 9000, 2048, 0)), 1);
	assert_int_equal(rig_drops(rig, VHU_DROP_NO_BUFFER_ROOM), 1);
	assert_int_equal(rig_broken(rig), VHU_BROKEN_NO);
	rig_free(rig);
}

static void
shared_mbufs_lose_one_reference(void **state)
{
	struct rig *rig = rig_new(0, MERGEABLE);
	struct rte_mbuf *m = rig_mbuf(rig, 60, 2048, 1);

	(void)state;
	rte_mbuf_refcnt_update(m, 1);
	rig_buffer(rig, 0, 1600, WRITE);
	assert_int_equal(transmit(rig, m), 1);
	assert_int_equal(rte_mbuf_refcnt_read(m), 1);
	rte_pktmbuf_free(m);
	rig_free(rig);
}

static void
tag_is_inserted(void **state)
{
	struct rig *rig = rig_new(0, MERGEABLE);
	uint8_t *host = rig_host(rig, rig_slot(0)) + HEADER;
	struct rte_mbuf *m = rig_mbuf(rig, 100, 7, 3); /* segments cut the addresses */
	uint8_t frame[100];

	(void)state;
	m->ol_flags |= RTE_MBUF_F_TX_VLAN;
	m->vlan_tci = 0x6123;
	rig_buffer(rig, 0, 1600, WRITE);
	assert_int_equal(transmit(rig, m), 1);
	memcpy(frame, host, 12);
	memcpy(frame + 12, host + 16, 88);
	assert_true(rig_matches(frame, 100, 3));
	assert_memory_equal(host + 12, "\x81\x00\x61\x23", 4);
	assert_int_equal(rig->used->ring[0].len, HEADER + 104);
	rig_free(rig);
}

static void
first_use_is_always_notified(void **state)
{
	struct rig *rig = rig_new(0, MERGEABLE);

	(void)state;
	rig->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	rig_buffer(rig, 0, 1600, WRITE);
	transmit(rig, rig_mbuf(rig, 60, 2048, 0));
	assert_int_equal(rig_calls(rig), 1);
	rig_free(rig);
}

static void
no_interrupt_flag_is_honoured(void **state)
{
	struct rig *rig = rig_new(0, MERGEABLE);
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		rig->avail->flags = i == 1 ? VRING_AVAIL_F_NO_INTERRUPT : 0;
		rig_buffer(rig, (uint16_t)i, 1600, WRITE);
		transmit(rig, rig_mbuf(rig, 60, 2048, 0));
		assert_int_equal(rig_calls(rig), i == 1 ? 0 : 1);
	}
	assert_int_equal(atomic_load(&rig->queue->ring.counters.calls), 2);
	assert_int_equal(atomic_load(&rig->queue->ring.counters.calls_suppressed), 1);
	rig_free(rig);
}

static void
burst_is_notified_once(void **state)
{
	struct rig *rig = rig_new(0, MERGEABLE);
	struct rte_mbuf *packets[100];
	uint16_t i;

	(void)state;
	for (i = 0; i < 100; i++) {
		rig_buffer(rig, i, 1600, WRITE);
		packets[i] = rig_mbuf(rig, 60, 2048, i);
	}
	assert_int_equal(vhu_tx_burst(rig->queue, packets, 100), 100);
	assert_int_equal(rig_calls(rig), 1);
	rig_free(rig);
}

/* Every combination of event and batch near the wrap, against the definition. */
static void
event_index_notifies_exactly_when_crossed(void **state)
{
	struct rig *rig = rig_new(0, MERGEABLE | EVENT);
	int event, batch;

	(void)state;
	for (event = -4; event <= 4; event++)
		for (batch = 1; batch <= 4; batch++) {
			uint16_t at = (uint16_t)event, old = 0xfffe, new = (uint16_t)(old + batch);
			struct rte_mbuf *packets[4];
			int i;

			rig_start_at(rig, (uint16_t)(old - 1));
			rig_buffer(rig, 0, 1600, WRITE);
			transmit(rig, rig_mbuf(rig, 60, 2048, 0));
			assert_int_equal(rig_calls(rig), 1);
			rig->avail->ring[RIG_SIZE] = at;
			for (i = 0; i < batch; i++) {
				rig_buffer(rig, (uint16_t)(i + 1), 1600, WRITE);
				packets[i] = rig_mbuf(rig, 60, 2048, 0);
			}
			assert_int_equal(vhu_tx_burst(rig->queue, packets, (uint16_t)batch), batch);
			assert_int_equal(rig_calls(rig), vring_need_event(at, new, old) ? 1 : 0);
		}
	rig_free(rig);
}

static void
saturated_call_counter_is_no_error(void **state)
{
	struct rig *rig = rig_new(0, MERGEABLE);

	(void)state;
	assert_int_equal(eventfd_write(rig->call_fd, UINT64_C(0xfffffffffffffffe)), 0);
	rig_buffer(rig, 0, 1600, WRITE);
	assert_int_equal(transmit(rig, rig_mbuf(rig, 60, 2048, 0)), 1);
	assert_int_equal(atomic_load(&rig->queue->ring.counters.calls), 1);
	rig_free(rig);
}

static void
without_a_call_descriptor_nothing_is_notified(void **state)
{
	struct rig *rig = rig_new(0, MERGEABLE);

	(void)state;
	rig->snapshot.call_fd = -1;
	rig_buffer(rig, 0, 1600, WRITE);
	assert_int_equal(transmit(rig, rig_mbuf(rig, 60, 2048, 0)), 1);
	assert_int_equal(rig->used->idx, 1);
	assert_int_equal(rig_calls(rig), 0);
	rig_free(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_size_arrives_whole_in_every_body),
		cmocka_unit_test(burst_larger_than_a_run_keeps_order),
		cmocka_unit_test(packets_without_a_buffer_stay_with_the_caller),
		cmocka_unit_test(frame_is_spread_over_mergeable_buffers),
		cmocka_unit_test(too_few_mergeable_buffers_are_left_alone),
		cmocka_unit_test(small_bursts_take_what_is_not_common),
		cmocka_unit_test(wide_packets_of_a_burst_keep_order),
		cmocka_unit_test(segmented_packet_meets_a_plain_buffer),
		cmocka_unit_test(segmented_packet_meets_a_chain),
		cmocka_unit_test(frame_too_large_for_a_plain_buffer_is_dropped),
		cmocka_unit_test(header_that_is_there_is_not_written_again),
		cmocka_unit_test(every_stale_byte_of_a_header_is_replaced),
		cmocka_unit_test(legacy_header_has_ten_bytes),
		cmocka_unit_test(buffer_over_two_regions_is_filled),
		cmocka_unit_test(frame_at_the_end_of_a_region_is_not_written_past),
		cmocka_unit_test(readable_buffer_breaks_the_ring),
		cmocka_unit_test(loop_breaks_the_ring),
		cmocka_unit_test(tiny_buffers_that_never_suffice_drop_the_frame),
		cmocka_unit_test(shared_mbufs_lose_one_reference),
		cmocka_unit_test(tag_is_inserted),
		cmocka_unit_test(first_use_is_always_notified),
		cmocka_unit_test(no_interrupt_flag_is_honoured),
		cmocka_unit_test(burst_is_notified_once),
		cmocka_unit_test(event_index_notifies_exactly_when_crossed),
		cmocka_unit_test(saturated_call_counter_is_no_error),
		cmocka_unit_test(without_a_call_descriptor_nothing_is_notified),
	};

	return cmocka_run_group_tests_name("net transmit", tests, rig_group_setup, NULL);
}
