/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <linux/virtio_net.h>

#include "net/hash.h"

/* What the value was made of, as far as the packet type tells. */
static uint16_t
report(uint32_t type)
{
	uint32_t l4 = type & RTE_PTYPE_L4_MASK;

	if (RTE_ETH_IS_IPV4_HDR(type)) {
		if (l4 == RTE_PTYPE_L4_TCP)
			return VIRTIO_NET_HASH_REPORT_TCPv4;
		return l4 == RTE_PTYPE_L4_UDP ? VIRTIO_NET_HASH_REPORT_UDPv4 :
			VIRTIO_NET_HASH_REPORT_IPv4;
	}
	if (RTE_ETH_IS_IPV6_HDR(type)) {
		if (l4 == RTE_PTYPE_L4_TCP)
			return VIRTIO_NET_HASH_REPORT_TCPv6;
		return l4 == RTE_PTYPE_L4_UDP ? VIRTIO_NET_HASH_REPORT_UDPv6 :
			VIRTIO_NET_HASH_REPORT_IPv6;
	}
	return VIRTIO_NET_HASH_REPORT_NONE;
}

uint64_t
vhu_hash_fields(const struct rte_mbuf *packet)
{
	uint16_t kind;

	if ((packet->ol_flags & RTE_MBUF_F_RX_RSS_HASH) == 0)
		return 0;
	kind = report(packet->packet_type);
	return kind == VIRTIO_NET_HASH_REPORT_NONE ? 0 :
		(uint64_t)kind << 32 | packet->hash.rss;
}
