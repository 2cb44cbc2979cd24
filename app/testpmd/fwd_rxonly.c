/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* rxonly: packets are counted and freed. */

#include "fwd.h"

static unsigned int
rxonly_serve(struct stream *stream)
{
	struct rte_mbuf *packets[MAX_BURST];
	uint16_t count = vhu_rx_burst(stream->rx, packets, stream->burst);

	if (count != 0)
		rte_pktmbuf_free_bulk(packets, count);
	return count;
}

const struct fwd_mode fwd_rxonly = {
	.name = "rxonly",
	.help = "receive and discard",
	.receives = true,
	.serve = rxonly_serve,
};
