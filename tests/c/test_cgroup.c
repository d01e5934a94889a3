/* SPDX-License-Identifier: Apache-2.0 */
/* Cgroup ops on this kernel's hierarchies, and the usage reader on plain files. Needs root for the former. */
#include "check.h"
#include "fake.h"

#include <linux/bpf.h>
#include <mntent.h>
#include <signal.h>
#include <sys/stat.h>

static char v2[256], freezer[256], cpuset[256];

static void find_mounts(void)
{
    FILE *mounts = setmntent("/proc/self/mounts", "r");
    struct mntent *m;
    while (mounts != NULL && (m = getmntent(mounts)) != NULL) {
        if (strcmp(m->mnt_type, "cgroup2") == 0)
            snprintf(v2, sizeof(v2), "%s", m->mnt_dir);
        if (strcmp(m->mnt_type, "cgroup") == 0 && hasmntopt(m, "freezer") != NULL)
            snprintf(freezer, sizeof(freezer), "%s", m->mnt_dir);
        if (strcmp(m->mnt_type, "cgroup") == 0 && hasmntopt(m, "cpuset") != NULL)
            snprintf(cpuset, sizeof(cpuset), "%s", m->mnt_dir);
    }
    if (mounts != NULL)
        endmntent(mounts);
}

static int exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* A process that does nothing, in the group. */
static pid_t sleeper_in(const char *dir)
{
    pid_t pid = fork();
    if (pid == 0) {
        for (;;)
            pause();
    }
    char path[512], text[32];
    snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
    snprintf(text, sizeof(text), "%d", pid);
    CHECK_INT(sys_write_file(AT_FDCWD, path, text, strlen(text), 0), 0);
    return pid;
}

static void top_of(char *path, size_t size, const char *mount, const char *below)
{
    snprintf(path, size, "%s/pyrt-c-test-%d%s", mount, getpid(), below);
}

static const struct pyrt_op *mkdir_op(const char *dir, uint64_t flags)
{
    struct pyrt_op *op = fake_op(PYRT_OP_CGROUP_MKDIR, PYRT_HOST);
    op->s[0] = fake_text(dir);
    op->n[0] = flags;
    return op;
}

/* What stands in the group is killed, and groups that the container made go too. */
static void test_make_kill_remove(const char *mount)
{
    char top[300], dir[320], sub[340];
    int status;

    top_of(top, sizeof(top), mount, "");
    top_of(dir, sizeof(dir), mount, "/box");
    top_of(sub, sizeof(sub), mount, "/box/inner");
    fake_reset();
    const struct pyrt_op *op = mkdir_op(dir, 0);
    CHECK_INT(fake_run(op_cgroup_mkdir, op), 0); /* with its parent */
    CHECK(exists(dir));
    const struct pyrt_op *again = mkdir_op(dir, 1);
    CHECK_INT(fake_run(op_cgroup_mkdir, again), -EEXIST);
    CHECK(strstr(fake_detail(), dir) != NULL);
    const struct pyrt_op *present = mkdir_op(dir, 0);
    CHECK_INT(fake_run(op_cgroup_mkdir, present), 0);
    CHECK_INT(undo_cgroup_mkdir(&fake.ctx, present), 0); /* was there before: stays */
    CHECK(exists(dir));

    CHECK_INT(mkdir(sub, 0755), 0);
    pid_t one = sleeper_in(dir), two = strcmp(mount, v2) == 0 ? -1 : sleeper_in(sub);
    CHECK_INT(cgroup_freeze_plan(&fake.ctx, 1), 0);
    CHECK_INT(cgroup_freeze_plan(&fake.ctx, 0), 0);
    CHECK_INT(cgroup_freeze_plan(&fake.ctx, 1), 0); /* killed although frozen */
    fake.ctx.op = (uint32_t)(op - fake.ops);
    CHECK_INT(undo_cgroup_mkdir(&fake.ctx, op), 0);
    CHECK(!exists(dir));
    CHECK_INT(waitpid(one, &status, 0), one);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    if (two > 0)
        CHECK_INT(waitpid(two, &status, 0), two);
    CHECK_INT(undo_cgroup_mkdir(&fake.ctx, op), 0); /* gone already: fine */
    CHECK_INT(rmdir(top), 0);
}

static void test_kill_op(const char *mount)
{
    char dir[300];
    int status;

    top_of(dir, sizeof(dir), mount, "-k");
    fake_reset();
    const struct pyrt_op *make = mkdir_op(dir, 1);
    CHECK_INT(fake_run(op_cgroup_mkdir, make), 0);
    pid_t pids[3];
    for (int i = 0; i < 3; i++)
        pids[i] = sleeper_in(dir);
    struct pyrt_op *op = fake_op(PYRT_OP_CGROUP_KILL, PYRT_HOST);
    op->s[0] = fake_text(dir);
    CHECK_INT(fake_run(op_cgroup_kill, op), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(waitpid(pids[i], &status, 0), pids[i]);
        CHECK(WIFSIGNALED(status));
    }
    CHECK_INT(undo_cgroup_mkdir(&fake.ctx, make), 0);
    CHECK(!exists(dir));
    CHECK_INT(fake_run(op_cgroup_kill, op), 0); /* no group, nothing to kill */
}

static void test_deep(const char *mount)
{
    char path[2048];

    top_of(path, sizeof(path), mount, "-d");
    fake_reset();
    const struct pyrt_op *make = mkdir_op(path, 1);
    CHECK_INT(fake_run(op_cgroup_mkdir, make), 0);
    for (int i = 0; i < 100; i++) {
        strcat(path, "/n");
        CHECK_INT(mkdir(path, 0755), 0);
    }
    CHECK_INT(undo_cgroup_mkdir(&fake.ctx, make), 0);
    top_of(path, sizeof(path), mount, "-d");
    CHECK(!exists(path));
}

static void test_attach(const char *mount)
{
    char dir[300], file[320], text[64];
    int status;

    top_of(dir, sizeof(dir), mount, "-a");
    fake_reset();
    const struct pyrt_op *make = mkdir_op(dir, 1);
    CHECK_INT(fake_run(op_cgroup_mkdir, make), 0);
    struct pyrt_op *from_host = fake_op(PYRT_OP_CGROUP_ATTACH, PYRT_HOST);
    struct pyrt_op *from_child = fake_op(PYRT_OP_CGROUP_ATTACH, PYRT_CONTAINER);
    from_host->s[0] = from_child->s[0] = fake_text(dir);
    int go[2];
    CHECK_INT(pipe(go), 0);
    for (int side = 0; side < 2; side++) {
        int ready[2];
        CHECK_INT(pipe(ready), 0);
        pid_t pid = fork();
        if (pid == 0) {
            if (side == 1 && fake_run(op_cgroup_attach, from_child) != 0)
                _exit(1);
            (void)!write(ready[1], "r", 1);
            pause();
        }
        fake.ctx.child = pid;
        if (side == 0)
            CHECK_INT(fake_run(op_cgroup_attach, from_host), 0);
        CHECK_INT(read(ready[0], text, 1), 1);
        snprintf(file, sizeof(file), "%s/cgroup.procs", dir);
        CHECK_INT(slurp(file, text, sizeof(text)), 0);
        CHECK_INT(atoi(text), pid);
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        close(ready[0]);
        close(ready[1]);
    }
    close(go[0]);
    close(go[1]);
    struct pyrt_op *open_op = fake_op(PYRT_OP_CGROUP_OPEN, PYRT_HOST);
    open_op->s[0] = from_host->s[0];
    open_op->n[0] = 7;
    CHECK_INT(fake_run(op_cgroup_open, open_op), 0);
    CHECK(fake.ctx.slots[7] >= 0);
    close(fake.ctx.slots[7]);
    CHECK_INT(undo_cgroup_mkdir(&fake.ctx, make), 0);
}

static void test_cpuset(void)
{
    char top[300], dir[320], file[400], wanted[256], got[256];

    top_of(top, sizeof(top), cpuset, "-c");
    top_of(dir, sizeof(dir), cpuset, "-c/a/b");
    CHECK_INT(mkdir(top, 0755), 0); /* made by someone who left it empty */
    fake_reset();
    const struct pyrt_op *make = mkdir_op(dir, 2);
    CHECK_INT(fake_run(op_cgroup_mkdir, make), 0);
    static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
    for (int i = 0; i < 2; i++) {
        snprintf(file, sizeof(file), "%s/%s", cpuset, files[i]);
        CHECK_INT(slurp(file, wanted, sizeof(wanted)), 0);
        snprintf(file, sizeof(file), "%s/%s", dir, files[i]);
        CHECK_INT(slurp(file, got, sizeof(got)), 0);
        CHECK_STR(got, wanted);
    }
    CHECK_INT(undo_cgroup_mkdir(&fake.ctx, make), 0);
    snprintf(dir, sizeof(dir), "%s/a", top);
    CHECK_INT(rmdir(dir), 0);
    CHECK_INT(rmdir(top), 0);
}

/* Controllers are switched on at every level from the mount point down to the new group's parent; one that does not exist is passed over. */
static void test_controllers(void)
{
    char file[400], here[256], top[300], dir[320], list[64];

    snprintf(file, sizeof(file), "%s/cgroup.controllers", v2);
    CHECK_INT(slurp(file, here, sizeof(here)), 0);
    here[strcspn(here, " \n")] = '\0';
    if (here[0] == '\0')
        return; /* every controller is with v1 */
    top_of(top, sizeof(top), v2, "-s");
    top_of(dir, sizeof(dir), v2, "-s/a/b");
    fake_reset();
    struct pyrt_op *op = fake_op(PYRT_OP_CGROUP_MKDIR, PYRT_HOST);
    op->s[0] = fake_text(dir);
    op->n[0] = 4;
    int size = snprintf(list, sizeof(list), "+nonsense%c+%s", 0, here) + 1;
    op->s[1] = fake_bytes(list, (size_t)size);
    op->n[1] = (uint64_t)size;
    op->s[2] = fake_text(v2);
    CHECK_INT(fake_run(op_cgroup_mkdir, op), 0);
    snprintf(file, sizeof(file), "%s/cgroup.controllers", dir);
    char got[256];
    CHECK_INT(slurp(file, got, sizeof(got)), 0);
    got[strcspn(got, " \n")] = '\0';
    CHECK_STR(got, here);
    CHECK_INT(undo_cgroup_mkdir(&fake.ctx, op), 0);
    snprintf(dir, sizeof(dir), "%s/a", top);
    CHECK_INT(rmdir(dir), 0);
    CHECK_INT(rmdir(top), 0);
}

/* The second program replaces the first: of "deny all" then "allow all", the latter alone counts. */
static void test_devices(void)
{
    static const struct bpf_insn deny[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0}, {.code = BPF_JMP | BPF_EXIT}};
    static const struct bpf_insn allow[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 1}, {.code = BPF_JMP | BPF_EXIT}};
    static const struct bpf_insn broken[] = {{.code = BPF_JMP | BPF_EXIT}};
    char dir[300];

    top_of(dir, sizeof(dir), v2, "-b");
    fake_reset();
    const struct pyrt_op *make = mkdir_op(dir, 1);
    CHECK_INT(fake_run(op_cgroup_mkdir, make), 0);
    struct pyrt_op *op = fake_op(PYRT_OP_CGROUP_DEVICES, PYRT_HOST);
    op->s[0] = fake_text(dir);
    for (int round = 0; round < 2; round++) {
        op->s[1] = round == 0 ? fake_bytes(deny, sizeof(deny)) : fake_bytes(allow, sizeof(allow));
        op->n[0] = sizeof(deny);
        CHECK_INT(fake_run(op_cgroup_devices, op), 0);
        int report[2], outcome = -1, status;
        CHECK_INT(pipe(report), 0);
        pid_t pid = fork();
        if (pid == 0) {
            struct pyrt_op *attach = fake_op(PYRT_OP_CGROUP_ATTACH, PYRT_CONTAINER);
            attach->s[0] = op->s[0];
            if (fake_run(op_cgroup_attach, attach) == 0)
                outcome = open("/dev/null", O_RDWR) >= 0 ? 0 : errno;
            (void)!write(report[1], &outcome, sizeof(outcome));
            _exit(0);
        }
        CHECK_INT(read(report[0], &outcome, sizeof(outcome)), sizeof(outcome));
        CHECK_INT(outcome, round == 0 ? EPERM : 0);
        waitpid(pid, &status, 0);
        close(report[0]);
        close(report[1]);
    }
    op->s[1] = fake_bytes(broken, sizeof(broken));
    op->n[0] = sizeof(broken);
    CHECK(fake_run(op_cgroup_devices, op) < 0);
    CHECK(strstr(fake_detail(), "R0") != NULL); /* the verifier's own words */
    CHECK_INT(undo_cgroup_mkdir(&fake.ctx, make), 0);
}

static void test_usage(void)
{
    static const struct {
        const char *text, *key;
        uint64_t times, wanted;
    } cases[] = {
        {"12345\n", "", 1, 12345},
        {"usage_usec 77\nuser_usec 50\n", "usage_usec", 1000, 77000},
        {"low 0\noom 3\noom_kill 2\noom_group_kill 0\n", "oom_kill", 1, 2},
        {"8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=5 wbytes=6\n", "rbytes", 1, 15},
        {"8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=5 wbytes=6\n", "wbytes", 1, 26},
        {"8:0 Read 4096\n8:0 Write 512\n8:16 Read 4\nTotal 4612\n", "Read", 1, 4100},
        {"a 1\n", "missing", 1, 0},
        {"key", "key", 1, 0},
        {"", "", 1, 0},
    };
    char path[] = "/tmp/pyrt-c-usage-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t usage[PYRT_USAGE_KINDS] = {0};
        fake_reset();
        CHECK_INT(ftruncate(fd, 0), 0);
        CHECK_INT(pwrite(fd, cases[i].text, strlen(cases[i].text), 0), strlen(cases[i].text));
        struct pyrt_op *op = fake_op(PYRT_OP_USAGE, PYRT_HOST);
        op->s[0] = fake_text(path);
        op->s[1] = fake_text(cases[i].key);
        op->n[0] = PYRT_USAGE_IO_READ;
        op->n[1] = cases[i].times;
        usage[PYRT_USAGE_IO_READ] = 1;
        fake.ctx.op = 0;
        CHECK_INT(op_usage(&fake.ctx, op, usage), 0);
        CHECK_INT(usage[PYRT_USAGE_IO_READ], cases[i].wanted + 1);
    }
    close(fd);
    unlink(path);
    uint64_t usage[PYRT_USAGE_KINDS] = {0};
    CHECK_INT(op_usage(&fake.ctx, &fake.ops[0], usage), 0); /* no such file: nothing used */
}

int main(void)
{
    test_usage();
    find_mounts();
    if (geteuid() != 0)
        return check_failures != 0 ? done() : (puts("making cgroups needs root"), 77);
    const char *mounts[] = {v2, freezer};
    for (int i = 0; i < 2; i++) {
        if (mounts[i][0] == '\0')
            continue;
        test_make_kill_remove(mounts[i]);
        test_kill_op(mounts[i]);
        test_deep(mounts[i]);
        test_attach(mounts[i]);
    }
    if (cpuset[0] != '\0')
        test_cpuset();
    if (v2[0] != '\0') {
        test_controllers();
        test_devices();
    }
    return done();
}
