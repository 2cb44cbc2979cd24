/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Preloaded into vhu-perf, it stands between the program and one call of a back-end and changes or
 * loses what passes: the check of bytes has to see that. LIAR says what is done:
 *   receive, transmit   some bytes of one frame of each burst of vhu are changed
 *   lose                one frame of each burst that vhu receives is lost
 *   peer                some bytes of one frame that rte_vhost receives are changed
 */

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_vhost.h>

#include <vhu_net.h>

/* Where a frame of 64 bytes is changed. */
#define AT 37

static bool
lies(const char *how)
{
	const char *wanted = getenv("LIAR");

	return wanted != NULL && strcmp(wanted, how) == 0;
}

/*
 * Another value each time: frames that are sent come from mbufs whose bytes are whatever they
 * were, and a bit that is turned twice is as it was, so that the lies of two turns would cancel
 * out in the sum.
 */
static void
change(struct rte_mbuf *packet)
{
	static uint32_t value = UINT32_C(0x11e50000);

	value++;
	memcpy(rte_pktmbuf_mtod_offset(packet, uint8_t *, AT), &value, sizeof(value));
}

uint16_t
vhu_rx_burst_inside(struct vhu_queue *queue, struct rte_mbuf **packets, uint16_t count,
	const struct vhu_poll_view *view)
{
	uint16_t (*real)(struct vhu_queue *, struct rte_mbuf **, uint16_t,
		const struct vhu_poll_view *) = dlsym(RTLD_NEXT, "vhu_rx_burst_inside");
	uint16_t got = real(queue, packets, count, view);

	if (got > 0 && lies("receive"))
		change(packets[got - 1]);
	if (got > 0 && lies("lose"))
		rte_pktmbuf_free(packets[--got]);
	return got;
}

uint16_t
vhu_tx_burst_inside(struct vhu_queue *queue, struct rte_mbuf **packets, uint16_t count,
	const struct vhu_poll_view *view)
{
	uint16_t (*real)(struct vhu_queue *, struct rte_mbuf **, uint16_t,
		const struct vhu_poll_view *) = dlsym(RTLD_NEXT, "vhu_tx_burst_inside");

	if (count > 0 && lies("transmit"))
		change(packets[0]);
	return real(queue, packets, count, view);
}

uint16_t
rte_vhost_dequeue_burst(int device, uint16_t queue, struct rte_mempool *mempool,
	struct rte_mbuf **packets, uint16_t count)
{
	uint16_t (*real)(int, uint16_t, struct rte_mempool *, struct rte_mbuf **, uint16_t) =
		dlsym(RTLD_NEXT, "rte_vhost_dequeue_burst");
	uint16_t got = real(device, queue, mempool, packets, count);

	if (got > 0 && lies("peer"))
		change(packets[got - 1]);
	return got;
}
