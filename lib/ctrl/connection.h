/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_CTRL_CONNECTION_H
#define VHU_CTRL_CONNECTION_H

/**
 * @file
 * Connections: what ties endpoint, stream and device of a port together.
 *
 * Streams and devices call back from the middle of their own work, where ending the connection
 * would pull the ground from under them. So whatever ends one only marks the port, and the end of
 * the step attends to it.
 */

#include "ctrl/port.h"

/** What a port's device is to ask of it; its owner is the port. */
extern const struct vhu_device_ops vhu_connection_device_ops;

/** For vhu_endpoint_config.connected; the owner is the port. */
void vhu_connection_begin(void *owner, int fd);
/** Let the end of this step look at the port. */
void vhu_connection_need_attention(struct vhu_port *port);
/** Look at the ports that need it. */
void vhu_connection_attend(struct vhu_control *control);
/** Send the calls that lcores left to the control thread, in all ports. */
void vhu_connection_check_calls(struct vhu_control *control);
/** Look for rings that lcores broke, in all ports. */
void vhu_connection_check_broken(struct vhu_control *control);
/**
 * Close the stream, if there is one, and let the device wind down; the link is IDLE afterwards or
 * later.
 */
void vhu_connection_end(struct vhu_port *port);

/** Look for translations that lcores miss, in all ports. */
void vhu_connection_check_missing(struct vhu_control *control);
/** Let every device do what it does now and then. */
void vhu_connection_tick(struct vhu_control *control);

#endif /* VHU_CTRL_CONNECTION_H */
