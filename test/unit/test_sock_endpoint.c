/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Socket paths: whose they are, who may have them, who gets connected. */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sock/endpoint.h"
#include "unit.h"

struct place {
	struct vhu_loop *loop;
	char folder[64];
	char path[100];
	char moved[100];
	char error[256];
	unsigned int fds_before;

	struct vhu_endpoint *endpoint;
	unsigned int connections;
	int fd; /* the last connection; -1: none */
	bool close_when_connected;
	bool resume_when_connected;
};

static void
connected(void *owner, int fd)
{
	struct place *place = owner;

	if (place->fd >= 0)
		close(place->fd);
	place->fd = fd;
	place->connections++;
	if (place->close_when_connected) {
		vhu_endpoint_close(place->endpoint);
		place->endpoint = NULL;
	} else if (place->resume_when_connected) {
		vhu_endpoint_resume(place->endpoint);
	}
}

static int
setup(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	assert_non_null(place);
	place->fds_before = unit_open_fds();
	place->loop = vhu_loop_new();
	assert_non_null(place->loop);
	strcpy(place->folder, "/tmp/vhu-unit-XXXXXX");
	assert_non_null(mkdtemp(place->folder));
	snprintf(place->path, sizeof(place->path), "%s/socket", place->folder);
	snprintf(place->moved, sizeof(place->moved), "%s/moved", place->folder);
	place->fd = -1;
	*state = place;
	return 0;
}

static int
teardown(void **state)
{
	struct place *place = *state;

	vhu_endpoint_close(place->endpoint);
	if (place->fd >= 0)
		close(place->fd);
	vhu_loop_free(place->loop);
	unlink(place->path);
	unlink(place->moved);
	/* Fails if anything else was left behind. */
	assert_int_equal(rmdir(place->folder), 0);
	assert_int_equal(unit_open_fds(), place->fds_before);
	free(place);
	return 0;
}

static struct vhu_endpoint_config
server_config(struct place *place)
{
	return (struct vhu_endpoint_config){
		.path = place->path, .uid = -1, .gid = -1,
		.connected = connected, .owner = place, .name = "unit",
	};
}

static int
open_server(struct place *place)
{
	struct vhu_endpoint_config config = server_config(place);

	return vhu_endpoint_open(place->loop, &config, &place->endpoint, place->error,
		sizeof(place->error));
}

static int
open_client(struct place *place)
{
	struct vhu_endpoint_config config = server_config(place);

	config.client = true;
	config.reconnect_min_ms = 1;
	config.reconnect_max_ms = 4;
	return vhu_endpoint_open(place->loop, &config, &place->endpoint, place->error,
		sizeof(place->error));
}

static struct sockaddr_un
address_of(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	return address;
}

/* A server that is not ours. @param backlog -1: bound only, so nobody serves it */
static int
foreign_server(struct place *place, int type, int backlog)
{
	struct sockaddr_un address = address_of(place->path);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	if (backlog >= 0)
		assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static int
front_end(struct place *place)
{
	struct sockaddr_un address = address_of(place->path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void
serve(struct place *place)
{
	unsigned int steps = 0;

	while (vhu_loop_step(place->loop, 0) > 0)
		assert_true(steps++ < 1000);
}

static unsigned int
mode_of(const char *path)
{
	struct stat status;

	assert_int_equal(lstat(path, &status), 0);
	return status.st_mode & 07777;
}

static bool
exists(const char *path)
{
	struct stat status;

	return lstat(path, &status) == 0;
}

static void
server_hands_its_connection_over(void **state)
{
	struct place *place = *state;
	int fd;

	assert_int_equal(open_server(place), 0);
	fd = front_end(place);
	serve(place);
	assert_int_equal(place->connections, 1);
	assert_int_equal(fcntl(place->fd, F_GETFD), FD_CLOEXEC);
	assert_true((fcntl(place->fd, F_GETFL) & O_NONBLOCK) != 0);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(read(place->fd, place->error, 2), 1);
	close(fd);
}

static void
server_takes_one_connection_at_a_time(void **state)
{
	struct place *place = *state;
	int first, second;

	assert_int_equal(open_server(place), 0);
	first = front_end(place);
	second = front_end(place);
	serve(place);
	assert_int_equal(place->connections, 1);
	assert_int_equal(vhu_loop_wait(place->loop, 0), 0);
	vhu_endpoint_resume(place->endpoint);
	serve(place);
	assert_int_equal(place->connections, 2);
	close(first);
	close(second);
}

static void
server_may_be_resumed_inside_its_callback(void **state)
{
	struct place *place = *state;
	int first, second;

	assert_int_equal(open_server(place), 0);
	place->resume_when_connected = true;
	first = front_end(place);
	second = front_end(place);
	serve(place);
	assert_int_equal(place->connections, 2);
	close(first);
	close(second);
}

static void
server_may_be_closed_inside_its_callback(void **state)
{
	struct place *place = *state;
	int fd;

	assert_int_equal(open_server(place), 0);
	place->close_when_connected = true;
	fd = front_end(place);
	serve(place);
	assert_int_equal(place->connections, 1);
	assert_false(exists(place->path));
	close(fd);
}

static void
server_without_descriptors_to_accept_with_tries_again_later(void **state)
{
	struct place *place = *state;
	struct rlimit before, tight;
	int fd;

	assert_int_equal(open_server(place), 0);
	fd = front_end(place);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	tight = before;
	tight.rlim_cur = (rlim_t)fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	vhu_loop_step(place->loop, 0);
	/* The connection still waits, and yet the loop is idle. */
	assert_int_equal(vhu_loop_wait(place->loop, 0), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(place->connections, 0);
	while (place->connections == 0)
		assert_true(vhu_loop_step(place->loop, -1) >= 0);
	close(fd);
}

static void
mode_is_applied_whatever_the_umask(void **state)
{
	struct place *place = *state;
	struct vhu_endpoint_config config = server_config(place);
	mode_t mask = umask(077);
	int status;

	config.mode = 0666;
	status = vhu_endpoint_open(place->loop, &config, &place->endpoint, place->error,
		sizeof(place->error));
	umask(mask);
	assert_int_equal(status, 0);
	assert_int_equal(mode_of(place->path), 0666);
}

static void
narrow_mode_is_applied(void **state)
{
	struct place *place = *state;
	struct vhu_endpoint_config config = server_config(place);
	mode_t mask = umask(0);
	int status;

	config.mode = 0600;
	status = vhu_endpoint_open(place->loop, &config, &place->endpoint, place->error,
		sizeof(place->error));
	umask(mask);
	assert_int_equal(status, 0);
	assert_int_equal(mode_of(place->path), 0600);
}

static void
mode_is_left_to_the_umask_if_none_is_given(void **state)
{
	struct place *place = *state;
	mode_t mask = umask(027);
	int status = open_server(place);

	umask(mask);
	assert_int_equal(status, 0);
	assert_int_equal(mode_of(place->path), 0750);
}

static void
owner_is_applied(void **state)
{
	struct place *place = *state;
	struct vhu_endpoint_config config = server_config(place);
	struct stat status;

	if (geteuid() != 0) {
		print_message("skipped: only root may give files away\n");
		skip();
	}
	config.uid = 1;
	config.gid = 2;
	assert_int_equal(vhu_endpoint_open(place->loop, &config, &place->endpoint, place->error,
		sizeof(place->error)), 0);
	assert_int_equal(lstat(place->path, &status), 0);
	assert_int_equal(status.st_uid, 1);
	assert_int_equal(status.st_gid, 2);
}

static void
socket_that_nobody_serves_is_replaced(void **state)
{
	struct place *place = *state;
	int fd;

	close(foreign_server(place, SOCK_STREAM, 1));
	assert_true(exists(place->path));
	assert_int_equal(open_server(place), 0);
	fd = front_end(place);
	serve(place);
	assert_int_equal(place->connections, 1);
	close(fd);
}

static void (*before_rename)(struct place *place);
static struct place *rename_place;

/* In the place of the C library's: something may happen just before. */
int
rename(const char *from, const char *to)
{
	void (*hook)(struct place *) = before_rename;

	before_rename = NULL;
	if (hook != NULL)
		hook(rename_place);
	return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

static int quicker_server = -1;

static void
let_another_server_take_the_path(struct place *place)
{
	assert_int_equal(unlink(place->path), 0);
	quicker_server = foreign_server(place, SOCK_STREAM, 4);
}

static void
expect_refused(struct place *place, int status, const char *sentence)
{
	place->endpoint = NULL;
	assert_int_equal(open_server(place), -status);
	assert_null(place->endpoint);
	assert_non_null(strstr(place->error, sentence));
	assert_non_null(strstr(place->error, place->path));
	assert_null(strchr(place->error, '\n'));
	assert_true(exists(place->path));
}

static void
socket_that_is_served_is_refused(void **state)
{
	struct place *place = *state;
	int fd = foreign_server(place, SOCK_STREAM, 4);
	int other;

	expect_refused(place, EADDRINUSE, "a process is already serving");
	other = front_end(place);
	close(other);
	close(fd);
}

static void
server_that_is_quicker_to_replace_a_left_over_keeps_the_path(void **state)
{
	struct place *place = *state;

	close(foreign_server(place, SOCK_STREAM, 1));
	rename_place = place;
	before_rename = let_another_server_take_the_path;
	expect_refused(place, EADDRINUSE, "a process is already serving");
	assert_null(before_rename);
	close(front_end(place));
	close(quicker_server);
}

static void
socket_whose_server_is_busy_is_refused(void **state)
{
	struct place *place = *state;
	int fd = foreign_server(place, SOCK_STREAM, 0);
	int waiting = front_end(place);

	expect_refused(place, EADDRINUSE, "a process is already serving");
	close(waiting);
	close(fd);
}

static void
socket_of_another_type_that_is_served_is_refused(void **state)
{
	struct place *place = *state;
	int fd = foreign_server(place, SOCK_DGRAM, -1);

	expect_refused(place, EADDRINUSE, "a process is already serving");
	close(fd);
}

static void
regular_file_is_refused_and_left_alone(void **state)
{
	struct place *place = *state;
	char content[8] = "";
	int fd = open(place->path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, "keep", 4), 4);
	expect_refused(place, EEXIST, "is not a socket");
	assert_int_equal(pread(fd, content, sizeof(content), 0), 4);
	assert_string_equal(content, "keep");
	close(fd);
}

static void
symbolic_link_is_refused_and_left_alone(void **state)
{
	struct place *place = *state;

	assert_int_equal(symlink(place->moved, place->path), 0);
	expect_refused(place, EEXIST, "is not a socket");
}

static void
missing_folder_is_named(void **state)
{
	struct place *place = *state;
	struct vhu_endpoint_config config = server_config(place);
	char path[100];

	snprintf(path, sizeof(path), "%s/no/socket", place->folder);
	config.path = path;
	assert_int_equal(vhu_endpoint_open(place->loop, &config, &place->endpoint, place->error,
		sizeof(place->error)), -ENOENT);
	assert_non_null(strstr(place->error, path));
	assert_non_null(strstr(place->error, "does not exist"));
}

static void
open_with_path_of(struct place *place, size_t length, bool client, int status)
{
	struct vhu_endpoint_config config = server_config(place);
	char path[256];

	memset(path, 'x', sizeof(path));
	memcpy(path, place->folder, strlen(place->folder));
	path[strlen(place->folder)] = '/';
	path[length] = '\0';
	config.path = path;
	config.client = client;
	assert_int_equal(vhu_endpoint_open(place->loop, &config, &place->endpoint, place->error,
		sizeof(place->error)), status);
}

static void
longest_path_is_served(void **state)
{
	open_with_path_of(*state, 107, false, 0);
}

static void
path_too_long_is_refused_with_both_lengths(void **state)
{
	struct place *place = *state;

	open_with_path_of(place, 108, false, -ENAMETOOLONG);
	assert_non_null(strstr(place->error, "is 108 bytes, at most 107 are allowed"));
}

static void
path_too_long_is_refused_for_a_client_too(void **state)
{
	open_with_path_of(*state, 120, true, -ENAMETOOLONG);
}

static void
empty_path_is_refused(void **state)
{
	struct place *place = *state;
	struct vhu_endpoint_config config = server_config(place);

	config.path = "";
	assert_int_equal(vhu_endpoint_open(place->loop, &config, &place->endpoint, place->error,
		sizeof(place->error)), -EINVAL);
}

static void
closed_server_removes_its_path(void **state)
{
	struct place *place = *state;

	assert_int_equal(open_server(place), 0);
	vhu_endpoint_close(place->endpoint);
	place->endpoint = NULL;
	assert_false(exists(place->path));
}

static void
closed_server_leaves_a_path_that_is_no_longer_its_own(void **state)
{
	struct place *place = *state;
	int fd;

	assert_int_equal(open_server(place), 0);
	assert_int_equal(rename(place->path, place->moved), 0);
	fd = foreign_server(place, SOCK_STREAM, 1);
	vhu_endpoint_close(place->endpoint);
	place->endpoint = NULL;
	assert_true(exists(place->path));
	close(fd);
}

static void
client_connects_from_the_loop_not_inside_open(void **state)
{
	struct place *place = *state;
	int fd = foreign_server(place, SOCK_STREAM, 1);

	assert_int_equal(open_client(place), 0);
	assert_int_equal(place->connections, 0);
	while (place->connections == 0)
		assert_true(vhu_loop_step(place->loop, -1) >= 0);
	assert_int_equal(fcntl(place->fd, F_GETFD), FD_CLOEXEC);
	assert_true((fcntl(place->fd, F_GETFL) & O_NONBLOCK) != 0);
	close(fd);
}

static void
client_connects_once_its_server_appears(void **state)
{
	struct place *place = *state;
	unsigned int i;
	int fd;

	assert_int_equal(open_client(place), 0);
	for (i = 0; i < 3; i++)
		assert_true(vhu_loop_step(place->loop, -1) >= 0);
	assert_int_equal(place->connections, 0);
	fd = foreign_server(place, SOCK_STREAM, 1);
	while (place->connections == 0)
		assert_true(vhu_loop_step(place->loop, -1) >= 0);
	close(fd);
}

static void
client_connects_again_when_resumed_and_not_before(void **state)
{
	struct place *place = *state;
	int fd = foreign_server(place, SOCK_STREAM, 4);

	assert_int_equal(open_client(place), 0);
	while (place->connections == 0)
		assert_true(vhu_loop_step(place->loop, -1) >= 0);
	/* Longer than its longest pause. */
	assert_int_equal(vhu_loop_wait(place->loop, 10), 0);
	vhu_endpoint_resume(place->endpoint);
	while (place->connections == 1)
		assert_true(vhu_loop_step(place->loop, -1) >= 0);
	assert_int_equal(place->connections, 2);
	close(fd);
}

static void
client_may_be_closed_inside_its_callback(void **state)
{
	struct place *place = *state;
	int fd = foreign_server(place, SOCK_STREAM, 1);

	assert_int_equal(open_client(place), 0);
	place->close_when_connected = true;
	while (place->connections == 0)
		assert_true(vhu_loop_step(place->loop, -1) >= 0);
	assert_null(place->endpoint);
	assert_true(exists(place->path));
	close(fd);
}

static void
client_closed_while_it_waits_tries_no_more(void **state)
{
	struct place *place = *state;
	int fd;

	assert_int_equal(open_client(place), 0);
	assert_true(vhu_loop_step(place->loop, -1) >= 0);
	vhu_endpoint_close(place->endpoint);
	place->endpoint = NULL;
	fd = foreign_server(place, SOCK_STREAM, 1);
	assert_int_equal(vhu_loop_step(place->loop, 10), 0);
	assert_int_equal(place->connections, 0);
	close(fd);
}

#define PLACE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PLACE_TEST(server_hands_its_connection_over),
		PLACE_TEST(server_takes_one_connection_at_a_time),
		PLACE_TEST(server_may_be_resumed_inside_its_callback),
		PLACE_TEST(server_may_be_closed_inside_its_callback),
		PLACE_TEST(server_without_descriptors_to_accept_with_tries_again_later),
		PLACE_TEST(mode_is_applied_whatever_the_umask),
		PLACE_TEST(narrow_mode_is_applied),
		PLACE_TEST(mode_is_left_to_the_umask_if_none_is_given),
		PLACE_TEST(owner_is_applied),
		PLACE_TEST(socket_that_nobody_serves_is_replaced),
		PLACE_TEST(socket_that_is_served_is_refused),
		PLACE_TEST(server_that_is_quicker_to_replace_a_left_over_keeps_the_path),
		PLACE_TEST(socket_whose_server_is_busy_is_refused),
		PLACE_TEST(socket_of_another_type_that_is_served_is_refused),
		PLACE_TEST(regular_file_is_refused_and_left_alone),
		PLACE_TEST(symbolic_link_is_refused_and_left_alone),
		PLACE_TEST(missing_folder_is_named),
		PLACE_TEST(longest_path_is_served),
		PLACE_TEST(path_too_long_is_refused_with_both_lengths),
		PLACE_TEST(path_too_long_is_refused_for_a_client_too),
		PLACE_TEST(empty_path_is_refused),
		PLACE_TEST(closed_server_removes_its_path),
		PLACE_TEST(closed_server_leaves_a_path_that_is_no_longer_its_own),
		PLACE_TEST(client_connects_from_the_loop_not_inside_open),
		PLACE_TEST(client_connects_once_its_server_appears),
		PLACE_TEST(client_connects_again_when_resumed_and_not_before),
		PLACE_TEST(client_may_be_closed_inside_its_callback),
		PLACE_TEST(client_closed_while_it_waits_tries_no_more),
	};

	return cmocka_run_group_tests_name("sock/endpoint", tests, NULL, NULL);
}
