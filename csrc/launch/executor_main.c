/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pyrt-exec: runs one plan. Started by the library (spawn_lib.c) as
 *     pyrt-exec FLAGS NFDS
 * with the container's stdio on 0, 1, 2, the plan on 3, the control socket on 4 and the caller's fds from 5 on.
 */
#include "launch.h"

#include <linux/mman.h>
#include <linux/prctl.h>
#include <sys/socket.h>

#define PLAN_FD 3
#define CONTROL_FD 4
#define FIRST_FD 5

static struct pyrt_ctx context;

static void *map(size_t size, int flags, int fd)
{
    long at = SYS(mmap, NULL, size, 3 /* PROT_READ | PROT_WRITE */, flags, fd, 0);
    return at < 0 && at > -4096 ? NULL : (void *)at;
}

/* Trace entries in messages of at most 128, so that each fits a socket buffer whatever the plan's length. */
static void send_trace(const struct pyrt_ctx *ctx)
{
    struct {
        struct pyrt_msg msg;
        struct pyrt_trace_entry entries[128];
    } packet;
    memset(&packet.msg, 0, sizeof packet.msg);
    packet.msg.type = PYRT_MSG_TRACE;
    for (uint32_t at = 0; at < ctx->plan->op_count && ctx->control_fd >= 0; at += packet.msg.count) {
        uint32_t left = ctx->plan->op_count - at;
        packet.msg.first = at;
        packet.msg.count = left < 128 ? left : 128;
        memcpy(packet.entries, &ctx->shared->trace[at], packet.msg.count * sizeof packet.entries[0]);
        if (SYS(sendto, ctx->control_fd, &packet, sizeof packet.msg + packet.msg.count * sizeof packet.entries[0], MSG_NOSIGNAL, NULL, 0) < 0)
            return;
    }
}

/* What runs after the container's end, then the host ops' undo in reverse. Never stops at a failure: the rest still has to go. */
static void unmake(struct pyrt_ctx *ctx, struct pyrt_msg *msg, int ran)
{
    struct pyrt_error kept = ctx->shared->error;
    for (uint32_t i = 0; ran && i < ctx->plan->op_count; i++) {
        const struct pyrt_op *op = &ctx->ops[i];
        if (!(op->flags & PYRT_F_AT_EXIT))
            continue;
        ctx->op = i;
        if (op->code == PYRT_OP_USAGE)
            op_usage(ctx, op, msg->usage);
        else
            plan_run_op(ctx, op);
    }
    for (uint32_t i = ctx->op_limit; i-- > 0;) {
        ctx->op = i;
        if (ctx->made[i / 8] >> (i % 8) & 1)
            plan_undo_op(ctx, &ctx->ops[i]);
    }
    ctx->shared->error = kept;
}

/* Reads and checks the plan on PLAN_FD. */
static int load_plan(struct pyrt_ctx *ctx, struct pyrt_error *err)
{
    struct statx info;
    long rc = SYS(statx, PLAN_FD, "", AT_EMPTY_PATH, STATX_SIZE, &info);
    if (rc < 0)
        return (int)rc;
    if (info.stx_size < sizeof *ctx->plan || info.stx_size > PYRT_PLAN_MAX_SIZE)
        return -EBADMSG;
    /* a private copy: whoever else has the fd cannot change the plan after it was checked */
    void *plan = map(info.stx_size, MAP_PRIVATE | MAP_POPULATE, PLAN_FD);
    if (plan == NULL)
        return -ENOMEM;
    rc = plan_validate(plan, info.stx_size, err);
    if (rc < 0)
        return (int)rc;
    ctx->plan = plan;
    ctx->ops = (const struct pyrt_op *)(const void *)((const char *)plan + ctx->plan->ops_off);
    ctx->blob = (const char *)plan + ctx->plan->blob_off;
    size_t size = sizeof *ctx->shared + (ctx->run_flags & PYRT_RUN_TRACE ? ctx->plan->op_count * sizeof ctx->shared->trace[0] : 0);
    ctx->shared = map(size, MAP_SHARED | MAP_ANONYMOUS, -1);
    if (ctx->shared == NULL)
        return -ENOMEM;
    ctx->shared->executor_pid = (int32_t)SYS(getpid);
    return 0;
}

static void close_stdio(void)
{
    /* the readers of the container's output must see its end, not ours */
    for (int fd = 0; fd < 3; fd++)
        SYS(close, fd);
}

/* Waits for the caller's ACK. 0 if the caller is gone instead. */
static int wait_for_ack(const struct pyrt_ctx *ctx)
{
    for (;;) {
        unsigned char command = 0;
        long got = SYS(recvfrom, ctx->control_fd, &command, 1, 0, NULL, NULL);
        if (got == -EINTR)
            continue;
        if (got != 1)
            return 0;
        if (command == PYRT_CMD_ACK)
            return 1;
        if (command == PYRT_CMD_KILL)
            return 0;
    }
}

static void close_slots(struct pyrt_ctx *ctx)
{
    for (int i = 0; i < PYRT_SLOTS; i++)
        op_slot_set(ctx, (uint64_t)i, -1);
}

static int fail(struct pyrt_ctx *ctx, struct pyrt_msg *msg, int status)
{
    watch_kill(ctx, &status);
    close_stdio();
    unmake(ctx, msg, 0);
    msg->wait_status = status;
    msg->error = ctx->shared->error;
    msg->done_ns = sys_now_ns();
    tell_caller(ctx, msg, PYRT_MSG_FAILED);
    if (ctx->run_flags & PYRT_RUN_TRACE)
        send_trace(ctx);
    return 1;
}

/* Where EXEC's trace entry ends is known only here. */
static void trace_exec(struct pyrt_ctx *ctx, uint64_t now)
{
    for (uint32_t i = 0; (ctx->run_flags & PYRT_RUN_TRACE) && i < ctx->plan->op_count; i++)
        if (ctx->ops[i].code == PYRT_OP_EXEC)
            ctx->shared->trace[i].end_ns = now;
}

static int run(struct pyrt_ctx *ctx, struct pyrt_msg *msg)
{
    int rc = turn_host(ctx);
    if (ctx->sync_fd >= 0)
        SYS(close, ctx->sync_fd);
    ctx->sync_fd = -1;
    if (rc < 0)
        return fail(ctx, msg, 0);
    msg->exec_ns = sys_now_ns();
    trace_exec(ctx, msg->exec_ns);
    close_stdio();
    close_slots(ctx);
    msg->pid = ctx->child;
    if (rc == 1 || (ctx->run_flags & PYRT_RUN_DETACH)) {
        int sent = tell_caller(ctx, msg, rc == 1 ? PYRT_MSG_CREATED : PYRT_MSG_STARTED);
        if (sent < 0 || !wait_for_ack(ctx)) {
            op_fail(ctx, -ECANCELED, "the caller went away before it took over", NULL);
            return fail(ctx, msg, 0);
        }
        if (ctx->run_flags & PYRT_RUN_TRACE)
            send_trace(ctx);
        return 0;
    }
    if (ctx->run_flags & PYRT_RUN_NOTIFY)
        tell_caller(ctx, msg, PYRT_MSG_STARTED);
    watch_container(ctx, msg);
    unmake(ctx, msg, 1);
    msg->done_ns = sys_now_ns();
    tell_caller(ctx, msg, PYRT_MSG_EXITED);
    if (ctx->run_flags & PYRT_RUN_TRACE)
        send_trace(ctx);
    return 0;
}

/* Ends before anything was done. msg->error is filled already where the validator has something to say. */
static int refuse(const struct pyrt_ctx *ctx, struct pyrt_msg *msg, int rc, const char *what)
{
    if (msg->error.error == 0) {
        msg->error.error = -rc;
        msg->error.op = -1;
        txt_add(msg->error.detail, sizeof msg->error.detail, what);
    }
    msg->done_ns = sys_now_ns();
    tell_caller(ctx, msg, PYRT_MSG_FAILED);
    return 1;
}

int executor_main(int argc, char **argv);

int executor_main(int argc, char **argv)
{
    static const char usage[] = "pyrt-exec: runs the plans of pyrt; it is started by pyrt, not by hand\n";
    struct pyrt_ctx *ctx = &context;
    struct pyrt_msg msg;
    memset(&msg, 0, sizeof msg);
    msg.start_ns = sys_now_ns();
    if (argc != 3) {
        SYS(write, 2, usage, sizeof usage - 1);
        return 125;
    }
    uint64_t nfds = txt_parse_u64(argv[2], NULL);
    ctx->run_flags = (uint32_t)txt_parse_u64(argv[1], NULL);
    ctx->root_fd = ctx->sync_fd = ctx->mask_fd = ctx->exec_fd = -1;
    ctx->control_fd = CONTROL_FD;
    for (int i = 0; i < PYRT_SLOTS; i++)
        ctx->slots[i] = (uint64_t)i < nfds ? FIRST_FD + i : -1;
    uint64_t all = ~0ull;
    SYS(rt_sigprocmask, 0 /* SIG_BLOCK */, &all, NULL, sizeof all);
    /* a caller that ignores SIGCHLD passes that on through exec, and the kernel would reap the container without us */
    const struct sys_sigaction by_default = {.handler = SIG_DFL};
    SYS(rt_sigaction, SIGCHLD, &by_default, NULL, sizeof all);
    int rc = load_plan(ctx, &msg.error);
    if (rc < 0)
        return refuse(ctx, &msg, rc, "reading the plan");
    SYS(close, PLAN_FD);
    ctx->proc_fd = (int)SYS(openat, AT_FDCWD, "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (ctx->proc_fd < 0)
        return refuse(ctx, &msg, ctx->proc_fd, "open /proc");
    /* a process that enters somebody's pid namespace must not be open to its ptrace, nor its fds (CVE-2016-9962) */
    if (plan_has(ctx, PYRT_OP_JOIN_NS))
        SYS(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
    return run(ctx, &msg);
}
