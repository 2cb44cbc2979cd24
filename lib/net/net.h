/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_NET_NET_H
#define VHU_NET_NET_H

/**
 * @file
 * The seam between the control side of a port and virtio-net's data path.
 *
 * A queue wraps the lcore's side of a ring with what bursts need beside it (mempool, offload
 * options). ctrl/ creates queues, hands their rings to the device, and asks vhu_net_specialise()
 * for the burst function that fits a snapshot.
 */

#include <stdbool.h>
#include <stdint.h>

#include "ring/ring.h"
#include "snap/snapshot.h"

struct vhu_port;
struct vhu_queue;

/**
 * Virtio features that the net data path serves (VERSION_1, MRG_RXBUF, CSUM, ... ; MQ and MTU are
 * the port's business).
 */
uint64_t vhu_net_features(void);

/** Bytes of the header in front of a frame, with these features acknowledged. */
uint8_t vhu_net_header_size(uint64_t features);

/**
 * Create a queue. @param ring index: even transmits to the guest, odd receives from it.
 * @return NULL if out of memory.
 */
struct vhu_queue *vhu_queue_new(struct vhu_port *port, uint16_t ring);
void vhu_queue_free(struct vhu_queue *queue);

struct vhu_ring *vhu_queue_ring(struct vhu_queue *queue);
struct vhu_port *vhu_queue_port(const struct vhu_queue *queue);
uint16_t vhu_queue_index(const struct vhu_queue *queue);

/**
 * Control: the kick descriptor behind the queue's wait descriptor changed; -1: none. Wakes a
 * sleeper.
 */
void vhu_queue_set_kick(struct vhu_queue *queue, int kick_fd);

/**
 * Choose burst, body and header_size for @p snapshot (features and addresses are set). @return 0 or
 * -errno.
 */
int vhu_net_specialise(const struct vhu_queue *queue, struct vhu_snapshot *snapshot);

#endif /* VHU_NET_NET_H */
