/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * A translation is missing at every place where one is looked up, of chains of every layout: each
 * frame is moved exactly once, in order, and nothing of the one that waits is seen before it moves.
 */

#include <stdlib.h>
#include <string.h>

#include "net_rig.h"

#define HEADER 12
#define WRITE VRING_DESC_F_WRITE
#define NEXT VRING_DESC_F_NEXT
#define PAGE 4096u
#define USER UINT64_C(0x7f0000000000)
/* I/O virtual address of guest address 0. */
#define IOVA UINT64_C(0x500000000)

#define FRAMES 12
#define SIZE   37     /* of the packed ring; each frame has three descriptors at most */
#define START  30     /* the packed ring is passed in mid-burst */
#define SHORT  300    /* bytes of most frames */
#define LONG   5000   /* of those over several mbufs or several buffers */
#define PAGES  (FRAMES * 4)

enum layout {
	ONE,       /* a descriptor */
	CHAIN,     /* one of the header, one of the frame */
	CROSSING,  /* a descriptor over the end of a page */
	INDIRECT,  /* a table with the two of a chain */
	LARGE,     /* received: several mbufs; transmitted: mergeable, three buffers of ONE */
	LAYOUTS,
	MIXED = LAYOUTS, /* one after the other */
	RUNS,            /* three of each */
	CHOICES
};

struct setup {
	bool packed, in_order, transmit;
	unsigned int choice;
	/* The one page that is not known from the beginning; PAGES: none is. */
	unsigned int missing;
};

/* What the frames lie in. */
struct state {
	struct setup setup;
	struct rig *rig;
	bool known[PAGES];
	unsigned int done;
	struct rte_mbuf *packets[FRAMES];
};

static struct vhu_region regions[2];
static struct vhu_region *by_user[2] = { &regions[0], &regions[1] };

static enum layout
layout_of(const struct setup *setup, unsigned int frame)
{
	if (setup->choice == MIXED)
		return (enum layout)(frame % LAYOUTS);
	if (setup->choice == RUNS)
		return (enum layout)(frame / 3 % LAYOUTS);
	return (enum layout)setup->choice;
}

static uint32_t
size_of(const struct setup *setup, unsigned int frame)
{
	return layout_of(setup, frame) == LARGE ? LONG : SHORT;
}

/* Guest address of a page, four of which each frame has. */
static uint64_t
page_of(unsigned int page)
{
	return rig_slot(0) + (uint64_t)page * PAGE;
}

/* Which pages a frame is in. @return a bit for each of its four. */
static unsigned int
pages_needed(const struct setup *setup, unsigned int frame)
{
	static const unsigned int received[] = { 1, 3, 3, 7, 3 };
	static const unsigned int transmitted[] = { 1, 3, 3, 7, 7 };

	return (setup->transmit ? transmitted : received)[layout_of(setup, frame)];
}

/* The pieces of guest memory that hold header and frame. @return how many there are. */
static unsigned int
pieces_of(const struct setup *setup, unsigned int frame, struct rig_piece *pieces)
{
	uint64_t page = page_of(4 * frame);
	uint32_t size = size_of(setup, frame);
	uint16_t flags = setup->transmit ? WRITE : 0;
	unsigned int i;

	switch (layout_of(setup, frame)) {
	case ONE:
		pieces[0] = (struct rig_piece){ page, HEADER + size, flags };
		return 1;
	case CROSSING:
		pieces[0] = (struct rig_piece){ page + PAGE - 50, HEADER + size, flags };
		return 1;
	case LARGE:
		if (!setup->transmit) {
			pieces[0] = (struct rig_piece){ page, HEADER + size, flags };
			return 1;
		}
		for (i = 0; i < 3; i++)
			pieces[i] = (struct rig_piece){ page + i * PAGE, 2000, flags };
		return 3;
	default:
		pieces[0] = (struct rig_piece){ page, HEADER, flags };
		pieces[1] = (struct rig_piece){ page + PAGE, size, flags };
		return 2;
	}
}

/* Make a chain available at I/O virtual addresses. */
static void
add_chain(struct state *s, uint16_t id, const struct rig_piece *pieces, unsigned int count)
{
	struct rig_piece behind[3];
	unsigned int i;

	for (i = 0; i < count; i++) {
		behind[i] = pieces[i];
		behind[i].address += IOVA;
	}
	if (s->setup.packed) {
		rig_chain(s->rig, id, behind, count);
		return;
	}
	for (i = 0; i < count; i++)
		rig_descriptor(s->rig, (uint16_t)(id + i), behind[i].address, behind[i].size,
			behind[i].flags | (i + 1 < count ? NEXT : 0), (uint16_t)(id + i + 1));
	rig_available(s->rig, id);
}

/* Both formats agree about a table, but for the flags: those of packed rings have no NEXT. */
static void
add_indirect(struct state *s, unsigned int frame, const struct rig_piece *pieces)
{
	uint64_t place = page_of(4 * frame + 2);
	struct vring_desc *split = (struct vring_desc *)rig_host(s->rig, place);
	struct vring_packed_desc *packed = (struct vring_packed_desc *)split;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		if (s->setup.packed)
			packed[i] = (struct vring_packed_desc){
				IOVA + pieces[i].address, pieces[i].size, 0, pieces[i].flags };
		else
			split[i] = (struct vring_desc){ IOVA + pieces[i].address, pieces[i].size,
				pieces[i].flags | (i == 0 ? NEXT : 0), (uint16_t)(i + 1) };
	}
	add_chain(s, (uint16_t)(3 * frame), &(struct rig_piece){ place, 2 * sizeof(*split),
		VRING_DESC_F_INDIRECT }, 1);
}

static void
add_frame(struct state *s, unsigned int frame)
{
	struct rig_piece pieces[3];
	unsigned int i, count = pieces_of(&s->setup, frame, pieces);

	if (layout_of(&s->setup, frame) == INDIRECT)
		add_indirect(s, frame, pieces);
	else if (s->setup.transmit && layout_of(&s->setup, frame) == LARGE)
		for (i = 0; i < count; i++)
			add_chain(s, (uint16_t)(3 * frame + i), &pieces[i], 1);
	else
		add_chain(s, (uint16_t)(3 * frame), pieces, count);
}

/* Write header and frame into guest memory, or compare the frame with what is there. */
static bool
move_bytes(const struct state *s, unsigned int frame, bool write)
{
	uint32_t size = size_of(&s->setup, frame), at = 0, i;
	struct rig_piece pieces[3];
	unsigned int piece, count = pieces_of(&s->setup, frame, pieces);
	uint8_t data[HEADER + LONG] = { 0 };
	bool same = true;

	rig_pattern(data + HEADER, size, frame);
	for (piece = 0; piece < count; piece++) {
		uint8_t *host = rig_host(s->rig, pieces[piece].address);

		for (i = 0; i < pieces[piece].size && at < HEADER + size; i++, at++) {
			if (write)
				host[i] = data[at];
			else if (at >= HEADER && host[i] != data[at])
				same = false;
		}
	}
	return same;
}

static void
tell(struct state *s, unsigned int page)
{
	struct vhu_iotlb_entry *removed = NULL;
	uint64_t address = page_of(page);

	assert_int_equal(vhu_iotlb_update(s->rig->snapshot.space.iotlb, s->rig->map,
		&(struct vhu_translation){ IOVA + address, PAGE, USER + (address - RIG_BASE),
			VHU_READ | VHU_WRITE }, &removed).severity, VHU_ACCEPT);
	vhu_iotlb_release(removed);
	s->known[page] = true;
}

static void
begin(struct state *s)
{
	uint64_t features = VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC) |
		VHU_BIT(VIRTIO_NET_F_MRG_RXBUF) |
		(s->setup.in_order ? VHU_BIT(VHU_F_IN_ORDER) : 0);
	uint16_t index = s->setup.transmit ? 0 : 1;
	unsigned int i;

	s->rig = s->setup.packed ? rig_new_packed(index, features, SIZE) :
		rig_new(index, features);
	for (i = 0; i < 2; i++)
		regions[i] = (struct vhu_region){
			.guest_address = RIG_BASE + i * RIG_REGION, .size = RIG_REGION,
			.user_address = USER + i * RIG_REGION, .host = s->rig->region[i],
		};
	s->rig->map->by_guest = by_user;
	s->rig->map->by_user = by_user;
	s->rig->snapshot.space.iotlb = vhu_iotlb_new();
	assert_non_null(s->rig->snapshot.space.iotlb);
	if (s->setup.packed)
		rig_start_packed_at(s->rig, START, true, START, true);
	else
		rig_start_at(s->rig, UINT16_MAX - FRAMES / 2);
	for (i = 0; i < FRAMES; i++) {
		if (s->setup.transmit)
			s->packets[i] = rig_mbuf(s->rig, size_of(&s->setup, i), 1500, i);
		else
			move_bytes(s, i, true);
		add_frame(s, i);
	}
	for (i = 0; i < PAGES; i++)
		if (s->setup.missing != PAGES && s->setup.missing != i)
			tell(s, i);
}

/* The next buffer that the driver gets back. */
static void
expect_used(struct state *s, uint16_t slots, uint16_t id, uint32_t length, uint16_t *position)
{
	const struct vring_used_elem *used;

	if (s->setup.packed) {
		rig_expect_used(s->rig, slots, id, length);
		return;
	}
	used = &s->rig->used->ring[(*position)++ % RIG_SIZE];
	assert_int_equal(used->id, id);
	assert_int_equal(used->len, length);
}

static unsigned int
slots_of(const struct state *s, unsigned int frame)
{
	return layout_of(&s->setup, frame) == CHAIN ? 2 : 1;
}

/* The driver sees these frames, and no others, for the first time. */
static void
expect_frames(struct state *s, unsigned int count, uint16_t position)
{
	const uint16_t first = position, last = (uint16_t)(3 * (s->done + count - 1));
	uint16_t slots = 0, entries = 0;
	unsigned int i, part;

	for (i = s->done; i < s->done + count; i++) {
		bool merged = s->setup.transmit && layout_of(&s->setup, i) == LARGE;
		uint32_t left = s->setup.transmit ? HEADER + size_of(&s->setup, i) : 0;

		for (part = 0; part < (merged ? 3 : 1); part++) {
			uint32_t length = merged && left > 2000 ? 2000 : left;

			left -= length;
			entries++;
			slots += slots_of(s, i);
			if (s->setup.transmit || !s->setup.in_order)
				expect_used(s, (uint16_t)slots_of(s, i), (uint16_t)(3 * i + part),
					length, &position);
		}
		if (s->setup.transmit) {
			assert_true(move_bytes(s, i, false));
			continue;
		}
		assert_true(rig_packet_matches(s->packets[i], size_of(&s->setup, i), i));
		rte_pktmbuf_free(s->packets[i]);
	}
	/* Received buffers come back in one entry that names the last. */
	if (count != 0 && s->setup.in_order && !s->setup.transmit)
		expect_used(s, slots, last, 0, &position);
	if (!s->setup.packed)
		assert_int_equal(s->rig->used->idx, (uint16_t)(first + entries));
}

/* A burst over what is left. */
static unsigned int
burst(struct state *s)
{
	uint16_t left = (uint16_t)(FRAMES - s->done);
	uint16_t position = s->setup.packed ? 0 : s->rig->used->idx;
	unsigned int count = s->setup.transmit ?
		vhu_tx_burst(s->rig->queue, &s->packets[s->done], left) :
		vhu_rx_burst(s->rig->queue, &s->packets[s->done], 32);

	assert_in_range(count, 0, left);
	expect_frames(s, count, position);
	s->done += count;
	return count;
}

/* How many frames come before the first that needs a page which is not known. */
static unsigned int
ready(const struct state *s)
{
	unsigned int frame, page;

	for (frame = s->done; frame < FRAMES; frame++)
		for (page = 0; page < 4; page++)
			if ((pages_needed(&s->setup, frame) >> page & 1) &&
			    !s->known[4 * frame + page])
				return frame - s->done;
	return FRAMES - s->done;
}

static void
answer(struct state *s)
{
	uint64_t miss = atomic_exchange(&s->rig->queue->ring.miss, 0);
	uint64_t page = ((miss & ~UINT64_C(0xfff)) - IOVA - page_of(0)) / PAGE;

	assert_in_range(page, 4 * s->done, 4 * s->done + 3);
	assert_false(s->known[page]);
	tell(s, (unsigned int)page);
}

static void
run(struct setup setup)
{
	struct state *s = calloc(1, sizeof(*s));
	unsigned int bursts = 0;

	assert_non_null(s);
	s->setup = setup;
	begin(s);
	while (s->done < FRAMES) {
		unsigned int wanted = ready(s);

		assert_int_equal(burst(s), wanted);
		assert_in_range(++bursts, 1, PAGES + 1);
		if (s->done == FRAMES)
			break;
		/* Whoever polls on meanwhile gets nothing. */
		assert_int_equal(burst(s), 0);
		answer(s);
	}
	assert_int_equal(burst(s), 0);
	assert_int_equal(atomic_load(&s->rig->queue->ring.miss), 0);
	assert_int_equal(rig_broken(s->rig), VHU_BROKEN_NO);
	vhu_iotlb_free(s->rig->snapshot.space.iotlb);
	rig_free(s->rig);
	free(s);
}

/* Every choice of layouts, and every page that may be missing. */
static void
run_all(bool packed, bool in_order, bool transmit)
{
	struct setup setup = { .packed = packed, .in_order = in_order, .transmit = transmit };

	for (setup.choice = 0; setup.choice < CHOICES; setup.choice++)
		for (setup.missing = 0; setup.missing <= PAGES; setup.missing++)
			run(setup);
}

static void
split_receive(void **state)
{
	(void)state;
	run_all(false, false, false);
}

static void
split_in_order_receive(void **state)
{
	(void)state;
	run_all(false, true, false);
}

static void
packed_receive(void **state)
{
	(void)state;
	run_all(true, false, false);
}

static void
packed_in_order_receive(void **state)
{
	(void)state;
	run_all(true, true, false);
}

static void
split_transmit(void **state)
{
	(void)state;
	run_all(false, false, true);
}

static void
split_in_order_transmit(void **state)
{
	(void)state;
	run_all(false, true, true);
}

static void
packed_transmit(void **state)
{
	(void)state;
	run_all(true, false, true);
}

static void
packed_in_order_transmit(void **state)
{
	(void)state;
	run_all(true, true, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_receive),
		cmocka_unit_test(split_in_order_receive),
		cmocka_unit_test(packed_receive),
		cmocka_unit_test(packed_in_order_receive),
		cmocka_unit_test(split_transmit),
		cmocka_unit_test(split_in_order_transmit),
		cmocka_unit_test(packed_transmit),
		cmocka_unit_test(packed_in_order_transmit),
	};

	return cmocka_run_group_tests(tests, rig_group_setup, NULL);
}
