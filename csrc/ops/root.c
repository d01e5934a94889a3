/* SPDX-License-Identifier: Apache-2.0 */
/* The root: chosen by ROOT, entered by PIVOT. */
#include <asm/statfs.h>
#include <linux/limits.h>
#include <linux/magic.h>

#include "mnt.h"

#define MNT_DETACH 2 /* <sys/mount.h> does not go with <linux/mount.h> */
#define UNMOUNT_PASSES 64
#define PARENT_STEPS 64

int op_root(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *path = op_str(ctx, op, 0);
    int fd cleanup_close = (int)SYS(openat, AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return op_fail(ctx, fd, "open the root", path);
    if (op->n[0] & 1) {
        struct mnt_place place = {.path = path, .at = PYRT_AT_HOST, .fd = fd};
        int mount = mnt_bind(ctx, fd, &place, 1);
        if (mount < 0)
            return op_fail(ctx, mount, "bind the root", path);
        SYS(close, fd);
        fd = mount;
    }
    if (ctx->root_fd >= 0)
        SYS(close, ctx->root_fd);
    ctx->root_fd = sys_steal_fd(&fd);
    return 0;
}

/* pivot_root(2) with one directory for both: the old root then lies over the new one, and is taken off there. */
static long pivot(int root, int old)
{
    long rc = SYS(fchdir, root);
    if (rc == 0)
        rc = SYS(pivot_root, ".", ".");
    if (rc == 0)
        rc = SYS(fchdir, old);
    if (rc == 0) /* so that taking it off does not reach the host where the mounts are shared with it */
        rc = SYS(mount, NULL, ".", NULL, MS_REC | MS_SLAVE, NULL);
    if (rc == 0)
        rc = SYS(umount2, ".", MNT_DETACH);
    return rc == 0 ? SYS(chdir, "/") : rc;
}

/* A caller in a chroot has a root that is no mount, which pivot_root refuses. Joining the mount namespace that we are in already sets our root to its real one. */
static long leave_chroot(const struct pyrt_ctx *ctx)
{
    int ns cleanup_close = ctx->proc_fd >= 0 ? (int)SYS(openat, ctx->proc_fd, "self/ns/mnt", O_RDONLY | O_CLOEXEC, 0)
                                             : (int)SYS(openat, AT_FDCWD, "/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC, 0);
    return ns < 0 ? ns : SYS(setns, ns, CLONE_NEWNS);
}

/* Root and its parent mount must not be shared: goes up from the root to the mount that it stands on, and makes both private. */
static long unshare_parent(int root)
{
    struct statx st;
    long rc = mnt_propagate(root, MS_PRIVATE);
    int at cleanup_close = rc < 0 ? (int)rc : (int)SYS(openat, root, "..", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    for (int i = 0; rc == 0 && i < PARENT_STEPS; i++) {
        rc = at < 0 ? at : SYS(statx, at, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_TYPE, &st);
        if (rc < 0)
            return rc;
        if (st.stx_attributes & STATX_ATTR_MOUNT_ROOT)
            return mnt_propagate(at, MS_PRIVATE);
        int up = (int)SYS(openat, at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        SYS(close, at);
        at = up;
    }
    return rc;
}

static int root_is_initramfs(void)
{
    struct statfs fs;
    return SYS(statfs, "/", &fs) == 0 && (fs.f_type == RAMFS_MAGIC || fs.f_type == TMPFS_MAGIC);
}

/* -- without pivot_root: the root is moved over "/", and nothing of the kernel's views outside of it may stay in reach -- */

/* Undoes the "\040" style escapes of mountinfo, in place. */
static void unescape(char *text)
{
    char *out = text;
    for (; *text; text++) {
        if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] && text[3]) {
            *out++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
            text += 3;
        } else {
            *out++ = *text;
        }
    }
    *out = '\0';
}

/* Cuts the next field out of a line of mountinfo. */
static char *field(char **line)
{
    char *start = *line, *end = strchr(start, ' ');
    *line = end ? end + 1 : start + strlen(start);
    if (end)
        *end = '\0';
    return start;
}

static int is_below(const char *path, const char *dir)
{
    size_t size = strlen(dir);
    return strncmp(path, dir, size) == 0 && (path[size] == '/' || path[size] == '\0');
}

/* A line of mountinfo: id parent dev root mount-point options [optional...] - type source options. The mount point, when it is a whole procfs or sysfs outside
 * of the root; else NULL. */
static char *kernel_view(char *line, const char *root)
{
    for (int i = 0; i < 3; i++)
        field(&line);
    const char *mounted = field(&line);
    char *point = field(&line);
    while (*line && strncmp(line, "- ", 2) != 0)
        field(&line);
    const char *type = *line ? line + 2 : line;
    if (strcmp(mounted, "/") != 0)
        return NULL;
    if (strncmp(type, "proc ", 5) != 0 && strncmp(type, "sysfs ", 6) != 0)
        return NULL;
    unescape(point);
    return is_below(point, root) ? NULL : point;
}

static long hide_view(const char *point)
{
    long rc = SYS(mount, NULL, point, NULL, MS_REC | MS_SLAVE, NULL);
    if (rc == 0)
        rc = SYS(umount2, point, MNT_DETACH);
    if (rc == -EINVAL || rc == -EPERM) /* locked by a user namespace: covered instead */
        rc = SYS(mount, "tmpfs", point, "tmpfs", MS_RDONLY, "nr_blocks=1");
    return rc;
}

/* One pass over mountinfo: hides the first view found. 1: hidden one (look again), 0: none left, or -errno. */
static long hide_next(int proc, const char *root, char *hidden)
{
    char buffer[2 * PATH_MAX + 1024];
    int info cleanup_close = (int)SYS(openat, proc, "self/mountinfo", O_RDONLY | O_CLOEXEC, 0);
    size_t have = 0;
    for (;;) {
        long size = info < 0 ? info : SYS(read, info, buffer + have, sizeof(buffer) - 1 - have);
        if (size < 0)
            return size;
        have += (size_t)size;
        buffer[have] = '\0';
        char *end = strchr(buffer, '\n');
        if (!end)
            return size == 0 ? 0 : -EOVERFLOW;
        char *line = buffer;
        for (; end; line = end + 1, end = strchr(line, '\n')) {
            *end = '\0';
            const char *point = kernel_view(line, root);
            if (point && strcmp(point, hidden) != 0) {
                size_t length = strlen(point);
                if (length >= PATH_MAX)
                    return -ENAMETOOLONG;
                memcpy(hidden, point, length + 1);
                long rc = hide_view(point);
                return rc < 0 ? rc : 1;
            }
        }
        have -= (size_t)(line - buffer);
        memmove(buffer, line, have + 1);
        if (size == 0)
            return 0;
    }
}

static int move_root(struct pyrt_ctx *ctx)
{
    char link[32], root[PATH_MAX], hidden[PATH_MAX] = "";
    int proc cleanup_close = (int)SYS(openat, ctx->proc_fd >= 0 ? ctx->proc_fd : AT_FDCWD, ctx->proc_fd >= 0 ? "." : "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (proc < 0)
        return op_fail(ctx, proc, "open", "/proc");
    path_of_fd(ctx->root_fd, link);
    long size = SYS(readlinkat, proc, link + sizeof("/proc"), root, sizeof(root) - 1);
    if (size < 0)
        return op_fail(ctx, size, "readlink", link);
    root[size] = '\0';
    long rc = 1;
    for (int i = 0; rc > 0 && i < UNMOUNT_PASSES; i++)
        rc = hide_next(proc, root, hidden);
    if (rc < 0)
        return op_fail(ctx, rc, "hide", hidden);
    rc = SYS(fchdir, ctx->root_fd);
    if (rc == 0)
        rc = SYS(mount, ".", "/", NULL, MS_MOVE, NULL);
    if (rc < 0)
        return op_fail(ctx, rc, "move the root to", "/");
    rc = SYS(chroot, ".");
    if (rc == 0)
        rc = SYS(chdir, "/");
    return rc < 0 ? op_fail(ctx, rc, "chroot", root) : 0;
}

/* For a container in the host's mount namespace, where nothing may be moved or taken away. */
static int chroot_only(struct pyrt_ctx *ctx)
{
    long rc = SYS(fchdir, ctx->root_fd);
    if (rc == 0)
        rc = SYS(chroot, ".");
    if (rc == 0)
        rc = SYS(chdir, "/");
    return rc < 0 ? op_fail(ctx, rc, "chroot", NULL) : 0;
}

static int enter_root(struct pyrt_ctx *ctx, int no_pivot)
{
    if (no_pivot)
        return move_root(ctx);
    int old cleanup_close = (int)SYS(openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (old < 0)
        return op_fail(ctx, old, "open", "/");
    long rc = pivot(ctx->root_fd, old);
    if (rc != -EINVAL)
        return rc < 0 ? op_fail(ctx, rc, "pivot_root", NULL) : 0;
    rc = unshare_parent(ctx->root_fd);
    if (rc == 0)
        rc = leave_chroot(ctx);
    if (rc < 0)
        return op_fail(ctx, rc, "leave the chroot for pivot_root", NULL);
    SYS(close, old);
    old = (int)SYS(openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    rc = old < 0 ? old : pivot(ctx->root_fd, old);
    if (rc == -EINVAL && root_is_initramfs())
        return move_root(ctx);
    return rc < 0 ? op_fail(ctx, rc, "pivot_root", NULL) : 0;
}

int op_pivot(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    if (ctx->root_fd < 0)
        return op_fail(ctx, -EBADF, "no root", NULL);
    int rc = op->n[0] == 2 ? chroot_only(ctx) : enter_root(ctx, op->n[0] == 1);
    if (rc < 0)
        return rc;
    int fd = (int)SYS(openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return op_fail(ctx, fd, "open", "/");
    SYS(close, ctx->root_fd);
    ctx->root_fd = fd;
    return 0;
}
