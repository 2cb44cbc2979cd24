/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stddef.h>

#include "ring/copied.h"
#include "ring/packed.h"
#include "ring/split.h"

typedef uint32_t word32_t __attribute__((may_alias));

static void
pull16(const struct vhu_alias *alias, const void *copied)
{
	vhu_guest_store16((void *)(uintptr_t)copied,
		vhu_guest_load16(vhu_alias_real(alias, copied)));
}

static void
push16(const struct vhu_alias *alias, const void *copied)
{
	vhu_guest_store16(vhu_alias_real(alias, copied), vhu_guest_load16(copied));
}

static void
pull32(const struct vhu_alias *alias, const void *copied)
{
	__atomic_store_n((word32_t *)(uintptr_t)copied,
		__atomic_load_n((const word32_t *)vhu_alias_real(alias, copied),
			__ATOMIC_RELAXED), __ATOMIC_RELAXED);
}

static void
push32(const struct vhu_alias *alias, const void *copied)
{
	__atomic_store_n((word32_t *)vhu_alias_real(alias, copied),
		__atomic_load_n((const word32_t *)copied, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
}

/* Two words, the way in which descriptors are read: by us, and by whoever asks ahead. */
static void
store_descriptor(const void *copied, struct vhu_descriptor d)
{
	vhu_packed_word_t *words = (vhu_packed_word_t *)(uintptr_t)copied;

	__atomic_store_n(&words[0], d.address, __ATOMIC_RELAXED);
	__atomic_store_n(&words[1], d.word, __ATOMIC_RELAXED);
}

/*
 * The descriptors of the chain that begins at @p index. What is wrong with it is for the burst to
 * find: here it ends.
 * @param budget  descriptors that may still be pulled. @return false: not enough of them.
 */
static bool
pull_chain(const struct vhu_snapshot *snapshot, uint16_t index, uint32_t *budget)
{
	while (index < snapshot->size) {
		const struct vring_desc *copied = &snapshot->descriptors[index];
		struct vhu_descriptor d =
			vhu_guest_descriptor(vhu_alias_real(snapshot->alias, copied));

		if (*budget == 0)
			return false;
		(*budget)--;
		store_descriptor(copied, d);
		if ((vhu_descriptor_flags(d) & (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT)) !=
		    VRING_DESC_F_NEXT)
			return true;
		index = vhu_descriptor_next(d);
	}
	return true;
}

static void
pull_split(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot)
{
	const struct vhu_alias *alias = snapshot->alias;
	struct vhu_alias_pulled *pulled = &snapshot->alias->pulled;
	/* A chain is never longer: it is pulled whole in one call, or it is a loop. */
	uint32_t budget = snapshot->size;
	uint16_t index = vhu_guest_acquire16(vhu_alias_real(alias, &snapshot->avail->idx));
	uint16_t count = (uint16_t)(index - pulled->next);

	/* One that moved back, or too far, is shown to the burst as it is. */
	if ((uint16_t)(index - ring->next_avail) > snapshot->size || count > snapshot->size) {
		vhu_guest_store16((void *)(uintptr_t)&snapshot->avail->idx, index);
		return;
	}
	for (; count != 0; count--, pulled->next++) {
		const void *entry = &snapshot->avail->ring[pulled->next & (snapshot->size - 1u)];
		const uint32_t before = budget;

		pull16(alias, entry);
		if (!pull_chain(snapshot, vhu_guest_load16(entry), &budget) &&
		    before != snapshot->size)
			break;
	}
	vhu_guest_store16((void *)(uintptr_t)&snapshot->avail->idx, pulled->next);
}

static void
pull_packed(const struct vhu_snapshot *snapshot)
{
	struct vhu_alias_pulled *pulled = &snapshot->alias->pulled;
	uint32_t budget;

	for (budget = snapshot->size; budget != 0; budget--) {
		const struct vring_packed_desc *copied = &snapshot->packed[pulled->next];
		struct vhu_descriptor d =
			vhu_packed_load_at(vhu_alias_real(snapshot->alias, copied));

		if (!vhu_packed_is_available(vhu_packed_flags(d), pulled->wrap))
			return;
		store_descriptor(copied, d);
		vhu_packed_advance(&pulled->next, &pulled->wrap, 1, snapshot->size);
	}
}

void
vhu_copied_pull(struct vhu_ring *ring, const struct vhu_snapshot *snapshot)
{
	struct vhu_alias_pulled *pulled = &snapshot->alias->pulled;

	/* Another copy may have been used before this one: what it had is pulled again. */
	if (!pulled->begun) {
		*pulled = (struct vhu_alias_pulled){ true, ring->avail_wrap, ring->next_avail };
		ring->avail_seen = ring->next_avail;
	}
	if (snapshot->format == VHU_PACKED)
		pull_packed(snapshot);
	else
		pull_split(ring, snapshot);
}

static void
push_split(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot, uint16_t next)
{
	struct vhu_alias *alias = snapshot->alias;

	for (; next != ring->next_used; next++) {
		const struct vring_used_elem *element =
			&snapshot->used->ring[next & (snapshot->size - 1u)];

		/* One by one: an element may have its halves in two pages. */
		push32(alias, &element->id);
		push32(alias, &element->len);
	}
	/* Partner: the driver's acquire of the index before it reads the elements. */
	vhu_guest_release16(vhu_alias_real(alias, &snapshot->used->idx), ring->next_used);
}

/* In packed rings used descriptors are where chains begin; the others have not changed. */
static void
push_packed(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot, struct vhu_walk old)
{
	struct vhu_alias *alias = snapshot->alias;
	uint16_t left = vhu_packed_distance(old, vhu_used_position(ring), snapshot->size);
	struct vhu_walk at = old;

	/* The first one last, which makes all of them visible at once. */
	while (--left != 0) {
		const vhu_packed_word_t *word;
		uint16_t flags;

		vhu_packed_advance(&at.next, &at.wrap, 1, snapshot->size);
		word = vhu_packed_word_at(snapshot, at.next);
		flags = (uint16_t)(*word >> 48);
		if (((flags & VHU_PACKED_USED) != 0) == at.wrap &&
		    ((flags & VHU_PACKED_AVAIL) != 0) == at.wrap)
			__atomic_store_n((vhu_packed_word_t *)vhu_alias_real(alias, word), *word,
				__ATOMIC_RELAXED);
	}
	/* Partner: the driver's acquire of the flags before it reads on. */
	__atomic_store_n((vhu_packed_word_t *)vhu_alias_real(alias,
			vhu_packed_word_at(snapshot, old.next)),
		*vhu_packed_word_at(snapshot, old.next), __ATOMIC_RELEASE);
}

void
vhu_copied_push(const struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct vhu_walk old)
{
	if (snapshot->format == VHU_PACKED)
		push_packed(ring, snapshot, old);
	else
		push_split(ring, snapshot, old.next);
	/*
	 * Partner: the driver's barrier between asking for interrupts and looking at what is used,
	 * as in vhu_ring_notify(), which looks at the copy.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (snapshot->format == VHU_PACKED) {
		pull32(snapshot->alias, snapshot->driver_event);
	} else {
		pull16(snapshot->alias, &snapshot->avail->flags);
		pull16(snapshot->alias, &snapshot->avail->ring[snapshot->size]);
	}
}

void
vhu_copied_push_wish(const struct vhu_snapshot *snapshot)
{
	if (snapshot->format == VHU_PACKED) {
		push32(snapshot->alias, snapshot->device_event);
	} else {
		push16(snapshot->alias, &snapshot->used->flags);
		push16(snapshot->alias, &snapshot->used->ring[snapshot->size]);
	}
}

static uint16_t
copied_burst(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, struct rte_mbuf **packets,
	uint16_t count)
{
	if (!vhu_ring_is_broken(ring))
		vhu_copied_pull(ring, snapshot);
	return snapshot->copied(ring, snapshot, packets, count);
}

void
vhu_copied_specialise(struct vhu_snapshot *snapshot)
{
	if (!vhu_ring_is_copied(snapshot))
		return;
	snapshot->copied = snapshot->burst;
	snapshot->burst = copied_burst;
	snapshot->peek = VHU_PEEK_NOT;
	/* The way by vhu_used_show(), also if there is nothing to note. */
	snapshot->dirty_ring = true;
}
