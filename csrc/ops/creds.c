/* SPDX-License-Identifier: Apache-2.0 */
/* Who the process is and what it may do: ids, the five capability sets, no_new_privs, seccomp, LSM labels. */
#include "../base/sys.h"
#include "ops.h"
#include "self.h"
#include "spawn.h"

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifndef SECCOMP_FILTER_FLAG_NEW_LISTENER
#define SECCOMP_FILTER_FLAG_NEW_LISTENER (1UL << 3)
#endif

int op_no_new_privs(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    (void)op;
    long rc = SYS(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return rc < 0 ? op_fail(ctx, rc, "prctl PR_SET_NO_NEW_PRIVS", NULL) : 0;
}

int op_cap_bounding(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    uint64_t keep = op->n[0];

    for (unsigned cap = 0; cap < 64; cap++) {
        if ((keep >> cap & 1) != 0)
            continue;
        long rc = SYS(prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
        if (rc == -EINVAL)
            return 0; /* past the kernel's last capability */
        /* Without CAP_SETPCAP only what is already gone is fine. */
        if (rc < 0 && SYS(prctl, PR_CAPBSET_READ, cap, 0, 0, 0) != 0)
            return op_fail_number(ctx, rc, "prctl PR_CAPBSET_DROP of capability", cap, __LINE__);
    }
    return 0;
}

/* Does the plan's CAPS op keep anything? Then the uid change must not clear the permitted set. */
static int keeps_capabilities(const struct pyrt_ctx *ctx)
{
    const struct pyrt_op *caps = plan_later(ctx, PYRT_OP_CAPS);
    return caps != NULL && (caps->n[0] | caps->n[1] | caps->n[2] | caps->n[3]) != 0;
}

int op_setid(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    uint64_t uid = op->n[0], gid = op->n[1];
    long rc;

    if (uid >= UINT32_MAX || gid >= UINT32_MAX) /* (uid_t)-1 means "leave alone" to the kernel */
        return op_fail_number(ctx, -EINVAL, "id out of range", uid >= UINT32_MAX ? uid : gid, __LINE__);
    if ((op->n[3] & 1) == 0) {
        rc = SYS(setgroups, op->n[2] / sizeof(uint32_t), op_data(ctx, op, 0));
        if (rc < 0)
            return op_fail(ctx, rc, "setgroups", NULL);
    }
    rc = SYS(setresgid, gid, gid, gid);
    if (rc < 0)
        return op_fail_number(ctx, rc, "setresgid", gid, __LINE__);
    if (uid != 0 && keeps_capabilities(ctx)) {
        rc = SYS(prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0); /* exec clears it */
        if (rc < 0)
            return op_fail(ctx, rc, "prctl PR_SET_KEEPCAPS", NULL);
    }
    rc = SYS(setresuid, uid, uid, uid);
    if (rc < 0)
        return op_fail_number(ctx, rc, "setresuid", uid, __LINE__);

    /* A change of credentials disarms the parent-death signal. */
    const struct pyrt_op *death = plan_earlier(ctx, PYRT_OP_PDEATHSIG);
    if (death != NULL && death->side == op->side) {
        rc = op_pdeathsig(ctx, death);
        if (rc < 0)
            return (int)rc;
    }
    return 0;
}

static uint64_t cap_set_get(const struct __user_cap_data_struct data[2], int which)
{
    if (which == 'e')
        return data[0].effective | (uint64_t)data[1].effective << 32;
    if (which == 'p')
        return data[0].permitted | (uint64_t)data[1].permitted << 32;
    return data[0].inheritable | (uint64_t)data[1].inheritable << 32;
}

/*
 * What this process does not hold itself cannot be granted; the OCI spec wants that passed over (with a warning, which is Python's to
 * give since it knows the masks), not fatal. So the sets are cut down to what is held before they are set.
 */
int op_caps(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2] = {{0, 0, 0}, {0, 0, 0}};

    long rc = SYS(capget, &header, data);
    if (rc < 0)
        return op_fail(ctx, rc, "capget", NULL);
    uint64_t held = cap_set_get(data, 'p');
    uint64_t permitted = op->n[1] & held;
    uint64_t effective = op->n[0] & permitted;
    uint64_t inheritable = op->n[2] & (held | cap_set_get(data, 'i'));
    uint64_t ambient = op->n[3] & permitted & inheritable;

    rc = SYS(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (rc < 0 && rc != -EINVAL) /* EINVAL: kernel before 4.3 */
        return op_fail(ctx, rc, "prctl PR_CAP_AMBIENT_CLEAR_ALL", NULL);
    for (int i = 0; i < 2; i++) {
        data[i].effective = (uint32_t)(effective >> (32 * i));
        data[i].permitted = (uint32_t)(permitted >> (32 * i));
        data[i].inheritable = (uint32_t)(inheritable >> (32 * i));
    }
    header.version = _LINUX_CAPABILITY_VERSION_3;
    rc = SYS(capset, &header, data);
    if (rc < 0)
        return op_fail(ctx, rc, "capset", NULL);
    for (unsigned cap = 0; ambient >> cap != 0; cap++) {
        if ((ambient >> cap & 1) != 0) {
            rc = SYS(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
            if (rc < 0)
                return op_fail_number(ctx, rc, "prctl PR_CAP_AMBIENT_RAISE of capability", cap, __LINE__);
        }
        if (cap == 63)
            break;
    }
    return 0;
}

/*
 * From the moment the filter stands, any system call of the filtered process may be one that waits for the agent, who does not have the listener yet. So
 * the fd is sent by a courier: a process forked before the filter, sharing the fd table.
 */
static void courier(struct pyrt_ctx *ctx, int sock, struct iovec *parts, size_t count)
{
    struct pyrt_shared *mail = ctx->shared;
    uint32_t fd;
    int64_t nap[2] = {0, 50000};

    SYS(prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    while ((fd = __atomic_load_n(&mail->courier_fd, __ATOMIC_ACQUIRE)) == 0)
        SYS(nanosleep, nap, NULL);
    if (fd != UINT32_MAX) {
        int rc = sock_send_fdv(sock, (int)fd - 1, parts, count);
        __atomic_store_n(&mail->courier_result, (uint32_t)(1 - rc), __ATOMIC_RELEASE);
    }
    for (;;)
        SYS(exit_group, 0);
}

static int seccomp_with_listener(struct pyrt_ctx *ctx, const struct pyrt_op *op, struct sock_fprog *program)
{
    int sock = op_slot_get(ctx, op->n[2]);
    if (sock < 0)
        return op_fail(ctx, sock, "seccomp listener", "no socket in the slot");
    char pid[24] = "";
    txt_add_u64(pid, sizeof(pid), (uint64_t)ctx->shared->init_pid);
    const char *texts[5] = {op_str(ctx, op, 1), pid, op_str(ctx, op, 2), pid, op_str(ctx, op, 3)};
    size_t count = texts[4][0] != '\0' ? 5 : 3; /* s3: the state's own pid comes second */
    struct iovec parts[5];
    for (size_t i = 0; i < count; i++)
        parts[i] = (struct iovec){.iov_base = (void *)(uintptr_t)texts[i], .iov_len = strlen(texts[i])};

    /* SIG_DFL with SA_NOCLDWAIT: the courier leaves no zombie, and exec drops the flag. */
    const struct sys_sigaction reap_self = {.handler = SIG_DFL, .flags = SA_NOCLDWAIT};
    SYS(rt_sigaction, SIGCHLD, &reap_self, NULL, sizeof(uint64_t));

    struct pyrt_shared *mail = ctx->shared;
    __atomic_store_n(&mail->courier_fd, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&mail->courier_result, 0, __ATOMIC_RELEASE);
    long helper = SYS(clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
    if (helper == 0)
        courier(ctx, sock, parts, count);
    if (helper < 0)
        return op_fail(ctx, helper, "clone for the seccomp listener", NULL);

    /* TSYNC says nothing in a process of one thread, and older kernels refuse it beside a listener. */
    unsigned long flags = (op->n[1] | SECCOMP_FILTER_FLAG_NEW_LISTENER) & ~(unsigned long)SECCOMP_FILTER_FLAG_TSYNC;
    long fd = SYS(seccomp, SECCOMP_SET_MODE_FILTER, flags, program);
    __atomic_store_n(&mail->courier_fd, fd < 0 ? UINT32_MAX : (uint32_t)fd + 1, __ATOMIC_RELEASE);
    if (fd < 0)
        return op_fail(ctx, fd, "seccomp with a listener", NULL);
    uint32_t result;
    while ((result = __atomic_load_n(&mail->courier_result, __ATOMIC_ACQUIRE)) == 0)
        ; /* no system call may be made here */
    return result == 1 ? 0 : op_fail(ctx, -(int)(result - 1), "send the seccomp listener to its agent", NULL);
}

int op_seccomp(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    size_t count = op->n[0] / sizeof(struct sock_filter);
    if (count == 0 || count > BPF_MAXINSNS)
        return op_fail_number(ctx, -EINVAL, "seccomp filter's number of instructions", count, __LINE__);
    struct sock_fprog program = {.len = (unsigned short)count, .filter = (struct sock_filter *)(uintptr_t)op_data(ctx, op, 0)};

    /* What exec wants done to the signals is done here: a filter that lists what the program needs may not list rt_sigaction. */
    sys_default_signals();
    ctx->signals_reset = 1;
    if (op->n[2] != PYRT_NO_SLOT)
        return seccomp_with_listener(ctx, op, &program);
    long rc = SYS(seccomp, SECCOMP_SET_MODE_FILTER, op->n[1], &program);
    if (rc == -ENOSYS && op->n[1] == 0)
        rc = SYS(prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
    if (rc == -EACCES)
        return op_fail(ctx, rc, "seccomp filter", "needs no_new_privs or CAP_SYS_ADMIN");
    return rc < 0 ? op_fail(ctx, rc, "seccomp filter", NULL) : 0;
}

int op_apparmor(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *profile = op_str(ctx, op, 0);
    char text[1024] = "exec ";
    int rc = txt_add(text, sizeof(text), profile);
    if (rc < 0)
        return op_fail(ctx, rc, "AppArmor profile name", profile);
    rc = self_write(ctx, "attr/apparmor/exec", text, strlen(text));
    if (rc == -ENOENT && SYS(faccessat, ctx->proc_fd, "self/attr/apparmor", 0) == -ENOENT)
        rc = self_write(ctx, "attr/exec", text, strlen(text)); /* kernels before 5.8 */
    return rc < 0 ? op_fail(ctx, rc, "write /proc/self/attr/apparmor/exec for profile", profile) : 0;
}

int op_selinux(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *label = op_str(ctx, op, 0);
    int rc = self_write(ctx, "attr/exec", label, strlen(label));
    return rc < 0 ? op_fail(ctx, rc, "write /proc/self/attr/exec for label", label) : 0;
}
