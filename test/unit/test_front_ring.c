/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "unit.h"

#include <errno.h>
#include <string.h>

#include "driver.h"

/*
 * A device that is as plain as can be: one descriptor at a time, straight from the specification,
 * sends what it gets on one ring back on the other. The driver must bring each frame there and
 * back, whatever the ring's format.
 */

#define ROUNDS 5
#define LENGTH 100
#define SMALL 60

struct device {
	struct front_ring *ring;
	const struct front_memory *memory;
	uint16_t next;          /* split: runs free; packed: position */
	uint16_t used;
	bool wrap, used_wrap;
};

struct chain {
	uint8_t *parts[4];
	uint32_t lengths[4];
	unsigned int count;
	bool writable;
	uint16_t id;
	uint16_t descriptors;   /* in the ring */
};

static void
add_part(struct device *device, struct chain *chain, uint64_t address, uint32_t length,
	uint16_t flags)
{
	uint64_t left;

	assert_true(chain->count < 4);
	chain->parts[chain->count] = front_memory_at(device->memory, address, &left);
	assert_non_null(chain->parts[chain->count]);
	assert_true(left >= length);
	chain->lengths[chain->count++] = length;
	chain->writable = (flags & VRING_DESC_F_WRITE) != 0;
}

/* Split and packed tables begin alike: address, length; "flags" differ in their place. */
static void
add_table(struct device *device, struct chain *chain, uint64_t address, uint32_t length)
{
	uint64_t left;
	uint8_t *table = front_memory_at(device->memory, address, &left);
	uint32_t i;

	assert_non_null(table);
	for (i = 0; i < length / 16; i++) {
		bool packed = device->ring->options.packed;
		uint64_t at;
		uint32_t part;
		uint16_t flags;

		memcpy(&at, table + 16 * i, 8);
		memcpy(&part, table + 16 * i + 8, 4);
		memcpy(&flags, table + 16 * i + (packed ? 14 : 12), 2);
		add_part(device, chain, at, part, flags);
	}
}

static bool
next_split(struct device *device, struct chain *chain)
{
	const struct front_ring *ring = device->ring;
	struct vring_desc *descriptor;
	uint16_t head;

	if (ring->avail[1] == device->next)
		return false;
	head = ring->avail[2 + device->next++ % ring->size];
	chain->id = head;
	for (;;) {
		assert_true(head < ring->size);
		descriptor = &ring->descriptor[head];
		if (descriptor->flags & VRING_DESC_F_INDIRECT)
			add_table(device, chain, descriptor->addr, descriptor->len);
		else
			add_part(device, chain, descriptor->addr, descriptor->len,
				descriptor->flags);
		if (!(descriptor->flags & VRING_DESC_F_NEXT))
			return true;
		head = descriptor->next;
	}
}

static bool
next_packed(struct device *device, struct chain *chain)
{
	struct vring_packed_desc *descriptor;

	do {
		descriptor = (struct vring_packed_desc *)&device->ring->packed[device->next];
		if (!!(descriptor->flags & 0x80) != device->wrap ||
				!!(descriptor->flags & 0x8000) == device->wrap) {
			assert_int_equal(chain->count, 0);
			return false;
		}
		if (descriptor->flags & VRING_DESC_F_INDIRECT)
			add_table(device, chain, descriptor->addr, descriptor->len);
		else
			add_part(device, chain, descriptor->addr, descriptor->len,
				descriptor->flags);
		chain->id = descriptor->id;
		chain->descriptors++;
		if (++device->next == device->ring->size) {
			device->next = 0;
			device->wrap = !device->wrap;
		}
	} while (descriptor->flags & VRING_DESC_F_NEXT);
	return true;
}

static bool
next(struct device *device, struct chain *chain)
{
	memset(chain, 0, sizeof(*chain));
	return device->ring->options.packed ? next_packed(device, chain) :
		next_split(device, chain);
}

static void
give_back(struct device *device, const struct chain *chain, uint32_t length)
{
	struct front_ring *ring = device->ring;
	struct vring_packed_desc *descriptor;

	if (!ring->options.packed) {
		ring->used->ring[device->used % ring->size].id = chain->id;
		ring->used->ring[device->used % ring->size].len = length;
		ring->used->idx = ++device->used;
		return;
	}
	descriptor = (struct vring_packed_desc *)&ring->packed[device->used];
	descriptor->id = chain->id;
	descriptor->len = length;
	descriptor->flags = device->used_wrap ? 0x8080 : 0;
	device->used = (uint16_t)(device->used + chain->descriptors);
	if (device->used >= ring->size) {
		device->used = (uint16_t)(device->used - ring->size);
		device->used_wrap = !device->used_wrap;
	}
}

/* Write bytes across the chain from its beginning. */
static void
scatter(const struct chain *chain, const uint8_t *from, uint32_t size)
{
	unsigned int i;

	assert_true(chain->writable);
	for (i = 0; i < chain->count && size > 0; i++) {
		uint32_t part = size < chain->lengths[i] ? size : chain->lengths[i];

		memcpy(chain->parts[i], from, part);
		from += part;
		size -= part;
	}
	assert_int_equal(size, 0);
}

static uint32_t
capacity(const struct chain *chain)
{
	uint32_t sum = 0;
	unsigned int i;

	for (i = 0; i < chain->count; i++)
		sum += chain->lengths[i];
	return sum;
}

/* Send one frame back, over as many chains as it needs. */
static void
echo(struct device *to, uint8_t *frame, uint32_t size)
{
	struct chain chains[4];
	uint32_t done = 0, room = 0;
	uint16_t count = 0, i;

	while (room < size) {
		assert_true(next(to, &chains[count]));
		room += capacity(&chains[count++]);
	}
	memcpy(frame + 10, &count, 2);
	for (i = 0; i < count; i++) {
		uint32_t part = capacity(&chains[i]);

		part = part < size - done ? part : size - done;
		scatter(&chains[i], frame + done, part);
		give_back(to, &chains[i], part);
		done += part;
	}
}

static uint32_t
serve(struct device *from, struct device *to)
{
	struct chain chain;
	uint8_t frame[512];
	uint32_t done = 0, size;
	unsigned int i;

	while (next(from, &chain)) {
		assert_false(chain.writable);
		for (size = 0, i = 0; i < chain.count; i++) {
			memcpy(frame + size, chain.parts[i], chain.lengths[i]);
			size += chain.lengths[i];
		}
		for (i = 0; i < FRONT_HEADER; i++)
			assert_int_equal(frame[i], 0);
		give_back(from, &chain, 0);
		echo(to, frame, size);
		done++;
	}
	return done;
}

static void
expect_frames(struct front_ring *ring, uint32_t from, uint32_t count)
{
	struct front_frame frames[8];
	uint32_t got, at, i, sequence;

	while (count > 0) {
		got = front_receive(ring, frames, 8);
		assert_true(got > 0);
		for (at = 0; at < got; at += frames[at].buffers) {
			uint8_t frame[512];
			uint32_t size = 0;

			assert_true(frames[at].buffers > 0);
			for (i = 0; i < frames[at].buffers; i++) {
				memcpy(frame + size, frames[at + i].data, frames[at + i].length);
				size += frames[at + i].length;
			}
			assert_int_equal(size, LENGTH);
			memcpy(&sequence, frame, 4);
			assert_int_equal(sequence, from);
			for (i = 4; i < LENGTH; i++)
				assert_int_equal(frame[i], (uint8_t)(from + i));
			from++;
			count--;
		}
		front_post(ring, frames, got);
	}
	assert_int_equal(front_receive(ring, frames, 8), 0);
}

static void
send_frames(struct front_ring *ring, uint32_t from, uint32_t count)
{
	struct front_frame frames[8];
	uint32_t i, at;

	assert_true(count <= 8);
	assert_int_equal(front_take(ring, frames, count), count);
	for (i = 0; i < count; i++) {
		memcpy(frames[i].data, &from, 4);
		for (at = 4; at < LENGTH; at++)
			frames[i].data[at] = (uint8_t)(from + at);
		frames[i].length = LENGTH;
		from++;
	}
	front_post(ring, frames, count);
}

static void
there_and_back(struct front_ring_options options)
{
	struct front_memory_options memory_options = { .regions = 3, .region_size = 1 << 20 };
	struct device from = { .wrap = true, .used_wrap = true }, to = from;
	struct front_memory memory;
	struct front_ring send, receive;
	uint32_t sequence = 0, count;

	options.regions = 3;
	options.buffer_size = LENGTH;
	assert_int_equal(front_memory_create(&memory, &memory_options), 0);
	assert_int_equal(front_ring_create(&send, &memory, &options), 0);
	options.receive = true;
	if (options.mergeable)
		options.buffer_size = SMALL;
	assert_int_equal(front_ring_create(&receive, &memory, &options), 0);
	from.ring = &send;
	to.ring = &receive;
	from.memory = to.memory = &memory;
	front_post_all(&receive);
	assert_int_equal(front_free(&receive), 0);
	while (sequence < ROUNDS * options.size) {
		/* Never more than half of the receive ring, where a frame may take two slots. */
		count = 1 + sequence % (receive.slots / 2 > 8 ? 8 : receive.slots / 2);
		send_frames(&send, sequence, count);
		assert_int_equal(serve(&from, &to), count);
		expect_frames(&receive, sequence, count);
		sequence += count;
	}
	front_collect(&send);
	assert_int_equal(front_free(&send), send.slots);
	assert_int_equal(send.faults + receive.faults, 0);
	front_ring_destroy(&send);
	front_ring_destroy(&receive);
	front_memory_destroy(&memory);
}

/* Each combination of what does not exclude another (buffers that merge are of one piece). */
static void
every_kind(bool packed, uint16_t size)
{
	unsigned int kind;

	for (kind = 0; kind < 16; kind++)
		there_and_back((struct front_ring_options){
			.size = size,
			.packed = packed,
			.in_order = (kind & 1) != 0,
			.mergeable = (kind & 10) == 2,
			.indirect = (kind & 4) != 0,
			.chain = kind & 8 ? 2 : 1,
		});
}

static void
split_rings_bring_every_frame_there_and_back(void **state)
{
	(void)state;
	every_kind(false, 16);
	every_kind(false, 256);
	there_and_back((struct front_ring_options){ .size = 32, .fixed = true });
}

static void
packed_rings_bring_every_frame_there_and_back(void **state)
{
	(void)state;
	every_kind(true, 16);
	every_kind(true, 37);
	every_kind(true, 256);
}

static void
in_order_one_used_descriptor_stands_for_a_batch(void **state)
{
	struct front_memory_options memory_options = { .region_size = 1 << 20 };
	struct front_ring_options options = { .size = 16, .packed = true, .in_order = true,
		.buffer_size = LENGTH };
	struct front_memory memory;
	struct front_ring ring;

	(void)state;
	assert_int_equal(front_memory_create(&memory, &memory_options), 0);
	assert_int_equal(front_ring_create(&ring, &memory, &options), 0);
	send_frames(&ring, 0, 6);
	assert_int_equal(front_free(&ring), 10);
	/* The fourth is said to be used, in the place of the first. */
	ring.packed[0].word = (uint64_t)3 << 32 | (uint64_t)0x8080 << 48;
	assert_int_equal(front_collect(&ring), 4);
	assert_int_equal(front_free(&ring), 14);
	ring.packed[4].word = (uint64_t)5 << 32 | (uint64_t)0x8080 << 48;
	assert_int_equal(front_collect(&ring), 2);
	assert_int_equal(ring.faults, 0);
	front_ring_destroy(&ring);
	front_memory_destroy(&memory);
}

static void
used_entries_that_cannot_be_are_faults(void **state)
{
	struct front_memory_options memory_options = { .region_size = 1 << 20 };
	struct front_ring_options options = { .size = 16, .buffer_size = LENGTH };
	struct front_memory memory;
	struct front_ring ring;

	(void)state;
	assert_int_equal(front_memory_create(&memory, &memory_options), 0);
	assert_int_equal(front_ring_create(&ring, &memory, &options), 0);
	send_frames(&ring, 0, 6);
	ring.used->idx = 100;
	assert_int_equal(front_collect(&ring), 0);
	assert_int_equal(ring.faults, 1);
	ring.used->ring[0].id = 4711;
	ring.used->idx = 1;
	assert_int_equal(front_collect(&ring), 1);
	assert_int_equal(ring.faults, 2);
	front_ring_destroy(&ring);
	front_memory_destroy(&memory);
}

static void
base_is_where_the_device_begins(void **state)
{
	struct front_memory_options memory_options = { .region_size = 1 << 20 };
	struct front_ring_options options = { .size = 16, .buffer_size = LENGTH, .receive = true };
	struct front_memory memory;
	struct front_ring ring;

	(void)state;
	assert_int_equal(front_memory_create(&memory, &memory_options), 0);
	assert_int_equal(front_ring_create(&ring, &memory, &options), 0);
	front_post_all(&ring);
	assert_int_equal(front_ring_base(&ring), 0);
	front_ring_destroy(&ring);
	options.packed = true;
	assert_int_equal(front_ring_create(&ring, &memory, &options), 0);
	front_post_all(&ring);
	assert_int_equal(front_ring_base(&ring), 0x80008000);
	front_ring_destroy(&ring);
	front_memory_destroy(&memory);
}

static void
rings_that_cannot_be_are_refused(void **state)
{
	static const struct front_ring_options wrong[] = {
		{ .size = 0 },
		{ .size = 100 },
		{ .size = 16, .chain = 3 },
		{ .size = 16, .packed = true, .fixed = true },
		{ .size = 16, .chain = 2, .fixed = true },
		{ .size = 1, .chain = 2 },
		{ .size = 16, .chain = 2, .receive = true, .mergeable = true },
	};
	struct front_memory_options memory_options = { .region_size = 1 << 20 };
	struct front_ring_options large = { .size = 1024, .buffer_size = 2048 };
	struct front_memory memory;
	struct front_ring ring;
	unsigned int i;

	(void)state;
	assert_int_equal(front_memory_create(&memory, &memory_options), 0);
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(front_ring_create(&ring, &memory, &wrong[i]), -EINVAL);
	assert_int_equal(front_ring_create(&ring, &memory, &large), -ENOMEM);
	front_memory_destroy(&memory);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_rings_bring_every_frame_there_and_back),
		cmocka_unit_test(packed_rings_bring_every_frame_there_and_back),
		cmocka_unit_test(in_order_one_used_descriptor_stands_for_a_batch),
		cmocka_unit_test(used_entries_that_cannot_be_are_faults),
		cmocka_unit_test(base_is_where_the_device_begins),
		cmocka_unit_test(rings_that_cannot_be_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
