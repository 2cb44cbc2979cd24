/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "blk.h"

/* The main thread: sockets, messages and signals. It sleeps whenever there is none. */

struct server {
	struct blk_arguments arguments;
	struct blk_device *devices[BLK_DEVICES_MAX];
	unsigned int count;
	int epoll;
	int signals;
	double start;
};

static double
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void
watch(const struct server *server, int fd, void *what)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = what };

	if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		fprintf(stderr, "vhu-blk: a descriptor cannot be watched: %s\n", strerror(errno));
}

/* One front-end at a time: while there is one, the listener is not watched. */
static void
serve(const struct server *server, struct blk_device *device)
{
	int fd;

	if (device->connected) {
		blk_device_message(device);
		if (!device->connected)
			watch(server, device->listener, device);
		return;
	}
	fd = accept4(device->listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	epoll_ctl(server->epoll, EPOLL_CTL_DEL, device->listener, NULL);
	if (blk_device_connect(device, fd))
		watch(server, fd, device);
	else
		watch(server, device->listener, device);
}

static bool
open_devices(struct server *server)
{
	unsigned int i;
	uint16_t q;

	for (i = 0; i < server->arguments.device_count; i++) {
		struct blk_device *device = calloc(1, sizeof(*device));
		char why[512] = "out of memory";

		if (device != NULL)
			device->options = server->arguments.devices[i];
		if (device == NULL || !blk_device_open(device, why, sizeof(why))) {
			fprintf(stderr, "vhu-blk: %s\n", why);
			if (device != NULL)
				blk_device_close(device);
			return false;
		}
		server->devices[server->count++] = device;
		for (q = 0; q < device->options.queues; q++)
			blk_pollers_add(&device->queues[q], i + q);
		watch(server, device->listener, device);
		printf("vhu-blk: %s: %s, %llu MiB, %u queues%s\n", device->options.socket,
			device->disk.ops->name,
			(unsigned long long)(device->disk.size >> 20), device->options.queues,
			device->disk.read_only ? ", read-only" : "");
	}
	fflush(stdout);
	return true;
}

/* Milliseconds until something is to be printed or ended. */
static int
patience(double when, double time)
{
	double left = when - time;

	return left < 0 ? 0 : left > 1000 ? 1000000 : (int)(left * 1000) + 1;
}

static void
run(struct server *server)
{
	const struct blk_arguments *arguments = &server->arguments;
	double line = server->start + arguments->stats_period;
	double end = server->start + arguments->duration;

	for (;;) {
		struct epoll_event events[16];
		double time = now();
		int i, count, timeout = -1;

		if (arguments->duration > 0 && time >= end)
			return;
		if (arguments->stats_period > 0 && time >= line) {
			blk_report_line(server->devices, server->count, time - server->start);
			line += arguments->stats_period;
		}
		if (arguments->stats_period > 0)
			timeout = patience(line, time);
		if (arguments->duration > 0 && (timeout < 0 || patience(end, time) < timeout))
			timeout = patience(end, time);
		count = epoll_wait(server->epoll, events, 16, timeout);
		for (i = 0; i < count; i++) {
			if (events[i].data.ptr == NULL)
				return; /* a signal */
			serve(server, events[i].data.ptr);
		}
	}
}

static bool
prepare(struct server *server)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	/* Before any thread exists, so that none of them is interrupted. */
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	server->signals = signalfd(-1, &signals, SFD_CLOEXEC);
	server->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (server->signals < 0 || server->epoll < 0)
		return false;
	watch(server, server->signals, NULL);
	return blk_pollers_start(server->arguments.threads, server->arguments.cores,
		server->arguments.core_count);
}

int
main(int argc, char **argv)
{
	struct server *server = calloc(1, sizeof(*server));
	unsigned int i;
	bool opened;
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
	opened = open_devices(server);
	if (opened) {
		run(server);
		rc = 0;
		blk_report(server->devices, server->count, now() - server->start);
		if (server->arguments.json != NULL &&
		    blk_report_json(server->devices, server->count, now() - server->start,
				server->arguments.json) != 0)
			rc = 1;
	}
	for (i = 0; i < server->count; i++)
		blk_device_disconnect(server->devices[i]);
	blk_pollers_stop();
	for (i = 0; i < server->count; i++)
		blk_device_close(server->devices[i]);
out:
	free(server->arguments.devices);
	free(server);
	return rc;
}
