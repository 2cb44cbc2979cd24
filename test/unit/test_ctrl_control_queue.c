/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* The control queue served by the port, with a driver that writes its commands into a ring. */

#include "control_rig.h"

static void
features_of_the_control_queue_are_offered(void **state)
{
	const uint64_t wanted = VHU_BIT(VIRTIO_NET_F_CTRL_VQ) | VHU_BIT(VIRTIO_NET_F_CTRL_RX) |
		VHU_BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) | VHU_BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) |
		VHU_BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | VHU_BIT(VIRTIO_NET_F_MQ) |
		VHU_BIT(VHU_NET_F_RSS) | VHU_BIT(VHU_NET_F_HASH_REPORT);
	struct vhu_port_info info;

	(void)state;
	vhu_port_info(port, &info);
	assert_true((info.features_offered & wanted) == wanted);
	assert_true(info.control_queue);
}

static void
ring_is_the_one_behind_the_last_pair(void **state)
{
	(void)state;
	assert_int_equal(RUN(0, 0, 1), OK);
	/* Without MQ only one pair is used, however many there are. */
	connect_again(state, ALL_FEATURES & ~(VHU_BIT(VIRTIO_NET_F_MQ) | VHU_BIT(VHU_NET_F_RSS)));
	assert_int_equal(RUN(0, 0, 0), OK);
	assert_false(filter().promiscuous);
	/* A ring of the application otherwise: it moves nothing there. */
	assert_int_equal(vhu_tx_burst(vhu_port_tx_queue(port, 1), NULL, 0), 0);
}

static void
kick_is_served_at_once(void **state)
{
	uint64_t index = control;
	int kick = eventfd(0, EFD_CLOEXEC);
	unsigned int slow = 0;

	(void)state;
	front_end_send(&front_end, VHU_SET_VRING_KICK, &index, sizeof(index), kick);
	front_end_ask_u64(&front_end, VHU_GET_FEATURES);
	memcpy(memory + COMMAND_AT, (uint8_t[]){ 0, 0, 1 }, 3);
	descriptors()[0] = (struct vring_desc){ COMMAND_AT, 3, VRING_DESC_F_NEXT, 1 };
	descriptors()[1] = (struct vring_desc){ STATUS_AT, 1, VRING_DESC_F_WRITE, 0 };
	/* Looking once a step would take 50 ms nearly each time. */
	for (unsigned int i = 0; i < 20; i++) {
		submit();
		assert_int_equal(eventfd_write(kick, 1), 0);
		slow += wait_used() > 40;
	}
	assert_true(slow < 10);
	close(kick);
}

static void
receive_modes_are_set_one_by_one(void **state)
{
	(void)state;
	assert_true(filter().promiscuous);
	assert_int_equal(RUN(0, 0, 0), OK);
	assert_false(filter().promiscuous);
	assert_int_equal(RUN(0, 1, 1), OK);
	assert_true(filter().all_multicast);
	assert_int_equal(RUN(0, 2, 1), OK);
	assert_true(filter().all_unicast);
	assert_int_equal(RUN(0, 3, 1), OK);
	assert_true(filter().no_multicast);
	assert_int_equal(RUN(0, 4, 1), OK);
	assert_true(filter().no_unicast);
	assert_int_equal(RUN(0, 5, 1), OK);
	assert_true(filter().no_broadcast);
	assert_int_equal(RUN(0, 5, 0), OK);
	assert_false(filter().no_broadcast);
}

static void
addresses_are_kept(void **state)
{
	static const uint8_t ours[] = { 2, 0, 0, 0, 0, 1 }, group[] = { 0x33, 0x33, 0, 0, 0, 1 };
	struct vhu_filter now;

	(void)state;
	assert_int_equal(RUN(1, 1, 2, 0, 0, 0, 0, 1), OK);
	assert_int_equal(RUN(1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x33, 0x33, 0, 0, 0, 1), OK);
	now = filter();
	assert_true(now.address_known);
	assert_memory_equal(now.address, ours, 6);
	assert_int_equal(now.unicast_count, 0);
	assert_int_equal(now.multicast_count, 1);
	assert_memory_equal(now.multicast[0], group, 6);
}

static void
table_with_more_addresses_than_are_kept_lets_all_pass(void **state)
{
	static uint8_t table[2 + 4 + 5000 * 6 + 4] = { 1, 0, 5000 & 0xff, 5000 >> 8 };
	struct vhu_filter now;

	(void)state;
	assert_int_equal(run(table, sizeof(table)), OK);
	now = filter();
	assert_true(now.unicast_overflow);
	assert_false(now.multicast_overflow);
	assert_int_equal(now.unicast_count, 0);
}

static void
vlans_come_and_go(void **state)
{
	(void)state;
	assert_true(filter().vlan_filter);
	assert_int_equal(RUN(2, 0, 0xff, 0x0f), OK);
	assert_true(filter().vlans[63] == UINT64_C(1) << 63);
	assert_int_equal(RUN(2, 1, 0xff, 0x0f), OK);
	assert_true(filter().vlans[63] == 0);
	assert_int_equal(RUN(2, 0, 0x00, 0x10), ERR);
}

static void
pairs_are_bounded(void **state)
{
	(void)state;
	assert_int_equal(steering().pairs, 1);
	assert_int_equal(RUN(4, 0, PAIRS, 0), OK);
	assert_int_equal(steering().pairs, PAIRS);
	assert_int_equal(RUN(4, 0, 0, 0), ERR);
	assert_int_equal(RUN(4, 0, PAIRS + 1, 0), ERR);
	assert_int_equal(RUN(4, 0, 0xff, 0xff), ERR);
	assert_int_equal(steering().pairs, PAIRS);
}

/* A table of 4 entries, unclassified frames to pair 2, key of 40 bytes. */
static uint8_t rss_command[2 + 4 + 2 + 2 + 8 + 2 + 1 + 40] = { 4, 1, 0x3f, 0, 0, 0, 3, 0, 2, 0,
	3, 0, 2, 0, 1, 0, 0, 0, PAIRS, 0, 40,
	/* The key of the examples that verify a Toeplitz hash. */
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
	0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
	0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa };

static void
rss_is_kept(void **state)
{
	struct vhu_steering now;

	(void)state;
	assert_int_equal(run(rss_command, sizeof(rss_command)), OK);
	now = steering();
	assert_true(now.rss && now.report);
	assert_int_equal(now.types, 0x3f);
	assert_int_equal(now.table_size, 4);
	assert_int_equal(now.table[0], 3);
	assert_int_equal(now.table[3], 0);
	assert_int_equal(now.unclassified, 2);
	assert_int_equal(now.pairs, PAIRS);
	assert_memory_equal(now.key, rss_command + 21, 40);
}

/* The command with one byte changed. */
static uint8_t
rss_with(unsigned int at, uint8_t value)
{
	uint8_t changed[sizeof(rss_command)];

	memcpy(changed, rss_command, sizeof(changed));
	changed[at] = value;
	return run(changed, sizeof(changed));
}

static void
rss_out_of_range_is_refused(void **state)
{
	(void)state;
	assert_int_equal(rss_with(4, 1), ERR);      /* a type that there is not */
	assert_int_equal(rss_with(6, 2), ERR);      /* a table of three */
	assert_int_equal(rss_with(7, 0xff), ERR);   /* a table longer than offered */
	assert_int_equal(rss_with(8, PAIRS), ERR);  /* unclassified to nowhere */
	assert_int_equal(rss_with(10, PAIRS), ERR); /* an entry to nowhere */
	assert_int_equal(rss_with(18, 0), ERR);     /* no pair */
	assert_int_equal(rss_with(20, 41), ERR);    /* a key longer than offered */
	assert_int_equal(rss_with(20, 39), ERR);    /* something behind the key */
	assert_int_equal(run(rss_command, 30), ERR);
	assert_false(steering().rss);
}

static void
malformed_commands_are_refused_and_change_nothing(void **state)
{
	struct vhu_filter before = filter(), after;

	(void)state;
	assert_int_equal(RUN(0), ERR);
	assert_int_equal(RUN(0, 0), ERR);
	assert_int_equal(RUN(0, 0, 0, 0), ERR);
	assert_int_equal(RUN(0, 6, 0), ERR);
	assert_int_equal(RUN(1, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0), ERR);
	assert_int_equal(RUN(1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 1), ERR);
	assert_int_equal(RUN(1, 1, 2, 0, 0, 0, 0), ERR);
	assert_int_equal(RUN(1, 1, 1, 0, 0, 0, 0, 1), ERR);
	assert_int_equal(RUN(1, 2), ERR);
	assert_int_equal(RUN(2, 0, 1), ERR);
	assert_int_equal(RUN(2, 2, 1, 0), ERR);
	assert_int_equal(RUN(3, 1), ERR);
	assert_int_equal(RUN(4, 9, 1, 0), ERR);
	assert_int_equal(RUN(5, 0, 1), ERR);
	assert_int_equal(RUN(200, 0, 1), ERR);
	after = filter();
	assert_memory_equal(&before, &after, sizeof(before));
}

static void
command_of_any_size_is_answered(void **state)
{
	(void)state;
	assert_int_equal(run("", FRONT_END_MEMORY / 2), ERR);
	assert_int_equal(RUN(3, 0), OK);
}

static void
command_of_a_feature_that_was_not_negotiated_is_refused(void **state)
{
	connect_again(state, VHU_BIT(VIRTIO_F_VERSION_1) | VHU_BIT(VIRTIO_NET_F_CTRL_VQ));
	assert_int_equal(RUN(0, 0, 1), ERR);
	assert_int_equal(RUN(0, 3, 1), ERR);
	assert_int_equal(RUN(1, 1, 2, 0, 0, 0, 0, 1), ERR);
	assert_int_equal(RUN(2, 0, 1, 0), ERR);
	assert_int_equal(RUN(3, 0), ERR);
	assert_int_equal(RUN(4, 0, 1, 0), ERR);
	assert_int_equal(run(rss_command, sizeof(rss_command)), ERR);
	assert_int_equal(RUN(5, 0, 0, 0, 0, 0, 0, 0, 0, 0), ERR);
}

static void
command_without_room_for_its_status_is_given_back(void **state)
{
	(void)state;
	memcpy(memory + COMMAND_AT, (uint8_t[]){ 0, 0, 0 }, 3);
	descriptors()[0] = (struct vring_desc){ COMMAND_AT, 3, 0, 0 };
	submit();
	wait_used();
	assert_int_equal(RUN(3, 0), OK);
}

static void
offloads_can_be_switched_off_and_on(void **state)
{
	uint8_t command[10] = { 5, 0 };
	const uint64_t some = VHU_BIT(VIRTIO_NET_F_GUEST_CSUM);

	(void)state;
	start(0);
	assert_int_equal(run(command, sizeof(command)), OK);
	command[2] = (uint8_t)some;
	assert_int_equal(run(command, sizeof(command)), OK);
	command[2] = 1; /* CSUM is not among those that the guest chooses */
	assert_int_equal(run(command, sizeof(command)), ERR);
}

static void
driver_that_begins_anew_finds_a_card_after_reset(void **state)
{
	(void)state;
	assert_int_equal(RUN(0, 0, 0), OK);
	assert_int_equal(front_end_stop_ring(&front_end, control), 1);
	assert_false(filter().promiscuous);
	memset(descriptors(), 0, FRONT_END_RING_SPACE);
	avail_index = 0;
	start(control);
	assert_int_equal(RUN(3, 0), OK);
	assert_true(filter().promiscuous);
}

/* Bits of a packed descriptor in the first round through the ring (virtio 1.3, 2.8.1). */
#define PACKED_AVAILABLE 0x0080
#define PACKED_USED 0x8000

static void
packed_ring_is_served_as_well(void **state)
{
	struct vring_packed_desc *packed;

	(void)state;
	vhu_port_destroy(port);
	munmap(memory, FRONT_END_MEMORY);
	front_end_leave(&front_end);
	create(state);
	connect_with(ALL_FEATURES | VHU_BIT(VIRTIO_F_RING_PACKED));
	control = 2 * PAIRS;
	packed = (void *)descriptors();
	memcpy(memory + COMMAND_AT, (uint8_t[]){ 0, 1, 1 }, 3);
	memory[STATUS_AT] = UNTOUCHED;
	packed[0] = (struct vring_packed_desc){ COMMAND_AT, 3, 0, VRING_DESC_F_NEXT |
			PACKED_AVAILABLE };
	packed[1] = (struct vring_packed_desc){ STATUS_AT, 1, 5, VRING_DESC_F_WRITE |
			PACKED_AVAILABLE };
	/* Positions with both wrap counters at 1. */
	front_end_start_ring(&front_end, control);
	front_end_stop_ring(&front_end, control);
	front_end_ring_value(&front_end, VHU_SET_VRING_BASE, control, 0x80008000);
	front_end_send(&front_end, VHU_SET_VRING_KICK, &(uint64_t){ control | VHU_VRING_NOFD }, 8,
		-1);
	front_end_ring_value(&front_end, VHU_SET_VRING_ENABLE, control, 1);
	for (unsigned int i = 0; i < 2000 && !(__atomic_load_n(&packed[0].flags,
			__ATOMIC_ACQUIRE) & PACKED_USED); i++)
		usleep(1000);
	assert_true((packed[0].flags & (PACKED_USED | PACKED_AVAILABLE)) ==
		(PACKED_USED | PACKED_AVAILABLE));
	assert_int_equal(packed[0].id, 5);
	assert_int_equal(packed[0].len, 1);
	assert_int_equal(memory[STATUS_AT], OK);
	assert_true(filter().all_multicast);
}

static void
reset_of_the_device_resets_the_card(void **state)
{
	(void)state;
	/* Protocol features are settled before rings start: once more from the beginning. */
	vhu_port_destroy(port);
	munmap(memory, FRONT_END_MEMORY);
	front_end_leave(&front_end);
	create(state);
	connect_with(ALL_FEATURES);
	front_end_send_u64(&front_end, VHU_SET_PROTOCOL_FEATURES,
		VHU_BIT(VHU_PROTOCOL_RESET_DEVICE));
	control = 2 * PAIRS;
	start(control);
	assert_int_equal(RUN(0, 0, 0), OK);
	assert_false(filter().promiscuous);
	front_end_send(&front_end, VHU_RESET_DEVICE, NULL, 0, -1);
	front_end_ask_u64(&front_end, VHU_GET_FEATURES);
	assert_true(filter().promiscuous);
}

/* Where in a saved state the driver's wishes begin, and what of them is where. */
#define STATE_WISHES 12
#define STATE_SWITCHES (STATE_WISHES + 8 + 512)
#define STATE_PAIRS (STATE_SWITCHES + 8)
#define STATE_UNICAST (STATE_PAIRS + 6)

/* Save (0) or load (1) the device state through a pipe. @return what CHECK_DEVICE_STATE says. */
static uint64_t
transfer(uint32_t direction, uint8_t *bytes, size_t *size, size_t room)
{
	struct vhu_wire_device_state asked = { direction, 0 };
	int fds[2], ours;
	uint64_t result;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	front_end_send(&front_end, VHU_SET_DEVICE_STATE_FD, &asked, sizeof(asked),
		fds[1 - direction]);
	assert_int_equal(front_end_reply(&front_end, VHU_SET_DEVICE_STATE_FD, &result, 8), 8);
	assert_int_equal(result, 0x100);
	close(fds[1 - direction]);
	ours = fds[direction];
	if (direction == 1) {
		assert_int_equal(write(ours, bytes, *size), *size);
		close(ours);
	}
	result = front_end_ask_u64(&front_end, VHU_CHECK_DEVICE_STATE);
	if (direction == 0) {
		*size = (size_t)read(ours, bytes, room);
		close(ours);
	}
	return result;
}

/* A port with its control queue running, and the state of what its driver asked for. */
static size_t
save_wishes(void **state, uint8_t *bytes, size_t room)
{
	size_t size;

	end(state);
	create(state);
	connect_with(ALL_FEATURES);
	front_end_send_u64(&front_end, VHU_SET_PROTOCOL_FEATURES,
		VHU_BIT(VHU_PROTOCOL_DEVICE_STATE));
	control = 2 * PAIRS;
	start(control);
	assert_int_equal(RUN(0, 0, 0), OK);
	assert_int_equal(RUN(1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 9, 0, 0, 0, 0), OK);
	assert_int_equal(RUN(2, 0, 5, 0), OK);
	assert_int_equal(RUN(4, 0, 3, 0), OK);
	front_end_stop_ring(&front_end, control);
	assert_int_equal(transfer(0, bytes, &size, room), 0);
	return size;
}

/* A front-end of another host, as it were: nothing was asked for here. */
static void
come_anew(void **state)
{
	end(state);
	create(state);
	connect_with(ALL_FEATURES);
	front_end_send_u64(&front_end, VHU_SET_PROTOCOL_FEATURES,
		VHU_BIT(VHU_PROTOCOL_DEVICE_STATE));
	front_end_ask_u64(&front_end, VHU_GET_FEATURES);
	assert_true(filter().promiscuous);
}

static void
wishes_move_with_the_state(void **state)
{
	uint8_t bytes[4096];
	size_t size = save_wishes(state, bytes, sizeof(bytes));

	come_anew(state);
	assert_int_equal(transfer(1, bytes, &size, 0), 0);
	/* The driver goes on with the ring as well, and finds what it has set up. */
	start(control);
	assert_int_equal(RUN(2, 0, 6, 0), OK);
	assert_false(filter().promiscuous);
	assert_int_equal(filter().unicast_count, 1);
	assert_int_equal(filter().unicast[0][5], 9);
	assert_int_equal(filter().vlans[0], 0x60);
	assert_int_equal(steering().pairs, 3);
	/* The next driver is another one. */
	front_end_stop_ring(&front_end, control);
	memset(descriptors(), 0, FRONT_END_RING_SPACE);
	avail_index = 0;
	start(control);
	assert_int_equal(RUN(2, 0, 6, 0), OK);
	assert_true(filter().promiscuous);
}

static void
wishes_that_no_driver_could_have_change_nothing(void **state)
{
	static const struct { size_t at; uint8_t value; } tampered[] = {
		{ STATE_WISHES, 1 },            /* CSUM is not the driver's to switch off */
		{ STATE_SWITCHES + 3, 0x80 },
		{ STATE_SWITCHES + 4, 0x40 },   /* a kind of frame that is not hashed */
		{ STATE_PAIRS, 0 },
		{ STATE_PAIRS, PAIRS + 1 },
		{ STATE_PAIRS + 2, PAIRS },
		{ STATE_PAIRS + 4, 3 },
		{ STATE_UNICAST, VHU_FILTER_ADDRESSES + 1 },
		{ STATE_UNICAST + 2, VHU_FILTER_ADDRESSES + 1 },
	};
	uint8_t bytes[4096], changed[4096];
	size_t size = save_wishes(state, bytes, sizeof(bytes));

	come_anew(state);
	for (unsigned int i = 0; i < RTE_DIM(tampered); i++) {
		memcpy(changed, bytes, size);
		changed[tampered[i].at] = tampered[i].value;
		assert_int_equal(transfer(1, changed, &size, 0), 1);
		assert_true(filter().promiscuous);
		assert_int_equal(steering().pairs, 1);
	}
}

static void
command_is_an_event(void **state)
{
	struct vhu_event events[64];
	unsigned int count, told = 0;

	(void)state;
	assert_int_equal(RUN(0, 1, 1), OK);
	count = vhu_port_events(port, events, 64);
	for (unsigned int i = 0; i < count; i++)
		told += events[i].type == VHU_EVENT_CONTROL && events[i].value == 1;
	assert_int_equal(told, 1);
}

static void
head_outside_the_table_breaks_the_ring_alone(void **state)
{
	struct vring_avail *avail = (void *)((uint8_t *)descriptors() + 1024);
	struct vhu_event events[64];
	unsigned int told = 0;

	(void)state;
	start(0);
	avail->ring[0] = FRONT_END_RING;
	__atomic_store_n(&avail->idx, 1, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < 2000 && told == 0; i++) {
		unsigned int count = vhu_port_events(port, events, 64);

		for (unsigned int k = 0; k < count; k++)
			if (events[k].type == VHU_EVENT_RING_BROKEN) {
				assert_int_equal(events[k].ring, control);
				told++;
			}
		usleep(1000);
	}
	assert_int_equal(told, 1);
}

static void
filter_passes_what_the_driver_wants(void **state)
{
	struct vhu_filter f = { .address_known = true, .address = { 2, 0, 0, 0, 0, 1 },
		.unicast_count = 1, .unicast = { { 2, 0, 0, 0, 0, 2 } },
		.multicast_count = 1, .multicast = { { 1, 0, 0x5e, 0, 0, 1 } } };
	uint8_t frame[18] = { 2, 0, 0, 0, 0, 1 };

	(void)state;
	assert_true(vhu_filter_passes(&f, frame, 14));
	assert_false(vhu_filter_passes(&f, frame, 13));
	frame[5] = 2;
	assert_true(vhu_filter_passes(&f, frame, 14));
	frame[5] = 3;
	assert_false(vhu_filter_passes(&f, frame, 14));
	memcpy(frame, (uint8_t[]){ 1, 0, 0x5e, 0, 0, 1 }, 6);
	assert_true(vhu_filter_passes(&f, frame, 14));
	frame[5] = 2;
	assert_false(vhu_filter_passes(&f, frame, 14));
	f.all_multicast = true;
	assert_true(vhu_filter_passes(&f, frame, 14));
	memset(frame, 0xff, 6);
	assert_true(vhu_filter_passes(&f, frame, 14));
	f.no_broadcast = true;
	assert_false(vhu_filter_passes(&f, frame, 14));
	f.promiscuous = true;
	assert_true(vhu_filter_passes(&f, frame, 14));
}

static void
filter_of_vlans_looks_at_tagged_frames_only(void **state)
{
	struct vhu_filter f = { .vlan_filter = true, .vlans = { UINT64_C(1) << 5 } };
	uint8_t frame[18] = { 2, 0, 0, 0, 0, 1, [12] = 0x81, [15] = 5 };

	(void)state;
	assert_true(vhu_filter_passes(&f, frame, 18));
	frame[15] = 6;
	assert_false(vhu_filter_passes(&f, frame, 18));
	frame[12] = 0x08;
	assert_true(vhu_filter_passes(&f, frame, 18));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(features_of_the_control_queue_are_offered),
		TEST(ring_is_the_one_behind_the_last_pair),
		TEST(kick_is_served_at_once),
		TEST(receive_modes_are_set_one_by_one),
		TEST(addresses_are_kept),
		TEST(table_with_more_addresses_than_are_kept_lets_all_pass),
		TEST(vlans_come_and_go),
		TEST(pairs_are_bounded),
		TEST(rss_is_kept),
		TEST(rss_out_of_range_is_refused),
		TEST(malformed_commands_are_refused_and_change_nothing),
		TEST(command_of_any_size_is_answered),
		TEST(command_of_a_feature_that_was_not_negotiated_is_refused),
		TEST(command_without_room_for_its_status_is_given_back),
		TEST(offloads_can_be_switched_off_and_on),
		TEST(driver_that_begins_anew_finds_a_card_after_reset),
		TEST(packed_ring_is_served_as_well),
		TEST(reset_of_the_device_resets_the_card),
		TEST(wishes_move_with_the_state),
		TEST(wishes_that_no_driver_could_have_change_nothing),
		TEST(command_is_an_event),
		TEST(head_outside_the_table_breaks_the_ring_alone),
		cmocka_unit_test(filter_passes_what_the_driver_wants),
		cmocka_unit_test(filter_of_vlans_looks_at_tagged_frames_only),
	};

	return cmocka_run_group_tests_name("ctrl control queue", tests, start_group, end_group);
}
