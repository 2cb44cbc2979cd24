/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "config.h"

static const char help_text[] =
	"Forward packets of virtual machines: each port is a vhost-user socket.\n"
	"\n"
	"Usage: vhu-testpmd [EAL options] -- [options]\n"
	"Example: vhu-testpmd -l 0,1 --in-memory --no-pci -- \\\n"
	"             --port path=/run/vhu/0.sock,queues=1 --fwd macswap --stats-period 1\n"
	"EAL options choose cores (-l, --lcores) and memory (-m, --no-huge, --in-memory).\n"
	"\n"
	"  --port KEY=VALUE[,...]   add a port; may be repeated\n"
	"       path=PATH           the socket (required)\n"
	"       queues=N            queue pairs, 1 to 128 (1)\n"
	"       client=0|1          1: connect to a front-end that listens (0)\n"
	"       mtu=BYTES           MTU offered to the guest, 68 to 65535\n"
	"       mode=OCTAL          permissions of the socket, such as 0660\n"
	"       name=NAME           name in logs and telemetry\n"
	"       features-off=A:B    virtio features that are not offered, names or a mask\n"
	"       packed, in-order, mergeable, event-idx, indirect, inflight, log, announce=0|1\n"
	"                           features offered unless withheld with 0 (1)\n"
	"       iommu, postcopy, control-queue, hash, in-band, ring-reset=0|1\n"
	"                           features offered if asked for with 1 (0)\n"
	"       call-handover=0|1   the control thread notifies the guest, not the lcores (0)\n"
	"       histograms=0|1      count frames by size, bursts by the frames in them (0)\n"
	"       csum=offload|software  who makes checksums in csum mode (offload)\n"
	"       tso=BYTES           segment size for TCP frames in csum mode (as received)\n"
	"  --fwd MODE               io mac macswap rxonly txonly flowgen csum icmpecho (io)\n"
	"  --burst N                packets per burst, 1 to 512 (32)\n"
	"  --txpkts LEN[,LEN...]    segments of generated frames; the first holds 42 or more (64)\n"
	"  --nb-cores N             forwarding lcores (all workers)\n"
	"  --mbufs N                mbufs in the pool (8192)\n"
	"  --mbuf-size N            bytes of an mbuf, headroom included (2176)\n"
	"  --eth-peer PORT,MAC      where port PORT sends to in mac, csum, txonly, flowgen\n"
	"  -i, --interactive        a prompt; commands may also come through a pipe\n"
	"  --auto-start             start forwarding at once (always so without a prompt)\n"
	"  --stats-period S         a live line per port every S seconds\n"
	"  --duration S             end after S seconds\n"
	"  --json FILE              write the summary as JSON; - is standard output\n"
	"  -h, --help               this text\n";

enum {
	OPT_PORT = 256, OPT_FWD, OPT_BURST, OPT_TXPKTS, OPT_CORES, OPT_MBUFS, OPT_MBUF_SIZE,
	OPT_PEER, OPT_AUTO_START, OPT_PERIOD, OPT_DURATION, OPT_JSON,
};

static const struct option options[] = {
	{ "port", required_argument, NULL, OPT_PORT },
	{ "fwd", required_argument, NULL, OPT_FWD },
	{ "burst", required_argument, NULL, OPT_BURST },
	{ "txpkts", required_argument, NULL, OPT_TXPKTS },
	{ "nb-cores", required_argument, NULL, OPT_CORES },
	{ "mbufs", required_argument, NULL, OPT_MBUFS },
	{ "mbuf-size", required_argument, NULL, OPT_MBUF_SIZE },
	{ "eth-peer", required_argument, NULL, OPT_PEER },
	{ "interactive", no_argument, NULL, 'i' },
	{ "auto-start", no_argument, NULL, OPT_AUTO_START },
	{ "stats-period", required_argument, NULL, OPT_PERIOD },
	{ "duration", required_argument, NULL, OPT_DURATION },
	{ "json", required_argument, NULL, OPT_JSON },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static int
complain(const char *why)
{
	fprintf(stderr, "vhu-testpmd: %s\n", why);
	return 1;
}

static bool
add_port(const char *text, char why[WHY_SIZE])
{
	if (settings.port_count == MAX_PORTS)
		return snprintf(why, WHY_SIZE, "port: want at most %u ports", MAX_PORTS), false;
	struct port_spec *spec = &settings.ports[settings.port_count];
	if (!parse_port_spec(text, spec, why))
		return false;
	for (unsigned int i = 0; i < settings.port_count; i++) {
		if (strcmp(settings.ports[i].path, spec->path) == 0) {
			snprintf(why, WHY_SIZE, "port path '%s' is given twice", spec->path);
			return false;
		}
	}
	settings.port_count++;
	return true;
}

static bool
set_unsigned(const char *what, const char *text, unsigned int least, unsigned int most,
	unsigned int *target, char why[WHY_SIZE])
{
	uint64_t value;

	if (!parse_number(what, text, least, most, &value, why))
		return false;
	*target = (unsigned int)value;
	return true;
}

/* txpkts is checked against the mbuf size, which may come later: it is kept and set at the end. */
static bool
apply(int option, const char *value, const char **txpkts, char why[WHY_SIZE])
{
	switch (option) {
	case OPT_PORT:
		return add_port(value, why);
	case OPT_FWD:
		return set_mode(value, why);
	case OPT_BURST:
		return set_burst(value, why);
	case OPT_TXPKTS:
		*txpkts = value;
		return true;
	case OPT_CORES:
		return set_unsigned("nb-cores", value, 1, 1024, &settings.lcores, why);
	case OPT_MBUFS:
		return set_unsigned("mbufs", value, 1024, 1 << 24, &settings.mbufs, why);
	case OPT_MBUF_SIZE:
		return set_unsigned("mbuf-size", value, MIN_MBUF_SIZE, UINT16_MAX,
			&settings.mbuf_size, why);
	case OPT_PEER:
		return set_peer(value, why);
	case OPT_PERIOD:
		return parse_seconds("stats-period", value, &settings.stats_period, why);
	case OPT_DURATION:
		return parse_seconds("duration", value, &settings.duration, why);
	case OPT_JSON:
		settings.json_path = value;
		return true;
	case OPT_AUTO_START:
		settings.auto_start = true;
		return true;
	default:
		settings.interactive = true;
		return true;
	}
}

/* The word that getopt_long() did not like; for a cluster of letters its letter. */
static int
complain_option(int argc, char **argv, bool missing)
{
	char why[WHY_SIZE];
	const char *word = optind <= argc ? argv[optind - 1] : "";

	if (missing)
		snprintf(why, sizeof(why), "option '%.64s' needs a value; try --help", word);
	else if (optopt != 0 && strncmp(word, "--", 2) == 0)
		snprintf(why, sizeof(why), "option '%.64s' takes no value; try --help", word);
	else if (optopt != 0)
		snprintf(why, sizeof(why), "unknown option '-%c'; try --help", optopt);
	else
		snprintf(why, sizeof(why), "unknown option '%.64s'; try --help", word);
	return complain(why);
}

static int
check_all(const char *txpkts)
{
	char why[WHY_SIZE];

	if (txpkts != NULL && !set_txpkts(txpkts, why))
		return complain(why);
	if (settings.port_count == 0 && !settings.interactive)
		return complain("no port: give -- --port path=/run/vhu/0.sock (or -- -i for a "
			"prompt); options go behind a '--', try --help");
	if (!settings.interactive)
		settings.auto_start = true;
	return -1;
}

int
args_parse(int argc, char **argv, int *eal_argc)
{
	char why[WHY_SIZE];
	const char *txpkts = NULL;
	int split = 1, option;

	while (split < argc && strcmp(argv[split], "--") != 0) {
		if (strcmp(argv[split], "--help") == 0 || strcmp(argv[split], "-h") == 0)
			return fputs(help_text, stdout), 0;
		split++;
	}
	*eal_argc = split;
	/* "--" takes the place of the program's name for getopt_long(). */
	int count = split < argc ? argc - split : 1;
	char **words = split < argc ? argv + split : argv;
	optind = 1;
	opterr = 0;
	while ((option = getopt_long(count, words, "+:ih", options, NULL)) != -1) {
		if (option == 'h')
			return fputs(help_text, stdout), 0;
		if (option == ':' || option == '?')
			return complain_option(count, words, option == ':');
		if (!apply(option, optarg, &txpkts, why))
			return complain(why);
	}
	if (optind < count) {
		snprintf(why, sizeof(why), "unexpected word '%.64s'; try --help", words[optind]);
		return complain(why);
	}
	return check_all(txpkts);
}
