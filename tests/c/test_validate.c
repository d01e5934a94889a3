/* SPDX-License-Identifier: Apache-2.0 */
/* Plans that are well formed and still make no sense: each refused, with the op that is wrong. */
#include "plan/plan.h"
#include "check.h"

#define OPS 8
#define NOTHING ((struct pyrt_op){.code = PYRT_OP_SETSID, .side = PYRT_CONTAINER})
#define CLONE ((struct pyrt_op){.code = PYRT_OP_CLONE, .n = {0, PYRT_NO_SLOT}})
#define FDS ((struct pyrt_op){.code = PYRT_OP_FDS, .side = PYRT_CONTAINER})
#define GATE ((struct pyrt_op){.code = PYRT_OP_GATE, .side = PYRT_CONTAINER})
#define EXEC ((struct pyrt_op){.code = PYRT_OP_EXEC, .side = PYRT_CONTAINER})

static struct {
    struct pyrt_plan_header head;
    struct pyrt_op ops[OPS];
    char blob[8];
} plan;
static _Alignas(8) char bytes[sizeof(plan)];
static struct pyrt_error err;

/* -1: taken, else the op that is refused. */
static int refused(size_t count, const struct pyrt_op *ops)
{
    size_t size = sizeof(plan.head) + count * sizeof(*ops) + sizeof(plan.blob);
    plan.head = (struct pyrt_plan_header){.magic = PYRT_PLAN_MAGIC, .version = PYRT_PLAN_VERSION, .header_size = sizeof(plan.head),
        .total_size = (uint32_t)size, .op_count = (uint32_t)count, .ops_off = sizeof(plan.head),
        .blob_off = (uint32_t)(sizeof(plan.head) + count * sizeof(*ops)), .blob_size = sizeof(plan.blob)};
    memset(bytes, 0, sizeof(bytes));
    memcpy(bytes, &plan.head, sizeof(plan.head));
    memcpy(bytes + sizeof(plan.head), ops, count * sizeof(*ops));
    memset(&err, 0, sizeof(err));
    err.op = -1;
    return plan_validate(bytes, size, &err) == 0 ? -1 : err.op;
}
#define REFUSED(...) refused(sizeof((struct pyrt_op[]){__VA_ARGS__}) / sizeof(struct pyrt_op), (struct pyrt_op[]){__VA_ARGS__})

static struct pyrt_op with(struct pyrt_op op, unsigned flags)
{
    op.flags = (uint8_t)flags;
    return op;
}

int main(void)
{
    struct pyrt_op usage = {.code = PYRT_OP_USAGE}, write = {.code = PYRT_OP_WRITE}, attach = {.code = PYRT_OP_CGROUP_ATTACH};

    CHECK_INT(REFUSED(CLONE, FDS, EXEC), -1);
    CHECK_INT(REFUSED(CLONE, NOTHING, FDS, GATE, EXEC), -1);
    CHECK_INT(REFUSED(write, CLONE, write, FDS, EXEC), -1);

    CHECK_INT(REFUSED(CLONE, EXEC), 1); /* the executor's fds would stay open in the container */
    CHECK(strstr(err.detail, "fds") != NULL);
    CHECK_INT(REFUSED(CLONE, FDS, EXEC, NOTHING), 3);
    CHECK_INT(REFUSED(CLONE, CLONE, FDS, EXEC), 1);

    /* usage has no function to run before the end */
    CHECK_INT(REFUSED(usage, CLONE, FDS, EXEC), 0);
    CHECK_INT(REFUSED(CLONE, usage, FDS, EXEC), 1);
    CHECK_INT(REFUSED(CLONE, FDS, EXEC, with(usage, PYRT_F_AT_EXIT)), -1);
    usage.n[0] = PYRT_USAGE_KINDS;
    CHECK_INT(REFUSED(CLONE, FDS, EXEC, with(usage, PYRT_F_AT_EXIT)), 3);

    /* there is no child any more */
    CHECK_INT(REFUSED(CLONE, attach, FDS, EXEC), -1);
    CHECK_INT(REFUSED(CLONE, FDS, EXEC, with(attach, PYRT_F_AT_EXIT)), 3);

    CHECK_INT(REFUSED(with(CLONE, PYRT_F_OPTIONAL), FDS, EXEC), 0);
    CHECK_INT(REFUSED(CLONE, with(FDS, PYRT_F_OPTIONAL), EXEC), 1);
    CHECK_INT(REFUSED(CLONE, FDS, with(EXEC, PYRT_F_OPTIONAL)), 2);
    CHECK_INT(REFUSED(CLONE, with(NOTHING, PYRT_F_OPTIONAL), FDS, EXEC), -1);

    /* the executor may have ended at the gate */
    CHECK_INT(REFUSED(CLONE, FDS, GATE, write, EXEC), 3);
    CHECK_INT(REFUSED(CLONE, FDS, GATE, GATE, EXEC), 3);
    CHECK_INT(REFUSED(CLONE, FDS, GATE, EXEC, with(write, PYRT_F_AT_EXIT)), -1);
    return done();
}
