/* SPDX-License-Identifier: Apache-2.0 */
/* The process's own attributes: limits, scheduling, memory policy, keyring, working directory, fds. */
#include "../base/sys.h"
#include "../base/fallback.h"
#include "ops.h"
#include "self.h"

#include <linux/keyctl.h>
#include <linux/poll.h>
#include <linux/prctl.h>

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

/* Appends a limit as prlimit(1) words it. */
static void add_limit(char *text, size_t size, uint64_t limit)
{
    if (limit == UINT64_MAX)
        txt_add(text, size, "unlimited");
    else
        txt_add_u64(text, size, limit);
}

int op_rlimit(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    uint64_t wanted[2] = {op->n[1], op->n[2]}, now[2] = {0, 0};

    long rc = SYS(prlimit64, 0, op->n[0], wanted, NULL);
    if (rc >= 0)
        return 0;
    char text[128] = "";
    txt_add_u64(text, sizeof(text), op->n[0]);
    txt_add(text, sizeof(text), " to ");
    add_limit(text, sizeof(text), wanted[0]);
    txt_add(text, sizeof(text), ":");
    add_limit(text, sizeof(text), wanted[1]);
    if (rc == -EPERM && SYS(prlimit64, 0, op->n[0], NULL, now) == 0) {
        txt_add(text, sizeof(text), " above the hard limit ");
        add_limit(text, sizeof(text), now[1]);
        txt_add(text, sizeof(text), " (needs CAP_SYS_RESOURCE)");
    }
    return op_fail(ctx, rc, "set resource limit", text);
}

int op_oom_score(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    int64_t score = (int64_t)op->n[0];
    char text[24] = "";

    if (score < 0)
        txt_add(text, sizeof(text), "-");
    txt_add_u64(text, sizeof(text), score < 0 ? 0 - op->n[0] : op->n[0]);
    int rc = self_write(ctx, "oom_score_adj", text, strlen(text));
    return rc < 0 ? op_fail(ctx, rc, "write /proc/self/oom_score_adj", text) : 0;
}

int op_scheduler(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    uint64_t attr[16] = {0}; /* struct sched_attr begins with its own size */

    if (op->n[0] < 48 || op->n[0] > sizeof(attr))
        return op_fail_number(ctx, -EINVAL, "size of struct sched_attr", op->n[0], __LINE__);
    memcpy(attr, op_data(ctx, op, 0), op->n[0]);
    uint32_t size = (uint32_t)op->n[0];
    memcpy(attr, &size, sizeof(size)); /* the kernel reads as much as this says */
    long rc = SYS(sched_setattr, 0, attr, 0);
    return rc < 0 ? op_fail(ctx, rc, "sched_setattr", NULL) : 0;
}

int op_ioprio(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    long rc = SYS(ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, 0, op->n[0]);
    return rc < 0 ? op_fail_number(ctx, rc, "ioprio_set", op->n[0], __LINE__) : 0;
}

int op_nice(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    long rc = SYS(setpriority, 0 /* PRIO_PROCESS */, 0, (int64_t)op->n[0]);
    return rc < 0 ? op_fail(ctx, rc, "setpriority", NULL) : 0;
}

int op_mempolicy(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    uint64_t mask[17] = {0}; /* one word more than the bits: the kernel reads whole words */
    uint64_t bits = op->n[1];

    if (bits > 1024 || op->s[0] + (bits + 7) / 8 > ctx->plan->blob_size)
        return op_fail_number(ctx, -EINVAL, "NUMA node mask's number of bits", bits, __LINE__);
    memcpy(mask, op_data(ctx, op, 0), (bits + 7) / 8);
    /* The kernel takes one bit fewer than it is told. */
    long rc = bits == 0 ? SYS(set_mempolicy, op->n[0], NULL, 0) : SYS(set_mempolicy, op->n[0], mask, bits + 1);
    return rc < 0 ? op_fail(ctx, rc, "set_mempolicy", NULL) : 0;
}

int op_personality(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    long rc = SYS(personality, op->n[0]);
    return rc < 0 ? op_fail_number(ctx, rc, "personality", op->n[0], __LINE__) : 0;
}

int op_umask(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    (void)ctx;
    SYS(umask, op->n[0] & 0777);
    return 0;
}

/* The permission word (hex) of a KEYCTL_DESCRIBE answer "type;uid;gid;perm;description". */
static uint32_t described_permissions(const char *text)
{
    uint32_t perm = 0;
    int fields = 0;

    for (; *text != '\0' && fields < 4; text++) {
        if (*text == ';')
            fields++;
        else if (fields == 3 && *text >= '0' && *text <= '9')
            perm = perm << 4 | (uint32_t)(*text - '0');
        else if (fields == 3 && *text >= 'a' && *text <= 'f')
            perm = perm << 4 | (uint32_t)(*text - 'a' + 10);
    }
    return perm;
}

int op_keyring(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    char text[512];

    long ring = SYS(keyctl, KEYCTL_JOIN_SESSION_KEYRING, op_str(ctx, op, 0));
    if (ring == -ENOSYS)
        return 0; /* a kernel without keys has no session keyring to leak */
    if (ring < 0)
        return op_fail(ctx, ring, "keyctl JOIN_SESSION_KEYRING", op_str(ctx, op, 0));
    long rc = SYS(keyctl, KEYCTL_DESCRIBE, ring, text, sizeof(text) - 1);
    if (rc < 0)
        return op_fail(ctx, rc, "keyctl DESCRIBE", op_str(ctx, op, 0));
    text[rc < (long)sizeof(text) ? rc : (long)sizeof(text) - 1] = '\0';
    /* The processes of the container, whatever their uid then, have to be able to search the ring: "user", in a user namespace "other". */
    uint32_t perm = described_permissions(text) | (plan_has_userns(ctx) ? 0x8 : 0x80000);
    rc = SYS(keyctl, KEYCTL_SETPERM, ring, perm);
    return rc < 0 ? op_fail(ctx, rc, "keyctl SETPERM", op_str(ctx, op, 0)) : 0;
}

int op_cwd(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *path = op_str(ctx, op, 0);
    char now[4096];

    long rc = SYS(chdir, path);
    if (rc < 0)
        return op_fail(ctx, rc, "working directory", path);
    /* A path through a leaked fd could lead out of the root: then getcwd(2) says "(unreachable)". A directory with a name too long to tell is inside. */
    rc = SYS(getcwd, now, sizeof(now));
    if (rc == -ENOENT || (rc > 0 && now[0] != '/')) {
        SYS(chdir, "/");
        return op_fail(ctx, -EXDEV, "working directory is outside the container's root:", path);
    }
    return 0;
}

/* Moves an fd that stands where the container's fds will go. 0 or -errno. */
static int move_above(int *fd, int first, int end)
{
    if (*fd < first || *fd >= end)
        return 0;
    long moved = SYS(fcntl, *fd, F_DUPFD_CLOEXEC, end);
    if (moved < 0)
        return (int)moved;
    SYS(close, *fd);
    *fd = (int)moved;
    return 0;
}

/* close_range(2) with CLOEXEC for kernels before 5.11. */
static int cloexec_from(const struct pyrt_ctx *ctx, unsigned first)
{
    _Alignas(8) char entries[4096];
    cleanup_close int dir = (int)SYS(openat, ctx->proc_fd, "self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (dir < 0)
        return dir;
    for (;;) {
        long got = SYS(getdents64, dir, entries, sizeof(entries));
        if (got <= 0)
            return (int)got;
        for (long at = 0; at < got;) {
            const struct dirent_head *entry = (const void *)(entries + at);
            const char *end;
            uint64_t fd = txt_parse_u64(entry->name, &end);
            if (end != entry->name && fd >= first)
                SYS(fcntl, fd, F_SETFD, FD_CLOEXEC);
            at += entry->length;
        }
    }
}

int op_fds(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    uint64_t count = op->n[0], slot = op->n[1];

    if (count > PYRT_SLOTS || (count > 0 && slot > PYRT_SLOTS - count))
        return op_fail_number(ctx, -EINVAL, "fds to pass on", count, __LINE__);
    int end = 3 + (int)count;
    if (count > 0) {
        int *const own[] = {&ctx->sync_fd, &ctx->proc_fd, &ctx->root_fd, &ctx->mask_fd, &ctx->exec_fd, &ctx->control_fd};
        int rc = 0;
        for (size_t i = 0; rc == 0 && i < sizeof(own) / sizeof(own[0]); i++)
            rc = move_above(own[i], 3, end);
        for (size_t i = 0; rc == 0 && i < PYRT_SLOTS; i++)
            rc = move_above(&ctx->slots[i], 3, end);
        if (rc < 0)
            return op_fail(ctx, rc, "make room for the container's fds", NULL);
        for (uint64_t i = 0; i < count; i++) {
            int fd = ctx->slots[slot + i];
            long got = fd < 0 ? -EBADF : SYS(dup3, fd, 3 + i, 0);
            if (got < 0)
                return op_fail_number(ctx, got, "pass on as fd", 3 + i, __LINE__);
        }
    }
    ctx->keep_fds = (uint32_t)count;
    long rc = (pyrt_force_old & OLD_CLOSE_RANGE) != 0 ? -ENOSYS : SYS(close_range, end, UINT32_MAX, CLOSE_RANGE_CLOEXEC);
    if (old_kernel(rc) || rc == -EINVAL)
        rc = cloexec_from(ctx, (unsigned)end);
    return rc < 0 ? op_fail(ctx, rc, "close the runtime's fds at exec", NULL) : 0;
}

int op_pdeathsig(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    long rc = SYS(prctl, PR_SET_PDEATHSIG, op->n[0], 0, 0, 0);
    if (rc < 0)
        return op_fail_number(ctx, rc, "prctl PR_SET_PDEATHSIG", op->n[0], __LINE__);
    /* The executor may have died before the signal was armed. getppid(2) is 0 in a pid namespace either way, so its end of the socket tells. */
    struct pollfd sync = {.fd = ctx->sync_fd, .events = 0, .revents = 0};
    int64_t at_once[2] = {0, 0};
    if (ctx->sync_fd >= 0 && SYS(ppoll, &sync, 1, at_once, NULL, 0) > 0 && (sync.revents & POLLHUP) != 0)
        return op_fail(ctx, -ESRCH, "the executor has gone", NULL);
    return 0;
}
