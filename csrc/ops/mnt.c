/* SPDX-License-Identifier: Apache-2.0 */
#include "mnt.h"

#include <asm/statfs.h>

#define MS_ATIME_FLAGS (MS_NOATIME | MS_RELATIME | MS_STRICTATIME)
/* statfs f_flags: these bits are those of MS_*, the others have their own numbers */
#define STATFS_SAME (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME)
#define STATFS_RELATIME 0x1000
#define STATFS_NOSYMFOLLOW 0x2000

int mnt_proc_fd = -1;

uint64_t mnt_attrs(uint64_t flags)
{
    static const struct {
        uint64_t flag, attr;
    } table[] = {
        {MS_RDONLY, MOUNT_ATTR_RDONLY},         {MS_NOSUID, MOUNT_ATTR_NOSUID},
        {MS_NODEV, MOUNT_ATTR_NODEV},           {MS_NOEXEC, MOUNT_ATTR_NOEXEC},
        {MS_NODIRATIME, MOUNT_ATTR_NODIRATIME}, {MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW},
    };
    uint64_t attrs = 0;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (flags & table[i].flag)
            attrs |= table[i].attr;
    if (flags & MS_STRICTATIME)
        attrs |= MOUNT_ATTR_STRICTATIME;
    else if (flags & MS_NOATIME)
        attrs |= MOUNT_ATTR_NOATIME;
    return attrs;
}

int mnt_open(struct pyrt_ctx *ctx, const char *path, uint64_t at)
{
    if (at == PYRT_AT_HOST)
        return (int)SYS(openat, AT_FDCWD, path, O_PATH | O_CLOEXEC, 0);
    if (at == MNT_AT_HIDDEN)
        return mnt_open_hidden(ctx, path);
    return ctx->root_fd < 0 ? -EBADF : path_open_in(ctx->root_fd, path, O_PATH, 0);
}

/* A target on the host side: the path was chosen by the caller, so its links are followed. */
static int host_target(const char *path, int is_dir, unsigned mode)
{
    int fd = (int)SYS(openat, AT_FDCWD, path, O_PATH | O_CLOEXEC, 0);
    if (fd != -ENOENT)
        return fd;
    int rc;
    if (is_dir) {
        rc = path_mkdirs(path, mode, NULL);
    } else {
        char parent[4096];
        const char *slash = strrchr(path, '/');
        size_t size = slash ? (size_t)(slash - path) : 0;
        if (size >= sizeof(parent))
            return -ENAMETOOLONG;
        memcpy(parent, path, size);
        parent[size] = '\0';
        rc = size > 0 ? path_mkdirs(parent, 0755, NULL) : 0;
        if (rc == 0)
            rc = (int)SYS(mknodat, AT_FDCWD, path, S_IFREG | mode, 0);
    }
    return rc < 0 && rc != -EEXIST ? rc : (int)SYS(openat, AT_FDCWD, path, O_PATH | O_CLOEXEC, 0);
}

static int root_target(int root, const char *path, int is_dir, unsigned mode, unsigned how)
{
    if (how & MNT_NO_LINKS) {
        int fd = path_open_nolink_in(root, path, O_PATH | (is_dir ? O_DIRECTORY : 0));
        if (fd != -ENOENT || !(how & MNT_MAKE))
            return fd;
        /* Made by a walk that follows links, then opened by one that does not: a link in between is still refused. */
        fd = path_target_in(root, path, is_dir, mode);
        if (fd < 0)
            return fd;
        SYS(close, fd);
        return path_open_nolink_in(root, path, O_PATH | (is_dir ? O_DIRECTORY : 0));
    }
    return how & MNT_MAKE ? path_target_in(root, path, is_dir, mode) : path_open_in(root, path, O_PATH, 0);
}

int mnt_place_open(struct pyrt_ctx *ctx, struct mnt_place *place, int is_dir, unsigned mode, unsigned how)
{
    if (place->at == PYRT_AT_ROOT)
        place->fd = ctx->root_fd < 0 ? -EBADF : root_target(ctx->root_fd, place->path, is_dir, mode, how);
    else
        place->fd = how & MNT_MAKE ? host_target(place->path, is_dir, mode) : (int)SYS(openat, AT_FDCWD, place->path, O_PATH | O_CLOEXEC, 0);
    return place->fd < 0 ? place->fd : 0;
}

int mnt_is_dir(int fd)
{
    struct statx st;
    long rc = SYS(statx, fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_TYPE, &st);
    return rc < 0 ? (int)rc : (st.stx_mode & S_IFMT) == S_IFDIR;
}

int mnt_same(int one, int other)
{
    struct statx a, b;
    long rc = SYS(statx, one, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_TYPE | STATX_INO, &a);
    if (rc == 0)
        rc = SYS(statx, other, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_TYPE | STATX_INO, &b);
    if (rc < 0)
        return (int)rc;
    return a.stx_ino == b.stx_ino && a.stx_dev_major == b.stx_dev_major && a.stx_dev_minor == b.stx_dev_minor;
}

int mnt_clone(int source, int recursive)
{
    if (pyrt_force_old & OLD_OPEN_TREE)
        return -ENOSYS;
    return (int)SYS(open_tree, source, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0));
}

int mnt_attach(int tree, int target)
{
    return (int)SYS(move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

/* mount(2) with MS_BIND leaves no fd of what it made: the place is opened again, and has to be the source now. */
static int bind_old(struct pyrt_ctx *ctx, int source, const struct mnt_place *place, int recursive)
{
    char from[32], to[32];
    path_of_fd(source, from);
    path_of_fd(place->fd, to);
    long rc = SYS(mount, from, to, NULL, MS_BIND | (recursive ? MS_REC : 0), NULL);
    if (rc < 0)
        return (int)rc;
    int fd cleanup_close = mnt_open(ctx, place->path, place->at);
    if (fd < 0)
        return fd;
    int same = mnt_same(source, fd);
    if (same <= 0)
        return same < 0 ? same : -ESTALE;
    return sys_steal_fd(&fd);
}

int mnt_bind(struct pyrt_ctx *ctx, int source, const struct mnt_place *place, int recursive)
{
    int tree cleanup_close = mnt_clone(source, recursive);
    if (old_kernel(tree))
        return bind_old(ctx, source, place, recursive);
    if (tree < 0)
        return tree;
    int rc = mnt_attach(tree, place->fd);
    return rc < 0 ? rc : sys_steal_fd(&tree);
}

uint64_t mnt_flags_of(int fd)
{
    struct statfs fs;
    if (SYS(fstatfs, fd, &fs) < 0)
        return 0;
    uint64_t have = (uint64_t)fs.f_flags;
    return (have & STATFS_SAME) | (have & STATFS_RELATIME ? MS_RELATIME : 0) | (have & STATFS_NOSYMFOLLOW ? MS_NOSYMFOLLOW : 0);
}

static uint64_t flags_of_attrs(uint64_t attrs)
{
    uint64_t flags = attrs & (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC); /* the same numbers */
    if ((attrs & MOUNT_ATTR__ATIME) == MOUNT_ATTR_NOATIME)
        flags |= MS_NOATIME;
    if ((attrs & MOUNT_ATTR__ATIME) == MOUNT_ATTR_STRICTATIME)
        flags |= MS_STRICTATIME;
    return flags | (attrs & MOUNT_ATTR_NODIRATIME ? MS_NODIRATIME : 0) | (attrs & MOUNT_ATTR_NOSYMFOLLOW ? MS_NOSYMFOLLOW : 0);
}

/* A bind remount replaces all flags of the mount, so those that are to stay are repeated. In a user namespace flags inherited from the outside are locked,
 * and taking one away, or changing atime, is EPERM: then it stays. */
static long remount(int fd, uint64_t set, uint64_t clear)
{
    char path[32];
    path_of_fd(fd, path);
    uint64_t have = mnt_flags_of(fd), want = (have & ~flags_of_attrs(clear)) | flags_of_attrs(set);
    if (clear & MOUNT_ATTR__ATIME)
        want = (want & ~(uint64_t)MS_ATIME_FLAGS) | (flags_of_attrs(set) & MS_ATIME_FLAGS);
    long rc = SYS(mount, NULL, path, NULL, MS_REMOUNT | MS_BIND | want, NULL);
    uint64_t kept = (want & ~(uint64_t)(MS_ATIME_FLAGS | MS_NODIRATIME)) | have;
    if (rc == -EPERM && kept != want)
        rc = SYS(mount, NULL, path, NULL, MS_REMOUNT | MS_BIND | kept, NULL);
    return rc;
}

int mnt_propagate(int fd, uint64_t flags)
{
    char path[32];
    path_of_fd(fd, path);
    return (int)SYS(mount, NULL, path, NULL, flags, NULL);
}

static long setattr_new(int fd, uint64_t set, uint64_t clear, uint64_t propagation, int recursive)
{
    struct mount_attr attr = {.attr_set = set, .attr_clr = clear, .propagation = propagation & ~(uint64_t)MS_REC};
    unsigned flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
    if (set & MOUNT_ATTR__ATIME)
        attr.attr_clr |= MOUNT_ATTR__ATIME; /* one choice of three, not a bit: the kernel wants it cleared first */
    if (pyrt_force_old & OLD_MOUNT_SETATTR)
        return -ENOSYS;
    long rc = SYS(mount_setattr, fd, "", flags, &attr, sizeof(attr));
    if (rc == -EPERM && (attr.attr_clr & MOUNT_ATTR__ATIME)) { /* atime is locked in a user namespace: the rest still holds */
        attr.attr_set &= ~(uint64_t)MOUNT_ATTR__ATIME;
        attr.attr_clr &= ~(uint64_t)MOUNT_ATTR__ATIME;
        rc = SYS(mount_setattr, fd, "", flags, &attr, sizeof(attr));
    }
    return rc;
}

int mnt_setattr(int fd, uint64_t set, uint64_t clear, uint64_t propagation, int recursive)
{
    long rc = setattr_new(fd, set, clear, propagation, recursive);
    if (!old_kernel(rc) || (recursive && (set | clear)))
        return (int)rc;
    if ((set | clear) && (rc = remount(fd, set, clear)) < 0)
        return (int)rc;
    return propagation ? mnt_propagate(fd, propagation | (recursive ? MS_REC : 0)) : 0;
}

int mnt_attach_set(int tree, int target, uint64_t set, uint64_t clear)
{
    long rc = set | clear ? setattr_new(tree, set, clear, 0, 0) : 0;
    int late = old_kernel(rc); /* 5.2 to 5.11: mount(2) changes flags of attached mounts only */
    if (rc < 0 && !late)
        return (int)rc;
    rc = mnt_attach(tree, target);
    return rc == 0 && late ? mnt_setattr(tree, set, clear, 0, 0) : (int)rc;
}

void mnt_note_proc(const struct mnt_place *place, int proc)
{
    const char *path = place->path;
    while (*path == '/')
        path++;
    if (place->at != PYRT_AT_ROOT || strncmp(path, "proc", 4) != 0 || (path[4] != '\0' && strcmp(path + 4, "/") != 0))
        return;
    sys_closep(&mnt_proc_fd);
    mnt_proc_fd = proc < 0 ? -1 : (int)SYS(fcntl, proc, F_DUPFD_CLOEXEC, 0);
}

int mnt_open_hidden(struct pyrt_ctx *ctx, const char *path)
{
    if (ctx->root_fd < 0)
        return -EBADF;
    int below_proc = mnt_proc_fd >= 0 && strncmp(path, "/proc/", 6) == 0;
    int fd = below_proc ? path_open_in(mnt_proc_fd, path + 6, O_PATH, 0) : path_open_in(ctx->root_fd, path, O_PATH, 0);
    return fd == -ENOTDIR ? -ENOENT : fd;
}
