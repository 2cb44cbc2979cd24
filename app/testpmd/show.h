/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef TESTPMD_SHOW_H
#define TESTPMD_SHOW_H

/*
 * Tables and blocks for people, printed from the documents of report.h.
 */

#include <stdbool.h>
#include <stdio.h>

#include "report.h"

enum show_what { SHOW_INFO, SHOW_STATS, SHOW_XSTATS, SHOW_HISTOGRAMS, SHOW_RINGS, SHOW_MEMORY,
	SHOW_WHATS };

/* Words of enum show_what. */
extern const char *const show_words[SHOW_WHATS];

/* Show one port, or all if port is NULL: as JSON an object or an array of them. */
void show_ports(FILE *out, enum show_what what, const struct port *port, bool json);
void show_settings(FILE *out, bool json);
void show_events(FILE *out, bool json);
/* Table of totals, averages and drops by reason. */
void show_summary(FILE *out, const json_t *summary);

#endif /* TESTPMD_SHOW_H */
