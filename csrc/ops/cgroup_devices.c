/* SPDX-License-Identifier: Apache-2.0 */
/* Device access under cgroup v2: a BPF program on the group. */
#include "../base/sys.h"
#include "ops.h"
#include "self.h"

#include <linux/bpf.h>

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

int device_program_load(const void *instructions, size_t size, char *log, size_t log_size)
{
    union bpf_attr attr;

    memset(&attr, 0, sizeof(attr));
    attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attr.insns = (uint64_t)(uintptr_t)instructions;
    attr.insn_cnt = (uint32_t)(size / sizeof(struct bpf_insn));
    attr.license = (uint64_t)(uintptr_t)"Apache-2.0";
    memcpy(attr.prog_name, PROGRAM_NAME, sizeof(PROGRAM_NAME));
    log[0] = '\0';
    int fd = (int)SYS(bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
    if (fd >= 0 || fd == -EPERM)
        return fd;
    attr.log_level = 1; /* once more, to hear why */
    attr.log_buf = (uint64_t)(uintptr_t)log;
    attr.log_size = (uint32_t)log_size;
    int again = (int)SYS(bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
    log[log_size - 1] = '\0';
    return again >= 0 ? again : fd;
}

/* The program of the caller's slot (loading one costs more than a quarter of a start, so callers keep theirs), or a fresh one. */
static int find_program(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    int kept = op->n[1] != PYRT_NO_SLOT ? op_slot_get(ctx, op->n[1]) : -1;
    if (kept >= 0)
        return (int)SYS(fcntl, kept, F_DUPFD_CLOEXEC, 3);
    char log[8192];
    int fd = device_program_load(op_data(ctx, op, 1), op->n[0], log, sizeof(log));
    if (fd >= 0)
        return fd;
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

    cleanup_close int group = (int)SYS(openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (group < 0)
        return op_fail(ctx, group, "open cgroup", path);
    cleanup_close int program = find_program(ctx, op);
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
