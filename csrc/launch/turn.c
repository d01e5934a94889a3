/* SPDX-License-Identifier: Apache-2.0 */
/* The turn: clone, and the two sides taking ops one after the other. */
#include "launch.h"
#include "../base/fallback.h"

#include <linux/poll.h>
#include <linux/prctl.h>
#include <sys/socket.h>

#define PATIENCE_NS 200000000 /* a start that takes longer than this listens to the terminal, too */

int sync_send(int fd, uint32_t type, uint32_t op)
{
    struct sync_msg msg = {type, op};
    long rc = SYS(sendto, fd, &msg, sizeof msg, MSG_NOSIGNAL, NULL, 0);
    return rc < 0 ? (int)rc : 0;
}

int sync_receive(int fd, struct sync_msg *msg)
{
    long rc;
    do
        rc = SYS(recvfrom, fd, msg, sizeof *msg, 0, NULL, NULL);
    while (rc == -EINTR);
    if (rc == -ECONNRESET)
        return 0;
    if (rc < 0)
        return (int)rc;
    return rc == (long)sizeof *msg;
}

static long clone_plain(struct pyrt_ctx *ctx, uint64_t flags, int cgroup_fd, uint64_t exit_signal)
{
    struct clone_args args;
    memset(&args, 0, sizeof args);
    args.flags = flags | (cgroup_fd >= 0 ? CLONE_INTO_CGROUP : 0);
    args.parent_tid = (uint64_t)(uintptr_t)&ctx->shared->init_pid;
    args.exit_signal = exit_signal;
    args.cgroup = cgroup_fd >= 0 ? (uint64_t)cgroup_fd : 0;
    if (cgroup_fd >= 0 && (pyrt_force_old & OLD_INTO_CGROUP))
        return -E2BIG;
    long pid = pyrt_force_old & OLD_CLONE3 ? -ENOSYS : SYS(clone3, &args, sizeof args);
    /* the low byte of clone's flags is the signal, so what clone3 put there (CLONE_NEWTIME) it cannot say */
    if (!old_kernel(pid) || cgroup_fd >= 0 || (flags & 0xff) != 0)
        return pid;
    /* the arguments behind parent_tid stand in another order on each machine, and are not used */
    return SYS(clone, flags | exit_signal, NULL, &ctx->shared->init_pid, NULL, NULL);
}

/* A new process, in the group of cgroup_fd if that is not -1. Where the kernel cannot put it there, it goes by itself, as its first deed. */
static long clone_process(struct pyrt_ctx *ctx, uint64_t flags, int cgroup_fd, uint64_t exit_signal)
{
    flags |= CLONE_PARENT_SETTID;
    long pid = clone_plain(ctx, flags, cgroup_fd, exit_signal);
    if (cgroup_fd < 0 || (pid != -E2BIG && pid != -EINVAL && !old_kernel(pid)))
        return pid;
    pid = clone_plain(ctx, flags, -1, exit_signal);
    if (pid != 0)
        return pid;
    int rc = sys_write_file(cgroup_fd, "cgroup.procs", "0", 1, 0);
    if (rc < 0) {
        op_fail(ctx, rc, "enter the cgroup", NULL);
        SYS(exit_group, 125);
    }
    return 0;
}

/* In the new process; does not return. */
static void begin_child(struct pyrt_ctx *ctx, int executor_end)
{
    ctx->is_child = 1;
    if (executor_end >= 0)
        SYS(close, executor_end);
    if (ctx->control_fd >= 0) {
        SYS(close, ctx->control_fd);
        ctx->control_fd = -1;
    }
    uint32_t next = plan_next(ctx, ctx->op + 1);
    if (ctx->ops[next].flags & PYRT_F_BESIDE)
        next = plan_next(ctx, next + 1);
    turn_child(ctx, next);
}

static int clone_first(struct pyrt_ctx *ctx, const struct pyrt_op *op, int cgroup_fd)
{
    int pair[2];
    int rc = (int)SYS(socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
    if (rc < 0)
        return op_fail(ctx, rc, "socketpair", NULL);
    long pid = clone_process(ctx, op->n[0], cgroup_fd, SIGCHLD);
    if (pid < 0) {
        SYS(close, pair[0]);
        SYS(close, pair[1]);
        return op_fail(ctx, pid, "clone3", NULL);
    }
    if (pid == 0) {
        ctx->sync_fd = pair[1];
        begin_child(ctx, pair[0]);
    }
    SYS(close, pair[1]);
    ctx->sync_fd = pair[0];
    ctx->child = (pid_t)pid;
    return 0;
}

int op_clone(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    int cgroup_fd = -1;
    if (op->n[1] != PYRT_NO_SLOT) {
        cgroup_fd = op_slot_get(ctx, op->n[1]);
        if (cgroup_fd < 0)
            return op_fail(ctx, cgroup_fd, "cgroup slot", NULL);
    }
    if (op->side == PYRT_HOST)
        return clone_first(ctx, op, cgroup_fd);
    /* The new process becomes the executor's own child, and takes the channel over. */
    long pid = clone_process(ctx, op->n[0] | CLONE_PARENT, cgroup_fd, 0);
    if (pid < 0)
        return op_fail(ctx, pid, "clone3", NULL);
    if (pid == 0)
        return 0;
    SYS(exit_group, 0);
    __builtin_unreachable();
}

int op_gate(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    int listener = op_slot_get(ctx, op->n[0]);
    if (listener < 0)
        return op_fail(ctx, listener, "gate slot", NULL);
    /* It may wait here for long, and others may be started in its pid namespace meanwhile: they shall not read the host's fds out of it. */
    SYS(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
    int rc = sync_send(ctx->sync_fd, SYNC_GATE, ctx->op);
    if (rc < 0)
        return op_fail(ctx, rc, "sendto the executor", NULL);
    SYS(close, ctx->sync_fd); /* the executor may end; nobody is there to take a turn any more */
    ctx->sync_fd = -1;
    for (;;) {
        long conn = SYS(accept4, listener, NULL, NULL, SOCK_CLOEXEC);
        if (conn < 0) {
            if (conn == -EINTR || conn == -ECONNABORTED)
                continue;
            return op_fail(ctx, conn, "accept", NULL);
        }
        char go = 0;
        long got;
        do
            got = SYS(read, conn, &go, 1);
        while (got == -EINTR);
        if (got == 1) {
            ctx->sync_fd = (int)conn; /* an error after the gate is told to who opened it */
            return 0;
        }
        SYS(close, conn);
    }
}

int op_netns_enter(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    struct sync_msg msg;
    (void)op;
    if (sync_receive(ctx->sync_fd, &msg) != 1 || msg.type != SYNC_BESIDE)
        SYS(exit_group, 125); /* the executor is gone, or has failed and said so itself */
    char path[40] = "";
    txt_add_u64(path, sizeof path, (uint64_t)ctx->shared->executor_pid);
    txt_add(path, sizeof path, "/ns/net");
    cleanup_close int fd = (int)SYS(openat, ctx->proc_fd, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return op_fail(ctx, fd, "open the network namespace of the executor", NULL);
    long rc = SYS(setns, fd, CLONE_NEWNET);
    return rc < 0 ? op_fail(ctx, rc, "setns", NULL) : 0;
}

/* After the gate the one at the other end of the channel is `start`, which expects a struct pyrt_error or the end of file. */
static int after_gate(const struct pyrt_ctx *ctx)
{
    for (uint32_t i = 0; i < ctx->op; i++)
        if (ctx->ops[i].code == PYRT_OP_GATE)
            return 1;
    return 0;
}

void turn_child(struct pyrt_ctx *ctx, uint32_t from)
{
    uint32_t count = ctx->plan->op_count;
    int rc = 0;
    for (uint32_t i = from; i < count; i = plan_next(ctx, i + 1)) {
        const struct pyrt_op *op = &ctx->ops[i];
        if (op->side == PYRT_HOST) {
            uint32_t mine = i;
            while (mine < count && (ctx->ops[mine].side == PYRT_HOST))
                mine = plan_next(ctx, mine + 1);
            struct sync_msg msg;
            /* straight after the clone the executor knows whose turn it is */
            if (i != from)
                rc = sync_send(ctx->sync_fd, SYNC_TURN, i);
            if (rc < 0 || sync_receive(ctx->sync_fd, &msg) != 1 || msg.type != SYNC_GO)
                SYS(exit_group, 125); /* the executor is gone, or has failed and said so itself */
            i = mine;
            if (i >= count)
                break;
            op = &ctx->ops[i];
        }
        ctx->op = i;
        ctx->shared->child_op = i;
        if (op->code == PYRT_OP_EXEC)
            __atomic_store_n(&ctx->shared->executing, 1, __ATOMIC_RELEASE);
        rc = plan_run_op(ctx, op);
        if (rc < 0)
            break;
    }
    int code = 125;
    if (rc == -ENOENT && ctx->ops[ctx->op].code == PYRT_OP_EXEC)
        code = 127;
    else if ((rc == -EACCES || rc == -ENOEXEC) && ctx->ops[ctx->op].code == PYRT_OP_EXEC)
        code = 126;
    if (after_gate(ctx) && ctx->sync_fd >= 0)
        SYS(sendto, ctx->sync_fd, &ctx->shared->error, sizeof ctx->shared->error, MSG_NOSIGNAL, NULL, 0);
    SYS(exit_group, code);
    __builtin_unreachable();
}

static int run_host_ops(struct pyrt_ctx *ctx, uint32_t *at)
{
    uint32_t i = *at;
    while (i < ctx->plan->op_count && ctx->ops[i].side == PYRT_HOST) {
        ctx->op = i;
        ctx->op_limit = i + 1;
        int rc = plan_run_op(ctx, &ctx->ops[i]);
        if (rc < 0)
            return rc;
        i = plan_next(ctx, i + 1);
    }
    *at = i;
    return 0;
}

/* The child has gone silent: either it runs the container's program now, or it is dead. */
static int child_closed(struct pyrt_ctx *ctx)
{
    int error = __atomic_load_n(&ctx->shared->error.error, __ATOMIC_ACQUIRE);
    if (error != 0)
        return -error;
    if (__atomic_load_n(&ctx->shared->executing, __ATOMIC_ACQUIRE))
        return 0;
    uint32_t at = __atomic_load_n(&ctx->shared->child_op, __ATOMIC_RELAXED);
    if (at != 0 && at < ctx->plan->op_count)
        ctx->op = at;
    return op_fail(ctx, -ECHILD, "the container's first process was killed before it could start", NULL);
}

/* The terminal's wish to end what is still starting: 1 for ^C and the like. */
static int terminal_asks(int fd)
{
    for (int sig; (sig = signals_next(fd)) != 0;)
        if (sig == SIGINT || sig == SIGQUIT || sig == SIGHUP || sig == SIGTERM)
            return 1;
    return 0;
}

/* The child's next message as sync_receive() gives it, or -ECANCELED when the caller has gone or wants the end: a mount or a hook may hang for ever. */
static int await_child(struct pyrt_ctx *ctx, struct sync_msg *msg)
{
    cleanup_close int terminal = -1;
    int64_t patience[2] = {0, PATIENCE_NS};
    for (;;) {
        struct pollfd fds[3] = {{ctx->sync_fd, POLLIN, 0}, {ctx->control_fd, POLLIN, 0}, {terminal, POLLIN, 0}};
        int listens = terminal >= 0 || !(ctx->run_flags & PYRT_RUN_SIGPROXY);
        long rc = SYS(ppoll, fds, 3, listens ? NULL : patience, NULL, 0);
        if (rc < 0 && rc != -EINTR)
            return (int)rc;
        if (rc > 0 && fds[0].revents != 0)
            return sync_receive(ctx->sync_fd, msg);
        if (rc > 0 && ((fds[1].revents != 0 && caller_check(ctx) < 0) || (fds[2].revents != 0 && terminal_asks(terminal))))
            return -ECANCELED;
        if (rc == 0) {
            terminal = signals_open();
            if (terminal < 0)
                return terminal;
        }
    }
}

/* After a second clone the first child has nothing more to do, and would stay as a zombie. */
static void adopt(struct pyrt_ctx *ctx)
{
    pid_t init = ctx->shared->init_pid;
    int status;
    if (init <= 0 || init == ctx->child)
        return;
    sys_wait(ctx->child, &status);
    ctx->child = init;
}

int turn_host(struct pyrt_ctx *ctx)
{
    uint32_t at = plan_next(ctx, 0);
    int rc = run_host_ops(ctx, &at); /* through CLONE and the host ops straight after it */
    if (rc < 0)
        return rc;
    if (ctx->child <= 0)
        return op_fail(ctx, -EINVAL, "a plan without clone", NULL);
    /* did host ops stand straight behind the clone? then the child waits for us: at once, or when it needs what was done beside */
    uint32_t clone = 0;
    while (ctx->ops[clone].code != PYRT_OP_CLONE)
        clone++;
    uint32_t behind = plan_next(ctx, clone + 1);
    if (behind != at) {
        rc = sync_send(ctx->sync_fd, ctx->ops[behind].flags & PYRT_F_BESIDE ? SYNC_BESIDE : SYNC_GO, at);
        if (rc < 0 && rc != -EPIPE)
            return op_fail(ctx, rc, "sendto the child", NULL);
    }
    for (;;) {
        struct sync_msg msg;
        rc = await_child(ctx, &msg);
        if (rc == -ECANCELED)
            return op_fail(ctx, rc, "the caller went away, or wanted the end, before the start was done", NULL);
        if (rc < 0)
            return op_fail(ctx, rc, "recvfrom the child", NULL);
        adopt(ctx);
        if (rc == 0)
            return child_closed(ctx);
        if (msg.type == SYNC_GATE)
            return 1;
        if (msg.type != SYNC_TURN || msg.op >= ctx->plan->op_count)
            return op_fail(ctx, -EPROTO, "the child's message", NULL);
        at = msg.op;
        rc = run_host_ops(ctx, &at);
        if (rc < 0)
            return rc;
        rc = sync_send(ctx->sync_fd, SYNC_GO, at);
        if (rc < 0 && rc != -EPIPE)
            return op_fail(ctx, rc, "sendto the child", NULL);
    }
}
