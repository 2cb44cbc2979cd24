/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_CTRL_EVENTS_H
#define VHU_CTRL_EVENTS_H

/**
 * @file
 * Events of ports: one bounded ring per port, filled by the control side in order.
 *
 * With a callback the control loop itself drains the ring at the end of each step, without the
 * lock; otherwise the application does. Either way an event that finds the ring full is counted,
 * and OVERFLOW takes the first place that becomes free.
 */

#include "ctrl/port.h"

/** @return 0 or -ENOMEM. */
int vhu_events_init(struct vhu_port *port);
void vhu_events_free(struct vhu_port *port);
/** Tell an event, and DEVICE_UP or DEVICE_DOWN if it makes the difference. Lock held. */
void vhu_events_tell(struct vhu_port *port, enum vhu_event_type type, uint16_t ring,
	uint64_t value);
/** Tell OVERFLOW if events were lost. Lock held. @return false: there is no room yet. */
bool vhu_events_tell_overflow(struct vhu_port *port);
/** Run the callbacks of all ports that wait for it. Lock held, released around each callback. */
void vhu_events_deliver(struct vhu_control *control);

#endif /* VHU_CTRL_EVENTS_H */
