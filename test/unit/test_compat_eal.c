/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Programs of the libvhost-user API in a process that uses DPDK as well. */

#include "compat_rig.h"
#include "eal.h"

static const struct rig_part request[] = { { RIG_DATA, 16, false }, { RIG_DATA, 512, true } };

static void
one_request(uint16_t head)
{
	VuVirtq *vq = vu_get_queue(&rig.dev, 0);
	uint16_t before = rig_used_index();
	VuVirtqElement *element;

	rig_offer(head, request, 2);
	element = vu_queue_pop(&rig.dev, vq, sizeof(*element));
	assert_non_null(element);
	vu_queue_push(&rig.dev, vq, element, 512);
	vu_queue_notify(&rig.dev, vq);
	free(element);
	assert_int_equal(rig_used_index(), before + 1);
}

static void
device_works_before_and_after_eal_begins(void **state)
{
	unsigned int fds;

	(void)state;
	rig_start();
	one_request(0);
	fds = unit_open_fds();
	assert_int_equal(eal_start(), 0);
	/* What EAL keeps open is not the device's. */
	rig.fds_before += unit_open_fds() - fds;
	one_request(2);
	assert_int_equal(rig_u64(VHOST_USER_SET_VRING_CALL, 0, rig.call), 0);
	one_request(4);
	assert_int_equal(rig.panics, 0);
}

static void
device_begins_after_eal(void **state)
{
	(void)state;
	rig_start();
	one_request(0);
	assert_int_equal(rig.panics, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(device_works_before_and_after_eal_begins),
		RIG_TEST(device_begins_after_eal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
