/* SPDX-License-Identifier: Apache-2.0 */
#include "path.h"

#include <asm/statfs.h>
#include <linux/limits.h>
#include <linux/magic.h>

#include "fallback.h"

#define WALK_DEPTH 256   /* directories below the root; each is one open fd during a walk */
#define WALK_LINKS 40    /* as the kernel's MAXSYMLINKS */
#define RACE_RETRIES 512 /* openat2 answers EAGAIN while mounts or renames happen anywhere on the machine */

unsigned pyrt_force_old;

struct walk {
    int root;
    int depth;
    int fds[WALK_DEPTH];
    char rest[2 * PATH_MAX];
};

struct walk_how {
    uint64_t flags;
    uint64_t mode;
    int no_links;     /* a symbolic link anywhere is ELOOP */
    int make;         /* missing directories are made with the fields below */
    int last_is_file; /* with make: the last component is made as an empty file with `mode` */
    unsigned dir_mode;
    uid_t uid;
    gid_t gid;
    int *made;
};

static void walk_popall(struct walk *walk)
{
    while (walk->depth > 0)
        SYS(close, walk->fds[--walk->depth]);
}

static int walk_current(const struct walk *walk)
{
    return walk->depth > 0 ? walk->fds[walk->depth - 1] : walk->root;
}

/* S_IFMT bits of an open file, or -errno. */
static int type_of_fd(int fd)
{
    struct statx st;
    long rc = SYS(statx, fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_TYPE, &st);
    return rc < 0 ? (int)rc : st.stx_mode & S_IFMT;
}

/* procfs links that jump instead of being read as text: their text is absolute or "kind:[number]". The plain ones (self, mounts, net) are relative. */
static int is_magic_link(int fd, const char *text)
{
    struct statfs fs;
    if (SYS(fstatfs, fd, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC)
        return 0;
    return text[0] == '/' || strchr(text, ':') != NULL;
}

/* Puts the link's text in front of what is left to walk. */
static int walk_expand(struct walk *walk, int link, const char *left)
{
    char text[2 * PATH_MAX];
    long size = SYS(readlinkat, link, "", text, PATH_MAX);
    if (size < 0)
        return (int)size;
    if (size == 0)
        return -ENOENT;
    if (size >= PATH_MAX)
        return -ENAMETOOLONG;
    text[size] = '\0';
    if (is_magic_link(link, text))
        return -ELOOP;
    if (text[0] == '/')
        walk_popall(walk);
    size_t left_size = strlen(left);
    if ((size_t)size + left_size >= sizeof(text))
        return -ENAMETOOLONG;
    memcpy(text + size, left, left_size + 1);
    memcpy(walk->rest, text, (size_t)size + left_size + 1);
    return 0;
}

/* Makes a directory in `parent` and opens it: O_PATH fd or -errno. */
static int make_dir(int parent, const char *name, unsigned mode, uid_t uid, gid_t gid)
{
    long umask_before = SYS(umask, 0);
    long rc = SYS(mkdirat, parent, name, mode & 01777);
    SYS(umask, umask_before);
    if (rc < 0)
        return (int)rc;
    int fd cleanup_close = (int)SYS(openat, parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    if (uid != (uid_t)-1 || gid != (gid_t)-1) {
        rc = SYS(fchownat, fd, "", uid, gid, AT_EMPTY_PATH);
        if (rc < 0)
            return (int)rc;
    }
    if (mode & 06000) { /* mkdir(2) ignores these bits, and fchmod(2) refuses O_PATH */
        int dir cleanup_close = (int)SYS(openat, fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        rc = dir < 0 ? dir : SYS(fchmod, dir, mode & 07777);
        if (rc < 0)
            return (int)rc;
    }
    return sys_steal_fd(&fd);
}

static long make_file(int parent, const char *name, uint64_t mode)
{
    long umask_before = SYS(umask, 0);
    long rc = SYS(mknodat, parent, name, S_IFREG | (mode & 0777), 0);
    SYS(umask, umask_before);
    return rc;
}

/* Opens, or where asked makes, one missing component: O_PATH fd, or -errno; -EAGAIN says "somebody made it meanwhile: look again". */
static int walk_make(const struct walk *walk, const char *name, int last, const struct walk_how *how)
{
    int fd;
    if (last && how->last_is_file) {
        long rc = make_file(walk_current(walk), name, how->mode);
        fd = rc < 0 ? (int)rc : (int)SYS(openat, walk_current(walk), name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    } else {
        fd = make_dir(walk_current(walk), name, how->dir_mode, how->uid, how->gid);
    }
    if (fd >= 0 && last && how->made)
        *how->made = 1;
    return fd == -EEXIST ? -EAGAIN : fd;
}

/* The last component, which exists and is open as `fd` (O_PATH): the fd that the caller asked for. */
static int walk_finish(const struct walk *walk, const char *name, int fd, int type, int slash, const struct walk_how *how)
{
    if ((slash || (how->flags & O_DIRECTORY)) && type != S_IFDIR)
        return -ENOTDIR;
    if (how->flags & O_PATH)
        return (int)SYS(fcntl, fd, F_DUPFD_CLOEXEC, 0);
    return (int)SYS(openat, walk_current(walk), name, how->flags | O_NOFOLLOW | O_CLOEXEC, how->mode);
}

/* Takes the next component from walk->rest into name. 0 at the end of the path, 1, or -errno. *left is what follows it, its slash included. */
static int walk_next(const struct walk *walk, char name[NAME_MAX + 1], const char **left)
{
    const char *p = walk->rest;
    while (*p == '/')
        p++;
    size_t size = 0;
    while (p[size] != '\0' && p[size] != '/')
        size++;
    if (size > NAME_MAX)
        return -ENAMETOOLONG;
    memcpy(name, p, size);
    name[size] = '\0';
    *left = p + size;
    return size > 0;
}

static int only_slashes(const char *text)
{
    while (*text == '/')
        text++;
    return *text == '\0';
}

/* Component by component, every one opened without following, links read and walked by us: ".." pops a stack of fds and so cannot leave the root, whatever
 * is renamed meanwhile. */
static int walk_run(struct walk *walk, const struct walk_how *how)
{
    char name[NAME_MAX + 1];
    int links = 0, races = 0, any = 0;
    for (;;) {
        const char *left;
        int more = walk_next(walk, name, &left);
        if (more < 0)
            return more;
        if (!more) {
            if (!any && (how->flags & O_CREAT))
                return -EISDIR;
            return (int)SYS(openat, walk_current(walk), ".", (how->flags & ~(uint64_t)O_CREAT) | O_CLOEXEC, 0);
        }
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
            if (name[1] == '.' && walk->depth > 0)
                SYS(close, walk->fds[--walk->depth]);
            memmove(walk->rest, left, strlen(left) + 1);
            continue;
        }
        any = 1;
        int last = only_slashes(left), slash = last && *left == '/';
        int fd cleanup_close = (int)SYS(openat, walk_current(walk), name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
        if (fd == -ENOENT && how->make) {
            fd = walk_make(walk, name, last, how);
            if (fd == -EAGAIN && races++ < RACE_RETRIES)
                continue;
        } else if (fd == -ENOENT && last && !slash && (how->flags & O_CREAT)) {
            return (int)SYS(openat, walk_current(walk), name, how->flags | O_NOFOLLOW | O_CLOEXEC, how->mode);
        }
        if (fd < 0)
            return fd;
        int type = type_of_fd(fd);
        if (type < 0)
            return type;
        if (type == S_IFLNK && !(last && !slash && (how->flags & O_NOFOLLOW) && (how->flags & O_PATH))) {
            if (how->no_links || links++ >= WALK_LINKS || (last && !slash && (how->flags & O_NOFOLLOW)))
                return -ELOOP;
            if (last && (how->flags & O_CREAT) && (how->flags & O_EXCL))
                return -EEXIST;
            int rc = walk_expand(walk, fd, left);
            if (rc < 0)
                return rc;
            continue;
        }
        if (last)
            return walk_finish(walk, name, fd, type, slash, how);
        if (type != S_IFDIR)
            return -ENOTDIR;
        if (walk->depth == WALK_DEPTH)
            return -ENAMETOOLONG;
        walk->fds[walk->depth++] = sys_steal_fd(&fd);
        memmove(walk->rest, left, strlen(left) + 1);
    }
}

static int walk_path(int root, const char *path, const struct walk_how *how)
{
    struct walk walk;
    size_t size = strlen(path);
    if (size >= PATH_MAX)
        return -ENAMETOOLONG;
    walk.root = root;
    walk.depth = 0;
    memcpy(walk.rest, path, size + 1);
    int fd = walk_run(&walk, how);
    walk_popall(&walk);
    return fd;
}

static int open_in(int root, const char *path, uint64_t flags, uint64_t mode, int no_links)
{
    struct open_how how = {
        .flags = flags | O_CLOEXEC,
        .mode = flags & O_CREAT ? mode & 07777 : 0,
        .resolve = RESOLVE_IN_ROOT | (no_links ? RESOLVE_NO_SYMLINKS : RESOLVE_NO_MAGICLINKS),
    };
    if (path[0] == '\0')
        path = "/";
    long fd = -EAGAIN;
    for (int i = 0; i < RACE_RETRIES && (fd == -EAGAIN || fd == -EINTR); i++)
        fd = pyrt_force_old & OLD_OPENAT2 ? -ENOSYS : SYS(openat2, root, path, &how, sizeof(how));
    if (!old_kernel(fd) && fd != -EAGAIN)
        return (int)fd;
    return walk_path(root, path, &(struct walk_how){.flags = flags, .mode = how.mode, .no_links = no_links, .uid = (uid_t)-1, .gid = (gid_t)-1});
}

int path_open_in(int root, const char *path, uint64_t flags, uint64_t mode)
{
    return open_in(root, path, flags, mode, 0);
}

int path_open_nolink_in(int root, const char *path, uint64_t flags)
{
    return open_in(root, path, flags, 0, 1);
}

int path_mkdirs_in(int root, const char *path, unsigned mode, uid_t uid, gid_t gid, int *made)
{
    if (made)
        *made = 0;
    int fd = path_open_in(root, path, O_PATH | O_DIRECTORY, 0);
    if (fd != -ENOENT)
        return fd;
    return walk_path(root, path, &(struct walk_how){.flags = O_PATH | O_DIRECTORY, .make = 1, .dir_mode = mode, .uid = uid, .gid = gid, .made = made});
}

int path_parent_in(int root, const char *path, int make, char name[256])
{
    char parent[PATH_MAX];
    size_t size = strlen(path);
    while (size > 0 && path[size - 1] == '/')
        size--;
    if (size >= sizeof(parent))
        return -ENAMETOOLONG;
    size_t start = size;
    while (start > 0 && path[start - 1] != '/')
        start--;
    if (size - start > NAME_MAX)
        return -ENAMETOOLONG;
    memcpy(name, path + start, size - start);
    name[size - start] = '\0';
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return -EINVAL;
    memcpy(parent, path, start);
    parent[start] = '\0';
    return make ? path_mkdirs_in(root, parent, 0755, (uid_t)-1, (gid_t)-1, NULL) : path_open_in(root, parent, O_PATH | O_DIRECTORY, 0);
}

int path_target_in(int root, const char *path, int is_dir, unsigned mode)
{
    if (is_dir)
        return path_mkdirs_in(root, path, mode, (uid_t)-1, (gid_t)-1, NULL);
    int fd = path_open_in(root, path, O_PATH, 0);
    if (fd == -ENOENT)
        fd = walk_path(root, path,
                       &(struct walk_how){.flags = O_PATH, .mode = mode, .make = 1, .last_is_file = 1, .dir_mode = 0755, .uid = (uid_t)-1, .gid = (gid_t)-1});
    if (fd >= 0 && type_of_fd(fd) == S_IFDIR) {
        SYS(close, fd);
        return -EISDIR;
    }
    return fd;
}

/* One mkdir(2) that takes an existing directory for success. */
static long mkdir_or_there(const char *path, unsigned mode, int *made)
{
    struct statx st;
    long rc = SYS(mkdirat, AT_FDCWD, path, mode);
    *made = rc == 0;
    if (rc == 0 || SYS(statx, AT_FDCWD, path, AT_NO_AUTOMOUNT, STATX_TYPE, &st) < 0)
        return rc;
    return (st.stx_mode & S_IFMT) == S_IFDIR ? 0 : rc == -EEXIST ? -ENOTDIR : rc;
}

static long mkdirs(char *path, unsigned mode, int *made)
{
    long rc = mkdir_or_there(path, mode, made);
    if (rc != -ENOENT)
        return rc;
    for (char *p = path + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        rc = mkdir_or_there(path, mode, made);
        *p = '/';
        if (rc < 0)
            return rc;
    }
    return mkdir_or_there(path, mode, made);
}

int path_mkdirs(const char *path, unsigned mode, int *made)
{
    char copy[PATH_MAX];
    int ignored;
    size_t size = strlen(path);
    if (size >= sizeof(copy))
        return -ENAMETOOLONG;
    if (size == 0)
        return -ENOENT;
    memcpy(copy, path, size + 1);
    while (size > 1 && copy[size - 1] == '/')
        copy[--size] = '\0';
    long umask_before = SYS(umask, 0);
    long rc = mkdirs(copy, mode & 01777, made ? made : &ignored);
    SYS(umask, umask_before);
    return (int)rc;
}

void path_of_fd(int fd, char buffer[32])
{
    buffer[0] = '\0';
    txt_add(buffer, 32, "/proc/self/fd/");
    txt_add_u64(buffer, 32, (uint64_t)fd);
}
