/* SPDX-License-Identifier: Apache-2.0 */
/* Directories, links, device nodes and small files inside the root. */
#include "mnt.h"

static uint64_t device_number(uint64_t major, uint64_t minor)
{
    return (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xfff00) << 12;
}

/* Is what stands there the very node that was asked for? */
static int is_node(int fd, const char *name, const struct pyrt_op *op)
{
    struct statx st;
    if (SYS(statx, fd, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_TYPE, &st) < 0)
        return 0;
    unsigned type = st.stx_mode & S_IFMT;
    return type == (op->n[0] & S_IFMT) && (type == S_IFIFO || (st.stx_rdev_major == op->n[1] && st.stx_rdev_minor == op->n[2]));
}

/* In a user namespace no node can be made: the host's own is bound over an empty file. */
static int bind_device(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *host = op_str(ctx, op, 1);
    struct mnt_place place = {.path = op_str(ctx, op, 0), .at = PYRT_AT_ROOT};
    int source cleanup_close = (int)SYS(openat, AT_FDCWD, host, O_PATH | O_CLOEXEC, 0);
    if (source < 0)
        return op_fail(ctx, source, "host's device", host);
    if (!is_node(source, "", op))
        return op_fail(ctx, -ENODEV, "another device than asked for at the host's", host);
    int rc = mnt_place_open(ctx, &place, 0, 0644, MNT_MAKE);
    if (rc < 0)
        return op_fail(ctx, rc, "device target", place.path);
    int mount cleanup_close = mnt_bind(ctx, source, &place, 0);
    SYS(close, place.fd);
    return mount < 0 ? op_fail(ctx, mount, "bind device", place.path) : 0;
}

int op_device(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    char name[256];
    const char *path = op_str(ctx, op, 0);
    int parent cleanup_close = ctx->root_fd < 0 ? -EBADF : path_parent_in(ctx->root_fd, path, 1, name);
    if (parent < 0)
        return op_fail(ctx, parent, "directory of", path);
    long umask_before = SYS(umask, 0);
    long rc = SYS(mknodat, parent, name, op->n[0] & 0177777, device_number(op->n[1], op->n[2]));
    SYS(umask, umask_before);
    if (rc == -EEXIST) /* not ours: its owner and mode stay */
        return is_node(parent, name, op) ? 0 : op_fail(ctx, rc, "another kind of file at", path);
    if (rc == -EPERM && op->s[1] != 0)
        return bind_device(ctx, op);
    if (rc < 0)
        return op_fail(ctx, rc, "mknod", path);
    rc = op->n[3] || op->n[4] ? SYS(fchownat, parent, name, op->n[3], op->n[4], AT_SYMLINK_NOFOLLOW) : 0;
    return rc < 0 ? op_fail(ctx, rc, "chown", path) : 0;
}

int op_mkdir(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *path = op_str(ctx, op, 0);
    int made = 0;
    if (op->n[3] == PYRT_AT_HOST) {
        long rc = path_mkdirs(path, (unsigned)op->n[0], &made);
        if (rc == 0 && made)
            rc = SYS(fchownat, AT_FDCWD, path, op->n[1], op->n[2], AT_SYMLINK_NOFOLLOW);
        return rc < 0 ? op_fail(ctx, rc, "mkdir", path) : 0;
    }
    int fd cleanup_close = ctx->root_fd < 0 ? -EBADF : path_mkdirs_in(ctx->root_fd, path, (unsigned)op->n[0], (uid_t)op->n[1], (gid_t)op->n[2], &made);
    return fd < 0 ? op_fail(ctx, fd, "mkdir", path) : 0;
}

int op_symlink(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    char name[256];
    const char *text = op_str(ctx, op, 0), *path = op_str(ctx, op, 1);
    long rc;
    if (op->n[3] == PYRT_AT_HOST) {
        rc = SYS(symlinkat, text, AT_FDCWD, path);
    } else {
        int parent cleanup_close = ctx->root_fd < 0 ? -EBADF : path_parent_in(ctx->root_fd, path, 1, name);
        rc = parent < 0 ? parent : SYS(symlinkat, text, parent, name);
    }
    return rc < 0 && rc != -EEXIST ? op_fail(ctx, rc, "symlink", path) : 0;
}

/* A new file takes the old one's place, so that neither a link nor a second name of it leads anywhere. What is mounted there cannot be replaced: it is
 * written to if it is a regular file. */
static int open_fresh(int parent, const char *name, unsigned mode)
{
    struct statx st;
    long rc = SYS(unlinkat, parent, name, 0);
    if (rc < 0 && rc != -ENOENT && rc != -EBUSY)
        return (int)rc;
    unsigned how = rc == -EBUSY ? O_TRUNC | O_NONBLOCK : O_CREAT | O_EXCL;
    if (rc == -EBUSY) {
        rc = SYS(statx, parent, name, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &st);
        if (rc < 0 || (st.stx_mode & S_IFMT) != S_IFREG)
            return rc < 0 ? (int)rc : -EBUSY;
    }
    return (int)SYS(openat, parent, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | how, mode);
}

int op_write_file(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    char name[256];
    const char *path = op_str(ctx, op, 0);
    unsigned mode = (unsigned)op->n[1] & 07777;
    int parent cleanup_close = ctx->root_fd < 0 ? -EBADF : path_parent_in(ctx->root_fd, path, 1, name);
    if (parent < 0)
        return op_fail(ctx, parent, "directory of", path);
    int fd cleanup_close = open_fresh(parent, name, mode);
    if (fd < 0)
        return op_fail(ctx, fd, "create", path);
    long rc = SYS(fchmod, fd, mode); /* whatever the umask */
    if (rc == 0)
        rc = sys_write_all(fd, op_data(ctx, op, 1), op->n[0]);
    return rc < 0 ? op_fail(ctx, rc, "write", path) : 0;
}
