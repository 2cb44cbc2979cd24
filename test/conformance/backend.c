/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * The back-end that the conformance tests drive: each frame goes back into the pair it came from,
 * with whatever the guest asked for. Unlike vhu-echo it has any number of pairs and either role;
 * unlike vhu-testpmd it never sends a frame to another pair because one of them is not running.
 */

#include <getopt.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include <vhu.h>
#include <vhu_net.h>

#define BURST 32
/* Most sockets that are served. */
#define PORTS 64

static volatile sig_atomic_t stopped;

static void
stop(int number)
{
	(void)number;
	stopped = 1;
}

/*
 * Behind an IOMMU a ring takes frames only when the front-end has answered: with --offer iommu what
 * was not taken is tried again, as long as no ring stops. One port only.
 */
static bool keeping;
static struct kept {
	struct rte_mbuf *packets[BURST];
	uint16_t count;
	uint32_t stops;           /* when they were received */
} kept[VHU_MAX_QUEUE_PAIRS];

/*
 * How often rings stopped. Written by the control thread, read by the polling thread, which may
 * sleep while one front-end goes and the next one comes: whether the ring runs says too little.
 */
static _Atomic(uint32_t) stops;

static void
count_stops(struct vhu_port *port, const struct vhu_event *event, void *data)
{
	(void)port;
	(void)data;
	if (event->type == VHU_EVENT_RING_STOPPED || event->type == VHU_EVENT_RING_DISABLED ||
		event->type == VHU_EVENT_RING_BROKEN)
		atomic_fetch_add_explicit(&stops, 1, memory_order_relaxed);
}

/* @return whether nothing is kept any more. */
static bool
send_kept(struct vhu_queue *queue, struct kept *rest)
{
	if (rest->stops == atomic_load_explicit(&stops, memory_order_relaxed)) {
		uint16_t sent = vhu_tx_burst(queue, rest->packets, rest->count);

		rest->count -= sent;
		memmove(rest->packets, rest->packets + sent,
			rest->count * sizeof(rest->packets[0]));
		return rest->count == 0;
	}
	rte_pktmbuf_free_bulk(rest->packets, rest->count);
	rest->count = 0;
	return true;
}

static void
echo(struct vhu_port *port, uint16_t pair)
{
	struct vhu_queue *back = vhu_port_tx_queue(port, pair);
	struct rte_mbuf *packets[BURST];
	uint16_t received, sent;

	if (kept[pair].count != 0 && !send_kept(back, &kept[pair]))
		return;
	kept[pair].stops = atomic_load_explicit(&stops, memory_order_relaxed);
	received = vhu_rx_burst(vhu_port_rx_queue(port, pair), packets, BURST);
	sent = vhu_tx_burst(back, packets, received);
	if (keeping) {
		kept[pair].count = received - sent;
		memcpy(kept[pair].packets, packets + sent,
			kept[pair].count * sizeof(packets[0]));
	} else {
		rte_pktmbuf_free_bulk(packets + sent, received - sent);
	}
}

/* Echo on all ports until a signal comes. */
static void
run(struct vhu_port *const *ports, unsigned int count, uint16_t pairs)
{
	unsigned int i;
	uint16_t pair;

	while (!stopped)
		for (i = 0; i < count; i++)
			for (pair = 0; pair < pairs; pair++)
				echo(ports[i], pair);
}

static struct vhu_port *
port_new(const struct vhu_port_options *options, struct rte_mempool *mempool)
{
	const struct vhu_rx_options rx = { .mempool = mempool, .tx_hints = true };
	struct vhu_port *port;
	uint16_t pair;

	if (vhu_port_create(options, &port) != 0) {
		fprintf(stderr, "conformance-backend: %s\n", vhu_error_text());
		return NULL;
	}
	for (pair = 0; pair < options->queue_pairs; pair++)
		vhu_rx_queue_setup(vhu_port_rx_queue(port, pair), &rx);
	return port;
}

/* Serve each of the paths with a port of its own. @return the exit status. */
static int
serve(struct vhu_port_options *options, char **paths, unsigned int count)
{
	struct rte_mempool *mempool = rte_pktmbuf_pool_create(
		"conformance", 8191, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, rte_socket_id());
	struct vhu_port *ports[PORTS];
	unsigned int made = 0;

	if (mempool == NULL) {
		fprintf(stderr, "conformance-backend: no memory for packets: give more with -m\n");
		return EXIT_FAILURE;
	}
	for (; made < count; made++) {
		options->path = paths[made];
		ports[made] = port_new(options, mempool);
		if (ports[made] == NULL)
			break;
	}
	if (made == count)
		run(ports, count, options->queue_pairs);
	while (made > 0)
		vhu_port_destroy(ports[--made]);
	return stopped ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* @return the bit of an offer that is not made by default; 0 if there is none of this name. */
static uint32_t
offer_named(const char *name)
{
	if (strcmp(name, "iommu") == 0) {
		keeping = true;
		return VHU_OFFER_BIT(IOMMU);
	}
	if (strcmp(name, "postcopy") == 0)
		return VHU_OFFER_BIT(POSTCOPY);
	if (strcmp(name, "ring-reset") == 0)
		return VHU_OFFER_BIT(RING_RESET);
	return 0;
}

/* @return the number of paths, which begin at optind; 0 if the options are wrong. */
static unsigned int
read_options(int argc, char **argv, struct vhu_port_options *options)
{
	static const struct option names[] = {
		{ "pairs", required_argument, NULL, 'p' },
		{ "client", no_argument, NULL, 'c' },
		{ "offer", required_argument, NULL, 'o' },
		{ 0 },
	};
	int letter;

	while ((letter = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (letter == 'p')
			options->queue_pairs = (uint16_t)strtoul(optarg, NULL, 10);
		else if (letter == 'c')
			options->role = VHU_ROLE_CLIENT;
		else if (letter == 'o' && offer_named(optarg) != 0)
			options->offers |= offer_named(optarg);
		else
			return 0;
	}
	return argc - optind > PORTS ? 0 : (unsigned int)(argc - optind);
}

int
main(int argc, char **argv)
{
	struct vhu_port_options options;
	unsigned int count;
	int status = EXIT_FAILURE;
	int used = rte_eal_init(argc, argv);

	if (used < 0)
		return EXIT_FAILURE;
	signal(SIGINT, stop);
	signal(SIGTERM, stop);
	if (vhu_guard_memory() != 0)
		return EXIT_FAILURE;
	vhu_port_options_init(&options);
	options.mtu = 1500;
	options.on_event = count_stops;
	count = read_options(argc - used, argv + used, &options);
	if (count != 0)
		status = serve(&options, argv + used + optind, count);
	else
		fprintf(stderr,
			"usage: conformance-backend [EAL options] -- "
			"[--pairs N] [--client] [--offer NAME] SOCKET...\n");
	rte_eal_cleanup();
	return status;
}
