/* SPDX-License-Identifier: Apache-2.0 */
/* The whole test framework of the C side: a check that fails says where and goes on; done() is what main returns. */
#ifndef PYRT_TESTS_CHECK_H
#define PYRT_TESTS_CHECK_H

#include <stdio.h>
#include <string.h>

static int check_failures;

#define CHECK(condition)                                                        \
    do {                                                                        \
        if (!(condition)) {                                                     \
            check_failures++;                                                   \
            printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);      \
        }                                                                       \
    } while (0)

#define CHECK_INT(got, wanted)                                                                            \
    do {                                                                                                  \
        long long got_ = (long long)(got), wanted_ = (long long)(wanted);                                 \
        if (got_ != wanted_) {                                                                            \
            check_failures++;                                                                             \
            printf("%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #got, got_, wanted_);             \
        }                                                                                                 \
    } while (0)

#define CHECK_STR(got, wanted)                                                                            \
    do {                                                                                                  \
        const char *got_ = (got), *wanted_ = (wanted);                                                    \
        if (strcmp(got_, wanted_) != 0) {                                                                 \
            check_failures++;                                                                             \
            printf("%s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__, #got, got_, wanted_);         \
        }                                                                                                 \
    } while (0)

/* Leaves main with the code that says "this kernel cannot do it". */
#define SKIP(why)         \
    do {                  \
        puts(why);        \
        return 77;        \
    } while (0)

static inline int done(void)
{
    fflush(NULL);
    return check_failures != 0;
}

#endif
