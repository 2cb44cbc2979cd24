/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_ANNOUNCE_H
#define VHU_NET_ANNOUNCE_H

/**
 * @file
 * Announcements: frames that tell the network where a migrated guest lives now.
 *
 * A front-end asks for one with SEND_RARP. The application forwards what it receives from a port,
 * so the frame appears in the next receive burst, as if the guest had sent it: a RARP request (RFC
 * 903) from the guest's address to everybody. While announcements wait the queue's snapshot has a
 * burst function that delivers them and then calls the real one; afterwards the control side
 * publishes the real one again. So nothing is looked at per burst while there is nothing to tell.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "snap/snapshot.h"

/** Announcements that one queue keeps for an application that does not burst. */
#define VHU_ANNOUNCEMENTS 16

/** Those of one queue, in order. */
struct vhu_announcements {
	_Atomic(uint32_t) asked; /**< control: adds; lcore: reads */
	/** lcore: adds; control: reads, sets to `asked` while the ring is parked and quiet */
	_Atomic(uint32_t) delivered;
	/** control: writes before it adds to `asked`; lcore: reads. First byte lowest. */
	uint64_t address[VHU_ANNOUNCEMENTS];
};

struct vhu_queue;

/** Control: ask for one. It waits until the snapshot is built anew. @return 0 or -ENOBUFS. */
int vhu_queue_announce(struct vhu_queue *queue, uint64_t address);
/** Control: how many wait? */
uint32_t vhu_queue_announcing(const struct vhu_queue *queue);
/** Control: those that wait will not be delivered. Ring parked and quiet. @return how many. */
uint32_t vhu_queue_forget_announcements(struct vhu_queue *queue);
/** Control: let the snapshot, which is complete, deliver those that wait. */
void vhu_announce_specialise(const struct vhu_queue *queue, struct vhu_snapshot *snapshot);

#endif /* VHU_NET_ANNOUNCE_H */
