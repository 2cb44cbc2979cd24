/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Commands that change settings. Forwarding that runs goes on with the new ones. */

#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "console.h"
#include "engine.h"
#include "fwd.h"

static void
set_value(void *result, struct cmdline *editor, void *data)
{
	const struct words *words = result;
	char why[WHY_SIZE];
	/*
	 * A function's address in an object pointer, as the library hands it on, needs the
	 * detour.
	 */
	bool (*const *set)(const char *, char *) = data;

	(void)editor;
	if ((*set)(words->value, why))
		engine_restart();
	else
		console_fail(why);
}

static bool
set_period(const char *text, char why[WHY_SIZE])
{
	return parse_seconds("stats-period", text, &settings.stats_period, why);
}

/*
 * A word that completes to the names of the modes but takes any other, too: so that the answer to
 * a wrong one can say which there are.
 */
static int
mode_count(cmdline_parse_token_hdr_t *token)
{
	int count = 0;

	(void)token;
	while (fwd_modes[count] != NULL)
		count++;
	return count;
}

static int
mode_name(cmdline_parse_token_hdr_t *token, int index, char *text, unsigned int size)
{
	if (index < 0 || index >= mode_count(token))
		return -1;
	return snprintf(text, size, "%s", fwd_modes[index]->name) < (int)size ? 0 : -1;
}

static int
mode_help(cmdline_parse_token_hdr_t *token, char *text, unsigned int size)
{
	(void)token;
	snprintf(text, size, "forwarding mode");
	return 0;
}

static struct cmdline_token_ops mode_ops = {
	.parse = cmdline_parse_string,
	.complete_get_nb = mode_count,
	.complete_get_elt = mode_name,
	.get_help = mode_help,
};

static bool (*const mode_setter)(const char *, char *) = set_mode;
static bool (*const burst_setter)(const char *, char *) = set_burst;
static bool (*const txpkts_setter)(const char *, char *) = set_txpkts;
static bool (*const period_setter)(const char *, char *) = set_period;
static bool (*const peer_setter)(const char *, char *) = set_peer;
#define SETTER(setter) ((void *)(uintptr_t)&(setter))

static cmdline_parse_token_string_t verb = WORD(verb, "set");
static cmdline_parse_token_string_t fwd = WORD(what, "fwd");
static cmdline_parse_token_string_t burst = WORD(what, "burst");
static cmdline_parse_token_string_t txpkts = WORD(what, "txpkts");
static cmdline_parse_token_string_t period = WORD(what, "stats-period");
static cmdline_parse_token_string_t peer = WORD(what, "eth-peer");
static cmdline_parse_token_string_t value = WORD(value, NULL);
static cmdline_parse_token_string_t mode = {
	.hdr = { .ops = &mode_ops, .offset = offsetof(struct words, value) },
};

COMMAND(cmd_set_fwd, set_value, SETTER(mode_setter),
	"set fwd MODE: io mac macswap rxonly txonly flowgen csum icmpecho",
	TOKEN(verb), TOKEN(fwd), TOKEN(mode));
COMMAND(cmd_set_burst, set_value, SETTER(burst_setter), "set burst N: packets per burst",
	TOKEN(verb), TOKEN(burst), TOKEN(value));
COMMAND(cmd_set_txpkts, set_value, SETTER(txpkts_setter),
	"set txpkts LEN[,LEN...]: segments of generated frames",
	TOKEN(verb), TOKEN(txpkts), TOKEN(value));
COMMAND(cmd_set_period, set_value, SETTER(period_setter),
	"set stats-period S: a live line per port every S seconds, 0 for none",
	TOKEN(verb), TOKEN(period), TOKEN(value));
COMMAND(cmd_set_peer, set_value, SETTER(peer_setter),
	"set eth-peer PORT,ADDRESS: where port PORT sends to",
	TOKEN(verb), TOKEN(peer), TOKEN(value));
