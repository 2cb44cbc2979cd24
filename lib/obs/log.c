/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "obs/log.h"

/* Longest line, terminator included. */
#define LINE_SIZE 512

static void
sink_stderr(enum vhu_log_level level, const char *line)
{
	if (level <= VHU_LOG_WARNING)
		fprintf(stderr, "%s\n", line);
}

/* Application: writes, before any other thread logs; all threads: read. */
static vhu_log_sink sink = sink_stderr;

void
vhu_log_set_sink(vhu_log_sink new_sink)
{
	sink = new_sink != NULL ? new_sink : sink_stderr;
}

/* Who the line is about. @return its length, below size. */
static size_t
print_subject(char *line, size_t size, const char *device, int ring)
{
	int length;

	if (device == NULL)
		device = "vhu";
	if (ring == VHU_LOG_NO_RING)
		length = snprintf(line, size, "%s: ", device);
	else
		length = snprintf(line, size, "%s ring %d: ", device, ring);
	if (length < 0)
		return 0;
	return (size_t)length < size ? (size_t)length : size - 1;
}

/* Text may quote what a peer sent or a path: it must not end the line or drive the terminal. */
static void
hide_control_characters(char *line)
{
	for (; *line != '\0'; line++)
		if ((unsigned char)*line < ' ' || *line == '\x7f')
			*line = '?';
}

void
vhu_log(enum vhu_log_level level, const char *device, int ring, const char *format, ...)
{
	static const char cut[] = "...";
	char line[LINE_SIZE];
	size_t used = print_subject(line, sizeof(line), device, ring);
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(line + used, sizeof(line) - used, format, arguments);
	va_end(arguments);
	if (length < 0)
		line[used] = '\0';
	else if ((size_t)length >= sizeof(line) - used)
		memcpy(line + sizeof(line) - sizeof(cut), cut, sizeof(cut));
	hide_control_characters(line);
	sink(level, line);
}
