/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_COMPAT_PRIVATE_H
#define VHU_COMPAT_PRIVATE_H

/**
 * @file
 * What lies between the libvhost-user API and the engine.
 *
 * A VuDev drives one engine device from the program's own event loop: vu_dispatch() turns a message
 * into the engine's form, hands it over, and steps the engine until it is answered. Slow work runs
 * at once in the calling thread, since there is no worker. There is no protocol and no ring logic
 * here: what this layer adds are the callbacks and the fields that programs look at.
 *
 * The fields of struct vu_device belong to the thread in vu_dispatch(), except where another rule
 * is given; those of struct vu_queue to the thread that uses the queue.
 */

#include <stdatomic.h>
#include <string.h>

#include "compat/libvhost-user.h"
#include "dev/device.h"
#include "ring/element_direct.h"
#include "sock/loop.h"

/** Writable segments of an element that are kept without further memory. */
#define VU_HELD_INLINE 2

/**
 * What is kept of an element that the program has, by its id: the program may change the element's
 * segments, and may even have freed it.
 */
struct vu_held {
	uint16_t count;                /**< writable segments */
	uint16_t room;                 /**< of more, which is kept for the next element */
	bool owed;                     /**< it is back, but the ring rests (owed.c) */
	struct iovec few[VU_HELD_INLINE];
	struct iovec *more;
};

/** What was done to a ring that rests, and is to be done when it goes on (owed.c). */
struct vu_owed {
	enum { VU_OWED_PUSH, VU_OWED_FILL, VU_OWED_FLUSH, VU_OWED_REWIND, VU_OWED_NOTIFY,
		VU_OWED_WISH } what;
	uint32_t id;                   /**< of the element, if any */
	uint32_t number;               /**< bytes written to it; elements; are kicks wanted? */
	uint16_t index;                /**< fill: its place */
};

/** The library's side of a VuVirtq. */
struct vu_queue {
	struct vhu_element_queue elements; /**< first: its ring is what the device publishes */
	VuDev *dev;
	void *memory;                  /**< of the element queue */
	/** size, format and in-flight area of the ring's present life; dispatching thread only */
	struct vhu_snapshot placed;
	struct vu_held *held;          /**< by id */
	uint16_t held_count;           /**< as many as the ring's size */
	struct iovec scratch[VIRTQUEUE_MAX_SIZE];
	/*
	 * For memory that was removed while elements are out (kept.c).
	 */
	/** newest removal to be looked into. Dispatching thread: writes; the queue's: reads */
	_Atomic(uint32_t) removal;
	/**
	 * All that was taken before this removal is back. The queue's thread: writes (dispatching
	 * thread while parked); dispatching thread: reads.
	 */
	_Atomic(uint32_t) returned;
	uint32_t looking;      /**< removal that is being looked into, unless it is returned */
	uint16_t look_at;      /**< id: those before it are back */
	uint32_t *awaited;     /**< by id: sequence of the element that has to come back */
	/**
	 * Elements pushed and put back while nobody took them, in this life of the ring and after
	 * it. The queue's thread: writes; dispatching thread: reads, clears while parked.
	 */
	_Atomic(uint32_t) late;
	uint32_t left_out;     /**< dispatching thread: that were out when the ring stopped */
	/*
	 * For a ring that rests (owed.c). The queue's thread's; the dispatching thread's while the
	 * ring is parked.
	 */
	_Atomic(bool) owes;    /**< any of the below; the dispatching thread: reads at any time */
	bool owes_call;        /**< behind all else the driver is to be notified ... */
	bool owes_wish;        /**< ... and told whether kicks are wanted */
	uint32_t owed_count;
	struct vu_owed *owed;  /**< NULL: no IOMMU was negotiated when the ring started */
	uint16_t index;
	bool watched;          /**< set_watch() was called for the kick descriptor */
	bool panicked;         /**< the program was told that the ring is broken */
};

/** The library's side of a VuDev. */
struct vu_device {
	VuDev *dev;
	struct vhu_device *device;
	struct vhu_loop *loop;      /**< of the back-end channel; stepped while somebody waits */
	struct vhu_grace_domain domain;
	struct vhu_executor executor;
	struct vu_queue *queues;    /**< max_queues */
	struct vhu_ring **rings;    /**< into queues */
	bool hung_up;               /**< the engine wants the connection closed */
	bool fault;                 /**< the message at hand breaks the protocol */
	bool send_failed;
	bool reply_owed;            /**< the front-end waits for the answer to a message */
	bool dispatching;           /**< a message is at hand */
	bool left;                  /**< the engine has wound down */
	/** that is or was in vu_dispatch(): writes; threads that use queues: read */
	_Atomic(pthread_t) thread;
	/**
	 * Queues' threads ask that thread to send something: in-band notifications, questions for
	 * translations. -1: neither was negotiated. The dispatching thread: writes.
	 */
	_Atomic(int) wake_fd;
	uint64_t shmem_sizes[VHOST_USER_MAX_SHMEM_REGIONS]; /**< bytes, 0: none */
	/**
	 * Counts the changes of dev->regions, odd while one is under way. The dispatching thread:
	 * writes; vu_gpa_to_va() in any thread: reads.
	 */
	_Atomic(uint32_t) regions_version;
	struct vhu_region *kept;    /**< removed, but elements may point there; oldest first */
	unsigned int kept_count;
	uint32_t removals;          /**< of regions, so far */
};

/* message.c */

/** The reader for programs without one: blocks until a whole message is there. */
bool vu_message_read(VuDev *dev, int sock, VhostUserMsg *message);
/** Send a message; waits while the socket is full. @return false if that is impossible. */
bool vu_message_send(VuDev *dev, int sock, const VhostUserMsg *message);
/** Close the descriptors of a message. */
void vu_message_close(VhostUserMsg *message);
/** Into the engine's form; the descriptors move. */
void vu_message_to_engine(VhostUserMsg *from, struct vhu_message *to);
/** Send a message of the engine; its descriptors are closed. @return as vu_message_send(). */
bool vu_message_send_engine(VuDev *dev, int sock, struct vhu_message *message);

/* device.c */

/** Tell the program that something cannot be mended: first dev->broken, then its callback. */
void vu_panic(VuDev *dev, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Step the engine until it has answered the message at hand. */
void vu_settle(struct vu_device *own);

/* ops.c */

extern const struct vhu_device_ops vu_device_ops;

/** Let a program that sleeps on kicks look into a ring that may have been filled before. */
void vu_kick_ourselves(const VuVirtq *vq);

/* queue.c */

/** The ring is about to start: get memory for it. @return 0 or -ENOMEM. */
int vu_queue_prepare(struct vu_queue *queue, uint16_t size);
/** It starts: its former life is forgotten. As ops->ring_place. */
void vu_queue_place(struct vu_queue *queue, const struct vhu_snapshot *snapshot,
	uint16_t capacity, struct vhu_walk *avail, struct vhu_walk *used);
/**
 * The ring has been parked, and no thread is inside any more: what the program still holds goes
 * back, if that is possible and nothing else keeps it.
 */
void vu_queue_return_rest(struct vu_queue *queue);
/** Free what the queue has. */
void vu_queue_free(struct vu_queue *queue);
/** The ring has stopped. */
void vu_queue_end(struct vu_queue *queue);
/** Tell the program, once, that the ring is broken. */
void vu_queue_panic(struct vu_queue *queue, enum vhu_broken reason);
/** Out of the way of the inline functions: the program is told that the ring broke. */
void vu_queue_tell_broken(struct vu_queue *queue);
/** Room for the writable segments of an element with many. @return false if out of memory. */
bool vu_hold_many(struct vu_held *held, uint16_t count);

/**
 * Put an element that was taken into its block, which has room for it, and keep what is needed to
 * give it back. @return false, with the element put back, if out of memory; also if block is NULL.
 */
bool vu_keep(struct vu_queue *queue, const struct vhu_snapshot *snapshot,
	const struct vhu_element *element, VuVirtqElement *block, size_t sz);

/* request.c */

/** Begin or end to watch for threads that want something sent to the front-end. */
void vu_watch_wishes(VuDev *dev, bool wanted);
/** Do what queues have left to the dispatching thread; later, if a message is at hand. */
void vu_attend(struct vu_device *own);
/** A translation that the queue needs is missing: let the front-end be asked. Any thread. */
void vu_queue_missing(struct vu_queue *queue);
/** Send the in-band notifications that the queue has asked for. @param wait for the answer. */
void vu_send_calls(struct vu_queue *queue, bool wait);

/* watch.c */

/** The queue's kick descriptor is now @p fd; -1: it has none. */
void vu_watch_kick(struct vu_queue *queue, int fd);
/** Watch it if there is a handler and the queue is started, stop that otherwise. */
void vu_watch_update(struct vu_queue *queue);

/* kept.c */

/** As ops->region_gone: unmapped when everything is back that was out when it went. */
void vu_region_gone(void *owner, struct vhu_region *region);
/** As ops->regions_crowd. */
bool vu_regions_crowd(void *owner);
/** Unmap what nobody can be looking at any more. The dispatching thread. */
void vu_kept_release(struct vu_device *own);
/** Unmap all of it. */
void vu_kept_end(struct vu_device *own);
/** The ring starts: what was out in its former life does not count any more. */
void vu_queue_forget_out(struct vu_queue *queue);
/** Elements came back to a ring that does not take them. The queue's thread. */
void vu_queue_late(struct vu_queue *queue, uint32_t count);
/** Out of the way of the inline function: look for what is to come back. */
void vu_queue_look_back(struct vu_queue *queue);

/* owed.c */

/** Room for what can come back to a ring of that size. @return NULL if out of memory. */
struct vu_owed *vu_owed_new(uint16_t size);
/**
 * The ring cannot be used, and has been entered: leave it, and do this when it goes on if it rests.
 * @return false: it is stopped, nobody wants it.
 */
bool vu_queue_owe(struct vu_queue *queue, const struct vhu_snapshot *snapshot,
	struct vu_owed owed);
/** The ring has gone on: do what is owed. In the ring. */
void vu_queue_pay(struct vu_queue *queue, const struct vhu_snapshot *snapshot);
/** The ring stops instead, and nobody is inside. The dispatching thread. */
void vu_queue_forget_owed(struct vu_queue *queue);
/** Wake the program where a ring has gone on that is owed something. The dispatching thread. */
void vu_wake_debtors(struct vu_device *own);

/* memory.c */

/** Make dev->regions what the engine has mapped now. */
void vu_memory_update(struct vu_device *own);

/** The public side of a queue. */
static inline VuVirtq *
vu_public(struct vu_queue *queue)
{
	return &queue->dev->vq[queue->index];
}

/*
 * What every pop and push does. Inline, because a call for each of these steps would cost more than
 * the steps.
 */

/** Was the device given up? Nothing is to be done with its queues then. */
static inline bool
vu_is_broken(const VuDev *dev)
{
	/* Partner: vu_panic() in any thread. */
	return __builtin_expect(__atomic_load_n(&dev->broken, __ATOMIC_RELAXED), 0);
}

/** Is anything owed to the driver? In the ring. */
static inline bool
vu_queue_owes(const struct vu_queue *queue)
{
	return __builtin_expect(atomic_load_explicit(&queue->owes, memory_order_relaxed), 0);
}

/** Is it? Then the reader has been left, and nothing of the queue is to be touched. */
static inline bool
vu_queue_is_stopped(struct vu_queue *queue, const struct vhu_snapshot *snapshot)
{
	if (__builtin_expect(snapshot->size != 0, 1))
		return false;
	/* All that the queue has is the dispatching thread's, who may be replacing it. */
	vhu_reader_leave(&queue->elements.ring.reader);
	return true;
}

/**
 * Begin to use the ring: what the snapshot names may be used until vu_queue_leave(). @return NULL,
 * and nothing is to be left or touched, if the ring is stopped or the device given up.
 */
static inline const struct vhu_snapshot *
vu_queue_enter(struct vu_queue *queue)
{
	const struct vhu_snapshot *snapshot;

	if (vu_is_broken(queue->dev))
		return NULL;
	snapshot = vhu_reader_enter(&queue->elements.ring.reader);
	if (vu_queue_is_stopped(queue, snapshot))
		return NULL;
	if (vu_queue_owes(queue))
		vu_queue_pay(queue, snapshot);
	return snapshot;
}

/**
 * The ring has been entered to do this. @return false, and nothing is to be left or touched, if
 * that is done later (*@p later) or never.
 */
static inline bool
vu_queue_takes(struct vu_queue *queue, const struct vhu_snapshot *snapshot, struct vu_owed owed,
	bool *later)
{
	*later = false;
	if (__builtin_expect(snapshot->size == 0, 0)) {
		*later = vu_queue_owe(queue, snapshot, owed);
		return false;
	}
	if (vu_queue_owes(queue))
		vu_queue_pay(queue, snapshot);
	return true;
}

/** As vu_queue_enter() for what has to be done even if the ring rests: later. */
static inline const struct vhu_snapshot *
vu_queue_enter_or_owe(struct vu_queue *queue, struct vu_owed owed, bool *later)
{
	const struct vhu_snapshot *snapshot;

	*later = false;
	if (vu_is_broken(queue->dev))
		return NULL;
	snapshot = vhu_reader_enter(&queue->elements.ring.reader);
	return vu_queue_takes(queue, snapshot, owed, later) ? snapshot : NULL;
}

/** Stop using it; the program is told if the ring broke meanwhile. */
static inline void
vu_queue_leave(struct vu_queue *queue)
{
	vhu_reader_leave(&queue->elements.ring.reader);
	/* With the ring left: the program may do what it likes in its callback. */
	if (__builtin_expect(vhu_ring_is_broken(&queue->elements.ring), 0))
		vu_queue_tell_broken(queue);
}

/** After taking an element the long way: is there a removal to be looked into? In the ring. */
static inline void
vu_queue_took(struct vu_queue *queue)
{
	if (__builtin_expect(atomic_load_explicit(&queue->removal, memory_order_relaxed) !=
			atomic_load_explicit(&queue->returned, memory_order_relaxed), 0))
		vu_queue_look_back(queue);
}

/** Let the program, and kept.c, see how many elements are out. In the ring. */
static inline void
vu_queue_show_inuse(VuVirtq *vq, const struct vu_queue *queue)
{
	/* Partner: nothing_out(): whoever sees an element back sees what was done to it. */
	__atomic_store_n(&vq->inuse, queue->elements.in_flight, __ATOMIC_RELEASE);
}

/** Nothing was popped: maybe because a translation is missing. With the ring left. */
static inline void
vu_queue_empty_handed(struct vu_queue *queue)
{
	if (__builtin_expect(atomic_load_explicit(&queue->elements.ring.miss,
			memory_order_relaxed) != 0, 0))
		vu_queue_missing(queue);
}

/** Mostly one or two: a call of memcpy() would cost more than they do. */
static inline void
vu_copy_segments(struct iovec *to, const struct iovec *from, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		to[i].iov_base = from[i].iov_base;
		to[i].iov_len = from[i].iov_len;
	}
}

/** Keep the writable segments of an element. @return false if out of memory. */
static inline bool
vu_hold(struct vu_queue *queue, uint32_t id, const struct iovec *writable, uint16_t count)
{
	struct vu_held *held = &queue->held[id];

	if (count > VU_HELD_INLINE && !vu_hold_many(held, count))
		return false;
	held->count = count;
	queue->elements.slots[id].marks |= VHU_ELEMENT_KEPT;
	vu_copy_segments(count <= VU_HELD_INLINE ? held->few : held->more, writable, count);
	return true;
}

/** The element with this id, as it is to be given back. @return false if it is not out. */
bool vu_held(struct vu_queue *queue, const struct vhu_snapshot *snapshot, unsigned int id,
	struct vhu_element *element);

/** The segments of an element lie behind the part that the program asked for, aligned to them. */
static inline size_t
vu_segments_at(size_t sz)
{
	return (sz + _Alignof(struct iovec) - 1) & ~(_Alignof(struct iovec) - 1);
}

/** Bytes of a block with room for so many segments behind the program's @p sz bytes. */
static inline size_t
vu_element_size(size_t sz, unsigned int segments)
{
	return vu_segments_at(sz) + segments * sizeof(struct iovec);
}

/** The program's part of a new block begins with zeros. */
static inline void
vu_clear_rest(VuVirtqElement *block, size_t sz)
{
	if (sz > sizeof(*block))
		memset(block + 1, 0, sz - sizeof(*block));
}

/** Fill a block in, except for the segments and in_sg: the first writable one. */
static inline void
vu_fill_element(VuVirtqElement *to, uint32_t id, struct iovec *segments, const struct iovec *end)
{
	to->index = id;
	to->out_num = (unsigned int)(to->in_sg - segments);
	to->in_num = (unsigned int)(end - to->in_sg);
	to->out_sg = segments;
}

#endif /* VHU_COMPAT_PRIVATE_H */
