/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_CTRL_STATE_H
#define VHU_CTRL_STATE_H

/**
 * @file
 * What of a port can be written by the front-end or moves with the guest to another host: the
 * writable part of the configuration space, the device state, and what a reset forgets.
 *
 * All are operations of a device (dev/device.h); the owner is the port.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** @return -EPERM: the driver may write nothing; -EINVAL: another host had another device. */
int vhu_state_set_config(void *owner, uint32_t offset, const void *data, uint32_t size,
	bool migration);
int vhu_state_save(void *owner, uint8_t **bytes, size_t *size);
/** @return 0, -EINVAL (not a state of a port), -ENOTSUP (of a version that we do not know). */
int vhu_state_load(void *owner, const uint8_t *bytes, size_t size);
void vhu_state_reset(void *owner);

#endif /* VHU_CTRL_STATE_H */
