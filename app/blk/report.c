/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "blk.h"

#define READ(counter) atomic_load_explicit(&(counter), memory_order_relaxed)

/* Sums over queues. */
struct sums {
	uint64_t reads, writes, flushes, discards, write_zeroes, other;
	uint64_t bytes_read, bytes_written, errors, malformed, bursts;
	uint64_t latency[BLK_OPERATIONS][BLK_LATENCY_BUCKETS];
};

static void
add(struct sums *sums, struct blk_counters *c)
{
	sums->reads += READ(c->reads);
	sums->writes += READ(c->writes);
	sums->flushes += READ(c->flushes);
	sums->discards += READ(c->discards);
	sums->write_zeroes += READ(c->write_zeroes);
	sums->other += READ(c->other);
	sums->bytes_read += READ(c->bytes_read);
	sums->bytes_written += READ(c->bytes_written);
	sums->errors += READ(c->errors);
	sums->malformed += READ(c->malformed);
	sums->bursts += READ(c->bursts);
	blk_latency_add(sums->latency, c);
}

static struct sums
sums_of(struct blk_device *device)
{
	struct sums sums = { 0 };
	uint16_t i;

	for (i = 0; i < device->options.queues; i++)
		add(&sums, &device->queues[i].counters);
	return sums;
}

/* A line for each kind of request that there was. */
static void
report_latency(FILE *file, const struct blk_device *device, const struct sums *sums)
{
	unsigned int i;

	for (i = 0; i < BLK_OPERATIONS; i++) {
		const uint64_t *buckets = sums->latency[i];

		if (blk_latency_below(buckets, 1000) == 0)
			continue;
		fprintf(file, "%-32s %-12s 50 %% below %.1f us, 99 %% below %.1f us, "
			"99.9 %% below %.1f us, all below %.1f us\n", device->options.socket,
			blk_operation_name(i), (double)blk_latency_below(buckets, 500) / 1e3,
			(double)blk_latency_below(buckets, 990) / 1e3,
			(double)blk_latency_below(buckets, 999) / 1e3,
			(double)blk_latency_below(buckets, 1000) / 1e3);
	}
}

void
blk_report(FILE *file, struct blk_device *const *devices, unsigned int count, double seconds)
{
	unsigned int i;

	fprintf(file, "\n%-32s %12s %12s %9s %9s %12s %12s %7s\n", "socket", "reads", "writes",
		"flushes", "discards", "MiB read", "MiB written", "errors");
	for (i = 0; i < count; i++) {
		struct sums s = sums_of(devices[i]);

		fprintf(file, "%-32s %12" PRIu64 " %12" PRIu64 " %9" PRIu64 " %9" PRIu64
			" %12.1f %12.1f %7" PRIu64 "\n", devices[i]->options.socket, s.reads,
			s.writes, s.flushes, s.discards + s.write_zeroes,
			(double)s.bytes_read / 1048576, (double)s.bytes_written / 1048576,
			s.errors);
	}
	for (i = 0; i < count; i++) {
		struct sums s = sums_of(devices[i]);

		report_latency(file, devices[i], &s);
	}
	fprintf(file, "%.1f seconds\n", seconds);
}

void
blk_report_line(FILE *file, struct blk_device *const *devices, unsigned int count, double now)
{
	static struct sums last;
	static double last_time;
	struct sums all = { 0 };
	double span = now - last_time;
	unsigned int i;

	for (i = 0; i < count; i++) {
		uint16_t q;

		for (q = 0; q < devices[i]->options.queues; q++)
			add(&all, &devices[i]->queues[q].counters);
	}
	fprintf(file, "%7.1f s: %10.0f reads/s %10.0f writes/s %9.1f MiB/s %" PRIu64 " errors\n",
		now,
		(double)(all.reads - last.reads) / span,
		(double)(all.writes - last.writes) / span,
		(double)(all.bytes_read + all.bytes_written - last.bytes_read -
			last.bytes_written) / 1048576 / span, all.errors);
	fflush(file);
	last = all;
	last_time = now;
}

/* Buckets with something in them, by operation. */
static json_t *
json_of_latency(const struct sums *s)
{
	json_t *all = json_object();
	unsigned int i, j;

	for (i = 0; i < BLK_OPERATIONS; i++) {
		json_t *buckets = json_array();

		for (j = 0; j < BLK_LATENCY_BUCKETS; j++)
			if (s->latency[i][j] != 0)
				json_array_append_new(buckets, json_pack("{s:I, s:I}",
					"from_ns", (json_int_t)1 << j,
					"count", (json_int_t)s->latency[i][j]));
		if (json_array_size(buckets) == 0)
			json_decref(buckets);
		else
			json_object_set_new(all, blk_operation_name(i), buckets);
	}
	return all;
}

static json_t *
json_of(const struct sums *s)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
		"reads", (json_int_t)s->reads, "writes", (json_int_t)s->writes,
		"flushes", (json_int_t)s->flushes, "discards", (json_int_t)s->discards,
		"write_zeroes", (json_int_t)s->write_zeroes, "other", (json_int_t)s->other,
		"bytes_read", (json_int_t)s->bytes_read,
		"bytes_written", (json_int_t)s->bytes_written,
		"errors", (json_int_t)s->errors, "malformed", (json_int_t)s->malformed,
		"bursts", (json_int_t)s->bursts, "latency", json_of_latency(s));
}

static json_t *
json_of_device(struct blk_device *device)
{
	struct sums all = sums_of(device);
	json_t *queues = json_array();
	uint16_t i;

	for (i = 0; i < device->options.queues; i++) {
		struct sums one = { 0 };

		add(&one, &device->queues[i].counters);
		json_array_append_new(queues, json_of(&one));
	}
	return json_pack("{s:s, s:s, s:I, s:i, s:b, s:b, s:I, s:o, s:o}",
		"socket", device->options.socket, "engine", device->disk.ops->name,
		"size", (json_int_t)device->disk.size,
		"block_size", (int)device->disk.block_size,
		"read_only", (int)device->disk.read_only, "direct", (int)device->disk.direct,
		"connections", (json_int_t)READ(device->connections),
		"total", json_of(&all), "queues", queues);
}

int
blk_report_json(struct blk_device *const *devices, unsigned int count, double seconds,
	const char *path)
{
	bool standard = strcmp(path, "-") == 0;
	FILE *file = standard ? stdout : fopen(path, "we");
	json_t *array = json_array(), *root;
	unsigned int i;
	int rc = 0;

	for (i = 0; i < count; i++)
		json_array_append_new(array, json_of_device(devices[i]));
	root = json_pack("{s:f, s:o}", "seconds", seconds, "devices", array);
	if (file == NULL || json_dumpf(root, file, JSON_INDENT(2)) != 0 ||
	    fputc('\n', file) == EOF || fflush(file) != 0) {
		rc = errno != 0 ? -errno : -EIO;
		fprintf(stderr, "vhu-blk: %s cannot be written: %s\n", path, strerror(-rc));
	}
	if (file != NULL && !standard)
		fclose(file);
	json_decref(root);
	return rc;
}
