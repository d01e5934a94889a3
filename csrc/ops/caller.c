/* SPDX-License-Identifier: Apache-2.0 */
/* The caller, as the executor hears him before there is a container to pass his words to. */
#include "ops.h"

#include <sys/socket.h>

int caller_check(struct pyrt_ctx *ctx)
{
    for (;;) {
        unsigned char command[2] = {0, 0};
        long got = SYS(recvfrom, ctx->control_fd, command, sizeof(command), MSG_DONTWAIT, NULL, NULL);
        if (got == -EINTR)
            continue;
        if (got == -EAGAIN)
            return 0;
        if (got <= 0)
            return -ECANCELED;
        if (command[0] != PYRT_CMD_KILL)
            continue;
        /* a detached container has nobody to get the signal later */
        if (command[1] == SIGKILL || (ctx->run_flags & PYRT_RUN_DETACH))
            return -ECANCELED;
        if (command[1] >= 1 && command[1] <= SYS_SIGNALS)
            ctx->pending |= (uint64_t)1 << (command[1] - 1);
    }
}
