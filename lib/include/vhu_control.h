/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_CONTROL_H
#define VHU_CONTROL_H

/**
 * @file
 * The control queue: what the guest's driver asks of its network card.
 *
 * QEMU and virtio-user serve the control queue themselves. For front-ends that leave it to the
 * back-end a port can (VHU_OFFER_CONTROL_QUEUE): the control thread takes the commands, and what
 * they set up can be read here. The library filters no frames: an application that switches them
 * knows better where a frame belongs, and asks vhu_filter_passes() if it wants to know what the
 * guest would throw away. Which receive queue of the guest a frame goes to is likewise the choice
 * of whoever transmits; vhu_port_steer() makes the one the driver asked for (RSS).
 *
 * The driver can read the device's counters there as well (DEVICE_STATS): frames, bytes, calls and
 * drops of each ring, and the commands themselves.
 *
 * A driver that begins anew finds a card after reset: everything passes, one pair. So does the
 * driver of a new connection. What it asked for moves to another host with the state of the device
 * (DEVICE_STATE), from a port with a control queue to another.
 */

#include <stdbool.h>
#include <stdint.h>

#include <vhu.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rte_mbuf;

/** Addresses of each kind that are kept of a driver's table; from a longer one all pass. */
#define VHU_FILTER_ADDRESSES 64
/** Longest hash key, and longest table from hash to queue. */
#define VHU_HASH_KEY_SIZE 40
#define VHU_HASH_TABLE_SIZE 128

/** Which frames the guest wants to receive (virtio 1.3, sections 5.1.6.5.1 to 5.1.6.5.3). */
struct vhu_filter {
	bool promiscuous;     /**< all; also where the driver cannot set filters */
	bool all_multicast;   /**< all to groups */
	bool all_unicast;     /**< all to single addresses */
	bool no_multicast;    /**< none to groups; broadcast is not meant */
	bool no_unicast;      /**< none to single addresses */
	bool no_broadcast;
	bool unicast_overflow;   /**< the driver has more addresses than are kept: all pass */
	bool multicast_overflow;
	bool vlan_filter;     /**< the driver chooses VLANs: those not in vlans are not wanted */
	bool address_known;   /**< the driver told its address */
	uint8_t address[6];
	uint16_t unicast_count;
	uint16_t multicast_count;
	uint8_t unicast[VHU_FILTER_ADDRESSES][6];
	uint8_t multicast[VHU_FILTER_ADDRESSES][6];
	uint64_t vlans[64];   /**< VLAN n: bit n % 64 of word n / 64 */
};

/** Kinds of frames that are hashed, as bits (virtio 1.3, section 5.1.6.4.3.1). */
#define VHU_HASH_IPV4 0x01u
#define VHU_HASH_TCP4 0x02u
#define VHU_HASH_UDP4 0x04u
#define VHU_HASH_IPV6 0x08u
#define VHU_HASH_TCP6 0x10u
#define VHU_HASH_UDP6 0x20u

/** How frames are spread over the guest's receive queues. */
struct vhu_steering {
	uint16_t pairs;       /**< queue pairs that the driver uses, at least 1 */
	bool rss;             /**< by the table; otherwise the hash modulo pairs */
	bool report;          /**< the hash goes into the header of each frame */
	uint32_t types;       /**< VHU_HASH_*; frames of other kinds have no hash */
	uint8_t key[VHU_HASH_KEY_SIZE];
	uint16_t unclassified; /**< RSS: pair for frames without a hash */
	uint16_t table_size;  /**< RSS: entries, a power of two */
	uint16_t table[VHU_HASH_TABLE_SIZE]; /**< RSS: pair by the lowest bits of the hash */
};

/** Read what the driver wants to receive. @return 0. */
int vhu_port_filter(struct vhu_port *port, struct vhu_filter *filter);

/**
 * Would the guest want this frame? Any thread; looks at the first 18 bytes.
 * @param filter  from vhu_port_filter().
 * @param frame   Ethernet header first.
 * @param size    bytes; a frame without a header never passes.
 */
bool vhu_filter_passes(const struct vhu_filter *filter, const void *frame, uint32_t size);

/** Read how the driver wants frames to be spread. @return 0. */
int vhu_port_steering(struct vhu_port *port, struct vhu_steering *steering);

/**
 * Choose the guest's receive queue for frames that are to be transmitted. lcores, any number at
 * once; takes no lock. If the guest asked for hash reports or RSS, the hash (Toeplitz) and the
 * packet type are left in the mbufs, from where vhu_tx_burst() puts them into the header.
 * @param port     the guest's.
 * @param packets  frames, untagged or tagged; fragments of a datagram are hashed by their
 *   addresses, so that they stay together.
 * @param count    how many.
 * @param pairs    receives the pair for each: transmit it on vhu_port_tx_queue(port, pair).
 */
void vhu_port_steer(struct vhu_port *port, struct rte_mbuf **packets, uint16_t count,
	uint16_t *pairs);

#ifdef __cplusplus
}
#endif
#endif /* VHU_CONTROL_H */
