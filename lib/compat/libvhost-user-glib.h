/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef LIBVHOST_USER_GLIB_H
#define LIBVHOST_USER_GLIB_H

/**
 * @file
 * libvhost-user in a glib main loop.
 *
 * vug_init() watches the connection and every kick descriptor as sources of the thread's default
 * main context. All calls from the thread that runs that context.
 */

#include <glib.h>

#include <libvhost-user.h>

G_BEGIN_DECLS

/** A device in a main loop. The program allocates it; vug_init() fills it. */
typedef struct VugDev {
	VuDev parent;
	GHashTable *fdmap; /**< sources by descriptor */
	GSource *src;      /**< of the connection */
} VugDev;

/**
 * As vu_init(), with the watches of glib.
 * @param dev         memory of the caller, overwritten.
 * @param max_queues, socket, panic, iface  as for vu_init().
 * @return false if out of memory.
 */
bool vug_init(VugDev *dev, uint16_t max_queues, int socket, vu_panic_cb panic,
	const VuDevIface *iface);

/**
 * Remove all sources. Neither closes the socket nor calls vu_deinit(), which may be called before
 * or after.
 * @param dev  after vug_init(); a second call does nothing.
 */
void vug_deinit(VugDev *dev);

/**
 * Watch another descriptor.
 * @param dev   after vug_init().
 * @param fd    open as long as the source; stays the caller's.
 * @param cond  what it is watched for.
 * @param cb    gets the device, the conditions and @p data.
 * @param data  anything.
 * @return the source with a reference of the caller, for vug_source_destroy().
 */
GSource *vug_source_new(VugDev *dev, int fd, GIOCondition cond, vu_watch_cb cb, gpointer data);

/**
 * Remove a source and drop the reference.
 * @param src  of vug_source_new(); NULL is allowed.
 */
void vug_source_destroy(GSource *src);

G_END_DECLS

#endif /* LIBVHOST_USER_GLIB_H */
