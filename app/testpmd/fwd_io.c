/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* io: packets go on as they came. */

#include "fwd.h"

static unsigned int
io_serve(struct stream *stream)
{
	struct rte_mbuf *packets[MAX_BURST];
	uint16_t count = vhu_rx_burst(stream->rx, packets, stream->burst);

	if (count != 0)
		stream_send(stream, packets, count);
	return count;
}

const struct fwd_mode fwd_io = {
	.name = "io",
	.help = "forward untouched",
	.receives = true,
	.serve = io_serve,
};
