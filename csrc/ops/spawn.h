/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that the executor runs to their end (hooks, newuidmap), and fds sent over sockets: shared inside ops/. */
#ifndef PYRT_OPS_SPAWN_H
#define PYRT_OPS_SPAWN_H

#include "ops.h"

#include <sys/uio.h>

struct spawn {
    const char *path;
    const char *const *argv;
    const char *const *env;
    int in_fd;                   /* becomes fd 0; -1: left as it is */
    int err_fd;                  /* becomes fd 2; -1: left as it is */
    uint64_t timeout_s;          /* 0: none */
    int heed_caller;             /* the program ends when caller_check() says so, and with the process that runs it */
};

/*
 * Forks, execs with default signals and no fds beyond 0, 1, 2, and waits. 0 and the wait(2) status; -ETIMEDOUT or -ECANCELED (the caller's wish): it was killed; what
 * exec said (*exec_failed is 1), or -errno of clone.
 */
int spawn_wait(struct pyrt_ctx *ctx, const struct spawn *what, int *status, int *exec_failed);
/* Splits a list of `size` bytes into at most max - 1 pointers and a NULL. Their number or -E2BIG. */
int list_pointers(const char *list, uint64_t size, const char **pointers, size_t max);
/* As sock_send_fd, the data in pieces. Waits up to two seconds for a full socket. */
int sock_send_fdv(int sock, int fd, struct iovec *parts, size_t count);

#endif
