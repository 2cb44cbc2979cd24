/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Slices in random order, and what can be said of them. A round has one slice of each back-end;
 * ratios are taken within a round only. Medians come with an interval that holds the true median
 * with 95 % probability whatever the distribution: the order statistics that the binomial
 * distribution names.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "perf.h"

#define CHECK_MS 5
#define CHECK_TRIES 100
#define WARM_UP 3
#define IDLE_TRIES 20

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct perf_interval
perf_median(double *values, unsigned int count)
{
	struct perf_interval result = { 0 };
	unsigned int low;

	if (count == 0)
		return result;
	qsort(values, count, sizeof(values[0]), compare);
	result.median = count % 2 ? values[count / 2] :
		(values[count / 2 - 1] + values[count / 2]) / 2;
	/* Normal approximation of the binomial rank; exact to a rank for the counts in use. */
	low = (unsigned int)fmax(0, floor(((double)count - 1.96 * sqrt((double)count)) / 2));
	result.low = values[low];
	result.high = values[count - 1 - low];
	return result;
}

/* Numbers that a seed repeats. */
static uint32_t
pick(uint64_t *state, uint32_t below)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((*state >> 33) % below);
}

static unsigned int
shuffled(const struct perf_outcome *outcomes, uint64_t *random, unsigned int order[8])
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < perf_backend_count; i++)
		if (outcomes[i].missing == NULL)
			order[count++] = i;
	for (unsigned int i = count; i > 1; i--) {
		unsigned int other = pick(random, i), kept = order[i - 1];

		order[i - 1] = order[other];
		order[other] = kept;
	}
	return count;
}

static struct perf_slice
slice_of(struct perf_bench *bench, unsigned int kind, unsigned int milliseconds)
{
	return (struct perf_slice){
		.port = &bench->ports[kind][0],
		.idle = &bench->ports[kind][1],
		.row = bench->row,
		.ticks = rte_get_tsc_hz() / 1000 * milliseconds,
	};
}

/* The time of calls that found nothing is nobody's; that of idle ports beside a busy one is not. */
static struct perf_sample
sample_of(const struct perf_slice *slice)
{
	const struct perf_count *back = &slice->back;
	double packets = back->packets ? (double)back->packets : NAN;

	return (struct perf_sample){
		.cycles = (double)back->busy_cycles / packets,
		.mpps = (double)back->packets * (double)rte_get_tsc_hz() / (double)back->cycles /
			1e6,
		.burst = back->calls ? packets / (double)back->calls : 0,
		.busy = (double)back->busy_cycles / (double)back->cycles,
	};
}

/* Whether each byte that left one side was seen on the other. */
static bool
check(struct perf_bench *bench, unsigned int kind)
{
	struct perf_slice slice = slice_of(bench, kind, CHECK_MS);

	/* The floor hands bytes over by a plain copy, and an empty ring has none. */
	if (perf_backends[kind] == &perf_floor || bench->row->work == PERF_EMPTY)
		return true;
	slice.check = true;
	/* A busy machine may not have given the back-end its core in a slice. */
	for (unsigned int tries = 0; tries < CHECK_TRIES && slice.back.packets == 0; tries++)
		perf_slice_run(&slice);
	if (slice.back.packets == 0 || slice.back.dropped > 0)
		return false;
	if (bench->row->work == PERF_TRANSMIT)
		return slice.back.sum_back == slice.front.sum_back;
	if (bench->row->work == PERF_LOOP && slice.front.sum != slice.front.sum_back)
		return false;
	return slice.front.sum == slice.back.sum;
}

static int
index_of(const struct perf_backend *backend, const struct perf_outcome *outcomes)
{
	for (unsigned int i = 0; i < perf_backend_count; i++)
		if (perf_backends[i] == backend && outcomes[i].missing == NULL)
			return (int)i;
	return -1;
}

/* The driver that a driver is compared with, the library that a library is. */
static const struct perf_backend *
peer_of(const struct perf_backend *backend)
{
	return backend == &perf_net_vhu || backend == &perf_net_vhost ? &perf_net_vhost :
		&perf_rte_vhost;
}

/* How many times the cycles of @kind another back-end takes, round by round. */
static struct perf_interval
ratio(struct perf_sample *const samples[8], const struct perf_outcome *outcomes, unsigned int kind,
	const struct perf_backend *other, bool inverse)
{
	static double values[PERF_MAX_ROUNDS];
	int second = index_of(other, outcomes);
	unsigned int count = 0;

	if (second < 0)
		return (struct perf_interval){ 0 };
	for (unsigned int i = 0; i < outcomes[kind].count; i++) {
		double a = samples[second][i].cycles, b = samples[kind][i].cycles;

		if (isfinite(a / b) && isfinite(b / a))
			values[count++] = inverse ? b / a : a / b;
	}
	return perf_median(values, count);
}

static void
summarise(struct perf_sample *const samples[8], struct perf_outcome *outcomes, unsigned int kind)
{
	static double cycles[PERF_MAX_ROUNDS], mpps[PERF_MAX_ROUNDS];
	struct perf_outcome *outcome = &outcomes[kind];
	unsigned int count = 0;

	for (unsigned int i = 0; i < outcome->count; i++) {
		if (!isfinite(samples[kind][i].cycles))
			continue;
		cycles[count] = samples[kind][i].cycles;
		mpps[count++] = samples[kind][i].mpps;
		outcome->burst += samples[kind][i].burst / outcome->count;
		outcome->busy += samples[kind][i].busy / outcome->count;
	}
	outcome->cycles = perf_median(cycles, count);
	outcome->mpps = perf_median(mpps, count);
	outcome->to_peer = ratio(samples, outcomes, kind, peer_of(perf_backends[kind]), false);
	outcome->to_floor = ratio(samples, outcomes, kind, &perf_floor, true);
	if (count == 0)
		outcome->missing = "nothing moved";
}

static void
run_rounds(struct perf_bench *bench, struct perf_outcome *outcomes,
	struct perf_sample *const samples[8])
{
	static uint64_t random;
	unsigned int order[8], count, total = bench->options->rounds + WARM_UP;

	if (random == 0)
		random = bench->options->seed;
	for (unsigned int round = 0; round < total; round++) {
		count = shuffled(outcomes, &random, order);
		for (unsigned int i = 0; i < count; i++) {
			struct perf_slice slice = slice_of(bench, order[i],
				bench->options->slice_ms);
			struct perf_outcome *outcome = &outcomes[order[i]];

			/* Nothing at all moved: somebody else had the cores. */
			for (unsigned int tries = 0; tries < IDLE_TRIES; tries++) {
				perf_slice_run(&slice);
				if (slice.back.packets > 0)
					break;
			}
			outcome->dropped += slice.back.dropped;
			outcome->interrupted += slice.back.interrupted;
			if (round >= WARM_UP)
				samples[order[i]][outcome->count++] = sample_of(&slice);
		}
	}
}

void
perf_measure(struct perf_bench *bench, struct perf_outcome *outcomes)
{
	static struct perf_sample store[8][PERF_MAX_ROUNDS];
	struct perf_sample *samples[8];

	for (unsigned int i = 0; i < perf_backend_count; i++) {
		samples[i] = store[i];
		if (outcomes[i].missing != NULL)
			continue;
		outcomes[i].checked = check(bench, i);
		if (!outcomes[i].checked)
			outcomes[i].missing = "not every byte arrived";
	}
	run_rounds(bench, outcomes, samples);
	for (unsigned int i = 0; i < perf_backend_count; i++) {
		if (outcomes[i].missing != NULL)
			continue;
		summarise(samples, outcomes, i);
		if (perf_backends[i]->stages != NULL)
			outcomes[i].stage_count = perf_backends[i]->stages(
				bench->ports[i], outcomes[i].stages);
	}
}
