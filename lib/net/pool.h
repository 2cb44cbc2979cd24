/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_POOL_H
#define VHU_NET_POOL_H

/**
 * @file
 * Mbufs from a pool and back to it.
 *
 * mempool's own functions handle any number and any state of the lcore's cache in line: a hundred
 * instructions or more before one mbuf is at hand. For a few mbufs the cache mostly holds enough,
 * or has room enough: that is a dozen. Included by body.c only.
 */

#include <rte_mempool.h>

#include "net/gather.h"

/* mempool counts and checks in builds for looking for faults: leave it all to it there. */
#if defined(RTE_LIBRTE_MEMPOOL_DEBUG) || defined(RTE_LIBRTE_MEMPOOL_STATS)
#define POOL_DIRECT false
#else
#define POOL_DIRECT true
#endif

/**
 * One mempool call for a run, in a function of its own: it is large, and there are many bursts.
 * @return false if there are fewer; then none is taken.
 */
VHU_PASS bool
pool_take(struct rte_mempool *pool, struct rte_mbuf **packets, unsigned int n)
{
	return rte_mempool_get_bulk(pool, (void **)packets, n) == 0;
}

/** Give back a run of plain mbufs of one pool. */
VHU_PASS void
pool_give(struct rte_mempool *pool, struct rte_mbuf **packets, unsigned int n)
{
	rte_mempool_put_bulk(pool, (void *const *)packets, n);
}

/** pool_take() for at most VHU_FEW. */
VHU_SPECIALISED bool
pool_take_few(struct rte_mempool *pool, struct rte_mbuf **packets, unsigned int n)
{
	struct rte_mempool_cache *cache = rte_mempool_default_cache(pool, rte_lcore_id());
	unsigned int i;

	if (__builtin_expect(!POOL_DIRECT || cache == NULL || cache->len < n, 0))
		return pool_take(pool, packets, n);
	cache->len -= n;
	for (i = 0; i < n; i++) {
		packets[i] = (struct rte_mbuf *)cache->objs[cache->len + i];
		VHU_ONE_BY_ONE();
	}
	return true;
}

/** pool_give() for at most VHU_FEW. */
VHU_SPECIALISED void
pool_give_few(struct rte_mempool *pool, struct rte_mbuf **packets, unsigned int n)
{
	struct rte_mempool_cache *cache = rte_mempool_default_cache(pool, rte_lcore_id());
	unsigned int i;

	if (__builtin_expect(!POOL_DIRECT || cache == NULL ||
			cache->len + n > cache->flushthresh, 0)) {
		pool_give(pool, packets, n);
		return;
	}
	for (i = 0; i < n; i++) {
		cache->objs[cache->len + i] = packets[i];
		VHU_ONE_BY_ONE();
	}
	cache->len += n;
}

#endif /* VHU_NET_POOL_H */
