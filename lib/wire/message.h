/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_WIRE_MESSAGE_H
#define VHU_WIRE_MESSAGE_H

/**
 * @file
 * Messages: one decoded vhost-user message, and the table that says what a valid one looks like.
 *
 * Everything here is a pure function on its arguments: no socket, no allocation, no state, any
 * thread. The table has one row per request: payload sizes, descriptors, gate, kind of reply.
 * vhu_message_check() applies the row; a handler that sees a message afterwards need not look at
 * size, descriptor count, gate or ring index again.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/spec.h"

/** Largest payload that is accepted or sent (the table of shared memory regions). */
#define VHU_PAYLOAD_MAX sizeof(struct vhu_wire_shmem_config)

union vhu_payload {
	uint64_t u64;
	struct vhu_wire_vring_state state;
	struct vhu_wire_vring_addr addr;
	struct vhu_wire_mem_table table;
	struct vhu_wire_mem_reg mem_reg;
	struct vhu_wire_log log;
	struct vhu_wire_inflight inflight;
	struct vhu_wire_config config;
	struct vhu_wire_iotlb iotlb;
	struct vhu_wire_device_state device_state;
	struct vhu_wire_vring_area area;
	struct vhu_wire_shmem_map shmem_map;
	struct vhu_wire_shmem_config shmem_config;
	uint8_t uuid[16];
	uint8_t bytes[VHU_PAYLOAD_MAX];
};

/**
 * A message with its descriptors. Whoever holds the message owns fds[0 ... fd_count - 1];
 * vhu_message_take_fd() hands one over, vhu_message_close() closes those that nobody took.
 */
struct vhu_message {
	uint32_t request;
	uint32_t flags;
	uint32_t size;
	uint16_t fd_count;      /**< descriptors that arrived or are to be sent */
	/** more arrived than fit: those received must be closed, the message refused */
	bool fds_truncated;
	int fds[VHU_MESSAGE_FDS]; /**< -1 once taken */
	union vhu_payload payload;
};

/** How a request is answered. */
enum vhu_reply_kind {
	VHU_REPLY_ACK = 0,   /**< u64 acknowledgement, only if NEED_REPLY is set */
	VHU_REPLY_U64,       /**< always a u64 of its own */
	VHU_REPLY_STATE,     /**< a vring state */
	VHU_REPLY_CONFIG,    /**< the configuration asked for; size 0 on failure */
	VHU_REPLY_INFLIGHT,  /**< inflight area; mmap_size 0 on failure */
	VHU_REPLY_FD,        /**< no payload, one descriptor; none on failure */
	VHU_REPLY_LOG,       /**< u64 if LOG_SHMFD is negotiated, otherwise as ACK */
	VHU_REPLY_SHMEM,     /**< table of shared memory sizes */
	/** session description with its number, as long as the request; number -1 on failure */
	VHU_REPLY_SESSION,
	/** the message itself, with our addresses in it; size 0 on failure */
	VHU_REPLY_MEMORY,
};

/** What has been negotiated so far, as far as the gates of the table need it. */
struct vhu_gates {
	uint64_t features;          /**< acknowledged virtio features */
	uint64_t protocol_features; /**< acknowledged protocol features */
	uint32_t ring_count;        /**< rings of the device: indices below this are valid */
	/** Postcopy: memory messages are answered with our addresses, until one says go. */
	bool listening;
};

/** How bad a refused message is. */
enum vhu_severity {
	VHU_ACCEPT = 0,
	VHU_REFUSE,       /**< answer with failure; nothing changed (a front-end may try) */
	/** the same, and the front-end is at fault: event, and panic in the vu_* API */
	VHU_REFUSE_FAULT,
	VHU_REFUSE_CLOSE, /**< the stream cannot be trusted any more: close the connection */
};

/** Outcome of a check or of a handler. text is one clause without newline, "" when accepted. */
struct vhu_verdict {
	enum vhu_severity severity;
	char text[128];
};

/** Bits of vhu_request_rule.flags. */
/** 8 + 32 * count, count 0 ... 8, as many descriptors as regions */
#define VHU_RULE_SIZE_MEM_TABLE 0x01u
#define VHU_RULE_SIZE_CONFIG    0x02u /**< 12 + config.size */
/** size_min or size_max, nothing between (inflight: 20 or 24) */
#define VHU_RULE_SIZE_EITHER    0x04u
/** u64 with ring index; one descriptor, none with VHU_VRING_NOFD */
#define VHU_RULE_NOFD           0x08u
#define VHU_RULE_INDEX          0x10u /**< payload begins with a 32-bit ring index */
/** up to fd_max descriptors may come; unused ones are closed */
#define VHU_RULE_FD_OPTIONAL    0x20u
/**
 * While listening: answered with our addresses; but as a bare u64 without descriptors it says that
 * faults are being served from now on, and is acknowledged as usual
 */
#define VHU_RULE_LISTEN         0x40u

/** One row of the table. */
struct vhu_request_rule {
	/** as the vhost-user document spells it, e.g. "SET_VRING_NUM"; NULL: no such request */
	const char *name;
	uint16_t size_min;       /**< payload bytes */
	uint16_t size_max;
	uint8_t fd_min;
	uint8_t fd_max;
	int8_t gate_protocol;    /**< protocol feature bit that must be negotiated, or -1 */
	int8_t gate_feature;     /**< virtio feature bit that must be acknowledged, or -1 */
	uint8_t reply;           /**< enum vhu_reply_kind */
	uint8_t flags;           /**< VHU_RULE_* */
};

/** Row of a front-end request, or NULL if there is no such request. */
const struct vhu_request_rule *vhu_request_rule(uint32_t request);
/** Row of a back-end request, or NULL. */
const struct vhu_request_rule *vhu_backend_request_rule(uint32_t request);

/** Name of a front-end request, "unknown request" if there is none. Static text. */
const char *vhu_request_name(uint32_t request);
/** Name of a back-end request, "unknown request" if there is none. Static text. */
const char *vhu_backend_request_name(uint32_t request);

/**
 * Decode and judge a header before its payload is read.
 * @param bytes  the 12 bytes.
 * @param m      receives request, flags and size; fds and payload are left alone.
 * @return ACCEPT, or REFUSE_CLOSE if the payload would not fit (the stream cannot be followed).
 */
struct vhu_verdict vhu_header_decode(const uint8_t bytes[sizeof(struct vhu_wire_header)],
	struct vhu_message *m);

/**
 * Judge a whole front-end message: version and flags, request known, size, descriptors, gate, ring
 * index. Nothing is changed.
 */
struct vhu_verdict vhu_message_check(const struct vhu_message *m, const struct vhu_gates *gates);

/** Is this the message that ends a postcopy hand-shake about memory? */
bool vhu_message_is_go(const struct vhu_message *m, const struct vhu_gates *gates);

/** Reply kind of a message under these gates; LOG is resolved to U64 or ACK. Unknown: ACK. */
enum vhu_reply_kind vhu_reply_kind(const struct vhu_message *m, const struct vhu_gates *gates);

/** Does this message get a reply at all (own reply, or NEED_REPLY is set)? */
bool vhu_reply_wanted(const struct vhu_message *m, const struct vhu_gates *gates);

/**
 * Begin a reply to @p m: same request, version and REPLY flag only, no descriptors, size 0.
 * @p m and @p reply may not be the same object.
 */
void vhu_reply_init(struct vhu_message *reply, const struct vhu_message *m);
/** Make @p reply a u64 of @p value. */
void vhu_reply_u64(struct vhu_message *reply, uint64_t value);
/**
 * Make @p reply the truthful failure of a request's kind: u64 1 for ACK/U64/LOG (0x101 for
 * SET_DEVICE_STATE_FD: error, no descriptor; 0 for questions about features, numbers and the
 * status, where 1 would be an answer), state with value 0, size 0 for CONFIG and FD,
 * echoed area with size 0 for INFLIGHT, empty table for SHMEM, for SESSION a description in which
 * every number is -1.
 */
void vhu_reply_failure(struct vhu_message *reply, const struct vhu_message *m,
	const struct vhu_gates *gates);

/** Begin a back-end request of @p size payload bytes; payload zeroed. */
void vhu_backend_request_init(struct vhu_message *m, uint32_t request, uint32_t size,
	bool need_reply);

/**
 * Encode header and payload.
 * @param bytes  room for at least sizeof(struct vhu_wire_header) + m->size.
 * @return bytes written, or 0 if they would not fit in @p room.
 */
size_t vhu_message_encode(const struct vhu_message *m, uint8_t *bytes, size_t room);

/**
 * Take over descriptor @p index of the message. @return the descriptor, now the caller's; -1 if
 * there is none.
 */
int vhu_message_take_fd(struct vhu_message *m, unsigned int index);
/** Close the descriptors that nobody took. */
void vhu_message_close(struct vhu_message *m);

/** Verdicts. The text is formatted as by printf. */
struct vhu_verdict vhu_accept(void);
struct vhu_verdict vhu_refuse(enum vhu_severity severity, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif /* VHU_WIRE_MESSAGE_H */
