/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* txonly: frames of one flow, as many as the guest takes. */

#include "generate.h"

static unsigned int
txonly_serve(struct stream *stream)
{
	struct rte_mbuf *packets[MAX_BURST];
	uint16_t count = generate_burst(stream, packets, stream->burst, 1);

	if (count == 0)
		return 0;
	return stream_send(stream, packets, count);
}

const struct fwd_mode fwd_txonly = {
	.name = "txonly",
	.help = "send UDP frames",
	.generates = true,
	.serve = txonly_serve,
};
