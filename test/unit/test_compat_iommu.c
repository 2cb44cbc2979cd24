/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Elements of a ring that rests: a translation that its own memory needs was taken away. */

#include "compat_rig.h"

#define PAGE UINT64_C(4096)
/* I/O addresses of the ring are user addresses, those of buffers guest-physical ones. */
#define RING_IOVA RIG_USER

static const struct rig_part request[] = { { RIG_DATA, 16, false }, { RIG_DATA + PAGE, 8, true } };

static uint64_t
tell(int type, uint64_t iova, uint64_t size, uint64_t user)
{
	struct vhost_iotlb_msg message = { .iova = iova, .size = size, .uaddr = user,
		.perm = 3, .type = (uint8_t)type };

	return rig_ask(VHOST_USER_IOTLB_MSG, &message, sizeof(message), -1);
}

static void
map_ring(uint64_t user)
{
	assert_int_equal(tell(VHOST_IOTLB_UPDATE, RING_IOVA, RIG_DATA, user), 0);
}

static void
unmap_ring(void)
{
	assert_int_equal(tell(VHOST_IOTLB_INVALIDATE, RING_IOVA, RIG_DATA, 0), 0);
}

static VuVirtq *
queue(void)
{
	return vu_get_queue(&rig.dev, 0);
}

static VuVirtqElement *
pop(void)
{
	return vu_queue_pop(&rig.dev, queue(), sizeof(VuVirtqElement));
}

static int
iommu_setup(void **state)
{
	uint64_t offer;

	rig_setup(state);
	rig.features = BIT(33);
	rig_write(VHOST_USER_GET_FEATURES, 1, NULL, 0, -1);
	assert_true(vu_dispatch(&rig.dev));
	rig_read(VHOST_USER_GET_FEATURES, &offer, sizeof(offer));
	rig_start();
	map_ring(RIG_USER);
	assert_int_equal(tell(VHOST_IOTLB_UPDATE, RIG_GUEST, RIG_MEMORY, RIG_USER), 0);
	(void)rig_called();
	return 0;
}

/* An element that is out while its ring rests. */
static VuVirtqElement *
pop_and_rest(void)
{
	VuVirtqElement *element;

	rig_offer(3, request, 2);
	element = pop();
	assert_non_null(element);
	unmap_ring();
	assert_null(pop());
	return element;
}

static void
element_pushed_to_a_ring_that_rests_is_seen_when_it_goes_on(void **state)
{
	VuVirtqElement *element = pop_and_rest();

	(void)state;
	vu_queue_push(&rig.dev, queue(), element, 8);
	vu_queue_notify(&rig.dev, queue());
	free(element);
	assert_int_equal(rig_used_index(), 0);
	assert_false(rig_called());
	map_ring(RIG_USER);
	assert_true(vu_queue_empty(&rig.dev, queue()));
	assert_int_equal(rig_used_index(), 1);
	assert_int_equal(rig_used(0).id, 3);
	assert_int_equal(rig_used(0).len, 8);
	assert_true(rig_called());
	assert_int_equal(queue()->inuse, 0);
}

static void
program_is_woken_to_show_what_it_pushed(void **state)
{
	VuVirtqElement *element = pop_and_rest();
	uint64_t kicks;

	(void)state;
	vu_queue_push(&rig.dev, queue(), element, 8);
	free(element);
	(void)!read(rig.kick, &kicks, sizeof(kicks));
	map_ring(RIG_USER);
	assert_int_equal(read(rig.kick, &kicks, sizeof(kicks)), sizeof(kicks));
	assert_null(pop());
	assert_int_equal(rig_used_index(), 1);
}

static void
elements_are_seen_in_the_order_in_which_they_were_pushed(void **state)
{
	VuVirtqElement *a, *b, *c;

	(void)state;
	rig_offer(0, request, 2);
	rig_offer(4, request, 2);
	rig_offer(8, request, 2);
	a = pop();
	b = pop();
	c = pop();
	unmap_ring();
	vu_queue_push(&rig.dev, queue(), c, 1);
	vu_queue_push(&rig.dev, queue(), a, 2);
	map_ring(RIG_USER);
	vu_queue_push(&rig.dev, queue(), b, 3);
	assert_int_equal(rig_used_index(), 3);
	assert_int_equal(rig_used(0).id, 8);
	assert_int_equal(rig_used(1).id, 0);
	assert_int_equal(rig_used(2).id, 4);
	free(a);
	free(b);
	free(c);
}

static void
filled_elements_of_a_ring_that_rests_wait_for_their_flush(void **state)
{
	VuVirtqElement *a, *b;

	(void)state;
	rig_offer(0, request, 2);
	rig_offer(4, request, 2);
	a = pop();
	b = pop();
	unmap_ring();
	vu_queue_fill(&rig.dev, queue(), b, 2, 1);
	vu_queue_fill(&rig.dev, queue(), a, 1, 0);
	vu_queue_flush(&rig.dev, queue(), 1);
	map_ring(RIG_USER);
	assert_true(vu_queue_empty(&rig.dev, queue()));
	assert_int_equal(rig_used_index(), 1);
	assert_int_equal(rig_used(0).id, 0);
	vu_queue_flush(&rig.dev, queue(), 1);
	assert_int_equal(rig_used_index(), 2);
	assert_int_equal(rig_used(1).id, 4);
	free(a);
	free(b);
}

static void
burst_pushed_to_a_ring_that_rests_is_seen_when_it_goes_on(void **state)
{
	VuElementPool *pool = vu_element_pool_new(4, sizeof(VuVirtqElement), 4);
	void *elements[2];

	(void)state;
	rig_offer(0, request, 2);
	rig_offer(4, request, 2);
	assert_int_equal(vu_queue_pop_burst(&rig.dev, queue(), pool, elements, 2), 2);
	unmap_ring();
	vu_queue_push_burst(&rig.dev, queue(), pool, elements, (unsigned int[]){ 5, 6 }, 2);
	map_ring(RIG_USER);
	assert_int_equal(vu_queue_pop_burst(&rig.dev, queue(), pool, elements, 2), 0);
	assert_int_equal(rig_used_index(), 2);
	assert_int_equal(rig_used(1).id, 4);
	assert_int_equal(rig_used(1).len, 6);
	vu_element_pool_free(pool);
}

static void
ring_that_rests_twice_forgets_nothing(void **state)
{
	VuVirtqElement *element = pop_and_rest();

	(void)state;
	vu_queue_push(&rig.dev, queue(), element, 8);
	free(element);
	map_ring(RIG_USER);
	unmap_ring();
	/* It goes on in other pages, which have its contents. */
	memcpy(rig.guest + 0x80000, rig.guest, RIG_DATA);
	map_ring(RIG_USER + 0x80000);
	assert_null(pop());
	assert_int_equal(rig_used_index(), 0);
	assert_int_equal(((struct vring_used *)(rig.guest + 0x80000 + RIG_USED))->idx, 1);
}

static void
element_pushed_to_a_ring_that_never_goes_on_is_taken_again(void **state)
{
	VuVirtqElement *element = pop_and_rest();

	(void)state;
	vu_queue_push(&rig.dev, queue(), element, 8);
	free(element);
	/* Whoever comes next finds it in the ring: done twice rather than never. */
	assert_int_equal(rig_base(0), 0);
	assert_int_equal(rig_used_index(), 0);
	assert_int_equal(queue()->inuse, 0);
}

static void
element_put_back_while_its_ring_rests_is_popped_again(void **state)
{
	VuVirtqElement *element = pop_and_rest();

	(void)state;
	assert_true(vu_queue_rewind(&rig.dev, queue(), 1));
	free(element);
	map_ring(RIG_USER);
	element = pop();
	assert_non_null(element);
	assert_int_equal(element->index, 3);
	free(element);
}

static void
wish_for_kicks_reaches_the_driver_when_the_ring_goes_on(void **state)
{
	const struct vring_used *used = (const struct vring_used *)(rig.guest + RIG_USED);

	(void)state;
	assert_null(pop());
	vu_queue_set_notification(&rig.dev, queue(), 0);
	assert_int_equal(used->flags, VRING_USED_F_NO_NOTIFY);
	unmap_ring();
	vu_queue_set_notification(&rig.dev, queue(), 1);
	assert_int_equal(used->flags, VRING_USED_F_NO_NOTIFY);
	map_ring(RIG_USER);
	assert_null(pop());
	assert_int_equal(used->flags, 0);
}

static void
pushing_without_end_to_a_ring_that_rests_does_no_harm(void **state)
{
	VuVirtqElement *element = pop_and_rest();
	unsigned int i;

	(void)state;
	for (i = 0; i < 100 * RIG_SIZE; i++) {
		vu_queue_push(&rig.dev, queue(), element, 8);
		vu_queue_notify(&rig.dev, queue());
	}
	free(element);
	map_ring(RIG_USER);
	assert_null(pop());
	assert_int_equal(rig_used_index(), 1);
}

#define IOMMU_TEST(name) cmocka_unit_test_setup_teardown(name, iommu_setup, rig_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IOMMU_TEST(element_pushed_to_a_ring_that_rests_is_seen_when_it_goes_on),
		IOMMU_TEST(program_is_woken_to_show_what_it_pushed),
		IOMMU_TEST(elements_are_seen_in_the_order_in_which_they_were_pushed),
		IOMMU_TEST(filled_elements_of_a_ring_that_rests_wait_for_their_flush),
		IOMMU_TEST(burst_pushed_to_a_ring_that_rests_is_seen_when_it_goes_on),
		IOMMU_TEST(ring_that_rests_twice_forgets_nothing),
		IOMMU_TEST(element_pushed_to_a_ring_that_never_goes_on_is_taken_again),
		IOMMU_TEST(element_put_back_while_its_ring_rests_is_popped_again),
		IOMMU_TEST(wish_for_kicks_reaches_the_driver_when_the_ring_goes_on),
		IOMMU_TEST(pushing_without_end_to_a_ring_that_rests_does_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
