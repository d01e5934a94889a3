/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan decoder. libFuzzer: clang -fsanitize=fuzzer,address,undefined fuzz_plan.c ../../csrc/{plan/kinds,plan/validate,base/sys}.c
 * Without libFuzzer, replay.c runs the same function over files.
 * What is held: whatever the bytes are, validation reads nothing outside them; and after a yes, every string and every byte array that
 * an op can reach lies inside.
 */
#include "../../csrc/plan/plan.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void reach(const struct pyrt_plan_header *head, const struct pyrt_op *op, const char *blob)
{
    const struct op_kind *kind = plan_kind(op->code);
    volatile unsigned sum = 0;
    for (int i = 0; i < PYRT_OP_STRINGS; i++) {
        char k = kind->strings[i];
        if (k == '-')
            continue;
        if (k == 's') {
            sum += (unsigned)strlen(blob + op->s[i]);
            continue;
        }
        uint64_t length = op->n[k >= 'a' ? k - 'a' : k - '0'];
        for (uint64_t at = 0; at < length; at++)
            sum += (unsigned char)blob[op->s[i] + at];
        if (op->s[i] + length > head->blob_size)
            abort();
    }
    (void)sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pyrt_error err;
    memset(&err, 0, sizeof err);
    /* a copy of the exact size, so that the sanitizer sees the first byte too many */
    void *copy = NULL;
    if (posix_memalign(&copy, 16, size != 0 ? size : 1) != 0)
        return 0;
    if (size != 0)
        memcpy(copy, data, size);
    if (plan_validate(copy, size, &err) == 0) {
        const struct pyrt_plan_header *head = copy;
        const struct pyrt_op *ops = (const struct pyrt_op *)(const void *)((const char *)copy + head->ops_off);
        for (uint32_t i = 0; i < head->op_count; i++)
            reach(head, &ops[i], (const char *)copy + head->blob_off);
    } else if (err.error == 0 || err.detail[0] == '\0') {
        abort(); /* a refusal says why */
    }
    free(copy);
    return 0;
}
