/* SPDX-License-Identifier: Apache-2.0 */
/*
 * payload.c: what the guest's containers run: static, because Python would take the guest a second for each.
 *
 *     payload eat MIB         touches that much memory, then prints "ate"
 *     payload forks COUNT     starts that many children that sleep, prints how many it got
 *     payload spin MS         spins for that much wall time, prints the milliseconds of CPU that it got
 *     payload open PATH       opens for reading and writing, prints "open" or the errno's name in words
 *     payload label           prints /proc/self/attr/current
 *     payload count FILE MS   writes a growing number to FILE every 20 ms, for MS
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static long milliseconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int eat(long mib)
{
    for (long i = 0; i < mib; i++) {
        char *page = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED)
            return puts("mmap failed"), 1;
        for (size_t at = 0; at < 1 << 20; at += 4096)
            page[at] = 1;
    }
    return puts("ate"), 0;
}

static int forks(long count)
{
    long got = 0;
    pid_t *children = calloc((size_t)count, sizeof *children);
    for (; children && got < count; got++) {
        children[got] = fork();
        if (children[got] < 0)
            break;
        if (children[got] == 0) {
            pause();
            _exit(0);
        }
    }
    printf("%ld\n", got);
    for (long i = 0; i < got; i++)
        kill(children[i], SIGKILL);
    while (wait(NULL) > 0)
        ;
    free(children);
    return 0;
}

static int spin(long wall)
{
    long end = milliseconds(CLOCK_MONOTONIC) + wall;
    while (milliseconds(CLOCK_MONOTONIC) < end)
        ;
    return printf("%ld\n", milliseconds(CLOCK_PROCESS_CPUTIME_ID)), 0;
}

static int try_open(const char *path)
{
    int fd = open(path, O_RDWR);
    puts(fd < 0 ? strerror(errno) : "open");
    return fd < 0;
}

static int label(void)
{
    char text[256];
    int fd = open("/proc/self/attr/current", O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    return n > 0 ? fwrite(text, 1, (size_t)n, stdout) != (size_t)n : 1;
}

static int count(const char *path, long wall)
{
    long end = milliseconds(CLOCK_MONOTONIC) + wall;
    for (long i = 1; milliseconds(CLOCK_MONOTONIC) < end; i++) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        if (fd < 0 || dprintf(fd, "%ld\n", i) < 0)
            return 1;
        close(fd);
        usleep(20000);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    const char *arg = argc > 2 ? argv[2] : "";
    if (!strcmp(what, "eat"))
        return eat(atol(arg));
    if (!strcmp(what, "forks"))
        return forks(atol(arg));
    if (!strcmp(what, "spin"))
        return spin(atol(arg));
    if (!strcmp(what, "open"))
        return try_open(arg);
    if (!strcmp(what, "label"))
        return label();
    if (!strcmp(what, "count") && argc > 3)
        return count(arg, atol(argv[3]));
    fprintf(stderr, "payload: what is '%s'?\n", what);
    return 2;
}
