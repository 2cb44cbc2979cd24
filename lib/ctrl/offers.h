/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_CTRL_OFFERS_H
#define VHU_CTRL_OFFERS_H

/**
 * @file
 * Offers: which feature bits a port with these options announces. Pure functions, any thread.
 *
 * What data path and device can serve is asked of them; an offer that is withheld takes its bits
 * away. So a bit that nobody serves is never announced, whatever the options say.
 */

#include <vhu.h>

/** Offers that a port makes unless told otherwise. */
#define VHU_OFFERS_DEFAULT \
	((UINT32_C(1) << VHU_OFFERS) - 1 - VHU_OFFER_BIT(IOMMU) - VHU_OFFER_BIT(POSTCOPY) - \
	VHU_OFFER_BIT(CONTROL_QUEUE) - VHU_OFFER_BIT(HASH) - VHU_OFFER_BIT(IN_BAND) - \
	VHU_OFFER_BIT(RING_RESET))

/** @return 0, or a negative errno with its sentence kept. */
int vhu_offers_check(const struct vhu_port_options *options);
/** Virtio features to offer. */
uint64_t vhu_offers_features(const struct vhu_port_options *options);
/** Protocol features to offer, as far as the device serves them. */
uint64_t vhu_offers_protocol_features(const struct vhu_port_options *options);

#endif /* VHU_CTRL_OFFERS_H */
