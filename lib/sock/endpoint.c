/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "obs/log.h"
#include "sock/endpoint.h"
#include "sock/listener.h"

#define NS_PER_MS UINT64_C(1000000)
/* Pauses where the configuration leaves them open. */
#define RECONNECT_MIN_MS 1
#define RECONNECT_MAX_MS 1000
/* A server that could not accept for lack of descriptors or memory tries again after this time. */
#define ACCEPT_PAUSE_MS 100

struct vhu_endpoint {
	struct vhu_watch watch;  /* a server's listening socket; a client has none */
	struct vhu_timer retry;
	struct vhu_loop *loop;
	struct vhu_endpoint_config config; /* path and name are copies */
	struct vhu_socket_identity identity; /* of a server's path */
	uint32_t pause_ms;       /* a client's next pause */
	int last_error;          /* why the last attempt failed, logged when it changes */
};

static void
release(struct vhu_endpoint *endpoint)
{
	free((char *)(uintptr_t)endpoint->config.path);
	free((char *)(uintptr_t)endpoint->config.name);
	free(endpoint);
}

/* A connection: rest until the owner wants another. The owner may close us: nothing after it. */
static void
hand_over(struct vhu_endpoint *endpoint, int fd)
{
	endpoint->last_error = 0;
	endpoint->pause_ms = endpoint->config.reconnect_min_ms;
	vhu_watch_remove(&endpoint->watch);
	vhu_timer_stop(&endpoint->retry);
	endpoint->config.connected(endpoint->config.owner, fd);
}

/* Log a failure once, not at every attempt. */
static void
note_failure(struct vhu_endpoint *endpoint, const char *what, int error)
{
	if (error == endpoint->last_error)
		return;
	endpoint->last_error = error;
	vhu_log(VHU_LOG_NOTICE, endpoint->config.name, VHU_LOG_NO_RING,
		"%s '%s': %s; trying again", what, endpoint->config.path, strerror(error));
}

static void
listen_again(struct vhu_endpoint *endpoint)
{
	int status = vhu_watch_set(endpoint->loop, &endpoint->watch, EPOLLIN);

	if (status == 0)
		return;
	note_failure(endpoint, "cannot watch", -status);
	vhu_timer_start(endpoint->loop, &endpoint->retry, ACCEPT_PAUSE_MS * NS_PER_MS);
}

static void
accept_one(struct vhu_watch *watch, uint32_t events)
{
	struct vhu_endpoint *endpoint =
		(struct vhu_endpoint *)((char *)watch - offsetof(struct vhu_endpoint, watch));
	int fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd >= 0) {
		hand_over(endpoint, fd);
		return;
	}
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return;
	/* Out of descriptors or memory. The connection stays in the backlog: do not spin on it. */
	note_failure(endpoint, "cannot accept at", errno);
	vhu_watch_remove(watch);
	vhu_timer_start(endpoint->loop, &endpoint->retry, ACCEPT_PAUSE_MS * NS_PER_MS);
}

/* One attempt of a client. Whatever went wrong may be right next time. */
static void
connect_once(struct vhu_endpoint *endpoint)
{
	int fd = vhu_socket_connect(endpoint->config.path);

	if (fd >= 0) {
		hand_over(endpoint, fd);
		return;
	}
	note_failure(endpoint, "cannot connect to", -fd);
	vhu_timer_start(endpoint->loop, &endpoint->retry, endpoint->pause_ms * NS_PER_MS);
	if (endpoint->pause_ms > endpoint->config.reconnect_max_ms / 2)
		endpoint->pause_ms = endpoint->config.reconnect_max_ms;
	else
		endpoint->pause_ms *= 2;
}

static void
retry_expired(struct vhu_timer *timer)
{
	struct vhu_endpoint *endpoint =
		(struct vhu_endpoint *)((char *)timer - offsetof(struct vhu_endpoint, retry));

	if (endpoint->config.client)
		connect_once(endpoint);
	else
		listen_again(endpoint);
}

static void
complete_pauses(struct vhu_endpoint_config *config)
{
	if (config->reconnect_min_ms == 0)
		config->reconnect_min_ms = RECONNECT_MIN_MS;
	if (config->reconnect_max_ms == 0)
		config->reconnect_max_ms = RECONNECT_MAX_MS;
	if (config->reconnect_max_ms < config->reconnect_min_ms)
		config->reconnect_max_ms = config->reconnect_min_ms;
}

static struct vhu_endpoint *
new_endpoint(struct vhu_loop *loop, const struct vhu_endpoint_config *config)
{
	struct vhu_endpoint *endpoint = calloc(1, sizeof(*endpoint));

	if (endpoint == NULL)
		return NULL;
	endpoint->loop = loop;
	endpoint->watch.fd = -1;
	endpoint->watch.ready = accept_one;
	endpoint->retry.expired = retry_expired;
	endpoint->config = *config;
	endpoint->config.path = strdup(config->path);
	endpoint->config.name = strdup(config->name != NULL ? config->name : config->path);
	complete_pauses(&endpoint->config);
	endpoint->pause_ms = endpoint->config.reconnect_min_ms;
	if (endpoint->config.path == NULL || endpoint->config.name == NULL) {
		release(endpoint);
		return NULL;
	}
	return endpoint;
}

int
vhu_endpoint_open(struct vhu_loop *loop, const struct vhu_endpoint_config *config,
	struct vhu_endpoint **endpoint, char *error, size_t size)
{
	struct vhu_endpoint *new;
	int status = vhu_socket_path_check(config->path, error, size);

	if (status != 0)
		return status;
	new = new_endpoint(loop, config);
	if (new == NULL) {
		snprintf(error, size, "out of memory for the endpoint of '%s'", config->path);
		return -ENOMEM;
	}
	if (config->client) {
		/* From the loop: the owner has not got the endpoint yet. */
		vhu_timer_start(loop, &new->retry, 0);
	} else {
		status = vhu_socket_listen(config, &new->identity, error, size);
		if (status < 0) {
			release(new);
			return status;
		}
		new->watch.fd = status;
		listen_again(new);
	}
	*endpoint = new;
	return 0;
}

void
vhu_endpoint_resume(struct vhu_endpoint *endpoint)
{
	if (endpoint->config.client)
		vhu_timer_start(endpoint->loop, &endpoint->retry,
			endpoint->config.reconnect_min_ms * NS_PER_MS);
	else
		listen_again(endpoint);
}

void
vhu_endpoint_close(struct vhu_endpoint *endpoint)
{
	if (endpoint == NULL)
		return;
	vhu_watch_remove(&endpoint->watch);
	vhu_timer_stop(&endpoint->retry);
	if (endpoint->watch.fd >= 0) {
		/* Before the close: while the socket lives, its identity can be nobody else's. */
		vhu_socket_unlink(endpoint->config.path, &endpoint->identity);
		close(endpoint->watch.fd);
	}
	release(endpoint);
}
