/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_TEST_PEER_H
#define VHU_TEST_PEER_H

/**
 * @file
 * The front-end's ends of what it gave away last: the back-end channel and a pipe for the device's
 * state. It reads, and answers requests that want it, sometimes with a failure.
 */

#include <stdbool.h>

struct peer {
	int channel; /**< -1: there is none */
	int pipe;
	bool writes; /**< the pipe's end is the one to write to */
	unsigned int answers;
};

void peer_init(struct peer *peer);
/** @return the back-end's end of a new channel. */
int peer_channel(struct peer *peer);
/** @return the back-end's end of a new pipe, of which we write (a little, at once) or read. */
int peer_pipe(struct peer *peer, bool writes);
/** Read what has come, answer what wants an answer. */
void peer_progress(struct peer *peer);
/** Close both: whoever waits for them waits no longer. */
void peer_leave(struct peer *peer);

#endif /* VHU_TEST_PEER_H */
