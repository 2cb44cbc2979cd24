/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Postcopy with a front-end that serves faults: the test's own view of the memory is the place
 * that pages are put into, as in QEMU.
 */

#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "device_rig.h"

#include "mem/postcopy.h"

#define PAGE UINT64_C(4096)
#define HALF (RIG_MEMORY / 2)

/* The front-end's copy of the userfaultfd; where the back-end has the first region. */
static int faults = -1;
static uint64_t base;

static int
setup(void **state)
{
	rig_setup(state);
	rig_send(VHU_GET_PROTOCOL_FEATURES, 0, NULL, 0, NULL, 0);
	assert_int_equal(rig_u64(VHU_SET_PROTOCOL_FEATURES, rig.reply.payload.u64), 0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, RIG_FEATURES | RIG_PROTOCOL), 0);
	/* Faults are about pages that the file does not have: nothing may be in it. */
	assert_int_equal(ftruncate(rig.memory, 0), 0);
	assert_int_equal(ftruncate(rig.memory, RIG_MEMORY), 0);
	return 0;
}

static int
teardown(void **state)
{
	if (faults >= 0)
		close(faults);
	faults = -1;
	return rig_teardown(state);
}

static void
advise(void)
{
	unsigned int replies = rig.replies;

	rig_send(VHU_POSTCOPY_ADVISE, 0, NULL, 0, NULL, 0);
	assert_int_equal(rig.replies, replies + 1);
	assert_int_equal(rig.reply.size, 0);
	assert_int_equal(rig.reply.fd_count, 1);
	if (faults >= 0)
		close(faults);
	faults = rig.reply.fds[0];
}

static void
listen_now(void)
{
	advise();
	assert_int_equal(rig_ask(VHU_POSTCOPY_LISTEN, NULL, 0, -1), 0);
}

/* The table as QEMU sends it: without NEED_REPLY, and answered with our addresses. */
static void
send_table(const struct vhu_wire_region *regions, uint32_t count)
{
	struct vhu_wire_mem_table table = { .count = count };
	int fds[VHU_MEM_TABLE_REGIONS];
	uint32_t i;

	for (i = 0; i < count; i++) {
		table.regions[i] = regions[i];
		fds[i] = rig_dup(rig.memory);
	}
	rig_send(VHU_SET_MEM_TABLE, 0, &table, 8 + count * 32, fds, count);
}

static void
assert_table_reply(const struct vhu_wire_region *regions, uint32_t count)
{
	uint32_t i;

	assert_int_equal(rig.reply.request, VHU_SET_MEM_TABLE);
	assert_int_equal(rig.reply.size, 8 + count * 32);
	assert_int_equal(rig.reply.fd_count, 0);
	assert_int_equal(rig.reply.payload.table.count, count);
	for (i = 0; i < count; i++) {
		const struct vhu_wire_region *told = &rig.reply.payload.table.regions[i];

		assert_int_equal(told->guest_address, regions[i].guest_address);
		assert_int_equal(told->size, regions[i].size);
		assert_int_not_equal(told->user_address, regions[i].user_address);
	}
	base = rig.reply.payload.table.regions[0].user_address;
}

static void
go(uint32_t request, uint64_t value)
{
	unsigned int replies = rig.replies;

	rig_send(request, 0, &value, sizeof(value), NULL, 0);
	assert_int_equal(rig.replies, replies);
}

/* Serve one fault: put a page of this byte there. */
static void *
serve(void *argument)
{
	static uint8_t page[PAGE];
	struct pollfd ready = { .fd = faults, .events = POLLIN };
	struct uffd_msg message;
	struct uffdio_range wake = { .len = PAGE };
	uint64_t offset;

	if (poll(&ready, 1, 10000) != 1 || read(faults, &message, sizeof(message)) <= 0)
		return NULL;
	memset(page, *(int *)argument, PAGE);
	wake.start = message.arg.pagefault.address & ~(PAGE - 1);
	offset = wake.start - base;
	/* Not through the fault's own mapping: QEMU fills in its view, then wakes ours. */
	if (pwrite(rig.memory, page, PAGE, (off_t)offset) != (ssize_t)PAGE ||
	    ioctl(faults, UFFDIO_WAKE, &wake) != 0)
		return NULL;
	return argument;
}

static void
fault_is_served_where_the_reply_said(void **state)
{
	struct vhu_wire_region regions[] = { rig_region(0, HALF), rig_region(HALF, HALF) };
	const volatile uint8_t *host;
	pthread_t thread;
	int byte = 0x5c;
	void *served;

	(void)state;
	listen_now();
	send_table(regions, 2);
	assert_table_reply(regions, 2);
	/* Nobody has it before somebody serves its faults. */
	assert_int_equal(vhu_device_map(rig.device)->count, 0);
	go(VHU_SET_MEM_TABLE, 0);
	assert_int_equal(vhu_device_map(rig.device)->count, 2);
	host = vhu_map_user(vhu_device_map(rig.device), RIG_USER + 3 * PAGE, 1);
	assert_ptr_equal((const void *)host, (void *)(uintptr_t)(base + 3 * PAGE));
	assert_int_equal(pthread_create(&thread, NULL, serve, &byte), 0);
	assert_int_equal(host[77], 0x5c);
	pthread_join(thread, &served);
	assert_non_null(served);
	assert_int_equal(rig_ask(VHU_POSTCOPY_END, NULL, 0, -1), 0);
	/* What never came is zero now, and nobody waits for it. */
	assert_int_equal(host[20 * PAGE], 0);
}

static void
slots_are_listed_one_by_one_and_opened_together(void **state)
{
	struct vhu_wire_mem_reg add = { .region = rig_region(0, HALF) };
	int fd;

	(void)state;
	listen_now();
	fd = rig_dup(rig.memory);
	rig_send(VHU_ADD_MEM_REG, 0, &add, sizeof(add), &fd, 1);
	assert_int_equal(rig.reply.request, VHU_ADD_MEM_REG);
	assert_int_equal(rig.reply.size, sizeof(add));
	assert_int_equal(rig.reply.payload.mem_reg.region.size, HALF);
	assert_int_not_equal(rig.reply.payload.mem_reg.region.user_address, RIG_USER);
	base = rig.reply.payload.mem_reg.region.user_address;
	/* The same once more, for another queue pair: the same address. */
	fd = rig_dup(rig.memory);
	rig_send(VHU_ADD_MEM_REG, 0, &add, sizeof(add), &fd, 1);
	assert_int_equal(rig.reply.payload.mem_reg.region.user_address, base);
	add.region = rig_region(HALF, HALF);
	fd = rig_dup(rig.memory);
	rig_send(VHU_ADD_MEM_REG, 0, &add, sizeof(add), &fd, 1);
	assert_int_equal(rig.reply.size, sizeof(add));
	assert_int_equal(vhu_device_map(rig.device)->count, 0);
	go(VHU_ADD_MEM_REG, 0);
	go(VHU_ADD_MEM_REG, 0);
	assert_int_equal(vhu_device_map(rig.device)->count, 2);
	assert_int_equal(rig_ask(VHU_POSTCOPY_END, NULL, 0, -1), 0);
}

static void
listening_needs_advice_and_no_memory(void **state)
{
	(void)state;
	assert_int_equal(rig_ask(VHU_POSTCOPY_LISTEN, NULL, 0, -1), 1);
	rig_share();
	advise();
	assert_int_equal(rig_ask(VHU_POSTCOPY_LISTEN, NULL, 0, -1), 1);
	assert_int_equal(rig_ask(VHU_POSTCOPY_END, NULL, 0, -1), 0);
}

static void
advice_may_be_repeated_before_it_is_used(void **state)
{
	(void)state;
	advise();
	advise();
	assert_int_equal(rig_ask(VHU_POSTCOPY_LISTEN, NULL, 0, -1), 0);
	rig_send(VHU_POSTCOPY_ADVISE, 0, NULL, 0, NULL, 0);
	assert_int_equal(rig.reply.size, 0);
	assert_int_equal(rig.reply.fd_count, 0);
}

static void
end_without_advice_is_fine(void **state)
{
	(void)state;
	assert_int_equal(rig_ask(VHU_POSTCOPY_END, NULL, 0, -1), 0);
}

static void
front_end_that_cannot_serve_faults_gets_no_memory(void **state)
{
	struct vhu_wire_region region = rig_region(0, RIG_MEMORY);

	(void)state;
	listen_now();
	send_table(&region, 1);
	assert_table_reply(&region, 1);
	go(VHU_SET_MEM_TABLE, 1);
	assert_int_equal(vhu_device_map(rig.device)->count, 0);
	assert_int_equal(rig_mappings(), 0);
	/* Another message instead of go. */
	send_table(&region, 1);
	assert_table_reply(&region, 1);
	assert_int_equal(rig_state(VHU_SET_VRING_NUM, 0, RIG_RING_SIZE), 0);
	assert_int_equal(vhu_device_map(rig.device)->count, 0);
}

static void
bad_table_while_listening_is_answered_without_addresses(void **state)
{
	struct vhu_wire_region overlap[] = { rig_region(0, HALF), rig_region(PAGE, HALF) };
	unsigned int replies;

	(void)state;
	listen_now();
	replies = rig.replies;
	send_table(overlap, 2);
	assert_int_equal(rig.replies, replies + 1);
	assert_int_equal(rig.reply.size, 0);
}

static void *
touch(void *argument)
{
	uint8_t *host = argument;

	(void)vhu_reader_enter(&rig.rings[0].reader);
	*(volatile uint8_t *)host = 1;
	vhu_reader_leave(&rig.rings[0].reader);
	return NULL;
}

static void
disconnect_lets_go_of_a_burst_that_waits_for_a_page(void **state)
{
	struct vhu_wire_region region = rig_region(0, RIG_MEMORY);
	struct pollfd ready = { .events = POLLIN };
	pthread_t thread;
	unsigned int i;

	(void)state;
	listen_now();
	send_table(&region, 1);
	assert_table_reply(&region, 1);
	go(VHU_SET_MEM_TABLE, 0);
	assert_int_equal(pthread_create(&thread, NULL, touch, (void *)(uintptr_t)base), 0);
	/* It is in the fault, which the front-end never serves. */
	ready.fd = faults;
	assert_int_equal(poll(&ready, 1, 10000), 1);
	vhu_device_disconnect(rig.device, rig_left);
	for (i = 0; i < 10000 && rig.left == 0; i++) {
		usleep(1000);
		vhu_grace_step(&rig.domain);
	}
	assert_int_equal(rig.left, 1);
	pthread_join(thread, NULL);
}

/* From now on no descriptor can be had, a userfaultfd least of all. @return what was before. */
static struct rlimit
refuse_descriptors(void)
{
	struct rlimit old, none;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	return old;
}

static void
advice_without_userfaultfd_has_no_descriptor(void **state)
{
	unsigned int replies = rig.replies;
	struct rlimit old;

	(void)state;
	old = refuse_descriptors();
	rig_send(VHU_POSTCOPY_ADVISE, 0, NULL, 0, NULL, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(rig.replies, replies + 1);
	assert_int_equal(rig.reply.fd_count, 0);
	/* Nothing has begun. */
	assert_int_not_equal(rig_ask(VHU_POSTCOPY_LISTEN, NULL, 0, -1), 0);
}

/* It is found out once a process: this program again. */
static void
postcopy_without_userfaultfd_is_not_offered(void **state)
{
	int status;
	pid_t child = fork();

	(void)state;
	assert_true(child >= 0);
	if (child == 0) {
		execl("/proc/self/exe", "test_dev_postcopy", "without", NULL);
		_exit(3);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define POSTCOPY_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		POSTCOPY_TEST(fault_is_served_where_the_reply_said),
		POSTCOPY_TEST(slots_are_listed_one_by_one_and_opened_together),
		POSTCOPY_TEST(listening_needs_advice_and_no_memory),
		POSTCOPY_TEST(advice_may_be_repeated_before_it_is_used),
		POSTCOPY_TEST(end_without_advice_is_fine),
		POSTCOPY_TEST(front_end_that_cannot_serve_faults_gets_no_memory),
		POSTCOPY_TEST(bad_table_while_listening_is_answered_without_addresses),
		POSTCOPY_TEST(disconnect_lets_go_of_a_burst_that_waits_for_a_page),
		POSTCOPY_TEST(advice_without_userfaultfd_has_no_descriptor),
		cmocka_unit_test(postcopy_without_userfaultfd_is_not_offered),
	};

	(void)argv;
	if (argc > 1) {
		struct rlimit old = refuse_descriptors();
		bool offered = vhu_device_protocol_features() & VHU_BIT(VHU_PROTOCOL_PAGEFAULT);

		/* A sanitizer opens files of its own when the program ends. */
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		return offered;
	}
	if (!vhu_postcopy_works()) {
		printf("skipped: userfaultfd is not permitted here "
			"(vm.unprivileged_userfaultfd)\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
