/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * vhu-testpmd: forwards packets of virtual machines, shows and measures what happens.
 *
 * The main thread owns everything but the streams, which forwarding lcores serve (engine.h). It
 * waits for signals and commands, takes events, prints live lines, and ends with a summary.
 */

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>

#include "args.h"
#include "config.h"
#include "console.h"
#include "engine.h"
#include "events.h"
#include "port.h"
#include "show.h"
#include "stats.h"

/* How long events may wait, and how often activity is looked at. */
#define EVENT_SECONDS 0.02
#define WATCH_SECONDS 0.1

/* Moments (now_seconds()) of the main loop. */
struct clock {
	double begin;
	double end;        /* --duration; INFINITY without */
	double next_watch;
	double next_line;  /* of the live lines */
	double period;     /* in force; 0: no live lines */
};

static FILE *json_file;

/*
 * @return the descriptor from which the signals that end us are read; all threads made later block
 * them.
 */
static int
take_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int
complain(const char *why)
{
	fprintf(stderr, "vhu-testpmd: %s\n", why);
	return 1;
}

static bool
open_json(char why[WHY_SIZE])
{
	people = stdout;
	if (settings.json_path == NULL)
		return true;
	if (strcmp(settings.json_path, "-") == 0) {
		people = stderr;
		json_file = stdout;
		return true;
	}
	json_file = fopen(settings.json_path, "we");
	if (json_file == NULL)
		snprintf(why, WHY_SIZE, "json '%.128s': cannot write: %s", settings.json_path,
			strerror(errno));
	return json_file != NULL;
}

static bool
open_ports(char why[WHY_SIZE])
{
	for (unsigned int i = 0; i < settings.port_count; i++) {
		const struct port_spec *spec = &settings.ports[i];
		struct port *port = port_attach(spec, why);
		if (port == NULL)
			return false;
		fprintf(people, "port %u %s %s\n", port->id,
			spec->role == VHU_ROLE_CLIENT ? "connects to" : "listens on", spec->path);
	}
	fflush(people);
	return true;
}

/* The period may change at the prompt. */
static void
follow_period(struct clock *clock, double now)
{
	if (clock->period != settings.stats_period) {
		clock->period = settings.stats_period;
		clock->next_line = clock->period > 0 ? now + clock->period : INFINITY;
		stats_period_begin();
	}
	if (now < clock->next_line)
		return;
	stats_period_end(people);
	clock->next_line += clock->period;
	if (clock->next_line < now)
		clock->next_line = now + clock->period;
}

static void
watch(struct clock *clock, double now)
{
	if (now < clock->next_watch)
		return;
	stats_watch(now - clock->next_watch + WATCH_SECONDS);
	clock->next_watch = now + WATCH_SECONDS;
}

/* Wait for a signal or input, until the next duty is due. @return false on a signal. */
static bool
wait_for_something(int signals, const struct clock *clock, bool *readable)
{
	struct pollfd waited[2] = { { .fd = signals, .events = POLLIN },
		{ .fd = -1, .events = POLLIN } };
	double now = now_seconds(), until = fmin(now + EVENT_SECONDS, clock->next_line);
	int timeout = 0;

	until = fmin(until, clock->end);
	if (!engine_on_main() && until > now)
		timeout = (int)ceil((until - now) * 1000);
	if (settings.interactive && console_wants_input())
		waited[1].fd = STDIN_FILENO;
	if (poll(waited, 2, timeout) < 0 && errno != EINTR)
		return false;
	*readable = waited[1].revents != 0;
	return waited[0].revents == 0;
}

static void
run(int signals)
{
	struct clock clock = { .begin = now_seconds(), .end = INFINITY, .next_line = INFINITY };
	bool readable;

	if (settings.duration > 0)
		clock.end = clock.begin + settings.duration;
	clock.next_watch = clock.begin + WATCH_SECONDS;
	while (!console.quit && wait_for_something(signals, &clock, &readable)) {
		if (engine_on_main())
			engine_slice();
		if (events_take(settings.interactive ? NULL : people))
			engine_adapt();
		if (settings.interactive)
			console_serve(readable);
		double now = now_seconds();
		watch(&clock, now);
		follow_period(&clock, now);
		if (now >= clock.end)
			break;
	}
	engine_stop();
	watch(&clock, clock.next_watch);
}

/* @return false if the JSON could not be written. */
static bool
summarise(double seconds)
{
	json_t *summary = report_summary(seconds);
	bool good = true;

	if (port_next(0) != NULL)
		show_summary(people, summary);
	if (json_file != NULL) {
		good = json_dumpf(summary, json_file,
			JSON_INDENT(2) | JSON_REAL_PRECISION(6)) == 0 &&
			fputc('\n', json_file) != EOF && fflush(json_file) == 0;
		if (json_file != stdout)
			good = fclose(json_file) == 0 && good;
		json_file = NULL;
	}
	json_decref(summary);
	return good;
}

/* With EAL running. @return the exit status. */
static int
serve(int signals)
{
	char why[WHY_SIZE];
	double begin = now_seconds();

	if (!mbuf_pool_create(why) || !open_ports(why))
		return complain(why);
	if (settings.auto_start && port_next(0) != NULL && !engine_start(why))
		return complain(why);
	if (settings.interactive && !console_open())
		return complain("the prompt did not start: out of memory");
	run(signals);
	console_close();
	if (!summarise(now_seconds() - begin))
		return complain("the JSON summary could not be written");
	return console.failures != 0 && !isatty(STDIN_FILENO) ? 1 : 0;
}

int
main(int argc, char **argv)
{
	char why[WHY_SIZE];
	int eal_argc = 0;

	settings_init();
	int status = args_parse(argc, argv, &eal_argc);
	if (status >= 0)
		return status;
	if (!open_json(why))
		return complain(why);
	int signals = take_signals();
	if (signals < 0)
		return complain("cannot wait for signals");
	if (rte_eal_init(eal_argc, argv) < 0) {
		snprintf(why, sizeof(why), "EAL did not start (%s): its log says why; without "
			"hugepages add --no-huge", rte_strerror(rte_errno));
		return complain(why);
	}
	/* Whoever plays with memory behind our back ends its own connection, not this program. */
	status = vhu_guard_memory() == 0 ? serve(signals) :
		complain("the handler that guards memory cannot be installed");
	engine_stop();
	port_detach_all();
	rte_mempool_free(mbuf_pool);
	rte_eal_cleanup();
	close(signals);
	return status;
}
