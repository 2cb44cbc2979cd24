/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stdarg.h>
#include <stdio.h>

#include <vhu.h>

#include "obs/error.h"

/* A sentence may quote a path and say what is wrong with it. */
static _Thread_local char error_text[VHU_PATH_SIZE + VHU_REASON_SIZE];

int
vhu_error(int code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(error_text, sizeof(error_text), format, arguments);
	va_end(arguments);
	return -code;
}

const char *
vhu_error_text(void)
{
	return error_text;
}
