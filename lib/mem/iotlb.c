/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include "mem/iotlb.h"

/* Not offered yet: nobody has one. */

void *
vhu_iotlb_translate(const struct vhu_iotlb *iotlb, struct vhu_hint *hint, uint64_t address,
	uint64_t *size, enum vhu_access access)
{
	(void)iotlb;
	(void)hint;
	(void)address;
	(void)access;
	*size = 0;
	return 0;
}

uint64_t
vhu_iotlb_generation(const struct vhu_iotlb *iotlb)
{
	(void)iotlb;
	return 0;
}
