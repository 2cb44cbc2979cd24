/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/* Where programs of QEMU's tree expect the kernel's header. */
#include <linux/virtio_net.h>
