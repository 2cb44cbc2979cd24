/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_CTRL_OPTIONS_H
#define VHU_CTRL_OPTIONS_H

/**
 * @file
 * Options of a port: the check of what an application asks for. Pure functions, any thread.
 */

#include <vhu.h>

/** @return 0, or a negative errno with its sentence kept. */
int vhu_options_check(const struct vhu_port_options *options);
/**
 * The name a port gets: the option, or the last component of the path cut to fit, with
 * everything that a name may not contain replaced by '_'.
 */
void vhu_options_name(const struct vhu_port_options *options, char name[VHU_NAME_SIZE]);

#endif /* VHU_CTRL_OPTIONS_H */
