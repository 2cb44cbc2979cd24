/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_MEM_POSTCOPY_H
#define VHU_MEM_POSTCOPY_H

/**
 * @file
 * Postcopy: guest memory whose pages arrive when they are touched (userfaultfd).
 *
 * Whoever touches a page that is missing sleeps in the kernel until the front-end, which reads the
 * same userfaultfd, has put it there. For an lcore that is only slow. No state; any thread.
 */

#include <stdbool.h>
#include <stdint.h>

/** Does all of this work for us here? Tried once per process. */
bool vhu_postcopy_works(void);

/** A userfaultfd that is ready to be registered with; the caller's. @return it, or -errno. */
int vhu_postcopy_open(void);

/** Have faults of missing pages in a range of this process reported there. @return 0 or -errno. */
int vhu_postcopy_register(int userfaultfd, void *start, uint64_t size);
/** No longer, and let those go on (with what is there) who wait. */
void vhu_postcopy_unregister(int userfaultfd, void *start, uint64_t size);

#endif /* VHU_MEM_POSTCOPY_H */
