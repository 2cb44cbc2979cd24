/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stdio.h>

#include "cmd.h"
#include "console.h"

cmdline_parse_ctx_t console_commands[] = {
	&cmd_help, &cmd_start, &cmd_start_first, &cmd_start_first_count, &cmd_stop,
	&cmd_port_attach, &cmd_port_detach, &cmd_port_csum, &cmd_port_tso,
	&cmd_port_histograms,
	&cmd_set_fwd, &cmd_set_burst, &cmd_set_txpkts, &cmd_set_period, &cmd_set_peer,
	&cmd_show_port, &cmd_show_port_json, &cmd_show_port_all, &cmd_show_port_all_json,
	&cmd_show_port_one, &cmd_show_port_one_json, &cmd_show_other, &cmd_show_other_json,
	&cmd_clear_stats, &cmd_wait, &cmd_quit, NULL,
};

static void
help(void *result, struct cmdline *editor, void *data)
{
	(void)result;
	(void)editor;
	(void)data;
	for (unsigned int i = 0; console_commands[i] != NULL; i++)
		fprintf(people, "  %s\n", console_commands[i]->help_str);
	fflush(people);
}

static cmdline_parse_token_string_t help_verb = WORD(verb, "help");
COMMAND(cmd_help, help, NULL, "help: list the commands", TOKEN(help_verb));
