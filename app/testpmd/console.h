/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef TESTPMD_CONSOLE_H
#define TESTPMD_CONSOLE_H

/*
 * Prompt: commands from a terminal, with completion, or from a pipe, one a line.
 *
 * A pipe is read without echo, so that the output holds results only; the program ends with it.
 * Everything runs in the main thread, between its other duties: the main loop asks what to poll.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmdline_parse.h>

/* What commands tell the main loop. */
struct console {
	bool quit;
	double hold_until;     /* "wait": no command is read before (now_seconds()) */
	unsigned int failures; /* commands of a pipe that failed: the exit status tells */
};

extern struct console console;
/* Where people read: standard output, or standard error if that carries JSON. */
extern FILE *people;

/* All commands (commands.c). */
extern cmdline_parse_ctx_t console_commands[];

bool console_open(void);
void console_close(void);
/* Whether the main loop should wait for input now. */
bool console_wants_input(void);
/* Run what can be run; readable: input waits. Sets console.quit at the end of input. */
void console_serve(bool readable);

/* A command failed: say why. */
void console_fail(const char *why);

#endif /* TESTPMD_CONSOLE_H */
