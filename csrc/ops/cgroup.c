/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups of either version: made, filled, emptied, removed, frozen, read, and guarded by device programs. */
#include "../base/sys.h"
#include "ops.h"
#include "self.h"

#include <linux/bpf.h>

#define CGROUP_EXCLUSIVE 1
#define CGROUP_CPUSET 2
#define CGROUP_SUBTREE 4
#define PATH_SIZE 4096
#define EMPTY_WITHIN_NS 2000000000ull
#define MAX_DEPTH 64

struct dirent_head {
    uint64_t ino;
    int64_t off;
    uint16_t length;
    uint8_t type;
    char name[];
};

static void nap(int64_t ns)
{
    int64_t time[2] = {0, ns};
    SYS(nanosleep, time, NULL);
}

static int open_dir(int base, const char *path)
{
    return (int)SYS(openat, base, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
}

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

/* ---- killing and removing ---- */

/* SIGKILL to every process that dir/cgroup.procs names. Their number or -errno. Own and invisible (0) processes are passed over. */
static int kill_listed(int dir)
{
    char text[4096];
    cleanup_close int fd = (int)SYS(openat, dir, "cgroup.procs", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    pid_t self = (pid_t)SYS(getpid), parent = (pid_t)SYS(getppid);
    int found = 0;
    size_t kept = 0;
    for (;;) {
        long got = SYS(read, fd, text + kept, sizeof(text) - 1 - kept);
        if (got == -EINTR)
            continue;
        if (got < 0)
            return (int)got;
        size_t size = kept + (size_t)got, at = 0;
        text[size] = '\0';
        for (char *line; (line = strchr(text + at, '\n')) != NULL;) {
            const char *end;
            pid_t pid = (pid_t)txt_parse_u64(text + at, &end);
            at = (size_t)(line - text) + 1;
            if (pid <= 1 || pid == self || pid == parent)
                continue;
            found++;
            SYS(kill, pid, SIGKILL);
        }
        if (got == 0)
            return found;
        kept = size - at;
        memmove(text, text + at, kept);
    }
}

/*
 * SIGKILL to every process in the groups below `top`, for kernels without cgroup.kill. Deeper than MAX_DEPTH is not entered. Their number or the first error.
 */
static int kill_below(int top)
{
    int stack[MAX_DEPTH];
    int64_t resume[MAX_DEPTH];
    int depth = 0, found = 0, first_error = 0;

    stack[0] = top;
    resume[0] = 0;
    while (depth >= 0) {
        _Alignas(8) char entries[2048];
        int down = -1;
        SYS(lseek, stack[depth], resume[depth], 0 /* SEEK_SET */);
        for (long got; down < 0 && (got = SYS(getdents64, stack[depth], entries, sizeof(entries))) > 0;) {
            for (long at = 0; at < got && down < 0;) {
                const struct dirent_head *entry = (const void *)(entries + at);
                at += entry->length;
                resume[depth] = entry->off;
                if (entry->type == 4 /* DT_DIR */ && entry->name[0] != '.' && depth + 1 < MAX_DEPTH)
                    down = open_dir(stack[depth], entry->name);
            }
        }
        if (down >= 0) {
            int rc = kill_listed(down);
            if (rc > 0)
                found += rc;
            else if (rc < 0 && first_error == 0)
                first_error = rc;
            stack[++depth] = down;
            resume[depth] = 0;
            continue;
        }
        if (depth > 0)
            SYS(close, stack[depth]);
        depth--;
    }
    return first_error < 0 ? first_error : found;
}

/* "populated 0" of v2: 1 empty, 0 not, -errno. */
static int events_empty(int dir)
{
    char text[256];
    long got = sys_read_file(dir, "cgroup.events", text, sizeof(text));
    if (got < 0)
        return (int)got;
    return strncmp(text, "populated 0", 11) == 0;
}

/* Ends everything in the group and below it. 0 when empty, -EBUSY after two seconds, or -errno. */
static int group_kill(int dir)
{
    uint64_t deadline = sys_now_ns() + EMPTY_WITHIN_NS;
    int64_t pause = 200000;
    int by_kernel = sys_write_file(dir, "cgroup.kill", "1", 1, 0) == 0;
    int frozen = by_kernel ? 0 : sys_write_file(dir, "freezer.state", "FROZEN", 6, 0) == 0;

    for (;;) {
        int alive = 0, rc = 0;
        if (by_kernel) {
            rc = events_empty(dir);
            alive = rc == 0;
        } else {
            int below = kill_below(dir);
            rc = kill_listed(dir);
            alive = rc > 0 || below > 0;
            rc = below < 0 ? below : rc;
        }
        if (frozen) { /* every process has its SIGKILL now; frozen ones of v1 die only when thawed */
            sys_write_file(dir, "freezer.state", "THAWED", 6, 0);
            frozen = 0;
        }
        if (rc == -ENODEV || rc == -ENOENT) /* removed by someone else meanwhile */
            return 0;
        if (rc < 0)
            return rc;
        if (alive == 0)
            return 0;
        if (sys_now_ns() > deadline)
            return -EBUSY;
        nap(pause);
        pause = pause < 20000000 ? pause * 2 : pause;
    }
}

int op_cgroup_kill(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *path = op_str(ctx, op, 0);
    cleanup_close int dir = open_dir(AT_FDCWD, path);
    if (dir == -ENOENT)
        return 0;
    if (dir < 0)
        return op_fail(ctx, dir, "open cgroup", path);
    int rc = group_kill(dir);
    return rc < 0 ? op_fail(ctx, rc, "end the processes of cgroup", path) : 0;
}

/*
 * Removes every group below `top`, leaves first. A container with a group of its own can nest as deep as it likes, so the way down keeps one fd and a count; ".."
 * leads back (groups cannot be moved). 0 or -errno.
 */
static int remove_below(int top, uint64_t deadline)
{
    cleanup_close int here = open_dir(top, ".");
    int64_t pause = 100000;
    int depth = 0, progress = 1;

    while (here >= 0) {
        _Alignas(8) char entries[2048];
        int down = -1;
        for (long got; down < 0 && (got = SYS(getdents64, here, entries, sizeof(entries))) > 0;) {
            for (long at = 0; at < got && down < 0;) {
                const struct dirent_head *entry = (const void *)(entries + at);
                at += entry->length;
                if (entry->type != 4 /* DT_DIR */ || strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0)
                    continue;
                if (SYS(unlinkat, here, entry->name, AT_REMOVEDIR) == 0)
                    progress = 1;
                else
                    down = open_dir(here, entry->name);
            }
        }
        if (down < 0 && depth == 0)
            return 0;
        if (down < 0) {
            if (!progress) { /* an empty group that is still busy: its last process is on its way out */
                nap(pause);
                pause = pause < 20000000 ? pause * 2 : pause;
            }
            progress = 0;
            down = open_dir(here, "..");
            depth -= 2;
        }
        depth++;
        SYS(close, here);
        here = down;
        if (sys_now_ns() > deadline)
            return -EBUSY;
    }
    return here;
}

/* Removes a group that is in the way of its own removal: something lives in it, or the container made groups of its own. */
static int remove_busy(const char *path)
{
    uint64_t deadline = sys_now_ns() + EMPTY_WITHIN_NS;
    int64_t pause = 100000;

    for (;;) {
        cleanup_close int dir = open_dir(AT_FDCWD, path);
        if (dir < 0)
            return dir == -ENOENT ? 0 : dir;
        int rc = group_kill(dir);
        if (rc == 0)
            remove_below(dir, deadline);
        rc = (int)SYS(unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
        if (rc == 0 || rc == -ENOENT)
            return 0;
        if ((rc != -EBUSY && rc != -ENOTEMPTY) || sys_now_ns() > deadline)
            return rc;
        nap(pause);
        pause = pause < 20000000 ? pause * 2 : pause;
    }
}

int undo_cgroup_mkdir(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    size_t index = (size_t)(op - ctx->ops);
    const char *path = op_str(ctx, op, 0);

    if ((ctx->made[index / 8] >> (index % 8) & 1) == 0)
        return 0;
    int rc = (int)SYS(unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
    if (rc == -EBUSY || rc == -ENOTEMPTY) {
        cgroup_freeze_plan(ctx, 0); /* frozen processes of v1 cannot die */
        rc = remove_busy(path);
    }
    return rc < 0 && rc != -ENOENT ? op_fail(ctx, rc, "rmdir cgroup", path) : 0;
}

/* ---- freezing ---- */

/* Waits until the file begins with or, for v2 events, has a line with `wanted`; v1's state is written again, since processes that forked meanwhile need it. */
static int wait_frozen(int dir, int v2)
{
    uint64_t deadline = sys_now_ns() + EMPTY_WITHIN_NS;
    char text[256];

    for (int64_t pause = 100000;; pause = pause < 10000000 ? pause * 2 : pause) {
        long got = sys_read_file(dir, v2 ? "cgroup.events" : "freezer.state", text, sizeof(text));
        if (got < 0)
            return (int)got;
        if (!v2 && strncmp(text, "FROZEN", 6) == 0)
            return 0;
        for (const char *line = text; v2 && line != NULL; line = strchr(line, '\n'), line = line == NULL ? NULL : line + 1) {
            if (strncmp(line, "frozen 1", 8) == 0)
                return 0;
        }
        if (sys_now_ns() > deadline)
            return -EBUSY;
        nap(pause);
        if (!v2)
            sys_write_file(dir, "freezer.state", "FROZEN", 6, 0);
    }
}

int cgroup_freeze_plan(struct pyrt_ctx *ctx, int frozen)
{
    for (uint32_t i = 0; i < ctx->plan->op_count; i++) {
        const struct pyrt_op *op = &ctx->ops[i];
        if (op->code != PYRT_OP_CGROUP_MKDIR)
            continue;
        cleanup_close int dir = open_dir(AT_FDCWD, op_str(ctx, op, 0));
        if (dir < 0)
            continue;
        int v2 = 1;
        int rc = sys_write_file(dir, "cgroup.freeze", frozen ? "1" : "0", 1, 0);
        if (rc == -ENOENT) {
            v2 = 0;
            rc = sys_write_file(dir, "freezer.state", frozen ? "FROZEN" : "THAWED", 6, 0);
        }
        if (rc == -ENOENT)
            continue;
        if (rc == 0 && frozen)
            rc = wait_frozen(dir, v2);
        return rc;
    }
    return -ENOENT;
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

/* ---- device access of v2 ---- */

#define PROGRAM_NAME "pyrt_devices"
#define MAX_PROGRAMS 64

/* Is this loaded program one that pyrt attached? */
static int is_ours(int program)
{
    struct bpf_prog_info info;
    union bpf_attr attr;

    memset(&info, 0, sizeof(info));
    memset(&attr, 0, sizeof(attr));
    attr.info.bpf_fd = (uint32_t)program;
    attr.info.info_len = sizeof(info);
    attr.info.info = (uint64_t)(uintptr_t)&info;
    return SYS(bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)) == 0 && strcmp(info.name, PROGRAM_NAME) == 0;
}

/* fd of pyrt's program on the group, or -ENOENT. */
static int attached_program(int group)
{
    uint32_t ids[MAX_PROGRAMS] = {0};
    union bpf_attr attr;

    memset(&attr, 0, sizeof(attr));
    attr.query.target_fd = (uint32_t)group;
    attr.query.attach_type = BPF_CGROUP_DEVICE;
    attr.query.prog_ids = (uint64_t)(uintptr_t)ids;
    attr.query.prog_cnt = MAX_PROGRAMS;
    long rc = SYS(bpf, BPF_PROG_QUERY, &attr, sizeof(attr));
    if (rc < 0)
        return -ENOENT;
    uint32_t count = attr.query.prog_cnt;
    for (uint32_t i = 0; i < count && i < MAX_PROGRAMS; i++) {
        memset(&attr, 0, sizeof(attr));
        attr.prog_id = ids[i];
        int fd = (int)SYS(bpf, BPF_PROG_GET_FD_BY_ID, &attr, sizeof(attr));
        if (fd >= 0 && is_ours(fd))
            return fd;
        if (fd >= 0)
            SYS(close, fd);
    }
    return -ENOENT;
}

static int load_program(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    char log[8192];
    union bpf_attr attr;

    memset(&attr, 0, sizeof(attr));
    attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attr.insns = (uint64_t)(uintptr_t)op_data(ctx, op, 1);
    attr.insn_cnt = (uint32_t)(op->n[0] / sizeof(struct bpf_insn));
    attr.license = (uint64_t)(uintptr_t)"Apache-2.0";
    memcpy(attr.prog_name, PROGRAM_NAME, sizeof(PROGRAM_NAME));
    int fd = (int)SYS(bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
    if (fd >= 0)
        return fd;
    log[0] = '\0';
    if (fd != -EPERM) { /* once more, to hear why */
        attr.log_level = 1;
        attr.log_buf = (uint64_t)(uintptr_t)log;
        attr.log_size = sizeof(log);
        int again = (int)SYS(bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
        if (again >= 0)
            return again;
        log[sizeof(log) - 1] = '\0';
    }
    /* The verifier's last words matter. */
    size_t length = strlen(log);
    while (length > 0 && log[length - 1] == '\n')
        log[--length] = '\0';
    const char *tail = length > 160 ? log + length - 160 : log;
    return op_fail(ctx, fd, "load device program", tail);
}

int op_cgroup_devices(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *path = op_str(ctx, op, 0);
    union bpf_attr attr;

    cleanup_close int group = open_dir(AT_FDCWD, path);
    if (group < 0)
        return op_fail(ctx, group, "open cgroup", path);
    cleanup_close int program = load_program(ctx, op);
    if (program < 0)
        return program;
    cleanup_close int old = attached_program(group);

    memset(&attr, 0, sizeof(attr));
    attr.target_fd = (uint32_t)group;
    attr.attach_bpf_fd = (uint32_t)program;
    attr.attach_type = BPF_CGROUP_DEVICE;
    attr.attach_flags = BPF_F_ALLOW_MULTI;
    if (old >= 0) {
        attr.attach_flags |= BPF_F_REPLACE;
        attr.replace_bpf_fd = (uint32_t)old;
    }
    long rc = SYS(bpf, BPF_PROG_ATTACH, &attr, sizeof(attr));
    if (rc == -EINVAL && old >= 0) { /* before 5.6: the new one first, so that there is no moment without */
        attr.attach_flags = BPF_F_ALLOW_MULTI;
        attr.replace_bpf_fd = 0;
        rc = SYS(bpf, BPF_PROG_ATTACH, &attr, sizeof(attr));
        if (rc >= 0) {
            memset(&attr, 0, sizeof(attr));
            attr.target_fd = (uint32_t)group;
            attr.attach_bpf_fd = (uint32_t)old;
            attr.attach_type = BPF_CGROUP_DEVICE;
            SYS(bpf, BPF_PROG_DETACH, &attr, sizeof(attr));
        }
    }
    return rc < 0 ? op_fail(ctx, rc, "attach device program to", path) : 0;
}
