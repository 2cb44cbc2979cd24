/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sock/stream.h"

#define HEADER_SIZE sizeof(struct vhu_wire_header)

/*
 * Most messages that wait for room. A stream reads nothing while one waits, so replies alone can
 * not get there; only an owner that sends by itself can, to a peer that has stopped reading.
 */
#define UNSENT_MAX 64

/* An encoded message that the peer has not taken yet. It owns its descriptors. */
struct unsent {
	STAILQ_ENTRY(unsent) link;
	size_t length;
	size_t sent;
	unsigned int fd_count;
	int fds[VHU_MESSAGE_FDS];
	uint8_t bytes[];
};

struct vhu_stream {
	struct vhu_watch watch;   /* owns the socket */
	struct vhu_timer ending;  /* runs between the end and the owner's hearing of it */
	struct vhu_loop *loop;
	const struct vhu_stream_ops *ops;
	void *owner;

	bool paused;
	bool hung_up;  /* the peer went away while we were paused and left messages behind */
	bool ended;    /* nothing is read or sent any more */
	bool inside;   /* a callback of ours is running: freeing waits until it returns */
	bool closed;
	bool fault;    /* with ended */
	char why[128]; /* with ended */

	/* The message that is being collected. It owns the descriptors that have come so far. */
	uint8_t header[HEADER_SIZE];
	size_t header_got;
	size_t payload_got;
	struct vhu_message message;

	STAILQ_HEAD(, unsent) unsent;
	unsigned int unsent_count;
};

/*
 * The owner hears of the end from the loop, never inside a call of its own: vhu_stream_send() runs
 * deep inside message handlers that could not bear to be torn down there.
 */
static void
end(struct vhu_stream *stream, bool fault, const char *why)
{
	if (stream->ended)
		return;
	stream->ended = true;
	stream->fault = fault;
	snprintf(stream->why, sizeof(stream->why), "%s", why);
	vhu_watch_remove(&stream->watch);
	vhu_timer_start(stream->loop, &stream->ending, 0);
}

static void
end_with_error(struct vhu_stream *stream, const char *what, int error)
{
	char why[sizeof(stream->why)];

	snprintf(why, sizeof(why), "%s: %s", what, strerror(error));
	end(stream, false, why);
}

/* The peer is gone: an orderly farewell between messages, its fault in the middle of one. */
static void
end_of_peer(struct vhu_stream *stream)
{
	if (stream->header_got > 0)
		end(stream, true, "closed in the middle of a message");
	else
		end(stream, false, "closed by the front-end");
}

/* Ask the loop for what the stream waits for now. */
static void
update_watch(struct vhu_stream *stream)
{
	uint32_t events = EPOLLIN;
	int status;

	if (stream->ended || stream->closed)
		return;
	if (!STAILQ_EMPTY(&stream->unsent))
		events = EPOLLOUT;
	else if (stream->paused)
		/* Hang-up is reported for all that is watched: alone it asks for nothing. */
		events = stream->hung_up ? 0 : EPOLLHUP;
	status = vhu_watch_set(stream->loop, &stream->watch, events);
	if (status < 0)
		end_with_error(stream, "the socket cannot be watched", -status);
}

static void
forget_message(struct vhu_stream *stream)
{
	unsigned int i;

	memset(&stream->message, 0, sizeof(stream->message));
	for (i = 0; i < VHU_MESSAGE_FDS; i++)
		stream->message.fds[i] = -1;
	stream->header_got = 0;
	stream->payload_got = 0;
}

/* Put the descriptors of one read behind those that came before; what does not fit is closed. */
static void
adopt_descriptors(struct vhu_message *message, struct msghdr *from)
{
	struct cmsghdr *control;
	size_t i, count;
	int fd;

	if ((from->msg_flags & MSG_CTRUNC) != 0)
		message->fds_truncated = true;
	for (control = CMSG_FIRSTHDR(from); control != NULL;
	     control = CMSG_NXTHDR(from, control)) {
		if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
			continue;
		count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(fd);
		for (i = 0; i < count; i++) {
			memcpy(&fd, CMSG_DATA(control) + i * sizeof(fd), sizeof(fd));
			if (message->fd_count < VHU_MESSAGE_FDS) {
				message->fds[message->fd_count++] = fd;
			} else {
				message->fds_truncated = true;
				close(fd);
			}
		}
	}
}

/* One read. @return bytes, 0 at the end, or -errno. */
static ssize_t
receive_some(struct vhu_stream *stream, void *bytes, size_t size)
{
	struct iovec vector = { .iov_base = bytes, .iov_len = size };
	/* Room for more than a message may have, so that we see when there are more. */
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE((VHU_MESSAGE_FDS + 1) * sizeof(int))];
	} control;
	struct msghdr header = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t got;

	do {
		got = recvmsg(stream->watch.fd, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	adopt_descriptors(&stream->message, &header);
	return got;
}

/*
 * Read until @p got reaches @p size. @return true when it does; false: the rest has not come yet,
 * or the stream ended.
 */
static bool
collect(struct vhu_stream *stream, uint8_t *bytes, size_t size, size_t *got)
{
	ssize_t count;

	while (*got < size) {
		count = receive_some(stream, bytes + *got, size - *got);
		if (count > 0)
			*got += (size_t)count;
		else if (count == -EAGAIN)
			return false;
		else {
			/* ECONNRESET: it left without reading what we sent; as good as leaving. */
			if (count == 0 || count == -ECONNRESET)
				end_of_peer(stream);
			else
				end_with_error(stream, "the socket cannot be read", (int)-count);
			return false;
		}
	}
	return true;
}

/* Read at most one message, however many are there: the other descriptors of the loop wait. */
static void
receive(struct vhu_stream *stream)
{
	struct vhu_verdict verdict;

	if (stream->header_got < HEADER_SIZE) {
		if (!collect(stream, stream->header, HEADER_SIZE, &stream->header_got))
			return;
		verdict = vhu_header_decode(stream->header, &stream->message);
		if (verdict.severity != VHU_ACCEPT) {
			end(stream, true, verdict.text);
			return;
		}
	}
	if (!collect(stream, stream->message.payload.bytes, stream->message.size,
			&stream->payload_got))
		return;
	/* The stream is between messages now, for a reply that finds the peer gone too. */
	stream->header_got = 0;
	stream->payload_got = 0;
	stream->ops->message(stream->owner, &stream->message);
	forget_message(stream);
}

static void
close_descriptors(struct unsent *unsent)
{
	unsigned int i;

	for (i = 0; i < unsent->fd_count; i++)
		close(unsent->fds[i]);
	unsent->fd_count = 0;
}

static void
drop_unsent(struct vhu_stream *stream, struct unsent *unsent)
{
	STAILQ_REMOVE_HEAD(&stream->unsent, link);
	stream->unsent_count--;
	close_descriptors(unsent);
	free(unsent);
}

/* One write; the descriptors go with the first byte. @return bytes or -errno. */
static ssize_t
send_some(struct vhu_stream *stream, struct unsent *unsent)
{
	struct iovec vector = {
		.iov_base = unsent->bytes + unsent->sent,
		.iov_len = unsent->length - unsent->sent,
	};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(VHU_MESSAGE_FDS * sizeof(int))];
	} control = { 0 };
	struct msghdr header = { .msg_iov = &vector, .msg_iovlen = 1 };
	ssize_t count;

	if (unsent->fd_count > 0) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(unsent->fd_count * sizeof(int));
		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(unsent->fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), unsent->fds, unsent->fd_count * sizeof(int));
	}
	do {
		count = sendmsg(stream->watch.fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (count < 0 && errno == EINTR);
	return count < 0 ? -errno : count;
}

/* Send what waits, as far as the peer takes it. @return 0, or -errno and the stream has ended. */
static int
flush(struct vhu_stream *stream)
{
	struct unsent *unsent;
	ssize_t count;

	while ((unsent = STAILQ_FIRST(&stream->unsent)) != NULL) {
		count = send_some(stream, unsent);
		if (count == -EAGAIN)
			return 0;
		if (count == -EPIPE || count == -ECONNRESET) {
			end_of_peer(stream);
			return (int)count;
		}
		if (count < 0) {
			end_with_error(stream, "a message cannot be sent", (int)-count);
			return (int)count;
		}
		close_descriptors(unsent);
		unsent->sent += (size_t)count;
		if (unsent->sent == unsent->length)
			drop_unsent(stream, unsent);
	}
	return 0;
}

static void
flush_from_loop(struct vhu_stream *stream)
{
	if (flush(stream) == 0 && STAILQ_EMPTY(&stream->unsent) && stream->ops->drained != NULL)
		stream->ops->drained(stream->owner);
}

/*
 * The peer closed its socket while we read nothing. If all it sent has been read, that is the end;
 * otherwise the messages it left are read first, after the pause, and the end is found behind them.
 */
static void
peer_left_in_pause(struct vhu_stream *stream)
{
	int unread = 0;

	if (ioctl(stream->watch.fd, FIONREAD, &unread) == 0 && unread > 0)
		stream->hung_up = true;
	else
		end_of_peer(stream);
}

static void
destroy(struct vhu_stream *stream)
{
	while (!STAILQ_EMPTY(&stream->unsent))
		drop_unsent(stream, STAILQ_FIRST(&stream->unsent));
	vhu_message_close(&stream->message);
	close(stream->watch.fd);
	free(stream);
}

/* A callback is over. */
static void
leave(struct vhu_stream *stream)
{
	stream->inside = false;
	if (stream->closed)
		destroy(stream);
	else
		update_watch(stream);
}

static void
ready(struct vhu_watch *watch, uint32_t events)
{
	struct vhu_stream *stream =
		(struct vhu_stream *)((char *)watch - offsetof(struct vhu_stream, watch));

	/* An owner that steps the loop inside a message gets no second one into the same buffer. */
	if (stream->inside)
		return;
	stream->inside = true;
	if (!STAILQ_EMPTY(&stream->unsent))
		flush_from_loop(stream);
	else if (!stream->paused)
		receive(stream);
	else if ((events & (EPOLLHUP | EPOLLERR)) != 0)
		peer_left_in_pause(stream);
	leave(stream);
}

static void
tell_end(struct vhu_timer *timer)
{
	struct vhu_stream *stream =
		(struct vhu_stream *)((char *)timer - offsetof(struct vhu_stream, ending));

	stream->inside = true;
	stream->ops->ended(stream->owner, stream->why, stream->fault);
	leave(stream);
}

struct vhu_stream *
vhu_stream_new(struct vhu_loop *loop, int fd, const struct vhu_stream_ops *ops, void *owner)
{
	struct vhu_stream *stream = calloc(1, sizeof(*stream));
	int flags = fcntl(fd, F_GETFL);

	if (stream == NULL || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
		goto fail;
	stream->watch.fd = fd;
	stream->watch.ready = ready;
	stream->ending.expired = tell_end;
	stream->loop = loop;
	stream->ops = ops;
	stream->owner = owner;
	STAILQ_INIT(&stream->unsent);
	forget_message(stream);
	if (vhu_watch_set(loop, &stream->watch, EPOLLIN) != 0)
		goto fail;
	return stream;

fail:
	close(fd);
	free(stream);
	return NULL;
}

void
vhu_stream_pause(struct vhu_stream *stream, bool paused)
{
	stream->paused = paused;
	stream->hung_up = false;
	update_watch(stream);
}

/* Encode a message for sending and take over its descriptors. @return NULL if that fails. */
static struct unsent *
make_unsent(struct vhu_message *message)
{
	size_t room = HEADER_SIZE + VHU_PAYLOAD_MAX;
	struct unsent *unsent = malloc(sizeof(*unsent) + room);
	unsigned int i;
	int fd;

	if (unsent == NULL)
		return NULL;
	unsent->sent = 0;
	unsent->fd_count = 0;
	unsent->length = vhu_message_encode(message, unsent->bytes, room);
	if (unsent->length == 0) {
		free(unsent);
		return NULL;
	}
	for (i = 0; i < message->fd_count && i < VHU_MESSAGE_FDS; i++) {
		fd = vhu_message_take_fd(message, i);
		if (fd >= 0)
			unsent->fds[unsent->fd_count++] = fd;
	}
	return unsent;
}

int
vhu_stream_send(struct vhu_stream *stream, struct vhu_message *message)
{
	struct unsent *unsent;
	int status;

	if (stream->ended || stream->closed) {
		vhu_message_close(message);
		return -EPIPE;
	}
	if (stream->unsent_count >= UNSENT_MAX) {
		vhu_message_close(message);
		end(stream, true, "the peer does not read what it is sent");
		return -ENOBUFS;
	}
	unsent = make_unsent(message);
	if (unsent == NULL) {
		vhu_message_close(message);
		end(stream, false, "out of memory for a message to be sent");
		return -ENOMEM;
	}
	STAILQ_INSERT_TAIL(&stream->unsent, unsent, link);
	stream->unsent_count++;
	/* Those before it could not be sent: the loop says when they can. */
	if (stream->unsent_count > 1)
		return 0;
	status = flush(stream);
	update_watch(stream);
	return status;
}

bool
vhu_stream_idle(const struct vhu_stream *stream)
{
	return STAILQ_EMPTY(&stream->unsent) && !stream->ended && !stream->closed;
}

void
vhu_stream_close(struct vhu_stream *stream)
{
	if (stream == NULL || stream->closed)
		return;
	stream->closed = true;
	vhu_watch_remove(&stream->watch);
	vhu_timer_stop(&stream->ending);
	if (!stream->inside)
		destroy(stream);
}
