/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_OBS_LOG_H
#define VHU_OBS_LOG_H

/**
 * @file
 * Log lines. Each names the device it is about and, if there is one, the ring:
 * "vhu0 ring 3: descriptor 17: address outside guest memory". Never called from a burst.
 *
 * The engine does not know rte_log: ctrl/ installs a sink that does; without one lines of warning
 * level and above go to stderr. A sink may be called from the control and the worker thread.
 */

#include <stdarg.h>

enum vhu_log_level {
	VHU_LOG_ERROR = 0,
	VHU_LOG_WARNING,
	VHU_LOG_NOTICE,
	VHU_LOG_INFO,
	VHU_LOG_DEBUG,
};

/** Receives one whole line without newline. */
typedef void (*vhu_log_sink)(enum vhu_log_level level, const char *line);

/** Install a sink; NULL restores stderr. Before any other thread logs. */
void vhu_log_set_sink(vhu_log_sink sink);

/** Ring argument of lines that are not about a ring. */
#define VHU_LOG_NO_RING (-1)

/** Write one line. @param device name, or NULL for the library itself. */
void vhu_log(enum vhu_log_level level, const char *device, int ring, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#endif /* VHU_OBS_LOG_H */
