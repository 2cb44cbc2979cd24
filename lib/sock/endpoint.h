/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_SOCK_ENDPOINT_H
#define VHU_SOCK_ENDPOINT_H

/**
 * @file
 * Endpoints: a socket path that yields connections, in either role.
 *
 * A server listens; a client connects and tries again with growing pauses. Both give one connection
 * at a time to their owner: after config.connected the endpoint rests until vhu_endpoint_resume()
 * says that the connection is gone (a further front-end that connects to a server meanwhile waits
 * in the backlog).
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "sock/loop.h"

struct vhu_endpoint;

struct vhu_endpoint_config {
	const char *path;
	bool client;
	uint32_t mode;          /**< permission bits of a listening socket; 0: leave */
	int64_t uid, gid;       /**< -1: leave */
	uint32_t reconnect_min_ms, reconnect_max_ms;
	/** A connected socket: the callee owns it. */
	void (*connected)(void *owner, int fd);
	void *owner;
	const char *name;       /**< for the log */
};

/**
 * Begin. A server whose path exists first connects to it: if somebody answers, -EADDRINUSE; if it
 * is a socket that nobody serves, it is unlinked; if it is anything else, -EEXIST. A client's first
 * attempt is made at the next step of the loop; that nobody listens yet is no error.
 * @param error  receives one sentence on failure; @p size bytes.
 * @return 0 or -errno.
 */
int vhu_endpoint_open(struct vhu_loop *loop, const struct vhu_endpoint_config *config,
	struct vhu_endpoint **endpoint, char *error, size_t size);
/** The connection is gone: accept or connect again (a client: after the shortest pause). */
void vhu_endpoint_resume(struct vhu_endpoint *endpoint);
/** Stop; a server unlinks its path if it is still its own. */
void vhu_endpoint_close(struct vhu_endpoint *endpoint);

#endif /* VHU_SOCK_ENDPOINT_H */
