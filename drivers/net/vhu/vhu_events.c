/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * From the guest's doings to ethdev's: link state and events.
 *
 * The link is up while the guest's device runs and the application's port is started. Both facts
 * have one writer each; whoever changes one, or is asked, derives the link from both.
 */

#include <string.h>

#include "vhu_ethdev.h"

static uint8_t
link_wanted(const struct vhu_eth *eth)
{
	return __atomic_load_n(&eth->guest_up, __ATOMIC_SEQ_CST) &&
		__atomic_load_n(&eth->started, __ATOMIC_SEQ_CST);
}

static int
set_link(struct rte_eth_dev *dev, uint8_t up)
{
	struct rte_eth_link link;

	memset(&link, 0, sizeof(link));
	link.link_status = up ? RTE_ETH_LINK_UP : RTE_ETH_LINK_DOWN;
	/* Memory has no line rate: nothing that could be said would be true. */
	link.link_speed = up ? RTE_ETH_SPEED_NUM_UNKNOWN : RTE_ETH_SPEED_NUM_NONE;
	link.link_duplex = RTE_ETH_LINK_FULL_DUPLEX;
	link.link_autoneg = RTE_ETH_LINK_FIXED;
	return rte_eth_linkstatus_set(dev, &link);
}

int
vhu_eth_refresh_link(struct vhu_eth *eth)
{
	int changed = -1;
	uint8_t up;

	/*
	 * Two threads may be here at once. Each writes its fact before it comes, and looks again
	 * after it has set the link, so the last one to leave leaves the truth (all sequentially
	 * consistent; partner: the same loop in the other thread).
	 */
	do {
		up = link_wanted(eth);
		if (set_link(eth->dev, up) == 0)
			changed = 0;
	} while (link_wanted(eth) != up);
	return changed;
}

int
vhu_eth_link_update(struct rte_eth_dev *dev, int wait __rte_unused)
{
	return vhu_eth_refresh_link(vhu_eth_of(dev));
}

static void
guest_changed(struct vhu_eth *eth, uint8_t up)
{
	struct rte_eth_dev *dev = eth->dev;

	__atomic_store_n(&eth->guest_up, up, __ATOMIC_SEQ_CST);
	vhu_eth_refresh_link(eth);
	/* While the port is stopped its link stays down: nothing to tell. */
	if (__atomic_load_n(&eth->started, __ATOMIC_SEQ_CST) && dev->data->dev_conf.intr_conf.lsc)
		rte_eth_dev_callback_process(dev, RTE_ETH_EVENT_INTR_LSC, NULL);
}

static void
queue_changed(struct vhu_eth *eth)
{
	/* Before the port is announced nobody can have asked. */
	if (eth->dev->state == RTE_ETH_DEV_ATTACHED)
		rte_eth_dev_callback_process(eth->dev, RTE_ETH_EVENT_QUEUE_STATE, NULL);
}

void
vhu_eth_event(struct vhu_port *port __rte_unused, const struct vhu_event *event, void *data)
{
	struct vhu_eth *eth = data;

	switch (event->type) {
	case VHU_EVENT_DEVICE_UP:
		guest_changed(eth, 1);
		break;
	case VHU_EVENT_DEVICE_DOWN:
		guest_changed(eth, 0);
		break;
	case VHU_EVENT_RING_STARTED:
	case VHU_EVENT_RING_STOPPED:
	case VHU_EVENT_RING_ENABLED:
	case VHU_EVENT_RING_DISABLED:
	case VHU_EVENT_RING_BROKEN:
		queue_changed(eth);
		break;
	default:
		break; /* the library logs the rest; ethdev has no word for it */
	}
}
