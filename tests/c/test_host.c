/* SPDX-License-Identifier: Apache-2.0 */
/* Host side ops: one-shot writes, hooks, sockets with long paths, trees removed. */
#include "base/fallback.h"
#include "check.h"
#include "fake.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

static char dir[64];

static const char *in_dir(const char *name)
{
    static char path[8192];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void test_write(void)
{
    char text[64];

    fake_reset();
    struct pyrt_op *op = fake_op(PYRT_OP_WRITE, PYRT_HOST);
    op->s[0] = fake_text(in_dir("file"));
    op->s[1] = fake_text("64M\n");
    op->n[0] = 4;
    CHECK_INT(fake_run(op_write, op), -ENOENT);
    snprintf(text, sizeof(text), "write \"64M\" to %s", in_dir("file"));
    CHECK_STR(fake_detail(), text);
    op->n[1] = 1;
    CHECK_INT(fake_run(op_write, op), 0);
    CHECK_INT(slurp(in_dir("file"), text, sizeof(text)), 0);
    CHECK_STR(text, "64M\n");
    unlink(in_dir("file"));
}

/* A shell hook: the state comes on stdin, argv and environment are exactly the given ones, nothing else is open. */
static void test_hook(void)
{
    char text[512], script[256];

    fake_reset();
    fake.ctx.shared->init_pid = 4242;
    int stray = open("/dev/null", O_RDONLY); /* without close-on-exec */
    signal(SIGPIPE, SIG_IGN);
    snprintf(script, sizeof(script), "{ cat; echo; echo \"$0 $1 $A\"; ls /proc/self/fd | tr '\\n' ' '; grep SigIgn /proc/self/status; } > %s", in_dir("out"));
    char argv[512], *at = argv;
    const char *words[] = {"myname", "-c", script, "zero", "one"};
    for (int i = 0; i < 5; i++)
        at = stpcpy(at, words[i]) + 1;
    static const char env[] = "A=b\0PATH=/usr/bin:/bin";
    struct pyrt_op *op = fake_op(PYRT_OP_HOOK, PYRT_HOST);
    op->s[0] = fake_text("/bin/sh");
    op->s[1] = fake_bytes(argv, (size_t)(at - argv));
    op->n[0] = (uint64_t)(at - argv);
    op->s[2] = fake_bytes(env, sizeof(env));
    op->n[1] = sizeof(env);
    op->n[2] = 20;
    op->s[3] = fake_text("{\"pid\":");
    op->s[4] = fake_text("}");
    CHECK_INT(fake_run(op_hook, op), 0);
    CHECK_STR(fake_detail(), "");
    CHECK_INT(slurp(in_dir("out"), text, sizeof(text)), 0);
    CHECK(strncmp(text, "{\"pid\":4242}\nzero one b\n0 1 2 3 ", 31) == 0); /* 3 is ls's own */
    CHECK(strstr(text, "SigIgn:\t0000000000000000") != NULL);
    unlink(in_dir("out"));
    signal(SIGPIPE, SIG_DFL);
    close(stray);
}

static void hook_script(struct pyrt_op *op, const char *script)
{
    char argv[256], *at = argv;

    op->s[0] = fake_text("/bin/sh");
    at = stpcpy(at, "sh") + 1;
    at = stpcpy(at, "-c") + 1;
    at = stpcpy(at, script) + 1;
    op->s[1] = fake_bytes(argv, (size_t)(at - argv));
    op->n[0] = (uint64_t)(at - argv);
}

static void test_hook_failures(void)
{
    fake_reset();
    struct pyrt_op *op = fake_op(PYRT_OP_HOOK, PYRT_HOST);
    hook_script(op, "exit 3");
    CHECK_INT(fake_run(op_hook, op), -EIO);
    CHECK_STR(fake_detail(), "hook /bin/sh exited with status 3");
    hook_script(op, "kill -9 $$");
    CHECK_INT(fake_run(op_hook, op), -EIO);
    CHECK_STR(fake_detail(), "hook /bin/sh was killed by signal 9");
    hook_script(op, "exec sleep 100");
    op->n[2] = 1;
    CHECK_INT(fake_run(op_hook, op), -ETIMEDOUT);
    CHECK_STR(fake_detail(), "hook /bin/sh was killed: not done after 1 s");
    op->s[0] = fake_text("/no/such/hook");
    op->n[0] = 0; /* argv is then the path alone */
    CHECK_INT(fake_run(op_hook, op), -ENOENT);
    CHECK_STR(fake_detail(), "exec hook /no/such/hook");
    /* the caller has gone: the container's creation is over, the hook with it */
    int pair[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    close(pair[1]);
    fake.ctx.control_fd = pair[0];
    hook_script(op, "exec sleep 100");
    op->n[2] = 0;
    CHECK_INT(fake_run(op_hook, op), -ECANCELED);
    hook_script(op, "exit 0");
    op->flags = PYRT_F_AT_EXIT; /* but poststop runs all the same */
    CHECK_INT(fake_run(op_hook, op), 0);
    close(pair[0]);
    CHECK(waitpid(-1, NULL, WNOHANG) < 0);
}

/* The executor has given its stdio up by the time of the last hooks. */
static int hook_without_stdio(void)
{
    fake_reset();
    fake.ctx.shared->init_pid = 9;
    struct pyrt_op *op = fake_op(PYRT_OP_HOOK, PYRT_HOST);
    hook_script(op, "echo to stdout && echo to stderr >&2 && test \"$(cat)\" = '{}'");
    op->s[3] = fake_text("{}");
    int out = fcntl(1, F_DUPFD_CLOEXEC, 50);
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    int rc = fake_run(op_hook, op);
    dup2(out, 1);
    CHECK_INT(rc, 0);
    return done();
}

static void test_sockets(void)
{
    char deep[300], sock[400];
    struct stat about;

    snprintf(deep, sizeof(deep), "%s/", dir);
    memset(deep + strlen(deep), 'd', 200);
    deep[strlen(dir) + 201] = '\0';
    CHECK_INT(mkdir(deep, 0700), 0);
    snprintf(sock, sizeof(sock), "%s/control.sock", deep); /* far over a sockaddr's 107 bytes */
    fake_reset();
    struct pyrt_op *listen_op = fake_op(PYRT_OP_LISTEN, PYRT_HOST);
    listen_op->s[0] = fake_text(sock);
    listen_op->n[0] = 4;
    struct pyrt_op *connect_op = fake_op(PYRT_OP_CONNECT, PYRT_HOST);
    connect_op->s[0] = listen_op->s[0];
    connect_op->n[0] = 5;
    CHECK_INT(fake_run(op_connect, connect_op), -ENOENT);
    umask(0);
    CHECK_INT(fake_run(op_listen, listen_op), 0);
    CHECK_INT(fake_run(op_connect, connect_op), 0);
    CHECK_INT(stat(sock, &about), 0);
    CHECK_INT(about.st_mode & 07777, 0600);
    int served = accept(fake.ctx.slots[4], NULL, NULL);
    CHECK(served >= 0);

    /* one fd over it, with its data */
    int pipe_fds[2];
    char data[16] = "", room[CMSG_SPACE(sizeof(int))];
    CHECK_INT(pipe(pipe_fds), 0);
    CHECK_INT(sock_send_fd(fake.ctx.slots[5], pipe_fds[1], "/dev/ptmx", 9), 0);
    struct iovec part = {.iov_base = data, .iov_len = sizeof(data)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)};
    CHECK_INT(recvmsg(served, &message, 0), 9);
    CHECK_STR(data, "/dev/ptmx");
    int got = -1;
    if (CMSG_FIRSTHDR(&message) != NULL)
        memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(got));
    CHECK_INT(write(got, "x", 1), 1);
    CHECK_INT(read(pipe_fds[0], data, 1), 1);
    close(got);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    close(served);
    close(fake.ctx.slots[5]);
    CHECK_INT(sock_send_fd(-1, 0, "x", 1), -EBADF);

    close(fake.ctx.slots[4]);
    fake.ctx.slots[4] = fake.ctx.slots[5] = -1;
    CHECK_INT(fake_run(op_connect, connect_op), -ECONNREFUSED);
    CHECK(strstr(fake_detail(), "connect to /") != NULL);
    CHECK_INT(fake_run(op_listen, listen_op), 0); /* over the stale socket */
    close(fake.ctx.slots[4]);
    CHECK_INT(undo_listen(&fake.ctx, listen_op), 0);
    CHECK(access(sock, F_OK) != 0);
    CHECK_INT(undo_listen(&fake.ctx, listen_op), 0);

    int file = open(sock, O_CREAT | O_WRONLY, 0600); /* not ours to remove */
    CHECK_INT(write(file, "x", 1), 1);
    close(file);
    CHECK_INT(fake_run(op_listen, listen_op), -EADDRINUSE);
    CHECK(access(sock, F_OK) == 0);
    unlink(sock);
    rmdir(deep);
}

static void touch(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    CHECK(fd >= 0);
    close(fd);
}

static void test_rmtree(void)
{
    char path[512], keep[128];

    snprintf(keep, sizeof(keep), "%s", in_dir("keep"));
    mkdir(keep, 0700);
    snprintf(path, sizeof(path), "%s/file", keep);
    touch(path);
    fake_reset();
    struct pyrt_op *op = fake_op(PYRT_OP_RMTREE, PYRT_HOST);
    op->s[0] = fake_text(in_dir("tree"));
    CHECK_INT(fake_run(op_rmtree, op), 0); /* nothing there */

    mkdir(in_dir("tree"), 0700);
    for (int i = 0; i < 300; i++) {
        snprintf(path, sizeof(path), "%s/f%d", in_dir("tree"), i);
        touch(path);
    }
    snprintf(path, sizeof(path), "%s/link", in_dir("tree"));
    CHECK_INT(symlink(keep, path), 0); /* is removed, never followed */
    snprintf(path, sizeof(path), "%s/locked", in_dir("tree"));
    CHECK_INT(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/locked/in", in_dir("tree"));
    touch(path);
    snprintf(path, sizeof(path), "%s/locked", in_dir("tree"));
    CHECK_INT(chmod(path, 0), 0);
    int here = open(in_dir("tree"), O_PATH | O_DIRECTORY);
    for (int i = 0; i < 200; i++) { /* deeper than the stack of fds, and longer than a path */
        static char name[101];
        memset(name, 'n', 100);
        CHECK_INT(mkdirat(here, name, 0700), 0);
        int next = openat(here, name, O_PATH | O_DIRECTORY);
        close(openat(next, "f", O_CREAT | O_WRONLY, 0600));
        close(here);
        here = next;
    }
    close(here);
    CHECK_INT(fake_run(op_rmtree, op), 0);
    CHECK_STR(fake_detail(), "");
    CHECK(access(in_dir("tree"), F_OK) != 0);
    snprintf(path, sizeof(path), "%s/file", keep);
    CHECK(access(path, F_OK) == 0);

    /* a link in the tree's own place is not followed either */
    CHECK_INT(symlink(keep, in_dir("tree")), 0);
    CHECK(fake_run(op_rmtree, op) < 0);
    CHECK(access(path, F_OK) == 0);
    unlink(in_dir("tree"));
    unlink(path);
    rmdir(keep);
}

/* What is mounted inside stays whole. */
static int rmtree_stops_at_mounts(void)
{
    char path[512];

    if (unshare(CLONE_NEWNS) != 0 || mount("", "/", "", MS_REC | MS_PRIVATE, NULL) != 0)
        return done();
    fake_reset();
    struct pyrt_op *op = fake_op(PYRT_OP_RMTREE, PYRT_HOST);
    op->s[0] = fake_text(in_dir("tree"));
    mkdir(in_dir("tree"), 0700);
    mkdir(in_dir("tree/mnt"), 0700);
    CHECK_INT(mount("t", in_dir("tree/mnt"), "tmpfs", 0, ""), 0);
    snprintf(path, sizeof(path), "%s/tree/mnt/precious", dir);
    touch(path);
    CHECK(fake_run(op_rmtree, op) < 0);
    CHECK_STR(fake_detail(), "remove from tree the entry mnt");
    CHECK(access(path, F_OK) == 0);
    CHECK_INT(umount(in_dir("tree/mnt")), 0);
    /* the same by device number, where openat2 is missing, is a bind mount's business; a plain run ends it */
    CHECK_INT(fake_run(op_rmtree, op), 0);
    return done();
}

static void test_mkdir_host(void)
{
    fake_reset();
    struct pyrt_op *op = fake_op(PYRT_OP_MKDIR_HOST, PYRT_HOST);
    op->s[0] = fake_text(in_dir("a/b/c"));
    op->n[0] = 0711;
    op->n[1] = 1;
    CHECK_INT(fake_run(op_mkdir_host, op), 0);
    struct stat about;
    CHECK_INT(stat(in_dir("a/b/c"), &about), 0);
    CHECK_INT(about.st_mode & 07777, 0711);
    CHECK(fake.ctx.made[0] == 1);
    fake.ctx.made[0] = 0;
    CHECK_INT(fake_run(op_mkdir_host, op), 0);
    CHECK(fake.ctx.made[0] == 0); /* was there: not ours */
    CHECK_INT(undo_mkdir_host(&fake.ctx, op), 0);
    CHECK(access(in_dir("a/b/c"), F_OK) != 0);
    rmdir(in_dir("a/b"));
    rmdir(in_dir("a"));
    op->s[0] = fake_text("/proc/nothing/here");
    CHECK(fake_run(op_mkdir_host, op) < 0);
}

int main(void)
{
    snprintf(dir, sizeof(dir), "/tmp/pyrt-c-host-%d", getpid());
    CHECK_INT(mkdir(dir, 0700), 0);
    umask(022);
    test_write();
    test_hook();
    pyrt_force_old = OLD_CLOSE_RANGE;
    test_hook();
    pyrt_force_old = 0;
    test_hook_failures();
    CHECK_INT(in_child(hook_without_stdio), 0);
    test_sockets();
    test_rmtree();
    if (geteuid() == 0)
        CHECK_INT(in_child(rmtree_stops_at_mounts), 0);
    test_mkdir_host();
    CHECK_INT(rmdir(dir), 0);
    return done();
}
