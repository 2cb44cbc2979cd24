/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_CTRL_TELEMETRY_H
#define VHU_CTRL_TELEMETRY_H

/**
 * @file
 * Telemetry: /vhu/list, /vhu/port, /vhu/rings, /vhu/memory and /vhu/stats of dpdk-telemetry.py.
 *
 * The handlers run on the telemetry thread and stay registered (DPDK cannot take them back);
 * without ports they answer that there are none. An answer is limited to 16 KiB by DPDK, so long
 * lists are given in parts: the parameter after the name says where to begin.
 */

/** Register the commands. Idempotent; lock held. */
void vhu_telemetry_register(void);

#endif /* VHU_CTRL_TELEMETRY_H */
