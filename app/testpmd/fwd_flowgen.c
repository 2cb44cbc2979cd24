/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* flowgen: discards what comes and sends frames of many flows, one after the other. */

#include "generate.h"

static unsigned int
flowgen_serve(struct stream *stream)
{
	struct rte_mbuf *packets[MAX_BURST];
	uint16_t received = 0;

	if (stream->rx != NULL) {
		received = vhu_rx_burst(stream->rx, packets, stream->burst);
		if (received != 0)
			rte_pktmbuf_free_bulk(packets, received);
	}
	if (stream->tx == NULL)
		return received;
	uint16_t count = generate_burst(stream, packets, stream->burst, GENERATE_FLOWS);
	if (count == 0)
		return received;
	return received + stream_send(stream, packets, count);
}

const struct fwd_mode fwd_flowgen = {
	.name = "flowgen",
	.help = "discard what comes, send frames of 1024 flows",
	.receives = true,
	.generates = true,
	.serve = flowgen_serve,
};
