/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stdlib.h>

#include <rte_common.h>

#include "ctrl/fifo.h"

struct rte_ring *
vhu_fifo_new(const char *name, unsigned int element_size, unsigned int count)
{
	/* EXACT_SZ needs one slot more than fit, and a power of two. */
	ssize_t size = rte_ring_get_memsize_elem(element_size, rte_align32pow2(count + 1));
	struct rte_ring *fifo;

	if (size < 0)
		return NULL;
	fifo = aligned_alloc(
		RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL((size_t)size, RTE_CACHE_LINE_SIZE));
	if (fifo == NULL)
		return NULL;
	if (rte_ring_init(fifo, name, count,
			RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ) != 0) {
		free(fifo);
		return NULL;
	}
	return fifo;
}

void
vhu_fifo_free(struct rte_ring *fifo)
{
	free(fifo);
}
