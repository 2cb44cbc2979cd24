/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Echoes the frames of port 0 and sleeps whenever there are none: a user of receive interrupts,
 * written against ethdev alone. Each sleep is one line, so that a test sees what woke it:
 * "woken", "waiting" (frames were there when it asked) or "slept" (nothing within a second).
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_interrupts.h>
#include <rte_mbuf.h>

#include "ending.h"

#define BURST 32
#define MBUFS 4096
#define SLEEP_MS 1000

static void
set_up(void)
{
	const struct rte_eth_conf conf = { .intr_conf = { .rxq = 1 } };
	struct rte_mempool *pool = rte_pktmbuf_pool_create("sleeper", MBUFS, 64, 0,
		RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);

	must(pool == NULL ? -ENOMEM : 0, "making mbufs");
	must(rte_eth_dev_configure(0, 1, 1, &conf), "configuring port 0");
	must(rte_eth_rx_queue_setup(0, 0, 512, SOCKET_ID_ANY, NULL, pool), "receive queue");
	must(rte_eth_tx_queue_setup(0, 0, 512, SOCKET_ID_ANY, NULL), "transmit queue");
	must(rte_eth_dev_start(0), "starting port 0");
	must(rte_eth_dev_rx_intr_ctl_q(0, 0, RTE_EPOLL_PER_THREAD, RTE_INTR_EVENT_ADD, NULL),
		"adding the interrupt");
}

static const char *
nap(void)
{
	struct rte_epoll_event event;
	const int result = rte_eth_dev_rx_intr_enable(0, 0);
	int events = 0;

	if (result == -EAGAIN)
		return "waiting";
	must(result, "enabling the interrupt");
	events = rte_epoll_wait(RTE_EPOLL_PER_THREAD, &event, 1, SLEEP_MS);
	must(rte_eth_dev_rx_intr_disable(0, 0), "disabling the interrupt");
	return events > 0 ? "woken" : "slept";
}

static unsigned int
echo(void)
{
	struct rte_mbuf *frames[BURST];
	unsigned int echoed = 0;
	uint16_t received;
	uint16_t sent;

	while ((received = rte_eth_rx_burst(0, 0, frames, BURST)) > 0) {
		sent = rte_eth_tx_burst(0, 0, frames, received);
		rte_pktmbuf_free_bulk(frames + sent, received - sent);
		echoed += received;
	}
	return echoed;
}

int
main(int argc, char **argv)
{
	const char *how;

	must(rte_eal_init(argc, argv), "EAL");
	signal(SIGTERM, stop);
	setvbuf(stdout, NULL, _IOLBF, 0);
	set_up();
	printf("ready\n");
	while (!stopping) {
		how = nap();
		printf("%s %u\n", how, echo());
	}
	must(rte_eth_dev_stop(0), "stopping port 0");
	must(rte_eth_dev_close(0), "closing port 0");
	return rte_eal_cleanup() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
