/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes of the process: limits, fds, working directory, scheduling. */
#include "base/fallback.h"
#include "check.h"
#include "fake.h"

#include <linux/sched/types.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static int limits(void)
{
    fake_reset();
    struct pyrt_op *op = fake_op(PYRT_OP_RLIMIT, PYRT_CONTAINER);
    op->n[0] = RLIMIT_CORE;
    op->n[1] = 10;
    op->n[2] = 20;
    CHECK_INT(fake_run(op_rlimit, op), 0);
    struct rlimit now;
    getrlimit(RLIMIT_CORE, &now);
    CHECK(now.rlim_cur == 10 && now.rlim_max == 20);
    if (geteuid() == 0)
        CHECK_INT(setuid(99), 0);
    op->n[2] = 4000;
    CHECK_INT(fake_run(op_rlimit, op), -EPERM);
    CHECK(strstr(fake_detail(), "10:4000") != NULL); /* what was wanted */
    CHECK(strstr(fake_detail(), "hard limit 20") != NULL); /* and what is */
    return done();
}

/* The n-th of the caller's fds holds the n-th pipe, wherever things stood before. */
static int passes_fds(void)
{
    int pipes[4][2];
    char c;

    fake_reset();
    struct pyrt_op *op = fake_op(PYRT_OP_FDS, PYRT_CONTAINER);
    op->n[0] = 4;
    op->n[1] = 2;
    int sync = fcntl(fake.ctx.proc_fd, F_DUPFD_CLOEXEC, 3);
    fake.ctx.sync_fd = sync; /* the runtime's own fds stand in the way */
    for (int i = 0; i < 4; i++) { /* taken in reverse, low numbers, close-on-exec */
        CHECK_INT(pipe2(pipes[i], O_CLOEXEC), 0);
        char digit = (char)('0' + i);
        CHECK_INT(write(pipes[i][1], &digit, 1), 1);
        close(pipes[i][1]);
        fake.ctx.slots[2 + 3 - i] = pipes[i][0];
    }
    CHECK(sync < 7 && pipes[0][0] < 7);
    int stray = fcntl(1, F_DUPFD, 40); /* inherited without close-on-exec */
    CHECK_INT(fake_run(op_fds, op), 0);
    CHECK_INT(fake.ctx.keep_fds, 4);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(read(3 + i, &c, 1), 1);
        CHECK_INT(c, '0' + 3 - i);
        CHECK_INT(fcntl(3 + i, F_GETFD), 0);
    }
    CHECK(fake.ctx.sync_fd >= 7 && fcntl(fake.ctx.sync_fd, F_GETFD) == FD_CLOEXEC);
    CHECK(fake.ctx.proc_fd >= 7 && fcntl(fake.ctx.proc_fd, F_GETFD) == FD_CLOEXEC);
    CHECK_INT(fcntl(stray, F_GETFD), FD_CLOEXEC);
    op->n[1] = 100;
    CHECK_INT(fake_run(op_fds, op), -EBADF);
    op->n[1] = UINT64_MAX;
    CHECK_INT(fake_run(op_fds, op), -EINVAL);
    return done();
}

static int passes_fds_on_an_old_kernel(void)
{
    pyrt_force_old = OLD_CLOSE_RANGE;
    return passes_fds();
}

static int working_directory(void)
{
    fake_reset();
    struct pyrt_op *op = fake_op(PYRT_OP_CWD, PYRT_CONTAINER);
    op->s[0] = fake_text("/usr");
    char now[64];
    CHECK_INT(fake_run(op_cwd, op), 0);
    CHECK_STR(getcwd(now, sizeof(now)), "/usr");
    op->s[0] = fake_text("/nowhere/at/all");
    CHECK_INT(fake_run(op_cwd, op), -ENOENT);
    CHECK_STR(fake_detail(), "working directory /nowhere/at/all");
    op->s[0] = fake_text("/etc/passwd");
    CHECK_INT(fake_run(op_cwd, op), -ENOTDIR);
    return done();
}

/* A directory fd of the host that leaked must not become the working directory of a container (CVE-2024-21626). */
static int working_directory_outside(void)
{
    fake_reset();
    int host = open("/usr", O_PATH | O_DIRECTORY);
    char path[64], now[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", host);
    struct pyrt_op *op = fake_op(PYRT_OP_CWD, PYRT_CONTAINER);
    op->s[0] = fake_text(path);
    CHECK_INT(chroot("/proc"), 0);
    snprintf(path, sizeof(path), "/self/fd/%d", host);
    op->s[0] = fake_text(path);
    CHECK_INT(fake_run(op_cwd, op), -EXDEV);
    CHECK_STR(getcwd(now, sizeof(now)), "/");
    return done();
}

static int scheduling(void)
{
    struct sched_attr attr = {.size = 48, .sched_policy = 3 /* SCHED_BATCH */, .sched_nice = 5};

    fake_reset();
    struct pyrt_op *op = fake_op(PYRT_OP_SCHEDULER, PYRT_CONTAINER);
    op->s[0] = fake_bytes(&attr, 48);
    op->n[0] = 48;
    CHECK_INT(fake_run(op_scheduler, op), 0);
    CHECK_INT(syscall(SYS_sched_getscheduler, 0), 3);
    op->n[0] = 3;
    CHECK_INT(fake_run(op_scheduler, op), -EINVAL);

    struct pyrt_op *nice_op = fake_op(PYRT_OP_NICE, PYRT_CONTAINER);
    nice_op->n[0] = 7;
    CHECK_INT(fake_run(op_nice, nice_op), 0);
    CHECK_INT(getpriority(PRIO_PROCESS, 0), 7);

    struct pyrt_op *io = fake_op(PYRT_OP_IOPRIO, PYRT_CONTAINER);
    io->n[0] = 2 << 13 | 6;
    CHECK_INT(fake_run(op_ioprio, io), 0);
    CHECK_INT(syscall(SYS_ioprio_get, 1, 0), 2 << 13 | 6);
    io->n[0] = 5 << 13;
    CHECK_INT(fake_run(op_ioprio, io), -EINVAL);

    struct pyrt_op *persona = fake_op(PYRT_OP_PERSONALITY, PYRT_CONTAINER);
    persona->n[0] = PER_LINUX32;
    CHECK_INT(fake_run(op_personality, persona), 0);
    CHECK_INT(personality(0xffffffff), PER_LINUX32);

    struct pyrt_op *mask = fake_op(PYRT_OP_UMASK, PYRT_CONTAINER);
    mask->n[0] = 0137;
    CHECK_INT(fake_run(op_umask, mask), 0);
    CHECK_INT(umask(0), 0137);
    return done();
}

static int memory_policy(void)
{
    static const uint8_t node0[] = {1};

    fake_reset();
    struct pyrt_op *op = fake_op(PYRT_OP_MEMPOLICY, PYRT_CONTAINER);
    op->n[0] = 2; /* MPOL_BIND */
    op->s[0] = fake_bytes(node0, sizeof(node0));
    op->n[1] = 8;
    int rc = fake_run(op_mempolicy, op);
    CHECK(rc == 0 || rc == -ENOSYS || rc == -EPERM); /* a kernel without NUMA, a sandbox */
    int mode = -1;
    if (rc == 0 && syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0) == 0)
        CHECK_INT(mode, 2);
    op->n[1] = 4096;
    CHECK_INT(fake_run(op_mempolicy, op), -EINVAL);
    op->n[1] = 1000; /* leaves the blob */
    CHECK_INT(fake_run(op_mempolicy, op), -EINVAL);
    return done();
}

static int oom_score(void)
{
    fake_reset();
    char text[16];
    struct pyrt_op *op = fake_op(PYRT_OP_OOM_SCORE, PYRT_CONTAINER);
    op->n[0] = 321;
    CHECK_INT(fake_run(op_oom_score, op), 0);
    CHECK_INT(slurp("/proc/self/oom_score_adj", text, sizeof(text)), 0);
    CHECK_INT(atoi(text), 321);
    op->n[0] = (uint64_t)-1001;
    CHECK_INT(fake_run(op_oom_score, op), -EINVAL);
    CHECK_STR(fake_detail(), "write /proc/self/oom_score_adj -1001");
    return done();
}

/* An ordinary user's undumpable process does not own its /proc files; it can write them all the same, unless a container could be looking on. */
static int oom_score_of_a_user(void)
{
    fake_reset();
    if (geteuid() == 0)
        CHECK_INT(setuid(99), 0);
    struct pyrt_op *join = fake_op(PYRT_OP_NONE, PYRT_CONTAINER);
    struct pyrt_op *op = fake_op(PYRT_OP_OOM_SCORE, PYRT_CONTAINER);
    op->n[0] = 500;
    CHECK_INT(prctl(PR_SET_DUMPABLE, 0), 0);
    CHECK_INT(fake_run(op_oom_score, op), 0);
    CHECK_INT(prctl(PR_GET_DUMPABLE), 0);
    join->code = PYRT_OP_JOIN_NS;
    CHECK_INT(fake_run(op_oom_score, op), -EACCES);
    return done();
}

static int session_keyring(void)
{
    fake_reset();
    struct pyrt_op *op = fake_op(PYRT_OP_KEYRING, PYRT_CONTAINER);
    op->s[0] = fake_text("_ses.pyrt-test");
    CHECK_INT(fake_run(op_keyring, op), 0);
    char text[256] = "";
    if (syscall(SYS_keyctl, 6 /* KEYCTL_DESCRIBE */, -3 /* session */, text, sizeof(text) - 1) > 0)
        CHECK(strstr(text, ";_ses.pyrt-test") != NULL);
    return done();
}

/* When the executor died before the signal was armed, the closed socket says so. */
static int notices_a_dead_executor(void)
{
    int pair[2];

    fake_reset();
    CHECK_INT(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    fake.ctx.sync_fd = pair[0];
    struct pyrt_op *op = fake_op(PYRT_OP_PDEATHSIG, PYRT_CONTAINER);
    op->n[0] = SIGTERM;
    CHECK_INT(fake_run(op_pdeathsig, op), 0);
    close(pair[1]);
    CHECK_INT(fake_run(op_pdeathsig, op), -ESRCH);
    return done();
}

int main(void)
{
    CHECK_INT(in_child(limits), 0);
    CHECK_INT(in_child(passes_fds), 0);
    CHECK_INT(in_child(passes_fds_on_an_old_kernel), 0);
    CHECK_INT(in_child(working_directory), 0);
    if (geteuid() == 0)
        CHECK_INT(in_child(working_directory_outside), 0);
    CHECK_INT(in_child(scheduling), 0);
    CHECK_INT(in_child(memory_policy), 0);
    CHECK_INT(in_child(oom_score), 0);
    CHECK_INT(in_child(oom_score_of_a_user), 0);
    CHECK_INT(in_child(session_keyring), 0);
    CHECK_INT(in_child(notices_a_dead_executor), 0);
    return done();
}
