/* SPDX-License-Identifier: Apache-2.0 */
/* Mount ops on a real kernel, in a mount namespace of their own: by the new mount API, and again by each of its fallbacks. */
#include "mounts.h"

#define TMPFS 0x01021994
#define PROCFS 0x9fa0

static char sandbox[64];

static void test_tmpfs(void)
{
    CHECK_INT(do_mount("tmpfs", "tmpfs", "/t", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME, OPTIONS("mode=1777", "size=64k")), 0);
    CHECK_INT(type_at("rootfs/t"), TMPFS);
    CHECK_INT(flags_at("rootfs/t") & 0x40f, MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME);
    CHECK(mounted("/rootfs/t", "size=64k"));
    struct stat st;
    CHECK_INT(stat("rootfs/t", &st), 0);
    CHECK_INT(st.st_mode & 07777, 01777);
    CHECK_INT(do_mount("tmpfs", "tmpfs", "ro", MS_RDONLY, NULL), 0);
    CHECK_INT(open("rootfs/ro/x", O_CREAT | O_WRONLY, 0600), -1);
    CHECK_INT(errno, EROFS);
    CHECK_INT(do_mount("", "", "/t", MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID, NULL), 0);
    CHECK_INT(flags_at("rootfs/t") & 0xf, MS_RDONLY | MS_NOSUID);
}

static void test_targets(void)
{
    char outside[256];
    mkdir("outside", 0755);
    CHECK(getcwd(outside, sizeof(outside) - 9) != NULL);
    strcat(outside, "/outside");
    CHECK_INT(symlink(outside, "rootfs/absolute"), 0);
    CHECK_INT(symlink("../outside", "rootfs/dotdot"), 0);
    CHECK_INT(symlink("../../../outside/deeper", "rootfs/dangling"), 0);
    static const char *const targets[] = {"/absolute", "/dotdot", "/dangling", "/dotdot/sub/dir", "/../../outside"};
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
        CHECK_INT(do_mount("tmpfs", "tmpfs", targets[i], 0, NULL), 0);
    CHECK_INT(rmdir("outside"), 0); /* nothing was made in it */
    CHECK(mounted("/rootfs/outside", NULL));
    CHECK(mounted("/rootfs/outside/deeper", NULL));
    put_file("rootfs/plain", "");
    CHECK_INT(do_mount("tmpfs", "tmpfs", "/plain", 0, NULL), -ENOTDIR);
}

static void test_kernel_views(void)
{
    CHECK_INT(symlink("/elsewhere", "rootfs/proc"), 0);
    CHECK_INT(do_mount("proc", "proc", "/proc", 0, NULL), -ELOOP);
    CHECK(strstr(fake_detail(), "symbolic link") != NULL);
    CHECK_INT(unlink("rootfs/proc"), 0);
    CHECK_INT(do_mount("proc", "proc", "/proc", MS_NOSUID, NULL), 0);
    CHECK_INT(type_at("rootfs/proc"), PROCFS);
    CHECK(mnt_proc_fd >= 0);
}

static void test_errors(void)
{
    CHECK_INT(do_mount("nosuchfs", "none", "/e", 0, NULL), -ENODEV);
    CHECK(strstr(fake_detail(), "nosuchfs") != NULL);
    CHECK_INT(do_mount("tmpfs", "none", "/e", 0, OPTIONS("bogus=1")), -EINVAL);
    if (!(pyrt_force_old & OLD_FSOPEN)) { /* the kernel's own words */
        CHECK(strstr(fake_detail(), "bogus") != NULL);
        CHECK(strstr(fake_detail(), "nknown parameter") != NULL);
    }
    CHECK_INT(do_mount("overlay", "overlay", "/e", 0, OPTIONS("lowerdir+=/no/such/layer", "lowerdir+=/")), -ENOENT);
    struct pyrt_op *op = new_op(PYRT_OP_MOUNT);
    op->s[1] = fake_text("/not/there");
    op->s[2] = fake_text("tmpfs");
    op->n[2] = PYRT_AT_ROOT;
    op->n[4] = 0x10000;
    CHECK_INT(fake_run(op_mount, op), -ENOENT);
}

/* Layers with names that need escapes, and more of them than one page of options holds. */
static void test_overlay(void)
{
    char here[256], layer[3][600], upper[400], work[400];
    CHECK(getcwd(here, sizeof(here)) != NULL);
    static const char *const names[] = {"low,1", "low:2", "low 3"};
    char file[700];
    for (int i = 0; i < 3; i++) {
        mkdir(names[i], 0755);
        snprintf(file, sizeof(file), "%s/common", names[i]);
        put_file(file, names[i]);
        snprintf(file, sizeof(file), "%s/only%d", names[i], i);
        put_file(file, names[i]);
        snprintf(layer[i], sizeof(layer[i]), "lowerdir+=%s/%s", here, names[i]);
    }
    mkdir("upper", 0755);
    mkdir("work", 0755);
    snprintf(upper, sizeof(upper), "upperdir=%s/upper", here);
    snprintf(work, sizeof(work), "workdir=%s/work", here);
    CHECK_INT(do_mount("overlay", "overlay", "/o", 0, OPTIONS(layer[0], layer[1], layer[2], upper, work)), 0);
    check_text("rootfs/o/common", "low,1");
    check_text("rootfs/o/only1", "low:2");
    check_text("rootfs/o/only2", "low 3");
    put_file("rootfs/o/new", "written");
    check_text("upper/new", "written");
}

static void test_many_layers(void)
{
    static char text[40][512];
    const char *options[41] = {0};
    char here[256], name[220];
    CHECK(getcwd(here, sizeof(here)) != NULL);
    memset(name, 'n', 190);
    for (int i = 0; i < 40; i++) {
        snprintf(name + 190, sizeof(name) - 190, "%d", i);
        CHECK_INT(mkdir(name, 0755), 0);
        snprintf(text[i], sizeof(text[i]), "%s/f%d", name, i);
        put_file(text[i], "x");
        snprintf(text[i], sizeof(text[i]), "lowerdir+=%s/%s", here, name);
        options[i] = text[i];
    }
    CHECK_INT(do_mount("overlay", "overlay", "/many", 0, options), 0);
    check_text("rootfs/many/f0", "x");
    check_text("rootfs/many/f39", "x");
}

static void test_copyup(void)
{
    struct stat st;
    mkdir("rootfs/c", 0755);
    mkdir("rootfs/c/d", 0700);
    put_file("rootfs/c/d/f", "text");
    CHECK_INT(chmod("rootfs/c/d/f", 04755), 0);
    CHECK_INT(chown("rootfs/c/d", 12, 34), 0);
    CHECK_INT(symlink("d/f", "rootfs/c/link"), 0);
    CHECK_INT(mkfifo("rootfs/c/fifo", 0640), 0);
    CHECK_INT(do_mount("tmpfs", "tmpfs", "/c", MS_RDONLY, OPTIONS("tmpcopyup", "mode=755")), 0);
    CHECK_INT(type_at("rootfs/c"), TMPFS);
    CHECK_INT(flags_at("rootfs/c") & 1, 1);
    check_text("rootfs/c/link", "text");
    CHECK_INT(stat("rootfs/c/d/f", &st), 0);
    CHECK_INT(st.st_mode & 07777, 04755);
    CHECK_INT(stat("rootfs/c/d", &st), 0);
    CHECK(st.st_uid == 12 && st.st_gid == 34 && (st.st_mode & 07777) == 0700);
    CHECK_INT(stat("rootfs/c/fifo", &st), 0);
    CHECK(S_ISFIFO(st.st_mode));
}

static void test_binds(void)
{
    mkdir("src", 0755);
    mkdir("src/sub", 0755);
    put_file("src/file", "source");
    CHECK_INT(raw_mount("tmpfs", "src/sub", "tmpfs", 0, NULL), 0);
    put_file("src/sub/inner", "inner");
    CHECK_INT(do_bind("src", "/flat", 0, 0, 0, 0), 0);
    CHECK_INT(access("rootfs/flat/sub/inner", F_OK), -1);
    CHECK_INT(do_bind("src", "/deep", MS_REC | MS_RDONLY | MS_NOSUID, MS_REC | MS_SLAVE, 0, 0), 0);
    check_text("rootfs/deep/sub/inner", "inner");
    CHECK_INT(flags_at("rootfs/deep") & 0xf, MS_RDONLY | MS_NOSUID);
    CHECK_INT(flags_at("src") & 0xf, 0);
    CHECK_INT(do_bind("src/file", "/etc/new/file", MS_RDONLY, 0, 0, 0), 0);
    check_text("rootfs/etc/new/file", "source");
    CHECK_INT(do_bind("/dev/null", "/dev/null", 0, 0, 0, 0), 0);
    CHECK_INT(sys_write_file(AT_FDCWD, "rootfs/dev/null", "x", 1, 0), 0);
    CHECK_INT(do_bind("src/none", "/none", 0, 0, 0, 1), 0);
    CHECK_INT(do_bind("src/none", "/none", 0, 0, 0, 0), -ENOENT);
    CHECK_INT(do_bind("src", "/absent", 0, 0, 0, 4), -ENOENT);
    CHECK_INT(do_bind("src/file", "/deep", 0, 0, 0, 0), -EISDIR);
    CHECK_INT(do_bind("src", "/etc/new/file", 0, 0, 0, 0), -ENOTDIR);
    /* flags of the source stay, and atime is one choice of three */
    CHECK_INT(do_mount("tmpfs", "tmpfs", "/hard", MS_NOEXEC | MS_NODEV, NULL), 0);
    CHECK_INT(do_bind("/hard", "/harder", MS_NOATIME | MS_NOSUID, 0, 0, 2), 0);
    CHECK_INT(flags_at("rootfs/harder") & 0x40f, MS_NOATIME | MS_NOSUID | MS_NOEXEC | MS_NODEV);
    /* a target behind a planted link stays inside */
    mkdir("outer", 0755);
    CHECK_INT(symlink("../outer", "rootfs/hop"), 0);
    CHECK_INT(do_bind("src", "/hop/x", 0, 0, 0, 0), 0);
    CHECK_INT(access("outer/x", F_OK), -1);
    check_text("rootfs/outer/x/file", "source");
}

static void test_attr(void)
{
    CHECK_INT(do_mount("tmpfs", "tmpfs", "/attr", MS_NOEXEC, NULL), 0);
    struct pyrt_op *op = new_op(PYRT_OP_MOUNT_ATTR);
    op->s[0] = fake_text("/attr");
    op->n[0] = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID;
    op->n[1] = MOUNT_ATTR_NOEXEC;
    op->n[2] = PYRT_AT_ROOT;
    CHECK_INT(fake_run(op_mount_attr, op), 0);
    CHECK_INT(flags_at("rootfs/attr") & 0xf, MS_RDONLY | MS_NOSUID);
    op = new_op(PYRT_OP_PROPAGATION);
    op->s[0] = fake_text("/attr");
    op->n[0] = PYRT_AT_ROOT;
    op->n[1] = MS_SHARED | MS_REC;
    CHECK_INT(fake_run(op_propagation, op), 0);
    CHECK(mounted("/rootfs/attr", "shared:"));
    CHECK_INT(do_path(op_propagation, PYRT_OP_PROPAGATION, "/no/such"), -ENOENT);
}

static void test_tree(void)
{
    if (pyrt_force_old & OLD_OPEN_TREE)
        return;
    mkdir("tree", 0755);
    put_file("tree/leaf", "leaf");
    struct pyrt_op *op = new_op(PYRT_OP_OPEN_TREE);
    op->s[0] = fake_text("tree");
    op->n[0] = 1;
    op->n[1] = 5;
    op->n[2] = PYRT_NO_SLOT;
    CHECK_INT(fake_run(op_open_tree, op), 0);
    CHECK_INT(do_bind("", "/tree", MS_RDONLY, 0, 5, 0), 0);
    check_text("rootfs/tree/leaf", "leaf");
    CHECK_INT(flags_at("rootfs/tree") & 1, 1);
    CHECK_INT(do_bind("", "/tree", 0, 0, 6, 0), -EBADF);
}

static void test_masks(void)
{
    char text[16];
    put_file("rootfs/visible", "secret");
    mkdir("rootfs/private", 0755);
    put_file("rootfs/private/key", "secret");
    mkdir("rootfs/private2", 0755);
    put_file("rootfs/private2/key", "secret");
    static const char *const paths[] = {"/visible", "/private", "/private2", "/nothing", "/nothing/below", "/visible/below"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        CHECK_INT(do_path(op_mask, PYRT_OP_MASK, paths[i]), 0);
    CHECK_INT(sys_read_file(AT_FDCWD, "rootfs/visible", text, sizeof(text)), 0);
    CHECK_INT(access("rootfs/private/key", F_OK), -1);
    CHECK_INT(access("rootfs/private2/key", F_OK), -1);
    CHECK_INT(mkdir("rootfs/private2/x", 0700), -1);
    CHECK_INT(errno, EROFS);
    CHECK_INT(access("rootfs/nothing", F_OK), -1);
    mkdir("rootfs/fixed", 0755);
    CHECK_INT(do_path(op_readonly, PYRT_OP_READONLY, "/fixed"), 0);
    CHECK_INT(mkdir("rootfs/fixed/x", 0700), -1);
    CHECK_INT(do_path(op_readonly, PYRT_OP_READONLY, "/absent"), 0);
    /* below a mounted proc */
    CHECK_INT(do_path(op_mask, PYRT_OP_MASK, "/proc/version"), 0);
    CHECK_INT(sys_read_file(AT_FDCWD, "rootfs/proc/version", text, sizeof(text)), 0);
    CHECK_INT(do_path(op_mask, PYRT_OP_MASK, "/proc/no_such_thing"), 0);
    CHECK_INT(do_path(op_readonly, PYRT_OP_READONLY, "/proc/sys"), 0);
    CHECK_INT(flags_at("rootfs/proc/sys") & 1, 1);
    /* somebody who shares the root puts another directory in its place: the mask still goes to the procfs */
    CHECK_INT(raw_mount("tmpfs", "rootfs/proc", "tmpfs", 0, NULL), 0);
    put_file("rootfs/proc/uptime", "decoy");
    CHECK_INT(do_path(op_mask, PYRT_OP_MASK, "/proc/uptime"), 0);
    check_text("rootfs/proc/uptime", "decoy");
    CHECK_INT(syscall(SYS_umount2, "rootfs/proc", 0), 0);
    CHECK_INT(sys_read_file(AT_FDCWD, "rootfs/proc/uptime", text, sizeof(text)), 0);
    /* a bind on /proc by the plan itself is the /proc from then on */
    CHECK_INT(do_bind("src", "/proc", 0, 0, 0, 0), 0);
    CHECK_INT(do_path(op_mask, PYRT_OP_MASK, "/proc/file"), 0);
    CHECK_INT(sys_read_file(AT_FDCWD, "rootfs/proc/file", text, sizeof(text)), 0);
}

static int body(void)
{
    if (enter_sandbox(sandbox) != 0)
        SKIP("no mount namespace for this user");
    test_tmpfs();
    test_targets();
    test_kernel_views();
    test_errors();
    test_overlay();
    test_many_layers();
    test_copyup();
    test_binds();
    test_attr();
    test_tree();
    test_masks();
    return done();
}

int main(void)
{
    static const unsigned kernels[] = {
        0,
        OLD_LOWERDIR_PLUS,
        OLD_MOUNT_SETATTR,
        OLD_FSOPEN,
        OLD_OPEN_TREE | OLD_FSOPEN | OLD_MOUNT_SETATTR,
        OLD_OPENAT2 | OLD_OPEN_TREE | OLD_FSOPEN | OLD_MOUNT_SETATTR,
    };
    char dir[] = "sandbox.XXXXXX";
    if (geteuid() != 0)
        SKIP("mounting needs root");
    CHECK(mkdtemp(dir) != NULL);
    memcpy(sandbox, dir, sizeof(dir));
    for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++) {
        pyrt_force_old = kernels[i];
        int rc = in_child(body);
        if (rc == 77)
            return 77;
        if (rc != 0)
            printf("without %#x: ended with %d\n", kernels[i], rc), check_failures++;
    }
    CHECK_INT(rmdir(dir), 0);
    return done();
}
