/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Commands of a hostile driver. Input: features (8), queue pairs (1), then commands: room for an
 * answer (2), length (2), that many bytes. Each is run from a copy that ends where the sanitizer
 * sees; afterwards the wishes must be sound, and the same again on another host.
 */

#include "ctrl/statistics.h"
#include "wishes.h"

static void
read_nothing(const void *owner, uint16_t ring, struct vhu_queue_stats *stats)
{
	const struct vhu_wishes *wishes = owner;

	FUZZ_REQUIRE(ring < 2 * wishes->queue_pairs);
	memset(stats, 0x11, sizeof(*stats));
}

/* Parts must follow each other up to the end, each as long as it says. */
static void
require_parts(const struct vhu_statistics_answer *answer)
{
	size_t at, size;

	for (at = 0; at < answer->size; at += size) {
		FUZZ_REQUIRE(answer->size - at >= 8);
		size = (size_t)answer->bytes[at + 6] | (size_t)answer->bytes[at + 7] << 8;
		FUZZ_REQUIRE(size >= 16 && size <= answer->size - at);
	}
}

static void
run_statistics(const struct vhu_wishes *wishes, const uint8_t *bytes, size_t size, size_t room)
{
	static struct vhu_statistics_answer answer;
	const struct vhu_statistics_source source = {
		.control = 2 * wishes->queue_pairs,
		.read = read_nothing,
		.owner = wishes,
	};
	uint8_t status;

	if (size < 2)
		return;
	answer.room = room;
	status = vhu_statistics_run(&source, bytes[1], bytes + 2, size - 2, &answer);
	FUZZ_REQUIRE(status <= 1 && answer.size <= room);
	FUZZ_REQUIRE(status == VIRTIO_NET_OK || answer.size == 0);
	if (bytes[1] == VHU_NET_CTRL_STATS_GET)
		require_parts(&answer);
}

/* What was asked for goes to another host and is the same there. */
static void
require_movable(const struct vhu_wishes *wishes)
{
	static struct vhu_wishes_saved saved, again;
	struct vhu_wishes other;

	vhu_wishes_init(&other, wishes->features, wishes->queue_pairs);
	vhu_wishes_save(wishes, &saved);
	FUZZ_REQUIRE(vhu_wishes_load(&other, &saved));
	require_sound_wishes(&other);
	vhu_wishes_save(&other, &again);
	FUZZ_REQUIRE(memcmp(&saved, &again, sizeof(saved)) == 0);
}

static void
run(struct vhu_wishes *wishes, struct fuzz_input *input)
{
	struct vhu_wishes before = *wishes;
	uint16_t room = fuzz_take16(input), wanted = fuzz_take16(input);
	size_t size = wanted < input->left ? wanted : input->left;
	uint8_t *command = malloc(size), status;

	FUZZ_REQUIRE(command != NULL || size == 0);
	fuzz_take(input, command, size);
	run_statistics(wishes, command, size, room);
	status = vhu_command_run(wishes, command, size);
	free(command);
	FUZZ_REQUIRE(status == VIRTIO_NET_OK || status == VIRTIO_NET_ERR);
	if (status == VIRTIO_NET_ERR)
		FUZZ_REQUIRE(memcmp(&before, wishes, sizeof(before)) == 0);
	require_sound_wishes(wishes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fuzz_input input = { bytes, size };
	uint64_t features = fuzz_take64(&input);
	static struct vhu_wishes wishes;

	vhu_wishes_init(&wishes, features, 1 + fuzz_take8(&input) % 127);
	require_sound_wishes(&wishes);
	while (input.left != 0)
		run(&wishes, &input);
	require_movable(&wishes);
	return 0;
}
