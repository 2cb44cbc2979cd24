/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_TEST_UNIT_H
#define VHU_TEST_UNIT_H

/**
 * @file
 * What every unit test needs: cmocka with the headers that it wants included before it, and a
 * census of open descriptors to show that none leaks.
 */

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/** How many descriptors this process has open. */
static inline unsigned int
unit_open_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned int count = 0;

	assert_non_null(directory);
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count - 3; /* ".", ".." and the directory itself */
}

#endif /* VHU_TEST_UNIT_H */
