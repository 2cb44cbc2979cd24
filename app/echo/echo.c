/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * The smallest program on libvhu: what a guest sends comes back to it. The README shows it.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include <vhu.h>
#include <vhu_net.h>

#define BURST 32

static volatile sig_atomic_t stopped;

static void
stop(int number)
{
	(void)number;
	stopped = 1;
}

static void
echo(struct vhu_queue *from, struct vhu_queue *to)
{
	struct rte_mbuf *packets[BURST];
	uint16_t received, sent;

	while (!stopped) {
		received = vhu_rx_burst(from, packets, BURST);
		sent = vhu_tx_burst(to, packets, received);
		rte_pktmbuf_free_bulk(packets + sent, received - sent);
	}
}

int
main(int argc, char **argv)
{
	/* Whatever a guest left to its network card goes back as a request of the same kind. */
	struct vhu_rx_options rx = { .tx_hints = true };
	struct vhu_port_options options;
	struct vhu_port *port;
	int used;

	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		printf("usage: vhu-echo [EAL options] -- SOCKET\n"
			"Send back what a guest sends to a vhost-user socket.\n"
			"example: vhu-echo --in-memory --no-pci -m 512 -- /run/vhu/0.sock\n");
		return EXIT_SUCCESS;
	}
	used = rte_eal_init(argc, argv);
	if (used < 0) {
		fprintf(stderr, "vhu-echo: DPDK did not start: see its message above\n");
		return EXIT_FAILURE;
	}
	if (argc - used != 2) {
		fprintf(stderr,
			"vhu-echo: exactly one socket path is needed after '--': see --help\n");
		return EXIT_FAILURE;
	}
	signal(SIGINT, stop);
	signal(SIGTERM, stop);

	rx.mempool = rte_pktmbuf_pool_create("echo", 8191, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
		rte_socket_id());
	vhu_port_options_init(&options);
	options.path = argv[used + 1];
	if (rx.mempool == NULL || vhu_port_create(&options, &port) != 0) {
		fprintf(stderr, "vhu-echo: %s\n",
			rx.mempool == NULL ? "no memory for packets" : vhu_error_text());
		rte_eal_cleanup();
		return EXIT_FAILURE;
	}
	vhu_rx_queue_setup(vhu_port_rx_queue(port, 0), &rx);
	echo(vhu_port_rx_queue(port, 0), vhu_port_tx_queue(port, 0));
	vhu_port_destroy(port);
	rte_eal_cleanup();
	return EXIT_SUCCESS;
}
