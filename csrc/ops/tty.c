/* SPDX-License-Identifier: Apache-2.0 */
/* The container's terminal: a pty of its own devpts, whose master goes to whoever asked for it. */
#include "../base/path.h"
#include "../base/sys.h"
#include "../base/fallback.h"
#include "ops.h"
#include "self.h"

#include <asm/ioctls.h>
#include <asm/statfs.h>
#include <asm/termios.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif
#define DEVPTS_MAGIC 0x1cd1

int op_setsid(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    (void)op;
    long rc = SYS(setsid);
    if (rc == -EPERM && SYS(getsid, 0) == SYS(getpid))
        return 0;
    return rc < 0 ? op_fail(ctx, rc, "setsid", NULL) : 0;
}

/* The pty's other end, asked of the master so that no path is trusted; before 4.13 by its number. */
static int open_slave(int root, int master)
{
    int fd = (int)SYS(ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd != -ENOTTY && fd != -EINVAL)
        return fd;
    unsigned number = 0;
    char path[32] = "dev/pts/";
    int rc = (int)SYS(ioctl, master, TIOCGPTN, &number);
    if (rc < 0)
        return rc;
    txt_add_u64(path, sizeof(path), number);
    return path_open_in(root, path, O_RDWR | O_NOCTTY | O_NOFOLLOW, 0);
}

/* A master of the container's devpts: anything else that stands there would be the image's own device node. */
static int open_master(int root)
{
    struct statfs about;
    int unlock = 0;

    cleanup_close int fd = path_open_in(root, "dev/pts/ptmx", O_RDWR | O_NOCTTY, 0);
    if (fd < 0)
        return fd;
    memset(&about, 0, sizeof(about));
    long rc = SYS(fstatfs, fd, &about);
    if (rc == 0 && about.f_type != DEVPTS_MAGIC)
        rc = -ENOTTY;
    if (rc == 0)
        rc = SYS(ioctl, fd, TIOCSPTLCK, &unlock);
    return rc < 0 ? (int)rc : sys_steal_fd(&fd);
}

/* The terminal on /dev/console, as a bind mount. */
static int bind_console(int root, int slave)
{
    cleanup_close int target = path_target_in(root, "dev/console", 0, 0600);
    if (target < 0)
        return target;
    cleanup_close int tree =
        (pyrt_force_old & OLD_OPEN_TREE) != 0 ? -ENOSYS : (int)SYS(open_tree, slave, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | O_CLOEXEC);
    if (tree >= 0)
        return (int)SYS(move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
    if (!old_kernel(tree))
        return tree;
    char from[32], to[32];
    path_of_fd(slave, from);
    path_of_fd(target, to);
    return (int)SYS(mount, from, to, "", 4096 /* MS_BIND */, NULL);
}

/* Where stdio was closed, the terminal comes there in the end: this fd has to stay out of the way. */
static int above_stdio(int fd)
{
    if (fd < 0 || fd >= 3)
        return fd;
    int moved = (int)SYS(fcntl, fd, F_DUPFD_CLOEXEC, 3);
    SYS(close, fd);
    return moved;
}

int op_console(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    /* a plan that joins a container has no ROOT: there "/" is it */
    cleanup_close int opened = ctx->root_fd >= 0 ? -1 : (int)SYS(openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    int root = ctx->root_fd >= 0 ? ctx->root_fd : opened;
    cleanup_close int master = above_stdio(root < 0 ? root : open_master(root));
    if (master < 0)
        return op_fail(ctx, master, "open a terminal at", "/dev/pts/ptmx");
    cleanup_close int slave = above_stdio(open_slave(root, master));
    if (slave < 0)
        return op_fail(ctx, slave, "open the terminal's slave side", NULL);

    long rc = SYS(fchown, slave, op->n[3], -1);
    if (rc < 0)
        return op_fail_number(ctx, rc, "give the terminal to uid", op->n[3], __LINE__);
    rc = SYS(fchmod, slave, 0620);
    if (rc < 0)
        return op_fail(ctx, rc, "set the terminal's mode", NULL);
    if (op->n[1] != 0) {
        struct winsize size = {.ws_row = (unsigned short)(op->n[1] >> 16), .ws_col = (unsigned short)op->n[1], .ws_xpixel = 0, .ws_ypixel = 0};
        rc = SYS(ioctl, slave, TIOCSWINSZ, &size);
        if (rc < 0)
            return op_fail(ctx, rc, "set the terminal's size", NULL);
    }
    if ((op->n[2] & 1) != 0) {
        rc = bind_console(root, slave);
        if (rc < 0)
            return op_fail(ctx, rc, "bind the terminal on", "/dev/console");
    }
    /* The master goes out before the stdio is replaced: an error until here still has the caller's stderr. */
    int sock = op_slot_get(ctx, op->n[0]);
    if (sock < 0)
        return op_fail(ctx, sock, "console socket", "no fd in the slot");
    rc = sock_send_fd(sock, master, "/dev/ptmx", 9);
    if (rc < 0)
        return op_fail(ctx, rc, "send the terminal to the console socket", NULL);
    rc = SYS(ioctl, slave, TIOCSCTTY, 0);
    if (rc < 0)
        return op_fail(ctx, rc, "make it the controlling terminal", NULL);
    for (int fd = 0; fd < 3; fd++) {
        rc = SYS(dup3, slave, fd, 0);
        if (rc < 0)
            return op_fail(ctx, rc, "terminal as stdio", NULL);
    }
    return 0;
}
