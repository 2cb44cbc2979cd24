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
 * instructions or more before one mbuf is at hand, and they hand pointers over one by one, last
 * first. Mostly the cache holds enough, or has room enough: then a few mbufs cost a dozen
 * instructions, and a run is copied by whole registers, which spares each mbuf of a run three.
 * Included by body.c only.
 */

#include <rte_mempool.h>

#include "net/gather.h"

/* mempool counts and checks in builds for looking for faults: leave it all to it there. */
#if defined(RTE_LIBRTE_MEMPOOL_DEBUG) || defined(RTE_LIBRTE_MEMPOOL_STATS)
#define POOL_DIRECT false
#else
#define POOL_DIRECT true
#endif

/** The lcore's cache if @p n mbufs can be taken from it, otherwise NULL. */
static inline struct rte_mempool_cache *
pool_cache_with(struct rte_mempool *pool, unsigned int n)
{
	struct rte_mempool_cache *cache = rte_mempool_default_cache(pool, rte_lcore_id());

	return __builtin_expect(POOL_DIRECT && cache != NULL && cache->len >= n, 1) ? cache : NULL;
}

/** The lcore's cache if it has room for @p n mbufs, otherwise NULL. */
static inline struct rte_mempool_cache *
pool_cache_for(struct rte_mempool *pool, unsigned int n)
{
	struct rte_mempool_cache *cache = rte_mempool_default_cache(pool, rte_lcore_id());

	return __builtin_expect(POOL_DIRECT && cache != NULL &&
		cache->len + n <= cache->flushthresh, 1) ? cache : NULL;
}

/**
 * A run of mbufs, in a function of its own: it is large, and there are many bursts.
 * @return false if there are fewer; then none is taken.
 */
VHU_PASS bool
pool_take(struct rte_mempool *pool, struct rte_mbuf **packets, unsigned int n)
{
	struct rte_mempool_cache *cache = pool_cache_with(pool, n);

	if (cache == NULL)
		return rte_mempool_get_bulk(pool, (void **)packets, n) == 0;
	cache->len -= n;
	vhu_copy((uint8_t *)packets, (const uint8_t *)&cache->objs[cache->len],
		n * sizeof(packets[0]));
	return true;
}

/** Give back a run of plain mbufs of one pool. */
VHU_PASS void
pool_give(struct rte_mempool *pool, struct rte_mbuf **packets, unsigned int n)
{
	struct rte_mempool_cache *cache = pool_cache_for(pool, n);

	if (cache == NULL) {
		rte_mempool_put_bulk(pool, (void *const *)packets, n);
		return;
	}
	vhu_copy((uint8_t *)&cache->objs[cache->len], (const uint8_t *)packets,
		n * sizeof(packets[0]));
	cache->len += n;
}

/** pool_take() for at most VHU_FEW. */
VHU_SPECIALISED bool
pool_take_few(struct rte_mempool *pool, struct rte_mbuf **packets, unsigned int n)
{
	struct rte_mempool_cache *cache = pool_cache_with(pool, n);
	unsigned int i;

	if (cache == NULL)
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
	struct rte_mempool_cache *cache = pool_cache_for(pool, n);
	unsigned int i;

	if (cache == NULL) {
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
