/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Random steps of a driver and a device, on one side with the element queue and a ring, on the
 * other with lists. Whatever the order of steps, both must agree about what is taken, what comes
 * back, and where a successor goes on.
 */

#include "ring_rig.h"

#include "ring/element.h"

#define SIZE 64
#define PARTS 4              /* descriptors that a chain has at most */
#define IDS (SIZE / PARTS)
#define STEPS 20000

/* A chain, as both sides know it. */
struct entry {
	uint16_t id;
	uint16_t readable, writable; /* descriptors */
	uint16_t slots;
	uint32_t written;
	bool back;                   /* given back, not flushed */
	unsigned int position;       /* how many were taken before it */
	struct vhu_element element;
	struct iovec segments[PARTS];
};

struct list {
	struct entry entries[IDS];
	unsigned int count;
};

static struct list offered, taken, used, given; /* given: in the order of giving back */
static struct vhu_element_queue queue;
static void *memory;
static uint8_t area[PARTS * 1024] __attribute__((aligned(64)));
static bool id_free[IDS];
static unsigned int free_slots;
static unsigned int takes;           /* and not put back */
static uint16_t driver_used;         /* split: index; packed: descriptor */
static bool driver_wrap;

static void
append(struct list *list, const struct entry *entry)
{
	assert_true(list->count < IDS);
	list->entries[list->count++] = *entry;
}

static void
remove_at(struct list *list, unsigned int i)
{
	memmove(&list->entries[i], &list->entries[i + 1],
		(list->count - i - 1) * sizeof(list->entries[0]));
	list->count--;
}

static void
start(struct vhu_walk avail, struct vhu_walk ring_used)
{
	vhu_element_queue_start(&queue, memory, &rig.snapshot, SIZE, &avail, &ring_used);
	vhu_ring_reset(&queue.ring, avail.next, ring_used.next);
	if (rig_packed())
		vhu_ring_set_wraps(&queue.ring, avail.wrap, ring_used.wrap);
}

static int
begin(enum vhu_ring_format format, bool in_order)
{
	unsigned int i;

	rig_begin(format, SIZE);
	memset(area, 0, sizeof(area));
	rig.snapshot.inflight = area;
	rig.snapshot.in_order = in_order;
	vhu_element_queue_init(&queue);
	rig.ring = &queue.ring;
	memory = malloc(vhu_element_queue_memory(SIZE));
	start((struct vhu_walk){ 0, true }, (struct vhu_walk){ 0, true });
	offered.count = taken.count = used.count = given.count = 0;
	for (i = 0; i < IDS; i++)
		id_free[i] = true;
	free_slots = SIZE;
	takes = 0;
	driver_used = 0;
	driver_wrap = true;
	srandom(7);
	return 0;
}

/* Where a descriptor of a chain points to: never the same for two that are out. */
static uint64_t
buffer_of(uint16_t id, unsigned int part)
{
	return RIG_DATA + id * 4096u + part * 64u;
}

static void
driver_offers(void)
{
	unsigned int id = (unsigned int)random() % IDS, i;
	struct entry e = { .id = (uint16_t)(rig_packed() ? id : id * PARTS) };
	struct rig_buffer buffers[PARTS];
	unsigned int parts = 1 + (unsigned int)random() % PARTS;
	bool table = random() % 4 == 0;

	e.slots = rig_packed() && !table ? (uint16_t)parts : 1;
	if (!id_free[id] || (rig_packed() && e.slots > free_slots))
		return;
	e.readable = (uint16_t)((unsigned int)random() % (parts + 1));
	e.writable = (uint16_t)(parts - e.readable);
	for (i = 0; i < parts; i++)
		buffers[i] = (struct rig_buffer){ buffer_of(e.id, i), 1 + i,
			(uint16_t)((i < e.readable ? 0 : RIG_W) | (i + 1 < parts ? RIG_N : 0)),
			(uint16_t)(table ? i + 1 : e.id + i + 1) };
	if (table) {
		for (i = 0; i < parts; i++)
			rig_table(RIG_TABLE + e.id * 64u, i, buffers[i]);
		buffers[0] = (struct rig_buffer){ RIG_TABLE + e.id * 64u, 16 * parts, RIG_I, 0 };
		parts = 1;
	}
	rig_offer(buffers, parts, e.id);
	id_free[id] = false;
	if (rig_packed())
		free_slots -= e.slots;
	append(&offered, &e);
}

static void
check_element(const struct entry *e)
{
	const struct vhu_chain *chain = &e->element.chain;
	unsigned int i;

	assert_int_equal(chain->id, e->id);
	assert_int_equal(chain->slots, e->slots);
	assert_int_equal(chain->readable, e->readable);
	assert_int_equal(chain->writable, e->writable);
	for (i = 0; i < (unsigned int)e->readable + e->writable; i++) {
		assert_ptr_equal(e->segments[i].iov_base, rig_host(buffer_of(e->id, i)));
		assert_int_equal(e->segments[i].iov_len, 1 + i);
	}
}

static void
device_takes(void)
{
	static struct vhu_element elements[IDS];
	uint16_t count = (uint16_t)(1 + random() % IDS), n, i;

	n = vhu_elements_take(&queue, &rig.snapshot, elements, count, rig.segments,
		VHU_SEGMENTS_MAX);
	assert_int_equal(n, count < offered.count ? count : offered.count);
	for (i = 0; i < n; i++) {
		struct entry e = offered.entries[0];

		remove_at(&offered, 0);
		e.element = elements[i];
		memcpy(e.segments, elements[i].segments, sizeof(e.segments));
		e.position = takes++;
		append(&taken, &e);
		check_element(&taken.entries[taken.count - 1]);
	}
}

static void
device_gives_back(void)
{
	struct entry *e;

	if (taken.count == 0)
		return;
	e = &taken.entries[(unsigned int)random() % taken.count];
	e->element.segments = e->segments;
	assert_int_equal(vhu_elements_give(&queue, &rig.snapshot, &e->element, e->written),
		!e->back);
	if (e->back)
		return;
	e->back = true;
	append(&given, e);
}

static unsigned int
taken_index(uint16_t id)
{
	unsigned int i;

	for (i = 0; i < taken.count && taken.entries[i].id != id; i++)
		;
	assert_true(i < taken.count);
	return i;
}

static void
device_flushes(void)
{
	uint16_t count = (uint16_t)(random() % 3 ? UINT16_MAX : random() % 4);
	const struct list *order = rig.snapshot.in_order ? &taken : &given;
	uint16_t expected = 0, i;

	while (expected < count && expected < order->count && order->entries[expected].back)
		expected++;
	assert_int_equal(vhu_elements_flush(&queue, &rig.snapshot, count), expected);
	for (i = 0; i < expected; i++) {
		struct entry e = order->entries[0];
		unsigned int j;

		remove_at(&taken, taken_index(e.id));
		for (j = 0; given.entries[j].id != e.id; j++)
			;
		remove_at(&given, j);
		append(&used, &e);
	}
}

static void
device_puts_back(void)
{
	uint16_t count = (uint16_t)(random() % 4), i;
	bool possible = count <= taken.count;

	/* All that were taken last are still out. */
	for (i = 1; possible && i <= count; i++)
		possible = !taken.entries[taken.count - i].back &&
			taken.entries[taken.count - i].position == takes - i;
	assert_int_equal(vhu_elements_untake(&queue, &rig.snapshot, count), possible);
	for (i = 0; possible && i < count; i++) {
		/* The last one taken is the first of what waits. */
		memmove(&offered.entries[1], &offered.entries[0],
			offered.count * sizeof(offered.entries[0]));
		offered.entries[0] = taken.entries[--taken.count];
		offered.count++;
		takes--;
	}
}

/* The next used entry. @return false if there is none. */
static bool
driver_sees(uint16_t *id)
{
	const struct vring_packed_desc *d = &rig.snapshot.packed[driver_used];

	if (!rig_packed()) {
		*id = (uint16_t)rig_used()->ring[driver_used % SIZE].id;
		return rig_used()->idx != driver_used;
	}
	*id = d->id;
	return (d->flags >> 7 & 1) == driver_wrap && (d->flags >> 15 & 1) == driver_wrap;
}

static void
driver_collects(void)
{
	uint16_t id;

	while (driver_sees(&id)) {
		assert_true(used.count != 0);
		assert_int_equal(id, used.entries[0].id);
		if (rig_packed()) {
			free_slots += used.entries[0].slots;
			vhu_packed_advance(&driver_used, &driver_wrap, used.entries[0].slots, SIZE);
		} else {
			driver_used++;
		}
		id_free[rig_packed() ? id : id / PARTS] = true;
		remove_at(&used, 0);
	}
	assert_int_equal(used.count, 0);
}

/* The device dies, and a successor begins: what was taken waits again, in its order. */
static void
device_dies(void)
{
	struct vhu_walk at = { 0, true };
	unsigned int left = (unsigned int)(queue.again_count - queue.again_next), i;

	if (!rig_packed())
		at.next = rig_used()->idx;
	start(at, at);
	/* Some that it was to do again it may not have taken yet. */
	assert_int_equal(queue.again_count, taken.count + left);
	memmove(&offered.entries[taken.count], &offered.entries[0],
		offered.count * sizeof(offered.entries[0]));
	for (i = 0; i < taken.count; i++) {
		offered.entries[i] = taken.entries[i];
		offered.entries[i].back = false;
	}
	offered.count += taken.count;
	taken.count = 0;
	given.count = 0;
}

static void
both_sides_agree(void **state)
{
	unsigned int step;

	(void)state;
	for (step = 0; step < STEPS; step++) {
		long dice = random() % 100;

		if (dice < 35)
			driver_offers();
		else if (dice < 50)
			device_takes();
		else if (dice < 75)
			device_gives_back();
		else if (dice < 85)
			device_flushes();
		else if (dice < 89)
			device_puts_back();
		else if (dice < 98)
			driver_collects();
		else
			device_dies();
		assert_int_equal(queue.in_flight, taken.count);
		assert_int_equal(vhu_elements_waiting(&queue, &rig.snapshot), offered.count != 0);
		assert_int_equal(rig_broken(), VHU_BROKEN_NO);
	}
}

static int
begin_split(void **state)
{
	(void)state;
	return begin(VHU_SPLIT, false);
}

static int
begin_packed(void **state)
{
	(void)state;
	return begin(VHU_PACKED, false);
}

static int
begin_split_in_order(void **state)
{
	(void)state;
	return begin(VHU_SPLIT, true);
}

static int
begin_packed_in_order(void **state)
{
	(void)state;
	return begin(VHU_PACKED, true);
}

static int
end(void **state)
{
	(void)state;
	free(memory);
	rig_end();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		{ "both_sides_agree (split)", both_sides_agree, begin_split, end, NULL },
		{ "both_sides_agree (packed)", both_sides_agree, begin_packed, end, NULL },
		{ "both_sides_agree (split, in order)", both_sides_agree, begin_split_in_order, end,
			NULL },
		{ "both_sides_agree (packed, in order)", both_sides_agree, begin_packed_in_order,
			end, NULL },
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
