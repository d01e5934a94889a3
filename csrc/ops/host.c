/* SPDX-License-Identifier: Apache-2.0 */
/* Files, hooks, sockets and trees in the view of the process that runs the op (mostly the host's). */
#include "../base/path.h"
#include "../base/sys.h"
#include "ops.h"
#include "self.h"
#include "spawn.h"

#include <linux/wait.h>
#include <sys/socket.h>
#include <sys/un.h>

#define LIST_MAX 2048            /* strings of a hook's argv or env */
#define TREE_DEPTH 48

/* ---- WRITE ---- */

/* 'write "67108864" to' when the data is a short text: with cgroup files the value is what is wrong as often as the file. */
static void describe_write(char *what, size_t size, const char *data, uint64_t length)
{
    char value[65] = "";

    what[0] = '\0';
    txt_add(what, size, "write");
    while (length > 0 && data[length - 1] == '\n')
        length--;
    if (length == 0 || length >= sizeof(value))
        return;
    for (uint64_t i = 0; i < length; i++) {
        if (data[i] == '\n')
            value[i] = ' ';
        else if (data[i] < ' ')
            return;
        else
            value[i] = data[i];
    }
    value[length] = '\0';
    txt_add(what, size, " \"");
    txt_add(what, size, value);
    txt_add(what, size, "\" to");
}

int op_write(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *path = op_str(ctx, op, 0), *data = op_data(ctx, op, 1);
    int flags = O_WRONLY | O_CLOEXEC | O_NOCTTY | ((op->n[1] & 1) != 0 ? O_CREAT | O_TRUNC : 0);
    char what[128];

    cleanup_close int fd = (int)SYS(openat, AT_FDCWD, path, flags, 0600);
    long rc = fd < 0 ? fd : SYS(write, fd, data, op->n[0]);
    if (rc >= 0 && (uint64_t)rc != op->n[0])
        rc = -EIO;
    if (rc >= 0)
        return 0;
    describe_write(what, sizeof(what), data, op->n[0]);
    return op_fail(ctx, rc, what, path);
}

/* ---- HOOK ---- */

/* The state as the hook's stdin: a memfd, which no hook that does not read can block. s3, then pid and s4 when s4 is there. */
static int state_fd(const struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *head = op_str(ctx, op, 3), *tail = op_str(ctx, op, 4);
    char pid[24] = "";

    cleanup_close int fd = (int)SYS(memfd_create, "pyrt-state", 1 /* MFD_CLOEXEC */);
    if (fd < 0)
        return fd;
    int rc = sys_write_all(fd, head, strlen(head));
    if (rc == 0 && tail[0] != '\0') {
        txt_add_u64(pid, sizeof(pid), (uint64_t)ctx->shared->init_pid);
        rc = sys_write_all(fd, pid, strlen(pid));
        if (rc == 0)
            rc = sys_write_all(fd, tail, strlen(tail));
    }
    if (rc == 0)
        rc = (int)SYS(lseek, fd, 0, 0 /* SEEK_SET */);
    return rc < 0 ? rc : sys_steal_fd(&fd);
}

static int hook_fail(struct pyrt_ctx *ctx, const struct pyrt_op *op, int rc, const char *how, uint64_t number, const char *unit)
{
    char text[PYRT_DETAIL] = "";

    txt_add(text, sizeof(text), op_str(ctx, op, 0));
    txt_add(text, sizeof(text), how);
    txt_add_u64(text, sizeof(text), number);
    txt_add(text, sizeof(text), unit);
    return op_fail(ctx, rc, "hook", text);
}

int op_hook(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *path = op_str(ctx, op, 0);
    const char *argv[LIST_MAX], *env[LIST_MAX];
    int status = 0, exec_failed;

    int count = list_pointers(op_str(ctx, op, 1), op->n[0], argv, LIST_MAX);
    int rc = list_pointers(op_str(ctx, op, 2), op->n[1], env, LIST_MAX);
    if (count < 0 || rc < 0)
        return op_fail(ctx, -E2BIG, "arguments or environment of hook", path);
    if (count == 0) {
        argv[0] = path;
        argv[1] = NULL;
    }
    cleanup_close int state = state_fd(ctx, op);
    if (state < 0)
        return op_fail(ctx, state, "state for hook", path);
    /* What runs after the container's end runs whether or not the caller is still there. */
    struct spawn what = {.path = path, .argv = argv, .env = env, .in_fd = state, .err_fd = -1, .timeout_s = op->n[2],
        .heed_caller = (op->flags & PYRT_F_AT_EXIT) == 0};
    rc = spawn_wait(ctx, &what, &status, &exec_failed);
    if (rc == -ETIMEDOUT && !exec_failed)
        return hook_fail(ctx, op, rc, " was killed: not done after ", op->n[2], " s");
    if (rc < 0)
        return op_fail(ctx, rc, exec_failed ? "exec hook" : rc == -ECANCELED ? "the caller went away, or wanted the end, during hook" : "hook", path);
    if ((status & 0x7f) != 0)
        return hook_fail(ctx, op, -EIO, " was killed by signal ", (uint64_t)(status & 0x7f), "");
    if ((status >> 8 & 0xff) != 0)
        return hook_fail(ctx, op, -EIO, " exited with status ", (uint64_t)(status >> 8 & 0xff), "");
    return 0;
}

/* ---- sockets ---- */

/* O_PATH fd of the directory that holds path; *name is left at the last component. */
static int open_parent(const char *path, const char **name)
{
    char dir[4096];
    const char *slash = strrchr(path, '/');

    *name = slash == NULL ? path : slash + 1;
    size_t length = slash == NULL ? 0 : (size_t)(slash - path);
    if (**name == '\0' || length >= sizeof(dir))
        return **name == '\0' ? -EINVAL : -ENAMETOOLONG;
    memcpy(dir, path, length);
    dir[length] = '\0';
    if (length == 0)
        memcpy(dir, slash == NULL ? "." : "/", 2);
    return (int)SYS(openat, AT_FDCWD, dir, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
}

/* A socket address holds 107 bytes of path: what is longer goes by the directory's fd. */
static int bind_in(int sock, int dir, const char *name)
{
    struct sockaddr_un address;

    memset(&address, 0, sizeof(address));
    address.sun_family = AF_UNIX;
    path_of_fd(dir, address.sun_path);
    if (txt_add(address.sun_path, sizeof(address.sun_path), "/") < 0 || txt_add(address.sun_path, sizeof(address.sun_path), name) < 0)
        return -ENAMETOOLONG;
    return (int)SYS(bind, sock, &address, sizeof(address));
}

static int is_socket(int dir, const char *name)
{
    struct statx about;
    memset(&about, 0, sizeof(about));
    return SYS(statx, dir, name, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &about) == 0 && (about.stx_mode & S_IFMT) == S_IFSOCK;
}

int op_listen(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *path = op_str(ctx, op, 0), *name;

    cleanup_close int dir = open_parent(path, &name);
    if (dir < 0)
        return op_fail(ctx, dir, "directory of socket", path);
    cleanup_close int sock = (int)SYS(socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock < 0)
        return op_fail(ctx, sock, "socket", path);
    SYS(fchmod, sock, 0600); /* bind makes the file with the socket's mode: no moment in which others may connect */
    int rc = bind_in(sock, dir, name);
    if (rc == -EADDRINUSE && is_socket(dir, name)) { /* left by one that was killed */
        SYS(unlinkat, dir, name, 0);
        rc = bind_in(sock, dir, name);
    }
    if (rc < 0)
        return op_fail(ctx, rc, "bind socket", path);
    op_made(ctx);
    rc = (int)SYS(listen, sock, 16);
    if (rc == 0)
        rc = op_slot_set(ctx, op->n[0], sock);
    if (rc < 0) {
        SYS(unlinkat, dir, name, 0);
        return op_fail(ctx, rc, "listen", path);
    }
    sys_steal_fd(&sock);
    return 0;
}

int undo_listen(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *path = op_str(ctx, op, 0);
    int rc = (int)SYS(unlinkat, AT_FDCWD, path, 0);
    return rc < 0 && rc != -ENOENT ? op_fail(ctx, rc, "unlink socket", path) : 0;
}

int op_connect(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *path = op_str(ctx, op, 0);
    struct sockaddr_un address;

    memset(&address, 0, sizeof(address));
    address.sun_family = AF_UNIX;
    /* By the socket file's own fd, however long its path. */
    cleanup_close int file = (int)SYS(openat, AT_FDCWD, path, O_PATH | O_CLOEXEC, 0);
    if (file < 0)
        return op_fail(ctx, file, "open socket", path);
    path_of_fd(file, address.sun_path);
    cleanup_close int sock = (int)SYS(socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock < 0)
        return op_fail(ctx, sock, "socket", path);
    int rc = (int)SYS(connect, sock, &address, sizeof(address));
    if (rc == 0)
        rc = op_slot_set(ctx, op->n[0], sock);
    if (rc < 0)
        return op_fail(ctx, rc, "connect to", path);
    sys_steal_fd(&sock);
    return 0;
}

/* ---- trees ---- */

/* A directory of the same mount, never through a symlink. Its owner may have locked himself out (overlay's work directory has mode 0). */
static int open_below(int dir, const char *name)
{
    struct open_how how;

    memset(&how, 0, sizeof(how));
    how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    how.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH;
    int fd = (int)SYS(openat2, dir, name, &how, sizeof(how));
    if (fd == -EACCES && SYS(fchmodat, dir, name, 0700) == 0)
        fd = (int)SYS(openat2, dir, name, &how, sizeof(how));
    if (fd != -ENOSYS)
        return fd;
    /* Before 5.6: the device number tells file systems apart. */
    struct statx outer, inner;
    memset(&outer, 0, sizeof(outer));
    memset(&inner, 0, sizeof(inner));
    fd = (int)SYS(openat, dir, name, how.flags, 0);
    if (fd < 0)
        return fd;
    if (SYS(statx, dir, "", AT_EMPTY_PATH, STATX_TYPE, &outer) == 0 && SYS(statx, fd, "", AT_EMPTY_PATH, STATX_TYPE, &inner) == 0 &&
        outer.stx_dev_major == inner.stx_dev_major && outer.stx_dev_minor == inner.stx_dev_minor)
        return fd;
    SYS(close, fd);
    return -EXDEV;
}

/*
 * Empties a directory with a stack of fds. What lies deeper than the stack is moved up to the top, where its turn comes again. What an entry that
 * cannot be removed said is the answer, after its siblings have gone. `bad` gets its name.
 */
static int empty_tree(int top, char bad[256])
{
    int stack[TREE_DEPTH];
    uint64_t moved = 0;
    int depth = 0, error = 0;

    stack[0] = top;
    while (depth >= 0) {
        _Alignas(8) char entries[8192];
        int here = stack[depth], down = -1, failed = 0, removed = 0;
        SYS(lseek, here, 0, 0 /* SEEK_SET */);
        for (long got; down < 0 && (got = SYS(getdents64, here, entries, sizeof(entries))) > 0;) {
            for (long at = 0; at < got && down < 0;) {
                const struct dirent_head *entry = (const void *)(entries + at);
                const char *name = entry->name;
                at += entry->length;
                if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
                    continue;
                long rc = entry->type == 4 /* DT_DIR */ ? -EISDIR : SYS(unlinkat, here, name, 0);
                if (rc == -EISDIR)
                    rc = SYS(unlinkat, here, name, AT_REMOVEDIR);
                if (rc == -ENOTEMPTY || rc == -EEXIST) {
                    char up[32] = ".pyrt-rm-";
                    txt_add_u64(up, sizeof(up), moved);
                    if (depth + 1 < TREE_DEPTH)
                        rc = down = open_below(here, name);
                    else if ((rc = SYS(renameat2, here, name, top, up, 1 /* RENAME_NOREPLACE */)) == 0 || rc == -EEXIST)
                        moved++;
                }
                if (rc >= 0 || rc == -EEXIST)
                    removed = 1;
                else if (rc != -ENOENT && rc != -EEXIST) {
                    failed++;
                    if (error == 0) {
                        error = (int)rc;
                        bad[0] = '\0';
                        txt_add(bad, 256, name);
                    }
                }
            }
        }
        if (down >= 0) {
            stack[++depth] = down;
            continue;
        }
        if (failed > 0 || error != 0)
            break; /* a directory that will not get empty would be entered for ever */
        if (removed && depth == 0)
            continue; /* something may have been moved up behind the scan, or slipped its cursor */
        if (depth > 0)
            SYS(close, stack[depth]);
        depth--;
    }
    for (; depth > 0; depth--)
        SYS(close, stack[depth]);
    return error;
}

int op_rmtree(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *path = op_str(ctx, op, 0), *name;
    char bad[256] = "";

    cleanup_close int dir = open_parent(path, &name);
    if (dir == -ENOENT)
        return 0;
    if (dir < 0)
        return op_fail(ctx, dir, "open the directory above", path);
    int rc = (int)SYS(unlinkat, dir, name, AT_REMOVEDIR);
    if (rc == -ENOENT || rc == 0)
        return 0;
    if (rc != -ENOTEMPTY && rc != -EEXIST)
        return op_fail(ctx, rc, "remove directory", path);
    cleanup_close int top = open_below(dir, name);
    if (top < 0)
        return op_fail(ctx, top, "open directory to remove", path);
    rc = empty_tree(top, bad);
    if (rc < 0)
        return op_fail(ctx, rc, "remove from tree the entry", bad);
    rc = (int)SYS(unlinkat, dir, name, AT_REMOVEDIR);
    return rc < 0 ? op_fail(ctx, rc, "remove directory", path) : 0;
}

int op_mkdir_host(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *path = op_str(ctx, op, 0);
    int made = 0;

    int rc = path_mkdirs(path, (unsigned)op->n[0], &made);
    if (rc < 0)
        return op_fail(ctx, rc, "mkdir", path);
    if (made && (op->n[1] & 1) != 0)
        op_made(ctx);
    return 0;
}

int undo_mkdir_host(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *path = op_str(ctx, op, 0);
    int rc = (int)SYS(unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
    return rc < 0 && rc != -ENOENT ? op_fail(ctx, rc, "rmdir", path) : 0;
}
