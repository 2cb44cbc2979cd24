/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "device_rig.h"

#include "mem/dirty.h"

#define LOG_SIZE 4096
#define LOG_ALL VHU_BIT(VHU_F_LOG_ALL)
#define FEATURES (RIG_FEATURES | RIG_PROTOCOL)

/* The front-end's view of a log, and the file it is in. */
struct log {
	int fd;
	uint8_t *bits;
};

static struct log
new_log(void)
{
	struct log log = { .fd = memfd_create("log", MFD_CLOEXEC) };

	assert_int_equal(ftruncate(log.fd, LOG_SIZE), 0);
	log.bits = mmap(NULL, LOG_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, log.fd, 0);
	assert_true(log.bits != MAP_FAILED);
	return log;
}

static void
end_log(struct log *log)
{
	munmap(log->bits, LOG_SIZE);
	close(log->fd);
}

static bool
is_marked(const struct log *log, unsigned int page)
{
	return log->bits[page / 8] >> page % 8 & 1;
}

/* SET_LOG_BASE without waiting for the answer. */
static void
send_base(const struct log *log, uint64_t size, uint64_t offset)
{
	struct vhu_wire_log wire = { .size = size, .offset = offset };
	int fd = rig_dup(log->fd);

	rig_send(VHU_SET_LOG_BASE, 0, &wire, sizeof(wire), &fd, 1);
}

static uint64_t
set_base(const struct log *log)
{
	unsigned int replies = rig.replies;

	send_base(log, LOG_SIZE, 0);
	assert_int_equal(rig.replies, replies + 1);
	assert_int_equal(rig.reply.request, VHU_SET_LOG_BASE);
	assert_int_equal(rig.reply.size, 8);
	return rig.reply.payload.u64;
}

/* What a burst does with the snapshot that it sees: mark a page if there is a log. */
static void
mark(const struct vhu_snapshot *snapshot, unsigned int page)
{
	struct vhu_dirty_cache cache;

	if (snapshot->dirty == NULL)
		return;
	vhu_dirty_begin(&cache);
	vhu_dirty_note(snapshot->dirty, &cache, page * UINT64_C(4096), 1);
	vhu_dirty_flush(snapshot->dirty, &cache);
}

static int
setup(void **state)
{
	rig_setup(state);
	assert_int_equal(rig_u64(VHU_SET_PROTOCOL_FEATURES,
		VHU_BIT(VHU_PROTOCOL_LOG_SHMFD) | VHU_BIT(VHU_PROTOCOL_REPLY_ACK)), 0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, FEATURES), 0);
	return 0;
}

static void
logging_is_offered_with_its_descriptor_or_not_at_all(void **state)
{
	(void)state;
	rig_send(VHU_GET_PROTOCOL_FEATURES, 0, NULL, 0, NULL, 0);
	assert_true(rig.reply.payload.u64 & VHU_BIT(VHU_PROTOCOL_LOG_SHMFD));
	vhu_device_offer(rig.device, RIG_FEATURES, UINT64_MAX);
	rig_send(VHU_GET_PROTOCOL_FEATURES, 0, NULL, 0, NULL, 0);
	assert_false(rig.reply.payload.u64 & VHU_BIT(VHU_PROTOCOL_LOG_SHMFD));
}

static void
running_ring_logs_from_the_acknowledgement_on(void **state)
{
	struct log log = new_log();

	(void)state;
	rig_run_ring(0);
	assert_int_equal(set_base(&log), 0);
	assert_null(rig_seen(0)->dirty);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, FEATURES | LOG_ALL), 0);
	assert_non_null(rig_seen(0)->dirty);
	mark(rig_seen(0), 9);
	assert_true(is_marked(&log, 9));
	assert_int_equal(rig_u64(VHU_SET_FEATURES, FEATURES), 0);
	assert_null(rig_seen(0)->dirty);
	end_log(&log);
}

static void
features_are_acknowledged_when_no_burst_goes_by_the_old_ones(void **state)
{
	uint64_t features = FEATURES | LOG_ALL;
	unsigned int replies;

	(void)state;
	rig_run_ring(0);
	replies = rig.replies;
	(void)vhu_reader_enter(&rig.rings[0].reader);
	rig_send(VHU_SET_FEATURES, VHU_FLAG_NEED_REPLY, &features, 8, NULL, 0);
	assert_true(vhu_device_busy(rig.device));
	assert_int_equal(rig.replies, replies);
	vhu_reader_leave(&rig.rings[0].reader);
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig.replies, replies + 1);
	assert_int_equal(rig.reply.payload.u64, 0);
}

static void
log_is_replaced_when_no_burst_marks_the_old_one(void **state)
{
	struct log first = new_log(), second = new_log();
	const struct vhu_snapshot *seen;
	unsigned int replies;

	(void)state;
	rig_run_ring(0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, FEATURES | LOG_ALL), 0);
	assert_int_equal(set_base(&first), 0);
	seen = vhu_reader_enter(&rig.rings[0].reader);
	replies = rig.replies;
	send_base(&second, LOG_SIZE, 0);
	assert_int_equal(rig.replies, replies);
	mark(seen, 3);
	vhu_reader_leave(&rig.rings[0].reader);
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig.replies, replies + 1);
	assert_int_equal(rig.reply.payload.u64, 0);
	mark(rig_seen(0), 4);
	assert_true(is_marked(&first, 3));
	assert_false(is_marked(&first, 4));
	assert_true(is_marked(&second, 4));
	end_log(&first);
	end_log(&second);
}

static void
pages_written_before_the_log_comes_are_in_it(void **state)
{
	struct log log = new_log();

	(void)state;
	assert_int_equal(rig_u64(VHU_SET_FEATURES, FEATURES | LOG_ALL), 0);
	rig_run_ring(0);
	mark(rig_seen(0), 17);
	assert_int_equal(set_base(&log), 0);
	assert_true(is_marked(&log, 17));
	mark(rig_seen(0), 18);
	assert_true(is_marked(&log, 18));
	end_log(&log);
}

/* A log that was given up with an earlier migration is not where this one looks. */
static void
pages_written_before_the_next_log_comes_are_in_it(void **state)
{
	struct log given_up = new_log(), next = new_log();

	(void)state;
	rig_run_ring(0);
	assert_int_equal(set_base(&given_up), 0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, FEATURES | LOG_ALL), 0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, FEATURES), 0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, FEATURES | LOG_ALL), 0);
	mark(rig_seen(0), 21);
	assert_int_equal(set_base(&next), 0);
	assert_true(is_marked(&next, 21));
	end_log(&given_up);
	end_log(&next);
}

static void
log_may_come_between_kick_and_enable(void **state)
{
	struct log log = new_log();

	(void)state;
	assert_int_equal(rig_u64(VHU_SET_FEATURES, FEATURES | LOG_ALL), 0);
	rig_share();
	rig_start_ring(0, 0);
	assert_ptr_equal(rig_seen(0), &vhu_snapshot_parked);
	assert_int_equal(set_base(&log), 0);
	assert_int_equal(rig_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	mark(rig_seen(0), 5);
	assert_true(is_marked(&log, 5));
	end_log(&log);
}

static void
bad_log_is_refused_and_the_old_one_stays(void **state)
{
	static const struct {
		uint64_t size, offset;
	} bad[] = {
		{ 0, 0 }, { UINT64_C(1) << 63, 0 }, { LOG_SIZE, 8 }, { LOG_SIZE + 1, 0 },
		{ 8, 3 }, { UINT64_MAX, 8 },
	};
	struct log log = new_log();
	unsigned int i;

	(void)state;
	rig_run_ring(0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, FEATURES | LOG_ALL), 0);
	assert_int_equal(set_base(&log), 0);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		send_base(&log, bad[i].size, bad[i].offset);
		assert_int_equal(rig.reply.size, 8);
		assert_int_not_equal(rig.reply.payload.u64, 0);
	}
	mark(rig_seen(0), 2);
	assert_true(is_marked(&log, 2));
	end_log(&log);
}

static void
ring_notes_its_own_writes_when_it_is_told_to(void **state)
{
	struct vhu_wire_vring_addr address = rig_address(0);
	unsigned int replies;

	(void)state;
	rig_run_ring(0);
	rig.rings[0].next_avail = 7;
	assert_int_equal(rig_u64(VHU_SET_FEATURES, FEATURES | LOG_ALL), 0);
	assert_false(rig_seen(0)->dirty_ring);
	address.flags = VHU_VRING_LOG;
	address.log_guest_address = 0x123000;
	(void)vhu_reader_enter(&rig.rings[0].reader);
	replies = rig.replies;
	rig_send(VHU_SET_VRING_ADDR, VHU_FLAG_NEED_REPLY, &address, sizeof(address), NULL, 0);
	assert_int_equal(rig.replies, replies);
	vhu_reader_leave(&rig.rings[0].reader);
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig.replies, replies + 1);
	assert_true(rig_seen(0)->dirty_ring);
	assert_int_equal(rig_seen(0)->used_guest_address, 0x123000);
	assert_int_equal(rig.rings[0].next_avail, 7);
	address.flags = 0;
	assert_int_equal(rig_ask(VHU_SET_VRING_ADDR, &address, sizeof(address), -1), 0);
	assert_false(rig_seen(0)->dirty_ring);
	address.descriptor += 0x4000;
	assert_int_equal(rig_ask(VHU_SET_VRING_ADDR, &address, sizeof(address), -1), 1);
}

static void
log_descriptor_is_signalled_once_for_many_marks(void **state)
{
	struct log log = new_log();
	int fd = rig_eventfd(), pipes[2];

	(void)state;
	rig_run_ring(0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, FEATURES | LOG_ALL), 0);
	assert_int_equal(set_base(&log), 0);
	assert_int_equal(rig_ask(VHU_SET_LOG_FD, NULL, 0, rig_dup(fd)), 0);
	vhu_device_tick(rig.device);
	assert_int_equal(rig_signals(fd), 0);
	mark(rig_seen(0), 1);
	mark(rig_seen(0), 2);
	vhu_device_tick(rig.device);
	vhu_device_tick(rig.device);
	assert_int_equal(rig_signals(fd), 1);
	/* A pipe could raise SIGPIPE: the old descriptor stays. */
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(rig_ask(VHU_SET_LOG_FD, NULL, 0, pipes[1]), 1);
	close(pipes[0]);
	mark(rig_seen(0), 1);
	vhu_device_tick(rig.device);
	assert_int_equal(rig_signals(fd), 1);
	close(fd);
	end_log(&log);
}

static void
log_without_its_protocol_feature_is_refused(void **state)
{
	struct vhu_wire_log wire = { .size = LOG_SIZE };

	(void)state;
	assert_int_equal(rig_u64(VHU_SET_PROTOCOL_FEATURES, VHU_BIT(VHU_PROTOCOL_REPLY_ACK)), 0);
	assert_int_equal(rig_ask(VHU_SET_LOG_BASE, &wire, sizeof(wire), -1), 1);
	rig.replies = 0;
	rig_send(VHU_SET_LOG_BASE, 0, &wire, sizeof(wire), NULL, 0);
	assert_int_equal(rig.replies, 0);
}

static void
disconnect_lets_go_of_the_log_after_the_last_burst(void **state)
{
	struct log log = new_log();
	const struct vhu_snapshot *seen;

	(void)state;
	rig_run_ring(0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, FEATURES | LOG_ALL), 0);
	assert_int_equal(set_base(&log), 0);
	seen = vhu_reader_enter(&rig.rings[0].reader);
	vhu_device_disconnect(rig.device, rig_left);
	mark(seen, 11);
	assert_true(is_marked(&log, 11));
	vhu_reader_leave(&rig.rings[0].reader);
	vhu_grace_step(&rig.domain);
	assert_int_equal(rig.left, 1);
	end_log(&log);
}

#define LOG_TEST(function) cmocka_unit_test_setup_teardown(function, setup, rig_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		LOG_TEST(logging_is_offered_with_its_descriptor_or_not_at_all),
		LOG_TEST(running_ring_logs_from_the_acknowledgement_on),
		LOG_TEST(features_are_acknowledged_when_no_burst_goes_by_the_old_ones),
		LOG_TEST(log_is_replaced_when_no_burst_marks_the_old_one),
		LOG_TEST(pages_written_before_the_log_comes_are_in_it),
		LOG_TEST(pages_written_before_the_next_log_comes_are_in_it),
		LOG_TEST(log_may_come_between_kick_and_enable),
		LOG_TEST(bad_log_is_refused_and_the_old_one_stays),
		LOG_TEST(ring_notes_its_own_writes_when_it_is_told_to),
		LOG_TEST(log_descriptor_is_signalled_once_for_many_marks),
		LOG_TEST(log_without_its_protocol_feature_is_refused),
		LOG_TEST(disconnect_lets_go_of_the_log_after_the_last_burst),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
