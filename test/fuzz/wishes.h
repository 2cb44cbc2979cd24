/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_TEST_FUZZ_WISHES_H
#define VHU_TEST_FUZZ_WISHES_H

/**
 * @file
 * What must hold of a driver's wishes, however they came about: lcores and applications index by
 * them without looking again.
 */

#include "ctrl/commands.h"
#include "fuzz.h"

static inline void
require_sound_wishes(const struct vhu_wishes *wishes)
{
	const struct vhu_steering *steering = &wishes->steering;
	const struct vhu_filter *filter = &wishes->filter;
	unsigned int i;

	FUZZ_REQUIRE(steering->pairs >= 1 && steering->pairs <= wishes->queue_pairs);
	FUZZ_REQUIRE(steering->unclassified < wishes->queue_pairs);
	FUZZ_REQUIRE((steering->types & ~VHU_HASH_TYPES) == 0);
	FUZZ_REQUIRE(steering->table_size <= VHU_HASH_TABLE_SIZE);
	FUZZ_REQUIRE((steering->table_size & (steering->table_size - 1)) == 0);
	FUZZ_REQUIRE(!steering->rss || steering->table_size != 0);
	for (i = 0; i < steering->table_size; i++)
		FUZZ_REQUIRE(steering->table[i] < wishes->queue_pairs);
	FUZZ_REQUIRE(filter->unicast_count <= VHU_FILTER_ADDRESSES);
	FUZZ_REQUIRE(filter->multicast_count <= VHU_FILTER_ADDRESSES);
	FUZZ_REQUIRE((wishes->offloads_off & ~VHU_GUEST_OFFLOADS) == 0);
}

#endif /* VHU_TEST_FUZZ_WISHES_H */
