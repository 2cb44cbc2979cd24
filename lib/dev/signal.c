/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dev/device_private.h"

/*
 * Signalling the front-end's event descriptors without ever being blocked by it.
 *
 * The front-end shares the open file: it can make it blocking at any moment and fill the counter,
 * and a write() would sleep until somebody reads. The kernel itself never sleeps when it signals an
 * eventfd. So we let it: an asynchronous request that is complete at once (is the descriptor
 * readable or writable? it is always one of the two) signals the descriptor when it completes.
 */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static aio_context_t context; /* 0: this kernel has none for us */
static pid_t owner;

/* The beginning of the kernel's ring of completions, which is mapped at the context's address. */
struct completions {
	unsigned int id;
	unsigned int count;
	unsigned int head; /* ours: first that was not taken */
	unsigned int tail; /* the kernel's */
};

static void
open_context(void)
{
	owner = getpid();
	if (syscall(SYS_io_setup, 1, &context) != 0)
		context = 0;
}

/* Nobody asks how the requests ended: take all completions as seen. */
static void
forget_completions(void)
{
	struct completions *ring = (struct completions *)(uintptr_t)context;

	/* Partner: the kernel's, which looks at the head before it adds another. */
	__atomic_store_n(&ring->head, __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE),
		__ATOMIC_RELEASE);
}

/* @return false if there is no such way here. */
static bool
signal_by_kernel(int fd)
{
	struct iocb request = {
		.aio_lio_opcode = IOCB_CMD_POLL,
		.aio_fildes = (uint32_t)fd,
		.aio_buf = POLLIN | POLLOUT,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)fd,
	};
	struct iocb *requests[1] = { &request };
	long rc;

	pthread_once(&once, open_context);
	if (context == 0 || owner != getpid())
		return false;
	rc = syscall(SYS_io_submit, context, 1, requests);
	forget_completions();
	/* EINVAL: no eventfd. It would be the peer's mistake, and hearing nothing is its part. */
	return rc == 1 || errno != EAGAIN;
}

void
vhu_event_signal(int fd)
{
	static const uint64_t one = 1;
	struct pollfd state = { .fd = fd, .events = POLLOUT };
	ssize_t written;

	if (fd < 0 || signal_by_kernel(fd))
		return;
	/* The second best: look first. A full counter has been signalled already. */
	if (poll(&state, 1, 0) != 1 || !(state.revents & POLLOUT))
		return;
	written = write(fd, &one, sizeof(one));
	(void)written;
}
