/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef FRONT_PRIVATE_H
#define FRONT_PRIVATE_H

/**
 * @file
 * What the files of the front-end share: messages on a socket.
 */

#include <stddef.h>
#include <stdint.h>

#include "wire/spec.h"

/** Longest wait for a peer, seconds. */
#define FRONT_PATIENCE 10

/** Send header and payload, with descriptors. @return 0 or a negative errno. */
int front_send_message(int socket, uint32_t request, uint32_t flags, const void *payload,
	size_t size, const int *fds, unsigned int fd_count);

/**
 * Receive one message of at most @p room bytes of payload; a descriptor goes to @p fd (may be
 * NULL: closed). @return the bytes of its payload, or a negative errno.
 */
int front_receive_message(int socket, struct vhu_wire_header *header, void *payload, size_t room,
	int *fd);

#endif /* FRONT_PRIVATE_H */
