/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Which rows there are. */

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "perf.h"

#define PACKED VHU_BIT(VIRTIO_F_RING_PACKED)
#define IN_ORDER VHU_BIT(VIRTIO_F_IN_ORDER)
#define MERGEABLE VHU_BIT(VIRTIO_NET_F_MRG_RXBUF)

/*
 * The ten paths by the names of DPDK's virtio driver. What that calls vectorised differs for a
 * back-end in how buffers come: in batches and, on a split ring, from an available ring that never
 * changes.
 */
static const struct path {
	const char *name;
	uint64_t features;
	bool fixed;
} paths[] = {
	{ "split-mergeable", MERGEABLE, false },
	{ "split-plain", 0, false },
	{ "split-mergeable-in-order", MERGEABLE | IN_ORDER, false },
	{ "split-in-order", IN_ORDER, false },
	{ "split-vectorised", 0, true },
	{ "packed-mergeable", PACKED | MERGEABLE, false },
	{ "packed-plain", PACKED, false },
	{ "packed-mergeable-in-order", PACKED | MERGEABLE | IN_ORDER, false },
	{ "packed-in-order", PACKED | IN_ORDER, false },
	{ "packed-vectorised", PACKED | IN_ORDER, true },
};

/* The axes. A row belongs to the one that it was made for first. */
static const char *const groups[] = { "path", "size", "direction", "burst", "starved", "empty",
	"idle", "regions", "offloads", "indirect", "logging", "iommu", "statistics", "touch" };
static const char *const works[] = { "receive", "transmit", "loop", "empty" };
static const uint16_t sizes[] = { 64, 256, 512, 1024, 1518, 9000, 0 };
static const uint16_t bursts[] = { 1, 4, 32, 256 };

static struct perf_row *rows;
static unsigned int row_count;

uint16_t
perf_length(const struct perf_row *row, uint64_t number)
{
	static const uint16_t imix[12] = { 64, 570, 64, 64, 570, 64, 1518, 64, 570, 64, 64, 570 };

	return row->size != 0 ? row->size : imix[number % RTE_DIM(imix)];
}

uint16_t
perf_longest(const struct perf_row *row)
{
	return row->size != 0 ? row->size : 1518;
}

/* The plain row of a path; the caller changes what is to be different. */
static struct perf_row
plain(const char *group, enum perf_work work, const struct path *path, uint16_t size)
{
	return (struct perf_row){
		.group = group,
		.work = work,
		.path = path->name,
		.features = path->features,
		.fixed = path->fixed,
		.size = size,
		.burst = 32,
		.regions = 1,
	};
}

/* Add a row once; its name says what it is. */
static void
add(struct perf_row row, const char *extra)
{
	char size[8] = "imix";
	unsigned int i;

	if (row.size != 0)
		snprintf(size, sizeof(size), "%u", row.size);
	if (row.work == PERF_EMPTY)
		snprintf(row.name, sizeof(row.name), "empty-%s%s", row.path, extra);
	else
		snprintf(row.name, sizeof(row.name), "%s-%s-%s-b%u%s", works[row.work], row.path,
			size, row.burst, extra);
	for (i = 0; i < row_count; i++)
		if (strcmp(rows[i].name, row.name) == 0)
			return;
	if (row_count < PERF_MAX_ROWS)
		rows[row_count++] = row;
}

static void
add_sizes(const char *group, enum perf_work work, const struct path *path, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct perf_row row = plain(group, work, path, sizes[i]);

		/* One buffer cannot be made to hold it and nothing merges: not a case. */
		add(row, "");
	}
}

static void
add_bursts(const struct path *path)
{
	for (unsigned int i = 0; i < RTE_DIM(bursts); i++) {
		struct perf_row row = plain("burst", PERF_LOOP, path, 64);

		row.burst = bursts[i];
		add(row, "");
	}
}

/* The driver keeps few buffers ready, so the back-end never finds a full burst. */
static void
add_starved(const struct path *path)
{
	struct perf_row row = plain("starved", PERF_LOOP, path, 64);

	/* Vector code refills in batches of 64: it cannot be starved to fewer. */
	if (path->fixed)
		return;
	row.window = 8;
	for (row.work = PERF_RECEIVE; row.work <= PERF_LOOP; row.work++)
		add(row, "-starved");
}

static void
add_idle(const struct path *path, bool all)
{
	/* rte_vhost polls at most 1024 descriptors, two a port: 512 more are too many for it. */
	static const uint16_t idle[] = { 8, 64, 1, 480, 512 };
	char extra[32];

	for (unsigned int i = 0; i < (all ? RTE_DIM(idle) : 2); i++) {
		struct perf_row row = plain("idle", PERF_LOOP, path, 64);

		row.idle = idle[i];
		snprintf(extra, sizeof(extra), "-idle%u", idle[i]);
		add(row, extra);
	}
}

static void
add_regions(const struct path *path, bool all)
{
	static const uint16_t regions[] = { 4, 509, 1, 64 };
	char extra[32];

	for (unsigned int i = 0; i < (all ? RTE_DIM(regions) : 2); i++) {
		struct perf_row row = plain("regions", PERF_LOOP, path, 64);

		row.regions = regions[i];
		snprintf(extra, sizeof(extra), "-regions%u", regions[i]);
		add(row, extra);
	}
}

/* Negotiated as a Linux guest does; then headers that ask for nothing, or for something. */
static void
add_offloads(const struct path *path, enum perf_work first, enum perf_work last, bool requests)
{
	struct perf_row row = plain("offloads", first, path, 64);

	row.offloads = true;
	for (row.work = first; row.work <= last; row.work++) {
		row.size = 64;
		row.request = PERF_ASK_NOTHING;
		add(row, "-offloads");
		if (!requests)
			continue;
		row.request = PERF_ASK_CHECKSUM;
		add(row, "-checksum");
		row.size = 1518;
		add(row, "-checksum");
		row.request = PERF_ASK_SEGMENTS;
		row.size = 9000;
		add(row, "-segments");
	}
}

static void
add_features(const struct path *path)
{
	struct perf_row row = plain("indirect", PERF_RECEIVE, path, 64);

	row.indirect = 1;
	add(row, "-indirect");
	row.work = PERF_LOOP;
	add(row, "-indirect");
	row.indirect = 2;
	add(row, "-indirect2");
	row.work = PERF_RECEIVE;
	add(row, "-indirect2");
	row = plain("logging", PERF_LOOP, path, 64);
	row.logging = true;
	add(row, "-logging");
	row.size = 1518;
	add(row, "-logging");
	row = plain("iommu", PERF_LOOP, path, 64);
	row.iommu = true;
	add(row, "-iommu");
	row = plain("statistics", PERF_LOOP, path, 64);
	row.statistics = true;
	add(row, "-statistics");
	row.burst = 4;
	add(row, "-statistics");
	row = plain("touch", PERF_LOOP, path, 64);
	row.touch = true;
	add(row, "-touch");
	row.size = 1518;
	add(row, "-touch");
}

/* Two minutes: something of every kind. */
static void
quick(void)
{
	unsigned int i;

	for (i = 0; i < RTE_DIM(paths); i++)
		add(plain("path", PERF_LOOP, &paths[i], 64), "");
	add_sizes("size", PERF_LOOP, &paths[0], 5);
	for (i = 0; i < RTE_DIM(paths); i += 5) {
		add(plain("direction", PERF_RECEIVE, &paths[i], 64), "");
		add(plain("direction", PERF_TRANSMIT, &paths[i], 64), "");
		add(plain("empty", PERF_EMPTY, &paths[i], 64), "");
	}
	add_bursts(&paths[0]);
	add_offloads(&paths[0], PERF_RECEIVE, PERF_RECEIVE, false);
	add_idle(&paths[0], false);
	add_regions(&paths[0], false);
}

/* Everything. */
static void
full(void)
{
	unsigned int i;

	quick();
	for (i = 0; i < RTE_DIM(paths); i++) {
		for (enum perf_work work = PERF_RECEIVE; work <= PERF_LOOP; work++)
			add_sizes("size", work, &paths[i], RTE_DIM(sizes));
		add_bursts(&paths[i]);
		add(plain("empty", PERF_EMPTY, &paths[i], 64), "");
		add_starved(&paths[i]);
		add_offloads(&paths[i], PERF_RECEIVE, PERF_RECEIVE, false);
	}
	for (i = 0; i < RTE_DIM(paths); i += 5) {
		add_idle(&paths[i], true);
		add_regions(&paths[i], true);
		add_offloads(&paths[i], PERF_RECEIVE, PERF_LOOP, true);
		add_features(&paths[i]);
	}
}

bool
perf_group_known(const char *name)
{
	for (unsigned int i = 0; i < RTE_DIM(groups); i++)
		if (strcmp(groups[i], name) == 0)
			return true;
	return false;
}

bool
perf_path_known(const char *name)
{
	for (unsigned int i = 0; i < RTE_DIM(paths); i++)
		if (strcmp(paths[i].name, name) == 0)
			return true;
	return false;
}

/* Whether a comma-separated list has the word; a list that is not there has every word. */
static bool
list_has(const char *list, const char *word)
{
	size_t length = strlen(word);

	if (list == NULL)
		return true;
	while (list != NULL) {
		if (strncmp(list, word, length) == 0 && (list[length] == ',' || list[length] == 0))
			return true;
		list = strchr(list, ',');
		list += list != NULL;
	}
	return false;
}

bool
perf_row_chosen(const struct perf_row *row, const struct perf_options *options)
{
	return list_has(options->only, row->group) && list_has(options->paths, row->path) &&
		(options->row == NULL || fnmatch(options->row, row->name, FNM_EXTMATCH) == 0);
}

unsigned int
perf_rows(const char *set, const struct perf_row **result)
{
	free(rows);
	row_count = 0;
	rows = calloc(PERF_MAX_ROWS, sizeof(*rows));
	*result = rows;
	if (rows == NULL)
		return 0;
	if (strcmp(set, "quick") == 0)
		quick();
	else
		full();
	return row_count;
}
