/* SPDX-License-Identifier: Apache-2.0 */
/* The console op on a devpts of its own. Needs root. */
#include "base/fallback.h"
#include "check.h"
#include "fake.h"

#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static char root[64];

/* A root with /dev and, when asked, devpts, in a mount namespace of this process. */
static int make_root(int devpts)
{
    char path[128];

    if (unshare(CLONE_NEWNS) != 0 || mount("", "/", "", MS_REC | MS_PRIVATE, NULL) != 0 || mount("t", root, "tmpfs", 0, "") != 0)
        return -1;
    snprintf(path, sizeof(path), "%s/dev", root);
    mkdir(path, 0755);
    snprintf(path, sizeof(path), "%s/dev/pts", root);
    mkdir(path, 0755);
    if (devpts && mount("devpts", path, "devpts", 0, "newinstance,ptmxmode=0666,mode=0620") != 0)
        return -1;
    return open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int gives_a_terminal(void)
{
    int pair[2];
    char data[16] = "", room[CMSG_SPACE(sizeof(int))], path[128];

    fake_reset();
    fake.ctx.root_fd = make_root(1);
    CHECK(fake.ctx.root_fd >= 0);
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    fake.ctx.slots[2] = pair[0];
    struct pyrt_op *session = fake_op(PYRT_OP_SETSID, PYRT_CONTAINER);
    CHECK_INT(fake_run(op_setsid, session), 0);
    CHECK_INT(fake_run(op_setsid, session), 0); /* leads one already */
    struct pyrt_op *op = fake_op(PYRT_OP_CONSOLE, PYRT_CONTAINER);
    op->n[0] = 2;
    op->n[1] = 33 << 16 | 99;
    op->n[2] = 1;
    op->n[3] = 1234;
    int out = dup(1), rc = fake_run(op_console, op), is_tty = isatty(0) && isatty(1) && isatty(2);
    struct stat terminal, console;
    struct winsize size = {0, 0, 0, 0};
    fstat(0, &terminal);
    ioctl(0, TIOCGWINSZ, &size);
    pid_t foreground = tcgetpgrp(0);
    CHECK_INT(write(1, "hi", 2), 2);
    dup2(out, 1); /* for what the checks have to say */
    CHECK_INT(rc, 0);
    CHECK_STR(fake_detail(), "");
    CHECK(is_tty);
    CHECK_INT(terminal.st_uid, 1234);
    CHECK_INT(terminal.st_mode & 07777, 0620);
    CHECK(size.ws_row == 33 && size.ws_col == 99);
    CHECK_INT(foreground, getpid());
    snprintf(path, sizeof(path), "%s/dev/console", root);
    CHECK_INT(stat(path, &console), 0);
    CHECK_INT(console.st_rdev, terminal.st_rdev);

    struct iovec part = {.iov_base = data, .iov_len = sizeof(data)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)};
    CHECK_INT(recvmsg(pair[1], &message, 0), 9);
    CHECK_STR(data, "/dev/ptmx");
    int master = -1;
    if (CMSG_FIRSTHDR(&message) != NULL)
        memcpy(&master, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(master));
    CHECK_INT(read(master, data, 2), 2);
    CHECK(strncmp(data, "hi", 2) == 0);
    return done();
}

static int gives_a_terminal_on_an_old_kernel(void)
{
    pyrt_force_old = OLD_OPEN_TREE;
    return gives_a_terminal();
}

/* A device node or a link that the image planted where devpts should be is not taken for a terminal. */
static int refuses_a_planted_ptmx(void)
{
    char path[128];

    fake_reset();
    fake.ctx.root_fd = make_root(0);
    struct pyrt_op *op = fake_op(PYRT_OP_CONSOLE, PYRT_CONTAINER);
    snprintf(path, sizeof(path), "%s/dev/pts/ptmx", root);
    CHECK_INT(fake_run(op_console, op), -ENOENT);
    CHECK_INT(mknod(path, S_IFCHR | 0666, makedev(1, 3)), 0);
    CHECK_INT(fake_run(op_console, op), -ENOTTY);
    unlink(path);
    CHECK_INT(symlink("/proc/self/fd/1", path), 0);
    CHECK(fake_run(op_console, op) < 0);
    CHECK_STR(fake_detail(), "open a terminal at /dev/pts/ptmx");
    return done();
}

int main(void)
{
    if (geteuid() != 0)
        SKIP("mounting devpts needs root");
    snprintf(root, sizeof(root), "/tmp/pyrt-c-tty-%d", getpid());
    CHECK_INT(mkdir(root, 0700), 0);
    CHECK_INT(in_child(gives_a_terminal), 0);
    CHECK_INT(in_child(gives_a_terminal_on_an_old_kernel), 0);
    CHECK_INT(in_child(refuses_a_planted_ptmx), 0);
    CHECK_INT(rmdir(root), 0);
    return done();
}
