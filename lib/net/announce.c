/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <rte_byteorder.h>
#include <rte_ether.h>

#include "net/announce.h"
#include "net/queue.h"

/* A request for the protocol address that belongs to a hardware address (RFC 903). */
#define ETHERTYPE_RARP 0x8035
#define HARDWARE_ETHERNET 1
#define REVERSE_REQUEST 3
/* Shortest frame of Ethernet, without its checksum. */
#define FRAME_SIZE 60

struct rarp_frame {
	uint8_t destination[RTE_ETHER_ADDR_LEN];
	uint8_t source[RTE_ETHER_ADDR_LEN];
	rte_be16_t type;
	rte_be16_t hardware;
	rte_be16_t protocol;
	uint8_t hardware_size;
	uint8_t protocol_size;
	rte_be16_t operation;
	uint8_t sender[RTE_ETHER_ADDR_LEN];
	uint8_t sender_protocol[4];
	uint8_t target[RTE_ETHER_ADDR_LEN];
	uint8_t target_protocol[4];
	uint8_t padding[FRAME_SIZE - 42];
} __attribute__((packed));

static_assert(sizeof(struct rarp_frame) == FRAME_SIZE, "as short as Ethernet allows");

int
vhu_queue_announce(struct vhu_queue *queue, uint64_t address)
{
	struct vhu_announcements *a = &queue->announcements;
	uint32_t asked = atomic_load_explicit(&a->asked, memory_order_relaxed);

	/* Partner: the release store in deliver(): the place is read before it is used again. */
	if (asked - atomic_load_explicit(&a->delivered, memory_order_acquire) == VHU_ANNOUNCEMENTS)
		return -ENOBUFS;
	a->address[asked % VHU_ANNOUNCEMENTS] = address;
	/* Partner: the acquire load in deliver(). */
	atomic_store_explicit(&a->asked, asked + 1, memory_order_release);
	return 0;
}

uint32_t
vhu_queue_announcing(const struct vhu_queue *queue)
{
	const struct vhu_announcements *a = &queue->announcements;

	return atomic_load_explicit(&a->asked, memory_order_relaxed) -
		atomic_load_explicit(&a->delivered, memory_order_relaxed);
}

uint32_t
vhu_queue_forget_announcements(struct vhu_queue *queue)
{
	struct vhu_announcements *a = &queue->announcements;
	uint32_t asked = atomic_load_explicit(&a->asked, memory_order_relaxed);
	uint32_t delivered = atomic_load_explicit(&a->delivered, memory_order_relaxed);

	atomic_store_explicit(&a->delivered, asked, memory_order_relaxed);
	return asked - delivered;
}

static struct rte_mbuf *
make_frame(const struct vhu_queue *queue, uint64_t address)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(queue->pool);
	struct rarp_frame *frame;

	if (m == NULL)
		return NULL;
	/* What the queue's set-up says about received mbufs: the port above all. */
	memcpy(&m->rearm_data, &queue->rearm, sizeof(queue->rearm));
	m->data_len = FRAME_SIZE;
	m->pkt_len = FRAME_SIZE;
	frame = rte_pktmbuf_mtod(m, struct rarp_frame *);
	*frame = (struct rarp_frame){
		.type = rte_cpu_to_be_16(ETHERTYPE_RARP),
		.hardware = rte_cpu_to_be_16(HARDWARE_ETHERNET),
		.protocol = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4),
		.hardware_size = RTE_ETHER_ADDR_LEN,
		.protocol_size = sizeof(frame->sender_protocol),
		.operation = rte_cpu_to_be_16(REVERSE_REQUEST),
	};
	memset(frame->destination, 0xff, sizeof(frame->destination));
	for (unsigned int i = 0; i < RTE_ETHER_ADDR_LEN; i++) {
		uint8_t byte = (uint8_t)(address >> 8 * i);

		frame->source[i] = byte;
		frame->sender[i] = byte;
		frame->target[i] = byte;
	}
	return m;
}

/* @return how many were written to @p packets; without mbufs the rest waits for the next burst. */
static uint16_t
deliver(struct vhu_queue *queue, struct rte_mbuf **packets, uint16_t count)
{
	struct vhu_announcements *a = &queue->announcements;
	uint32_t delivered = atomic_load_explicit(&a->delivered, memory_order_relaxed);
	/* Partner: the release store in vhu_queue_announce(). */
	uint32_t asked = atomic_load_explicit(&a->asked, memory_order_acquire);
	uint16_t n = 0;

	if (delivered == asked || queue->pool == NULL)
		return 0;
	while (n < count && delivered != asked) {
		packets[n] = make_frame(queue, a->address[delivered % VHU_ANNOUNCEMENTS]);
		if (packets[n] == NULL)
			break;
		n++;
		delivered++;
	}
	/* Partner: the acquire load in vhu_queue_announce(). */
	atomic_store_explicit(&a->delivered, delivered, memory_order_release);
	vhu_count(&queue->ring.counters.packets, n);
	vhu_count(&queue->ring.counters.bytes, (uint64_t)n * FRAME_SIZE);
	return n;
}

static uint16_t
announcing_burst(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, uint16_t count)
{
	uint16_t n = deliver(vhu_queue_of(ring), packets, count);

	if (n == count)
		return n;
	return n + snapshot->inner(ring, snapshot, packets + n, count - n);
}

void
vhu_announce_specialise(const struct vhu_queue *queue, struct vhu_snapshot *snapshot)
{
	if (!vhu_ring_receives(queue->index) || vhu_queue_announcing(queue) == 0)
		return;
	snapshot->inner = snapshot->burst;
	snapshot->burst = announcing_burst;
	snapshot->peek = VHU_PEEK_NOT;
}
