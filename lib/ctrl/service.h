/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_CTRL_SERVICE_H
#define VHU_CTRL_SERVICE_H

/**
 * @file
 * Who runs the control loop: a service core if the application has any, otherwise a control thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "ctrl/thread.h"

struct vhu_control;

/** Written by whoever starts and stops; the service function owns next_step. */
struct vhu_service {
	bool is_service;         /**< a service core, otherwise the thread */
	bool lcore_started;      /**< we started the service core */
	uint32_t id;             /**< of the rte_service */
	uint32_t lcore;          /**< that it is mapped to */
	uint64_t next_step;      /**< TSC before which the service function does nothing */
	uint64_t interval;       /**< TSC cycles between two steps */
	vhu_thread thread;
};

/** Begin to run the loop. @return 0 or a negative errno with its sentence kept. */
int vhu_service_start(struct vhu_control *control);
/** End it; returns when the loop runs no more. Not from the loop itself, not with the lock held. */
void vhu_service_stop(struct vhu_control *control);

#endif /* VHU_CTRL_SERVICE_H */
