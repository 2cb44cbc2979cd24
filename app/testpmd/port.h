/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef TESTPMD_PORT_H
#define TESTPMD_PORT_H

/*
 * Ports: a vhu port with what this program counts beside it.
 *
 * A port keeps its number from attach to detach; the lowest free number is given next. All
 * functions belong to the main thread. Counters have one writer, the lcore that runs the stream
 * of that queue pair (the main thread while no lcore forwards); anybody reads them, word by word.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_common.h>
#include <rte_ether.h>

#include "config.h"

/* What an lcore counts for one queue of a port. Writer: the lcore with the queue's stream. */
struct queue_counters {
	_Atomic(uint64_t) busy_cycles;    /* TSC cycles of iterations that moved packets */
	_Atomic(uint64_t) busy_packets;   /* packets those moved */
	_Atomic(uint64_t) unsent;         /* freed because the transmit queue did not take them */
	_Atomic(uint64_t) arp_replies;
	_Atomic(uint64_t) echo_replies;
	_Atomic(uint64_t) ignored;        /* icmpecho: neither of the two */
	_Atomic(uint64_t) bad_checksums;  /* csum: received with a wrong IPv4 or L4 checksum */
} __rte_cache_aligned;

/* Sums over the queues of a port: the library's counters and ours. See stats.h. */
struct port_totals {
	struct vhu_queue_stats rx;
	struct vhu_queue_stats tx;
	uint64_t unsent;
	uint64_t busy_cycles;
	uint64_t busy_packets;
	uint64_t arp_replies;
	uint64_t echo_replies;
	uint64_t ignored;
	uint64_t bad_checksums;
};

struct port {
	unsigned int id;
	uint64_t serial;                 /* no two ports have the same */
	struct vhu_port *vhu;
	struct port_spec spec;
	struct rte_ether_addr address;   /* ours, towards the guest */
	struct queue_counters *rx;       /* per pair */
	struct queue_counters *tx;       /* per pair */
	struct port_totals cleared;      /* our counters when statistics were cleared */
	double cleared_time;             /* when that was, or when the port was created */
	double active_seconds;           /* since then: time in which packets moved */
	uint64_t watched;                /* packets when activity was last looked at */
};

/* Ports by number; NULL where there is none. */
extern struct port *ports[MAX_PORTS];

/*
 * Create a port. Forwarding must not run.
 * @return the port, or NULL with a sentence in why.
 */
struct port *port_attach(const struct port_spec *spec, char why[WHY_SIZE]);
/* Destroy a port and give up its number. Forwarding must not run. */
void port_detach(struct port *port);
void port_detach_all(void);

/* Port of that number or name, or NULL with a sentence in why. */
struct port *port_find(const char *text, char why[WHY_SIZE]);
/* Next port at or after id, or NULL. */
struct port *port_next(unsigned int id);
#define PORT_FOREACH(each) \
	for (struct port *each = port_next(0); each != NULL; each = port_next(each->id + 1))

/*
 * Queue pairs of which the queue that transmits to the guest runs.
 * @return how many numbers were written to pairs.
 */
unsigned int port_running_tx(const struct port *port, uint16_t pairs[VHU_MAX_QUEUE_PAIRS]);

/* The pool all mbufs come from; made once after EAL has started. */
extern struct rte_mempool *mbuf_pool;
bool mbuf_pool_create(char why[WHY_SIZE]);

static inline void
count_add(_Atomic(uint64_t) *counter, uint64_t value)
{
	/* One writer, so load and store need not be one step. */
	atomic_store_explicit(counter,
		atomic_load_explicit(counter, memory_order_relaxed) + value, memory_order_relaxed);
}

static inline uint64_t
count_read(const _Atomic(uint64_t) *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

#endif /* TESTPMD_PORT_H */
