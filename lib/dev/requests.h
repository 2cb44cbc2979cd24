/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_DEV_REQUESTS_H
#define VHU_DEV_REQUESTS_H

/**
 * @file
 * What a device may ask of its front-end, as functions (vhost-user, "Back-end message types").
 *
 * All of them go through the back-end channel (dev/channel.h) and return at once, on the control
 * thread: 0 and the end of the request is told to @p done exactly once, maybe before the function
 * returns, or a negative errno and nothing was sent: -ENOTCONN (no channel), -EOPNOTSUPP (not
 * negotiated), -EAGAIN (the device is suspended: all rings are stopped, nothing may be sent),
 * -EINVAL, -ENOBUFS, -ENOMEM.
 *
 * Results of @p done are those of vhu_channel_done; -EREMOTEIO: the front-end refused.
 */

#include <stdbool.h>
#include <stdint.h>

struct vhu_device;

/** Bytes of a shared object's name. */
#define VHU_UUID_SIZE 16

/**
 * @param fd  of the object that was looked up, now the callee's; otherwise -1.
 */
typedef void (*vhu_request_done)(void *argument, int result, int fd);

/** BACKEND_CONFIG_CHANGE_MSG: the configuration space is to be read again. Nobody is told. */
int vhu_device_config_changed(struct vhu_device *device);

/**
 * BACKEND_VRING_HOST_NOTIFIER_MSG: let the guest's kicks of this ring reach @p size bytes at
 * @p offset of a file directly (a doorbell of hardware). @param fd stays the caller's; -1: not any
 * more.
 */
int vhu_device_host_notifier(struct vhu_device *device, uint16_t ring, int fd, uint64_t offset,
	uint64_t size, vhu_request_done done, void *argument);

/** BACKEND_SHARED_OBJECT_ADD: this device is asked for the object from now on. */
int vhu_device_object_add(struct vhu_device *device, const uint8_t uuid[VHU_UUID_SIZE],
	vhu_request_done done, void *argument);
/** BACKEND_SHARED_OBJECT_REMOVE: the reverse. */
int vhu_device_object_remove(struct vhu_device *device, const uint8_t uuid[VHU_UUID_SIZE],
	vhu_request_done done, void *argument);
/** BACKEND_SHARED_OBJECT_LOOKUP: get another device's object. -ENOENT: there is none. */
int vhu_device_object_lookup(struct vhu_device *device, const uint8_t uuid[VHU_UUID_SIZE],
	vhu_request_done done, void *argument);

/** A part of a file and where in a shared memory region of the device it is to be seen. */
struct vhu_shmem_part {
	uint8_t region;
	bool writable;
	uint64_t file_offset;
	uint64_t region_offset;
	uint64_t size;
};

/** BACKEND_SHMEM_MAP. @param fd stays the caller's. */
int vhu_device_shmem_map(struct vhu_device *device, const struct vhu_shmem_part *part, int fd,
	vhu_request_done done, void *argument);
/** BACKEND_SHMEM_UNMAP: a part that was mapped, as a whole. */
int vhu_device_shmem_unmap(struct vhu_device *device, const struct vhu_shmem_part *part,
	vhu_request_done done, void *argument);

#endif /* VHU_DEV_REQUESTS_H */
