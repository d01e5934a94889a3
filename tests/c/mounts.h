/* SPDX-License-Identifier: Apache-2.0 */
/* A private mount namespace with an empty root ("rootfs" on a tmpfs at the working directory), and the mount ops as short calls. */
#ifndef PYRT_TESTS_MOUNTS_H
#define PYRT_TESTS_MOUNTS_H

#include "base/fallback.h"
#include "check.h"
#include "fake.h"
#include "ops/mnt.h"

#include <sched.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

static inline long raw_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)
{
    return syscall(SYS_mount, source, target, type, flags, data);
}

/* The rest of this process works in DIR/ as working directory; DIR/rootfs is the root of the context. */
static inline int enter_sandbox(const char *dir)
{
    if (unshare(CLONE_NEWNS) != 0 || raw_mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return -1;
    if (raw_mount("tmpfs", dir, "tmpfs", 0, "mode=755") != 0 || chdir(dir) != 0 || mkdir("rootfs", 0755) != 0)
        return -1;
    fake_reset();
    fake.ctx.root_fd = open("rootfs", O_PATH | O_DIRECTORY | O_CLOEXEC);
    mnt_proc_fd = -1;
    return 0;
}

static inline struct pyrt_op *new_op(unsigned code)
{
    fake.plan.op_count = 0; /* one at a time: the last one's strings are done with */
    fake.plan.blob_size = 1;
    memset(fake.blob, 0, sizeof(fake.blob));
    struct pyrt_op *op = fake_op(code, PYRT_CONTAINER);
    memset(op, 0, sizeof(*op));
    op->code = (uint16_t)code;
    return op;
}

/* Options: strings up to NULL. */
static inline int do_mount(const char *type, const char *source, const char *target, uint64_t flags, const char *const *options)
{
    char list[15000];
    size_t size = 0;
    for (; options && *options; options++) {
        memcpy(list + size, *options, strlen(*options) + 1);
        size += strlen(*options) + 1;
    }
    struct pyrt_op *op = new_op(PYRT_OP_MOUNT);
    op->s[0] = fake_text(source);
    op->s[1] = fake_text(target);
    op->s[2] = fake_text(type);
    op->s[3] = fake_bytes(list, size);
    op->n[0] = flags;
    op->n[2] = PYRT_AT_ROOT;
    op->n[3] = size;
    return fake_run(op_mount, op);
}

#define OPTIONS(...) ((const char *const[]){__VA_ARGS__, NULL})

static inline int do_bind(const char *source, const char *target, uint64_t flags, uint64_t propagation, uint64_t slot, uint64_t how)
{
    struct pyrt_op *op = new_op(PYRT_OP_BIND);
    op->s[0] = fake_text(source);
    op->s[1] = fake_text(target);
    op->n[0] = flags;
    op->n[1] = propagation;
    op->n[2] = PYRT_AT_ROOT;
    op->n[3] = slot;
    op->n[4] = how;
    return fake_run(op_bind, op);
}

static inline int do_path(pyrt_op_fn run, unsigned code, const char *path)
{
    struct pyrt_op *op = new_op(code);
    op->s[0] = fake_text(path);
    return fake_run(run, op);
}

static inline void put_file(const char *path, const char *text)
{
    CHECK_INT(sys_write_file(AT_FDCWD, path, text, strlen(text), O_CREAT | O_TRUNC), 0);
}

static inline void check_text(const char *path, const char *wanted)
{
    char text[256] = "";
    CHECK_INT(slurp(path, text, sizeof(text)), 0);
    CHECK_STR(text, wanted);
}

static inline long flags_at(const char *path)
{
    struct statfs fs;
    return statfs(path, &fs) < 0 ? -1 : (long)fs.f_flags;
}

static inline long type_at(const char *path)
{
    struct statfs fs;
    return statfs(path, &fs) < 0 ? -1 : (long)fs.f_type;
}

/* A line of mountinfo whose mount point ends in `end` (with `word` in the line when not NULL)? */
static inline int mounted(const char *end, const char *word)
{
    char line[4096];
    int found = 0;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    while (file && fgets(line, sizeof(line), file)) {
        char point[2048];
        if (sscanf(line, "%*s %*s %*s %*s %2047s", point) != 1)
            continue;
        size_t a = strlen(point), b = strlen(end);
        found |= a >= b && strcmp(point + a - b, end) == 0 && (!word || strstr(line, word));
    }
    if (file)
        fclose(file);
    return found;
}

#endif
