/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Receiving scattered frames: chains, indirect tables and frames of several mbufs, in any order and
 * of any cut, and the same with anything changed, before the burst or while it runs. Guest memory
 * lies between inaccessible pages.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <rte_vect.h>

#include "net_rig.h"

#define HEADER 12
#define FRAMES 30                 /* most in a burst */
#define PIECES 6                  /* most buffers of a frame */
#define AREA 0x10000u             /* bytes for a frame, its header, its table and gaps */
#define CROSSES 7                 /* the frame of a burst that may lie over a region's end */
#define LONGEST 12000
#define FEATURES VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define FRAME_MAX (65535 + 14 + 8)

enum form {
	DIRECT,
	TABLE,
	TABLE_LONGER,   /* than the chain in it; packed: as TABLE */
	TABLE_BACKWARD, /* entries follow each other backwards; packed: as TABLE */
	FORMS,
};

struct frame {
	enum form form;
	uint32_t size;
	unsigned int count;
	struct rig_piece piece[PIECES];
	uint64_t table;
};

struct burst {
	struct frame frame[FRAMES];
	unsigned int frames;
	uint16_t head[FRAMES]; /* or id */
	uint16_t slots[FRAMES];
};

static struct rte_mbuf *packets[64];
static uint64_t state_of_random = 1;

/* The same numbers in every run. */
static uint32_t
number(uint32_t below)
{
	state_of_random = state_of_random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(state_of_random >> 33) % below;
}

/* A frame may lie over the end of the first region. */
static void
put_bytes(struct rig *rig, uint64_t address, const uint8_t *bytes, uint32_t size)
{
	while (size-- != 0)
		*rig_host(rig, address++) = *bytes++;
}

/* Cut header and frame into pieces with gaps between them, and write them. */
static void
lay_out(struct rig *rig, struct frame *frame, uint64_t at, unsigned int seed)
{
	uint32_t left = HEADER + frame->size;
	uint8_t *bytes = calloc(1, left), *from = bytes;
	unsigned int i;

	rig_pattern(bytes + HEADER, frame->size, seed);
	for (i = 0; i < frame->count; i++) {
		uint32_t most = left - (frame->count - 1 - i), size;

		if (i + 1 == frame->count)
			size = left;
		else if (i == 0 && number(2) == 0)
			size = HEADER < most ? HEADER : most;
		else
			size = 1 + number(most);
		put_bytes(rig, at, from, size);
		frame->piece[i] = (struct rig_piece){ at, size, 0 };
		from += size;
		left -= size;
		at += size + number(200);
	}
	free(bytes);
}

static void
put_entry(struct rig *rig, uint64_t table, unsigned int i, const struct vring_desc *entry)
{
	put_bytes(rig, table + i * sizeof(*entry), (const uint8_t *)entry, sizeof(*entry));
}

/* @return bytes of the table. */
static uint32_t
put_table(struct rig *rig, const struct frame *frame)
{
	unsigned int i, extra = frame->form == TABLE_LONGER && rig->packed == NULL ? 3 : 0;

	for (i = 0; i < frame->count; i++) {
		bool backward = frame->form == TABLE_BACKWARD && i != 0 && rig->packed == NULL;
		unsigned int at = backward ? frame->count - i : i, next = i + 1;
		struct vring_desc entry = { frame->piece[i].address, frame->piece[i].size, 0, 0 };

		if (frame->form == TABLE_BACKWARD && rig->packed == NULL)
			next = frame->count - next;
		if (rig->packed == NULL && i + 1 < frame->count) {
			entry.flags = VRING_DESC_F_NEXT;
			entry.next = (uint16_t)next;
		}
		put_entry(rig, frame->table, at, &entry);
	}
	for (i = 0; i < extra; i++)
		put_entry(rig, frame->table, frame->count + i, &(struct vring_desc){ 1, 2, 3, 4 });
	return (frame->count + extra) * (uint32_t)sizeof(struct vring_desc);
}

/* Make a frame available, from descriptor or id @p at on. @return descriptors. */
static uint16_t
offer(struct rig *rig, const struct frame *frame, uint16_t at)
{
	struct rig_piece table = { frame->table, 0, VRING_DESC_F_INDIRECT };
	const struct rig_piece *pieces = frame->piece;
	unsigned int i, count = frame->count;

	if (frame->form != DIRECT) {
		table.size = put_table(rig, frame);
		pieces = &table;
		count = 1;
	}
	if (rig->packed != NULL) {
		rig_chain(rig, at, pieces, count);
		return (uint16_t)count;
	}
	for (i = 0; i < count; i++)
		rig_descriptor(rig, (uint16_t)(at + i), pieces[i].address, pieces[i].size,
			pieces[i].flags | (i + 1 < count ? VRING_DESC_F_NEXT : 0),
			(uint16_t)(at + i + 1));
	rig_available(rig, at);
	return (uint16_t)count;
}

static void
make_frame(struct rig *rig, struct frame *frame, unsigned int seed)
{
	uint64_t at = rig_slot(0) + (uint64_t)seed * AREA;

	frame->form = (enum form)number(FORMS);
	frame->count = 1 + number(number(3) == 0 ? PIECES : 2);
	frame->size = PIECES + number(number(4) == 0 ? LONGEST : 300);
	if (seed == CROSSES && number(2) == 0)
		at = RIG_BASE + RIG_REGION - number(AREA / 2);
	frame->table = at;
	/* Mostly where entries can be read in one piece. */
	if (number(16) != 0)
		frame->table &= ~UINT64_C(7);
	lay_out(rig, frame, at + 1024 + number(64), seed);
}

static void
make_burst(struct rig *rig, struct burst *burst)
{
	uint16_t at = 0;
	unsigned int i;

	burst->frames = 1 + number(FRAMES);
	for (i = 0; i < burst->frames; i++) {
		make_frame(rig, &burst->frame[i], i);
		burst->head[i] = at;
		burst->slots[i] = offer(rig, &burst->frame[i], at);
		at += burst->slots[i];
	}
}

/* An mbuf chain must be in order. */
static void
release(struct rte_mbuf *packet)
{
	const char *reason;

	assert_int_equal(rte_mbuf_check(packet, 1, &reason), 0);
	rte_pktmbuf_free(packet);
}

static void
expect_burst(struct rig *rig, const struct burst *burst, uint16_t used)
{
	unsigned int i, got = 0;

	/* In two calls: what the first looked at and did not take comes again. */
	got = vhu_rx_burst(rig->queue, packets, (uint16_t)(1 + number(FRAMES)));
	got += vhu_rx_burst(rig->queue, packets + got, FRAMES);
	assert_int_equal(got, burst->frames);
	for (i = 0; i < got; i++) {
		assert_true(rig_packet_matches(packets[i], burst->frame[i].size, i));
		release(packets[i]);
		if (rig->packed != NULL)
			rig_expect_used(rig, burst->slots[i], burst->head[i], 0);
		else
			assert_int_equal(rig->used->ring[(used + i) % RIG_SIZE].id,
				burst->head[i]);
	}
}

static struct rig *
new_rig(bool packed, uint64_t features)
{
	/* Some chains of a packed ring lie over its end. */
	return packed ? rig_new_packed(1, features, 251) : rig_new(1, features);
}

static void
send_bursts(bool packed)
{
	struct rig *rig = new_rig(packed, FEATURES |
		(number(2) ? VHU_BIT(VIRTIO_NET_F_CSUM) : 0));
	unsigned int i;
	uint16_t used = 0;

	for (i = 0; i < 100; i++) {
		struct burst burst;

		make_burst(rig, &burst);
		expect_burst(rig, &burst, used);
		used = (uint16_t)(used + burst.frames);
	}
	assert_int_equal(rig_broken(rig), VHU_BROKEN_NO);
	rig_free(rig);
}

static void
in_every_body(void (*test)(bool packed), bool packed)
{
	static const uint16_t widths[] = { RTE_VECT_SIMD_128, RTE_VECT_SIMD_256,
		RTE_VECT_SIMD_512 };
	uint16_t before = rte_vect_get_max_simd_bitwidth();
	unsigned int w;

	for (w = 0; w < RTE_DIM(widths); w++) {
		rte_vect_set_max_simd_bitwidth(widths[w]);
		test(packed);
	}
	rte_vect_set_max_simd_bitwidth(before);
}

static void
split_frames_of_any_form_arrive_whole_and_in_order(void **state)
{
	(void)state;
	in_every_body(send_bursts, false);
}

static void
packed_frames_of_any_form_arrive_whole_and_in_order(void **state)
{
	(void)state;
	in_every_body(send_bursts, true);
}

/* Whatever arrives is no longer than a frame may be. */
static void
take_anything(struct rig *rig)
{
	unsigned int i, got, tries;

	for (tries = 0; tries < 4; tries++) {
		got = vhu_rx_burst(rig->queue, packets, FRAMES);
		for (i = 0; i < got; i++) {
			assert_in_range(packets[i]->pkt_len, 1, FRAME_MAX);
			release(packets[i]);
		}
	}
}

/* A byte of a descriptor or of a table, in most cases of one that will be looked at. */
static uint8_t *
victim(struct rig *rig, const struct burst *burst)
{
	unsigned int i = number(burst->frames);
	const struct frame *frame = &burst->frame[i];
	uint8_t *ring = rig->region[0];

	if (frame->form != DIRECT && number(3) != 0)
		return rig_host(rig, frame->table +
			number(frame->count * (uint32_t)sizeof(struct vring_desc)));
	return ring + (size_t)burst->head[i] * sizeof(struct vring_desc) +
		number((uint32_t)sizeof(struct vring_desc));
}

static void
send_changed(bool packed)
{
	unsigned int i, k;

	for (i = 0; i < 700; i++) {
		struct rig *rig = new_rig(packed, FEATURES);
		unsigned int free_before = rte_mempool_avail_count(rig->pool);
		struct burst burst;

		make_burst(rig, &burst);
		for (k = 1 + number(4); k != 0; k--)
			*victim(rig, &burst) ^= (uint8_t)(1u << number(8));
		take_anything(rig);
		assert_int_equal(rte_mempool_avail_count(rig->pool), free_before);
		rig_free(rig);
	}
}

static void
split_descriptors_and_tables_may_hold_anything(void **state)
{
	(void)state;
	in_every_body(send_changed, false);
}

static void
packed_descriptors_and_tables_may_hold_anything(void **state)
{
	(void)state;
	in_every_body(send_changed, true);
}

/* A guest that rewrites a table for as long as the device reads it. */
struct rewriter {
	struct vring_desc *table;
	struct vring_desc entry[2];
	atomic_bool stop;
};

static void *
rewrite(void *argument)
{
	struct rewriter *rewriter = argument;
	unsigned int i = 0;

	while (!atomic_load_explicit(&rewriter->stop, memory_order_relaxed)) {
		const struct vring_desc *entry = &rewriter->entry[i++ & 1];

		__atomic_store_n(&rewriter->table->addr, entry->addr, __ATOMIC_RELAXED);
		__atomic_store_n(&rewriter->table->len, entry->len, __ATOMIC_RELAXED);
		__atomic_store_n(&rewriter->table->flags, entry->flags, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* All frames through one table, which at any time is one of two, or a mixture. */
static void
send_rewritten(bool packed, struct vring_desc other)
{
	struct rig *rig = new_rig(packed, FEATURES);
	struct rewriter rewriter = {
		.table = (struct vring_desc *)rig_host(rig, rig_slot(10)),
		.entry = { { RIG_BASE + RIG_REGION - 100, 100, 0, 0 }, other },
	};
	struct rig_piece table = { rig_slot(10), sizeof(other), VRING_DESC_F_INDIRECT };
	pthread_t thread;
	unsigned int i, k;

	*rewriter.table = rewriter.entry[0];
	assert_int_equal(pthread_create(&thread, NULL, rewrite, &rewriter), 0);
	for (i = 0; i < 3000; i++) {
		if (packed)
			rig_start_packed_at(rig, 0, true, 0, true);
		else
			rig_start_at(rig, 0);
		for (k = 0; k < 8; k++) {
			if (packed) {
				rig_chain(rig, (uint16_t)k, &table, 1);
				continue;
			}
			rig_descriptor(rig, (uint16_t)k, table.address, table.size, table.flags, 0);
			rig_available(rig, (uint16_t)k);
		}
		take_anything(rig);
	}
	atomic_store(&rewriter.stop, true);
	pthread_join(thread, NULL);
	rig_free(rig);
}

static void
tables_may_change_while_they_are_read(void **state)
{
	const struct vring_desc others[] = {
		/* Not as long as the other may be; a mixture ends behind the region. */
		{ RIG_BASE + RIG_REGION - 40, 40, 0, 0 },
		/* Outside of memory; and so long that it is. */
		{ RIG_BASE + 2 * (uint64_t)RIG_REGION, 100, 0, 0 },
		{ RIG_BASE + RIG_REGION - 100, UINT32_MAX, 0, 0 },
		{ RIG_BASE + RIG_REGION - 100, 0, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 0 },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(others); i++) {
		send_rewritten(false, others[i]);
		send_rewritten(true, others[i]);
	}
}

/* Through one table, whose only entry is @p entry. @return why the ring broke. */
static enum vhu_broken
send_entry(bool packed, struct vring_desc entry)
{
	struct rig *rig = new_rig(packed, FEATURES);
	struct rig_piece table = { rig_slot(10), sizeof(entry), VRING_DESC_F_INDIRECT };
	enum vhu_broken reason;
	unsigned int k;

	/* Not alone: behind it and before it are good ones. */
	for (k = 0; k < 9; k++) {
		struct frame frame = { .form = TABLE, .size = 100, .count = 2,
			.table = rig_slot(20 + 2 * k) };

		lay_out(rig, &frame, rig_slot(21 + 2 * k), k);
		if (k != 6) {
			offer(rig, &frame, (uint16_t)k);
			continue;
		}
		memcpy(rig_host(rig, rig_slot(10)), &entry, sizeof(entry));
		if (packed) {
			rig_chain(rig, 6, &table, 1);
			continue;
		}
		rig_descriptor(rig, 6, table.address, table.size, table.flags, 0);
		rig_available(rig, 6);
	}
	assert_int_equal(vhu_rx_burst(rig->queue, packets, 32), 6);
	for (k = 0; k < 6; k++) {
		assert_true(rig_packet_matches(packets[k], 100, k));
		rte_pktmbuf_free(packets[k]);
	}
	reason = rig_broken(rig);
	rig_free(rig);
	return reason;
}

static void
frames_before_a_malformed_table_are_delivered(void **state)
{
	const uint64_t inside = rig_slot(11);
	/* In a split table; flags of a packed one lie in the last 16 bits. */
	const struct vring_desc nested[] = {
		{ inside, 100, VRING_DESC_F_INDIRECT, 0 },
		{ inside, 100, 0, VRING_DESC_F_INDIRECT },
	};
	unsigned int packed;

	(void)state;
	for (packed = 0; packed < 2; packed++) {
		assert_int_equal(send_entry(packed, nested[packed]), VHU_BROKEN_INDIRECT);
		assert_int_equal(send_entry(packed, (struct vring_desc){ inside, 0, 0, 0 }),
			VHU_BROKEN_ZERO_LENGTH);
		assert_int_equal(send_entry(packed, (struct vring_desc){ RIG_BASE - 1, 100, 0, 0 }),
			VHU_BROKEN_ADDRESS);
		assert_int_equal(send_entry(packed,
			(struct vring_desc){ RIG_BASE + 2 * RIG_REGION - 99, 100, 0, 0 }),
			VHU_BROKEN_ADDRESS);
	}
	assert_int_equal(send_entry(false,
		(struct vring_desc){ inside, 100, VRING_DESC_F_WRITE, 0 }), VHU_BROKEN_DIRECTION);
	assert_int_equal(send_entry(false,
		(struct vring_desc){ inside, 100, VRING_DESC_F_NEXT, 1 }), VHU_BROKEN_NEXT);
	assert_int_equal(send_entry(false,
		(struct vring_desc){ inside, 100, VRING_DESC_F_NEXT, 0 }), VHU_BROKEN_LOOP);
}

/* A driver that did not acknowledge them must not send any. */
static void
table_without_the_feature_breaks_the_ring(void **state)
{
	unsigned int packed;

	(void)state;
	for (packed = 0; packed < 2; packed++) {
		struct rig *rig = new_rig(packed, 0);
		struct frame frame = { .form = TABLE, .size = 100, .count = 1,
			.table = rig_slot(10) };

		lay_out(rig, &frame, rig_slot(11), 0);
		offer(rig, &frame, 0);
		assert_int_equal(vhu_rx_burst(rig->queue, packets, 32), 0);
		assert_int_equal(rig_broken(rig), VHU_BROKEN_INDIRECT);
		rig_free(rig);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_frames_of_any_form_arrive_whole_and_in_order),
		cmocka_unit_test(packed_frames_of_any_form_arrive_whole_and_in_order),
		cmocka_unit_test(split_descriptors_and_tables_may_hold_anything),
		cmocka_unit_test(packed_descriptors_and_tables_may_hold_anything),
		cmocka_unit_test(tables_may_change_while_they_are_read),
		cmocka_unit_test(frames_before_a_malformed_table_are_delivered),
		cmocka_unit_test(table_without_the_feature_breaks_the_ring),
	};

	return cmocka_run_group_tests(tests, rig_group_setup, NULL);
}
