/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_WIRE_SPEC_H
#define VHU_WIRE_SPEC_H

/**
 * @file
 * Numbers and layouts of the vhost-user protocol, as the vhost-user document gives them.
 *
 * A message is a header of 12 bytes (request, flags, size of the payload; native byte order) and a
 * payload; file descriptors travel beside its first byte. Virtio's own numbers (feature bits, ring
 * and net header layouts) come from the kernel's headers linux/virtio_*.h.
 */

#include <stdint.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

/** Most descriptors that may travel with one message. */
#define VHU_MESSAGE_FDS 8
/** Most regions in one SET_MEM_TABLE. */
#define VHU_MEM_TABLE_REGIONS 8

/** Header flags. */
#define VHU_FLAG_VERSION_MASK 0x3u
#define VHU_FLAG_VERSION      0x1u
#define VHU_FLAG_REPLY        0x4u
#define VHU_FLAG_NEED_REPLY   0x8u

/** In the u64 of SET_VRING_KICK, CALL and ERR: ring index, and "no descriptor comes with this". */
#define VHU_VRING_INDEX_MASK 0xffu
#define VHU_VRING_NOFD       0x100u
/** vhu_wire_vring_addr.flags: writes to the ring itself are logged, too (VHOST_VRING_F_LOG). */
#define VHU_VRING_LOG        0x1u

/** Virtio feature bit that announces protocol features; VHOST_F_LOG_ALL is bit 26. */
#define VHU_F_LOG_ALL           26
#define VHU_F_PROTOCOL_FEATURES 30
/** Feature bits that linux/virtio_*.h of older kernels lack, whatever they are called there. */
#define VHU_F_IN_ORDER          35
#define VHU_F_NOTIFICATION_DATA 38
#define VHU_F_RING_RESET        40
#define VHU_NET_F_DEVICE_STATS  50
#define VHU_NET_F_HASH_REPORT   57
#define VHU_NET_F_RSS           60
#ifndef VIRTIO_NET_F_GUEST_USO4
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO   56
#endif
#ifndef VIRTIO_NET_CTRL_MQ_HASH_CONFIG
#define VIRTIO_NET_CTRL_MQ_HASH_CONFIG 2
#endif
/** Class of commands about device statistics, and the commands. */
#define VHU_NET_CTRL_STATS       8
#define VHU_NET_CTRL_STATS_QUERY 0
#define VHU_NET_CTRL_STATS_GET   1
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

/** Requests of the front-end. */
enum vhu_request {
	VHU_REQUEST_NONE = 0,
	VHU_GET_FEATURES = 1,
	VHU_SET_FEATURES = 2,
	VHU_SET_OWNER = 3,
	VHU_RESET_OWNER = 4,
	VHU_SET_MEM_TABLE = 5,
	VHU_SET_LOG_BASE = 6,
	VHU_SET_LOG_FD = 7,
	VHU_SET_VRING_NUM = 8,
	VHU_SET_VRING_ADDR = 9,
	VHU_SET_VRING_BASE = 10,
	VHU_GET_VRING_BASE = 11,
	VHU_SET_VRING_KICK = 12,
	VHU_SET_VRING_CALL = 13,
	VHU_SET_VRING_ERR = 14,
	VHU_GET_PROTOCOL_FEATURES = 15,
	VHU_SET_PROTOCOL_FEATURES = 16,
	VHU_GET_QUEUE_NUM = 17,
	VHU_SET_VRING_ENABLE = 18,
	VHU_SEND_RARP = 19,
	VHU_NET_SET_MTU = 20,
	VHU_SET_BACKEND_REQ_FD = 21,
	VHU_IOTLB_MSG = 22,
	VHU_SET_VRING_ENDIAN = 23,
	VHU_GET_CONFIG = 24,
	VHU_SET_CONFIG = 25,
	VHU_CREATE_CRYPTO_SESSION = 26,
	VHU_CLOSE_CRYPTO_SESSION = 27,
	VHU_POSTCOPY_ADVISE = 28,
	VHU_POSTCOPY_LISTEN = 29,
	VHU_POSTCOPY_END = 30,
	VHU_GET_INFLIGHT_FD = 31,
	VHU_SET_INFLIGHT_FD = 32,
	VHU_GPU_SET_SOCKET = 33,
	VHU_RESET_DEVICE = 34,
	VHU_VRING_KICK = 35,
	VHU_GET_MAX_MEM_SLOTS = 36,
	VHU_ADD_MEM_REG = 37,
	VHU_REM_MEM_REG = 38,
	VHU_SET_STATUS = 39,
	VHU_GET_STATUS = 40,
	VHU_GET_SHARED_OBJECT = 41,
	VHU_SET_DEVICE_STATE_FD = 42,
	VHU_CHECK_DEVICE_STATE = 43,
	VHU_GET_SHMEM_CONFIG = 44,
	VHU_GET_VRING_BASE_SKIP_DRAIN = 45,
	VHU_REQUESTS = 46 /**< not a request: one past the last */
};

/** Requests of the back-end, on the socket that SET_BACKEND_REQ_FD brings. */
enum vhu_backend_request {
	VHU_BACKEND_IOTLB_MSG = 1,
	VHU_BACKEND_CONFIG_CHANGE = 2,
	VHU_BACKEND_VRING_HOST_NOTIFIER = 3,
	VHU_BACKEND_VRING_CALL = 4,
	VHU_BACKEND_VRING_ERR = 5,
	VHU_BACKEND_SHARED_OBJECT_ADD = 6,
	VHU_BACKEND_SHARED_OBJECT_REMOVE = 7,
	VHU_BACKEND_SHARED_OBJECT_LOOKUP = 8,
	VHU_BACKEND_SHMEM_MAP = 9,
	VHU_BACKEND_SHMEM_UNMAP = 10,
	VHU_BACKEND_REQUESTS = 11
};

/** Protocol feature bits. */
enum vhu_protocol_feature {
	VHU_PROTOCOL_MQ = 0,
	VHU_PROTOCOL_LOG_SHMFD = 1,
	VHU_PROTOCOL_RARP = 2,
	VHU_PROTOCOL_REPLY_ACK = 3,
	VHU_PROTOCOL_NET_MTU = 4,
	VHU_PROTOCOL_BACKEND_REQ = 5,
	VHU_PROTOCOL_CROSS_ENDIAN = 6,
	VHU_PROTOCOL_CRYPTO_SESSION = 7,
	VHU_PROTOCOL_PAGEFAULT = 8,
	VHU_PROTOCOL_CONFIG = 9,
	VHU_PROTOCOL_BACKEND_SEND_FD = 10,
	VHU_PROTOCOL_HOST_NOTIFIER = 11,
	VHU_PROTOCOL_INFLIGHT_SHMFD = 12,
	VHU_PROTOCOL_RESET_DEVICE = 13,
	VHU_PROTOCOL_INBAND_NOTIFICATIONS = 14,
	VHU_PROTOCOL_CONFIGURE_MEM_SLOTS = 15,
	VHU_PROTOCOL_STATUS = 16,
	VHU_PROTOCOL_XEN_MMAP = 17,
	VHU_PROTOCOL_SHARED_OBJECT = 18,
	VHU_PROTOCOL_DEVICE_STATE = 19,
	VHU_PROTOCOL_GET_VRING_BASE_INFLIGHT = 20,
	VHU_PROTOCOL_GPA_ADDRESSES = 21,
	VHU_PROTOCOL_SHMEM = 22,
	VHU_PROTOCOL_GET_VRING_BASE_SKIP_DRAIN = 23,
	VHU_PROTOCOL_FEATURES = 24 /**< not a bit: one past the last */
};

#define VHU_BIT(n) (UINT64_C(1) << (n))

struct vhu_wire_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /**< payload bytes */
} __attribute__((packed));

struct vhu_wire_vring_state {
	uint32_t index;
	uint32_t value;
} __attribute__((packed));

/**
 * Addresses are user addresses of the front-end. Packed rings: avail is the driver, used the device
 * event area.
 */
struct vhu_wire_vring_addr {
	uint32_t index;
	uint32_t flags; /**< bit 0: log writes to the used ring */
	uint64_t descriptor;
	uint64_t used;
	uint64_t avail;
	uint64_t log_guest_address;
} __attribute__((packed));

struct vhu_wire_region {
	uint64_t guest_address;
	uint64_t size;
	uint64_t user_address;
	uint64_t file_offset;
} __attribute__((packed));

struct vhu_wire_mem_table {
	uint32_t count;
	uint32_t padding;
	struct vhu_wire_region regions[VHU_MEM_TABLE_REGIONS];
} __attribute__((packed));

struct vhu_wire_mem_reg {
	uint64_t padding;
	struct vhu_wire_region region;
} __attribute__((packed));

struct vhu_wire_log {
	uint64_t size;
	uint64_t offset;
} __attribute__((packed));

struct vhu_wire_inflight {
	uint64_t size;
	uint64_t offset;
	uint16_t queue_count;
	uint16_t queue_size;
	uint32_t padding; /**< QEMU sends it (24 bytes), others may not (20) */
} __attribute__((packed));

#define VHU_CONFIG_SPACE_SIZE 256
/** vhu_wire_config.flags: written for migration, not by the driver */
#define VHU_CONFIG_MIGRATION 1u
struct vhu_wire_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags; /**< bit 0: written for migration */
	uint8_t data[VHU_CONFIG_SPACE_SIZE];
} __attribute__((packed));

/** vhu_wire_iotlb.type */
enum vhu_iotlb_type {
	VHU_IOTLB_MISS = 1,       /**< back-end: a translation is wanted */
	VHU_IOTLB_UPDATE = 2,     /**< front-end: here is one */
	VHU_IOTLB_INVALIDATE = 3, /**< front-end: forget it */
	VHU_IOTLB_ACCESS_FAIL = 4 /**< back-end: the permission did not suffice */
};

struct vhu_wire_iotlb {
	uint64_t iova;
	uint64_t size;
	uint64_t user_address;
	uint8_t permission;
	uint8_t type;
	uint8_t padding[6];
} __attribute__((packed));

struct vhu_wire_device_state {
	uint32_t direction; /**< 0 save, 1 load */
	uint32_t phase;
} __attribute__((packed));

struct vhu_wire_vring_area {
	uint64_t value; /**< ring index and VHU_VRING_NOFD */
	uint64_t size;
	uint64_t offset;
} __attribute__((packed));

struct vhu_wire_shmem_map {
	uint8_t shmem_id;
	uint8_t padding[7];
	uint64_t fd_offset;
	uint64_t shmem_offset;
	uint64_t size;
	uint64_t flags; /**< bit 0: writable */
} __attribute__((packed));

struct vhu_wire_shmem_config {
	uint32_t count;
	uint32_t padding;
	uint64_t sizes[256];
} __attribute__((packed));

#endif /* VHU_WIRE_SPEC_H */
