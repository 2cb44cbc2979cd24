/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* libvhost-user in a glib main loop: sources come and go with descriptors. */

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit.h"

#include <libvhost-user-glib.h>

static VugDev gdev;
static int peer;
static unsigned int panics, calls;
static unsigned int fds_before;
static const VuDevIface nothing;

static void
panic(VuDev *dev, const char *text)
{
	assert_true(dev->broken);
	assert_non_null(text);
	panics++;
}

static int
setup(void **state)
{
	int ends[2];

	(void)state;
	panics = 0;
	calls = 0;
	/* The context of the thread keeps descriptors of its own. */
	(void)g_main_context_iteration(NULL, FALSE);
	fds_before = unit_open_fds();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	peer = ends[1];
	assert_true(vug_init(&gdev, 2, ends[0], panic, &nothing));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	vug_deinit(&gdev);
	vu_deinit(&gdev.parent);
	close(peer);
	assert_int_equal(unit_open_fds(), fds_before);
	assert_false(g_main_context_pending(NULL));
	return 0;
}

#define GLIB_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void
count(VuDev *dev, int condition, void *data)
{
	assert_ptr_equal(dev, &gdev.parent);
	assert_int_equal(condition, VU_WATCH_IN);
	assert_int_equal(eventfd_read(*(int *)data, &(eventfd_t){ 0 }), 0);
	calls++;
}

static void
message_is_answered_by_the_loop(void **state)
{
	const uint32_t ask[3] = { VHOST_USER_GET_FEATURES, 1, 0 };
	uint32_t reply[5];

	(void)state;
	assert_int_equal(send(peer, ask, sizeof(ask), 0), sizeof(ask));
	while (recv(peer, reply, sizeof(reply), MSG_DONTWAIT) != sizeof(reply))
		g_main_context_iteration(NULL, FALSE);
	assert_int_equal(reply[0], VHOST_USER_GET_FEATURES);
	assert_int_equal(reply[1], 5);
	assert_int_equal(g_hash_table_size(gdev.fdmap), 0);
}

static void
front_end_that_hangs_up_ends_the_source_of_the_connection(void **state)
{
	unsigned int i;

	(void)state;
	assert_int_equal(shutdown(peer, SHUT_RDWR), 0);
	while (gdev.src != NULL)
		g_main_context_iteration(NULL, TRUE);
	assert_true(panics >= 1);
	/* The loop does not spin on it. */
	for (i = panics; g_main_context_iteration(NULL, FALSE);)
		;
	assert_int_equal(panics, i);
}

static void
source_calls_until_it_is_destroyed(void **state)
{
	int fd = eventfd(1, EFD_NONBLOCK);
	GSource *source = vug_source_new(&gdev, fd, G_IO_IN, count, &fd);

	(void)state;
	while (calls == 0)
		g_main_context_iteration(NULL, TRUE);
	assert_int_equal(eventfd_write(fd, 1), 0);
	vug_source_destroy(source);
	vug_source_destroy(NULL);
	while (g_main_context_iteration(NULL, FALSE))
		;
	assert_int_equal(calls, 1);
	close(fd);
}

static void
watch_takes_the_place_of_the_one_before_and_goes(void **state)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	VuDev *dev = &gdev.parent;

	(void)state;
	dev->set_watch(dev, fd, VU_WATCH_IN, count, &fd);
	dev->set_watch(dev, fd, VU_WATCH_IN, count, &fd);
	assert_int_equal(g_hash_table_size(gdev.fdmap), 1);
	assert_int_equal(eventfd_write(fd, 1), 0);
	while (calls == 0)
		g_main_context_iteration(NULL, TRUE);
	while (g_main_context_iteration(NULL, FALSE))
		;
	assert_int_equal(calls, 1);
	dev->remove_watch(dev, fd);
	dev->remove_watch(dev, fd);
	dev->remove_watch(dev, 12345);
	assert_int_equal(g_hash_table_size(gdev.fdmap), 0);
	close(fd);
}

static void
device_may_end_before_its_sources(void **state)
{
	(void)state;
	vu_deinit(&gdev.parent);
	vug_deinit(&gdev);
	vug_deinit(&gdev);
	assert_null(gdev.src);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		GLIB_TEST(message_is_answered_by_the_loop),
		GLIB_TEST(front_end_that_hangs_up_ends_the_source_of_the_connection),
		GLIB_TEST(source_calls_until_it_is_destroyed),
		GLIB_TEST(watch_takes_the_place_of_the_one_before_and_goes),
		GLIB_TEST(device_may_end_before_its_sources),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
