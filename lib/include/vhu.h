/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_H
#define VHU_H

/**
 * @file
 * Ports: virtio-net devices served to virtual machines over vhost-user sockets.
 *
 * A *port* is one socket and the device behind it. It exists from vhu_port_create() to
 * vhu_port_destroy(), whether or not a front-end (QEMU, virtio-user) is connected. A port has
 * queue pairs; each pair has a receive queue (guest to application) and a transmit queue
 * (application to guest). Queues are handles that stay valid as long as the port: an application
 * may burst on them at any time; while the guest's ring is not running a burst returns 0.
 *
 * Three kinds of threads meet here. *lcores* call the burst functions of vhu_net.h, one thread
 * per queue at a time. The *control* loop (an rte_service when the application has service
 * cores, a control thread of vhu otherwise) owns sockets and device state. *Application* threads
 * call the functions of this header; they may come from any thread, never from inside a burst.
 *
 * rte_eal_init() must have run before the first call.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vhu_event.h>
#include <vhu_stats.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Most queue pairs a port can have (vhost-user addresses a ring with eight bits). */
#define VHU_MAX_QUEUE_PAIRS 128
/** Most memory regions a front-end may add, the answer to GET_MAX_MEM_SLOTS. */
#define VHU_MAX_MEM_SLOTS 509
/** Longest port name, terminator included. */
#define VHU_NAME_SIZE 32
/** Longest socket path, terminator included (sockaddr_un). */
#define VHU_PATH_SIZE 108
/** Room for one line of explanation, terminator included. */
#define VHU_REASON_SIZE 160

/** One vhost-user socket and the virtio-net device behind it. */
struct vhu_port;
/** One direction of one queue pair. */
struct vhu_queue;

/** Who creates the socket. */
enum vhu_role {
	VHU_ROLE_SERVER = 0, /**< vhu listens, the front-end connects */
	VHU_ROLE_CLIENT = 1, /**< vhu connects, and again whenever the connection is lost */
};

/**
 * What a port may offer the front-end and the guest, or withhold. Each stands for the virtio and
 * vhost-user features that belong together; a front-end or driver that does not want one goes on
 * without it.
 */
enum vhu_offer {
	VHU_OFFER_PACKED = 0,    /**< packed rings (virtio 1.3, section 2.8) */
	VHU_OFFER_IN_ORDER,      /**< buffers come back in the order they were given */
	VHU_OFFER_MERGEABLE,     /**< a frame may fill several receive buffers */
	VHU_OFFER_EVENT_IDX,     /**< each side says at which index it wants to be notified */
	VHU_OFFER_INDIRECT,      /**< descriptors in a table of their own */
	VHU_OFFER_IOMMU,         /**< buffers behind an IOMMU of the guest (ACCESS_PLATFORM) */
	VHU_OFFER_POSTCOPY,      /**< migration in which memory follows the guest (userfaultfd) */
	VHU_OFFER_INFLIGHT,      /**< a record of unfinished buffers that survives this process */
	VHU_OFFER_LOG,           /**< log of written pages, for live migration */
	VHU_OFFER_CONTROL_QUEUE, /**< serve the control queue here (see vhu_control.h) */
	VHU_OFFER_HASH,          /**< RSS and hash reports; needs CONTROL_QUEUE */
	VHU_OFFER_ANNOUNCE,      /**< tell the network where a migrated guest lives now */
	/**
	 * notifications as messages where there is no descriptor; QEMU agrees to that and does not
	 * serve it
	 */
	VHU_OFFER_IN_BAND,
	/**
	 * the driver may begin one ring anew; QEMU agrees to that and does not tell a vhost-user
	 * back-end, which goes on with the memory that the ring had
	 */
	VHU_OFFER_RING_RESET,
	VHU_OFFERS               /**< not an offer: how many there are */
};
/** An offer as a bit of vhu_port_options.offers, e.g. VHU_OFFER_BIT(PACKED). */
#define VHU_OFFER_BIT(name) (UINT32_C(1) << VHU_OFFER_##name)

/**
 * How to create a port. Start from vhu_port_options_init() and change what is needed.
 */
struct vhu_port_options {
	/** Name in logs and telemetry; copied. NULL: the last component of the path. */
	const char *name;
	/** Path of the Unix socket, at most VHU_PATH_SIZE - 1 bytes; copied. Required. */
	const char *path;
	enum vhu_role role;
	/** Queue pairs offered to the front-end, 1 ... VHU_MAX_QUEUE_PAIRS. */
	uint16_t queue_pairs;
	/** MTU offered in the device configuration, 68 ... 65535; 0 offers none. */
	uint16_t mtu;
	/**
	 * Offers made, a bit (1 << enum vhu_offer) each. By default all but IOMMU, POSTCOPY,
	 * CONTROL_QUEUE and HASH: the first two cost something, QEMU and virtio-user serve the
	 * control queue themselves.
	 */
	uint32_t offers;
	/** More virtio feature bits (as a mask) that must not be offered to the guest. */
	uint64_t features_disabled;
	/** Permission bits of a listening socket, e.g. 0660; 0 leaves what the umask gives. */
	uint32_t socket_mode;
	/** Owner and group of a listening socket; -1 leaves them alone. */
	int64_t socket_uid;
	int64_t socket_gid;
	/** Client role: first and longest pause between attempts to connect, milliseconds. */
	uint32_t reconnect_min_ms;
	uint32_t reconnect_max_ms;
	/** Fault guest memory in (on the worker thread) before lcores see it. */
	bool populate;
	/**
	 * Let the control thread notify the guest, not the lcores. A front-end owns the descriptor
	 * that is written to: a hostile one can make it blocking, fill it, and so hold up an lcore
	 * that serves other guests too, until the control thread's next tick (some 10 ms), which
	 * turns this option on for the port. Costs the guest the control thread's latency.
	 */
	bool call_handover;
	/** Begin with histograms on, see vhu_port_set_histograms(). */
	bool histograms;
	/**
	 * Called on the control thread for each event, without any lock held; functions of this
	 * header may be called from it. NULL: events wait in a ring for vhu_port_events().
	 */
	vhu_event_callback on_event;
	/** Handed to on_event. */
	void *on_event_data;
};

/** How far a postcopy migration to this process has come. */
enum vhu_postcopy {
	VHU_POSTCOPY_NONE = 0, /**< there is none */
	VHU_POSTCOPY_ADVISED,  /**< the front-end holds our userfaultfd */
	VHU_POSTCOPY_LISTENING, /**< guest memory is filled in as it is touched */
};

/** What a port is and how it does. */
struct vhu_port_info {
	char name[VHU_NAME_SIZE];
	char path[VHU_PATH_SIZE];
	enum vhu_role role;
	bool connected;                /**< a front-end is connected */
	bool up;                       /**< a queue pair runs in both directions */
	uint16_t queue_pairs;          /**< pairs that exist */
	uint16_t queue_pairs_running;  /**< pairs whose two rings are started and enabled */
	uint16_t mtu;                  /**< bytes; what the front-end set, or the option */
	uint16_t header_size;          /**< virtio-net header in front of a frame: 10, 12 or 20 */
	uint32_t offers;               /**< vhu_port_options.offers */
	bool packed;                   /**< packed rings were negotiated, otherwise split ones */
	bool in_order;                 /**< in-order use of buffers was negotiated */
	bool iommu;                    /**< addresses in rings are I/O virtual */
	bool logging;                  /**< written pages are being logged */
	bool inflight;                 /**< a record of unfinished buffers is kept */
	bool channel;                  /**< the front-end takes requests from us (BACKEND_REQ) */
	bool histograms;               /**< they are on, see vhu_port_set_histograms() */
	bool control_queue;            /**< the guest's control queue is served here, and runs */
	enum vhu_postcopy postcopy;    /**< how far a postcopy migration to here has come */
	uint32_t iotlb_entries;        /**< translations kept; 0 without IOMMU */
	uint64_t iotlb_misses;         /**< translations asked for so far, this connection */
	uint64_t announcements;        /**< SEND_RARP messages taken so far */
	uint64_t announced;            /**< announcements that receive bursts delivered so far */
	uint64_t features_offered;     /**< virtio feature bits */
	uint64_t features;             /**< those that the guest's driver accepted */
	uint64_t protocol_features;    /**< vhost-user protocol features in force */
	uint32_t memory_regions;       /**< regions mapped now */
	uint64_t memory_bytes;         /**< their total size */
	uint64_t connections;          /**< connections accepted or made so far */
	uint64_t messages;             /**< messages handled so far, all connections */
	uint64_t refusals;             /**< messages refused so far */
	char last_refusal[VHU_REASON_SIZE]; /**< why the last of those was refused; "" if none */
};

/** What a queue is and how it does. */
struct vhu_queue_info {
	uint16_t ring;          /**< vhost-user ring index: 2 * pair + (receive ? 1 : 0) */
	uint16_t size;          /**< descriptors; 0 while unknown */
	bool started;           /**< between SET_VRING_KICK and GET_VRING_BASE */
	bool enabled;           /**< SET_VRING_ENABLE */
	bool broken;            /**< the guest broke the ring's rules; sticky until restarted */
	uint16_t next_avail;    /**< next entry of the available ring */
	uint16_t next_used;     /**< next entry of the used ring */
	int call_fd;            /**< -1: the guest polls */
	int kick_fd;            /**< -1: we poll */
	const char *body;       /**< name of the burst function in use, "" when not running */
	char broken_reason[VHU_REASON_SIZE]; /**< "" unless broken */
};

/** One region of guest memory. */
struct vhu_region_info {
	uint64_t guest_address; /**< guest-physical */
	uint64_t user_address;  /**< in the front-end's address space */
	uint64_t size;          /**< bytes */
	uint64_t file_offset;   /**< of the region's first byte in its file */
	uint64_t page_size;     /**< of the file behind it, bytes */
	const void *host;       /**< where it is mapped here */
};

/**
 * Fill @p options with defaults: server role, one queue pair, no MTU, the offers named there,
 * reconnects from 1 ms to 1000 ms, no populate, no call_handover, no histograms, events in the
 * ring.
 */
void vhu_port_options_init(struct vhu_port_options *options);

/**
 * Create a port and begin to listen or to connect.
 *
 * The first port of a process also starts the control loop: as an rte_service component called
 * "vhu_control", mapped to a service lcore, if rte_service_lcore_count() is not 0, otherwise
 * as a control thread.
 *
 * @param options  what to create; not kept.
 * @param port     receives the handle; owned by the caller until vhu_port_destroy().
 * @return 0, or a negative errno: -EINVAL (a value out of range, or EAL is not initialised),
 *   -EADDRINUSE (somebody listens on the path), -EEXIST (the name is taken, or the path is no
 *   socket), -ENOTSUP (a secondary process), -ENAMETOOLONG, -EACCES, -ENOMEM ...
 *   vhu_error_text() has the sentence.
 */
int vhu_port_create(const struct vhu_port_options *options, struct vhu_port **port);

/**
 * Close the socket, stop all rings, unmap guest memory and free the port and its queues.
 * No lcore may burst on its queues any more. Waits for slow work under way on its behalf, and
 * for a callback of the port that is running; no other begins. May be called from a callback, also
 * of the same port. The last port of a process stops the control loop. NULL is allowed.
 */
void vhu_port_destroy(struct vhu_port *port);

/** Explanation of the last failed call of this thread: one line, never NULL. */
const char *vhu_error_text(void);

/**
 * The queue that receives from the guest (the guest's transmitq); NULL if there is no such pair.
 */
struct vhu_queue *vhu_port_rx_queue(struct vhu_port *port, uint16_t pair);
/** The queue that transmits to the guest (the guest's receiveq); NULL if there is no such pair. */
struct vhu_queue *vhu_port_tx_queue(struct vhu_port *port, uint16_t pair);

/**
 * Survive front-ends that cut off a file whose memory they share: without this the process is ended
 * by SIGBUS when a burst touches what is missing. With it the missing memory reads as zeros, and
 * the control loop ends the connection soon.
 *
 * Installs a handler for SIGBUS, which belongs to the whole process; that is why the application
 * has to ask. What is none of ours goes to the handler that was there before; one that is installed
 * later has to do the same. SIGBUS must not be blocked in any thread that calls into the library.
 * Call it before ports are created: memory that is mapped already is not covered, nor are more than
 * 8192 mappings at a time. Repeating it does nothing.
 * @return 0 or a negative errno.
 */
int vhu_guard_memory(void);

/**
 * Plug the guest's cable in or out: a matter between this application and the guest's driver, which
 * reads it as VIRTIO_NET_S_LINK_UP in the configuration space. A front-end with protocol features
 * CONFIG and BACKEND_REQ is told at once; others see it when they read the space again. Frames go
 * on to move as far as both sides move them. Ports begin with the link up; the choice outlives
 * connections.
 * @return 0.
 */
int vhu_port_set_link(struct vhu_port *port, bool up);

/** Describe the port. @return 0. */
int vhu_port_info(struct vhu_port *port, struct vhu_port_info *info);
/** Describe one queue. @return 0. */
int vhu_queue_info(struct vhu_queue *queue, struct vhu_queue_info *info);
/**
 * Describe the memory regions.
 * @param port     the port.
 * @param regions  room for @p count entries; may be NULL when @p count is 0.
 * @param count    entries there is room for.
 * @return how many regions there are (may be more than @p count; only @p count are written).
 */
int vhu_port_regions(struct vhu_port *port, struct vhu_region_info *regions, unsigned int count);

/**
 * Take events from the port's ring, oldest first. Empty when on_event is set.
 * One thread at a time.
 * @return how many were written to @p events.
 */
unsigned int vhu_port_events(struct vhu_port *port, struct vhu_event *events, unsigned int count);

/**
 * Read the counters of a queue. Never disturbs the lcore: a counter is one 64-bit word with one
 * writer, so each value is true for a moment of its own.
 */
void vhu_queue_stats(struct vhu_queue *queue, struct vhu_queue_stats *stats);
/**
 * Let vhu_queue_stats() and vhu_queue_histograms() count from here (the lcore's counters go on).
 */
void vhu_queue_stats_reset(struct vhu_queue *queue);

/**
 * Count frames by size and bursts by the frames in them, or stop doing so. Rings that run go on
 * meanwhile, and no burst is lost: from its next one on an lcore counts, at the price of a few
 * cycles per frame. While it is off it costs nothing. Ports begin as vhu_port_options.histograms
 * says; the choice outlives connections, and so do the counts.
 * @return 0, or -ENOMEM: some rings go on as before; say it again.
 */
int vhu_port_set_histograms(struct vhu_port *port, bool on);
/** Read the histograms of a queue; true as vhu_queue_stats() is. Zeros if they never were on. */
void vhu_queue_histograms(struct vhu_queue *queue, struct vhu_queue_histograms *histograms);

/**
 * Read where the time of a queue's bursts went. Only builds for work on the bodies count that
 * (meson option "stages"), since each burst then reads the clock a few times.
 * Any thread; true as vhu_queue_stats() is.
 * @return 0, or -ENOTSUP in other builds: all zeros.
 */
int vhu_queue_stages(struct vhu_queue *queue, struct vhu_queue_stages *stages);

/** Name of an offer, e.g. "in-order". Static text. */
const char *vhu_offer_name(enum vhu_offer offer);
/** Name of a state of postcopy, e.g. "listening". Static text. */
const char *vhu_postcopy_name(enum vhu_postcopy state);
/** Name of a virtio-net feature bit, e.g. "MRG_RXBUF"; "bit N" if it has none. Static text. */
const char *vhu_feature_name(unsigned int bit);
/** Name of a vhost-user protocol feature bit, e.g. "REPLY_ACK". Static text. */
const char *vhu_protocol_feature_name(unsigned int bit);
/** Identifier of the rte_service that runs the control loop, or -1 while a thread does. */
int vhu_control_service(void);
/** Version of the library, e.g. "0.1.0". */
const char *vhu_version(void);

#ifdef __cplusplus
}
#endif
#endif /* VHU_H */
