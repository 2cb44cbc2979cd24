/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "elements.h"

#define CRASH_STATUS 42

static size_t
copy_out(const struct iovec *segments, uint16_t count, size_t skip, void *to, size_t size)
{
	size_t done = 0;

	for (uint16_t i = 0; i < count && done < size; i++) {
		size_t length = segments[i].iov_len, from = skip < length ? skip : length;
		size_t part = length - from < size - done ? length - from : size - done;

		memcpy((char *)to + done, (char *)segments[i].iov_base + from, part);
		done += part;
		skip -= from;
	}
	return done;
}

static size_t
copy_in(const struct iovec *segments, uint16_t count, const void *from, size_t size)
{
	size_t done = 0;

	for (uint16_t i = 0; i < count && done < size; i++) {
		size_t part = segments[i].iov_len;

		if (part > size - done)
			part = size - done;
		memcpy(segments[i].iov_base, (const char *)from + done, part);
		done += part;
	}
	return done;
}

static const struct vhu_snapshot *
enter(struct machine *machine, uint16_t ring)
{
	return vhu_reader_enter(&machine->queues[ring].ring.reader);
}

static void
leave(struct machine *machine, uint16_t ring)
{
	vhu_reader_leave(&machine->queues[ring].ring.reader);
}

/* Complete a request with these bytes, or with its own (NULL). Frees it. */
static void
complete(struct machine *machine, struct held *held, const void *bytes, size_t size)
{
	struct vhu_element_queue *queue = &machine->queues[held->ring];
	const struct vhu_snapshot *snapshot = enter(machine, held->ring);
	const struct vhu_chain *chain = &held->element.chain;
	const struct iovec *writable = held->segments + chain->readable;
	uint32_t written = 0;
	void *own = NULL;

	/* Memory that was taken away since may be gone: nothing can be written then. */
	if (snapshot->space.map == held->map) {
		if (bytes == NULL) {
			size = chain->readable_size - sizeof(struct command);
			bytes = own = malloc(size + 1);
			if (own != NULL)
				copy_out(held->segments, chain->readable, sizeof(struct command),
					own, size);
		}
		if (bytes != NULL)
			written = (uint32_t)copy_in(writable, chain->writable, bytes, size);
		free(own);
	}
	if (held->command.operation == OP_LONG)
		written = UINT32_MAX;
	vhu_elements_give(queue, snapshot, &held->element, written);
	if (held->command.operation == OP_TWICE)
		vhu_elements_give(queue, snapshot, &held->element, written);
	vhu_elements_flush(queue, snapshot, UINT16_MAX);
	vhu_elements_notify(queue, snapshot);
	leave(machine, held->ring);
	free(held);
}

static void
hold(struct machine *machine, struct held *held)
{
	struct held **link = &machine->held;

	while (*link != NULL)
		link = &(*link)->next;
	held->next = NULL;
	*link = held;
}

/* Take out of the list and complete those with this tag in this ring; UINT16_MAX: any ring. */
static void
release(struct machine *machine, uint16_t ring, bool all, uint32_t tag)
{
	struct held **link = &machine->held, *held;

	while ((held = *link) != NULL) {
		if ((ring == UINT16_MAX || held->ring == ring) &&
				(all || held->command.tag == tag)) {
			*link = held->next;
			complete(machine, held, NULL, 0);
		} else {
			link = &held->next;
		}
	}
}

/* What the front-end was asked for has come to its end. */
static void
answered(void *argument, int result, int fd)
{
	struct held *held = argument;
	struct machine *machine = held->machine;
	int64_t outcome = result;
	struct held **link = &machine->held;

	if (fd >= 0)
		close(fd);
	while (*link != NULL && *link != held)
		link = &(*link)->next;
	if (*link != NULL)
		*link = held->next;
	complete(machine, held, &outcome, sizeof(outcome));
}

static int
ask(struct machine *machine, struct held *held)
{
	const struct command *command = &held->command;
	struct vhu_device *device = machine->device;
	const struct vhu_shmem_part part = {
		.region = 0,
		.writable = true,
		.region_offset = command->argument,
		.size = command->argument,
	};

	switch (command->operation) {
	case OP_CONFIG_CHANGED:
		return vhu_device_config_changed(device);
	case OP_NOTIFIER_SET:
	case OP_NOTIFIER_REMOVE:
		return vhu_device_host_notifier(device, (uint16_t)command->argument,
			command->operation == OP_NOTIFIER_SET ? machine->file : -1, 0,
			NOTIFIER_SIZE, answered, held);
	case OP_OBJECT_ADD:
		return vhu_device_object_add(device, command->data, answered, held);
	case OP_OBJECT_REMOVE:
		return vhu_device_object_remove(device, command->data, answered, held);
	case OP_OBJECT_LOOKUP:
		return vhu_device_object_lookup(device, command->data, answered, held);
	case OP_SHMEM_MAP:
		return vhu_device_shmem_map(device, &part, machine->file, answered, held);
	case OP_SHMEM_UNMAP:
		return vhu_device_shmem_unmap(device, &part, answered, held);
	default:
		return -EINVAL;
	}
}

static void
start_asking(struct machine *machine, struct held *held)
{
	uint32_t operation = held->command.operation;
	int64_t outcome;

	hold(machine, held);
	outcome = ask(machine, held);
	/* Held until answered() is called, unless nothing is to be waited for. */
	if (outcome == 0 && operation != OP_CONFIG_CHANGED)
		return;
	answered(held, (int)outcome, -1);
}

static void
serve(struct machine *machine, struct held *held)
{
	switch (held->command.operation) {
	case OP_ECHO:
	case OP_TWICE:
	case OP_LONG:
	case OP_UNTAKE:
		break;
	case OP_HOLD:
		hold(machine, held);
		return;
	case OP_RELEASE:
		release(machine, UINT16_MAX, false, held->command.tag);
		break;
	case OP_RELEASE_ALL:
		release(machine, UINT16_MAX, true, 0);
		break;
	case OP_CRASH:
		_exit(CRASH_STATUS);
	case OP_STATE:
		free(machine->state);
		machine->state_size = (size_t)held->command.argument & 0xFFFFFF;
		machine->state = malloc(machine->state_size + 1);
		for (size_t i = 0; machine->state != NULL && i < machine->state_size; i++)
			machine->state[i] = (uint8_t)(i * 7 + held->command.tag);
		break;
	default:
		start_asking(machine, held);
		return;
	}
	complete(machine, held, NULL, 0);
}

/* Take one request, with a copy of its segments. @return NULL if there is none. */
static struct held *
take(struct machine *machine, uint16_t ring)
{
	static struct iovec segments[VHU_SEGMENTS_MAX];
	struct vhu_element_queue *queue = &machine->queues[ring];
	const struct vhu_snapshot *snapshot = enter(machine, ring);
	struct vhu_element element;
	struct held *held = NULL;

	if (vhu_elements_take(queue, snapshot, &element, 1, segments, VHU_SEGMENTS_MAX) == 1) {
		size_t count = (size_t)element.chain.readable + element.chain.writable;

		held = calloc(1, sizeof(*held) + count * sizeof(*segments));
		if (held == NULL)
			abort();
		memcpy(held->segments, segments, count * sizeof(*segments));
		held->machine = machine;
		held->ring = ring;
		held->map = snapshot->space.map;
		held->element = element;
		held->element.segments = held->segments;
		copy_out(held->segments, element.chain.readable, 0, &held->command,
			sizeof(held->command));
		/* Put back once: whoever takes it next serves it. */
		if (held->command.operation == OP_UNTAKE &&
				machine->untaken != held->command.tag + 1 &&
				vhu_elements_untake(queue, snapshot, 1)) {
			machine->untaken = held->command.tag + 1;
			free(held);
			held = NULL;
		}
	}
	leave(machine, ring);
	return held;
}

void
machine_poll(struct machine *machine)
{
	struct held *held;

	for (uint16_t ring = 0; ring < machine->ring_count; ring++) {
		while ((held = take(machine, ring)) != NULL) {
			if (held->element.chain.readable_size < sizeof(struct command))
				complete(machine, held, "", 0);
			else
				serve(machine, held);
		}
	}
}

static int
specialise(void *owner, uint16_t ring, struct vhu_snapshot *snapshot)
{
	(void)owner;
	(void)ring;
	snapshot->burst = vhu_snapshot_parked.burst;
	snapshot->body = "elements";
	return 0;
}

static int
ring_prepare(void *owner, uint16_t ring, uint16_t size)
{
	struct machine *machine = owner;
	void *memory = malloc(vhu_element_queue_memory(size));

	if (memory == NULL)
		return -ENOMEM;
	free(machine->memory[ring]);
	machine->memory[ring] = memory;
	return 0;
}

/* Forget what is held of a ring whose requests belong to nobody any more. */
static void
forget(struct machine *machine, uint16_t ring)
{
	struct held **link = &machine->held, *held;

	while ((held = *link) != NULL) {
		if (held->ring == ring && held->command.operation == OP_HOLD) {
			*link = held->next;
			free(held);
		} else {
			link = &held->next;
		}
	}
}

static void
ring_place(void *owner, uint16_t ring, const struct vhu_snapshot *snapshot, uint16_t capacity,
	struct vhu_walk *avail, struct vhu_walk *used)
{
	struct machine *machine = owner;

	forget(machine, ring);
	vhu_element_queue_start(&machine->queues[ring], machine->memory[ring], snapshot, capacity,
		avail, used);
}

/* With an in-flight area requests may stay where they are; otherwise now or never. */
static void
stopping(void *owner, uint16_t ring)
{
	struct machine *machine = owner;

	if (vhu_device_negotiated_protocol_features(machine->device) &
			VHU_BIT(VHU_PROTOCOL_GET_VRING_BASE_INFLIGHT))
		return;
	release(machine, ring, true, 0);
}

void
machine_ops(struct vhu_device_ops *ops)
{
	ops->specialise = specialise;
	ops->ring_prepare = ring_prepare;
	ops->ring_place = ring_place;
	ops->stopping = stopping;
}

void
machine_init(struct machine *machine, uint16_t ring_count)
{
	machine->ring_count = ring_count;
	for (uint16_t i = 0; i < ring_count; i++) {
		vhu_element_queue_init(&machine->queues[i]);
		machine->rings[i] = &machine->queues[i].ring;
	}
	machine->file = memfd_create("elements", MFD_CLOEXEC);
	if (machine->file >= 0 && ftruncate(machine->file, 1 << 20) != 0)
		machine->file = -1;
}

void
machine_free(struct machine *machine)
{
	for (uint16_t i = 0; i < machine->ring_count; i++) {
		forget(machine, i);
		free(machine->memory[i]);
	}
	free(machine->state);
	close(machine->file);
}
