/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * vhu-migrate: pretends to migrate a guest again and again, in milliseconds, while frames move.
 * What a migration is made of is in migrate_journey.c; here are the guest and what surrounds it.
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "migrate.h"

#define BURST 32
#define RING 256
#define BUFFER 1600
/* Frames that are spread over three buffers of a mergeable ring. */
#define LONG_FRAME 4000

static const char usage[] =
	"Pretend to migrate a guest whose frames a vhost-user network back-end echoes.\n"
	"\n"
	"Usage: vhu-migrate --path SOCKET [options]\n"
	"Example: vhu-migrate --path /run/vhu/0.sock --seconds 10 --packed\n"
	"\n"
	"  --path SOCKET     where the back-end listens\n"
	"  --seconds N       how long (5)\n"
	"  --packed          packed rings\n"
	"  --in-order        VIRTIO_F_IN_ORDER\n"
	"  --mergeable       VIRTIO_NET_F_MRG_RXBUF, with frames of several buffers\n"
	"  --seed N          another sequence of events (1)\n"
	"\n"
	"Prints one JSON object. Exit status: 0 each copy was right; 1 otherwise; 2 wrong usage;\n"
	"77 the back-end does not offer what it takes.\n";

static void
send_some(struct driver *driver, bool mergeable)
{
	static const uint16_t lengths[] = { 64, 1518, 60, 512, LONG_FRAME, 65 };
	struct front_frame frames[BURST];
	uint32_t i, count = front_take(&driver->transmit, frames, BURST);

	for (i = 0; i < count; i++) {
		uint32_t length = lengths[driver->sequence % 6];

		frames[i].length = !mergeable && length > BUFFER ? BUFFER : length;
		front_touch_write(&frames[i], 1, driver->sequence++);
	}
	front_post(&driver->transmit, frames, count);
}

static void
receive_some(struct driver *driver)
{
	struct front_frame frames[BURST];
	uint32_t count = front_receive(&driver->receive, frames, BURST);

	front_post(&driver->receive, frames, count);
	atomic_fetch_add_explicit(&driver->received, count, memory_order_relaxed);
}

static void *
drive(void *argument)
{
	struct mover *mover = argument;
	struct driver *driver = &mover->driver;
	enum drive wanted;

	/* Partner: the release stores in drive_or_rest() and run(). */
	while ((wanted = atomic_load_explicit(&driver->wanted, memory_order_acquire)) != END) {
		if (wanted == DRIVE) {
			atomic_store_explicit(&driver->rests, false, memory_order_relaxed);
			send_some(driver, mover->options->mergeable);
			receive_some(driver);
		} else {
			/* Partner: the acquire load in drive_or_rest(); our writes come first. */
			atomic_store_explicit(&driver->rests, true, memory_order_release);
			sched_yield();
		}
	}
	return NULL;
}

static uint64_t
ring_features(const struct options *options)
{
	return VHU_BIT(VIRTIO_F_VERSION_1) |
		(options->packed ? VHU_BIT(VIRTIO_F_RING_PACKED) : 0) |
		(options->in_order ? VHU_BIT(VIRTIO_F_IN_ORDER) : 0) |
		(options->mergeable ? VHU_BIT(VIRTIO_NET_F_MRG_RXBUF) : 0);
}

static int
negotiate(struct mover *mover)
{
	struct front *front = &mover->front;
	uint64_t ring = ring_features(mover->options), log = VHU_BIT(VHU_F_LOG_ALL);
	int error = front_negotiate(front, ring, VHU_BIT(VHU_PROTOCOL_LOG_SHMFD) |
		VHU_BIT(VHU_PROTOCOL_REPLY_ACK) | VHU_BIT(VHU_PROTOCOL_MQ));

	if (error != 0)
		return error;
	if ((front->offered & (ring | log)) != (ring | log))
		mover->skipped = "the back-end does not offer this kind of ring, or no LOG_ALL";
	if (!(front->protocol & VHU_BIT(VHU_PROTOCOL_LOG_SHMFD)))
		mover->skipped = "the back-end does not offer LOG_SHMFD";
	return 0;
}

static int
make_rings(struct mover *mover)
{
	struct front_ring_options ring = {
		.size = RING,
		.packed = mover->options->packed,
		.in_order = mover->options->in_order,
		.buffer_size = mover->options->mergeable ? LONG_FRAME : BUFFER,
		.regions = 2,
	};
	int error = front_ring_create(&mover->driver.transmit, &mover->memory, &ring);

	ring.receive = true;
	ring.mergeable = mover->options->mergeable;
	ring.buffer_size = BUFFER;
	ring.first_region = 1;
	if (error == 0)
		error = front_ring_create(&mover->driver.receive, &mover->memory, &ring);
	if (error == 0)
		error = copy_create(&mover->copy, &mover->memory);
	if (error != 0)
		return error;
	copy_expect_driver(&mover->copy, &mover->driver.transmit);
	copy_expect_driver(&mover->copy, &mover->driver.receive);
	front_post_all(&mover->driver.receive);
	return 0;
}

static int
set_up(struct mover *mover)
{
	struct front_memory_options memory = {
		.regions = 3,
		.region_size = UINT64_C(1) << 20,
		.guest_base = UINT64_C(1) << 24,
	};
	int error = front_memory_create(&mover->memory, &memory);

	if (error == 0)
		error = make_rings(mover);
	if (error == 0)
		error = front_share(&mover->front, &mover->memory, mover->memory.count);
	if (error == 0)
		error = front_start(&mover->front, MIGRATE_RECEIVE, &mover->driver.receive);
	if (error == 0)
		error = front_start(&mover->front, MIGRATE_TRANSMIT, &mover->driver.transmit);
	return error;
}

static int
run(struct mover *mover)
{
	uint64_t begin = front_nanoseconds();
	pthread_t thread;
	int error = -pthread_create(&thread, NULL, drive, mover);

	if (error != 0)
		return error;
	while (error == 0 &&
			front_nanoseconds() - begin < mover->options->seconds * 1000000000)
		error = migrate_journey(mover);
	atomic_store_explicit(&mover->driver.wanted, END, memory_order_release);
	pthread_join(thread, NULL);
	return error;
}

static void
clean_up(struct mover *mover)
{
	struct front_ring *rings[] = { &mover->driver.receive, &mover->driver.transmit };
	unsigned int i;

	front_close(&mover->front);
	for (i = 0; i < 2; i++) {
		if (rings[i]->kick_fd > 0)
			close(rings[i]->kick_fd);
		front_ring_destroy(rings[i]);
	}
	log_destroy(&mover->log);
	copy_destroy(&mover->copy);
	front_memory_destroy(&mover->memory);
}

static int
report(const struct mover *mover, int error)
{
	uint64_t faults = mover->driver.receive.faults + mover->driver.transmit.faults;

	if (mover->skipped != NULL) {
		printf("{\"skipped\":\"%s\"}\n", mover->skipped);
		return 77;
	}
	printf("{\"fault\":\"%s\",\"cancelled\":%" PRIu64 ",\"arrived\":%" PRIu64
		",\"logs\":%" PRIu64 ",\"marked\":%" PRIu64, error == 0 ? "" :
		mover->front.error[0] ? mover->front.error : strerror(-error), mover->cancelled,
		mover->arrived, mover->logs, mover->copy.marked);
	printf(",\"outside\":%" PRIu64 ",\"late\":%" PRIu64 ",\"differing\":%" PRIu64
		",\"ring_faults\":%" PRIu64 ",\"received\":%" PRIu64 "}\n",
		mover->copy.outside, mover->late, mover->differing, faults,
		atomic_load(&mover->driver.received));
	return error != 0 || mover->differing != 0 || mover->late != 0 || faults != 0 ||
		mover->copy.outside != 0;
}

static int
parse(int argc, char **argv, struct options *options)
{
	static const struct option names[] = {
		{ "path", required_argument, NULL, 'p' }, { "packed", no_argument, NULL, 'P' },
		{ "seconds", required_argument, NULL, 's' },
		{ "in-order", no_argument, NULL, 'I' }, { "mergeable", no_argument, NULL, 'M' },
		{ "seed", required_argument, NULL, 'S' }, { "help", no_argument, NULL, 'h' }, { 0 },
	};
	int word;

	while ((word = getopt_long(argc, argv, "h", names, NULL)) != -1) {
		switch (word) {
		case 'p': options->path = optarg; break;
		case 's': options->seconds = strtoull(optarg, NULL, 10); break;
		case 'P': options->packed = true; break;
		case 'I': options->in_order = true; break;
		case 'M': options->mergeable = true; break;
		case 'S': options->seed = (uint32_t)strtoul(optarg, NULL, 10); break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			return -1;
		}
	}
	if (options->path != NULL && optind == argc)
		return 0;
	fputs("vhu-migrate: --path SOCKET is needed, and nothing but options; try --help\n",
		stderr);
	return -1;
}

int
main(int argc, char **argv)
{
	struct options options = { .seconds = 5, .seed = 1 };
	static struct mover mover = { .log = { .fd = -1 } };
	int error, status;

	if (parse(argc, argv, &options) != 0)
		return 2;
	mover.options = &options;
	mover.random = options.seed;
	error = front_connect(&mover.front, options.path);
	if (error == 0)
		error = negotiate(&mover);
	if (error == 0 && mover.skipped == NULL)
		error = set_up(&mover);
	if (error == 0 && mover.skipped == NULL)
		error = run(&mover);
	status = report(&mover, error);
	clean_up(&mover);
	return status;
}
