/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "show.h"

#include "table.h"

const char *const show_words[SHOW_WHATS] = { "info", "stats", "xstats", "histograms", "rings",
	"memory" };

static const struct column stats_columns[] = {
	{ "port", "port" }, { "rx packets", "rx.packets" }, { "rx bytes", "rx.bytes" },
	{ "rx drops", "rx.dropped" }, { "no mbufs", "rx.mbuf_failures" },
	{ "tx packets", "tx.packets" }, { "tx bytes", "tx.bytes" }, { "tx drops", "tx.dropped" },
	{ "tx unsent", "tx.unsent" }, { "rx Mpps", "rx_mpps" }, { "tx Mpps", "tx_mpps" },
	{ "Gbit/s", "gbps" }, { "cycles/packet", "cycles_per_packet" },
	{ "active s", "active_seconds" }, { NULL, NULL } };

static const struct column size_columns[] = {
	{ "port", "port" }, { "pair", "pair" }, { "direction", "direction" },
	{ "< 64", "undersize_packets" }, { "64", "size_64_packets" },
	{ "65-127", "size_65_127_packets" }, { "128-255", "size_128_255_packets" },
	{ "256-511", "size_256_511_packets" }, { "512-1023", "size_512_1023_packets" },
	{ "1024-1518", "size_1024_1518_packets" }, { "> 1518", "size_1519_max_packets" },
	{ "multicast", "multicast_packets" }, { "broadcast", "broadcast_packets" },
	{ NULL, NULL } };

static const struct column burst_columns[] = {
	{ "port", "port" }, { "pair", "pair" }, { "direction", "direction" },
	{ "1", "bursts_of_1" }, { "2-3", "bursts_of_2_3" }, { "4-7", "bursts_of_4_7" },
	{ "8-15", "bursts_of_8_15" }, { "16-31", "bursts_of_16_31" },
	{ "32-63", "bursts_of_32_63" }, { "64-127", "bursts_of_64_127" },
	{ "128-255", "bursts_of_128_255" }, { "> 255", "bursts_of_256_max" },
	{ "full", "bursts_full" }, { NULL, NULL } };

static const struct column ring_columns[] = {
	{ "port", "port" }, { "pair", "pair" }, { "direction", "direction" }, { "ring", "ring" },
	{ "size", "size" }, { "started", "started" }, { "enabled", "enabled" },
	{ "broken", "broken" }, { "next avail", "next_avail" }, { "next used", "next_used" },
	{ "guest polls", "guest_polls" }, { "body", "body" }, { "reason", "broken_reason" },
	{ NULL, NULL } };

static const struct column memory_columns[] = {
	{ "port", "port" }, { "guest address", "guest_address" },
	{ "user address", "user_address" }, { "bytes", "size" }, { "file offset", "file_offset" },
	{ "page size", "page_size" }, { "mapped at", "host" }, { NULL, NULL } };

static const struct column event_columns[] = {
	{ "seconds", "seconds" }, { "port", "port" }, { "number", "sequence" },
	{ "event", "event" }, { "ring", "ring" }, { "value", "value" }, { NULL, NULL } };

static json_t *
document_of(enum show_what what, const struct port *port)
{
	switch (what) {
	case SHOW_INFO:
		return report_info(port);
	case SHOW_STATS:
		return report_stats(port);
	case SHOW_XSTATS:
		return report_xstats(port);
	case SHOW_HISTOGRAMS:
		return report_histograms(port);
	case SHOW_RINGS:
		return report_rings(port);
	default:
		return report_memory(port);
	}
}

static void
print_json(FILE *out, const json_t *document)
{
	json_dumpf(document, out, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
	fputc('\n', out);
	fflush(out);
}

/* One line per direction and port that dropped something. */
static void
print_drops(FILE *out, const json_t *port)
{
	static const char *const directions[] = { "rx", "tx" };
	long long id = json_integer_value(json_object_get(port, "port"));

	for (unsigned int i = 0; i < RTE_DIM(directions); i++) {
		const json_t *direction = json_object_get(port, directions[i]);
		json_t *drops = json_object_get(direction, "drops"), *value;
		const char *reason;
		if (json_integer_value(json_object_get(direction, "dropped")) == 0)
			continue;
		fprintf(out, "  port %lld %s drops:", id, directions[i]);
		json_object_foreach(drops, reason, value) {
			if (json_integer_value(value) != 0)
				fprintf(out, " %s %lld", reason,
					(long long)json_integer_value(value));
		}
		fputc('\n', out);
	}
}

/* What only some forwarding modes count. */
static void
print_mode_counters(FILE *out, const json_t *port)
{
	static const char *const names[] = { "arp_replies", "echo_replies", "ignored",
		"bad_checksums" };

	for (unsigned int i = 0; i < RTE_DIM(names); i++) {
		long long value = json_integer_value(json_object_get(port, names[i]));
		if (value != 0)
			fprintf(out, "  port %lld %s: %lld\n",
				(long long)json_integer_value(json_object_get(port, "port")),
				names[i], value);
	}
}

static void
print_stats(FILE *out, const json_t *rows)
{
	size_t index;
	const json_t *port;

	table_print(out, rows, stats_columns);
	json_array_foreach(rows, index, port) {
		print_drops(out, port);
		print_mode_counters(out, port);
	}
}

/* The lists of all ports, one after the other. */
static json_t *
concatenate(const json_t *documents, const char *member)
{
	json_t *rows = json_array();
	size_t index;
	const json_t *document;

	json_array_foreach(documents, index, document)
		json_array_extend(rows, json_object_get(document, member));
	return rows;
}

static void
print_concatenated(FILE *out, const json_t *documents, const char *member,
	const struct column *columns)
{
	json_t *rows = concatenate(documents, member);

	table_print(out, rows, columns);
	json_decref(rows);
}

static void
print_histograms(FILE *out, const json_t *documents)
{
	size_t index;
	const json_t *document;

	fprintf(out, "frames by size in bytes, without CRC\n");
	print_concatenated(out, documents, "histograms", size_columns);
	fprintf(out, "bursts by the frames that they moved\n");
	print_concatenated(out, documents, "histograms", burst_columns);
	json_array_foreach(documents, index, document) {
		long long id = json_integer_value(json_object_get(document, "port"));

		if (!json_is_true(json_object_get(document, "on")))
			fprintf(out, "  port %lld does not count: set port %lld histograms on\n",
				id, id);
	}
}

static void
print_blocks(FILE *out, const json_t *documents, const char *member)
{
	size_t index;
	json_t *document;

	json_array_foreach(documents, index, document) {
		if (member == NULL) {
			block_print(out, document, "  ");
			continue;
		}
		fprintf(out, "  port %lld\n",
			(long long)json_integer_value(json_object_get(document, "port")));
		block_print(out, json_object_get(document, member), "    ");
	}
}

static void
print_tables(FILE *out, enum show_what what, const json_t *documents)
{
	if (what == SHOW_STATS)
		print_stats(out, documents);
	else if (what == SHOW_HISTOGRAMS)
		print_histograms(out, documents);
	else if (what == SHOW_RINGS)
		print_concatenated(out, documents, "rings", ring_columns);
	else if (what == SHOW_MEMORY)
		print_concatenated(out, documents, "regions", memory_columns);
	else
		print_blocks(out, documents, what == SHOW_XSTATS ? "xstats" : NULL);
	fflush(out);
}

void
show_ports(FILE *out, enum show_what what, const struct port *only, bool json)
{
	json_t *documents = json_array();

	PORT_FOREACH(port) {
		if (only == NULL || only == port)
			json_array_append_new(documents, document_of(what, port));
	}
	if (json)
		print_json(out, only != NULL ? json_array_get(documents, 0) : documents);
	else
		print_tables(out, what, documents);
	json_decref(documents);
}

void
show_settings(FILE *out, bool json)
{
	json_t *document = report_settings();

	if (json)
		print_json(out, document);
	else
		block_print(out, document, "  ");
	fflush(out);
	json_decref(document);
}

void
show_events(FILE *out, bool json)
{
	json_t *document = report_events();

	if (json)
		print_json(out, document);
	else
		table_print(out, document, event_columns);
	fflush(out);
	json_decref(document);
}

void
show_summary(FILE *out, const json_t *summary)
{
	fprintf(out, "summary after %.1f s, averages over the time in which packets moved\n",
		json_real_value(json_object_get(summary, "seconds")));
	print_stats(out, json_object_get(summary, "ports"));
	fflush(out);
}
