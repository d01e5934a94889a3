/* SPDX-License-Identifier: Apache-2.0 */
/* "tmpcopyup": a tmpfs starts with a copy of the directory that it covers. By fds only, one directory per level of recursion. */
#include <linux/limits.h>
#include <linux/xattr.h>

#include "mnt.h"
#include "self.h"

#define MAX_DEPTH 128
#define COPY_CHUNK (1 << 20)

static int copy_dir(int from, int to, const struct statx *top, int depth);

static long stat_at(int fd, const char *name, struct statx *st)
{
    return SYS(statx, fd, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, st);
}

/* Extended attributes that the target's file system takes; one that it does not is passed over, as cp -a does. */
static void copy_xattrs(int from, int to)
{
    char names[2048], value[4096];
    long size = SYS(flistxattr, from, names, sizeof(names));
    for (const char *name = names; size > 0 && name < names + size; name += strlen(name) + 1) {
        long length = SYS(fgetxattr, from, name, value, sizeof(value));
        if (length >= 0)
            SYS(fsetxattr, to, name, value, length, 0);
    }
}

/* Owner, mode, times and attributes of an open file or directory. Owner first: changing it takes set-id bits away. */
static long copy_meta(int from, int to, const struct statx *st)
{
    struct {
        int64_t sec, nsec;
    } times[2] = {{st->stx_atime.tv_sec, st->stx_atime.tv_nsec}, {st->stx_mtime.tv_sec, st->stx_mtime.tv_nsec}};
    long rc = SYS(fchownat, to, "", st->stx_uid, st->stx_gid, AT_EMPTY_PATH);
    if (rc == 0)
        rc = SYS(fchmod, to, st->stx_mode & 07777);
    copy_xattrs(from, to);
    return rc == 0 ? SYS(utimensat, to, NULL, times, 0) : rc;
}

static long copy_bytes(int from, int to)
{
    for (;;) {
        long rc = SYS(sendfile, to, from, NULL, COPY_CHUNK);
        if (rc <= 0 && rc != -EINTR)
            return rc;
    }
}

static long copy_file(int from_dir, int to_dir, const char *name, const struct statx *st)
{
    int from cleanup_close = (int)SYS(openat, from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
    if (from < 0)
        return from;
    int to cleanup_close = (int)SYS(openat, to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        return to;
    long rc = copy_bytes(from, to);
    return rc < 0 ? rc : copy_meta(from, to, st);
}

static long copy_link(int from_dir, int to_dir, const char *name, const struct statx *st)
{
    char text[PATH_MAX];
    long size = SYS(readlinkat, from_dir, name, text, sizeof(text) - 1);
    if (size < 0)
        return size;
    text[size] = '\0';
    long rc = SYS(symlinkat, text, to_dir, name);
    return rc < 0 ? rc : SYS(fchownat, to_dir, name, st->stx_uid, st->stx_gid, AT_SYMLINK_NOFOLLOW);
}

static long copy_node(int to_dir, const char *name, const struct statx *st)
{
    unsigned dev = (st->stx_rdev_minor & 0xffu) | (st->stx_rdev_major << 8) | ((st->stx_rdev_minor & ~0xffu) << 12);
    long rc = SYS(mknodat, to_dir, name, st->stx_mode, dev);
    if (rc == -EPERM)
        return 0; /* device nodes cannot be made in a user namespace */
    return rc < 0 ? rc : SYS(fchownat, to_dir, name, st->stx_uid, st->stx_gid, AT_SYMLINK_NOFOLLOW);
}

static long copy_subdir(int from_dir, int to_dir, const char *name, const struct statx *st, const struct statx *top, int depth)
{
    int from cleanup_close = (int)SYS(openat, from_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (from < 0)
        return from;
    long rc = SYS(mkdirat, to_dir, name, 0700);
    if (rc < 0)
        return rc;
    int to cleanup_close = (int)SYS(openat, to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (to < 0)
        return to;
    int here = st->stx_dev_major == top->stx_dev_major && st->stx_dev_minor == top->stx_dev_minor;
    rc = here ? copy_dir(from, to, top, depth + 1) : 0; /* another file system: its mount point only */
    return rc < 0 ? rc : copy_meta(from, to, st);
}

static long copy_entry(int from, int to, const char *name, const struct statx *top, int depth)
{
    struct statx st;
    long rc = stat_at(from, name, &st);
    if (rc < 0)
        return rc;
    switch (st.stx_mode & S_IFMT) {
    case S_IFDIR:
        return copy_subdir(from, to, name, &st, top, depth);
    case S_IFREG:
        return copy_file(from, to, name, &st);
    case S_IFLNK:
        return copy_link(from, to, name, &st);
    default:
        return copy_node(to, name, &st);
    }
}

static int copy_dir(int from, int to, const struct statx *top, int depth)
{
    _Alignas(8) char buffer[2048];
    if (depth > MAX_DEPTH)
        return -ELOOP;
    for (;;) {
        long size = SYS(getdents64, from, buffer, sizeof(buffer));
        if (size <= 0)
            return (int)size;
        for (long at = 0; at < size;) {
            const struct dirent_head *entry = (const void *)(buffer + at);
            at += entry->length;
            if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0)
                continue;
            long rc = copy_entry(from, to, entry->name, top, depth);
            if (rc < 0)
                return (int)rc;
        }
    }
}

int copyup_tree(int from, int to)
{
    struct statx top;
    int source cleanup_close = (int)SYS(openat, from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (source < 0)
        return source;
    int target cleanup_close = (int)SYS(openat, to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (target < 0)
        return target;
    long rc = stat_at(source, "", &top);
    long umask_before = SYS(umask, 0);
    if (rc == 0)
        rc = copy_dir(source, target, &top, 0);
    SYS(umask, umask_before);
    return (int)rc;
}
