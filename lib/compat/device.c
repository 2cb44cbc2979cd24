/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compat/private.h"

/* Offered to every front-end, whatever the device type says. */
#define FEATURES_ALWAYS (VHU_BIT(VIRTIO_F_NOTIFY_ON_EMPTY) | VHU_BIT(VHU_F_LOG_ALL) | \
	VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC) | VHU_BIT(VIRTIO_RING_F_EVENT_IDX) | \
	VHU_BIT(VIRTIO_F_VERSION_1))

/* The device type's own bits, 0 to 23 and 50 to 63: no ring depends on them. */
#define FEATURES_OF_TYPE (~UINT64_C(0) << 50 | (VHU_BIT(24) - 1))

void
vu_panic(VuDev *dev, const char *format, ...)
{
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	/* Whoever is told must see it in the device already. */
	__atomic_store_n(&dev->broken, true, __ATOMIC_RELAXED);
	dev->panic(dev, text);
}

/* There is no worker: slow work is done by whoever asks for it. */
static void
submit(struct vhu_executor *executor, struct vhu_job *job)
{
	(void)executor;
	job->run(job);
	job->done(job);
}

static void
free_parts(VuDev *dev)
{
	struct vu_device *own = dev->own;
	uint16_t i;

	if (own != NULL) {
		for (i = 0; own->queues != NULL && i < dev->max_queues; i++)
			vu_queue_free(&own->queues[i]);
		vu_kept_end(own);
		if (own->device != NULL)
			vhu_device_free(own->device);
		if (own->loop != NULL)
			vhu_loop_free(own->loop);
		free(own->queues);
		free(own->rings);
		free(own);
	}
	free(dev->vq);
	free(dev->regions);
	dev->own = NULL;
	dev->vq = NULL;
	dev->regions = NULL;
	dev->nregions = 0;
}

static void
init_queue(VuDev *dev, uint16_t index)
{
	struct vu_queue *queue = &dev->own->queues[index];
	VuVirtq *vq = &dev->vq[index];

	vhu_element_queue_init(&queue->elements);
	queue->dev = dev;
	queue->index = index;
	dev->own->rings[index] = &queue->elements.ring;
	vq->call_fd = -1;
	vq->kick_fd = -1;
	vq->err_fd = -1;
	vq->notification = true;
	vq->own = queue;
}

static bool
make_parts(VuDev *dev)
{
	struct vu_device *own = calloc(1, sizeof(*own));
	struct vhu_device_config config;
	uint16_t i;

	dev->own = own;
	dev->vq = calloc(dev->max_queues, sizeof(*dev->vq));
	dev->regions = calloc(VHOST_USER_MAX_RAM_SLOTS, sizeof(*dev->regions));
	if (own == NULL || dev->vq == NULL || dev->regions == NULL)
		return false;
	own->dev = dev;
	own->thread = pthread_self();
	own->wake_fd = -1;
	own->executor.submit = submit;
	own->loop = vhu_loop_new();
	own->rings = calloc(dev->max_queues, sizeof(struct vhu_ring *));
	own->queues = aligned_alloc(_Alignof(struct vu_queue),
		dev->max_queues * sizeof(own->queues[0]));
	if (own->loop == NULL || own->rings == NULL || own->queues == NULL)
		return false;
	memset(own->queues, 0, dev->max_queues * sizeof(own->queues[0]));
	for (i = 0; i < dev->max_queues; i++)
		init_queue(dev, i);
	vhu_publish_init();
	vhu_grace_domain_init(&own->domain);
	config = (struct vhu_device_config){
		.name = "libvhost-user",
		.ops = &vu_device_ops,
		.owner = own,
		.features = FEATURES_ALWAYS,
		.protocol_features = vhu_device_protocol_features(),
		.ring_count = dev->max_queues,
		.queue_num = dev->max_queues,
		.rings = own->rings,
		.executor = &own->executor,
		.domain = &own->domain,
		.keeps_elements = true,
		.unasked_features = FEATURES_OF_TYPE,
		.loop = own->loop,
		.host_notifiers = true,
		.shmem_sizes = own->shmem_sizes,
		.shmem_count = VHOST_USER_MAX_SHMEM_REGIONS,
	};
	own->device = vhu_device_new(&config);
	return own->device != NULL;
}

bool
vu_init(VuDev *dev, uint16_t max_queues, int socket, vu_panic_cb panic, vu_read_msg_cb read_msg,
	vu_set_watch_cb set_watch, vu_remove_watch_cb remove_watch, const VuDevIface *iface)
{
	if (max_queues == 0 || max_queues > 256 || socket < 0 || panic == NULL ||
	    set_watch == NULL || remove_watch == NULL || iface == NULL)
		return false;
	memset(dev, 0, sizeof(*dev));
	dev->sock = socket;
	dev->panic = panic;
	dev->read_msg = read_msg != NULL ? read_msg : vu_message_read;
	dev->set_watch = set_watch;
	dev->remove_watch = remove_watch;
	dev->iface = iface;
	dev->max_queues = max_queues;
	dev->log_call_fd = -1;
	dev->backend_fd = -1;
	dev->postcopy_ufd = -1;
	dev->inflight_info.fd = -1;
	pthread_mutex_init(&dev->backend_mutex, NULL);
	if (!make_parts(dev)) {
		free_parts(dev);
		pthread_mutex_destroy(&dev->backend_mutex);
		return false;
	}
	vhu_device_connect(dev->own->device);
	return true;
}

/* One look at what the engine waits for: the back-end channel, lcores that are inside a ring. */
static void
step(struct vu_device *own)
{
	vhu_loop_step(own->loop, 0);
	if (vhu_grace_step(&own->domain) != 0)
		sched_yield();
}

void
vu_settle(struct vu_device *own)
{
	while (vhu_device_busy(own->device))
		step(own);
}

static void
left(void *owner)
{
	struct vu_device *own = owner;

	own->left = true;
}

void
vu_deinit(VuDev *dev)
{
	struct vu_device *own = dev->own;

	if (own == NULL)
		return;
	vu_watch_wishes(dev, false);
	vhu_device_disconnect(own->device, left);
	while (!own->left)
		step(own);
	free_parts(dev);
	pthread_mutex_destroy(&dev->backend_mutex);
	if (dev->sock >= 0)
		close(dev->sock);
	dev->sock = -1;
}

/* Does the device type have shared memory regions? */
static bool
find_shmem(VuDev *dev)
{
	uint64_t *sizes = dev->own->shmem_sizes;
	int count = 0;

	memset(sizes, 0, sizeof(dev->own->shmem_sizes));
	if (dev->iface->get_shmem_config != NULL)
		count = dev->iface->get_shmem_config(dev, sizes, VHOST_USER_MAX_SHMEM_REGIONS);
	return count > 0;
}

/* What the device type offers may change from one question to the next. */
static void
refresh_offer(VuDev *dev)
{
	const VuDevIface *iface = dev->iface;
	uint64_t features = FEATURES_ALWAYS, protocol;

	if (iface->get_features != NULL)
		features |= iface->get_features(dev);
	protocol = VHU_BIT(VHU_PROTOCOL_MQ) | VHU_BIT(VHU_PROTOCOL_LOG_SHMFD) |
		VHU_BIT(VHU_PROTOCOL_REPLY_ACK) | VHU_BIT(VHU_PROTOCOL_BACKEND_REQ) |
		VHU_BIT(VHU_PROTOCOL_BACKEND_SEND_FD) | VHU_BIT(VHU_PROTOCOL_HOST_NOTIFIER) |
		VHU_BIT(VHU_PROTOCOL_CONFIGURE_MEM_SLOTS) | VHU_BIT(VHU_PROTOCOL_PAGEFAULT) |
		VHU_BIT(VHU_PROTOCOL_RESET_DEVICE) | VHU_BIT(VHU_PROTOCOL_STATUS);
	if (iface->get_config != NULL && iface->set_config != NULL)
		protocol |= VHU_BIT(VHU_PROTOCOL_CONFIG);
	if (iface->get_shared_object != NULL)
		protocol |= VHU_BIT(VHU_PROTOCOL_SHARED_OBJECT);
	if (find_shmem(dev))
		protocol |= VHU_BIT(VHU_PROTOCOL_SHMEM);
	if (iface->get_protocol_features != NULL)
		protocol |= iface->get_protocol_features(dev);
	vhu_device_offer(dev->own->device, features, protocol);
}

/* After an accepted message: tell the program what it asked to be told each time. */
static void
tell_accepted(VuDev *dev, uint32_t request)
{
	struct vhu_device *device = dev->own->device;

	dev->features = vhu_device_features(device);
	dev->protocol_features = vhu_device_negotiated_protocol_features(device);
	if (request == VHU_SET_FEATURES && dev->iface->set_features != NULL)
		dev->iface->set_features(dev, dev->features);
	if (request == VHU_SET_PROTOCOL_FEATURES || request == VHU_SET_FEATURES)
		vu_watch_wishes(dev, (dev->protocol_features &
			VHU_BIT(VHU_PROTOCOL_INBAND_NOTIFICATIONS)) ||
			(dev->features & VHU_BIT(VIRTIO_F_ACCESS_PLATFORM)));
	if (request == VHU_SET_PROTOCOL_FEATURES && dev->iface->set_protocol_features != NULL)
		dev->iface->set_protocol_features(dev, dev->protocol_features);
}

/* Does the front-end wait for an answer, whoever gives it? */
static bool
wants_reply(const VhostUserMsg *message)
{
	const struct vhu_request_rule *rule = vhu_request_rule((uint32_t)message->request);

	return (message->flags & VHOST_USER_NEED_REPLY_MASK) ||
		(rule != NULL && rule->reply != VHU_REPLY_ACK);
}

/* Translations came: what a queue could not pop before, it may now. */
static void
look_again(VuDev *dev)
{
	uint16_t i;

	for (i = 0; i < dev->max_queues; i++)
		if (dev->vq[i].started)
			vu_kick_ourselves(&dev->vq[i]);
}

/* Let the engine do what the message says. */
static bool
process(VuDev *dev, VhostUserMsg *message)
{
	struct vu_device *own = dev->own;
	uint64_t messages, before, refusals;
	char why[VHU_REASON_SIZE];
	struct vhu_message m;

	if (message->request == VHOST_USER_GET_FEATURES ||
	    message->request == VHOST_USER_GET_PROTOCOL_FEATURES)
		refresh_offer(dev);
	own->fault = false;
	vhu_device_counts(own->device, &messages, &before, why);
	vu_message_to_engine(message, &m);
	vhu_device_receive(own->device, &m);
	vu_settle(own);
	own->reply_owed = false;
	vhu_device_counts(own->device, &messages, &refusals, why);
	if (own->fault)
		vu_panic(dev, "%s", why);
	if (refusals == before)
		tell_accepted(dev, (uint32_t)message->request);
	if (message->request == VHOST_USER_IOTLB_MSG)
		look_again(dev);
	return !own->hung_up && !own->send_failed;
}

/* The program has handled the message itself. */
static bool
reply_of_program(VuDev *dev, VhostUserMsg *message, bool reply, bool need_reply)
{
	if (!reply && !need_reply)
		return true;
	if (!reply) {
		message->payload.u64 = 0;
		message->size = sizeof(message->payload.u64);
		message->fd_num = 0;
		free(message->data);
		message->data = NULL;
	}
	message->flags = VHU_FLAG_VERSION | VHU_FLAG_REPLY;
	return vu_message_send(dev, dev->sock, message);
}

bool
vu_dispatch(VuDev *dev)
{
	VhostUserMsg message;
	bool need_reply, ended, handled, usable = true;
	struct vu_device *own = dev->own;
	int reply = 0;

	memset(&message, 0, sizeof(message));
	own->thread = pthread_self();
	/* What the back-end channel has brought meanwhile. */
	vhu_loop_step(own->loop, 0);
	vu_kept_release(own);
	if (!dev->read_msg(dev, dev->sock, &message))
		return false;
	/* A reader that finds the connection closed leaves the message as it was. */
	ended = message.request == VHOST_USER_NONE && message.flags == 0 && message.size == 0;
	if (ended)
		__atomic_store_n(&dev->broken, true, __ATOMIC_RELAXED);
	need_reply = message.flags & VHOST_USER_NEED_REPLY_MASK;
	own->dispatching = true;
	own->reply_owed = !ended && wants_reply(&message);
	handled = dev->iface->process_msg != NULL &&
		dev->iface->process_msg(dev, &message, &reply) != 0;
	if (ended) {
		if (!handled)
			vu_panic(dev, "the front-end hung up");
		usable = false;
	} else if (handled) {
		usable = reply_of_program(dev, &message, reply != 0, need_reply);
	} else {
		usable = process(dev, &message);
	}
	own->reply_owed = false;
	own->dispatching = false;
	vu_attend(own);
	free(message.data);
	return usable;
}

/* Names with the prefix that programs expect, made once. */
static char request_names[VHU_REQUESTS][64];

static void
make_request_names(void)
{
	unsigned int i;

	for (i = 0; i < VHU_REQUESTS; i++) {
		bool known = i == VHU_REQUEST_NONE || vhu_request_rule(i) != NULL;

		snprintf(request_names[i], sizeof(request_names[i]), "VHOST_USER_%s",
			i == VHU_REQUEST_NONE ? "NONE" : known ? vhu_request_name(i) : "MAX");
	}
}

const char *
vu_request_to_string(unsigned int req)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_request_names);
	return req < VHU_REQUESTS ? request_names[req] : "unknown";
}
