/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>

#include "perf.h"

#define MBUFS 16383
#define MBUF_CACHE 256
#define EAL_MIB "256"

static volatile sig_atomic_t stopped;

static void
on_signal(int number)
{
	(void)number;
	stopped = 1;
}

/* Where the driver lies: beside the program in a build folder, or where it is installed. */
static const char *
find_plugin(const struct perf_options *options)
{
	static char path[512];
	char program[256] = "";
	ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);

	if (options->plugin != NULL)
		return options->plugin;
	if (length > 0) {
		snprintf(path, sizeof(path), "%s/../../drivers/net/vhu/librte_net_vhu.so",
			dirname(program));
		if (access(path, R_OK) == 0)
			return path;
	}
	return access(PERF_PLUGIN, R_OK) == 0 ? PERF_PLUGIN : NULL;
}

static int
start_eal(const struct perf_options *options)
{
	const char *plugin = find_plugin(options);
	char lcores[64], plugin_copy[512];
	const char *words[16] = { "vhu-perf", "--lcores", lcores, "--no-pci", "--no-telemetry",
		"-m", EAL_MIB };
	int count = 7;

	snprintf(lcores, sizeof(lcores), "0@%d,1@%d", options->cores[0], options->cores[1]);
	if (options->huge) {
		words[count++] = "--in-memory";
	} else {
		words[count++] = "--no-huge";
		words[count++] = "--no-shconf";
	}
	if (plugin != NULL) {
		snprintf(plugin_copy, sizeof(plugin_copy), "%s", plugin);
		words[count++] = "-d";
		words[count++] = plugin_copy;
	}
	words[count++] = "--log-level=lib.*:error";
	words[count++] = "--log-level=pmd.*:error";
	if (rte_eal_init(count, (char **)(uintptr_t)words) >= 0)
		return 0;
	fprintf(stderr, "vhu-perf: DPDK did not start; are hugepages reserved? "
		"(sysctl vm.nr_hugepages=1024, or --no-huge)\n");
	return -1;
}

/* Many idle ports mean many sockets and eventfds. */
static void
raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Whether it ended well, and what the program says about it. */
enum end { DONE = 0, FAILED = 1, ROWS_LEFT = 3 };

/* @return whether none lost a byte and the figures were written. */
static bool
measure_row(const struct perf_options *options, struct rte_mempool *mempool,
	const struct perf_row *row)
{
	struct perf_bench bench = { .options = options, .row = row, .mempool = mempool,
		.log_fd = -1 };
	static struct perf_outcome outcomes[8];
	bool whole = true;

	memset(outcomes, 0, sizeof(outcomes));
	perf_error[0] = '\0';
	if (perf_bench_open(&bench, outcomes) == 0) {
		perf_measure(&bench, outcomes);
	} else {
		for (unsigned int i = 0; i < perf_backend_count; i++)
			if (outcomes[i].missing == NULL)
				outcomes[i].missing = perf_error;
	}
	perf_bench_close(&bench);
	for (unsigned int i = 0; i < perf_backend_count; i++)
		if (outcomes[i].missing != NULL &&
				strcmp(outcomes[i].missing, "not every byte arrived") == 0)
			whole = false;
	return perf_report_row(row, outcomes) == 0 && whole;
}

/* A row that is to be measured, and the run that did so before; 0: none. */
struct turn {
	const struct perf_row *row;
	unsigned int age;
};

static int
compare_turns(const void *a, const void *b)
{
	const struct turn *first = a, *second = b;

	if (first->age != second->age)
		return first->age < second->age ? -1 : 1;
	return first->row < second->row ? -1 : first->row > second->row;
}

/* Rows that are chosen, those that are not there yet first, then the oldest. @return how many. */
static unsigned int
take_turns(const struct perf_options *options, struct turn *turns, unsigned int most)
{
	const struct perf_row *rows;
	unsigned int all = RTE_MIN(perf_rows(options->set, &rows), most), count = 0;

	for (unsigned int i = 0; i < all; i++)
		if (perf_row_chosen(&rows[i], options))
			turns[count++] = (struct turn){ &rows[i], perf_report_age(&rows[i]) };
	qsort(turns, count, sizeof(turns[0]), compare_turns);
	return count;
}

/* Measure what is chosen and not there yet, as long as there is time. */
static enum end
measure_rows(const struct perf_options *options, struct rte_mempool *mempool)
{
	uint64_t end = rte_rdtsc() + options->limit * rte_get_tsc_hz();
	static struct turn turns[PERF_MAX_ROWS];
	unsigned int chosen = take_turns(options, turns, RTE_DIM(turns)), left = 0;
	bool whole = true;

	for (unsigned int i = 0; i < chosen; i++) {
		if (turns[i].age > 0 && !options->again)
			continue;
		if (stopped || (options->limit > 0 && rte_rdtsc() > end))
			left++;
		else
			whole = measure_row(options, mempool, turns[i].row) && whole;
	}
	if (chosen == 0)
		fprintf(stderr, "vhu-perf: no row fits '%s'; try --list\n",
			options->row ? options->row : "");
	if (left > 0)
		fprintf(stderr, "vhu-perf: %u of %u rows are left\n", left, chosen);
	if (!whole || chosen == 0)
		return FAILED;
	return left > 0 ? ROWS_LEFT : DONE;
}

static enum end
measure(const struct perf_options *options)
{
	struct rte_mempool *mempool = rte_pktmbuf_pool_create("perf", MBUFS, MBUF_CACHE, 0,
		RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	enum end end;

	if (mempool == NULL) {
		fprintf(stderr, "vhu-perf: no memory for %u mbufs\n", MBUFS);
		return FAILED;
	}
	if (perf_report_begin(options) != 0)
		return FAILED;
	end = measure_rows(options, mempool);
	perf_report_end();
	return end;
}

static void
list_rows(const struct perf_options *options)
{
	const struct perf_row *rows;
	unsigned int count = perf_rows(options->set, &rows);

	for (unsigned int i = 0; i < count; i++)
		if (perf_row_chosen(&rows[i], options))
			printf("%-12s %s\n", rows[i].group, rows[i].name);
}

static int
run(struct perf_options *options)
{
	enum end status;

	if (start_eal(options) != 0)
		return FAILED;
	rte_eal_remote_launch(perf_worker, NULL, 1);
	status = measure(options);
	perf_rte_vhost_end();
	perf_worker_end();
	rte_eal_mp_wait_lcore();
	rte_eal_cleanup();
	return (int)status;
}

int
main(int argc, char **argv)
{
	struct perf_options options;
	int status = perf_args(argc, argv, &options);

	if (status != 0)
		return status == 1 ? 0 : status;
	if (options.list) {
		list_rows(&options);
		return 0;
	}
	if (options.cores[1] < 0) {
		fputs("vhu-perf: two cores are needed, one for each side\n", stderr);
		return 1;
	}
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	raise_descriptor_limit();
	strcpy(options.folder, "/tmp/vhu-perf-XXXXXX");
	if (mkdtemp(options.folder) == NULL) {
		perror("vhu-perf: no folder for sockets");
		return 1;
	}
	status = run(&options);
	rmdir(options.folder);
	return status;
}
