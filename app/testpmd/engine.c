/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_cycles.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_pause.h>

#include "engine.h"
#include "fwd.h"
#include "generate.h"
#include "plan.h"

/* Main thread: writes while no lcore forwards. Lcores: read between launch and return. */
static struct plan plan;
static bool running;
/* Main thread: writes; forwarding lcores: read. Orders nothing: joining the lcore does. */
static _Atomic(bool) stopping;

unsigned int
engine_lcores(void)
{
	unsigned int workers = rte_lcore_count() - 1;

	if (workers == 0)
		return 1;
	return settings.lcores != 0 && settings.lcores < workers ? settings.lcores : workers;
}

bool
engine_on_main(void)
{
	return running && rte_lcore_count() == 1;
}

bool
engine_running(void)
{
	return running;
}

unsigned int
engine_streams(void)
{
	return running ? plan.count : 0;
}

/* Serve each stream once. Time of iterations that moved nothing belongs to nobody. */
static uint64_t
serve_once(struct stream *streams, unsigned int count, unsigned int (*serve)(struct stream *),
	uint64_t begin)
{
	for (unsigned int i = 0; i < count; i++) {
		struct stream *stream = &streams[i];
		unsigned int moved = serve(stream);
		uint64_t end = rte_rdtsc();
		if (moved != 0) {
			struct queue_counters *owner =
				stream->rx != NULL ? stream->rx_counters : stream->tx_counters;
			count_add(&owner->busy_cycles, end - begin);
			count_add(&owner->busy_packets, moved);
		}
		begin = end;
	}
	return begin;
}

static int
forward_loop(void *argument)
{
	const struct plan_share *share = argument;
	struct stream *streams = plan.streams + share->first;
	unsigned int (*serve)(struct stream *) = plan.mode->serve;
	uint64_t now = rte_rdtsc();

	while (!atomic_load_explicit(&stopping, memory_order_relaxed))
		now = serve_once(streams, share->count, serve, now);
	return 0;
}

void
engine_slice(void)
{
	uint64_t now = rte_rdtsc(), end = now + rte_get_tsc_hz() / 1000;

	while (now < end) {
		now = serve_once(plan.streams, plan.count, plan.mode->serve, now);
		if (plan.count == 0)
			now = rte_rdtsc();
	}
}

bool
engine_can_start(char why[WHY_SIZE])
{
	unsigned int workers = rte_lcore_count() - 1;

	if (running)
		snprintf(why, WHY_SIZE, "forwarding runs already");
	else if (port_next(0) == NULL)
		snprintf(why, WHY_SIZE, "there is no port: use 'port attach path=...'");
	else if (workers == 0 && settings.interactive)
		snprintf(why, WHY_SIZE, "the prompt keeps the main lcore: give EAL a second one, "
			"such as -l 0,1");
	else if (settings.lcores > (workers == 0 ? 1 : workers))
		snprintf(why, WHY_SIZE, "nb-cores %u: EAL has %u for forwarding", settings.lcores,
			workers == 0 ? 1 : workers);
	else
		return true;
	return false;
}

static void
launch(void)
{
	unsigned int share = 0;
	unsigned int lcore;

	atomic_store_explicit(&stopping, false, memory_order_relaxed);
	running = true;
	if (rte_lcore_count() == 1)
		return;
	RTE_LCORE_FOREACH_WORKER(lcore) {
		if (share < plan.lcores && plan.shares[share].count != 0)
			rte_eal_remote_launch(forward_loop, &plan.shares[share], lcore);
		share++;
	}
}

bool
engine_start(char why[WHY_SIZE])
{
	if (!engine_can_start(why))
		return false;
	generate_prepare();
	if (!plan_make(&plan, settings.mode, engine_lcores())) {
		snprintf(why, WHY_SIZE, "out of memory");
		return false;
	}
	launch();
	return true;
}

void
engine_stop(void)
{
	if (!running)
		return;
	atomic_store_explicit(&stopping, true, memory_order_relaxed);
	rte_eal_mp_wait_lcore();
	plan_free(&plan);
	running = false;
}

void
engine_restart(void)
{
	char why[WHY_SIZE];

	if (!running)
		return;
	engine_stop();
	if (!engine_start(why))
		fprintf(stderr, "vhu-testpmd: forwarding stops: %s\n", why);
}

void
engine_adapt(void)
{
	struct plan fitting;

	if (!running || !plan_make(&fitting, plan.mode, plan.lcores))
		return;
	if (plan_same(&plan, &fitting)) {
		plan_free(&fitting);
		return;
	}
	engine_stop();
	plan = fitting;
	launch();
}

uint64_t
engine_send_first(unsigned int bursts)
{
	uint64_t sent = 0;
	struct plan first;

	generate_prepare();
	if (!plan_make(&first, &fwd_txonly, 1))
		return 0;
	for (unsigned int burst = 0; burst < bursts; burst++) {
		for (unsigned int i = 0; i < first.count; i++)
			sent += fwd_txonly.serve(&first.streams[i]);
	}
	plan_free(&first);
	return sent;
}
