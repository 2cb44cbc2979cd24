/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/device_private.h"
#include "obs/log.h"

#define NS_PER_MS UINT64_C(1000000)

struct vhu_channel_request {
	STAILQ_ENTRY(vhu_channel_request) link;
	vhu_channel_done done;  /* NULL: nobody asks, or it has been told already */
	void *argument;
	uint64_t deadline_ns;
	bool need_reply;
	bool given_up;          /* timed out; its answer may still come */
	uint32_t id;
	struct vhu_message message;
};

static void pump(struct vhu_channel *channel);

/* End a request that is in no list any more. The device is held by the caller. */
static void
finish(struct vhu_channel *channel, struct vhu_channel_request *request, int result,
	struct vhu_message *reply)
{
	vhu_message_close(&request->message);
	if (request->done != NULL)
		request->done(channel->device, request->argument, result, reply);
	free(request);
}

/* Ask to be called at the first deadline. All have the same time, so they come in order. */
static void
set_timer(struct vhu_channel *channel)
{
	const struct vhu_channel_request *first = channel->unanswered;
	uint64_t now = vhu_now_ns();

	if (first == NULL || first->given_up)
		first = STAILQ_FIRST(&channel->queue);
	vhu_timer_stop(&channel->timer);
	if (first != NULL && channel->stream != NULL)
		vhu_timer_start(channel->device->config.loop, &channel->timer,
			first->deadline_ns > now ? first->deadline_ns - now : 0);
}

static void
give_up(struct vhu_channel *channel, struct vhu_channel_request *request)
{
	vhu_channel_done done = request->done;

	vhu_log(VHU_LOG_WARNING, channel->device->name, VHU_LOG_NO_RING,
		"the front-end did not answer %s in time", vhu_backend_request_name(request->id));
	request->given_up = true;
	request->done = NULL;
	if (done != NULL)
		done(channel->device, request->argument, -ETIMEDOUT, NULL);
}

static void
expired(struct vhu_timer *timer)
{
	struct vhu_channel *channel =
		(struct vhu_channel *)((char *)timer - offsetof(struct vhu_channel, timer));
	struct vhu_channel_request *request = channel->unanswered;
	struct vhu_device *device = channel->device;
	uint64_t now = vhu_now_ns();

	vhu_device_pending_up(device);
	if (request != NULL && !request->given_up && request->deadline_ns <= now)
		give_up(channel, request);
	while ((request = STAILQ_FIRST(&channel->queue)) != NULL && request->deadline_ns <= now) {
		STAILQ_REMOVE_HEAD(&channel->queue, link);
		channel->count--;
		finish(channel, request, -ETIMEDOUT, NULL);
	}
	set_timer(channel);
	vhu_device_pending_down(device);
}

/*
 * Forget the stream and everything that was to be sent or answered on it. What is told to those who
 * wait may make them send again, or disconnect: all lists are empty by then.
 */
static void
drop_stream(struct vhu_channel *channel, struct vhu_stream *next, int result)
{
	struct vhu_channel_queue queue = STAILQ_HEAD_INITIALIZER(queue);
	struct vhu_channel_request *request = channel->unanswered;

	vhu_stream_close(channel->stream);
	channel->stream = next;
	channel->unanswered = NULL;
	channel->count = 0;
	STAILQ_CONCAT(&queue, &channel->queue);
	if (request != NULL)
		STAILQ_INSERT_HEAD(&queue, request, link);
	set_timer(channel);
	while ((request = STAILQ_FIRST(&queue)) != NULL) {
		STAILQ_REMOVE_HEAD(&queue, link);
		finish(channel, request, result, NULL);
	}
}

void
vhu_channel_close(struct vhu_channel *channel, int result)
{
	struct vhu_device *device = channel->device;

	if (channel->stream == NULL)
		return;
	vhu_device_pending_up(device);
	drop_stream(channel, NULL, result);
	vhu_device_pending_down(device);
}

static void
stream_ended(void *owner, const char *why, bool fault)
{
	struct vhu_channel *channel = owner;

	vhu_log(fault ? VHU_LOG_WARNING : VHU_LOG_INFO, channel->device->name, VHU_LOG_NO_RING,
		"back-end channel: %s", why);
	vhu_channel_close(channel, -ECONNRESET);
}

/* Is this the answer that is due? */
static struct vhu_verdict
check_reply(const struct vhu_channel *channel, const struct vhu_message *m)
{
	const uint32_t marks = VHU_FLAG_VERSION_MASK | VHU_FLAG_REPLY;
	const struct vhu_channel_request *due = channel->unanswered;

	if ((m->flags & marks) != (VHU_FLAG_VERSION | VHU_FLAG_REPLY))
		return vhu_refuse(VHU_REFUSE_CLOSE, "flags 0x%x are not those of a reply",
			m->flags);
	if (due == NULL)
		return vhu_refuse(VHU_REFUSE_CLOSE, "a reply to %s (%u) came, none is due",
			vhu_backend_request_name(m->request), m->request);
	if (m->request != due->id)
		return vhu_refuse(VHU_REFUSE_CLOSE, "a reply to request %u came, %s is due",
			m->request, vhu_backend_request_name(due->id));
	if (m->size != sizeof(m->payload.u64))
		return vhu_refuse(VHU_REFUSE_CLOSE, "a reply to %s has %u bytes, 8 are required",
			vhu_backend_request_name(due->id), m->size);
	return vhu_accept();
}

static void
stream_message(void *owner, struct vhu_message *m)
{
	struct vhu_channel *channel = owner;
	struct vhu_device *device = channel->device;
	struct vhu_verdict verdict = check_reply(channel, m);
	struct vhu_channel_request *request = channel->unanswered;

	vhu_device_pending_up(device);
	if (verdict.severity != VHU_ACCEPT) {
		vhu_log(VHU_LOG_WARNING, device->name, VHU_LOG_NO_RING,
			"back-end channel closed: %s", verdict.text);
		drop_stream(channel, NULL, -ECONNRESET);
	} else {
		channel->unanswered = NULL;
		channel->count--;
		finish(channel, request, m->payload.u64 == 0 ? 0 : -EREMOTEIO, m);
		pump(channel);
	}
	vhu_message_close(m);
	vhu_device_pending_down(device);
}

static void
stream_drained(void *owner)
{
	struct vhu_channel *channel = owner;
	struct vhu_device *device = channel->device;

	vhu_device_pending_up(device);
	pump(channel);
	vhu_device_pending_down(device);
}

static const struct vhu_stream_ops stream_ops = {
	.message = stream_message,
	.ended = stream_ended,
	.drained = stream_drained,
};

void
vhu_channel_init(struct vhu_channel *channel, struct vhu_device *device)
{
	*channel = (struct vhu_channel){ .device = device, .timer.expired = expired };
	STAILQ_INIT(&channel->queue);
}

bool
vhu_channel_open(const struct vhu_channel *channel)
{
	return channel->stream != NULL;
}

int
vhu_channel_replace(struct vhu_channel *channel, int fd)
{
	struct vhu_device *device = channel->device;
	struct vhu_stream *next;
	socklen_t size = sizeof(int);
	int type;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM) {
		close(fd);
		return -ENOTSOCK;
	}
	next = vhu_stream_new(device->config.loop, fd, &stream_ops, channel);
	if (next == NULL)
		return -ENOMEM;
	vhu_device_pending_up(device);
	drop_stream(channel, next, -ECANCELED);
	vhu_device_pending_down(device);
	return 0;
}

/* Send what may be sent now. The device is held by the caller. */
static void
pump(struct vhu_channel *channel)
{
	struct vhu_channel_request *request;
	int rc;

	/* Whoever is told below may come here again: the loop outside goes on for it. */
	if (channel->pumping)
		return;
	channel->pumping = true;
	while (channel->stream != NULL && vhu_stream_idle(channel->stream) &&
			(request = STAILQ_FIRST(&channel->queue)) != NULL) {
		if (request->need_reply && channel->unanswered != NULL)
			break;
		STAILQ_REMOVE_HEAD(&channel->queue, link);
		/* Before sending, which may find that the stream has ended and tell so later. */
		if (request->need_reply)
			channel->unanswered = request;
		else
			channel->count--;
		rc = vhu_stream_send(channel->stream, &request->message);
		if (!request->need_reply)
			finish(channel, request, rc == 0 ? 0 : -ECONNRESET, NULL);
	}
	channel->pumping = false;
	set_timer(channel);
}

/* Is it a valid message that this front-end understands? */
static int
check_request(const struct vhu_device *device, const struct vhu_message *m)
{
	const struct vhu_request_rule *rule = vhu_backend_request_rule(m->request);

	if (rule == NULL || m->size < rule->size_min || m->size > rule->size_max ||
	    m->fd_count < rule->fd_min || m->fd_count > rule->fd_max)
		return -EINVAL;
	if (rule->gate_protocol >= 0 && !(device->protocol & VHU_BIT(rule->gate_protocol)))
		return -EOPNOTSUPP;
	if (rule->gate_feature >= 0 && !(device->features & VHU_BIT(rule->gate_feature)))
		return -EOPNOTSUPP;
	if (m->fd_count > 0 && !(device->protocol & VHU_BIT(VHU_PROTOCOL_BACKEND_SEND_FD)))
		return -EOPNOTSUPP;
	return 0;
}

/* Does the front-end answer it, if asked to? */
static bool
will_be_answered(const struct vhu_device *device, const struct vhu_message *m)
{
	return vhu_backend_request_rule(m->request)->reply != VHU_REPLY_ACK ||
		(device->protocol & VHU_BIT(VHU_PROTOCOL_REPLY_ACK));
}

int
vhu_channel_send(struct vhu_device *device, struct vhu_message *message, bool need_reply,
	vhu_channel_done done, void *argument)
{
	struct vhu_channel *channel = &device->channel;
	struct vhu_channel_request *request = NULL;
	int rc = check_request(device, message);

	if (rc == 0 && (channel->stream == NULL || device->leaving))
		rc = -ENOTCONN;
	/* Calls are bounded by the number of rings, and none may be lost. */
	if (rc == 0 && channel->count >= VHU_CHANNEL_REQUESTS &&
	    message->request != VHU_BACKEND_VRING_CALL)
		rc = -ENOBUFS;
	if (rc == 0) {
		request = calloc(1, sizeof(*request));
		if (request == NULL)
			rc = -ENOMEM;
	}
	if (rc != 0) {
		vhu_message_close(message);
		return rc;
	}
	request->done = done;
	request->argument = argument;
	request->need_reply = need_reply && will_be_answered(device, message);
	request->id = message->request;
	request->deadline_ns = vhu_now_ns() + device->config.channel_timeout_ms * NS_PER_MS;
	request->message = *message;
	if (request->need_reply)
		request->message.flags |= VHU_FLAG_NEED_REPLY;
	message->fd_count = 0;
	STAILQ_INSERT_TAIL(&channel->queue, request, link);
	channel->count++;
	vhu_device_pending_up(device);
	pump(channel);
	vhu_device_pending_down(device);
	return 0;
}

void
vhu_channel_withdraw(struct vhu_channel *channel, void *argument)
{
	struct vhu_channel_request *request = STAILQ_FIRST(&channel->queue), *next;
	struct vhu_channel_queue withdrawn = STAILQ_HEAD_INITIALIZER(withdrawn);
	struct vhu_device *device = channel->device;

	for (; request != NULL; request = next) {
		next = STAILQ_NEXT(request, link);
		if (request->argument != argument)
			continue;
		STAILQ_REMOVE(&channel->queue, request, vhu_channel_request, link);
		STAILQ_INSERT_TAIL(&withdrawn, request, link);
		channel->count--;
	}
	vhu_device_pending_up(device);
	while ((request = STAILQ_FIRST(&withdrawn)) != NULL) {
		STAILQ_REMOVE_HEAD(&withdrawn, link);
		finish(channel, request, -ECANCELED, NULL);
	}
	vhu_device_pending_down(device);
}

int
vhu_device_ask_translation(struct vhu_device *device, uint64_t iova, enum vhu_access access)
{
	struct vhu_message m;

	vhu_backend_request_init(&m, VHU_BACKEND_IOTLB_MSG, sizeof(m.payload.iotlb), false);
	m.payload.iotlb.iova = iova;
	m.payload.iotlb.permission = (uint8_t)access;
	m.payload.iotlb.type = VHU_IOTLB_MISS;
	return vhu_channel_send(device, &m, false, NULL, NULL);
}

struct vhu_verdict
vhu_on_set_backend_req_fd(struct vhu_device *device, struct vhu_message *m,
	struct vhu_message *reply)
{
	int rc = vhu_channel_replace(&device->channel, vhu_message_take_fd(m, 0));

	(void)reply;
	if (rc == -ENOTSOCK)
		return vhu_refuse(VHU_REFUSE_FAULT, "the descriptor is no stream socket");
	if (rc != 0)
		return vhu_refuse(VHU_REFUSE, "the socket cannot be served: out of memory or "
			"descriptors");
	/* Those for which there was no channel so far. */
	vhu_device_check_calls(device);
	return vhu_accept();
}
