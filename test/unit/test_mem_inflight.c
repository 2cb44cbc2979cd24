/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

#include "mem/inflight.h"

#define SIZE 8
#define CAPACITY 16

/* An area and everything that a recovery needs. */
static union {
	struct vhu_inflight_split split;
	struct vhu_inflight_packed packed;
	uint8_t bytes[1024];
} area;
static struct vring_packed_desc ring[SIZE];
static struct vhu_inflight_chain chains[SIZE];
static struct vhu_inflight_copy copies[SIZE];
static uint16_t next[SIZE];
static struct vhu_inflight_state state;

static int
begin(void **unused)
{
	(void)unused;
	memset(&area, 0, sizeof(area));
	memset(ring, 0, sizeof(ring));
	state = (struct vhu_inflight_state){
		.used_wrap = true, .chains = chains, .copies = copies, .free.next = next,
	};
	return 0;
}

static void
recover_split(uint16_t used_idx)
{
	state.next_used = used_idx;
	vhu_inflight_split_recover(&area.split, SIZE, CAPACITY, &state);
}

static void
recover_packed(void)
{
	vhu_inflight_packed_recover(&area.packed, SIZE, CAPACITY, ring, &state);
}

static void
layout_is_the_specifications(void **unused)
{
	(void)unused;
	assert_int_equal(sizeof(struct vhu_inflight_split_entry), 16);
	assert_int_equal(offsetof(struct vhu_inflight_split, entries), 16);
	assert_int_equal(offsetof(struct vhu_inflight_split_entry, next), 6);
	assert_int_equal(offsetof(struct vhu_inflight_split_entry, counter), 8);
	assert_int_equal(sizeof(struct vhu_inflight_packed_entry), 32);
	assert_int_equal(offsetof(struct vhu_inflight_packed, entries), 32);
	assert_int_equal(offsetof(struct vhu_inflight_packed, used_wrap), 20);
	assert_int_equal(offsetof(struct vhu_inflight_packed_entry, counter), 8);
	assert_int_equal(offsetof(struct vhu_inflight_packed_entry, address), 24);
}

/* Sizes that other back-ends compute for the same rings. */
static void
stride_is_that_of_other_back_ends(void **unused)
{
	(void)unused;
	assert_int_equal(vhu_inflight_stride(false, 128), 2112);
	assert_int_equal(vhu_inflight_stride(false, 1), 64);
	assert_int_equal(vhu_inflight_stride(true, 128), 4160);
	assert_int_equal(vhu_inflight_stride(true, 1), 64);
	assert_int_equal(vhu_inflight_stride(true, 32768), 1048640);
}

static void
file_is_sealed_and_empty(void **unused)
{
	unsigned int fds = unit_open_fds(), i;
	uint64_t bytes;
	uint8_t *seen;
	int fd;

	(void)unused;
	bytes = vhu_inflight_create(false, 3, 128, &fd);
	assert_int_equal(bytes, 3 * 2112);
	assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	assert_int_equal(ftruncate(fd, 0), -1);
	seen = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	for (i = 0; i < bytes; i++)
		assert_int_equal(seen[i], 0);
	munmap(seen, bytes);
	close(fd);
	assert_int_equal(unit_open_fds(), fds);
}

static struct vhu_verdict
attach(uint64_t size, uint64_t offset, uint16_t rings, uint16_t ring_size, int fd)
{
	const struct vhu_wire_inflight wire = { size, offset, rings, ring_size, 0 };
	struct vhu_inflight_area *attached = NULL;
	struct vhu_verdict verdict = vhu_inflight_attach(&wire, fd, false, 4, &attached);

	assert_true((attached != NULL) == (verdict.severity == VHU_ACCEPT));
	if (attached != NULL && offset == 0) {
		assert_null(vhu_inflight_part(attached, false, rings, 1));
		assert_null(vhu_inflight_part(attached, false, 0, (uint16_t)(ring_size + 1)));
		assert_ptr_equal(vhu_inflight_part(attached, false, 1, 1), attached->base +
			vhu_inflight_stride(false, ring_size));
		/* Attached before the format was known: the larger parts do not fit. */
		assert_null(vhu_inflight_part(attached, true, (uint16_t)(rings - 1), ring_size));
	}
	vhu_inflight_drop(attached);
	return verdict;
}

static void
area_is_attached_only_if_every_byte_is_there(void **unused)
{
	const uint64_t size = 2 * 2112;
	int fd, other;

	(void)unused;
	assert_int_equal(vhu_inflight_create(false, 2, 128, &fd), size);
	assert_int_equal(attach(size, 0, 2, 128, fd).severity, VHU_ACCEPT);
	assert_int_equal(attach(2112, 2112, 1, 128, fd).severity, VHU_ACCEPT);
	assert_int_equal(attach(size - 1, 0, 2, 128, fd).severity, VHU_REFUSE_FAULT);
	assert_int_equal(attach(size, 0, 5, 8, fd).severity, VHU_REFUSE_FAULT);
	assert_int_equal(attach(size, 0, 0, 128, fd).severity, VHU_REFUSE_FAULT);
	assert_int_equal(attach(size, 0, 2, 0, fd).severity, VHU_REFUSE_FAULT);
	assert_int_equal(attach(UINT64_C(1) << 40, 0, 2, 32769, fd).severity, VHU_REFUSE_FAULT);
	assert_int_equal(attach(size, 64, 2, 128, fd).severity, VHU_REFUSE_FAULT);
	assert_int_equal(attach(2112, 1, 1, 128, fd).severity, VHU_REFUSE_FAULT);
	assert_int_equal(attach(size, UINT64_MAX - 63, 2, 128, fd).severity, VHU_REFUSE_FAULT);
	assert_int_equal(attach(UINT64_MAX, 0, 2, 128, fd).severity, VHU_REFUSE_FAULT);
	close(fd);
	other = open("/dev/zero", O_RDWR | O_CLOEXEC);
	assert_int_equal(attach(size, 0, 2, 128, other).severity, VHU_REFUSE_FAULT);
	close(other);
}

static void
fresh_split_area_agrees_with_the_ring(void **unused)
{
	(void)unused;
	recover_split(0xfffe);
	assert_int_equal(state.count, 0);
	assert_int_equal(state.next_avail, 0xfffe);
	assert_int_equal(area.split.version, 1);
	assert_int_equal(area.split.size, CAPACITY);
	assert_int_equal(area.split.used_idx, 0xfffe);
	/* So the next recovery finds no batch, and clears nothing. */
	vhu_inflight_split_take(&area.split, 0, 0);
	recover_split(0xfffe);
	assert_int_equal(state.count, 1);
	assert_int_equal(state.chains[0].head, 0);
}

static void
split_chains_are_done_again_in_the_order_taken(void **unused)
{
	(void)unused;
	recover_split(10);
	vhu_inflight_split_take(&area.split, 5, 100);
	vhu_inflight_split_take(&area.split, 1, 102);
	vhu_inflight_split_take(&area.split, 7, 101);
	recover_split(10);
	assert_int_equal(state.count, 3);
	assert_int_equal(chains[0].head, 5);
	assert_int_equal(chains[1].head, 7);
	assert_int_equal(chains[2].head, 1);
	assert_int_equal(state.next_avail, 13);
	assert_int_equal(state.counter, 103);
}

static void
split_batch_that_was_shown_is_done(void **unused)
{
	(void)unused;
	recover_split(0);
	vhu_inflight_split_take(&area.split, 5, 0);
	vhu_inflight_split_take(&area.split, 1, 1);
	vhu_inflight_split_take(&area.split, 7, 2);
	vhu_inflight_split_link(&area.split, 7, 0);
	vhu_inflight_split_link(&area.split, 5, 7);
	/* Not shown: all three again. */
	recover_split(0);
	assert_int_equal(state.count, 3);
	/* Shown, and the process died before it cleared the marks. */
	recover_split(2);
	assert_int_equal(state.count, 1);
	assert_int_equal(chains[0].head, 1);
	assert_int_equal(area.split.used_idx, 2);
}

static void
fresh_packed_area_has_all_entries_free(void **unused)
{
	uint16_t at, count = 0;

	(void)unused;
	state.next_used = 3;
	recover_packed();
	assert_int_equal(state.next_avail, 3);
	assert_true(state.avail_wrap);
	assert_int_equal(area.packed.version, 1);
	assert_int_equal(area.packed.old_used_idx, 3);
	for (at = area.packed.free_head; at < SIZE; at = area.packed.entries[at].next)
		count++;
	assert_int_equal(count, SIZE);
	assert_int_equal(area.packed.free_head, area.packed.old_free_head);
}

/* Take a chain of so many descriptors. */
static struct vhu_inflight_place
take_packed(uint16_t id, uint16_t count, uint64_t counter)
{
	struct vhu_inflight_place place = { 0 };
	uint16_t i;

	for (i = 0; i < count; i++) {
		const struct vhu_inflight_copy copy = { 0x1000u * i, 100u + i, id,
			i + 1 < count ? VRING_DESC_F_NEXT : 0 };

		vhu_inflight_packed_add(&area.packed, &state.free, &place, &copy);
	}
	vhu_inflight_packed_take(&area.packed, &state.free, &place, counter);
	return place;
}

static void
packed_chains_come_back_with_their_descriptors(void **unused)
{
	(void)unused;
	recover_packed();
	take_packed(5, 3, 1);
	take_packed(2, 2, 0);
	memset(copies, 0xee, sizeof(copies));
	recover_packed();
	assert_int_equal(state.count, 2);
	assert_int_equal(chains[0].id, 2);
	assert_int_equal(chains[0].place.count, 2);
	assert_int_equal(chains[1].id, 5);
	assert_int_equal(copies[chains[1].copy + 2].address, 0x2000);
	assert_int_equal(copies[chains[1].copy + 2].length, 102);
	assert_int_equal(copies[chains[1].copy].flags, VRING_DESC_F_NEXT);
	assert_int_equal(state.next_avail, 5);
	assert_true(state.avail_wrap);
	/* What is left is free. */
	take_packed(7, 3, 2);
	recover_packed();
	assert_int_equal(state.count, 3);
	assert_int_equal(state.next_avail, 0);
	assert_false(state.avail_wrap);
}

static void
packed_batch_counts_as_the_ring_shows_it(void **unused)
{
	struct vhu_inflight_place place;

	(void)unused;
	recover_packed();
	place = take_packed(5, 3, 0);
	take_packed(6, 1, 1);
	vhu_inflight_packed_link(&area.packed, &state.free, &place);
	vhu_inflight_packed_begin(&area, 3, true);
	/* Not shown. */
	ring[0].flags = 1 << VRING_PACKED_DESC_F_AVAIL;
	recover_packed();
	assert_int_equal(state.count, 2);
	assert_int_equal(state.next_used, 0);
	/* The same again, and shown. */
	place = chains[0].place;
	vhu_inflight_packed_link(&area.packed, &state.free, &place);
	vhu_inflight_packed_begin(&area, 3, true);
	ring[0].flags = 1 << VRING_PACKED_DESC_F_AVAIL | 1 << VRING_PACKED_DESC_F_USED;
	recover_packed();
	assert_int_equal(state.count, 1);
	assert_int_equal(chains[0].id, 6);
	assert_int_equal(state.next_used, 3);
	assert_int_equal(state.next_avail, 4);
}

static void
resume_forgets_what_was_in_flight(void **unused)
{
	(void)unused;
	recover_split(4);
	vhu_inflight_split_take(&area.split, 5, 0);
	state.next_used = 4;
	vhu_inflight_split_resume(&area.split, CAPACITY, &state);
	assert_int_equal(state.next_avail, 4);
	recover_split(4);
	assert_int_equal(state.count, 0);

	memset(&area, 0, sizeof(area));
	state.next_used = 0;
	recover_packed();
	take_packed(5, 3, 1);
	vhu_inflight_packed_begin(&area, 2, false);
	vhu_inflight_packed_end(&area, 2, false);
	/* The area knows better than the front-end. */
	state.next_used = 0;
	vhu_inflight_packed_resume(&area.packed, SIZE, CAPACITY, ring, &state);
	assert_int_equal(state.next_avail, 2);
	assert_false(state.avail_wrap);
	recover_packed();
	assert_int_equal(state.count, 0);
	assert_int_equal(state.next_used, 2);
}

static void
foreign_area_is_begun_anew(void **unused)
{
	(void)unused;
	memset(area.bytes, 0xff, sizeof(area.bytes));
	recover_split(3);
	assert_int_equal(state.count, 0);
	assert_int_equal(area.split.used_idx, 3);
	/* Too few entries for the ring. */
	area.split.size = SIZE - 1;
	area.split.entries[0].inflight = 1;
	recover_split(3);
	assert_int_equal(state.count, 0);

	begin(NULL);
	area.packed.version = 7;
	area.packed.entries[1].inflight = 1;
	recover_packed();
	assert_int_equal(state.count, 0);
	area.packed.old_used_idx = SIZE;
	area.packed.entries[1].inflight = 1;
	recover_packed();
	assert_int_equal(state.count, 0);
	assert_int_equal(area.packed.old_used_idx, 0);
}

static void
split_batch_that_makes_no_sense_ends(void **unused)
{
	unsigned int i;

	(void)unused;
	recover_split(0);
	for (i = 0; i < SIZE; i++) {
		area.split.entries[i].inflight = i % 2 ? 1 : 2;
		area.split.entries[i].next = 0xffff;
	}
	area.split.last_batch_head = 0xffff;
	recover_split(5);
	/* Nothing was cleared, and only 1 means in flight. */
	assert_int_equal(state.count, SIZE / 2);
	area.split.last_batch_head = 1;
	area.split.entries[1].next = 1;
	recover_split(10);
	assert_int_equal(state.count, SIZE / 2 - 1);
}

/* Whatever the bytes are: at most a ring's worth of work, and every index inside its array. */
static void
random_areas_are_bounded(void **unused)
{
	unsigned int round, i, slots;

	(void)unused;
	srandom(1);
	for (round = 0; round < 20000; round++) {
		for (i = 0; i < sizeof(area.bytes); i++)
			area.bytes[i] = (uint8_t)(random() % 4 ? random() % SIZE : random());
		for (i = 0; i < SIZE; i++)
			area.packed.entries[i].inflight = random() % 2;
		for (i = 0; i < SIZE; i++)
			ring[i].flags = (uint16_t)random();
		if (round % 2) {
			area.split.version = 1;
			recover_split((uint16_t)random());
			assert_true(state.count <= SIZE);
			for (i = 0; i < state.count; i++)
				assert_true(chains[i].head < SIZE);
			continue;
		}
		area.packed.version = 1;
		area.packed.size = SIZE;
		state.next_used = 0;
		recover_packed();
		slots = 0;
		for (i = 0; i < state.count; i++) {
			assert_true(chains[i].id < SIZE);
			assert_true(chains[i].place.first < SIZE && chains[i].place.last < SIZE);
			assert_int_equal(chains[i].copy <= SIZE - chains[i].place.count, true);
			slots += chains[i].place.count;
		}
		assert_true(slots <= SIZE);
		assert_true(state.next_avail < SIZE && state.next_used < SIZE);
		/* All other entries are in the free list, once. */
		for (i = state.free.head; i < SIZE; i = next[i])
			slots++;
		assert_int_equal(slots, SIZE);
	}
}

#define TEST(test) cmocka_unit_test_setup(test, begin)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(layout_is_the_specifications),
		TEST(stride_is_that_of_other_back_ends),
		TEST(file_is_sealed_and_empty),
		TEST(area_is_attached_only_if_every_byte_is_there),
		TEST(fresh_split_area_agrees_with_the_ring),
		TEST(split_chains_are_done_again_in_the_order_taken),
		TEST(split_batch_that_was_shown_is_done),
		TEST(fresh_packed_area_has_all_entries_free),
		TEST(packed_chains_come_back_with_their_descriptors),
		TEST(packed_batch_counts_as_the_ring_shows_it),
		TEST(resume_forgets_what_was_in_flight),
		TEST(foreign_area_is_begun_anew),
		TEST(split_batch_that_makes_no_sense_ends),
		TEST(random_areas_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
