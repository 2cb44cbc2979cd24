/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_TEST_MESSAGES_H
#define VHU_TEST_MESSAGES_H

/**
 * @file
 * Messages for tests: a well-formed one of each request, and gates that let everything through.
 */

#include <string.h>

#include "wire/message.h"

#define TEST_RINGS 4

/** Everything negotiated, TEST_RINGS rings. */
static inline struct vhu_gates
test_gates_open(void)
{
	return (struct vhu_gates){ UINT64_MAX, UINT64_MAX, TEST_RINGS };
}

/**
 * A message that the table accepts when all gates are open: two regions, eight bytes of
 * configuration, ring 0. Descriptors are numbers only, nothing is open behind them.
 */
static inline void
test_message(struct vhu_message *m, uint32_t request)
{
	const struct vhu_request_rule *rule = vhu_request_rule(request);
	unsigned int i;

	memset(m, 0, sizeof(*m));
	m->request = request;
	m->flags = VHU_FLAG_VERSION;
	if (rule != NULL) {
		m->size = rule->size_max;
		m->fd_count = rule->fd_max;
		if (rule->flags & VHU_RULE_SIZE_MEM_TABLE) {
			m->payload.table.count = m->fd_count = 2;
			m->size = 8 + 2 * 32;
		}
		if (rule->flags & VHU_RULE_SIZE_CONFIG) {
			m->payload.config.size = 8;
			m->size = 12 + 8;
		}
	}
	for (i = 0; i < VHU_MESSAGE_FDS; i++)
		m->fds[i] = i < m->fd_count ? 1000 + (int)i : -1;
}

#endif /* VHU_TEST_MESSAGES_H */
