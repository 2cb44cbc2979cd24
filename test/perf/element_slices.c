/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Loads element_bench.c built with our library and with the other one, and runs them in turn, a
 * fraction of a millisecond each. In one process both have the same heap, stack and core; in one
 * slice they meet the same speed of the core, which another guest of the machine changes by half
 * whenever it uses the other thread of it, for tenths of a second or for minutes.
 *
 * usage: element-slices OURS THEIRS SLICES BATCHES
 * Prints a line for each slice: cycles per element of their pair, our pair and our burst.
 */

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "element_bench.h"

static const struct element_bench *
load(const char *path)
{
	/* Local: both have symbols of the same names. Now: no call is bound while it is timed. */
	void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	const struct element_bench *bench = object == NULL ? NULL : dlsym(object, "element_bench");

	if (bench == NULL) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	bench->start();
	return bench;
}

int
main(int argc, char **argv)
{
	const struct element_bench *ours, *theirs;
	unsigned int slices, batches, i;

	if (argc != 5)
		return 2;
	ours = load(argv[1]);
	theirs = load(argv[2]);
	slices = (unsigned int)atoi(argv[3]);
	batches = (unsigned int)atoi(argv[4]);
	if (batches == 0 || batches > ELEMENT_BATCHES_MAX)
		return 2;
	/* The first one warms up. */
	for (i = 0; i <= slices; i++) {
		double before = theirs->pair(batches), pair = ours->pair(batches);
		double burst = ours->burst(batches), after = theirs->pair(batches);

		/* On both sides of ours: the core did not change its speed in between. */
		if (i != 0)
			printf("%.2f %.2f %.2f\n", (before + after) / 2, pair, burst);
	}
	return 0;
}
