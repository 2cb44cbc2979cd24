/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_H
#define VHU_NET_H

/**
 * @file
 * Bursts: the data path of a port, from the application's point of view.
 *
 * "Receive" takes frames that the guest sent, "transmit" gives frames to the guest. Both work on a
 * queue handle, never block, take no lock, allocate nothing but mbufs and may be called whatever
 * state the device is in. One thread at a time per queue; different queues are independent.
 *
 * Offloads follow the guest's negotiation. Received mbufs carry RTE_MBUF_F_RX_L4_CKSUM_NONE or
 * _GOOD, RTE_MBUF_F_RX_LRO with tso_segsz for large frames, and for frames whose checksum is still
 * to be made also RTE_MBUF_F_TX_* requests with l2/l3/l4 lengths if vhu_rx_options.tx_hints asked
 * for them. Transmitted mbufs may ask for RTE_MBUF_F_TX_{TCP,UDP}_CKSUM, _TCP_SEG, _UDP_SEG, _VLAN;
 * what the guest did not negotiate is done in software (checksum, VLAN) or dropped and counted
 * (segmentation).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vhu.h>
#include <vhu_poll.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rte_mbuf;
struct rte_mempool;

/** How received frames are made into mbufs. */
struct vhu_rx_options {
	/** Where mbufs come from; must outlive the queue's use. Required. */
	struct rte_mempool *mempool;
	/** Stored in mbuf->port. */
	uint16_t port_id;
	/** Take an 802.1Q tag out of the frame into vlan_tci (RTE_MBUF_F_RX_VLAN_STRIPPED). */
	bool vlan_strip;
	/**
	 * Turn the guest's requests (checksum to be made, segmentation) also into RTE_MBUF_F_TX_*
	 * flags and lengths, so that the mbuf can be sent to a NIC or another guest as it is.
	 */
	bool tx_hints;
	/**
	 * Make checksums that the guest left to us in software, so that each frame is complete
	 * (RTE_MBUF_F_RX_L4_CKSUM_GOOD). For applications that look at no flags. Not with tx_hints.
	 */
	bool complete_checksum;
};

/**
 * Say where the mbufs of a receive queue come from. Needed before the first vhu_rx_burst(); may be
 * repeated while no lcore bursts on the queue.
 * @return 0, or -EINVAL (not a receive queue, no mempool, data room below 128 bytes).
 */
int vhu_rx_queue_setup(struct vhu_queue *queue, const struct vhu_rx_options *options);

/**
 * The rest of vhu_rx_burst(), for that alone.
 * @param queue    as there.
 * @param packets  as there.
 * @param count    as there.
 * @param view     what was found when the queue was entered, which is left in the end; NULL: it
 *   was not entered.
 * @return packets received.
 */
uint16_t vhu_rx_burst_inside(struct vhu_queue *queue, struct rte_mbuf **packets, uint16_t count,
	const struct vhu_poll_view *view);
/** The same for vhu_tx_burst(). */
uint16_t vhu_tx_burst_inside(struct vhu_queue *queue, struct rte_mbuf **packets, uint16_t count,
	const struct vhu_poll_view *view);

/**
 * Receive frames from the guest.
 * @param queue    receive queue that was set up.
 * @param packets  room for @p count mbuf pointers; the mbufs written there belong to the caller.
 * @param count    most packets wanted; any number.
 * @return packets received, 0 ... count. 0 also while the ring is stopped, disabled or broken.
 */
static inline uint16_t
vhu_rx_burst(struct vhu_queue *queue, struct rte_mbuf **packets, uint16_t count)
{
	struct vhu_poll *poll = (struct vhu_poll *)queue;
	struct vhu_poll_section section;

	if (!vhu_poll_looks(poll))
		return vhu_rx_burst_inside(queue, packets, count, NULL);
	section = vhu_poll_enter(poll);
	if (vhu_poll_is_idle(poll, section.view)) {
		vhu_poll_leave_idle(poll, section);
		return 0;
	}
	return vhu_rx_burst_inside(queue, packets, count, section.view);
}

/**
 * Transmit frames to the guest.
 * @param queue    transmit queue.
 * @param packets  frames in the order in which they are to be sent; segmented ones are allowed.
 * @param count    how many; any number.
 * @return packets taken, 0 ... count. Those are consumed (freed, also when dropped and counted);
 *   the rest still belong to the caller.
 */
static inline uint16_t
vhu_tx_burst(struct vhu_queue *queue, struct rte_mbuf **packets, uint16_t count)
{
	struct vhu_poll *poll = (struct vhu_poll *)queue;
	struct vhu_poll_section section;

	if (!vhu_poll_looks(poll))
		return vhu_tx_burst_inside(queue, packets, count, NULL);
	section = vhu_poll_enter(poll);
	if (vhu_poll_is_idle(poll, section.view)) {
		vhu_poll_leave_idle(poll, section);
		return 0;
	}
	return vhu_tx_burst_inside(queue, packets, count, section.view);
}

/**
 * Frames that wait in a receive queue, or buffers that wait in a transmit queue.
 * Exact for the moment of the call. Any thread may ask, one at a time with the queue's bursts.
 * @return the number of available chains, 0 while the ring does not run.
 */
uint16_t vhu_queue_count(struct vhu_queue *queue);

/**
 * File descriptor that becomes readable when the guest kicks a receive queue; stays the same for
 * the life of the port, across reconnects. Add it to an epoll set; do not read or close it.
 * @return the descriptor, or -EINVAL for a transmit queue.
 */
int vhu_rx_queue_wait_fd(struct vhu_queue *queue);

/**
 * Ask the guest to kick when it makes frames available, then look once more.
 * Called by the thread that bursts on the queue.
 * @return 0: sleep on the wait descriptor; -EAGAIN: frames are waiting, burst first;
 *   -ENOTCONN: the ring does not run (the wait descriptor still wakes when it starts);
 *   -EINVAL: not a receive queue.
 */
int vhu_rx_queue_wait_arm(struct vhu_queue *queue);

/**
 * Ask the guest not to kick any more; clears a pending kick. Same thread as the bursts. @return 0.
 */
int vhu_rx_queue_wait_disarm(struct vhu_queue *queue);

#ifdef __cplusplus
}
#endif
#endif /* VHU_NET_H */
