/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_telemetry.h>
#include <rte_version.h>

#include "ctrl/control_queue.h"
#include "ctrl/port.h"
#include "ctrl/telemetry.h"

#if RTE_VERSION >= RTE_VERSION_NUM(23, 3, 0, 0)
#define ADD_NUMBER rte_tel_data_add_dict_uint
#else
#define ADD_NUMBER rte_tel_data_add_dict_u64
#endif

/** Entries of a list in one answer of 16 KiB; with large counters one takes up to 830 bytes. */
#define PART 16

/** What a command asks for: a port, and where its list is to begin. */
struct query {
	struct vhu_port *port;
	unsigned int first;
};

/** Writes the answer for one port. Lock held. @return 0 or -errno. */
typedef int (*answer_fn)(const struct query *query, struct rte_tel_data *data);

/* "name" or "name,number". Lock held. */
static int
parse(const char *parameters, struct query *query)
{
	char name[VHU_NAME_SIZE];
	const char *comma;
	size_t length;
	struct vhu_control *control = vhu_control_get();

	if (parameters == NULL || control == NULL)
		return -EINVAL;
	comma = strchr(parameters, ',');
	length = comma != NULL ? (size_t)(comma - parameters) : strlen(parameters);
	if (length == 0 || length >= sizeof(name))
		return -EINVAL;
	snprintf(name, sizeof(name), "%.*s", (int)length, parameters);
	query->port = vhu_port_find(control, name);
	query->first = 0;
	if (comma != NULL) {
		char *end;
		unsigned long first = strtoul(comma + 1, &end, 10);

		if (!isdigit((unsigned char)comma[1]) || *end != '\0' || first > UINT16_MAX)
			return -EINVAL;
		query->first = first;
	}
	return query->port != NULL ? 0 : -ENODEV;
}

static int
answer(const char *parameters, struct rte_tel_data *data, answer_fn fill)
{
	struct query query;
	int error;

	vhu_control_lock();
	error = parse(parameters, &query);
	if (error == 0)
		error = fill(&query, data);
	vhu_control_unlock();
	return error;
}

static int
handle_list(const char *command, const char *parameters, struct rte_tel_data *data)
{
	struct vhu_control *control;
	struct vhu_port *port;

	(void)command;
	(void)parameters;
	rte_tel_data_start_array(data, RTE_TEL_STRING_VAL);
	vhu_control_lock();
	control = vhu_control_get();
	if (control != NULL) {
		TAILQ_FOREACH(port, &control->ports, ports_link)
			rte_tel_data_add_array_string(data, port->name);
	}
	vhu_control_unlock();
	return 0;
}

static void
add_hex(struct rte_tel_data *data, const char *name, uint64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "0x%" PRIx64, value);
	rte_tel_data_add_dict_string(data, name, text);
}

/* What was negotiated beyond the plainest device, and what is under way. */
static void
add_negotiated(const struct vhu_port_info *info, struct rte_tel_data *data)
{
	rte_tel_data_add_dict_string(data, "format", info->packed ? "packed" : "split");
	rte_tel_data_add_dict_int(data, "in_order", info->in_order);
	rte_tel_data_add_dict_int(data, "iommu", info->iommu);
	rte_tel_data_add_dict_int(data, "logging", info->logging);
	rte_tel_data_add_dict_int(data, "inflight", info->inflight);
	rte_tel_data_add_dict_int(data, "channel", info->channel);
	rte_tel_data_add_dict_int(data, "control_queue", info->control_queue);
	rte_tel_data_add_dict_int(data, "histograms", info->histograms);
	rte_tel_data_add_dict_string(data, "postcopy", vhu_postcopy_name(info->postcopy));
	ADD_NUMBER(data, "iotlb_entries", info->iotlb_entries);
	ADD_NUMBER(data, "iotlb_misses", info->iotlb_misses);
	ADD_NUMBER(data, "announcements", info->announcements);
	ADD_NUMBER(data, "announced", info->announced);
}

static int
fill_port(const struct query *query, struct rte_tel_data *data)
{
	struct vhu_port_info info;
	char text[RTE_TEL_MAX_STRING_LEN];

	vhu_port_describe(query->port, &info);
	rte_tel_data_start_dict(data);
	rte_tel_data_add_dict_string(data, "name", info.name);
	rte_tel_data_add_dict_string(data, "path", info.path);
	rte_tel_data_add_dict_string(data, "role",
		info.role == VHU_ROLE_CLIENT ? "client" : "server");
	rte_tel_data_add_dict_int(data, "connected", info.connected);
	rte_tel_data_add_dict_int(data, "up", info.up);
	rte_tel_data_add_dict_int(data, "queue_pairs", info.queue_pairs);
	rte_tel_data_add_dict_int(data, "queue_pairs_running", info.queue_pairs_running);
	rte_tel_data_add_dict_int(data, "mtu", info.mtu);
	rte_tel_data_add_dict_int(data, "header_size", info.header_size);
	add_hex(data, "features_offered", info.features_offered);
	add_hex(data, "features", info.features);
	add_hex(data, "protocol_features", info.protocol_features);
	add_negotiated(&info, data);
	ADD_NUMBER(data, "memory_regions", info.memory_regions);
	ADD_NUMBER(data, "memory_bytes", info.memory_bytes);
	ADD_NUMBER(data, "connections", info.connections);
	ADD_NUMBER(data, "messages", info.messages);
	ADD_NUMBER(data, "refusals", info.refusals);
	snprintf(text, sizeof(text), "%.*s", (int)sizeof(text) - 1, info.last_refusal);
	rte_tel_data_add_dict_string(data, "last_refusal", text);
	return 0;
}

/* A list is a dict of dicts, since arrays cannot hold dicts: "total", then the entries. */
static void
start_part(unsigned int total, struct rte_tel_data *data)
{
	rte_tel_data_start_dict(data);
	ADD_NUMBER(data, "total", total);
}

/* One more entry, e.g. "ring7"; NULL if there is no room or memory. */
static struct rte_tel_data *
add_entry(struct rte_tel_data *data, const char *what, unsigned int index)
{
	struct rte_tel_data *entry = rte_tel_data_alloc();
	char name[32];

	if (entry == NULL)
		return NULL;
	rte_tel_data_start_dict(entry);
	snprintf(name, sizeof(name), "%s%u", what, index);
	if (rte_tel_data_add_dict_container(data, name, entry, 0) != 0) {
		rte_tel_data_free(entry);
		return NULL;
	}
	return entry;
}

static const char *
direction(const struct vhu_port *port, uint16_t ring)
{
	if (ring == vhu_control_queue_ring(port))
		return "control";
	return ring % 2 == 1 ? "rx" : "tx";
}

static int
fill_rings(const struct query *query, struct rte_tel_data *data)
{
	struct vhu_port *port = query->port;
	unsigned int end = RTE_MIN(query->first + PART, port->ring_count);

	start_part(port->ring_count, data);
	for (unsigned int ring = query->first; ring < end; ring++) {
		struct rte_tel_data *entry = add_entry(data, "ring", ring);
		struct vhu_queue_info info;

		if (entry == NULL)
			return -ENOMEM;
		vhu_device_ring_info(port->device, ring, &info);
		rte_tel_data_add_dict_string(entry, "direction", direction(port, ring));
		ADD_NUMBER(entry, "size", info.size);
		ADD_NUMBER(entry, "started", info.started);
		ADD_NUMBER(entry, "enabled", info.enabled);
		ADD_NUMBER(entry, "broken", info.broken);
		ADD_NUMBER(entry, "next_avail", info.next_avail);
		ADD_NUMBER(entry, "next_used", info.next_used);
		rte_tel_data_add_dict_int(entry, "call_fd", info.call_fd);
		rte_tel_data_add_dict_int(entry, "kick_fd", info.kick_fd);
		rte_tel_data_add_dict_string(entry, "body", info.body);
		if (info.broken)
			rte_tel_data_add_dict_string(entry, "broken_reason", info.broken_reason);
	}
	return 0;
}

static int
fill_memory(const struct query *query, struct rte_tel_data *data)
{
	const struct vhu_map *map = vhu_device_map(query->port->device);
	unsigned int total = map != NULL ? map->count : 0;
	unsigned int end = RTE_MIN(query->first + PART, total);

	start_part(total, data);
	for (unsigned int i = query->first; i < end; i++) {
		const struct vhu_region *region = map->by_guest[i];
		struct rte_tel_data *entry = add_entry(data, "region", i);

		if (entry == NULL)
			return -ENOMEM;
		add_hex(entry, "guest_address", region->guest_address);
		add_hex(entry, "user_address", region->user_address);
		ADD_NUMBER(entry, "size", region->size);
		ADD_NUMBER(entry, "file_offset", region->file_offset);
		ADD_NUMBER(entry, "page_size", region->page_size);
	}
	return 0;
}

static int
fill_stats(const struct query *query, struct rte_tel_data *data)
{
	struct vhu_port *port = query->port;
	unsigned int end = RTE_MIN(query->first + PART, port->ring_count);

	start_part(port->ring_count, data);
	for (unsigned int ring = query->first; ring < end; ring++) {
		struct rte_tel_data *entry = add_entry(data, "ring", ring);
		struct vhu_queue_stats stats;

		if (entry == NULL)
			return -ENOMEM;
		vhu_port_ring_stats(port, ring, &stats);
		ADD_NUMBER(entry, "packets", stats.packets);
		ADD_NUMBER(entry, "bytes", stats.bytes);
		ADD_NUMBER(entry, "bursts", stats.bursts);
		ADD_NUMBER(entry, "empty", stats.empty);
		ADD_NUMBER(entry, "mbuf_failures", stats.mbuf_failures);
		ADD_NUMBER(entry, "calls", stats.calls);
		ADD_NUMBER(entry, "calls_suppressed", stats.calls_suppressed);
		for (unsigned int reason = 0; reason < VHU_DROPS; reason++) {
			char name[RTE_TEL_MAX_STRING_LEN];

			snprintf(name, sizeof(name), "drop_%s", vhu_drop_name(reason));
			ADD_NUMBER(entry, name, stats.drops[reason]);
		}
	}
	return 0;
}

static int
fill_histograms(const struct query *query, struct rte_tel_data *data)
{
	struct vhu_port *port = query->port;
	unsigned int end = RTE_MIN(query->first + PART, port->ring_count);

	start_part(port->ring_count, data);
	for (unsigned int ring = query->first; ring < end; ring++) {
		struct rte_tel_data *entry = add_entry(data, "ring", ring);
		struct vhu_queue_histograms histograms;

		if (entry == NULL)
			return -ENOMEM;
		vhu_port_ring_histograms(port, ring, &histograms);
		for (unsigned int i = 0; i < VHU_HISTOGRAMS; i++)
			ADD_NUMBER(entry, vhu_histogram_name(i), histograms.counts[i]);
	}
	return 0;
}

static int
handle_port(const char *command, const char *parameters, struct rte_tel_data *data)
{
	(void)command;
	return answer(parameters, data, fill_port);
}

static int
handle_rings(const char *command, const char *parameters, struct rte_tel_data *data)
{
	(void)command;
	return answer(parameters, data, fill_rings);
}

static int
handle_memory(const char *command, const char *parameters, struct rte_tel_data *data)
{
	(void)command;
	return answer(parameters, data, fill_memory);
}

static int
handle_stats(const char *command, const char *parameters, struct rte_tel_data *data)
{
	(void)command;
	return answer(parameters, data, fill_stats);
}

static int
handle_histograms(const char *command, const char *parameters, struct rte_tel_data *data)
{
	(void)command;
	return answer(parameters, data, fill_histograms);
}

void
vhu_telemetry_register(void)
{
	static bool registered;

	if (registered)
		return;
	registered = true;
	rte_telemetry_register_cmd("/vhu/list", handle_list,
		"Names of the ports. No parameters.");
	rte_telemetry_register_cmd("/vhu/port", handle_port,
		"State of a port. Parameters: name");
	rte_telemetry_register_cmd("/vhu/rings", handle_rings,
		"Rings of a port, 16 at a time. Parameters: name[,first ring]");
	rte_telemetry_register_cmd("/vhu/memory", handle_memory,
		"Memory regions of a port, 16 at a time. Parameters: name[,first region]");
	rte_telemetry_register_cmd("/vhu/stats", handle_stats,
		"Counters of a port's rings, 16 at a time. Parameters: name[,first ring]");
	rte_telemetry_register_cmd("/vhu/histograms", handle_histograms,
		"Histograms of a port's rings, 16 at a time. Parameters: name[,first ring]");
}
