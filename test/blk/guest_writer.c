/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Runs in a guest: writes every block of the front of a disk in an order that jumps about, with
 * several threads, then reads them all and compares. Blocks are stamped with number and round.
 * With two arguments it reads so many bytes once: unlike busybox's dd, which quietly reads through
 * the page cache when the kernel refuses a direct read of less than a block.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 16384u
#define THREADS_MAX 16

static int fd;
static uint64_t blocks, seed;
static unsigned int threads;

static void
stamp(uint64_t *words, uint64_t block)
{
	unsigned int i;

	for (i = 0; i < BLOCK / 8; i += 2) {
		words[i] = block;
		words[i + 1] = seed;
	}
}

static _Noreturn void
die(const char *what, uint64_t block)
{
	printf("%s of block %llu: %s\n", what, (unsigned long long)block, strerror(errno));
	exit(1);
}

static void *
work(void *argument)
{
	uint64_t mine = (uintptr_t)argument, i;
	uint64_t *data, *expected = malloc(BLOCK);

	if (expected == NULL || posix_memalign((void **)&data, 4096, BLOCK) != 0)
		die("memory", 0);
	/* The number of blocks is a power of two: an odd factor goes through all of them. */
	for (i = mine; i < blocks; i += threads) {
		uint64_t block = (i * 40503 + seed) % blocks;

		stamp(data, block);
		if (pwrite(fd, data, BLOCK, (off_t)(block * BLOCK)) != BLOCK)
			die("write", block);
	}
	for (i = mine; i < blocks; i += threads) {
		uint64_t block = (i * 40503 + seed) % blocks;

		stamp(expected, block);
		if (pread(fd, data, BLOCK, (off_t)(block * BLOCK)) != BLOCK)
			die("read", block);
		if (memcmp(data, expected, BLOCK) != 0)
			die("contents", block);
	}
	return NULL;
}

/* Exit status: 0 read, 1 refused as no multiple of the block size, 2 anything else. */
static int
read_once(const char *path, size_t size)
{
	void *data;

	fd = open(path, O_RDONLY | O_DIRECT);
	if (fd < 0 || posix_memalign(&data, 4096, size) != 0)
		return 2;
	if (pread(fd, data, size, 0) == (ssize_t)size)
		return 0;
	return errno == EINVAL ? 1 : 2;
}

int
main(int argc, char **argv)
{
	pthread_t ids[THREADS_MAX];
	uint64_t rounds, end;
	unsigned int i;

	if (argc == 3)
		return read_once(argv[1], strtoull(argv[2], NULL, 0));
	if (argc != 5) {
		puts("usage: guest_writer DEVICE MIB THREADS ROUNDS (MIB: a power of two), or\n"
		     "       guest_writer DEVICE BYTES");
		return 2;
	}
	fd = open(argv[1], O_RDWR | O_DIRECT);
	if (fd < 0)
		die("opening", 0);
	blocks = strtoull(argv[2], NULL, 0) * (1048576 / BLOCK);
	threads = (unsigned int)atoi(argv[3]);
	rounds = strtoull(argv[4], NULL, 0);
	if (threads == 0 || threads > THREADS_MAX || (blocks & (blocks - 1)) != 0)
		return 2;
	/* Rounds go on until there is a file: 0. */
	for (seed = 1, end = rounds; end == 0 ? access("/tmp/stop", F_OK) != 0 : seed <= end;
	     seed++) {
		for (i = 0; i < threads; i++)
			if (pthread_create(&ids[i], NULL, work, (void *)(uintptr_t)i) != 0)
				die("thread", i);
		for (i = 0; i < threads; i++)
			pthread_join(ids[i], NULL);
	}
	if (fsync(fd) != 0)
		die("flush", 0);
	printf("%llu rounds\n", (unsigned long long)(seed - 1));
	return 0;
}
