/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <string.h>

#include <vhu.h>

#include "net/queue.h"
#include "obs/error.h"

int
vhu_queue_stages(struct vhu_queue *queue, struct vhu_queue_stages *stages)
{
	memset(stages, 0, sizeof(*stages));
#if VHU_COUNT_STAGES
	for (unsigned int i = 0; i < VHU_STAGES; i++)
		stages->cycles[i] = atomic_load_explicit(&queue->stages.cycles[i],
			memory_order_relaxed);
	return 0;
#else
	(void)queue;
	return vhu_error(ENOTSUP, "this build does not count the cycles of stages: "
		"configure one with meson's option -Dstages=true");
#endif
}
