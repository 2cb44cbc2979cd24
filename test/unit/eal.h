/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_TEST_EAL_H
#define VHU_TEST_EAL_H

/**
 * @file
 * For tests of ctrl/: EAL without hugepages, devices or files, and a directory for sockets.
 */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_eal.h>

/* EAL empties its runtime folder when the process ends, and leaves it. */
static inline void
eal_remove_runtime_dir(void)
{
	rmdir(rte_eal_get_runtime_dir());
}

/**
 * Two lcores, which share a processor: nobody polls on both for long. The runtime folder, where
 * telemetry has its socket, is this process's own.
 * @param telemetry  "--telemetry" or "--no-telemetry".
 * @return 0 or -1.
 */
static inline int
eal_start_with(const char *telemetry)
{
	static char arguments[][48] = { "test", "--no-huge", "--no-shconf", "--no-pci", "-m", "64",
		"--lcores", "0@0,1@0", "--log-level=lib.eal:warning", "", "" };
	char *argv[RTE_DIM(arguments)];

	snprintf(arguments[RTE_DIM(arguments) - 2], sizeof(arguments[0]), "%s", telemetry);
	snprintf(arguments[RTE_DIM(arguments) - 1], sizeof(arguments[0]),
		"--file-prefix=vhu-unit-%d", (int)getpid());
	for (unsigned int i = 0; i < RTE_DIM(arguments); i++)
		argv[i] = arguments[i];
	/* Before EAL's own exit functions are registered, hence after them. */
	atexit(eal_remove_runtime_dir);
	return rte_eal_init(RTE_DIM(argv), argv) < 0 ? -1 : 0;
}

static inline int
eal_start(void)
{
	return eal_start_with("--no-telemetry");
}

/** Fill in a path for a socket of this process. Its directory is made the first time. */
static inline const char *
eal_socket_path(char path[108], const char *name)
{
	static char directory[64];

	if (directory[0] == '\0') {
		snprintf(directory, sizeof(directory), "/tmp/vhu-unit-XXXXXX");
		if (mkdtemp(directory) == NULL)
			abort();
	}
	snprintf(path, 108, "%s/%s", directory, name);
	return path;
}

/** Remove the directory; the sockets must be gone. @return 0 or -1. */
static inline int
eal_end(void)
{
	char path[108];
	int status;

	eal_socket_path(path, "");
	status = rmdir(path);
	rte_eal_cleanup();
	return status;
}

#endif /* VHU_TEST_EAL_H */
