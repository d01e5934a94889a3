/* SPDX-License-Identifier: Apache-2.0 */
/* The end of the list: finding the program, becoming it, and the small init that may stay behind. */
#include <linux/close_range.h>
#include <linux/prctl.h>
#include <sys/ioctl.h>

#include "../base/fallback.h"
#include "ops.h"
#include "spawn.h"

#ifndef __NR_faccessat2
#define __NR_faccessat2 439
#endif

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define WAIT_NOHANG 1
#define POINTERS_ON_STACK 1024
#define PROT_RW 3           /* PROT_READ | PROT_WRITE */
#define MAP_PRIVATE_ANON 34 /* MAP_PRIVATE | MAP_ANONYMOUS */

/* Can this process run it? 0, -EACCES, -ENOENT… */
static int can_run(const char *path)
{
    struct statx st;
    long rc = SYS(statx, AT_FDCWD, path, AT_NO_AUTOMOUNT, STATX_TYPE, &st);
    if (rc < 0)
        return (int)rc;
    if ((st.stx_mode & S_IFMT) != S_IFREG)
        return -EACCES;
    rc = pyrt_force_old & OLD_FACCESSAT2 ? -ENOSYS : SYS(faccessat2, AT_FDCWD, path, 1 /* X_OK */, AT_EACCESS);
    return (int)(old_kernel(rc) ? SYS(faccessat, AT_FDCWD, path, 1) : rc);
}

/* dir/file into the result; an empty dir is the working directory. */
static int join(char result[4096], const char *dir, size_t dir_size, const char *file)
{
    size_t file_size = strlen(file);
    if (dir_size + file_size + 3 > 4096)
        return -ENAMETOOLONG;
    if (dir_size == 0)
        result[dir_size++] = '.';
    else
        memcpy(result, dir, dir_size);
    if (result[dir_size - 1] != '/')
        result[dir_size++] = '/';
    memcpy(result + dir_size, file, file_size + 1);
    return 0;
}

/* As execvp(3) goes: the first that can be run; one that is there but cannot be is remembered, in case none can. */
static int search(char result[4096], const char *file, const char *path)
{
    int seen = -ENOENT;
    for (;;) {
        const char *end = strchr(path, ':');
        size_t size = end ? (size_t)(end - path) : strlen(path);
        int rc = join(result, path, size, file);
        if (rc == 0)
            rc = can_run(result);
        if (rc == 0)
            return 0;
        if (rc == -EACCES)
            seen = rc;
        if (!end)
            return seen;
        path = end + 1;
    }
}

int op_find_exec(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *file = op_str(ctx, op, 0), *path = op_str(ctx, op, 1);
    int rc;
    ctx->exec_path[0] = '\0';
    if (strchr(file, '/')) {
        size_t size = strlen(file);
        rc = size < sizeof(ctx->exec_path) ? can_run(file) : -ENAMETOOLONG;
        if (rc == 0)
            memcpy(ctx->exec_path, file, size + 1);
    } else {
        rc = file[0] ? search(ctx->exec_path, file, path[0] ? path : DEFAULT_PATH) : -ENOENT;
    }
    if (rc < 0)
        ctx->exec_path[0] = '\0';
    return rc < 0 ? op_fail(ctx, rc, "look-up of", file) : 0;
}

static size_t list_length(const char *list, size_t size)
{
    size_t count = 0;
    for (const char *p = list; p < list + size; p += strlen(p) + 1)
        count++;
    return count;
}

static int run(struct pyrt_ctx *ctx, const struct pyrt_op *op, const char **pointers, size_t room)
{
    const char *file = op->s[0] ? op_str(ctx, op, 0) : ctx->exec_path;
    size_t args = (size_t)list_pointers(op_data(ctx, op, 1), op->n[0], pointers, room) + 1;
    const char **env = pointers + args;
    list_pointers(op_data(ctx, op, 2), op->n[1], env, room - args);
    if (!ctx->signals_reset)
        sys_default_signals();
    long rc = SYS(execve, file, pointers, env);
    if (rc == -ENOENT && can_run(file) == 0)
        return op_fail(ctx, rc, "the missing interpreter or loader of", file);
    if (rc == -ENOEXEC)
        return op_fail(ctx, rc, "execve of what is neither a program for this machine nor a script with #!:", file);
    return op_fail(ctx, rc, "execve", file);
}

int op_exec(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *stack[POINTERS_ON_STACK];
    size_t count = list_length(op_data(ctx, op, 1), op->n[0]) + list_length(op_data(ctx, op, 2), op->n[1]) + 2;
    if (op->s[0] == 0 && ctx->exec_path[0] == '\0')
        return op_fail(ctx, -ENOENT, "no program", NULL);
    if (count <= POINTERS_ON_STACK)
        return run(ctx, op, stack, count);
    size_t size = count * sizeof(char *);
    long map = SYS(mmap, NULL, size, PROT_RW, MAP_PRIVATE_ANON, -1, 0);
    if (map < 0 && map > -4096)
        return op_fail(ctx, map, "mmap of the argument list", NULL);
    int rc = run(ctx, op, (const char **)map, count);
    SYS(munmap, map, size);
    return rc;
}

/* -- INIT -- */

static uint64_t signal_bit(int signal_number)
{
    return (uint64_t)1 << (signal_number - 1);
}

/* What init never forwards: faults of its own, and the terminal's stops, which it must not take either. */
static uint64_t own_signals(void)
{
    static const int own[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS, SIGTTIN, SIGTTOU};
    uint64_t mask = 0;
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        mask |= signal_bit(own[i]);
    return mask;
}

static void never_called(int signal_number)
{
    (void)signal_number;
}

/* Blocked signals wait for rt_sigtimedwait. They get a handler too, which never runs, so that /proc/1/status says that they are caught: the kernel and
 * our own executor treat a pid 1 without one as deaf. */
static uint64_t take_signals(void)
{
    uint64_t mask = ~own_signals();
    struct sys_sigaction action = {.handler = never_called}, ignore = {.handler = SIG_IGN}, plain = {.handler = SIG_DFL};
    SYS(rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
    for (int i = 1; i <= SYS_SIGNALS; i++)
        if ((mask & signal_bit(i)) && i != SIGKILL && i != SIGSTOP && i != SIGCHLD)
            SYS(rt_sigaction, i, &action, NULL, sizeof(mask));
    SYS(rt_sigaction, SIGCHLD, &plain, NULL, sizeof(mask)); /* SECCOMP's courier may have left SA_NOCLDWAIT, and there would be nothing to reap */
    SYS(rt_sigaction, SIGTTIN, &ignore, NULL, sizeof(mask));
    SYS(rt_sigaction, SIGTTOU, &ignore, NULL, sizeof(mask));
    return mask;
}

static void close_all(void)
{
    long rc = pyrt_force_old & OLD_CLOSE_RANGE ? -ENOSYS : SYS(close_range, 0, ~0u, 0);
    for (int fd = 0; rc < 0 && fd < 65536; fd++)
        SYS(close, fd);
}

/* Reaps whatever has ended. The status that init ends with once the child is among them, else -1. */
static int reap(pid_t child)
{
    int status, result = -1;
    for (;;) {
        long pid = SYS(wait4, -1, &status, WAIT_NOHANG, NULL);
        if (pid == -EINTR)
            continue;
        if (pid <= 0)
            return pid == -ECHILD && result < 0 ? 255 : result;
        if (pid == child)
            result = status & 0x7f ? 128 + (status & 0x7f) : (status >> 8) & 0xff;
    }
}

__attribute__((noreturn)) static void be_init(pid_t child, uint64_t mask)
{
    close_all(); /* a pipe of the container must end when its program closes it */
    for (;;) {
        long got = SYS(rt_sigtimedwait, &mask, NULL, NULL, sizeof(mask));
        if (got > 0 && got != SIGCHLD)
            SYS(kill, child, got);
        int status = got == SIGCHLD ? reap(child) : -1;
        if (status >= 0)
            SYS(exit_group, status);
    }
}

/* The child gets a process group of its own, and the terminal if there is one: ^C reaches the program, not init. */
static void own_group(void)
{
    int pid = (int)SYS(getpid), foreground;
    SYS(setpgid, 0, 0);
    if (SYS(ioctl, 0, TIOCGPGRP, &foreground) == 0)
        SYS(ioctl, 0, TIOCSPGRP, &pid); /* SIGTTOU is ignored here, and back to default before exec */
}

int op_init(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    (void)op;
    long self = SYS(getpid);
    uint64_t mask = take_signals();
    if (self != 1) /* no pid namespace of our own: orphans come to us all the same */
        SYS(prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    SYS(prctl, PR_SET_NAME, "pyrt-init", 0, 0, 0); /* the child's goes with its exec */
    long child = SYS(clone, SIGCHLD, 0, 0, 0, 0);
    if (child < 0)
        return op_fail(ctx, child, "clone", NULL);
    if (child > 0)
        be_init((pid_t)child, mask);
    ctx->is_init = 1;
    ctx->signals_reset = 0; /* init's handlers and mask came over the fork */
    if (self != 1)
        SYS(prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    own_group();
    return 0;
}
