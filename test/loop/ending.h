/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef LOOP_ENDING_H
#define LOOP_ENDING_H

/**
 * @file
 * How the small ethdev programs of this folder end: at a signal, or at the first step that fails.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_errno.h>

/** Written by stop() in a signal handler, read by the program's loop. */
static volatile sig_atomic_t stopping;

/** For SIGINT and SIGTERM. */
static inline void
stop(int signal_number)
{
	(void)signal_number;
	stopping = 1;
}

/** Leave with one line if @p result is a negative errno. @p what  was being done. */
static inline void
must(int result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "%s: %s failed: %s\n", program_invocation_short_name, what,
		rte_strerror(-result));
	exit(EXIT_FAILURE);
}

#endif /* LOOP_ENDING_H */
