/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <cmdline.h>
#include <cmdline_rdline.h>
#include <cmdline_socket.h>

#include "console.h"
#include "stats.h"

#define PROMPT "vhu-testpmd> "

struct console console;
FILE *people;

static struct cmdline *line_editor;
static bool terminal;
/* Of a pipe: what was read and not run yet. */
static char pending[8192];
static size_t pending_length;

bool
console_open(void)
{
	terminal = isatty(STDIN_FILENO) != 0;
	line_editor = terminal ? cmdline_stdin_new(console_commands, PROMPT) :
		cmdline_new(console_commands, "", -1, -1);
	return line_editor != NULL;
}

void
console_close(void)
{
	if (line_editor == NULL)
		return;
	/* The first restores the terminal and then frees, too. */
	if (terminal)
		cmdline_stdin_exit(line_editor);
	else
		cmdline_free(line_editor);
	line_editor = NULL;
}

void
console_fail(const char *why)
{
	fprintf(people, "error: %s\n", why);
	fflush(people);
	console.failures++;
}

static bool
held(void)
{
	return console.hold_until > now_seconds();
}

bool
console_wants_input(void)
{
	return !held() && memchr(pending, '\n', pending_length) == NULL;
}

static void
run_line(const char *text, size_t length)
{
	char line[512], why[640];

	if (length > 0 && text[length - 1] == '\r')
		length--;
	if (length + 2 > sizeof(line)) {
		console_fail("line too long: want at most 510 bytes");
		return;
	}
	memcpy(line, text, length);
	line[length] = '\0';
	if (line[strspn(line, " \t")] == '\0' || line[strspn(line, " \t")] == '#')
		return;
	strcat(line, "\n");
	if (cmdline_parse(line_editor, line) < 0) {
		snprintf(why, sizeof(why), "no such command: '%.*s'; 'help' lists them",
			(int)length, line);
		console_fail(why);
	}
}

/* @return false if no whole line is there. */
static bool
run_pending(void)
{
	char *end = memchr(pending, '\n', pending_length);

	if (end == NULL)
		return false;
	run_line(pending, (size_t)(end - pending));
	pending_length -= (size_t)(end + 1 - pending);
	memmove(pending, end + 1, pending_length);
	return true;
}

static void
read_pipe(void)
{
	ssize_t got = read(STDIN_FILENO, pending + pending_length,
		sizeof(pending) - pending_length);

	if (got > 0) {
		pending_length += (size_t)got;
		if (pending_length == sizeof(pending) && memchr(pending, '\n', got) == NULL) {
			console_fail("line too long: want at most 510 bytes");
			pending_length = 0;
		}
		return;
	}
	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (pending_length != 0)
		run_line(pending, pending_length);
	pending_length = 0;
	console.quit = true;
}

static void
serve_terminal(void)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	char key;

	while (!console.quit && poll(&input, 1, 0) > 0) {
		if (!(input.revents & POLLIN) || read(STDIN_FILENO, &key, 1) != 1 ||
				cmdline_in(line_editor, &key, 1) != 1)
			console.quit = true;
	}
}

void
console_serve(bool readable)
{
	if (terminal) {
		if (readable)
			serve_terminal();
		return;
	}
	while (!console.quit && !held() && run_pending())
		;
	if (readable && !console.quit && console_wants_input())
		read_pipe();
	while (!console.quit && !held() && run_pending())
		;
}
