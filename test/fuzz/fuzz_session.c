/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * The whole life of a device: a front-end that sends whatever it likes with descriptors of any
 * kind, a guest that writes whatever it likes into its memory, lcores that burst or stay inside a
 * burst, work and grace periods that end late, connections that vanish. Single-threaded, so that
 * each input does the same each time.
 *
 * Input: options (enum option), then records. A record begins with a byte, modulo
 * STEPS the step to take; the functions below say what follows it. seeds.py writes the same.
 */

#include <signal.h>

#include "fuzz.h"
#include "session.h"

enum option {
	OPTION_RINGS_MASK = 0x03, /* one of ring_counts */
	OPTION_POPULATE = 0x04,
	OPTION_LATE_WORK = 0x08,  /* jobs run at STEP_PROGRESS, not at once */
	OPTION_NO_BODY = 0x10,    /* the highest ring finds no burst function */
	OPTION_NO_MEMORY = 0x20,  /* one byte follows: which allocation fails */
	OPTION_BARE = 0x40,       /* no optional operations */
	OPTION_HASTY = 0x80,      /* the connection breaks while a reply is sent */
};

/* More than one message, so that most records are messages. */
enum step {
	STEP_MESSAGE = 0,
	STEP_MESSAGE_TOO,
	STEP_MESSAGE_AS_WELL,
	STEP_WRITE,
	STEP_BURST,
	STEP_ENTER,
	STEP_LEAVE,
	STEP_PROGRESS,
	STEP_RECONNECT,
	STEP_LOOK,
	STEPS
};

/* What a record holds instead of a number when the well-formed one is meant. */
#define SIZE_RIGHT 0
#define DESCRIPTORS_RIGHT 15
/* Request numbers from here on are followed by four bytes: the request. */
#define REQUEST_RAW 240
/* Flags from here on are taken as they are, otherwise the version is right. */
#define FLAGS_RAW 0xe0

static const uint16_t ring_counts[] = { 1, 2, 4, SESSION_RINGS };

/* A payload as long as the request wants it. */
static void
take_right_payload(struct fuzz_input *input, struct vhu_message *m)
{
	const struct vhu_request_rule *rule = vhu_request_rule(m->request);
	unsigned int flags = rule != NULL ? rule->flags : 0;

	m->size = rule != NULL ? rule->size_max : sizeof(uint64_t);
	if (m->request == VHU_CREATE_CRYPTO_SESSION)
		m->size = sizeof(uint64_t);
	if (flags & (VHU_RULE_SIZE_MEM_TABLE | VHU_RULE_SIZE_CONFIG))
		m->size = rule->size_min;
	fuzz_take(input, m->payload.bytes, m->size);
	if (flags & VHU_RULE_SIZE_MEM_TABLE && m->payload.table.count <= VHU_MEM_TABLE_REGIONS)
		m->size += m->payload.table.count * sizeof(struct vhu_wire_region);
	if (flags & VHU_RULE_SIZE_CONFIG && m->payload.config.size <= VHU_CONFIG_SPACE_SIZE)
		m->size += m->payload.config.size;
	if (m->size > (rule != NULL ? rule->size_min : 0) &&
			flags & (VHU_RULE_SIZE_MEM_TABLE | VHU_RULE_SIZE_CONFIG))
		fuzz_take(input, m->payload.bytes + rule->size_min, m->size - rule->size_min);
}

static unsigned int
right_descriptors(const struct vhu_message *m)
{
	const struct vhu_request_rule *rule = vhu_request_rule(m->request);

	if (rule == NULL)
		return 0;
	if (rule->flags & VHU_RULE_SIZE_MEM_TABLE)
		return m->payload.table.count <= VHU_MEM_TABLE_REGIONS ? m->payload.table.count : 0;
	if (rule->flags & VHU_RULE_NOFD)
		return m->payload.u64 & VHU_VRING_NOFD ? 0 : 1;
	return rule->fd_max;
}

/*
 * request (1, see REQUEST_RAW), flags (1, see FLAGS_RAW), size (1; not SIZE_RIGHT: two bytes of
 * size follow), payload, descriptors (1; low half how many or DESCRIPTORS_RIGHT, bit 7: some were
 * cut off), one byte for the kind of each.
 */
static void
take_message(struct fuzz_input *input, struct session *session, struct vhu_message *m)
{
	uint8_t flags, descriptors;
	unsigned int count, i;

	memset(m, 0, sizeof(*m));
	m->request = fuzz_take8(input);
	if (m->request >= REQUEST_RAW)
		m->request = fuzz_take32(input);
	flags = fuzz_take8(input);
	m->flags = flags >= FLAGS_RAW ? flags : VHU_FLAG_VERSION | (flags & VHU_FLAG_NEED_REPLY);
	if (fuzz_take8(input) == SIZE_RIGHT) {
		take_right_payload(input, m);
	} else {
		m->size = fuzz_take16(input) % (VHU_PAYLOAD_MAX + 1);
		fuzz_take(input, m->payload.bytes, m->size);
	}
	descriptors = fuzz_take8(input);
	count = descriptors & 0xf;
	if (count == DESCRIPTORS_RIGHT)
		count = right_descriptors(m);
	m->fd_count = count < VHU_MESSAGE_FDS ? count : VHU_MESSAGE_FDS;
	m->fds_truncated = descriptors & 0x80;
	for (i = 0; i < VHU_MESSAGE_FDS; i++)
		m->fds[i] = i < m->fd_count ? session_descriptor(session, fuzz_take8(input)) : -1;
}

/* File (1), offset (2), length (1), bytes. */
static void
take_write(struct fuzz_input *input, struct session *session)
{
	uint8_t bytes[UINT8_MAX];
	uint8_t file = fuzz_take8(input);
	uint16_t offset = fuzz_take16(input);
	uint8_t length = fuzz_take8(input);

	fuzz_take(input, bytes, length);
	session_write(session, file, offset, bytes, length);
}

static void
take_step(struct fuzz_input *input, struct session *session)
{
	struct vhu_message message;
	uint16_t ring;

	switch ((enum step)(fuzz_take8(input) % STEPS)) {
	case STEP_MESSAGE:
	case STEP_MESSAGE_TOO:
	case STEP_MESSAGE_AS_WELL:
		take_message(input, session, &message);
		session_receive(session, &message);
		break;
	case STEP_WRITE:
		take_write(input, session);
		break;
	case STEP_BURST: /* ring (1), packets (1) */
		ring = fuzz_take8(input) % session->ring_count;
		session_burst(session, ring, fuzz_take8(input));
		break;
	case STEP_ENTER: /* ring (1) */
		session_enter(session, fuzz_take8(input) % session->ring_count);
		break;
	case STEP_LEAVE: /* ring (1), packets (1) */
		ring = fuzz_take8(input) % session->ring_count;
		session_leave(session, ring, fuzz_take8(input));
		break;
	case STEP_PROGRESS:
		session_progress(session);
		break;
	case STEP_RECONNECT:
		session_disconnect(session);
		session_connect(session);
		break;
	case STEP_LOOK:
		session_look(session);
		break;
	case STEPS:
		break;
	}
}

static void
on_broken_pipe(int signal)
{
	static const char text[] =
		"SIGPIPE: a write to a peer that is gone would end the process\n";

	(void)signal;
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(1);
	abort();
}

static void
discard_line(enum vhu_log_level level, const char *line)
{
	(void)level;
	FUZZ_REQUIRE(strchr(line, '\n') == NULL);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	signal(SIGPIPE, on_broken_pipe);
	vhu_log_set_sink(discard_line);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct session session;
	struct fuzz_input input = { bytes, size };
	uint8_t options = fuzz_take8(&input);

	if (!session_begin(&session, &(struct session_options){
		.ring_count = ring_counts[options & OPTION_RINGS_MASK],
		.populate = options & OPTION_POPULATE,
		.late_work = options & OPTION_LATE_WORK,
		.no_body = options & OPTION_NO_BODY,
		.bare = options & OPTION_BARE,
		.hasty = options & OPTION_HASTY,
		.failing_allocation = options & OPTION_NO_MEMORY ? fuzz_take8(&input) : 0,
	}))
		return 0;
	while (input.left != 0)
		take_step(&input, &session);
	session_end(&session);
	return 0;
}
