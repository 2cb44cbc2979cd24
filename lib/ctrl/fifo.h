/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_CTRL_FIFO_H
#define VHU_CTRL_FIFO_H

/**
 * @file
 * Fifos: single-producer single-consumer rte_rings in ordinary memory.
 *
 * rte_ring_create() would take a memzone and a process-wide name for each; a port needs neither,
 * and a process may have hundreds of ports.
 */

/*
 * The variant of rte_ring with C11 atomics: as fast with one producer and one consumer, and a
 * thread sanitizer understands it. Nobody may have included the other one before.
 */
#if defined(_RTE_RING_H_) && !defined(RTE_USE_C11_MEM_MODEL)
#error "include ctrl/fifo.h before rte_ring.h"
#endif
#ifndef RTE_USE_C11_MEM_MODEL
#define RTE_USE_C11_MEM_MODEL
#endif
#include <rte_ring.h>
#include <rte_ring_elem.h>

/**
 * @param element_size  bytes, a multiple of 4.
 * @param count         how many fit.
 * @return NULL if out of memory. Freed with vhu_fifo_free().
 */
struct rte_ring *vhu_fifo_new(const char *name, unsigned int element_size, unsigned int count);
void vhu_fifo_free(struct rte_ring *fifo);

#endif /* VHU_CTRL_FIFO_H */
