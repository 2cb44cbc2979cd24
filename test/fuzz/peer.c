/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "peer.h"
#include "wire/message.h"

static void
close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void
peer_init(struct peer *peer)
{
	*peer = (struct peer){ .channel = -1, .pipe = -1 };
}

int
peer_channel(struct peer *peer)
{
	int fds[2];

	FUZZ_REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	close_end(&peer->channel);
	peer->channel = fds[0];
	return fds[1];
}

int
peer_pipe(struct peer *peer, bool writes)
{
	int fds[2];

	FUZZ_REQUIRE(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
	close_end(&peer->pipe);
	peer->writes = writes;
	peer->pipe = fds[writes ? 1 : 0];
	if (writes)
		FUZZ_REQUIRE(write(fds[1], "state", 5) == 5);
	return fds[writes ? 0 : 1];
}

/* Nothing but requests may come. */
static void
answer_requests(struct peer *peer)
{
	struct {
		struct vhu_wire_header header;
		uint64_t value;
	} __attribute__((packed)) reply;
	uint8_t payload[VHU_PAYLOAD_MAX];

	while (recv(peer->channel, &reply.header, sizeof(reply.header), MSG_DONTWAIT) ==
			(ssize_t)sizeof(reply.header)) {
		FUZZ_REQUIRE(vhu_backend_request_rule(reply.header.request) != NULL);
		FUZZ_REQUIRE(!(reply.header.flags & VHU_FLAG_REPLY));
		FUZZ_REQUIRE(reply.header.size <= sizeof(payload));
		if (reply.header.size > 0)
			FUZZ_REQUIRE(recv(peer->channel, payload, reply.header.size, 0) ==
				(ssize_t)reply.header.size);
		if (!(reply.header.flags & VHU_FLAG_NEED_REPLY))
			continue;
		reply.header.flags = VHU_FLAG_VERSION | VHU_FLAG_REPLY;
		reply.header.size = sizeof(reply.value);
		reply.value = peer->answers++ % 3 == 2;
		(void)send(peer->channel, &reply, sizeof(reply), MSG_DONTWAIT | MSG_NOSIGNAL);
	}
}

void
peer_progress(struct peer *peer)
{
	uint8_t bytes[256] = { 0 };
	ssize_t count = 0;

	if (peer->channel >= 0)
		answer_requests(peer);
	if (peer->pipe >= 0 && !peer->writes)
		count = read(peer->pipe, bytes, sizeof(bytes));
	(void)count;
}

void
peer_leave(struct peer *peer)
{
	close_end(&peer->channel);
	close_end(&peer->pipe);
}
