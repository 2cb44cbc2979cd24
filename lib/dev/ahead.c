/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "dev/device_private.h"
#include "ring/packed.h"
#include "ring/split.h"

/*
 * Asking for translations before they are missed. An answer takes the front-end a turn of its loop;
 * a frame that meets a buffer without translation is mostly dropped, and one that lies in many
 * pages would wait for them one after the other. So the control thread looks at the buffers behind
 * the lcore's position as well and asks for what they miss.
 *
 * It reads what lcores read, and decides nothing: a descriptor that makes no sense is left to the
 * lcore, which breaks the ring. It does not ask for what the driver has unmapped, which would be a
 * fault in the guest: a buffer that misses a translation cannot have been used, and translations go
 * on this thread only.
 */

#define PAGE_SIZE UINT64_C(4096)

/* Most pages that are asked for at once for one ring. */
#define PAGES_MAX 64

struct view {
	struct vhu_device *device;
	const struct vhu_snapshot *snapshot;
	unsigned int pages; /* that may still be asked for */
};

/* @return whether all of the range is known. */
static bool
look_range(struct view *view, uint64_t address, uint64_t length, uint8_t access)
{
	uint64_t done = 0;
	bool known = true;

	if (address + length < address)
		return false;
	while (done < length && view->pages != 0) {
		uint64_t size = length - done, user, at = address + done;

		if (!vhu_iotlb_user(view->snapshot->space.iotlb, at, &size,
				(enum vhu_access)access, &user)) {
			known = false;
			view->pages--;
			if (!vhu_iotlb_ask(view->device, at, access))
				view->pages = 0;
			size = PAGE_SIZE - at % PAGE_SIZE;
		}
		done += size;
	}
	return known && done >= length;
}

static uint16_t
flags_of(const struct view *view, struct vhu_descriptor d)
{
	return view->snapshot->format == VHU_PACKED ? vhu_packed_flags(d) :
		vhu_descriptor_flags(d);
}

static void
look_buffer(struct view *view, struct vhu_descriptor d, bool reads)
{
	bool writable = (flags_of(view, d) & VRING_DESC_F_WRITE) && !reads;

	(void)look_range(view, d.address, vhu_descriptor_length(d),
		writable ? VHU_WRITE : VHU_READ);
}

/* All entries of a table that a descriptor points to, in whatever order they are linked. */
static void
look_table(struct view *view, struct vhu_descriptor table)
{
	const uint32_t entry_size = sizeof(struct vring_desc);
	uint32_t length = vhu_descriptor_length(table), i;
	struct vhu_hint hint = { 0 };

	if (length > PAGE_SIZE * 4 || !look_range(view, table.address, length, VHU_READ))
		return;
	for (i = 0; i + entry_size <= length && view->pages != 0; i += entry_size) {
		uint64_t size = entry_size;
		const uint8_t *host = vhu_translate(&view->snapshot->space, &hint,
			table.address + i, &size, VHU_READ);

		/* In pieces, or not aligned: rare enough to be left to the lcore. */
		if (host == NULL || size != entry_size || ((uintptr_t)host & 7) != 0)
			return;
		look_buffer(view,
			view->snapshot->format == VHU_PACKED ?
			vhu_packed_load_at((const struct vring_packed_desc *)host) :
			vhu_guest_descriptor((const struct vring_desc *)host),
			view->snapshot->reads_tables);
	}
}

static void
look_descriptor(struct view *view, struct vhu_descriptor d)
{
	if (flags_of(view, d) & VRING_DESC_F_INDIRECT)
		look_table(view, d);
	else
		look_buffer(view, d, false);
}

/* @param left  descriptors that may still be looked at. */
static void
look_chain(struct view *view, uint16_t index, unsigned int *left)
{
	while (index < view->snapshot->size && *left != 0 && view->pages != 0) {
		struct vhu_descriptor d =
			vhu_guest_descriptor(&view->snapshot->descriptors[index]);

		(*left)--;
		look_descriptor(view, d);
		if (!(vhu_descriptor_flags(d) & VRING_DESC_F_NEXT))
			return;
		index = vhu_descriptor_next(d);
	}
}

static void
look_split(struct view *view, uint16_t next)
{
	unsigned int left = 2 * VHU_RING_AHEAD, i;
	uint16_t end;

	end = vhu_guest_acquire16(&view->snapshot->avail->idx);
	if ((uint16_t)(end - next) > view->snapshot->size)
		return;
	for (i = 0; i < VHU_RING_AHEAD && next != end && left != 0 && view->pages != 0; i++)
		look_chain(view, vhu_split_head(view->snapshot, next++), &left);
}

static void
look_packed(struct view *view, uint16_t next, bool wrap)
{
	unsigned int i;

	if (next >= view->snapshot->size)
		return;
	for (i = 0; i < VHU_RING_AHEAD && view->pages != 0; i++) {
		struct vhu_descriptor d = vhu_packed_load(view->snapshot, next);

		if (!vhu_packed_is_available(vhu_packed_flags(d), wrap))
			return;
		look_descriptor(view, d);
		vhu_packed_advance(&next, &wrap, 1, view->snapshot->size);
	}
}

void
vhu_ring_ask_ahead(struct vhu_device *device, const struct vhu_device_ring *ring)
{
	struct view view = { .device = device, .pages = PAGES_MAX };
	uint32_t place;

	if (ring->published == NULL || !vhu_ring_alive(ring))
		return;
	view.snapshot = &ring->published->snapshot;
	/* A ring that notes its place only when it misses has it right only then. */
	if (view.snapshot->space.iotlb == NULL || (!view.snapshot->notes_place &&
	    /* Partner: the release store in vhu_ring_miss(). */
	    atomic_load_explicit(&ring->lcore->miss, memory_order_acquire) == 0))
		return;
	place = atomic_load_explicit(&ring->lcore->place, memory_order_relaxed);
	if (view.snapshot->format == VHU_PACKED)
		look_packed(&view, (uint16_t)place, place & VHU_PLACE_WRAP);
	else
		look_split(&view, (uint16_t)place);
}
