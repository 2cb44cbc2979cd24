/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_CTRL_STATISTICS_H
#define VHU_CTRL_STATISTICS_H

/**
 * @file
 * Device statistics: counters of the device for the guest's driver, which shows them beside its own
 * (VIRTIO_NET_F_DEVICE_STATS; virtio 1.4, section "Device Statistics", as in Linux since 6.10).
 *
 * The driver asks which kinds there are, then for kinds of rings by number. Offered are those whose
 * every counter is counted anyway: the basic kind of each ring and the control queue's. Kinds about
 * checksums, segmentation and rate limits would have to be counted in bursts, and are not offered.
 */

#include <stddef.h>
#include <stdint.h>

#include <vhu_stats.h>

/** Longest answer: every kind of every ring of the largest port, once. More is cut off. */
#define VHU_STATISTICS_MAX 16384

/** Kinds, as bits in a question; the number of the bit in the answer. */
#define VHU_STATISTICS_RX_BASIC 0
#define VHU_STATISTICS_TX_BASIC 16
#define VHU_STATISTICS_CONTROL  32

/** Where the numbers come from. */
struct vhu_statistics_source {
	uint16_t control;    /**< the control queue; rings below it receive and transmit in turn */
	uint64_t commands;   /**< run by the control queue so far, without the one at hand */
	uint64_t obeyed;     /**< of those */
	/** Counters of a ring below it that only ever grow. */
	void (*read)(const void *owner, uint16_t ring, struct vhu_queue_stats *stats);
	const void *owner;   /**< handed to read() */
};

/** What goes into the guest's buffer behind the status. */
struct vhu_statistics_answer {
	size_t room;         /**< in: bytes that the driver has room for */
	size_t size;         /**< out: used of them */
	uint8_t bytes[VHU_STATISTICS_MAX];
};

/**
 * Run a command of this class. Nothing is answered unless all of the question is right; of an
 * answer that is too long, whole parts that fit.
 * @param command  the command's number.
 * @param data     what the driver wrote behind it; @p size bytes.
 * @return VIRTIO_NET_OK or VIRTIO_NET_ERR.
 */
uint8_t vhu_statistics_run(const struct vhu_statistics_source *source, uint8_t command,
	const uint8_t *data, size_t size, struct vhu_statistics_answer *answer);

#endif /* VHU_CTRL_STATISTICS_H */
