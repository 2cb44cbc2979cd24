/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_DEV_CHANNEL_H
#define VHU_DEV_CHANNEL_H

/**
 * @file
 * The back-end channel: requests of ours to the front-end, on the socket that SET_BACKEND_REQ_FD
 * brings.
 *
 * Requests go out in the order in which they were given. At most one that is to be answered is
 * under way, so that answers cannot be mixed up; one that is not answered may follow it at once.
 * Nothing here ever waits: a front-end that is busy, perhaps with waiting for our reply on the main
 * socket, finds the request when it looks. So a handler may send here, but must not let the answer
 * of its message depend on the answer to its request: the front-end may not look before.
 *
 * A request ends exactly once: answered, timed out, or lost with the channel (replaced, closed by
 * either side, disconnected). A late answer to one that timed out is recognised and dropped. What
 * comes unasked or malformed closes the channel: nothing that follows could be trusted.
 */

#include <stdbool.h>
#include <stdint.h>

#include "mem/iotlb.h"
#include "sock/stream.h"

struct vhu_device;
struct vhu_channel_request;

/** Most requests of a device that are under way or wait, calls of rings not counted. */
#define VHU_CHANNEL_REQUESTS 64
/** Time that a request has until it is answered, unless the device is configured otherwise. */
#define VHU_CHANNEL_TIMEOUT_MS 5000

/**
 * How a request ended. Control thread; may send the next one.
 * @param result  0: sent, or answered with 0 if an answer was wanted; -EREMOTEIO: answered with
 *   something else; -ETIMEDOUT; -ECONNRESET: the front-end closed the channel or broke its rules;
 *   -ECANCELED: replaced or disconnected.
 * @param reply   the answer, or NULL; its descriptors are closed afterwards unless taken.
 */
typedef void (*vhu_channel_done)(struct vhu_device *device, void *argument, int result,
	struct vhu_message *reply);

/** The channel of one device; all is private to channel.c. */
struct vhu_channel {
	struct vhu_device *device;
	struct vhu_stream *stream;           /**< NULL: there is none */
	struct vhu_timer timer;              /**< to the first deadline */
	STAILQ_HEAD(vhu_channel_queue, vhu_channel_request) queue; /**< not sent yet */
	struct vhu_channel_request *unanswered; /**< sent, the answer is due; or NULL */
	unsigned int count;                  /**< both together */
	bool pumping;
};

void vhu_channel_init(struct vhu_channel *channel, struct vhu_device *device);
/** Is there a channel? */
bool vhu_channel_open(const struct vhu_channel *channel);
/**
 * Use this socket from now on; requests on the former one end with -ECANCELED.
 * Takes over the descriptor. @return 0 or -errno (the former channel stands).
 */
int vhu_channel_replace(struct vhu_channel *channel, int fd);
/** Close it; requests end with @p result. The device may be gone afterwards, if it is leaving. */
void vhu_channel_close(struct vhu_channel *channel, int result);

/**
 * Send a request.
 * @param message     begun with vhu_backend_request_init(); its descriptors are taken over, also on
 *   failure.
 * @param need_reply  wait for the answer. Where the front-end would send none (REPLY_ACK was not
 *   negotiated) the request ends as soon as it is sent.
 * @param done        called exactly once if 0 is returned, maybe before that; NULL: nobody asks.
 * @return 0, -ENOTCONN (no channel), -EOPNOTSUPP (a feature that it needs was not negotiated),
 *   -EINVAL (not a valid message), -ENOBUFS (too many wait), -ENOMEM.
 */
int vhu_channel_send(struct vhu_device *device, struct vhu_message *message, bool need_reply,
	vhu_channel_done done, void *argument);

/** End requests with this argument that have not been sent yet with -ECANCELED. */
void vhu_channel_withdraw(struct vhu_channel *channel, void *argument);

/**
 * Ask for the translation of @p iova (BACKEND_IOTLB_MSG, a miss). It comes as an IOTLB_MSG on the
 * main socket, or never. @return as vhu_channel_send().
 */
int vhu_device_ask_translation(struct vhu_device *device, uint64_t iova, enum vhu_access access);

#endif /* VHU_DEV_CHANNEL_H */
