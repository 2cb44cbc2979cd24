/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * What programs of the libvhost-user API rely on beyond moving requests: watches in pairs, readers
 * that let others run, the back-end channel, what a successor finds after a crash.
 */

#include "compat_rig.h"

static const struct rig_part request[] = {
	{ RIG_DATA, 16, false },
	{ RIG_DATA + 0x1000, 512, true },
};

static VuVirtq *
queue(void)
{
	return vu_get_queue(&rig.dev, 0);
}

static VuVirtqElement *
pop(void)
{
	return vu_queue_pop(&rig.dev, queue(), sizeof(VuVirtqElement));
}

static uint64_t
get(int what)
{
	uint64_t value;

	rig_write(what, 1, NULL, 0, -1);
	assert_true(vu_dispatch(&rig.dev));
	assert_int_equal(rig_read(what, &value, sizeof(value)), sizeof(value));
	return value;
}

/* Watches: at most one of a descriptor, and none is left behind. */

static int watched[16];
static unsigned int watched_count;

static void
count_watch(VuDev *dev, int fd, int condition, vu_watch_cb callback, void *data)
{
	unsigned int i;

	assert_true(fcntl(fd, F_GETFD) >= 0);
	for (i = 0; i < watched_count; i++)
		assert_int_not_equal(watched[i], fd);
	assert_true(watched_count < 16);
	watched[watched_count++] = fd;
	rig_set_watch(dev, fd, condition, callback, data);
}

static void
uncount_watch(VuDev *dev, int fd)
{
	unsigned int i;

	rig_remove_watch(dev, fd);
	for (i = 0; i < watched_count; i++)
		if (watched[i] == fd) {
			watched[i] = watched[--watched_count];
			return;
		}
}

static void
handle(VuDev *dev, int index)
{
	VuVirtqElement *element = vu_queue_pop(dev, vu_get_queue(dev, index), sizeof(*element));

	rig_log(element != NULL ? "handle %d; " : "look %d; ", index, 0);
	free(element);
}

static void
arm(VuDev *dev, int index, bool started)
{
	rig_log(started ? "start %d; " : "stop %d; ", index, 0);
	vu_set_queue_handler(dev, vu_get_queue(dev, index), started ? handle : NULL);
}

static void
count_watches(void)
{
	watched_count = 0;
	rig.dev.set_watch = count_watch;
	rig.dev.remove_watch = uncount_watch;
	rig.iface.queue_set_started = arm;
}

static void
every_watch_is_removed_before_its_descriptor_is_closed(void **state)
{
	(void)state;
	count_watches();
	rig_start();
	assert_int_equal(watched_count, 1);
	/* Another kick descriptor, twice, and none. */
	assert_int_equal(rig_u64(VHOST_USER_SET_VRING_KICK, 0, rig.kick), 0);
	assert_int_equal(watched_count, 1);
	assert_int_equal(watched[0], queue()->kick_fd);
	assert_int_equal(rig_u64(VHOST_USER_SET_VRING_KICK, 0x100, -1), 0);
	assert_int_equal(watched_count, 0);
	assert_int_equal(rig_u64(VHOST_USER_SET_VRING_KICK, 0, rig.kick), 0);
	assert_int_equal(watched_count, 1);
	vu_deinit(&rig.dev);
	assert_int_equal(watched_count, 0);
}

static void
stopped_queue_is_not_watched(void **state)
{
	(void)state;
	count_watches();
	rig_start();
	rig_base(0);
	assert_int_equal(watched_count, 0);
	assert_int_equal(queue()->kick_fd, -1);
	assert_string_equal(rig.log, "start 0; stop 0; ");
}

static void
request_waiting_while_kick_descriptor_is_replaced_is_not_lost(void **state)
{
	int kick = eventfd(0, EFD_NONBLOCK);

	(void)state;
	count_watches();
	rig_start();
	rig.watch_callback(&rig.dev, VU_WATCH_IN, rig.watch_data);
	rig_offer(0, request, 2);
	/* Its kick goes to the old descriptor, which nobody reads any more. */
	assert_int_equal(eventfd_write(rig.kick, 1), 0);
	assert_int_equal(rig_u64(VHOST_USER_SET_VRING_KICK, 0, kick), 0);
	rig.log[0] = 0;
	rig.watch_callback(&rig.dev, VU_WATCH_IN, rig.watch_data);
	assert_string_equal(rig.log, "handle 0; ");
	close(kick);
}

static void
handler_set_before_and_after_the_start_works(void **state)
{
	(void)state;
	vu_set_queue_handler(&rig.dev, queue(), handle);
	assert_int_equal(rig.watches, 0);
	rig_start();
	assert_int_equal(rig.watches, 1);
	vu_set_queue_handler(&rig.dev, queue(), NULL);
	assert_int_equal(rig.watched, -1);
	vu_set_queue_handler(&rig.dev, queue(), handle);
	assert_int_equal(rig.watches, 2);
}

static void
pipe_may_stand_in_for_a_kick_descriptor_and_its_end_panics_once(void **state)
{
	int ends[2];

	(void)state;
	count_watches();
	assert_int_equal(pipe(ends), 0);
	rig_start();
	assert_int_equal(rig_u64(VHOST_USER_SET_VRING_KICK, 0, ends[0]), 0);
	assert_int_equal(write(ends[1], "12345678", 8), 8);
	rig.log[0] = 0;
	rig.watch_callback(&rig.dev, VU_WATCH_IN, rig.watch_data);
	assert_string_equal(rig.log, "look 0; ");
	close(ends[1]);
	rig.watch_callback(&rig.dev, VU_WATCH_HUP, rig.watch_data);
	assert_int_equal(rig.panics, 1);
	/* Removed: it would be ready for ever. */
	assert_int_equal(watched_count, 0);
	close(ends[0]);
}

/* Readers of the program's own */

static bool
read_and_run_others(VuDev *dev, int sock, VhostUserMsg *message)
{
	/* As a coroutine would while it waits for the message. */
	assert_int_equal(eventfd_write(rig.kick, 1), 0);
	rig.watch_callback(dev, VU_WATCH_IN, rig.watch_data);
	assert_int_equal(recv(sock, message, VHOST_USER_HDR_SIZE, MSG_WAITALL), 12);
	assert_int_equal(recv(sock, &message->payload, message->size, MSG_WAITALL),
		message->size);
	return true;
}

static void
callbacks_run_while_the_reader_waits(void **state)
{
	(void)state;
	rig.iface.queue_set_started = arm;
	rig_start();
	rig.watch_callback(&rig.dev, VU_WATCH_IN, rig.watch_data);
	rig_offer(0, request, 2);
	rig.log[0] = 0;
	rig.dev.read_msg = read_and_run_others;
	assert_int_equal(rig_state(VHOST_USER_SET_VRING_ENABLE, 0, 1), 0);
	assert_string_equal(rig.log, "handle 0; ");
}

static bool
read_nothing(VuDev *dev, int sock, VhostUserMsg *message)
{
	(void)dev;
	(void)sock;
	(void)message;
	return false;
}

static void
reader_that_fails_ends_the_dispatch_only(void **state)
{
	(void)state;
	rig.dev.read_msg = read_nothing;
	assert_false(vu_dispatch(&rig.dev));
	assert_int_equal(rig.panics, 0);
}

/* Messages that the program handles */

static int passed_fd;

static int
answer_with_fd(VuDev *dev, VhostUserMsg *message, int *reply)
{
	(void)dev;
	if (message->request == VHOST_USER_GPU_SET_SOCKET) {
		passed_fd = message->fds[0];
		return 1;
	}
	if (message->request != VHOST_USER_GET_CONFIG)
		return 0;
	message->fds[0] = passed_fd;
	message->fd_num = 1;
	message->size = 0;
	*reply = 1;
	return 1;
}

static void
program_keeps_descriptors_it_was_given_and_sends_its_own(void **state)
{
	char control[CMSG_SPACE(sizeof(int))];
	uint8_t header[12];
	struct iovec part = { header, sizeof(header) };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = sizeof(control) };
	int fd;

	(void)state;
	rig.iface.process_msg = answer_with_fd;
	/* Without a reply of the program's: acknowledged, since that was asked for. */
	assert_int_equal(rig_ask(VHOST_USER_GPU_SET_SOCKET, NULL, 0, rig.kick), 0);
	assert_true(fcntl(passed_fd, F_GETFD) >= 0);
	rig_write(VHOST_USER_GET_CONFIG, 1, NULL, 0, -1);
	assert_true(vu_dispatch(&rig.dev));
	assert_int_equal(recvmsg(rig.peer, &m, MSG_DONTWAIT), 12);
	assert_int_equal(header[4], 5);
	assert_non_null(CMSG_FIRSTHDR(&m));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	close(fd);
	close(passed_fd);
}

static void
reply_to_a_peer_that_is_gone_ends_the_connection(void **state)
{
	(void)state;
	rig_write(VHOST_USER_GET_FEATURES, 1, NULL, 0, -1);
	shutdown(rig.peer, SHUT_RD);
	close(rig.peer);
	rig.peer = -1;
	/* The message is still there; SIGPIPE would end the test. */
	assert_false(vu_dispatch(&rig.dev));
	assert_true(rig.dev.broken);
	rig.peer = dup(rig.kick);
}

/* Notifications */

static void
push_one(uint16_t head)
{
	VuVirtqElement *element;

	rig_offer(head, request, 2);
	element = pop();
	assert_non_null(element);
	vu_queue_push(&rig.dev, queue(), element, 1);
	free(element);
}

static void
queue_without_call_descriptor_is_silent(void **state)
{
	(void)state;
	rig_start();
	assert_int_equal(rig_u64(VHOST_USER_SET_VRING_CALL, 0x100, -1), 0);
	rig_called();
	push_one(0);
	vu_queue_notify(&rig.dev, queue());
	vu_queue_notify_sync(&rig.dev, queue());
	assert_false(rig_called());
	assert_int_equal(rig_used_index(), 1);
	assert_int_equal(rig.panics, 0);
}

static void
full_call_descriptor_counts_as_signalled(void **state)
{
	(void)state;
	rig_start();
	rig_called();
	assert_int_equal(eventfd_write(rig.call, UINT64_C(0xfffffffffffffffe)), 0);
	push_one(0);
	vu_queue_notify(&rig.dev, queue());
	assert_int_equal(rig.panics, 0);
	assert_true(rig_called());
}

static void
guest_that_wants_no_interrupt_gets_none_after_the_first(void **state)
{
	struct vring_avail *avail = (struct vring_avail *)(rig.guest + RIG_AVAIL);

	(void)state;
	rig_start();
	push_one(0);
	vu_queue_notify(&rig.dev, queue());
	rig_called();
	avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	push_one(2);
	vu_queue_notify(&rig.dev, queue());
	assert_false(rig_called());
	avail->flags = 0;
	push_one(4);
	vu_queue_notify(&rig.dev, queue());
	assert_true(rig_called());
}

/* EVENT_IDX: the guest's wish lies behind the available ring. */
static void
call_comes_exactly_when_the_index_passes_the_guests_wish(void **state)
{
	struct vring_avail *avail = (struct vring_avail *)(rig.guest + RIG_AVAIL);
	uint16_t *used_event = &avail->ring[RIG_SIZE];
	unsigned int i, called = 0;

	(void)state;
	rig.features = BIT(29);
	get(VHOST_USER_GET_FEATURES);
	rig_start();
	push_one(0);
	vu_queue_notify(&rig.dev, queue());
	rig_called();
	for (i = 1; i < 70000; i++) {
		uint16_t index = rig_used_index();

		/* Every seventh time it wants to know of the very next one, over the wrap too. */
		*used_event = i % 7 == 0 ? index : (uint16_t)(index + 100);
		push_one(0);
		vu_queue_notify(&rig.dev, queue());
		assert_int_equal(rig_called(), i % 7 == 0);
		called += i % 7 == 0;
	}
	assert_int_equal(called, 69999 / 7);
}

static void
asking_for_no_kicks_and_for_kicks_is_seen_by_the_guest(void **state)
{
	struct vring_used *used = (struct vring_used *)(rig.guest + RIG_USED);

	(void)state;
	vu_queue_set_notification(&rig.dev, queue(), 0); /* not started: nothing happens */
	rig_start();
	vu_queue_set_notification(&rig.dev, queue(), 0);
	assert_int_equal(used->flags & VRING_USED_F_NO_NOTIFY, VRING_USED_F_NO_NOTIFY);
	vu_queue_set_notification(&rig.dev, queue(), 1);
	assert_int_equal(used->flags & VRING_USED_F_NO_NOTIFY, 0);
}

/* Back-end channel */

static int channel = -1;

static void
open_channel(uint64_t protocol)
{
	int ends[2];

	rig.protocol = protocol | BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ) |
		BIT(VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD);
	get(VHOST_USER_GET_PROTOCOL_FEATURES);
	rig_start();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(rig_ask(VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, ends[1]), 0);
	close(ends[1]);
	channel = ends[0];
}

/* Read a request of the back-end. @return whether it wants an answer. */
static bool
read_request(uint32_t what, void *payload, uint32_t size)
{
	uint32_t header[3];

	assert_int_equal(recv(channel, header, sizeof(header), MSG_DONTWAIT), sizeof(header));
	assert_int_equal(header[0], what);
	assert_int_equal(header[2], size);
	if (size != 0)
		assert_int_equal(recv(channel, payload, size, MSG_DONTWAIT), size);
	return header[1] & 8;
}

static void
send_answer(uint32_t what, uint64_t value)
{
	uint32_t message[5] = { what, 5, 8, (uint32_t)value, (uint32_t)(value >> 32) };

	assert_int_equal(send(channel, message, sizeof(message), 0), sizeof(message));
}

static void
host_notifier_is_as_the_front_end_answers(void **state)
{
	VhostUserVringArea area;

	(void)state;
	open_channel(BIT(VHOST_USER_PROTOCOL_F_HOST_NOTIFIER));
	/* The answers lie there before the question: one thread is both. */
	send_answer(3, 0);
	assert_true(vu_set_queue_host_notifier(&rig.dev, queue(), rig.memory, 4096, 8192));
	assert_true(read_request(3, &area, sizeof(area)));
	assert_int_equal(area.u64, 0);
	assert_int_equal(area.size, 4096);
	assert_int_equal(area.offset, 8192);
	send_answer(3, 1);
	assert_false(vu_set_queue_host_notifier(&rig.dev, queue(), -1, 4096, 0));
	assert_true(read_request(3, &area, sizeof(area)));
	assert_int_equal(area.u64, VHOST_USER_VRING_NOFD_MASK);
	assert_int_equal(rig.panics, 0);
	close(channel);
}

static int
give_shmem(VuDev *dev, uint64_t *sizes, uint32_t count)
{
	(void)dev;
	assert_true(count >= 2);
	sizes[1] = 1 << 20;
	return 1;
}

static void
shared_memory_of_the_device_is_told_and_mapped(void **state)
{
	struct { uint32_t count, padding; uint64_t sizes[256]; } table;
	VhostUserMMap map;

	(void)state;
	assert_false(get(VHOST_USER_GET_PROTOCOL_FEATURES) >> VHOST_USER_PROTOCOL_F_SHMEM & 1);
	rig.iface.get_shmem_config = give_shmem;
	open_channel(BIT(VHOST_USER_PROTOCOL_F_SHMEM));
	rig_write(VHOST_USER_GET_SHMEM_CONFIG, 1, NULL, 0, -1);
	assert_true(vu_dispatch(&rig.dev));
	rig_read(VHOST_USER_GET_SHMEM_CONFIG, &table, sizeof(table));
	assert_int_equal(table.count, 1);
	assert_int_equal(table.sizes[1], 1 << 20);
	send_answer(9, 0);
	assert_true(vu_shmem_map(&rig.dev, 1, 0, 4096, 8192, VHOST_USER_FLAG_MAP_RW, rig.memory));
	assert_true(read_request(9, &map, sizeof(map)));
	assert_int_equal(map.shmid, 1);
	assert_int_equal(map.shm_offset, 4096);
	assert_int_equal(map.len, 8192);
	send_answer(10, 1);
	assert_false(vu_shmem_unmap(&rig.dev, 1, 4096, 8192));
	close(channel);
}

static void
host_notifier_needs_what_it_stands_on(void **state)
{
	(void)state;
	rig_start();
	assert_false(vu_set_queue_host_notifier(&rig.dev, queue(), rig.memory, 4096, 0));
	assert_int_equal(rig.panics, 0);
}

static bool notifier;

static void
set_notifier(VuDev *dev, int index, bool started)
{
	if (started)
		notifier = vu_set_queue_host_notifier(dev, vu_get_queue(dev, index), rig.memory,
			4096, 0);
}

static void
host_notifier_does_not_wait_while_the_front_end_waits(void **state)
{
	VhostUserVringArea area;

	(void)state;
	open_channel(BIT(VHOST_USER_PROTOCOL_F_HOST_NOTIFIER));
	rig.iface.queue_set_started = set_notifier;
	/* The front-end waits for the acknowledgement and answers nothing: this must return. */
	assert_int_equal(rig_u64(VHOST_USER_SET_VRING_KICK, 0, rig.kick), 0);
	read_request(3, &area, sizeof(area));
	assert_true(notifier);
	close(channel);
}

static int
give_config(VuDev *dev, uint8_t *config, uint32_t size)
{
	(void)dev;
	memset(config, 0, size);
	return 0;
}

static int
take_config(VuDev *dev, const uint8_t *data, uint32_t offset, uint32_t size, uint32_t flags)
{
	(void)dev;
	(void)data;
	(void)offset;
	(void)size;
	(void)flags;
	return 0;
}

static void
change_of_configuration_is_told(void **state)
{
	(void)state;
	rig.iface.get_config = give_config;
	rig.iface.set_config = take_config;
	assert_false(vu_config_change_msg(&rig.dev));
	open_channel(BIT(VHOST_USER_PROTOCOL_F_CONFIG));
	assert_true(vu_config_change_msg(&rig.dev));
	read_request(2, NULL, 0);
	close(channel);
}

static void
in_band_notification_is_sent_and_waited_for(void **state)
{
	struct vhost_vring_state what;

	(void)state;
	open_channel(BIT(VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS));
	/* Another start, now without a call descriptor. */
	rig_base(0);
	assert_int_equal(rig_u64(VHOST_USER_SET_VRING_KICK, 0, rig.kick), 0);
	while (recv(channel, &what, sizeof(what), MSG_DONTWAIT) > 0)
		;
	push_one(0);
	vu_queue_notify(&rig.dev, queue());
	assert_false(read_request(4, &what, sizeof(what)));
	assert_int_equal(what.index, 0);
	push_one(2);
	send_answer(4, 0);
	vu_queue_notify_sync(&rig.dev, queue());
	assert_true(read_request(4, &what, sizeof(what)));
	assert_int_equal(rig.panics, 0);
	close(channel);
}

/* Broken rings */

static void
error_descriptor_is_signalled_once(void **state)
{
	struct vring_avail *avail = (struct vring_avail *)(rig.guest + RIG_AVAIL);
	int error = eventfd(0, EFD_NONBLOCK);
	uint64_t count = 0;

	(void)state;
	rig_start();
	assert_int_equal(rig_u64(VHOST_USER_SET_VRING_ERR, 0, error), 0);
	avail->idx = 0x8000;
	assert_null(pop());
	assert_null(pop());
	assert_int_equal(rig.panics, 1);
	assert_int_equal(read(error, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 1);
	close(error);
}

static void
remove_and_use_everything(VuDev *dev, const char *text)
{
	assert_true(dev->broken);
	(void)text;
	rig.panics++;
	dev->remove_watch(dev, dev->sock);
	assert_null(vu_queue_pop(dev, &dev->vq[0], sizeof(VuVirtqElement)));
	vu_queue_notify(dev, &dev->vq[0]);
	assert_true(vu_queue_empty(dev, &dev->vq[0]));
	vu_queue_set_notification(dev, &dev->vq[0], 1);
	assert_false(vu_queue_avail_bytes(dev, &dev->vq[0], 1, 1));
	assert_false(vu_queue_rewind(dev, &dev->vq[0], 1));
}

static void
panic_may_use_the_device(void **state)
{
	struct vring_avail *avail = (struct vring_avail *)(rig.guest + RIG_AVAIL);

	(void)state;
	rig.dev.panic = remove_and_use_everything;
	rig_start();
	avail->idx = 0x8000;
	assert_null(pop());
	assert_int_equal(rig.panics, 1);
	shutdown(rig.peer, SHUT_WR);
	assert_false(vu_dispatch(&rig.dev));
	vu_deinit(&rig.dev);
}

/* A successor */

static VhostUserInflight area;
static int area_fd;

static void
set_inflight(void)
{
	char control[CMSG_SPACE(sizeof(int))];
	uint8_t reply[12 + sizeof(area)];
	struct iovec part = { reply, sizeof(reply) };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = sizeof(control) };

	area = (VhostUserInflight){ .num_queues = 1, .queue_size = RIG_SIZE };
	rig_write(VHOST_USER_GET_INFLIGHT_FD, 1, &area, sizeof(area), -1);
	assert_true(vu_dispatch(&rig.dev));
	assert_int_equal(recvmsg(rig.peer, &m, MSG_DONTWAIT), sizeof(reply));
	memcpy(&area, reply + 12, sizeof(area));
	memcpy(&area_fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(area_fd));
	assert_int_equal(rig_ask(VHOST_USER_SET_INFLIGHT_FD, &area, sizeof(area), area_fd), 0);
}

/* The process died: another one takes over the same guest memory. */
static void
replace_device(void)
{
	vu_deinit(&rig.dev);
	close(rig.peer);
	rig_new_device();
}

static void
successor_finds_what_was_in_flight_in_its_order(void **state)
{
	VuVirtqElement *first, *second, *third;

	(void)state;
	rig.protocol = BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD);
	get(VHOST_USER_GET_PROTOCOL_FEATURES);
	assert_int_equal(rig_u64(VHOST_USER_SET_PROTOCOL_FEATURES,
		rig.protocol | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK), -1), 0);
	assert_int_equal(rig_u64(VHOST_USER_SET_FEATURES, BIT(32) | BIT(30), -1), 0);
	set_inflight();
	rig_start();
	rig_offer(4, request, 2);
	rig_offer(0, request, 2);
	rig_offer(2, request, 2);
	first = pop();
	second = pop();
	third = pop();
	vu_queue_push(&rig.dev, queue(), second, 1);
	replace_device();
	get(VHOST_USER_GET_PROTOCOL_FEATURES);
	assert_int_equal(rig_u64(VHOST_USER_SET_PROTOCOL_FEATURES,
		rig.protocol | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK), -1), 0);
	assert_int_equal(rig_ask(VHOST_USER_SET_INFLIGHT_FD, &area, sizeof(area), area_fd), 0);
	rig_start();
	free(first);
	free(second);
	free(third);
	assert_false(vu_queue_empty(&rig.dev, queue()));
	first = pop();
	assert_int_equal(first->index, 4);
	/* What is put back is found again. */
	vu_queue_unpop(&rig.dev, queue(), first, 0);
	free(first);
	first = pop();
	assert_int_equal(first->index, 4);
	third = pop();
	assert_int_equal(third->index, 2);
	assert_null(pop());
	vu_queue_push(&rig.dev, queue(), first, 1);
	vu_queue_push(&rig.dev, queue(), third, 1);
	assert_int_equal(rig_used_index(), 3);
	free(first);
	free(third);
	close(area_fd);
}

static bool
is_in_order(VuDev *dev, int index)
{
	(void)dev;
	rig_log("order %d? ", index, 0);
	return true;
}

static void
in_order_device_goes_on_where_the_used_ring_ends(void **state)
{
	VuVirtqElement *element;

	(void)state;
	rig_start();
	push_one(0);
	push_one(2);
	/* A third was popped but not pushed when the process died; the front-end says 0. */
	rig_offer(4, request, 2);
	free(pop());
	rig.iface.queue_is_processed_in_order = is_in_order;
	replace_device();
	rig_start();
	element = pop();
	assert_int_equal(element->index, 4);
	assert_int_equal(rig_used_index(), 2);
	free(element);
}

static void
reset_of_the_device_stops_its_queues(void **state)
{
	(void)state;
	rig.protocol = BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE) |
		BIT(VHOST_USER_PROTOCOL_F_STATUS);
	get(VHOST_USER_GET_PROTOCOL_FEATURES);
	rig_start();
	rig.log[0] = 0;
	assert_int_equal(rig_u64(VHOST_USER_SET_STATUS, 0x0f, -1), 0);
	assert_int_equal(get(VHOST_USER_GET_STATUS), 0x0f);
	assert_int_equal(rig_ask(VHOST_USER_RESET_DEVICE, NULL, 0, -1), 0);
	assert_string_equal(rig.log, "stop 0; ");
	assert_false(vu_queue_started(&rig.dev, queue()));
	assert_false(vu_queue_enabled(&rig.dev, queue()));
	memset(rig.guest, 0, 0x4000);
	rig.next = 0;
	rig_start();
	push_one(0);
	assert_int_equal(rig_used_index(), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(every_watch_is_removed_before_its_descriptor_is_closed),
		RIG_TEST(stopped_queue_is_not_watched),
		RIG_TEST(request_waiting_while_kick_descriptor_is_replaced_is_not_lost),
		RIG_TEST(handler_set_before_and_after_the_start_works),
		RIG_TEST(pipe_may_stand_in_for_a_kick_descriptor_and_its_end_panics_once),
		RIG_TEST(callbacks_run_while_the_reader_waits),
		RIG_TEST(reader_that_fails_ends_the_dispatch_only),
		RIG_TEST(program_keeps_descriptors_it_was_given_and_sends_its_own),
		RIG_TEST(reply_to_a_peer_that_is_gone_ends_the_connection),
		RIG_TEST(queue_without_call_descriptor_is_silent),
		RIG_TEST(full_call_descriptor_counts_as_signalled),
		RIG_TEST(guest_that_wants_no_interrupt_gets_none_after_the_first),
		RIG_TEST(call_comes_exactly_when_the_index_passes_the_guests_wish),
		RIG_TEST(asking_for_no_kicks_and_for_kicks_is_seen_by_the_guest),
		RIG_TEST(host_notifier_is_as_the_front_end_answers),
		RIG_TEST(shared_memory_of_the_device_is_told_and_mapped),
		RIG_TEST(host_notifier_needs_what_it_stands_on),
		RIG_TEST(host_notifier_does_not_wait_while_the_front_end_waits),
		RIG_TEST(change_of_configuration_is_told),
		RIG_TEST(in_band_notification_is_sent_and_waited_for),
		RIG_TEST(error_descriptor_is_signalled_once),
		RIG_TEST(panic_may_use_the_device),
		RIG_TEST(successor_finds_what_was_in_flight_in_its_order),
		RIG_TEST(in_order_device_goes_on_where_the_used_ring_ends),
		RIG_TEST(reset_of_the_device_stops_its_queues),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
