/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sock/listener.h"

/* Longest path that fits, with its terminator, into an address. */
#define PATH_LENGTH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)
/* Front-ends that may wait for their turn: a server serves one at a time. */
#define BACKLOG 16
/* Times that the path may be taken again between our clearing and our using it. */
#define BIND_ATTEMPTS 3

/* Where failures are told. */
struct complaint {
	char *text;
	size_t size;
};

static int __attribute__((format(printf, 3, 4)))
complain(const struct complaint *complaint, int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(complaint->text, complaint->size, format, arguments);
	va_end(arguments);
	return -error;
}

int
vhu_socket_path_check(const char *path, char *error, size_t size)
{
	const struct complaint complaint = { error, size };
	size_t length = path == NULL ? 0 : strlen(path);

	if (length == 0)
		return complain(&complaint, EINVAL,
			"socket path is empty; give the path of a UNIX domain socket");
	if (length > PATH_LENGTH_MAX)
		return complain(&complaint, ENAMETOOLONG,
			"socket path '%s' is %zu bytes, at most %zu are allowed; "
			"choose a shorter path", path, length, PATH_LENGTH_MAX);
	return 0;
}

static int
new_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static void
fill_address(struct sockaddr_un *address, const char *path)
{
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	/* vhu_socket_path_check() has seen the path: it fits. */
	memcpy(address->sun_path, path, strnlen(path, PATH_LENGTH_MAX));
}

int
vhu_socket_connect(const char *path)
{
	struct sockaddr_un address;
	int fd = new_socket();
	int error;

	if (fd < 0)
		return fd;
	fill_address(&address, path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	error = errno;
	close(fd);
	return -error;
}

/*
 * The identity of what a path names now.
 * @return a descriptor that pins the file (its inode number cannot go to another), or -errno.
 */
static int
pin(const char *path, struct stat *status)
{
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int error;

	if (fd >= 0 && fstat(fd, status) == 0)
		return fd;
	error = errno;
	if (fd >= 0)
		close(fd);
	return -error;
}

static bool
same_file(const struct stat *a, dev_t device, ino_t inode)
{
	return a->st_dev == device && a->st_ino == inode;
}

/*
 * Take a left-over out of the way. Another process may have put its own socket there since we
 * looked, and a plain unlink would silence it; so the file is moved first, looked at again, and put
 * back if it is not the one.
 */
static int
remove_stale(const char *path, const struct stat *stale, const struct complaint *complaint)
{
	char aside[PATH_MAX];
	struct stat moved;

	snprintf(aside, sizeof(aside), "%s.stale.%d", path, (int)getpid());
	if (rename(path, aside) != 0)
		return errno == ENOENT ? 0 : complain(complaint, errno,
			"cannot remove '%s', which nobody serves: %s; "
			"remove it or choose another path", path, strerror(errno));
	if (lstat(aside, &moved) == 0 && !same_file(&moved, stale->st_dev, stale->st_ino)) {
		/* link(): never over a third one's socket. If there is one, it has won. */
		if (link(aside, path) != 0 && errno != EEXIST)
			rename(aside, path);
	}
	unlink(aside);
	return 0;
}

/* Somebody's file is where we want to listen. @return 0 if it is gone now, or -errno. */
static int
clear_pinned(const char *path, const struct stat *found, const struct complaint *complaint)
{
	int fd;

	if (!S_ISSOCK(found->st_mode))
		return complain(complaint, EEXIST,
			"'%s' exists and is not a socket; remove it or choose another path", path);
	fd = vhu_socket_connect(path);
	if (fd == -ENOENT)
		return 0;
	if (fd == -ECONNREFUSED)
		return remove_stale(path, found, complaint);
	if (fd >= 0)
		close(fd);
	/* EAGAIN: its backlog is full. EPROTOTYPE: it is served, as another type of socket. */
	if (fd >= 0 || fd == -EAGAIN || fd == -EPROTOTYPE)
		return complain(complaint, EADDRINUSE,
			"a process is already serving '%s'; stop it or choose another path", path);
	return complain(complaint, -fd,
		"cannot find out whether a process serves '%s': %s; "
		"remove it or choose another path", path, strerror(-fd));
}

static int
clear_path(const char *path, const struct complaint *complaint)
{
	struct stat found;
	int status;
	int fd = pin(path, &found);

	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return complain(complaint, -fd, "cannot look at '%s': %s; choose another path",
			path, strerror(-fd));
	status = clear_pinned(path, &found, complaint);
	close(fd);
	return status;
}

static int
bind_path(int fd, const char *path, const struct complaint *complaint)
{
	struct sockaddr_un address;
	unsigned int attempt;
	int status;

	fill_address(&address, path);
	for (attempt = 0; attempt < BIND_ATTEMPTS; attempt++) {
		if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
			return 0;
		if (errno == ENOENT)
			return complain(complaint, ENOENT,
				"the folder of '%s' does not exist; "
				"create it or choose another path", path);
		if (errno != EADDRINUSE)
			return complain(complaint, errno,
				"cannot create '%s': %s; choose another path", path,
				strerror(errno));
		status = clear_path(path, complaint);
		if (status != 0)
			return status;
	}
	return complain(complaint, EADDRINUSE,
		"another process takes '%s' again and again; stop it or choose another path",
		path);
}

/* Owner and mode of a path that has just been bound. */
static int
dress_path(const struct vhu_endpoint_config *config, const struct complaint *complaint)
{
	uid_t uid = config->uid < 0 ? (uid_t)-1 : (uid_t)config->uid;
	gid_t gid = config->gid < 0 ? (gid_t)-1 : (gid_t)config->gid;

	if ((config->uid >= 0 || config->gid >= 0) && lchown(config->path, uid, gid) != 0)
		return complain(complaint, errno,
			"cannot give '%s' to user %lld, group %lld: %s; -1 leaves them",
			config->path, (long long)config->uid, (long long)config->gid,
			strerror(errno));
	/* After the owner: a change of owner may clear bits. */
	if (config->mode != 0 && chmod(config->path, config->mode) != 0)
		return complain(complaint, errno,
			"cannot set mode %o of '%s': %s; 0 leaves it",
			config->mode, config->path, strerror(errno));
	return 0;
}

static int
listen_on(int fd, const struct vhu_endpoint_config *config, struct vhu_socket_identity *identity,
	const struct complaint *complaint)
{
	struct stat made;
	int status;

	/*
	 * The kernel gives the path the mode of the socket, less the umask. Without this it would
	 * be wider than asked for until the chmod below.
	 */
	if (config->mode != 0)
		fchmod(fd, config->mode);
	status = bind_path(fd, config->path, complaint);
	if (status != 0)
		return status;
	/*
	 * Between bind and listen the path refuses connections as a left-over does; another server
	 * that looks in just this moment takes it from us. Nothing closes that gap; it is short.
	 */
	if (listen(fd, BACKLOG) != 0)
		status = complain(complaint, errno, "cannot listen on '%s': %s", config->path,
			strerror(errno));
	if (lstat(config->path, &made) != 0)
		return complain(complaint, errno, "'%s' was removed while it was being made: %s",
			config->path, strerror(errno));
	identity->device = made.st_dev;
	identity->inode = made.st_ino;
	if (status == 0)
		status = dress_path(config, complaint);
	if (status != 0)
		vhu_socket_unlink(config->path, identity);
	return status;
}

int
vhu_socket_listen(const struct vhu_endpoint_config *config, struct vhu_socket_identity *identity,
	char *error, size_t size)
{
	const struct complaint complaint = { error, size };
	int status = vhu_socket_path_check(config->path, error, size);
	int fd;

	if (status != 0)
		return status;
	fd = new_socket();
	if (fd < 0)
		return complain(&complaint, -fd, "cannot make a socket for '%s': %s", config->path,
			strerror(-fd));
	status = listen_on(fd, config, identity, &complaint);
	if (status != 0) {
		close(fd);
		return status;
	}
	return fd;
}

void
vhu_socket_unlink(const char *path, const struct vhu_socket_identity *identity)
{
	struct stat now;

	if (lstat(path, &now) == 0 && same_file(&now, identity->device, identity->inode))
		unlink(path);
}
