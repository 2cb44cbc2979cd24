/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "compat/libvhost-user-glib.h"

G_STATIC_ASSERT((int)G_IO_IN == (int)VU_WATCH_IN);
G_STATIC_ASSERT((int)G_IO_OUT == (int)VU_WATCH_OUT);
G_STATIC_ASSERT((int)G_IO_PRI == (int)VU_WATCH_PRI);
G_STATIC_ASSERT((int)G_IO_ERR == (int)VU_WATCH_ERR);
G_STATIC_ASSERT((int)G_IO_HUP == (int)VU_WATCH_HUP);

/* A source that waits for one descriptor. */
struct fd_source {
	GSource source;
	VugDev *dev;
	gpointer tag;      /* of the descriptor in the source */
	vu_watch_cb callback;
	gpointer data;
};

static gboolean
dispatch(GSource *source, GSourceFunc unused, gpointer unused_data)
{
	struct fd_source *s = (struct fd_source *)source;
	GIOCondition found = g_source_query_unix_fd(source, s->tag);

	(void)unused;
	(void)unused_data;
	s->callback(&s->dev->parent, (int)found, s->data);
	return G_SOURCE_CONTINUE;
}

/* Without prepare and check glib looks at the descriptor alone. */
static GSourceFuncs functions = { .dispatch = dispatch };

GSource *
vug_source_new(VugDev *dev, int fd, GIOCondition cond, vu_watch_cb cb, gpointer data)
{
	GSource *source;
	struct fd_source *s;

	g_assert(dev != NULL && fd >= 0 && cb != NULL);
	source = g_source_new(&functions, sizeof(*s));
	s = (struct fd_source *)source;
	s->dev = dev;
	s->callback = cb;
	s->data = data;
	s->tag = g_source_add_unix_fd(source, fd, cond);
	g_source_attach(source, g_main_context_get_thread_default());
	return source;
}

void
vug_source_destroy(GSource *src)
{
	if (src == NULL)
		return;
	g_source_destroy(src);
	g_source_unref(src);
}

static void
set_watch(VuDev *dev, int fd, int condition, vu_watch_cb cb, void *data)
{
	VugDev *gdev = (VugDev *)dev;

	/* Takes the place of a source that was there, which is destroyed. */
	if (gdev->fdmap != NULL)
		g_hash_table_replace(gdev->fdmap, GINT_TO_POINTER(fd),
			vug_source_new(gdev, fd, (GIOCondition)condition, cb, data));
}

static void
remove_watch(VuDev *dev, int fd)
{
	VugDev *gdev = (VugDev *)dev;

	/* vug_deinit() may have come first. */
	if (gdev->fdmap != NULL)
		g_hash_table_remove(gdev->fdmap, GINT_TO_POINTER(fd));
}

static void
socket_ready(VuDev *dev, int condition, void *data)
{
	VugDev *gdev = (VugDev *)dev;

	(void)condition;
	(void)data;
	if (vu_dispatch(dev))
		return;
	/* It would be ready for ever: nothing can be read from it any more. */
	vug_source_destroy(gdev->src);
	gdev->src = NULL;
	dev->panic(dev, "the connection to the front-end is over");
}

bool
vug_init(VugDev *dev, uint16_t max_queues, int socket, vu_panic_cb panic, const VuDevIface *iface)
{
	G_STATIC_ASSERT(G_STRUCT_OFFSET(VugDev, parent) == 0);
	dev->fdmap = NULL;
	dev->src = NULL;
	if (!vu_init(&dev->parent, max_queues, socket, panic, NULL, set_watch, remove_watch, iface))
		return false;
	dev->fdmap = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)vug_source_destroy);
	dev->src = vug_source_new(dev, socket, G_IO_IN, socket_ready, NULL);
	return true;
}

void
vug_deinit(VugDev *dev)
{
	if (dev->fdmap != NULL)
		g_hash_table_unref(dev->fdmap);
	dev->fdmap = NULL;
	vug_source_destroy(dev->src);
	dev->src = NULL;
}
