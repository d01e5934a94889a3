/* SPDX-License-Identifier: Apache-2.0 */
/* Newer kernel interfaces that have a fallback, each a bit. A set bit makes the interface answer ENOSYS, so that tests reach the fallbacks on any kernel. */
#ifndef PYRT_BASE_FALLBACK_H
#define PYRT_BASE_FALLBACK_H

#include <errno.h>

#define OLD_OPENAT2 1u
#define OLD_FSOPEN 2u        /* fsopen, fsconfig, fsmount */
#define OLD_OPEN_TREE 4u     /* open_tree, move_mount */
#define OLD_MOUNT_SETATTR 8u
#define OLD_FACCESSAT2 16u
#define OLD_CLOSE_RANGE 32u
#define OLD_CLONE3 128u      /* before 5.3, and in sandboxes that cannot look into its argument */
#define OLD_INTO_CGROUP 256u /* CLONE_INTO_CGROUP, since 5.7 */
#define OLD_LOWERDIR_PLUS 64u /* overlay before 6.7: no "lowerdir+" */

extern unsigned pyrt_force_old;

/* True for an answer that says "this kernel or sandbox does not have the call". Old container sandboxes answer EPERM for calls they do not know; the fallback
 * then says EPERM again where it was meant. */
static inline int old_kernel(long rc)
{
    return rc == -ENOSYS || rc == -EPERM;
}

#endif
