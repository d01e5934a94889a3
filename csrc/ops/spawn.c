/* SPDX-License-Identifier: Apache-2.0 */
/* Programs run to their end by the executor or its child, and fds sent over sockets. */
#include "../base/sys.h"
#include "../base/fallback.h"
#include "spawn.h"

#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/wait.h>
#include <sys/socket.h>

int list_pointers(const char *list, uint64_t size, const char **pointers, size_t max)
{
    size_t count = 0;
    for (const char *item = list; item < list + size; item += strlen(item) + 1) {
        if (count + 1 >= max)
            return -E2BIG;
        pointers[count++] = item;
    }
    pointers[count] = NULL;
    return (int)count;
}

static void close_from_three(void)
{
    long rc = (pyrt_force_old & OLD_CLOSE_RANGE) != 0 ? -ENOSYS : SYS(close_range, 3, UINT32_MAX, 0);
    for (int fd = 3; rc < 0 && fd < 1024; fd++) /* before 5.9 */
        SYS(close, fd);
}

/* Standard fds that are closed here, or would be by exec, become /dev/null: the program's first files must not be taken for its output. */
static void fill_stdio(void)
{
    for (int fd = 0; fd < 3; fd++) {
        long flags = SYS(fcntl, fd, F_GETFD, 0);
        if (flags >= 0 && (flags & FD_CLOEXEC) == 0)
            continue;
        int null = (int)SYS(openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
        if (null == fd)
            SYS(fcntl, fd, F_SETFD, 0);
        else if (null >= 0)
            SYS(dup3, null, fd, 0);
    }
}

static long become(const struct spawn *what)
{
    int in = what->in_fd, err = what->err_fd;
    long rc = 0;

    if (what->heed_caller)
        SYS(prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    sys_default_signals();
    if (in >= 0 && in < 3)
        in = (int)SYS(fcntl, in, F_DUPFD_CLOEXEC, 3);
    if (err >= 0 && err < 3)
        err = (int)SYS(fcntl, err, F_DUPFD_CLOEXEC, 3);
    if (what->in_fd >= 0)
        rc = in < 0 ? in : SYS(dup3, in, 0, 0);
    if (rc >= 0 && what->err_fd >= 0)
        rc = err < 0 ? err : SYS(dup3, err, 2, 0);
    if (rc < 0)
        return rc;
    fill_stdio();
    close_from_three();
    return SYS(execve, what->path, what->argv, what->env);
}

/* Waits for the end of the program: 0, or why it was (or has to be) cut short. */
static int wait_for(struct pyrt_ctx *ctx, pid_t pid, const struct spawn *what)
{
    uint64_t deadline = what->timeout_s == 0 || what->timeout_s > 1000000000 ? UINT64_MAX : sys_now_ns() + what->timeout_s * 1000000000;
    cleanup_close int pidfd = (int)SYS(pidfd_open, pid, 0);

    for (;;) {
        uint64_t now = sys_now_ns(), left = deadline > now ? deadline - now : 0;
        if (pidfd < 0 && left > 5000000)
            left = 5000000; /* before 5.3: look every 5 ms */
        struct pollfd fds[2] = {{.fd = pidfd, .events = POLLIN, .revents = 0}, {.fd = what->heed_caller ? ctx->control_fd : -1, .events = POLLIN, .revents = 0}};
        int64_t time[2] = {(int64_t)(left / 1000000000), (int64_t)(left % 1000000000)};
        long rc = SYS(ppoll, fds, 2, deadline == UINT64_MAX && pidfd >= 0 ? NULL : time, NULL, 0);
        if (rc < 0 && rc != -EINTR)
            return (int)rc;
        if (rc > 0 && fds[0].revents != 0)
            return 0;
        if (rc > 0 && fds[1].revents != 0 && caller_check(ctx) < 0)
            return -ECANCELED;
        if (pidfd < 0) {
            char info[128] = {0}; /* siginfo_t */
            if (SYS(waitid, P_PID, pid, info, WEXITED | WNOHANG | WNOWAIT, NULL) == 0 && *(int *)(void *)info == SIGCHLD)
                return 0;
        }
        if (sys_now_ns() >= deadline)
            return -ETIMEDOUT;
    }
}

int spawn_wait(struct pyrt_ctx *ctx, const struct spawn *what, int *status, int *exec_failed)
{
    uint32_t *word = &ctx->shared->spawn_error;
    int rc = 0;

    *word = 0;
    *exec_failed = 0;
    long pid = SYS(clone, SIGCHLD, 0, 0, 0, 0);
    if (pid < 0)
        return (int)pid;
    if (pid == 0) {
        __atomic_store_n(word, (uint32_t)-become(what), __ATOMIC_RELEASE);
        for (;;)
            SYS(exit_group, 127);
    }
    if (what->timeout_s != 0 || (what->heed_caller && ctx->control_fd >= 0)) {
        rc = wait_for(ctx, (pid_t)pid, what);
        if (rc < 0)
            SYS(kill, pid, SIGKILL);
    }
    int waited = sys_wait((pid_t)pid, status);
    uint32_t error = __atomic_load_n(word, __ATOMIC_ACQUIRE);
    if (error != 0) {
        *exec_failed = 1;
        return -(int)error;
    }
    return rc < 0 ? rc : waited;
}

int sock_send_fdv(int sock, int fd, struct iovec *parts, size_t count)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = {
        .msg_iov = parts, .msg_iovlen = count, .msg_control = &control, .msg_controllen = CMSG_SPACE(sizeof(int))};

    memset(&control, 0, sizeof(control));
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.head), &fd, sizeof(int));
    for (;;) {
        long sent = SYS(sendmsg, sock, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent == -EAGAIN) {
            struct pollfd room = {.fd = sock, .events = POLLOUT, .revents = 0};
            int64_t two_seconds[2] = {2, 0};
            long ready = SYS(ppoll, &room, 1, two_seconds, NULL, 0);
            if (ready == 0)
                return -ETIMEDOUT;
            if (ready > 0 || ready == -EINTR)
                continue;
            return (int)ready;
        }
        if (sent == -EINTR)
            continue;
        if (sent < 0)
            return (int)sent;
        /* The fd went with the first byte; what is left of the data follows alone. */
        message.msg_control = NULL;
        message.msg_controllen = 0;
        while (message.msg_iovlen > 0 && (size_t)sent >= message.msg_iov->iov_len) {
            sent -= (long)message.msg_iov->iov_len;
            message.msg_iov++;
            message.msg_iovlen--;
        }
        if (message.msg_iovlen == 0)
            return 0;
        message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + sent;
        message.msg_iov->iov_len -= (size_t)sent;
    }
}

int sock_send_fd(int sock, int fd, const void *data, size_t size)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    return sock_send_fdv(sock, fd, &part, 1);
}
