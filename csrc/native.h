/* SPDX-License-Identifier: Apache-2.0 */
/* What the Python extension exports besides the plan format. Bound by cffi; `pyrt.native` is its only user. */
#ifndef PYRT_NATIVE_H
#define PYRT_NATIVE_H

#include "pyrt.h"

/* cffi:begin */
/* A started executor. */
struct pyrt_process {
    int32_t pid;                 /* the executor, a child of the caller */
    int32_t control_fd;          /* its control socket, close-on-exec */
};

/* Output collected while waiting, and input fed. fds are non-blocking after the first call; -1: none. */
struct pyrt_io {
    int32_t in_fd;               /* fed from `in`, closed (set to -1) at its end */
    int32_t out_fd[2];           /* read to their end, then closed (set to -1) */
    const uint8_t *in;
    size_t in_size;
    size_t in_done;
    uint8_t *out[2];             /* grown with realloc; pyrt_io_free gives them back */
    size_t out_size[2];
    size_t out_room[2];
};

/* Makes the sealed in-memory copy of the executor program that every start runs; once a process (again after a fork is harmless). 0 or -errno. */
int pyrt_executor_load(const char *path);
/* Starts the executor (vfork and exec: the cost does not depend on the caller's memory; the caller's signal handlers and fds are as they were). 0 or -errno. */
int pyrt_spawn(const uint8_t *plan, size_t plan_size, const int32_t *fds, uint32_t nfds, const int32_t *stdio, uint32_t flags, struct pyrt_process *out);
/*
 * Waits for the next message, moving input and output meanwhile. timeout_ms -1: none.
 * 1: *msg is filled (trace messages are stored into `trace`, which has room for `trace_room` entries, and not returned). 0: timed out. -EINTR: a signal
 * arrived (its handler wants to run; call again). -EPIPE: the executor died without a word.
 */
int pyrt_wait(const struct pyrt_process *process, struct pyrt_io *io, int timeout_ms, struct pyrt_msg *msg, struct pyrt_trace_entry *trace, uint32_t trace_room);
/* After the last message: reads what is still in the pipes, the traces if `trace` is given, and reaps the executor. 0 or -errno. */
int pyrt_finish(struct pyrt_process *process, struct pyrt_io *io, struct pyrt_trace_entry *trace, uint32_t trace_room);
int pyrt_send(const struct pyrt_process *process, const uint8_t *bytes, size_t size);
void pyrt_io_free(struct pyrt_io *io);
/* Loads a BPF_PROG_TYPE_CGROUP_DEVICE program (struct bpf_insn[]) to be passed to many starts: its fd (close-on-exec), or -errno. */
int pyrt_device_program(const uint8_t *instructions, size_t size);
/* umount2(MNT_DETACH | UMOUNT_NOFOLLOW). 0 or -errno; a path that is no mount point (any more) is no error. */
int pyrt_detach_mount(const char *path);
/* plan_validate for tests, tools and the fuzzer. */
int pyrt_plan_check(const uint8_t *plan, size_t size, struct pyrt_error *err);
const char *pyrt_op_name(uint32_t code);
/* Eleven bytes: what the five strings and five numbers of an op hold (see kinds.c). 0, or -EINVAL for no op */
int pyrt_op_kind(uint32_t code, char *out, uint8_t *sides);
/* cffi:end */

#endif
