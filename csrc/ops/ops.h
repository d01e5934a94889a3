/* SPDX-License-Identifier: Apache-2.0 */
/* What an op sees: the context of one execution, and how it says what failed. */
#ifndef PYRT_OPS_H
#define PYRT_OPS_H

#include "../base/sys.h"
#include "../pyrt.h"

/* Shared by the executor and its child (MAP_SHARED), so that who fails can say so without a message. */
struct pyrt_shared {
    struct pyrt_error error;
    int32_t init_pid;            /* host view; set by the second clone, else by the first */
    uint32_t executing;          /* set just before execve: an end of the child's channel then means that it worked */
    int32_t executor_pid;        /* host view */
    uint32_t child_op;           /* the op that the child is at: what it was doing, should it die without a word */
    uint32_t spawn_error;        /* what exec said in a program of spawn.c (one runs at any time) */
    uint32_t courier_fd;         /* creds.c: seccomp listener + 1, or UINT32_MAX for none */
    uint32_t courier_result;     /* 1: sent, else errno + 1 */
    uint32_t reserved;
    struct pyrt_trace_entry trace[];  /* op_count entries */
};

struct pyrt_ctx {
    const struct pyrt_plan_header *plan;
    const struct pyrt_op *ops;
    const char *blob;
    struct pyrt_shared *shared;
    int slots[PYRT_SLOTS];       /* -1: empty */
    int root_fd;                 /* set by ROOT: the container's root; -1 before. "/" after PIVOT */
    int proc_fd;                 /* the host's /proc, opened before everything else */
    int control_fd;              /* to the caller; -1 in the child */
    int sync_fd;                 /* executor <-> child */
    int mask_fd;                 /* detached empty read-only tmpfs that MASK clones; -1 until first used */
    uint32_t run_flags;
    uint32_t op;                 /* index of the op at work */
    uint32_t op_limit;           /* ops before this one have been done (host side: what may have to be unmade) */
    pid_t child;                 /* executor: the child, host view */
    uint32_t keep_fds;           /* FDS: fds 3 .. 3+keep_fds-1 survive exec */
    int exec_fd;                 /* FIND_EXEC: O_PATH fd, or -1 */
    uint64_t pending;            /* executor: signals that the caller sent before there was a container, bit per number - 1 */
    int signals_reset;           /* sys_default_signals() was called in this process: SECCOMP does it before the filter can mind */
    int is_child;                /* this process is the container's side of the turn */
    int is_init;                 /* this process came out of INIT's fork */
    uint8_t made[PYRT_PLAN_MAX_OPS / 8]; /* host ops that made something of their own: bit per op */
    char exec_path[4096];        /* FIND_EXEC: "" until found */
};

typedef int (*pyrt_op_fn)(struct pyrt_ctx *ctx, const struct pyrt_op *op);

static inline const char *op_str(const struct pyrt_ctx *ctx, const struct pyrt_op *op, int i)
{
    return ctx->blob + op->s[i];
}
static inline const void *op_data(const struct pyrt_ctx *ctx, const struct pyrt_op *op, int i)
{
    return ctx->blob + op->s[i];
}
/* A string list's next element, or NULL at the end: for (p = list; p < list + size; p += strlen(p) + 1). */

/* Records what failed inside the op (`what` "openat2", `object` a path or NULL) and returns rc (negative errno). The first record of an op wins. */
int op_fail_at(struct pyrt_ctx *ctx, int rc, const char *what, const char *object, unsigned line);
#define op_fail(ctx, rc, what, object) op_fail_at(ctx, (int)(rc), what, object, __LINE__)

/* Remembers that this op made something which its undo has to unmake. */
static inline void op_made(struct pyrt_ctx *ctx)
{
    ctx->made[ctx->op / 8] |= (uint8_t)(1u << (ctx->op % 8));
}
/* fd into slot: closes what was there. -EINVAL outside the table (the validator has checked plans, but ops stay safe by themselves). */
int op_slot_set(struct pyrt_ctx *ctx, uint64_t slot, int fd);
/* fd of a slot, or -EBADF. */
int op_slot_get(const struct pyrt_ctx *ctx, uint64_t slot);

/* The base fd for AT_HOST / AT_ROOT: AT_FDCWD, or root_fd (-EBADF before ROOT). Paths at AT_ROOT go through base/path.h only. */

/* ops/cgroup.c */
int op_cgroup_mkdir(struct pyrt_ctx *, const struct pyrt_op *);
int undo_cgroup_mkdir(struct pyrt_ctx *, const struct pyrt_op *);
int op_cgroup_attach(struct pyrt_ctx *, const struct pyrt_op *);
int op_cgroup_kill(struct pyrt_ctx *, const struct pyrt_op *);
int op_cgroup_open(struct pyrt_ctx *, const struct pyrt_op *);
int op_cgroup_devices(struct pyrt_ctx *, const struct pyrt_op *);
/* Loads a device program: its fd, or -errno with the verifier's words in log ("" if it had none). */
int device_program_load(const void *instructions, size_t size, char *log, size_t log_size);
int op_usage(struct pyrt_ctx *, const struct pyrt_op *, uint64_t usage[PYRT_USAGE_KINDS]);
/* Freezes the plan's first cgroup that can be (v2 cgroup.freeze, v1 freezer.state), or thaws all of them. 0, -ENOENT: none can, or another error. */
int cgroup_freeze_plan(struct pyrt_ctx *ctx, int frozen);

/* ops/caller.c: the caller while a container starts. 0, or -ECANCELED when he has gone or wants its end; other signals are kept in ctx->pending. Never waits. */
int caller_check(struct pyrt_ctx *ctx);

/* ops/host.c: files, hooks, sockets, trees */
int op_write(struct pyrt_ctx *, const struct pyrt_op *);
int op_hook(struct pyrt_ctx *, const struct pyrt_op *);
int op_listen(struct pyrt_ctx *, const struct pyrt_op *);
int undo_listen(struct pyrt_ctx *, const struct pyrt_op *);
int op_connect(struct pyrt_ctx *, const struct pyrt_op *);
int op_rmtree(struct pyrt_ctx *, const struct pyrt_op *);
int op_mkdir_host(struct pyrt_ctx *, const struct pyrt_op *);
int undo_mkdir_host(struct pyrt_ctx *, const struct pyrt_op *);
/* Sends one fd with a few bytes over a unix socket. */
int sock_send_fd(int sock, int fd, const void *data, size_t size);

/* ops/userns.c */
int op_userns_map(struct pyrt_ctx *, const struct pyrt_op *);
int op_idmap_userns(struct pyrt_ctx *, const struct pyrt_op *);

/* ops/mount.c, ops/bind.c, ops/root.c, ops/mask.c, ops/node.c */
int op_open_tree(struct pyrt_ctx *, const struct pyrt_op *);
int op_propagation(struct pyrt_ctx *, const struct pyrt_op *);
int op_mount(struct pyrt_ctx *, const struct pyrt_op *);
int op_bind(struct pyrt_ctx *, const struct pyrt_op *);
int op_mount_attr(struct pyrt_ctx *, const struct pyrt_op *);
int op_mkdir(struct pyrt_ctx *, const struct pyrt_op *);
int op_symlink(struct pyrt_ctx *, const struct pyrt_op *);
int op_device(struct pyrt_ctx *, const struct pyrt_op *);
int op_mask(struct pyrt_ctx *, const struct pyrt_op *);
int op_readonly(struct pyrt_ctx *, const struct pyrt_op *);
int op_root(struct pyrt_ctx *, const struct pyrt_op *);
int op_pivot(struct pyrt_ctx *, const struct pyrt_op *);
int op_write_file(struct pyrt_ctx *, const struct pyrt_op *);

/* ops/tty.c */
int op_console(struct pyrt_ctx *, const struct pyrt_op *);
int op_setsid(struct pyrt_ctx *, const struct pyrt_op *);

/* ops/namespace.c */
int op_join_ns(struct pyrt_ctx *, const struct pyrt_op *);
int op_unshare(struct pyrt_ctx *, const struct pyrt_op *);
int op_time_offsets(struct pyrt_ctx *, const struct pyrt_op *);
int op_hostname(struct pyrt_ctx *, const struct pyrt_op *);
int op_domainname(struct pyrt_ctx *, const struct pyrt_op *);
int op_sysctl(struct pyrt_ctx *, const struct pyrt_op *);
int op_loopback(struct pyrt_ctx *, const struct pyrt_op *);
int op_netns_make(struct pyrt_ctx *, const struct pyrt_op *);

/* ops/process.c */
int op_rlimit(struct pyrt_ctx *, const struct pyrt_op *);
int op_oom_score(struct pyrt_ctx *, const struct pyrt_op *);
int op_scheduler(struct pyrt_ctx *, const struct pyrt_op *);
int op_ioprio(struct pyrt_ctx *, const struct pyrt_op *);
int op_nice(struct pyrt_ctx *, const struct pyrt_op *);
int op_mempolicy(struct pyrt_ctx *, const struct pyrt_op *);
int op_personality(struct pyrt_ctx *, const struct pyrt_op *);
int op_umask(struct pyrt_ctx *, const struct pyrt_op *);
int op_keyring(struct pyrt_ctx *, const struct pyrt_op *);
int op_cwd(struct pyrt_ctx *, const struct pyrt_op *);
int op_fds(struct pyrt_ctx *, const struct pyrt_op *);
int op_pdeathsig(struct pyrt_ctx *, const struct pyrt_op *);

/* ops/creds.c */
int op_no_new_privs(struct pyrt_ctx *, const struct pyrt_op *);
int op_cap_bounding(struct pyrt_ctx *, const struct pyrt_op *);
int op_setid(struct pyrt_ctx *, const struct pyrt_op *);
int op_caps(struct pyrt_ctx *, const struct pyrt_op *);
int op_seccomp(struct pyrt_ctx *, const struct pyrt_op *);
int op_apparmor(struct pyrt_ctx *, const struct pyrt_op *);
int op_selinux(struct pyrt_ctx *, const struct pyrt_op *);

/* ops/exec.c */
int op_find_exec(struct pyrt_ctx *, const struct pyrt_op *);
int op_exec(struct pyrt_ctx *, const struct pyrt_op *);
int op_init(struct pyrt_ctx *, const struct pyrt_op *);

/* launch/turn.c */
int op_clone(struct pyrt_ctx *, const struct pyrt_op *);
int op_gate(struct pyrt_ctx *, const struct pyrt_op *);
int op_netns_enter(struct pyrt_ctx *, const struct pyrt_op *);

#endif
