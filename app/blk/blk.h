/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef APP_BLK_BLK_H
#define APP_BLK_BLK_H

/**
 * @file
 * vhu-blk from the inside: disks, devices, queues, requests.
 *
 * A *disk* is what holds the sectors; a *device* is what one front-end sees of it through one
 * socket. Each device has a control thread, which sleeps on the socket and serves its messages
 * (server.c, device.c): a front-end that stalls stops nobody else. Each *queue* of a connected
 * device belongs to one polling thread (poller.c), which takes requests in bursts, gives them to
 * the disk (request.c) and returns them when they are done. The two meet in a queue's `wanted` and
 * `running` only.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/un.h>

#include <linux/virtio_blk.h>

#include <libvhost-user.h>

#define BLK_SECTOR_SHIFT 9
#define BLK_QUEUES_MAX 64
/** Data segments of a request, as config space tells the guest. */
#define BLK_SEGMENTS_MAX 126
/** Requests of a queue that are under way at once. */
#define BLK_DEPTH 512
/** Requests taken at once. */
#define BLK_BURST 32
/** Requests returned at once: the driver has them while the rest of the burst is worked on. */
#define BLK_RETURN 8
/** Of a request, what is brought into the cache while the one before it is worked on, bytes. */
#define BLK_PREFETCH 4096
/** Ranges in one discard or write-zeroes request, and sectors in one range. */
#define BLK_RANGES_MAX 16
#define BLK_RANGE_SECTORS_MAX (UINT32_C(1) << 22)

struct blk_queue;
struct blk_request;
struct blk_disk;

/** Where the sectors are. */
enum blk_kind {
	BLK_FILE,   /**< file or block device */
	BLK_MALLOC, /**< memory of this process: fast and gone at the end */
	BLK_NULL,   /**< nowhere: reads give zeros, writes are forgotten */
};

/** One --socket of the command line and what follows it. */
struct blk_options {
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)]; /**< or what to call it */
	int listener;                        /**< inherited, listening; -1: socket is a path */
	enum blk_kind kind;
	char path[4096];                     /**< of BLK_FILE */
	uint64_t size;                       /**< bytes, of the others */
	uint32_t block_size;                 /**< logical, bytes */
	uint16_t queues;
	bool read_only;
	bool buffered;                       /**< no O_DIRECT */
	char serial[VIRTIO_BLK_ID_BYTES + 1];
};

/** What is told apart in the statistics of latency. */
enum blk_operation {
	BLK_READ, BLK_WRITE, BLK_FLUSH, BLK_DISCARD, BLK_WRITE_ZEROES,
	BLK_OPERATIONS,
};

/** Bucket n counts from 2^n nanoseconds up to twice that; the last one everything above, too. */
#define BLK_LATENCY_BUCKETS 36

/** What a kind of disk can do. All but open and close run on the queue's polling thread. */
struct blk_disk_ops {
	const char *name;
	/** @return 0, or -errno with a sentence in @p why. */
	int (*open)(struct blk_disk *disk, const struct blk_options *options, char *why,
		size_t room);
	void (*close)(struct blk_disk *disk);
	/** Look at how large it is now, in bytes. May be NULL. @return 0: nobody knows. */
	uint64_t (*measure)(const struct blk_disk *disk);
	/** Prepare for a queue's requests. May be NULL, as the next three. @return 0 or -errno. */
	int (*queue_open)(struct blk_queue *queue);
	void (*queue_close)(struct blk_queue *queue);
	/** Tell the kernel about what was begun. */
	void (*flush_submissions)(struct blk_queue *queue);
	/** Finish requests that are done (blk_request_done()). */
	void (*reap)(struct blk_queue *queue);
	/** Begin a request that was found valid. It may be done before this returns. */
	void (*begin)(struct blk_queue *queue, struct blk_request *request);
};

extern const struct blk_disk_ops blk_file_ops, blk_malloc_ops, blk_null_ops;

/** Written by open(), read-only afterwards, but for the size. */
struct blk_disk {
	const struct blk_disk_ops *ops;
	/** Bytes, a multiple of block_size. Control thread: makes it larger; pollers: read. */
	_Atomic(uint64_t) size;
	uint32_t block_size;        /**< logical, bytes */
	uint32_t physical_size;     /**< bytes */
	bool read_only;
	bool discard;               /**< can forget ranges */
	int fd;                     /**< BLK_FILE, otherwise -1 */
	bool direct;                /**< opened with O_DIRECT: buffers must be aligned */
	uint32_t alignment;         /**< to this many bytes */
	bool never_waits;           /**< a file system in memory: plain calls are the fastest */
	/** Its sectors: of BLK_MALLOC, and of a file on a tmpfs, mapped; otherwise NULL. */
	uint8_t *memory;
	struct blk_map *map;        /**< of such a file (disk_map.c) */
};

/** What a request asks for, in sectors of the disk. */
struct blk_range {
	uint64_t offset; /**< bytes */
	uint64_t size;   /**< bytes */
	bool unmap;      /**< write zeroes: the space may be given back */
};

/** A request of the guest. The element comes first: the library allocates the block. */
struct blk_request {
	VuVirtqElement element;
	struct blk_queue *queue;
	uint64_t begun;          /**< when it was taken, nanoseconds of blk_clock() */
	bool whole;              /**< it has a header and room for a status */
	uint32_t type;           /**< VIRTIO_BLK_T_* */
	uint64_t sector;         /**< as the guest gave it */
	uint8_t *status;         /**< the guest's; NULL: it gave no room for one */
	unsigned int written;    /**< bytes to report as written when done */
	uint64_t offset;         /**< bytes on the disk, of reads and writes */
	uint64_t size;           /**< bytes of data */
	struct iovec *data;      /**< inside the element */
	unsigned int data_count;
	uint8_t *bounce;         /**< aligned stand-in for the data, or NULL */
	uint64_t moved;          /**< bytes of the data that are done */
	unsigned int step;       /**< of a write: bytes in the bounce buffer that are left */
	unsigned int bounce_at;  /**< and where they begin */
	unsigned int tries;      /**< how often the kernel said that it shall be tried again */
	bool second_try;         /**< the first way to write zeroes is not known to the disk */
	bool syncing;            /**< the ranges are done and on their way to the disk */
	unsigned int range;      /**< the one under way */
	unsigned int range_count;
	struct blk_range ranges[BLK_RANGES_MAX];
};

/** Counters of a queue: the polling thread writes, anybody reads. */
struct blk_counters {
	_Atomic(uint64_t) reads, writes, flushes, discards, write_zeroes, other;
	_Atomic(uint64_t) bytes_read, bytes_written;
	_Atomic(uint64_t) errors;      /**< answered with an error status */
	_Atomic(uint64_t) malformed;   /**< could not be answered at all */
	_Atomic(uint64_t) bursts, empty_polls;
	_Atomic(uint64_t) latency[BLK_OPERATIONS][BLK_LATENCY_BUCKETS];
};

struct blk_device;

/** One queue of a device. */
struct blk_queue {
	struct blk_device *device;
	uint16_t index;
	bool started;                  /**< the control thread's: the front-end wants it polled */
	/** The guest knows no flush: what is done must be safe. Control thread, before running. */
	bool write_through;
	/** control thread: writes; polling thread: reads: shall it be polled? */
	atomic_bool wanted;
	/** polling thread: writes; control and main: read: is it polled, or requests under way? */
	atomic_bool running;
	/* From here on the polling thread's, while running. */
	VuElementPool *pool;
	void *engine;                  /**< the disk's, per queue */
	unsigned int under_way;        /**< begun and not returned */
	unsigned int done_count;
	void *done[BLK_DEPTH];         /**< to be returned */
	unsigned int done_length[BLK_DEPTH];
	struct blk_counters counters;
};

/** A front-end's view of a disk. The control thread's, except for the queues. */
struct blk_device {
	struct blk_options options;
	struct blk_disk disk;
	struct virtio_blk_config config;
	int listener;
	int wake;                      /**< eventfd, main: writes: the disk may be larger now */
	pthread_t thread;              /**< the control thread */
	bool has_thread;
	pthread_mutex_t lock;          /**< of the next two */
	bool ending;                   /**< main: writes */
	int connection;                /**< to be shut down by main; -1: none */
	atomic_bool panicked;          /**< whoever panics first says why */
	_Atomic(uint64_t) connections; /**< control thread: writes; main: reads */
	bool paused;                   /**< queues stand still for a message */
	VuDev vu;
	struct blk_queue *queues;      /**< options.queues */
};

/* options.c */

#define BLK_DEVICES_MAX 256
#define BLK_CORES_MAX 256

/** The command line. */
struct blk_arguments {
	unsigned int device_count;
	struct blk_options *devices;   /**< device_count */
	unsigned int threads;
	unsigned int core_count;
	int cores[BLK_CORES_MAX];
	double stats_period;           /**< seconds; 0: no lines */
	double duration;               /**< seconds; 0: until a signal */
	const char *json;              /**< file, "-", or NULL */
};

/** Parse the command line; prints help or a sentence. @return -1 to go on, or an exit status. */
int blk_arguments_parse(struct blk_arguments *arguments, int argc, char **argv);

/* request.c */

/** Take a request apart, and ask for the memory that it will touch. */
void blk_request_parse(struct blk_queue *queue, struct blk_request *request);
/** Begin one that was taken apart; whatever it is, it ends in the queue's done list. */
void blk_request_begin(struct blk_queue *queue, struct blk_request *request);
/** The disk is done with it. @param status VIRTIO_BLK_S_*. */
void blk_request_done(struct blk_request *request, uint8_t status);

/* disk_memory.c */

/** Copy between a request's segments, which stay as they are, and where its sectors are. */
void blk_memory_copy(const struct blk_request *request, uint8_t *at);

/* disk_open.c */

/** The operations of these names, for BLK_FILE. */
int blk_file_open(struct blk_disk *disk, const struct blk_options *options, char *why, size_t room);
void blk_file_close(struct blk_disk *disk);
uint64_t blk_file_measure(const struct blk_disk *disk);

/* disk_map.c */

/**
 * Map a file on a tmpfs, where that works. What is in the file already is then read and written
 * without a system call; the rest with plain calls, so that a hole stays one and a full file system
 * is an error and no signal.
 */
void blk_map_open(struct blk_disk *disk);
void blk_map_close(struct blk_disk *disk);
/** Do a read or write by copying. @return false: that is not possible for these sectors. */
bool blk_map_transfer(const struct blk_disk *disk, const struct blk_request *request);
/** These bytes have been written, or may have become a hole. */
void blk_map_note(const struct blk_disk *disk, uint64_t offset, uint64_t size, bool there);

/* latency.c */

/** Monotonic time, nanoseconds. */
uint64_t blk_clock(void);
/** A request is returned. Polling thread. */
void blk_latency_record(const struct blk_request *request, uint64_t now);
/** Add the buckets of a queue to @p sums. */
void blk_latency_add(uint64_t sums[BLK_OPERATIONS][BLK_LATENCY_BUCKETS],
	const struct blk_counters *counters);
/** Below what nanoseconds so many of a thousand requests were; 0: there were none. */
uint64_t blk_latency_below(const uint64_t buckets[BLK_LATENCY_BUCKETS], unsigned int thousandths);
/** As people write an operation. */
const char *blk_operation_name(enum blk_operation operation);

/* device.c */

/** Open the disk and its queues. @return false with a sentence in @p why. */
bool blk_device_open(struct blk_device *device, char *why, size_t room);
/** A front-end is there. @return false: it cannot be served. */
bool blk_device_connect(struct blk_device *device, int socket);
/** Wait for a message and serve it. @return false when there will be no more. */
bool blk_device_dispatch(struct blk_device *device);
/** Look whether the disk has become larger, and tell the front-end, if there is one. */
void blk_device_resize(struct blk_device *device, bool connected);
/** Let go of the front-end; waits for what is under way. */
void blk_device_disconnect(struct blk_device *device);
/** Free the device. No thread may be polling its queues any more. */
void blk_device_close(struct blk_device *device);

/* server.c */

/** Listen, and serve one front-end after the other on a thread. @return false: see @p why. */
bool blk_server_start(struct blk_device *device, char *why, size_t room);
/** Have the control thread look whether the disk has become larger. Main thread. */
void blk_server_resize(struct blk_device *device);
/** End that, whatever the front-end does. Requests under way are finished. */
void blk_server_stop(struct blk_device *device);

/* poller.c */

/** Start threads; queue i of device n is polled by thread (n + i) modulo @p count. */
bool blk_pollers_start(unsigned int count, const int *cores, unsigned int core_count);
/** Give a queue to its thread. Main thread. @return false: that one has too many. */
bool blk_pollers_add(struct blk_queue *queue, unsigned int thread);
/** Take no more requests from any queue. blk_queue_wait() says when a queue stands still. */
void blk_pollers_drain(void);
/** Wait until nothing of a queue that was stopped or drained is under way. */
void blk_queue_wait(struct blk_queue *queue);
/** End the threads. Every queue must have been stopped. */
void blk_pollers_stop(void);
/** Ask for a queue to be polled, or not and wait until nothing of it is under way. */
void blk_queue_run(struct blk_queue *queue, bool run);

/* report.c */

/** Print what happened so far as a table. */
void blk_report(FILE *file, struct blk_device *const *devices, unsigned int count, double seconds);
/** The same as JSON into a file, "-": standard output. @return 0, or -errno after a sentence. */
int blk_report_json(struct blk_device *const *devices, unsigned int count, double seconds,
	const char *path);
/** One line of rates since the last one. */
void blk_report_line(FILE *file, struct blk_device *const *devices, unsigned int count, double now);

/** Add to a counter with one writer. */
static inline void
blk_count(_Atomic(uint64_t) *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
		memory_order_relaxed);
}

#endif /* APP_BLK_BLK_H */
