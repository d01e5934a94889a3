/* SPDX-License-Identifier: Apache-2.0 */
/* The two processes of one start and how they talk. */
#ifndef PYRT_LAUNCH_H
#define PYRT_LAUNCH_H

#include "../plan/plan.h"

/*
 *   caller            executor (host side)                 child (container side)
 *     | plan, fds         |                                    |
 *     |------------------>| host ops                           |
 *     |                   | CLONE ----------------------------->|  (its first ops are on the host side: it waits for GO)
     |                   | op BESIDE    (at the same time)    | container ops
     |                   |------------ BESIDE --------------->| NETNS_ENTER
 *     |                   |                                    | container ops
 *     |                   |<----------- TURN(op) --------------|  next op stands on the host side
 *     |                   | host ops                           |
 *     |                   |------------ GO(op) --------------->| container ops …
 *     |                   |<----------- GATE ------------------|  (OCI create only) waits for a connection on the socket
 *     |<---- CREATED -----|                                    |
 *     |----- ACK -------->| (detach: ends here)                |
 *     |                   |<========== end of file ============|  exec closed the channel, or the child died: shared->error tells
 *     |<---- STARTED -----|                                    |
 *     |                   | waits, forwards signals            | the container runs
 *     |                   |<========== pidfd readable =========|
 *     |                   | AT_EXIT ops, undo in reverse       |
 *     |<---- EXITED ------|
 *
 * An error on either side is in the shared page before the channel closes. A closed control socket means that the caller is
 * gone: the child is killed and everything is unmade.
 */
#define SYNC_GO 1u
#define SYNC_TURN 2u
#define SYNC_GATE 3u
#define SYNC_BESIDE 4u               /* executor to child: what it did beside is done */
struct sync_msg {
    uint32_t type;
    uint32_t op;
};

/* Sends one message. 0 or -errno. */
int sync_send(int fd, uint32_t type, uint32_t op);
/* Receives one: 1 got it, 0 end of file, -errno. */
int sync_receive(int fd, struct sync_msg *msg);

/* A signalfd(2) of every signal (all are blocked here), or -errno. */
int signals_open(void);
/* The next signal that came from the kernel (the terminal; not those of kill(2), which are the caller's to pass on), 0 when there is none. */
int signals_next(int fd);

/* The child's life from `from` on: runs its ops, hands over where the side changes, never returns. */
__attribute__((noreturn)) void turn_child(struct pyrt_ctx *ctx, uint32_t from);
/* The executor's: host ops up to the first clone and the turns after it. 0 once the child has executed, 1 once it waits at its gate, -errno when something failed. */
int turn_host(struct pyrt_ctx *ctx);

/* Sends a message to the caller, if he is there. 0 or -errno. */
int tell_caller(const struct pyrt_ctx *ctx, struct pyrt_msg *msg, uint32_t type);

/* After start: waits, forwards, obeys the caller. Fills msg's wait_status and times. */
void watch_container(struct pyrt_ctx *ctx, struct pyrt_msg *msg);
/* Kills what the plan started and reaps it; nothing if there is no child. */
void watch_kill(struct pyrt_ctx *ctx, int *status);

#endif
