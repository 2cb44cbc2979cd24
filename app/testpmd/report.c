/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine.h"
#include "events.h"
#include "fwd.h"
#include "report.h"
#include "stats.h"

static void
put(json_t *object, const char *key, uint64_t value)
{
	json_object_set_new(object, key, json_integer((json_int_t)value));
}

/* Addresses and masks: JSON's numbers do not hold 64 bits everywhere. */
static void
put_hex(json_t *object, const char *key, uint64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "0x%" PRIx64, value);
	json_object_set_new(object, key, json_string(text));
}

/* Strings may hold what a path held; JSON wants UTF-8. */
static void
put_text(json_t *object, const char *key, const char *text)
{
	json_t *value = json_string(text);

	json_object_set_new(object, key, value != NULL ? value : json_string("(not UTF-8)"));
}

static json_t *
names_of(uint64_t mask, const char *(*name)(unsigned int))
{
	json_t *names = json_array();

	for (unsigned int bit = 0; bit < 64; bit++) {
		if (mask >> bit & 1)
			json_array_append_new(names, json_string(name(bit)));
	}
	return names;
}

static json_t *
port_object(const struct port *port)
{
	struct vhu_port_info info;
	json_t *object = json_object();

	vhu_port_info(port->vhu, &info);
	put(object, "port", port->id);
	put_text(object, "name", info.name);
	return object;
}

static json_t *
offers_of(uint32_t offers)
{
	json_t *names = json_array();

	for (unsigned int offer = 0; offer < VHU_OFFERS; offer++) {
		if (offers >> offer & 1)
			json_array_append_new(names,
				json_string(vhu_offer_name((enum vhu_offer)offer)));
	}
	return names;
}

/* What was negotiated beyond the plainest device, and what is under way. */
static void
put_negotiated(json_t *object, const struct vhu_port_info *info)
{
	json_object_set_new(object, "offers", offers_of(info->offers));
	put_text(object, "format", info->packed ? "packed" : "split");
	json_object_set_new(object, "in_order", json_boolean(info->in_order));
	json_object_set_new(object, "iommu", json_boolean(info->iommu));
	json_object_set_new(object, "logging", json_boolean(info->logging));
	json_object_set_new(object, "inflight", json_boolean(info->inflight));
	json_object_set_new(object, "channel", json_boolean(info->channel));
	json_object_set_new(object, "control_queue", json_boolean(info->control_queue));
	json_object_set_new(object, "histograms", json_boolean(info->histograms));
	put_text(object, "postcopy", vhu_postcopy_name(info->postcopy));
	put(object, "iotlb_entries", info->iotlb_entries);
	put(object, "iotlb_misses", info->iotlb_misses);
	put(object, "announcements", info->announcements);
	put(object, "announced", info->announced);
}

json_t *
report_info(const struct port *port)
{
	char address[RTE_ETHER_ADDR_FMT_SIZE];
	struct vhu_port_info info;
	json_t *object = port_object(port);

	vhu_port_info(port->vhu, &info);
	rte_ether_format_addr(address, sizeof(address), &port->address);
	put_text(object, "path", info.path);
	put_text(object, "role", info.role == VHU_ROLE_CLIENT ? "client" : "server");
	json_object_set_new(object, "connected", json_boolean(info.connected));
	json_object_set_new(object, "up", json_boolean(info.up));
	put(object, "queue_pairs", info.queue_pairs);
	put(object, "queue_pairs_running", info.queue_pairs_running);
	put(object, "mtu", info.mtu);
	put_text(object, "address", address);
	put(object, "header_size", info.header_size);
	put_hex(object, "features_offered_mask", info.features_offered);
	put_hex(object, "features_mask", info.features);
	json_object_set_new(object, "features", names_of(info.features, vhu_feature_name));
	json_object_set_new(object, "protocol_features",
		names_of(info.protocol_features, vhu_protocol_feature_name));
	put_negotiated(object, &info);
	put(object, "memory_regions", info.memory_regions);
	put(object, "memory_bytes", info.memory_bytes);
	put(object, "connections", info.connections);
	put(object, "messages", info.messages);
	put(object, "refusals", info.refusals);
	put_text(object, "last_refusal", info.last_refusal);
	put_text(object, "csum", port->spec.software_checksum ? "software" : "offload");
	put(object, "tso", port->spec.tso_size);
	return object;
}

static json_t *
direction_object(const struct vhu_queue_stats *stats)
{
	json_t *object = json_object(), *drops = json_object();
	uint64_t sum = 0;

	put(object, "packets", stats->packets);
	put(object, "bytes", stats->bytes);
	put(object, "bursts", stats->bursts);
	put(object, "empty", stats->empty);
	put(object, "mbuf_failures", stats->mbuf_failures);
	put(object, "calls", stats->calls);
	put(object, "calls_suppressed", stats->calls_suppressed);
	for (unsigned int reason = 0; reason < VHU_DROPS; reason++) {
		put(drops, vhu_drop_name((enum vhu_drop)reason), stats->drops[reason]);
		sum += stats->drops[reason];
	}
	put(object, "dropped", sum);
	json_object_set_new(object, "drops", drops);
	return object;
}

json_t *
report_stats(const struct port *port)
{
	const struct port_totals nothing = { 0 };
	struct port_totals totals;
	struct port_rates rates;
	json_t *object = port_object(port), *tx;

	stats_read(port, &totals);
	stats_rates(&nothing, &totals, port->active_seconds, &rates);
	json_object_set_new(object, "rx", direction_object(&totals.rx));
	tx = direction_object(&totals.tx);
	put(tx, "unsent", totals.unsent);
	json_object_set_new(object, "tx", tx);
	json_object_set_new(object, "seconds", json_real(now_seconds() - port->cleared_time));
	json_object_set_new(object, "active_seconds", json_real(port->active_seconds));
	json_object_set_new(object, "rx_mpps", json_real(rates.rx_mpps));
	json_object_set_new(object, "tx_mpps", json_real(rates.tx_mpps));
	json_object_set_new(object, "rx_gbps", json_real(rates.rx_gbps));
	json_object_set_new(object, "tx_gbps", json_real(rates.tx_gbps));
	json_object_set_new(object, "gbps", json_real(rates.rx_gbps + rates.tx_gbps));
	put(object, "drops", rates.drops);
	put(object, "busy_cycles", totals.busy_cycles);
	put(object, "busy_packets", totals.busy_packets);
	json_object_set_new(object, "cycles_per_packet", json_real(rates.cycles_per_packet));
	put(object, "arp_replies", totals.arp_replies);
	put(object, "echo_replies", totals.echo_replies);
	put(object, "ignored", totals.ignored);
	put(object, "bad_checksums", totals.bad_checksums);
	return object;
}

static void
put_xstat(json_t *values, const char *direction, unsigned int pair, const char *name,
	const char *detail, uint64_t value)
{
	char key[96];

	snprintf(key, sizeof(key), "%s_q%u_%s%s", direction, pair, name, detail);
	put(values, key, value);
}

static void
put_queue_xstats(json_t *values, const char *direction, unsigned int pair, struct vhu_queue *queue)
{
	struct vhu_queue_histograms histograms;
	struct vhu_queue_stats stats;

	vhu_queue_stats(queue, &stats);
	put_xstat(values, direction, pair, "packets", "", stats.packets);
	put_xstat(values, direction, pair, "bytes", "", stats.bytes);
	put_xstat(values, direction, pair, "bursts", "", stats.bursts);
	put_xstat(values, direction, pair, "empty", "", stats.empty);
	put_xstat(values, direction, pair, "mbuf_failures", "", stats.mbuf_failures);
	put_xstat(values, direction, pair, "calls", "", stats.calls);
	put_xstat(values, direction, pair, "calls_suppressed", "", stats.calls_suppressed);
	for (unsigned int reason = 0; reason < VHU_DROPS; reason++)
		put_xstat(values, direction, pair, "drop_",
			vhu_drop_name((enum vhu_drop)reason), stats.drops[reason]);
	vhu_queue_histograms(queue, &histograms);
	for (unsigned int i = 0; i < VHU_HISTOGRAMS; i++)
		put_xstat(values, direction, pair, vhu_histogram_name((enum vhu_histogram)i), "",
			histograms.counts[i]);
}

json_t *
report_xstats(const struct port *port)
{
	json_t *object = port_object(port), *values = json_object();

	for (uint16_t pair = 0; pair < port->spec.queue_pairs; pair++) {
		put_queue_xstats(values, "rx", pair, vhu_port_rx_queue(port->vhu, pair));
		put_queue_xstats(values, "tx", pair, vhu_port_tx_queue(port->vhu, pair));
	}
	json_object_set_new(object, "xstats", values);
	return object;
}

static json_t *
histogram_object(const struct port *port, uint16_t pair, const char *direction,
	struct vhu_queue *queue)
{
	struct vhu_queue_histograms histograms;
	json_t *object = json_object();

	vhu_queue_histograms(queue, &histograms);
	put(object, "port", port->id);
	put(object, "pair", pair);
	put_text(object, "direction", direction);
	for (unsigned int i = 0; i < VHU_HISTOGRAMS; i++)
		put(object, vhu_histogram_name((enum vhu_histogram)i), histograms.counts[i]);
	return object;
}

json_t *
report_histograms(const struct port *port)
{
	json_t *object = port_object(port), *list = json_array();
	struct vhu_port_info info;

	vhu_port_info(port->vhu, &info);
	json_object_set_new(object, "on", json_boolean(info.histograms));
	for (uint16_t pair = 0; pair < port->spec.queue_pairs; pair++) {
		json_array_append_new(list,
			histogram_object(port, pair, "tx", vhu_port_tx_queue(port->vhu, pair)));
		json_array_append_new(list,
			histogram_object(port, pair, "rx", vhu_port_rx_queue(port->vhu, pair)));
	}
	json_object_set_new(object, "histograms", list);
	return object;
}

static json_t *
ring_object(const struct port *port, uint16_t pair, const char *direction, struct vhu_queue *queue)
{
	struct vhu_queue_info info;
	json_t *object = json_object();

	vhu_queue_info(queue, &info);
	put(object, "port", port->id);
	put(object, "pair", pair);
	put_text(object, "direction", direction);
	put(object, "ring", info.ring);
	put(object, "size", info.size);
	json_object_set_new(object, "started", json_boolean(info.started));
	json_object_set_new(object, "enabled", json_boolean(info.enabled));
	json_object_set_new(object, "broken", json_boolean(info.broken));
	put(object, "next_avail", info.next_avail);
	put(object, "next_used", info.next_used);
	json_object_set_new(object, "guest_polls", json_boolean(info.call_fd < 0));
	put_text(object, "body", info.body);
	put_text(object, "broken_reason", info.broken_reason);
	return object;
}

json_t *
report_rings(const struct port *port)
{
	json_t *object = port_object(port), *rings = json_array();

	for (uint16_t pair = 0; pair < port->spec.queue_pairs; pair++) {
		json_array_append_new(rings,
			ring_object(port, pair, "tx", vhu_port_tx_queue(port->vhu, pair)));
		json_array_append_new(rings,
			ring_object(port, pair, "rx", vhu_port_rx_queue(port->vhu, pair)));
	}
	json_object_set_new(object, "rings", rings);
	return object;
}

json_t *
report_memory(const struct port *port)
{
	json_t *object = port_object(port), *list = json_array();
	struct vhu_region_info *regions = calloc(VHU_MAX_MEM_SLOTS, sizeof(*regions));
	int count = regions != NULL ?
		vhu_port_regions(port->vhu, regions, VHU_MAX_MEM_SLOTS) : 0;

	for (int i = 0; i < count && i < VHU_MAX_MEM_SLOTS; i++) {
		json_t *region = json_object();
		put(region, "port", port->id);
		put_hex(region, "guest_address", regions[i].guest_address);
		put_hex(region, "user_address", regions[i].user_address);
		put(region, "size", regions[i].size);
		put_hex(region, "file_offset", regions[i].file_offset);
		put(region, "page_size", regions[i].page_size);
		put_hex(region, "host", (uint64_t)(uintptr_t)regions[i].host);
		json_array_append_new(list, region);
	}
	free(regions);
	json_object_set_new(object, "regions", list);
	return object;
}

json_t *
report_settings(void)
{
	json_t *object = json_object(), *sizes = json_array();

	put_text(object, "version", vhu_version());
	put_text(object, "fwd", settings.mode->name);
	json_object_set_new(object, "running", json_boolean(engine_running()));
	put(object, "burst", settings.burst);
	for (unsigned int i = 0; i < settings.segments; i++)
		json_array_append_new(sizes, json_integer(settings.segment_sizes[i]));
	json_object_set_new(object, "txpkts", sizes);
	put(object, "lcores", engine_lcores());
	put(object, "streams", engine_streams());
	put(object, "mbufs", settings.mbufs);
	put(object, "mbuf_size", settings.mbuf_size);
	json_object_set_new(object, "stats_period", json_real(settings.stats_period));
	return object;
}

json_t *
report_events(void)
{
	json_t *list = json_array();
	const struct kept_event *kept;

	for (unsigned int i = 0; (kept = events_at(i)) != NULL; i++) {
		json_t *entry = json_object();
		json_object_set_new(entry, "seconds", json_real(kept->seconds));
		put(entry, "port", kept->port);
		put(entry, "sequence", kept->event.sequence);
		put_text(entry, "event", vhu_event_name(kept->event.type));
		json_object_set_new(entry, "ring", kept->event.ring == UINT16_MAX ? json_null() :
			json_integer(kept->event.ring));
		put_hex(entry, "value", kept->event.value);
		json_array_append_new(list, entry);
	}
	return list;
}

json_t *
report_summary(double seconds)
{
	json_t *object = json_object(), *list = json_array();

	json_object_set_new(object, "settings", report_settings());
	json_object_set_new(object, "seconds", json_real(seconds));
	PORT_FOREACH(port)
		json_array_append_new(list, report_stats(port));
	json_object_set_new(object, "ports", list);
	json_object_set_new(object, "samples", stats_samples());
	return object;
}
