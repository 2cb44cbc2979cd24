/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * Receive interrupts: applications that sleep on an epoll set until the guest kicks.
 *
 * The library gives each receive queue one descriptor that stays the same for the life of the
 * port, so the interrupt handle is filled once at start and never touched on a reconnect.
 */

#include <errno.h>

#include <rte_interrupts.h>

#include "vhu_ethdev.h"

void
vhu_eth_interrupts_off(struct rte_eth_dev *dev)
{
	struct vhu_eth *eth = vhu_eth_of(dev);

	if (!eth->interrupts)
		return;
	/* The descriptors belong to the library; the handle only names them. */
	rte_intr_nb_efd_set(dev->intr_handle, 0);
	rte_intr_vec_list_free(dev->intr_handle);
	eth->interrupts = false;
}

static int
add_queue(struct rte_intr_handle *handle, const struct vhu_eth_queue *queue, uint16_t index)
{
	const int descriptor = vhu_rx_queue_wait_fd(queue->handle);

	if (descriptor < 0)
		return descriptor;
	if (rte_intr_efds_index_set(handle, index, descriptor) != 0 ||
		rte_intr_vec_list_index_set(handle, index, RTE_INTR_VEC_RXTX_OFFSET + index) != 0)
		return -ENOSPC;
	return 0;
}

static int
fill_handle(struct rte_eth_dev *dev)
{
	const struct vhu_eth *eth = vhu_eth_of(dev);
	struct rte_intr_handle *handle = dev->intr_handle;
	const uint16_t count = dev->data->nb_rx_queues;
	uint16_t index;
	int result;

	if (rte_intr_vec_list_alloc(handle, NULL, count) != 0)
		return -ENOMEM;
	for (index = 0; index < count; index++) {
		result = add_queue(handle, &eth->receive[index], index);
		if (result != 0)
			return result;
	}
	/* Nothing may be read from the descriptors: disarming clears a kick. */
	if (rte_intr_nb_efd_set(handle, count) != 0 ||
			rte_intr_max_intr_set(handle, count + 1) != 0 ||
			rte_intr_type_set(handle, RTE_INTR_HANDLE_VDEV) != 0 ||
			rte_intr_efd_counter_size_set(handle, 0) != 0)
		return -EINVAL;
	return 0;
}

int
vhu_eth_interrupts_on(struct rte_eth_dev *dev)
{
	struct vhu_eth *eth = vhu_eth_of(dev);
	int result;

	vhu_eth_interrupts_off(dev);
	result = fill_handle(dev);
	if (result != 0) {
		VHU_ETH_LOG(ERR, dev->data->name,
			"cannot make interrupts for %u receive queues; use fewer, or poll",
			dev->data->nb_rx_queues);
		rte_intr_vec_list_free(dev->intr_handle);
		return result;
	}
	eth->interrupts = true;
	return 0;
}

int
vhu_eth_rx_interrupt_enable(struct rte_eth_dev *dev, uint16_t index)
{
	const int result = vhu_rx_queue_wait_arm(vhu_eth_of(dev)->receive[index].handle);

	/*
	 * While the guest is away the application sleeps: the descriptor wakes it when it is back.
	 */
	return result == -ENOTCONN ? 0 : result;
}

int
vhu_eth_rx_interrupt_disable(struct rte_eth_dev *dev, uint16_t index)
{
	return vhu_rx_queue_wait_disarm(vhu_eth_of(dev)->receive[index].handle);
}
