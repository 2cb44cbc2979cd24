/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef QEMU_SOCKETS_H
#define QEMU_SOCKETS_H

#include <qapi/error.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/** Listen on a path. @return a descriptor, or -1. */
static inline int
unix_listen(const char *path, Error **error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)error;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	unlink(path);
	if (fd >= 0 && (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
			listen(fd, 1) != 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

#endif
