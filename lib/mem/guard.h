/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_MEM_GUARD_H
#define VHU_MEM_GUARD_H

/**
 * @file
 * The guard: what becomes of memory whose file a front-end cuts off after it was mapped.
 *
 * Whoever touches a page that the file has no more is sent SIGBUS, in the middle of a burst. With
 * the guard on, the handler puts memory of zeros in place of the whole mapping and notes that it is
 * lost; the access is then done again and finds zeros, which are as good as anything else a guest
 * may write. The control thread looks for lost mappings now and then and hangs up.
 *
 * A handler belongs to the process, so the guard is off until vhu_guard_on(). Faults that lie in
 * none of our mappings go to the handler that was there before.
 */

#include <stdbool.h>
#include <stdint.h>

/** Mappings that can be guarded at once; further ones are not. */
#define VHU_GUARD_MAPPINGS 8192

/** Install the handler, once. Any thread. @return 0 or -errno. */
int vhu_guard_on(void);

/**
 * Guard a mapping of a file from another process; nothing happens while the guard is off. Any
 * thread.
 */
void vhu_guard_add(void *mapping, uint64_t size);
/** To be called before munmap(), whether it was added or not. Any thread. */
void vhu_guard_remove(void *mapping);

/** Has it been replaced by zeros? Any thread. */
bool vhu_guard_lost(const void *mapping);
/** How many mappings were lost since the process began: changes when it is time to look. */
uint64_t vhu_guard_count(void);

#endif /* VHU_MEM_GUARD_H */
