/* SPDX-License-Identifier: Apache-2.0 */
/* A plan built by hand and the context that ops see, for tests that call an op function directly. */
#ifndef PYRT_TESTS_FAKE_H
#define PYRT_TESTS_FAKE_H

#include "check.h"
#include "ops/ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAKE_OPS 16

struct fake {
    struct pyrt_ctx ctx;
    struct pyrt_plan_header plan;
    struct pyrt_op ops[FAKE_OPS];
    char blob[16384];
};

/* One for the whole program; fake_reset() makes it new. */
static struct fake fake;

static inline void fake_reset(void)
{
    static struct pyrt_shared *shared;
    if (shared == NULL) {
        shared = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        fake.ctx.proc_fd = -1;
    }
    int proc = fake.ctx.proc_fd >= 0 ? fake.ctx.proc_fd : open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    memset(&fake, 0, sizeof(fake));
    memset(shared, 0, 65536);
    fake.plan.blob_size = 1;
    fake.ctx.plan = &fake.plan;
    fake.ctx.ops = fake.ops;
    fake.ctx.blob = fake.blob;
    fake.ctx.shared = shared;
    for (int i = 0; i < PYRT_SLOTS; i++)
        fake.ctx.slots[i] = -1;
    fake.ctx.root_fd = fake.ctx.control_fd = fake.ctx.sync_fd = fake.ctx.mask_fd = fake.ctx.exec_fd = -1;
    fake.ctx.proc_fd = proc;
}

/* Bytes into the blob; their offset. */
static inline uint32_t fake_bytes(const void *data, size_t size)
{
    uint32_t at = fake.plan.blob_size;
    if (size == 0)
        return 0;
    if (at + size + 1 > sizeof(fake.blob))
        abort();
    memcpy(fake.blob + at, data, size);
    fake.plan.blob_size += (uint32_t)size + 1;
    return at;
}

static inline uint32_t fake_text(const char *text)
{
    return fake_bytes(text, strlen(text));
}

/* Appends an op of this code; fill in its strings and numbers. */
static inline struct pyrt_op *fake_op(unsigned code, unsigned side)
{
    if (fake.plan.op_count == FAKE_OPS)
        abort();
    struct pyrt_op *op = &fake.ops[fake.plan.op_count++];
    op->code = (uint16_t)code;
    op->side = (uint8_t)side;
    return op;
}

/* Runs one op as the executor would. */
static inline int fake_run(pyrt_op_fn run, const struct pyrt_op *op)
{
    fake.ctx.op = (uint32_t)(op - fake.ops);
    memset(&fake.ctx.shared->error, 0, sizeof(fake.ctx.shared->error));
    return run(&fake.ctx, op);
}

static inline const char *fake_detail(void)
{
    return fake.ctx.shared->error.detail;
}

/* Runs `body` in a process of its own, for what cannot be taken back. Its result: the exit code, or 128 + signal. */
static inline int in_child(int (*body)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        check_failures = 0;
        _exit(body());
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return 255;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline int slurp(const char *path, char *text, size_t size)
{
    long got = sys_read_file(AT_FDCWD, path, text, size);
    return got < 0 ? (int)got : 0;
}

#endif
