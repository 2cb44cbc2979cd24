/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef TESTPMD_CONFIG_H
#define TESTPMD_CONFIG_H

/*
 * Settings: what the command line and the prompt can change.
 *
 * There is one set of them. The main thread writes it; forwarding lcores get what they need
 * through the engine's plan, so a change takes effect when forwarding starts the next time (the
 * commands that change something restart it).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_ether.h>

#include <vhu.h>

#define MAX_PORTS 64
#define MAX_BURST 512
#define MAX_SEGMENTS 16
#define MIN_MBUF_SIZE 512
#define MAX_FRAME 65535
/* Ethernet, IPv4 and UDP header of generated frames. */
#define GENERATED_HEADER 42

struct fwd_mode;

/* One --port or "port attach". */
struct port_spec {
	char name[VHU_NAME_SIZE]; /* "": taken from the path */
	char path[VHU_PATH_SIZE];
	enum vhu_role role;
	uint16_t queue_pairs;
	uint16_t mtu;
	uint32_t socket_mode;
	uint32_t offers;          /* as vhu_port_options.offers */
	uint64_t features_disabled;
	bool call_handover;     /* as in vhu_port_options */
	bool histograms;        /* as in vhu_port_options */
	bool software_checksum; /* csum mode computes instead of asking for offload */
	uint16_t tso_size;      /* csum mode: segment size for TCP frames, 0: as received */
};

struct settings {
	const struct fwd_mode *mode;
	uint16_t burst;
	uint16_t segments;                   /* of generated frames */
	uint16_t segment_sizes[MAX_SEGMENTS];
	unsigned int lcores;                 /* forwarding lcores, 0: all workers */
	unsigned int mbufs;
	unsigned int mbuf_size;
	bool interactive;
	bool auto_start;
	double stats_period;                 /* seconds, 0: no live lines */
	double duration;                     /* seconds, 0: until a signal or the end of input */
	const char *json_path;               /* NULL: none, "-": standard output */
	struct rte_ether_addr peers[MAX_PORTS]; /* where mac, csum, txonly send to */
	struct port_spec ports[MAX_PORTS];
	unsigned int port_count;
};

extern struct settings settings;

/* Room for one sentence about what was wrong. */
#define WHY_SIZE 320

void settings_init(void);

/*
 * Each of these reads one value from text. On failure they return false, change nothing and leave
 * a sentence that says what was wrong and what is allowed in why.
 */
bool parse_number(const char *what, const char *text, uint64_t least, uint64_t most,
	uint64_t *value, char why[WHY_SIZE]);
bool parse_seconds(const char *what, const char *text, double *value, char why[WHY_SIZE]);
bool parse_port_spec(const char *text, struct port_spec *spec, char why[WHY_SIZE]);
bool set_mode(const char *text, char why[WHY_SIZE]);
bool set_burst(const char *text, char why[WHY_SIZE]);
bool set_txpkts(const char *text, char why[WHY_SIZE]);
bool set_peer(const char *text, char why[WHY_SIZE]);

#endif /* TESTPMD_CONFIG_H */
