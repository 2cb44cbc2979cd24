/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include <rte_cycles.h>
#include <rte_vect.h>
#include <rte_version.h>

#include <vhu.h>

#include "commit.h"
#include "perf.h"

static const struct perf_options *options;
/*
 * All that is written as JSON: "runs", the conditions of each call of this program, and "rows",
 * each with the number of its run.
 */
static json_t *whole;
static FILE *csv;
/* The table goes to standard error if something else has standard output. */
static FILE *table;

/* A value of a "key : value" file of /proc; "" if there is none. */
static const char *
proc_value(const char *path, const char *key)
{
	static char line[256];
	FILE *file = fopen(path, "r");
	char *value = NULL;

	if (file == NULL)
		return "";
	while (value == NULL && fgets(line, sizeof(line), file) != NULL)
		if (key == NULL)
			value = line;
		else if (strncmp(line, key, strlen(key)) == 0 && strchr(line, ':') != NULL)
			value = strchr(line, ':') + 1;
	fclose(file);
	if (value == NULL)
		return "";
	value += strspn(value, " \t");
	value[strcspn(value, "\n")] = '\0';
	return value;
}

/* What is known of the clock of the cores. */
static json_t *
frequency_notes(void)
{
	const char *governor =
		proc_value("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", NULL);

	return *governor != '\0' ? json_sprintf("governor %s", governor) :
		json_string("not visible here (a virtual machine?); only ratios mean something");
}

static json_t *
date(void)
{
	time_t now = time(NULL);
	struct tm parts;
	char text[32];

	gmtime_r(&now, &parts);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
	return json_string(text);
}

static json_t *
conditions(void)
{
	json_t *object = json_object();

	json_object_set_new(object, "date", date());
	json_object_set_new(object, "vhu", json_string(vhu_version()));
	json_object_set_new(object, "dpdk", json_string(rte_version()));
	json_object_set_new(object, "commit", json_string(PERF_COMMIT));
	json_object_set_new(object, "build", json_string(PERF_BUILD));
	json_object_set_new(object, "dpdk_build", json_string(PERF_DPDK_BUILD));
	json_object_set_new(object, "simd_bits", json_integer(rte_vect_get_max_simd_bitwidth()));
	json_object_set_new(object, "cpu", json_string(proc_value("/proc/cpuinfo", "model name")));
	json_object_set_new(object, "tsc_hz", json_integer((json_int_t)rte_get_tsc_hz()));
	json_object_set_new(object, "frequency", frequency_notes());
	json_object_set_new(object, "cores",
		json_pack("[i,i]", options->cores[0], options->cores[1]));
	json_object_set_new(object, "seed", json_integer((json_int_t)options->seed));
	json_object_set_new(object, "set", json_string(options->set));
	json_object_set_new(object, "rounds", json_integer(options->rounds));
	json_object_set_new(object, "slice_ms", json_integer(options->slice_ms));
	json_object_set_new(object, "hugepages", json_boolean(options->huge));
	json_object_set_new(object, "load", json_string(proc_value("/proc/loadavg", NULL)));
	return object;
}

static bool
is_standard_output(const char *path)
{
	return path != NULL && strcmp(path, "-") == 0;
}

/* What is in the file that is to go on, or an empty whole. @return NULL after a line of error. */
static json_t *
load(void)
{
	json_error_t error;
	json_t *found;

	if (!options->resume || access(options->json, F_OK) != 0)
		return json_pack("{s:[],s:[]}", "runs", "rows");
	found = json_load_file(options->json, 0, &error);
	if (json_is_array(json_object_get(found, "runs")) &&
			json_is_array(json_object_get(found, "rows")))
		return found;
	fprintf(stderr, "vhu-perf: '%s' is no result to go on with: %s\n", options->json,
		found == NULL ? error.text : "it has no runs and rows");
	json_decref(found);
	return NULL;
}

static int
open_csv(void)
{
	bool more = options->csv != NULL && options->resume && access(options->csv, F_OK) == 0;

	if (options->csv == NULL)
		return 0;
	csv = is_standard_output(options->csv) ? stdout : fopen(options->csv, more ? "a" : "w");
	if (csv == NULL) {
		fprintf(stderr, "vhu-perf: cannot write '%s'\n", options->csv);
		return -1;
	}
	if (!more)
		fprintf(csv, "row,backend,missing,slices,cycles,cycles_low,cycles_high,mpps,"
			"mpps_low,mpps_high,to_peer,to_peer_low,to_peer_high,to_floor,"
			"to_floor_low,to_floor_high,burst,busy,dropped,features\n");
	return 0;
}

int
perf_report_begin(const struct perf_options *wanted)
{
	options = wanted;
	table = is_standard_output(options->json) || is_standard_output(options->csv) ? stderr :
		stdout;
	whole = load();
	if (whole == NULL || open_csv() != 0)
		return -1;
	json_array_append_new(json_object_get(whole, "runs"), conditions());
	fprintf(table, "vhu-perf: cycles per packet with a 95 %% interval; 'peer' is how many "
		"times the cycles rte_vhost\n(for drivers net_vhost) takes, 'floor' how far it is from the "
		"bare hand-over; %u slices of %u ms each\n\n%-44s %-9s %8s %17s %7s %22s %7s %6s "
		"%5s\n", options->rounds, options->slice_ms, "row", "back-end", "cycles", "",
		"Mpps", "peer", "floor", "burst", "busy");
	return 0;
}

/* Where a row of this name is. @return its index, or the number of rows. */
static size_t
place_of(const struct perf_row *row)
{
	const json_t *rows = json_object_get(whole, "rows"), *each;
	size_t i;

	json_array_foreach(rows, i, each)
		if (strcmp(json_string_value(json_object_get(each, "name")) ?: "", row->name) == 0)
			return i;
	return i;
}

unsigned int
perf_report_age(const struct perf_row *row)
{
	const json_t *found = json_array_get(json_object_get(whole, "rows"), place_of(row));

	return found == NULL ? 0 :
		(unsigned int)json_integer_value(json_object_get(found, "run")) + 1;
}

static void
interval_json(json_t *object, const char *name, const struct perf_interval *interval)
{
	if (interval->median > 0)
		json_object_set_new(object, name, json_pack("{s:f,s:f,s:f}", "median",
			interval->median, "low", interval->low, "high", interval->high));
	else
		json_object_set_new(object, name, json_null());
}

static json_t *
stages_json(const struct perf_outcome *outcome)
{
	json_t *object = json_object();

	for (unsigned int i = 0; i < outcome->stage_count; i++) {
		const struct perf_stage *stage = &outcome->stages[i];
		json_t *queue = json_object_get(object, stage->queue);

		if (queue == NULL) {
			queue = json_object();
			json_object_set_new(object, stage->queue, queue);
		}
		json_object_set_new(queue, stage->name, json_real(stage->cycles));
	}
	return object;
}

static json_t *
outcome_json(const struct perf_outcome *outcome)
{
	json_t *object = json_object();

	if (outcome->missing != NULL) {
		json_object_set_new(object, "missing", json_string(outcome->missing));
		return object;
	}
	json_object_set_new(object, "slices", json_integer(outcome->count));
	json_object_set_new(object, "features", json_sprintf("0x%llx",
		(unsigned long long)outcome->features));
	json_object_set_new(object, "checked", json_boolean(outcome->checked));
	interval_json(object, "cycles", &outcome->cycles);
	interval_json(object, "mpps", &outcome->mpps);
	interval_json(object, "to_peer", &outcome->to_peer);
	interval_json(object, "to_floor", &outcome->to_floor);
	json_object_set_new(object, "burst", json_real(outcome->burst));
	json_object_set_new(object, "busy", json_real(outcome->busy));
	json_object_set_new(object, "interrupted_ms", json_real((double)outcome->interrupted *
		1e3 / (double)rte_get_tsc_hz()));
	json_object_set_new(object, "dropped", json_integer((json_int_t)outcome->dropped));
	if (outcome->stage_count > 0)
		json_object_set_new(object, "stages", stages_json(outcome));
	return object;
}

static void
csv_row(const struct perf_row *row, const char *name, const struct perf_outcome *outcome)
{
	const struct perf_interval *each[] = { &outcome->cycles, &outcome->mpps, &outcome->to_peer,
		&outcome->to_floor };

	fprintf(csv, "%s,%s,%s,%u", row->name, name, outcome->missing ? outcome->missing : "",
		outcome->count);
	for (unsigned int i = 0; i < RTE_DIM(each); i++)
		fprintf(csv, ",%.4g,%.4g,%.4g", each[i]->median, each[i]->low, each[i]->high);
	fprintf(csv, ",%.2f,%.3f,%llu,0x%llx\n", outcome->burst, outcome->busy,
		(unsigned long long)outcome->dropped, (unsigned long long)outcome->features);
}

static void
table_row(const struct perf_row *row, const char *name, const struct perf_outcome *outcome)
{
	const struct perf_interval *peer = &outcome->to_peer;

	if (outcome->missing != NULL) {
		fprintf(table, "%-44s %-9s %s\n", row->name, name, outcome->missing);
		return;
	}
	fprintf(table, "%-44s %-9s %8.1f %8.1f-%-8.1f %7.2f %6.3f %7.3f-%-7.3f %7.2f %6.1f %4.0f%%"
		"%s\n", row->name, name, outcome->cycles.median, outcome->cycles.low,
		outcome->cycles.high, outcome->mpps.median, peer->median, peer->low, peer->high,
		outcome->to_floor.median, outcome->burst, 100 * outcome->busy,
		outcome->dropped ? " drops" : "");
}

/* Cycles per packet in each stage, a line per queue. */
static void
table_stages(const struct perf_outcome *outcome)
{
	const char *queue = "";

	for (unsigned int i = 0; i < outcome->stage_count; i++) {
		const struct perf_stage *stage = &outcome->stages[i];

		if (strcmp(stage->queue, queue) != 0)
			fprintf(table, "%s  %s:", i > 0 ? "\n" : "", stage->queue);
		fprintf(table, " %s %.1f", stage->name, stage->cycles);
		queue = stage->queue;
	}
	if (outcome->stage_count > 0)
		fputc('\n', table);
}

static json_t *
row_json(const struct perf_row *row)
{
	static const char *const works[] = { "receive", "transmit", "loop", "empty" };
	static const char *const requests[] = { "nothing", "checksum", "segments" };

	return json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:i,s:i,s:i,s:b,s:s,s:b,s:b,s:b,s:b,s:b,s:i}",
		"name", row->name, "group", row->group, "work", works[row->work], "path", row->path,
		"size", row->size, "burst", row->burst, "window", row->window, "idle", row->idle,
		"regions", row->regions, "offloads", row->offloads, "request",
		requests[row->request], "indirect", row->indirect != 0, "logging", row->logging,
		"iommu", row->iommu, "touch", row->touch, "statistics", row->statistics, "run",
		(int)json_array_size(json_object_get(whole, "runs")) - 1);
}

/* Everything so far, so that nothing is lost if the next row is interrupted. */
static int
save(void)
{
	char unfinished[512];

	if (options->json == NULL || is_standard_output(options->json))
		return 0;
	snprintf(unfinished, sizeof(unfinished), "%s.new", options->json);
	if (json_dump_file(whole, unfinished, JSON_INDENT(1)) == 0 &&
			rename(unfinished, options->json) == 0)
		return 0;
	fprintf(stderr, "vhu-perf: cannot write '%s'\n", options->json);
	return -1;
}

int
perf_report_row(const struct perf_row *row, const struct perf_outcome *outcomes)
{
	json_t *object = row_json(row), *results = json_object();

	for (unsigned int i = 0; i < perf_backend_count; i++) {
		const char *name = perf_backends[i]->name;

		if (!options->chosen[i])
			continue;
		json_object_set_new(results, name, outcome_json(&outcomes[i]));
		table_row(row, name, &outcomes[i]);
		table_stages(&outcomes[i]);
		if (csv != NULL)
			csv_row(row, name, &outcomes[i]);
	}
	fflush(table);
	json_object_set_new(object, "commit", json_string(PERF_COMMIT));
	json_object_set_new(object, "results", results);
	if (perf_report_age(row) > 0)
		json_array_set_new(json_object_get(whole, "rows"), place_of(row), object);
	else
		json_array_append_new(json_object_get(whole, "rows"), object);
	return save();
}

void
perf_report_end(void)
{
	if (is_standard_output(options->json))
		json_dumpf(whole, stdout, JSON_INDENT(1));
	json_decref(whole);
	if (csv != NULL && csv != stdout)
		fclose(csv);
}
