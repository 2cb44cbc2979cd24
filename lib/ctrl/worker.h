/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_CTRL_WORKER_H
#define VHU_CTRL_WORKER_H

/**
 * @file
 * The worker: one thread for slow system calls (mmap, populate, munmap).
 *
 * Jobs go out and finished jobs come back over two rte_rings. Submitting never fails and never
 * waits: what exceeds the ring waits in a list on the control side, linked through the jobs
 * themselves. The number of jobs on their way is kept below the size of a ring, so the worker
 * always finds room for a result. Jobs run one at a time in the order of submission.
 */

#include "dev/device.h"
#include "sock/loop.h"

struct vhu_worker;

/**
 * @param loop  woken when a job is finished. @return NULL if out of memory, threads or descriptors.
 */
struct vhu_worker *vhu_worker_start(struct vhu_loop *loop);
/** Hand over a job. Under the control lock. */
void vhu_worker_submit(struct vhu_worker *worker, struct vhu_job *job);
/** Run done() of the finished jobs. Under the control lock. @return how many there were. */
unsigned int vhu_worker_collect(struct vhu_worker *worker);
/** End the thread and free. No job may be on its way. */
void vhu_worker_stop(struct vhu_worker *worker);

#endif /* VHU_CTRL_WORKER_H */
