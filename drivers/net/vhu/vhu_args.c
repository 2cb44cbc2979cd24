/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Device arguments: one row per argument says where its value goes and what is allowed; the same
 * words go into the explanation of a wrong one.
 */

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_net.h>

#include <rte_kvargs.h>
#include <rte_string_fns.h>

#include "vhu_ethdev.h"

#define FEATURE(bit) (UINT64_C(1) << (bit))
/* Newer than the kernel headers of our oldest platform (virtio 1.3, section 5.1.3). */
#define FEATURE_GUEST_USO4 FEATURE(54)
#define FEATURE_GUEST_USO6 FEATURE(55)
#define FEATURE_HOST_USO FEATURE(56)

#define FEATURES_CSUM (FEATURE(VIRTIO_NET_F_CSUM) | FEATURE(VIRTIO_NET_F_GUEST_CSUM))
#define FEATURES_TSO ( \
	FEATURE(VIRTIO_NET_F_GUEST_TSO4) | FEATURE(VIRTIO_NET_F_GUEST_TSO6) | \
	FEATURE(VIRTIO_NET_F_GUEST_ECN) | FEATURE(VIRTIO_NET_F_GUEST_UFO) | \
	FEATURE(VIRTIO_NET_F_HOST_TSO4) | FEATURE(VIRTIO_NET_F_HOST_TSO6) | \
	FEATURE(VIRTIO_NET_F_HOST_ECN) | FEATURE(VIRTIO_NET_F_HOST_UFO) | \
	FEATURE_GUEST_USO4 | FEATURE_GUEST_USO6 | FEATURE_HOST_USO)

#define LONGEST_PAUSE_MS 3600000

struct argument;
typedef bool (*argument_reader)(const struct argument *argument, const char *value, void *field);

struct argument {
	const char *key;
	argument_reader read;
	size_t field;         /* offset in struct vhu_eth_arguments */
	uint64_t smallest;
	uint64_t largest;
	const char *allowed;
};

static bool
read_in_base(const struct argument *argument, const char *value, int base, uint64_t *number)
{
	char *end;

	if (!isxdigit((unsigned char)value[0]))
		return false;
	errno = 0;
	*number = strtoull(value, &end, base);
	return errno == 0 && *end == '\0' && *number >= argument->smallest &&
		*number <= argument->largest;
}

static bool
read_number(const struct argument *argument, const char *value, void *field)
{
	return read_in_base(argument, value, 10, field);
}

static bool
read_octal(const struct argument *argument, const char *value, void *field)
{
	return read_in_base(argument, value, 8, field);
}

static bool
read_mask(const struct argument *argument, const char *value, void *field)
{
	return read_in_base(argument, value, 0, field);
}

static bool
read_path(const struct argument *argument __rte_unused, const char *value, void *field)
{
	return value[0] != '\0' && rte_strscpy(field, value, VHU_PATH_SIZE) > 0;
}

static bool
read_mac(const struct argument *argument __rte_unused, const char *value, void *field)
{
	return rte_ether_unformat_addr(value, field) == 0 &&
		rte_is_valid_assigned_ether_addr(field);
}

static bool
read_user(const struct argument *argument, const char *value, void *field)
{
	const struct passwd *entry = getpwnam(value);

	if (entry == NULL)
		return read_number(argument, value, field);
	*(int64_t *)field = entry->pw_uid;
	return true;
}

static bool
read_group(const struct argument *argument, const char *value, void *field)
{
	const struct group *entry = getgrnam(value);

	if (entry == NULL)
		return read_number(argument, value, field);
	*(int64_t *)field = entry->gr_gid;
	return true;
}

#define AT(name) offsetof(struct vhu_eth_arguments, name)

#define OFFER(key, name) \
	{ key, read_number, AT(offers[VHU_OFFER_##name]), 0, 1, "0 or 1" }

static const struct argument argument_table[] = {
	{ "iface", read_path, AT(iface), 0, 0, "the path of a socket, 1 to 107 bytes" },
	{ "queues", read_number, AT(queues), 1, VHU_MAX_QUEUE_PAIRS, "1 to 128" },
	{ "client", read_number, AT(client), 0, 1, "0 or 1" },
	{ "mtu", read_number, AT(mtu), 68, 65535, "68 to 65535" },
	{ "mac", read_mac, AT(mac), 0, 0, "a unicast address like 02:00:00:00:00:01" },
	{ "mode", read_octal, AT(mode), 1, 0777, "permission bits in octal, 1 to 777" },
	{ "owner", read_user, AT(owner), 0, UINT32_MAX - 1, "a user's name or number" },
	{ "group", read_group, AT(group), 0, UINT32_MAX - 1, "a group's name or number" },
	{ "csum", read_number, AT(csum), 0, 1, "0 or 1" },
	{ "tso", read_number, AT(tso), 0, 1, "0 or 1" },
	OFFER("packed", PACKED),
	OFFER("in-order", IN_ORDER),
	OFFER("mergeable", MERGEABLE),
	OFFER("event-idx", EVENT_IDX),
	OFFER("indirect", INDIRECT),
	/* Two names that users of DPDK's net_vhost know. */
	OFFER("iommu-support", IOMMU),
	OFFER("postcopy-support", POSTCOPY),
	OFFER("inflight", INFLIGHT),
	OFFER("log", LOG),
	OFFER("control-queue", CONTROL_QUEUE),
	OFFER("hash", HASH),
	OFFER("announce", ANNOUNCE),
	OFFER("in-band", IN_BAND),
	OFFER("ring-reset", RING_RESET),
	{ "features-off", read_mask, AT(features_off), 0, UINT64_MAX, "a mask like 0x8000" },
	{ "populate", read_number, AT(populate), 0, 1, "0 or 1" },
	{ "call-handover", read_number, AT(call_handover), 0, 1, "0 or 1" },
	{ "tx-hints", read_number, AT(tx_hints), 0, 1, "0 or 1" },
	{ "histograms", read_number, AT(histograms), 0, 1, "0 or 1" },
	{ "reconnect-min", read_number, AT(reconnect_min), 1, LONGEST_PAUSE_MS,
		"1 to 3600000 milliseconds" },
	{ "reconnect-max", read_number, AT(reconnect_max), 1, LONGEST_PAUSE_MS,
		"1 to 3600000 milliseconds" },
};

static const struct argument *
find_argument(const char *key)
{
	unsigned int row;

	for (row = 0; row < RTE_DIM(argument_table); row++)
		if (strcmp(argument_table[row].key, key) == 0)
			return &argument_table[row];
	return NULL;
}

static void
refuse_unknown(const char *name, const char *key)
{
	char known[512] = "";
	unsigned int row;
	size_t used = 0;

	for (row = 0; row < RTE_DIM(argument_table); row++)
		used += snprintf(
			known + used, sizeof(known) - used, " %s", argument_table[row].key);
	VHU_ETH_LOG(ERR, name, "unknown argument '%s'; there are%s", key, known);
}

static int
read_pair(const char *name, const struct rte_kvargs_pair *pair,
	struct vhu_eth_arguments *arguments, uint64_t *seen)
{
	const struct argument *argument = find_argument(pair->key);
	const char *value = pair->value == NULL ? "" : pair->value;
	uint64_t bit;

	if (argument == NULL) {
		refuse_unknown(name, pair->key);
		return -EINVAL;
	}
	bit = UINT64_C(1) << (argument - argument_table);
	if (*seen & bit) {
		VHU_ETH_LOG(ERR, name, "argument '%s' is given twice; give it once", pair->key);
		return -EINVAL;
	}
	*seen |= bit;
	if (!argument->read(argument, value, (char *)arguments + argument->field)) {
		VHU_ETH_LOG(ERR, name, "%s=%s is not valid; allowed is %s", pair->key, value,
			argument->allowed);
		return -EINVAL;
	}
	return 0;
}

static int
check_together(const char *name, const struct vhu_eth_arguments *arguments)
{
	if (arguments->iface[0] == '\0') {
		VHU_ETH_LOG(ERR, name, "argument 'iface' is missing; say %s,iface=/path/of/socket",
			name);
		return -EINVAL;
	}
	if (arguments->tso && !arguments->csum) {
		VHU_ETH_LOG(ERR, name, "tso=1 needs checksum offload; remove csum=0 or tso=1");
		return -EINVAL;
	}
	if (arguments->reconnect_min > arguments->reconnect_max) {
		VHU_ETH_LOG(ERR, name,
			"reconnect-min=%" PRIu64 " is more than reconnect-max=%" PRIu64
			"; allowed is at most as much", arguments->reconnect_min,
			arguments->reconnect_max);
		return -EINVAL;
	}
	return 0;
}

static void
set_defaults(struct vhu_eth_arguments *arguments)
{
	struct vhu_port_options options;
	unsigned int offer;

	vhu_port_options_init(&options);
	memset(arguments, 0, sizeof(*arguments));
	arguments->queues = options.queue_pairs;
	arguments->owner = options.socket_uid;
	arguments->group = options.socket_gid;
	arguments->reconnect_min = options.reconnect_min_ms;
	arguments->reconnect_max = options.reconnect_max_ms;
	arguments->csum = 1;
	for (offer = 0; offer < VHU_OFFERS; offer++)
		arguments->offers[offer] = options.offers >> offer & 1;
	/* tso stays off: an application that never heard of it would get frames above its MTU. */
}

int
vhu_eth_read_arguments(const char *name, const char *text, struct vhu_eth_arguments *arguments)
{
	struct rte_kvargs *pairs;
	uint64_t seen = 0;
	unsigned int index;
	int result = 0;

	set_defaults(arguments);
	pairs = rte_kvargs_parse(text == NULL ? "" : text, NULL);
	if (pairs == NULL) {
		VHU_ETH_LOG(ERR, name, "cannot read the arguments '%s'; allowed are pairs"
			" key=value with commas between, at most %d", text, RTE_KVARGS_MAX);
		return -EINVAL;
	}
	for (index = 0; index < pairs->count && result == 0; index++)
		result = read_pair(name, &pairs->pairs[index], arguments, &seen);
	rte_kvargs_free(pairs);
	return result == 0 ? check_together(name, arguments) : result;
}

uint32_t
vhu_eth_offers(const struct vhu_eth_arguments *arguments)
{
	uint32_t offers = 0;
	unsigned int offer;

	for (offer = 0; offer < VHU_OFFERS; offer++)
		offers |= (uint32_t)arguments->offers[offer] << offer;
	return offers;
}

uint64_t
vhu_eth_features_disabled(const struct vhu_eth_arguments *arguments)
{
	uint64_t disabled = arguments->features_off;

	if (!arguments->csum)
		disabled |= FEATURES_CSUM;
	if (!arguments->tso)
		disabled |= FEATURES_TSO;
	return disabled;
}
