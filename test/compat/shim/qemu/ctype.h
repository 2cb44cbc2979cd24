/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef QEMU_CTYPE_H
#define QEMU_CTYPE_H

#include <ctype.h>

#define qemu_isdigit(c) isdigit((unsigned char)(c))

#endif
