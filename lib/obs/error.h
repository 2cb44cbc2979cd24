/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_OBS_ERROR_H
#define VHU_OBS_ERROR_H

/**
 * @file
 * Errors of the public API: a negative errno for the program, one sentence for the person.
 *
 * The sentence says what was wrong, what is allowed and what to do. It belongs to the thread that
 * made the call; vhu_error_text() gives it back.
 */

/** Keep a sentence for this thread. @param code positive errno. @return -code. */
int vhu_error(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif /* VHU_OBS_ERROR_H */
