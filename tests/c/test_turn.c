/* SPDX-License-Identifier: Apache-2.0 */
/* The clone of a turn on kernels of other ages: the child starts in its cgroup whoever puts it there. */
#include "base/fallback.h"
#include "launch/launch.h"
#include "fake.h"

#include <sys/stat.h>

#define NAME "pyrt-test-turn"

static char group[256];

/* Where v2 is mounted and may be written to: "" if nowhere. */
static void find_v2(void)
{
    static const char *const places[] = {"/sys/fs/cgroup/unified", "/sys/fs/cgroup"};
    for (size_t i = 0; i < 2; i++) {
        char file[256];
        snprintf(file, sizeof(file), "%s/cgroup.controllers", places[i]);
        snprintf(group, sizeof(group), "%s/" NAME, places[i]);
        if (access(file, F_OK) == 0 && (mkdir(group, 0755) == 0 || errno == EEXIST))
            return;
    }
    group[0] = '\0';
}

/* Starts a shell that looks where it is; its exit status, or what turn_host() said. */
static int start(unsigned old, int again)
{
    static const char args[] = "sh\0-c\0grep -q ':/" NAME "$' /proc/self/cgroup";
    fake_reset();
    fake.ctx.slots[0] = open(group, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct pyrt_op *clone = fake_op(PYRT_OP_CLONE, PYRT_HOST);
    clone->n[1] = again ? PYRT_NO_SLOT : 0;
    if (again) {
        fake_op(PYRT_OP_UMASK, PYRT_CONTAINER)->n[0] = 022;
        fake_op(PYRT_OP_CLONE, PYRT_CONTAINER)->n[1] = 0;
    }
    struct pyrt_op *exec = fake_op(PYRT_OP_EXEC, PYRT_CONTAINER);
    exec->s[0] = fake_text("/bin/sh");
    exec->s[1] = fake_bytes(args, sizeof(args));
    exec->n[0] = sizeof(args);
    pyrt_force_old = old;
    int rc = turn_host(&fake.ctx), status = 0;
    pyrt_force_old = 0;
    close(fake.ctx.slots[0]);
    close(fake.ctx.sync_fd);
    if (rc < 0) {
        printf("%s\n", fake_detail());
        return rc;
    }
    if (waitpid(fake.ctx.child, &status, 0) < 0)
        return -errno;
    CHECK_INT(waitpid(-1, NULL, 0), -1); /* nobody is left behind */
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(void)
{
    find_v2();
    if (group[0] == '\0')
        SKIP("no writable cgroup v2");
    for (int again = 0; again < 2; again++) {
        CHECK_INT(start(0, again), 0);
        CHECK_INT(start(OLD_INTO_CGROUP, again), 0);
        CHECK_INT(start(OLD_INTO_CGROUP | OLD_CLONE3, again), 0);
    }
    rmdir(group);
    return done();
}
