/* SPDX-License-Identifier: Apache-2.0 */
/* How control groups end: frozen, their processes killed, their directories removed; whatever the container did inside them. */
#include "../base/sys.h"
#include "ops.h"
#include "self.h"

#define EMPTY_WITHIN_NS 2000000000ull
#define MAX_DEPTH 64

static void nap(int64_t ns)
{
    int64_t time[2] = {0, ns};
    SYS(nanosleep, time, NULL);
}

static int open_dir(int base, const char *path)
{
    return (int)SYS(openat, base, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
}

/* SIGKILL to every process that dir/cgroup.procs names. Their number or -errno. Own and invisible (0) processes are passed over. */
static int kill_listed(int dir)
{
    char text[4096];
    cleanup_close int fd = (int)SYS(openat, dir, "cgroup.procs", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    pid_t self = (pid_t)SYS(getpid), parent = (pid_t)SYS(getppid);
    int found = 0;
    size_t kept = 0;
    for (;;) {
        long got = SYS(read, fd, text + kept, sizeof(text) - 1 - kept);
        if (got == -EINTR)
            continue;
        if (got < 0)
            return (int)got;
        size_t size = kept + (size_t)got, at = 0;
        text[size] = '\0';
        for (char *line; (line = strchr(text + at, '\n')) != NULL;) {
            const char *end;
            pid_t pid = (pid_t)txt_parse_u64(text + at, &end);
            at = (size_t)(line - text) + 1;
            if (pid <= 1 || pid == self || pid == parent)
                continue;
            found++;
            SYS(kill, pid, SIGKILL);
        }
        if (got == 0)
            return found;
        kept = size - at;
        memmove(text, text + at, kept);
    }
}

/* Lets v1's frozen processes die; the container may have frozen groups of its own making. */
static void thaw(int dir)
{
    sys_write_file(dir, "freezer.state", "THAWED", 6, 0);
}

/*
 * SIGKILL to every process in the groups below `top`, for kernels without cgroup.kill. Deeper than MAX_DEPTH is not entered. Their number or the first error.
 */
static int kill_below(int top)
{
    int stack[MAX_DEPTH];
    int64_t resume[MAX_DEPTH];
    int depth = 0, found = 0, first_error = 0;

    stack[0] = top;
    resume[0] = 0;
    while (depth >= 0) {
        _Alignas(8) char entries[2048];
        int down = -1;
        SYS(lseek, stack[depth], resume[depth], 0 /* SEEK_SET */);
        for (long got; down < 0 && (got = SYS(getdents64, stack[depth], entries, sizeof(entries))) > 0;) {
            for (long at = 0; at < got && down < 0;) {
                const struct dirent_head *entry = (const void *)(entries + at);
                at += entry->length;
                resume[depth] = entry->off;
                if (entry->type == 4 /* DT_DIR */ && entry->name[0] != '.' && depth + 1 < MAX_DEPTH)
                    down = open_dir(stack[depth], entry->name);
            }
        }
        if (down >= 0) {
            int rc = kill_listed(down);
            if (rc > 0) {
                found += rc;
                thaw(down);
            }
            else if (rc < 0 && first_error == 0)
                first_error = rc;
            stack[++depth] = down;
            resume[depth] = 0;
            continue;
        }
        if (depth > 0)
            SYS(close, stack[depth]);
        depth--;
    }
    return first_error < 0 ? first_error : found;
}

/* "populated 0" of v2: 1 empty, 0 not, -errno. */
static int events_empty(int dir)
{
    char text[256];
    long got = sys_read_file(dir, "cgroup.events", text, sizeof(text));
    if (got < 0)
        return (int)got;
    return strncmp(text, "populated 0", 11) == 0;
}

/* Ends everything in the group and below it. 0 when empty, -EBUSY after two seconds, or -errno. */
static int group_kill(int dir)
{
    uint64_t deadline = sys_now_ns() + EMPTY_WITHIN_NS;
    int64_t pause = 200000;
    int by_kernel = sys_write_file(dir, "cgroup.kill", "1", 1, 0) == 0;
    int frozen = by_kernel ? 0 : sys_write_file(dir, "freezer.state", "FROZEN", 6, 0) == 0;

    for (;;) {
        int alive = 0, rc = 0;
        if (by_kernel) {
            rc = events_empty(dir);
            alive = rc == 0;
        } else {
            int below = kill_below(dir);
            rc = kill_listed(dir);
            alive = rc > 0 || below > 0;
            rc = below < 0 ? below : rc;
        }
        if (frozen) { /* every process has its SIGKILL now; frozen ones of v1 die only when thawed */
            thaw(dir);
            frozen = 0;
        }
        if (rc == -ENODEV || rc == -ENOENT) /* removed by someone else meanwhile */
            return 0;
        if (rc < 0)
            return rc;
        if (alive == 0)
            return 0;
        if (sys_now_ns() > deadline)
            return -EBUSY;
        nap(pause);
        pause = pause < 20000000 ? pause * 2 : pause;
    }
}

int op_cgroup_kill(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *path = op_str(ctx, op, 0);
    cleanup_close int dir = open_dir(AT_FDCWD, path);
    if (dir == -ENOENT)
        return 0;
    if (dir < 0)
        return op_fail(ctx, dir, "open cgroup", path);
    int rc = group_kill(dir);
    return rc < 0 ? op_fail(ctx, rc, "end the processes of cgroup", path) : 0;
}

/*
 * Removes every group below `top`, leaves first. A container with a group of its own can nest as deep as it likes, so the way down keeps one fd and a count; ".."
 * leads back (groups cannot be moved). 0 or -errno.
 */
static int remove_below(int top, uint64_t deadline)
{
    cleanup_close int here = open_dir(top, ".");
    int64_t pause = 100000;
    int depth = 0, progress = 1;

    while (here >= 0) {
        _Alignas(8) char entries[2048];
        int down = -1;
        for (long got; down < 0 && (got = SYS(getdents64, here, entries, sizeof(entries))) > 0;) {
            for (long at = 0; at < got && down < 0;) {
                const struct dirent_head *entry = (const void *)(entries + at);
                at += entry->length;
                if (entry->type != 4 /* DT_DIR */ || strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0)
                    continue;
                if (SYS(unlinkat, here, entry->name, AT_REMOVEDIR) == 0)
                    progress = 1;
                else
                    down = open_dir(here, entry->name);
            }
        }
        if (down < 0 && depth == 0)
            return 0;
        if (down < 0) {
            if (!progress) { /* an empty group that is still busy: its last process is on its way out */
                nap(pause);
                pause = pause < 20000000 ? pause * 2 : pause;
            }
            progress = 0;
            down = open_dir(here, "..");
            depth -= 2;
        }
        depth++;
        SYS(close, here);
        here = down;
        if (sys_now_ns() > deadline)
            return -EBUSY;
    }
    return here;
}

/* Removes a group that is in the way of its own removal: something lives in it, or the container made groups of its own. */
static int remove_busy(const char *path)
{
    uint64_t deadline = sys_now_ns() + EMPTY_WITHIN_NS;
    int64_t pause = 100000;

    for (;;) {
        cleanup_close int dir = open_dir(AT_FDCWD, path);
        if (dir < 0)
            return dir == -ENOENT ? 0 : dir;
        int rc = group_kill(dir);
        if (rc == 0)
            remove_below(dir, deadline);
        rc = (int)SYS(unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
        if (rc == 0 || rc == -ENOENT)
            return 0;
        if ((rc != -EBUSY && rc != -ENOTEMPTY) || sys_now_ns() > deadline)
            return rc;
        nap(pause);
        pause = pause < 20000000 ? pause * 2 : pause;
    }
}

int undo_cgroup_mkdir(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    size_t index = (size_t)(op - ctx->ops);
    const char *path = op_str(ctx, op, 0);

    if ((ctx->made[index / 8] >> (index % 8) & 1) == 0)
        return 0;
    int rc = (int)SYS(unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
    if (rc == -EBUSY || rc == -ENOTEMPTY) {
        cgroup_freeze_plan(ctx, 0); /* frozen processes of v1 cannot die */
        rc = remove_busy(path);
    }
    return rc < 0 && rc != -ENOENT ? op_fail(ctx, rc, "rmdir cgroup", path) : 0;
}

/* Waits until the file begins with or, for v2 events, has a line with `wanted`; v1's state is written again, since processes that forked meanwhile need it. */
static int wait_frozen(int dir, int v2)
{
    uint64_t deadline = sys_now_ns() + EMPTY_WITHIN_NS;
    char text[256];

    for (int64_t pause = 100000;; pause = pause < 10000000 ? pause * 2 : pause) {
        long got = sys_read_file(dir, v2 ? "cgroup.events" : "freezer.state", text, sizeof(text));
        if (got < 0)
            return (int)got;
        if (!v2 && strncmp(text, "FROZEN", 6) == 0)
            return 0;
        for (const char *line = text; v2 && line != NULL; line = strchr(line, '\n'), line = line == NULL ? NULL : line + 1) {
            if (strncmp(line, "frozen 1", 8) == 0)
                return 0;
        }
        if (sys_now_ns() > deadline)
            return -EBUSY;
        nap(pause);
        if (!v2)
            sys_write_file(dir, "freezer.state", "FROZEN", 6, 0);
    }
}

/* Freezes or thaws one group. 0, -ENOENT when it cannot be, or another error. */
static int group_freeze(int dir, int frozen)
{
    int v2 = 1;
    int rc = sys_write_file(dir, "cgroup.freeze", frozen ? "1" : "0", 1, 0);
    if (rc == -ENOENT) {
        v2 = 0;
        rc = sys_write_file(dir, "freezer.state", frozen ? "FROZEN" : "THAWED", 6, 0);
    }
    return rc == 0 && frozen ? wait_frozen(dir, v2) : rc;
}

int cgroup_freeze_plan(struct pyrt_ctx *ctx, int frozen)
{
    int answer = -ENOENT;
    for (uint32_t i = 0; i < ctx->plan->op_count; i++) {
        const struct pyrt_op *op = &ctx->ops[i];
        if (op->code != PYRT_OP_CGROUP_MKDIR)
            continue;
        cleanup_close int dir = open_dir(AT_FDCWD, op_str(ctx, op, 0));
        if (dir < 0)
            continue;
        int rc = group_freeze(dir, frozen);
        if (rc == -ENOENT)
            continue;
        if (frozen)
            return rc;
        /* on a machine with both versions somebody else may have frozen it through the other one */
        if (answer != 0)
            answer = rc;
    }
    return answer;
}
