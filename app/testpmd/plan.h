/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef TESTPMD_PLAN_H
#define TESTPMD_PLAN_H

/*
 * Plan: streams for one forwarding mode, sorted by the lcore that serves them. See engine.h for
 * the rules by which queues are joined. Made and freed by the main thread; lcores only use it.
 */

#include <stdbool.h>

#include "fwd.h"

/* The streams of one lcore: a run of plan.streams. */
struct plan_share {
	unsigned int first;
	unsigned int count;
};

struct plan {
	const struct fwd_mode *mode;
	struct stream *streams;
	unsigned int count;
	unsigned int lcores;
	struct plan_share shares[RTE_MAX_LCORE];
};

/* @return false if out of memory. */
bool plan_make(struct plan *plan, const struct fwd_mode *mode, unsigned int lcores);
void plan_free(struct plan *plan);
/* Whether both join the same queues on the same lcores. */
bool plan_same(const struct plan *left, const struct plan *right);

#endif /* TESTPMD_PLAN_H */
