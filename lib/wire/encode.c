/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <string.h>

#include "wire/message.h"

/* SET_DEVICE_STATE_FD: an error code in the low byte, and "no descriptor comes with this". */
#define DEVICE_STATE_ERROR 0x101u

bool
vhu_message_is_go(const struct vhu_message *m, const struct vhu_gates *gates)
{
	const struct vhu_request_rule *rule = vhu_request_rule(m->request);

	return gates->listening && rule != NULL && (rule->flags & VHU_RULE_LISTEN) &&
		m->size == sizeof(uint64_t);
}

enum vhu_reply_kind
vhu_reply_kind(const struct vhu_message *m, const struct vhu_gates *gates)
{
	const struct vhu_request_rule *rule = vhu_request_rule(m->request);

	if (rule == NULL)
		return VHU_REPLY_ACK;
	if (gates->listening && (rule->flags & VHU_RULE_LISTEN))
		return vhu_message_is_go(m, gates) ? VHU_REPLY_ACK : VHU_REPLY_MEMORY;
	if (rule->reply != VHU_REPLY_LOG)
		return rule->reply;
	return gates->protocol_features & VHU_BIT(VHU_PROTOCOL_LOG_SHMFD) ?
		VHU_REPLY_U64 : VHU_REPLY_ACK;
}

bool
vhu_reply_wanted(const struct vhu_message *m, const struct vhu_gates *gates)
{
	return vhu_reply_kind(m, gates) != VHU_REPLY_ACK ||
		(m->flags & VHU_FLAG_NEED_REPLY) != 0;
}

static void
message_begin(struct vhu_message *m, uint32_t request, uint32_t flags, uint32_t size)
{
	unsigned int i;

	memset(m, 0, sizeof(*m));
	m->request = request;
	m->flags = flags;
	m->size = size;
	for (i = 0; i < VHU_MESSAGE_FDS; i++)
		m->fds[i] = -1;
}

void
vhu_reply_init(struct vhu_message *reply, const struct vhu_message *m)
{
	/* NEED_REPLY must not be echoed: front-ends compare the flags of a reply exactly. */
	message_begin(reply, m->request, VHU_FLAG_VERSION | VHU_FLAG_REPLY, 0);
}

void
vhu_reply_u64(struct vhu_message *reply, uint64_t value)
{
	reply->size = sizeof(value);
	reply->payload.u64 = value;
}

/* Echo what arrived, and nothing that happened to lie behind it. */
static void
echo_payload(struct vhu_message *reply, const struct vhu_message *m, size_t size)
{
	memcpy(reply->payload.bytes, m->payload.bytes, m->size < size ? m->size : size);
}

static void
fail_inflight(struct vhu_message *reply, const struct vhu_message *m)
{
	echo_payload(reply, m, sizeof(reply->payload.inflight));
	reply->payload.inflight.size = 0;
	reply->payload.inflight.offset = 0;
	reply->size = m->size == offsetof(struct vhu_wire_inflight, padding) ?
		m->size : sizeof(reply->payload.inflight);
}

/*
 * The number of a session comes first or last in its description, depending on the age of the
 * front-end, which wants it negative and the size as it was. The keys do not travel back.
 */
static void
fail_session(struct vhu_message *reply, const struct vhu_message *m)
{
	reply->size = m->size > sizeof(uint64_t) ? m->size : sizeof(uint64_t);
	memset(reply->payload.bytes, 0xff, reply->size);
}

static uint64_t
failure_code(uint32_t request)
{
	switch (request) {
	case VHU_SET_DEVICE_STATE_FD:
		return DEVICE_STATE_ERROR;
	/* Questions about sets and numbers: none. 1 would be an answer. */
	case VHU_GET_FEATURES:
	case VHU_GET_PROTOCOL_FEATURES:
	case VHU_GET_QUEUE_NUM:
	case VHU_GET_MAX_MEM_SLOTS:
	case VHU_GET_STATUS:
		return 0;
	default:
		return 1;
	}
}

void
vhu_reply_failure(struct vhu_message *reply, const struct vhu_message *m,
	const struct vhu_gates *gates)
{
	vhu_reply_init(reply, m);
	switch (vhu_reply_kind(m, gates)) {
	case VHU_REPLY_ACK:
	case VHU_REPLY_U64:
	case VHU_REPLY_LOG:
		vhu_reply_u64(reply, failure_code(m->request));
		break;
	case VHU_REPLY_STATE:
		echo_payload(reply, m, sizeof(reply->payload.state.index));
		reply->size = sizeof(reply->payload.state);
		break;
	case VHU_REPLY_INFLIGHT:
		fail_inflight(reply, m);
		break;
	case VHU_REPLY_SHMEM:
		reply->size = sizeof(reply->payload.shmem_config);
		break;
	case VHU_REPLY_SESSION:
		fail_session(reply, m);
		break;
	case VHU_REPLY_CONFIG:
	case VHU_REPLY_FD:
	case VHU_REPLY_MEMORY:
		break;
	}
}

void
vhu_backend_request_init(struct vhu_message *m, uint32_t request, uint32_t size, bool need_reply)
{
	message_begin(m, request, VHU_FLAG_VERSION | (need_reply ? VHU_FLAG_NEED_REPLY : 0), size);
}

size_t
vhu_message_encode(const struct vhu_message *m, uint8_t *bytes, size_t room)
{
	const struct vhu_wire_header header = { m->request, m->flags, m->size };

	if (m->size > VHU_PAYLOAD_MAX || room < sizeof(header) ||
			room - sizeof(header) < m->size)
		return 0;
	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), m->payload.bytes, m->size);
	return sizeof(header) + m->size;
}
