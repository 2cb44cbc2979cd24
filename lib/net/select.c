/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <rte_cpuflags.h>
#include <rte_vect.h>

#include "net/body.h"
#include "net/cursor.h"
#include "net/queue.h"
#include "wire/spec.h"

/* A driver may put header and frame into buffers as it likes; legacy drivers must ask for it. */
#define F_ANY_LAYOUT 27

/* Requests that a guest's driver may make in the header of a frame it sends. */
#define RECEIVE_OFFLOADS (VHU_BIT(VIRTIO_NET_F_CSUM) | \
	VHU_BIT(VIRTIO_NET_F_HOST_TSO4) | VHU_BIT(VIRTIO_NET_F_HOST_TSO6) | \
	VHU_BIT(VIRTIO_NET_F_HOST_ECN) | VHU_BIT(VIRTIO_NET_F_HOST_UFO) | \
	VHU_BIT(VIRTIO_NET_F_HOST_USO))
/* What it takes in the header of a frame it is sent. */
#define TRANSMIT_OFFLOADS (VHU_BIT(VIRTIO_NET_F_GUEST_CSUM) | \
	VHU_BIT(VIRTIO_NET_F_GUEST_TSO4) | VHU_BIT(VIRTIO_NET_F_GUEST_TSO6) | \
	VHU_BIT(VIRTIO_NET_F_GUEST_ECN) | VHU_BIT(VIRTIO_NET_F_GUEST_UFO) | \
	VHU_BIT(VIRTIO_NET_F_GUEST_USO4) | VHU_BIT(VIRTIO_NET_F_GUEST_USO6))

uint64_t
vhu_net_features(void)
{
	return VHU_BIT(VIRTIO_F_VERSION_1) | VHU_BIT(F_ANY_LAYOUT) |
		VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC) | VHU_BIT(VIRTIO_RING_F_EVENT_IDX) |
		VHU_BIT(VIRTIO_F_RING_PACKED) | VHU_BIT(VHU_F_IN_ORDER) |
		VHU_BIT(VIRTIO_F_IOMMU_PLATFORM) | VHU_BIT(VHU_F_LOG_ALL) |
		VHU_BIT(VIRTIO_NET_F_MRG_RXBUF) | RECEIVE_OFFLOADS | TRANSMIT_OFFLOADS;
}

#ifdef __x86_64__
static bool
cpu_has(const enum rte_cpu_flag_t *flags, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (rte_cpu_get_flag_enabled(flags[i]) != 1)
			return false;
	return true;
}

static const struct vhu_body *
best_body(void)
{
	static const enum rte_cpu_flag_t v3[] = { RTE_CPUFLAG_AVX2, RTE_CPUFLAG_BMI1,
		RTE_CPUFLAG_BMI2, RTE_CPUFLAG_F16C, RTE_CPUFLAG_FMA, RTE_CPUFLAG_MOVBE };
	static const enum rte_cpu_flag_t v4[] = { RTE_CPUFLAG_AVX512F, RTE_CPUFLAG_AVX512BW,
		RTE_CPUFLAG_AVX512CD, RTE_CPUFLAG_AVX512DQ, RTE_CPUFLAG_AVX512VL };
	uint16_t bits = rte_vect_get_max_simd_bitwidth();

	/* The application may forbid wide registers (--force-max-simd-bitwidth). */
	if (bits < RTE_VECT_SIMD_256 || !cpu_has(v3, RTE_DIM(v3)))
		return &vhu_body_base;
	if (!cpu_has(v4, RTE_DIM(v4)))
		return &vhu_body_v3;
	return bits < RTE_VECT_SIMD_512 ? &vhu_body_v4 : &vhu_body_v4wide;
}
#else
static const struct vhu_body *
best_body(void)
{
	return &vhu_body_base;
}
#endif

/* virtio 1.3, 5.1.6.1: num_buffers is there unless a legacy driver did without. */
uint8_t
vhu_net_header_size(uint64_t features)
{
	if (features & VHU_BIT(VHU_NET_F_HASH_REPORT))
		return sizeof(struct virtio_net_hdr_v1_hash);
	if (features & (VHU_BIT(VIRTIO_F_VERSION_1) | VHU_BIT(VIRTIO_NET_F_MRG_RXBUF)))
		return sizeof(struct virtio_net_hdr_mrg_rxbuf);
	return sizeof(struct virtio_net_hdr);
}

/*
 * Transmit behind an IOMMU. A frame that meets a buffer without translation is mostly dropped by
 * the application, so the control thread has to ask for them ahead.
 */
static uint16_t
translated_burst(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, uint16_t count)
{
	uint16_t n = snapshot->inner(ring, snapshot, packets, count);

	if (n != 0)
		vhu_ring_moved(ring, snapshot);
	return n;
}

static void
copy_plain(void *to, const void *from, size_t size)
{
	memcpy(to, from, size);
}

void (*vhu_cursor_copy)(void *to, const void *from, size_t size) = copy_plain;

int
vhu_net_specialise(const struct vhu_queue *queue, struct vhu_snapshot *snapshot)
{
	const struct vhu_body *body = best_body();
	const struct vhu_body_entry *entry;

	if (vhu_cursor_copy != body->copy) /* lcores read it once the first is published */
		vhu_cursor_copy = body->copy;
	if (vhu_ring_receives(queue->index))
		entry = &body->receive[snapshot->format][snapshot->in_order]
			[(snapshot->features & RECEIVE_OFFLOADS) != 0];
	else
		entry = &body->transmit[snapshot->format]
			[(snapshot->features & TRANSMIT_OFFLOADS) != 0];
	snapshot->reads_tables = vhu_ring_receives(queue->index);
	snapshot->burst = entry->burst;
	snapshot->body = entry->name;
	snapshot->peek = snapshot->format == VHU_PACKED ? VHU_PEEK_PACKED : VHU_PEEK_SPLIT;
	snapshot->header_size = vhu_net_header_size(snapshot->features);
	if (snapshot->space.iotlb != NULL && !vhu_ring_receives(queue->index)) {
		snapshot->inner = snapshot->burst;
		snapshot->burst = translated_burst;
		snapshot->notes_place = true;
		/* A burst that finds nothing notes its place as well. */
		snapshot->peek = VHU_PEEK_NOT;
	}
	return 0;
}
