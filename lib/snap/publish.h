/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_SNAP_PUBLISH_H
#define VHU_SNAP_PUBLISH_H

/**
 * @file
 * Publication: give readers a new snapshot, and learn when the last one left the old.
 *
 * Publishing never waits. What must follow the grace period (unmap, close, read the ring's
 * position, acknowledge) is a continuation: vhu_grace_begin() looks at the readers once and either
 * runs it at once or keeps it in the domain, where vhu_grace_step() looks again. A reader that
 * nobody polls is outside and holds nobody up. Control thread only.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "snap/reader.h"

/** Runs on the control thread when all readers have been seen outside or past the swap. */
typedef void (*vhu_grace_fn)(void *argument);

/** A reader that was inside when the grace period began, and the section it was in. */
struct vhu_busy_reader {
	const struct vhu_reader *reader;
	uint64_t section;
};

/**
 * A grace period under way. The caller's memory, so that it can always begin; in use until @p then
 * is called.
 */
struct vhu_grace {
	TAILQ_ENTRY(vhu_grace) link;
	vhu_grace_fn then;
	void *argument;
	unsigned int count;
	/** for the caller to set: room for as many readers as are given to vhu_grace_begin() */
	struct vhu_busy_reader *busy;
};

TAILQ_HEAD(vhu_grace_list, vhu_grace);

/** Continuations that wait. One per control loop (or per device in the vu_* API). */
struct vhu_grace_domain {
	struct vhu_grace_list waiting;
};

/** Find out once per process whether membarrier() works. Idempotent. */
void vhu_publish_init(void);

void vhu_grace_domain_init(struct vhu_grace_domain *domain);

/**
 * Store a new snapshot for the reader's next burst.
 * @param snapshot  never NULL; &vhu_snapshot_parked to park the ring.
 * @return the snapshot that was there before; still in use until a grace period has passed.
 */
const struct vhu_snapshot *
vhu_publish(struct vhu_reader *reader, const struct vhu_snapshot *snapshot);

/**
 * Call @p then once no reader can still be using what it saw before this call.
 * May call it before returning.
 * @param grace    grace->busy is set; the rest is filled in here.
 * @param readers  all readers of the rings concerned; the array is not kept.
 */
void vhu_grace_begin(struct vhu_grace_domain *domain, struct vhu_grace *grace,
	struct vhu_reader *const *readers, unsigned int count, vhu_grace_fn then, void *argument);

/**
 * Look at the readers again; run the continuations whose time has come, oldest first. @return how
 * many still wait.
 */
unsigned int vhu_grace_step(struct vhu_grace_domain *domain);

#endif /* VHU_SNAP_PUBLISH_H */
