/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_SOCK_STREAM_H
#define VHU_SOCK_STREAM_H

/**
 * @file
 * Streams: one connected vhost-user socket, one message at a time.
 *
 * The stream collects a header, then the payload, over as many reads as the peer needs, and hands
 * the whole message to its owner. It never reads beyond the message it is on, so descriptors of
 * the next message stay with the next message. Paused, it reads nothing. Replies that the peer does
 * not take at once wait in the stream and are sent when there is room; while any wait, it reads
 * nothing (a peer that does not read its replies cannot make us buffer without bound).
 */

#include <stdbool.h>

#include "sock/loop.h"
#include "wire/message.h"

struct vhu_stream;

struct vhu_stream_ops {
	/**
	 * A message. The callee takes over its descriptors (closing what it does not want). The
	 * message itself is the stream's: valid until the callee returns, even if it closes the
	 * stream.
	 */
	void (*message)(void *owner, struct vhu_message *message);
	/**
	 * The stream ended; the owner must close it (inside is fine). @p why is one clause:
	 * "closed by the front-end", "closed in the middle of a message",
	 * "message of 4294967295 bytes ..." ...
	 * @p fault is true if the peer is to blame. Always called from the loop, never inside
	 * vhu_stream_send(); while paused too, if the peer is gone and left nothing to be read.
	 */
	void (*ended)(void *owner, const char *why, bool fault);
	/** All that waited for room has been sent. From the loop. May be NULL. */
	void (*drained)(void *owner);
};

/**
 * Take over a connected socket (made non-blocking, close-on-exec).
 * @return NULL if out of memory or descriptors; the socket is closed then.
 */
struct vhu_stream *vhu_stream_new(struct vhu_loop *loop, int fd, const struct vhu_stream_ops *ops,
	void *owner);
/**
 * Stop or resume reading. Inside ops->message too. A peer that hangs up meanwhile: what it sent is
 * read after the pause and then the stream ends; if it left nothing, the stream ends at once.
 */
void vhu_stream_pause(struct vhu_stream *stream, bool paused);
/**
 * Send a message; its descriptors are closed after sending.
 * @return 0 or -errno (the stream also ends then).
 */
int vhu_stream_send(struct vhu_stream *stream, struct vhu_message *message);
/** Does nothing wait for room, and may more be sent? */
bool vhu_stream_idle(const struct vhu_stream *stream);
/** Close and free; safe inside its own callbacks. */
void vhu_stream_close(struct vhu_stream *stream);

#endif /* VHU_SOCK_STREAM_H */
