/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_CTRL_THREAD_H
#define VHU_CTRL_THREAD_H

/**
 * @file
 * EAL control threads (they keep off the lcores' processors), whichever way this DPDK makes them.
 */

#include <stdint.h>

#include <rte_lcore.h>
#include <rte_thread.h>
#include <rte_version.h>

#if RTE_VERSION >= RTE_VERSION_NUM(23, 11, 0, 0)
typedef rte_thread_t vhu_thread;
typedef uint32_t vhu_thread_result;
#else
#include <pthread.h>
typedef pthread_t vhu_thread;
typedef void *vhu_thread_result;
#endif

typedef vhu_thread_result (*vhu_thread_main)(void *argument);

/** @param name at most 15 characters. @return 0 or a negative errno. */
static inline int
vhu_thread_start(vhu_thread *thread, const char *name, vhu_thread_main run, void *argument)
{
#if RTE_VERSION >= RTE_VERSION_NUM(23, 11, 0, 0)
	return rte_thread_create_control(thread, name, run, argument);
#else
	return rte_ctrl_thread_create(thread, name, NULL, run, argument);
#endif
}

static inline void
vhu_thread_join(vhu_thread thread)
{
#if RTE_VERSION >= RTE_VERSION_NUM(23, 11, 0, 0)
	rte_thread_join(thread, NULL);
#else
	pthread_join(thread, NULL);
#endif
}

#endif /* VHU_CTRL_THREAD_H */
