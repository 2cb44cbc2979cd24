/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "perf.h"

static const char usage[] =
	"Compare vhost-user back-ends: vhu, net_vhu, rte_vhost, net_vhost and the machine's floor.\n"
	"\n"
	"Usage: vhu-perf [options]\n"
	"Example: vhu-perf --quick --json result.json\n"
	"         vhu-perf --full --row 'loop-split-*-64-*' --rounds 51\n"
	"\n"
	"  --quick             something of everything, about two minutes (default)\n"
	"  --full              every row, an hour and a half; with --slice-ms 10 ten minutes\n"
	"  --row PATTERN       only rows whose name fits, such as loop-split-mergeable-64-b32;\n"
	"                      searched for in all rows unless --quick is given\n"
	"  --only AXIS,...     only rows of these axes: path size direction burst starved empty\n"
	"                      idle regions offloads indirect logging iommu statistics touch\n"
	"  --paths PATH,...    only these paths, such as split-mergeable,packed-in-order\n"
	"  --list              name the rows\n"
	"  --backends A,B,...  of vhu net_vhu rte_vhost net_vhost floor (all)\n"
	"  --rounds N          slices of each back-end in a row, 3 to 1001 (31)\n"
	"  --slice-ms N        length of a slice, 1 to 1000 (quick 20, full 100)\n"
	"  --cores A,B         cores of the driver and of the back-end (first two allowed)\n"
	"  --seed N            for the order of slices (from the clock)\n"
	"  --no-huge           memory of small pages; figures are then not comparable\n"
	"  --plugin FILE       librte_net_vhu.so (found beside the program)\n"
	"  --json FILE, --csv FILE   write results there as well; - is standard output\n"
	"  --resume            rows that the JSON file has are not measured again, new ones added\n"
	"  --again             with --resume: they are, the oldest first, and replaced\n"
	"  --limit SECONDS     begin no row after that; with --resume a long run goes in pieces\n"
	"  -h, --help          this text\n"
	"\n"
	"Needs two cores and hugepages of 2 MiB: 384 of them, 1024 for rows with 509 regions:\n"
	"  sysctl vm.nr_hugepages=1024\n"
	"Exit status: 0 all rows were measured, 1 bytes were lost or it could not run, 2 wrong usage,\n"
	"3 rows are left (--limit).\n";

enum { OPT_QUICK = 256, OPT_FULL, OPT_ROW, OPT_LIST, OPT_BACKENDS, OPT_ROUNDS, OPT_SLICE, OPT_CORES,
	OPT_SEED, OPT_NO_HUGE, OPT_PLUGIN, OPT_JSON, OPT_CSV, OPT_ONLY, OPT_PATHS, OPT_RESUME,
	OPT_LIMIT, OPT_AGAIN };

static const struct option names[] = {
	{ "quick", no_argument, NULL, OPT_QUICK },
	{ "full", no_argument, NULL, OPT_FULL },
	{ "row", required_argument, NULL, OPT_ROW },
	{ "only", required_argument, NULL, OPT_ONLY },
	{ "paths", required_argument, NULL, OPT_PATHS },
	{ "resume", no_argument, NULL, OPT_RESUME },
	{ "again", no_argument, NULL, OPT_AGAIN },
	{ "limit", required_argument, NULL, OPT_LIMIT },
	{ "list", no_argument, NULL, OPT_LIST },
	{ "backends", required_argument, NULL, OPT_BACKENDS },
	{ "rounds", required_argument, NULL, OPT_ROUNDS },
	{ "slice-ms", required_argument, NULL, OPT_SLICE },
	{ "cores", required_argument, NULL, OPT_CORES },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "no-huge", no_argument, NULL, OPT_NO_HUGE },
	{ "plugin", required_argument, NULL, OPT_PLUGIN },
	{ "json", required_argument, NULL, OPT_JSON },
	{ "csv", required_argument, NULL, OPT_CSV },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static bool
number(const char *option, const char *text, unsigned long least, unsigned long most,
	unsigned int *value)
{
	char *end;
	unsigned long parsed = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end != '\0' || parsed < least || parsed > most) {
		fprintf(stderr, "vhu-perf: %s '%s': want a number from %lu to %lu\n", option, text,
			least, most);
		return false;
	}
	*value = (unsigned int)parsed;
	return true;
}

static bool
choose_backends(const char *text, struct perf_options *options)
{
	char copy[128], *rest = copy, *name;

	snprintf(copy, sizeof(copy), "%s", text);
	memset(options->chosen, 0, sizeof(options->chosen));
	while ((name = strsep(&rest, ",")) != NULL) {
		unsigned int i = 0;

		while (i < perf_backend_count && strcmp(name, perf_backends[i]->name) != 0)
			i++;
		if (i == perf_backend_count) {
			fprintf(stderr, "vhu-perf: back-end '%s': want some of vhu net_vhu "
				"rte_vhost net_vhost floor\n", name);
			return false;
		}
		options->chosen[i] = true;
	}
	return true;
}

/* Whether each word of a list is one that rows have. */
static bool
known_words(const char *option, const char *text, bool (*known)(const char *word))
{
	char copy[512], *rest = copy, *word;

	snprintf(copy, sizeof(copy), "%s", text);
	while ((word = strsep(&rest, ",")) != NULL)
		if (!known(word)) {
			fprintf(stderr, "vhu-perf: %s '%s': no row has that; try --list\n", option,
				word);
			return false;
		}
	return true;
}

static bool
choose_cores(const char *text, struct perf_options *options)
{
	char end;

	if (sscanf(text, "%d,%d%c", &options->cores[0], &options->cores[1], &end) == 2 &&
			options->cores[0] >= 0 && options->cores[1] >= 0 &&
			options->cores[0] != options->cores[1])
		return true;
	fprintf(stderr, "vhu-perf: cores '%s': want two different numbers, such as 0,1\n", text);
	return false;
}

/* The first two cores that this process may use. */
static void
default_cores(struct perf_options *options)
{
	unsigned int found = 0;
	cpu_set_t set;

	options->cores[0] = options->cores[1] = -1;
	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return;
	for (int core = 0; core < CPU_SETSIZE && found < 2; core++)
		if (CPU_ISSET(core, &set))
			options->cores[found++] = core;
}

static bool
take(int option, const char *value, struct perf_options *options, bool *set)
{
	switch (option) {
	case OPT_QUICK:
	case OPT_FULL:
		options->set = option == OPT_QUICK ? "quick" : "full";
		*set = true;
		return true;
	case OPT_ROW: options->row = value; return true;
	case OPT_ONLY: return known_words("only", value, perf_group_known) &&
		(options->only = value);
	case OPT_PATHS: return known_words("paths", value, perf_path_known) &&
		(options->paths = value);
	case OPT_RESUME: options->resume = true; return true;
	case OPT_AGAIN: options->again = true; return true;
	case OPT_LIMIT: return number("limit", value, 1, 1000000, &options->limit);
	case OPT_LIST: options->list = true; return true;
	case OPT_BACKENDS: return choose_backends(value, options);
	case OPT_ROUNDS: return number("rounds", value, 3, PERF_MAX_ROUNDS, &options->rounds);
	case OPT_SLICE: return number("slice-ms", value, 1, 1000, &options->slice_ms);
	case OPT_CORES: return choose_cores(value, options);
	case OPT_SEED: options->seed = strtoull(value, NULL, 0); return true;
	case OPT_NO_HUGE: options->huge = false; return true;
	case OPT_PLUGIN: options->plugin = value; return true;
	case OPT_JSON: options->json = value; return true;
	case OPT_CSV: options->csv = value; return true;
	default: return false;
	}
}

int
perf_args(int argc, char **argv, struct perf_options *options)
{
	bool set = false;
	int option;

	*options = (struct perf_options){
		.huge = true,
		.rounds = 31,
		.seed = (uint64_t)time(NULL),
		.set = "quick",
	};
	memset(options->chosen, 1, sizeof(options->chosen));
	default_cores(options);
	while ((option = getopt_long(argc, argv, "h", names, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return 1;
		}
		if (!take(option, optarg, options, &set))
			return 2;
	}
	if (optind != argc) {
		fprintf(stderr, "vhu-perf: '%s': no word without an option; try --help\n",
			argv[optind]);
		return 2;
	}
	if (options->resume && (options->json == NULL || strcmp(options->json, "-") == 0)) {
		fputs("vhu-perf: --resume wants --json with the file to go on with\n", stderr);
		return 2;
	}
	if (options->again && !options->resume) {
		fputs("vhu-perf: --again wants --resume\n", stderr);
		return 2;
	}
	if ((options->row != NULL || options->only != NULL || options->paths != NULL ||
			options->list) && !set)
		options->set = "full";
	if (options->slice_ms == 0)
		options->slice_ms = strcmp(options->set, "full") == 0 ? 100 : 20;
	return 0;
}
