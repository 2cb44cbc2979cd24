/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef TESTPMD_FWD_H
#define TESTPMD_FWD_H

/*
 * Forwarding modes and the streams they work on.
 *
 * A stream joins a receive queue to a transmit queue. It belongs to one lcore while forwarding
 * runs. A mode is one function that serves a stream once: one receive burst at most, one transmit
 * burst at most. It says how many packets it moved, so that idle iterations can be told from busy
 * ones.
 */

#include <stdbool.h>
#include <stdint.h>

#include <rte_ether.h>
#include <rte_mbuf.h>

#include <vhu_net.h>

#include "port.h"

struct stream {
	struct vhu_queue *rx;            /* NULL in modes that only generate */
	struct vhu_queue *tx;
	struct queue_counters *rx_counters; /* of the receive queue */
	struct queue_counters *tx_counters; /* of the transmit queue; it has one lcore */
	uint16_t burst;
	bool software_checksum;          /* of the transmitting port */
	uint16_t tso_size;               /* of the transmitting port */
	uint32_t flow;                   /* flowgen: next flow */
	struct rte_ether_addr source;    /* the transmitting port's address */
	struct rte_ether_addr peer;      /* where it sends to */
	/* What the engine needs to compare two plans and to report. */
	uint16_t rx_port, rx_pair, tx_port, tx_pair;
	unsigned int lcore;
} __rte_cache_aligned;

struct fwd_mode {
	const char *name;
	const char *help;
	bool receives;   /* takes packets from the guest */
	bool generates;  /* makes packets of its own */
	bool loops;      /* answers on the port a packet came from, whatever the pairing */
	/* @return packets received, or sent by modes that only generate. */
	unsigned int (*serve)(struct stream *stream);
};

/* All modes, NULL at the end. */
extern const struct fwd_mode *const fwd_modes[];
extern const struct fwd_mode fwd_io, fwd_mac, fwd_macswap, fwd_rxonly, fwd_txonly, fwd_flowgen,
	fwd_csum, fwd_icmpecho;

/* NULL if there is no such mode. */
const struct fwd_mode *fwd_mode_find(const char *name);

/* Send, free what the queue did not take and count it. @return how many were taken. */
static inline uint16_t
stream_send(struct stream *stream, struct rte_mbuf **packets, uint16_t count)
{
	uint16_t taken = vhu_tx_burst(stream->tx, packets, count);

	if (unlikely(taken < count)) {
		count_add(&stream->tx_counters->unsent, count - taken);
		rte_pktmbuf_free_bulk(packets + taken, count - taken);
	}
	return taken;
}

/* A guest may send frames that are shorter than an Ethernet header. */
static inline bool
has_ethernet_header(const struct rte_mbuf *packet)
{
	return rte_pktmbuf_data_len(packet) >= sizeof(struct rte_ether_hdr);
}

#endif /* TESTPMD_FWD_H */
