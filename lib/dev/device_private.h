/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_DEV_DEVICE_PRIVATE_H
#define VHU_DEV_DEVICE_PRIVATE_H

/**
 * @file
 * What the files of dev/ share: the state of a device, and how a change is made without waiting.
 *
 * Every change of what lcores see has the same three steps. A handler *builds* new snapshots and
 * maps beside the old ones; this may fail, and then the old state stands. It *commits*: the new
 * snapshots are published, the old ones go into a bin. Then it *retires* the bin: after a grace
 * period the bin is emptied (snapshots freed, references on maps dropped, a descriptor closed) and
 * its continuation runs. Memory regions that lost their last reference are unmapped by a job.
 *
 * All that is under way (bins in a grace period, unmap jobs) is counted in device->pending;
 * device->when_idle is called when that becomes 0. A message whose answer must wait is deferred
 * (vhu_device_defer()) and settled later (vhu_device_settle()), maybe before its handler returns.
 */

#include "dev/channel.h"
#include "dev/device.h"
#include "mem/alias.h"
#include "mem/dirty.h"
#include "mem/guard.h"
#include "mem/inflight.h"

struct vhu_bin;

/** A snapshot as the control side keeps it. */
struct vhu_published {
	struct vhu_snapshot snapshot; /**< first: its address is what lcores get */
	struct vhu_published *next;   /**< in a bin */
	struct vhu_dirty *log;        /**< the same log, one reference; or NULL */
	struct vhu_inflight_area *inflight; /**< one reference, or NULL */
};

/** The control side of one ring. */
struct vhu_device_ring {
	uint16_t index;
	uint16_t size;          /**< descriptors; 0: SET_VRING_NUM has not come */
	/** where to start; valid while stopped. Packed: both positions, see place.c */
	uint32_t base;
	bool based;             /**< a base was given, or remembered */
	bool addressed;         /**< SET_VRING_ADDR has come */
	bool packed;            /**< format of the ring; valid while started */
	bool started;
	bool enabled;
	bool broken_told;       /**< RING_BROKEN was told since the start */
	/** SET_VRING_CALL, SET_VRING_ERR said that there is none: nothing goes in-band either */
	bool call_none;
	bool error_none;
	bool kick_own;          /**< kick_fd is of our making, for in-band kicks */
	bool call_queued;       /**< an in-band call waits to be sent */
	bool lost;              /**< a change of memory under way takes the ring's memory away */
	bool placed;            /**< started, and its positions are known */
	bool unmapped;          /**< started, but parked: a translation of its memory is missing */
	int kick_fd;            /**< all three: owned, -1: none */
	int call_fd;
	int error_fd;
	struct vhu_wire_vring_addr address;
	struct vhu_ring *lcore;
	struct vhu_published *published; /**< what lcores see; NULL: parked */
	struct vhu_published *next;      /**< built, not committed yet */
};

/** How far the message at hand has come. */
enum vhu_progress {
	VHU_PROGRESS_IDLE = 0, /**< there is none */
	VHU_PROGRESS_HANDLING, /**< inside its handler or its reply */
	VHU_PROGRESS_WAITING,  /**< deferred */
};

/** Runs on the control thread when a bin has been emptied. */
typedef void (*vhu_bin_fn)(struct vhu_device *device, uint16_t ring);

/** What may be given back after a grace period. */
struct vhu_bin {
	struct vhu_grace grace;
	struct vhu_busy_reader busy;     /**< room for it, if this was made by vhu_bin_new() */
	struct vhu_device *device;
	struct vhu_published *published; /**< list of snapshots */
	struct vhu_map *map;             /**< one reference to drop, or NULL */
	/** one reference to drop, or NULL; what only it has goes into the device's log before */
	struct vhu_dirty *log;
	struct vhu_iotlb_entry *entries; /**< list of what was taken out of the IOTLB */
	int fd;                          /**< to close, or -1 */
	uint16_t ring;                   /**< for then() */
	bool allocated;                  /**< by vhu_bin_new(): to be freed */
	vhu_bin_fn then;                 /**< or NULL */
};

/** Most bytes that the state of a device may have. */
#define VHU_STATE_MAX (UINT32_C(16) << 20)

/** The state of the device on its way from or to another host; private to on_state.c. */
struct vhu_transfer {
	struct vhu_watch watch; /**< owns the descriptor while active */
	uint8_t *bytes;
	size_t size;            /**< saving: all of it */
	size_t done;            /**< written or read so far */
	int result;             /**< of the last one that ended: 0 or -errno */
	uint8_t direction;      /**< 0: saving, 1: loading */
	bool begun;             /**< one was, on this connection */
	bool active;
	bool asked;             /**< CHECK_DEVICE_STATE waits for the end */
};

/** A translation that the front-end was asked for. */
struct vhu_ask {
	uint64_t iova;   /**< the first address that was missing of its page */
	uint64_t due_ns; /**< not to be asked for again before; 0: free */
	uint8_t access;  /**< enum vhu_access bits that were asked for */
};

/**
 * Translations asked for that are remembered, each at a place that follows from its page: two that
 * meet there may be asked for too often.
 */
#define VHU_ASKS 256

struct vhu_device {
	struct vhu_device_config config; /**< name points to the array below */
	char name[VHU_NAME_SIZE];
	bool connected;
	bool leaving;                    /**< disconnecting */
	void (*left)(void *owner);

	uint64_t offered;                /**< virtio features */
	uint64_t features;               /**< acknowledged */
	uint64_t offered_protocol;
	uint64_t protocol;               /**< acknowledged */
	bool protocol_set;               /**< SET_PROTOCOL_FEATURES has come */
	uint8_t status;                  /**< virtio status byte: kept for the front-end */

	struct vhu_channel channel;      /**< to the front-end */
	struct vhu_transfer transfer;

	struct vhu_map *map;             /**< one reference; never NULL */
	struct vhu_map *empty;           /**< the map without regions, for fresh connections */
	/**
	 * Where written pages are marked while LOG_ALL is acknowledged; one reference. Until the
	 * front-end sends a log it is one of our own; NULL only without LOG_ALL.
	 */
	struct vhu_dirty *log;
	int log_fd;                      /**< signalled after pages were marked; owned, -1: none */
	struct vhu_inflight_area *inflight; /**< one reference; NULL: none was set */
	uint64_t guard_count;            /**< vhu_guard_count() when it was last looked at */
	/** made when ACCESS_PLATFORM was first acknowledged; vhu_device_iotlb() */
	struct vhu_iotlb *iotlb;
	struct vhu_ask asks[VHU_ASKS];
	uint64_t misses;                 /**< translations asked for in this connection */
	enum vhu_postcopy postcopy;
	int userfaultfd;                 /**< from ADVISE to END; owned, -1: none */
	/** mapped while listening, closed until the front-end says go; one reference, or NULL */
	struct vhu_map *coming;
	struct vhu_device_ring *rings;   /**< config.ring_count */
	struct vhu_reader **readers;     /**< of all rings */
	struct vhu_busy_reader *busy;    /**< as many: room for the grace period of the bin */

	enum vhu_progress progress;
	bool deferred;                   /**< the handler will settle */
	bool settled;                    /**< ... and did before it returned */
	struct vhu_verdict verdict;      /**< valid when settled */
	struct vhu_message message;      /**< at hand; owns its descriptors */
	struct vhu_message reply;        /**< what the handler has prepared */

	/** a call descriptor was found full: from then on the control thread calls, for good */
	bool call_filled;
	bool call_handing;               /**< snapshots that say otherwise may be left */

	unsigned int pending;
	void (*when_idle)(struct vhu_device *device);
	struct vhu_bin bin;              /**< of the deferred message, or of the disconnect */

	uint64_t messages;
	uint64_t refusals;
	unsigned int refusals_logged;    /**< of this connection */
	char last_refusal[VHU_REASON_SIZE];
};

/**
 * Handles one message that the table found valid. @p reply has been begun; a handler of a request
 * with a reply of its own fills it in. After a refusal nothing has changed.
 */
typedef struct vhu_verdict vhu_handler(struct vhu_device *device, struct vhu_message *m,
	struct vhu_message *reply);

/* device.c */

/** Tell something that is not about a ring. */
void vhu_device_tell(struct vhu_device *device, enum vhu_event_type type, uint64_t value);
/** Is any ring started? */
bool vhu_device_any_started(const struct vhu_device *device);
/** Disconnect now: no message is at hand. The device may be gone afterwards. */
void vhu_device_leave(struct vhu_device *device);

/* dispatch.c */

/** From a handler, before it begins what may wait: the answer comes from vhu_device_settle(). */
void vhu_device_defer(struct vhu_device *device);
/** Answer the deferred message. The device may be gone afterwards unless something is pending. */
void vhu_device_settle(struct vhu_device *device, struct vhu_verdict verdict);

/* retire.c */

/**
 * Prepare an empty bin for a change of one ring that nobody waits for. @return NULL if out of
 * memory.
 */
struct vhu_bin *vhu_bin_new(struct vhu_device *device);
/** Prepare the device's own bin. There is one, for the deferred message or the disconnect. */
struct vhu_bin *vhu_bin_own(struct vhu_device *device);
/** Give an unused bin back. NULL is allowed. */
void vhu_bin_discard(struct vhu_bin *bin);
/**
 * Empty the bin after a grace period of one ring, or of all when @p ring is NULL (the device's own
 * bin only); then call bin->then. Takes over the bin.
 */
void vhu_bin_retire(struct vhu_bin *bin, struct vhu_device_ring *ring);
/** Drop a reference on a map that no lcore can see any more; orphans are unmapped by a job. */
void vhu_device_drop_map(struct vhu_device *device, struct vhu_map *map);
/** Drop the caller's references on regions; orphans are unmapped by a job. */
void vhu_device_drop_regions(struct vhu_device *device, struct vhu_region *const *regions,
	unsigned int count);
/** One more, one less thing under way. The device may be gone after the latter. */
void vhu_device_pending_up(struct vhu_device *device);
void vhu_device_pending_down(struct vhu_device *device);

/* resolve.c */

/** One of the three areas of a ring. */
struct vhu_ring_area {
	const char *what;
	uint64_t address;       /**< user address of the front-end, or I/O virtual */
	uint64_t size;
	uint8_t alignment;
	uint8_t access;         /**< enum vhu_access */
};

/** The areas of a ring in the format that it was started in: descriptors, avail, used. */
void vhu_ring_areas(const struct vhu_device_ring *ring, struct vhu_ring_area areas[3]);
/** Do the ring's three areas lie in the map? */
bool vhu_ring_in_memory(const struct vhu_device *device, const struct vhu_device_ring *ring,
	const struct vhu_map *map);
/**
 * Find the ring's three areas. @p snapshot receives the pointers and the alias that they are in, if
 * any: the caller's, also of a snapshot that is never published.
 */
struct vhu_verdict vhu_ring_resolve(const struct vhu_device *device,
	const struct vhu_device_ring *ring, const struct vhu_map *map,
	struct vhu_snapshot *snapshot);

/* rings.c */

/** Make a snapshot of the ring as it is, with this map. @return NULL when refused. */
struct vhu_published *vhu_ring_build(struct vhu_device *device,
	const struct vhu_device_ring *ring, struct vhu_map *map, struct vhu_verdict *verdict);
/** May lcores see the ring, once it is started? */
bool vhu_ring_visible(const struct vhu_device *device, const struct vhu_device_ring *ring);
/** Set ring->enabled, and what lcores see of that at once. */
void vhu_ring_set_enabled(struct vhu_device_ring *ring, bool enabled);
/** Free a snapshot that was not published, or that nobody uses any more. */
void vhu_published_free(struct vhu_device *device, struct vhu_published *published);
/** Publish; NULL parks what was running. What was there goes into the bin. */
void vhu_ring_swap(struct vhu_device_ring *ring, struct vhu_published *published,
	struct vhu_bin *bin);
/** Take a running ring away from lcores until its memory is translated again. */
void vhu_ring_rest(const struct vhu_device *device, struct vhu_device_ring *ring,
	struct vhu_bin *bin);
/** The same for good, also of a ring that rests. */
void vhu_ring_park(struct vhu_device_ring *ring, struct vhu_bin *bin);
/**
 * Build ring->next on this map for every ring that is alive and enabled, or, if @p enabling, for
 * those that are alive and not enabled yet. Rings whose memory is not in the map are left out.
 * On failure nothing is left behind.
 */
struct vhu_verdict vhu_rings_build(struct vhu_device *device, struct vhu_map *map, bool enabling);
/** Publish what vhu_rings_build() made, park all others; mark as lost those without memory. */
void vhu_rings_commit(struct vhu_device *device, const struct vhu_map *map, struct vhu_bin *bin);
/** Started, not broken or unmapped: it may not lose its memory, and a snapshot can be made. */
bool vhu_ring_alive(const struct vhu_device_ring *ring);
/** Tell once that the ring is broken, if it is. */
void vhu_ring_tell_broken(struct vhu_device *device, struct vhu_device_ring *ring);
/** Tell of a ring. */
void vhu_ring_tell(struct vhu_device *device, const struct vhu_device_ring *ring,
	enum vhu_event_type type, uint64_t value);
/** Give the owner a chance to finish before a started ring is parked and stopped. */
void vhu_ring_tell_stopping(struct vhu_device *device, const struct vhu_device_ring *ring);
/** The same for every ring. */
void vhu_rings_tell_stopping(struct vhu_device *device);
/**
 * The ring is parked and quiet: remember its base, close call and kick.
 * @return whether it was started.
 */
bool vhu_ring_stop(struct vhu_device *device, struct vhu_device_ring *ring);
/** All rings are parked and quiet: stop and disable them, then tell. */
void vhu_rings_stop(struct vhu_device *device);
/** Park all rings; what they had goes into the bin. */
void vhu_rings_park(struct vhu_device *device, struct vhu_bin *bin);
/** Forget what the front-end said about a stopped ring, except its error descriptor. */
void vhu_ring_forget(struct vhu_device_ring *ring);

/* signal.c */

/** Signal an event descriptor once, without ever waiting for its reader; -1 is allowed. */
void vhu_event_signal(int fd);

/* calls.c */

/** What a snapshot's call_fd is to be for the ring as it is. */
int vhu_ring_call_fd(const struct vhu_device *device, const struct vhu_device_ring *ring);
/** Send the call that an lcore left to us, if any. */
void vhu_ring_deliver_call(struct vhu_device *device, struct vhu_device_ring *ring);
/** Notify the driver whether anything happened or not: an earlier call may have been lost. */
void vhu_ring_call_anyway(struct vhu_device *device, struct vhu_device_ring *ring);
/** The last calls of a ring that is parked, quiet and about to be stopped: now or never. */
void vhu_ring_end_calls(struct vhu_device *device, struct vhu_device_ring *ring);
/** Tell the front-end that the ring is broken. */
void vhu_ring_signal_error(struct vhu_device *device, const struct vhu_device_ring *ring);
/**
 * Let go lcores that a front-end holds up by a call descriptor that is full, and let no lcore of
 * this device write to one again.
 */
void vhu_device_free_writers(struct vhu_device *device);

/* on_state.c */

/** Give up a transfer under way; whoever waits for it is told. As vhu_device_settle(). */
void vhu_transfer_cancel(struct vhu_device *device);

/* place.c */

/** Descriptors of the largest ring that the standard allows. */
#define VHU_RING_MAX 32768

/** May the ring turn out to be packed, as far as features were acknowledged yet? */
bool vhu_ring_may_be_packed(const struct vhu_device *device);
/** Do size and base suit the format that was negotiated? For the start. */
struct vhu_verdict vhu_ring_check_layout(const struct vhu_device *device,
	const struct vhu_device_ring *ring);
/** The ring's part of the in-flight area, or NULL. */
void *vhu_ring_inflight(const struct vhu_device *device, const struct vhu_device_ring *ring);
/**
 * The ring's memory is there: find out where it goes on. It is parked and quiet.
 * @param resolved  its three addresses.
 */
void vhu_ring_place(struct vhu_device *device, struct vhu_device_ring *ring,
	const struct vhu_snapshot *resolved);
/** Where a ring that is parked and quiet has got to, as a base. */
uint32_t vhu_ring_position(const struct vhu_device *device, const struct vhu_device_ring *ring);

/* on_features.c */
vhu_handler vhu_on_get_features, vhu_on_set_features, vhu_on_get_protocol_features,
	vhu_on_set_protocol_features, vhu_on_set_owner, vhu_on_get_queue_num, vhu_on_set_status,
	vhu_on_get_status;
/* channel.c */
vhu_handler vhu_on_set_backend_req_fd;
/* on_object.c */
vhu_handler vhu_on_get_shared_object, vhu_on_get_shmem_config, vhu_on_gpu_set_socket;
/* on_state.c */
vhu_handler vhu_on_set_device_state_fd, vhu_on_check_device_state;
/* on_inflight.c */
vhu_handler vhu_on_get_inflight_fd, vhu_on_set_inflight_fd;
/* on_memory.c */
vhu_handler vhu_on_set_mem_table, vhu_on_get_max_mem_slots, vhu_on_add_mem_reg,
	vhu_on_rem_mem_reg;
/** Make a map the device's; takes over its reference. What it replaces goes into the bin. */
struct vhu_verdict vhu_memory_switch(struct vhu_device *device, struct vhu_map *map,
	struct vhu_bin *bin);
/**
 * After a switch: answer when everything that still held the old map is gone, what earlier messages
 * left to the background included: after the acknowledgement the front-end may reuse the memory.
 */
void vhu_memory_settle(struct vhu_device *device, struct vhu_bin *bin);
/* on_ring.c */
vhu_handler vhu_on_set_vring_num, vhu_on_set_vring_addr, vhu_on_set_vring_base,
	vhu_on_set_vring_kick, vhu_on_vring_kick, vhu_on_set_vring_call, vhu_on_set_vring_err;
/* on_stop.c */
vhu_handler vhu_on_get_vring_base, vhu_on_set_vring_enable, vhu_on_reset_owner,
	vhu_on_reset_device;
/* on_log.c */
vhu_handler vhu_on_set_log_base, vhu_on_set_log_fd;
/**
 * Begin or end logging as @p features say, before they become the device's: a log of our own if
 * there is none yet. @return false if out of memory: nothing has changed.
 */
bool vhu_log_prepare(struct vhu_device *device, uint64_t features);
/** Drop a log of our own that is not needed with the device's features. */
void vhu_log_tidy(struct vhu_device *device);
/** Signal the front-end's log descriptor if pages were marked since the last time. */
void vhu_log_signal(struct vhu_device *device);
/* on_iotlb.c */
vhu_handler vhu_on_iotlb_msg;
/** Do addresses of rings and buffers go through this? NULL: they do not. */
struct vhu_iotlb *vhu_device_iotlb(const struct vhu_device *device);
/** As vhu_log_prepare(), for ACCESS_PLATFORM. */
bool vhu_iotlb_prepare(struct vhu_device *device, uint64_t features);
/** No lcore translates: forget all translations and questions. */
void vhu_iotlb_forget(struct vhu_device *device);
/** Is a translation missing of what the ring needs? */
bool vhu_ring_is_unmapped(const struct vhu_device *device, const struct vhu_device_ring *ring);
/**
 * Ask for the translation of an I/O virtual address's page, or of the address itself if the page
 * begins with what is known, unless that was done a moment ago.
 * @return whether it is on its way.
 */
bool vhu_iotlb_ask(struct vhu_device *device, uint64_t iova, uint8_t access);
/** ahead.c: ask for what a running ring's next buffers miss, a limited number of pages. */
void vhu_ring_ask_ahead(struct vhu_device *device, const struct vhu_device_ring *ring);
/** Let unmapped rings go on whose translations are complete, and ask for the others. */
void vhu_rings_remap(struct vhu_device *device);
/* on_postcopy.c */
vhu_handler vhu_on_postcopy_advise, vhu_on_postcopy_listen, vhu_on_postcopy_end;
/** Forget memory that was to come, and let go whoever waits for a page. */
void vhu_postcopy_forget(struct vhu_device *device);
/**
 * Keep memory that was mapped closed, or what went wrong with it, and settle the message with our
 * addresses. Takes over the map.
 */
void vhu_memory_coming(struct vhu_device *device, struct vhu_map *map,
	struct vhu_verdict verdict);
/** Prepare the answer to the memory message at hand: itself, with our addresses. */
void vhu_memory_reply(struct vhu_device *device, const struct vhu_map *map);
/** The end of the hand-shake: open what was kept and make it the device's. */
struct vhu_verdict vhu_memory_open(struct vhu_device *device, const struct vhu_message *m);
/** Is this message the end of the hand-shake? */
bool vhu_postcopy_is_go(const struct vhu_device *device, const struct vhu_message *m);
/* on_config.c */
vhu_handler vhu_on_get_config, vhu_on_set_config, vhu_on_net_set_mtu, vhu_on_send_rarp;

#endif /* VHU_DEV_DEVICE_PRIVATE_H */
