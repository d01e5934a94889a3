/* SPDX-License-Identifier: Apache-2.0 */
/* Ids, capabilities and seccomp, each in a process of its own, read back as the kernel tells them. */
#include "check.h"
#include "fake.h"

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define CHOWN_NET (1ull << CAP_CHOWN | 1ull << CAP_NET_BIND_SERVICE)

/* A mask of /proc/self/status. */
static uint64_t status_mask(const char *key)
{
    char text[8192];
    if (slurp("/proc/self/status", text, sizeof(text)) != 0)
        return 0;
    const char *line = strstr(text, key);
    return line == NULL ? 0 : strtoull(line + strlen(key), NULL, 16);
}

static int drops_to_user_with_ambient(void)
{
    static const uint32_t groups[] = {7, 8};

    fake_reset();
    struct pyrt_op *bounding = fake_op(PYRT_OP_CAP_BOUNDING, PYRT_CONTAINER);
    bounding->n[0] = CHOWN_NET;
    struct pyrt_op *ids = fake_op(PYRT_OP_SETID, PYRT_CONTAINER);
    ids->n[0] = 1234;
    ids->n[1] = 2345;
    ids->s[0] = fake_bytes(groups, sizeof(groups));
    ids->n[2] = sizeof(groups);
    struct pyrt_op *caps = fake_op(PYRT_OP_CAPS, PYRT_CONTAINER);
    for (int i = 0; i < 4; i++)
        caps->n[i] = CHOWN_NET;
    caps->n[1] |= 1ull << 62; /* no such capability: cannot be granted, hence left out */
    CHECK_INT(fake_run(op_cap_bounding, bounding), 0);
    CHECK_INT(fake_run(op_setid, ids), 0);
    CHECK_INT(fake_run(op_caps, caps), 0);
    struct pyrt_op *privs = fake_op(PYRT_OP_NO_NEW_PRIVS, PYRT_CONTAINER);
    CHECK_INT(fake_run(op_no_new_privs, privs), 0);
    uid_t r, e, s;
    gid_t list[8];
    getresuid(&r, &e, &s);
    CHECK(r == 1234 && e == 1234 && s == 1234);
    CHECK_INT(getegid(), 2345);
    CHECK_INT(getgroups(8, list), 2);
    CHECK(list[0] == 7 && list[1] == 8);
    CHECK_INT(status_mask("CapInh:"), CHOWN_NET);
    CHECK_INT(status_mask("CapPrm:"), CHOWN_NET);
    CHECK_INT(status_mask("CapEff:"), CHOWN_NET);
    CHECK_INT(status_mask("CapBnd:"), CHOWN_NET);
    CHECK_INT(status_mask("CapAmb:"), CHOWN_NET);
    CHECK_INT(status_mask("NoNewPrivs:"), 1);
    return done();
}

static int drops_everything(void)
{
    fake_reset();
    struct pyrt_op *ids = fake_op(PYRT_OP_SETID, PYRT_CONTAINER);
    ids->n[0] = ids->n[1] = 99;
    struct pyrt_op *caps = fake_op(PYRT_OP_CAPS, PYRT_CONTAINER);
    CHECK_INT(fake_run(op_setid, ids), 0);
    CHECK_INT(status_mask("CapPrm:"), 0); /* not kept, since CAPS keeps nothing */
    CHECK_INT(fake_run(op_caps, caps), 0);
    CHECK_INT(getgroups(0, NULL), 0);
    CHECK(setuid(0) != 0);
    return done();
}

static int keeps_the_bounding_set(void)
{
    fake_reset();
    uint64_t before = status_mask("CapBnd:");
    struct pyrt_op *op = fake_op(PYRT_OP_CAP_BOUNDING, PYRT_CONTAINER);
    op->n[0] = UINT64_MAX;
    CHECK_INT(fake_run(op_cap_bounding, op), 0);
    CHECK_INT(status_mask("CapBnd:"), before);
    return done();
}

static int refuses_bad_ids(void)
{
    fake_reset();
    struct pyrt_op *op = fake_op(PYRT_OP_SETID, PYRT_CONTAINER);
    op->n[0] = UINT32_MAX; /* would mean "unchanged": root */
    CHECK_INT(fake_run(op_setid, op), -EINVAL);
    CHECK(strstr(fake_detail(), "4294967295") != NULL);
    return done();
}

static int death_signal_survives_setid(void)
{
    fake_reset();
    struct pyrt_op *death = fake_op(PYRT_OP_PDEATHSIG, PYRT_CONTAINER);
    death->n[0] = SIGKILL;
    struct pyrt_op *ids = fake_op(PYRT_OP_SETID, PYRT_CONTAINER);
    ids->n[0] = ids->n[1] = 99;
    CHECK_INT(fake_run(op_pdeathsig, death), 0);
    CHECK_INT(fake_run(op_setid, ids), 0);
    int signal_number = 0;
    CHECK_INT(prctl(PR_GET_PDEATHSIG, &signal_number), 0);
    CHECK_INT(signal_number, SIGKILL);
    return done();
}

/* getppid answers EPERM (or, with notify, asks the agent). */
static uint32_t filter_on_getppid(uint32_t action)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    return fake_bytes(filter, sizeof(filter));
}

static int filters(void)
{
    fake_reset();
    struct pyrt_op *op = fake_op(PYRT_OP_SECCOMP, PYRT_CONTAINER);
    op->s[0] = filter_on_getppid(SECCOMP_RET_ERRNO | EPERM);
    op->n[0] = 4 * sizeof(struct sock_filter);
    op->n[2] = PYRT_NO_SLOT;
    CHECK_INT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_INT(fake_run(op_seccomp, op), 0);
    errno = 0;
    CHECK_INT(syscall(SYS_getppid), -1);
    CHECK_INT(errno, EPERM);
    op->n[0] = 0;
    CHECK_INT(fake_run(op_seccomp, op), -EINVAL);
    return done();
}

static int refuses_filter_without_privilege(void)
{
    fake_reset();
    struct pyrt_op *op = fake_op(PYRT_OP_SECCOMP, PYRT_CONTAINER);
    op->s[0] = filter_on_getppid(SECCOMP_RET_ERRNO | EPERM);
    op->n[0] = 4 * sizeof(struct sock_filter);
    op->n[2] = PYRT_NO_SLOT;
    if (geteuid() == 0)
        CHECK_INT(setuid(99), 0);
    CHECK_INT(fake_run(op_seccomp, op), -EACCES);
    CHECK(strstr(fake_detail(), "no_new_privs") != NULL);
    return done();
}

/* The agent gets the listener and the state in one message, even when the filter would stop the very sendmsg that brings it. */
static int sends_the_listener(void)
{
    int pair[2], status;

    fake_reset();
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    fake.ctx.slots[3] = pair[0];
    fake.ctx.shared->init_pid = 4321;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct pyrt_op *op = fake_op(PYRT_OP_SECCOMP, PYRT_CONTAINER);
    op->s[0] = fake_bytes(filter, sizeof(filter));
    op->n[0] = sizeof(filter);
    op->n[2] = 3;
    op->s[1] = fake_text("{\"pid\":");
    op->s[2] = fake_text(",\"state\":{\"pid\":");
    op->s[3] = fake_text("}}");
    pid_t pid = fork();
    if (pid == 0) {
        if (SYS(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
            SYS(exit_group, 2);
        fake.ctx.op = 0;
        SYS(exit_group, op_seccomp(&fake.ctx, op) == 0 ? 0 : 1);
    }
    char text[128] = "", room[CMSG_SPACE(sizeof(int))];
    struct iovec part = {.iov_base = text, .iov_len = sizeof(text) - 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)};
    CHECK(recvmsg(pair[1], &message, 0) > 0);
    CHECK_STR(text, "{\"pid\":4321,\"state\":{\"pid\":4321}}");
    CHECK(message.msg_controllen > 0 && CMSG_FIRSTHDR(&message)->cmsg_type == SCM_RIGHTS);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
    return done();
}

int main(void)
{
    CHECK_INT(in_child(filters), 0);
    CHECK_INT(in_child(sends_the_listener), 0);
    CHECK_INT(in_child(refuses_filter_without_privilege), 0);
    CHECK_INT(in_child(refuses_bad_ids), 0);
    CHECK_INT(in_child(keeps_the_bounding_set), 0);
    if (geteuid() == 0) {
        CHECK_INT(in_child(drops_to_user_with_ambient), 0);
        CHECK_INT(in_child(drops_everything), 0);
        CHECK_INT(in_child(death_signal_survives_setid), 0);
    }
    return done();
}
