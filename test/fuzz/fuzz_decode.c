/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * One message, whatever it says. Input: virtio features, protocol features (8 bytes each), ring
 * count (4), descriptor count (1, bit 7: truncated), then header and payload as on the wire.
 */

#include "fuzz.h"
#include "wire/message.h"

/* What a handler relies on after the check. */
static void
require_accepted(const struct vhu_message *m, const struct vhu_gates *gates)
{
	const struct vhu_request_rule *rule = vhu_request_rule(m->request);

	FUZZ_REQUIRE(rule != NULL);
	FUZZ_REQUIRE((m->flags & (VHU_FLAG_VERSION_MASK | VHU_FLAG_REPLY)) == VHU_FLAG_VERSION);
	FUZZ_REQUIRE(m->size >= rule->size_min && m->size <= rule->size_max);
	FUZZ_REQUIRE(!m->fds_truncated);
	FUZZ_REQUIRE(rule->fd_max == 0 || m->fd_count <= rule->fd_max ||
		m->request == VHU_SET_LOG_BASE);
	if (rule->flags & VHU_RULE_INDEX)
		FUZZ_REQUIRE(m->payload.state.index < gates->ring_count);
	if (rule->flags & VHU_RULE_NOFD)
		FUZZ_REQUIRE((m->payload.u64 & VHU_VRING_INDEX_MASK) < gates->ring_count);
	if (rule->flags & VHU_RULE_SIZE_MEM_TABLE) {
		FUZZ_REQUIRE(m->payload.table.count <= VHU_MEM_TABLE_REGIONS);
		FUZZ_REQUIRE(m->payload.table.count == m->fd_count);
	}
	if (rule->flags & VHU_RULE_SIZE_CONFIG)
		FUZZ_REQUIRE(m->payload.config.size <= VHU_CONFIG_SPACE_SIZE);
}

static void
require_explained(const struct vhu_verdict *verdict)
{
	size_t length = strnlen(verdict->text, sizeof(verdict->text));

	FUZZ_REQUIRE(length > 0 && length < sizeof(verdict->text));
	FUZZ_REQUIRE(strchr(verdict->text, '\n') == NULL);
}

static void
require_encodable(const struct vhu_message *m)
{
	uint8_t bytes[sizeof(struct vhu_wire_header) + VHU_PAYLOAD_MAX];
	struct vhu_message again;
	size_t size = vhu_message_encode(m, bytes, sizeof(bytes));

	FUZZ_REQUIRE(size == sizeof(struct vhu_wire_header) + m->size);
	FUZZ_REQUIRE(vhu_message_encode(m, bytes, size - 1) == 0);
	FUZZ_REQUIRE(vhu_header_decode(bytes, &again).severity == VHU_ACCEPT);
	FUZZ_REQUIRE(again.request == m->request && again.flags == m->flags &&
		again.size == m->size);
	FUZZ_REQUIRE(memcmp(bytes + sizeof(struct vhu_wire_header), m->payload.bytes,
		m->size) == 0);
}

/* The failure reply is well formed even for a message that is not. */
static void
require_failure_reply(const struct vhu_message *m, const struct vhu_gates *gates)
{
	struct vhu_message reply;

	vhu_reply_failure(&reply, m, gates);
	FUZZ_REQUIRE(reply.request == m->request);
	FUZZ_REQUIRE(reply.flags == (VHU_FLAG_VERSION | VHU_FLAG_REPLY));
	FUZZ_REQUIRE(reply.fd_count == 0);
	require_encodable(&reply);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fuzz_input input = { bytes, size };
	struct vhu_gates gates = { fuzz_take64(&input), fuzz_take64(&input), fuzz_take32(&input) };
	uint8_t descriptors = fuzz_take8(&input);
	uint8_t header[sizeof(struct vhu_wire_header)];
	struct vhu_verdict verdict;
	struct vhu_message m;

	memset(&m, 0, sizeof(m));
	m.fd_count = descriptors % (VHU_MESSAGE_FDS + 1);
	m.fds_truncated = descriptors >> 7;
	memset(m.fds, 0xff, sizeof(m.fds));
	fuzz_take(&input, header, sizeof(header));
	verdict = vhu_header_decode(header, &m);
	if (verdict.severity != VHU_ACCEPT) {
		FUZZ_REQUIRE(verdict.severity == VHU_REFUSE_CLOSE && m.size > VHU_PAYLOAD_MAX);
		require_explained(&verdict);
		return 0;
	}
	fuzz_take(&input, m.payload.bytes, m.size);
	verdict = vhu_message_check(&m, &gates);
	if (verdict.severity == VHU_ACCEPT)
		require_accepted(&m, &gates);
	else
		require_explained(&verdict);
	require_encodable(&m);
	require_failure_reply(&m, &gates);
	FUZZ_REQUIRE(vhu_reply_wanted(&m, &gates) || !(m.flags & VHU_FLAG_NEED_REPLY));
	FUZZ_REQUIRE(vhu_message_take_fd(&m, descriptors) == -1);
	vhu_message_close(&m);
	return 0;
}
