/* SPDX-License-Identifier: Apache-2.0 */
/* From op codes to functions: the executor's half of the table (kinds.c is what the validator and Python share). */
#include "plan.h"

struct op_code {
    pyrt_op_fn run;
    pyrt_op_fn undo;
};

static const struct op_code codes[PYRT_OP_CODES] = {
    [PYRT_OP_CGROUP_MKDIR] = {op_cgroup_mkdir, undo_cgroup_mkdir},
    [PYRT_OP_CGROUP_ATTACH] = {op_cgroup_attach, NULL},
    [PYRT_OP_CGROUP_KILL] = {op_cgroup_kill, NULL},
    [PYRT_OP_CGROUP_OPEN] = {op_cgroup_open, NULL},
    [PYRT_OP_CGROUP_DEVICES] = {op_cgroup_devices, NULL},
    [PYRT_OP_WRITE] = {op_write, NULL},
    [PYRT_OP_OPEN_TREE] = {op_open_tree, NULL},
    [PYRT_OP_IDMAP_USERNS] = {op_idmap_userns, NULL},
    [PYRT_OP_LISTEN] = {op_listen, undo_listen},
    [PYRT_OP_USERNS_MAP] = {op_userns_map, NULL},
    [PYRT_OP_HOOK] = {op_hook, NULL},
    [PYRT_OP_CONNECT] = {op_connect, NULL},
    [PYRT_OP_RMTREE] = {op_rmtree, NULL},
    [PYRT_OP_MKDIR_HOST] = {op_mkdir_host, undo_mkdir_host},
    [PYRT_OP_CLONE] = {op_clone, NULL},
    [PYRT_OP_JOIN_NS] = {op_join_ns, NULL},
    [PYRT_OP_UNSHARE] = {op_unshare, NULL},
    [PYRT_OP_TIME_OFFSETS] = {op_time_offsets, NULL},
    [PYRT_OP_PROPAGATION] = {op_propagation, NULL},
    [PYRT_OP_MOUNT] = {op_mount, NULL},
    [PYRT_OP_BIND] = {op_bind, NULL},
    [PYRT_OP_MOUNT_ATTR] = {op_mount_attr, NULL},
    [PYRT_OP_MKDIR] = {op_mkdir, NULL},
    [PYRT_OP_SYMLINK] = {op_symlink, NULL},
    [PYRT_OP_DEVICE] = {op_device, NULL},
    [PYRT_OP_MASK] = {op_mask, NULL},
    [PYRT_OP_READONLY] = {op_readonly, NULL},
    [PYRT_OP_ROOT] = {op_root, NULL},
    [PYRT_OP_PIVOT] = {op_pivot, NULL},
    [PYRT_OP_WRITE_FILE] = {op_write_file, NULL},
    [PYRT_OP_CONSOLE] = {op_console, NULL},
    [PYRT_OP_SETSID] = {op_setsid, NULL},
    [PYRT_OP_HOSTNAME] = {op_hostname, NULL},
    [PYRT_OP_DOMAINNAME] = {op_domainname, NULL},
    [PYRT_OP_SYSCTL] = {op_sysctl, NULL},
    [PYRT_OP_LOOPBACK] = {op_loopback, NULL},
    [PYRT_OP_RLIMIT] = {op_rlimit, NULL},
    [PYRT_OP_OOM_SCORE] = {op_oom_score, NULL},
    [PYRT_OP_SCHEDULER] = {op_scheduler, NULL},
    [PYRT_OP_IOPRIO] = {op_ioprio, NULL},
    [PYRT_OP_PERSONALITY] = {op_personality, NULL},
    [PYRT_OP_UMASK] = {op_umask, NULL},
    [PYRT_OP_NO_NEW_PRIVS] = {op_no_new_privs, NULL},
    [PYRT_OP_CAP_BOUNDING] = {op_cap_bounding, NULL},
    [PYRT_OP_SETID] = {op_setid, NULL},
    [PYRT_OP_CAPS] = {op_caps, NULL},
    [PYRT_OP_SECCOMP] = {op_seccomp, NULL},
    [PYRT_OP_APPARMOR] = {op_apparmor, NULL},
    [PYRT_OP_SELINUX] = {op_selinux, NULL},
    [PYRT_OP_CWD] = {op_cwd, NULL},
    [PYRT_OP_KEYRING] = {op_keyring, NULL},
    [PYRT_OP_FDS] = {op_fds, NULL},
    [PYRT_OP_FIND_EXEC] = {op_find_exec, NULL},
    [PYRT_OP_GATE] = {op_gate, NULL},
    [PYRT_OP_INIT] = {op_init, NULL},
    [PYRT_OP_EXEC] = {op_exec, NULL},
    [PYRT_OP_PDEATHSIG] = {op_pdeathsig, NULL},
    [PYRT_OP_NICE] = {op_nice, NULL},
    [PYRT_OP_NETNS_MAKE] = {op_netns_make, NULL},
    [PYRT_OP_NETNS_ENTER] = {op_netns_enter, NULL},
    [PYRT_OP_MEMPOLICY] = {op_mempolicy, NULL},
};

int op_fail_at(struct pyrt_ctx *ctx, int rc, const char *what, const char *object, unsigned line)
{
    struct pyrt_error *err = &ctx->shared->error;
    const struct pyrt_op *op = &ctx->ops[ctx->op];
    if (rc >= 0 || err->error != 0)
        return rc;
    err->op = (int32_t)ctx->op;
    err->code = op->code;
    err->side = op->side;
    err->line = line;
    err->detail[0] = '\0';
    txt_add(err->detail, sizeof err->detail, what);
    if (object != NULL && object[0] != '\0') {
        txt_add(err->detail, sizeof err->detail, " ");
        txt_add(err->detail, sizeof err->detail, object);
    }
    __atomic_store_n(&err->error, -rc, __ATOMIC_RELEASE);
    return rc;
}

int op_slot_set(struct pyrt_ctx *ctx, uint64_t slot, int fd)
{
    if (slot >= PYRT_SLOTS)
        return -EINVAL;
    if (ctx->slots[slot] >= 0)
        SYS(close, ctx->slots[slot]);
    ctx->slots[slot] = fd;
    return 0;
}

int op_slot_get(const struct pyrt_ctx *ctx, uint64_t slot)
{
    return slot < PYRT_SLOTS && ctx->slots[slot] >= 0 ? ctx->slots[slot] : -EBADF;
}

int plan_run_op(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    struct pyrt_trace_entry *entry = ctx->run_flags & PYRT_RUN_TRACE ? &ctx->shared->trace[ctx->op] : NULL;
    if (entry != NULL) {
        entry->pid = (uint32_t)ctx->is_child;
        entry->begin_ns = sys_now_ns();
        if (op->code == PYRT_OP_EXEC)
            entry->end_ns = entry->begin_ns; /* an exec that works does not come back; the executor fills in when it saw it */
    }
    int rc = codes[op->code].run(ctx, op);
    if (entry != NULL) {
        entry->end_ns = sys_now_ns();
        entry->error = rc < 0 ? -rc : 0;
    }
    if (rc >= 0)
        return 0;
    if (op->flags & PYRT_F_OPTIONAL) {
        ctx->shared->error.error = 0;
        return 0;
    }
    op_fail(ctx, rc, "", NULL); /* for an op that did not say more itself */
    return rc;
}

int plan_undo_op(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    pyrt_op_fn undo = codes[op->code].undo;
    return undo != NULL ? undo(ctx, op) : 0;
}

uint32_t plan_next(const struct pyrt_ctx *ctx, uint32_t from)
{
    while (from < ctx->plan->op_count && (ctx->ops[from].flags & PYRT_F_AT_EXIT))
        from++;
    return from;
}

int plan_has(const struct pyrt_ctx *ctx, uint32_t code)
{
    for (uint32_t i = 0; i < ctx->plan->op_count; i++)
        if (ctx->ops[i].code == code)
            return 1;
    return 0;
}
