/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Telemetry commands, asked over the socket that dpdk-telemetry.py uses. */

#include <vhu.h>

#include "eal.h"
#include "front_end.h"

#define ANSWER_ROOM (64 * 1024)

static char answer[ANSWER_ROOM];

/* Ask one command; the answer stays in `answer` until the next. */
static const char *
ask(const char *command)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	ssize_t size;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/dpdk_telemetry.v2",
		rte_eal_get_runtime_dir());
	assert_int_equal(connect(client, (void *)&address, sizeof(address)), 0);
	assert_true(read(client, answer, sizeof(answer)) > 0); /* the greeting */
	assert_int_equal(write(client, command, strlen(command)), strlen(command));
	size = read(client, answer, sizeof(answer) - 1);
	assert_true(size > 0);
	answer[size] = '\0';
	close(client);
	return answer;
}

static void
assert_says(const char *command, const char *part)
{
	if (strstr(ask(command), part) == NULL)
		fail_msg("%s answers %s instead of %s", command, answer, part);
}

static struct vhu_port *
create(const char *name, uint16_t queue_pairs)
{
	struct vhu_port_options options;
	struct vhu_port *port;
	char path[VHU_PATH_SIZE];

	vhu_port_options_init(&options);
	options.path = eal_socket_path(path, name);
	options.queue_pairs = queue_pairs;
	if (vhu_port_create(&options, &port) != 0)
		fail_msg("%s", vhu_error_text());
	return port;
}

static void
list_has_the_ports_that_exist(void **state)
{
	struct vhu_port *first = create("first", 1);
	struct vhu_port *second = create("second", 1);

	(void)state;
	assert_string_equal(ask("/vhu/list"), "{\"/vhu/list\":[\"first\",\"second\"]}");
	vhu_port_destroy(first);
	assert_string_equal(ask("/vhu/list"), "{\"/vhu/list\":[\"second\"]}");
	vhu_port_destroy(second);
	/* The control loop has stopped, the commands remain. */
	assert_string_equal(ask("/vhu/list"), "{\"/vhu/list\":[]}");
	assert_string_equal(ask("/vhu/port,second"), "{\"/vhu/port\":null}");
}

static void
port_is_described(void **state)
{
	struct vhu_port *port = create("described", 3);

	(void)state;
	assert_says("/vhu/port,described", "\"name\":\"described\"");
	assert_says("/vhu/port,described", "\"role\":\"server\"");
	assert_says("/vhu/port,described", "\"connected\":0");
	assert_says("/vhu/port,described", "\"queue_pairs\":3");
	assert_says("/vhu/port,described", "\"format\":\"split\",\"in_order\":0,\"iommu\":0");
	assert_says("/vhu/port,described", "\"postcopy\":\"none\",\"iotlb_entries\":0");
	vhu_port_destroy(port);
}

static void
rings_and_memory_of_a_running_port_are_described(void **state)
{
	struct vhu_port *port = create("running", 1);
	struct front_end front_end;
	char path[VHU_PATH_SIZE];

	(void)state;
	front_end_connect(&front_end, eal_socket_path(path, "running"));
	front_end_negotiate(&front_end, VHU_BIT(VIRTIO_F_VERSION_1), 0);
	front_end_share_memory(&front_end);
	front_end_start_ring(&front_end, 1);
	front_end_ask_u64(&front_end, VHU_GET_FEATURES);
	assert_says("/vhu/rings,running",
		"\"ring1\":{\"direction\":\"rx\",\"size\":8,\"started\":1");
	assert_says("/vhu/memory,running", "\"total\":1");
	assert_says("/vhu/memory,running", "\"user_address\":\"0x7f0000000000\",\"size\":2097152");
	assert_says("/vhu/stats,running", "\"ring0\":{\"packets\":0");
	assert_says("/vhu/histograms,running", "\"ring1\":{\"undersize_packets\":0");
	assert_says("/vhu/port,running", "\"histograms\":0");
	assert_int_equal(vhu_port_set_histograms(port, true), 0);
	assert_says("/vhu/port,running", "\"histograms\":1");
	vhu_port_destroy(port);
	front_end_leave(&front_end);
}

static void
long_lists_come_in_parts(void **state)
{
	struct vhu_port *port = create("long", VHU_MAX_QUEUE_PAIRS);

	(void)state;
	assert_says("/vhu/rings,long", "\"total\":256");
	assert_says("/vhu/rings,long", "\"ring15\":{");
	assert_null(strstr(answer, "\"ring16\":{"));
	assert_says("/vhu/stats,long,240", "\"ring255\":{");
	assert_null(strstr(answer, "\"ring239\":{"));
	assert_says("/vhu/histograms,long,240", "\"ring255\":{\"undersize_packets\":0");
	assert_says("/vhu/histograms,long,240", "\"bursts_full\":0}}}");
	assert_string_equal(ask("/vhu/rings,long,256"), "{\"/vhu/rings\":{\"total\":256}}");
	vhu_port_destroy(port);
}

static void
bad_parameters_are_answered_with_null(void **state)
{
	static const char *const commands[] = {
		"/vhu/port", "/vhu/port,", "/vhu/port,nobody", "/vhu/port,,", "/vhu/rings,here,",
		"/vhu/rings,here,x", "/vhu/rings,here,-1", "/vhu/rings,here,1x",
		"/vhu/rings,here,99999999999999999999", "/vhu/memory,heretoo",
		"/vhu/stats,here,1,2",
		"/vhu/port,a-name-that-is-longer-than-any-port-can-have-at-all",
	};
	struct vhu_port *port = create("here", 1);

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(commands); i++)
		assert_says(commands[i], ":null}");
	vhu_port_destroy(port);
}

static int
start(void **state)
{
	(void)state;
	return eal_start_with("--telemetry");
}

static int
end(void **state)
{
	(void)state;
	return eal_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(list_has_the_ports_that_exist),
		cmocka_unit_test(port_is_described),
		cmocka_unit_test(rings_and_memory_of_a_running_port_are_described),
		cmocka_unit_test(long_lists_come_in_parts),
		cmocka_unit_test(bad_parameters_are_answered_with_null),
	};

	return cmocka_run_group_tests_name("ctrl telemetry", tests, start, end);
}
