/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * A driver that changes descriptors while the device looks at them: whatever it reads, each field
 * counts once, so that every chain that is found makes sense in itself.
 */

#include <pthread.h>
#include <stdatomic.h>

#define SIZE 16 /* descriptors of the rings; ring_rig.h makes its fixtures for it */
#include "ring_rig.h"

#define LOOKS 300000

static _Atomic(bool) done;

/* Good and bad values by turns, in every field of every descriptor. */
static void *
flip(void *unused)
{
	static const uint64_t addresses[] = { RIG_DATA, RIG_HIGH - 8, RIG_TABLE, RIG_END - 4,
		UINT64_MAX - 3 };
	static const uint32_t lengths[] = { 16, 32, 64, 0, UINT32_MAX };
	static const uint16_t flags[] = { 0, RIG_W, RIG_N, RIG_N | RIG_W, RIG_I };
	bool packed = rig_packed();
	unsigned int i = 0;

	(void)unused;
	while (!atomic_load_explicit(&done, memory_order_relaxed)) {
		uint8_t *d = (uint8_t *)rig_host(i % 3 ? RIG_DESCRIPTORS : RIG_TABLE) +
			i % SIZE * 16;
		uint16_t flag = flags[i % 7 % 5];

		if (packed && i % 3)
			flag |= VHU_PACKED_AVAIL;
		__atomic_store_n((uint64_t *)d, addresses[i / 3 % 11 % 5], __ATOMIC_RELAXED);
		__atomic_store_n((uint32_t *)(d + 8), lengths[i % 13 % 5], __ATOMIC_RELAXED);
		__atomic_store_n((uint16_t *)(d + (packed ? 14 : 12)), flag, __ATOMIC_RELAXED);
		__atomic_store_n((uint16_t *)(d + (packed ? 12 : 14)), (uint16_t)(i % 17),
			__ATOMIC_RELAXED);
		i++;
	}
	return NULL;
}

/* Does this lie in one of the two regions as a whole? */
static bool
inside(const struct iovec *segment)
{
	uintptr_t at = (uintptr_t)segment->iov_base;
	uintptr_t low = (uintptr_t)rig.low.host, high = (uintptr_t)rig.high.host;

	return (at >= low && at - low <= RIG_LOW_SIZE - segment->iov_len) ||
		(at >= high && at - high <= RIG_HIGH_SIZE - segment->iov_len);
}

static void
descriptors_that_change_yield_sound_chains(void **state)
{
	unsigned int looks, found = 0, broken = 0, i;
	pthread_t thread;

	(void)state;
	atomic_store(&done, false);
	assert_int_equal(pthread_create(&thread, NULL, flip, NULL), 0);
	/* Until the other thread has run, too. */
	for (looks = 0; looks < LOOKS || found < 1000 || broken < 1000; looks++) {
		uint64_t readable = 0, writable = 0;

		vhu_ring_reset(rig.ring, 0, 0);
		if (!rig_packed()) {
			rig_avail()->ring[0] = looks % SIZE;
			rig_avail()->idx = 1;
		}
		if (rig_take() != VHU_FOUND_CHAIN) {
			broken += vhu_ring_is_broken(rig.ring);
			continue;
		}
		found++;
		for (i = 0; i < (unsigned int)rig.chain.readable + rig.chain.writable; i++) {
			assert_true(inside(&rig.segments[i]));
			if (i < rig.chain.readable)
				readable += rig.segments[i].iov_len;
			else
				writable += rig.segments[i].iov_len;
		}
		assert_int_equal(readable, rig.chain.readable_size);
		assert_int_equal(writable, rig.chain.writable_size);
	}
	atomic_store(&done, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		{ "descriptors_that_change_yield_sound_chains (split)",
			descriptors_that_change_yield_sound_chains, begin_split, end, NULL },
		{ "descriptors_that_change_yield_sound_chains (packed)",
			descriptors_that_change_yield_sound_chains, begin_packed, end, NULL },
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
