/* SPDX-License-Identifier: Apache-2.0 */
/* Hiding what the container shall not read, and write-protecting what it may only read. */
#include "mnt.h"

#define NULL_MAJOR 1
#define NULL_MINOR 3
#define MASK_FLAGS (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)

/* Paths that a container may lack, or that even root may not look at, need no mask. */
static int nothing_there(int rc)
{
    return rc == -ENOENT || rc == -EACCES;
}

static int open_null(void)
{
    struct statx st;
    int fd cleanup_close = (int)SYS(openat, AT_FDCWD, "/dev/null", O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    long rc = fd < 0 ? fd : SYS(statx, fd, "", AT_EMPTY_PATH, STATX_TYPE, &st);
    if (rc < 0)
        return (int)rc;
    if ((st.stx_mode & S_IFMT) != S_IFCHR || st.stx_rdev_major != NULL_MAJOR || st.stx_rdev_minor != NULL_MINOR)
        return -ENODEV;
    return sys_steal_fd(&fd);
}

static int mask_file(struct pyrt_ctx *ctx, const struct mnt_place *place)
{
    int null cleanup_close = open_null();
    if (null < 0)
        return op_fail(ctx, null, "open", "/dev/null");
    int mount cleanup_close = mnt_bind(ctx, null, place, 0);
    return mount < 0 ? op_fail(ctx, mount, "mask file", place->path) : 0;
}

/* One empty tmpfs serves all directories: the first mask attaches it, the others are copies of that mount (kernels before 6.15 copy attached mounts only). */
static int empty_tmpfs(void)
{
    int fs cleanup_close = pyrt_force_old & (OLD_FSOPEN | OLD_OPEN_TREE) ? -ENOSYS : (int)SYS(fsopen, "tmpfs", FSOPEN_CLOEXEC);
    if (fs < 0)
        return fs;
    long rc = SYS(fsconfig, fs, FSCONFIG_SET_STRING, "source", "tmpfs", 0);
    if (rc == 0)
        rc = SYS(fsconfig, fs, FSCONFIG_SET_FLAG, "ro", NULL, 0);
    if (rc == 0)
        rc = SYS(fsconfig, fs, FSCONFIG_SET_STRING, "nr_blocks", "1", 0);
    if (rc == 0)
        rc = SYS(fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    return rc < 0 ? (int)rc : (int)SYS(fsmount, fs, FSMOUNT_CLOEXEC, mnt_attrs(MASK_FLAGS));
}

static int mask_dir_old(struct pyrt_ctx *ctx, const struct mnt_place *place)
{
    char at[32];
    path_of_fd(place->fd, at);
    long rc = SYS(mount, "tmpfs", at, "tmpfs", MASK_FLAGS, "nr_blocks=1");
    return rc < 0 ? op_fail(ctx, rc, "mask directory", place->path) : 0;
}

static int mask_dir(struct pyrt_ctx *ctx, const struct mnt_place *place)
{
    int first = ctx->mask_fd < 0;
    int tree cleanup_close = first ? empty_tmpfs() : mnt_clone(ctx->mask_fd, 0);
    if (old_kernel(tree))
        return mask_dir_old(ctx, place);
    int rc = tree < 0 ? tree : mnt_attach(tree, place->fd);
    if (rc < 0)
        return op_fail(ctx, rc, "mask directory", place->path);
    if (first)
        ctx->mask_fd = sys_steal_fd(&tree);
    return 0;
}

int op_mask(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    struct mnt_place place = {.path = op_str(ctx, op, 0), .at = MNT_AT_HIDDEN};
    int fd cleanup_close = place.fd = mnt_open_hidden(ctx, place.path);
    if (nothing_there(fd))
        return 0;
    int is_dir = fd < 0 ? fd : mnt_is_dir(fd);
    if (is_dir < 0)
        return op_fail(ctx, is_dir, "open", place.path);
    return is_dir ? mask_dir(ctx, &place) : mask_file(ctx, &place);
}

int op_readonly(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    struct mnt_place place = {.path = op_str(ctx, op, 0), .at = MNT_AT_HIDDEN};
    int fd cleanup_close = place.fd = mnt_open_hidden(ctx, place.path);
    if (nothing_there(fd))
        return 0;
    if (fd < 0)
        return op_fail(ctx, fd, "open", place.path);
    int tree cleanup_close = mnt_clone(fd, 1);
    int is_old = old_kernel(tree);
    if (is_old)
        tree = mnt_bind(ctx, fd, &place, 1);
    int rc = tree;
    if (tree >= 0)
        rc = is_old ? mnt_setattr(tree, MOUNT_ATTR_RDONLY, 0, 0, 0) : mnt_attach_set(tree, fd, MOUNT_ATTR_RDONLY, 0);
    return rc < 0 ? op_fail(ctx, rc, "read-only bind of", place.path) : 0;
}
