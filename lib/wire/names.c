/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <vhu.h>

#include "wire/message.h"

#define BITS 64
#define TEN_BITS(tens) \
	"bit " tens "0", "bit " tens "1", "bit " tens "2", "bit " tens "3", "bit " tens "4", \
	"bit " tens "5", "bit " tens "6", "bit " tens "7", "bit " tens "8", "bit " tens "9"

static const char *const unnamed[] = {
	TEN_BITS(""), TEN_BITS("1"), TEN_BITS("2"), TEN_BITS("3"), TEN_BITS("4"), TEN_BITS("5"),
	TEN_BITS("6"),
};

/* Numbers instead of constants where linux/virtio_*.h of older kernels have none. */
static const char *const features[BITS] = {
	[VIRTIO_NET_F_CSUM] = "CSUM",
	[VIRTIO_NET_F_GUEST_CSUM] = "GUEST_CSUM",
	[VIRTIO_NET_F_CTRL_GUEST_OFFLOADS] = "CTRL_GUEST_OFFLOADS",
	[VIRTIO_NET_F_MTU] = "MTU",
	[VIRTIO_NET_F_MAC] = "MAC",
	[6] = "GSO",
	[VIRTIO_NET_F_GUEST_TSO4] = "GUEST_TSO4",
	[VIRTIO_NET_F_GUEST_TSO6] = "GUEST_TSO6",
	[VIRTIO_NET_F_GUEST_ECN] = "GUEST_ECN",
	[VIRTIO_NET_F_GUEST_UFO] = "GUEST_UFO",
	[VIRTIO_NET_F_HOST_TSO4] = "HOST_TSO4",
	[VIRTIO_NET_F_HOST_TSO6] = "HOST_TSO6",
	[VIRTIO_NET_F_HOST_ECN] = "HOST_ECN",
	[VIRTIO_NET_F_HOST_UFO] = "HOST_UFO",
	[VIRTIO_NET_F_MRG_RXBUF] = "MRG_RXBUF",
	[VIRTIO_NET_F_STATUS] = "STATUS",
	[VIRTIO_NET_F_CTRL_VQ] = "CTRL_VQ",
	[VIRTIO_NET_F_CTRL_RX] = "CTRL_RX",
	[VIRTIO_NET_F_CTRL_VLAN] = "CTRL_VLAN",
	[VIRTIO_NET_F_CTRL_RX_EXTRA] = "CTRL_RX_EXTRA",
	[VIRTIO_NET_F_GUEST_ANNOUNCE] = "GUEST_ANNOUNCE",
	[VIRTIO_NET_F_MQ] = "MQ",
	[VIRTIO_NET_F_CTRL_MAC_ADDR] = "CTRL_MAC_ADDR",
	[VIRTIO_F_NOTIFY_ON_EMPTY] = "NOTIFY_ON_EMPTY",
	[VHU_F_LOG_ALL] = "LOG_ALL",
	[VIRTIO_F_ANY_LAYOUT] = "ANY_LAYOUT",
	[VIRTIO_RING_F_INDIRECT_DESC] = "INDIRECT_DESC",
	[VIRTIO_RING_F_EVENT_IDX] = "EVENT_IDX",
	[VHU_F_PROTOCOL_FEATURES] = "PROTOCOL_FEATURES",
	[VIRTIO_F_VERSION_1] = "VERSION_1",
	[VIRTIO_F_IOMMU_PLATFORM] = "IOMMU_PLATFORM",
	[VIRTIO_F_RING_PACKED] = "RING_PACKED",
	[35] = "IN_ORDER",
	[VIRTIO_F_ORDER_PLATFORM] = "ORDER_PLATFORM",
	[VIRTIO_F_SR_IOV] = "SR_IOV",
	[38] = "NOTIFICATION_DATA",
	[39] = "NOTIF_CONFIG_DATA",
	[40] = "RING_RESET",
	[41] = "ADMIN_VQ",
	[50] = "DEVICE_STATS",
	[51] = "HASH_TUNNEL",
	[52] = "VQ_NOTF_COAL",
	[53] = "NOTF_COAL",
	[VIRTIO_NET_F_GUEST_USO4] = "GUEST_USO4",
	[VIRTIO_NET_F_GUEST_USO6] = "GUEST_USO6",
	[VIRTIO_NET_F_HOST_USO] = "HOST_USO",
	[57] = "HASH_REPORT",
	[59] = "GUEST_HDRLEN",
	[60] = "RSS",
	[61] = "RSC_EXT",
	[VIRTIO_NET_F_STANDBY] = "STANDBY",
	[VIRTIO_NET_F_SPEED_DUPLEX] = "SPEED_DUPLEX",
};

static const char *const protocol_features[BITS] = {
	[VHU_PROTOCOL_MQ] = "MQ",
	[VHU_PROTOCOL_LOG_SHMFD] = "LOG_SHMFD",
	[VHU_PROTOCOL_RARP] = "RARP",
	[VHU_PROTOCOL_REPLY_ACK] = "REPLY_ACK",
	[VHU_PROTOCOL_NET_MTU] = "MTU",
	[VHU_PROTOCOL_BACKEND_REQ] = "BACKEND_REQ",
	[VHU_PROTOCOL_CROSS_ENDIAN] = "CROSS_ENDIAN",
	[VHU_PROTOCOL_CRYPTO_SESSION] = "CRYPTO_SESSION",
	[VHU_PROTOCOL_PAGEFAULT] = "PAGEFAULT",
	[VHU_PROTOCOL_CONFIG] = "CONFIG",
	[VHU_PROTOCOL_BACKEND_SEND_FD] = "BACKEND_SEND_FD",
	[VHU_PROTOCOL_HOST_NOTIFIER] = "HOST_NOTIFIER",
	[VHU_PROTOCOL_INFLIGHT_SHMFD] = "INFLIGHT_SHMFD",
	[VHU_PROTOCOL_RESET_DEVICE] = "RESET_DEVICE",
	[VHU_PROTOCOL_INBAND_NOTIFICATIONS] = "INBAND_NOTIFICATIONS",
	[VHU_PROTOCOL_CONFIGURE_MEM_SLOTS] = "CONFIGURE_MEM_SLOTS",
	[VHU_PROTOCOL_STATUS] = "STATUS",
	[VHU_PROTOCOL_XEN_MMAP] = "XEN_MMAP",
	[VHU_PROTOCOL_SHARED_OBJECT] = "SHARED_OBJECT",
	[VHU_PROTOCOL_DEVICE_STATE] = "DEVICE_STATE",
	[VHU_PROTOCOL_GET_VRING_BASE_INFLIGHT] = "GET_VRING_BASE_INFLIGHT",
	[VHU_PROTOCOL_GPA_ADDRESSES] = "GPA_ADDRESSES",
	[VHU_PROTOCOL_SHMEM] = "SHMEM",
	[VHU_PROTOCOL_GET_VRING_BASE_SKIP_DRAIN] = "GET_VRING_BASE_SKIP_DRAIN",
};

static const char *
bit_name(const char *const names[BITS], unsigned int bit)
{
	if (bit >= BITS)
		return "no such bit";
	return names[bit] != NULL ? names[bit] : unnamed[bit];
}

const char *
vhu_feature_name(unsigned int bit)
{
	return bit_name(features, bit);
}

const char *
vhu_protocol_feature_name(unsigned int bit)
{
	return bit_name(protocol_features, bit);
}

static const char *
rule_name(const struct vhu_request_rule *rule)
{
	return rule != NULL ? rule->name : "unknown request";
}

const char *
vhu_request_name(uint32_t request)
{
	return rule_name(vhu_request_rule(request));
}

const char *
vhu_backend_request_name(uint32_t request)
{
	return rule_name(vhu_backend_request_rule(request));
}
