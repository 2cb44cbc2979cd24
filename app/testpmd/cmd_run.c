/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Commands that start, stop, wait, clear and quit. */

#include <stdio.h>

#include "cmd.h"
#include "console.h"
#include "engine.h"
#include "fwd.h"
#include "show.h"
#include "stats.h"

static void
start(void *result, struct cmdline *editor, void *data)
{
	const struct words *words = result;
	const unsigned int *fixed = data;
	unsigned int bursts = fixed != NULL ? *fixed : words->number;
	char why[WHY_SIZE];

	(void)editor;
	if (!engine_can_start(why)) {
		console_fail(why);
		return;
	}
	if (bursts != 0) {
		unsigned long long sent = engine_send_first(bursts);
		fprintf(people, "sent %llu frames first%s\n", sent,
			sent == 0 ? ": no queue towards a guest had room" : "");
	}
	if (!engine_start(why)) {
		console_fail(why);
		return;
	}
	fprintf(people, "%s forwarding on %u lcore%s, %u streams\n", settings.mode->name,
		engine_lcores(), engine_lcores() == 1 ? "" : "s", engine_streams());
	fflush(people);
}

static void
stop(void *result, struct cmdline *editor, void *data)
{
	(void)result;
	(void)editor;
	(void)data;
	if (!engine_running()) {
		console_fail("forwarding does not run");
		return;
	}
	engine_stop();
	show_ports(people, SHOW_STATS, NULL, false);
}

static void
clear_stats(void *result, struct cmdline *editor, void *data)
{
	(void)result;
	(void)editor;
	(void)data;
	/* Our counters have one writer each, so they go on and we remember where they were. */
	PORT_FOREACH(port)
		stats_clear(port);
}

static void
wait_seconds(void *result, struct cmdline *editor, void *data)
{
	const struct words *words = result;
	char why[WHY_SIZE];
	double seconds;

	(void)editor;
	(void)data;
	if (parse_seconds("wait", words->value, &seconds, why))
		console.hold_until = now_seconds() + seconds;
	else
		console_fail(why);
}

static void
quit(void *result, struct cmdline *editor, void *data)
{
	(void)result;
	(void)editor;
	(void)data;
	console.quit = true;
}

static unsigned int no_burst = 0, one_burst = 1;
static cmdline_parse_token_string_t start_verb = WORD(verb, "start");
static cmdline_parse_token_string_t start_what = WORD(what, "tx_first");
static cmdline_parse_token_num_t start_number = NUMBER(number);
static cmdline_parse_token_string_t stop_verb = WORD(verb, "stop");
static cmdline_parse_token_string_t clear_verb = WORD(verb, "clear");
static cmdline_parse_token_string_t clear_noun = WORD(noun, "stats");
static cmdline_parse_token_string_t wait_verb = WORD(verb, "wait");
static cmdline_parse_token_string_t wait_value = WORD(value, NULL);
static cmdline_parse_token_string_t quit_verb = WORD(verb, "quit");

COMMAND(cmd_start, start, &no_burst, "start: start forwarding", TOKEN(start_verb));
COMMAND(cmd_start_first, start, &one_burst,
	"start tx_first: send one burst to each queue, then start",
	TOKEN(start_verb), TOKEN(start_what));
COMMAND(cmd_start_first_count, start, NULL,
	"start tx_first N: send N bursts to each queue, then start",
	TOKEN(start_verb), TOKEN(start_what), TOKEN(start_number));
COMMAND(cmd_stop, stop, NULL, "stop: stop forwarding and show statistics", TOKEN(stop_verb));
COMMAND(cmd_clear_stats, clear_stats, NULL, "clear stats: count from 0 again",
	TOKEN(clear_verb), TOKEN(clear_noun));
COMMAND(cmd_wait, wait_seconds, NULL, "wait S: read the next command after S seconds",
	TOKEN(wait_verb), TOKEN(wait_value));
COMMAND(cmd_quit, quit, NULL, "quit: stop everything and end", TOKEN(quit_verb));
