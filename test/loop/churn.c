/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * vhu-churn: numbered frames run to a back-end and back at full rate, while memory regions come and
 * go, the log is switched, call descriptors are swapped. Nothing may be lost, changed or out of
 * order. How long nothing came back is reported with and without the changes; it decides nothing.
 *
 * The stream polls on one core. The thread that makes the changes runs on the same core, so that
 * the back-end has the other one to itself: it takes time from the stream, which the "net" gaps
 * leave out (see churn.h).
 */

#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "churn.h"

static const char usage[] =
	"Change memory, log and calls of a vhost-user network back-end that echoes frames.\n"
	"\n"
	"Usage: vhu-churn --path SOCKET [options]\n"
	"Example: vhu-churn --path /run/vhu/0.sock --cycles 10000 --work regions-64\n"
	"\n"
	"  --path SOCKET     where the back-end listens\n"
	"  --work NAME       only this; may be repeated: regions-8 regions-64 regions-509 table call\n"
	"                    log (all)\n"
	"  --cycles N        changes of each kind (10000)\n"
	"  --quiet-ms N      how long without changes first (1000)\n"
	"  --packed          packed rings\n"
	"  --in-order        VIRTIO_F_IN_ORDER\n"
	"  --mergeable       VIRTIO_NET_F_MRG_RXBUF\n"
	"  --core N          core of the stream and of the changes (the last one)\n"
	"  --json            one JSON object instead of the table\n"
	"\n"
	"Exit status: 0 nothing lost, changed or out of order; 1 otherwise; 2 wrong usage.\n";

static void
print_gaps(const char *name, const struct stream_counts *counts, double ticks_per_us)
{
	const struct gaps *gaps = &counts->gaps;

	printf("\"%s\":{\"seconds\":%.3f,\"received\":%" PRIu64 ",\"bursts\":%" PRIu64
		",\"late_polls\":%" PRIu64, name, (double)counts->nanoseconds / 1e9,
		counts->received, gaps->count, gaps->pauses);
	printf(",\"raw_us\":{\"p50\":%.2f,\"p99\":%.2f,\"p999\":%.2f,\"p9999\":%.2f,\"max\":%.1f}",
		gap_quantile(gaps->raw, gaps->count, 0.5),
		gap_quantile(gaps->raw, gaps->count, 0.99),
		gap_quantile(gaps->raw, gaps->count, 0.999),
		gap_quantile(gaps->raw, gaps->count, 0.9999),
		(double)gaps->raw_max / ticks_per_us);
	printf(",\"net_us\":{\"p50\":%.2f,\"p99\":%.2f,\"p999\":%.2f,\"p9999\":%.2f,"
		"\"max\":%.1f}}",
		gap_quantile(gaps->net, gaps->count, 0.5),
		gap_quantile(gaps->net, gaps->count, 0.99),
		gap_quantile(gaps->net, gaps->count, 0.999),
		gap_quantile(gaps->net, gaps->count, 0.9999),
		(double)gaps->net_max / ticks_per_us);
}

static uint64_t
both(const struct work_result *result, size_t offset)
{
	return *(const uint64_t *)((const char *)&result->counts[0] + offset) +
		*(const uint64_t *)((const char *)&result->counts[1] + offset);
}

#define BOTH(result, field) both(result, offsetof(struct stream_counts, field))

static void
print_json(const struct work_result *result)
{
	printf("{\"work\":\"%s\"", result->name);
	if (result->skipped != NULL) {
		printf(",\"skipped\":\"%s\"}", result->skipped);
		return;
	}
	printf(",\"fault\":\"%s\",\"cycles\":%" PRIu64 ",\"seconds\":%.3f", result->fault,
		result->cycles, result->seconds);
	printf(",\"sent\":%" PRIu64 ",\"received\":%" PRIu64 ",\"lost\":%" PRIu64
		",\"corrupt\":%" PRIu64 ",\"reordered\":%" PRIu64 ",\"ring_faults\":%" PRIu64,
		BOTH(result, sent), BOTH(result, received), result->lost, BOTH(result, corrupt),
		BOTH(result, reordered), result->faults);
	printf(",\"calls\":%" PRIu64 ",\"late_calls\":%" PRIu64 ",\"missed_calls\":%" PRIu64
		",\"logged_pages\":%" PRIu64 ",", result->calls, result->late_calls,
		result->missed_calls, result->logged_pages);
	print_gaps("quiet", &result->counts[0], result->ticks_per_us);
	printf(",");
	print_gaps("churn", &result->counts[1], result->ticks_per_us);
	printf("}");
}

static void
print_row(const struct work_result *result)
{
	const struct gaps *quiet = &result->counts[0].gaps, *churn = &result->counts[1].gaps;

	if (result->skipped != NULL) {
		printf("%-12s skipped: %s\n", result->name, result->skipped);
		return;
	}
	printf("%-12s %7" PRIu64 " %8.0f %5.2f %5.2f %5" PRIu64 " %7" PRIu64 " %9" PRIu64
		" %9.1f %9.1f %9.1f %9.1f %8.1f %8.1f %s\n", result->name, result->cycles,
		result->seconds > 0 ? (double)result->cycles / result->seconds : 0,
		(double)result->counts[0].received * 1e3 / (double)result->counts[0].nanoseconds,
		(double)result->counts[1].received * 1e3 / (double)result->counts[1].nanoseconds,
		result->lost, BOTH(result, corrupt), BOTH(result, reordered),
		(double)quiet->net_max / result->ticks_per_us,
		(double)churn->net_max / result->ticks_per_us,
		(double)quiet->raw_max / result->ticks_per_us,
		(double)churn->raw_max / result->ticks_per_us,
		gap_quantile(quiet->net, quiet->count, 0.9999),
		gap_quantile(churn->net, churn->count, 0.9999), result->fault);
}

static void
print_head(void)
{
	printf("longest time without a frame, us: net of pauses of the poller, and raw\n"
		"%-12s %7s %8s %5s %5s %5s %7s %9s %9s %9s %9s %9s %8s %8s\n"
		"%-12s %7s %8s %5s %5s %5s %7s %9s %9s %9s %9s %9s %8s %8s\n", "", "", "cycles",
		"Mpps", "Mpps", "", "", "", "net", "net", "raw", "raw", "p99.99", "p99.99",
		"work", "cycles", "/s", "quiet", "churn", "lost", "corrupt", "reordered", "quiet",
		"churn", "quiet", "churn", "quiet", "churn");
}

static bool
is_right(const struct work_result *result)
{
	return result->fault[0] == '\0' && result->lost == 0 && BOTH(result, corrupt) == 0 &&
		BOTH(result, reordered) == 0 && result->faults == 0;
}

static int
last_core(void)
{
	cpu_set_t set;
	int core, last = -1;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		for (core = 0; core < CPU_SETSIZE; core++)
			if (CPU_ISSET(core, &set))
				last = core;
	return last;
}

/* Everything but the stream stays on its core, too. */
static void
stay_on(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static int
choose(const char *name, unsigned int *chosen)
{
	unsigned int i;

	for (i = 0; churn_works[i] != NULL; i++)
		if (strcmp(name, churn_works[i]) == 0) {
			*chosen |= 1u << i;
			return 0;
		}
	fprintf(stderr, "vhu-churn: work '%s': want one of regions-8 regions-64 regions-509 table "
		"call log\n", name);
	return -1;
}

static int
parse(int argc, char **argv, struct churn_options *options, unsigned int *chosen, bool *json)
{
	static const struct option names[] = {
		{ "path", required_argument, NULL, 'p' }, { "work", required_argument, NULL, 'w' },
		{ "cycles", required_argument, NULL, 'c' },
		{ "quiet-ms", required_argument, NULL, 'q' }, { "packed", no_argument, NULL, 'P' },
		{ "in-order", no_argument, NULL, 'I' }, { "mergeable", no_argument, NULL, 'M' },
		{ "core", required_argument, NULL, 'C' }, { "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' }, { 0 },
	};
	int word;

	while ((word = getopt_long(argc, argv, "h", names, NULL)) != -1) {
		switch (word) {
		case 'p': options->path = optarg; break;
		case 'c': options->cycles = strtoull(optarg, NULL, 10); break;
		case 'q': options->quiet_ms = strtoull(optarg, NULL, 10); break;
		case 'P': options->packed = true; break;
		case 'I': options->in_order = true; break;
		case 'M': options->mergeable = true; break;
		case 'C': options->core = (int)strtol(optarg, NULL, 10); break;
		case 'j': *json = true; break;
		case 'w':
			if (choose(optarg, chosen) != 0)
				return 2;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			return 2;
		}
	}
	if (options->path == NULL || optind != argc) {
		fputs("vhu-churn: --path SOCKET is needed, and nothing but options; try --help\n",
			stderr);
		return 2;
	}
	return 0;
}

int
main(int argc, char **argv)
{
	struct churn_options options = { .cycles = 10000, .quiet_ms = 1000, .core = last_core() };
	static struct work_result result;
	unsigned int chosen = 0, i;
	bool json = false, right = true, first = true;
	int status = parse(argc, argv, &options, &chosen, &json);

	if (status != 0)
		return status;
	stay_on(options.core);
	if (json)
		printf("{\"works\":[");
	else
		print_head();
	for (i = 0; churn_works[i] != NULL; i++) {
		if (chosen != 0 && !(chosen >> i & 1))
			continue;
		churn_do(i, &options, &result);
		right = right && is_right(&result);
		if (json)
			printf("%s", first ? "" : ",\n");
		(json ? print_json : print_row)(&result);
		fflush(stdout);
		first = false;
	}
	if (json)
		printf("]}\n");
	return right ? 0 : 1;
}
