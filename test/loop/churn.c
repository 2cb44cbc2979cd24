/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * vhu-churn: numbered frames run to a back-end and back at full rate, while memory regions come and
 * go, the log is switched, call descriptors are swapped. Nothing may be lost, changed or out of
 * order. How long frames waited is reported with and without the changes; it decides nothing.
 *
 * One thread on one core sends, receives and makes the changes. The back-end polls on another; if
 * it is vhu-poller, it keeps book of its own times (book.h), and those are what the table shows.
 * The back-end's control threads belong on this core, not on the poller's.
 */

#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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
	"  --book FILE       book of a vhu-poller, which is the back-end\n"
	"  --packed          packed rings\n"
	"  --in-order        VIRTIO_F_IN_ORDER\n"
	"  --mergeable       VIRTIO_NET_F_MRG_RXBUF\n"
	"  --core N          where to run (the last one)\n"
	"  --json            one JSON object instead of the table\n"
	"\n"
	"Exit status: 0 nothing lost, changed or out of order; 1 otherwise; 2 wrong usage.\n";

struct settings {
	struct churn_options options;
	const char *book;
	unsigned int chosen;       /* works, by their bits; 0: all */
	int core;
	bool json;
};

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
parse(int argc, char **argv, struct settings *settings)
{
	struct churn_options *options = &settings->options;
	static const struct option names[] = {
		{ "path", required_argument, NULL, 'p' }, { "work", required_argument, NULL, 'w' },
		{ "cycles", required_argument, NULL, 'c' },
		{ "book", required_argument, NULL, 'b' }, { "packed", no_argument, NULL, 'P' },
		{ "in-order", no_argument, NULL, 'I' }, { "mergeable", no_argument, NULL, 'M' },
		{ "core", required_argument, NULL, 'C' }, { "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' }, { 0 },
	};
	int word;

	while ((word = getopt_long(argc, argv, "h", names, NULL)) != -1) {
		switch (word) {
		case 'p': options->path = optarg; break;
		case 'c': options->cycles = strtoull(optarg, NULL, 10); break;
		case 'b': settings->book = optarg; break;
		case 'P': options->packed = true; break;
		case 'I': options->in_order = true; break;
		case 'M': options->mergeable = true; break;
		case 'C': settings->core = (int)strtol(optarg, NULL, 10); break;
		case 'j': settings->json = true; break;
		case 'w':
			if (choose(optarg, &settings->chosen) != 0)
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

static struct book *
open_book(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct book *book;

	if (fd < 0)
		return NULL;
	book = mmap(NULL, sizeof(*book), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	close(fd);
	if (book == MAP_FAILED)
		return NULL;
	/* Partner: the store of the poller, which has said which core it is on. */
	return __atomic_load_n(&book->ready, __ATOMIC_ACQUIRE) ? book : NULL;
}

static bool
do_works(const struct settings *settings)
{
	static struct work_result result;
	bool right = true, first = true;
	unsigned int i;

	for (i = 0; churn_works[i] != NULL; i++) {
		if (settings->chosen != 0 && !(settings->chosen >> i & 1))
			continue;
		churn_do(i, &settings->options, &result);
		right = right && report_is_right(&result);
		if (settings->json)
			printf("%s", first ? "" : ",\n");
		(settings->json ? report_json : report_row)(&result);
		fflush(stdout);
		first = false;
	}
	return right;
}

int
main(int argc, char **argv)
{
	struct settings settings = { .options = { .cycles = 10000 }, .core = last_core() };
	int status = parse(argc, argv, &settings);
	bool right;

	if (status != 0)
		return status;
	if (settings.book != NULL) {
		settings.options.book = open_book(settings.book);
		if (settings.options.book == NULL) {
			fprintf(stderr, "vhu-churn: %s is no book of a vhu-poller that runs\n",
				settings.book);
			return 2;
		}
	}
	stay_on(settings.core);
	if (settings.json)
		printf("{\"works\":[");
	else
		report_head(settings.book != NULL);
	right = do_works(&settings);
	if (settings.json)
		printf("]}\n");
	return right ? 0 : 1;
}
