/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef TESTPMD_REPORT_H
#define TESTPMD_REPORT_H

/*
 * Reports: everything that can be shown, as JSON documents. Tables are printed from the same
 * documents (show.h), so that the two cannot disagree. The caller owns what it gets.
 */

#include <jansson.h>

#include "port.h"

json_t *report_info(const struct port *port);
json_t *report_stats(const struct port *port);
json_t *report_xstats(const struct port *port);
json_t *report_histograms(const struct port *port);
json_t *report_rings(const struct port *port);
json_t *report_memory(const struct port *port);
json_t *report_settings(void);
json_t *report_events(void);
/* The whole run: settings, statistics of all ports, samples of the live lines. */
json_t *report_summary(double seconds);

#endif /* TESTPMD_REPORT_H */
