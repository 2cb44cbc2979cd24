/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_CTRL_LOG_H
#define VHU_CTRL_LOG_H

/**
 * @file
 * The engine's log lines, handed to rte_log as type "lib.vhu" (notice and above unless the
 * application asks for more, e.g. --log-level=lib.vhu:info).
 */

/** Install the sink. Idempotent. */
void vhu_log_to_rte(void);

#endif /* VHU_CTRL_LOG_H */
