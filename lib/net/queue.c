/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <vhu_net.h>

#include "net/offload.h"
#include "net/queue.h"
#include "obs/error.h"
#include "ring/chain.h"

/* Smallest data room that makes sense: an Ethernet header and something behind it. */
#define ROOM_MIN 128

static int
open_wait(struct vhu_queue *queue)
{
	struct epoll_event event = { .events = EPOLLIN };

	queue->wait_epoll = epoll_create1(EPOLL_CLOEXEC);
	queue->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (queue->wait_epoll < 0 || queue->wake_fd < 0)
		return -errno;
	if (epoll_ctl(queue->wait_epoll, EPOLL_CTL_ADD, queue->wake_fd, &event) != 0)
		return -errno;
	return 0;
}

struct vhu_queue *
vhu_queue_new(struct vhu_port *port, uint16_t ring)
{
	struct vhu_queue *queue = aligned_alloc(64, sizeof(*queue));

	if (queue == NULL)
		return NULL;
	memset(queue, 0, sizeof(*queue));
	vhu_ring_init(&queue->ring);
	queue->port = port;
	queue->index = ring;
	queue->wait_epoll = -1;
	queue->wake_fd = -1;
	queue->kick_fd = -1;
	pthread_mutex_init(&queue->wait_lock, NULL);
	if (vhu_ring_receives(ring) && open_wait(queue) != 0) {
		vhu_queue_free(queue);
		return NULL;
	}
	return queue;
}

void
vhu_queue_free(struct vhu_queue *queue)
{
	if (queue == NULL)
		return;
	if (queue->wait_epoll >= 0)
		close(queue->wait_epoll);
	if (queue->wake_fd >= 0)
		close(queue->wake_fd);
	pthread_mutex_destroy(&queue->wait_lock);
	free(queue);
}

struct vhu_ring *
vhu_queue_ring(struct vhu_queue *queue)
{
	return &queue->ring;
}

struct vhu_port *
vhu_queue_port(const struct vhu_queue *queue)
{
	return queue->port;
}

uint16_t
vhu_queue_index(const struct vhu_queue *queue)
{
	return queue->index;
}

void
vhu_queue_set_kick(struct vhu_queue *queue, int kick_fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	if (queue->wait_epoll < 0)
		return;
	pthread_mutex_lock(&queue->wait_lock);
	if (queue->kick_fd >= 0)
		epoll_ctl(queue->wait_epoll, EPOLL_CTL_DEL, queue->kick_fd, NULL);
	/*
	 * One that epoll does not take (a regular file) cannot wake anybody; polling still works.
	 */
	queue->kick_fd = kick_fd >= 0 &&
			epoll_ctl(queue->wait_epoll, EPOLL_CTL_ADD, kick_fd, &event) == 0 ?
		kick_fd : -1;
	pthread_mutex_unlock(&queue->wait_lock);
	/* Whoever sleeps looks again: the ring may have started with frames in it. */
	eventfd_write(queue->wake_fd, 1);
}

int
vhu_rx_queue_setup(struct vhu_queue *queue, const struct vhu_rx_options *options)
{
	struct rte_mbuf armed;
	uint16_t data_room;

	if (queue == NULL || options == NULL)
		return vhu_error(EINVAL, "vhu_rx_queue_setup() needs a queue and options");
	if (!vhu_ring_receives(queue->index))
		return vhu_error(EINVAL, "ring %u transmits to the guest: only receive queues are "
			"set up", queue->index);
	if (options->mempool == NULL)
		return vhu_error(EINVAL, "receive queue of ring %u without a mempool: set "
			"vhu_rx_options.mempool", queue->index);
	data_room = rte_pktmbuf_data_room_size(options->mempool);
	if (data_room < RTE_PKTMBUF_HEADROOM + ROOM_MIN)
		return vhu_error(EINVAL, "mbufs with a data room of %u bytes: %u are needed, "
			"headroom included", data_room, RTE_PKTMBUF_HEADROOM + ROOM_MIN);
	memset(&armed, 0, sizeof(armed));
	armed.data_off = RTE_PKTMBUF_HEADROOM;
	armed.nb_segs = 1;
	armed.port = options->port_id;
	rte_mbuf_refcnt_set(&armed, 1);
	memcpy(&queue->rearm, &armed.rearm_data, sizeof(queue->rearm));
	queue->room = data_room - RTE_PKTMBUF_HEADROOM;
	queue->vlan_strip = options->vlan_strip;
	queue->tx_hints = options->tx_hints;
	queue->complete_checksum = options->complete_checksum;
	queue->pool = options->mempool;
	return 0;
}

/* The rest of a burst that has entered the queue, unless it says NULL. */
static inline uint16_t
burst_inside(struct vhu_ring *ring, struct rte_mbuf **packets, uint16_t count,
	const struct vhu_poll_view *view)
{
	const struct vhu_snapshot *snapshot = view == NULL ? vhu_reader_enter(&ring->reader) :
		(const struct vhu_snapshot *)view;
	uint16_t n = snapshot->burst(ring, snapshot, packets, count);

	vhu_reader_leave(&ring->reader);
	return n;
}

uint16_t
vhu_rx_burst_inside(struct vhu_queue *queue, struct rte_mbuf **packets, uint16_t count,
	const struct vhu_poll_view *view)
{
	uint16_t i, n = burst_inside(&queue->ring, packets, count, view);

	if (queue->vlan_strip)
		for (i = 0; i < n; i++)
			vhu_offload_strip_vlan(packets[i]);
	return n;
}

uint16_t
vhu_tx_burst_inside(struct vhu_queue *queue, struct rte_mbuf **packets, uint16_t count,
	const struct vhu_poll_view *view)
{
	return burst_inside(&queue->ring, packets, count, view);
}

/* Does the snapshot stand for a ring that may be touched? */
static bool
runs(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot)
{
	return snapshot != &vhu_snapshot_parked && !vhu_ring_is_broken(ring);
}

uint16_t
vhu_queue_count(struct vhu_queue *queue)
{
	const struct vhu_snapshot *snapshot = vhu_reader_enter(&queue->ring.reader);
	uint16_t count = 0;

	if (runs(&queue->ring, snapshot))
		count = vhu_ring_waiting(&queue->ring, snapshot);
	vhu_reader_leave(&queue->ring.reader);
	return count;
}

static int
refuse_transmit(const struct vhu_queue *queue)
{
	return vhu_error(EINVAL, "ring %u transmits to the guest: only receive queues wait",
		queue->index);
}

int
vhu_rx_queue_wait_fd(struct vhu_queue *queue)
{
	return vhu_ring_receives(queue->index) ? queue->wait_epoll : refuse_transmit(queue);
}

/* Take what has been signalled, without ever blocking on a descriptor that others share. */
static void
drain(int fd)
{
	struct pollfd readable = { .fd = fd, .events = POLLIN };
	uint64_t value;

	if (fd >= 0 && poll(&readable, 1, 0) == 1 && (readable.revents & POLLIN))
		if (read(fd, &value, sizeof(value)) < 0)
			return; /* somebody else was faster */
}

static void
drain_wait(struct vhu_queue *queue)
{
	pthread_mutex_lock(&queue->wait_lock);
	drain(queue->wake_fd);
	drain(queue->kick_fd);
	pthread_mutex_unlock(&queue->wait_lock);
}

/* Tell the guest whether kicks are wanted. @return 0, -EAGAIN or -ENOTCONN as wait_arm does. */
static int
want_kicks(struct vhu_queue *queue, bool wanted)
{
	const struct vhu_snapshot *snapshot = vhu_reader_enter(&queue->ring.reader);
	int result = -ENOTCONN;

	queue->ring.kick_wanted = wanted;
	if (runs(&queue->ring, snapshot))
		result = vhu_ring_want_kicks(&queue->ring, snapshot, wanted) ? -EAGAIN : 0;
	vhu_reader_leave(&queue->ring.reader);
	return result;
}

int
vhu_rx_queue_wait_arm(struct vhu_queue *queue)
{
	if (!vhu_ring_receives(queue->index))
		return refuse_transmit(queue);
	/* Before asking: what is signalled afterwards must wake. */
	drain_wait(queue);
	return want_kicks(queue, true);
}

int
vhu_rx_queue_wait_disarm(struct vhu_queue *queue)
{
	if (!vhu_ring_receives(queue->index))
		return refuse_transmit(queue);
	want_kicks(queue, false);
	drain_wait(queue);
	return 0;
}
