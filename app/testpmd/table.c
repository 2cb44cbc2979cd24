/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stdbool.h>
#include <string.h>

#include "table.h"

#define CELL_SIZE 168

/* The member that a path with dots leads to, or NULL. */
static const json_t *
follow(const json_t *object, const char *path)
{
	while (object != NULL && *path != '\0') {
		char key[CELL_SIZE];
		size_t length = strcspn(path, ".");
		snprintf(key, sizeof(key), "%.*s", (int)length, path);
		object = json_object_get(object, key);
		path += length + (path[length] == '.');
	}
	return object;
}

static void
cell_text(const json_t *value, char *text, size_t size)
{
	if (json_is_integer(value))
		snprintf(text, size, "%lld", (long long)json_integer_value(value));
	else if (json_is_real(value))
		snprintf(text, size, "%.2f", json_real_value(value));
	else if (json_is_boolean(value))
		snprintf(text, size, "%s", json_is_true(value) ? "yes" : "no");
	else if (json_is_string(value) && json_string_length(value) != 0)
		snprintf(text, size, "%s", json_string_value(value));
	else
		snprintf(text, size, "-");
}

/* As wide as the widest cell. */
static int
column_width(const json_t *rows, const struct column *column)
{
	size_t width = strlen(column->title);
	size_t index;
	const json_t *row;

	json_array_foreach(rows, index, row) {
		char text[CELL_SIZE];
		cell_text(follow(row, column->path), text, sizeof(text));
		if (strlen(text) > width)
			width = strlen(text);
	}
	return (int)width;
}

static void
print_row(FILE *out, const json_t *row, const struct column *columns, const int *widths)
{
	for (unsigned int i = 0; columns[i].title != NULL; i++) {
		char text[CELL_SIZE];
		if (row != NULL)
			cell_text(follow(row, columns[i].path), text, sizeof(text));
		else
			snprintf(text, sizeof(text), "%s", columns[i].title);
		fprintf(out, "  %*s", widths[i], text);
	}
	fputc('\n', out);
}

void
table_print(FILE *out, const json_t *rows, const struct column *columns)
{
	int widths[MAX_COLUMNS] = { 0 };
	size_t index;
	const json_t *row;

	for (unsigned int i = 0; columns[i].title != NULL; i++)
		widths[i] = column_width(rows, &columns[i]);
	print_row(out, NULL, columns, widths);
	json_array_foreach(rows, index, row)
		print_row(out, row, columns, widths);
	if (json_array_size(rows) == 0)
		fputs("  nothing\n", out);
}

static void
print_list(FILE *out, const json_t *list)
{
	size_t index;
	const json_t *value;

	if (json_array_size(list) == 0)
		fputs(" -", out);
	json_array_foreach(list, index, value) {
		char text[CELL_SIZE];
		cell_text(value, text, sizeof(text));
		fprintf(out, " %s", text);
	}
}

void
block_print(FILE *out, json_t *object, const char *indent)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value) {
		char text[CELL_SIZE];
		if (json_is_object(value))
			continue;
		fprintf(out, "%s%s:", indent, key);
		if (json_is_array(value)) {
			print_list(out, value);
		} else {
			cell_text(value, text, sizeof(text));
			fprintf(out, " %s", text);
		}
		fputc('\n', out);
	}
}
