/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_SOCK_LISTENER_H
#define VHU_SOCK_LISTENER_H

/**
 * @file
 * Socket paths: listen on one without taking it from a process that still serves it, connect to
 * one, give one back.
 *
 * A path outlives the process that made it, so a restarted server finds its predecessor's. Only a
 * connection attempt tells a left-over from a socket in use. No state; any thread; nothing waits.
 */

#include <stddef.h>
#include <sys/types.h>

#include "sock/endpoint.h"

/** Which file a path was when we made it: nothing else is ever unlinked. */
struct vhu_socket_identity {
	dev_t device;
	ino_t inode;
};

/** Does @p path fit into a socket address? @return 0, or -errno and a sentence in @p error. */
int vhu_socket_path_check(const char *path, char *error, size_t size);

/**
 * Listen on config->path with the owner and mode it asks for; a socket that nobody serves is
 * replaced.
 * @return the listening socket (non-blocking, close-on-exec), or -errno and a sentence in @p error.
 */
int vhu_socket_listen(const struct vhu_endpoint_config *config,
	struct vhu_socket_identity *identity, char *error, size_t size);

/** Connect without waiting. @return the socket (non-blocking, close-on-exec) or -errno. */
int vhu_socket_connect(const char *path);

/** Remove @p path if it is still the file that @p identity says. */
void vhu_socket_unlink(const char *path, const struct vhu_socket_identity *identity);

#endif /* VHU_SOCK_LISTENER_H */
