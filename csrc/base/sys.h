/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw system calls: each returns >= 0 or -errno, touches neither errno nor any other libc state, and is safe between clone and exec.
 * The executor is linked without libc (see start_main.c), so nothing under csrc/{base,plan,ops,launch} may call libc beyond the
 * mem*() and str*() functions that start_main.c supplies. Files named *_lib.c are part of the Python extension only and may.
 */
#ifndef PYRT_BASE_SYS_H
#define PYRT_BASE_SYS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#include <asm/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/stat.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#ifndef __NR_clone3
#define __NR_clone3 435
#endif
#ifndef __NR_close_range
#define __NR_close_range 436
#endif
#ifndef __NR_openat2
#define __NR_openat2 437
#endif
#ifndef __NR_mount_setattr
#define __NR_mount_setattr 442
#endif

#if defined(__x86_64__)
static inline long sys_call6(long nr, long a, long b, long c, long d, long e, long f)
{
    long ret;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}
#elif defined(__aarch64__)
static inline long sys_call6(long nr, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory", "cc");
    return x0;
}
#else
#error "pyrt: this architecture has no system call stub yet (x86_64 and aarch64 have)"
#endif

/* SYS(openat, dirfd, path, flags, mode): any call, arguments cast to long. Up to six arguments. */
#define SYS_N(_0, _1, _2, _3, _4, _5, _6, N, ...) N
#define SYS_0(nr) sys_call6(nr, 0, 0, 0, 0, 0, 0)
#define SYS_1(nr, a) sys_call6(nr, (long)(a), 0, 0, 0, 0, 0)
#define SYS_2(nr, a, b) sys_call6(nr, (long)(a), (long)(b), 0, 0, 0, 0)
#define SYS_3(nr, a, b, c) sys_call6(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYS_4(nr, a, b, c, d) sys_call6(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYS_5(nr, a, b, c, d, e) sys_call6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SYS_6(nr, a, b, c, d, e, f) sys_call6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define SYS(name, ...) SYS_N(0, ##__VA_ARGS__, SYS_6, SYS_5, SYS_4, SYS_3, SYS_2, SYS_1, SYS_0)(__NR_##name, ##__VA_ARGS__)

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t sys_now_ns(void);
/* close(2) for cleanup attributes; negative fds are ignored. */
void sys_closep(const int *fd);
#define cleanup_close __attribute__((cleanup(sys_closep)))
/* Takes the fd out of a cleanup_close variable. */
static inline int sys_steal_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

/* write(2) all of it, over EINTR and short writes. 0 or -errno. */
int sys_write_all(int fd, const void *data, size_t size);
/* One open(O_WRONLY|flags), one write(2), close. 0 or -errno; a short write is -EIO. */
int sys_write_file(int dirfd, const char *path, const void *data, size_t size, int open_flags);
/* Reads up to size-1 bytes and terminates them. Bytes read or -errno. */
long sys_read_file(int dirfd, const char *path, char *buffer, size_t size);
/* wait4(2) on a pid over EINTR. 0 or -errno. */
int sys_wait(pid_t pid, int *status);

/* What rt_sigaction(2) takes; masks are 64 bits. */
struct sys_sigaction {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};
#define SYS_SIGNALS 64
/* Every signal has its default effect and none is blocked: exec(2) hands ignored signals and the mask on, and what a caller left is not the program's. */
void sys_default_signals(void);

/* Text without stdio. Each appends to a NUL-terminated buffer of `size` bytes and never overruns it; 0, or -ENAMETOOLONG when cut. */
int txt_add(char *buffer, size_t size, const char *text);
int txt_add_u64(char *buffer, size_t size, uint64_t value);
/* Parses decimal digits; *end is left behind them. */
uint64_t txt_parse_u64(const char *text, const char **end);

#endif
