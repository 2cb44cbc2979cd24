/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Every drop reason, break reason and event type has a name of its own; other numbers are safe. */

#include <limits.h>
#include <string.h>

#include <vhu_event.h>
#include <vhu_stats.h>

#include "unit.h"

static const char *
drop(int index)
{
	return vhu_drop_name((enum vhu_drop)index);
}

static const char *
histogram(int index)
{
	return vhu_histogram_name((enum vhu_histogram)index);
}

static const char *
stage(int index)
{
	return vhu_stage_name((enum vhu_stage)index);
}

static const char *
broken(int index)
{
	return vhu_broken_text((enum vhu_broken)index);
}

static const char *
event(int index)
{
	return vhu_event_name((enum vhu_event_type)index);
}

static const struct {
	const char *(*name)(int index);
	int count;
} kinds[] = { { drop, VHU_DROPS }, { broken, VHU_BROKENS }, { event, VHU_EVENT_TYPES },
	{ histogram, VHU_HISTOGRAMS }, { stage, VHU_STAGES } };

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void
each_value_has_a_name_of_its_own(void **state)
{
	unsigned int kind;
	int a, b;

	(void)state;
	for (kind = 0; kind < KINDS; kind++) {
		for (a = 0; a < kinds[kind].count; a++) {
			assert_string_not_equal(kinds[kind].name(a), "unknown");
			for (b = 0; b < a; b++)
				assert_string_not_equal(kinds[kind].name(a), kinds[kind].name(b));
		}
	}
}

static void
values_out_of_range_are_unknown(void **state)
{
	unsigned int kind;

	(void)state;
	for (kind = 0; kind < KINDS; kind++) {
		assert_string_equal(kinds[kind].name(kinds[kind].count), "unknown");
		assert_string_equal(kinds[kind].name(INT_MAX), "unknown");
		assert_string_equal(kinds[kind].name(-1), "unknown");
		assert_string_equal(kinds[kind].name(INT_MIN), "unknown");
	}
}

static void
drop_names_can_be_part_of_a_statistic(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < VHU_DROPS; i++)
		assert_int_equal(strspn(drop(i), "abcdefghijklmnopqrstuvwxyz_"), strlen(drop(i)));
	assert_string_equal(drop(VHU_DROP_BAD_OFFLOAD), "bad_offload");
}

static void
histogram_names_can_be_a_statistic(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < VHU_HISTOGRAMS; i++)
		assert_int_equal(strspn(histogram(i), "abcdefghijklmnopqrstuvwxyz_0123456789"),
			strlen(histogram(i)));
	assert_string_equal(histogram(VHU_SIZE_65_127), "size_65_127_packets");
	assert_string_equal(histogram(VHU_BURST_4_7), "bursts_of_4_7");
}

static void
headers_examples_are_true(void **state)
{
	(void)state;
	assert_string_equal(broken(VHU_BROKEN_AVAIL_INDEX), "available index jumped");
	assert_string_equal(event(VHU_EVENT_RING_STARTED), "ring started");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_value_has_a_name_of_its_own),
		cmocka_unit_test(values_out_of_range_are_unknown),
		cmocka_unit_test(drop_names_can_be_part_of_a_statistic),
		cmocka_unit_test(histogram_names_can_be_a_statistic),
		cmocka_unit_test(headers_examples_are_true),
	};

	return cmocka_run_group_tests_name("obs/names", tests, NULL, NULL);
}
