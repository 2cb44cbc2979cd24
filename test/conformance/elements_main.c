/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * The back-end for devices with requests: the engine without EAL, one thread, one socket. What the
 * device does is in elements.c.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_config.h>

#include "elements.h"
#include "sock/endpoint.h"
#include "sock/stream.h"

struct server {
	struct machine machine;
	struct vhu_loop *loop;
	struct vhu_endpoint *endpoint;
	struct vhu_stream *stream;
	struct vhu_grace_domain domain;
	bool hung_up;
};

static volatile sig_atomic_t stopped;

static void
stop(int number)
{
	(void)number;
	stopped = 1;
}

static void
submit(struct vhu_executor *executor, struct vhu_job *job)
{
	(void)executor;
	job->run(job);
	job->done(job);
}

static void
left(void *owner)
{
	struct server *server = owner;

	server->hung_up = false;
	if (!stopped)
		vhu_endpoint_resume(server->endpoint);
}

static void
end(struct server *server)
{
	if (server->stream == NULL)
		return;
	vhu_stream_close(server->stream);
	server->stream = NULL;
	vhu_device_disconnect(server->machine.device, left);
}

static void
message_came(void *owner, struct vhu_message *message)
{
	struct server *server = owner;

	if (server->hung_up) {
		vhu_message_close(message);
		return;
	}
	vhu_device_receive(server->machine.device, message);
	if (server->stream != NULL && vhu_device_busy(server->machine.device))
		vhu_stream_pause(server->stream, true);
}

static void
stream_ended(void *owner, const char *why, bool fault)
{
	(void)why;
	(void)fault;
	end(owner);
}

static const struct vhu_stream_ops stream_ops = { .message = message_came, .ended = stream_ended };

static void
connected(void *owner, int fd)
{
	struct server *server = owner;

	server->stream = vhu_stream_new(server->loop, fd, &stream_ops, server);
	if (server->stream != NULL)
		vhu_device_connect(server->machine.device);
	else
		vhu_endpoint_resume(server->endpoint);
}

static void
device_send(void *owner, struct vhu_message *reply)
{
	struct server *server = owner;

	if (server->stream == NULL)
		vhu_message_close(reply);
	else
		vhu_stream_send(server->stream, reply);
}

static void
device_answered(void *owner)
{
	struct server *server = owner;

	if (server->stream != NULL && !server->hung_up)
		vhu_stream_pause(server->stream, false);
}

static void
device_hang_up(void *owner)
{
	struct server *server = owner;

	server->hung_up = true;
}

static void
device_event(void *owner, enum vhu_event_type type, uint16_t ring, uint64_t value)
{
	(void)owner;
	(void)type;
	(void)ring;
	(void)value;
}

static int
get_config(void *owner, uint32_t offset, void *data, uint32_t size)
{
	struct server *server = owner;

	if (offset > CONFIG_SIZE || size > CONFIG_SIZE - offset)
		return -EINVAL;
	memcpy(data, server->machine.config + offset, size);
	return 0;
}

static int
set_config(void *owner, uint32_t offset, const void *data, uint32_t size, bool migration)
{
	struct server *server = owner;
	uint32_t end_of_writable = migration ? CONFIG_SIZE : CONFIG_WRITABLE;

	if (offset > end_of_writable || size > end_of_writable - offset)
		return -EPERM;
	memcpy(server->machine.config + offset, data, size);
	return 0;
}

static int
save_state(void *owner, uint8_t **bytes, size_t *size)
{
	struct server *server = owner;

	*bytes = malloc(server->machine.state_size + 1);
	if (*bytes == NULL)
		return -ENOMEM;
	*size = server->machine.state_size;
	if (*size != 0)
		memcpy(*bytes, server->machine.state, *size);
	return 0;
}

static int
load_state(void *owner, const uint8_t *bytes, size_t size)
{
	struct server *server = owner;
	uint8_t *copy = malloc(size + 1);

	if (copy == NULL)
		return -ENOMEM;
	if (size != 0)
		memcpy(copy, bytes, size);
	free(server->machine.state);
	server->machine.state = copy;
	server->machine.state_size = size;
	return 0;
}

/* Objects whose name begins with a zero do not exist. */
static int
get_shared_object(void *owner, const uint8_t *uuid)
{
	struct server *server = owner;

	return uuid[0] == 0 ? -ENOENT : fcntl(server->machine.file, F_DUPFD_CLOEXEC, 0);
}

static struct vhu_device *
make_device(struct server *server, struct vhu_executor *executor, uint32_t timeout_ms)
{
	static const uint64_t shmem_sizes[] = { 1 << 20, 0, 4096 };
	static struct vhu_device_ops ops = {
		.send = device_send,
		.answered = device_answered,
		.hang_up = device_hang_up,
		.event = device_event,
		.get_config = get_config,
		.set_config = set_config,
		.save_state = save_state,
		.load_state = load_state,
		.get_shared_object = get_shared_object,
	};
	const struct vhu_device_config config = {
		.name = "elements",
		.ops = &ops,
		.owner = server,
		.features = VHU_BIT(VIRTIO_F_VERSION_1) | VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC) |
			VHU_BIT(VIRTIO_RING_F_EVENT_IDX) | VHU_BIT(VIRTIO_F_RING_PACKED) |
			VHU_BIT(VHU_F_IN_ORDER) | VHU_BIT(VHU_F_LOG_ALL),
		.protocol_features = vhu_device_protocol_features(),
		.ring_count = server->machine.ring_count,
		.queue_num = server->machine.ring_count,
		.rings = server->machine.rings,
		.executor = executor,
		.domain = &server->domain,
		.loop = server->loop,
		.channel_timeout_ms = timeout_ms,
		.shmem_sizes = shmem_sizes,
		.shmem_count = 3,
		.host_notifiers = true,
	};

	machine_ops(&ops);
	return vhu_device_new(&config);
}

/* Serve until a signal comes. */
static void
run(struct server *server)
{
	struct vhu_device *device = server->machine.device;

	while (!stopped) {
		vhu_loop_step(server->loop, server->stream != NULL ? 1 : 20);
		machine_poll(&server->machine);
		vhu_grace_step(&server->domain);
		vhu_device_check_calls(device);
		vhu_device_check_broken(device);
		vhu_device_check_missing(device);
		vhu_device_tick(device);
		if (server->hung_up)
			end(server);
	}
	end(server);
	while (vhu_device_busy(device))
		vhu_grace_step(&server->domain);
}

static int
serve(const char *path, uint32_t timeout_ms)
{
	/* The device's functions get the server: it begins with the machine. */
	static struct server server;
	struct vhu_executor executor = { .submit = submit };
	struct vhu_endpoint_config config = {
		.path = path, .uid = -1, .gid = -1, .connected = connected, .owner = &server,
		.name = "elements",
	};
	char error[VHU_REASON_SIZE];

	vhu_publish_init();
	vhu_attention_open();
	vhu_grace_domain_init(&server.domain);
	machine_init(&server.machine, 4);
	server.loop = vhu_loop_new();
	if (server.loop == NULL)
		return EXIT_FAILURE;
	server.machine.device = make_device(&server, &executor, timeout_ms);
	if (server.machine.device == NULL ||
	    vhu_endpoint_open(server.loop, &config, &server.endpoint, error, sizeof(error)) != 0)
		return EXIT_FAILURE;
	run(&server);
	vhu_endpoint_close(server.endpoint);
	vhu_device_free(server.machine.device);
	vhu_loop_free(server.loop);
	machine_free(&server.machine);
	return EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
	uint32_t timeout_ms = 300;

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: conformance-elements SOCKET [answer within ms]\n");
		return EXIT_FAILURE;
	}
	if (argc == 3)
		timeout_ms = (uint32_t)strtoul(argv[2], NULL, 10);
	signal(SIGINT, stop);
	signal(SIGTERM, stop);
	signal(SIGPIPE, SIG_IGN);
	return serve(argv[1], timeout_ms);
}
