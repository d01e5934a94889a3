/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a plan: what each op may hold, and whether a run of bytes is a plan at all. */
#ifndef PYRT_PLAN_H
#define PYRT_PLAN_H

#include "../ops/ops.h"

/* where an op may stand */
#define SIDE_H 1u  /* host, before the first clone */
#define SIDE_h 2u  /* host, after it */
#define SIDE_C 4u  /* container */

struct op_kind {
    const char *name;        /* as `pyrt explain` says it */
    uint8_t sides;
    char strings[6];         /* per string: '-' unused, 's' string, '0'..'4' bytes with their length in that number, 'a'..'e' list likewise */
    char numbers[6];         /* per number: '.' anything, 'S' a slot, 'N' a slot or none, 'A' where a path stands */
};

/* NULL for a code that no op has. */
const struct op_kind *plan_kind(uint32_t code);

/* Checks every offset, length, side, slot and the order of the turn (CLONE, ROOT before AT_ROOT, nothing of the host's after GATE, FDS before the one EXEC at the end). After 0, execution needs no
 * bounds check of its own. -EBADMSG: not a plan, -EPROTO: another version, -EINVAL: an op is wrong; err says which and why. */
int plan_validate(const void *bytes, size_t size, struct pyrt_error *err);

/* Runs one op's function, or its undo (0 when it has none). */
int plan_run_op(struct pyrt_ctx *ctx, const struct pyrt_op *op);
int plan_undo_op(struct pyrt_ctx *ctx, const struct pyrt_op *op);

/* Next op from `from` on that takes part in the run proper (not AT_EXIT), or op_count. */
uint32_t plan_next(const struct pyrt_ctx *ctx, uint32_t from);
/* Whether the plan has an op of this code. */
int plan_has(const struct pyrt_ctx *ctx, uint32_t code);

#endif
