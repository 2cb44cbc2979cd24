/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <rte_common.h>
#include <rte_log.h>

#include "ctrl/log.h"
#include "obs/log.h"

RTE_LOG_REGISTER(vhu_log_type, lib.vhu, NOTICE);

static void
write_line(enum vhu_log_level level, const char *line)
{
	static const uint32_t levels[] = {
		[VHU_LOG_ERROR] = RTE_LOG_ERR,
		[VHU_LOG_WARNING] = RTE_LOG_WARNING,
		[VHU_LOG_NOTICE] = RTE_LOG_NOTICE,
		[VHU_LOG_INFO] = RTE_LOG_INFO,
		[VHU_LOG_DEBUG] = RTE_LOG_DEBUG,
	};

	rte_log(levels[level], vhu_log_type, "VHU: %s\n", line);
}

void
vhu_log_to_rte(void)
{
	vhu_log_set_sink(write_line);
}
