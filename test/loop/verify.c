/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * vhu-verify: sends frames of a known pattern through one DPDK port (a net_virtio_user device whose
 * back-end forwards what it receives to where it came from) and compares what comes back, byte by
 * byte. The number of frames in flight is bounded so that no ring can overflow: then any frame
 * that does not come back was lost by somebody.
 *
 * One thread does everything. Standard output carries JSON lines: progress, and at the end a
 * result.
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>

#include "pattern.h"

#define PORT 0
#define BURST 32
#define MAX_QUEUES 16
#define OPEN_TIMEOUT_MS 10000
/* Of frames that only find out whether the way there and back is open. */
#define PROBE UINT64_MAX
/* Sequence numbers remembered to tell a late frame from one that comes twice. */
#define REMEMBERED 4096

struct options {
	struct pattern pattern;
	uint64_t packets;      /* per queue; 0: until a signal arrives */
	uint16_t queues;
	uint16_t ring_size;
	uint16_t mbuf_size;    /* data room without headroom */
	uint16_t window;       /* frames in flight per queue */
	uint16_t segment;      /* TCP payload per packet of what is cut; 0: no TCP */
	uint32_t stall_ms;     /* without any frame for so long: give those in flight up */
	uint32_t progress_ms;  /* 0: no progress lines */
};

/* One queue pair. */
struct flow {
	uint64_t next_send;
	uint64_t next_expected;
	uint64_t received;
	uint64_t late;
	uint64_t duplicated;
	uint64_t corrupt;
	uint64_t lost;
	bool open; /* a probe came back on the queue on which it was sent */
	uint64_t seen[REMEMBERED]; /* sequence number + 1 */
};

struct run {
	struct options options;
	struct rte_mempool *mempool;
	struct flow flows[MAX_QUEUES];
	uint64_t stalls;
	char first_fault[160];
};

static volatile sig_atomic_t stopped;
static struct run run;
static uint8_t expected_frame[PATTERN_MAX_LENGTH];
static uint8_t flat_frame[PATTERN_MAX_LENGTH];

static void
on_signal(int number)
{
	(void)number;
	stopped = 1;
}

static void
usage(void)
{
	puts("Usage: vhu-verify EAL-OPTIONS -- [OPTIONS]\n"
	     "\n"
	     "Sends frames through DPDK port 0 and compares byte by byte what its peer returns.\n"
	     "\n"
	     "  --packets N      frames per queue; 0 (default): until SIGTERM or SIGINT\n"
	     "  --sizes LIST     bytes, '64,1518' in turn or '64-1518' at random (default 64)\n"
	     "  --queues N       queue pairs, 1 to 16 (default 1)\n"
	     "  --ring-size N    descriptors per ring (default 1024)\n"
	     "  --mbuf-size N    data bytes per mbuf (default 2048)\n"
	     "  --tso N          TCP; frames with more payload than N bytes are to be cut into such\n"
	     "  --window N       frames in flight per queue (default: as many as surely fit)\n"
	     "  --stall MS       give up frames in flight after so long without any (default 5000)\n"
	     "  --progress MS    a JSON line each so often\n"
	     "  --seed N         of the pseudo-random payload (default 1)\n"
	     "  --help           this text\n"
	     "\n"
	     "Example, against a back-end that listens on /run/vhu/0.sock and forwards port to port:\n"
	     "  vhu-verify --lcores 0@1 --no-pci --no-huge -m 256 \\\n"
	     "      --vdev net_virtio_user0,path=/run/vhu/0.sock,queue_size=1024 -- \\\n"
	     "      --packets 100000 --sizes 64-1518\n"
	     "\n"
	     "Exit status: 0 every frame came back as it was, 1 not, 2 wrong usage.");
}

static uint64_t
number(const char *name, const char *text, uint64_t least, uint64_t most)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (end == text || *end != '\0' || errno != 0 || value < least || value > most) {
		fprintf(stderr, "vhu-verify: --%s '%s' is not a number from %" PRIu64 " to %" PRIu64
			"\n", name, text, least, most);
		exit(2);
	}
	return value;
}

static void
apply_option(struct options *options, const char *name, const char *value)
{
	if (strcmp(name, "packets") == 0)
		options->packets = number(name, value, 0, UINT64_MAX);
	else if (strcmp(name, "queues") == 0)
		options->queues = number(name, value, 1, MAX_QUEUES);
	else if (strcmp(name, "ring-size") == 0)
		options->ring_size = number(name, value, 64, 32768);
	else if (strcmp(name, "mbuf-size") == 0)
		options->mbuf_size = number(name, value, 256, 16384);
	else if (strcmp(name, "tso") == 0)
		options->segment = number(name, value, 64, 9000);
	else if (strcmp(name, "window") == 0)
		options->window = number(name, value, 1, REMEMBERED / 2);
	else if (strcmp(name, "stall") == 0)
		options->stall_ms = number(name, value, 1, 600000);
	else if (strcmp(name, "progress") == 0)
		options->progress_ms = number(name, value, 0, 600000);
	else if (strcmp(name, "seed") == 0)
		options->pattern.seed = number(name, value, 0, UINT64_MAX);
	else if (pattern_parse_sizes(&options->pattern, value) != 0) {
		fprintf(stderr, "vhu-verify: --sizes '%s' is neither a list '64,1518' nor a span "
			"'64-1518' of lengths from %d to %d\n", value, PATTERN_MIN_LENGTH,
			PATTERN_MAX_LENGTH);
		exit(2);
	}
}

static void
parse_options(struct options *options, int argc, char **argv)
{
	static const struct option names[] = {
		{"packets", required_argument, NULL, 0}, {"sizes", required_argument, NULL, 0},
		{"queues", required_argument, NULL, 0}, {"ring-size", required_argument, NULL, 0},
		{"mbuf-size", required_argument, NULL, 0}, {"window", required_argument, NULL, 0},
		{"stall", required_argument, NULL, 0}, {"progress", required_argument, NULL, 0},
		{"seed", required_argument, NULL, 0}, {"tso", required_argument, NULL, 0},
		{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0},
	};
	unsigned int per_frame;
	int index, found;

	options->queues = 1;
	options->ring_size = 1024;
	options->mbuf_size = 2048;
	options->stall_ms = 5000;
	options->pattern.seed = 1;
	pattern_parse_sizes(&options->pattern, "64");
	optind = 1;
	while ((found = getopt_long(argc, argv, "h", names, &index)) != -1) {
		if (found == 'h') {
			usage();
			exit(0);
		}
		if (found != 0)
			exit(2);
		apply_option(options, names[index].name, optarg);
	}
	options->pattern.tcp = options->segment != 0;
	for (index = 0; options->pattern.tcp && index < options->pattern.size_count; index++)
		if (options->pattern.sizes[index] < PATTERN_MIN_TCP_LENGTH) {
			fprintf(stderr, "vhu-verify: with --tso frames have at least %d bytes\n",
				PATTERN_MIN_TCP_LENGTH);
			exit(2);
		}
	if (options->window != 0)
		return;
	/* A frame takes a descriptor per mbuf and one for the header; half of the ring is safe. */
	per_frame = 1 + (pattern_longest(&options->pattern) + options->mbuf_size - 1) /
		options->mbuf_size;
	options->window =
		RTE_MAX(1u, RTE_MIN(REMEMBERED / 2u, options->ring_size / (2 * per_frame)));
}

static int
setup_port(void)
{
	const struct options *options = &run.options;
	uint32_t longest = pattern_longest(&options->pattern);
	struct rte_eth_conf conf = {0};
	struct rte_eth_dev_info info;
	int status;

	if (rte_eth_dev_info_get(PORT, &info) != 0)
		return -ENODEV;
	conf.rxmode.mtu = (options->segment != 0 ? RTE_ETHER_MAX_LEN :
		RTE_MAX(longest, (uint32_t)RTE_ETHER_MAX_LEN)) - RTE_ETHER_HDR_LEN;
	if (options->segment != 0) {
		conf.rxmode.max_lro_pkt_size = info.max_lro_pkt_size;
		conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_TCP_LRO | RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
		conf.txmode.offloads |= RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
	}
	if (longest > options->mbuf_size) {
		conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_SCATTER & info.rx_offload_capa;
		conf.txmode.offloads |= RTE_ETH_TX_OFFLOAD_MULTI_SEGS & info.tx_offload_capa;
	}
	run.mempool = rte_pktmbuf_pool_create("frames",
		options->queues * 3u * options->ring_size + 4096, 256, 0,
		options->mbuf_size + RTE_PKTMBUF_HEADROOM, rte_socket_id());
	if (run.mempool == NULL)
		return -ENOMEM;
	status = rte_eth_dev_configure(PORT, options->queues, options->queues, &conf);
	for (uint16_t q = 0; status == 0 && q < options->queues; q++) {
		status = rte_eth_rx_queue_setup(PORT, q, options->ring_size, rte_socket_id(), NULL,
			run.mempool);
		if (status == 0)
			status = rte_eth_tx_queue_setup(
				PORT, q, options->ring_size, rte_socket_id(), NULL);
	}
	return status != 0 ? status : rte_eth_dev_start(PORT);
}

static void __rte_format_printf(1, 2)
fault(const char *format, ...)
{
	va_list arguments;

	if (run.first_fault[0] != '\0')
		return;
	va_start(arguments, format);
	vsnprintf(run.first_fault, sizeof(run.first_fault), format, arguments);
	va_end(arguments);
}

static bool
is_cut(uint32_t length)
{
	return run.options.segment != 0 && length - PATTERN_TCP_HEADERS > run.options.segment;
}

static void
request_offloads(struct rte_mbuf *packet)
{
	packet->l2_len = sizeof(struct rte_ether_hdr);
	packet->l3_len = sizeof(struct rte_ipv4_hdr);
	packet->l4_len = sizeof(struct rte_tcp_hdr);
	packet->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_CKSUM;
	if (!is_cut(packet->pkt_len))
		return;
	packet->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
	packet->tso_segsz = run.options.segment;
}

/* What was to be cut comes back as one frame that says so, and how. */
static bool
offloads_returned(const struct rte_mbuf *packet)
{
	if (!is_cut(packet->pkt_len))
		return !(packet->ol_flags & RTE_MBUF_F_RX_LRO);
	return (packet->ol_flags & RTE_MBUF_F_RX_LRO) &&
		packet->tso_segsz == run.options.segment;
}

/* Copy a flat frame into as many mbufs as it takes. */
static struct rte_mbuf *
to_mbufs(const uint8_t *frame, uint32_t length)
{
	struct rte_mbuf *head = NULL;
	uint32_t done = 0;

	while (done < length) {
		struct rte_mbuf *segment = rte_pktmbuf_alloc(run.mempool);
		uint16_t part = (uint16_t)RTE_MIN(length - done, run.options.mbuf_size);

		if (segment == NULL || (head != NULL && rte_pktmbuf_chain(head, segment) != 0)) {
			rte_pktmbuf_free(segment);
			rte_pktmbuf_free(head);
			return NULL;
		}
		if (head == NULL)
			head = segment;
		memcpy(rte_pktmbuf_mtod(segment, void *), frame + done, part);
		segment->data_len = part;
		done += part;
	}
	head->pkt_len = length;
	if (run.options.segment != 0)
		request_offloads(head);
	return head;
}

/*
 * A back-end starts a device ring by ring. What it receives before it can send it back is lost, or
 * goes elsewhere; that is no fault, so the run begins when a probe has returned on each queue.
 */
static void
send_probe(uint16_t queue)
{
	uint32_t length = pattern_make(&run.options.pattern, queue, PROBE, expected_frame);
	struct rte_mbuf *packet = to_mbufs(expected_frame, length);

	if (packet != NULL && rte_eth_tx_burst(PORT, queue, &packet, 1) == 0)
		rte_pktmbuf_free(packet);
}

static void
send_some(uint16_t queue, struct flow *flow)
{
	const struct options *options = &run.options;
	struct rte_mbuf *packets[BURST];
	uint64_t room = options->window - (flow->next_send - flow->next_expected);
	uint16_t count = 0, sent;

	if (options->packets != 0)
		room = RTE_MIN(room, options->packets - flow->next_send);
	while (count < RTE_MIN(room, (uint64_t)BURST)) {
		uint32_t length = pattern_make(&options->pattern, queue, flow->next_send + count,
			expected_frame);

		packets[count] = to_mbufs(expected_frame, length);
		if (packets[count] == NULL)
			break;
		count++;
	}
	sent = rte_eth_tx_burst(PORT, queue, packets, count);
	flow->next_send += sent;
	rte_pktmbuf_free_bulk(packets + sent, count - sent);
}

/* Where a frame stands in the order of its flow. Returns false if it must not be there. */
static bool
place_in_order(struct flow *flow, uint16_t queue, uint64_t sequence)
{
	uint64_t *seen = &flow->seen[sequence % REMEMBERED];

	if (sequence >= flow->next_send) {
		flow->corrupt++;
		fault("queue %u: frame %" PRIu64 " came back before it was sent", queue, sequence);
		return false;
	}
	if (*seen == sequence + 1) {
		flow->duplicated++;
		fault("queue %u: frame %" PRIu64 " came back twice", queue, sequence);
		return false;
	}
	*seen = sequence + 1;
	if (sequence >= flow->next_expected) {
		flow->lost += sequence - flow->next_expected;
		flow->next_expected = sequence + 1;
		return true;
	}
	/* Counted as lost when a later one came, or given up. */
	flow->late++;
	flow->lost--;
	return true;
}

static void
check(uint16_t on_queue, const struct rte_mbuf *packet)
{
	struct flow *flow = &run.flows[on_queue];
	const struct pattern *pattern = &run.options.pattern;
	uint32_t length = packet->pkt_len;
	const uint8_t *frame;
	uint64_t sequence;
	uint32_t wanted;
	uint16_t queue;

	frame = length > sizeof(flat_frame) ? NULL :
		rte_pktmbuf_read(packet, 0, length, flat_frame);
	if (frame == NULL || !pattern_identify(pattern, frame, length, &queue, &sequence)) {
		flow->corrupt++;
		fault("queue %u: a frame of %u bytes that was never sent", on_queue, length);
		return;
	}
	if (sequence == PROBE) {
		flow->open = flow->open || queue == on_queue;
		return;
	}
	flow->received++;
	if (queue != on_queue) {
		flow->corrupt++;
		fault("frame %" PRIu64 " of queue %u came back on queue %u", sequence, queue,
			on_queue);
		return;
	}
	if (!place_in_order(flow, queue, sequence))
		return;
	wanted = pattern_make(pattern, queue, sequence, expected_frame);
	if (wanted == length && memcmp(frame, expected_frame, wanted) == 0) {
		if (offloads_returned(packet))
			return;
		fault("queue %u: frame %" PRIu64 " of %u bytes returned with flags 0x%" PRIx64
			" and segments of %u", queue, sequence, length, packet->ol_flags,
			packet->tso_segsz);
	}
	flow->corrupt++;
	for (uint32_t i = 0; i < RTE_MIN(length, wanted); i++)
		if (frame[i] != expected_frame[i]) {
			fault("queue %u: frame %" PRIu64 " differs at byte %u of %u", queue,
				sequence, i, wanted);
			return;
		}
	fault("queue %u: frame %" PRIu64 " has %u bytes instead of %u", queue, sequence, length,
		wanted);
}

static uint16_t
receive_some(uint16_t queue)
{
	struct rte_mbuf *packets[BURST];
	uint16_t count = rte_eth_rx_burst(PORT, queue, packets, BURST);

	for (uint16_t i = 0; i < count; i++)
		check(queue, packets[i]);
	rte_pktmbuf_free_bulk(packets, count);
	return count;
}

static bool
open_all_queues(void)
{
	const uint64_t per_ms = rte_get_timer_hz() / 1000;
	uint64_t now = rte_get_timer_cycles();
	uint64_t start = now, last_probe = 0;
	bool all_open = false;

	while (!all_open && !stopped && now - start < OPEN_TIMEOUT_MS * per_ms) {
		bool probe = now - last_probe > per_ms;

		all_open = true;
		for (uint16_t q = 0; q < run.options.queues; q++) {
			if (probe && !run.flows[q].open)
				send_probe(q);
			receive_some(q);
			all_open = all_open && run.flows[q].open;
		}
		if (probe)
			last_probe = now;
		now = rte_get_timer_cycles();
	}
	if (!all_open)
		fault("no frame came back on the queue on which it was sent");
	return all_open;
}

static uint64_t
in_flight(void)
{
	uint64_t sum = 0;

	for (uint16_t q = 0; q < run.options.queues; q++)
		sum += run.flows[q].next_send - run.flows[q].next_expected;
	return sum;
}

static bool
all_sent(void)
{
	if (stopped)
		return true;
	for (uint16_t q = 0; q < run.options.queues; q++)
		if (run.options.packets == 0 || run.flows[q].next_send < run.options.packets)
			return false;
	return true;
}

/* Nothing came for long: what is in flight counts as lost (until it comes after all). */
static void
give_up(void)
{
	for (uint16_t q = 0; q < run.options.queues; q++) {
		struct flow *flow = &run.flows[q];

		flow->lost += flow->next_send - flow->next_expected;
		flow->next_expected = flow->next_send;
	}
	run.stalls++;
}

static void
report(const char *kind)
{
	struct flow sum = {0};
	struct rte_eth_link link = {0};

	for (uint16_t q = 0; q < run.options.queues; q++) {
		const struct flow *flow = &run.flows[q];

		sum.next_send += flow->next_send;
		sum.received += flow->received;
		sum.late += flow->late;
		sum.duplicated += flow->duplicated;
		sum.corrupt += flow->corrupt;
		sum.lost += flow->lost;
	}
	/* This also lets net_virtio_user in server mode accept a new back-end. */
	if (rte_eth_link_get_nowait(PORT, &link) != 0)
		link.link_status = RTE_ETH_LINK_DOWN;
	printf("{\"%s\": {\"sent\": %" PRIu64 ", \"received\": %" PRIu64 ", \"lost\": %" PRIu64
	       ", \"late\": %" PRIu64 ", \"duplicated\": %" PRIu64 ", \"corrupt\": %" PRIu64
	       ", \"stalls\": %" PRIu64 ", \"window\": %u, \"link\": %s, \"fault\": \"%s\"}}\n",
		kind, sum.next_send, sum.received, sum.lost, sum.late, sum.duplicated, sum.corrupt,
		run.stalls, run.options.window, link.link_status ? "true" : "false",
		run.first_fault);
	fflush(stdout);
}

static void
exchange(void)
{
	const struct options *options = &run.options;
	const uint64_t per_ms = rte_get_timer_hz() / 1000;
	uint64_t now = rte_get_timer_cycles();
	uint64_t last_frame = now, last_report = now;

	while (!all_sent() || in_flight() != 0) {
		uint16_t count = 0;

		for (uint16_t q = 0; q < options->queues; q++) {
			if (!stopped)
				send_some(q, &run.flows[q]);
			count += receive_some(q);
		}
		now = rte_get_timer_cycles();
		if (count != 0 || in_flight() == 0)
			last_frame = now;
		else if (now - last_frame > options->stall_ms * per_ms) {
			give_up();
			if (options->packets != 0)
				return;
			last_frame = now;
		}
		if (options->progress_ms != 0 &&
		    now - last_report > options->progress_ms * per_ms) {
			report("progress");
			last_report = now;
		}
	}
}

static bool
faultless(void)
{
	for (uint16_t q = 0; q < run.options.queues; q++) {
		const struct flow *flow = &run.flows[q];

		if (flow->lost != 0 || flow->late != 0 || flow->duplicated != 0 ||
		    flow->corrupt != 0)
			return false;
	}
	return true;
}

int
main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	int consumed, status;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		usage();
		return 0;
	}
	consumed = rte_eal_init(argc, argv);
	if (consumed < 0) {
		fprintf(stderr, "vhu-verify: EAL does not start with these options (--help shows "
			"an example)\n");
		return 2;
	}
	parse_options(&run.options, argc - consumed, argv + consumed);
	if (!rte_eth_dev_is_valid_port(PORT)) {
		fprintf(stderr, "vhu-verify: no port; add --vdev net_virtio_user0,path=SOCKET\n");
		return 2;
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	status = setup_port();
	if (status != 0) {
		fprintf(stderr, "vhu-verify: the port cannot be started: %s\n", strerror(-status));
		return 1;
	}
	printf("{\"started\": {}}\n");
	fflush(stdout);
	if (open_all_queues())
		exchange();
	report("result");
	rte_eth_dev_stop(PORT);
	rte_eth_dev_close(PORT);
	rte_eal_cleanup();
	return faultless() && run.first_fault[0] == '\0' ? 0 : 1;
}
