/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * A back-end may die between any two instructions. A child process runs one step of a device, and
 * this one goes through it instruction by instruction. Whenever shared memory has changed, a copy
 * of it is what a successor would find: it recovers, finishes all work, and the driver must then
 * have got back each chain exactly once.
 */

#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "ring_rig.h"

#include "ring/element.h"

#define SIZE 16
/* Chains that the driver offers in a test, with ids 0, 2, 4 ... */
#define OFFERED 5
#define SLOTS 2

/* All that survives a crash. */
struct shared {
	struct vring_packed_desc descriptors[SIZE];
	uint8_t avail[6 + 2 * SIZE] __attribute__((aligned(4)));
	uint8_t used[6 + 8 * SIZE] __attribute__((aligned(4)));
	uint8_t area[1024] __attribute__((aligned(64)));
};

static struct shared *shared;
static struct vhu_element_queue queue;
static void *memory;
static struct vhu_element elements[OFFERED];
static unsigned int points; /* states that were recovered from */

/* The ring in this copy of what is shared. */
static struct vhu_snapshot
snapshot_of(struct shared *at)
{
	struct vhu_snapshot snapshot = rig.snapshot;

	snapshot.packed = at->descriptors;
	snapshot.avail = (const void *)at->avail;
	snapshot.used = (void *)at->used;
	snapshot.inflight = at->area;
	snapshot.call_fd = -1;
	return snapshot;
}

static uint16_t
used_index(const struct shared *at)
{
	return ((const struct vring_used *)at->used)->idx;
}

/* Recover where the ring of a successor begins, and set it up. */
static void
start(struct vhu_element_queue *q, void *at_memory, struct shared *at)
{
	struct vhu_snapshot snapshot = snapshot_of(at);
	struct vhu_walk avail = { 0, true }, used = { 0, true };

	if (!rig_packed())
		used.next = avail.next = used_index(at);
	vhu_element_queue_start(q, at_memory, &snapshot, SIZE, &avail, &used);
	vhu_ring_reset(&q->ring, avail.next, used.next);
	if (rig_packed())
		vhu_ring_set_wraps(&q->ring, avail.wrap, used.wrap);
}

static int
begin(enum vhu_ring_format format)
{
	uint16_t i, j;

	rig_begin(format, SIZE);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		-1, 0);
	assert_ptr_not_equal(shared, MAP_FAILED);
	rig.snapshot = snapshot_of(shared);
	vhu_element_queue_init(&queue);
	memory = malloc(vhu_element_queue_memory(SIZE));
	start(&queue, memory, shared);
	for (i = 0; i < OFFERED; i++) {
		uint16_t id = (uint16_t)(SLOTS * i);
		const struct rig_buffer buffers[] = {
			{ RIG_DATA, 16, RIG_N, (uint16_t)(id + 1) }, { RIG_DATA, 16, RIG_W, 0 },
		};

		if (rig_packed()) {
			rig_offer_packed(buffers, SLOTS, id);
			continue;
		}
		for (j = 0; j < SLOTS; j++)
			((struct vring_desc *)shared->descriptors)[id + j] = (struct vring_desc){
				buffers[j].address, 16, buffers[j].flags, buffers[j].next };
		((struct vring_avail *)shared->avail)->ring[i] = id;
		((struct vring_avail *)shared->avail)->idx = (uint16_t)(i + 1);
	}
	points = 0;
	return 0;
}

static int
begin_split(void **state)
{
	(void)state;
	return begin(VHU_SPLIT);
}

static int
begin_packed(void **state)
{
	(void)state;
	return begin(VHU_PACKED);
}

static int
end(void **state)
{
	(void)state;
	munmap(shared, sizeof(*shared));
	free(memory);
	rig_end();
	return 0;
}

/* What the driver has got back, in order. @return how many */
static unsigned int
collect_used(const struct shared *at, uint16_t *ids)
{
	const struct vring_used *used = (const struct vring_used *)at->used;
	unsigned int n = 0;

	if (!rig_packed()) {
		for (; n < used->idx && n < OFFERED + 1; n++)
			ids[n] = (uint16_t)used->ring[n].id;
		return n;
	}
	for (; n <= OFFERED && SLOTS * n < SIZE; n++) {
		uint16_t flags = at->descriptors[SLOTS * n].flags;

		if (!(flags & VHU_PACKED_AVAIL) || !(flags & VHU_PACKED_USED))
			break;
		ids[n] = at->descriptors[SLOTS * n].id;
	}
	return n;
}

/* A successor finds this: it does what is left. */
static void
check_recovery(const struct shared *found)
{
	static struct shared copy;
	struct vhu_element_queue successor;
	void *its_memory = malloc(vhu_element_queue_memory(SIZE));
	struct iovec segments[VHU_SEGMENTS_MAX];
	struct vhu_element again[OFFERED + 1];
	uint16_t ids[OFFERED + 2], count, i;
	struct vhu_snapshot snapshot = snapshot_of(&copy);
	bool seen[SIZE] = { false };

	copy = *found;
	vhu_element_queue_init(&successor);
	start(&successor, its_memory, &copy);
	count = vhu_elements_take(&successor, &snapshot, again, OFFERED + 1, segments,
		VHU_SEGMENTS_MAX);
	assert_false(vhu_ring_is_broken(&successor.ring));
	for (i = 0; i < count; i++) {
		/* In the order of the ring, whichever of them were taken before. */
		assert_true(i == 0 || again[i].chain.id > again[i - 1].chain.id);
		assert_int_equal(again[i].chain.readable_size, 16);
		assert_int_equal(again[i].chain.writable_size, 16);
		assert_true(vhu_elements_give(&successor, &snapshot, &again[i], 16));
	}
	assert_int_equal(vhu_elements_flush(&successor, &snapshot, UINT16_MAX), count);
	assert_int_equal(collect_used(&copy, ids), OFFERED);
	for (i = 0; i < OFFERED; i++) {
		assert_true(ids[i] < SIZE && !seen[ids[i]]);
		seen[ids[i]] = true;
	}
	free(its_memory);
	points++;
}

/* Die everywhere inside this. */
static void
crash_in(void (*step)(void))
{
	static struct shared last;
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		kill(getpid(), SIGSTOP);
		step();
		_exit(0);
	}
	last = *shared;
	check_recovery(&last);
	assert_int_equal(waitpid(child, &status, 0), child);
	while (WIFSTOPPED(status)) {
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		if (memcmp(&last, shared, sizeof(last)) != 0) {
			last = *shared;
			check_recovery(&last);
		}
	}
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	/* A step that leaves nothing in shared memory tests nothing. */
	assert_true(points > 2);
}

static void
take(uint16_t count)
{
	(void)vhu_elements_take(&queue, &rig.snapshot, elements, count, rig.segments,
		VHU_SEGMENTS_MAX);
}

static void
take_three(void)
{
	take(3);
}

static void
flush(void)
{
	(void)vhu_elements_flush(&queue, &rig.snapshot, UINT16_MAX);
}

static void
untake_two(void)
{
	(void)vhu_elements_untake(&queue, &rig.snapshot, 2);
}

static void
give(unsigned int which)
{
	assert_true(vhu_elements_give(&queue, &rig.snapshot, &elements[which], 16));
}

static void
crash_while_taking_loses_nothing(void **state)
{
	(void)state;
	crash_in(take_three);
}

static void
crash_while_returning_one_loses_nothing(void **state)
{
	(void)state;
	take(3);
	give(1);
	crash_in(flush);
}

static void
crash_while_returning_a_batch_loses_nothing(void **state)
{
	(void)state;
	take(4);
	give(3);
	give(0);
	give(2);
	crash_in(flush);
}

static void
crash_after_earlier_batches_loses_nothing(void **state)
{
	(void)state;
	take(2);
	give(1);
	flush();
	give(0);
	flush();
	take(3);
	give(2);
	give(0);
	crash_in(flush);
}

static void
crash_while_putting_back_loses_nothing(void **state)
{
	(void)state;
	take(3);
	crash_in(untake_two);
}

/* The successor dies, too. */
static void
recover_again(void)
{
	struct vhu_element_queue successor;

	vhu_element_queue_init(&successor);
	start(&successor, memory, shared);
}

/* Up to the moment before two of four elements are shown, or, if @p show, after it. */
static void
flush_halfway(bool show)
{
	const struct vhu_snapshot *snapshot = &rig.snapshot;
	struct vhu_walk old = vhu_used_position(&queue.ring);
	uint32_t written = 16;
	unsigned int i;

	take(4);
	for (i = 1; i <= 2; i++) {
		uint16_t id = elements[i].chain.id;

		vhu_used_write(&queue.ring, snapshot, &elements[i].chain, &written, 1);
		if (rig_packed())
			vhu_inflight_packed_link(snapshot->inflight, &queue.free,
				&queue.slots[id].place);
		else
			vhu_inflight_split_link(snapshot->inflight, id,
				i == 1 ? 0 : elements[1].chain.id);
	}
	if (rig_packed())
		vhu_inflight_packed_begin(snapshot->inflight, queue.ring.next_used, true);
	if (show)
		vhu_used_show(&queue.ring, snapshot, old);
}

static void
crash_while_recovering_from_a_shown_batch_loses_nothing(void **state)
{
	(void)state;
	flush_halfway(true);
	crash_in(recover_again);
}

static void
crash_while_recovering_from_a_hidden_batch_loses_nothing(void **state)
{
	(void)state;
	flush_halfway(false);
	crash_in(recover_again);
}

#define PACKED(test) { #test, test, begin_packed, end, NULL }
#define BOTH(test) { #test " (split)", test, begin_split, end, NULL }, \
	{ #test " (packed)", test, begin_packed, end, NULL }

int
main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(crash_while_taking_loses_nothing),
		BOTH(crash_while_returning_one_loses_nothing),
		BOTH(crash_while_returning_a_batch_loses_nothing),
		BOTH(crash_after_earlier_batches_loses_nothing),
		BOTH(crash_while_putting_back_loses_nothing),
		BOTH(crash_while_recovering_from_a_shown_batch_loses_nothing),
		PACKED(crash_while_recovering_from_a_hidden_batch_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
