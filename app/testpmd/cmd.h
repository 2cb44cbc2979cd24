/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef TESTPMD_CMD_H
#define TESTPMD_CMD_H

/*
 * Commands of the prompt, one file per family. Each is an instance of librte_cmdline: tokens, a
 * help line and a function. console_commands (cmd.c) lists them all; "help" prints their help
 * lines.
 */

#include <stddef.h>
#include <stdint.h>

#include <cmdline_parse.h>
#include <cmdline_parse_num.h>
#include <cmdline_parse_string.h>

/* What every command is parsed into; each uses the words it needs. */
struct words {
	cmdline_fixed_string_t verb;
	cmdline_fixed_string_t noun;
	cmdline_fixed_string_t what;
	cmdline_fixed_string_t value;
	cmdline_fixed_string_t tail;
	uint16_t number;
	cmdline_multi_string_t rest;
};

/* A word that must be one of a list ("a#b#c"), or any word if the list is NULL. */
#define WORD(field, list) TOKEN_STRING_INITIALIZER(struct words, field, list)
#define NUMBER(field) TOKEN_NUM_INITIALIZER(struct words, field, RTE_UINT16)

/*
 * Define the command inst. Tokens are lvalues, so each command names its own; their list ends
 * with NULL, which is written here.
 */
#define COMMAND(inst, function, argument, text, ...) \
	cmdline_parse_inst_t inst = { \
		.f = function, \
		.data = argument, \
		.help_str = text, \
		.tokens = { __VA_ARGS__, NULL }, \
	}
#define TOKEN(token) ((cmdline_parse_token_hdr_t *)&(token))

extern cmdline_parse_inst_t cmd_help, cmd_quit, cmd_wait, cmd_start, cmd_start_first,
	cmd_start_first_count, cmd_stop, cmd_clear_stats;
extern cmdline_parse_inst_t cmd_set_fwd, cmd_set_burst, cmd_set_txpkts, cmd_set_period,
	cmd_set_peer;
extern cmdline_parse_inst_t cmd_port_attach, cmd_port_detach, cmd_port_csum, cmd_port_tso,
	cmd_port_histograms;
extern cmdline_parse_inst_t cmd_show_port, cmd_show_port_json, cmd_show_port_all,
	cmd_show_port_all_json, cmd_show_port_one, cmd_show_port_one_json, cmd_show_other,
	cmd_show_other_json;

#endif /* TESTPMD_CMD_H */
