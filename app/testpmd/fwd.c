/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <string.h>

#include "fwd.h"

const struct fwd_mode *const fwd_modes[] = { &fwd_io, &fwd_mac, &fwd_macswap, &fwd_rxonly,
	&fwd_txonly, &fwd_flowgen, &fwd_csum, &fwd_icmpecho, NULL };

const struct fwd_mode *
fwd_mode_find(const char *name)
{
	for (unsigned int i = 0; fwd_modes[i] != NULL; i++) {
		if (strcmp(fwd_modes[i]->name, name) == 0)
			return fwd_modes[i];
	}
	return NULL;
}
