/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_TEST_SESSION_H
#define VHU_TEST_SESSION_H

/**
 * @file
 * Sessions: a device with surroundings that watch it.
 *
 * The surroundings play socket, worker, lcores and guest, and abort when the device breaks a
 * promise: one truthful reply per message that wants one, events in their documented order, no
 * snapshot, map or descriptor used after it was given back, nothing left behind at the end.
 * Everything runs on one thread; an lcore "inside" a burst is one that entered and has not left.
 */

#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "dev/device.h"
#include "obs/log.h"
#include "peer.h"
#include "ring/chain.h"

#define SESSION_RINGS 8
#define SESSION_FILES 3

struct session_options {
	uint16_t ring_count;
	bool populate;
	bool late_work; /**< jobs run at session_progress() only */
	bool no_body;   /**< the highest ring finds no burst function */
	bool bare;      /**< only the operations that a device cannot do without */
	bool hasty;     /**< sometimes the connection breaks while a reply is sent */
	unsigned int failing_allocation; /**< the first, second ... fails; 0: none does */
};

/** What the events have told of a ring. */
struct session_ring {
	bool started;
	bool enabled;
	bool broken;
	int kick_fd; /**< as last told, -1: none */
	const struct vhu_snapshot *inside; /**< what the lcore got when it entered, NULL: outside */
};

struct session {
	struct session_options options;
	struct vhu_device *device;
	uint16_t ring_count;
	struct vhu_ring rings[SESSION_RINGS];
	struct vhu_ring *ring_pointers[SESSION_RINGS];
	struct session_ring told[SESSION_RINGS];
	struct vhu_executor executor;
	struct vhu_job *jobs;      /**< waiting, oldest first */
	struct vhu_grace_domain domain;
	struct vhu_loop *loop;
	struct peer peer;
	int files[SESSION_FILES];  /**< guest memory */
	unsigned int open_before;  /**< descriptors open before the session */
	bool connected;
	bool up;
	bool hang_up;
	/** disconnecting, the device has not said yet that it is over */
	bool leaving;
	unsigned int sent;         /**< replies of all connections */
	bool receiving;            /**< a message has not been answered */
	bool reply_wanted;
	uint32_t request;          /**< of that message */
	unsigned int replies;      /**< to it */
};

/** Create and connect a device. @return false if there was no memory for it: nothing to end. */
bool session_begin(struct session *session, const struct session_options *options);
/** Disconnect, free, and require that nothing is left. */
void session_end(struct session *session);

/** A descriptor of a kind chosen by @p kind: guest memory or something unsuitable. The caller's. */
int session_descriptor(struct session *session, uint8_t kind);

/** Give a message to the device once it is ready for one. Takes over the descriptors. */
void session_receive(struct session *session, struct vhu_message *message);
void session_disconnect(struct session *session);
void session_connect(struct session *session);

/** The guest writes into its memory. */
void session_write(struct session *session, uint8_t file, uint16_t offset, const void *bytes,
	uint8_t length);

/** An lcore bursts on a ring. */
void session_burst(struct session *session, uint16_t ring, uint16_t count);
/** It begins one and does not end it. */
void session_enter(struct session *session, uint16_t ring);
/** It ends the one it is in, after having used the snapshot that it got when it entered. */
void session_leave(struct session *session, uint16_t ring, uint16_t count);

/** Run the jobs and look at the grace periods. */
void session_progress(struct session *session);
/** Ask for all that can be asked. */
void session_look(struct session *session);

#endif /* VHU_TEST_SESSION_H */
