/* SPDX-License-Identifier: Apache-2.0 */
/* From exec to the end: the executor waits for the container, obeys its caller, and stands in for pid 1's deaf ear. */
#include "launch.h"

#include <linux/poll.h>
#include <sys/socket.h>

/* struct signalfd_siginfo; <linux/signalfd.h> would bring a second struct flock along */
struct signal_info {
    uint32_t signo;
    int32_t error;
    int32_t code;
    uint32_t rest[29];
};

struct watch {
    struct pyrt_ctx *ctx;
    struct pyrt_msg *msg;
    int pidfd;
    int signal_fd;
    int ended_by;      /* the fatal signal that pid 1 ignored and we turned into an end */
    int has_init;      /* pyrt's own init forwards by itself */
    int insisted;      /* how often the container was asked to end */
};

/* Whether the process ignores or handles the signal: bit in SigIgn or SigCgt of /proc/PID/status. 1 also when it cannot be told. */
static int is_heard(const struct pyrt_ctx *ctx, int sig)
{
    char path[64] = "";
    char text[4096];
    txt_add_u64(path, sizeof path, (uint64_t)ctx->child);
    txt_add(path, sizeof path, "/status");
    long size = sys_read_file(ctx->proc_fd, path, text, sizeof text);
    if (size <= 0)
        return 1;
    int seen = 0;
    for (const char *line = text; line != NULL && *line != '\0';) {
        if (strncmp(line, "SigIgn:\t", 8) == 0 || strncmp(line, "SigCgt:\t", 8) == 0) {
            uint64_t mask = 0;
            for (const char *p = line + 8; (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'f'); p++)
                mask = mask << 4 | (uint64_t)(*p <= '9' ? *p - '0' : *p - 'a' + 10);
            if (mask >> (sig - 1) & 1)
                return 1;
            seen = 1;
        }
        line = strchr(line, '\n');
        if (line != NULL)
            line++;
    }
    return !seen;
}

static int ends_by_default(int sig)
{
    return sig != SIGCHLD && sig != SIGCONT && sig != SIGURG && sig != SIGWINCH && sig != SIGSTOP && sig != SIGTSTP && sig != SIGTTIN &&
           sig != SIGTTOU;
}

/*
 * A signal for the container. The kernel drops signals for a pid 1 that has no handler; a command that never meant to be an init would then be deaf to
 * ^C and SIGTERM. Where its disposition is the default, it ends as any other process would; and so it does at the third request, whatever it says.
 * `group`: to init's process group, as a terminal does.
 */
static void forward(struct watch *w, int sig, int group)
{
    if (sig < 1 || sig > 64)
        return;
    if (sig == SIGINT || sig == SIGTERM)
        w->insisted++;
    int deaf = ends_by_default(sig) && !w->has_init && !is_heard(w->ctx, sig);
    if (sig != SIGKILL && (deaf || w->insisted >= 3)) {
        w->ended_by = sig;
        sig = SIGKILL;
    }
    if (sig == SIGKILL)
        cgroup_freeze_plan(w->ctx, 0);
    else if (group && SYS(kill, -w->ctx->child, sig) == 0)
        return;
    SYS(kill, w->ctx->child, sig);
}

int tell_caller(const struct pyrt_ctx *ctx, struct pyrt_msg *msg, uint32_t type)
{
    msg->type = type;
    long rc = ctx->control_fd < 0 ? -EPIPE : SYS(sendto, ctx->control_fd, msg, sizeof *msg, MSG_NOSIGNAL, NULL, 0);
    return rc < 0 ? (int)rc : 0;
}

int signals_open(void)
{
    const uint64_t all = ~0ull;
    return (int)SYS(signalfd4, -1, &all, sizeof all, O_CLOEXEC | O_NONBLOCK);
}

int signals_next(int fd)
{
    struct signal_info info;
    while (SYS(read, fd, &info, sizeof info) == (long)sizeof info)
        if ((info.code > 0 && info.signo != SIGCHLD) || info.signo == SIGTSTP)
            return (int)info.signo;
    return 0;
}

/* ^Z: the container stops with the job, and goes on with it. A group that does not freeze in time is thawed again and its init stopped instead. */
static void stop_with_job(struct watch *w)
{
    int frozen = cgroup_freeze_plan(w->ctx, 1) >= 0;
    if (!frozen) {
        cgroup_freeze_plan(w->ctx, 0);
        SYS(kill, w->ctx->child, SIGSTOP);
    }
    tell_caller(w->ctx, w->msg, PYRT_MSG_STOPPED);
    long self = SYS(getpid);
    SYS(kill, self, SIGSTOP);
    if (frozen)
        cgroup_freeze_plan(w->ctx, 0);
    else
        SYS(kill, w->ctx->child, SIGCONT);
}

static void read_signals(struct watch *w)
{
    for (int sig; (sig = signals_next(w->signal_fd)) != 0;)
        if (sig == SIGTSTP)
            stop_with_job(w);
        else if (sig != SIGCONT && sig != SIGPIPE && sig != SIGTTIN && sig != SIGTTOU)
            forward(w, sig, 1);
}

/* 0 when the caller is gone. */
static int read_commands(struct watch *w)
{
    for (;;) {
        unsigned char command[2] = {0, 0};
        long got = SYS(recvfrom, w->ctx->control_fd, command, sizeof command, MSG_DONTWAIT, NULL, NULL);
        if (got == -EAGAIN)
            return 1;
        if (got == -EINTR)
            continue;
        if (got <= 0)
            return 0;
        if (command[0] == PYRT_CMD_KILL && got == 2)
            forward(w, command[1], 0);
    }
}

void watch_container(struct pyrt_ctx *ctx, struct pyrt_msg *msg)
{
    struct watch w = {.ctx = ctx, .msg = msg, .signal_fd = -1, .has_init = plan_has(ctx, PYRT_OP_INIT)};
    w.pidfd = (int)SYS(pidfd_open, ctx->child, 0);
    if (ctx->run_flags & PYRT_RUN_SIGPROXY)
        w.signal_fd = signals_open();
    for (int sig = 1; sig <= SYS_SIGNALS; sig++)
        if (ctx->pending >> (sig - 1) & 1)
            forward(&w, sig, 0);
    int status = 0;
    while (w.pidfd >= 0) {
        struct pollfd fds[3] = {{w.pidfd, POLLIN, 0}, {ctx->control_fd, POLLIN, 0}, {w.signal_fd, POLLIN, 0}};
        long rc = SYS(ppoll, fds, 3, NULL, NULL, 8);
        if (rc == -EINTR)
            continue;
        if (rc < 0)
            break;
        if (fds[0].revents != 0)
            break;
        if (fds[2].revents != 0)
            read_signals(&w);
        if (fds[1].revents != 0 && !read_commands(&w)) {
            SYS(close, ctx->control_fd);
            ctx->control_fd = -1;
            cgroup_freeze_plan(ctx, 0);
            SYS(kill, ctx->child, SIGKILL);
        }
    }
    if (w.pidfd >= 0)
        SYS(close, w.pidfd);
    sys_wait(ctx->child, &status);
    msg->exit_ns = sys_now_ns();
    if (w.ended_by != 0 && (status & 0x7f) == SIGKILL)
        status = w.ended_by;
    msg->wait_status = status;
    ctx->child = 0;
    if (w.signal_fd >= 0)
        SYS(close, w.signal_fd);
}

void watch_kill(struct pyrt_ctx *ctx, int *status)
{
    if (ctx->child <= 0)
        return;
    cgroup_freeze_plan(ctx, 0); /* it may have been put into a group that somebody froze */
    SYS(kill, ctx->child, SIGKILL);
    sys_wait(ctx->child, status);
    pid_t second = ctx->shared->init_pid; /* of a second clone, if it has not been told of yet */
    if (second > 0 && second != ctx->child) {
        SYS(kill, second, SIGKILL);
        sys_wait(second, status);
    }
    ctx->child = 0;
}
