/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dev/device_private.h"

static struct vhu_device_ring *
ring_of_state(struct vhu_device *device, const struct vhu_message *m)
{
	return &device->rings[m->payload.state.index];
}

static struct vhu_device_ring *
ring_of_fd(struct vhu_device *device, const struct vhu_message *m)
{
	return &device->rings[m->payload.u64 & VHU_VRING_INDEX_MASK];
}

static struct vhu_verdict
refuse_started(const struct vhu_device_ring *ring)
{
	return vhu_refuse(VHU_REFUSE, "ring %u is started, stop it first", ring->index);
}

struct vhu_verdict
vhu_on_set_vring_num(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	struct vhu_device_ring *ring = ring_of_state(device, m);
	uint32_t size = m->payload.state.value;

	(void)reply;
	if (ring->started)
		return refuse_started(ring);
	if (size == 0 || size > VHU_RING_MAX)
		return vhu_refuse(VHU_REFUSE_FAULT,
			"ring %u cannot have %u descriptors, up to %u are allowed", ring->index,
			size, VHU_RING_MAX);
	if ((size & (size - 1)) != 0 && !vhu_ring_may_be_packed(device))
		return vhu_refuse(VHU_REFUSE_FAULT,
			"split ring %u cannot have %u descriptors, not a power of two",
			ring->index, size);
	ring->size = (uint16_t)size;
	return vhu_accept();
}

static void
address_settled(struct vhu_device *device, uint16_t unused)
{
	(void)unused;
	vhu_device_settle(device, vhu_accept());
}

/* A running ring begins or ends to note its own writes; answered when every burst does so. */
static struct vhu_verdict
change_address(struct vhu_device *device, struct vhu_device_ring *ring,
	const struct vhu_wire_vring_addr *address)
{
	struct vhu_wire_vring_addr old = ring->address;
	struct vhu_bin *bin = vhu_bin_own(device);
	struct vhu_published *next;
	struct vhu_verdict verdict;

	ring->address = *address;
	next = vhu_ring_build(device, ring, device->map, &verdict);
	if (next == NULL) {
		ring->address = old;
		return verdict;
	}
	vhu_device_defer(device);
	vhu_ring_swap(ring, next, bin);
	bin->then = address_settled;
	vhu_bin_retire(bin, ring);
	return verdict;
}

struct vhu_verdict
vhu_on_set_vring_addr(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	const struct vhu_wire_vring_addr *address = &m->payload.addr;
	struct vhu_device_ring *ring = &device->rings[address->index];

	(void)reply;
	if (address->descriptor % 16 != 0 || address->avail % 2 != 0 || address->used % 4 != 0)
		return vhu_refuse(VHU_REFUSE_FAULT, "areas of ring %u at 0x%" PRIx64 ", 0x%" PRIx64
			", 0x%" PRIx64 " are not aligned to 16, 2 and 4 bytes", ring->index,
			(uint64_t)address->descriptor, (uint64_t)address->avail,
			(uint64_t)address->used);
	/* A running ring stays where it is; only the logging flag may come and go. */
	if (ring->started && (address->descriptor != ring->address.descriptor ||
			      address->avail != ring->address.avail ||
			      address->used != ring->address.used))
		return refuse_started(ring);
	if (ring->published != NULL && (device->features & VHU_BIT(VHU_F_LOG_ALL)) &&
	    (address->flags != ring->address.flags ||
	     address->log_guest_address != ring->address.log_guest_address))
		return change_address(device, ring, address);
	ring->address = *address;
	ring->addressed = true;
	return vhu_accept();
}

struct vhu_verdict
vhu_on_set_vring_base(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	struct vhu_device_ring *ring = ring_of_state(device, m);

	(void)reply;
	if (ring->started)
		return refuse_started(ring);
	if (m->payload.state.value > UINT16_MAX && !vhu_ring_may_be_packed(device))
		return vhu_refuse(VHU_REFUSE_FAULT,
			"ring %u cannot start at %u, at most %u is allowed", ring->index,
			m->payload.state.value, UINT16_MAX);
	ring->base = m->payload.state.value;
	ring->based = true;
	return vhu_accept();
}

/*
 * Look at the descriptor that came with the message, and leave it there. What is to be written to
 * must be an event descriptor (an anonymous inode: no file type): a pipe or socket could raise
 * SIGPIPE in whoever signals. What is only waited for may also be a pipe or a socket.
 */
static struct vhu_verdict
check_event_fd(const struct vhu_device_ring *ring, const struct vhu_message *m, bool written,
	int *fd)
{
	struct stat status;
	int flags;

	*fd = -1;
	if (m->payload.u64 & VHU_VRING_NOFD)
		return vhu_accept();
	*fd = m->fds[0];
	flags = fcntl(*fd, F_GETFL);
	if (flags < 0 || fstat(*fd, &status) != 0)
		return vhu_refuse(VHU_REFUSE, "descriptor for ring %u cannot be used: %s",
			ring->index, strerror(errno));
	if ((status.st_mode & S_IFMT) != 0 &&
	    (written || !(S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode))))
		return vhu_refuse(VHU_REFUSE_FAULT, "descriptor for ring %u is no eventfd",
			ring->index);
	/* Nobody here waits for a front-end that lets its counter run full. */
	if (!(flags & O_NONBLOCK))
		(void)fcntl(*fd, F_SETFL, flags | O_NONBLOCK);
	return vhu_accept();
}

static void
replace_kick(struct vhu_device *device, struct vhu_device_ring *ring, int fd, bool own)
{
	int old = ring->kick_fd;

	ring->kick_fd = fd;
	ring->kick_own = own;
	/* First the owner lets go of the old one, then it is closed. */
	if (device->config.ops->kick_changed != NULL)
		device->config.ops->kick_changed(device->config.owner, ring->index, fd);
	if (old >= 0)
		close(old);
}

/* Memory for what stays in flight, for device types that keep something. */
static struct vhu_verdict
prepare_elements(const struct vhu_device *device, const struct vhu_device_ring *ring)
{
	int rc = device->config.ops->ring_prepare == NULL ? 0 :
		device->config.ops->ring_prepare(device->config.owner, ring->index, ring->size);

	return rc == 0 ? vhu_accept() : vhu_refuse(VHU_REFUSE, "ring %u cannot start: %s",
		ring->index, strerror(-rc));
}

/*
 * What a ring needs before it may start: but for translations that are missing, all of it. Sets
 * @p next to what is to be published, if anything, and says in ring->unmapped what is not there.
 */
static struct vhu_verdict
prepare_start(struct vhu_device *device, struct vhu_device_ring *ring,
	struct vhu_snapshot *resolved, struct vhu_published **next)
{
	struct vhu_verdict verdict;

	*next = NULL;
	if (ring->size == 0)
		return vhu_refuse(VHU_REFUSE_FAULT,
			"ring %u has no size, SET_VRING_NUM comes first", ring->index);
	if (!ring->addressed)
		return vhu_refuse(VHU_REFUSE_FAULT,
			"ring %u has no addresses, SET_VRING_ADDR comes first", ring->index);
	verdict = vhu_ring_check_layout(device, ring);
	if (verdict.severity != VHU_ACCEPT)
		return verdict;
	ring->packed = device->features & VHU_BIT(VIRTIO_F_RING_PACKED);
	verdict = prepare_elements(device, ring);
	ring->unmapped = vhu_ring_is_unmapped(device, ring);
	if (ring->unmapped || verdict.severity != VHU_ACCEPT)
		return verdict;
	verdict = vhu_ring_resolve(device, ring, device->map, resolved);
	if (verdict.severity == VHU_ACCEPT && vhu_ring_visible(device, ring))
		*next = vhu_ring_build(device, ring, device->map, &verdict);
	if (verdict.severity != VHU_ACCEPT)
		vhu_alias_free(resolved->alias);
	return verdict;
}

/* Takes over the kick descriptor, also on failure. */
static struct vhu_verdict
start(struct vhu_device *device, struct vhu_device_ring *ring, int kick_fd, bool kick_own)
{
	struct vhu_snapshot resolved = { .alias = NULL };
	struct vhu_published *next;
	struct vhu_verdict verdict;

	verdict = prepare_start(device, ring, &resolved, &next);
	if (verdict.severity != VHU_ACCEPT) {
		if (kick_fd >= 0)
			close(kick_fd);
		return verdict;
	}
	/* Parked and quiet: it was never started, or a grace period has passed since it was. */
	if (ring->unmapped)
		vhu_ring_reset(ring->lcore, ring->base, 0);
	else
		vhu_ring_place(device, ring, &resolved);
	vhu_alias_free(resolved.alias);
	ring->started = true;
	ring->broken_told = false;
	replace_kick(device, ring, kick_fd, kick_own);
	vhu_ring_swap(ring, next, NULL);
	/* One may have been lost with the connection before: one too many does no harm. */
	vhu_ring_call_anyway(device, ring);
	vhu_ring_tell(device, ring, VHU_EVENT_RING_STARTED, ring->size);
	if (ring->unmapped)
		vhu_rings_remap(device);
	return verdict;
}

struct vhu_verdict
vhu_on_set_vring_kick(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	struct vhu_device_ring *ring = ring_of_fd(device, m);
	struct vhu_verdict verdict;
	int fd;

	(void)reply;
	verdict = check_event_fd(ring, m, false, &fd);
	if (verdict.severity != VHU_ACCEPT)
		return verdict;
	if (!ring->started)
		return start(device, ring, vhu_message_take_fd(m, 0), false);
	replace_kick(device, ring, vhu_message_take_fd(m, 0), false);
	return verdict;
}

/*
 * A kick that comes as a message starts the ring as well. Whoever sleeps on the ring's kicks sleeps
 * on a descriptor, so it gets one of ours.
 */
struct vhu_verdict
vhu_on_vring_kick(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	struct vhu_device_ring *ring = ring_of_state(device, m);
	struct vhu_verdict verdict = vhu_accept();

	(void)reply;
	if (!ring->started) {
		int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

		if (fd < 0)
			return vhu_refuse(VHU_REFUSE, "no descriptor for kicks of ring %u: %s",
				ring->index, strerror(errno));
		verdict = start(device, ring, fd, true);
	}
	/* The front-end's own descriptor is the front-end's to signal. */
	if (verdict.severity == VHU_ACCEPT && ring->kick_own)
		vhu_event_signal(ring->kick_fd);
	return verdict;
}

/*
 * Nobody writes to the old descriptor any more. What was signalled there, up to the last burst that
 * knew it, may not have been seen: say it again on the new one.
 */
static void
call_replaced(struct vhu_device *device, uint16_t index)
{
	if (device->rings[index].started)
		vhu_ring_call_anyway(device, &device->rings[index]);
	vhu_device_settle(device, vhu_accept());
}

struct vhu_verdict
vhu_on_set_vring_call(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	struct vhu_device_ring *ring = ring_of_fd(device, m);
	int fd, old = ring->call_fd;
	bool old_none = ring->call_none;
	struct vhu_published *next = NULL;
	struct vhu_bin *bin = vhu_bin_own(device);
	struct vhu_verdict verdict;

	(void)reply;
	verdict = check_event_fd(ring, m, true, &fd);
	if (verdict.severity != VHU_ACCEPT)
		return verdict;
	ring->call_fd = fd;
	ring->call_none = fd < 0;
	if (ring->published != NULL) {
		next = vhu_ring_build(device, ring, device->map, &verdict);
		if (next == NULL) {
			ring->call_fd = old;
			ring->call_none = old_none;
			return verdict;
		}
		vhu_ring_swap(ring, next, bin);
	}
	(void)vhu_message_take_fd(m, 0);
	/*
	 * An lcore may be about to write to the old one. After the acknowledgement the front-end
	 * may put that to another use, so it has to wait.
	 */
	vhu_device_defer(device);
	bin->fd = old;
	bin->ring = ring->index;
	bin->then = call_replaced;
	vhu_bin_retire(bin, ring);
	return verdict;
}

struct vhu_verdict
vhu_on_set_vring_err(struct vhu_device *device, struct vhu_message *m, struct vhu_message *reply)
{
	struct vhu_device_ring *ring = ring_of_fd(device, m);
	struct vhu_verdict verdict;
	int fd;

	(void)reply;
	verdict = check_event_fd(ring, m, true, &fd);
	if (verdict.severity != VHU_ACCEPT)
		return verdict;
	if (ring->error_fd >= 0)
		close(ring->error_fd);
	ring->error_fd = vhu_message_take_fd(m, 0);
	ring->error_none = fd < 0;
	return verdict;
}
