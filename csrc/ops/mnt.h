/* SPDX-License-Identifier: Apache-2.0 */
/* Building blocks of the mount ops: a place that a mount goes to, detached trees, attributes; each with its fallback for kernels before 5.2 and 5.12. */
#ifndef PYRT_OPS_MNT_H
#define PYRT_OPS_MNT_H

#include "../base/fallback.h"
#include "../base/path.h"
#include "ops.h"

#define MNT_MAKE 1u     /* a missing target is made */
#define MNT_NO_LINKS 2u /* no symbolic link on the way */
#define MNT_AT_HIDDEN 2 /* a place's `at` beside PYRT_AT_*: what mnt_open_hidden finds */

/* Where a mount goes: fd is an O_PATH fd of it as it is before the mount. */
struct mnt_place {
    const char *path;
    uint64_t at;
    int fd;
};

/* MOUNT_ATTR_* bits that a set of MS_* flags asks for. */
uint64_t mnt_attrs(uint64_t ms_flags);
/* Opens the place (is_dir and mode: what a missing one becomes). 0 or -errno; the caller closes place->fd. */
int mnt_place_open(struct pyrt_ctx *ctx, struct mnt_place *place, int is_dir, unsigned mode, unsigned how);
/* O_PATH fd of an existing path, links followed. fd or -errno. */
int mnt_open(struct pyrt_ctx *ctx, const char *path, uint64_t at);
/* 1, 0 or -errno. */
int mnt_is_dir(int fd);
/* The same file or directory behind both fds? 1, 0 or -errno. */
int mnt_same(int one, int other);

/* Detached copy of what is mounted at an fd: fd or -errno (ENOSYS: see mnt_bind). */
int mnt_clone(int source, int recursive);
/* Attaches a detached tree to an open place. 0 or -errno. */
int mnt_attach(int tree, int target);
/* The same, with MOUNT_ATTR_* set and cleared on its top mount before anybody sees it (where the kernel can, else right after). */
int mnt_attach_set(int tree, int target, uint64_t set, uint64_t clear);
/* Binds `source` to a place, by the new calls or by mount(2): fd of the new mount, or -errno. */
int mnt_bind(struct pyrt_ctx *ctx, int source, const struct mnt_place *place, int recursive);
/* Sets and clears MOUNT_ATTR_* on the mount of an fd; propagation 0 leaves that alone. Falls back to mount(2) when not recursive. 0 or -errno. */
int mnt_setattr(int fd, uint64_t set, uint64_t clear, uint64_t propagation, int recursive);
/* Propagation alone (MS_PRIVATE… with or without MS_REC). 0 or -errno. */
int mnt_propagate(int fd, uint64_t flags);
/* The same as MS_* flags: what a remount has to repeat to keep it. */
uint64_t mnt_flags_of(int fd);

/* Copies what is in the directory `from` into `to`, without leaving from's file system. 0 or -errno. */
int copyup_tree(int from, int to);

/* The procfs that was mounted on /proc of the root, else -1: what is masked below /proc is looked up from it, whatever is done to the name meanwhile. */
extern int mnt_proc_fd;
/* To be told after each mount inside the root: keeps mnt_proc_fd what /proc is (proc: fd of a new procfs, which stays the caller's, or -1). */
void mnt_note_proc(const struct mnt_place *place, int proc);
/* Opens an existing path of the root for MASK and READONLY. fd, or -errno; -ENOENT: nothing there to hide. */
int mnt_open_hidden(struct pyrt_ctx *ctx, const char *path);

#endif
