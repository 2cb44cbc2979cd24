/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stddef.h>

#include "mem/alias.h"
#include "mem/dirty.h"
#include "mem/inflight.h"
#include "ring/chain_private.h"
#include "ring/copied.h"
#include "ring/packed.h"
#include "ring/split.h"

/*
 * The driver looks at used descriptors one after the other: as long as the first of a burst has its
 * old flags, nothing behind it is seen.
 */
static void
write_packed(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	const struct vhu_chain *chain, uint32_t written)
{
	uint64_t word = vhu_packed_word(written, chain->id,
		vhu_packed_used_flags(ring->used_wrap, written != 0));

	if (!ring->held) {
		ring->held = true;
		ring->held_at = ring->next_used;
		ring->held_word = word;
	} else {
		__atomic_store_n(vhu_packed_word_at(snapshot, ring->next_used), word,
			__ATOMIC_RELAXED);
	}
	vhu_packed_advance(&ring->next_used, &ring->used_wrap, chain->slots, snapshot->size);
}

void
vhu_used_write(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	const struct vhu_chain *chains, const uint32_t *written, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		uint32_t length = written == NULL ? 0 : written[i];

		if (snapshot->format == VHU_PACKED)
			write_packed(ring, snapshot, &chains[i], length);
		else
			vhu_split_used(snapshot, ring->next_used++, chains[i].id, length);
	}
}

void
vhu_used_note(const struct vhu_snapshot *snapshot, struct vhu_dirty_cache *cache, const void *host,
	uint64_t size)
{
	const uint8_t *used = (const uint8_t *)snapshot->used;

	if (snapshot->alias != NULL)
		vhu_alias_note(snapshot->alias, snapshot->dirty, cache, host, size);
	/* The descriptor ring lies elsewhere than the address that the front-end gives. */
	else if (snapshot->format == VHU_PACKED)
		vhu_dirty_note_host(snapshot->dirty, cache, snapshot->space.map, host, size);
	else
		vhu_dirty_note(snapshot->dirty, cache,
			snapshot->used_guest_address + (uint64_t)((const uint8_t *)host - used),
			size);
}

/* Note a range of the circular array of used elements or descriptors, in at most two pieces. */
static void
note_array(const struct vhu_snapshot *snapshot, struct vhu_dirty_cache *cache, uint32_t at,
	uint32_t count)
{
	const bool packed = snapshot->format == VHU_PACKED;
	const uint8_t *array = packed ? (const uint8_t *)snapshot->packed :
		(const uint8_t *)snapshot->used->ring;
	const size_t element = packed ? sizeof(snapshot->packed[0]) :
		sizeof(struct vring_used_elem);
	uint32_t first = snapshot->size - at;

	if (first > count)
		first = count;
	vhu_used_note(snapshot, cache, array + at * element, first * element);
	if (first < count)
		vhu_used_note(snapshot, cache, array, (count - first) * element);
}

/* Note what was written to the ring since @p old. After it was: the index is among it. */
static void
note_used(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot, struct vhu_walk old)
{
	struct vhu_dirty_cache cache;
	uint32_t count;

	vhu_dirty_begin(&cache);
	if (snapshot->format == VHU_PACKED) {
		count = vhu_packed_distance(old, vhu_used_position(ring), snapshot->size);
		note_array(snapshot, &cache, old.next, count);
	} else {
		count = (uint16_t)(ring->next_used - old.next);
		note_array(snapshot, &cache, old.next & (snapshot->size - 1u), count);
		vhu_used_note(snapshot, &cache, &snapshot->used->idx,
			sizeof(snapshot->used->idx));
	}
	vhu_dirty_flush(snapshot->dirty, &cache);
}

void
vhu_used_show(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, struct vhu_walk old)
{
	if (old.next == ring->next_used && old.wrap == ring->used_wrap)
		return;
	if (snapshot->format == VHU_SPLIT) {
		/* Only we write this index: a plain release store, no locked instruction. */
		vhu_guest_release16(&snapshot->used->idx, ring->next_used);
	} else if (ring->held) {
		/* Partner: the driver's acquire of the flags before it reads on. */
		__atomic_store_n(vhu_packed_word_at(snapshot, ring->held_at), ring->held_word,
			__ATOMIC_RELEASE);
		ring->held = false;
	}
	if (__builtin_expect(!snapshot->dirty_ring, 1))
		return;
	if (vhu_ring_is_copied(snapshot))
		vhu_copied_push(ring, snapshot, old);
	if (snapshot->dirty != NULL)
		note_used(ring, snapshot, old);
}

/* The same, with the in-flight area kept up to date: nothing is in flight before or after. */
static __attribute__((noinline, cold)) void
show_tracked(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, struct vhu_walk old)
{
	if (snapshot->format == VHU_PACKED)
		vhu_inflight_packed_begin(snapshot->inflight, ring->next_used, ring->used_wrap);
	vhu_used_show(ring, snapshot, old);
	if (snapshot->format == VHU_PACKED)
		vhu_inflight_packed_end(snapshot->inflight, ring->next_used, ring->used_wrap);
	else
		vhu_inflight_split_used(snapshot->inflight, ring->next_used);
}

void
vhu_used_publish(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, struct vhu_walk old)
{
	if (old.next == ring->next_used && old.wrap == ring->used_wrap)
		return;
	if (__builtin_expect(snapshot->inflight != NULL, 0))
		show_tracked(ring, snapshot, old);
	else
		vhu_used_show(ring, snapshot, old);
	/*
	 * Without a call descriptor the guest polls: neither fence nor look at its flags is needed.
	 */
	if (snapshot->call_fd != -1)
		vhu_ring_notify(ring, snapshot, old);
}
