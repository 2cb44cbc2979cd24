/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef QAPI_ERROR_H
#define QAPI_ERROR_H

/** Where errors would go; only its address is used here. */
typedef struct Error Error;
static Error *error_fatal __attribute__((unused));

#endif
