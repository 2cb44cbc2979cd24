/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Life of ports and of the control loop under them. */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <rte_mbuf.h>
#include <rte_service.h>

#include <vhu.h>
#include <vhu_net.h>

#include "eal.h"
#include "front_end.h"

/* The path is good until the next call. */
static struct vhu_port_options
make_options(const char *name)
{
	static char path[VHU_PATH_SIZE];
	struct vhu_port_options options;

	vhu_port_options_init(&options);
	options.path = eal_socket_path(path, name);
	return options;
}

static struct vhu_port *
create(const char *name)
{
	struct vhu_port_options options = make_options(name);
	struct vhu_port *port;

	if (vhu_port_create(&options, &port) != 0)
		fail_msg("%s", vhu_error_text());
	return port;
}

static unsigned int
count_threads(void)
{
	DIR *directory = opendir("/proc/self/task");
	unsigned int count = 0;

	assert_non_null(directory);
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count - 2;
}

/* A thread that has been joined may still be listed for a moment: wait for what must come. */
static void
assert_threads(unsigned int expected)
{
	for (unsigned int i = 0; i < 1000 && count_threads() != expected; i++)
		usleep(1000);
	assert_int_equal(count_threads(), expected);
}

static void
ports_leave_no_descriptor_and_no_thread(void **state)
{
	unsigned int threads = count_threads();
	unsigned int fds;

	(void)state;
	/* What the first port of a process leaves behind for good, if anything, is not a leak. */
	vhu_port_destroy(create("census"));
	fds = unit_open_fds();
	assert_threads(threads);
	for (unsigned int i = 0; i < 100; i++)
		vhu_port_destroy(create("census"));
	assert_int_equal(unit_open_fds(), fds);
	assert_threads(threads);
}

static void
connected_ports_leave_no_descriptor_and_no_thread(void **state)
{
	unsigned int fds = unit_open_fds();
	unsigned int threads = count_threads();

	(void)state;
	for (unsigned int i = 0; i < 20; i++) {
		struct vhu_port *port = create("census");
		struct front_end front_end;
		struct vhu_port_info info;
		char path[VHU_PATH_SIZE];

		front_end_connect(&front_end, eal_socket_path(path, "census"));
		front_end_negotiate(&front_end, VHU_BIT(VIRTIO_F_VERSION_1), 0);
		front_end_share_memory(&front_end);
		front_end_start_ring(&front_end, 0);
		front_end_ring_value(&front_end, VHU_SET_VRING_ENABLE, 0, 1);
		front_end_ask_u64(&front_end, VHU_GET_FEATURES);
		vhu_port_info(port, &info);
		assert_true(info.connected);
		assert_int_equal(info.memory_regions, 1);
		assert_int_equal(info.memory_bytes, FRONT_END_MEMORY);
		vhu_port_destroy(port);
		front_end_leave(&front_end);
	}
	assert_int_equal(unit_open_fds(), fds);
	assert_threads(threads);
}

static void
two_ports_share_one_control_loop(void **state)
{
	unsigned int threads = count_threads();
	struct vhu_port *first, *second;

	(void)state;
	first = create("first");
	assert_threads(threads + 2);
	second = create("second");
	assert_threads(threads + 2);
	vhu_port_destroy(first);
	assert_threads(threads + 2);
	vhu_port_destroy(second);
	assert_threads(threads);
}

static void
failed_creation_stops_the_loop_again(void **state)
{
	struct vhu_port_options options = make_options("missing/socket");
	unsigned int fds = unit_open_fds();
	unsigned int threads = count_threads();
	struct vhu_port *port;

	(void)state;
	assert_int_equal(vhu_port_create(&options, &port), -ENOENT);
	assert_int_equal(unit_open_fds(), fds);
	assert_threads(threads);
}

static void
destroying_nothing_is_allowed(void **state)
{
	(void)state;
	vhu_port_destroy(NULL);
}

static void
socket_appears_and_disappears_with_the_port(void **state)
{
	struct vhu_port_options options = make_options("socket");
	struct vhu_port *port;
	struct stat status;

	(void)state;
	options.socket_mode = 0640;
	assert_int_equal(vhu_port_create(&options, &port), 0);
	assert_int_equal(stat(options.path, &status), 0);
	assert_true(S_ISSOCK(status.st_mode));
	assert_int_equal(status.st_mode & 0777, 0640);
	vhu_port_destroy(port);
	assert_int_equal(stat(options.path, &status), -1);
}

static void
path_that_another_port_serves_is_refused(void **state)
{
	struct vhu_port_options options = make_options("busy");
	struct vhu_port *port = create("busy");
	struct vhu_port *second;

	(void)state;
	options.name = "second";
	assert_int_equal(vhu_port_create(&options, &second), -EADDRINUSE);
	assert_non_null(strstr(vhu_error_text(), "port busy"));
	vhu_port_destroy(port);
}

static void
path_that_another_process_serves_is_refused(void **state)
{
	struct vhu_port_options options = make_options("foreign");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct vhu_port *port;

	(void)state;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", options.path);
	assert_int_equal(bind(listener, (void *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(vhu_port_create(&options, &port), -EADDRINUSE);
	/* The listener goes, its path stays: that is what a crashed process leaves. */
	close(listener);
	assert_int_equal(vhu_port_create(&options, &port), 0);
	vhu_port_destroy(port);
}

static void
path_of_an_ordinary_file_is_refused(void **state)
{
	struct vhu_port_options options = make_options("file");
	int file = open(options.path, O_CREAT | O_EXCL | O_CLOEXEC | O_WRONLY, 0600);
	struct vhu_port *port;

	(void)state;
	assert_true(file >= 0);
	close(file);
	assert_int_equal(vhu_port_create(&options, &port), -EEXIST);
	assert_int_equal(unlink(options.path), 0);
}

static void
second_port_of_the_same_name_is_refused(void **state)
{
	struct vhu_port *port = create("twin");
	struct vhu_port_options options = make_options("another");
	struct vhu_port *second;

	(void)state;
	options.name = "twin";
	assert_int_equal(vhu_port_create(&options, &second), -EEXIST);
	assert_non_null(strstr(vhu_error_text(), "vhu_port_options.name"));
	vhu_port_destroy(port);
}

static void
name_is_taken_from_the_path(void **state)
{
	struct vhu_port *port = create("a name, too long for what a port may have.sock");
	struct vhu_port_info info;

	(void)state;
	vhu_port_info(port, &info);
	assert_string_equal(info.name, "a_name__too_long_for_what_a_por");
	vhu_port_destroy(port);
}

static void
queues_exist_for_each_pair_and_no_more(void **state)
{
	struct vhu_port_options options = make_options("queues");
	struct vhu_queue_info info;
	struct vhu_port *port;

	(void)state;
	options.queue_pairs = VHU_MAX_QUEUE_PAIRS;
	assert_int_equal(vhu_port_create(&options, &port), 0);
	for (uint16_t pair = 0; pair < VHU_MAX_QUEUE_PAIRS; pair++) {
		vhu_queue_info(vhu_port_tx_queue(port, pair), &info);
		assert_int_equal(info.ring, 2 * pair);
		vhu_queue_info(vhu_port_rx_queue(port, pair), &info);
		assert_int_equal(info.ring, 2 * pair + 1);
	}
	assert_null(vhu_port_tx_queue(port, VHU_MAX_QUEUE_PAIRS));
	assert_null(vhu_port_rx_queue(port, VHU_MAX_QUEUE_PAIRS));
	vhu_port_destroy(port);
}

static void
queue_that_does_not_run_moves_nothing(void **state)
{
	struct vhu_port *port = create("still");
	struct vhu_queue_stats stats;
	struct rte_mbuf *packets[4];

	(void)state;
	assert_int_equal(vhu_rx_burst(vhu_port_rx_queue(port, 0), packets, 4), 0);
	assert_int_equal(vhu_tx_burst(vhu_port_tx_queue(port, 0), packets, 0), 0);
	vhu_queue_stats(vhu_port_rx_queue(port, 0), &stats);
	assert_true(stats.packets == 0);
	vhu_port_destroy(port);
}

static void
queue_that_cannot_be_set_up_says_why(void **state)
{
	struct vhu_port *port = create("setup");
	struct vhu_rx_options rx = { .mempool = NULL };

	(void)state;
	assert_int_equal(vhu_rx_queue_setup(vhu_port_rx_queue(port, 0), NULL), -EINVAL);
	assert_non_null(strstr(vhu_error_text(), "needs a queue and options"));
	assert_int_equal(vhu_rx_queue_setup(vhu_port_rx_queue(port, 0), &rx), -EINVAL);
	assert_non_null(strstr(vhu_error_text(), "vhu_rx_options.mempool"));
	assert_int_equal(vhu_rx_queue_setup(vhu_port_tx_queue(port, 0), &rx), -EINVAL);
	assert_non_null(strstr(vhu_error_text(), "transmits to the guest"));
	rx.mempool = rte_pktmbuf_pool_create("tiny", 15, 0, 0, RTE_PKTMBUF_HEADROOM + 64,
		SOCKET_ID_ANY);
	assert_int_equal(vhu_rx_queue_setup(vhu_port_rx_queue(port, 0), &rx), -EINVAL);
	assert_non_null(strstr(vhu_error_text(), "256 are needed"));
	rte_mempool_free(rx.mempool);
	assert_int_equal(vhu_rx_queue_wait_arm(vhu_port_tx_queue(port, 0)), -EINVAL);
	assert_non_null(strstr(vhu_error_text(), "only receive queues wait"));
	vhu_port_destroy(port);
}

static void
information_of_a_fresh_port_is_what_was_asked_for(void **state)
{
	struct vhu_port_options options = make_options("fresh");
	struct vhu_port_info info;
	struct vhu_port *port;

	(void)state;
	options.queue_pairs = 2;
	options.mtu = 1500;
	options.features_disabled = VHU_BIT(VIRTIO_NET_F_CSUM);
	assert_int_equal(vhu_port_create(&options, &port), 0);
	memset(&info, 0xff, sizeof(info));
	vhu_port_info(port, &info);
	assert_string_equal(info.name, "fresh");
	assert_string_equal(info.path, options.path);
	assert_int_equal(info.role, VHU_ROLE_SERVER);
	assert_false(info.connected);
	assert_false(info.up);
	assert_int_equal(info.queue_pairs, 2);
	assert_int_equal(info.queue_pairs_running, 0);
	assert_int_equal(info.mtu, 1500);
	assert_true((info.features_offered & VHU_BIT(VIRTIO_NET_F_MQ)) != 0);
	assert_true((info.features_offered & VHU_BIT(VIRTIO_NET_F_MTU)) != 0);
	assert_true((info.features_offered & VHU_BIT(VIRTIO_F_VERSION_1)) != 0);
	assert_true((info.features_offered & VHU_BIT(VIRTIO_NET_F_CSUM)) == 0);
	assert_int_equal(info.memory_regions, 0);
	assert_true(info.connections == 0 && info.messages == 0 && info.refusals == 0);
	assert_string_equal(info.last_refusal, "");
	vhu_port_destroy(port);
}

static void
client_connects_as_soon_as_somebody_listens(void **state)
{
	struct vhu_port_options options = make_options("client");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct front_end front_end;
	struct vhu_port *port;

	(void)state;
	options.role = VHU_ROLE_CLIENT;
	options.reconnect_max_ms = 10;
	assert_int_equal(vhu_port_create(&options, &port), 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", options.path);
	for (unsigned int life = 0; life < 3; life++) {
		int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		assert_int_equal(bind(listener, (void *)&address, sizeof(address)), 0);
		assert_int_equal(listen(listener, 1), 0);
		front_end.socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		assert_true(front_end.socket >= 0);
		assert_true(front_end_ask_u64(&front_end, VHU_GET_FEATURES) != 0);
		close(front_end.socket);
		close(listener);
		assert_int_equal(unlink(options.path), 0);
	}
	vhu_port_destroy(port);
}

static void
counters_begin_anew_after_a_reset(void **state)
{
	struct vhu_port *port = create("counters");
	struct vhu_queue *queue = vhu_port_rx_queue(port, 0);
	struct vhu_queue_stats stats;
	struct front_end front_end;
	struct rte_mbuf *packets[1];
	struct vhu_rx_options rx = { 0 };
	char path[VHU_PATH_SIZE];

	(void)state;
	rx.mempool = rte_pktmbuf_pool_create("counters", 63, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
		SOCKET_ID_ANY);
	assert_non_null(rx.mempool);
	assert_int_equal(vhu_rx_queue_setup(queue, &rx), 0);
	front_end_connect(&front_end, eal_socket_path(path, "counters"));
	front_end_negotiate(&front_end, VHU_BIT(VIRTIO_F_VERSION_1), 0);
	front_end_share_memory(&front_end);
	front_end_start_ring(&front_end, 1);
	front_end_ring_value(&front_end, VHU_SET_VRING_ENABLE, 1, 1);
	front_end_ask_u64(&front_end, VHU_GET_FEATURES);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(vhu_rx_burst(queue, packets, 1), 0);
	vhu_queue_stats(queue, &stats);
	assert_true(stats.empty == 5);
	vhu_queue_stats_reset(queue);
	vhu_queue_stats(queue, &stats);
	assert_true(stats.empty == 0);
	vhu_rx_burst(queue, packets, 1);
	vhu_queue_stats(queue, &stats);
	assert_true(stats.empty == 1);
	vhu_port_destroy(port);
	front_end_leave(&front_end);
	rte_mempool_free(rx.mempool);
}

static void
control_loop_runs_on_a_service_core_if_there_is_one(void **state)
{
	unsigned int threads = count_threads();
	unsigned int fds = unit_open_fds();
	struct front_end front_end;
	struct vhu_port *port;
	char path[VHU_PATH_SIZE];

	(void)state;
	assert_int_equal(vhu_control_service(), -1);
	assert_int_equal(rte_service_lcore_add(1), 0);
	port = create("service");
	assert_true(vhu_control_service() >= 0);
	assert_string_equal(rte_service_get_name(vhu_control_service()), "vhu_control");
	assert_threads(threads + 1); /* the worker */
	front_end_connect(&front_end, eal_socket_path(path, "service"));
	assert_true(front_end_ask_u64(&front_end, VHU_GET_FEATURES) != 0);
	vhu_port_destroy(port);
	front_end_leave(&front_end);
	assert_int_equal(vhu_control_service(), -1);
	assert_int_equal(rte_service_get_count(), 0);
	assert_threads(threads);
	assert_int_equal(unit_open_fds(), fds);
	assert_int_equal(rte_service_lcore_del(1), 0);
}

static void
port_can_be_destroyed_when_its_service_core_has_stopped(void **state)
{
	struct front_end front_end;
	struct vhu_port *port;
	char path[VHU_PATH_SIZE];

	(void)state;
	assert_int_equal(rte_service_lcore_add(1), 0);
	port = create("stopped");
	front_end_connect(&front_end, eal_socket_path(path, "stopped"));
	front_end_negotiate(&front_end, VHU_BIT(VIRTIO_F_VERSION_1), 0);
	front_end_share_memory(&front_end);
	front_end_start_ring(&front_end, 0);
	front_end_ask_u64(&front_end, VHU_GET_FEATURES);
	rte_service_runstate_set(vhu_control_service(), 0);
	assert_int_equal(rte_service_lcore_stop(1), 0);
	vhu_port_destroy(port);
	front_end_leave(&front_end);
	assert_int_equal(rte_service_lcore_del(1), 0);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_leave_no_descriptor_and_no_thread),
		cmocka_unit_test(connected_ports_leave_no_descriptor_and_no_thread),
		cmocka_unit_test(two_ports_share_one_control_loop),
		cmocka_unit_test(failed_creation_stops_the_loop_again),
		cmocka_unit_test(destroying_nothing_is_allowed),
		cmocka_unit_test(socket_appears_and_disappears_with_the_port),
		cmocka_unit_test(path_that_another_port_serves_is_refused),
		cmocka_unit_test(path_that_another_process_serves_is_refused),
		cmocka_unit_test(path_of_an_ordinary_file_is_refused),
		cmocka_unit_test(second_port_of_the_same_name_is_refused),
		cmocka_unit_test(name_is_taken_from_the_path),
		cmocka_unit_test(queues_exist_for_each_pair_and_no_more),
		cmocka_unit_test(queue_that_does_not_run_moves_nothing),
		cmocka_unit_test(queue_that_cannot_be_set_up_says_why),
		cmocka_unit_test(information_of_a_fresh_port_is_what_was_asked_for),
		cmocka_unit_test(client_connects_as_soon_as_somebody_listens),
		cmocka_unit_test(counters_begin_anew_after_a_reset),
		cmocka_unit_test(control_loop_runs_on_a_service_core_if_there_is_one),
		cmocka_unit_test(port_can_be_destroyed_when_its_service_core_has_stopped),
	};

	return cmocka_run_group_tests_name("ctrl port", tests, start, end);
}
