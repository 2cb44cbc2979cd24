/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * The state of a device as another host, which nobody vouches for, sends it. Input: control queue
 * or not (1), queue pairs (1), features (8), how many bytes of a good state are changed (1), those
 * changes (position 2, value 1), how many bytes are cut off (2); then, if anything is left, it is
 * the state instead. What is refused changes nothing; what is taken is sound.
 */

#include "ctrl/connection.h"
#include "ctrl/control_queue.h"
#include "ctrl/events.h"
#include "ctrl/state.h"
#include "wishes.h"

#define MTU_MIN 68

static struct vhu_port port;

/* What the state reaches of a port besides its data: nothing of it is there. */
const struct vhu_device_ops vhu_connection_device_ops;

void
vhu_events_tell(struct vhu_port *told, enum vhu_event_type type, uint16_t ring, uint64_t value)
{
	FUZZ_REQUIRE(told == &port && type == VHU_EVENT_MTU && ring == UINT16_MAX);
	FUZZ_REQUIRE(value == port.mtu);
}

void
vhu_control_queue_restored(struct vhu_port *restored)
{
	FUZZ_REQUIRE(restored == &port);
	require_sound_wishes(&port.wishes);
}

void
vhu_control_queue_reset(struct vhu_port *reset)
{
	FUZZ_REQUIRE(reset == &port);
}

void
vhu_control_lock(void)
{
}

void
vhu_control_unlock(void)
{
}

/* @return the state of the port as it is, to be freed. */
static uint8_t *
save(size_t *size)
{
	uint8_t *bytes = NULL;

	FUZZ_REQUIRE(vhu_state_save(&port, &bytes, size) == 0 && bytes != NULL);
	return bytes;
}

static void
load(const uint8_t *bytes, size_t size)
{
	struct vhu_wishes before = port.wishes;
	uint16_t mtu = port.mtu;
	size_t saved_size, again_size;
	uint8_t *saved, *again;

	if (vhu_state_load(&port, bytes, size) != 0) {
		FUZZ_REQUIRE(memcmp(&before, &port.wishes, sizeof(before)) == 0);
		FUZZ_REQUIRE(port.mtu == mtu);
		return;
	}
	require_sound_wishes(&port.wishes);
	FUZZ_REQUIRE(port.mtu == 0 || port.mtu >= MTU_MIN);
	/* It goes on from here to the next host. */
	saved = save(&saved_size);
	FUZZ_REQUIRE(vhu_state_load(&port, saved, saved_size) == 0);
	again = save(&again_size);
	FUZZ_REQUIRE(again_size == saved_size && memcmp(again, saved, saved_size) == 0);
	free(saved);
	free(again);
}

/* A good state with some bytes changed and its end cut off. */
static void
load_changed(struct fuzz_input *input)
{
	size_t size;
	uint8_t *bytes = save(&size), *exact;
	uint8_t changes = fuzz_take8(input);

	while (changes-- != 0) {
		uint16_t at = fuzz_take16(input);

		bytes[at % size] = fuzz_take8(input);
	}
	size -= fuzz_take16(input) % (size + 1);
	exact = malloc(size);
	FUZZ_REQUIRE(exact != NULL || size == 0);
	memcpy(exact, bytes, size);
	load(exact, size);
	free(exact);
	free(bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fuzz_input input = { bytes, size };
	bool control = fuzz_take8(&input) & 1;
	uint16_t pairs = 1 + fuzz_take8(&input) % 127;

	memset(&port, 0, sizeof(port));
	port.options.offers = control ? VHU_OFFER_BIT(CONTROL_QUEUE) : 0;
	port.options.queue_pairs = pairs;
	vhu_wishes_init(&port.wishes, fuzz_take64(&input), pairs);
	load_changed(&input);
	if (input.left != 0)
		load(input.bytes, input.left);
	return 0;
}
