/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pyrt.h: the only public header of the C side, and the only declaration of the plan format.
 *
 * Python reads every number below through cffi (the part between the two markers), so nothing here is
 * written a second time anywhere.
 *
 * A *plan* is a flat program:
 *
 *     struct pyrt_plan_header
 *     struct pyrt_op[op_count]          at ops_off, 64 bytes each
 *     blob                              at blob_off, blob_size bytes; blob[0] == 0 and blob[size-1] == 0
 *
 * An op names its strings and byte arrays by offset into the blob (0 means "none": the empty string). A string is
 * NUL-terminated; a byte array's or list's length in bytes stands in one of the op's numbers (see the table of ops).
 * "list" means NUL-terminated strings back to back, as in /proc/PID/cmdline.
 *
 * Order of execution is the order of the list. Ops before PYRT_OP_CLONE run in the executor on the host. After it, ops
 * with side PYRT_CONTAINER run in the child and ops with side PYRT_HOST in the executor; where the side changes
 * from one op to the next, the two processes hand over by one message, so that exactly one of them is at work at any time.
 * Ops flagged PYRT_F_AT_EXIT run on the host, in their order, after the container's init has been reaped; then what the host
 * ops made is unmade in reverse. When an op fails (and is not PYRT_F_OPTIONAL), the child ends, what was made is unmade, and the
 * error struct says which op it was.
 */
#ifndef PYRT_H
#define PYRT_H

#include <stdint.h>
#include <stddef.h>

/* cffi:begin */
#define PYRT_PLAN_MAGIC 0x50525950   /* "PYRP" little-endian */
#define PYRT_PLAN_VERSION 1
#define PYRT_PLAN_MAX_SIZE 16777216  /* bytes */
#define PYRT_PLAN_MAX_OPS 16384
#define PYRT_OP_STRINGS 5
#define PYRT_OP_NUMBERS 5
#define PYRT_SLOTS 192               /* fd slots of one execution; caller's fds are slots 0..nfds-1 */
#define PYRT_NO_SLOT 65535           /* a slot number that says "none" */
#define PYRT_DETAIL 256

/* side */
#define PYRT_HOST 0
#define PYRT_CONTAINER 1

/* op flags */
#define PYRT_F_OPTIONAL 1            /* failure is noted in the trace, and passed over */
#define PYRT_F_AT_EXIT 2             /* host side, after the container has ended; failures are passed over */

#define PYRT_F_BESIDE 4              /* NETNS_MAKE, straight behind the clone: the executor does it while the child goes on with its own ops */

/* where a path stands */
#define PYRT_AT_HOST 0               /* absolute path in the view of the process that runs the op */
#define PYRT_AT_ROOT 1               /* resolved inside the container's root with openat2(RESOLVE_IN_ROOT); needs PYRT_OP_ROOT before */

/* kinds of PYRT_OP_USAGE */
#define PYRT_USAGE_CPU_NS 0          /* nanoseconds */
#define PYRT_USAGE_CPU_USER_NS 1
#define PYRT_USAGE_CPU_SYSTEM_NS 2
#define PYRT_USAGE_MEMORY_PEAK 3     /* bytes */
#define PYRT_USAGE_OOM_KILLS 4       /* count */
#define PYRT_USAGE_PIDS_PEAK 5       /* count */
#define PYRT_USAGE_IO_READ 6         /* bytes */
#define PYRT_USAGE_IO_WRITE 7        /* bytes */
#define PYRT_USAGE_KINDS 8

/*
 * Ops. s0..s4 are blob offsets, n0..n4 numbers. Sides: H host before clone, h host after clone, C container.
 */
enum pyrt_op_code {
    PYRT_OP_NONE = 0,

    /* -- host side -- */
    PYRT_OP_CGROUP_MKDIR = 1,    /* H   s0 absolute dir; missing parents are made (and kept); n0 bit0: fail with EEXIST if it is there; bit1: cpuset v1,
                                        copy cpuset.cpus/mems down from the parent into each level made; bit2: v2, before making a child write s1 (list of
                                        "+controller", n1 bytes) to cgroup.subtree_control of each level from the mount point s2 down to the parent.
                                        Undo: kill what is left inside (if at all), rmdir (only if made by this op) */
    PYRT_OP_CGROUP_ATTACH = 2,   /* h   s0 dir: write the child's pid to s0/cgroup.procs.   C: writes "0" to it */
    PYRT_OP_CGROUP_KILL = 3,     /* H   usually AT_EXIT: s0 dir: SIGKILL everything in it (cgroup.kill, else freeze-less loop over cgroup.procs), wait until empty */
    PYRT_OP_CGROUP_OPEN = 4,     /* H   s0 dir: O_PATH|O_DIRECTORY fd into slot n0 (for CLONE's n1) */
    PYRT_OP_CGROUP_DEVICES = 5,  /* H   s0 dir (v2), s1 struct bpf_insn[] of n0 bytes: load as BPF_PROG_TYPE_CGROUP_DEVICE and attach (replacing what pyrt attached);
                                        n1 slot of the same program already loaded, used instead where it is filled, or NO_SLOT */
    PYRT_OP_WRITE = 6,           /* H h C   s0 path, s1 data, n0 length of data, n1 bit0: O_CREAT|O_TRUNC 0600: one write(2) */
    PYRT_OP_USAGE = 7,           /* H   AT_EXIT: s0 file, s1 key ("" = first number of the file), n0 kind, n1 multiplier; adds to result.usage[n0]; missing files are passed over */
    PYRT_OP_OPEN_TREE = 8,       /* H   s0 source path, n0 1=recursive, n1 out slot, n2 idmap userns slot or NO_SLOT, n3 attr_set, n4 attr_clr: detached clone, private */
    PYRT_OP_IDMAP_USERNS = 9,    /* H   s0 uid map text, s1 gid map text, n0 out slot: a user namespace fd for idmapped mounts; s2 when not "": path of an existing one */
    PYRT_OP_LISTEN = 10,         /* H   s0 socket path (bound in its directory by fd, 0600), n0 out slot: the listening unix socket for GATE. Undo: unlink */
    PYRT_OP_USERNS_MAP = 11,     /* h   s0 map text ("0 1000 1\n..."), n0 0=uid 1=gid, s1 helper ("" = write /proc/PID/?id_map), n1 for gid: 1 = write "deny" to setgroups first */
    PYRT_OP_HOOK = 12,           /* H h C   s0 path, s1 argv list of n0 bytes, s2 env list of n1 bytes, n2 timeout seconds (0 = none), s3 state JSON up to
                                        the pid, s4 state JSON after it: run to its end with state on stdin; non-zero exit is EIO, time-out ETIMEDOUT */
    PYRT_OP_CONNECT = 13,        /* H   s0 path of a listening unix stream socket, n0 out slot (console socket, seccomp listener, hooks of other makes) */
    PYRT_OP_RMTREE = 14,         /* H   AT_EXIT: s0 dir: removed with all below, never leaving its file system */
    PYRT_OP_MKDIR_HOST = 15,     /* H   s0 path, n0 mode; missing parents made. n1 bit0: undo removes it (rmdir) */

    /* -- the turn -- */
    PYRT_OP_CLONE = 20,          /* H or C   n0 CLONE_NEW* flags, n1 cgroup slot or NO_SLOT (CLONE_INTO_CGROUP). On side C: the second clone of a joining plan: the
                                        new process is a child of the executor (CLONE_PARENT) and goes on with the list, the first one ends */
    PYRT_OP_JOIN_NS = 21,        /* C   s0 path of a namespace file (or "" with n1 = slot of an open one), n0 its CLONE_NEW* type */
    PYRT_OP_UNSHARE = 22,        /* C   n0 CLONE_NEW* flags (cgroup after attaching; time before timens offsets) */
    PYRT_OP_TIME_OFFSETS = 23,   /* C   s0 text for /proc/self/timens_offsets, n0 length */

    /* -- mounts: container side, in its mount namespace, before PIVOT -- */
    PYRT_OP_PROPAGATION = 30,    /* C   s0 path, n0 at, n1 MS_SHARED/SLAVE/PRIVATE/UNBINDABLE with or without MS_REC */
    PYRT_OP_MOUNT = 31,          /* C   s0 source, s1 target, s2 fstype, s3 list of options "key" or "key=value" of n3 bytes, n0 MS_* flags, n1 propagation (MS_*), n2 at,
                                        n4 low 16 bits: mode bits for a target that has to be made (0 = 0755). Overlay: repeat "lowerdir+=DIR" for each layer, top first;
                                        falls back to mount(2) with one lowerdir= string. Bit 16 of n4: do not make the target */
    PYRT_OP_BIND = 32,           /* C   s0 source path (host view) or "" with n3 = slot of a detached tree, s1 target, n0 MS_* flags (MS_REC, MS_RDONLY, MS_NOSUID…: applied to the new
                                        mount), n1 propagation, n2 at, n4 bit0: source may be missing (op then does nothing); bit1: source resolved inside the root; bit2:
                                        do not make the target. Missing target: made as file or directory like the source */
    PYRT_OP_MOUNT_ATTR = 33,     /* C   s0 path, n0 attr_set, n1 attr_clr (MOUNT_ATTR_*), n2 at, n3 1=AT_RECURSIVE */
    PYRT_OP_MKDIR = 34,          /* C   s0 path, n0 mode, n1 uid, n2 gid, n3 at: mkdir -p; owner and mode only set on what was made; existing directories are fine */
    PYRT_OP_SYMLINK = 35,        /* C   s0 target text, s1 link path, n3 at; an existing link is fine */
    PYRT_OP_DEVICE = 36,         /* C   s0 path (at root), n0 mode|S_IFCHR/S_IFBLK/S_IFIFO, n1 major, n2 minor, n3 uid, n4 gid; where mknod is refused: bind of the host's node s1 */
    PYRT_OP_MASK = 37,           /* C   s0 path (at root): /dev/null over a file, empty read-only tmpfs over a directory, nothing if missing */
    PYRT_OP_READONLY = 38,       /* C   s0 path (at root): bound onto itself read-only, nothing if missing */
    PYRT_OP_ROOT = 39,           /* C   s0 path (host view): this is the root from here on. n0 bit0: bind it onto itself first (recursively), making it a mount */
    PYRT_OP_PIVOT = 40,          /* C   n0 0: pivot_root, where that cannot work (ramfs) MS_MOVE + chroot; 1: --no-pivot; 2: chroot
                                        alone, in the host's mount namespace. Root and cwd become the new root; the old one is gone (0, 1) */
    PYRT_OP_WRITE_FILE = 41,     /* C   s0 path (at root, parents made), s1 data of n0 bytes, n1 mode: creates or replaces */
    PYRT_OP_CONSOLE = 42,        /* C   after devpts: opens a pty of the container's /dev/pts, binds it on /dev/console (n2 bit0), makes it the controlling terminal (after SETSID) and
                                        fds 0, 1, 2, sends the master with SCM_RIGHTS over slot n0; n1 = rows<<16 | cols (0 = leave); owner set to uid n3 */

    /* -- the process -- */
    PYRT_OP_SETSID = 50,         /* C */
    PYRT_OP_HOSTNAME = 51,       /* C   s0 */
    PYRT_OP_DOMAINNAME = 52,     /* C   s0 */
    PYRT_OP_SYSCTL = 53,         /* C   s0 key as a path below /proc/sys ("net/ipv4/ip_forward"), s1 value */
    PYRT_OP_LOOPBACK = 54,       /* C   lo up */
    PYRT_OP_RLIMIT = 55,         /* C   n0 RLIMIT_*, n1 soft, n2 hard */
    PYRT_OP_OOM_SCORE = 56,      /* C   n0 as signed 64 bit: -1000..1000 */
    PYRT_OP_SCHEDULER = 57,      /* C   s0 struct sched_attr of n0 bytes */
    PYRT_OP_IOPRIO = 58,         /* C   n0 ioprio value */
    PYRT_OP_PERSONALITY = 59,    /* C   n0 */
    PYRT_OP_UMASK = 60,          /* C   n0 */
    PYRT_OP_NO_NEW_PRIVS = 61,   /* C */
    PYRT_OP_CAP_BOUNDING = 62,   /* C   n0 64-bit mask to keep */
    PYRT_OP_SETID = 63,          /* C   n0 uid, n1 gid, s0 uint32 gids of n2 bytes, n3 bit0: leave supplementary groups alone (setgroups denied). Keeps capabilities for CAPS */
    PYRT_OP_CAPS = 64,           /* C   n0 effective, n1 permitted, n2 inheritable, n3 ambient masks */
    PYRT_OP_SECCOMP = 65,        /* C   s0 struct sock_filter[] of n0 bytes, n1 SECCOMP_FILTER_FLAG_*, n2 slot of a connected socket for the listener fd or NO_SLOT,
                                        s1 JSON sent with it up to the pid, s2 after it (OCI containerProcessState); with s3: up to the second mention of the pid, and s3 after that */
    PYRT_OP_APPARMOR = 66,       /* C   s0 profile, for the coming exec */
    PYRT_OP_SELINUX = 67,        /* C   s0 label, for the coming exec */
    PYRT_OP_CWD = 68,            /* C   s0 */
    PYRT_OP_KEYRING = 69,        /* C   s0 name: joins a new session keyring */
    PYRT_OP_FDS = 70,            /* C   n0 how many of the caller's slots, from slot n1 on, become fds 3, 4, …; all others are closed at exec */
    PYRT_OP_FIND_EXEC = 71,      /* C   s0 file, s1 PATH value: resolves as execvp would; ENOENT or EACCES if it cannot be run. EXEC uses the result */
    PYRT_OP_GATE = 72,           /* C   n0 slot of a LISTEN socket: tells the executor "created", then waits for a connection and one byte */
    PYRT_OP_INIT = 73,           /* C   this process stays as a small init (reaps, forwards signals, ends with its child's status); the list goes on in its child */
    PYRT_OP_EXEC = 74,           /* C   s0 file (or the FIND_EXEC result when ""), s1 argv list of n0 bytes, s2 env list of n1 bytes */
    PYRT_OP_PDEATHSIG = 75,      /* C   n0 signal sent when the executor dies (foreground containers) */
    PYRT_OP_NICE = 76,           /* C   n0 signed */
    PYRT_OP_MEMPOLICY = 77,      /* C   n0 mode|flags, s0 node mask of n1 bits */
    PYRT_OP_NETNS_MAKE = 78,     /* h   always BESIDE: the executor makes a network namespace, its own from here on; n0 bit0: lo up. Making one is the dearest step of
                                        a start, so the child mounts meanwhile, on another CPU */
    PYRT_OP_NETNS_ENTER = 79,    /* C   waits for NETNS_MAKE, and joins what it made */
    PYRT_OP_CODES = 80
};

struct pyrt_op {
    uint16_t code;
    uint8_t side;
    uint8_t flags;
    uint32_t s[5];
    uint64_t n[5];
};

struct pyrt_plan_header {
    uint32_t magic;
    uint16_t version;
    uint16_t header_size;
    uint32_t total_size;
    uint32_t op_count;
    uint32_t ops_off;
    uint32_t blob_off;
    uint32_t blob_size;
    uint32_t reserved;
};

/* What failed. Filled by whoever fails first; error == 0 means nothing did. */
struct pyrt_error {
    int32_t error;               /* errno, positive */
    int32_t op;                  /* index in the plan, -1: none */
    uint16_t code;               /* enum pyrt_op_code */
    uint16_t side;
    uint32_t line;               /* of the C source, for bug reports */
    char detail[256];            /* the step inside the op and its object: "openat2 etc/passwd" */
};

struct pyrt_trace_entry {
    uint64_t begin_ns;           /* CLOCK_MONOTONIC; 0: not run */
    uint64_t end_ns;
    int32_t error;               /* errno of an optional op that failed */
    uint32_t pid;                /* 0: the executor, 1: the child */
};

/* executor -> caller, over the control socket (SOCK_SEQPACKET). Each message is one of these, then (in
 * PYRT_MSG_TRACE) as many trace entries as fit; `count` says how many and `first` where they start. */
#define PYRT_MSG_CREATED 1           /* the child waits at GATE; pid is set. The caller answers PYRT_CMD_ACK, else all is unmade */
#define PYRT_MSG_STARTED 2           /* exec has happened */
#define PYRT_MSG_EXITED 3            /* ended and unmade: last but for traces */
#define PYRT_MSG_FAILED 4            /* never started: error is set: last but for traces */
#define PYRT_MSG_TRACE 5
#define PYRT_MSG_STOPPED 6           /* job control: the container was stopped with the caller's job */
struct pyrt_msg {
    uint32_t type;
    int32_t pid;                 /* of the container's init, host view */
    int32_t wait_status;         /* as wait(2) gives it */
    uint32_t first;
    uint32_t count;
    uint32_t flags;
    uint64_t start_ns;           /* CLOCK_MONOTONIC: executor's first instruction */
    uint64_t exec_ns;            /* exec seen */
    uint64_t exit_ns;            /* init reaped */
    uint64_t done_ns;            /* all unmade */
    uint64_t usage[8];
    struct pyrt_error error;
};

/* caller -> executor: one byte each, or a kill with its signal in the second byte */
#define PYRT_CMD_ACK 65              /* 'A' */
#define PYRT_CMD_KILL 75             /* 'K' + signal byte: to init; SIGKILL ends it for sure */

/* executor run flags (argument of the executor program) */
#define PYRT_RUN_TRACE 1
#define PYRT_RUN_DETACH 2            /* after STARTED (or CREATED + ACK) the executor leaves the container alone and ends */
#define PYRT_RUN_SIGPROXY 4          /* forward what the terminal sends to the caller's process group (^C, ^\\, hang-up) to init's; stop and
                                        continue with the job. Signals sent by kill(2) are the caller's to pass on, with PYRT_CMD_KILL */
#define PYRT_RUN_NOTIFY 8            /* send STARTED also when not detaching */
/* cffi:end */

#endif
