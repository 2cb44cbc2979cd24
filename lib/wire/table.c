/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "wire/message.h"

/* No gate of this kind. */
#define NONE (-1)
/* Payload of exactly this layout. */
#define SIZE_OF(type) .size_min = sizeof(type), .size_max = sizeof(type)
/* Exactly this many descriptors. */
#define FDS(n) .fd_min = (n), .fd_max = (n)
#define GATE(bit) .gate_protocol = VHU_PROTOCOL_##bit, .gate_feature = NONE
#define GATE_FEATURE(bit) .gate_protocol = NONE, .gate_feature = (bit)
#define NO_GATE .gate_protocol = NONE, .gate_feature = NONE
#define REPLY(kind) .reply = VHU_REPLY_##kind

/* The inflight description may come without its padding at the end. */
#define INFLIGHT_SIZES \
	.size_min = offsetof(struct vhu_wire_inflight, padding), \
	.size_max = sizeof(struct vhu_wire_inflight)
#define CONFIG_SIZES \
	.size_min = offsetof(struct vhu_wire_config, data), \
	.size_max = sizeof(struct vhu_wire_config)

static const struct vhu_request_rule front_end_rules[VHU_REQUESTS] = {
	[VHU_GET_FEATURES] = { "GET_FEATURES", NO_GATE, REPLY(U64) },
	[VHU_SET_FEATURES] = { "SET_FEATURES", SIZE_OF(uint64_t), NO_GATE },
	[VHU_SET_OWNER] = { "SET_OWNER", NO_GATE },
	[VHU_RESET_OWNER] = { "RESET_OWNER", NO_GATE },
	[VHU_SET_MEM_TABLE] = { "SET_MEM_TABLE",
		.size_min = offsetof(struct vhu_wire_mem_table, regions),
		.size_max = sizeof(struct vhu_wire_mem_table), .fd_max = VHU_MEM_TABLE_REGIONS,
		NO_GATE, .flags = VHU_RULE_SIZE_MEM_TABLE | VHU_RULE_LISTEN },
	/* The descriptor comes with LOG_SHMFD only; without it there is nothing to map. */
	[VHU_SET_LOG_BASE] = { "SET_LOG_BASE", SIZE_OF(struct vhu_wire_log), FDS(1), NO_GATE,
		REPLY(LOG) },
	/* The document gives it no payload, front-ends exist that send a u64. */
	[VHU_SET_LOG_FD] = { "SET_LOG_FD", .size_min = 0, .size_max = sizeof(uint64_t), FDS(1),
		NO_GATE, .flags = VHU_RULE_SIZE_EITHER },
	[VHU_SET_VRING_NUM] = { "SET_VRING_NUM", SIZE_OF(struct vhu_wire_vring_state), NO_GATE,
		.flags = VHU_RULE_INDEX },
	[VHU_SET_VRING_ADDR] = { "SET_VRING_ADDR", SIZE_OF(struct vhu_wire_vring_addr), NO_GATE,
		.flags = VHU_RULE_INDEX },
	[VHU_SET_VRING_BASE] = { "SET_VRING_BASE", SIZE_OF(struct vhu_wire_vring_state), NO_GATE,
		.flags = VHU_RULE_INDEX },
	[VHU_GET_VRING_BASE] = { "GET_VRING_BASE", SIZE_OF(struct vhu_wire_vring_state), NO_GATE,
		REPLY(STATE), .flags = VHU_RULE_INDEX },
	[VHU_SET_VRING_KICK] = { "SET_VRING_KICK", SIZE_OF(uint64_t), .fd_max = 1, NO_GATE,
		.flags = VHU_RULE_NOFD },
	[VHU_SET_VRING_CALL] = { "SET_VRING_CALL", SIZE_OF(uint64_t), .fd_max = 1, NO_GATE,
		.flags = VHU_RULE_NOFD },
	[VHU_SET_VRING_ERR] = { "SET_VRING_ERR", SIZE_OF(uint64_t), .fd_max = 1, NO_GATE,
		.flags = VHU_RULE_NOFD },
	/* Not gated by bit 30: it is legal before SET_FEATURES as soon as the bit was offered. */
	[VHU_GET_PROTOCOL_FEATURES] = { "GET_PROTOCOL_FEATURES", NO_GATE, REPLY(U64) },
	[VHU_SET_PROTOCOL_FEATURES] = { "SET_PROTOCOL_FEATURES", SIZE_OF(uint64_t), NO_GATE },
	[VHU_GET_QUEUE_NUM] = { "GET_QUEUE_NUM", GATE(MQ), REPLY(U64) },
	[VHU_SET_VRING_ENABLE] = { "SET_VRING_ENABLE", SIZE_OF(struct vhu_wire_vring_state),
		GATE_FEATURE(VHU_F_PROTOCOL_FEATURES), .flags = VHU_RULE_INDEX },
	[VHU_SEND_RARP] = { "SEND_RARP", SIZE_OF(uint64_t), GATE(RARP) },
	[VHU_NET_SET_MTU] = { "NET_SET_MTU", SIZE_OF(uint64_t), GATE(NET_MTU) },
	[VHU_SET_BACKEND_REQ_FD] = { "SET_BACKEND_REQ_FD", FDS(1), GATE(BACKEND_REQ) },
	[VHU_IOTLB_MSG] = { "IOTLB_MSG", SIZE_OF(struct vhu_wire_iotlb),
		GATE_FEATURE(VIRTIO_F_IOMMU_PLATFORM), REPLY(U64) },
	[VHU_SET_VRING_ENDIAN] = { "SET_VRING_ENDIAN", SIZE_OF(struct vhu_wire_vring_state),
		GATE(CROSS_ENDIAN), .flags = VHU_RULE_INDEX },
	[VHU_GET_CONFIG] = { "GET_CONFIG", CONFIG_SIZES, GATE(CONFIG), REPLY(CONFIG),
		.flags = VHU_RULE_SIZE_CONFIG },
	[VHU_SET_CONFIG] = { "SET_CONFIG", CONFIG_SIZES, GATE(CONFIG),
		.flags = VHU_RULE_SIZE_CONFIG },
	/*
	 * Keys make the session description long and its layout is none of ours: any size passes.
	 * The answer is the description with its number in it.
	 */
	[VHU_CREATE_CRYPTO_SESSION] = { "CREATE_CRYPTO_SESSION", .size_min = 1,
		.size_max = VHU_PAYLOAD_MAX, GATE(CRYPTO_SESSION), REPLY(SESSION) },
	[VHU_CLOSE_CRYPTO_SESSION] = { "CLOSE_CRYPTO_SESSION", SIZE_OF(uint64_t),
		GATE(CRYPTO_SESSION) },
	[VHU_POSTCOPY_ADVISE] = { "POSTCOPY_ADVISE", GATE(PAGEFAULT), REPLY(FD) },
	[VHU_POSTCOPY_LISTEN] = { "POSTCOPY_LISTEN", GATE(PAGEFAULT) },
	[VHU_POSTCOPY_END] = { "POSTCOPY_END", GATE(PAGEFAULT), REPLY(U64) },
	[VHU_GET_INFLIGHT_FD] = { "GET_INFLIGHT_FD", INFLIGHT_SIZES, GATE(INFLIGHT_SHMFD),
		REPLY(INFLIGHT), .flags = VHU_RULE_SIZE_EITHER },
	[VHU_SET_INFLIGHT_FD] = { "SET_INFLIGHT_FD", INFLIGHT_SIZES, FDS(1), GATE(INFLIGHT_SHMFD),
		.flags = VHU_RULE_SIZE_EITHER },
	[VHU_GPU_SET_SOCKET] = { "GPU_SET_SOCKET", FDS(1), NO_GATE },
	[VHU_RESET_DEVICE] = { "RESET_DEVICE", GATE(RESET_DEVICE) },
	[VHU_VRING_KICK] = { "VRING_KICK", SIZE_OF(struct vhu_wire_vring_state),
		GATE(INBAND_NOTIFICATIONS), .flags = VHU_RULE_INDEX },
	[VHU_GET_MAX_MEM_SLOTS] = { "GET_MAX_MEM_SLOTS", GATE(CONFIGURE_MEM_SLOTS), REPLY(U64) },
	[VHU_ADD_MEM_REG] = { "ADD_MEM_REG", SIZE_OF(struct vhu_wire_mem_reg), FDS(1),
		GATE(CONFIGURE_MEM_SLOTS), .flags = VHU_RULE_LISTEN },
	[VHU_REM_MEM_REG] = { "REM_MEM_REG", SIZE_OF(struct vhu_wire_mem_reg), .fd_max = 1,
		GATE(CONFIGURE_MEM_SLOTS), .flags = VHU_RULE_FD_OPTIONAL },
	[VHU_SET_STATUS] = { "SET_STATUS", SIZE_OF(uint64_t), GATE(STATUS) },
	[VHU_GET_STATUS] = { "GET_STATUS", GATE(STATUS), REPLY(U64) },
	[VHU_GET_SHARED_OBJECT] = { "GET_SHARED_OBJECT", .size_min = 16, .size_max = 16,
		GATE(SHARED_OBJECT), REPLY(FD) },
	[VHU_SET_DEVICE_STATE_FD] = { "SET_DEVICE_STATE_FD", SIZE_OF(struct vhu_wire_device_state),
		FDS(1), GATE(DEVICE_STATE), REPLY(U64) },
	[VHU_CHECK_DEVICE_STATE] = { "CHECK_DEVICE_STATE", GATE(DEVICE_STATE), REPLY(U64) },
	[VHU_GET_SHMEM_CONFIG] = { "GET_SHMEM_CONFIG", GATE(SHMEM), REPLY(SHMEM) },
	[VHU_GET_VRING_BASE_SKIP_DRAIN] = { "GET_VRING_BASE_SKIP_DRAIN",
		SIZE_OF(struct vhu_wire_vring_state), GATE(GET_VRING_BASE_SKIP_DRAIN), REPLY(STATE),
		.flags = VHU_RULE_INDEX },
};

/* All of them need BACKEND_REQ too, without which there is no channel to send them on. */
static const struct vhu_request_rule back_end_rules[VHU_BACKEND_REQUESTS] = {
	[VHU_BACKEND_IOTLB_MSG] = { "BACKEND_IOTLB_MSG", SIZE_OF(struct vhu_wire_iotlb),
		GATE_FEATURE(VIRTIO_F_IOMMU_PLATFORM) },
	[VHU_BACKEND_CONFIG_CHANGE] = { "BACKEND_CONFIG_CHANGE_MSG", GATE(CONFIG) },
	[VHU_BACKEND_VRING_HOST_NOTIFIER] = { "BACKEND_VRING_HOST_NOTIFIER_MSG",
		SIZE_OF(struct vhu_wire_vring_area), .fd_max = 1, GATE(HOST_NOTIFIER),
		.flags = VHU_RULE_NOFD },
	[VHU_BACKEND_VRING_CALL] = { "BACKEND_VRING_CALL", SIZE_OF(struct vhu_wire_vring_state),
		GATE(INBAND_NOTIFICATIONS), .flags = VHU_RULE_INDEX },
	[VHU_BACKEND_VRING_ERR] = { "BACKEND_VRING_ERR", SIZE_OF(struct vhu_wire_vring_state),
		GATE(INBAND_NOTIFICATIONS), .flags = VHU_RULE_INDEX },
	[VHU_BACKEND_SHARED_OBJECT_ADD] = { "BACKEND_SHARED_OBJECT_ADD", .size_min = 16,
		.size_max = 16, GATE(SHARED_OBJECT) },
	[VHU_BACKEND_SHARED_OBJECT_REMOVE] = { "BACKEND_SHARED_OBJECT_REMOVE", .size_min = 16,
		.size_max = 16, GATE(SHARED_OBJECT) },
	/* Answered with a u64 and, if the object was found, a descriptor. */
	[VHU_BACKEND_SHARED_OBJECT_LOOKUP] = { "BACKEND_SHARED_OBJECT_LOOKUP", .size_min = 16,
		.size_max = 16, GATE(SHARED_OBJECT), REPLY(U64) },
	[VHU_BACKEND_SHMEM_MAP] = { "BACKEND_SHMEM_MAP", SIZE_OF(struct vhu_wire_shmem_map), FDS(1),
		GATE(SHMEM) },
	[VHU_BACKEND_SHMEM_UNMAP] = { "BACKEND_SHMEM_UNMAP", SIZE_OF(struct vhu_wire_shmem_map),
		GATE(SHMEM) },
};

const struct vhu_request_rule *
vhu_request_rule(uint32_t request)
{
	if (request >= VHU_REQUESTS || front_end_rules[request].name == NULL)
		return NULL;
	return &front_end_rules[request];
}

const struct vhu_request_rule *
vhu_backend_request_rule(uint32_t request)
{
	if (request >= VHU_BACKEND_REQUESTS || back_end_rules[request].name == NULL)
		return NULL;
	return &back_end_rules[request];
}
