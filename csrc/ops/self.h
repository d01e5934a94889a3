/* SPDX-License-Identifier: Apache-2.0 */
/* Small steps that several op families share: facts about the plan around an op, and /proc/self through the host's /proc. */
#ifndef PYRT_OPS_SELF_H
#define PYRT_OPS_SELF_H

#include "ops.h"

#include <linux/prctl.h>

/* What getdents64(2) fills in; `type` 4 is a directory. */
struct dirent_head {
    uint64_t ino;
    int64_t off;
    uint16_t length;
    uint8_t type;
    char name[];
};

/* The plan's next op with this code after the one at work, or NULL. */
static inline const struct pyrt_op *plan_later(const struct pyrt_ctx *ctx, unsigned code)
{
    for (uint32_t i = ctx->op + 1; i < ctx->plan->op_count; i++) {
        if (ctx->ops[i].code == code)
            return &ctx->ops[i];
    }
    return NULL;
}

/* The latest op with this code before the one at work, or NULL. */
static inline const struct pyrt_op *plan_earlier(const struct pyrt_ctx *ctx, unsigned code)
{
    for (uint32_t i = ctx->op < ctx->plan->op_count ? ctx->op : ctx->plan->op_count; i > 0; i--) {
        if (ctx->ops[i - 1].code == code)
            return &ctx->ops[i - 1];
    }
    return NULL;
}

/* Does the container have a user namespace of its own (new or joined)? */
static inline int plan_has_userns(const struct pyrt_ctx *ctx)
{
    for (uint32_t i = 0; i < ctx->plan->op_count; i++) {
        const struct pyrt_op *op = &ctx->ops[i];
        if ((op->code == PYRT_OP_CLONE || op->code == PYRT_OP_JOIN_NS || op->code == PYRT_OP_UNSHARE) &&
            (op->n[0] & CLONE_NEWUSER) != 0)
            return 1;
    }
    return 0;
}

/*
 * Writes /proc/self/NAME through the host's /proc. An undumpable process does not own these files, so without CAP_DAC_OVERRIDE in the
 * host's user namespace the open is refused: then, and only while no process of a container could be looking on (nothing joined yet), the
 * process is made dumpable for the length of the open.
 */
static inline int self_write(const struct pyrt_ctx *ctx, const char *name, const void *data, size_t size)
{
    char path[64] = "self/";
    int rc = txt_add(path, sizeof(path), name);
    if (rc < 0)
        return rc;
    rc = sys_write_file(ctx->proc_fd, path, data, size, 0);
    if (rc != -EACCES || plan_earlier(ctx, PYRT_OP_JOIN_NS) != NULL)
        return rc;
    if (SYS(prctl, PR_GET_DUMPABLE, 0, 0, 0, 0) == 1)
        return rc;
    SYS(prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
    rc = sys_write_file(ctx->proc_fd, path, data, size, 0);
    SYS(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
    return rc;
}

/* A number as the object of an error: fails the op with "what 1000". */
static inline int op_fail_number(struct pyrt_ctx *ctx, long rc, const char *what, uint64_t number, unsigned line)
{
    char text[24] = "";
    txt_add_u64(text, sizeof(text), number);
    return op_fail_at(ctx, (int)rc, what, text, line);
}

/* Opens a namespace file or the like; what stands below /proc is opened in the host's /proc, which stays right after a mount namespace was joined. */
static inline int open_proc_path(const struct pyrt_ctx *ctx, const char *path, int flags)
{
    if (strncmp(path, "/proc/", 6) == 0 && path[6] != '\0' && path[6] != '/')
        return (int)SYS(openat, ctx->proc_fd, path + 6, flags | O_CLOEXEC, 0);
    return (int)SYS(openat, AT_FDCWD, path, flags | O_CLOEXEC, 0);
}

#endif
