/* SPDX-License-Identifier: Apache-2.0 */
/* The table of ops: name, sides, and what each string and number holds. Its order is that of enum pyrt_op_code. */
#include "plan.h"

#define HOST_SIDES (SIDE_H | SIDE_h)
#define ANY_SIDE (SIDE_H | SIDE_h | SIDE_C)

static const struct op_kind kinds[PYRT_OP_CODES] = {
    [PYRT_OP_CGROUP_MKDIR] = {"cgroup mkdir", SIDE_H, "sbs--", "....."},
    [PYRT_OP_CGROUP_ATTACH] = {"cgroup attach", SIDE_h | SIDE_C, "s----", "....."},
    [PYRT_OP_CGROUP_KILL] = {"cgroup kill", HOST_SIDES, "s----", "....."},
    [PYRT_OP_CGROUP_OPEN] = {"cgroup open", SIDE_H, "s----", "S...."},
    [PYRT_OP_CGROUP_DEVICES] = {"cgroup devices", HOST_SIDES, "s0---", ".N..."},
    [PYRT_OP_WRITE] = {"write", ANY_SIDE, "s0---", "....."},
    [PYRT_OP_USAGE] = {"usage", HOST_SIDES, "ss---", "....."},
    [PYRT_OP_OPEN_TREE] = {"open_tree", SIDE_H, "s----", ".SN.."},
    [PYRT_OP_IDMAP_USERNS] = {"idmap userns", SIDE_H, "sss--", "S...."},
    [PYRT_OP_LISTEN] = {"listen", SIDE_H, "s----", "S...."},
    [PYRT_OP_USERNS_MAP] = {"userns map", SIDE_h, "ss---", "....."},
    [PYRT_OP_HOOK] = {"hook", ANY_SIDE, "sabss", "....."},
    [PYRT_OP_CONNECT] = {"connect", SIDE_H, "s----", "S...."},
    [PYRT_OP_RMTREE] = {"rmtree", HOST_SIDES, "s----", "....."},
    [PYRT_OP_MKDIR_HOST] = {"mkdir host", SIDE_H, "s----", "....."},
    [PYRT_OP_CLONE] = {"clone", SIDE_H | SIDE_C, "-----", ".N..."},
    [PYRT_OP_JOIN_NS] = {"setns", SIDE_C, "s----", ".N..."},
    [PYRT_OP_UNSHARE] = {"unshare", SIDE_C, "-----", "....."},
    [PYRT_OP_TIME_OFFSETS] = {"time offsets", SIDE_C, "0----", "....."},
    [PYRT_OP_PROPAGATION] = {"propagation", SIDE_C, "s----", "A...."},
    [PYRT_OP_MOUNT] = {"mount", SIDE_C, "sssd-", "..A.."},
    [PYRT_OP_BIND] = {"bind", SIDE_C, "ss---", "..AN."},
    [PYRT_OP_MOUNT_ATTR] = {"mount_setattr", SIDE_C, "s----", "..A.."},
    [PYRT_OP_MKDIR] = {"mkdir", SIDE_C, "s----", "...A."},
    [PYRT_OP_SYMLINK] = {"symlink", SIDE_C, "ss---", "...A."},
    [PYRT_OP_DEVICE] = {"device", SIDE_C, "ss---", "....."},
    [PYRT_OP_MASK] = {"mask", SIDE_C, "s----", "....."},
    [PYRT_OP_READONLY] = {"readonly", SIDE_C, "s----", "....."},
    [PYRT_OP_ROOT] = {"root", SIDE_C, "s----", "....."},
    [PYRT_OP_PIVOT] = {"pivot_root", SIDE_C, "-----", "....."},
    [PYRT_OP_WRITE_FILE] = {"write file", SIDE_C, "s0---", "....."},
    [PYRT_OP_CONSOLE] = {"console", SIDE_C, "-----", "N...."},
    [PYRT_OP_SETSID] = {"setsid", SIDE_C, "-----", "....."},
    [PYRT_OP_HOSTNAME] = {"sethostname", SIDE_C, "s----", "....."},
    [PYRT_OP_DOMAINNAME] = {"setdomainname", SIDE_C, "s----", "....."},
    [PYRT_OP_SYSCTL] = {"sysctl", SIDE_C, "ss---", "....."},
    [PYRT_OP_LOOPBACK] = {"loopback up", SIDE_C, "-----", "....."},
    [PYRT_OP_RLIMIT] = {"prlimit", SIDE_C, "-----", "....."},
    [PYRT_OP_OOM_SCORE] = {"oom_score_adj", SIDE_C, "-----", "....."},
    [PYRT_OP_SCHEDULER] = {"sched_setattr", SIDE_C, "0----", "....."},
    [PYRT_OP_IOPRIO] = {"ioprio_set", SIDE_C, "-----", "....."},
    [PYRT_OP_PERSONALITY] = {"personality", SIDE_C, "-----", "....."},
    [PYRT_OP_UMASK] = {"umask", SIDE_C, "-----", "....."},
    [PYRT_OP_NO_NEW_PRIVS] = {"no_new_privs", SIDE_C, "-----", "....."},
    [PYRT_OP_CAP_BOUNDING] = {"capability bounding set", SIDE_C, "-----", "....."},
    [PYRT_OP_SETID] = {"setresuid", SIDE_C, "2----", "....."},
    [PYRT_OP_CAPS] = {"capset", SIDE_C, "-----", "....."},
    [PYRT_OP_SECCOMP] = {"seccomp", SIDE_C, "0sss-", "..N.."},
    [PYRT_OP_APPARMOR] = {"apparmor", SIDE_C, "s----", "....."},
    [PYRT_OP_SELINUX] = {"selinux", SIDE_C, "s----", "....."},
    [PYRT_OP_CWD] = {"chdir", SIDE_C, "s----", "....."},
    [PYRT_OP_KEYRING] = {"keyring", SIDE_C, "s----", "....."},
    [PYRT_OP_FDS] = {"fds", SIDE_C, "-----", "....."},
    [PYRT_OP_FIND_EXEC] = {"find executable", SIDE_C, "ss---", "....."},
    [PYRT_OP_GATE] = {"gate", SIDE_C, "-----", "S...."},
    [PYRT_OP_INIT] = {"init", SIDE_C, "-----", "....."},
    [PYRT_OP_EXEC] = {"execve", SIDE_C, "sab--", "....."},
    [PYRT_OP_PDEATHSIG] = {"pdeathsig", SIDE_C, "-----", "....."},
    [PYRT_OP_NICE] = {"nice", SIDE_C, "-----", "....."},
    [PYRT_OP_MEMPOLICY] = {"set_mempolicy", SIDE_C, "s----", "....."},
};

const struct op_kind *plan_kind(uint32_t code)
{
    return code < PYRT_OP_CODES && kinds[code].name != NULL ? &kinds[code] : NULL;
}
