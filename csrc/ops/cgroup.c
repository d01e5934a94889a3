/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups of either version: made, filled, read. How they end stands in cgroup_end.c. */
#include "../base/sys.h"
#include "ops.h"
#include "self.h"

#define CGROUP_EXCLUSIVE 1
#define CGROUP_CPUSET 2
#define CGROUP_SUBTREE 4
#define PATH_SIZE 4096

/* base + "/" + name. 0 or -ENAMETOOLONG. */
static int join_path(char *out, size_t size, const char *base, const char *name)
{
    out[0] = '\0';
    if (txt_add(out, size, base) < 0 || txt_add(out, size, "/") < 0)
        return -ENAMETOOLONG;
    return txt_add(out, size, name);
}

/* Cuts the last component off; 0, or -ENOENT when only the root is left. */
static int cut_last(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path)
        return -ENOENT;
    *slash = '\0';
    return 0;
}

/* Copies without trailing slashes, so that cut_last() always takes a component. */
static int copy_path(char *out, size_t size, const char *path)
{
    out[0] = '\0';
    if (path[0] != '/')
        return -EINVAL;
    int rc = txt_add(out, size, path);
    for (size_t length = strlen(out); length > 1 && out[length - 1] == '/'; length--)
        out[length - 1] = '\0';
    return rc;
}

/* ---- cpuset v1: a new group has no CPUs and no memory nodes, and nothing can be attached to it before it has ---- */

static int is_blank(const char *text)
{
    while (*text == '\n' || *text == ' ')
        text++;
    return *text == '\0';
}

static int cpuset_read(const char *dir, const char *file, char *value, size_t size)
{
    char path[PATH_SIZE];
    int rc = join_path(path, sizeof(path), dir, file);
    if (rc == 0)
        rc = (int)sys_read_file(AT_FDCWD, path, value, size);
    return rc < 0 ? rc : 0;
}

/* Copies one file's value from the nearest ancestor that has one down to dir. */
static int cpuset_inherit(const char *dir, const char *file)
{
    char path[PATH_SIZE], target[PATH_SIZE], value[4096];
    size_t end = strlen(dir);

    int rc = copy_path(path, sizeof(path), dir);
    if (rc < 0)
        return rc;
    do { /* up */
        rc = cut_last(path);
        if (rc == 0)
            rc = cpuset_read(path, file, value, sizeof(value));
        if (rc < 0)
            return rc;
    } while (is_blank(value));
    while (strlen(path) < end) { /* down */
        size_t at = strlen(path) + 1;
        while (at < end && dir[at] != '/')
            at++;
        memcpy(path, dir, at);
        path[at] = '\0';
        rc = join_path(target, sizeof(target), path, file);
        if (rc == 0)
            rc = sys_write_file(AT_FDCWD, target, value, strlen(value), 0);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- v2: which controllers the children of a group have ---- */

static int has_word(const char *text, const char *word)
{
    size_t length = strlen(word);
    while (*text != '\0') {
        size_t here = 0;
        while (text[here] != '\0' && text[here] != ' ' && text[here] != '\n')
            here++;
        if (here == length && memcmp(text, word, length) == 0)
            return 1;
        text += here;
        while (*text == ' ' || *text == '\n')
            text++;
    }
    return 0;
}

/* Are all "+controller" of the list on for the children of dir? */
static int subtree_ready(const char *dir, const char *list, uint64_t size)
{
    char path[PATH_SIZE], on[512];
    if (join_path(path, sizeof(path), dir, "cgroup.subtree_control") < 0 || sys_read_file(AT_FDCWD, path, on, sizeof(on)) < 0)
        return 0;
    for (const char *word = list; word < list + size; word += strlen(word) + 1) {
        if (word[0] == '+' && !has_word(on, word + 1))
            return 0;
    }
    return 1;
}

/*
 * Switches the controllers on at each level from the mount point down to the parent. What cannot be switched on (not there, not delegated, busy) is left:
 * the write of a limit that needs it says so by name, and a container without that limit runs.
 */
static void subtree_enable(const char *mount, const char *parent, const char *list, uint64_t size)
{
    char level[PATH_SIZE], path[PATH_SIZE];
    size_t at = strlen(mount), end = strlen(parent);

    while (at > 1 && mount[at - 1] == '/')
        at--;
    if (at > end || memcmp(parent, mount, at) != 0)
        return;
    for (;;) {
        memcpy(level, parent, at);
        level[at] = '\0';
        if (!subtree_ready(level, list, size) && join_path(path, sizeof(path), level, "cgroup.subtree_control") == 0) {
            for (const char *word = list; word < list + size; word += strlen(word) + 1)
                sys_write_file(AT_FDCWD, path, word, strlen(word), 0);
        }
        if (at >= end)
            return;
        for (at++; at < end && parent[at] != '/'; at++)
            ;
    }
}

/* ---- making ---- */

/* One level, with what the hierarchy wants of a new one. */
static int make_level(const char *dir, uint64_t flags)
{
    int rc = (int)SYS(mkdirat, AT_FDCWD, dir, 0755);
    if (rc == 0 && (flags & CGROUP_CPUSET) != 0) {
        rc = cpuset_inherit(dir, "cpuset.cpus");
        if (rc == 0)
            rc = cpuset_inherit(dir, "cpuset.mems");
        if (rc < 0)
            SYS(unlinkat, AT_FDCWD, dir, AT_REMOVEDIR);
    }
    return rc;
}

/* All missing levels above dir, from the top. */
static int make_parents(const char *dir, uint64_t flags)
{
    char path[PATH_SIZE];
    size_t end = strlen(dir);

    for (size_t at = 1; at < end; at++) {
        if (dir[at] != '/')
            continue;
        memcpy(path, dir, at);
        path[at] = '\0';
        int rc = make_level(path, flags);
        /* The levels above the mount point are other file systems' business: there already, or read-only. */
        if (rc < 0 && rc != -EEXIST && SYS(faccessat, AT_FDCWD, path, 0) < 0)
            return rc;
    }
    return 0;
}

int op_cgroup_mkdir(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    char dir[PATH_SIZE - 64], parent[PATH_SIZE];
    const char *list = op_str(ctx, op, 1);
    uint64_t flags = op->n[0];

    int rc = copy_path(dir, sizeof(dir), op_str(ctx, op, 0));
    if (rc < 0)
        return op_fail(ctx, rc, "cgroup directory", op_str(ctx, op, 0));
    for (int tries = 0; tries < 3; tries++) {
        rc = make_level(dir, flags);
        if (rc != -ENOENT)
            break;
        /* A parent is missing, or another command just removed it. */
        rc = make_parents(dir, flags);
        if (rc < 0)
            return op_fail(ctx, rc, "mkdir above cgroup", dir);
        rc = -ENOENT;
    }
    if (rc == 0)
        op_made(ctx);
    else if (rc != -EEXIST || (flags & CGROUP_EXCLUSIVE) != 0)
        return op_fail(ctx, rc, "mkdir cgroup", dir);

    if ((flags & CGROUP_SUBTREE) != 0 && op->n[1] > 0) {
        /* Controllers may be switched on after the child was made: in the usual case they are on, and one read tells. */
        memcpy(parent, dir, strlen(dir) + 1);
        if (cut_last(parent) == 0 && !subtree_ready(parent, list, op->n[1]))
            subtree_enable(op_str(ctx, op, 2), parent, list, op->n[1]);
    }
    return 0;
}

int op_cgroup_attach(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    char path[PATH_SIZE], pid[24] = "";
    const char *dir = op_str(ctx, op, 0);
    int rc;

    if (op->side == PYRT_CONTAINER) {
        /* v1: a thread that moves itself (and this process has one) by "tasks" does not wait for the kernel's global fork/exit lock as "cgroup.procs" does. */
        rc = join_path(path, sizeof(path), dir, "tasks");
        if (rc == 0)
            rc = sys_write_file(AT_FDCWD, path, "0", 1, 0);
        if (rc != -ENOENT)
            return rc < 0 ? op_fail(ctx, rc, "attach to cgroup", path) : 0;
        txt_add(pid, sizeof(pid), "0");
    } else {
        txt_add_u64(pid, sizeof(pid), (uint64_t)ctx->child);
    }
    rc = join_path(path, sizeof(path), dir, "cgroup.procs");
    if (rc == 0)
        rc = sys_write_file(AT_FDCWD, path, pid, strlen(pid), 0);
    return rc < 0 ? op_fail(ctx, rc, "attach to cgroup", path) : 0;
}

int op_cgroup_open(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *dir = op_str(ctx, op, 0);
    int fd = (int)SYS(openat, AT_FDCWD, dir, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return op_fail(ctx, fd, "open cgroup", dir);
    int rc = op_slot_set(ctx, op->n[0], fd);
    return rc < 0 ? op_fail(ctx, rc, "slot for cgroup", dir) : 0;
}

/* ---- reading ---- */

/*
 * The number that belongs to a key in one line: "key 5", "8:0 key 5" (v1 block statistics) or "8:0 other=1 key=5" (v2 io.stat). 0 when the line has none.
 */
static uint64_t line_value(const char *line, size_t length, const char *key)
{
    size_t key_length = strlen(key), at = 0;
    const char *end;

    while (at < length) {
        size_t word = at;
        while (at < length && line[at] != ' ')
            at++;
        if (at - word == key_length && memcmp(line + word, key, key_length) == 0 && at < length)
            return txt_parse_u64(line + at + 1, &end);
        if (at - word > key_length && line[word + key_length] == '=' && memcmp(line + word, key, key_length) == 0)
            return txt_parse_u64(line + word + key_length + 1, &end);
        at++;
    }
    return 0;
}

int op_usage(struct pyrt_ctx *ctx, const struct pyrt_op *op, uint64_t usage[PYRT_USAGE_KINDS])
{
    char text[16384];
    const char *key = op_str(ctx, op, 1), *end;
    uint64_t sum = 0;

    if (op->n[0] >= PYRT_USAGE_KINDS)
        return op_fail_number(ctx, -EINVAL, "usage kind", op->n[0], __LINE__);
    long got = sys_read_file(AT_FDCWD, op_str(ctx, op, 0), text, sizeof(text));
    if (got == -ENOENT)
        return 0;
    if (got < 0)
        return op_fail(ctx, got, "read", op_str(ctx, op, 0));
    if (key[0] == '\0') {
        sum = txt_parse_u64(text, &end);
    } else {
        for (const char *line = text; *line != '\0';) {
            const char *stop = strchr(line, '\n');
            size_t length = stop == NULL ? strlen(line) : (size_t)(stop - line);
            sum += line_value(line, length, key);
            line += length + (stop != NULL);
        }
    }
    usage[op->n[0]] += sum * (op->n[1] == 0 ? 1 : op->n[1]);
    return 0;
}
