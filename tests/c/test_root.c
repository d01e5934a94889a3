/* SPDX-License-Identifier: Apache-2.0 */
/* ROOT and PIVOT: from a plain place, from a chroot, under a shared parent, and without pivot_root. */
#include "mounts.h"

#include <dirent.h>

static char dir[] = "sandbox.XXXXXX";

static int set_root(const char *path, int bind)
{
    struct pyrt_op *op = new_op(PYRT_OP_ROOT);
    op->s[0] = fake_text(path);
    op->n[0] = (uint64_t)bind;
    return fake_run(op_root, op);
}

static int pivot(int no_pivot)
{
    struct pyrt_op *op = new_op(PYRT_OP_PIVOT);
    op->n[0] = (uint64_t)no_pivot;
    int rc = fake_run(op_pivot, op);
    if (rc < 0)
        printf("pivot: %s\n", fake_detail());
    return rc;
}

static int fill_root(void)
{
    if (enter_sandbox(dir) != 0)
        SKIP("no mount namespace for this user");
    mkdir("rootfs/proc", 0755);
    put_file("rootfs/inside", "inside");
    put_file("outside", "outside");
    return 0;
}

/* In the new root: the host is gone, "/" and the working directory are the root, and the context's root fd is it. */
static void check_entered(int only_ours)
{
    char cwd[64];
    check_text("/inside", "inside");
    check_text("inside", "inside");
    CHECK(getcwd(cwd, sizeof(cwd)) != NULL);
    CHECK_STR(cwd, "/");
    CHECK_INT(access("/../outside", F_OK), -1);
    CHECK_INT(access("/usr", F_OK), -1);
    CHECK_INT(faccessat(fake.ctx.root_fd, "inside", F_OK, 0), 0);
    CHECK_INT(raw_mount("proc", "/proc", "proc", 0, NULL), 0);
    char text[16384];
    int lines = 0;
    CHECK_INT(slurp("/proc/self/mountinfo", text, sizeof(text)), 0);
    for (const char *p = text; (p = strchr(p, '\n')); p++)
        lines++;
    if (only_ours)
        CHECK_INT(lines, 2); /* the root and its proc */
}

static int plain(void)
{
    int rc = fill_root();
    if (rc)
        return rc;
    CHECK_INT(set_root("rootfs", 1), 0);
    CHECK_INT(pivot(0), 0);
    check_entered(1);
    return done();
}

static int shared_parent(void)
{
    int rc = fill_root();
    if (rc)
        return rc;
    CHECK_INT(raw_mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL), 0);
    CHECK_INT(set_root("rootfs", 1), 0);
    CHECK_INT(pivot(0), 0);
    check_entered(1);
    return done();
}

static int in_chroot(void)
{
    int rc = fill_root();
    if (rc)
        return rc;
    /* DIR/jail is not a mount, and holds the rootfs and a proc */
    mkdir("jail", 0755);
    mkdir("jail/rootfs", 0755);
    mkdir("jail/proc", 0755);
    CHECK_INT(raw_mount("/proc", "jail/proc", NULL, MS_BIND, NULL), 0);
    CHECK_INT(raw_mount("rootfs", "jail/rootfs", NULL, MS_BIND, NULL), 0);
    CHECK_INT(chroot("jail"), 0);
    CHECK_INT(chdir("/"), 0);
    CHECK_INT(set_root("/rootfs", 1), 0);
    CHECK_INT(pivot(0), 0);
    check_entered(1);
    return done();
}

static int no_pivot(void)
{
    int rc = fill_root();
    if (rc)
        return rc;
    CHECK_INT(set_root("rootfs", 1), 0);
    mkdir("view of proc", 0755); /* a second view of the kernel, with a name that mountinfo escapes */
    CHECK_INT(raw_mount("proc", "view of proc", "proc", 0, NULL), 0);
    CHECK_INT(pivot(1), 0);
    check_entered(0);
    CHECK(!mounted("view of proc", NULL));
    CHECK(!mounted("view\\040of\\040proc", NULL));
    return done();
}

static int errors(void)
{
    int rc = fill_root();
    if (rc)
        return rc;
    CHECK_INT(set_root("nothing", 1), -ENOENT);
    CHECK_INT(set_root("outside", 0), -ENOTDIR);
    SYS(close, fake.ctx.root_fd);
    fake.ctx.root_fd = -1;
    struct pyrt_op *op = new_op(PYRT_OP_PIVOT);
    CHECK_INT(fake_run(op_pivot, op), -EBADF);
    CHECK_INT(do_path(op_mask, PYRT_OP_MASK, "/x"), -EBADF);
    CHECK_INT(do_path(op_readonly, PYRT_OP_READONLY, "/x"), -EBADF);
    CHECK_INT(do_mount("tmpfs", "tmpfs", "/x", 0, NULL), -EBADF);
    /* a root that is no mount cannot be entered, and that is said */
    CHECK_INT(set_root("rootfs", 0), 0);
    op = new_op(PYRT_OP_PIVOT);
    CHECK_INT(fake_run(op_pivot, op), -EINVAL);
    CHECK(fake_detail()[0] != '\0');
    return done();
}

int main(void)
{
    static int (*const bodies[])(void) = {plain, shared_parent, in_chroot, no_pivot, errors};
    if (geteuid() != 0)
        SKIP("mounting needs root");
    CHECK(mkdtemp(dir) != NULL);
    for (int old = 0; old < 2; old++) {
        pyrt_force_old = old ? OLD_OPENAT2 | OLD_FSOPEN | OLD_OPEN_TREE | OLD_MOUNT_SETATTR : 0;
        for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
            int rc = in_child(bodies[i]);
            if (rc == 77)
                return 77;
            if (rc != 0)
                printf("body %zu, old %d: ended with %d\n", i, old, rc), check_failures++;
        }
    }
    CHECK_INT(rmdir(dir), 0);
    return done();
}
