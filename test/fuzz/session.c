/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "fuzz.h"
#include "session.h"
#include "sock/loop.h"

/* Bytes of guest memory in each file. */
static const off_t file_sizes[SESSION_FILES] = { 65536, 65536, 8192 };
/* Device configuration space: a byte is its own offset. */
#define CONFIG_SIZE 64
/* Rounds in which everything under way must come to its end. */
#define ROUNDS_MAX 100
#define KINDS 15

static unsigned int
open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned int count = 0;

	FUZZ_REQUIRE(directory != NULL);
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count;
}

static bool
is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* ---- Allocations ---- */

/* Which of the library's allocations to come fails; 0: none. */
static unsigned int failing_allocation;

/* The linker puts these between callers and the real ones (--wrap). */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static bool
allocation_fails(void)
{
	return failing_allocation != 0 && --failing_allocation == 0;
}

void *
__wrap_malloc(size_t size)
{
	return allocation_fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
	return allocation_fails() ? NULL : __real_calloc(count, size);
}

/* ---- Descriptors ---- */

static int
one_of_pair(int fds[2], int keep)
{
	close(fds[1 - keep]);
	return fds[keep];
}

static int
full_eventfd(void)
{
	static const uint64_t most = UINT64_MAX - 1;
	int fd = eventfd(0, EFD_CLOEXEC);

	FUZZ_REQUIRE(write(fd, &most, sizeof(most)) == sizeof(most));
	return fd;
}

int
session_descriptor(struct session *session, uint8_t kind)
{
	char path[64];
	int fds[2];
	int fd = -1;

	kind %= KINDS;
	switch (kind) {
	case 3:
		fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		break;
	case 4:
		fd = eventfd(0, EFD_CLOEXEC);
		break;
	case 5: /* a write to it would block */
		fd = full_eventfd();
		break;
	case 6: /* a write to it would raise SIGPIPE */
		fd = pipe2(fds, O_CLOEXEC) == 0 ? one_of_pair(fds, 1) : -1;
		break;
	case 7: /* this one, too */
		fd = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0 ?
			one_of_pair(fds, 0) : -1;
		break;
	case 8:
		fd = pipe2(fds, O_CLOEXEC) == 0 ? one_of_pair(fds, 0) : -1;
		break;
	case 9:
		fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		break;
	case 10: /* guest memory that may not be written */
		snprintf(path, sizeof(path), "/proc/self/fd/%d", session->files[0]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		break;
	case 11:
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		break;
	case 12: /* for SET_BACKEND_REQ_FD */
		fd = peer_channel(&session->peer);
		break;
	case 13: /* for SET_DEVICE_STATE_FD */
	case 14:
		fd = peer_pipe(&session->peer, kind == 14);
		break;
	default:
		fd = fcntl(session->files[kind], F_DUPFD_CLOEXEC, 0);
		break;
	}
	FUZZ_REQUIRE(fd >= 0);
	return fd;
}

/* ---- What the device asks of its surroundings ---- */

static void
on_left(void *owner)
{
	struct session *session = owner;

	FUZZ_REQUIRE(session->leaving);
	session->leaving = false;
}

static void
begin_disconnect(struct session *session)
{
	session->connected = false;
	session->receiving = false;
	session->leaving = true;
	vhu_device_disconnect(session->device, on_left);
}

static void
on_send(void *owner, struct vhu_message *reply)
{
	struct session *session = owner;
	uint8_t bytes[sizeof(struct vhu_wire_header) + VHU_PAYLOAD_MAX];
	unsigned int i;

	FUZZ_REQUIRE(session->receiving && session->reply_wanted);
	FUZZ_REQUIRE(reply->request == session->request);
	FUZZ_REQUIRE(reply->flags == (VHU_FLAG_VERSION | VHU_FLAG_REPLY));
	FUZZ_REQUIRE(vhu_message_encode(reply, bytes, sizeof(bytes)) != 0);
	FUZZ_REQUIRE(reply->fd_count <= VHU_MESSAGE_FDS);
	for (i = 0; i < reply->fd_count; i++)
		FUZZ_REQUIRE(is_open(reply->fds[i]));
	vhu_message_close(reply);
	session->replies++;
	if (++session->sent % 8 == 0 && session->options.hasty)
		begin_disconnect(session);
}

static void
end_message(struct session *session)
{
	FUZZ_REQUIRE(session->receiving);
	FUZZ_REQUIRE(session->replies == session->reply_wanted || session->hang_up);
	session->receiving = false;
}

static void
on_answered(void *owner)
{
	struct session *session = owner;

	/* While receive() is still running it is the return from there that counts. */
	if (session->receiving && session->connected)
		end_message(session);
}

static void
on_hang_up(void *owner)
{
	((struct session *)owner)->hang_up = true;
}

static void
on_ring_event(struct session *session, enum vhu_event_type type, uint16_t ring)
{
	struct session_ring *told;

	FUZZ_REQUIRE(ring < session->ring_count);
	told = &session->told[ring];
	switch (type) {
	case VHU_EVENT_RING_STARTED:
		FUZZ_REQUIRE(!told->started);
		told->started = true;
		told->broken = false;
		break;
	case VHU_EVENT_RING_STOPPED:
		FUZZ_REQUIRE(told->started);
		told->started = false;
		break;
	case VHU_EVENT_RING_ENABLED:
		FUZZ_REQUIRE(!told->enabled);
		told->enabled = true;
		break;
	case VHU_EVENT_RING_DISABLED:
		FUZZ_REQUIRE(told->enabled);
		told->enabled = false;
		break;
	default:
		FUZZ_REQUIRE(type == VHU_EVENT_RING_BROKEN && told->started && !told->broken);
		told->broken = true;
		break;
	}
}

static void
on_event(void *owner, enum vhu_event_type type, uint16_t ring, uint64_t value)
{
	struct session *session = owner;

	(void)value;
	FUZZ_REQUIRE((unsigned int)type < VHU_EVENT_TYPES);
	if (type >= VHU_EVENT_RING_STARTED && type <= VHU_EVENT_RING_BROKEN) {
		on_ring_event(session, type, ring);
		return;
	}
	FUZZ_REQUIRE(ring == UINT16_MAX);
	if (type == VHU_EVENT_DEVICE_UP || type == VHU_EVENT_DEVICE_DOWN) {
		FUZZ_REQUIRE(session->up == (type == VHU_EVENT_DEVICE_DOWN));
		session->up = type == VHU_EVENT_DEVICE_UP;
	}
}

static void
on_kick_changed(void *owner, uint16_t ring, int kick_fd)
{
	struct session *session = owner;

	FUZZ_REQUIRE(ring < session->ring_count);
	FUZZ_REQUIRE(kick_fd == -1 || is_open(kick_fd));
	/* Whoever watches the old one must be able to stop watching it: it is closed later. */
	FUZZ_REQUIRE(session->told[ring].kick_fd == -1 || is_open(session->told[ring].kick_fd));
	session->told[ring].kick_fd = kick_fd;
}

static int
on_get_config(void *owner, uint32_t offset, void *data, uint32_t size)
{
	uint32_t i;

	(void)owner;
	if (offset > CONFIG_SIZE || size > CONFIG_SIZE - offset)
		return -EINVAL;
	for (i = 0; i < size; i++)
		((uint8_t *)data)[i] = (uint8_t)(offset + i);
	return 0;
}

static int
on_set_mtu(void *owner, uint64_t mtu)
{
	(void)owner;
	return mtu < 68 || mtu > UINT16_MAX ? -EINVAL : 0;
}

static int
on_set_config(void *owner, uint32_t offset, const void *data, uint32_t size, bool migration)
{
	(void)owner;
	FUZZ_REQUIRE(offset <= VHU_CONFIG_SPACE_SIZE && size <= VHU_CONFIG_SPACE_SIZE - offset);
	(void)((const volatile uint8_t *)data)[size > 0 ? size - 1 : 0];
	return migration ? 0 : -EPERM;
}

static int
on_announce(void *owner, uint64_t address)
{
	(void)owner;
	FUZZ_REQUIRE(address != 0 && !(address & 1));
	return 0;
}

static int
on_save_state(void *owner, uint8_t **bytes, size_t *size)
{
	struct session *session = owner;

	*size = session->sent % 4 == 3 ? 1 << 17 : session->sent % 4;
	*bytes = calloc(1, *size + 1);
	return *bytes != NULL ? 0 : -ENOMEM;
}

static int
on_load_state(void *owner, const uint8_t *bytes, size_t size)
{
	uint16_t ring;

	for (ring = 0; ring < ((struct session *)owner)->ring_count; ring++)
		FUZZ_REQUIRE(!((struct session *)owner)->told[ring].started);
	(void)((const volatile uint8_t *)bytes)[size > 0 ? size - 1 : 0];
	return size == 5 ? 0 : -EINVAL;
}

static int
on_get_shared_object(void *owner, const uint8_t *uuid)
{
	struct session *session = owner;

	return uuid[0] == 0 ? fcntl(session->files[0], F_DUPFD_CLOEXEC, 0) : -ENOENT;
}

static int
on_gpu_socket(void *owner, int fd)
{
	(void)owner;
	close(fd);
	return 0;
}

/* ---- Lcores ---- */

/* Whatever the snapshot points to must be there: touch it. */
static void
touch(const struct vhu_chain *chain, const struct iovec *segments)
{
	uint32_t count = (uint32_t)chain->readable + chain->writable, i;
	uint64_t readable = 0, writable = 0;

	for (i = 0; i < count; i++) {
		volatile uint8_t *host = segments[i].iov_base;

		FUZZ_REQUIRE(segments[i].iov_len != 0);
		if (i < chain->readable) {
			readable += segments[i].iov_len;
			(void)host[0];
			(void)host[segments[i].iov_len - 1];
		} else {
			writable += segments[i].iov_len;
			host[0] = 0xa5;
			host[segments[i].iov_len - 1] = 0x5a;
		}
	}
	FUZZ_REQUIRE(readable == chain->readable_size && writable == chain->writable_size);
}

/* Consume chains as a body does, except that there are no packets. */
static uint16_t
burst_chains(struct vhu_ring *ring, const struct vhu_snapshot *snapshot,
	struct rte_mbuf **packets, uint16_t count)
{
	static struct iovec segments[VHU_SEGMENTS_MAX];
	struct vhu_walk old = vhu_used_position(ring);
	uint16_t i;

	(void)packets;
	FUZZ_REQUIRE(snapshot->space.map != NULL && snapshot->size != 0);
	FUZZ_REQUIRE(snapshot->format == VHU_PACKED ||
		(snapshot->size & (snapshot->size - 1)) == 0);
	FUZZ_REQUIRE(snapshot->call_fd == -1 || snapshot->call_fd == VHU_CALL_BY_CONTROL ||
		is_open(snapshot->call_fd));
	if (vhu_ring_is_broken(ring))
		return 0;
	vhu_hint_check(&snapshot->space, &ring->hint);
	if (ring->phase == VHU_RING_FRESH)
		vhu_ring_begin(ring, snapshot);
	for (i = 0; i < count; i++) {
		struct vhu_walk walk = vhu_walk_begin(ring);
		struct vhu_chain chain;
		uint32_t written;
		enum vhu_found found = vhu_chain_look(ring, snapshot, &walk, segments,
			VHU_SEGMENTS_MAX, &chain);

		FUZZ_REQUIRE(found != VHU_FOUND_ROOM);
		FUZZ_REQUIRE((found == VHU_FOUND_STOP) == vhu_ring_is_broken(ring));
		if (found != VHU_FOUND_CHAIN)
			break;
		FUZZ_REQUIRE(chain.id < snapshot->size && chain.readable + chain.writable != 0);
		FUZZ_REQUIRE(chain.slots != 0 && chain.slots <= snapshot->size);
		touch(&chain, segments);
		written = chain.writable != 0;
		vhu_walk_take(ring, &walk);
		vhu_used_write(ring, snapshot, &chain, &written, 1);
	}
	vhu_used_publish(ring, snapshot, old);
	return i;
}

static int
on_specialise(void *owner, uint16_t ring, struct vhu_snapshot *snapshot)
{
	struct session *session = owner;

	FUZZ_REQUIRE(ring < session->ring_count);
	if (session->options.no_body && ring == session->ring_count - 1)
		return -ENOTSUP;
	snapshot->burst = burst_chains;
	snapshot->body = "chains";
	snapshot->header_size = 12;
	return 0;
}

void
session_enter(struct session *session, uint16_t ring)
{
	if (session->told[ring].inside == NULL)
		session->told[ring].inside = vhu_reader_enter(&session->rings[ring].reader);
}

void
session_leave(struct session *session, uint16_t ring, uint16_t count)
{
	const struct vhu_snapshot *snapshot = session->told[ring].inside;

	if (snapshot == NULL)
		return;
	snapshot->burst(&session->rings[ring], snapshot, NULL, count);
	vhu_reader_leave(&session->rings[ring].reader);
	session->told[ring].inside = NULL;
}

void
session_burst(struct session *session, uint16_t ring, uint16_t count)
{
	session_leave(session, ring, count);
	session_enter(session, ring);
	session_leave(session, ring, count);
}

static void
leave_all(struct session *session)
{
	uint16_t ring;

	for (ring = 0; ring < session->ring_count; ring++)
		session_leave(session, ring, 1);
}

/* ---- Worker ---- */

static void
submit_now(struct vhu_executor *executor, struct vhu_job *job)
{
	(void)executor;
	job->run(job);
	job->done(job);
}

static void
submit_later(struct vhu_executor *executor, struct vhu_job *job)
{
	struct session *session = (struct session *)
		((uint8_t *)executor - offsetof(struct session, executor));
	struct vhu_job **end = &session->jobs;

	while (*end != NULL)
		end = &(*end)->next;
	job->next = NULL;
	*end = job;
}

void
session_progress(struct session *session)
{
	struct vhu_job *jobs = session->jobs, *next;

	session->jobs = NULL;
	for (; jobs != NULL; jobs = next) {
		next = jobs->next;
		jobs->run(jobs);
		jobs->done(jobs);
	}
	vhu_grace_step(&session->domain);
	vhu_device_check_calls(session->device);
	vhu_loop_step(session->loop, 0);
	peer_progress(&session->peer);
}

/* ---- Guest ---- */

void
session_write(struct session *session, uint8_t file, uint16_t offset, const void *bytes,
	uint8_t length)
{
	file %= SESSION_FILES;
	if (offset + length <= file_sizes[file])
		FUZZ_REQUIRE(pwrite(session->files[file], bytes, length, offset) == length);
}

/* ---- Front-end ---- */

/* Everything that is under way ends once the lcores have left their bursts. */
static void
settle(struct session *session)
{
	unsigned int round;

	for (round = 0; round < ROUNDS_MAX && vhu_device_busy(session->device); round++) {
		session_progress(session);
		if (round > 1)
			leave_all(session);
		/* CHECK_DEVICE_STATE waits for the other end of the pipe, however long. */
		if (round > 5)
			peer_leave(&session->peer);
	}
	FUZZ_REQUIRE(!vhu_device_busy(session->device));
	FUZZ_REQUIRE(!session->receiving || !session->connected);
}

static void
require_watchable(const struct session *session)
{
	uint16_t ring;

	for (ring = 0; ring < session->ring_count; ring++)
		FUZZ_REQUIRE(session->told[ring].kick_fd == -1 ||
			is_open(session->told[ring].kick_fd));
}

static void
require_sound_map(const struct session *session)
{
	const struct vhu_map *map = vhu_device_map(session->device);
	uint32_t i;

	FUZZ_REQUIRE(map->count <= VHU_MAX_MEM_SLOTS);
	for (i = 1; i < map->count; i++) {
		const struct vhu_region *low = map->by_user[i - 1], *high = map->by_user[i];

		FUZZ_REQUIRE(map->extents[i - 1].start + map->extents[i - 1].size <=
			map->extents[i].start);
		FUZZ_REQUIRE(low->user_address + low->size <= high->user_address);
	}
}

void
session_receive(struct session *session, struct vhu_message *message)
{
	struct vhu_gates gates;

	settle(session);
	if (session->hang_up || !session->connected) {
		session_disconnect(session);
		session_connect(session);
	}
	gates = (struct vhu_gates){
		vhu_device_features(session->device),
		vhu_device_negotiated_protocol_features(session->device),
		session->ring_count,
	};
	session->receiving = true;
	session->replies = 0;
	session->request = message->request;
	session->reply_wanted = vhu_reply_wanted(message, &gates);
	vhu_device_receive(session->device, message);
	if (session->receiving && !vhu_device_busy(session->device))
		end_message(session);
	require_watchable(session);
	require_sound_map(session);
}

void
session_disconnect(struct session *session)
{
	unsigned int round;
	uint16_t ring;

	if (session->connected)
		begin_disconnect(session);
	for (round = 0; round < ROUNDS_MAX && session->leaving; round++) {
		session_progress(session);
		if (round > 1)
			leave_all(session);
	}
	FUZZ_REQUIRE(!session->leaving && !vhu_device_busy(session->device));
	FUZZ_REQUIRE(!session->up);
	FUZZ_REQUIRE(vhu_device_map(session->device)->count == 0);
	for (ring = 0; ring < session->ring_count; ring++) {
		FUZZ_REQUIRE(!session->told[ring].started);
		FUZZ_REQUIRE(session->told[ring].kick_fd == -1);
		FUZZ_REQUIRE(atomic_load(&session->rings[ring].reader.snapshot) ==
			&vhu_snapshot_parked);
	}
}

void
session_connect(struct session *session)
{
	session->connected = true;
	session->hang_up = false;
	vhu_device_connect(session->device);
}

void
session_look(struct session *session)
{
	char last_refusal[VHU_REASON_SIZE];
	struct vhu_queue_info info;
	uint64_t messages, refusals;
	uint16_t ring;

	vhu_device_check_broken(session->device);
	vhu_device_counts(session->device, &messages, &refusals, last_refusal);
	FUZZ_REQUIRE(refusals <= messages);
	FUZZ_REQUIRE((refusals == 0) == (last_refusal[0] == '\0'));
	for (ring = 0; ring < session->ring_count; ring++) {
		memset(&info, 0x5a, sizeof(info));
		vhu_device_ring_info(session->device, ring, &info);
		FUZZ_REQUIRE(info.ring == ring);
		FUZZ_REQUIRE(strnlen(info.broken_reason, sizeof(info.broken_reason)) <
			sizeof(info.broken_reason));
		FUZZ_REQUIRE(info.broken == (info.broken_reason[0] != '\0'));
		FUZZ_REQUIRE(info.body != NULL);
		FUZZ_REQUIRE(!vhu_device_ring_running(session->device, ring) ||
			(info.started && info.enabled && !info.broken));
	}
}

/* ---- Life ---- */

static const struct vhu_device_ops bare_operations = {
	.send = on_send,
	.answered = on_answered,
	.hang_up = on_hang_up,
	.event = on_event,
	.specialise = on_specialise,
};

static const struct vhu_device_ops operations = {
	.send = on_send,
	.answered = on_answered,
	.hang_up = on_hang_up,
	.event = on_event,
	.specialise = on_specialise,
	.kick_changed = on_kick_changed,
	.get_config = on_get_config,
	.set_mtu = on_set_mtu,
	.set_config = on_set_config,
	.announce = on_announce,
	.save_state = on_save_state,
	.load_state = on_load_state,
	.get_shared_object = on_get_shared_object,
	.gpu_socket = on_gpu_socket,
};

static void
create_files(struct session *session)
{
	unsigned int i;

	for (i = 0; i < SESSION_FILES; i++) {
		session->files[i] = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		FUZZ_REQUIRE(session->files[i] >= 0);
		FUZZ_REQUIRE(ftruncate(session->files[i], file_sizes[i]) == 0);
	}
}

static void
end_surroundings(struct session *session)
{
	peer_leave(&session->peer);
	vhu_loop_free(session->loop);
}

static void
require_nothing_left(struct session *session)
{
	unsigned int i;

	failing_allocation = 0;
	FUZZ_REQUIRE(session->jobs == NULL && TAILQ_EMPTY(&session->domain.waiting));
	for (i = 0; i < SESSION_FILES; i++) {
		/* The kernel seals a file against writing only if nobody has it mapped so. */
		FUZZ_REQUIRE(fcntl(session->files[i], F_ADD_SEALS, F_SEAL_WRITE) == 0);
		close(session->files[i]);
	}
	FUZZ_REQUIRE(open_descriptors() == session->open_before);
}

static const uint64_t shmem_sizes[2] = { 0x10000, 0 };

static struct vhu_device *
create_device(struct session *session)
{
	return vhu_device_new(&(struct vhu_device_config){
		.name = "fuzz",
		.ops = session->options.bare ? &bare_operations : &operations,
		.owner = session,
		.features = VHU_BIT(VIRTIO_F_VERSION_1) | VHU_BIT(VIRTIO_NET_F_MRG_RXBUF) |
			VHU_BIT(VIRTIO_RING_F_INDIRECT_DESC) | VHU_BIT(VIRTIO_RING_F_EVENT_IDX) |
			VHU_BIT(VIRTIO_NET_F_CSUM) | VHU_BIT(VIRTIO_NET_F_MQ),
		.protocol_features = vhu_device_protocol_features(),
		.ring_count = session->ring_count,
		.queue_num = session->ring_count,
		.rings = session->ring_pointers,
		.executor = &session->executor,
		.domain = &session->domain,
		.loop = session->loop,
		.shmem_sizes = shmem_sizes,
		.shmem_count = session->options.bare ? 0 : 2,
		.host_notifiers = true,
		.call_handover = session->options.no_body,
		.populate = session->options.populate,
	});
}

bool
session_begin(struct session *session, const struct session_options *options)
{
	uint16_t i;

	memset(session, 0, sizeof(*session));
	session->options = *options;
	session->ring_count = options->ring_count;
	session->open_before = open_descriptors();
	session->executor.submit = options->late_work ? submit_later : submit_now;
	vhu_grace_domain_init(&session->domain);
	create_files(session);
	peer_init(&session->peer);
	session->loop = vhu_loop_new();
	FUZZ_REQUIRE(session->loop != NULL);
	for (i = 0; i < session->ring_count; i++) {
		vhu_ring_init(&session->rings[i]);
		session->ring_pointers[i] = &session->rings[i];
		session->told[i].kick_fd = -1;
	}
	failing_allocation = options->failing_allocation;
	session->device = create_device(session);
	if (session->device == NULL) {
		FUZZ_REQUIRE(options->failing_allocation != 0 && failing_allocation == 0);
		end_surroundings(session);
		require_nothing_left(session);
		return false;
	}
	session_connect(session);
	return true;
}

void
session_end(struct session *session)
{
	session_look(session);
	session_disconnect(session);
	session_look(session);
	vhu_device_free(session->device);
	end_surroundings(session);
	require_nothing_left(session);
}
