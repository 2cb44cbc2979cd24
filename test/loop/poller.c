/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * vhu-poller: echo the frames of port 0, whatever driver is behind it, and keep book (book.h) of
 * how long each call took and how long frames had to wait.
 */

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include "book.h"
#include "clock.h"
#include "ending.h"

#define BURST 32
#define MBUFS 16384
/* How old what the kernel said may become. */
#define REFRESH_US 200

/* What the kernel has counted of a thread, and when it was asked. */
struct kernel {
	uint64_t when;              /* ticks */
	uint64_t idle;              /* ticks without the thread running, from some beginning */
	long faults;
};

struct poller {
	struct book *book;
	struct book_interval *now;  /* where to write */
	double ticks_per_us;
	uint64_t long_ticks;        /* BOOK_LONG_US */
	uint64_t refresh_ticks;     /* REFRESH_US */
	uint64_t received;          /* as book->published */
	uint64_t since;             /* begin of the gap */
	uint64_t end;               /* of the last call */
	struct kernel kernel;
	uint64_t stolen;            /* ticks of this gap that somebody else ran */
	bool faulted;               /* in this gap */
	uint64_t slice_longest;     /* gap since things began, or ceased, to be changed */
};

/*
 * The thread's own time stands still while another thread has the core and, where the kernel is
 * told of it, while the hypervisor has.
 */
static struct kernel
ask_kernel(const struct poller *poller)
{
	struct kernel now;
	struct timespec own;
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &own);
	now.when = front_ticks();
	now.idle = now.when - (uint64_t)(((double)own.tv_sec * 1e6 + (double)own.tv_nsec / 1e3) *
		poller->ticks_per_us);
	now.faults = usage.ru_minflt + usage.ru_majflt;
	return now;
}

static void
count_long(struct long_ones *ones, uint64_t stolen, bool faulted, uint64_t ticks)
{
	uint64_t own = ticks > stolen ? ticks - stolen : 0;

	if (stolen > ticks / 2) {
		ones->stolen++;
		return;
	}
	if (faulted)
		ones->faulted++;
	else
		ones->other++;
	if (own > ones->longest)
		ones->longest = own;
}

/* A call, or what is between two of them, took long: ask why. */
static void
explain(struct poller *poller, uint64_t ticks)
{
	struct kernel now = ask_kernel(poller);
	/* The two clocks are not read at once: it may go back a little. */
	int64_t idle = (int64_t)(now.idle - poller->kernel.idle);
	uint64_t stolen = idle > 0 ? (uint64_t)idle : 0;
	bool faulted = now.faults != poller->kernel.faults;

	if (stolen > ticks)
		stolen = ticks;
	poller->now->faults += (uint64_t)(now.faults - poller->kernel.faults);
	poller->stolen += stolen;
	poller->faulted |= faulted;
	poller->kernel = now;
	count_long(&poller->now->calls, stolen, faulted, ticks);
}

/* A call has ended. */
static void
book_call(struct poller *poller, struct times *times, uint64_t begin, uint64_t end)
{
	time_add(times, end - begin);
	/* From the end of the call before: what happened between the two counts, too. */
	if (end - poller->end > poller->long_ticks) {
		explain(poller, end - poller->end);
		/* What the asking took is nobody's. */
		poller->since += poller->kernel.when - end;
		end = poller->kernel.when;
	}
	poller->end = end;
}

static void
begin_gap(struct poller *poller, uint64_t when)
{
	poller->since = when;
	poller->stolen = 0;
	poller->faulted = false;
}

static void
book_gap(struct poller *poller)
{
	uint64_t gap = poller->end - poller->since;
	uint64_t own = gap > poller->stolen ? gap - poller->stolen : 0;

	time_add(&poller->now->gaps, gap);
	time_add(&poller->now->own_gaps, own);
	if (gap > poller->long_ticks)
		count_long(&poller->now->gaps_by_cause, poller->stolen, poller->faulted, gap);
	if (own > poller->slice_longest)
		poller->slice_longest = own;
	begin_gap(poller, poller->end);
}

/* The next run begins: an empty page. */
static void
turn_page(struct poller *poller, uint64_t published)
{
	memset(poller->book->intervals, 0, sizeof(poller->book->intervals));
	poller->book->slice_count = 0;
	poller->received = published >> BOOK_RUN_SHIFT << BOOK_RUN_SHIFT;
	poller->kernel = ask_kernel(poller);
	poller->slice_longest = 0;
}

/* A slice is over. */
static void
end_slice(struct poller *poller)
{
	struct book *book = poller->book;

	if (book->slice_count < BOOK_SLICES)
		book->slices[book->slice_count++] = (struct book_slice){
			.interval = (uint64_t)(poller->now - book->intervals),
			.longest = poller->slice_longest,
		};
	poller->slice_longest = 0;
}

/* Where to write from now on: the thread of vhu-churn says. */
static void
choose_interval(struct poller *poller)
{
	struct book_interval *wanted = &poller->book->intervals[
		__atomic_load_n(&poller->book->interval, __ATOMIC_RELAXED) % INTERVALS];

	if (wanted == poller->now)
		return;
	end_slice(poller);
	poller->now = wanted;
}

/* What is stolen in short calls is asked for soon, so that it is not taken for a long one's. */
static void
refresh_kernel(struct poller *poller)
{
	struct kernel now;

	if (poller->end - poller->kernel.when < poller->refresh_ticks)
		return;
	now = ask_kernel(poller);
	poller->now->faults += (uint64_t)(now.faults - poller->kernel.faults);
	poller->kernel = now;
	poller->since += now.when - poller->end;
	poller->end = now.when;
}

static void
poll_once(struct poller *poller)
{
	struct rte_mbuf *frames[BURST];
	uint64_t published = __atomic_load_n(&poller->book->published, __ATOMIC_ACQUIRE);
	uint64_t begin, end;
	uint16_t count, sent;

	refresh_kernel(poller);
	begin = front_ticks();
	count = rte_eth_rx_burst(0, 0, frames, BURST);
	end = front_ticks();
	choose_interval(poller);
	if (published >> BOOK_RUN_SHIFT != poller->received >> BOOK_RUN_SHIFT)
		turn_page(poller, published);
	if (count == 0 && published > poller->received)
		poller->now->refused++;
	else if (count == 0)
		begin_gap(poller, begin);
	book_call(poller, count > 0 ? &poller->now->receive : &poller->now->empty, begin, end);
	if (count > 0) {
		begin = front_ticks();
		sent = rte_eth_tx_burst(0, 0, frames, count);
		book_call(poller, &poller->now->send, begin, front_ticks());
		rte_pktmbuf_free_bulk(frames + sent, count - sent);
		poller->now->unsent += (uint64_t)(count - sent);
		poller->received += count;
		book_gap(poller);
	}
}

static int
poll_loop(void *argument)
{
	struct poller *poller = argument;

	poller->book->core = (uint32_t)sched_getcpu();
	poller->now = &poller->book->intervals[BEGINNING];
	poller->kernel = ask_kernel(poller);
	poller->end = front_ticks();
	begin_gap(poller, poller->end);
	__atomic_store_n(&poller->book->ready, 1, __ATOMIC_RELEASE);
	while (!stopping)
		poll_once(poller);
	return 0;
}

static void
set_up_port(void)
{
	const struct rte_eth_conf conf = { 0 };
	struct rte_mempool *pool = rte_pktmbuf_pool_create("poller", MBUFS, 256, 0,
		RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);

	must(pool == NULL ? -ENOMEM : 0, "making mbufs");
	must(rte_eth_dev_configure(0, 1, 1, &conf), "configuring port 0");
	must(rte_eth_rx_queue_setup(0, 0, 512, SOCKET_ID_ANY, NULL, pool), "receive queue");
	must(rte_eth_tx_queue_setup(0, 0, 512, SOCKET_ID_ANY, NULL), "transmit queue");
	must(rte_eth_dev_start(0), "starting port 0");
}

static struct book *
make_book(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	void *book;

	must(fd < 0 || ftruncate(fd, sizeof(struct book)) != 0 ? -errno : 0, "making the book");
	book = mmap(NULL, sizeof(struct book), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		fd, 0);
	must(book == MAP_FAILED ? -errno : 0, "mapping the book");
	close(fd);
	return book;
}

int
main(int argc, char **argv)
{
	static struct poller poller;
	unsigned int lcore;
	sigset_t endings;
	int words;

	/* Before there are other threads: they leave signals to this one. */
	sigemptyset(&endings);
	sigaddset(&endings, SIGTERM);
	sigaddset(&endings, SIGINT);
	sigprocmask(SIG_BLOCK, &endings, NULL);
	words = rte_eal_init(argc, argv);
	must(words, "EAL");
	if (argc - words != 2) {
		fprintf(stderr, "usage: vhu-poller EAL-OPTIONS --vdev DRIVER0,iface=PATH -- BOOK\n"
			"One worker lcore polls port 0; BOOK is the file that vhu-churn --book "
			"names\n");
		return EXIT_FAILURE;
	}
	poller.book = make_book(argv[words + 1]);
	poller.ticks_per_us = front_ticks_per_us();
	poller.refresh_ticks = (uint64_t)(REFRESH_US * poller.ticks_per_us);
	poller.long_ticks = (uint64_t)(BOOK_LONG_US * poller.ticks_per_us);
	set_up_port();
	lcore = rte_get_next_lcore(-1, 1, 0);
	must(rte_eal_remote_launch(poll_loop, &poller, lcore), "starting the lcore");
	printf("ready\n");
	fflush(stdout);
	/* Waiting for an lcore is spinning, and the driver of the rings needs this core. */
	sigwait(&endings, &(int){ 0 });
	stop(0);
	rte_eal_mp_wait_lcore();
	must(rte_eth_dev_stop(0), "stopping port 0");
	must(rte_eth_dev_close(0), "closing port 0");
	return rte_eal_cleanup() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
