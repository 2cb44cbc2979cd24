/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_DEV_DEVICE_H
#define VHU_DEV_DEVICE_H

/**
 * @file
 * Devices: the vhost-user state machine of one device, without sockets, threads or packets.
 *
 * Messages go in at vhu_device_receive(); replies, events and questions come out through the
 * operations table. A message is answered exactly once; if its answer must wait (for the worker
 * or for a grace period) the device is *busy*, the caller reads no further message, and
 * ops->answered tells when it may. Everything runs on the control thread; lcores see the result
 * through the rings' snapshots only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vhu.h>

#include "mem/map.h"
#include "ring/chain.h"
#include "ring/ring.h"
#include "snap/publish.h"
#include "wire/message.h"

struct vhu_device;
struct vhu_loop;

/**
 * Slow work. run() is called on the worker thread (or at once, in a process without one) and may
 * not touch device state; then done() is called on the control thread. Both get the job; whoever
 * made it frees it in done().
 */
struct vhu_job {
	struct vhu_job *next;
	void (*run)(struct vhu_job *job);
	void (*done)(struct vhu_job *job);
	int result; /**< for run() to leave, for done() to read */
};

/** Where slow work goes. submit() never fails: the job carries its own link. */
struct vhu_executor {
	void (*submit)(struct vhu_executor *executor, struct vhu_job *job);
};

/** What a device asks of its surroundings. All are called on the control thread. */
struct vhu_device_ops {
	/**
	 * Send a reply. The message and its descriptors (to be closed after sending) are the
	 * callee's to copy or send before it returns. Errors are the connection's business.
	 */
	void (*send)(void *owner, struct vhu_message *reply);
	/** The message that made the device busy has been answered: the next may be read. */
	void (*answered)(void *owner);
	/** The peer broke the protocol beyond repair: close the connection, after this call. */
	void (*hang_up)(void *owner);
	/** Something happened. @p ring is UINT16_MAX unless the type is RING_*. */
	void (*event)(void *owner, enum vhu_event_type type, uint16_t ring, uint64_t value);
	/**
	 * Fill in what depends on the device type: burst, body, header_size. Everything else of the
	 * snapshot is set. @return 0 or -errno (the ring does not start then).
	 */
	int (*specialise)(void *owner, uint16_t ring, struct vhu_snapshot *snapshot);
	/**
	 * A ring of this size is about to start: get memory for what will be in flight
	 * (vhu_element_queue_memory()). @return 0 or -errno: it does not start then. May be NULL.
	 */
	int (*ring_prepare)(void *owner, uint16_t ring, uint16_t size);
	/**
	 * It starts, later than that if its memory is translated: vhu_element_queue_start(), which
	 * explains the other parameters. NULL for devices that give back within a burst.
	 */
	void (*ring_place)(void *owner, uint16_t ring, const struct vhu_snapshot *snapshot,
		uint16_t capacity, struct vhu_walk *avail, struct vhu_walk *used);
	/**
	 * Are buffers of this ring given back in the order in which they are taken? Then the used
	 * index tells where to go on. NULL: config.in_order tells for all.
	 */
	bool (*in_order)(void *owner, uint16_t ring);
	/**
	 * A started ring is about to stop for good: the last moment to give back what was taken
	 * from it. Called before it is parked. May be NULL.
	 */
	void (*stopping)(void *owner, uint16_t ring);
	/**
	 * The ring is parked and quiet, and its position is about to be remembered: what was taken
	 * and not given back can be put back. May be NULL.
	 */
	void (*quiet)(void *owner, uint16_t ring);
	/** The ring's kick descriptor changed (-1: none); not owned by the callee. May be NULL. */
	void (*kick_changed)(void *owner, uint16_t ring, int kick_fd);
	/**
	 * Copy @p size bytes of the device configuration space from @p offset. @return 0 or -errno.
	 * May be NULL: CONFIG is not offered then.
	 */
	int (*get_config)(void *owner, uint32_t offset, void *data, uint32_t size);
	/**
	 * SEND_RARP: tell the network where the guest with this address lives now (its first byte
	 * in the lowest bits; an individual address). @return 0 or -errno. May be NULL: RARP is not
	 * offered then.
	 */
	int (*announce)(void *owner, uint64_t address);
	/**
	 * SET_CONFIG: write @p size bytes of the configuration space at @p offset. @p migration:
	 * restore what another host had, read-only fields included; otherwise the guest's driver
	 * wrote. @return 0 or -errno (-EPERM: not to be written). May be NULL: nothing can be.
	 */
	int (*set_config)(void *owner, uint32_t offset, const void *data, uint32_t size,
		bool migration);
	/**
	 * Device state for another host, once all rings are stopped: what the front-end does not
	 * know by itself. @p bytes is freed by the caller; at most 16 MiB. @return 0 or -errno. May
	 * be NULL, as load_state: DEVICE_STATE is not offered then.
	 */
	int (*save_state)(void *owner, uint8_t **bytes, size_t *size);
	/** The reverse. On failure nothing has changed. @return 0 or -errno. */
	int (*load_state)(void *owner, const uint8_t *bytes, size_t size);
	/**
	 * GET_SHARED_OBJECT: a descriptor of the object with this name of 16 bytes, to be closed by
	 * the caller. @return it or -errno. May be NULL: SHARED_OBJECT is not offered then.
	 */
	int (*get_shared_object)(void *owner, const uint8_t *uuid);
	/** GPU_SET_SOCKET: takes over the descriptor. @return 0 or -errno. May be NULL: refused. */
	int (*gpu_socket)(void *owner, int fd);
	/**
	 * RESET_DEVICE: all rings are stopped; forget what the guest and the front-end set. May be
	 * NULL.
	 */
	void (*reset)(void *owner);
	/**
	 * No lcore can see this region any more. It is the callee's, who calls vhu_region_free()
	 * when nobody else looks at it either; the message that removed it is answered before. May
	 * be NULL: a job unmaps it, and the answer comes after that.
	 */
	void (*region_gone)(void *owner, struct vhu_region *region);
	/**
	 * Are there so many of those that no memory may be removed now? May be NULL: never.
	 */
	bool (*regions_crowd)(void *owner);
	/** NET_SET_MTU. @return 0 or -errno. May be NULL: NET_MTU is not offered then. */
	int (*set_mtu)(void *owner, uint64_t mtu);
};

struct vhu_device_config {
	const char *name;            /**< for the log; copied */
	const struct vhu_device_ops *ops;
	void *owner;                 /**< handed to ops */
	uint64_t features;           /**< virtio features to offer (bit 30 is added) */
	uint64_t protocol_features;  /**< which to offer of vhu_device_protocol_features() */
	uint16_t ring_count;         /**< 1 ... 256 */
	uint16_t queue_num;          /**< what GET_QUEUE_NUM answers */
	/** The lcore sides: ring_count pointers, kept by the caller as long as the device. */
	struct vhu_ring **rings;
	struct vhu_executor *executor;
	struct vhu_grace_domain *domain;
	/** Where sockets of the device are served. NULL: BACKEND_REQ is not offered. */
	struct vhu_loop *loop;
	/** Time for an answer on the back-end channel; 0: VHU_CHANNEL_TIMEOUT_MS. */
	uint32_t channel_timeout_ms;
	/** shared memory regions by number, 0: none; kept by the caller. Without: no SHMEM. */
	const uint64_t *shmem_sizes;
	uint16_t shmem_count;        /**< at most 256 */
	/** The device has doorbells: see vhu_device_host_notifier(). */
	bool host_notifiers;
	/**
	 * Lcores do not write to call descriptors, the control thread does: a front-end that makes
	 * one blocking and fills it cannot hold up an lcore then. Costs the guest latency.
	 */
	bool call_handover;
	bool populate;               /**< fault memory in */
	/** Buffers are returned in the order they came: the used index tells where to resume. */
	bool in_order;
	/**
	 * Elements are kept for a while: a started ring stays published while it is disabled, so
	 * that they can be given back, and is closed to taking (vhu_ring.closed) instead.
	 */
	bool keeps_elements;
	/**
	 * Features of the device type that are accepted although they were not offered: QEMU's
	 * device for vhost-user-scsi acknowledges some that it never asked the back-end for.
	 */
	uint64_t unasked_features;
	bool legacy;                 /**< serve drivers without VERSION_1, of our byte order */
};

/**
 * Virtio features that the engine serves whatever the type of the device (notification data,
 * reset of one ring, ...). Those of ring formats belong to whoever moves buffers.
 */
uint64_t vhu_device_virtio_features(void);
/** Protocol features that the engine serves. */
uint64_t vhu_device_protocol_features(void);

/** Create a device, disconnected. @return NULL if out of memory. */
struct vhu_device *vhu_device_new(const struct vhu_device_config *config);

/**
 * Offer something else from the next question on, for device types that decide late. Features that
 * were acknowledged already stay acknowledged.
 * @param features, protocol_features  as in the configuration.
 */
void vhu_device_offer(struct vhu_device *device, uint64_t features, uint64_t protocol_features);

/** A front-end connected: fresh negotiation. The device must be idle (not busy, not leaving). */
void vhu_device_connect(struct vhu_device *device);

/**
 * Handle one message. Takes over the message's descriptors. May call ops->send, ops->event,
 * ops->hang_up; if vhu_device_busy() is true afterwards, ops->answered follows later.
 */
void vhu_device_receive(struct vhu_device *device, struct vhu_message *message);

/** Is the last message still unanswered, or a disconnect still under way? */
bool vhu_device_busy(const struct vhu_device *device);

/**
 * The connection is gone: park and stop all rings, forget the negotiation, unmap memory after the
 * grace period. @p then is called on the control thread when nothing is left, maybe before this
 * returns; it may free the device.
 */
void vhu_device_disconnect(struct vhu_device *device, void (*then)(void *owner));

/** Free a device that is disconnected and not busy. */
void vhu_device_free(struct vhu_device *device);

/** Send the calls that lcores left to us. For when vhu_rings_calling moved. */
void vhu_device_check_calls(struct vhu_device *device);

/** Look for rings that lcores broke: log, descriptor, event. For when vhu_rings_broken moved. */
void vhu_device_check_broken(struct vhu_device *device);

/** Ask for translations that lcores miss. For when vhu_rings_missing moved. */
void vhu_device_check_missing(struct vhu_device *device);

/** What a device does now and then: to be called some 20 to 100 times a second. */
void vhu_device_tick(struct vhu_device *device);

/**
 * Build and publish the snapshot of a ring anew, because what ops->specialise makes of it changed.
 * Nothing happens to a ring that does not run. @return 0 or -ENOMEM (the old one stands).
 */
int vhu_device_renew(struct vhu_device *device, uint16_t ring);

/**
 * What lcores see of the ring; NULL while it is parked. Valid on the control thread until the next
 * call into the device.
 */
const struct vhu_snapshot *vhu_device_ring_snapshot(
	const struct vhu_device *device, uint16_t ring);

/** For information. */
uint64_t vhu_device_features(const struct vhu_device *device);
uint64_t vhu_device_negotiated_protocol_features(const struct vhu_device *device);
const struct vhu_map *vhu_device_map(const struct vhu_device *device);
void vhu_device_counts(const struct vhu_device *device, uint64_t *messages, uint64_t *refusals,
	char last_refusal[VHU_REASON_SIZE]);
/** Fills in what a device knows of its port: features, formats, memory, messages. */
void vhu_device_describe(const struct vhu_device *device, struct vhu_port_info *info);
/** Fills all of @p info. */
void vhu_device_ring_info(const struct vhu_device *device, uint16_t ring,
	struct vhu_queue_info *info);
/** Started, enabled and not broken. */
bool vhu_device_ring_running(const struct vhu_device *device, uint16_t ring);

#endif /* VHU_DEV_DEVICE_H */
