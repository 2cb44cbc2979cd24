/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <vhu.h>

#include "wire/message.h"

struct vhu_verdict
vhu_accept(void)
{
	return (struct vhu_verdict){ .severity = VHU_ACCEPT };
}

struct vhu_verdict
vhu_refuse(enum vhu_severity severity, const char *format, ...)
{
	struct vhu_verdict verdict = { .severity = severity };
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(verdict.text, sizeof(verdict.text), format, arguments);
	va_end(arguments);
	return verdict;
}

struct vhu_verdict
vhu_header_decode(const uint8_t bytes[sizeof(struct vhu_wire_header)], struct vhu_message *m)
{
	struct vhu_wire_header header;

	memcpy(&header, bytes, sizeof(header));
	m->request = header.request;
	m->flags = header.flags;
	m->size = header.size;
	if (m->size > VHU_PAYLOAD_MAX)
		return vhu_refuse(VHU_REFUSE_CLOSE,
			"%s (%u) announces %u bytes of payload, at most %zu can be read",
			vhu_request_name(m->request), m->request, m->size, VHU_PAYLOAD_MAX);
	return vhu_accept();
}

static struct vhu_verdict
check_header(const struct vhu_message *m)
{
	if (vhu_request_rule(m->request) == NULL)
		return vhu_refuse(VHU_REFUSE_FAULT, "request %u does not exist, known are 1 to %u",
			m->request, VHU_REQUESTS - 1);
	if ((m->flags & VHU_FLAG_VERSION_MASK) != VHU_FLAG_VERSION)
		return vhu_refuse(VHU_REFUSE_FAULT,
			"%s has protocol version %u, only %u is supported",
			vhu_request_name(m->request), m->flags & VHU_FLAG_VERSION_MASK,
			VHU_FLAG_VERSION);
	if (m->flags & VHU_FLAG_REPLY)
		return vhu_refuse(VHU_REFUSE_FAULT,
			"%s is marked as a reply, a request was expected",
			vhu_request_name(m->request));
	return vhu_accept();
}

static struct vhu_verdict
check_size_mem_table(const struct vhu_request_rule *rule, const struct vhu_message *m)
{
	uint32_t count = m->payload.table.count;
	size_t right;

	if (count > VHU_MEM_TABLE_REGIONS)
		return vhu_refuse(VHU_REFUSE_FAULT, "%s lists %u regions, at most %u are allowed",
			rule->name, count, VHU_MEM_TABLE_REGIONS);
	right = rule->size_min + count * sizeof(struct vhu_wire_region);
	if (m->size != right)
		return vhu_refuse(VHU_REFUSE_FAULT,
			"%s of %u regions has %u bytes of payload, %zu are required",
			rule->name, count, m->size, right);
	return vhu_accept();
}

static struct vhu_verdict
check_size_config(const struct vhu_request_rule *rule, const struct vhu_message *m)
{
	uint32_t data = m->payload.config.size;

	/* Compared as a difference: size_min + data could wrap. */
	if (m->size - rule->size_min != data)
		return vhu_refuse(VHU_REFUSE_FAULT,
			"%s is about %u bytes of configuration but carries %u",
			rule->name, data, m->size - rule->size_min);
	return vhu_accept();
}

static struct vhu_verdict
check_size(const struct vhu_request_rule *rule, const struct vhu_message *m,
	const struct vhu_gates *gates)
{
	bool either = rule->flags & VHU_RULE_SIZE_EITHER;

	if (vhu_message_is_go(m, gates))
		return vhu_accept();
	if (either && m->size != rule->size_min && m->size != rule->size_max)
		return vhu_refuse(VHU_REFUSE_FAULT,
			"%s has %u bytes of payload, %u or %u are required",
			rule->name, m->size, rule->size_min, rule->size_max);
	if (m->size >= rule->size_min && m->size <= rule->size_max) {
		if (rule->flags & VHU_RULE_SIZE_MEM_TABLE)
			return check_size_mem_table(rule, m);
		if (rule->flags & VHU_RULE_SIZE_CONFIG)
			return check_size_config(rule, m);
		return vhu_accept();
	}
	if (rule->size_min == rule->size_max)
		return vhu_refuse(VHU_REFUSE_FAULT,
			"%s has %u bytes of payload, %u are required",
			rule->name, m->size, rule->size_min);
	return vhu_refuse(VHU_REFUSE_FAULT, "%s has %u bytes of payload, %u to %u are allowed",
		rule->name, m->size, rule->size_min, rule->size_max);
}

/* How many descriptors this very message must bring. @return false if it takes none at all. */
static bool
fds_needed(const struct vhu_request_rule *rule, const struct vhu_message *m,
	const struct vhu_gates *gates, unsigned int *min, unsigned int *max)
{
	*min = rule->fd_min;
	*max = rule->fd_max;
	if (vhu_message_is_go(m, gates)) {
		*min = *max = 0;
		return true;
	}
	if (rule->flags & VHU_RULE_SIZE_MEM_TABLE) {
		*min = *max = m->payload.table.count;
		return true;
	}
	if (rule->flags & VHU_RULE_NOFD) {
		/* A descriptor that is said not to be there is a contradiction, not a surplus. */
		*min = *max = (m->payload.u64 & VHU_VRING_NOFD) ? 0 : 1;
		return true;
	}
	if (rule->reply == VHU_REPLY_LOG &&
			!(gates->protocol_features & VHU_BIT(VHU_PROTOCOL_LOG_SHMFD)))
		*min = *max = 0;
	return *max != 0;
}

static struct vhu_verdict
check_fds(const struct vhu_request_rule *rule, const struct vhu_message *m,
	const struct vhu_gates *gates)
{
	unsigned int min, max;

	if (m->fds_truncated)
		return vhu_refuse(VHU_REFUSE_FAULT,
			"%s came with more descriptors than the %u that may travel with a message",
			rule->name, VHU_MESSAGE_FDS);
	/*
	 * Descriptors that a message has no use for do no harm: whoever closes the rest closes
	 * them.
	 */
	if (!fds_needed(rule, m, gates, &min, &max))
		return vhu_accept();
	if (m->fd_count >= min && m->fd_count <= max)
		return vhu_accept();
	if (min == max)
		return vhu_refuse(VHU_REFUSE, "%s came with %u descriptors, %u %s required",
			rule->name, m->fd_count, min, min == 1 ? "is" : "are");
	return vhu_refuse(VHU_REFUSE, "%s came with %u descriptors, %u to %u are allowed",
		rule->name, m->fd_count, min, max);
}

static struct vhu_verdict
check_gate(const struct vhu_request_rule *rule, const struct vhu_gates *gates)
{
	if (rule->gate_protocol >= 0 &&
			!(gates->protocol_features & VHU_BIT(rule->gate_protocol)))
		return vhu_refuse(VHU_REFUSE,
			"%s needs protocol feature %s, which was not negotiated",
			rule->name, vhu_protocol_feature_name(rule->gate_protocol));
	if (rule->gate_feature >= 0 && !(gates->features & VHU_BIT(rule->gate_feature)))
		return vhu_refuse(VHU_REFUSE,
			"%s needs virtio feature %s, which was not acknowledged", rule->name,
			vhu_feature_name(rule->gate_feature));
	return vhu_accept();
}

static struct vhu_verdict
check_index(const struct vhu_request_rule *rule, const struct vhu_message *m,
	const struct vhu_gates *gates)
{
	uint32_t index;

	if (rule->flags & VHU_RULE_INDEX)
		index = m->payload.state.index;
	else if (rule->flags & VHU_RULE_NOFD)
		index = m->payload.u64 & VHU_VRING_INDEX_MASK;
	else
		return vhu_accept();
	if (index >= gates->ring_count)
		return vhu_refuse(VHU_REFUSE_FAULT, "%s names ring %u, the device has %u",
			rule->name, index, gates->ring_count);
	return vhu_accept();
}

struct vhu_verdict
vhu_message_check(const struct vhu_message *m, const struct vhu_gates *gates)
{
	const struct vhu_request_rule *rule = vhu_request_rule(m->request);
	struct vhu_verdict verdict = check_header(m);

	/*
	 * The order matters: counts and indices in the payload mean something once its size is
	 * right.
	 */
	if (verdict.severity == VHU_ACCEPT)
		verdict = check_size(rule, m, gates);
	if (verdict.severity == VHU_ACCEPT)
		verdict = check_fds(rule, m, gates);
	if (verdict.severity == VHU_ACCEPT)
		verdict = check_gate(rule, gates);
	if (verdict.severity == VHU_ACCEPT)
		verdict = check_index(rule, m, gates);
	return verdict;
}

int
vhu_message_take_fd(struct vhu_message *m, unsigned int index)
{
	int fd;

	if (index >= m->fd_count || index >= VHU_MESSAGE_FDS)
		return -1;
	fd = m->fds[index];
	m->fds[index] = -1;
	return fd;
}

void
vhu_message_close(struct vhu_message *m)
{
	unsigned int i;

	for (i = 0; i < m->fd_count && i < VHU_MESSAGE_FDS; i++) {
		if (m->fds[i] >= 0)
			close(m->fds[i]);
		m->fds[i] = -1;
	}
	m->fd_count = 0;
}
