/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <string.h>

#include "dev/device_private.h"

/* Things that other devices or the front-end share with this one. */

struct vhu_verdict
vhu_on_get_shared_object(struct vhu_device *device, struct vhu_message *m,
	struct vhu_message *reply)
{
	int fd = device->config.ops->get_shared_object(device->config.owner, m->payload.uuid);

	if (fd < 0)
		return vhu_refuse(VHU_REFUSE, "there is no such object: %s", strerror(-fd));
	reply->fds[0] = fd;
	reply->fd_count = 1;
	return vhu_accept();
}

struct vhu_verdict
vhu_on_get_shmem_config(struct vhu_device *device, struct vhu_message *m,
	struct vhu_message *reply)
{
	struct vhu_wire_shmem_config *config = &reply->payload.shmem_config;
	unsigned int i;

	(void)m;
	for (i = 0; i < device->config.shmem_count; i++) {
		config->sizes[i] = device->config.shmem_sizes[i];
		config->count += config->sizes[i] != 0;
	}
	reply->size = sizeof(*config);
	return vhu_accept();
}

struct vhu_verdict
vhu_on_gpu_set_socket(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	int rc;

	(void)reply;
	if (device->config.ops->gpu_socket == NULL)
		return vhu_refuse(VHU_REFUSE, "this device draws nothing");
	rc = device->config.ops->gpu_socket(device->config.owner, vhu_message_take_fd(m, 0));
	if (rc != 0)
		return vhu_refuse(VHU_REFUSE, "the socket cannot be used: %s", strerror(-rc));
	return vhu_accept();
}
