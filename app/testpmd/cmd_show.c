/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Commands that show something, as a table or, with "json" behind them, as JSON. */

#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "console.h"
#include "show.h"

/* Which form of a command was typed. */
struct form {
	bool one;
	bool json;
};

static void
show_port(void *result, struct cmdline *editor, void *data)
{
	const struct words *words = result;
	const struct form *form = data;
	enum show_what what = 0;
	struct port *port = NULL;
	char why[WHY_SIZE], number[8];

	(void)editor;
	while (strcmp(show_words[what], words->what) != 0)
		what++;
	if (form->one) {
		snprintf(number, sizeof(number), "%u", words->number);
		port = port_find(number, why);
		if (port == NULL) {
			console_fail(why);
			return;
		}
	}
	show_ports(form->json ? stdout : people, what, port, form->json);
}

static void
show_other(void *result, struct cmdline *editor, void *data)
{
	const struct words *words = result;
	const struct form *form = data;
	FILE *out = form->json ? stdout : people;

	(void)editor;
	if (strcmp(words->noun, "config") == 0)
		show_settings(out, form->json);
	else
		show_events(out, form->json);
}

static struct form all_table, all_json = { .json = true }, one_table = { .one = true },
	one_json = { .one = true, .json = true };

static cmdline_parse_token_string_t verb = WORD(verb, "show");
static cmdline_parse_token_string_t port_noun = WORD(noun, "port");
static cmdline_parse_token_string_t what = WORD(what, "info#stats#xstats#histograms#rings#memory");
static cmdline_parse_token_string_t all = WORD(value, "all");
static cmdline_parse_token_num_t number = NUMBER(number);
static cmdline_parse_token_string_t json = WORD(tail, "json");
static cmdline_parse_token_string_t other_noun = WORD(noun, "config#events");

COMMAND(cmd_show_port, show_port, &all_table,
	"show port info|stats|xstats|histograms|rings|memory: of all ports",
	TOKEN(verb), TOKEN(port_noun), TOKEN(what));
COMMAND(cmd_show_port_json, show_port, &all_json, "show port WHAT json: of all ports",
	TOKEN(verb), TOKEN(port_noun), TOKEN(what), TOKEN(json));
COMMAND(cmd_show_port_all, show_port, &all_table, "show port WHAT all: of all ports",
	TOKEN(verb), TOKEN(port_noun), TOKEN(what), TOKEN(all));
COMMAND(cmd_show_port_all_json, show_port, &all_json, "show port WHAT all json: of all ports",
	TOKEN(verb), TOKEN(port_noun), TOKEN(what), TOKEN(all), TOKEN(json));
COMMAND(cmd_show_port_one, show_port, &one_table, "show port WHAT N: of port N",
	TOKEN(verb), TOKEN(port_noun), TOKEN(what), TOKEN(number));
COMMAND(cmd_show_port_one_json, show_port, &one_json, "show port WHAT N json: of port N",
	TOKEN(verb), TOKEN(port_noun), TOKEN(what), TOKEN(number), TOKEN(json));
COMMAND(cmd_show_other, show_other, &all_table,
	"show config|events: settings; what happened to ports",
	TOKEN(verb), TOKEN(other_noun));
COMMAND(cmd_show_other_json, show_other, &all_json, "show config|events json: the same as JSON",
	TOKEN(verb), TOKEN(other_noun), TOKEN(json));
