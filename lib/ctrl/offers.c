/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>

#include <rte_common.h>

#include "ctrl/offers.h"
#include "dev/device.h"
#include "net/net.h"
#include "obs/error.h"

/* One of the 256 rings that the protocol can name is needed for the control queue. */
#define CONTROL_QUEUE_PAIRS_MAX (VHU_MAX_QUEUE_PAIRS - 1)

/*
 * What the guest and the front-end settle between themselves. A vhost-user front-end serves the
 * control queue itself (QEMU in virtio-net, DPDK in virtio-user) and needs nothing of us, but some
 * pass on to the guest only what the back-end offers.
 */
#define FRONT_END_FEATURES \
	(VHU_BIT(VIRTIO_NET_F_CTRL_VQ) | VHU_BIT(VIRTIO_NET_F_CTRL_RX) | \
	VHU_BIT(VIRTIO_NET_F_CTRL_VLAN))
#define HASH_FEATURES (VHU_BIT(VHU_NET_F_RSS) | VHU_BIT(VHU_NET_F_HASH_REPORT))
/* Commands that only a control queue served here may promise. */
#define CONTROL_QUEUE_FEATURES \
	(VHU_BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) | VHU_BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | \
	VHU_BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | VHU_BIT(VHU_NET_F_DEVICE_STATS) | HASH_FEATURES)
/*
 * The driver announces the guest itself when the status word asks for it, which is up to the
 * front-end: it knows when a migration has ended.
 */
#define ANNOUNCE_FEATURES (VHU_BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) | VHU_BIT(VIRTIO_NET_F_STATUS))

/* What goes when an offer is withheld. */
static const struct {
	const char *name;
	uint64_t features;
	uint64_t protocol;
} offers[VHU_OFFERS] = {
	[VHU_OFFER_PACKED] = { "packed", VHU_BIT(VIRTIO_F_RING_PACKED), 0 },
	[VHU_OFFER_IN_ORDER] = { "in-order", VHU_BIT(VHU_F_IN_ORDER), 0 },
	[VHU_OFFER_MERGEABLE] = { "mergeable", VHU_BIT(VIRTIO_NET_F_MRG_RXBUF), 0 },
	[VHU_OFFER_EVENT_IDX] = { "event-idx", VHU_BIT(VIRTIO_RING_F_EVENT_IDX), 0 },
	[VHU_OFFER_INDIRECT] = { "indirect", VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC), 0 },
	[VHU_OFFER_IOMMU] = { "iommu", VHU_BIT(VIRTIO_F_IOMMU_PLATFORM), 0 },
	[VHU_OFFER_POSTCOPY] = { "postcopy", 0, VHU_BIT(VHU_PROTOCOL_PAGEFAULT) },
	[VHU_OFFER_INFLIGHT] = { "inflight", 0, VHU_BIT(VHU_PROTOCOL_INFLIGHT_SHMFD) |
			VHU_BIT(VHU_PROTOCOL_GET_VRING_BASE_INFLIGHT) },
	[VHU_OFFER_LOG] = { "log", VHU_BIT(VHU_F_LOG_ALL), VHU_BIT(VHU_PROTOCOL_LOG_SHMFD) },
	[VHU_OFFER_CONTROL_QUEUE] = { "control-queue", CONTROL_QUEUE_FEATURES, 0 },
	[VHU_OFFER_HASH] = { "hash", HASH_FEATURES, 0 },
	[VHU_OFFER_ANNOUNCE] = { "announce", ANNOUNCE_FEATURES, VHU_BIT(VHU_PROTOCOL_RARP) },
	[VHU_OFFER_IN_BAND] = { "in-band", 0, VHU_BIT(VHU_PROTOCOL_INBAND_NOTIFICATIONS) },
	[VHU_OFFER_RING_RESET] = { "ring-reset", VHU_BIT(VHU_F_RING_RESET), 0 },
};

static const char *const postcopy_states[] = {
	[VHU_POSTCOPY_NONE] = "none",
	[VHU_POSTCOPY_ADVISED] = "advised",
	[VHU_POSTCOPY_LISTENING] = "listening",
};

/* The index is unsigned: a negative enumerator is out of range, too. */
const char *
vhu_offer_name(enum vhu_offer offer)
{
	return (unsigned int)offer < VHU_OFFERS ? offers[offer].name : "unknown";
}

const char *
vhu_postcopy_name(enum vhu_postcopy state)
{
	return (unsigned int)state < RTE_DIM(postcopy_states) ? postcopy_states[state] : "unknown";
}

int
vhu_offers_check(const struct vhu_port_options *options)
{
	if (options->offers >> VHU_OFFERS != 0)
		return vhu_error(EINVAL, "offers 0x%x: bits above %d are unknown, 0x%x are all",
			options->offers, VHU_OFFERS - 1, (1u << VHU_OFFERS) - 1);
	if ((options->offers & VHU_OFFER_BIT(HASH)) &&
			!(options->offers & VHU_OFFER_BIT(CONTROL_QUEUE)))
		return vhu_error(EINVAL, "offer hash needs offer control-queue: the guest's driver "
			"sets up hashing there");
	if ((options->offers & VHU_OFFER_BIT(CONTROL_QUEUE)) &&
			options->queue_pairs > CONTROL_QUEUE_PAIRS_MAX)
		return vhu_error(EINVAL, "%u queue pairs with offer control-queue: 1 to %d are "
			"allowed, one ring is the control queue's",
			options->queue_pairs, CONTROL_QUEUE_PAIRS_MAX);
	return 0;
}

uint64_t
vhu_offers_features(const struct vhu_port_options *options)
{
	uint64_t features = vhu_net_features() | vhu_device_virtio_features() | FRONT_END_FEATURES |
		CONTROL_QUEUE_FEATURES | ANNOUNCE_FEATURES;

	for (unsigned int i = 0; i < VHU_OFFERS; i++)
		if (!(options->offers >> i & 1))
			features &= ~offers[i].features;
	if (options->queue_pairs > 1)
		features |= VHU_BIT(VIRTIO_NET_F_MQ);
	if (options->mtu != 0)
		features |= VHU_BIT(VIRTIO_NET_F_MTU);
	return features & ~options->features_disabled;
}

uint64_t
vhu_offers_protocol_features(const struct vhu_port_options *options)
{
	uint64_t features = vhu_device_protocol_features();

	for (unsigned int i = 0; i < VHU_OFFERS; i++)
		if (!(options->offers >> i & 1))
			features &= ~offers[i].protocol;
	return features;
}
