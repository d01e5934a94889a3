/* SPDX-License-Identifier: Apache-2.0 */
/*
 * floor.c: what the kernel alone charges for a container. The same isolation as `pyrt run host`, and nothing else.
 *
 *     floor [options] N CMD [ARG...]      N containers in a row, then each one's microseconds, a line each
 *     floor [options] --step CMD [ARG...] one container for each line read on stdin; answers "MICROSECONDS STATUS" at once
 *
 * A container here: one clone with the pid, mnt, uts, ipc, net and cgroup namespaces; a cgroup directory in every v1
 * hierarchy, made, attached to and removed (on a v2 host one directory and CLONE_INTO_CGROUP); an overlay whose upper is a
 * tmpfs and whose lower is / (--lower DIR); proc, /dev with its nodes, devpts, shm, mqueue, sys; pivot_root; exec; wait. No
 * plan, no checks, no seccomp, no error handling worth the name: a runtime can approach this, never beat it.
 *
 * --no-PART leaves a part out: pid mnt uts ipc net cgroupns cgroup overlay mounts pivot. Without `mnt` there is
 * neither root nor mounts. `--no-all` leaves all out: plain clone, exec, wait, which is how bench/ times other runtimes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif

enum { MAX_HIERARCHIES = 24, PATH_SIZE = 512, STACK_SIZE = 65536 };

enum part { PID, MNT, UTS, IPC, NET, CGROUPNS, CGROUP, OVERLAY, MOUNTS, PIVOT, PARTS };
static const char *const part_names[PARTS] = { "pid", "mnt", "uts", "ipc", "net", "cgroupns", "cgroup", "overlay", "mounts", "pivot" };
static int with[PARTS] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };

struct hierarchy {
    char dir[PATH_SIZE];        /* the container's directory */
    char tasks[PATH_SIZE + 16]; /* its v1 tasks file: a lone thread that moves itself there waits for no RCU, as cgroup.procs would */
    char cpus_file[PATH_SIZE + 16], mems_file[PATH_SIZE + 16]; /* v1 cpuset, where both must be set before a task may come in */
    int cpuset;
};

static struct hierarchy hierarchies[MAX_HIERARCHIES];
static int hierarchy_count;
static int unified;             /* a v2 host: one hierarchy, CLONE_INTO_CGROUP */
static char cpus[256], mems[256];
static const char *lower = "/";
static char base[64], overlay_options[PATH_SIZE * 2], root[80], upper[80], work[80], old_root[8] = ".";
static char **command;
static char stack[STACK_SIZE] __attribute__((aligned(16)));

static void die(const char *what, const char *on)
{
    dprintf(2, "floor: %s %s: %s\n", what, on, strerror(errno));
    _exit(125);
}

#define MUST(call, what, on) do { if ((call) < 0) die(what, on); } while (0)

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        die("write", path);
    close(fd);
}

static void get(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);
    if (n < 0)
        die("read", path);
    out[n] = '\0';
    close(fd);
}

/* Finds where cgroups are mounted: every v1 hierarchy, or the v2 one when there is no other. */
static void find_hierarchies(void)
{
    FILE *mounts = fopen("/proc/self/mounts", "re");
    char source[PATH_SIZE], where[PATH_SIZE / 2], type[64], options[PATH_SIZE], rest[64], v2[PATH_SIZE / 2] = "";
    if (!mounts)
        die("open", "/proc/self/mounts");
    while (fscanf(mounts, "%511s %255s %63s %511s %63[^\n]\n", source, where, type, options, rest) == 5) {
        if (!strcmp(type, "cgroup2"))
            strcpy(v2, where);
        if (strcmp(type, "cgroup") || hierarchy_count == MAX_HIERARCHIES)
            continue;
        struct hierarchy *h = &hierarchies[hierarchy_count++];
        snprintf(h->dir, sizeof h->dir, "%s/floor-%d", where, getpid());
        h->cpuset = strstr(options, "cpuset") != NULL;
        if (h->cpuset) {
            char path[PATH_SIZE];
            snprintf(path, sizeof path, "%s/cpuset.cpus", where);
            get(path, cpus, sizeof cpus);
            snprintf(path, sizeof path, "%s/cpuset.mems", where);
            get(path, mems, sizeof mems);
        }
    }
    fclose(mounts);
    if (!hierarchy_count && *v2) {
        unified = 1;
        snprintf(hierarchies[hierarchy_count++].dir, PATH_SIZE, "%s/floor-%d", v2, getpid());
    }
    for (int i = 0; i < hierarchy_count; i++) {
        struct hierarchy *h = &hierarchies[i];
        snprintf(h->tasks, sizeof h->tasks, "%s/tasks", h->dir);
        snprintf(h->cpus_file, sizeof h->cpus_file, "%s/cpuset.cpus", h->dir);
        snprintf(h->mems_file, sizeof h->mems_file, "%s/cpuset.mems", h->dir);
    }
}

static void make_cgroups(void)
{
    for (int i = 0; i < hierarchy_count; i++) {
        MUST(mkdir(hierarchies[i].dir, 0755), "mkdir", hierarchies[i].dir);
        if (hierarchies[i].cpuset) {
            put(hierarchies[i].cpus_file, cpus);
            put(hierarchies[i].mems_file, mems);
        }
    }
}

static void remove_cgroups(void)
{
    for (int i = 0; i < hierarchy_count; i++)
        while (rmdir(hierarchies[i].dir) < 0) {
            if (errno != EBUSY) /* a task just reaped may count for a moment longer */
                die("rmdir", hierarchies[i].dir);
            sched_yield();
        }
}

static void add_mount(const char *type, const char *where, unsigned long flags, const char *data)
{
    MUST(mount(type, where, type, flags, data), "mount", where);
}

static void make_node(const char *path, unsigned minor_number, unsigned major_number)
{
    MUST(mknod(path, S_IFCHR | 0666, makedev(major_number, minor_number)), "mknod", path);
}

static void fill_root(void)
{
    add_mount("proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    add_mount("tmpfs", "dev", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k");
    make_node("dev/null", 3, 1);
    make_node("dev/zero", 5, 1);
    make_node("dev/full", 7, 1);
    make_node("dev/random", 8, 1);
    make_node("dev/urandom", 9, 1);
    make_node("dev/tty", 0, 5);
    MUST(symlink("/proc/self/fd", "dev/fd"), "symlink", "dev/fd");
    MUST(symlink("/proc/self/fd/0", "dev/stdin"), "symlink", "dev/stdin");
    MUST(symlink("/proc/self/fd/1", "dev/stdout"), "symlink", "dev/stdout");
    MUST(symlink("/proc/self/fd/2", "dev/stderr"), "symlink", "dev/stderr");
    MUST(symlink("pts/ptmx", "dev/ptmx"), "symlink", "dev/ptmx");
    mkdir("dev/pts", 0755);
    mkdir("dev/shm", 01777);
    mkdir("dev/mqueue", 01777);
    add_mount("devpts", "dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
    add_mount("tmpfs", "dev/shm", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=65536k");
    if (with[IPC])
        add_mount("mqueue", "dev/mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    add_mount("sysfs", "sys", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL);
}

static void enter_root(void)
{
    MUST(mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL), "make private", "/");
    if (with[OVERLAY]) {
        MUST(mount("tmpfs", base, "tmpfs", 0, "mode=700"), "mount", base);
        MUST(mkdir(upper, 0755), "mkdir", upper);
        MUST(mkdir(work, 0755), "mkdir", work);
        MUST(mkdir(root, 0755), "mkdir", root);
        MUST(mount("overlay", root, "overlay", 0, overlay_options), "mount overlay", overlay_options);
        MUST(chdir(root), "chdir", root);
    } else {
        MUST(mount(lower, base, NULL, MS_BIND, NULL), "bind", base);
        MUST(chdir(base), "chdir", base);
    }
    if (with[MOUNTS])
        fill_root();
    if (with[PIVOT]) {
        MUST(syscall(SYS_pivot_root, ".", old_root), "pivot_root", root);
        MUST(umount2(".", MNT_DETACH), "umount", "old root");
        MUST(chdir("/"), "chdir", "/");
    } else {
        MUST(chroot("."), "chroot", root);
    }
}

static int child(void *unused)
{
    (void)unused;
    if (with[CGROUP] && !unified)
        for (int i = 0; i < hierarchy_count; i++)
            put(hierarchies[i].tasks, "0");
    if (with[CGROUPNS] && !unified)
        MUST(unshare(CLONE_NEWCGROUP), "unshare", "cgroup");
    if (with[UTS])
        MUST(sethostname("floor", 5), "sethostname", "floor");
    if (with[MNT])
        enter_root();
    execv(command[0], command);
    die("exec", command[0]);
    return 0;
}

/* v2: straight into the cgroup, so that no task ever migrates. */
static pid_t clone_into(uint64_t flags)
{
    int fd = open(hierarchies[0].dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct clone_args args = { .flags = flags | CLONE_VFORK | CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)fd };
    long pid = fd < 0 ? -1 : syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0)
        child(NULL);
    close(fd);
    return (pid_t)pid;
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* One container, from nothing to nothing. Returns its microseconds. */
static unsigned one(uint64_t flags, int *code)
{
    int status = 0;
    pid_t pid;
    uint64_t begin = now_us();

    if (with[CGROUP])
        make_cgroups();
    if (with[CGROUP] && unified)
        pid = clone_into(flags | (with[CGROUPNS] ? CLONE_NEWCGROUP : 0));
    else
        pid = clone(child, stack + STACK_SIZE, (int)flags | CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
    MUST(pid, "clone", "");
    MUST(waitpid(pid, &status, 0), "wait", "");
    if (with[CGROUP])
        remove_cgroups();
    unsigned took = (unsigned)(now_us() - begin);
    *code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return took;
}

static void usage(void)
{
    dprintf(2, "usage: floor [--lower DIR] [--no-all] [--no-PART]... (N | --step) CMD [ARG...]\nparts:");
    for (int i = 0; i < PARTS; i++)
        dprintf(2, " %s", part_names[i]);
    dprintf(2, "\n");
    exit(2);
}

static int leave_out(const char *option)
{
    if (strncmp(option, "--no-", 5))
        return 0;
    int found = 0;
    for (int i = 0; i < PARTS; i++)
        if (!strcmp(option + 5, "all") || !strcmp(option + 5, part_names[i])) {
            with[i] = 0;
            found = 1;
        }
    return found;
}

int main(int argc, char **argv)
{
    int at = 1, step = 0;
    long count = 0;
    for (; at < argc && !strncmp(argv[at], "--", 2); at++) {
        if (!strcmp(argv[at], "--lower") && at + 1 < argc)
            lower = argv[++at];
        else if (!strcmp(argv[at], "--step"))
            step = 1;
        else if (!leave_out(argv[at]))
            usage();
    }
    if (!step && (at == argc || (count = strtol(argv[at++], NULL, 10)) <= 0))
        usage();
    if (at == argc)
        usage();
    command = argv + at;

    find_hierarchies();
    snprintf(base, sizeof base, "/run/floor-%d", getpid());
    MUST(mkdir(base, 0700), "mkdir", base);
    snprintf(root, sizeof root, "%s/r", base);
    snprintf(upper, sizeof upper, "%s/u", base);
    snprintf(work, sizeof work, "%s/w", base);
    snprintf(overlay_options, sizeof overlay_options, "lowerdir=%s,upperdir=%s,workdir=%s,volatile", lower, upper, work);

    uint64_t flags = 0;
    static const uint64_t clone_flags[PARTS] = { CLONE_NEWPID, CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWNET };
    for (int i = 0; i < PARTS; i++)
        flags |= with[i] ? clone_flags[i] : 0;

    char line[16];
    int code = 0;
    if (step) {
        while (fgets(line, sizeof line, stdin)) {
            unsigned took = one(flags, &code);
            dprintf(1, "%u %d\n", took, code);
        }
    } else {
        unsigned *took = calloc((size_t)count, sizeof *took);
        if (!took)
            die("calloc", "");
        for (long i = 0; i < count && !code; i++)
            took[i] = one(flags, &code);
        for (long i = 0; i < count && !code; i++)
            printf("%u\n", took[i]);
        free(took);
    }
    rmdir(base);
    return code;
}
