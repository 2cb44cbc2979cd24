/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef LIBVHOST_USER_H
#define LIBVHOST_USER_H

/**
 * @file
 * The libvhost-user API: vhost-user devices in any event loop.
 *
 * Names, types and values are those that programs for QEMU's library of this name are written for;
 * such a program compiles against this header unchanged. The program owns the socket and the event
 * loop: it calls vu_dispatch() when the socket is readable, is told through callbacks what the
 * front-end wants, and moves requests with vu_queue_pop() and vu_queue_push(). Beside the classic
 * calls there are burst calls (vu_queue_pop_burst()) for devices that poll.
 *
 * No EAL is needed. One thread at a time may use a queue, different threads may use different
 * queues, and all of that while another thread is in vu_dispatch(). vu_init() and vu_deinit() must
 * be alone.
 *
 * Where the document changed its words ("slave" became "back-end", "master" front-end), both
 * namings are here for the same values and fields.
 */

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#if defined(__cplusplus) && !defined(VIRTIO_RING_NO_LEGACY)
/* The kernel's header has helper functions that only C compilers take. */
#define VIRTIO_RING_NO_LEGACY
#endif
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Virtio feature bit that announces protocol features. */
#define VHOST_USER_F_PROTOCOL_FEATURES 30
/** Bytes that one bit of the dirty log stands for. */
#define VHOST_LOG_PAGE 4096
/** Most segments of one element. */
#define VIRTQUEUE_MAX_SIZE 1024
/** Regions that SET_MEM_TABLE can name. */
#define VHOST_MEMORY_BASELINE_NREGIONS 8
/** Regions that ADD_MEM_REG can add up to. */
#define VHOST_USER_MAX_RAM_SLOTS 509
/** Bytes before the payload of a message. */
#define VHOST_USER_HDR_SIZE offsetof(VhostUserMsg, payload.u64)
/** Bytes of device configuration space that a message can carry. */
#define VHOST_USER_MAX_CONFIG_SIZE 256
/** Bytes before the data of a VhostUserConfig. */
#define VHOST_USER_CONFIG_HDR_SIZE offsetof(VhostUserConfig, region)
/** Bytes of the name of a shared object. */
#define UUID_LEN 16
/** Most shared memory regions of a device. */
#define VHOST_USER_MAX_SHMEM_REGIONS 256

/** Who writes to the configuration space, and why. */
typedef enum VhostSetConfigType {
	VHOST_SET_CONFIG_TYPE_FRONTEND = 0,
	VHOST_SET_CONFIG_TYPE_MASTER = VHOST_SET_CONFIG_TYPE_FRONTEND,
	VHOST_SET_CONFIG_TYPE_MIGRATION = 1,
} VhostSetConfigType;

/** Bits of the protocol feature word. */
enum VhostUserProtocolFeature {
	VHOST_USER_PROTOCOL_F_MQ = 0,
	VHOST_USER_PROTOCOL_F_LOG_SHMFD = 1,
	VHOST_USER_PROTOCOL_F_RARP = 2,
	VHOST_USER_PROTOCOL_F_REPLY_ACK = 3,
	VHOST_USER_PROTOCOL_F_NET_MTU = 4,
	VHOST_USER_PROTOCOL_F_BACKEND_REQ = 5,
	VHOST_USER_PROTOCOL_F_SLAVE_REQ = VHOST_USER_PROTOCOL_F_BACKEND_REQ,
	VHOST_USER_PROTOCOL_F_CROSS_ENDIAN = 6,
	VHOST_USER_PROTOCOL_F_CRYPTO_SESSION = 7,
	VHOST_USER_PROTOCOL_F_PAGEFAULT = 8,
	VHOST_USER_PROTOCOL_F_CONFIG = 9,
	VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD = 10,
	VHOST_USER_PROTOCOL_F_SLAVE_SEND_FD = VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD,
	VHOST_USER_PROTOCOL_F_HOST_NOTIFIER = 11,
	VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD = 12,
	VHOST_USER_PROTOCOL_F_RESET_DEVICE = 13,
	VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS = 14,
	VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
	VHOST_USER_PROTOCOL_F_STATUS = 16,
	VHOST_USER_PROTOCOL_F_XEN_MMAP = 17,
	VHOST_USER_PROTOCOL_F_SHARED_OBJECT = 18,
	VHOST_USER_PROTOCOL_F_DEVICE_STATE = 19,
	VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT = 20,
	VHOST_USER_PROTOCOL_F_GPA_ADDRESSES = 21,
	VHOST_USER_PROTOCOL_F_SHMEM = 22,
	VHOST_USER_PROTOCOL_F_MAX
};

#define VHOST_USER_PROTOCOL_FEATURE_MASK ((1ULL << VHOST_USER_PROTOCOL_F_MAX) - 1)

/** Requests of the front-end. */
typedef enum VhostUserRequest {
	VHOST_USER_NONE = 0,
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_LOG_BASE = 6,
	VHOST_USER_SET_LOG_FD = 7,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_SEND_RARP = 19,
	VHOST_USER_NET_SET_MTU = 20,
	VHOST_USER_SET_BACKEND_REQ_FD = 21,
	VHOST_USER_SET_SLAVE_REQ_FD = VHOST_USER_SET_BACKEND_REQ_FD,
	VHOST_USER_IOTLB_MSG = 22,
	VHOST_USER_SET_VRING_ENDIAN = 23,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_SET_CONFIG = 25,
	VHOST_USER_CREATE_CRYPTO_SESSION = 26,
	VHOST_USER_CLOSE_CRYPTO_SESSION = 27,
	VHOST_USER_POSTCOPY_ADVISE = 28,
	VHOST_USER_POSTCOPY_LISTEN = 29,
	VHOST_USER_POSTCOPY_END = 30,
	VHOST_USER_GET_INFLIGHT_FD = 31,
	VHOST_USER_SET_INFLIGHT_FD = 32,
	VHOST_USER_GPU_SET_SOCKET = 33,
	VHOST_USER_RESET_DEVICE = 34,
	VHOST_USER_VRING_KICK = 35,
	VHOST_USER_GET_MAX_MEM_SLOTS = 36,
	VHOST_USER_ADD_MEM_REG = 37,
	VHOST_USER_REM_MEM_REG = 38,
	VHOST_USER_SET_STATUS = 39,
	VHOST_USER_GET_STATUS = 40,
	VHOST_USER_GET_SHARED_OBJECT = 41,
	VHOST_USER_SET_DEVICE_STATE_FD = 42,
	VHOST_USER_CHECK_DEVICE_STATE = 43,
	VHOST_USER_GET_SHMEM_CONFIG = 44,
	VHOST_USER_MAX
} VhostUserRequest;

/** Requests of the back-end. */
typedef enum VhostUserBackendRequest {
	VHOST_USER_BACKEND_NONE = 0,
	VHOST_USER_SLAVE_NONE = VHOST_USER_BACKEND_NONE,
	VHOST_USER_BACKEND_IOTLB_MSG = 1,
	VHOST_USER_SLAVE_IOTLB_MSG = VHOST_USER_BACKEND_IOTLB_MSG,
	VHOST_USER_BACKEND_CONFIG_CHANGE_MSG = 2,
	VHOST_USER_SLAVE_CONFIG_CHANGE_MSG = VHOST_USER_BACKEND_CONFIG_CHANGE_MSG,
	VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG = 3,
	VHOST_USER_SLAVE_VRING_HOST_NOTIFIER_MSG = VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG,
	VHOST_USER_BACKEND_VRING_CALL = 4,
	VHOST_USER_SLAVE_VRING_CALL = VHOST_USER_BACKEND_VRING_CALL,
	VHOST_USER_BACKEND_VRING_ERR = 5,
	VHOST_USER_SLAVE_VRING_ERR = VHOST_USER_BACKEND_VRING_ERR,
	VHOST_USER_BACKEND_SHARED_OBJECT_ADD = 6,
	VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE = 7,
	VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP = 8,
	VHOST_USER_BACKEND_SHMEM_MAP = 9,
	VHOST_USER_BACKEND_SHMEM_UNMAP = 10,
	VHOST_USER_BACKEND_MAX,
	VHOST_USER_SLAVE_MAX = VHOST_USER_BACKEND_MAX
} VhostUserBackendRequest;

typedef VhostUserBackendRequest VhostUserSlaveRequest;

/** A region of guest memory, as the front-end describes it. */
typedef struct VhostUserMemoryRegion {
	uint64_t guest_phys_addr;
	uint64_t memory_size;    /**< bytes */
	uint64_t userspace_addr; /**< in the front-end */
	uint64_t mmap_offset;    /**< of its first byte in the file */
} VhostUserMemoryRegion;

#define VHOST_USER_MEM_REG_SIZE (sizeof(VhostUserMemoryRegion))

/** Payload of SET_MEM_TABLE. */
typedef struct VhostUserMemory {
	uint32_t nregions;
	uint32_t padding;
	VhostUserMemoryRegion regions[VHOST_MEMORY_BASELINE_NREGIONS];
} VhostUserMemory;

/** Payload of ADD_MEM_REG and REM_MEM_REG. */
typedef struct VhostUserMemRegMsg {
	uint64_t padding;
	VhostUserMemoryRegion region;
} VhostUserMemRegMsg;

/** Payload of SET_LOG_BASE. */
typedef struct VhostUserLog {
	uint64_t mmap_size;
	uint64_t mmap_offset;
} VhostUserLog;

/** Payload of GET_CONFIG and SET_CONFIG. */
typedef struct VhostUserConfig {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;          /**< VhostSetConfigType */
	uint8_t region[VHOST_USER_MAX_CONFIG_SIZE];
} VhostUserConfig;

/** Payload of VRING_HOST_NOTIFIER. */
typedef struct VhostUserVringArea {
	uint64_t u64;            /**< ring index, VHOST_USER_VRING_NOFD_MASK */
	uint64_t size;
	uint64_t offset;
} VhostUserVringArea;

/** Payload of GET_INFLIGHT_FD and SET_INFLIGHT_FD. */
typedef struct VhostUserInflight {
	uint64_t mmap_size;
	uint64_t mmap_offset;
	uint16_t num_queues;
	uint16_t queue_size;
} VhostUserInflight;

/** Payload of the messages about shared objects. */
typedef struct VhostUserShared {
	unsigned char uuid[UUID_LEN];
} VhostUserShared;

/** May the guest write to a shared memory mapping? */
#define VHOST_USER_FLAG_MAP_RW (1ULL << 0)

/** Payload of SHMEM_MAP and SHMEM_UNMAP. */
typedef struct VhostUserMMap {
	uint8_t shmid;           /**< shared memory region of the device */
	uint8_t padding[7];
	uint64_t fd_offset;      /**< bytes into the file */
	uint64_t shm_offset;     /**< bytes into the region */
	uint64_t len;
	uint64_t flags;          /**< VHOST_USER_FLAG_MAP_RW */
} VhostUserMMap;

#if defined(_WIN32) && (defined(__x86_64__) || defined(__i386__))
#define VU_PACKED __attribute__((gcc_struct, packed))
#else
#define VU_PACKED __attribute__((packed))
#endif

#define VHOST_USER_VERSION_MASK 0x3
#define VHOST_USER_REPLY_MASK (0x1 << 2)
#define VHOST_USER_NEED_REPLY_MASK (0x1 << 3)
#define VHOST_USER_VRING_IDX_MASK 0xff
#define VHOST_USER_VRING_NOFD_MASK (0x1 << 8)

/** A message with its descriptors. */
typedef struct VhostUserMsg {
	int request;             /**< VhostUserRequest */
	uint32_t flags;
	uint32_t size;           /**< bytes of payload */
	union {
		uint64_t u64;
		struct vhost_vring_state state;
		struct vhost_vring_addr addr;
		VhostUserMemory memory;
		VhostUserMemRegMsg memreg;
		VhostUserLog log;
		VhostUserConfig config;
		VhostUserVringArea area;
		VhostUserInflight inflight;
		VhostUserShared object;
		VhostUserMMap mmap;
		struct vhost_iotlb_msg iotlb;
	} payload;
	int fds[VHOST_MEMORY_BASELINE_NREGIONS];
	int fd_num;
	/** payload of a reply that is larger than the union; malloc'd, the library frees it */
	uint8_t *data;
} VU_PACKED VhostUserMsg;

/** A region as it is mapped here. Information only; use vu_gpa_to_va(). */
typedef struct VuDevRegion {
	uint64_t gpa;            /**< guest-physical address */
	uint64_t size;           /**< bytes */
	uint64_t qva;            /**< address in the front-end */
	uint64_t mmap_offset;    /**< of the region's first byte in the mapping */
	uint64_t mmap_addr;      /**< where the mapping begins in this process */
} VuDevRegion;

typedef struct VuDev VuDev;
struct vu_device;                /* the library's own side */
struct vu_queue;

typedef uint64_t (*vu_get_features_cb)(VuDev *dev);
typedef void (*vu_set_features_cb)(VuDev *dev, uint64_t features);
typedef int (*vu_process_msg_cb)(VuDev *dev, VhostUserMsg *vmsg, int *do_reply);
typedef bool (*vu_read_msg_cb)(VuDev *dev, int sock, VhostUserMsg *vmsg);
typedef void (*vu_queue_set_started_cb)(VuDev *dev, int qidx, bool started);
typedef bool (*vu_queue_is_processed_in_order_cb)(VuDev *dev, int qidx);
typedef int (*vu_get_config_cb)(VuDev *dev, uint8_t *config, uint32_t len);
typedef int (*vu_set_config_cb)(VuDev *dev, const uint8_t *data, uint32_t offset, uint32_t size,
	uint32_t flags);
typedef int (*vu_get_shared_object_cb)(VuDev *dev, const unsigned char *uuid);
typedef int (*vu_get_shmem_config_cb)(VuDev *dev, uint64_t *sizes, uint32_t count);

/**
 * What a device type answers. Every member may be NULL. All are called from vu_dispatch(), with no
 * lock held: they may call any function of this header except vu_dispatch() and vu_deinit().
 */
typedef struct VuDevIface {
	/**
	 * Virtio features to offer beside those of the library. Packed rings, IN_ORDER and
	 * ACCESS_PLATFORM are offered only if this returns their bits.
	 */
	vu_get_features_cb get_features;
	/** The features that the front-end acknowledged; may come again with other bits. */
	vu_set_features_cb set_features;
	/** Protocol features to offer beside those of the library. */
	vu_get_features_cb get_protocol_features;
	/** The protocol features that the front-end acknowledged. */
	vu_set_features_cb set_protocol_features;
	/**
	 * Sees every message first, and VHOST_USER_NONE when the front-end has hung up. Non-zero:
	 * handled, descriptors included; *do_reply 1: send *vmsg back.
	 */
	vu_process_msg_cb process_msg;
	/**
	 * A queue may be processed from now on, or no more: elements that are still held should be
	 * pushed before it returns.
	 */
	vu_queue_set_started_cb queue_set_started;
	/**
	 * Elements of this queue are pushed in the order of their pop: after a crash the used index
	 * tells where to go on.
	 */
	vu_queue_is_processed_in_order_cb queue_is_processed_in_order;
	/** Fill in the first @p len bytes of the configuration space. 0, or non-zero: failed. */
	vu_get_config_cb get_config;
	/** Write to the configuration space. 0, or non-zero: refused. */
	vu_set_config_cb set_config;
	/** Descriptor of a shared object, which stays the device's, or -1. */
	vu_get_shared_object_cb get_shared_object;
	/** Sizes of the shared memory regions. @return how many there are, or negative. */
	vu_get_shmem_config_cb get_shmem_config;
} VuDevIface;

typedef void (*vu_queue_handler_cb)(VuDev *dev, int qidx);

/** Where a ring lies in this process. Information only. */
typedef struct VuRing {
	unsigned int num;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint64_t log_guest_addr;
	uint32_t flags;
} VuRing;

/** One descriptor in the inflight area of a split ring (layout of the vhost-user document). */
typedef struct VuDescStateSplit {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next;
	uint64_t counter;
} VuDescStateSplit;

/** The inflight area of one split ring (layout of the vhost-user document). */
typedef struct VuVirtqInflight {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t last_batch_head;
	uint16_t used_idx;
	__extension__ VuDescStateSplit desc[];
} VuVirtqInflight;

/** A descriptor to be submitted again. */
typedef struct VuVirtqInflightDesc {
	uint16_t index;
	uint64_t counter;
} VuVirtqInflightDesc;

/**
 * A queue, as programs see it. The library keeps vring (addresses and size), inuse, notification,
 * handler, kick_fd, enable and started as they would expect them; they are to be read only. The
 * others are there because programs are compiled with them, and stay as vu_init() leaves them.
 */
typedef struct VuVirtq {
	VuRing vring;
	VuVirtqInflight *inflight;
	VuVirtqInflightDesc *resubmit_list;
	uint16_t resubmit_num;
	uint64_t counter;
	uint16_t last_avail_idx;
	uint16_t shadow_avail_idx;
	uint16_t used_idx;
	uint16_t signalled_used;
	bool signalled_used_valid;
	bool notification;
	unsigned int inuse;      /**< elements popped and not flushed */
	vu_queue_handler_cb handler;
	int call_fd;
	int kick_fd;             /**< a program may watch it itself; -1: none */
	int err_fd;
	unsigned int enable;
	bool started;
	struct vhost_vring_addr vra;
	struct vu_queue *own;    /**< the library's side */
} VuVirtq;

/** What a descriptor is watched for. */
enum VuWatchCondtion {
	VU_WATCH_IN = POLLIN,
	VU_WATCH_OUT = POLLOUT,
	VU_WATCH_PRI = POLLPRI,
	VU_WATCH_ERR = POLLERR,
	VU_WATCH_HUP = POLLHUP,
};

typedef void (*vu_panic_cb)(VuDev *dev, const char *err);
typedef void (*vu_watch_cb)(VuDev *dev, int condition, void *data);
typedef void (*vu_set_watch_cb)(VuDev *dev, int fd, int condition, vu_watch_cb cb, void *data);
typedef void (*vu_remove_watch_cb)(VuDev *dev, int fd);

/** The inflight area. Information only. */
typedef struct VuDevInflightInfo {
	int fd;
	void *addr;
	uint64_t size;
} VuDevInflightInfo;

/**
 * A device. The program allocates it, mostly inside a structure of its own; vu_init() fills it.
 * What concerns the log, the in-flight area, the back-end channel and postcopy is kept elsewhere:
 * those fields stay as vu_init() leaves them.
 */
struct VuDev {
	int sock;                /**< the connection; vu_deinit() closes it */
	uint32_t nregions;
	VuDevRegion *regions;    /**< nregions */
	VuVirtq *vq;             /**< max_queues */
	VuDevInflightInfo inflight_info;
	int log_call_fd;
	__extension__ union {
		pthread_mutex_t backend_mutex;
		pthread_mutex_t slave_mutex;
	};
	__extension__ union {
		int backend_fd;
		int slave_fd;
	};
	uint64_t log_size;
	uint8_t *log_table;
	uint64_t features;       /**< acknowledged */
	uint64_t protocol_features;
	bool broken;             /**< set before panic() is called */
	uint16_t max_queues;
	/**
	 * Reads one whole message; may let other callbacks run meanwhile. False: the connection
	 * failed, descriptors that arrived are closed.
	 */
	vu_read_msg_cb read_msg;
	/** Watch a descriptor, or change what it is watched for: call cb when it is ready. */
	vu_set_watch_cb set_watch;
	/** Watch it no more. Called before it is closed, also for one that was never watched. */
	vu_remove_watch_cb remove_watch;
	/** Something cannot be mended: the program should vu_deinit(), and may vu_init() again. */
	vu_panic_cb panic;
	const VuDevIface *iface;
	int postcopy_ufd;
	bool postcopy_listening;
	struct vu_device *own;   /**< the library's side */
};

/**
 * A request from the queue. First member of a block of the size that was asked for; its segments
 * lie in the same block. The program may change in_sg and out_sg.
 */
typedef struct VuVirtqElement {
	unsigned int index;
	unsigned int out_num;
	unsigned int in_num;
	struct iovec *in_sg;     /**< in_num: to be written by the device */
	struct iovec *out_sg;    /**< out_num: to be read by the device */
} VuVirtqElement;

/* A device's life */

/**
 * Prepare a device. Calls no callback. The caller's thread may hand the device to another one.
 * @param dev         memory of the caller, overwritten.
 * @param max_queues  rings of the device, at least 1, at most 256.
 * @param socket      connected to the front-end; the device's from here on.
 * @param panic       told what cannot be mended; any thread that uses the device.
 * @param read_msg    reads messages; NULL: the library reads, blocking.
 * @param set_watch, remove_watch  the program's event loop; called by the dispatching thread.
 * @param iface       the device type; kept, not copied. Only read_msg may be NULL.
 * @return false if out of memory, or if an argument cannot be; the socket is still the caller's.
 */
bool vu_init(VuDev *dev, uint16_t max_queues, int socket, vu_panic_cb panic,
	vu_read_msg_cb read_msg, vu_set_watch_cb set_watch, vu_remove_watch_cb remove_watch,
	const VuDevIface *iface);

/**
 * Give everything back: watches, descriptors, mappings, the socket. Elements that are still held
 * may be freed afterwards, but what their segments point to is gone. No other thread may be using
 * the device.
 * @param dev  after vu_init(); a second call does nothing.
 */
void vu_deinit(VuDev *dev);

/**
 * Read one message and do what it says. One thread at a time: the dispatching thread.
 * @param dev  after vu_init().
 * @return true if a message was consumed, also one that was refused; false if the connection cannot
 *   be used any more (the front-end hung up, the stream makes no sense, no reply can be sent).
 */
bool vu_dispatch(VuDev *dev);

/**
 * Name of a request. Any thread.
 * @param req  VhostUserRequest, or any other number.
 * @return static text as "VHOST_USER_SET_FEATURES", never NULL.
 */
const char *vu_request_to_string(unsigned int req);

/* Memory */

/**
 * Translate a guest-physical address. Any thread.
 * @param dev         after vu_init().
 * @param plen        in: bytes wanted; out: how many of them are contiguous from the result on.
 * @param guest_addr  guest-physical.
 * @return valid until the front-end removes the region; NULL if the address is outside guest memory
 *   or *plen is 0 (*plen is not changed then).
 */
void *vu_gpa_to_va(VuDev *dev, uint64_t *plen, uint64_t guest_addr);

/* Queues: dev and vq always belong together */

/**
 * Find a queue. Any thread.
 * @param dev   after vu_init().
 * @param qidx  from 0.
 * @return the device's, valid until vu_deinit(); NULL if there is none with this index.
 */
VuVirtq *vu_get_queue(VuDev *dev, int qidx);

/**
 * Have the event loop call a function when the guest kicks. May be called before the queue has a
 * kick descriptor. The dispatching thread.
 * @param dev, vq  the queue.
 * @param handler  called with its index; NULL: nothing is called any more.
 */
void vu_set_queue_handler(VuDev *dev, VuVirtq *vq, vu_queue_handler_cb handler);

/**
 * Let the guest ring a doorbell instead of kicking. Waits for the front-end's answer, but not long,
 * and not while the front-end waits for ours. The dispatching thread.
 * @param dev, vq  the queue.
 * @param fd  memory with the doorbell; stays the caller's; -1: take the doorbell away.
 * @param size, offset  bytes; the front-end wants one page.
 * @return whether the front-end accepted; false if that was not negotiated.
 */
bool vu_set_queue_host_notifier(VuDev *dev, VuVirtq *vq, int fd, int size, int offset);

/**
 * Ask the guest for kicks, or not to kick. Look into the queue again after asking. The thread that
 * uses the queue.
 * @param dev, vq  the queue; nothing happens while it is stopped.
 * @param enable   0: no kicks.
 */
void vu_queue_set_notification(VuDev *dev, VuVirtq *vq, int enable);
/**
 * Has the front-end enabled the queue? Any thread.
 * @param dev, vq  the queue.
 * @return true if so; elements can be popped if it is started as well.
 */
bool vu_queue_enabled(VuDev *dev, VuVirtq *vq);
/**
 * Has the front-end started the queue? Any thread.
 * @param dev, vq  the queue.
 * @return true if so.
 */
bool vu_queue_started(const VuDev *dev, const VuVirtq *vq);
/**
 * Is there nothing to pop? The thread that uses the queue.
 * @param dev, vq  the queue.
 * @return also true if the queue is stopped, disabled or broken.
 */
bool vu_queue_empty(VuDev *dev, VuVirtq *vq);
/**
 * Tell the guest that elements were pushed, if it wants to know. The thread that uses the queue.
 * @param dev, vq  the queue; nothing happens while it is stopped or has no call descriptor.
 */
void vu_queue_notify(VuDev *dev, VuVirtq *vq);
/**
 * The same; an in-band notification is waited for until the front-end has acknowledged it, if this
 * is the dispatching thread.
 * @param dev, vq  the queue.
 */
void vu_queue_notify_sync(VuDev *dev, VuVirtq *vq);

/* Elements, one at a time: all by the thread that uses the queue */

/**
 * Take the next request from the guest.
 *
 * Its segments can be read and written until it is pushed or put back, also if the front-end takes
 * the memory away meanwhile (which it is then told was done) or stops the queue. An element that
 * was still out when its queue stopped counts as given up when the queue starts again.
 * @param dev, vq  the queue.
 * @param sz  bytes in front of the segments, at least sizeof(VuVirtqElement) (NULL otherwise);
 *   those behind the VuVirtqElement are zero.
 * @return a block for free(), or NULL: nothing waits, the queue is stopped or disabled, or the
 *   ring is broken (panic was called).
 */
void *vu_queue_pop(VuDev *dev, VuVirtq *vq, size_t sz);
/**
 * Put the element that was popped last back: it is popped again next.
 * @param dev, vq  the queue.
 * @param elem  stays the caller's, to be freed.
 * @param len   ignored.
 */
void vu_queue_unpop(VuDev *dev, VuVirtq *vq, VuVirtqElement *elem, size_t len);
/**
 * Put the elements that were popped last back. The blocks stay the caller's.
 * @param dev, vq  the queue.
 * @param num  how many.
 * @return false, and nothing done, if fewer are out or one of them was pushed.
 */
bool vu_queue_rewind(VuDev *dev, VuVirtq *vq, unsigned int num);
/**
 * Write a used entry without publishing it.
 * @param dev, vq  the queue.
 * @param elem  in flight, otherwise nothing happens; stays the caller's.
 * @param len   bytes written into the element's in_sg; more than fit count as all.
 * @param idx   entries behind the next one to be published.
 */
void vu_queue_fill(VuDev *dev, VuVirtq *vq, const VuVirtqElement *elem, unsigned int len,
	unsigned int idx);
/**
 * Publish filled entries.
 * @param dev, vq  the queue.
 * @param num  at most so many, and none behind a place that was not filled.
 */
void vu_queue_flush(VuDev *dev, VuVirtq *vq, unsigned int num);
/**
 * Fill and publish one element. On a stopped queue the guest sees nothing of it.
 * @param dev, vq  the queue.
 * @param elem  as for vu_queue_fill(); the caller frees it.
 * @param len   as for vu_queue_fill().
 */
void vu_queue_push(VuDev *dev, VuVirtq *vq, const VuVirtqElement *elem, unsigned int len);

/**
 * How many bytes wait in the queue. Stops counting when both limits are reached, so the results may
 * be larger; UINT_MAX stands for that and more.
 * @param vdev, vq  the queue.
 * @param in_bytes, out_bytes  receive what the device may write, and read; may be NULL. 0 if the
 *   queue is stopped or broken.
 * @param max_in_bytes, max_out_bytes  the limits.
 */
void vu_queue_get_avail_bytes(VuDev *vdev, VuVirtq *vq, unsigned int *in_bytes,
	unsigned int *out_bytes, unsigned int max_in_bytes, unsigned int max_out_bytes);
/**
 * Do at least so many bytes wait?
 * @param dev, vq  the queue.
 * @param in_bytes, out_bytes  to be written by the device, and to be read.
 * @return true if both do.
 */
bool vu_queue_avail_bytes(VuDev *dev, VuVirtq *vq, unsigned int in_bytes, unsigned int out_bytes);

/* Elements in bursts, for devices that poll: all by the thread that uses the queue */

/** Blocks for elements, all of the same size. One thread at a time. */
typedef struct VuElementPool VuElementPool;

/**
 * Make a pool.
 * @param count  most elements that are out at once.
 * @param sz     bytes in front of the segments, as for vu_queue_pop().
 * @param segments  most segments of an element of the pool; requests with more come from malloc.
 * @return the caller's, for vu_element_pool_free(); NULL if out of memory.
 */
VuElementPool *vu_element_pool_new(unsigned int count, size_t sz, unsigned int segments);
/**
 * Free a pool. Every element must have been given back.
 * @param pool  NULL is allowed.
 */
void vu_element_pool_free(VuElementPool *pool);

/**
 * Take requests. The blocks are the pool's: they go back with vu_queue_push_burst(), or with
 * vu_element_pool_put() after a vu_queue_rewind().
 * @param dev, vq   the queue.
 * @param pool      where blocks come from.
 * @param elements  receives pointers to them.
 * @param count     most to take.
 * @return how many; fewer if no more wait or the pool is empty.
 */
unsigned int vu_queue_pop_burst(VuDev *dev, VuVirtq *vq, VuElementPool *pool, void **elements,
	unsigned int count);
/**
 * Push elements, in this order, publish them at once and give their blocks back to the pool. Call
 * vu_queue_notify() afterwards.
 * @param dev, vq   the queue.
 * @param pool      where they came from.
 * @param elements  of vu_queue_pop_burst().
 * @param lengths   bytes written to each; NULL: none.
 * @param count     how many.
 */
void vu_queue_push_burst(VuDev *dev, VuVirtq *vq, VuElementPool *pool, void *const *elements,
	const unsigned int *lengths, unsigned int count);
/**
 * Give blocks back to the pool without pushing them.
 * @param pool      where they came from.
 * @param elements  of vu_queue_pop_burst(). @param count  how many.
 */
void vu_element_pool_put(VuElementPool *pool, void *const *elements, unsigned int count);

/* Requests to the front-end, by the dispatching thread: false if refused or not negotiated */

/**
 * Tell the front-end that the configuration space changed.
 * @param dev  after vu_init().
 * @return whether it could be sent.
 */
bool vu_config_change_msg(VuDev *dev);
/**
 * Announce a shared object.
 * @param dev   after vu_init().
 * @param uuid  its name.
 * @return whether the front-end knows it now.
 */
bool vu_add_shared_object(VuDev *dev, unsigned char uuid[UUID_LEN]);
/**
 * Take a shared object back.
 * @param dev   after vu_init().
 * @param uuid  its name.
 * @return whether the front-end has forgotten it.
 */
bool vu_rm_shared_object(VuDev *dev, unsigned char uuid[UUID_LEN]);
/**
 * Ask for another device's object.
 * @param dev   after vu_init().
 * @param uuid  its name.
 * @param dmabuf_fd  receives a descriptor, the caller's.
 * @return whether there is one.
 */
bool vu_lookup_shared_object(VuDev *dev, unsigned char uuid[UUID_LEN], int *dmabuf_fd);
/**
 * Map part of a file into a shared memory region of the device.
 * @param dev    after vu_init().
 * @param shmid  of the region.
 * @param fd_offset, shm_offset, len  bytes: from where in the file, to where in the region.
 * @param flags  VHOST_USER_FLAG_MAP_RW, or 0: to be read only.
 * @param fd     stays the caller's.
 * @return whether it is mapped.
 */
bool vu_shmem_map(VuDev *dev, uint8_t shmid, uint64_t fd_offset, uint64_t shm_offset, uint64_t len,
	uint64_t flags, int fd);
/**
 * Undo a vu_shmem_map() of exactly this range.
 * @param dev    after vu_init().
 * @param shmid  of the region.
 * @param shm_offset, len  bytes.
 * @return whether it was.
 */
bool vu_shmem_unmap(VuDev *dev, uint8_t shmid, uint64_t shm_offset, uint64_t len);

#ifdef __cplusplus
}
#endif

#endif /* LIBVHOST_USER_H */
