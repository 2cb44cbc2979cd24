/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_lcore.h>
#include <rte_memory.h>
#include <rte_service.h>
#include <rte_service_component.h>

#include "ctrl/control.h"
#include "ctrl/service.h"
#include "obs/error.h"
#include "obs/log.h"

/**
 * A service core calls in a tight loop; a system call per call would disturb its other services.
 */
#define SERVICE_INTERVAL_US 10
/** Pause of the thread while it waits for lcores to leave a burst: about the time of one. */
#define GRACE_PAUSE_US 50

static int32_t
service_run(void *argument)
{
	struct vhu_control *control = argument;
	uint64_t now = rte_get_tsc_cycles();

	if (now < control->service.next_step)
		return -EAGAIN;
	control->service.next_step = now + control->service.interval;
	return vhu_control_step(control, 0) ? 0 : -EAGAIN;
}

static vhu_thread_result
thread_main(void *argument)
{
	struct vhu_control *control = argument;

	/* Partner: the release store in vhu_service_stop(). */
	while (!atomic_load_explicit(&control->quit, memory_order_acquire)) {
		bool grace;

		vhu_control_lock();
		grace = control->waiting > 0;
		vhu_control_unlock();
		if (grace)
			usleep(GRACE_PAUSE_US);
		vhu_control_step(control, grace ? 0 : VHU_CONTROL_WAIT_MS);
	}
	return 0;
}

/* The service lcore with the fewest services; RTE_MAX_LCORE if there is none. */
static uint32_t
least_busy_lcore(void)
{
	uint32_t lcores[RTE_MAX_LCORE];
	uint32_t best = RTE_MAX_LCORE;
	int32_t fewest = INT32_MAX;
	int32_t count = rte_service_lcore_list(lcores, RTE_MAX_LCORE);

	for (int32_t i = 0; i < count; i++) {
		int32_t services = rte_service_lcore_count_services(lcores[i]);

		/* A core that was never started counts as an error here: it has none. */
		if (services < 0)
			services = 0;
		if (services < fewest) {
			fewest = services;
			best = lcores[i];
		}
	}
	return best;
}

static int
service_register(struct vhu_control *control)
{
	struct vhu_service *service = &control->service;
	struct rte_service_spec spec = {
		.name = "vhu_control",
		.callback = service_run,
		.callback_userdata = control,
		.socket_id = SOCKET_ID_ANY,
	};
	int error;

	service->lcore = least_busy_lcore();
	if (service->lcore == RTE_MAX_LCORE)
		return -ENOENT;
	service->interval = rte_get_tsc_hz() / 1000000 * SERVICE_INTERVAL_US;
	error = rte_service_component_register(&spec, &service->id);
	if (error != 0)
		return error;
	rte_service_component_runstate_set(service->id, 1);
	rte_service_runstate_set(service->id, 1);
	error = rte_service_map_lcore_set(service->id, service->lcore, 1);
	if (error == 0) {
		error = rte_service_lcore_start(service->lcore);
		service->lcore_started = error == 0;
		if (error == -EALREADY)
			error = 0;
	}
	if (error != 0) {
		rte_service_map_lcore_set(service->id, service->lcore, 0);
		rte_service_component_unregister(service->id);
	}
	return error;
}

int
vhu_service_start(struct vhu_control *control)
{
	struct vhu_service *service = &control->service;
	int error;

	if (rte_service_lcore_count() > 0) {
		error = service_register(control);
		if (error == 0) {
			service->is_service = true;
			vhu_log(VHU_LOG_INFO, NULL, VHU_LOG_NO_RING,
				"control loop runs as service %u on lcore %u", service->id,
				service->lcore);
			return 0;
		}
		vhu_log(VHU_LOG_WARNING, NULL, VHU_LOG_NO_RING,
			"no service core takes the control loop (%s): a thread of its own does",
			strerror(-error));
	}
	error = vhu_thread_start(&service->thread, "vhu-control", thread_main, control);
	if (error != 0)
		return vhu_error(error < 0 ? -error : error,
			"the control thread could not be created: %s",
			strerror(error < 0 ? -error : error));
	vhu_log(VHU_LOG_INFO, NULL, VHU_LOG_NO_RING, "control loop runs on a thread of its own");
	return 0;
}

static void
service_unregister(struct vhu_service *service)
{
	rte_service_component_runstate_set(service->id, 0);
	rte_service_runstate_set(service->id, 0);
	/*
	 * The function never blocks, so the core is out of it soon. Still mapped: a core looks only
	 * at services that are, and would not say so otherwise. If we are on that core, in another
	 * of its services, it is out already.
	 */
	while (rte_lcore_id() != service->lcore && rte_service_may_be_active(service->id) == 1)
		usleep(GRACE_PAUSE_US);
	rte_service_map_lcore_set(service->id, service->lcore, 0);
	rte_service_component_unregister(service->id);
	if (service->lcore_started)
		rte_service_lcore_stop(service->lcore);
}

void
vhu_service_stop(struct vhu_control *control)
{
	if (control->service.is_service) {
		service_unregister(&control->service);
		return;
	}
	/* Partner: the acquire load in thread_main(). */
	atomic_store_explicit(&control->quit, true, memory_order_release);
	vhu_loop_wake(control->loop);
	vhu_thread_join(control->service.thread);
}
