/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* The least that uses libvhost-user: a device comes and goes. Built against an installed library,
 * and with the library as a subproject.
 */

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libvhost-user.h>
#ifdef WITH_GLIB
#include <libvhost-user-glib.h>
#endif

static void
panic(VuDev *dev, const char *text)
{
	(void)dev;
	fprintf(stderr, "panic: %s\n", text);
	exit(1);
}

#ifdef WITH_GLIB
int
main(void)
{
	static const VuDevIface nothing;
	static VugDev device;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0 ||
	    !vug_init(&device, 1, ends[0], panic, &nothing))
		return 1;
	vug_deinit(&device);
	vu_deinit(&device.parent);
	puts("done with glib");
	return close(ends[1]);
}
#else
static void
set_watch(VuDev *dev, int fd, int condition, vu_watch_cb callback, void *data)
{
	(void)dev;
	(void)fd;
	(void)condition;
	(void)callback;
	(void)data;
}

static void
remove_watch(VuDev *dev, int fd)
{
	(void)dev;
	(void)fd;
}

int
main(void)
{
	static const VuDevIface nothing;
	static VuDev device;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0 ||
	    !vu_init(&device, 1, ends[0], panic, NULL, set_watch, remove_watch, &nothing))
		return 1;
	vu_deinit(&device);
	printf("done with %s\n", vu_request_to_string(VHOST_USER_SET_OWNER));
	return close(ends[1]);
}
#endif
