/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_QUEUE_H
#define VHU_NET_QUEUE_H

/**
 * @file
 * Queues: a ring and what bursts of frames need beside it.
 *
 * The first lines are the ring's own and change with every burst; the options of a receive queue
 * follow on a line that is written at set-up only.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "net/announce.h"
#include "net/histogram.h"
#include "net/net.h"
#include "net/stage.h"

struct vhu_queue {
	struct vhu_ring ring;        /* first: bursts get the ring and need the queue */

	/* Set-up writes, while no lcore bursts; lcores read. */
	struct rte_mempool *pool __attribute__((aligned(64)));
	uint64_t rearm;              /* mbuf's rearm_data: data_off, refcnt 1, one segment, port */
	uint32_t room;               /* frame bytes that fit into one mbuf */
	bool vlan_strip;
	bool tx_hints;
	bool complete_checksum;

	struct vhu_announcements announcements;
	struct vhu_histograms histograms;
#if VHU_COUNT_STAGES
	struct vhu_stage_clock stages;
#endif

	/* Written at creation. */
	struct vhu_port *port;
	uint16_t index;              /* vhost-user ring index */

	/* Waiting for kicks; slow path only, guarded by the mutex. */
	pthread_mutex_t wait_lock;
	int wait_epoll;              /* what the application waits on: kick_fd and wake_fd */
	int wake_fd;                 /* readable after the kick descriptor changed */
	int kick_fd;                 /* borrowed from the device; -1: none */
};

/** The queue around a ring. */
static inline struct vhu_queue *
vhu_queue_of(struct vhu_ring *ring)
{
	return (struct vhu_queue *)ring;
}

/** A ring index that receives from the guest (the guest's transmitq). */
static inline bool
vhu_ring_receives(uint16_t index)
{
	return index & 1;
}

#endif /* VHU_NET_QUEUE_H */
