/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "crash_driver.h"

#define RING_SIZE 128
#define PARTS 3 /* header, data, status */

#define PACKED_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define PACKED_USED (1u << VRING_PACKED_DESC_F_USED)

uint64_t
crash_random(struct crash_disk *disk)
{
	disk->random ^= disk->random << 13;
	disk->random ^= disk->random >> 7;
	disk->random ^= disk->random << 17;
	return disk->random;
}

bool
crash_disk_create(struct crash_disk *disk, unsigned int queues, bool packed, uint64_t seed)
{
	const struct front_memory_options memory = { .regions = 2, .region_size = 4u << 20 };
	const struct front_ring_options options = { .size = RING_SIZE, .chain = 1,
		.buffer_size = 64, .packed = packed };
	unsigned int i;

	disk->random = seed | 1;
	disk->packed = packed;
	disk->queue_count = queues;
	if (front_memory_create(&disk->memory, &memory) != 0)
		return false;
	for (i = 0; i < queues; i++) {
		struct crash_queue *q = &disk->queues[i];

		if (front_ring_create(&q->ring, &disk->memory, &options) != 0)
			return false;
		q->headers = front_memory_take(&disk->memory, 1, CRASH_DEPTH * 16, 64);
		q->data = front_memory_take(&disk->memory, 1, CRASH_DEPTH * CRASH_BLOCK, 4096);
		q->status = front_memory_take(&disk->memory, 1, CRASH_DEPTH, 64);
		if (q->headers == NULL || q->data == NULL || q->status == NULL)
			return false;
	}
	return true;
}

static void
fill(uint8_t *data, uint32_t block, uint64_t generation)
{
	uint64_t words[2] = { block, generation };
	unsigned int i;

	for (i = 0; i < CRASH_BLOCK; i += sizeof(words))
		memcpy(data + i, words, sizeof(words));
}

/* Part @p i of a request: address, length, may the device write there? */
static uint64_t
part(const struct crash_disk *disk, struct crash_queue *q, unsigned int slot, unsigned int i,
	uint32_t *length, bool *writable)
{
	static const uint32_t lengths[PARTS] = { 16, CRASH_BLOCK, 1 };
	const void *places[PARTS] = { &q->headers[slot], q->data + slot * CRASH_BLOCK,
		&q->status[slot] };

	*length = lengths[i];
	*writable = i == 2 || (i == 1 && q->slots[slot].type == VIRTIO_BLK_T_IN);
	return front_device_address(&disk->memory, places[i]);
}

static void
offer_split(const struct crash_disk *disk, struct crash_queue *q, unsigned int slot)
{
	struct vring_desc *d = &q->ring.descriptor[PARTS * slot];
	uint16_t index = q->ring.avail[1];
	unsigned int i;

	for (i = 0; i < PARTS; i++) {
		bool writable;

		d[i].addr = part(disk, q, slot, i, &d[i].len, &writable);
		d[i].flags = (uint16_t)((writable ? VRING_DESC_F_WRITE : 0) |
			(i + 1 < PARTS ? VRING_DESC_F_NEXT : 0));
		d[i].next = (uint16_t)(PARTS * slot + i + 1);
	}
	q->ring.avail[2 + index % RING_SIZE] = (uint16_t)(PARTS * slot);
	__atomic_store_n(&q->ring.avail[1], (uint16_t)(index + 1), __ATOMIC_RELEASE);
}

static void
step(uint16_t *index, bool *wrap, uint16_t count)
{
	*index += count;
	if (*index >= RING_SIZE) {
		*index -= RING_SIZE;
		*wrap = !*wrap;
	}
}

static void
offer_packed(const struct crash_disk *disk, struct crash_queue *q, unsigned int slot)
{
	struct front_packed *first = &q->ring.packed[q->ring.next_avail];
	uint64_t first_word = 0;
	unsigned int i;

	for (i = 0; i < PARTS; i++) {
		struct front_packed *d = &q->ring.packed[q->ring.next_avail];
		uint32_t length;
		uint64_t flags, word;
		bool writable;

		d->address = part(disk, q, slot, i, &length, &writable);
		flags = (writable ? VRING_DESC_F_WRITE : 0) |
			(i + 1 < PARTS ? VRING_DESC_F_NEXT : 0) |
			(q->ring.avail_wrap ? PACKED_AVAIL : PACKED_USED);
		word = length | (uint64_t)slot << 32 | flags << 48;
		if (i == 0)
			first_word = word;
		else
			__atomic_store_n(&d->word, word, __ATOMIC_RELAXED);
		step(&q->ring.next_avail, &q->ring.avail_wrap, 1);
	}
	/* The device looks at the first one: the rest must be there when it is. */
	__atomic_store_n(&first->word, first_word, __ATOMIC_RELEASE);
}

static void
offer(struct crash_disk *disk, struct crash_queue *q, unsigned int slot)
{
	struct crash_slot *s = &q->slots[slot];
	uint8_t *data = q->data + slot * CRASH_BLOCK;

	s->busy = true;
	q->busy++;
	disk->locked[s->block] = true;
	q->headers[slot] = (struct virtio_blk_outhdr){ .type = s->type,
		.sector = (uint64_t)s->block * (CRASH_BLOCK / 512) };
	q->status[slot] = 0xff;
	if (s->type == VIRTIO_BLK_T_OUT)
		fill(data, s->block, s->generation);
	else
		memset(data, 0xee, CRASH_BLOCK);
	if (disk->packed)
		offer_packed(disk, q, slot);
	else
		offer_split(disk, q, slot);
}

void
crash_submit(struct crash_disk *disk, struct crash_queue *q)
{
	unsigned int i;

	for (i = 0; i < CRASH_DEPTH; i++) {
		uint32_t block = (uint32_t)(crash_random(disk) % CRASH_BLOCKS);
		bool write = crash_random(disk) % 4 != 0;

		if (q->slots[i].busy || disk->locked[block])
			continue;
		q->slots[i] = (struct crash_slot){
			.type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
			.block = block,
			.generation = write ? ++disk->last_generation : disk->generation[block],
		};
		offer(disk, q, i);
	}
}

bool
crash_read(struct crash_disk *disk, struct crash_queue *q, uint32_t block)
{
	unsigned int i;

	for (i = 0; i < CRASH_DEPTH; i++) {
		if (q->slots[i].busy)
			continue;
		q->slots[i] = (struct crash_slot){ .type = VIRTIO_BLK_T_IN, .block = block,
			.generation = disk->generation[block] };
		offer(disk, q, i);
		return true;
	}
	return false;
}

/* A request came back: is everything as it must be? */
static void
check(struct crash_disk *disk, struct crash_queue *q, unsigned int slot)
{
	struct crash_slot *s = &q->slots[slot];
	uint8_t expected[CRASH_BLOCK];
	const uint8_t *data = q->data + slot * CRASH_BLOCK;

	if (slot >= CRASH_DEPTH || !s->busy) {
		snprintf(disk->error, sizeof(disk->error), "slot %u was completed and is not under "
			"way: a request was done twice", slot);
		return;
	}
	if (q->status[slot] != VIRTIO_BLK_S_OK)
		snprintf(disk->error, sizeof(disk->error), "block %u: status %u of a %s", s->block,
			q->status[slot], s->type == VIRTIO_BLK_T_OUT ? "write" : "read");
	s->busy = false;
	q->busy--;
	disk->locked[s->block] = false;
	if (s->type == VIRTIO_BLK_T_OUT) {
		disk->generation[s->block] = s->generation;
		disk->writes++;
		return;
	}
	disk->reads++;
	fill(expected, s->block, s->generation);
	if (s->generation == 0)
		memset(expected, 0, sizeof(expected));
	if (memcmp(data, expected, CRASH_BLOCK) != 0) {
		uint64_t found[2];

		memcpy(found, data, sizeof(found));
		snprintf(disk->error, sizeof(disk->error), "block %u holds generation %" PRIu64
			" of block %" PRIu64 ", not %" PRIu64, s->block, found[1], found[0],
			s->generation);
	}
}

static unsigned int
collect_split(struct crash_disk *disk, struct crash_queue *q)
{
	uint16_t used = __atomic_load_n(&q->ring.used->idx, __ATOMIC_ACQUIRE);
	unsigned int count = 0;

	for (; q->used != used && disk->error[0] == '\0'; q->used++, count++)
		check(disk, q, q->ring.used->ring[q->used % RING_SIZE].id / PARTS);
	/* Where a new device begins. */
	q->ring.next_used = q->used;
	return count;
}

static unsigned int
collect_packed(struct crash_disk *disk, struct crash_queue *q)
{
	unsigned int count = 0;

	for (; disk->error[0] == '\0'; count++) {
		uint64_t word = __atomic_load_n(&q->ring.packed[q->ring.next_used].word,
			__ATOMIC_ACQUIRE);
		bool avail = word >> 48 & PACKED_AVAIL, used = word >> 48 & PACKED_USED;

		if (avail != used || used != q->ring.used_wrap)
			return count;
		check(disk, q, (unsigned int)(word >> 32) & 0xffff);
		step(&q->ring.next_used, &q->ring.used_wrap, PARTS);
	}
	return count;
}

unsigned int
crash_collect(struct crash_disk *disk, struct crash_queue *q)
{
	return disk->packed ? collect_packed(disk, q) : collect_split(disk, q);
}
