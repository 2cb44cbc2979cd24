/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Bytes of the front-end's socket as vu_dispatch() takes them, and what it returns: cut anywhere,
 * glued together, ended early, never read.
 */

#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "compat_rig.h"

struct header {
	uint32_t request, flags, size;
};

/* Write bytes as they are. */
static void
put(const void *bytes, size_t size)
{
	assert_int_equal(send(rig.peer, bytes, size, 0), size);
}

/* ... with descriptors, in one message of the socket. */
static void
put_with_fds(const void *bytes, size_t size, unsigned int count)
{
	char control[CMSG_SPACE(32 * sizeof(int))] = { 0 };
	struct iovec part = { (void *)(uintptr_t)bytes, size };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = CMSG_SPACE(count * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	unsigned int i;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(count * sizeof(int));
	for (i = 0; i < count; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &rig.memory, sizeof(int));
	assert_int_equal(sendmsg(rig.peer, &m, 0), size);
}

static void
expect_features(void)
{
	uint64_t features;

	assert_int_equal(rig_read(VHOST_USER_GET_FEATURES, &features, sizeof(features)), 8);
	assert_true(features & BIT(30));
}

static void *
dispatch_once(void *result)
{
	*(bool *)result = vu_dispatch(&rig.dev);
	return NULL;
}

static void
header_may_come_byte_by_byte(void **state)
{
	const struct header header = { VHOST_USER_GET_FEATURES, 1, 0 };
	bool result = false;
	pthread_t thread;
	unsigned int i;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, dispatch_once, &result), 0);
	for (i = 0; i < sizeof(header); i++) {
		int left = 1;

		put((const uint8_t *)&header + i, 1);
		/* Until it has been taken: the next byte comes alone. */
		while (left != 0)
			assert_int_equal(ioctl(rig.dev.sock, FIONREAD, &left), 0);
	}
	pthread_join(thread, NULL);
	assert_true(result);
	expect_features();
}

static void
two_messages_in_one_send_are_two_dispatches(void **state)
{
	struct { struct header header; uint64_t value; struct header next; } VU_PACKED both = {
		{ VHOST_USER_SET_PROTOCOL_FEATURES, 1 | 8, 8 }, 1 << 3,
		{ VHOST_USER_GET_FEATURES, 1, 0 } };
	uint64_t answer;

	(void)state;
	put(&both, sizeof(both));
	assert_true(vu_dispatch(&rig.dev));
	assert_int_equal(rig_read(VHOST_USER_SET_PROTOCOL_FEATURES, &answer, 8), 8);
	assert_int_equal(answer, 0);
	assert_int_equal(recv(rig.peer, &answer, 1, MSG_DONTWAIT), -1);
	assert_true(vu_dispatch(&rig.dev));
	expect_features();
}

static void
descriptors_belong_to_the_message_they_came_with(void **state)
{
	const struct header call = { VHOST_USER_SET_VRING_CALL, 1 | 8, 8 };
	unsigned int i, fds = unit_open_fds();
	uint64_t index, answer;

	(void)state;
	/* Both messages wait in the socket, each with a descriptor of its own. */
	for (index = 0; index < 2; index++) {
		char bytes[sizeof(call) + sizeof(index)];
		int memory = rig.memory;

		memcpy(bytes, &call, sizeof(call));
		memcpy(bytes + sizeof(call), &index, sizeof(index));
		rig.memory = index == 0 ? rig.call : rig.kick;
		put_with_fds(bytes, sizeof(bytes), 1);
		rig.memory = memory;
	}
	for (i = 0; i < 2; i++) {
		assert_true(vu_dispatch(&rig.dev));
		assert_int_equal(rig_read(VHOST_USER_SET_VRING_CALL, &answer, 8), 8);
		assert_int_equal(answer, 0);
	}
	assert_int_equal(unit_open_fds(), fds + 2);
}

static void
end_within_a_message_panics_and_ends_the_connection(void **state)
{
	const struct { struct header header; uint32_t half; } VU_PACKED message = {
		{ VHOST_USER_SET_FEATURES, 1 | 8, 8 }, 0 };
	size_t size;

	(void)state;
	/* Within the header, behind it, within the payload. */
	for (size = 1; size < sizeof(message); size += 5) {
		void *rigs = NULL;

		rig_setup(&rigs);
		put(&message, size);
		assert_int_equal(shutdown(rig.peer, SHUT_WR), 0);
		assert_false(vu_dispatch(&rig.dev));
		assert_int_equal(rig.panics, 1);
		rig_teardown(&rigs);
	}
}

static void
sizes_that_cannot_be_followed_panic_and_close_what_came(void **state)
{
	static const uint32_t sizes[] = { 273, 0x7fffffff, 0xffffffff };
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		const struct header header = { VHOST_USER_SET_MEM_TABLE, 1, sizes[i] };
		void *rigs = NULL;
		unsigned int fds;

		rig_setup(&rigs);
		fds = unit_open_fds();
		put_with_fds(&header, sizeof(header), 8);
		assert_false(vu_dispatch(&rig.dev));
		assert_int_equal(rig.panics, 1);
		assert_int_equal(unit_open_fds(), fds);
		rig_teardown(&rigs);
	}
}

static void
flags_of_another_version_and_replies_are_refused(void **state)
{
	static const uint32_t flags[] = { 0 | 8, 2 | 8, 1 | 4 | 8 };
	uint64_t value = BIT(32) | BIT(30), answer;
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		rig_write(VHOST_USER_SET_FEATURES, flags[i], &value, sizeof(value), -1);
		assert_true(vu_dispatch(&rig.dev));
		assert_int_equal(rig_read(VHOST_USER_SET_FEATURES, &answer, 8), 8);
		assert_int_not_equal(answer, 0);
		assert_int_equal(rig.panics, i + 1);
	}
	assert_int_equal(rig.dev.features, 0);
	/* Bits without a meaning yet do not matter. */
	rig_write(VHOST_USER_SET_FEATURES, 1 | 8 | 0xfffffff0, &value, sizeof(value), -1);
	assert_true(vu_dispatch(&rig.dev));
	assert_int_equal(rig_read(VHOST_USER_SET_FEATURES, &answer, 8), 8);
	assert_int_equal(answer, 0);
	assert_int_equal(rig.dev.features, value);
}

static void
unknown_requests_are_refused_with_their_descriptors(void **state)
{
	static const uint32_t unknown[] = { 0, 46, 1000, 0x80000001 };
	unsigned int i, fds = unit_open_fds();
	uint64_t answer;

	(void)state;
	for (i = 0; i < 4; i++) {
		const struct header header = { unknown[i], 1 | 8, 0 };

		put_with_fds(&header, sizeof(header), 8);
		assert_true(vu_dispatch(&rig.dev));
		assert_int_equal(rig_read((int)unknown[i], &answer, 8), 8);
		assert_int_not_equal(answer, 0);
		assert_int_equal(rig.panics, i + 1);
		assert_int_equal(unit_open_fds(), fds);
	}
	rig_write(VHOST_USER_GET_FEATURES, 1, NULL, 0, -1);
	assert_true(vu_dispatch(&rig.dev));
	expect_features();
}

static void
too_many_descriptors_panic_and_none_stays(void **state)
{
	const struct header header = { VHOST_USER_SET_MEM_TABLE, 1, 8 };
	unsigned int count;

	(void)state;
	for (count = 9; count <= 32; count += 23) {
		void *rigs = NULL;
		unsigned int fds;

		rig_setup(&rigs);
		fds = unit_open_fds();
		put_with_fds(&header, sizeof(header), count);
		assert_false(vu_dispatch(&rig.dev));
		assert_int_equal(rig.panics, 1);
		assert_int_equal(unit_open_fds(), fds);
		rig_teardown(&rigs);
	}
}

/* A front-end that does not read. */

#define REPLIES 3000u

static _Atomic(long) dispatcher;

static void *
dispatch_all(void *unused)
{
	unsigned int i;

	(void)unused;
	dispatcher = syscall(SYS_gettid);
	for (i = 0; i < REPLIES; i++)
		assert_true(vu_dispatch(&rig.dev));
	return NULL;
}

/* Does the dispatching thread sleep? */
static bool
sleeps(void)
{
	char path[64], line[256] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%ld/stat", dispatcher);
	file = fopen(path, "r");
	if (file == NULL)
		return false;
	if (fgets(line, sizeof(line), file) == NULL)
		line[0] = 0;
	fclose(file);
	return strrchr(line, ')') != NULL && strrchr(line, ')')[2] == 'S';
}

/* Let the dispatcher fill the socket with replies until it waits. @return requests written. */
static unsigned int
ask_until_full(void)
{
	const struct header header = { VHOST_USER_GET_FEATURES, 1, 0 };
	unsigned int asked = 0;
	int left;

	while (asked < REPLIES) {
		if (send(rig.peer, &header, sizeof(header), MSG_DONTWAIT) ==
		    (ssize_t)sizeof(header)) {
			asked++;
			continue;
		}
		/* Nothing more fits, nothing is taken: it waits for us, asleep. */
		assert_int_equal(ioctl(rig.dev.sock, FIONREAD, &left), 0);
		if (left > 0 && sleeps())
			break;
	}
	return asked;
}

static void
replies_wait_asleep_until_the_front_end_reads(void **state)
{
	const struct header header = { VHOST_USER_GET_FEATURES, 1, 0 };
	unsigned int asked, got;
	pthread_t thread;

	(void)state;
	assert_int_equal(fcntl(rig.dev.sock, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(setsockopt(rig.dev.sock, SOL_SOCKET, SO_SNDBUF, &(int){ 4096 },
		sizeof(int)), 0);
	assert_int_equal(setsockopt(rig.peer, SOL_SOCKET, SO_SNDBUF, &(int){ 4096 },
		sizeof(int)), 0);
	assert_int_equal(pthread_create(&thread, NULL, dispatch_all, NULL), 0);
	asked = ask_until_full();
	assert_true(asked < REPLIES);
	for (got = 0; got < REPLIES; got++) {
		struct { struct header header; uint64_t value; } VU_PACKED reply;

		while (asked < REPLIES && send(rig.peer, &header, sizeof(header), MSG_DONTWAIT) ==
		       (ssize_t)sizeof(header))
			asked++;
		assert_int_equal(recv(rig.peer, &reply, sizeof(reply), MSG_WAITALL),
			sizeof(reply));
		assert_int_equal(reply.header.request, VHOST_USER_GET_FEATURES);
		assert_int_equal(reply.header.flags, 5);
	}
	pthread_join(thread, NULL);
	assert_int_equal(rig.panics, 0);
}

static void
notifications_in_band_need_what_they_stand_on(void **state)
{
	const uint64_t inband = BIT(VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS);

	(void)state;
	rig.protocol = inband;
	rig_write(VHOST_USER_GET_PROTOCOL_FEATURES, 1, NULL, 0, -1);
	assert_true(vu_dispatch(&rig.dev));
	rig_read(VHOST_USER_GET_PROTOCOL_FEATURES, &(uint64_t){ 0 }, sizeof(uint64_t));
	rig_write(VHOST_USER_SET_PROTOCOL_FEATURES, 1, &inband, sizeof(inband), -1);
	assert_false(vu_dispatch(&rig.dev));
	assert_int_equal(rig.panics, 1);
	assert_int_equal(rig.dev.protocol_features, 0);
}

static void
device_may_be_begun_again_after_its_end(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		vu_deinit(&rig.dev);
		vu_deinit(&rig.dev);
		assert_null(rig.dev.vq);
		assert_int_equal(rig.dev.sock, -1);
		close(rig.peer);
		rig_new_device();
		rig_start();
	}
	assert_int_equal(rig.panics, 0);
}

static void
element_may_have_any_size_but_too_small(void **state)
{
	static const size_t more[] = { 0, 1, 7, 4096 };
	const struct rig_part parts[] = { { RIG_DATA, 16, false }, { RIG_DATA, 16, true } };
	unsigned int i;

	(void)state;
	rig_start();
	rig_offer(0, parts, 2);
	assert_null(vu_queue_pop(&rig.dev, vu_get_queue(&rig.dev, 0),
		sizeof(VuVirtqElement) - 1));
	assert_null(vu_queue_pop(&rig.dev, vu_get_queue(&rig.dev, 0), 0));
	for (i = 0; i < 4; i++) {
		size_t size = sizeof(VuVirtqElement) + more[i];
		VuVirtqElement *element = vu_queue_pop(&rig.dev, vu_get_queue(&rig.dev, 0), size);

		assert_non_null(element);
		assert_int_equal((uintptr_t)element % _Alignof(max_align_t), 0);
		assert_int_equal((uintptr_t)element->out_sg % _Alignof(struct iovec), 0);
		memset(element + 1, 0xff, more[i]);
		assert_int_equal(element->out_sg[0].iov_len, 16);
		assert_int_equal(element->in_sg[0].iov_len, 16);
		vu_queue_unpop(&rig.dev, vu_get_queue(&rig.dev, 0), element, 0);
		free(element);
	}
}

static void
queue_that_is_none_is_none(void **state)
{
	(void)state;
	assert_null(vu_get_queue(&rig.dev, -1));
	assert_null(vu_get_queue(&rig.dev, RIG_QUEUES));
	assert_non_null(vu_get_queue(&rig.dev, RIG_QUEUES - 1));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(header_may_come_byte_by_byte),
		RIG_TEST(two_messages_in_one_send_are_two_dispatches),
		RIG_TEST(descriptors_belong_to_the_message_they_came_with),
		cmocka_unit_test(end_within_a_message_panics_and_ends_the_connection),
		cmocka_unit_test(sizes_that_cannot_be_followed_panic_and_close_what_came),
		RIG_TEST(flags_of_another_version_and_replies_are_refused),
		RIG_TEST(unknown_requests_are_refused_with_their_descriptors),
		cmocka_unit_test(too_many_descriptors_panic_and_none_stays),
		RIG_TEST(replies_wait_asleep_until_the_front_end_reads),
		RIG_TEST(notifications_in_band_need_what_they_stand_on),
		RIG_TEST(device_may_be_begun_again_after_its_end),
		RIG_TEST(element_may_have_any_size_but_too_small),
		RIG_TEST(queue_that_is_none_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
