/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_STATS_H
#define VHU_STATS_H

/**
 * @file
 * Counters and histograms of a queue, drops by reason, and the reasons for which a ring is broken.
 *
 * A drop concerns one frame and the queue goes on; a break concerns the ring: what the guest put
 * there cannot be what a driver means, so nothing more is taken from it until it is restarted.
 */

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Why one frame was not delivered. */
enum vhu_drop {
	VHU_DROP_SHORT = 0,      /**< receive: chain shorter than the virtio-net header */
	/** receive: frame longer than 64 KiB + headers, or too many segments */
	VHU_DROP_LONG,
	VHU_DROP_EMPTY,          /**< receive: header without a frame */
	/** either: checksum or segmentation request that does not fit the frame */
	VHU_DROP_BAD_OFFLOAD,
	VHU_DROP_NO_BUFFER_ROOM, /**< transmit: no guest buffer can ever hold the frame */
	VHU_DROP_NO_MBUF,        /**< receive: later segments could not be allocated */
	VHU_DROPS                /**< not a reason: how many there are */
};

/** Why a ring was broken. */
enum vhu_broken {
	VHU_BROKEN_NO = 0,
	VHU_BROKEN_AVAIL_INDEX,   /**< avail->idx moved by more than the ring's size */
	VHU_BROKEN_HEAD,          /**< head index outside the descriptor table */
	VHU_BROKEN_NEXT,          /**< next index outside the table */
	VHU_BROKEN_LOOP,          /**< chain longer than its table */
	VHU_BROKEN_ADDRESS,       /**< buffer outside guest memory */
	VHU_BROKEN_ZERO_LENGTH,   /**< descriptor of length 0 */
	VHU_BROKEN_DIRECTION,     /**< readable where writable is needed, or the reverse */
	VHU_BROKEN_INDIRECT,      /**< malformed, nested or unnegotiated indirect table */
	VHU_BROKEN_MEMORY,        /**< the front-end removed memory that the ring lives in */
	VHU_BROKEN_REUSED,        /**< a buffer was made available again before it was used */
	VHU_BROKENS               /**< not a reason: how many there are */
};

/** Counters of one queue since its creation or the last reset. */
struct vhu_queue_stats {
	uint64_t packets;
	uint64_t bytes;          /**< frame bytes, without virtio-net header and CRC */
	uint64_t bursts;         /**< burst calls that moved at least one packet */
	uint64_t empty;          /**< burst calls that found the ring without work or room */
	uint64_t mbuf_failures;  /**< bursts ended early because the mempool had no mbufs */
	uint64_t calls;          /**< notifications sent to the guest */
	uint64_t calls_suppressed; /**< notifications that the guest did not want */
	uint64_t drops[VHU_DROPS];
};

/**
 * What is counted of a queue while histograms are on: frames by their size without virtio-net
 * header and CRC, frames to groups, bursts by the number of frames that they moved. The sizes are
 * those of DPDK's vhost library; each frame is in one of them.
 */
enum vhu_histogram {
	VHU_SIZE_UNDER = 0,      /**< below 64 bytes */
	VHU_SIZE_64,
	VHU_SIZE_65_127,
	VHU_SIZE_128_255,
	VHU_SIZE_256_511,
	VHU_SIZE_512_1023,
	VHU_SIZE_1024_1518,
	VHU_SIZE_1519_MAX,
	VHU_CAST_MULTI,          /**< frames to a group, without those to everybody */
	VHU_CAST_BROAD,          /**< frames to everybody */
	VHU_BURST_1,             /**< bursts that moved one frame */
	VHU_BURST_2_3,
	VHU_BURST_4_7,
	VHU_BURST_8_15,
	VHU_BURST_16_31,
	VHU_BURST_32_63,
	VHU_BURST_64_127,
	VHU_BURST_128_255,
	VHU_BURST_256_MAX,
	/** bursts that moved as many frames as they were asked for; they are in one above, too */
	VHU_BURST_FULL,
	VHU_HISTOGRAMS           /**< not a counter: how many there are */
};

/** Histograms of one queue since its creation or the last reset, while they were on. */
struct vhu_queue_histograms {
	uint64_t counts[VHU_HISTOGRAMS];
};

/** What a burst goes through; see vhu_queue_stages(). */
enum vhu_stage {
	VHU_STAGE_LOOK = 0,      /**< how many chains wait */
	VHU_STAGE_GATHER,        /**< descriptors read, judged and translated */
	VHU_STAGE_MBUFS,         /**< mbufs taken from the pool, or given back to it */
	VHU_STAGE_COPY,          /**< headers and frames */
	VHU_STAGE_GIVE,          /**< used entries written */
	VHU_STAGE_OTHER,         /**< all of that for what is not of the common kind */
	VHU_STAGE_PUBLISH,       /**< used entries shown to the driver, notification, counters */
	VHU_STAGES               /**< not a stage: how many there are */
};

/** Cycles of the time-stamp counter in each stage of a queue's bursts, since its creation. */
struct vhu_queue_stages {
	uint64_t cycles[VHU_STAGES];
};

/** Name of a drop reason, e.g. "bad_offload" (also the suffix of the xstat). Static text. */
const char *vhu_drop_name(enum vhu_drop reason);
/**
 * Name of a counter, e.g. "size_65_127_packets" or "bursts_of_4_7" (also the suffix of the xstat).
 * Static text.
 */
const char *vhu_histogram_name(enum vhu_histogram counter);
/** Name of a stage, e.g. "gather". Static text. */
const char *vhu_stage_name(enum vhu_stage stage);
/** One clause for a reason, e.g. "available index jumped". Static text. */
const char *vhu_broken_text(enum vhu_broken reason);

#ifdef __cplusplus
}
#endif
#endif /* VHU_STATS_H */
