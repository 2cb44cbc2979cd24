/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "blk.h"

/* The main thread: start and end, signals and reports. */

struct server {
	struct blk_arguments arguments;
	struct blk_device *devices[BLK_DEVICES_MAX];
	unsigned int count;
	sigset_t signals;
	double start;
};

static double
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* People read this; with JSON on the standard output it goes elsewhere. */
static FILE *
people(const struct server *server)
{
	const char *json = server->arguments.json;

	return json != NULL && strcmp(json, "-") == 0 ? stderr : stdout;
}

static bool
open_device(struct server *server, unsigned int i)
{
	struct blk_device *device = calloc(1, sizeof(*device));
	char why[5000] = "out of memory";
	bool opened = false;
	uint16_t q;

	if (device != NULL) {
		device->options = server->arguments.devices[i];
		server->devices[server->count++] = device;
		opened = blk_device_open(device, why, sizeof(why));
	}
	for (q = 0; opened && q < device->options.queues; q++) {
		opened = blk_pollers_add(&device->queues[q], i + q);
		snprintf(why, sizeof(why), "too many queues for a polling thread; give more "
			"--threads");
	}
	opened = opened && blk_server_start(device, why, sizeof(why));
	if (!opened) {
		fprintf(stderr, "vhu-blk: %s\n", why);
		return false;
	}
	fprintf(people(server), "vhu-blk: %s: %s, %llu MiB, %u queues%s\n",
		device->options.socket, device->disk.ops->name,
		(unsigned long long)(device->disk.size >> 20), device->options.queues,
		device->disk.read_only ? ", read-only" : "");
	fflush(people(server));
	return true;
}

static bool
open_devices(struct server *server)
{
	unsigned int i;

	for (i = 0; i < server->arguments.device_count; i++)
		if (!open_device(server, i))
			return false;
	return true;
}

static struct timespec
time_of(double seconds)
{
	/* An hour at a time: more does not fit everywhere. */
	double some = seconds < 0 ? 0 : seconds > 3600 ? 3600 : seconds;

	return (struct timespec){ (time_t)some, (long)((some - (double)(time_t)some) * 1e9) };
}

static void
resize(struct server *server)
{
	unsigned int i;

	for (i = 0; i < server->count; i++)
		blk_server_resize(server->devices[i]);
}

/* Print lines until it is time or a signal says so. */
static void
run(struct server *server)
{
	const struct blk_arguments *arguments = &server->arguments;
	double line = server->start + arguments->stats_period;
	double end = server->start + arguments->duration;

	for (;;) {
		double time = now(), next = time + 3600;
		struct timespec patience;
		int number;

		if (arguments->duration > 0 && time >= end)
			return;
		if (arguments->stats_period > 0 && time >= line) {
			blk_report_line(people(server), server->devices, server->count,
				time - server->start);
			line += arguments->stats_period;
		}
		if (arguments->stats_period > 0)
			next = line;
		if (arguments->duration > 0 && end < next)
			next = end;
		patience = time_of(next - time);
		number = sigtimedwait(&server->signals, NULL, &patience);
		if (number == SIGHUP)
			resize(server);
		else if (number > 0)
			return;
	}
}

/* Many disks and queues need many descriptors. */
static void
raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static bool
prepare(struct server *server)
{
	raise_limit();
	sigemptyset(&server->signals);
	sigaddset(&server->signals, SIGINT);
	sigaddset(&server->signals, SIGTERM);
	sigaddset(&server->signals, SIGHUP);
	/* Before any thread exists, so that none of them is interrupted. */
	pthread_sigmask(SIG_BLOCK, &server->signals, NULL);
	return blk_pollers_start(server->arguments.threads, server->arguments.cores,
		server->arguments.core_count);
}

/* What the guests were promised is done before they are left. */
static void
drain(struct server *server)
{
	unsigned int i;
	uint16_t q;

	blk_pollers_drain();
	for (i = 0; i < server->count; i++)
		for (q = 0; q < server->devices[i]->options.queues; q++)
			blk_queue_wait(&server->devices[i]->queues[q]);
}

static int
report(struct server *server)
{
	const char *json = server->arguments.json;
	double seconds = now() - server->start;

	blk_report(people(server), server->devices, server->count, seconds);
	return json == NULL || blk_report_json(server->devices, server->count, seconds,
		json) == 0 ? 0 : 1;
}

int
main(int argc, char **argv)
{
	struct server *server = calloc(1, sizeof(*server));
	unsigned int i;
	int rc;

	if (server == NULL)
		return 1;
	server->arguments.devices = calloc(BLK_DEVICES_MAX, sizeof(struct blk_options));
	if (server->arguments.devices == NULL)
		return 1;
	rc = blk_arguments_parse(&server->arguments, argc, argv);
	if (rc >= 0)
		goto out;
	rc = 1;
	if (!prepare(server)) {
		fprintf(stderr, "vhu-blk: threads or descriptors cannot be had: %s; is the core "
			"list right?\n", strerror(errno));
		goto out;
	}
	server->start = now();
	if (open_devices(server)) {
		run(server);
		drain(server);
		rc = report(server);
	}
	for (i = 0; i < server->count; i++)
		blk_server_stop(server->devices[i]);
	blk_pollers_stop();
	for (i = 0; i < server->count; i++)
		blk_device_close(server->devices[i]);
out:
	free(server->arguments.devices);
	free(server);
	return rc;
}
