/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Two queues in two threads while the third dispatches messages. Each thread is the driver of its
 * queue, too, so that it knows what must come back. Built with TSan as well (tools/check).
 */

#include <sched.h>
#include <stdatomic.h>

#include "compat_rig.h"

#define RING_BYTES 0x8000u
/* Messages of a kind: enough to meet requests in all places, few enough for TSan. */
#define ROUNDS 200

struct worker {
	pthread_t thread;
	int index;
	atomic_bool quit;
	_Atomic(uint64_t) done;   /* requests that came back */
	uint16_t offered;         /* available index of the driver */
};

static struct worker workers[RIG_QUEUES];
static atomic_bool joining; /* queue_set_started() ends and begins the threads */

/* The driver makes one request available, unless one is out. */
static void
offer(struct worker *w)
{
	uint8_t *ring = rig.guest + (unsigned int)w->index * RING_BYTES;
	struct vring_desc *desc = (struct vring_desc *)ring;
	struct vring_avail *avail = (struct vring_avail *)(ring + RIG_AVAIL);
	struct vring_used *used = (struct vring_used *)(ring + RIG_USED);
	uint16_t head = (uint16_t)(2 * (w->offered % (RIG_SIZE / 2)));
	uint64_t data = RIG_GUEST + RIG_DATA + (unsigned int)w->index * 0x4000u;

	if (w->offered != __atomic_load_n(&used->idx, __ATOMIC_ACQUIRE))
		return;
	desc[head] = (struct vring_desc){ data, 16, VRING_DESC_F_NEXT, (uint16_t)(head + 1) };
	desc[head + 1] = (struct vring_desc){ data + 64, 64, VRING_DESC_F_WRITE, 0 };
	avail->ring[w->offered % RIG_SIZE] = head;
	w->offered++;
	__atomic_store_n(&avail->idx, w->offered, __ATOMIC_RELEASE);
}

static void
serve(struct worker *w)
{
	VuVirtq *vq = vu_get_queue(&rig.dev, w->index);
	VuVirtqElement *element = vu_queue_pop(&rig.dev, vq, sizeof(*element));
	uint64_t size = 64;

	if (element == NULL) {
		sched_yield();
		return;
	}
	assert_int_equal(element->in_num, 1);
	assert_non_null(vu_gpa_to_va(&rig.dev, &size, RIG_GUEST + RIG_DATA));
	memset(element->in_sg[0].iov_base, w->index, element->in_sg[0].iov_len);
	vu_queue_push(&rig.dev, vq, element, 64);
	vu_queue_notify(&rig.dev, vq);
	free(element);
	atomic_fetch_add(&w->done, 1);
}

static void *
work(void *argument)
{
	struct worker *w = argument;

	while (!atomic_load(&w->quit)) {
		offer(w);
		serve(w);
	}
	return NULL;
}

static void
begin(struct worker *w)
{
	atomic_store(&w->quit, false);
	assert_int_equal(pthread_create(&w->thread, NULL, work, w), 0);
}

static void
end(struct worker *w)
{
	atomic_store(&w->quit, true);
	pthread_join(w->thread, NULL);
}

static void
join_on_stop(VuDev *dev, int index, bool started)
{
	(void)dev;
	if (!atomic_load(&joining))
		return;
	/* As virtiofsd does: the thread may be inside vu_queue_push(). */
	if (started)
		begin(&workers[index]);
	else
		end(&workers[index]);
}

static void
start_ring(uint32_t index, uint32_t base)
{
	const uint64_t ring = RIG_USER + index * RING_BYTES;
	struct vhost_vring_addr address = { .index = index, .desc_user_addr = ring,
		.avail_user_addr = ring + RIG_AVAIL, .used_user_addr = ring + RIG_USED };

	assert_int_equal(rig_state(VHOST_USER_SET_VRING_NUM, index, RIG_SIZE), 0);
	assert_int_equal(rig_state(VHOST_USER_SET_VRING_BASE, index, base), 0);
	assert_int_equal(rig_ask(VHOST_USER_SET_VRING_ADDR, &address, sizeof(address), -1), 0);
	assert_int_equal(rig_u64(VHOST_USER_SET_VRING_CALL, index, rig.call), 0);
	assert_int_equal(rig_u64(VHOST_USER_SET_VRING_KICK, index, rig.kick), 0);
	assert_int_equal(rig_state(VHOST_USER_SET_VRING_ENABLE, index, 1), 0);
}

static void
start_both(void)
{
	VhostUserMemRegMsg region = { .region = { RIG_GUEST, RIG_MEMORY, RIG_USER, 0 } };

	memset(workers, 0, sizeof(workers));
	rig.iface.queue_set_started = join_on_stop;
	assert_int_equal(rig_u64(VHOST_USER_SET_PROTOCOL_FEATURES,
		BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |
		BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS) |
		BIT(VHOST_USER_PROTOCOL_F_LOG_SHMFD), -1), 0);
	assert_int_equal(rig_u64(VHOST_USER_SET_FEATURES, BIT(32) | BIT(30), -1), 0);
	assert_int_equal(rig_ask(VHOST_USER_ADD_MEM_REG, &region, sizeof(region), rig.memory), 0);
	workers[1].index = 1;
	start_ring(0, 0);
	start_ring(1, 0);
}

/* Every queue goes on. */
static void
wait_for_more(void)
{
	unsigned int i;

	for (i = 0; i < RIG_QUEUES; i++) {
		uint64_t before = atomic_load(&workers[i].done);

		while (atomic_load(&workers[i].done) < before + 3)
			sched_yield();
	}
}

static void
begin_both(void)
{
	begin(&workers[0]);
	begin(&workers[1]);
}

static void
end_both(void)
{
	end(&workers[0]);
	end(&workers[1]);
	assert_int_equal(rig.panics, 0);
}

static void
memory_comes_and_goes_beside_requests(void **state)
{
	VhostUserMemRegMsg other = { .region = { 0x1000, 0x1000, 0x1000, 0 } };
	unsigned int i;

	(void)state;
	start_both();
	begin_both();
	for (i = 0; i < ROUNDS; i++) {
		assert_int_equal(rig_ask(VHOST_USER_ADD_MEM_REG, &other, sizeof(other),
			rig.memory), 0);
		assert_int_equal(rig_ask(VHOST_USER_REM_MEM_REG, &other, sizeof(other), -1), 0);
	}
	wait_for_more();
	end_both();
}

/* A region that is there for one request of queue 0 at a time. */

#define GUEST_OTHER UINT64_C(0x80000000)

enum turn {
	TURN_ADD,     /* the region is to be added */
	TURN_REQUEST, /* a request with its buffer there is to be taken */
	TURN_REMOVE,  /* it was: the region is to be removed */
	TURN_PUSH,    /* it has been: the buffer is to be filled, and the element pushed */
};

static _Atomic(enum turn) turn;

static void
take_turn(enum turn wanted)
{
	while (atomic_load(&turn) != wanted)
		sched_yield();
}

static void *
hold_over_removal(void *unused)
{
	struct vring_desc *desc = (struct vring_desc *)rig.guest;
	struct vring_avail *avail = (struct vring_avail *)(rig.guest + RIG_AVAIL);
	VuVirtq *vq = vu_get_queue(&rig.dev, 0);
	unsigned int i;

	(void)unused;
	for (i = 0; i < ROUNDS; i++) {
		VuVirtqElement *element;

		take_turn(TURN_REQUEST);
		desc[0] = (struct vring_desc){ GUEST_OTHER, 0x1000, VRING_DESC_F_WRITE, 0 };
		avail->ring[i % RIG_SIZE] = 0;
		__atomic_store_n(&avail->idx, (uint16_t)(i + 1), __ATOMIC_RELEASE);
		element = vu_queue_pop(&rig.dev, vq, sizeof(*element));
		assert_non_null(element);
		atomic_store(&turn, TURN_REMOVE);
		take_turn(TURN_PUSH);
		/* The removal has been acknowledged. */
		memset(element->in_sg[0].iov_base, (int)i, element->in_sg[0].iov_len);
		vu_queue_push(&rig.dev, vq, element, 0x1000);
		free(element);
		atomic_store(&turn, TURN_ADD);
	}
	return NULL;
}

static void
element_outlives_its_region_in_another_thread(void **state)
{
	VhostUserMemRegMsg other = { .region = { GUEST_OTHER, 0x1000, 0x1000, 0 } };
	int fd = memfd_create("other", MFD_CLOEXEC);
	pthread_t thread;
	uint8_t byte;
	unsigned int i;

	(void)state;
	assert_int_equal(ftruncate(fd, 0x1000), 0);
	start_both();
	begin(&workers[1]);
	atomic_store(&turn, TURN_ADD);
	assert_int_equal(pthread_create(&thread, NULL, hold_over_removal, NULL), 0);
	for (i = 0; i < ROUNDS; i++) {
		take_turn(TURN_ADD);
		assert_int_equal(rig_ask(VHOST_USER_ADD_MEM_REG, &other, sizeof(other), fd), 0);
		atomic_store(&turn, TURN_REQUEST);
		take_turn(TURN_REMOVE);
		assert_int_equal(rig_ask(VHOST_USER_REM_MEM_REG, &other, sizeof(other), -1), 0);
		atomic_store(&turn, TURN_PUSH);
	}
	pthread_join(thread, NULL);
	end(&workers[1]);
	/* What was written after the removal is in the file all the same. */
	assert_int_equal(pread(fd, &byte, 1, 0xfff), 1);
	assert_int_equal(byte, (uint8_t)(ROUNDS - 1));
	assert_int_equal(rig.panics, 0);
	close(fd);
}

static void
log_comes_and_goes_beside_requests(void **state)
{
	VhostUserLog log = { .mmap_size = 0x10000 };
	int fd = memfd_create("log", MFD_CLOEXEC);
	unsigned int i;

	(void)state;
	/* Guest addresses up to 0x40100000, a bit for 4 KiB. */
	log.mmap_size = (RIG_GUEST + RIG_MEMORY) / 4096 / 8 + 8;
	assert_int_equal(ftruncate(fd, (off_t)log.mmap_size), 0);
	start_both();
	begin_both();
	for (i = 0; i < ROUNDS; i++) {
		uint64_t answer;

		rig_write(VHOST_USER_SET_LOG_BASE, 1, &log, sizeof(log), fd);
		assert_true(vu_dispatch(&rig.dev));
		rig_read(VHOST_USER_SET_LOG_BASE, &answer, sizeof(answer));
		assert_int_equal(rig_u64(VHOST_USER_SET_FEATURES, BIT(32) | BIT(30) | BIT(26), -1),
			0);
		assert_int_equal(rig_u64(VHOST_USER_SET_FEATURES, BIT(32) | BIT(30), -1), 0);
	}
	wait_for_more();
	end_both();
	close(fd);
}

/*
 * Open descriptors that get the numbers of those that were just closed, let requests go on, and
 * look whether one of them was taken for a call descriptor.
 */
static unsigned int
stranger_is_signalled(void)
{
	uint64_t before = atomic_load(&workers[0].done);
	int strangers[4];
	unsigned int i, signalled = 0;

	for (i = 0; i < 4; i++)
		strangers[i] = eventfd(0, EFD_NONBLOCK);
	while (atomic_load(&workers[0].done) == before)
		sched_yield();
	for (i = 0; i < 4; i++) {
		signalled += eventfd_read(strangers[i], &(eventfd_t){ 0 }) == 0;
		close(strangers[i]);
	}
	return signalled;
}

static void
call_descriptors_change_beside_notifications(void **state)
{
	unsigned int i, signalled = 0;

	(void)state;
	start_both();
	begin_both();
	for (i = 0; i < ROUNDS; i++) {
		int call = eventfd(0, EFD_NONBLOCK);

		assert_int_equal(rig_u64(VHOST_USER_SET_VRING_CALL, i % 2, call), 0);
		assert_int_equal(rig_u64(VHOST_USER_SET_VRING_CALL, 0x100 | i % 2, -1), 0);
		close(call);
		signalled += stranger_is_signalled();
	}
	assert_int_equal(signalled, 0);
	wait_for_more();
	end_both();
}

static void
queue_stops_and_starts_beside_the_other_and_its_own_poller(void **state)
{
	unsigned int i;

	(void)state;
	start_both();
	begin_both();
	for (i = 0; i < ROUNDS; i++) {
		assert_int_equal(rig_state(VHOST_USER_SET_VRING_ENABLE, 1, 0), 0);
		start_ring(1, rig_base(1));
	}
	wait_for_more();
	end_both();
}

static void
stop_callback_may_join_the_queues_thread(void **state)
{
	unsigned int i;

	(void)state;
	atomic_store(&joining, true);
	start_both();
	for (i = 0; i < ROUNDS / 10; i++) {
		wait_for_more();
		start_ring(1, rig_base(1));
	}
	wait_for_more();
	rig_base(0);
	rig_base(1);
	atomic_store(&joining, false);
	assert_int_equal(rig.panics, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(memory_comes_and_goes_beside_requests),
		RIG_TEST(element_outlives_its_region_in_another_thread),
		RIG_TEST(log_comes_and_goes_beside_requests),
		RIG_TEST(call_descriptors_change_beside_notifications),
		RIG_TEST(queue_stops_and_starts_beside_the_other_and_its_own_poller),
		RIG_TEST(stop_callback_may_join_the_queues_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
