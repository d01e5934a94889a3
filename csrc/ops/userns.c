/* SPDX-License-Identifier: Apache-2.0 */
/* User namespaces seen from outside: their id maps, written directly or by newuidmap/newgidmap, and namespaces made only to idmap mounts. */
#include "../base/sys.h"
#include "ops.h"
#include "self.h"
#include "spawn.h"

#include <linux/prctl.h>

#define MAP_WORDS 1024           /* 340 ranges, as many as the kernel takes */

/* Writes /proc/PID/FILE through the host's /proc. */
static int pid_write(const struct pyrt_ctx *ctx, pid_t pid, const char *file, const char *text)
{
    char path[64] = "";

    txt_add_u64(path, sizeof(path), (uint64_t)pid);
    txt_add(path, sizeof(path), "/");
    txt_add(path, sizeof(path), file);
    return sys_write_file(ctx->proc_fd, path, text, strlen(text), 0);
}

/* A program's path: as given when it has a slash, else where distributions put it. 0 or -ENOENT. */
static int find_helper(const char *name, char *path, size_t size)
{
    static const char *const where[] = {"/usr/bin/", "/usr/local/bin/", "/bin/", "/run/wrappers/bin/"};

    path[0] = '\0';
    if (strchr(name, '/') != NULL)
        return txt_add(path, size, name);
    for (size_t i = 0; i < sizeof(where) / sizeof(where[0]); i++) {
        path[0] = '\0';
        if (txt_add(path, size, where[i]) == 0 && txt_add(path, size, name) == 0 && SYS(faccessat, AT_FDCWD, path, 1 /* X_OK */) == 0)
            return 0;
    }
    return -ENOENT;
}

/* helper PID inside outside count…: the map's words become arguments. */
static int map_by_helper(struct pyrt_ctx *ctx, const char *helper, const char *map)
{
    char path[512], pid[24] = "", words[16384];
    const char *argv[MAP_WORDS], *env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    size_t count = 0, length = strlen(map);
    int pipe_fds[2] = {-1, -1}, status = 0, exec_failed;

    int rc = find_helper(helper, path, sizeof(path));
    if (rc < 0)
        return op_fail(ctx, rc, "helper for id maps (package uidmap)", helper);
    if (length >= sizeof(words))
        return op_fail(ctx, -E2BIG, "id map", NULL);
    memcpy(words, map, length + 1);
    txt_add_u64(pid, sizeof(pid), (uint64_t)ctx->child);
    argv[count++] = path;
    argv[count++] = pid;
    for (size_t at = 0; at < length;) {
        while (at < length && (words[at] == ' ' || words[at] == '\n' || words[at] == '\t'))
            words[at++] = '\0';
        if (at == length)
            break;
        if (count + 1 >= MAP_WORDS)
            return op_fail(ctx, -E2BIG, "id map", NULL);
        argv[count++] = words + at;
        while (at < length && words[at] != ' ' && words[at] != '\n' && words[at] != '\t')
            at++;
    }
    argv[count] = NULL;

    rc = (int)SYS(pipe2, pipe_fds, O_CLOEXEC);
    if (rc < 0)
        return op_fail(ctx, rc, "pipe for", helper);
    cleanup_close int from = pipe_fds[0];
    struct spawn what = {.path = path, .argv = argv, .env = env, .in_fd = -1, .err_fd = pipe_fds[1], .timeout_s = 30, .heed_caller = 1};
    rc = spawn_wait(ctx, &what, &status, &exec_failed);
    SYS(close, pipe_fds[1]);
    if (rc < 0)
        return op_fail(ctx, rc, exec_failed ? "exec" : "run", path);
    if (status == 0)
        return 0;
    char said[200];
    long got = SYS(read, from, said, sizeof(said) - 1);
    said[got > 0 ? got : 0] = '\0';
    char *line_end = strchr(said, '\n');
    if (line_end != NULL)
        *line_end = '\0';
    return op_fail(ctx, -EPERM, path, said[0] != '\0' ? said : "failed without a word");
}

int op_userns_map(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *map = op_str(ctx, op, 0), *helper = op_str(ctx, op, 1);
    const char *file = op->n[0] == 0 ? "uid_map" : "gid_map";

    if (op->n[0] == 1 && op->n[1] == 1) {
        int rc = pid_write(ctx, ctx->child, "setgroups", "deny");
        if (rc < 0 && rc != -ENOENT) /* before 3.19 */
            return op_fail(ctx, rc, "write \"deny\" to setgroups of the container's process", NULL);
    }
    if (helper[0] != '\0')
        return map_by_helper(ctx, helper, map);
    int rc = pid_write(ctx, ctx->child, file, map);
    if (rc < 0) {
        char text[128] = "";
        for (size_t i = 0; map[i] != '\0' && i + 1 < sizeof(text); i++)
            text[i] = map[i] == '\n' ? ';' : map[i];
        return op_fail(ctx, rc, op->n[0] == 0 ? "write uid_map" : "write gid_map", text);
    }
    return 0;
}

/* A process in a new user namespace that waits to be killed. Its pid or -errno. */
static long userns_holder(void)
{
    long pid = SYS(clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (pid != 0)
        return pid;
    SYS(prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    for (;;) {
        int64_t hour[2] = {3600, 0};
        SYS(nanosleep, hour, NULL);
    }
}

int op_idmap_userns(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *existing = op_str(ctx, op, 2);
    char path[64] = "";
    int fd, status;

    if (existing[0] != '\0') {
        fd = open_proc_path(ctx, existing, O_RDONLY);
        if (fd < 0)
            return op_fail(ctx, fd, "open user namespace", existing);
    } else {
        long pid = userns_holder();
        if (pid < 0)
            return op_fail(ctx, pid, "clone into a user namespace for id-mapped mounts", NULL);
        const char *step = "write uid_map for id-mapped mounts";
        fd = pid_write(ctx, (pid_t)pid, "uid_map", op_str(ctx, op, 0));
        if (fd == 0) {
            step = "write gid_map for id-mapped mounts";
            fd = pid_write(ctx, (pid_t)pid, "gid_map", op_str(ctx, op, 1));
        }
        if (fd == 0) {
            step = "open the user namespace for id-mapped mounts";
            txt_add_u64(path, sizeof(path), (uint64_t)pid);
            txt_add(path, sizeof(path), "/ns/user");
            fd = (int)SYS(openat, ctx->proc_fd, path, O_RDONLY | O_CLOEXEC, 0);
        }
        SYS(kill, pid, SIGKILL);
        sys_wait((pid_t)pid, &status);
        if (fd < 0)
            return op_fail(ctx, fd, step, NULL);
    }
    int rc = op_slot_set(ctx, op->n[0], fd);
    if (rc < 0) {
        SYS(close, fd);
        return op_fail(ctx, rc, "slot for a user namespace", NULL);
    }
    return 0;
}
