/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Events of a port: their order, what they carry, what happens when nobody takes them, callbacks.
 */

#include <pthread.h>
#include <stdatomic.h>

#include <vhu.h>

#include "eal.h"
#include "front_end.h"

#define LOG_ROOM 4096

/* What was told so far, whichever way it came. */
struct journal {
	struct vhu_port *port;
	struct vhu_event events[LOG_ROOM];
	atomic_uint count;
	pthread_t teller;
	struct vhu_port **victim;  /* for the callback to destroy */
	enum vhu_event_type when;  /* at this event */
	struct vhu_port *created;  /* by the callback, if create is set */
	bool create;
};

static const struct vhu_event *
event_at(const struct journal *journal, unsigned int index)
{
	assert_true(index < journal->count);
	return &journal->events[index];
}

/* Read events until there are @count or a second has passed. */
static void
journal_fill(struct journal *journal, unsigned int count)
{
	for (unsigned int i = 0; i < 1000 && journal->count < count; i++) {
		unsigned int taken = vhu_port_events(journal->port,
			journal->events + journal->count, LOG_ROOM - journal->count);

		journal->count += taken;
		if (taken == 0)
			usleep(1000);
	}
	assert_true(journal->count >= count);
}

/* Only wait: the callback fills. */
static void
journal_await(struct journal *journal, unsigned int count)
{
	for (unsigned int i = 0; i < 1000 && journal->count < count; i++)
		usleep(1000);
	assert_true(journal->count >= count);
}

static void
record(struct vhu_port *port, const struct vhu_event *event, void *data)
{
	struct journal *journal = data;
	struct vhu_port_info info;

	if (journal->count < LOG_ROOM)
		journal->events[journal->count] = *event;
	journal->teller = pthread_self();
	/* Would never return if a lock were held. */
	vhu_port_info(port, &info);
	if (journal->victim != NULL && *journal->victim != NULL && event->type == journal->when) {
		struct vhu_port *victim = *journal->victim;

		*journal->victim = NULL;
		vhu_port_destroy(victim);
	}
	if (journal->create && event->type == journal->when) {
		struct vhu_port_options options;
		char path[VHU_PATH_SIZE];

		journal->create = false;
		vhu_port_options_init(&options);
		options.path = eal_socket_path(path, "created");
		vhu_port_create(&options, &journal->created);
	}
	journal->count++;
}

static void
create(struct journal *journal, const char *name, vhu_event_callback callback)
{
	struct vhu_port_options options;
	char path[VHU_PATH_SIZE];

	vhu_port_options_init(&options);
	options.path = eal_socket_path(path, name);
	options.mtu = 1500;
	options.on_event = callback;
	options.on_event_data = journal;
	if (vhu_port_create(&options, &journal->port) != 0)
		fail_msg("%s", vhu_error_text());
}

/* From nothing to one running pair and back to nothing; each step waits for the one before. */
static void
live_once(const char *name)
{
	struct front_end front_end;
	char path[VHU_PATH_SIZE];
	uint64_t mtu = 1400;

	front_end_connect(&front_end, eal_socket_path(path, name));
	front_end_negotiate(&front_end, VHU_BIT(VIRTIO_F_VERSION_1),
		VHU_BIT(VHU_PROTOCOL_NET_MTU));
	front_end_share_memory(&front_end);
	front_end_send(&front_end, VHU_NET_SET_MTU, &mtu, sizeof(mtu), -1);
	front_end_start_ring(&front_end, 0);
	front_end_start_ring(&front_end, 1);
	front_end_ring_value(&front_end, VHU_SET_VRING_ENABLE, 0, 1);
	front_end_ring_value(&front_end, VHU_SET_VRING_ENABLE, 1, 1);
	assert_int_equal(front_end_stop_ring(&front_end, 0), 0);
	front_end_leave(&front_end);
}

struct expected {
	enum vhu_event_type type;
	uint16_t ring;
	uint64_t value;
};

#define NO_RING UINT16_MAX
#define ANY UINT64_MAX

static const struct expected one_life[] = {
	{ VHU_EVENT_CONNECTED, NO_RING, 0 },
	{ VHU_EVENT_FEATURES, NO_RING,
		VHU_BIT(VIRTIO_F_VERSION_1) | VHU_BIT(VHU_F_PROTOCOL_FEATURES) },
	{ VHU_EVENT_MEMORY, NO_RING, 1 },
	{ VHU_EVENT_MTU, NO_RING, 1400 },
	{ VHU_EVENT_RING_STARTED, 0, FRONT_END_RING },
	{ VHU_EVENT_RING_STARTED, 1, FRONT_END_RING },
	{ VHU_EVENT_RING_ENABLED, 0, ANY },
	{ VHU_EVENT_RING_ENABLED, 1, ANY },
	{ VHU_EVENT_DEVICE_UP, NO_RING, ANY },
	{ VHU_EVENT_RING_STOPPED, 0, 0 },
	{ VHU_EVENT_DEVICE_DOWN, NO_RING, ANY },
	{ VHU_EVENT_RING_DISABLED, 0, ANY },
	{ VHU_EVENT_RING_STOPPED, 1, 0 },
	{ VHU_EVENT_RING_DISABLED, 1, ANY },
	{ VHU_EVENT_DISCONNECTED, NO_RING, ANY },
};

static void
assert_one_life(const struct journal *journal)
{
	for (unsigned int i = 0; i < RTE_DIM(one_life); i++) {
		const struct vhu_event *event = event_at(journal, i);

		if (event->type != one_life[i].type || event->ring != one_life[i].ring)
			fail_msg("event %u is '%s' of ring %u instead of '%s' of ring %u", i,
				vhu_event_name(event->type), event->ring,
				vhu_event_name(one_life[i].type), one_life[i].ring);
		if (one_life[i].value != ANY)
			assert_true(event->value == one_life[i].value);
		assert_true(event->sequence == i + 1);
	}
	assert_int_equal(journal->count, RTE_DIM(one_life));
}

static void
events_of_a_life_come_in_order(void **state)
{
	struct journal *journal = *state;

	create(journal, "ring", NULL);
	live_once("ring");
	journal_fill(journal, RTE_DIM(one_life));
	assert_one_life(journal);
	vhu_port_destroy(journal->port);
}

static void
second_life_begins_like_the_first(void **state)
{
	struct journal *journal = *state;

	create(journal, "again", NULL);
	live_once("again");
	journal_fill(journal, RTE_DIM(one_life));
	live_once("again");
	journal_fill(journal, 2 * RTE_DIM(one_life));
	for (unsigned int i = 0; i < RTE_DIM(one_life); i++)
		assert_int_equal(event_at(journal, RTE_DIM(one_life) + i)->type,
			one_life[i].type);
	vhu_port_destroy(journal->port);
}

static void
callbacks_come_in_the_same_order_on_one_other_thread(void **state)
{
	struct journal *journal = *state;
	struct vhu_event event;

	create(journal, "callback", record);
	live_once("callback");
	journal_await(journal, RTE_DIM(one_life));
	assert_one_life(journal);
	assert_false(pthread_equal(journal->teller, pthread_self()));
	assert_int_equal(vhu_port_events(journal->port, &event, 1), 0);
	vhu_port_destroy(journal->port);
}

/* A message that is refused each time: memory that nobody asked to remove. */
static void
refuse(struct front_end *front_end, unsigned int times)
{
	for (unsigned int i = 0; i < times; i++)
		front_end_ring_value(front_end, VHU_SET_VRING_ENABLE, 250, 1);
	front_end_ask_u64(front_end, VHU_GET_FEATURES);
}

static void
events_that_nobody_takes_are_counted_in_one_overflow(void **state)
{
	struct journal *journal = *state;
	struct front_end front_end;
	char path[VHU_PATH_SIZE];
	const struct vhu_event *overflow;
	struct vhu_port_info info;

	create(journal, "overflow", NULL);
	front_end_connect(&front_end, eal_socket_path(path, "overflow"));
	front_end_negotiate(&front_end, 0, 0);
	refuse(&front_end, 1500);
	vhu_port_info(journal->port, &info);
	assert_true(info.refusals == 1500);
	/* CONNECTED and FEATURES were first: 1502 events for room for 1024. */
	journal_fill(journal, 1025);
	for (unsigned int i = 0; i < 1024; i++)
		assert_true(event_at(journal, i)->sequence == i + 1);
	overflow = event_at(journal, 1024);
	assert_int_equal(overflow->type, VHU_EVENT_OVERFLOW);
	assert_true(overflow->value == 1502 - 1024);
	assert_true(overflow->sequence == 1503);
	/* And it goes on as if nothing had been. */
	refuse(&front_end, 1);
	journal_fill(journal, 1026);
	assert_int_equal(event_at(journal, 1025)->type, VHU_EVENT_REFUSED);
	assert_true(event_at(journal, 1025)->value == VHU_SET_VRING_ENABLE);
	assert_true(event_at(journal, 1025)->sequence == 1504);
	front_end_leave(&front_end);
	vhu_port_destroy(journal->port);
}

static void
port_can_be_destroyed_in_its_own_callback(void **state)
{
	struct journal *journal = *state;
	unsigned int fds = unit_open_fds();

	create(journal, "suicide", record);
	journal->victim = &journal->port;
	journal->when = VHU_EVENT_RING_ENABLED;
	{
		struct front_end front_end;
		char path[VHU_PATH_SIZE];
		char byte;

		front_end_connect(&front_end, eal_socket_path(path, "suicide"));
		front_end_negotiate(&front_end, 0, 0);
		front_end_share_memory(&front_end);
		front_end_start_ring(&front_end, 0);
		front_end_ring_value(&front_end, VHU_SET_VRING_ENABLE, 0, 1);
		/* Nothing but the end comes. */
		assert_int_equal(recv(front_end.socket, &byte, 1, 0), 0);
		front_end_leave(&front_end);
	}
	/* The last port is gone, so the control loop ends as well, by itself. */
	for (unsigned int i = 0; i < 1000 && unit_open_fds() != fds; i++)
		usleep(1000);
	assert_int_equal(unit_open_fds(), fds);
	assert_int_equal(event_at(journal, journal->count - 1)->type, VHU_EVENT_RING_ENABLED);
}

static void
another_port_can_be_destroyed_in_a_callback(void **state)
{
	struct journal *journal = *state;
	struct journal *other = calloc(1, sizeof(*other));
	struct front_end front_end;
	char path[VHU_PATH_SIZE];

	assert_non_null(other);
	create(journal, "survivor", record);
	create(other, "other", record);
	journal->victim = &other->port;
	journal->when = VHU_EVENT_DISCONNECTED;
	/* The victim is in full swing. */
	front_end_connect(&front_end, eal_socket_path(path, "other"));
	front_end_negotiate(&front_end, 0, 0);
	front_end_share_memory(&front_end);
	front_end_start_ring(&front_end, 1);
	front_end_ask_u64(&front_end, VHU_GET_FEATURES);
	live_once("survivor");
	journal_await(journal, RTE_DIM(one_life));
	assert_one_life(journal);
	assert_null(other->port);
	front_end_leave(&front_end);
	vhu_port_destroy(journal->port);
	free(other);
}

static void
port_can_be_created_in_the_callback_that_destroys_the_last(void **state)
{
	struct journal *journal = *state;
	struct front_end front_end;
	char path[VHU_PATH_SIZE];

	create(journal, "parent", record);
	journal->victim = &journal->port;
	journal->create = true;
	journal->when = VHU_EVENT_CONNECTED;
	front_end_connect(&front_end, eal_socket_path(path, "parent"));
	journal_await(journal, 1);
	front_end_leave(&front_end);
	assert_non_null(journal->created);
	front_end_connect(&front_end, eal_socket_path(path, "created"));
	assert_true(front_end_ask_u64(&front_end, VHU_GET_FEATURES) != 0);
	front_end_leave(&front_end);
	vhu_port_destroy(journal->created);
}

static void *
keep_living(void *argument)
{
	atomic_bool *stop = argument;

	while (!*stop)
		live_once("busy");
	return NULL;
}

static void
no_callback_begins_after_a_port_is_destroyed(void **state)
{
	struct journal *journal = *state;
	struct journal *neighbour = calloc(1, sizeof(*neighbour));
	atomic_bool stop = false;
	pthread_t thread;

	assert_non_null(neighbour);
	create(neighbour, "busy", record);
	assert_int_equal(pthread_create(&thread, NULL, keep_living, &stop), 0);
	for (unsigned int i = 0; i < 20; i++) {
		struct front_end front_end;
		char path[VHU_PATH_SIZE];
		unsigned int count;

		journal->count = 0;
		create(journal, "short", record);
		front_end_connect(&front_end, eal_socket_path(path, "short"));
		front_end_negotiate(&front_end, 0, 0);
		front_end_share_memory(&front_end);
		front_end_start_ring(&front_end, 0);
		vhu_port_destroy(journal->port);
		count = journal->count;
		front_end_leave(&front_end);
		assert_int_equal(journal->count, count);
	}
	stop = true;
	pthread_join(thread, NULL);
	vhu_port_destroy(neighbour->port);
	free(neighbour);
}

static int
make_journal(void **state)
{
	*state = calloc(1, sizeof(struct journal));
	return *state != NULL ? 0 : -1;
}

static int
free_journal(void **state)
{
	free(*state);
	return 0;
}

static int
start(void **state)
{
	(void)state;
	return eal_start();
}

static int
end(void **state)
{
	(void)state;
	return eal_end();
}

#define EVENT_TEST(name) cmocka_unit_test_setup_teardown(name, make_journal, free_journal)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		EVENT_TEST(events_of_a_life_come_in_order),
		EVENT_TEST(second_life_begins_like_the_first),
		EVENT_TEST(callbacks_come_in_the_same_order_on_one_other_thread),
		EVENT_TEST(events_that_nobody_takes_are_counted_in_one_overflow),
		EVENT_TEST(port_can_be_destroyed_in_its_own_callback),
		EVENT_TEST(another_port_can_be_destroyed_in_a_callback),
		EVENT_TEST(port_can_be_created_in_the_callback_that_destroys_the_last),
		EVENT_TEST(no_callback_begins_after_a_port_is_destroyed),
	};

	return cmocka_run_group_tests_name("ctrl events", tests, start, end);
}
