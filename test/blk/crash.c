/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Kill a vhost-user-blk back-end again and again while requests are under way, start it anew, and
 * check that nothing was lost and nothing done twice. What is checked is in crash_driver.h.
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "crash_driver.h"

#define PATIENCE 30.0 /* seconds that a request, or a new back-end, may take */

static struct crash_disk disk;
static struct front front;
static struct front_inflight inflight = { .fd = -1 };
static const char *socket_path;
static char *const *command;
static bool no_inflight;
/* Written before the timer is armed. */
static volatile pid_t back_end = -1;
static volatile sig_atomic_t killed;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "vhu-blk-crash: %s: %s\n", what, why);
	if (back_end > 0)
		kill(back_end, SIGKILL);
	exit(1);
}

static void
on_alarm(int number)
{
	(void)number;
	if (back_end > 0)
		kill(back_end, SIGKILL);
	killed = 1;
}

static void
arm(uint64_t microseconds)
{
	struct itimerval timer = { .it_value = { (time_t)(microseconds / 1000000),
		(suseconds_t)(microseconds % 1000000) } };

	setitimer(ITIMER_REAL, &timer, NULL);
}

static void
spawn(void)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork", strerror(errno));
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execv(command[0], command);
		_exit(127);
	}
	killed = 0;
	back_end = pid;
}

/* It is dead, by our hand or not. */
static void
bury(void)
{
	int status;

	if (back_end <= 0)
		return;
	waitpid(back_end, &status, 0);
	back_end = -1;
	if (!killed || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
		char text[64];

		snprintf(text, sizeof(text), "wait status 0x%x", (unsigned int)status);
		die("the back-end ended by itself", text);
	}
}

/* @return false if it was killed meanwhile. */
static bool
negotiate(void)
{
	const uint64_t features = VHU_BIT(VIRTIO_F_VERSION_1) |
		(disk.packed ? VHU_BIT(VIRTIO_F_RING_PACKED) : 0);
	uint64_t protocol = VHU_BIT(VHU_PROTOCOL_REPLY_ACK) | VHU_BIT(VHU_PROTOCOL_MQ) |
		VHU_BIT(VHU_PROTOCOL_CONFIG) | VHU_BIT(VHU_PROTOCOL_INFLIGHT_SHMFD);
	int error = front_negotiate(&front, features, protocol);
	unsigned int i;

	if (error == 0 && front.features != (features | VHU_BIT(VHU_F_PROTOCOL_FEATURES)))
		die("negotiation", "the back-end lacks a feature");
	if (error == 0)
		error = front_share(&front, &disk.memory, disk.memory.count);
	if (error == 0 && !no_inflight && inflight.fd < 0)
		error = front_get_inflight(&front, (uint16_t)disk.queue_count,
			disk.queues[0].ring.size, &inflight);
	if (error == 0 && !no_inflight)
		error = front_set_inflight(&front, &inflight);
	for (i = 0; i < disk.queue_count && error == 0; i++) {
		/* All that came back must be known: the new device begins behind it. */
		crash_collect(&disk, &disk.queues[i]);
		error = front_start(&front, i, &disk.queues[i].ring);
	}
	if (error != 0 && !killed)
		die("negotiation", front.error);
	return error == 0;
}

static bool
is_dead(void)
{
	siginfo_t info = { 0 };

	/* It stays for bury() to find. */
	return waitid(P_PID, (id_t)back_end, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
		info.si_pid != 0;
}

/* @return false if the back-end was killed first. */
static bool
join(void)
{
	double end = now() + PATIENCE;

	while (front_connect(&front, socket_path) != 0) {
		if (killed)
			return false;
		if (is_dead() && !killed)
			die("the back-end", "did not start");
		if (now() > end)
			die("the back-end", "cannot be connected to");
		usleep(1000);
	}
	return negotiate();
}

static void
check_error(void)
{
	if (disk.error[0] != '\0')
		die("a check failed", disk.error);
}

/* Everything that is under way comes back. */
static void
wait_for_all(void)
{
	double end = now() + PATIENCE;
	unsigned int i;

	for (i = 0; i < disk.queue_count; i++)
		while (disk.queues[i].busy != 0) {
			crash_collect(&disk, &disk.queues[i]);
			check_error();
			if (now() > end)
				die("a request", "was lost: it does not come back");
		}
}

/* Load until the back-end is dead. */
static void
load(void)
{
	double progress = now();

	while (!killed) {
		unsigned int i, done = 0;

		for (i = 0; i < disk.queue_count; i++) {
			done += crash_collect(&disk, &disk.queues[i]);
			crash_submit(&disk, &disk.queues[i]);
		}
		check_error();
		if (done != 0)
			progress = now();
		else if (now() - progress > PATIENCE)
			die("requests", "do not come back");
	}
}

/* What the disk holds in the end. */
static void
read_back(void)
{
	uint32_t block;

	wait_for_all();
	for (block = 0; block < CRASH_BLOCKS; block++)
		if (!crash_read(&disk, &disk.queues[block % disk.queue_count], block)) {
			wait_for_all();
			block--;
		}
	wait_for_all();
}

/* With a signal that it may act upon it must end in order. */
static void
end(void)
{
	unsigned int i;
	int status;

	for (i = 0; i < disk.queue_count; i++)
		if (front_stop(&front, i, NULL) != 0)
			die("stop", front.error);
	front_close(&front);
	kill(back_end, SIGTERM);
	if (waitpid(back_end, &status, 0) < 0 || status != 0)
		die("the back-end", "did not end in order");
}

static void
usage(FILE *file)
{
	fputs("Usage: vhu-blk-crash [options] SOCKET COMMAND...\n"
		"Start COMMAND, a vhost-user-blk back-end at SOCKET with a disk of 4 MiB zeros,\n"
		"and kill it while it works. Exit status 0: nothing was lost or done twice.\n"
		"  --kills N       how often (10)\n"
		"  --queues N      1 to 4 (1)\n"
		"  --packed        packed rings\n"
		"  --seed N        of what is random (1)\n"
		"  --no-inflight   without the in-flight area: then it must fail\n"
		"Example: vhu-blk-crash --kills 100 /tmp/s vhu-blk --socket /tmp/s --file disk\n",
		file);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "kills", required_argument, NULL, 'k' }, { "packed", no_argument, NULL, 'p' },
		{ "queues", required_argument, NULL, 'q' },
		{ "seed", required_argument, NULL, 's' },
		{ "no-inflight", no_argument, NULL, 'n' }, { "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	unsigned int kills = 10, queues = 1, early = 0, i;
	uint64_t seed = 1;
	bool packed = false;
	int option;

	while ((option = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
		switch (option) {
		case 'k': kills = (unsigned int)atoi(optarg); break;
		case 'q': queues = (unsigned int)atoi(optarg); break;
		case 's': seed = strtoull(optarg, NULL, 0); break;
		case 'p': packed = true; break;
		case 'n': no_inflight = true; break;
		case 'h': usage(stdout); return 0;
		default: usage(stderr); return 2;
		}
	}
	if (argc - optind < 2 || queues == 0 || queues > CRASH_QUEUES_MAX) {
		usage(stderr);
		return 2;
	}
	socket_path = argv[optind];
	command = argv + optind + 1;
	front.socket = front.channel.socket = -1;
	if (!crash_disk_create(&disk, queues, packed, seed * UINT64_C(0x9e3779b97f4a7c15)))
		die("rings", "no memory");
	sigaction(SIGALRM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < kills; i++) {
		bool joined;

		spawn();
		/* Now and then before it has begun, or at once when it has. */
		if (crash_random(&disk) % 8 == 0)
			arm(1 + crash_random(&disk) % 30000);
		joined = join();
		if (joined)
			arm(1 + crash_random(&disk) % 60000);
		else
			early++;
		if (joined)
			load();
		bury();
		arm(0);
		front_close(&front);
	}
	spawn();
	if (!join())
		die("the last back-end", "was killed");
	read_back();
	end();
	printf("{\"kills\": %u, \"before_it_served\": %u, \"writes\": %" PRIu64 ", \"reads\": %"
		PRIu64 "}\n", kills, early, disk.writes, disk.reads);
	return 0;
}
