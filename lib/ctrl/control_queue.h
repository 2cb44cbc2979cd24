/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_CTRL_CONTROL_QUEUE_H
#define VHU_CTRL_CONTROL_QUEUE_H

/**
 * @file
 * The control queue's ring, served by the control thread.
 *
 * It lies behind the last pair the driver may use: ring 2N of N pairs with MQ or RSS, ring 2
 * without (virtio 1.3, section 5.1.2). So with several pairs but without MQ a ring that belongs to
 * a queue of the application is the control queue; lcores find a burst function there that moves
 * nothing. The control thread publishes and retires snapshots itself, so it may use the current
 * one without marking a section. A kick wakes it; besides, it looks once a step.
 */

#include "ctrl/port.h"

/** Ring of the control queue as negotiated; UINT16_MAX: there is none. */
uint16_t vhu_control_queue_ring(const struct vhu_port *port);
/** For ops->specialise of that ring. */
void vhu_control_queue_specialise(struct vhu_snapshot *snapshot);
/** For ops->kick_changed. */
void vhu_control_queue_kick(struct vhu_port *port, uint16_t ring, int kick_fd);
/** Features were acknowledged. */
void vhu_control_queue_features(struct vhu_port *port, uint64_t features);
/** The driver begins anew: forget what was asked for. */
void vhu_control_queue_reset(struct vhu_port *port);
/** What a driver asked for on another host was loaded: the first begin does not forget it. */
void vhu_control_queue_restored(struct vhu_port *port);
/** Serve what waits. @return true if there is a control queue: look again in the next step. */
bool vhu_control_queue_serve(struct vhu_port *port);

#endif /* VHU_CTRL_CONTROL_QUEUE_H */
