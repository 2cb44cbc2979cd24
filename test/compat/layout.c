/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * What programs take from libvhost-user.h without asking: sizes, places and values on a 64-bit
 * machine, tags beside the typedefs, both namings. Compiled only, as C and as C++.
 */

#include <libvhost-user.h>
#ifdef WITH_GLIB
#include <libvhost-user-glib.h>
#endif

#ifdef __cplusplus
#define CHECK(name, condition) static_assert(condition, #name)
#else
#define CHECK(name, condition) \
	typedef char name[(condition) ? 1 : -1] __attribute__((unused))
#endif
#define SIZE(type, size) CHECK(size_of_##type, sizeof(type) == (size))
#define AT(type, field, place) CHECK(type##_##field, offsetof(type, field) == (place))
#define FIELD(type, field, other) \
	CHECK(type##_##field, offsetof(type, field) == offsetof(type, other))

SIZE(VhostUserMsg, 328);
AT(VhostUserMsg, request, 0);
AT(VhostUserMsg, flags, 4);
AT(VhostUserMsg, size, 8);
AT(VhostUserMsg, payload, 12);
AT(VhostUserMsg, fds, 284);
AT(VhostUserMsg, fd_num, 316);
AT(VhostUserMsg, data, 320);
CHECK(payload, sizeof(((VhostUserMsg *)0)->payload) == 272);
CHECK(header, VHOST_USER_HDR_SIZE == 12);
CHECK(config_header, VHOST_USER_CONFIG_HDR_SIZE == 12);
SIZE(VhostUserMemoryRegion, 32);
SIZE(VhostUserMemory, 264);
SIZE(VhostUserMemRegMsg, 40);
SIZE(VhostUserLog, 16);
SIZE(VhostUserVringArea, 24);
SIZE(VhostUserInflight, 24);
SIZE(VhostUserConfig, 268);
SIZE(VhostUserShared, 16);
SIZE(VhostUserMMap, 40);
SIZE(VuDevRegion, 40);
SIZE(VuRing, 48);
SIZE(VuDescStateSplit, 16);
SIZE(VuVirtqInflight, 16);
SIZE(VuVirtqInflightDesc, 16);
SIZE(VuVirtqElement, 32);
AT(VuVirtqElement, index, 0);
FIELD(VuDev, slave_fd, backend_fd);
FIELD(VuDev, slave_mutex, backend_mutex);

CHECK(maximum_segments, VIRTQUEUE_MAX_SIZE == 1024);
CHECK(baseline_regions, VHOST_MEMORY_BASELINE_NREGIONS == 8);
CHECK(log_page, VHOST_LOG_PAGE == 4096);
CHECK(configuration, VHOST_USER_MAX_CONFIG_SIZE == 256);
CHECK(region_size, VHOST_USER_MEM_REG_SIZE == 32);
CHECK(flag_masks, VHOST_USER_VERSION_MASK == 3 && VHOST_USER_REPLY_MASK == 4 &&
	VHOST_USER_NEED_REPLY_MASK == 8);
CHECK(ring_masks, VHOST_USER_VRING_IDX_MASK == 0xff && VHOST_USER_VRING_NOFD_MASK == 0x100);
CHECK(feature_bit, VHOST_USER_F_PROTOCOL_FEATURES == 30);
CHECK(all_features, (VHOST_USER_PROTOCOL_FEATURE_MASK & 0xffff) == 0xffff);

#define SAME(a, b) CHECK(a##_is_##b, (int)(a) == (int)(b))
SAME(VHOST_USER_PROTOCOL_F_SLAVE_REQ, VHOST_USER_PROTOCOL_F_BACKEND_REQ);
SAME(VHOST_USER_PROTOCOL_F_SLAVE_SEND_FD, VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD);
SAME(VHOST_USER_SET_SLAVE_REQ_FD, VHOST_USER_SET_BACKEND_REQ_FD);
SAME(VHOST_USER_SLAVE_NONE, VHOST_USER_BACKEND_NONE);
SAME(VHOST_USER_SLAVE_IOTLB_MSG, VHOST_USER_BACKEND_IOTLB_MSG);
SAME(VHOST_USER_SLAVE_CONFIG_CHANGE_MSG, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG);
SAME(VHOST_USER_SLAVE_VRING_HOST_NOTIFIER_MSG, VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG);
SAME(VHOST_USER_SLAVE_VRING_CALL, VHOST_USER_BACKEND_VRING_CALL);
SAME(VHOST_USER_SLAVE_VRING_ERR, VHOST_USER_BACKEND_VRING_ERR);
SAME(VHOST_SET_CONFIG_TYPE_MASTER, VHOST_SET_CONFIG_TYPE_FRONTEND);
SAME(VU_WATCH_IN, POLLIN);
SAME(VU_WATCH_OUT, POLLOUT);
SAME(VU_WATCH_PRI, POLLPRI);
SAME(VU_WATCH_ERR, POLLERR);
SAME(VU_WATCH_HUP, POLLHUP);

/* Every tag that a program may write instead of the typedef. */
struct tags {
	struct VuDev device;
	struct VuVirtq queue;
	struct VuVirtqElement element;
	struct VuDevIface callbacks;
	struct VuDevRegion region;
	struct VuRing ring;
	struct VhostUserMsg message;
	struct VhostUserMemory memory;
	struct VhostUserMemoryRegion memory_region;
	struct VhostUserMemRegMsg memory_message;
	struct VhostUserLog log;
	struct VhostUserConfig configuration;
	struct VhostUserVringArea area;
	struct VhostUserInflight inflight;
	struct VuVirtqInflightDesc again;
	struct VuDevInflightInfo information;
	enum VuWatchCondtion condition;
	enum VhostUserRequest request;
	enum VhostUserProtocolFeature feature;
	enum VhostSetConfigType type;
	VhostUserSlaveRequest old_name;
	VhostUserBackendRequest new_name;
};

/* A program's own request: the element is the first member. */
struct request {
	VuVirtqElement element;
	int more;
};

int use(VuDev *dev, struct vring_desc *descriptor);

int
use(VuDev *dev, struct vring_desc *descriptor)
{
	VuVirtq *vq = vu_get_queue(dev, 0);
	struct request *request = (struct request *)vu_queue_pop(dev, vq, sizeof(*request));
	struct tags *all = 0;

	vu_queue_push(dev, vq, &request->element, 0);
	return dev->slave_fd + (int)descriptor->len + (all == 0);
}
