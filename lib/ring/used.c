/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "ring/chain_private.h"
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
}

void
vhu_used_publish(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, struct vhu_walk old)
{
	if (old.next == ring->next_used && old.wrap == ring->used_wrap)
		return;
	vhu_used_show(ring, snapshot, old);
	/*
	 * Without a call descriptor the guest polls: neither fence nor look at its flags is needed.
	 */
	if (snapshot->call_fd != -1)
		vhu_ring_notify(ring, snapshot, old);
}
