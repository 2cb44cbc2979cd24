/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Options that vhu_port_create() refuses, each with an errno and a sentence that says what is
 * allowed. EAL is not needed to find them wrong, and none is here.
 */

#include <errno.h>
#include <string.h>

#include <vhu.h>

#include "unit.h"

static struct vhu_port_options
good_options(void)
{
	struct vhu_port_options options;

	vhu_port_options_init(&options);
	options.path = "/nonexistent/vhu.sock";
	return options;
}

static void
assert_refused(const struct vhu_port_options *options, int error, const char *allowed)
{
	struct vhu_port *port = (void *)1;

	assert_int_equal(vhu_port_create(options, &port), -error);
	assert_null(port);
	if (strstr(vhu_error_text(), allowed) == NULL)
		fail_msg("'%s' does not say '%s'", vhu_error_text(), allowed);
	assert_null(strchr(vhu_error_text(), '\n'));
}

static void
defaults_are_those_of_the_header(void **state)
{
	struct vhu_port_options options;

	(void)state;
	memset(&options, 0xff, sizeof(options));
	vhu_port_options_init(&options);
	assert_null(options.name);
	assert_null(options.path);
	assert_int_equal(options.role, VHU_ROLE_SERVER);
	assert_int_equal(options.queue_pairs, 1);
	assert_int_equal(options.mtu, 0);
	assert_int_equal(options.offers, VHU_OFFER_BIT(PACKED) | VHU_OFFER_BIT(IN_ORDER) |
		VHU_OFFER_BIT(MERGEABLE) | VHU_OFFER_BIT(EVENT_IDX) | VHU_OFFER_BIT(INDIRECT) |
		VHU_OFFER_BIT(INFLIGHT) | VHU_OFFER_BIT(LOG) | VHU_OFFER_BIT(ANNOUNCE));
	assert_true(options.features_disabled == 0);
	assert_int_equal(options.socket_mode, 0);
	assert_int_equal(options.socket_uid, -1);
	assert_int_equal(options.socket_gid, -1);
	assert_int_equal(options.reconnect_min_ms, 1);
	assert_int_equal(options.reconnect_max_ms, 1000);
	assert_false(options.populate);
	assert_null(options.on_event);
}

static void
missing_arguments_are_refused(void **state)
{
	struct vhu_port_options options = good_options();

	(void)state;
	assert_int_equal(vhu_port_create(&options, NULL), -EINVAL);
	assert_refused(NULL, EINVAL, "needs options");
}

static void
missing_path_is_refused(void **state)
{
	struct vhu_port_options options = good_options();

	(void)state;
	options.path = NULL;
	assert_refused(&options, EINVAL, "vhu_port_options.path");
	options.path = "";
	assert_refused(&options, EINVAL, "vhu_port_options.path");
}

static void
path_that_does_not_fit_an_address_is_refused(void **state)
{
	struct vhu_port_options options = good_options();
	char path[VHU_PATH_SIZE + 1];

	(void)state;
	memset(path, 'p', VHU_PATH_SIZE);
	path[VHU_PATH_SIZE] = '\0';
	options.path = path;
	assert_refused(&options, ENAMETOOLONG, "at most 107");
}

static void
path_of_a_directory_is_refused(void **state)
{
	struct vhu_port_options options = good_options();

	(void)state;
	options.path = "/tmp/";
	assert_refused(&options, EINVAL, "name a file");
}

static void
creation_without_eal_is_refused(void **state)
{
	struct vhu_port_options options = good_options();

	(void)state;
	assert_refused(&options, EINVAL, "rte_eal_init()");
}

static void
names_that_telemetry_cannot_carry_are_refused(void **state)
{
	struct vhu_port_options options = good_options();

	(void)state;
	options.name = "";
	assert_refused(&options, EINVAL, "1 to 31");
	options.name = "a-name-of-thirty-two-characters-";
	assert_refused(&options, EINVAL, "1 to 31");
	options.name = "a,b";
	assert_refused(&options, EINVAL, "letters, digits");
	options.name = "a b";
	assert_refused(&options, EINVAL, "letters, digits");
	options.name = "a\nb";
	assert_int_equal(vhu_port_create(&options, &(struct vhu_port *){ NULL }), -EINVAL);
}

static void
unknown_role_is_refused(void **state)
{
	struct vhu_port_options options = good_options();

	(void)state;
	options.role = 2;
	assert_refused(&options, EINVAL, "VHU_ROLE_SERVER (0) and VHU_ROLE_CLIENT (1)");
}

static void
queue_pairs_outside_1_to_128_are_refused(void **state)
{
	struct vhu_port_options options = good_options();

	(void)state;
	options.queue_pairs = 0;
	assert_refused(&options, EINVAL, "1 to 128");
	options.queue_pairs = VHU_MAX_QUEUE_PAIRS + 1;
	assert_refused(&options, EINVAL, "1 to 128");
}

static void
mtu_below_68_is_refused(void **state)
{
	struct vhu_port_options options = good_options();

	(void)state;
	options.mtu = 67;
	assert_refused(&options, EINVAL, "68 to 65535");
	options.mtu = 1;
	assert_refused(&options, EINVAL, "68 to 65535");
}

static void
mode_beyond_permission_bits_is_refused(void **state)
{
	struct vhu_port_options options = good_options();

	(void)state;
	options.socket_mode = 01000;
	assert_refused(&options, EINVAL, "0 to 0777");
}

static void
owner_and_group_out_of_range_are_refused(void **state)
{
	struct vhu_port_options options = good_options();

	(void)state;
	options.socket_uid = -2;
	assert_refused(&options, EINVAL, "owner -2");
	options.socket_uid = UINT32_MAX;
	assert_refused(&options, EINVAL, "owner");
	options.socket_uid = -1;
	options.socket_gid = UINT32_MAX;
	assert_refused(&options, EINVAL, "group");
}

static void
reconnect_pauses_out_of_order_are_refused(void **state)
{
	struct vhu_port_options options = good_options();

	(void)state;
	options.reconnect_min_ms = 0;
	assert_refused(&options, EINVAL, "at least 1");
	options.reconnect_min_ms = 1001;
	assert_refused(&options, EINVAL, "1001 to 1000 ms");
	options.reconnect_max_ms = 3600001;
	assert_refused(&options, EINVAL, "at most 3600000");
}

static void
offers_that_do_not_exist_are_refused(void **state)
{
	struct vhu_port_options options = good_options();

	(void)state;
	options.offers |= UINT32_C(1) << VHU_OFFERS;
	assert_refused(&options, EINVAL, "bits above 13 are unknown");
}

static void
hashing_without_a_control_queue_is_refused(void **state)
{
	struct vhu_port_options options = good_options();

	(void)state;
	options.offers |= VHU_OFFER_BIT(HASH);
	assert_refused(&options, EINVAL, "needs offer control-queue");
}

static void
control_queue_needs_a_ring_of_its_own(void **state)
{
	struct vhu_port_options options = good_options();

	(void)state;
	options.offers |= VHU_OFFER_BIT(CONTROL_QUEUE);
	options.queue_pairs = VHU_MAX_QUEUE_PAIRS;
	assert_refused(&options, EINVAL, "1 to 127");
}

static void
every_offer_has_a_name(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < VHU_OFFERS; i++)
		assert_string_not_equal(vhu_offer_name((enum vhu_offer)i), "unknown");
	assert_string_equal(vhu_offer_name(VHU_OFFERS), "unknown");
	assert_string_equal(vhu_offer_name((enum vhu_offer)-1), "unknown");
	assert_string_equal(vhu_offer_name(VHU_OFFER_CONTROL_QUEUE), "control-queue");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_the_header),
		cmocka_unit_test(missing_arguments_are_refused),
		cmocka_unit_test(missing_path_is_refused),
		cmocka_unit_test(path_that_does_not_fit_an_address_is_refused),
		cmocka_unit_test(path_of_a_directory_is_refused),
		cmocka_unit_test(names_that_telemetry_cannot_carry_are_refused),
		cmocka_unit_test(unknown_role_is_refused),
		cmocka_unit_test(queue_pairs_outside_1_to_128_are_refused),
		cmocka_unit_test(mtu_below_68_is_refused),
		cmocka_unit_test(mode_beyond_permission_bits_is_refused),
		cmocka_unit_test(owner_and_group_out_of_range_are_refused),
		cmocka_unit_test(reconnect_pauses_out_of_order_are_refused),
		cmocka_unit_test(offers_that_do_not_exist_are_refused),
		cmocka_unit_test(hashing_without_a_control_queue_is_refused),
		cmocka_unit_test(control_queue_needs_a_ring_of_its_own),
		cmocka_unit_test(every_offer_has_a_name),
		cmocka_unit_test(creation_without_eal_is_refused),
	};

	return cmocka_run_group_tests_name("ctrl options", tests, NULL, NULL);
}
