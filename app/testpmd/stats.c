/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "stats.h"

/* Samples kept for the summary. */
#define MAX_SAMPLES 3600

/* What was last seen of a port by the live lines. */
struct look {
	uint64_t serial; /* another port may have taken the number since */
	struct port_totals totals;
};

static struct look looks[MAX_PORTS];
static double begin_time, look_time;
static json_t *samples;

double
now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* All fields of the library's counters are 64-bit words, so sums need not name each of them. */
static void
add_stats(struct vhu_queue_stats *sum, struct vhu_queue *queue)
{
	struct vhu_queue_stats stats;
	uint64_t from[sizeof(stats) / sizeof(uint64_t)], to[sizeof(stats) / sizeof(uint64_t)];

	_Static_assert(sizeof(stats) == (7 + VHU_DROPS) * sizeof(uint64_t), "only 64-bit words");
	vhu_queue_stats(queue, &stats);
	memcpy(from, &stats, sizeof(from));
	memcpy(to, sum, sizeof(to));
	for (size_t i = 0; i < RTE_DIM(to); i++)
		to[i] += from[i];
	memcpy(sum, to, sizeof(to));
}

static void
add_counters(struct port_totals *totals, const struct queue_counters *counters)
{
	totals->unsent += count_read(&counters->unsent);
	totals->busy_cycles += count_read(&counters->busy_cycles);
	totals->busy_packets += count_read(&counters->busy_packets);
	totals->arp_replies += count_read(&counters->arp_replies);
	totals->echo_replies += count_read(&counters->echo_replies);
	totals->ignored += count_read(&counters->ignored);
	totals->bad_checksums += count_read(&counters->bad_checksums);
}

static void
read_counters(const struct port *port, struct port_totals *totals)
{
	*totals = (struct port_totals){ 0 };
	for (uint16_t pair = 0; pair < port->spec.queue_pairs; pair++) {
		add_counters(totals, &port->rx[pair]);
		add_counters(totals, &port->tx[pair]);
	}
}

void
stats_read(const struct port *port, struct port_totals *totals)
{
	read_counters(port, totals);
	totals->unsent -= port->cleared.unsent;
	totals->busy_cycles -= port->cleared.busy_cycles;
	totals->busy_packets -= port->cleared.busy_packets;
	totals->arp_replies -= port->cleared.arp_replies;
	totals->echo_replies -= port->cleared.echo_replies;
	totals->ignored -= port->cleared.ignored;
	totals->bad_checksums -= port->cleared.bad_checksums;
	for (uint16_t pair = 0; pair < port->spec.queue_pairs; pair++) {
		add_stats(&totals->rx, vhu_port_rx_queue(port->vhu, pair));
		add_stats(&totals->tx, vhu_port_tx_queue(port->vhu, pair));
	}
}

uint64_t
stats_drops(const struct port_totals *totals)
{
	uint64_t sum = totals->unsent;

	for (unsigned int reason = 0; reason < VHU_DROPS; reason++)
		sum += totals->rx.drops[reason] + totals->tx.drops[reason];
	return sum;
}

void
stats_rates(const struct port_totals *from, const struct port_totals *to, double seconds,
	struct port_rates *rates)
{
	uint64_t packets = to->busy_packets - from->busy_packets;

	*rates = (struct port_rates){ .seconds = seconds };
	rates->drops = stats_drops(to) - stats_drops(from);
	if (packets != 0)
		rates->cycles_per_packet =
			(double)(to->busy_cycles - from->busy_cycles) / (double)packets;
	if (seconds <= 0)
		return;
	rates->rx_mpps = (double)(to->rx.packets - from->rx.packets) / seconds * 1e-6;
	rates->tx_mpps = (double)(to->tx.packets - from->tx.packets) / seconds * 1e-6;
	rates->rx_gbps = (double)(to->rx.bytes - from->rx.bytes) * 8 / seconds * 1e-9;
	rates->tx_gbps = (double)(to->tx.bytes - from->tx.bytes) * 8 / seconds * 1e-9;
}

void
stats_clear(struct port *port)
{
	read_counters(port, &port->cleared);
	for (uint16_t pair = 0; pair < port->spec.queue_pairs; pair++) {
		vhu_queue_stats_reset(vhu_port_rx_queue(port->vhu, pair));
		vhu_queue_stats_reset(vhu_port_tx_queue(port->vhu, pair));
	}
	/* Whoever compares with an older look starts over. */
	port->cleared_time = now_seconds();
	port->active_seconds = 0;
	port->watched = 0;
	stats_read(port, &looks[port->id].totals);
}

void
stats_watch(double seconds)
{
	PORT_FOREACH(port) {
		struct port_totals totals;
		stats_read(port, &totals);
		uint64_t packets = totals.rx.packets + totals.tx.packets;
		if (packets != port->watched)
			port->active_seconds += seconds;
		port->watched = packets;
	}
}

static void
look_at_ports(void)
{
	look_time = now_seconds();
	PORT_FOREACH(port) {
		looks[port->id].serial = port->serial;
		stats_read(port, &looks[port->id].totals);
	}
}

void
stats_period_begin(void)
{
	look_at_ports();
	begin_time = look_time;
}

static void
keep_sample(double seconds, const struct port *port, const struct port_rates *rates)
{
	if (samples == NULL)
		samples = json_array();
	if (json_array_size(samples) >= MAX_SAMPLES)
		json_array_remove(samples, 0);
	json_array_append_new(samples, json_pack("{s:f, s:i, s:f, s:f, s:f, s:f, s:I, s:f}",
		"seconds", seconds, "port", (int)port->id, "rx_mpps", rates->rx_mpps,
		"tx_mpps", rates->tx_mpps, "rx_gbps", rates->rx_gbps, "tx_gbps", rates->tx_gbps,
		"drops", (json_int_t)rates->drops,
		"cycles_per_packet", rates->cycles_per_packet));
}

void
stats_period_end(FILE *out)
{
	double now = now_seconds();
	int decimals = settings.stats_period >= 1 ? 0 : 2;

	PORT_FOREACH(port) {
		struct look *look = &looks[port->id];
		struct port_totals totals;
		struct port_rates rates;
		if (look->serial != port->serial)
			continue; /* attached within the period */
		stats_read(port, &totals);
		stats_rates(&look->totals, &totals, now - look_time, &rates);
		fprintf(out, "%6.*f s  port %u  rx %.2f Mpps  tx %.2f Mpps  %.2f Gbit/s  "
			"drops %llu  %.0f cycles/packet\n", decimals,
			now - begin_time, port->id, rates.rx_mpps,
			rates.tx_mpps, rates.rx_gbps + rates.tx_gbps,
			(unsigned long long)rates.drops, rates.cycles_per_packet);
		keep_sample(now - begin_time, port, &rates);
	}
	fflush(out);
	look_at_ports();
}

json_t *
stats_samples(void)
{
	json_t *result = samples != NULL ? samples : json_array();

	samples = NULL;
	return result;
}
