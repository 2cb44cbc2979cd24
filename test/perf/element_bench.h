/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef ELEMENT_BENCH_H
#define ELEMENT_BENCH_H

/**
 * @file
 * What element_bench.c, built with one library, offers to element_slices.c.
 */

/** Batches in a measurement, at most. */
#define ELEMENT_BATCHES_MAX 4096

/** The symbol "element_bench" of a shared object. Each function runs @p batches of 32 elements. */
struct element_bench {
	void (*start)(void);                    /**< once; ends the process on failure */
	double (*pair)(unsigned int batches);   /**< @return cycles per element, the median */
	double (*burst)(unsigned int batches);  /**< the same; NULL: the library has no bursts */
};

#endif /* ELEMENT_BENCH_H */
