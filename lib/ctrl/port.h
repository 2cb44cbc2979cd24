/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_CTRL_PORT_H
#define VHU_CTRL_PORT_H

/**
 * @file
 * Ports, from the inside: what belongs to one socket and the device behind it.
 *
 * A port's link to its front-end goes round: IDLE (the endpoint listens or tries to connect),
 * CONNECTED (a stream feeds the device), LEAVING (the stream is gone or condemned, the device winds
 * down), IDLE again.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/queue.h>

#include <vhu.h>

#include "ctrl/commands.h"
#include "ctrl/control.h"
#include "dev/device.h"
#include "net/net.h"
#include "net/steer.h"
#include "sock/endpoint.h"
#include "sock/stream.h"

struct rte_ring;

enum vhu_link {
	VHU_LINK_IDLE,
	VHU_LINK_CONNECTED,
	VHU_LINK_LEAVING,
};

/**
 * The ring that delivers announcements: its pair is the one that every driver uses. The application
 * forwards what it receives, from whichever queue.
 */
#define VHU_ANNOUNCING_RING 1
/** Most rings of a port. */
#define VHU_PORT_RINGS (2 * VHU_MAX_QUEUE_PAIRS)

/** Bits of vhu_port.told. */
#define VHU_TOLD_STARTED 0x1u
#define VHU_TOLD_ENABLED 0x2u
#define VHU_TOLD_BROKEN  0x4u
/** The one combination in which packets may move. */
#define VHU_TOLD_RUNNING (VHU_TOLD_STARTED | VHU_TOLD_ENABLED)

/** Under the control lock, except where another rule is given. */
struct vhu_port {
	struct vhu_control *control;
	TAILQ_ENTRY(vhu_port) ports_link, attention_link, deliveries_link;
	bool in_attention, in_deliveries;

	/** Since creation, never changed. */
	char name[VHU_NAME_SIZE];
	char path[VHU_PATH_SIZE];
	struct vhu_port_options options; /**< name and path point to the copies */
	uint64_t features_offered;
	uint16_t ring_count;
	struct vhu_queue **queues;       /**< ring_count */
	struct vhu_ring **rings;         /**< ring_count, inside the queues */
	struct vhu_queue_stats *counted; /**< ring_count: counters at the last reset */
	struct vhu_queue_histograms *histograms_before; /**< ring_count: the same of these */

	struct vhu_endpoint *endpoint;
	struct vhu_stream *stream;       /**< NULL once the connection is lost */
	struct vhu_device *device;
	enum vhu_link link;
	bool condemned;                  /**< hang up at the end of this step */
	char lost[VHU_REASON_SIZE];      /**< why the connection ended */
	uint64_t connections;
	uint16_t mtu;
	/** Control queue: what the driver asked for, the same for lcores, and the kick's watch. */
	struct vhu_wishes wishes;
	bool wishes_restored;            /**< loaded, and the control queue has not begun since */
	bool link_down;                  /**< the application's choice: the status word */
	struct vhu_steer steer;          /**< lcores read it; see net/steer.h */
	struct vhu_watch control_kick;
	uint16_t control_kick_ring;
	int32_t control_told;            /**< last command obeyed and not told yet, or -1 */
	uint64_t control_commands;       /**< since creation */
	uint64_t control_obeyed;         /**< of those */

	bool histograms;                 /**< snapshots keep them */
	bool announcing;                 /**< announcements wait, or the snapshot looks for them */
	uint64_t announcements;          /**< taken so far */
	uint64_t announcements_lost;     /**< of those, forgotten with their connection */

	/**
	 * Events: the control side enqueues under the lock; dequeued by one thread, see events.h.
	 */
	struct rte_ring *events;
	uint64_t sequence;               /**< of the last event */
	_Atomic(uint64_t) events_lost;   /**< control: writes; the thread that drains: looks */
	/** VHU_TOLD_*: state of each ring according to its events */
	uint8_t told[VHU_PORT_RINGS];
	uint16_t pairs_running;
	/**
	 * The application gave the port up: no callback any more. Set under the lock, read without.
	 */
	atomic_bool detached;
	bool free_after_delivery;        /**< destroyed in its own callback */
};

/** The port with this name, or NULL. Lock held. */
struct vhu_port *vhu_port_find(struct vhu_control *control, const char *name);
/** Free what is quiet, detached and not being delivered. Lock held. */
void vhu_port_free(struct vhu_port *port);
/** Fill in @p info; lock held. */
void vhu_port_describe(struct vhu_port *port, struct vhu_port_info *info);
/** Counters of a ring since creation: what the application resets goes on here. Lock held. */
void vhu_port_ring_counted(const struct vhu_port *port, uint16_t ring,
	struct vhu_queue_stats *stats);
/** Counters of a ring since the last reset; lock held. */
void vhu_port_ring_stats(struct vhu_port *port, uint16_t ring, struct vhu_queue_stats *stats);
/** Histograms of a ring since the last reset; lock held. */
void vhu_port_ring_histograms(const struct vhu_port *port, uint16_t ring,
	struct vhu_queue_histograms *histograms);
/** Count from here; lock held. */
void vhu_port_ring_histograms_reset(struct vhu_port *port, uint16_t ring);

#endif /* VHU_CTRL_PORT_H */
