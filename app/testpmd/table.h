/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef TESTPMD_TABLE_H
#define TESTPMD_TABLE_H

/*
 * Print an array of objects as a table, or an object as lines "name: value".
 */

#include <stdio.h>

#include <jansson.h>

#define MAX_COLUMNS 16

struct column {
	const char *title;
	const char *path; /* member, or members joined by '.' */
};

/*
 * Columns (MAX_COLUMNS at most) end with a NULL title. Nothing but "nothing" in place of rows if
 * there are none.
 */
void table_print(FILE *out, const json_t *rows, const struct column *columns);
/* All members in their order; nested objects are left out. */
void block_print(FILE *out, json_t *object, const char *indent);

#endif /* TESTPMD_TABLE_H */
