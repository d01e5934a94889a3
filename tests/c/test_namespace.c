/* SPDX-License-Identifier: Apache-2.0 */
/* Namespace ops in throw-away processes, read back from inside. Needs root or unprivileged user namespaces. */
#include "check.h"
#include "fake.h"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>

static int names(void)
{
    struct utsname now;

    fake_reset();
    struct pyrt_op *op = fake_op(PYRT_OP_UNSHARE, PYRT_CONTAINER);
    op->n[0] = CLONE_NEWUTS;
    CHECK_INT(fake_run(op_unshare, op), 0);
    op->s[0] = fake_text("box-1");
    CHECK_INT(fake_run(op_hostname, op), 0);
    op->s[0] = fake_text("example.org");
    CHECK_INT(fake_run(op_domainname, op), 0);
    uname(&now);
    CHECK_STR(now.nodename, "box-1");
    CHECK_STR(now.domainname, "example.org");
    char text[128], longer[80];
    CHECK_INT(slurp("/proc/sys/kernel/hostname", text, sizeof(text)), 0);
    CHECK_STR(text, "box-1\n");
    memset(longer, 'x', 70);
    longer[70] = '\0';
    op->s[0] = fake_text(longer);
    CHECK_INT(fake_run(op_hostname, op), -EINVAL);
    CHECK(strstr(fake_detail(), "xxx") != NULL);
    return done();
}

static int sysctls(void)
{
    char text[64];

    fake_reset();
    CHECK_INT(unshare(CLONE_NEWIPC | CLONE_NEWNET), 0);
    struct pyrt_op *op = fake_op(PYRT_OP_SYSCTL, PYRT_CONTAINER);
    op->s[0] = fake_text("kernel/shm_rmid_forced");
    op->s[1] = fake_text("1");
    CHECK_INT(fake_run(op_sysctl, op), 0);
    CHECK_INT(slurp("/proc/sys/kernel/shm_rmid_forced", text, sizeof(text)), 0);
    CHECK_STR(text, "1\n");
    op->s[0] = fake_text("net/ipv4/ip_forward");
    CHECK_INT(fake_run(op_sysctl, op), 0);

    static const char *const bad[] = {"../oom_score", "kernel/../../self/comm", "/kernel/hostname", "kernel//hostname", "", "kernel/", "./kernel", "kernel/.."};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        op->s[0] = fake_text(bad[i]);
        CHECK_INT(fake_run(op_sysctl, op), -EINVAL);
    }
    op->s[0] = fake_text("kernel/no_such_thing");
    CHECK_INT(fake_run(op_sysctl, op), -ENOENT);
    CHECK_STR(fake_detail(), "write sysctl kernel/no_such_thing");
    return done();
}

static int loopback(void)
{
    fake_reset();
    CHECK_INT(unshare(CLONE_NEWNET), 0);
    struct pyrt_op *op = fake_op(PYRT_OP_LOOPBACK, PYRT_CONTAINER);
    CHECK_INT(fake_run(op_loopback, op), 0);
    struct ifreq lo = {.ifr_name = "lo"};
    int sock = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK_INT(ioctl(sock, SIOCGIFFLAGS, &lo), 0);
    CHECK((lo.ifr_flags & IFF_UP) != 0 && (lo.ifr_flags & IFF_LOOPBACK) != 0);
    CHECK_INT(ioctl(sock, SIOCGIFADDR, &lo), 0); /* the kernel gave it 127.0.0.1 */
    close(sock);
    return done();
}

/* By path below /proc through the host's /proc, and by slot. */
static int joins(void)
{
    char path[64], host[128] = "", inside[128] = "";
    int ready[2];

    fake_reset();
    CHECK_INT(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int rc = unshare(CLONE_NEWUTS);
        if (rc == 0)
            rc = sethostname("target", 6);
        (void)!write(ready[1], rc == 0 ? "y" : "n", 1);
        pause();
    }
    CHECK_INT(read(ready[0], inside, 1), 1);
    int own = open("/proc/self/ns/uts", O_RDONLY);
    gethostname(host, sizeof(host));
    struct pyrt_op *op = fake_op(PYRT_OP_JOIN_NS, PYRT_CONTAINER);
    snprintf(path, sizeof(path), "/proc/%d/ns/uts", pid);
    op->s[0] = fake_text(path);
    op->n[0] = CLONE_NEWUTS;
    CHECK_INT(fake_run(op_join_ns, op), 0);
    gethostname(inside, sizeof(inside));
    CHECK_STR(inside, "target");
    fake.ctx.slots[5] = own;
    op->s[0] = 0;
    op->n[1] = 5;
    CHECK_INT(fake_run(op_join_ns, op), 0);
    gethostname(inside, sizeof(inside));
    CHECK_STR(inside, host);
    op->n[1] = 6;
    CHECK_INT(fake_run(op_join_ns, op), -EBADF);
    op->s[0] = fake_text(path);
    op->n[0] = CLONE_NEWNET; /* not what the file is */
    CHECK_INT(fake_run(op_join_ns, op), -EINVAL);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    op->s[0] = fake_text(path);
    op->n[0] = CLONE_NEWUTS;
    CHECK_INT(fake_run(op_join_ns, op), -ENOENT);
    CHECK(strstr(fake_detail(), path) != NULL);
    return done();
}

static int clock_offsets(void)
{
    fake_reset();
    if (unshare(CLONE_NEWTIME) != 0)
        return done(); /* kernel before 5.6 */
    struct pyrt_op *op = fake_op(PYRT_OP_TIME_OFFSETS, PYRT_CONTAINER);
    op->s[0] = fake_text("monotonic 1000 0\n");
    op->n[0] = 17;
    CHECK_INT(fake_run(op_time_offsets, op), 0);
    char text[256];
    CHECK_INT(slurp("/proc/self/timens_offsets", text, sizeof(text)), 0);
    CHECK(strstr(text, "1000") != NULL);
    op->s[0] = fake_text("nonsense");
    op->n[0] = 8;
    CHECK_INT(fake_run(op_time_offsets, op), -EINVAL);
    return done();
}

/* Root of a user namespace: id maps from outside, a namespace for idmapped mounts. */
static int user_namespaces(void)
{
    char path[64], text[128];
    int ready[2];

    fake_reset();
    CHECK_INT(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)!write(ready[1], unshare(CLONE_NEWUSER) == 0 ? "y" : "n", 1);
        pause();
    }
    CHECK_INT(read(ready[0], text, 1), 1);
    fake.ctx.child = pid;
    struct pyrt_op *op = fake_op(PYRT_OP_USERNS_MAP, PYRT_HOST);
    op->s[0] = fake_text("0 1000 1\n1 5000 10\n");
    CHECK_INT(fake_run(op_userns_map, op), 0);
    snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
    CHECK_INT(slurp(path, text, sizeof(text)), 0);
    CHECK(strstr(text, "5000") != NULL);
    CHECK_INT(fake_run(op_userns_map, op), -EPERM); /* maps are written once */
    CHECK_STR(fake_detail(), "write uid_map 0 1000 1;1 5000 10;");
    op->n[0] = 1;
    op->n[1] = 1;
    CHECK_INT(fake_run(op_userns_map, op), 0);
    snprintf(path, sizeof(path), "/proc/%d/setgroups", pid);
    CHECK_INT(slurp(path, text, sizeof(text)), 0);
    CHECK_STR(text, "deny\n");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);

    struct pyrt_op *idmap = fake_op(PYRT_OP_IDMAP_USERNS, PYRT_HOST);
    idmap->s[0] = idmap->s[1] = fake_text("0 100000 65536\n");
    idmap->n[0] = 9;
    CHECK_INT(fake_run(op_idmap_userns, idmap), 0);
    CHECK(fake.ctx.slots[9] >= 0);
    CHECK_INT(setns(fake.ctx.slots[9], CLONE_NEWUSER), 0);
    CHECK_INT(slurp("/proc/self/uid_map", text, sizeof(text)), 0);
    CHECK(strstr(text, "100000") != NULL);
    CHECK(waitpid(-1, NULL, WNOHANG) < 0); /* its holder is gone and reaped */
    return done();
}

static int bad_idmap(void)
{
    fake_reset();
    struct pyrt_op *idmap = fake_op(PYRT_OP_IDMAP_USERNS, PYRT_HOST);
    idmap->s[0] = idmap->s[1] = fake_text("not a map\n");
    idmap->n[0] = 9;
    CHECK_INT(fake_run(op_idmap_userns, idmap), -EINVAL);
    CHECK_STR(fake_detail(), "write uid_map for id-mapped mounts");
    CHECK(waitpid(-1, NULL, WNOHANG) < 0);
    return done();
}

/* A helper that refuses says why on its stderr, and that is what the user reads. */
static int map_helper(void)
{
    char path[] = "/tmp/pyrt-c-helper-XXXXXX", text[256];
    static const char script[] = "#!/bin/sh\necho \"$@\" > \"$0.args\"\nif [ \"$3\" = 7 ]; then echo 'range not allowed' >&2; exit 1; fi\n";

    int fd = mkstemp(path);
    CHECK_INT(write(fd, script, sizeof(script) - 1), sizeof(script) - 1);
    CHECK_INT(fchmod(fd, 0700), 0);
    close(fd);
    fake_reset();
    fake.ctx.child = 77;
    struct pyrt_op *op = fake_op(PYRT_OP_USERNS_MAP, PYRT_HOST);
    op->s[0] = fake_text("0 1000 1\n1 5000 10\n");
    op->s[1] = fake_text(path);
    CHECK_INT(fake_run(op_userns_map, op), 0);
    char args[64];
    snprintf(args, sizeof(args), "%s.args", path);
    CHECK_INT(slurp(args, text, sizeof(text)), 0);
    CHECK_STR(text, "77 0 1000 1 1 5000 10\n");
    op->s[0] = fake_text("0 7 1\n");
    CHECK_INT(fake_run(op_userns_map, op), -EPERM);
    CHECK(strstr(fake_detail(), "range not allowed") != NULL);
    op->s[1] = fake_text("no-such-helper");
    CHECK_INT(fake_run(op_userns_map, op), -ENOENT);
    unlink(args);
    unlink(path);
    return done();
}

int main(void)
{
    CHECK_INT(in_child(map_helper), 0);
    if (geteuid() != 0)
        return check_failures != 0 ? done() : (puts("namespaces of root"), 77);
    CHECK_INT(in_child(names), 0);
    CHECK_INT(in_child(sysctls), 0);
    CHECK_INT(in_child(loopback), 0);
    CHECK_INT(in_child(joins), 0);
    CHECK_INT(in_child(clock_offsets), 0);
    CHECK_INT(in_child(user_namespaces), 0);
    CHECK_INT(in_child(bad_idmap), 0);
    return done();
}
