/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "ring/chain_private.h"
#include "ring/element_direct.h"
#include "ring/element_private.h"
#include "ring/packed.h"

/* The next element that a predecessor left: its descriptors are walked, the ring is not. */
static enum vhu_found
look_again(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot, uint16_t which,
	struct iovec *segments, uint32_t room, struct vhu_chain *chain)
{
	const struct vhu_chain_build build = { &queue->ring, snapshot, segments, room, chain };
	const struct vhu_inflight_chain *again = &queue->again[which];
	enum vhu_found found = VHU_FOUND_CHAIN;
	uint16_t i;

	*chain = (struct vhu_chain){ .id = again->head, .slots = 1 };
	if (vhu_ring_is_broken(&queue->ring))
		return VHU_FOUND_STOP;
	if (snapshot->format == VHU_SPLIT)
		return vhu_split_add(&build, again->head);
	chain->slots = 0;
	for (i = 0; i < again->place.count && found == VHU_FOUND_CHAIN; i++) {
		const struct vhu_inflight_copy *copy = &queue->copies[again->copy + i];

		found = vhu_packed_add(&build, (struct vhu_descriptor){ copy->address,
			vhu_packed_word(copy->length, copy->id, copy->flags) }, again->head);
	}
	return found;
}

/* Copy a chain to the in-flight area: its descriptors may be gone when it has to be done again. */
static void
track(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	const struct vhu_chain *chain, struct vhu_element_slot *slot)
{
	uint16_t index = queue->ring.next_avail, i;

	if (snapshot->format == VHU_SPLIT) {
		vhu_inflight_split_take(snapshot->inflight, chain->id, queue->counter++);
		return;
	}
	slot->place = (struct vhu_inflight_place){ 0 };
	for (i = 0; i < chain->slots; i++) {
		struct vhu_descriptor d = vhu_packed_load(snapshot, index);
		struct vhu_inflight_copy copy = { d.address, vhu_descriptor_length(d),
			vhu_packed_id(d), vhu_packed_flags(d) };

		vhu_inflight_packed_add(snapshot->inflight, &queue->free, &slot->place, &copy);
		index = index + 1 == queue->size ? 0 : (uint16_t)(index + 1);
	}
	vhu_inflight_packed_take(snapshot->inflight, &queue->free, &slot->place,
		queue->counter++);
}

/* Remember an element. @return false if its id is in flight already: the ring is broken then. */
static bool
remember(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot, bool again,
	struct vhu_element *element)
{
	const struct vhu_chain *chain = &element->chain;
	struct vhu_element_slot *slot = &queue->slots[chain->id];

	if (slot->state != VHU_ELEMENT_NONE ||
	    chain->slots > queue->size - queue->in_flight_slots) {
		vhu_ring_break(&queue->ring, VHU_BROKEN_REUSED, chain->id);
		return false;
	}
	element->sequence = (uint32_t)queue->taken;
	slot->sequence = element->sequence;
	slot->room = chain->writable_size < UINT32_MAX ? (uint32_t)chain->writable_size :
		UINT32_MAX;
	slot->slots = chain->slots;
	slot->state = VHU_ELEMENT_TAKEN;
	slot->marks = again ? VHU_ELEMENT_AGAIN : 0;
	if (again)
		slot->place = queue->again[queue->again_next++].place;
	else if (snapshot->inflight != NULL)
		track(queue, snapshot, chain, slot);
	queue->order[vhu_element_place(queue, queue->taken++)] = chain->id;
	queue->in_flight++;
	queue->in_flight_slots += chain->slots;
	return true;
}

/* With event indices the driver kicks once: ask for the next. @return true if it has come. */
static bool
ask_again(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot)
{
	return queue->ring.kick_wanted &&
		vhu_snapshot_has(snapshot, VIRTIO_RING_F_EVENT_IDX) &&
		vhu_ring_want_kicks(&queue->ring, snapshot, true);
}

/* Take one. */
static enum vhu_found
take(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	struct vhu_element *element, uint32_t room)
{
	bool again = queue->again_next < queue->again_count;
	struct vhu_walk walk = vhu_walk_begin(&queue->ring);
	enum vhu_found found;

	found = again ? look_again(queue, snapshot, queue->again_next, element->segments, room,
			&element->chain) :
		vhu_chain_look(&queue->ring, snapshot, &walk, element->segments, room,
			&element->chain);
	if (found != VHU_FOUND_CHAIN)
		return found;
	if (!remember(queue, snapshot, again, element))
		return VHU_FOUND_STOP;
	vhu_walk_take(&queue->ring, &walk);
	return found;
}

/* Before anything of the ring is touched in a call. @return false if nothing may be. */
static bool
enter(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot)
{
	if (snapshot->size == 0 || snapshot->size != queue->size)
		return false; /* parked */
	if (queue->ring.phase == VHU_RING_FRESH)
		vhu_ring_begin(&queue->ring, snapshot);
	vhu_hint_check(&snapshot->space, &queue->ring.hint);
	return true;
}

/* Is the ring disabled? Partner: the grace period after the control thread's store. */
static bool
closed(const struct vhu_element_queue *queue)
{
	return atomic_load_explicit(&queue->ring.closed, memory_order_relaxed);
}

static uint16_t
take_many(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	struct vhu_element *elements, uint16_t count, struct iovec *segments, uint32_t room)
{
	uint16_t n = 0, asked = UINT16_MAX;

	while (n < count) {
		enum vhu_found found;

		elements[n].segments = segments;
		found = take(queue, snapshot, &elements[n], room);
		if (found == VHU_FOUND_CHAIN) {
			uint32_t used = (uint32_t)elements[n].chain.readable +
				elements[n].chain.writable;

			segments += used;
			room -= used;
			n++;
			continue;
		}
		/* Once for each element taken: a driver that plays with its index ends there. */
		if (found != VHU_FOUND_NONE || asked == n || !ask_again(queue, snapshot))
			return n;
		asked = n;
	}
	/* Whoever takes no more than this wants to be kicked for the next one, too. */
	(void)ask_again(queue, snapshot);
	return n;
}

void
vhu_direct_renew(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot)
{
	const struct vhu_ring *ring = &queue->ring;
	bool open = snapshot->format == VHU_SPLIT && snapshot->size == queue->size &&
		snapshot->inflight == NULL && !snapshot->in_order && snapshot->dirty == NULL &&
		snapshot->space.iotlb == NULL && ring->phase != VHU_RING_FRESH &&
		queue->fill == queue->fill_end && queue->again_next == queue->again_count &&
		ring->hint.generation == snapshot->space.map->generation &&
		/* Kicks are asked for again after each look, which is no short way. */
		!(ring->kick_wanted && vhu_snapshot_has(snapshot, VIRTIO_RING_F_EVENT_IDX));

	atomic_store_explicit(&queue->open,
		open && snapshot->serial != 0 ? snapshot->serial : VHU_DIRECT_NEVER,
		memory_order_relaxed);
}

uint16_t
vhu_elements_take(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	struct vhu_element *elements, uint16_t count, struct iovec *segments, uint32_t room)
{
	uint16_t n;

	if (!enter(queue, snapshot) || closed(queue))
		return 0;
	n = take_many(queue, snapshot, elements, count, segments, room);
	vhu_direct_renew(queue, snapshot);
	return n;
}

/* The last @p count entries of the order are all in flight, and none was taken again since. */
static bool
may_untake(const struct vhu_element_queue *queue, uint16_t count)
{
	uint16_t i;

	if (count > queue->in_flight)
		return false;
	for (i = 1; i <= count; i++) {
		uint64_t n = queue->taken - i;
		const struct vhu_element_slot *slot =
			&queue->slots[queue->order[vhu_element_place(queue, n)]];

		if (slot->state != VHU_ELEMENT_TAKEN || slot->sequence != (uint32_t)n)
			return false;
	}
	return true;
}

/* Nobody has it any more; the driver still offers it. */
static void
untrack(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot, uint16_t id,
	const struct vhu_element_slot *slot)
{
	if (snapshot->inflight == NULL)
		return;
	if (snapshot->format == VHU_SPLIT) {
		vhu_inflight_split_clear(snapshot->inflight, id);
		return;
	}
	vhu_inflight_packed_link(snapshot->inflight, &queue->free, &slot->place);
	vhu_inflight_packed_clear(snapshot->inflight, &slot->place);
	vhu_inflight_packed_settle(snapshot->inflight, &queue->free);
}

static void
step_back(struct vhu_ring *ring, const struct vhu_snapshot *snapshot, uint16_t slots)
{
	if (snapshot->format == VHU_SPLIT) {
		ring->next_avail--;
		return;
	}
	if (ring->next_avail < slots) {
		ring->next_avail += snapshot->size;
		ring->avail_wrap = !ring->avail_wrap;
	}
	ring->next_avail -= slots;
}

bool
vhu_elements_untake(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	uint16_t count)
{
	uint16_t i;

	if (snapshot->size == 0 || !may_untake(queue, count))
		return false;
	vhu_direct_close(queue); /* elements of a predecessor may be next */
	for (i = 0; i < count; i++) {
		uint16_t id = queue->order[vhu_element_place(queue, --queue->taken)];
		struct vhu_element_slot *slot = &queue->slots[id];

		/* What a predecessor left is not in the ring: it is the next to be done again. */
		if (slot->marks & VHU_ELEMENT_AGAIN) {
			queue->again_next--;
		} else {
			untrack(queue, snapshot, id, slot);
			step_back(&queue->ring, snapshot, slot->slots);
		}
		slot->state = VHU_ELEMENT_NONE;
		queue->in_flight--;
		queue->in_flight_slots -= slot->slots;
	}
	return true;
}

bool
vhu_elements_waiting(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot)
{
	if (snapshot->size == 0 || vhu_ring_is_broken(&queue->ring) || closed(queue))
		return false;
	return queue->again_next < queue->again_count ||
		vhu_ring_any_waiting(&queue->ring, snapshot);
}

bool
vhu_elements_want_kicks(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	bool wanted)
{
	queue->ring.kick_wanted = wanted;
	vhu_direct_close(queue);
	if (!enter(queue, snapshot))
		return false;
	(void)vhu_ring_want_kicks(&queue->ring, snapshot, wanted);
	return wanted && vhu_elements_waiting(queue, snapshot);
}

void
vhu_elements_sum(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	struct iovec *segments, uint64_t *readable, uint64_t *writable, uint64_t readable_limit,
	uint64_t writable_limit)
{
	struct vhu_walk walk = vhu_walk_begin(&queue->ring);
	uint16_t again = queue->again_next;

	*readable = 0;
	*writable = 0;
	if (!enter(queue, snapshot))
		return;
	while (*readable < readable_limit || *writable < writable_limit) {
		struct vhu_chain chain;
		enum vhu_found found = again < queue->again_count ?
			look_again(queue, snapshot, again++, segments, VHU_SEGMENTS_MAX, &chain) :
			vhu_chain_look(&queue->ring, snapshot, &walk, segments, VHU_SEGMENTS_MAX,
				&chain);

		if (found != VHU_FOUND_CHAIN)
			break;
		*readable += chain.readable_size;
		*writable += chain.writable_size;
	}
	if (!vhu_ring_is_broken(&queue->ring))
		return;
	*readable = 0;
	*writable = 0;
}

bool
vhu_elements_find(const struct vhu_element_queue *queue, uint16_t id, struct vhu_element *element)
{
	if (id >= queue->size || queue->slots[id].state != VHU_ELEMENT_TAKEN)
		return false;
	*element = (struct vhu_element){
		.chain.id = id,
		.chain.slots = queue->slots[id].slots,
		.sequence = queue->slots[id].sequence,
	};
	return true;
}

bool
vhu_elements_again(struct vhu_element_queue *queue, const struct vhu_snapshot *snapshot,
	struct vhu_element *element, struct iovec *segments)
{
	struct vhu_chain chain = { .id = element->chain.id, .slots = 1 };
	const struct vhu_chain_build build = { &queue->ring, snapshot, segments, VHU_SEGMENTS_MAX,
		&chain };

	if (!enter(queue, snapshot) || snapshot->format != VHU_SPLIT ||
	    vhu_split_add(&build, chain.id) != VHU_FOUND_CHAIN)
		return false;
	element->chain = chain;
	element->segments = segments;
	return true;
}
