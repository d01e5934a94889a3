/* SPDX-License-Identifier: Apache-2.0 */
/* Paths inside a root directory that somebody else filled: always by fd and openat2(2), never by string. */
#ifndef PYRT_BASE_PATH_H
#define PYRT_BASE_PATH_H

#include "sys.h"

/* openat2(2) with RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS below `root`; where openat2 is missing (ENOSYS) a walk component by component with the same
 * result. O_CLOEXEC is added. fd or -errno. EAGAIN (a rename raced) is retried. */
int path_open_in(int root, const char *path, uint64_t flags, uint64_t mode);
/* The same, where a symbolic link in any component, the last included, is ELOOP. Nothing is made. */
int path_open_nolink_in(int root, const char *path, uint64_t flags);
/* mkdir -p inside the root: fd (O_PATH|O_DIRECTORY) of the last one, or -errno. Every component made gets `mode` and, when not -1, uid and gid. *made says whether the last one is new. */
int path_mkdirs_in(int root, const char *path, unsigned mode, uid_t uid, gid_t gid, int *made);
/* O_PATH fd of the parent directory of `path` inside the root (made with 0755 when `make`), and the last component in name (NAME_MAX + 1 bytes). fd or -errno. */
int path_parent_in(int root, const char *path, int make, char name[256]);
/* A mount point: opens it, or makes a directory or an empty file (is_dir) with its parents. O_PATH fd or -errno. */
int path_target_in(int root, const char *path, int is_dir, unsigned mode);
/* mkdir -p on the host for an absolute path. 0 or -errno; *made: the last component is new. */
int path_mkdirs(const char *path, unsigned mode, int *made);
/* "/proc/self/fd/N" into a buffer of 32 bytes, for the calls that take only strings. */
void path_of_fd(int fd, char buffer[32]);

#endif
