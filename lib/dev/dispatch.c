/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stdio.h>
#include <string.h>

#include "dev/device_private.h"
#include "obs/log.h"

/* Refusals of one connection that get a line in the log; the others are only counted. */
#define REFUSALS_LOGGED 64

/* Requests without a handler are refused: nothing is acknowledged that has not been done. */
static vhu_handler *const handlers[VHU_REQUESTS] = {
	[VHU_GET_FEATURES] = vhu_on_get_features,
	[VHU_SET_FEATURES] = vhu_on_set_features,
	[VHU_SET_OWNER] = vhu_on_set_owner,
	[VHU_RESET_OWNER] = vhu_on_reset_owner,
	[VHU_SET_MEM_TABLE] = vhu_on_set_mem_table,
	[VHU_SET_LOG_BASE] = vhu_on_set_log_base,
	[VHU_SET_LOG_FD] = vhu_on_set_log_fd,
	[VHU_IOTLB_MSG] = vhu_on_iotlb_msg,
	[VHU_POSTCOPY_ADVISE] = vhu_on_postcopy_advise,
	[VHU_POSTCOPY_LISTEN] = vhu_on_postcopy_listen,
	[VHU_POSTCOPY_END] = vhu_on_postcopy_end,
	[VHU_SET_VRING_NUM] = vhu_on_set_vring_num,
	[VHU_SET_VRING_ADDR] = vhu_on_set_vring_addr,
	[VHU_SET_VRING_BASE] = vhu_on_set_vring_base,
	[VHU_GET_VRING_BASE] = vhu_on_get_vring_base,
	[VHU_SET_VRING_KICK] = vhu_on_set_vring_kick,
	[VHU_SET_VRING_CALL] = vhu_on_set_vring_call,
	[VHU_SET_VRING_ERR] = vhu_on_set_vring_err,
	[VHU_GET_PROTOCOL_FEATURES] = vhu_on_get_protocol_features,
	[VHU_SET_PROTOCOL_FEATURES] = vhu_on_set_protocol_features,
	[VHU_GET_QUEUE_NUM] = vhu_on_get_queue_num,
	[VHU_SET_VRING_ENABLE] = vhu_on_set_vring_enable,
	[VHU_SEND_RARP] = vhu_on_send_rarp,
	[VHU_NET_SET_MTU] = vhu_on_net_set_mtu,
	[VHU_SET_BACKEND_REQ_FD] = vhu_on_set_backend_req_fd,
	[VHU_VRING_KICK] = vhu_on_vring_kick,
	[VHU_GPU_SET_SOCKET] = vhu_on_gpu_set_socket,
	[VHU_GET_SHARED_OBJECT] = vhu_on_get_shared_object,
	[VHU_GET_SHMEM_CONFIG] = vhu_on_get_shmem_config,
	[VHU_SET_DEVICE_STATE_FD] = vhu_on_set_device_state_fd,
	[VHU_CHECK_DEVICE_STATE] = vhu_on_check_device_state,
	[VHU_GET_VRING_BASE_SKIP_DRAIN] = vhu_on_get_vring_base,
	[VHU_GET_CONFIG] = vhu_on_get_config,
	[VHU_SET_CONFIG] = vhu_on_set_config,
	[VHU_GET_INFLIGHT_FD] = vhu_on_get_inflight_fd,
	[VHU_SET_INFLIGHT_FD] = vhu_on_set_inflight_fd,
	[VHU_RESET_DEVICE] = vhu_on_reset_device,
	[VHU_GET_MAX_MEM_SLOTS] = vhu_on_get_max_mem_slots,
	[VHU_ADD_MEM_REG] = vhu_on_add_mem_reg,
	[VHU_REM_MEM_REG] = vhu_on_rem_mem_reg,
	[VHU_SET_STATUS] = vhu_on_set_status,
	[VHU_GET_STATUS] = vhu_on_get_status,
};

static struct vhu_gates
gates_of(const struct vhu_device *device)
{
	uint64_t features = device->features;

	/*
	 * Front-ends enable rings before their first SET_FEATURES; that they speak of protocol
	 * features shows that they have seen bit 30.
	 */
	if (features == 0 && device->protocol_set)
		features |= VHU_BIT(VHU_F_PROTOCOL_FEATURES);
	return (struct vhu_gates){
		.features = features,
		.protocol_features = device->protocol,
		.ring_count = device->config.ring_count,
		.listening = device->postcopy == VHU_POSTCOPY_LISTENING,
	};
}

/* Count a refusal and say why, as one line that begins with the request's name. */
static void
note_refusal(struct vhu_device *device, const struct vhu_verdict *verdict)
{
	const char *name = vhu_request_name(device->message.request);
	bool named = strncmp(verdict->text, name, strlen(name)) == 0;

	device->refusals++;
	snprintf(device->last_refusal, sizeof(device->last_refusal), "%s%s%s",
		named ? "" : name, named ? "" : ": ", verdict->text);
	if (device->refusals_logged < REFUSALS_LOGGED)
		vhu_log(VHU_LOG_WARNING, device->name, VHU_LOG_NO_RING, "refused: %s",
			device->last_refusal);
	else if (device->refusals_logged == REFUSALS_LOGGED)
		vhu_log(VHU_LOG_WARNING, device->name, VHU_LOG_NO_RING,
			"further refusals of this connection are counted, not logged");
	if (device->refusals_logged <= REFUSALS_LOGGED)
		device->refusals_logged++;
	if (verdict->severity >= VHU_REFUSE_FAULT)
		vhu_device_tell(device, VHU_EVENT_REFUSED, device->message.request);
}

/* End the message at hand: the one place where it is answered and its descriptors are closed. */
static void
conclude(struct vhu_device *device, struct vhu_verdict verdict)
{
	const struct vhu_device_ops *ops = device->config.ops;
	struct vhu_gates gates = gates_of(device);
	struct vhu_message *m = &device->message;

	if (verdict.severity != VHU_ACCEPT && !device->leaving)
		note_refusal(device, &verdict);
	vhu_message_close(m);
	if (verdict.severity == VHU_REFUSE_CLOSE) {
		if (!device->leaving)
			ops->hang_up(device->config.owner);
		return;
	}
	if (device->leaving || !vhu_reply_wanted(m, &gates))
		return;
	if (verdict.severity != VHU_ACCEPT)
		vhu_reply_failure(&device->reply, m, &gates);
	else if (vhu_reply_kind(m, &gates) == VHU_REPLY_ACK)
		vhu_reply_u64(&device->reply, 0);
	ops->send(device->config.owner, &device->reply);
}

void
vhu_device_defer(struct vhu_device *device)
{
	device->deferred = true;
	device->settled = false;
}

void
vhu_device_settle(struct vhu_device *device, struct vhu_verdict verdict)
{
	if (device->progress == VHU_PROGRESS_HANDLING) {
		device->settled = true;
		device->verdict = verdict;
		return;
	}
	conclude(device, verdict);
	device->progress = VHU_PROGRESS_IDLE;
	if (device->leaving)
		vhu_device_leave(device);
	else
		device->config.ops->answered(device->config.owner);
}

/* Check and handle. @return false if the answer comes later. */
static bool
handle(struct vhu_device *device, struct vhu_verdict *verdict)
{
	struct vhu_gates gates = gates_of(device);
	struct vhu_message *m = &device->message;

	*verdict = vhu_message_check(m, &gates);
	if (verdict->severity != VHU_ACCEPT)
		return true;
	if (handlers[m->request] == NULL) {
		*verdict = vhu_refuse(VHU_REFUSE, "%s is not served",
			vhu_request_name(m->request));
		return true;
	}
	device->deferred = false;
	*verdict = handlers[m->request](device, m, &device->reply);
	if (!device->deferred)
		return true;
	if (device->settled)
		*verdict = device->verdict;
	return device->settled;
}

void
vhu_device_receive(struct vhu_device *device, struct vhu_message *message)
{
	struct vhu_verdict verdict;

	if (vhu_device_busy(device) || !device->connected) {
		vhu_log(VHU_LOG_ERROR, device->name, VHU_LOG_NO_RING,
			"%s was delivered while the device was %s; it is dropped",
			vhu_request_name(message->request),
			device->connected ? "busy" : "not connected");
		vhu_message_close(message);
		return;
	}
	device->message = *message;
	message->fd_count = 0; /* they are ours now */
	vhu_reply_init(&device->reply, &device->message);
	device->messages++;
	device->progress = VHU_PROGRESS_HANDLING;
	if (!handle(device, &verdict)) {
		device->progress = VHU_PROGRESS_WAITING;
		return;
	}
	conclude(device, verdict);
	device->progress = VHU_PROGRESS_IDLE;
	if (device->leaving)
		vhu_device_leave(device);
}
