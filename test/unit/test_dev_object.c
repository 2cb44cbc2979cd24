/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* What devices share and ask for: objects, memory regions, doorbells, configuration. */

#include "channel_rig.h"

#include "dev/requests.h"

static const uint8_t uuid[VHU_UUID_SIZE] = "object number 1";
static const uint64_t regions[3] = { 0x10000, 0, 0x2000 };

static struct {
	unsigned int count;
	int result;
	int fd;
} told = { .fd = -1 };

static void
done(void *argument, int result, int fd)
{
	assert_ptr_equal(argument, &told);
	told.count++;
	told.result = result;
	told.fd = fd;
}

static int
get_object(void *owner, const uint8_t *name)
{
	assert_ptr_equal(owner, &rig);
	return memcmp(name, uuid, sizeof(uuid)) == 0 ? rig_dup(rig.memory) : -ENOENT;
}

static int
set_config(void *owner, uint32_t offset, const void *data, uint32_t size, bool migration)
{
	assert_ptr_equal(owner, &rig);
	(void)data;
	return migration || offset + size <= 4 ? 0 : -EPERM;
}

/* A device that has all of it, with a channel; nothing started. */
static void
suspended_device(void)
{
	rig.ops.get_shared_object = get_object;
	rig.ops.set_config = set_config;
	rig.shmem_sizes = regions;
	rig.shmem_count = 3;
	rig.host_notifiers = true;
	rig_renew_device();
	rig_negotiate();
	channel_connect();
	told.count = 0;
}

static void
device(void)
{
	suspended_device();
	rig_run_ring(0);
}

static struct vhu_message
expect(uint32_t request, uint32_t size)
{
	struct vhu_message m = channel_take(request);

	assert_int_equal(m.flags, 0x9);
	assert_int_equal(m.size, size);
	return m;
}

static void
object_is_announced_and_withdrawn(void **state)
{
	struct vhu_message m;

	(void)state;
	device();
	assert_int_equal(vhu_device_object_add(rig.device, uuid, done, &told), 0);
	m = expect(VHU_BACKEND_SHARED_OBJECT_ADD, 16);
	assert_memory_equal(m.payload.uuid, uuid, 16);
	channel_answer(VHU_BACKEND_SHARED_OBJECT_ADD, 0);
	assert_int_equal(told.result, 0);
	assert_int_equal(vhu_device_object_remove(rig.device, uuid, done, &told), 0);
	expect(VHU_BACKEND_SHARED_OBJECT_REMOVE, 16);
	channel_answer(VHU_BACKEND_SHARED_OBJECT_REMOVE, 1);
	assert_int_equal(told.count, 2);
	assert_int_equal(told.result, -EREMOTEIO);
}

static void
object_that_is_looked_up_comes_with_its_descriptor(void **state)
{
	(void)state;
	device();
	assert_int_equal(vhu_device_object_lookup(rig.device, uuid, done, &told), 0);
	expect(VHU_BACKEND_SHARED_OBJECT_LOOKUP, 16);
	channel_write(VHU_BACKEND_SHARED_OBJECT_LOOKUP, VHU_FLAG_VERSION | VHU_FLAG_REPLY, 8, 0,
		rig.memory);
	assert_int_equal(told.count, 1);
	assert_int_equal(told.result, 0);
	assert_true(told.fd >= 0);
	close(told.fd);
}

static void
object_that_does_not_exist_is_not_found(void **state)
{
	(void)state;
	device();
	assert_int_equal(vhu_device_object_lookup(rig.device, uuid, done, &told), 0);
	channel_answer(VHU_BACKEND_SHARED_OBJECT_LOOKUP, 1);
	assert_int_equal(told.result, -ENOENT);
	/* An answer that promises a descriptor and brings none. */
	assert_int_equal(vhu_device_object_lookup(rig.device, uuid, done, &told), 0);
	channel_answer(VHU_BACKEND_SHARED_OBJECT_LOOKUP, 0);
	assert_int_equal(told.result, -ENOENT);
	assert_int_equal(told.fd, -1);
}

static void
front_end_gets_our_object(void **state)
{
	(void)state;
	device();
	rig_send(VHU_GET_SHARED_OBJECT, 0, uuid, sizeof(uuid), NULL, 0);
	assert_int_equal(rig.reply.request, VHU_GET_SHARED_OBJECT);
	assert_int_equal(rig.reply.fd_count, 1);
	assert_true(fcntl(rig.reply.fds[0], F_GETFD) >= 0);
	close(rig.reply.fds[0]);
}

static void
front_end_gets_no_object_that_we_do_not_have(void **state)
{
	static const uint8_t other[VHU_UUID_SIZE];
	unsigned int replies;

	(void)state;
	device();
	replies = rig.replies;
	rig_send(VHU_GET_SHARED_OBJECT, 0, other, sizeof(other), NULL, 0);
	assert_int_equal(rig.replies, replies + 1);
	assert_int_equal(rig.reply.fd_count, 0);
}

static void
doorbell_is_given_and_taken_back(void **state)
{
	struct vhu_message m;

	(void)state;
	device();
	assert_int_equal(vhu_device_host_notifier(rig.device, 3, rig.memory, 0x1000, 0x2000, done,
		&told), 0);
	m = expect(VHU_BACKEND_VRING_HOST_NOTIFIER, 24);
	assert_int_equal(m.payload.area.value, 3);
	assert_int_equal(m.payload.area.size, 0x2000);
	assert_int_equal(m.payload.area.offset, 0x1000);
	assert_int_equal(m.fd_count, 1);
	close(m.fds[0]);
	channel_answer(VHU_BACKEND_VRING_HOST_NOTIFIER, 0);
	assert_int_equal(told.result, 0);
	assert_int_equal(vhu_device_host_notifier(rig.device, 3, -1, 0, 0, done, &told), 0);
	m = expect(VHU_BACKEND_VRING_HOST_NOTIFIER, 24);
	assert_int_equal(m.payload.area.value, 0x103);
	assert_int_equal(m.fd_count, 0);
}

static void
doorbell_of_a_ring_that_is_not_there_is_not_sent(void **state)
{
	(void)state;
	device();
	assert_int_equal(vhu_device_host_notifier(rig.device, RIG_RINGS, -1, 0, 0, done, &told),
		-EINVAL);
	assert_int_equal(told.count, 0);
}

static void
descriptors_need_their_feature(void **state)
{
	struct vhu_message m;

	(void)state;
	rig.host_notifiers = true;
	rig_renew_device();
	assert_int_equal(rig_u64(VHU_SET_PROTOCOL_FEATURES,
		rig_protocol() & ~VHU_BIT(VHU_PROTOCOL_BACKEND_SEND_FD)), 0);
	assert_int_equal(rig_u64(VHU_SET_FEATURES, RIG_FEATURES | RIG_PROTOCOL), 0);
	channel_connect();
	rig_run_ring(0);
	assert_int_equal(vhu_device_host_notifier(rig.device, 0, rig.memory, 0, 4096, done, &told),
		-EOPNOTSUPP);
	assert_false(channel_read(&m));
}

static void
region_is_mapped_and_unmapped(void **state)
{
	const struct vhu_shmem_part part = {
		.region = 2, .writable = true, .file_offset = 0x3000, .region_offset = 0x1000,
		.size = 0x1000,
	};
	struct vhu_message m;

	(void)state;
	device();
	assert_int_equal(vhu_device_shmem_map(rig.device, &part, rig.memory, done, &told), 0);
	m = expect(VHU_BACKEND_SHMEM_MAP, 40);
	assert_int_equal(m.fd_count, 1);
	close(m.fds[0]);
	assert_int_equal(m.payload.shmem_map.shmem_id, 2);
	assert_int_equal(m.payload.shmem_map.fd_offset, 0x3000);
	assert_int_equal(m.payload.shmem_map.shmem_offset, 0x1000);
	assert_int_equal(m.payload.shmem_map.size, 0x1000);
	assert_int_equal(m.payload.shmem_map.flags, 1);
	channel_answer(VHU_BACKEND_SHMEM_MAP, 0);
	assert_int_equal(vhu_device_shmem_unmap(rig.device, &part, done, &told), 0);
	expect(VHU_BACKEND_SHMEM_UNMAP, 40);
	channel_answer(VHU_BACKEND_SHMEM_UNMAP, 0);
	assert_int_equal(told.count, 2);
	assert_int_equal(told.result, 0);
}

static void
part_outside_its_region_is_not_sent(void **state)
{
	const struct vhu_shmem_part parts[] = {
		{ .region = 0, .size = 0 }, { .region = 0, .size = 0x10001 },
		{ .region = 0, .size = 1, .region_offset = 0x10000 },
		{ .region = 0, .size = 2, .region_offset = UINT64_MAX },
		{ .region = 1, .size = 1 }, { .region = 3, .size = 1 },
	};
	unsigned int i;

	(void)state;
	device();
	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		assert_int_equal(vhu_device_shmem_map(rig.device, &parts[i], rig.memory, done,
			&told), -EINVAL);
}

static void
regions_are_listed_by_their_number(void **state)
{
	const struct vhu_wire_shmem_config *config = &rig.reply.payload.shmem_config;

	(void)state;
	suspended_device();
	rig_send(VHU_GET_SHMEM_CONFIG, 0, NULL, 0, NULL, 0);
	assert_int_equal(rig.reply.size, 2056);
	assert_int_equal(config->count, 2);
	assert_int_equal(config->sizes[0], 0x10000);
	assert_int_equal(config->sizes[1], 0);
	assert_int_equal(config->sizes[2], 0x2000);
	assert_int_equal(config->sizes[3], 0);
}

static void
change_of_the_configuration_is_told(void **state)
{
	struct vhu_message m;

	(void)state;
	device();
	assert_int_equal(vhu_device_config_changed(rig.device), 0);
	m = channel_take(VHU_BACKEND_CONFIG_CHANGE);
	assert_int_equal(m.flags, 0x1);
	assert_int_equal(m.size, 0);
}

static void
suspended_device_sends_nothing(void **state)
{
	const struct vhu_shmem_part part = { .size = 1 };
	struct vhu_message m;

	(void)state;
	suspended_device();
	assert_int_equal(vhu_device_config_changed(rig.device), -EAGAIN);
	assert_int_equal(vhu_device_object_add(rig.device, uuid, done, &told), -EAGAIN);
	assert_int_equal(vhu_device_shmem_map(rig.device, &part, rig.memory, done, &told), -EAGAIN);
	assert_false(channel_read(&m));
	assert_int_equal(told.count, 0);
}

static void
what_the_device_type_lacks_is_not_offered(void **state)
{
	(void)state;
	assert_int_equal(rig_protocol() & (VHU_BIT(VHU_PROTOCOL_SHARED_OBJECT) |
		VHU_BIT(VHU_PROTOCOL_SHMEM) | VHU_BIT(VHU_PROTOCOL_HOST_NOTIFIER) |
		VHU_BIT(VHU_PROTOCOL_DEVICE_STATE) | VHU_BIT(VHU_PROTOCOL_CROSS_ENDIAN) |
		VHU_BIT(VHU_PROTOCOL_CRYPTO_SESSION) | VHU_BIT(VHU_PROTOCOL_XEN_MMAP)), 0);
}

static uint64_t
write_config(uint32_t offset, uint32_t size, uint32_t flags)
{
	struct vhu_wire_config config = { .offset = offset, .size = size, .flags = flags };

	return rig_ask(VHU_SET_CONFIG, &config, 12 + size, -1);
}

static void
configuration_is_written_where_the_device_allows_it(void **state)
{
	(void)state;
	suspended_device();
	assert_int_equal(write_config(0, 4, 0), 0);
	assert_int_equal(write_config(2, 4, 0), 1);
	assert_int_equal(write_config(2, 4, VHU_CONFIG_MIGRATION), 0);
	assert_int_equal(write_config(0, 4, 2), 1);
	assert_int_equal(write_config(254, 4, VHU_CONFIG_MIGRATION), 1);
	assert_int_equal(write_config(UINT32_MAX, 4, VHU_CONFIG_MIGRATION), 1);
}

static void
other_byte_order_and_sessions_are_refused(void **state)
{
	uint8_t session[64] = { 1 };

	(void)state;
	suspended_device();
	assert_int_equal(rig_state(VHU_SET_VRING_ENDIAN, 0, 1), 1);
	rig_send(VHU_CREATE_CRYPTO_SESSION, 0, session, sizeof(session), NULL, 0);
	assert_int_equal(rig.reply.size, sizeof(session));
	assert_int_equal(rig.reply.payload.bytes[0], 0xff); /* the number -1 */
	assert_int_equal(rig_u64(VHU_CLOSE_CRYPTO_SESSION, 0), 1);
	assert_int_equal(rig_ask(VHU_GPU_SET_SOCKET, NULL, 0, rig_eventfd()), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CHANNEL_TEST(object_is_announced_and_withdrawn),
		CHANNEL_TEST(object_that_is_looked_up_comes_with_its_descriptor),
		CHANNEL_TEST(object_that_does_not_exist_is_not_found),
		CHANNEL_TEST(front_end_gets_our_object),
		CHANNEL_TEST(front_end_gets_no_object_that_we_do_not_have),
		CHANNEL_TEST(doorbell_is_given_and_taken_back),
		CHANNEL_TEST(doorbell_of_a_ring_that_is_not_there_is_not_sent),
		CHANNEL_TEST(descriptors_need_their_feature),
		CHANNEL_TEST(region_is_mapped_and_unmapped),
		CHANNEL_TEST(part_outside_its_region_is_not_sent),
		CHANNEL_TEST(regions_are_listed_by_their_number),
		CHANNEL_TEST(change_of_the_configuration_is_told),
		CHANNEL_TEST(suspended_device_sends_nothing),
		CHANNEL_TEST(what_the_device_type_lacks_is_not_offered),
		CHANNEL_TEST(configuration_is_written_where_the_device_allows_it),
		CHANNEL_TEST(other_byte_order_and_sessions_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
