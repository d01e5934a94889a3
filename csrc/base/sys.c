/* SPDX-License-Identifier: Apache-2.0 */
#include "sys.h"

#include <linux/time_types.h>
#include <linux/wait.h>

uint64_t sys_now_ns(void)
{
    struct __kernel_timespec now = {0, 0};
    SYS(clock_gettime, 1 /* CLOCK_MONOTONIC */, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void sys_closep(const int *fd)
{
    if (*fd >= 0)
        SYS(close, *fd);
}

int sys_write_all(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        long done = SYS(write, fd, at, size);
        if (done == -EINTR)
            continue;
        if (done < 0)
            return (int)done;
        if (done == 0)
            return -EIO;
        at += done;
        size -= (size_t)done;
    }
    return 0;
}

int sys_write_file(int dirfd, const char *path, const void *data, size_t size, int open_flags)
{
    cleanup_close int fd = (int)SYS(openat, dirfd, path, O_WRONLY | O_CLOEXEC | open_flags, 0600);
    if (fd < 0)
        return fd;
    long done;
    do
        done = SYS(write, fd, data, size);
    while (done == -EINTR);
    if (done < 0)
        return (int)done;
    return (size_t)done == size ? 0 : -EIO;
}

long sys_read_file(int dirfd, const char *path, char *buffer, size_t size)
{
    cleanup_close int fd = (int)SYS(openat, dirfd, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    size_t have = 0;
    while (have < size - 1) {
        long got = SYS(read, fd, buffer + have, size - 1 - have);
        if (got == -EINTR)
            continue;
        if (got < 0)
            return got;
        if (got == 0)
            break;
        have += (size_t)got;
    }
    buffer[have] = '\0';
    return (long)have;
}

int sys_wait(pid_t pid, int *status)
{
    long rc;
    do
        rc = SYS(wait4, pid, status, __WALL, NULL);
    while (rc == -EINTR);
    return rc < 0 ? (int)rc : 0;
}

void sys_default_signals(void)
{
    const struct sys_sigaction by_default = {.handler = SIG_DFL};
    const uint64_t none = 0;
    for (int number = 1; number <= SYS_SIGNALS; number++)
        SYS(rt_sigaction, number, &by_default, NULL, sizeof(none));
    SYS(rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
}

int txt_add(char *buffer, size_t size, const char *text)
{
    size_t have = strlen(buffer);
    size_t more = strlen(text);
    int rc = 0;
    if (have + more >= size) {
        more = size - 1 - have;
        rc = -ENAMETOOLONG;
    }
    memcpy(buffer + have, text, more);
    buffer[have + more] = '\0';
    return rc;
}

int txt_add_u64(char *buffer, size_t size, uint64_t value)
{
    char digits[24];
    char *at = digits + sizeof digits - 1;
    *at = '\0';
    do
        *--at = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    return txt_add(buffer, size, at);
}

uint64_t txt_parse_u64(const char *text, const char **end)
{
    uint64_t value = 0;
    while (*text >= '0' && *text <= '9')
        value = value * 10 + (uint64_t)(*text++ - '0');
    if (end)
        *end = text;
    return value;
}
