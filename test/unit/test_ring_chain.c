/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#define SIZE 256 /* descriptors of the rings; ring_rig.h makes its fixtures for it */
#include "ring_rig.h"

static void
assert_segment(unsigned int i, uint64_t address, uint64_t size)
{
	assert_ptr_equal(rig.segments[i].iov_base, rig_host(address));
	assert_int_equal(rig.segments[i].iov_len, size);
}

/* The ring is broken for this reason, and stays so. */
static void
assert_breaks(enum vhu_broken reason)
{
	assert_int_equal(rig_take(), VHU_FOUND_STOP);
	assert_int_equal(rig_broken(), reason);
	assert_int_equal(rig.ring->next_avail, 0);
	assert_int_equal(rig_take(), VHU_FOUND_STOP);
}

static void
empty_ring_has_no_chain(void **state)
{
	(void)state;
	assert_int_equal(rig_take(), VHU_FOUND_NONE);
	assert_int_equal(rig_broken(), VHU_BROKEN_NO);
}

static void
readable_segments_come_before_writable_ones(void **state)
{
	const struct rig_buffer buffers[] = {
		{ RIG_DATA, 10, RIG_N, 6 },
		{ RIG_DATA + 100, 20, RIG_N, 7 },
		{ RIG_DATA + 200, 30, RIG_N | RIG_W, 8 },
		{ RIG_DATA + 300, 40, RIG_W, 0 },
	};

	(void)state;
	rig_offer(buffers, 4, 5);
	assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
	assert_int_equal(rig.chain.id, 5);
	assert_int_equal(rig.chain.slots, rig_packed() ? 4 : 1);
	assert_int_equal(rig.chain.readable, 2);
	assert_int_equal(rig.chain.writable, 2);
	assert_int_equal(rig.chain.readable_size, 30);
	assert_int_equal(rig.chain.writable_size, 70);
	assert_segment(0, RIG_DATA, 10);
	assert_segment(1, RIG_DATA + 100, 20);
	assert_segment(2, RIG_DATA + 200, 30);
	assert_segment(3, RIG_DATA + 300, 40);
	assert_int_equal(rig.ring->next_avail, rig.avail);
	assert_int_equal(rig_take(), VHU_FOUND_NONE);
}

static void
chain_of_one_direction_is_valid(void **state)
{
	const struct rig_buffer in = { RIG_DATA, 10, RIG_W, 0 };
	const struct rig_buffer out = { RIG_DATA, 10, 0, 0 };

	(void)state;
	rig_offer(&in, 1, 3);
	assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
	assert_int_equal(rig.chain.readable, 0);
	assert_int_equal(rig.chain.writable, 1);
	rig_offer(&out, 1, 4);
	assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
	assert_int_equal(rig.chain.readable, 1);
	assert_int_equal(rig.chain.writable, 0);
}

static void
looking_takes_nothing_and_a_walk_goes_on(void **state)
{
	const struct rig_buffer buffer = { RIG_DATA, 10, 0, 0 };
	struct vhu_walk walk = vhu_walk_begin(rig.ring);

	(void)state;
	rig_offer(&buffer, 1, 3);
	rig_offer(&buffer, 1, 4);
	assert_int_equal(rig_look(&walk), VHU_FOUND_CHAIN);
	assert_int_equal(rig.chain.id, 3);
	assert_int_equal(rig_look(&walk), VHU_FOUND_CHAIN);
	assert_int_equal(rig.chain.id, 4);
	assert_int_equal(rig_look(&walk), VHU_FOUND_NONE);
	assert_int_equal(rig.ring->next_avail, 0);
	vhu_walk_take(rig.ring, &walk);
	assert_int_equal(rig.ring->next_avail, 2);
}

static void
walk_ends_after_a_whole_ring(void **state)
{
	const struct rig_buffer buffer = { RIG_DATA, 10, 0, 0 };
	struct vhu_walk walk = vhu_walk_begin(rig.ring);
	unsigned int i;

	(void)state;
	for (i = 0; i < SIZE; i++)
		rig_offer(&buffer, 1, (uint16_t)i);
	for (i = 0; i < SIZE; i++)
		assert_int_equal(rig_look(&walk), VHU_FOUND_CHAIN);
	/* A driver may not reuse what was not given back; a packed one can try. */
	if (rig_packed())
		rig_offer(&buffer, 1, 0);
	assert_int_equal(rig_look(&walk), VHU_FOUND_NONE);
	assert_int_equal(rig_broken(), VHU_BROKEN_NO);
}

static void
buffer_over_two_regions_becomes_two_segments(void **state)
{
	const struct rig_buffer buffer = { RIG_HIGH - 100, 250, RIG_W, 0 };

	(void)state;
	assert_ptr_not_equal(rig.low.host + RIG_LOW_SIZE, rig.high.host);
	rig_offer(&buffer, 1, 9);
	assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
	assert_int_equal(rig.chain.writable, 2);
	assert_int_equal(rig.chain.writable_size, 250);
	assert_segment(0, RIG_HIGH - 100, 100);
	assert_segment(1, RIG_HIGH, 150);
}

static void
buffer_over_two_regions_fits_a_table_of_one_entry(void **state)
{
	const struct rig_buffer table = { RIG_TABLE, 16, RIG_I, 0 };

	(void)state;
	rig_table(RIG_TABLE, 0, (struct rig_buffer){ RIG_HIGH - 1, 2, 0, 0 });
	rig_offer(&table, 1, 9);
	assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
	assert_int_equal(rig.chain.slots, 1);
	assert_int_equal(rig.chain.readable, 2);
}

static void
table_that_crosses_regions_is_read_whole(void **state)
{
	/* The second entry is cut in the middle. */
	const uint64_t at = RIG_HIGH - 24;
	const struct rig_buffer table = { at, 48, RIG_I, 0 };
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++)
		rig_table(at, i, (struct rig_buffer){ RIG_DATA + 1000 * i, 10 + i,
			i < 2 ? RIG_N : 0, (uint16_t)(i + 1) });
	rig_offer(&table, 1, 0);
	assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
	assert_int_equal(rig.chain.readable, 3);
	for (i = 0; i < 3; i++)
		assert_segment(i, RIG_DATA + 1000 * i, 10 + i);
}

static void
table_at_an_odd_address_is_read_whole(void **state)
{
	const struct rig_buffer table = { RIG_TABLE + 3, 16, RIG_I, 0 };

	(void)state;
	rig_table(RIG_TABLE + 3, 0, (struct rig_buffer){ RIG_DATA, 77, RIG_W, 0 });
	rig_offer(&table, 1, 0);
	assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
	assert_segment(0, RIG_DATA, 77);
}

static void
offer_full_table(uint64_t last_address)
{
	const struct rig_buffer table = { RIG_TABLE, 1024 * 16, RIG_I, 0 };
	unsigned int i;

	for (i = 0; i < 1024; i++)
		rig_table(RIG_TABLE, i, (struct rig_buffer){ i < 1023 ? RIG_DATA + i : last_address,
			2, i < 1023 ? RIG_N : 0, (uint16_t)(i + 1) });
	rig_offer(&table, 1, 0);
}

static void
table_of_1024_entries_is_the_largest(void **state)
{
	(void)state;
	offer_full_table(RIG_DATA);
	assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
	assert_int_equal(rig.chain.readable, 1024);
	assert_int_equal(rig.chain.readable_size, 2048);
}

static void
chain_of_1025_segments_breaks_the_ring(void **state)
{
	(void)state;
	/* The last one lies in two regions. */
	offer_full_table(RIG_HIGH - 1);
	rig.segments[1024].iov_base = &rig;
	assert_breaks(VHU_BROKEN_LOOP);
	assert_ptr_equal(rig.segments[1024].iov_base, &rig);
}

static void
chain_that_does_not_fit_stays_where_it_is(void **state)
{
	const struct rig_buffer buffers[] = {
		{ RIG_DATA, 10, RIG_N, 1 }, { RIG_DATA, 10, RIG_N, 2 }, { RIG_DATA, 10, 0, 0 },
	};
	struct vhu_walk walk = vhu_walk_begin(rig.ring);

	(void)state;
	rig_offer(buffers, 3, 0);
	rig.segments[2].iov_base = &rig;
	assert_int_equal(vhu_chain_look(rig.ring, &rig.snapshot, &walk, rig.segments, 2,
		&rig.chain), VHU_FOUND_ROOM);
	assert_ptr_equal(rig.segments[2].iov_base, &rig);
	assert_int_equal(rig_broken(), VHU_BROKEN_NO);
	assert_int_equal(rig_look(&walk), VHU_FOUND_CHAIN);
	assert_int_equal(rig.chain.readable, 3);
}

static void
direct_descriptors_may_precede_a_table(void **state)
{
	const struct rig_buffer buffers[] = {
		{ RIG_DATA, 10, RIG_N, 1 }, { RIG_TABLE, 16, RIG_I, 0 },
	};

	(void)state;
	rig_table(RIG_TABLE, 0, (struct rig_buffer){ RIG_DATA + 50, 20, RIG_W, 0 });
	rig_offer(buffers, 2, 0);
	assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
	assert_int_equal(rig.chain.readable_size, 10);
	assert_int_equal(rig.chain.writable_size, 20);
}

/* Chains that no driver makes, and why the ring is broken. */
struct malformed {
	const char *what;
	struct rig_buffer buffers[3];
	unsigned int count;
	enum vhu_broken reason;
};

static void
malformed_chains_break_the_ring(void **state)
{
	static const struct malformed rows[] = {
		{ "zero length", { { RIG_DATA, 0, 0, 0 } }, 1, VHU_BROKEN_ZERO_LENGTH },
		{ "zero length behind", { { RIG_DATA, 8, RIG_N, 1 }, { RIG_DATA, 0, RIG_W, 0 } }, 2,
			VHU_BROKEN_ZERO_LENGTH },
		{ "writable first", { { RIG_DATA, 8, RIG_N | RIG_W, 1 }, { RIG_DATA, 8, 0, 0 } }, 2,
			VHU_BROKEN_DIRECTION },
		{ "writable between", { { RIG_DATA, 8, RIG_N, 1 },
			{ RIG_DATA, 8, RIG_N | RIG_W, 2 }, { RIG_DATA, 8, 0, 0 } }, 3,
			VHU_BROKEN_DIRECTION },
		{ "hole", { { RIG_END, 8, 0, 0 } }, 1, VHU_BROKEN_ADDRESS },
		{ "below", { { RIG_LOW - 1, 8, 0, 0 } }, 1, VHU_BROKEN_ADDRESS },
		{ "last byte outside", { { RIG_END - 7, 8, 0, 0 } }, 1, VHU_BROKEN_ADDRESS },
		{ "4 GiB", { { RIG_DATA, UINT32_MAX, 0, 0 } }, 1, VHU_BROKEN_ADDRESS },
		{ "wraps", { { UINT64_C(0xfffffffffffff000), 0x2000, 0, 0 } }, 1,
			VHU_BROKEN_ADDRESS },
		{ "table of 0", { { RIG_TABLE, 0, RIG_I, 0 } }, 1, VHU_BROKEN_INDIRECT },
		{ "table of 8", { { RIG_TABLE, 8, RIG_I, 0 } }, 1, VHU_BROKEN_INDIRECT },
		{ "table of 17", { { RIG_TABLE, 17, RIG_I, 0 } }, 1, VHU_BROKEN_INDIRECT },
		{ "table of 1025", { { RIG_TABLE, 1025 * 16, RIG_I, 0 } }, 1,
			VHU_BROKEN_INDIRECT },
		{ "table in a hole", { { RIG_END, 16, RIG_I, 0 } }, 1, VHU_BROKEN_ADDRESS },
		{ "table half outside", { { RIG_END - 8, 16, RIG_I, 0 } }, 1, VHU_BROKEN_ADDRESS },
		{ "table wraps", { { UINT64_MAX - 15, 32, RIG_I, 0 } }, 1, VHU_BROKEN_INDIRECT },
		{ "table and next", { { RIG_TABLE, 16, RIG_I | RIG_N, 1 }, { RIG_DATA, 8, 0, 0 } },
			2, VHU_BROKEN_INDIRECT },
	};
	enum vhu_ring_format format = rig.snapshot.format;
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		rig_end();
		rig_begin(format, SIZE);
		rig_table(RIG_TABLE, 0, (struct rig_buffer){ RIG_DATA, 8, 0, 0 });
		rig_offer(rows[i].buffers, rows[i].count, 0);
		if (rig_take() != VHU_FOUND_STOP || rig_broken() != rows[i].reason)
			fail_msg("%s: broken %d", rows[i].what, rig_broken());
	}
}

static void
nested_table_breaks_the_ring(void **state)
{
	const struct rig_buffer table = { RIG_TABLE, 16, RIG_I, 0 };

	(void)state;
	rig_table(RIG_TABLE, 0, (struct rig_buffer){ RIG_TABLE + 64, 16, RIG_I, 0 });
	rig_offer(&table, 1, 0);
	assert_breaks(VHU_BROKEN_INDIRECT);
}

static void
table_that_was_not_negotiated_breaks_the_ring(void **state)
{
	const struct rig_buffer table = { RIG_TABLE, 16, RIG_I, 0 };

	(void)state;
	rig.snapshot.features = 0;
	rig_table(RIG_TABLE, 0, (struct rig_buffer){ RIG_DATA, 8, 0, 0 });
	rig_offer(&table, 1, 0);
	assert_breaks(VHU_BROKEN_INDIRECT);
}

static void
ring_and_used_areas_may_be_buffers(void **state)
{
	const struct rig_buffer buffers[] = {
		{ RIG_DESCRIPTORS, 16, RIG_N | RIG_W, 1 }, { RIG_USED, 4, RIG_W, 0 },
	};

	(void)state;
	rig_offer(buffers, 2, 0);
	assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
}

static void
split_index_that_jumps_breaks_the_ring(void **state)
{
	static const uint16_t jumps[] = { SIZE + 1, 0x8000, 0xffff };
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		vhu_ring_reset(rig.ring, 0, 0);
		rig_avail()->idx = jumps[i];
		assert_breaks(VHU_BROKEN_AVAIL_INDEX);
	}
}

static void
split_head_outside_the_table_breaks_the_ring(void **state)
{
	static const uint16_t heads[] = { SIZE, 0xffff };
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		vhu_ring_reset(rig.ring, 0, 0);
		rig.avail = 0;
		rig_offer_head(heads[i]);
		assert_breaks(VHU_BROKEN_HEAD);
	}
}

static void
split_next_outside_the_table_breaks_the_ring(void **state)
{
	const struct rig_buffer buffer = { RIG_DATA, 8, RIG_N, SIZE };

	(void)state;
	rig_offer(&buffer, 1, 0);
	assert_breaks(VHU_BROKEN_NEXT);
}

static void
split_loops_end(void **state)
{
	const struct rig_buffer self = { RIG_DATA, 8, RIG_N, 0 };
	const struct rig_buffer pair[] = {
		{ RIG_DATA, 8, RIG_N, 1 }, { RIG_DATA, 8, RIG_N, 0 },
	};

	(void)state;
	rig_offer(&self, 1, 0);
	assert_breaks(VHU_BROKEN_LOOP);
	vhu_ring_reset(rig.ring, 0, 0);
	rig.avail = 0;
	rig_offer(pair, 2, 0);
	assert_breaks(VHU_BROKEN_LOOP);
}

static void
split_loop_in_a_table_ends(void **state)
{
	const struct rig_buffer table = { RIG_TABLE, 32, RIG_I, 0 };

	(void)state;
	rig_table(RIG_TABLE, 0, (struct rig_buffer){ RIG_DATA, 8, RIG_N, 1 });
	rig_table(RIG_TABLE, 1, (struct rig_buffer){ RIG_DATA, 8, RIG_N, 0 });
	rig_offer(&table, 1, 0);
	assert_breaks(VHU_BROKEN_LOOP);
}

static void
split_next_outside_a_table_breaks_the_ring(void **state)
{
	const struct rig_buffer table = { RIG_TABLE, 32, RIG_I, 0 };

	(void)state;
	rig_table(RIG_TABLE, 0, (struct rig_buffer){ RIG_DATA, 8, RIG_N, 2 });
	rig_offer(&table, 1, 0);
	assert_breaks(VHU_BROKEN_NEXT);
}

static void
split_table_is_read_in_the_order_of_its_links(void **state)
{
	const struct rig_buffer table = { RIG_TABLE, 48, RIG_I, 0 };

	(void)state;
	rig_table(RIG_TABLE, 0, (struct rig_buffer){ RIG_DATA, 1, RIG_N, 2 });
	rig_table(RIG_TABLE, 2, (struct rig_buffer){ RIG_DATA + 2, 2, RIG_N, 1 });
	rig_table(RIG_TABLE, 1, (struct rig_buffer){ RIG_DATA + 1, 3, 0, 0 });
	rig_offer(&table, 1, 0);
	assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
	assert_segment(0, RIG_DATA, 1);
	assert_segment(1, RIG_DATA + 2, 2);
	assert_segment(2, RIG_DATA + 1, 3);
}

static void
split_positions_wrap_at_65536(void **state)
{
	const struct rig_buffer buffer = { RIG_DATA, 8, 0, 0 };

	(void)state;
	vhu_ring_reset(rig.ring, 0xffff, 0xffff);
	rig.avail = 0xffff;
	rig_offer(&buffer, 1, 1);
	rig_offer(&buffer, 1, 2);
	assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
	assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
	assert_int_equal(rig.chain.id, 2);
	assert_int_equal(rig.ring->next_avail, 1);
}

static void
packed_descriptor_of_the_wrong_lap_is_not_available(void **state)
{
	struct vring_packed_desc *first = &rig.snapshot.packed[0];

	(void)state;
	*first = (struct vring_packed_desc){ RIG_DATA, 8, 0, VHU_PACKED_USED };
	assert_int_equal(rig_take(), VHU_FOUND_NONE);
	first->flags = VHU_PACKED_USED | VHU_PACKED_AVAIL;
	assert_int_equal(rig_take(), VHU_FOUND_NONE);
	first->flags = VHU_PACKED_AVAIL;
	assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
}

static void
packed_chain_goes_on_behind_the_end_of_the_ring(void **state)
{
	const struct rig_buffer buffers[] = {
		{ RIG_DATA, 1, RIG_N, 0 }, { RIG_DATA + 1, 2, RIG_N, 0 },
		{ RIG_DATA + 2, 3, RIG_W, 0 },
	};

	(void)state;
	vhu_ring_reset(rig.ring, SIZE - 1, SIZE - 1);
	rig.avail = SIZE - 1;
	rig_offer(buffers, 3, 77);
	assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
	assert_int_equal(rig.chain.slots, 3);
	assert_int_equal(rig.chain.id, 77);
	assert_segment(2, RIG_DATA + 2, 3);
	assert_int_equal(rig.ring->next_avail, 2);
	assert_false(rig.ring->avail_wrap);
	/* In the next lap availability is the other way round. */
	rig_offer(buffers, 3, 78);
	assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
	assert_int_equal(rig.chain.id, 78);
}

static void
packed_id_is_that_of_the_last_descriptor(void **state)
{
	const struct rig_buffer buffers[] = { { RIG_DATA, 1, RIG_N, 0 }, { RIG_DATA, 2, 0, 0 } };

	(void)state;
	rig_offer(buffers, 2, 5);
	rig.snapshot.packed[0].id = 9;
	assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
	assert_int_equal(rig.chain.id, 5);
}

static void
packed_id_outside_the_ring_breaks_it(void **state)
{
	const struct rig_buffer buffer = { RIG_DATA, 1, 0, 0 };

	(void)state;
	rig_offer(&buffer, 1, SIZE);
	assert_breaks(VHU_BROKEN_HEAD);
}

static void
packed_chain_longer_than_the_ring_breaks_it(void **state)
{
	const struct rig_buffer buffer = { RIG_DATA, 1, RIG_N, 0 };
	unsigned int i;

	(void)state;
	for (i = 0; i < SIZE; i++)
		rig_offer(&buffer, 1, 0);
	assert_breaks(VHU_BROKEN_LOOP);
}

static void
packed_table_is_read_as_listed(void **state)
{
	const struct rig_buffer table = { RIG_TABLE, 32, RIG_I, 0 };

	(void)state;
	/* NEXT has no meaning in a table: both entries belong to the chain. */
	rig_table(RIG_TABLE, 0, (struct rig_buffer){ RIG_DATA, 1, 0, 0 });
	rig_table(RIG_TABLE, 1, (struct rig_buffer){ RIG_DATA + 1, 2, RIG_N | RIG_W, 0 });
	rig_offer(&table, 1, 4);
	assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
	assert_int_equal(rig.chain.readable, 1);
	assert_int_equal(rig.chain.writable, 1);
	assert_int_equal(rig.chain.id, 4);
}

static void
packed_ring_of_any_size_wraps_at_its_end(void **state)
{
	const struct rig_buffer buffer = { RIG_DATA, 1, 0, 0 };
	unsigned int i;

	(void)state;
	rig_end();
	rig_begin(VHU_PACKED, 7);
	for (i = 0; i < 30; i++) {
		rig_offer(&buffer, 1, (uint16_t)(i % 7));
		assert_int_equal(rig_take(), VHU_FOUND_CHAIN);
		assert_int_equal(rig.chain.id, i % 7);
	}
	assert_int_equal(rig.ring->next_avail, 30 % 7);
}

#define SPLIT(test) { #test, test, begin_split, end, NULL }
#define PACKED(test) { #test, test, begin_packed, end, NULL }
#define BOTH(test) { #test " (split)", test, begin_split, end, NULL }, \
	{ #test " (packed)", test, begin_packed, end, NULL }

int
main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(empty_ring_has_no_chain),
		BOTH(readable_segments_come_before_writable_ones),
		BOTH(chain_of_one_direction_is_valid),
		BOTH(looking_takes_nothing_and_a_walk_goes_on),
		BOTH(walk_ends_after_a_whole_ring),
		BOTH(buffer_over_two_regions_becomes_two_segments),
		BOTH(buffer_over_two_regions_fits_a_table_of_one_entry),
		BOTH(table_that_crosses_regions_is_read_whole),
		BOTH(table_at_an_odd_address_is_read_whole),
		BOTH(table_of_1024_entries_is_the_largest),
		BOTH(chain_of_1025_segments_breaks_the_ring),
		BOTH(chain_that_does_not_fit_stays_where_it_is),
		BOTH(direct_descriptors_may_precede_a_table),
		BOTH(malformed_chains_break_the_ring),
		BOTH(nested_table_breaks_the_ring),
		BOTH(table_that_was_not_negotiated_breaks_the_ring),
		BOTH(ring_and_used_areas_may_be_buffers),
		SPLIT(split_index_that_jumps_breaks_the_ring),
		SPLIT(split_head_outside_the_table_breaks_the_ring),
		SPLIT(split_next_outside_the_table_breaks_the_ring),
		SPLIT(split_loops_end),
		SPLIT(split_loop_in_a_table_ends),
		SPLIT(split_next_outside_a_table_breaks_the_ring),
		SPLIT(split_table_is_read_in_the_order_of_its_links),
		SPLIT(split_positions_wrap_at_65536),
		PACKED(packed_descriptor_of_the_wrong_lap_is_not_available),
		PACKED(packed_chain_goes_on_behind_the_end_of_the_ring),
		PACKED(packed_id_is_that_of_the_last_descriptor),
		PACKED(packed_id_outside_the_ring_breaks_it),
		PACKED(packed_chain_longer_than_the_ring_breaks_it),
		PACKED(packed_table_is_read_as_listed),
		PACKED(packed_ring_of_any_size_wraps_at_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
