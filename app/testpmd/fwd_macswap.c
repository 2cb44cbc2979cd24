/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* macswap: source and destination address change places. */

#include <rte_prefetch.h>

#include "fwd.h"

static unsigned int
macswap_serve(struct stream *stream)
{
	struct rte_mbuf *packets[MAX_BURST];
	uint16_t count = vhu_rx_burst(stream->rx, packets, stream->burst);

	if (count == 0)
		return 0;
	for (uint16_t i = 0; i < count; i++) {
		if (i + 1 < count)
			rte_prefetch0(rte_pktmbuf_mtod(packets[i + 1], void *));
		if (!has_ethernet_header(packets[i]))
			continue;
		struct rte_ether_hdr *ethernet =
			rte_pktmbuf_mtod(packets[i], struct rte_ether_hdr *);
		struct rte_ether_addr destination = ethernet->dst_addr;
		ethernet->dst_addr = ethernet->src_addr;
		ethernet->src_addr = destination;
	}
	stream_send(stream, packets, count);
	return count;
}

const struct fwd_mode fwd_macswap = {
	.name = "macswap",
	.help = "swap source and destination address",
	.receives = true,
	.serve = macswap_serve,
};
