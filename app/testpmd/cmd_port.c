/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Commands that add, remove and change ports. Forwarding pauses meanwhile. */

#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "console.h"
#include "engine.h"
#include "port.h"
#include "show.h"

/* Go on with the ports that are there now, if forwarding ran and any is left. */
static void
go_on(bool ran)
{
	char why[WHY_SIZE];

	if (ran && !engine_start(why))
		fprintf(people, "forwarding stops: %s\n", why);
	fflush(people);
}

static void
attach(void *result, struct cmdline *editor, void *data)
{
	const struct words *words = result;
	struct port_spec spec;
	char why[WHY_SIZE];

	(void)editor;
	(void)data;
	if (!parse_port_spec(words->rest, &spec, why)) {
		console_fail(why);
		return;
	}
	bool ran = engine_running();
	engine_stop();
	struct port *port = port_attach(&spec, why);
	if (port != NULL)
		fprintf(people, "port %u attached: %s\n", port->id, spec.path);
	else
		console_fail(why);
	go_on(ran);
}

static void
detach(void *result, struct cmdline *editor, void *data)
{
	const struct words *words = result;
	char why[WHY_SIZE];
	struct port *port = port_find(words->value, why);

	(void)editor;
	(void)data;
	if (port == NULL) {
		console_fail(why);
		return;
	}
	unsigned int id = port->id;
	bool ran = engine_running();
	engine_stop();
	show_ports(people, SHOW_STATS, port, false);
	port_detach(port);
	fprintf(people, "port %u detached\n", id);
	go_on(ran);
}

/* The key is data; "csum" and "tso" are keys of --port, too, and checked like those. */
static void
change(void *result, struct cmdline *editor, void *data)
{
	const struct words *words = result;
	char why[WHY_SIZE], text[2 * STR_TOKEN_SIZE + 16];
	struct port *port = port_find(words->noun, why);
	struct port_spec spec;

	(void)editor;
	(void)data;
	snprintf(text, sizeof(text), "path=x,%s=%s", words->what, words->value);
	if (port == NULL || !parse_port_spec(text, &spec, why)) {
		console_fail(why);
		return;
	}
	if (strcmp(words->what, "csum") == 0)
		port->spec.software_checksum = spec.software_checksum;
	else
		port->spec.tso_size = spec.tso_size;
	engine_restart();
}

/* Forwarding goes on: the library switches between two bursts. */
static void
change_histograms(void *result, struct cmdline *editor, void *data)
{
	const struct words *words = result;
	char why[WHY_SIZE];
	struct port *port = port_find(words->noun, why);

	(void)editor;
	(void)data;
	if (port == NULL)
		console_fail(why);
	else if (vhu_port_set_histograms(port->vhu, strcmp(words->value, "on") == 0) != 0)
		console_fail(vhu_error_text());
}

static cmdline_parse_token_string_t port_verb = WORD(verb, "port");
static cmdline_parse_token_string_t attach_what = WORD(what, "attach");
static cmdline_parse_token_string_t detach_what = WORD(what, "detach");
static cmdline_parse_token_string_t rest = WORD(rest, TOKEN_STRING_MULTI);
static cmdline_parse_token_string_t any_value = WORD(value, NULL);
static cmdline_parse_token_string_t set_verb = WORD(verb, "set");
static cmdline_parse_token_string_t set_noun = WORD(tail, "port");
static cmdline_parse_token_string_t any_port = WORD(noun, NULL);
static cmdline_parse_token_string_t csum = WORD(what, "csum");
static cmdline_parse_token_string_t csum_value = WORD(value, "offload#software");
static cmdline_parse_token_string_t histograms = WORD(what, "histograms");
static cmdline_parse_token_string_t on_off = WORD(value, "on#off");
static cmdline_parse_token_string_t tso = WORD(what, "tso");

COMMAND(cmd_port_attach, attach, NULL,
	"port attach path=PATH[,KEY=VALUE...]: add a port, see --help",
	TOKEN(port_verb), TOKEN(attach_what), TOKEN(rest));
COMMAND(cmd_port_detach, detach, NULL, "port detach N|NAME: remove a port",
	TOKEN(port_verb), TOKEN(detach_what), TOKEN(any_value));
COMMAND(cmd_port_csum, change, NULL,
	"set port N|NAME csum offload|software: who makes checksums in csum mode",
	TOKEN(set_verb), TOKEN(set_noun), TOKEN(any_port), TOKEN(csum), TOKEN(csum_value));
COMMAND(cmd_port_histograms, change_histograms, NULL,
	"set port N|NAME histograms on|off: count frames by size, bursts by the frames in them",
	TOKEN(set_verb), TOKEN(set_noun), TOKEN(any_port), TOKEN(histograms), TOKEN(on_off));
COMMAND(cmd_port_tso, change, NULL,
	"set port N|NAME tso BYTES: segment size for TCP in csum mode, 0: as received",
	TOKEN(set_verb), TOKEN(set_noun), TOKEN(any_port), TOKEN(tso), TOKEN(any_value));
