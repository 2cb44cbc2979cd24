/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Values: every number and word a user can give, checked in one place. */

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <rte_kvargs.h>

#include "config.h"
#include "fwd.h"

struct settings settings;

void
settings_init(void)
{
	settings = (struct settings){
		.mode = fwd_mode_find("io"),
		.burst = 32,
		.segments = 1,
		.segment_sizes = { 64 },
		.mbufs = 8192,
		.mbuf_size = 2176,
	};
	for (unsigned int i = 0; i < MAX_PORTS; i++)
		settings.peers[i] = (struct rte_ether_addr){ { 2, 0, 0, 0, 0, (uint8_t)i } };
}

bool
parse_number(const char *what, const char *text, uint64_t least, uint64_t most, uint64_t *value,
	char why[WHY_SIZE])
{
	char *end = NULL;

	errno = 0;
	unsigned long long number = isdigit((unsigned char)text[0]) ? strtoull(text, &end, 0) : 0;
	if (end == NULL || end == text || *end != '\0' || errno != 0 || number < least ||
	    number > most) {
		snprintf(why, WHY_SIZE, "%s '%.64s': want a number from %llu to %llu", what, text,
			(unsigned long long)least, (unsigned long long)most);
		return false;
	}
	*value = number;
	return true;
}

bool
parse_seconds(const char *what, const char *text, double *value, char why[WHY_SIZE])
{
	char *end = NULL;
	double number = strtod(text, &end);

	if (end == text || *end != '\0' || !isfinite(number) || number < 0 || number > 1e7 ||
	    (number > 0 && number < 0.01)) {
		snprintf(why, WHY_SIZE,
			"%s '%.64s': want seconds, 0 (off) or from 0.01 to 10000000", what, text);
		return false;
	}
	*value = number;
	return true;
}

bool
set_mode(const char *text, char why[WHY_SIZE])
{
	const struct fwd_mode *mode = fwd_mode_find(text);

	if (mode == NULL) {
		int used = snprintf(why, WHY_SIZE, "forwarding mode '%.32s': want one of", text);
		for (unsigned int i = 0; fwd_modes[i] != NULL && used < WHY_SIZE; i++)
			used += snprintf(why + used, WHY_SIZE - used, " %s", fwd_modes[i]->name);
		return false;
	}
	settings.mode = mode;
	return true;
}

bool
set_burst(const char *text, char why[WHY_SIZE])
{
	uint64_t value;

	if (!parse_number("burst", text, 1, MAX_BURST, &value, why))
		return false;
	settings.burst = (uint16_t)value;
	return true;
}

bool
set_txpkts(const char *text, char why[WHY_SIZE])
{
	uint16_t sizes[MAX_SEGMENTS];
	unsigned int count = 0, total = 0;
	char copy[128];

	if (strlen(text) >= sizeof(copy))
		return snprintf(why, WHY_SIZE, "txpkts: want at most %u lengths",
			MAX_SEGMENTS), false;
	strcpy(copy, text);
	for (char *next = copy, *word; (word = strsep(&next, ",")) != NULL; count++) {
		uint64_t value;
		if (count == MAX_SEGMENTS)
			return snprintf(why, WHY_SIZE, "txpkts: want at most %u lengths",
				MAX_SEGMENTS), false;
		if (!parse_number("txpkts length", word, count == 0 ? GENERATED_HEADER : 1,
			settings.mbuf_size - RTE_PKTMBUF_HEADROOM, &value, why))
			return false;
		sizes[count] = (uint16_t)value;
		total += sizes[count];
	}
	if (total > MAX_FRAME)
		return snprintf(why, WHY_SIZE, "txpkts: a frame of %u bytes, want at most %u",
			total, MAX_FRAME), false;
	memcpy(settings.segment_sizes, sizes, count * sizeof(sizes[0]));
	settings.segments = (uint16_t)count;
	return true;
}

bool
set_peer(const char *text, char why[WHY_SIZE])
{
	struct rte_ether_addr address;
	char port[8] = "";
	const char *comma = strchr(text, ',');
	uint64_t id;

	if (comma == NULL || (size_t)(comma - text) >= sizeof(port) ||
	    rte_ether_unformat_addr(comma + 1, &address) != 0) {
		snprintf(why, WHY_SIZE,
			"eth-peer '%.64s': want PORT,ADDRESS such as 0,02:00:00:00:00:01", text);
		return false;
	}
	memcpy(port, text, comma - text);
	if (!parse_number("eth-peer port", port, 0, MAX_PORTS - 1, &id, why))
		return false;
	settings.peers[id] = address;
	return true;
}

/* Names joined by ':' or one mask: which virtio features are not to be offered. */
static bool
parse_features(const char *text, uint64_t *mask, char why[WHY_SIZE])
{
	char copy[512];

	if (isdigit((unsigned char)text[0]))
		return parse_number("features-off", text, 0, UINT64_MAX, mask, why);
	snprintf(copy, sizeof(copy), "%s", text);
	for (char *next = copy, *word; (word = strsep(&next, ":")) != NULL;) {
		unsigned int bit = 0;
		while (bit < 64 && strcasecmp(vhu_feature_name(bit), word) != 0)
			bit++;
		if (bit == 64) {
			snprintf(why, WHY_SIZE, "features-off: no virtio feature is called "
				"'%.32s'; want a mask or names joined by ':' such as "
				"CSUM:MRG_RXBUF", word);
			return false;
		}
		*mask |= UINT64_C(1) << bit;
	}
	return true;
}

/* What a key's handler fills, and what it has to say. */
struct spec_target {
	struct port_spec *spec;
	char *why;
};

static bool
apply_role(const char *key, const char *value, struct port_spec *spec, char why[WHY_SIZE])
{
	uint64_t number;

	if (!parse_number(key, value, 0, 1, &number, why))
		return false;
	/* client=1 and server=0 say the same. */
	spec->role = (number == 1) == (key[0] == 'c') ? VHU_ROLE_CLIENT : VHU_ROLE_SERVER;
	return true;
}

static bool
apply_text(const char *key, const char *value, struct port_spec *spec, char why[WHY_SIZE])
{
	bool path = strcmp(key, "path") == 0;
	char *target = path ? spec->path : spec->name;
	size_t size = path ? sizeof(spec->path) : sizeof(spec->name);

	if (value[0] == '\0' || strlen(value) >= size) {
		snprintf(why, WHY_SIZE, "%s '%.64s': want 1 to %zu bytes", key, value, size - 1);
		return false;
	}
	strcpy(target, value);
	return true;
}

static bool
apply_csum(const char *value, struct port_spec *spec, char why[WHY_SIZE])
{
	spec->software_checksum = strcmp(value, "software") == 0;
	if (spec->software_checksum || strcmp(value, "offload") == 0)
		return true;
	snprintf(why, WHY_SIZE, "csum '%.32s': want offload or software", value);
	return false;
}

static bool
apply_mode(const char *value, struct port_spec *spec, char why[WHY_SIZE])
{
	char *end;
	unsigned long mode = strtoul(value, &end, 8);

	if (*value < '0' || *value > '7' || *end != '\0' || mode == 0 || mode > 0777) {
		snprintf(why, WHY_SIZE, "mode '%.32s': want octal permissions such as 0660", value);
		return false;
	}
	spec->socket_mode = (uint32_t)mode;
	return true;
}

static bool
apply_number(const char *key, const char *value, struct port_spec *spec, char why[WHY_SIZE])
{
	bool queues = strcmp(key, "queues") == 0, mtu = strcmp(key, "mtu") == 0;
	uint64_t number;

	if (!parse_number(key, value, queues ? 1 : mtu ? 68 : 0,
		queues ? VHU_MAX_QUEUE_PAIRS : UINT16_MAX, &number, why))
		return false;
	*(queues ? &spec->queue_pairs : mtu ? &spec->mtu : &spec->tso_size) = (uint16_t)number;
	return true;
}

/* @return VHU_OFFERS if the key is not the name of an offer. */
static unsigned int
find_offer(const char *key)
{
	unsigned int offer = 0;

	while (offer < VHU_OFFERS && strcmp(vhu_offer_name((enum vhu_offer)offer), key) != 0)
		offer++;
	return offer;
}

static bool
apply_offer(const char *key, const char *value, struct port_spec *spec, char why[WHY_SIZE])
{
	uint32_t bit = UINT32_C(1) << find_offer(key);
	uint64_t made;

	if (!parse_number(key, value, 0, 1, &made, why))
		return false;
	spec->offers = made ? spec->offers | bit : spec->offers & ~bit;
	return true;
}

static bool
apply_switch(const char *key, const char *value, bool *target, char why[WHY_SIZE])
{
	uint64_t on;

	if (!parse_number(key, value, 0, 1, &on, why))
		return false;
	*target = on;
	return true;
}

/* A sentence about a key that there is not. */
static void
explain_keys(const char *key, const char *const *keys, char why[WHY_SIZE])
{
	int used = snprintf(why, WHY_SIZE, "port: unknown key '%.32s'; want", key);

	for (unsigned int i = 0; keys[i] != NULL; i++)
		used += snprintf(why + used, WHY_SIZE - used, " %s,", keys[i]);
	for (unsigned int i = 0; i < VHU_OFFERS; i++)
		used += snprintf(why + used, WHY_SIZE - used, " %s%s",
			vhu_offer_name((enum vhu_offer)i), i + 1 < VHU_OFFERS ? "," : "");
}

static int
apply_key(const char *key, const char *value, void *data)
{
	struct spec_target *target = data;
	struct port_spec *spec = target->spec;
	bool good;

	if (value == NULL)
		value = "";
	if (strcmp(key, "path") == 0 || strcmp(key, "name") == 0)
		good = apply_text(key, value, spec, target->why);
	else if (strcmp(key, "client") == 0 || strcmp(key, "server") == 0)
		good = apply_role(key, value, spec, target->why);
	else if (strcmp(key, "mode") == 0)
		good = apply_mode(value, spec, target->why);
	else if (strcmp(key, "csum") == 0)
		good = apply_csum(value, spec, target->why);
	else if (strcmp(key, "features-off") == 0)
		good = parse_features(value, &spec->features_disabled, target->why);
	else if (strcmp(key, "call-handover") == 0)
		good = apply_switch(key, value, &spec->call_handover, target->why);
	else if (strcmp(key, "histograms") == 0)
		good = apply_switch(key, value, &spec->histograms, target->why);
	else if (find_offer(key) < VHU_OFFERS)
		good = apply_offer(key, value, spec, target->why);
	else
		good = apply_number(key, value, spec, target->why);
	return good ? 0 : -1;
}

static uint32_t
default_offers(void)
{
	struct vhu_port_options options;

	vhu_port_options_init(&options);
	return options.offers;
}

bool
parse_port_spec(const char *text, struct port_spec *spec, char why[WHY_SIZE])
{
	static const char *const keys[] = { "path", "name", "queues", "client", "server", "mtu",
		"mode", "features-off", "call-handover", "histograms", "csum", "tso", NULL };
	struct port_spec result = { .queue_pairs = 1, .offers = default_offers() };
	struct spec_target target = { .spec = &result, .why = why };
	struct rte_kvargs *pairs = rte_kvargs_parse(text, NULL);
	bool good = pairs != NULL;

	if (!good)
		snprintf(why, WHY_SIZE, "port '%.64s': want key=value pairs joined by ','", text);
	for (unsigned int i = 0; good && i < pairs->count; i++) {
		unsigned int key = 0;
		while (keys[key] != NULL && strcmp(keys[key], pairs->pairs[i].key) != 0)
			key++;
		if (keys[key] == NULL && find_offer(pairs->pairs[i].key) == VHU_OFFERS) {
			explain_keys(pairs->pairs[i].key, keys, why);
			good = false;
		}
	}
	good = good && rte_kvargs_process(pairs, NULL, apply_key, &target) == 0;
	rte_kvargs_free(pairs);
	if (good && result.path[0] == '\0') {
		snprintf(why, WHY_SIZE, "port '%.64s': path=... is missing", text);
		good = false;
	}
	if (good)
		*spec = result;
	return good;
}
