/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Log lines: who they are about, one line each, and where they go. */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "obs/log.h"
#include "unit.h"

static enum vhu_log_level last_level;
static char last_line[1024];

static void
keep(enum vhu_log_level level, const char *line)
{
	last_level = level;
	snprintf(last_line, sizeof(last_line), "%s", line);
}

static int
install(void **state)
{
	(void)state;
	vhu_log_set_sink(keep);
	last_line[0] = '\0';
	return 0;
}

static void
line_names_device_and_ring(void **state)
{
	(void)state;
	vhu_log(VHU_LOG_NOTICE, "vhu0", 3, "descriptor %d: address outside guest memory", 17);
	assert_string_equal(last_line, "vhu0 ring 3: descriptor 17: address outside guest memory");
	assert_int_equal(last_level, VHU_LOG_NOTICE);
}

static void
line_without_ring_names_the_device_only(void **state)
{
	(void)state;
	vhu_log(VHU_LOG_INFO, "vhu0", VHU_LOG_NO_RING, "connected");
	assert_string_equal(last_line, "vhu0: connected");
}

static void
line_without_device_is_about_the_library(void **state)
{
	(void)state;
	vhu_log(VHU_LOG_INFO, NULL, VHU_LOG_NO_RING, "control thread started");
	assert_string_equal(last_line, "vhu: control thread started");
}

static void
control_characters_cannot_break_the_line(void **state)
{
	(void)state;
	vhu_log(VHU_LOG_INFO, "a\nb", VHU_LOG_NO_RING, "path %s", "x\ny\x1b[2J\x7f\xc3\xa4");
	assert_string_equal(last_line, "a?b: path x?y?[2J?\xc3\xa4");
}

static void
long_line_is_cut_visibly(void **state)
{
	(void)state;
	vhu_log(VHU_LOG_INFO, "vhu0", VHU_LOG_NO_RING, "%02000d", 1);
	assert_int_equal(strlen(last_line), 511);
	assert_string_equal(last_line + 508, "...");
}

static void
endless_device_name_does_no_harm(void **state)
{
	char name[2000];

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	vhu_log(VHU_LOG_INFO, name, 1, "text");
	assert_int_equal(strlen(last_line), 511);
	assert_string_equal(last_line + 508, "...");
}

/* What goes to stderr while it is redirected to a file in memory. */
static size_t
stderr_of(enum vhu_log_level level, char *text, size_t size)
{
	int saved = dup(STDERR_FILENO);
	int file = memfd_create("stderr", MFD_CLOEXEC);
	ssize_t length;

	assert_true(saved >= 0 && file >= 0);
	fflush(stderr);
	assert_true(dup2(file, STDERR_FILENO) >= 0);
	vhu_log_set_sink(NULL);
	vhu_log(level, "vhu0", VHU_LOG_NO_RING, "something");
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	close(saved);
	length = pread(file, text, size - 1, 0);
	close(file);
	assert_true(length >= 0);
	text[length] = '\0';
	return (size_t)length;
}

static void
without_a_sink_warnings_go_to_stderr(void **state)
{
	char text[100];

	(void)state;
	stderr_of(VHU_LOG_WARNING, text, sizeof(text));
	assert_string_equal(text, "vhu0: something\n");
	stderr_of(VHU_LOG_ERROR, text, sizeof(text));
	assert_string_equal(text, "vhu0: something\n");
}

static void
without_a_sink_lesser_lines_go_nowhere(void **state)
{
	char text[100];

	(void)state;
	assert_int_equal(stderr_of(VHU_LOG_NOTICE, text, sizeof(text)), 0);
	assert_int_equal(stderr_of(VHU_LOG_DEBUG, text, sizeof(text)), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(line_names_device_and_ring, install),
		cmocka_unit_test_setup(line_without_ring_names_the_device_only, install),
		cmocka_unit_test_setup(line_without_device_is_about_the_library, install),
		cmocka_unit_test_setup(control_characters_cannot_break_the_line, install),
		cmocka_unit_test_setup(long_line_is_cut_visibly, install),
		cmocka_unit_test_setup(endless_device_name_does_no_harm, install),
		cmocka_unit_test_setup(without_a_sink_warnings_go_to_stderr, install),
		cmocka_unit_test_setup(without_a_sink_lesser_lines_go_nowhere, install),
	};

	return cmocka_run_group_tests_name("obs/log", tests, NULL, NULL);
}
