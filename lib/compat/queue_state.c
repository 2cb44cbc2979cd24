/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "compat/private.h"

/* What a program may ask about a queue without taking anything from it. */

VuVirtq *
vu_get_queue(VuDev *dev, int qidx)
{
	return qidx >= 0 && qidx < dev->max_queues ? &dev->vq[qidx] : NULL;
}

bool
vu_queue_enabled(VuDev *dev, VuVirtq *vq)
{
	(void)dev;
	return __atomic_load_n(&vq->enable, __ATOMIC_RELAXED) != 0;
}

bool
vu_queue_started(const VuDev *dev, const VuVirtq *vq)
{
	(void)dev;
	return __atomic_load_n(&vq->started, __ATOMIC_RELAXED);
}

bool
vu_queue_empty(VuDev *dev, VuVirtq *vq)
{
	struct vu_queue *queue = vq->own;
	const struct vhu_snapshot *snapshot = vu_queue_enter(queue);
	bool waiting;

	(void)dev;
	if (snapshot == NULL)
		return true;
	waiting = vhu_elements_waiting(&queue->elements, snapshot);
	vu_queue_leave(queue);
	return !waiting;
}

void
vu_queue_set_notification(VuDev *dev, VuVirtq *vq, int enable)
{
	struct vu_queue *queue = vq->own;
	bool later;
	const struct vhu_snapshot *snapshot = vu_queue_enter_or_owe(queue,
		(struct vu_owed){ VU_OWED_WISH, .number = enable != 0 }, &later);

	(void)dev;
	if (later)
		vq->notification = enable != 0;
	if (snapshot == NULL)
		return;
	vq->notification = enable != 0;
	vhu_elements_want_kicks(&queue->elements, snapshot, enable != 0);
	vu_queue_leave(queue);
}

static unsigned int
saturate(uint64_t bytes)
{
	return bytes < UINT32_MAX ? (unsigned int)bytes : UINT32_MAX;
}

void
vu_queue_get_avail_bytes(VuDev *vdev, VuVirtq *vq, unsigned int *in_bytes,
	unsigned int *out_bytes, unsigned int max_in_bytes, unsigned int max_out_bytes)
{
	struct vu_queue *queue = vq->own;
	const struct vhu_snapshot *snapshot = vu_queue_enter(queue);
	uint64_t readable = 0, writable = 0;

	(void)vdev;
	if (snapshot != NULL) {
		vhu_elements_sum(&queue->elements, snapshot, queue->scratch, &readable, &writable,
			max_out_bytes, max_in_bytes);
		vu_queue_leave(queue);
	}
	if (in_bytes != NULL)
		*in_bytes = saturate(writable);
	if (out_bytes != NULL)
		*out_bytes = saturate(readable);
}

bool
vu_queue_avail_bytes(VuDev *dev, VuVirtq *vq, unsigned int in_bytes, unsigned int out_bytes)
{
	unsigned int in, out;

	vu_queue_get_avail_bytes(dev, vq, &in, &out, in_bytes, out_bytes);
	return in_bytes <= in && out_bytes <= out;
}
