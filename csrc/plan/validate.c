/* SPDX-License-Identifier: Apache-2.0 */
/* The decoder of the plan. There is nothing to convert: a valid plan is run in place, so all the care is here. Fuzzed. */
#include "plan.h"

struct reading {
    const struct pyrt_plan_header *head;
    const struct pyrt_op *ops;
    const char *blob;
    struct pyrt_error *err;
    uint32_t at;
    int cloned;   /* 0 none yet, 1 on the host, 2 again in the child */
    int rooted;
    int gated;
    int sealed;   /* FDS was there: nothing of the executor's stays open over execve */
    int beside;   /* 0 nothing, 1 NETNS_MAKE is at work beside the child, 2 entered */
    int executed;
};

static int refuse(struct reading *r, int rc, const char *why)
{
    r->err->error = -rc;
    r->err->op = r->ops != NULL && r->at < r->head->op_count ? (int32_t)r->at : -1;
    r->err->code = r->err->op >= 0 ? r->ops[r->at].code : 0;
    r->err->side = r->err->op >= 0 ? r->ops[r->at].side : 0;
    r->err->line = 0;
    r->err->detail[0] = '\0';
    txt_add(r->err->detail, sizeof r->err->detail, why);
    return rc;
}

static int check_string(struct reading *r, const struct pyrt_op *op, int i, char kind)
{
    uint32_t at = op->s[i];
    if (kind == '-')
        return at == 0 ? 0 : refuse(r, -EINVAL, "a string that this op does not have");
    if (at >= r->head->blob_size)
        return refuse(r, -EINVAL, "a string outside the blob");
    if (kind == 's') /* the blob's last byte is NUL, so every string in it ends */
        return 0;
    int list = kind >= 'a';
    uint64_t size = op->n[list ? kind - 'a' : kind - '0'];
    if (size > r->head->blob_size - at)
        return refuse(r, -EINVAL, "data that leaves the blob");
    if (list && size > 0 && r->blob[at + size - 1] != '\0')
        return refuse(r, -EINVAL, "a list whose last string does not end");
    return 0;
}

static int check_number(struct reading *r, const struct pyrt_op *op, int i, char kind)
{
    uint64_t n = op->n[i];
    if ((kind == 'S' && n >= PYRT_SLOTS) || (kind == 'N' && n >= PYRT_SLOTS && n != PYRT_NO_SLOT))
        return refuse(r, -EINVAL, "a slot outside the table");
    if (kind == 'A') {
        if (n > PYRT_AT_ROOT)
            return refuse(r, -EINVAL, "a place that is neither host nor root");
        if (n == PYRT_AT_ROOT && !r->rooted)
            return refuse(r, -EINVAL, "a path inside the root before there is a root");
    }
    return 0;
}

/* Without these the list does not go on in the process that it was written for, or goes on with more open than it should. */
static int carries_the_turn(unsigned code)
{
    return code == PYRT_OP_CLONE || code == PYRT_OP_NETNS_MAKE || code == PYRT_OP_NETNS_ENTER || code == PYRT_OP_GATE || code == PYRT_OP_INIT || code == PYRT_OP_FDS || code == PYRT_OP_EXEC;
}

/* What is done beside the child begins straight after the clone, and has been met by the child before anybody's turn changes. */
static int check_beside(struct reading *r, const struct pyrt_op *op)
{
    if ((op->code == PYRT_OP_NETNS_MAKE) != ((op->flags & PYRT_F_BESIDE) != 0))
        return refuse(r, -EINVAL, "an op beside that has to be in turn, or the other way round");
    if (op->code == PYRT_OP_NETNS_MAKE) {
        const struct pyrt_op *before = r->at > 0 ? op - 1 : NULL;
        if (r->beside != 0 || before == NULL || before->code != PYRT_OP_CLONE || before->side != PYRT_HOST)
            return refuse(r, -EINVAL, "an op beside that is not straight behind the clone");
        r->beside = 1;
        return 0;
    }
    if (op->code == PYRT_OP_NETNS_ENTER) {
        if (r->beside != 1)
            return refuse(r, -EINVAL, "a network namespace that nobody makes");
        r->beside = 2;
        return 0;
    }
    if (r->beside == 1 && (op->side == PYRT_HOST || op->code == PYRT_OP_GATE || op->code == PYRT_OP_EXEC || op->code == PYRT_OP_CLONE))
        return refuse(r, -EINVAL, "an op before the network namespace was entered");
    return 0;
}

static int check_turn(struct reading *r, const struct pyrt_op *op, const struct op_kind *kind)
{
    unsigned side = op->side == PYRT_CONTAINER ? SIDE_C : r->cloned ? SIDE_h : SIDE_H;
    if (op->flags & PYRT_F_AT_EXIT) {
        if (op->side != PYRT_HOST || !(kind->sides & SIDE_H) || op->code == PYRT_OP_CLONE)
            return refuse(r, -EINVAL, "an op that cannot run after the container's end");
        return 0;
    }
    if (r->executed)
        return refuse(r, -EINVAL, "an op after execve");
    int rc = check_beside(r, op);
    if (rc != 0)
        return rc;
    if (op->code == PYRT_OP_USAGE)
        return refuse(r, -EINVAL, "usage is read after the container's end");
    if ((op->flags & PYRT_F_OPTIONAL) && carries_the_turn(op->code))
        return refuse(r, -EINVAL, "an op that cannot be optional");
    if (r->gated && (side & (SIDE_H | SIDE_h)))
        return refuse(r, -EINVAL, "a host op after the gate, when the executor may be gone");
    if (side == SIDE_C && !r->cloned)
        return refuse(r, -EINVAL, "a container op before clone");
    if (!(kind->sides & side))
        return refuse(r, -EINVAL, "an op on the wrong side");
    switch (op->code) {
    case PYRT_OP_CLONE:
        if (r->cloned >= (side == SIDE_C ? 2 : 1))
            return refuse(r, -EINVAL, "one clone too many");
        r->cloned++;
        return 0;
    case PYRT_OP_ROOT:
        r->rooted = 1;
        return 0;
    case PYRT_OP_DEVICE:
    case PYRT_OP_MASK:
    case PYRT_OP_READONLY:
    case PYRT_OP_WRITE_FILE:
    case PYRT_OP_PIVOT:
        return r->rooted ? 0 : refuse(r, -EINVAL, "an op on the root before there is a root");
    case PYRT_OP_FDS:
        if (op->n[0] > PYRT_SLOTS || op->n[1] > PYRT_SLOTS || op->n[0] + op->n[1] > PYRT_SLOTS)
            return refuse(r, -EINVAL, "slots outside the table");
        r->sealed = 1;
        return 0;
    case PYRT_OP_GATE:
        if (r->gated)
            return refuse(r, -EINVAL, "one gate too many");
        r->gated = 1;
        return 0;
    case PYRT_OP_SETID:
        return op->n[2] % 4 == 0 ? 0 : refuse(r, -EINVAL, "a torn list of groups");
    case PYRT_OP_SECCOMP:
        return op->n[0] % 8 == 0 && op->n[0] / 8 <= 65535 ? 0 : refuse(r, -EINVAL, "a torn seccomp filter");
    case PYRT_OP_EXEC:
        if (!r->sealed)
            return refuse(r, -EINVAL, "execve without fds: what the executor has open would go along");
        r->executed = 1;
        return 0;
    default:
        return 0;
    }
}

static int check_op(struct reading *r, const struct pyrt_op *op)
{
    const struct op_kind *kind = plan_kind(op->code);
    if (kind == NULL)
        return refuse(r, -EINVAL, "an unknown op");
    if (op->side > PYRT_CONTAINER)
        return refuse(r, -EINVAL, "an unknown side");
    if (op->flags & ~(unsigned)(PYRT_F_OPTIONAL | PYRT_F_AT_EXIT | PYRT_F_BESIDE))
        return refuse(r, -EINVAL, "an unknown flag");
    int rc = 0;
    for (int i = 0; i < PYRT_OP_STRINGS && rc == 0; i++)
        rc = check_string(r, op, i, kind->strings[i]);
    for (int i = 0; i < PYRT_OP_NUMBERS && rc == 0; i++)
        rc = check_number(r, op, i, kind->numbers[i]);
    /* here and not in check_turn: it indexes an array, at exit too */
    if (rc == 0 && op->code == PYRT_OP_USAGE && op->n[0] >= PYRT_USAGE_KINDS)
        rc = refuse(r, -EINVAL, "an unknown kind of usage");
    return rc != 0 ? rc : check_turn(r, op, kind);
}

int plan_validate(const void *bytes, size_t size, struct pyrt_error *err)
{
    struct reading r = {.head = bytes, .err = err};
    const struct pyrt_plan_header *head = bytes;
    if (size < sizeof *head || size > PYRT_PLAN_MAX_SIZE || ((uintptr_t)bytes & 7) != 0)
        return refuse(&r, -EBADMSG, "not the size of a plan");
    if (head->magic != PYRT_PLAN_MAGIC)
        return refuse(&r, -EBADMSG, "no plan (wrong magic number)");
    if (head->version != PYRT_PLAN_VERSION || head->header_size != sizeof *head)
        return refuse(&r, -EPROTO, "a plan of another version");
    if (head->total_size != size || head->op_count == 0 || head->op_count > PYRT_PLAN_MAX_OPS || head->reserved != 0)
        return refuse(&r, -EBADMSG, "a header that does not fit its plan");
    if (head->ops_off != sizeof *head || (size - sizeof *head) / sizeof(struct pyrt_op) < head->op_count)
        return refuse(&r, -EBADMSG, "ops outside the plan");
    uint32_t ops_end = head->ops_off + head->op_count * (uint32_t)sizeof(struct pyrt_op);
    if (head->blob_off != ops_end || head->blob_size == 0 || head->blob_size != size - ops_end)
        return refuse(&r, -EBADMSG, "a blob outside the plan");
    r.blob = (const char *)bytes + head->blob_off;
    if (r.blob[0] != '\0' || r.blob[head->blob_size - 1] != '\0')
        return refuse(&r, -EBADMSG, "a blob that does not end");
    r.ops = (const struct pyrt_op *)(const void *)((const char *)bytes + head->ops_off);
    for (r.at = 0; r.at < head->op_count; r.at++) {
        int rc = check_op(&r, &r.ops[r.at]);
        if (rc != 0)
            return rc;
    }
    if (!r.executed)
        return refuse(&r, -EINVAL, "a plan without execve");
    return 0;
}
