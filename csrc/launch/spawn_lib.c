/* SPDX-License-Identifier: Apache-2.0 */
/* The caller's half: starting the executor without touching the caller, and waiting for it. Part of the Python extension only. */
#include "../plan/plan.h"
#include "../native.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

#define DRAIN_MAX (1u << 20) /* as much as a pipe can hold, unless root has made it larger */
#define FINISH_ROUNDS 64     /* of those, at the end */

static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;
static int executor_fd = -1;
static struct stat executor_id;

/* Where the caller's stdio is closed, our own files get those numbers, and would be taken for it. Closes fd; the one to use instead, or -errno. */
static int above_stdio(int fd)
{
    if (fd < 0 || fd > 2)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    int saved = errno;
    close(fd);
    return moved < 0 ? -saved : moved;
}

static int copy_sealed(const char *path)
{
    cleanup_close int from = open(path, O_RDONLY | O_CLOEXEC);
    if (from < 0)
        return -errno;
    cleanup_close int to = memfd_create("pyrt-exec", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
    if (to < 0 && errno == EINVAL) /* before 6.3 */
        to = memfd_create("pyrt-exec", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (to < 0)
        return -errno;
    for (;;) {
        ssize_t sent = sendfile(to, from, NULL, 1 << 20);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return -errno;
        if (sent == 0)
            break;
    }
    if (fchmod(to, 0555) < 0 || fcntl(to, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return -errno;
    return above_stdio(sys_steal_fd(&to));
}

int pyrt_executor_load(const char *path)
{
    pthread_mutex_lock(&load_lock);
    int rc = 0;
    struct stat now;
    /* somebody who closes every fd of the process (a daemonizer) takes ours too: notice, and make another */
    int lost = executor_fd >= 0 && (fstat(executor_fd, &now) < 0 || now.st_ino != executor_id.st_ino || now.st_dev != executor_id.st_dev);
    if (executor_fd < 0 || lost) {
        rc = copy_sealed(path);
        if (rc >= 0) {
            executor_fd = rc;
            rc = fstat(executor_fd, &executor_id) < 0 ? -errno : 0;
        }
    }
    pthread_mutex_unlock(&load_lock);
    return rc;
}

static int plan_file(const uint8_t *plan, size_t size)
{
    cleanup_close int fd = memfd_create("pyrt-plan", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = sys_write_all(fd, plan, size);
    return rc < 0 ? rc : above_stdio(sys_steal_fd(&fd));
}

struct start {
    int fds[PYRT_SLOTS + 5];     /* stdio, plan, control, slots: where each is now */
    uint32_t count;
    int program;
    char *const *argv;
    volatile int failed;
};

/* In the vforked child: shares the caller's memory, so nothing but raw calls. */
static int place_fds(struct start *start)
{
    int floor = (int)start->count;
    /* everything out of the way first, the program too: it may well be fd 3 */
    start->program = (int)SYS(fcntl, start->program, F_DUPFD_CLOEXEC, floor);
    if (start->program < 0)
        return start->program;
    for (uint32_t i = 0; i < start->count; i++) {
        long moved = start->fds[i] < 0 ? -EBADF : SYS(fcntl, start->fds[i], F_DUPFD_CLOEXEC, floor);
        if (moved == -EBADF && i < 3) { /* a service without stdio: the executor, and who it runs, count on having all three */
            int null = (int)SYS(openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
            moved = null < 0 ? null : SYS(fcntl, null, F_DUPFD_CLOEXEC, floor);
        }
        if (moved < 0)
            return (int)moved;
        start->fds[i] = (int)moved;
    }
    for (uint32_t i = 0; i < start->count; i++) {
        long rc = SYS(dup3, start->fds[i], i, 0);
        if (rc < 0)
            return (int)rc;
    }
    /* whatever the caller left inheritable stays outside */
    long rc = SYS(close_range, start->count, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */);
    if (rc < 0) /* before 5.9 there is no such call, before 5.11 no such flag */
        for (int fd = floor; fd < 65536; fd++)
            SYS(fcntl, fd, F_SETFD, FD_CLOEXEC);
    return 0;
}

/* noinline, noclone: vfork returns twice into this frame, so it must be one of its own. */
__attribute__((noinline)) static pid_t start_executor(struct start *start)
{
    char *const no_env[] = {NULL};
    pid_t pid = vfork();
    if (pid != 0)
        return pid;
    int rc = place_fds(start);
    if (rc == 0)
        rc = (int)SYS(execveat, start->program, "", start->argv, no_env, AT_EMPTY_PATH);
    start->failed = rc;
    SYS(exit_group, 127);
    __builtin_unreachable();
}

/* ECHILD: the caller reaps everything itself (SIGCHLD ignored, or waitpid(-1) in another thread); the messages tell all. */
static void reap(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

static void format_u32(char out[12], uint32_t value)
{
    out[0] = '\0';
    txt_add_u64(out, 12, value);
}

int pyrt_spawn(const uint8_t *plan, size_t plan_size, const int32_t *fds, uint32_t nfds, const int32_t *stdio, uint32_t flags, struct pyrt_process *out)
{
    if (nfds > PYRT_SLOTS)
        return -E2BIG;
    cleanup_close int plan_fd = plan_file(plan, plan_size);
    if (plan_fd < 0)
        return plan_fd;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    cleanup_close int ours = above_stdio(pair[0]);
    cleanup_close int theirs = above_stdio(pair[1]);
    if (ours < 0 || theirs < 0)
        return ours < 0 ? ours : theirs;
    char flags_text[12];
    char nfds_text[12];
    format_u32(flags_text, flags);
    format_u32(nfds_text, nfds);
    char name[] = "pyrt-exec";
    char *const argv[] = {name, flags_text, nfds_text, NULL};
    struct start start = {.fds = {stdio[0], stdio[1], stdio[2], plan_fd, theirs}, .count = 5 + nfds, .program = executor_fd, .argv = argv};
    for (uint32_t i = 0; i < nfds; i++)
        start.fds[5 + i] = fds[i];
    /* a signal handler of the caller's must not run in the child, which shares its memory */
    sigset_t all;
    sigset_t old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    pid_t pid = start_executor(&start);
    int saved = errno;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (pid < 0)
        return -saved;
    if (start.failed != 0) {
        reap(pid);
        return start.failed;
    }
    out->pid = pid;
    out->control_fd = sys_steal_fd(&ours);
    return 0;
}

static void set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && !(flags & O_NONBLOCK))
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static void close_io(int32_t *fd)
{
    close(*fd);
    *fd = -1;
}

/* Reads what is there, but not for longer than a full pipe: a writer that is always faster must not keep us from the clock, the messages and the other stream.
 * 0, or -ENOMEM. The fd is closed at its end. */
static int drain(struct pyrt_io *io, int which)
{
    size_t before = io->out_size[which];
    while (io->out_size[which] - before < DRAIN_MAX) {
        if (io->out_room[which] - io->out_size[which] < 4096) {
            size_t room = io->out_room[which] != 0 ? io->out_room[which] * 2 : 16384;
            uint8_t *grown = realloc(io->out[which], room);
            if (grown == NULL)
                return -ENOMEM;
            io->out[which] = grown;
            io->out_room[which] = room;
        }
        ssize_t got = read(io->out_fd[which], io->out[which] + io->out_size[which], io->out_room[which] - io->out_size[which]);
        if (got > 0) {
            io->out_size[which] += (size_t)got;
            continue;
        }
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 0;
        close_io(&io->out_fd[which]);
        return 0;
    }
    return 0;
}

static void feed(struct pyrt_io *io)
{
    /* SIGPIPE is the caller's to set: Python ignores it, another embedder may not */
    while (io->in_done < io->in_size) {
        ssize_t done = write(io->in_fd, io->in + io->in_done, io->in_size - io->in_done);
        if (done > 0)
            io->in_done += (size_t)done;
        else if (done < 0 && errno == EINTR)
            continue;
        else if (done < 0 && errno == EAGAIN)
            return;
        else
            break; /* EPIPE: the container does not want more */
    }
    close_io(&io->in_fd);
}

union packet {
    struct pyrt_msg msg;
    uint8_t bytes[sizeof(struct pyrt_msg) + 128 * sizeof(struct pyrt_trace_entry)];
};

static void store_trace(const union packet *packet, size_t size, struct pyrt_trace_entry *trace, uint32_t room)
{
    const struct pyrt_msg *msg = &packet->msg;
    if (trace == NULL || size < sizeof *msg + msg->count * sizeof *trace)
        return;
    if (msg->first <= room && msg->count <= room - msg->first)
        memcpy(trace + msg->first, packet->bytes + sizeof *msg, msg->count * sizeof *trace);
}

int pyrt_wait(const struct pyrt_process *process, struct pyrt_io *io, int timeout_ms, struct pyrt_msg *msg, struct pyrt_trace_entry *trace, uint32_t trace_room)
{
    uint64_t end = timeout_ms < 0 ? 0 : sys_now_ns() + (uint64_t)timeout_ms * 1000000u;
    for (int i = 0; i < 2; i++)
        if (io != NULL && io->out_fd[i] >= 0)
            set_nonblocking(io->out_fd[i]);
    if (io != NULL && io->in_fd >= 0)
        set_nonblocking(io->in_fd);
    for (;;) {
        struct pollfd fds[4] = {{process->control_fd, POLLIN, 0}, {-1, POLLOUT, 0}, {-1, POLLIN, 0}, {-1, POLLIN, 0}};
        if (io != NULL) {
            fds[1].fd = io->in_fd;
            fds[2].fd = io->out_fd[0];
            fds[3].fd = io->out_fd[1];
        }
        int left = -1;
        if (timeout_ms >= 0) {
            uint64_t now = sys_now_ns();
            left = now >= end ? 0 : (int)((end - now + 999999) / 1000000);
        }
        int rc = poll(fds, 4, left);
        if (rc < 0)
            return -errno;
        if (rc == 0)
            return 0;
        if (io != NULL && fds[1].revents != 0)
            feed(io);
        for (int i = 0; i < 2; i++)
            if (fds[2 + i].revents != 0 && (rc = drain(io, i)) < 0)
                return rc;
        if (fds[0].revents == 0)
            continue;
        union packet packet;
        ssize_t got = recv(process->control_fd, &packet, sizeof packet, MSG_DONTWAIT);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got < (ssize_t)sizeof packet.msg)
            return -EPIPE;
        if (packet.msg.type == PYRT_MSG_TRACE) {
            store_trace(&packet, (size_t)got, trace, trace_room);
            continue;
        }
        *msg = packet.msg;
        return 1;
    }
}

int pyrt_finish(struct pyrt_process *process, struct pyrt_io *io, struct pyrt_trace_entry *trace, uint32_t trace_room)
{
    int rc = 0;
    /* Every writer that was the container's is dead. A writer that is not (a shared pid namespace) does not keep us. */
    for (int i = 0; io != NULL && i < 2; i++)
        if (io->out_fd[i] >= 0) {
            for (int more = 1, round = 0; more && rc == 0 && round < FINISH_ROUNDS && io->out_fd[i] >= 0; round++) {
                size_t before = io->out_size[i];
                rc = drain(io, i);
                more = io->out_size[i] != before;
            }
            if (io->out_fd[i] >= 0)
                close_io(&io->out_fd[i]);
        }
    if (io != NULL && io->in_fd >= 0)
        close_io(&io->in_fd);
    if (process->control_fd >= 0) {
        union packet packet;
        ssize_t got = 0;
        while (trace != NULL && ((got = recv(process->control_fd, &packet, sizeof packet, 0)) > 0 || (got < 0 && errno == EINTR)))
            if (got >= (ssize_t)sizeof packet.msg && packet.msg.type == PYRT_MSG_TRACE)
                store_trace(&packet, (size_t)got, trace, trace_room);
        close_io(&process->control_fd);
    }
    if (process->pid > 0) {
        reap(process->pid);
        process->pid = -1;
    }
    return rc;
}

int pyrt_send(const struct pyrt_process *process, const uint8_t *bytes, size_t size)
{
    ssize_t sent;
    do
        sent = send(process->control_fd, bytes, size, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

void pyrt_io_free(struct pyrt_io *io)
{
    for (int i = 0; i < 2; i++) {
        free(io->out[i]);
        io->out[i] = NULL;
        io->out_size[i] = io->out_room[i] = 0;
    }
}

int pyrt_plan_check(const uint8_t *plan, size_t size, struct pyrt_error *err)
{
    memset(err, 0, sizeof *err);
    err->op = -1;
    void *aligned = NULL;
    if (posix_memalign(&aligned, 16, size != 0 ? size : 1) != 0)
        return -ENOMEM;
    memcpy(aligned, plan, size);
    int rc = plan_validate(aligned, size, err);
    free(aligned);
    return rc;
}

const char *pyrt_op_name(uint32_t code)
{
    const struct op_kind *kind = plan_kind(code);
    return kind != NULL ? kind->name : NULL;
}

int pyrt_op_kind(uint32_t code, char *out, uint8_t *sides)
{
    const struct op_kind *kind = plan_kind(code);
    if (kind == NULL)
        return -EINVAL;
    memcpy(out, kind->strings, 5);
    memcpy(out + 5, kind->numbers, 5);
    out[10] = '\0';
    *sides = kind->sides;
    return 0;
}

int pyrt_device_program(const uint8_t *instructions, size_t size)
{
    char log[8192];
    return device_program_load(instructions, size, log, sizeof log);
}

int pyrt_detach_mount(const char *path)
{
    long rc = SYS(umount2, path, 2 | 8 /* MNT_DETACH | UMOUNT_NOFOLLOW */);
    return rc < 0 && rc != -EINVAL && rc != -ENOENT ? (int)rc : 0;
}
