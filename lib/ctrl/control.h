/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef VHU_CTRL_CONTROL_H
#define VHU_CTRL_CONTROL_H

/**
 * @file
 * The control context: one per process, alive while there are ports.
 *
 * It owns the loop, the grace domain and the worker, and one lock under which all sockets and
 * devices live. A *step* waits without the lock, serves with it, and then delivers callbacks
 * without it again. Whoever steps takes the `stepping` token, so that steps never overlap: normally
 * that is the control loop (ctrl/service.h), and in vhu_port_destroy() the caller itself when the
 * loop does not run (a service core that the application has stopped already, or a callback).
 *
 * The context starts with the first port and stops with the last. It never stops while a callback
 * is being delivered, since the callback may create a port.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "ctrl/service.h"
#include "ctrl/worker.h"
#include "dev/device.h"
#include "snap/publish.h"
#include "sock/loop.h"

struct vhu_port;
TAILQ_HEAD(vhu_port_list, vhu_port);

/** All fields but `quit`: under the lock. */
struct vhu_control {
	struct vhu_loop *loop;
	struct vhu_grace_domain domain;
	struct vhu_executor executor;
	struct vhu_worker *worker;
	struct vhu_service service;
	struct vhu_port_list ports;      /**< all that the application holds */
	struct vhu_port_list attention;  /**< ports with work for the end of this step */
	struct vhu_port_list deliveries; /**< ports with events for their callback */
	/** ports that exist, those being created or destroyed included */
	unsigned int port_count;
	/** continuations that wait for lcores, after the last step */
	unsigned int waiting;
	uint32_t rings_broken;           /**< vhu_rings_broken when last looked at */
	uint32_t rings_calling;          /**< the same of vhu_rings_calling */
	struct vhu_watch wishes;         /**< on vhu_attention_fd */
	uint32_t rings_missing;          /**< vhu_rings_missing when last looked at */
	uint64_t next_tick_ns;           /**< when devices do what they do now and then */
	struct vhu_port *delivering;     /**< whose callback runs now, without the lock */
	bool stepping;                   /**< somebody is in a step */
	atomic_bool quit;                /**< stopper: sets; control thread: reads */
};

/** The lock of everything in ctrl/, dev/ and sock/. Not recursive, never held in a callback. */
void vhu_control_lock(void);
void vhu_control_unlock(void);
/** Wait for a change (a step ended, a delivery ended), at most @p milliseconds. Lock held. */
void vhu_control_wait(unsigned int milliseconds);
/** Wake those who wait for a change. Lock held. */
void vhu_control_changed(void);

/**
 * The context, started if need be, with one port more. Lock held (released while another thread
 * stops the former context).
 * @return 0 or a negative errno with its sentence kept.
 */
int vhu_control_hold(struct vhu_control **control);
/**
 * One port less; stops the context with the last one, or lets the control thread do it if this is
 * the control thread. Lock held, released meanwhile.
 */
void vhu_control_release(struct vhu_control *control);
/** Is this thread the control loop, that is: are we in a callback? */
bool vhu_control_in_loop(void);
/** The context if it runs, otherwise NULL. Lock held. */
struct vhu_control *vhu_control_get(void);

/** Longest wait of a step: so much later a broken ring is noticed at the latest. */
#define VHU_CONTROL_WAIT_MS 50

/** How often devices do what they do now and then, if the steps come that often. */
#define VHU_CONTROL_TICK_NS UINT64_C(10000000)

/**
 * One step, callbacks included: for the control loop. Takes the lock.
 * @param timeout_ms  0: a service core, which never waits for the lock either.
 * @return true if something was done.
 */
bool vhu_control_step(struct vhu_control *control, int timeout_ms);
/**
 * One step without callbacks, for a thread that waits for something, or a wait for the step that
 * another thread is in. Lock held, released meanwhile.
 */
void vhu_control_help(struct vhu_control *control);

#endif /* VHU_CTRL_CONTROL_H */
