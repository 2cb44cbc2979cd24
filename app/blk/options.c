/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blk.h"

static const char help_text[] =
	"Serve virtio-blk disks to virtual machines: each is a vhost-user socket.\n"
	"\n"
	"Usage: vhu-blk --socket PATH DISK [options] [--socket PATH DISK [options]]...\n"
	"Example: vhu-blk --socket /run/vhu/blk0.sock --malloc 1G --queues 2 --cores 1\n"
	"Guest: qemu-system-x86_64 ... -chardev socket,id=c0,path=/run/vhu/blk0.sock \\\n"
	"           -device vhost-user-blk-pci,chardev=c0,num-queues=2\n"
	"       (the guest's memory must be shared: memory-backend-memfd,share=on)\n"
	"\n"
	"For each disk:\n"
	"  --socket PATH        where front-ends connect; the options that follow are this disk's\n"
	"  --fd N               instead: an inherited descriptor, of a socket that listens\n"
	"  --file PATH          a file or block device holds the sectors (io_uring, O_DIRECT)\n"
	"  --malloc SIZE        memory holds them; lost at the end. SIZE in bytes, or with K, M, G, T\n"
	"  --null SIZE          nothing holds them: reads give zeros\n"
	"  --queues N           request queues, 1 to 64 (1)\n"
	"  --block-size BYTES   logical block, 512 to 4096 (512)\n"
	"  --read-only          refuse writes\n"
	"  --buffered           with --file: through the page cache\n"
	"  --serial TEXT        what the guest sees as serial number, 20 characters at most (vhu-blk)\n"
	"For all:\n"
	"  --threads N          polling threads; queues are dealt out in turn (1)\n"
	"  --cores LIST         cores that they run on, such as 1,3\n"
	"  --stats-period S     a line of rates every S seconds\n"
	"  --duration S         end after S seconds\n"
	"  --json FILE          write the counters at the end as JSON; - is standard output\n"
	"  --print-capabilities say what kind of back-end this is, as JSON, and end\n"
	"  -h, --help           this text\n"
	"SIGHUP: look whether files have grown, and tell the guests. SIGINT, SIGTERM: end in order.\n"
	"--socket-path and --blk-file are other names of --socket and --file.\n";

enum {
	OPT_SOCKET = 256, OPT_FILE, OPT_MALLOC, OPT_NULL, OPT_QUEUES, OPT_BLOCK_SIZE,
	OPT_READ_ONLY, OPT_BUFFERED, OPT_SERIAL, OPT_THREADS, OPT_CORES, OPT_PERIOD,
	OPT_DURATION, OPT_JSON, OPT_FD, OPT_CAPABILITIES,
};

static const struct option options[] = {
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "socket-path", required_argument, NULL, OPT_SOCKET },
	{ "fd", required_argument, NULL, OPT_FD },
	{ "print-capabilities", no_argument, NULL, OPT_CAPABILITIES },
	{ "file", required_argument, NULL, OPT_FILE },
	{ "blk-file", required_argument, NULL, OPT_FILE },
	{ "malloc", required_argument, NULL, OPT_MALLOC },
	{ "null", required_argument, NULL, OPT_NULL },
	{ "queues", required_argument, NULL, OPT_QUEUES },
	{ "block-size", required_argument, NULL, OPT_BLOCK_SIZE },
	{ "read-only", no_argument, NULL, OPT_READ_ONLY },
	{ "buffered", no_argument, NULL, OPT_BUFFERED },
	{ "serial", required_argument, NULL, OPT_SERIAL },
	{ "threads", required_argument, NULL, OPT_THREADS },
	{ "cores", required_argument, NULL, OPT_CORES },
	{ "stats-period", required_argument, NULL, OPT_PERIOD },
	{ "duration", required_argument, NULL, OPT_DURATION },
	{ "json", required_argument, NULL, OPT_JSON },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static int __attribute__((format(printf, 1, 2)))
wrong(const char *format, ...)
{
	va_list arguments;

	fputs("vhu-blk: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputs(" (--help)\n", stderr);
	return 2;
}

static bool
parse_number(const char *text, unsigned long low, unsigned long high, unsigned long *value)
{
	char *end;

	errno = 0;
	*value = strtoul(text, &end, 0);
	return errno == 0 && end != text && *end == '\0' && text[0] != '-' && *value >= low &&
		*value <= high;
}

static bool
parse_seconds(const char *text, double *value)
{
	char *end;

	*value = strtod(text, &end);
	return end != text && *end == '\0' && *value > 0 && *value < 1e9;
}

/* Bytes, with a power of 1024 behind them. */
static bool
parse_size(const char *text, uint64_t *size)
{
	static const char suffixes[] = "KMGT";
	unsigned int shift = 0;
	const char *found;
	char *end;

	errno = 0;
	*size = strtoull(text, &end, 0);
	if (errno != 0 || end == text || text[0] == '-')
		return false;
	if (*end != '\0') {
		found = strchr(suffixes, *end);
		if (found == NULL || end[1] != '\0')
			return false;
		shift = 10 * (unsigned int)(found - suffixes + 1);
	}
	if (*size > UINT64_MAX >> 1 >> shift)
		return false;
	*size <<= shift;
	return *size >= 4096;
}

static int
parse_cores(struct blk_arguments *arguments, char *text)
{
	char *rest = text, *word;

	while ((word = strsep(&rest, ",")) != NULL) {
		unsigned long core;

		if (!parse_number(word, 0, 4095, &core) ||
		    arguments->core_count == BLK_CORES_MAX)
			return wrong("--cores: '%s' is no core; numbers with commas are allowed",
				word);
		arguments->cores[arguments->core_count++] = (int)core;
	}
	return -1;
}

static int
add_device(struct blk_arguments *arguments, const char *path)
{
	struct blk_options *device;

	if (arguments->device_count == BLK_DEVICES_MAX)
		return wrong("more than %d disks", BLK_DEVICES_MAX);
	if (path[0] == '\0' || strlen(path) >= sizeof(device->socket))
		return wrong("--socket: a path has 1 to %zu characters",
			sizeof(device->socket) - 1);
	device = &arguments->devices[arguments->device_count++];
	strcpy(device->socket, path);
	strcpy(device->serial, "vhu-blk");
	device->listener = -1;
	device->queues = 1;
	device->block_size = 512;
	return -1;
}

static int
add_inherited(struct blk_arguments *arguments, const char *text)
{
	unsigned long fd;
	char name[32];
	int result;

	if (!parse_number(text, 0, 1 << 20, &fd))
		return wrong("--fd: '%s' is no descriptor", text);
	snprintf(name, sizeof(name), "fd-%lu", fd);
	result = add_device(arguments, name);
	if (result < 0)
		arguments->devices[arguments->device_count - 1].listener = (int)fd;
	return result;
}

static int
set_disk(struct blk_options *device, bool *given, enum blk_kind kind, const char *text)
{
	if (*given)
		return wrong("%s: one of --file, --malloc and --null is enough", device->socket);
	*given = true;
	device->kind = kind;
	if (kind != BLK_FILE) {
		if (!parse_size(text, &device->size))
			return wrong("'%s' is no size; bytes from 4096 on, K, M, G and T are "
				"allowed, such as 1G", text);
		return -1;
	}
	if (strlen(text) >= sizeof(device->path))
		return wrong("--file: the path is too long");
	strcpy(device->path, text);
	return -1;
}

/* An option of one disk. */
static int
device_option(struct blk_options *device, bool *given, int option, const char *text)
{
	unsigned long value;

	switch (option) {
	case OPT_FILE:
		return set_disk(device, given, BLK_FILE, text);
	case OPT_MALLOC:
		return set_disk(device, given, BLK_MALLOC, text);
	case OPT_NULL:
		return set_disk(device, given, BLK_NULL, text);
	case OPT_QUEUES:
		if (!parse_number(text, 1, BLK_QUEUES_MAX, &value))
			return wrong("--queues: '%s' is not in 1 to %d", text, BLK_QUEUES_MAX);
		device->queues = (uint16_t)value;
		return -1;
	case OPT_BLOCK_SIZE:
		if (!parse_number(text, 512, 4096, &value) || (value & (value - 1)) != 0)
			return wrong("--block-size: '%s' is not 512, 1024, 2048 or 4096", text);
		device->block_size = (uint32_t)value;
		return -1;
	case OPT_READ_ONLY:
		device->read_only = true;
		return -1;
	case OPT_BUFFERED:
		device->buffered = true;
		return -1;
	default: /* OPT_SERIAL */
		if (strlen(text) > VIRTIO_BLK_ID_BYTES)
			return wrong("--serial: '%s' has more than %d characters", text,
				VIRTIO_BLK_ID_BYTES);
		strcpy(device->serial, text);
		return -1;
	}
}

/* An option of the program. */
static int
program_option(struct blk_arguments *arguments, int option, char *text)
{
	unsigned long value;

	switch (option) {
	case OPT_THREADS:
		if (!parse_number(text, 1, 128, &value))
			return wrong("--threads: '%s' is not in 1 to 128", text);
		arguments->threads = (unsigned int)value;
		return -1;
	case OPT_CORES:
		return parse_cores(arguments, text);
	case OPT_PERIOD:
	case OPT_DURATION:
		if (!parse_seconds(text, option == OPT_PERIOD ? &arguments->stats_period :
				&arguments->duration))
			return wrong("'%s' is no number of seconds", text);
		return -1;
	default: /* OPT_JSON */
		arguments->json = text;
		return -1;
	}
}

static int
no_disk(const struct blk_arguments *arguments)
{
	return wrong("%s: no disk; give --file, --malloc or --null",
		arguments->devices[arguments->device_count - 1].socket);
}

int
blk_arguments_parse(struct blk_arguments *arguments, int argc, char **argv)
{
	bool given = true;
	int option, result = -1;

	arguments->threads = 1;
	while (result < 0 && (option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(help_text, stdout);
			return 0;
		}
		if (option == '?')
			return 2; /* getopt has said why */
		if (option == OPT_CAPABILITIES) {
			puts("{\"type\": \"block\", \"features\": [\"blk-file\", \"read-only\"]}");
			return 0;
		}
		if (option == OPT_SOCKET || option == OPT_FD) {
			result = !given ? no_disk(arguments) : option == OPT_FD ?
				add_inherited(arguments, optarg) : add_device(arguments, optarg);
			given = false;
		} else if (option >= OPT_THREADS) {
			result = program_option(arguments, option, optarg);
		} else if (arguments->device_count == 0) {
			result = wrong("options of a disk come behind its --socket");
		} else {
			result = device_option(&arguments->devices[arguments->device_count - 1],
				&given, option, optarg);
		}
	}
	if (result >= 0)
		return result;
	if (optind < argc)
		return wrong("'%s' is no option", argv[optind]);
	if (arguments->device_count == 0)
		return wrong("no disk; give --socket PATH and --file, --malloc or --null");
	return given ? -1 : no_disk(arguments);
}
