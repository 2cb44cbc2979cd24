/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef TESTPMD_STATS_H
#define TESTPMD_STATS_H

/*
 * Statistics: totals of a port, and what happened between two looks at them.
 *
 * Totals add up the library's counters of all queues and what the forwarding lcores count. "rx"
 * is from the guest, "tx" to the guest. Main thread only.
 */

#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "port.h"

struct port_rates {
	double seconds;
	double rx_mpps;
	double tx_mpps;
	double rx_gbps;   /* frame bytes times 8, without CRC, gap and preamble */
	double tx_gbps;
	uint64_t drops;
	double cycles_per_packet; /* 0 if nothing moved */
};

/* Since the port was created or stats_clear(). */
void stats_read(const struct port *port, struct port_totals *totals);
/* All frames that did not reach their goal, in both directions. */
uint64_t stats_drops(const struct port_totals *totals);
void stats_rates(const struct port_totals *from, const struct port_totals *to, double seconds,
	struct port_rates *rates);
/* Count from here. */
void stats_clear(struct port *port);

/*
 * Find out which ports moved packets since the last call, seconds ago, and add that to their
 * active time: averages leave out the time before a guest came and after it went.
 */
void stats_watch(double seconds);

/* Seconds since an arbitrary moment, monotonic. */
double now_seconds(void);

/*
 * Live lines. stats_period_begin() takes the first look at all ports; stats_period_end() prints a
 * line per port about the time since the last look, keeps a sample for the JSON summary, looks
 * again.
 */
void stats_period_begin(void);
void stats_period_end(FILE *out);

/* The newest 3600 samples; the caller owns them, a new collection begins. */
json_t *stats_samples(void);

#endif /* TESTPMD_STATS_H */
