/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_EVENT_H
#define VHU_EVENT_H

/**
 * @file
 * Events: what happens to a port, told in order.
 *
 * The control thread produces the events of a port in the order in which the changes took effect:
 *
 *  - CONNECTED is the first of a connection and DISCONNECTED its last;
 *  - FEATURES comes before the first RING_STARTED that runs with them;
 *  - RING_STARTED comes before RING_STOPPED of the same ring, and they alternate; RING_ENABLED and
 *    RING_DISABLED alternate; RING_BROKEN comes at most once between a start and a stop;
 *  - DEVICE_UP follows the event that made the first queue pair run, DEVICE_DOWN the one that
 *    stopped the last; they alternate;
 *  - ANNOUNCE comes once for each SEND_RARP taken; the frame is in a receive burst soon;
 *  - when a ring event is seen, lcores already behave accordingly: after RING_STOPPED or
 *    RING_DISABLED nothing of the guest is read or written on behalf of that ring.
 *
 * If the ring of events is full the newest are lost and one OVERFLOW is told as soon as there is
 * room: read the state again with vhu_port_info() and vhu_queue_info().
 */

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vhu_port;

enum vhu_event_type {
	VHU_EVENT_CONNECTED = 0,
	VHU_EVENT_DISCONNECTED,
	VHU_EVENT_FEATURES,      /**< value: accepted virtio feature bits */
	VHU_EVENT_MEMORY,        /**< value: regions mapped now */
	VHU_EVENT_MTU,           /**< value: bytes */
	VHU_EVENT_DEVICE_UP,
	VHU_EVENT_DEVICE_DOWN,
	VHU_EVENT_RING_STARTED,  /**< value: descriptors */
	VHU_EVENT_RING_STOPPED,  /**< value: next available entry */
	VHU_EVENT_RING_ENABLED,
	VHU_EVENT_RING_DISABLED,
	VHU_EVENT_RING_BROKEN,   /**< value: enum vhu_broken; the log has the sentence */
	VHU_EVENT_REFUSED,       /**< a malformed message; value: its request number */
	/** a guest moved here, the network is told; value: its address, first byte lowest */
	VHU_EVENT_ANNOUNCE,
	VHU_EVENT_STATUS,        /**< value: virtio status byte (4: DRIVER_OK, 8: FEATURES_OK) */
	/** the driver set something on the control queue; value: last class << 8 | command */
	VHU_EVENT_CONTROL,
	VHU_EVENT_OVERFLOW,      /**< events were lost before this one; value: how many */
	VHU_EVENT_TYPES          /**< not an event: how many types there are */
};

/** One thing that happened. */
struct vhu_event {
	enum vhu_event_type type;
	uint16_t ring;     /**< vhost-user ring index for RING_* events, otherwise UINT16_MAX */
	uint64_t value;    /**< see the type */
	uint64_t sequence; /**< counts the events of the port from 1 */
};

/** See vhu_port_options.on_event. */
typedef void (*vhu_event_callback)(
	struct vhu_port *port, const struct vhu_event *event, void *data);

/** Name of an event type, e.g. "ring started". Static text. */
const char *vhu_event_name(enum vhu_event_type type);

#ifdef __cplusplus
}
#endif
#endif /* VHU_EVENT_H */
