/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef FRONT_H
#define FRONT_H

/**
 * @file
 * A vhost-user front-end: one connection to one back-end, for tests and for vhu-perf.
 *
 * front_connect() or front_accept() makes the connection, front_negotiate() settles the features,
 * front_share() hands the memory over, front_start() starts a ring. All requests are synchronous:
 * with REPLY_ACK each waits for its acknowledgement, otherwise a request without a reply is
 * followed by one that has a reply (GET_FEATURES) whenever the caller has to know that it took
 * effect. Requests may come from several threads; a lock makes them one after another. The rings
 * themselves (driver.h) never touch the connection. A program with one thread for both sets
 * front.idle: it is called again and again while a reply is awaited.
 *
 * Functions return 0 or a negative errno; front.error then has a sentence. What the back-end
 * does not answer within some seconds is -ETIMEDOUT.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory.h"
#include "wire/spec.h"

struct front_ring;

/** What the thread of the back-end's channel has served. */
struct front_channel {
	int socket;               /**< our end, or -1 */
	pthread_t thread;
	bool running;
	uint64_t granule;         /**< bytes an answer to a miss covers at most, a power of two */
	/* Written by the channel's thread, read by anybody (relaxed). */
	uint64_t misses;
	uint64_t unknown;         /**< requests that it does not serve, and misses outside memory */
};

struct front {
	int socket;
	uint64_t offered;         /**< virtio features */
	uint64_t features;        /**< of those, in force */
	uint64_t protocol_offered;
	uint64_t protocol;        /**< protocol features in force */
	uint64_t slots;           /**< regions that the back-end can hold */
	struct front_memory *memory;
	struct front_channel channel;
	uint64_t acknowledged;    /**< requests that were acknowledged */
	void (*idle)(void *argument); /**< what to do until a reply is there, or NULL: sleep */
	void *idle_argument;
	pthread_mutex_t lock;
	char error[160];
};

/** The inflight area, as GET_INFLIGHT_FD hands it out. */
struct front_inflight {
	struct vhu_wire_inflight area;
	int fd;                   /**< the caller's; close it */
};

/** Connect to a listening back-end. */
int front_connect(struct front *front, const char *path);
/** Listen on @p path and wait at most @p timeout_ms for a back-end in the client's role. */
int front_accept(struct front *front, const char *path, int timeout_ms);
/** End the connection and the channel; the memory stays the caller's. */
void front_close(struct front *front);

/**
 * Send one request.
 * @param request  its number.
 * @param payload  @p size bytes, or NULL.
 * @param fds      @p fd_count descriptors that go with it; they stay the caller's.
 * @param reply    where a reply of exactly @p reply_size bytes goes; NULL: it has none.
 * @param reply_fd receives a descriptor that comes with the reply; may be NULL.
 * @return 0; -EREMOTEIO if the acknowledgement (REPLY_ACK, requests without a reply) says failure.
 */
int front_request(struct front *front, enum vhu_request request, const void *payload, size_t size,
	const int *fds, unsigned int fd_count, void *reply, size_t reply_size, int *reply_fd);
/** A request with a u64 and without a reply of its own. */
int front_set_u64(struct front *front, enum vhu_request request, uint64_t value);
/** A request without payload that is answered with a u64. */
int front_get_u64(struct front *front, enum vhu_request request, uint64_t *value);
/** Wait until everything that was sent has been handled. */
int front_settle(struct front *front);

/**
 * Accept what is offered of these virtio and protocol features (PROTOCOL_FEATURES is added), and
 * become the owner.
 * front.features and front.protocol say what came of it. Behind an IOMMU call
 * front_open_channel() before rings are started.
 */
int front_negotiate(struct front *front, uint64_t features, uint64_t protocol);
/** Send SET_FEATURES again with others, for instance with or without LOG_ALL, rings running. */
int front_change_features(struct front *front, uint64_t features);

/** Hand over the first @p count regions: in one table, or one by one if slots are configured. */
int front_share(struct front *front, struct front_memory *memory, unsigned int count);
/** SET_MEM_TABLE with the first @p count regions, 1 ... VHU_MEM_TABLE_REGIONS. */
int front_set_table(struct front *front, unsigned int count);
int front_add_region(struct front *front, unsigned int region);
int front_remove_region(struct front *front, unsigned int region);
/** Give the back-end a log of dirty pages: @p size bytes of @p fd from 0. */
int front_set_log(struct front *front, int fd, uint64_t size);

int front_get_inflight(struct front *front, uint16_t queues, uint16_t ring_size,
	struct front_inflight *inflight);
int front_set_inflight(struct front *front, const struct front_inflight *inflight);

/** Start ring number @p index at its present indices, and enable it. */
int front_start(struct front *front, unsigned int index, struct front_ring *ring);
/** The same where the device stood when it was stopped: at @p base, which front_stop() gave. */
int front_start_at(struct front *front, unsigned int index, struct front_ring *ring,
	uint32_t base);
/** Tell the ring's addresses again, as front-ends do when the log is switched. */
int front_set_addresses(struct front *front, unsigned int index, const struct front_ring *ring);
/** Stop a ring. @p base receives what GET_VRING_BASE says; may be NULL. */
int front_stop(struct front *front, unsigned int index, uint32_t *base);
int front_enable(struct front *front, unsigned int index, bool enable);
/** Hand over another descriptor for calls, which stays the caller's; -1: we poll. */
int front_set_call(struct front *front, unsigned int index, int fd);

/**
 * Open the back-end's channel and serve it on a thread of its own: IOTLB misses are answered from
 * the memory, whose device_offset lies between address and guest-physical address.
 * @param granule  most bytes that one answer covers, a power of two; 0: as many as there are.
 */
int front_open_channel(struct front *front, uint64_t granule);
/** Tell the back-end a translation: @p size bytes from @p address on (device addresses). */
int front_map_iotlb(struct front *front, uint64_t address, uint64_t size);
/** Take it back; done when this returns. */
int front_unmap_iotlb(struct front *front, uint64_t address, uint64_t size);

/** Write the sentence of an error and return its code. */
int front_fail(struct front *front, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif /* FRONT_H */
