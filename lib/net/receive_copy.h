/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_RECEIVE_COPY_H
#define VHU_NET_RECEIVE_COPY_H

/**
 * @file
 * Second pass of receiving: mbufs from gathered buffers. Included by body.c only.
 *
 * Short frames that say nothing about themselves are what small-packet traffic consists of. As
 * long as four at a time are of that kind, they are copied without a branch each; the code for
 * frames of any size has more live values than there are registers, and would reload them for each.
 */

#include "net/fours.h"

/* What every received mbuf has: one segment, nothing known. Three stores instead of a dozen. */
static inline void
rearm_mbuf(struct rte_mbuf *m, uint64_t rearm, uint32_t size)
{
	typedef uint32_t fields __attribute__((vector_size(16), aligned(4), may_alias));
	typedef uint64_t word __attribute__((may_alias));

	*(word *)&m->rearm_data = rearm;
	m->ol_flags = 0;
	/* packet_type, pkt_len, data_len and vlan_tci, hash.rss */
	*(fields *)&m->rx_descriptor_fields1 = (fields){ 0, size, size, 0 };
}

/**
 * Turn what the guest asks for into mbuf flags. @param header  in the guest's memory.
 * @return false if frame and header do not fit together: counted and freed.
 */
VHU_SPECIALISED bool
receive_claims(struct vhu_queue *queue, const struct vhu_snapshot *snapshot, const uint8_t *header,
	struct rte_mbuf *m)
{
	/* flags, gso_type, hdr_len, gso_size: read once. */
	uint64_t claims = *(const volatile vhu_word8_t *)header;

	return __builtin_expect((claims & VHU_HEADER_CLAIMS) == 0, 1) ||
		vhu_offload_receive_claims(queue, snapshot->features, claims,
			header + sizeof(claims), m);
}

/* Frames of any size. @return frames kept, compacted to the front of @p packets. */
VHU_SPECIALISED unsigned int
receive_copy(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	const struct vhu_gathered *g, unsigned int first, struct rte_mbuf **packets,
	unsigned int n, const bool offload, uint64_t *bytes)
{
	const uint32_t header_size = snapshot->header_size;
	const uint64_t rearm = queue->rearm;
	unsigned int i, kept = first;
	uint64_t sum = 0;

	for (i = first; i < n; i++) {
		struct rte_mbuf *m = packets[i];
		const uint8_t *host = g->host[i];
		uint32_t size = g->size[i] - header_size;

		rearm_mbuf(m, rearm, size);
		vhu_copy((uint8_t *)m->buf_addr + RTE_PKTMBUF_HEADROOM, host + header_size, size);
		if (offload) {
			packets[kept] = m;
			if (!receive_claims(queue, snapshot, host, m))
				continue;
		}
		sum += size;
		kept++;
	}
	*bytes += sum;
	return kept;
}

VHU_PASS unsigned int
receive_copy_plain(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	const struct vhu_gathered *g, unsigned int first, struct rte_mbuf **packets,
	unsigned int n, uint64_t *bytes)
{
	return receive_copy(queue, snapshot, g, first, packets, n, false, bytes);
}

VHU_PASS unsigned int
receive_copy_offload(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	const struct vhu_gathered *g, unsigned int first, struct rte_mbuf **packets,
	unsigned int n, uint64_t *bytes)
{
	return receive_copy(queue, snapshot, g, first, packets, n, true, bytes);
}

#if VHU_FOURS == 4
#define MBUF_AT(field, other) \
	(offsetof(struct rte_mbuf, field) == offsetof(struct rte_mbuf, rearm_data) + (other))

/* What short_rearm() starts from: behind queue->rearm, lengths that lack what a buffer has. */
static inline vhu_eight4_t
short_blank(const struct vhu_queue *queue, uint32_t header_size)
{
	return (vhu_eight4_t){ (uint32_t)queue->rearm, (uint32_t)(queue->rearm >> 32), 0, 0, 0,
		-header_size, -header_size, 0 };
}

/* rearm_mbuf() as one store. @param size  of the buffer, with the header. */
static inline void
short_rearm(struct rte_mbuf *m, vhu_eight4_t blank, uint32_t size)
{
	_Static_assert(MBUF_AT(ol_flags, 8) && MBUF_AT(packet_type, 16) && MBUF_AT(pkt_len, 20) &&
		MBUF_AT(data_len, 24) && MBUF_AT(vlan_tci, 26) && MBUF_AT(hash.rss, 28),
		"what is set lies side by side");
	const vhu_eight4_t lengths = { 0, 0, 0, 0, 0, UINT32_MAX, UINT32_MAX, 0 };

	*(vhu_eight4_t *)&m->rearm_data = blank + (lengths & size);
}

/* Four whose frames say nothing: flags and gso_type are 0. */
static inline bool
short_silent(uint8_t *const *host)
{
	unsigned int claims = 0, i;

	for (i = 0; i < VHU_FOURS; i++)
		claims |= *(const volatile vhu_word2_t *)host[i];
	return claims == 0;
}

/*
 * Take fours of short frames from the front, as long as there are any.
 * @return frames taken. What stopped it is looked at anew by who takes the rest.
 */
VHU_SPECIALISED unsigned int
receive_short(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	const struct vhu_gathered *g, struct rte_mbuf **packets, unsigned int n,
	const bool offload, uint64_t *bytes)
{
	const uint32_t header_size = snapshot->header_size;
	const vhu_eight4_t blank = short_blank(queue, header_size);
	/* From a buffer's front to its frame's end in the mbuf, less a vector: sizes stay whole. */
	const ptrdiff_t tail = RTE_PKTMBUF_HEADROOM - (ptrdiff_t)header_size - 32;
	vhu_four4_t sum = { 0 };
	unsigned int i, j;

	for (i = 0; i + VHU_FOURS <= n; i += VHU_FOURS) {
		if (!fours_short(&g->size[i], header_size) ||
				(offload && !short_silent(&g->host[i])))
			break;
#pragma GCC unroll 4
		for (j = i; j < i + VHU_FOURS; j++) {
			struct rte_mbuf *m = packets[j];
			const uint8_t *host = g->host[j];
			const uint32_t size = g->size[j];
			uint8_t *buffer = m->buf_addr;
			vhu_vector32_t first = *(const vhu_vector32_t *)(host + header_size);
			vhu_vector32_t last = *(const vhu_vector32_t *)(host + size - 32);

			short_rearm(m, blank, size);
			*(vhu_vector32_t *)(buffer + RTE_PKTMBUF_HEADROOM) = first;
			*(vhu_vector32_t *)(buffer + size + tail) = last;
		}
		sum += *(const vhu_four4_t *)&g->size[i];
	}
	*bytes += (uint64_t)sum[0] + sum[1] + sum[2] + sum[3] - (uint64_t)i * header_size;
	return i;
}
#else
VHU_SPECIALISED unsigned int
receive_short(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	const struct vhu_gathered *g, struct rte_mbuf **packets, unsigned int n,
	const bool offload, uint64_t *bytes)
{
	(void)queue, (void)snapshot, (void)g, (void)packets, (void)n, (void)offload, (void)bytes;
	return 0;
}
#endif

/* A run. @return frames kept, compacted to the front of @p packets. */
VHU_SPECIALISED unsigned int
receive_copy_run(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	const struct vhu_gathered *g, struct rte_mbuf **packets, unsigned int n,
	const bool offload, uint64_t *bytes)
{
	unsigned int done = receive_short(queue, snapshot, g, packets, n, offload, bytes);

	if (done == n)
		return n;
	return offload ? receive_copy_offload(queue, snapshot, g, done, packets, n, bytes) :
		receive_copy_plain(queue, snapshot, g, done, packets, n, bytes);
}

VHU_PASS unsigned int
receive_run_plain(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	const struct vhu_gathered *g, struct rte_mbuf **packets, unsigned int n, uint64_t *bytes)
{
	return receive_copy_run(queue, snapshot, g, packets, n, false, bytes);
}

VHU_PASS unsigned int
receive_run_offload(struct vhu_queue *queue, const struct vhu_snapshot *snapshot,
	const struct vhu_gathered *g, struct rte_mbuf **packets, unsigned int n, uint64_t *bytes)
{
	return receive_copy_run(queue, snapshot, g, packets, n, true, bytes);
}

#endif /* VHU_NET_RECEIVE_COPY_H */
