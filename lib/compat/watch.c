/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "compat/private.h"

/* The program's loop found the kick descriptor readable. */
static void
kicked(VuDev *dev, int condition, void *data)
{
	int index = (int)(intptr_t)data;
	VuVirtq *vq = &dev->vq[index];
	uint64_t value;
	ssize_t got;

	(void)condition;
	/* Kicks may be watched by another thread than the one that dispatches. */
	if (pthread_equal(dev->own->thread, pthread_self()))
		vu_kept_release(dev->own);
	if (vq->kick_fd < 0)
		return;
	/* An eventfd gives its count; what stands in for one gives some bytes. */
	got = read(vq->kick_fd, &value, sizeof(value));
	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
		vu_panic(dev, "the kick descriptor of queue %d failed: %s", index,
			got == 0 ? "closed by the other side" : strerror(errno));
		dev->remove_watch(dev, vq->kick_fd);
		vq->own->watched = false;
		return;
	}
	/* Somebody else was faster, or nothing was there: no reason to give up. */
	if (got < 0)
		return;
	if (vq->handler != NULL)
		vq->handler(dev, index);
}

void
vu_watch_update(struct vu_queue *queue)
{
	VuVirtq *vq = vu_public(queue);
	VuDev *dev = queue->dev;
	bool wanted = vq->kick_fd >= 0 && vq->handler != NULL;

	if (wanted && !queue->watched) {
		queue->watched = true;
		dev->set_watch(dev, vq->kick_fd, VU_WATCH_IN, kicked,
			(void *)(intptr_t)queue->index);
	} else if (!wanted && queue->watched) {
		queue->watched = false;
		dev->remove_watch(dev, vq->kick_fd);
	}
}

void
vu_watch_kick(struct vu_queue *queue, int fd)
{
	VuVirtq *vq = vu_public(queue);

	/* The engine closes the old one when we return: nobody may watch it then. */
	if (queue->watched) {
		queue->watched = false;
		queue->dev->remove_watch(queue->dev, vq->kick_fd);
	}
	vq->kick_fd = fd;
}

void
vu_set_queue_handler(VuDev *dev, VuVirtq *vq, vu_queue_handler_cb handler)
{
	(void)dev;
	vq->handler = handler;
	vu_watch_update(vq->own);
}
