/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_TEST_IOTLB_RIG_H
#define VHU_TEST_IOTLB_RIG_H

/**
 * @file
 * The rig's device behind an IOMMU, and the front-end's part in it.
 */

#include "channel_rig.h"

#define ACCESS VHU_BIT(VIRTIO_F_IOMMU_PLATFORM)
#define IOVA UINT64_C(0x40000000)
#define PAGE UINT64_C(4096)

static inline int
iotlb_setup(void **state)
{
	rig_setup(state);
	rig.features = RIG_OFFER | ACCESS | VHU_BIT(VIRTIO_F_RING_PACKED);
	rig_renew_device();
	rig_send(VHU_GET_PROTOCOL_FEATURES, 0, NULL, 0, NULL, 0);
	/* Calls in-band would come between the questions. */
	assert_int_equal(rig_u64(VHU_SET_PROTOCOL_FEATURES, rig.reply.payload.u64 &
		~VHU_BIT(VHU_PROTOCOL_INBAND_NOTIFICATIONS)), 0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, RIG_FEATURES | RIG_PROTOCOL | ACCESS), 0);
	rig_share();
	channel_connect();
	return 0;
}

/* IOTLB_MSG without NEED_REPLY: it is always answered. */
static inline void
send_iotlb(uint8_t type, uint64_t iova, uint64_t size, uint64_t user, uint8_t access)
{
	struct vhu_wire_iotlb wire = { .iova = iova, .size = size, .user_address = user,
		.permission = access, .type = type };

	rig_send(VHU_IOTLB_MSG, 0, &wire, sizeof(wire), NULL, 0);
}

static inline uint64_t
tell(uint8_t type, uint64_t iova, uint64_t size, uint64_t user, uint8_t access)
{
	unsigned int replies = rig.replies;

	send_iotlb(type, iova, size, user, access);
	assert_int_equal(rig.replies, replies + 1);
	assert_int_equal(rig.reply.size, 8);
	return rig.reply.payload.u64;
}

static inline uint64_t
map_range(uint64_t offset, uint64_t size, uint8_t access)
{
	return tell(VHU_IOTLB_UPDATE, IOVA + offset, size, RIG_USER + offset, access);
}

static inline uint64_t
unmap_range(uint64_t offset, uint64_t size)
{
	return tell(VHU_IOTLB_INVALIDATE, IOVA + offset, size, 0, 0);
}

static inline bool
is_parked(void)
{
	return rig_seen(0) == &vhu_snapshot_parked;
}

/* The next question on the channel. */
static inline void
assert_asked(uint64_t iova, uint8_t access)
{
	struct vhu_message m = channel_take(VHU_BACKEND_IOTLB_MSG);

	assert_int_equal(m.payload.iotlb.type, VHU_IOTLB_MISS);
	assert_int_equal(m.payload.iotlb.iova, iova);
	assert_int_equal(m.payload.iotlb.permission, access);
}

static inline void
assert_not_asked(void)
{
	struct vhu_message m;

	assert_false(channel_read(&m));
}

#define IOTLB_TEST(function) \
	cmocka_unit_test_setup_teardown(function, iotlb_setup, channel_teardown)

#endif /* VHU_TEST_IOTLB_RIG_H */
