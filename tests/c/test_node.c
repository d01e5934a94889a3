/* SPDX-License-Identifier: Apache-2.0 */
/* Directories, links, device nodes and files of the root; device nodes in a user namespace too. */
#include "mounts.h"

#include <sys/sysmacros.h>

static char dir[] = "sandbox.XXXXXX";

static int device(const char *path, const char *host, unsigned mode, unsigned major_number, unsigned minor_number, unsigned uid, unsigned gid)
{
    struct pyrt_op *op = new_op(PYRT_OP_DEVICE);
    op->s[0] = fake_text(path);
    op->s[1] = fake_text(host);
    op->n[0] = mode;
    op->n[1] = major_number;
    op->n[2] = minor_number;
    op->n[3] = uid;
    op->n[4] = gid;
    return fake_run(op_device, op);
}

static int write_file(const char *path, const char *text, unsigned mode)
{
    struct pyrt_op *op = new_op(PYRT_OP_WRITE_FILE);
    op->s[0] = fake_text(path);
    op->s[1] = fake_text(text);
    op->n[0] = strlen(text);
    op->n[1] = mode;
    return fake_run(op_write_file, op);
}

static int link_to(const char *text, const char *path)
{
    struct pyrt_op *op = new_op(PYRT_OP_SYMLINK);
    op->s[0] = fake_text(text);
    op->s[1] = fake_text(path);
    op->n[3] = PYRT_AT_ROOT;
    return fake_run(op_symlink, op);
}

static struct stat look(const char *path)
{
    struct stat st;
    memset(&st, 0, sizeof(st));
    CHECK_INT(lstat(path, &st), 0);
    return st;
}

static void test_devices(void)
{
    umask(077);
    CHECK_INT(device("/dev/null", "/dev/null", S_IFCHR | 0666, 1, 3, 0, 0), 0);
    struct stat st = look("rootfs/dev/null");
    CHECK(S_ISCHR(st.st_mode) && (st.st_mode & 07777) == 0666 && st.st_rdev == makedev(1, 3));
    CHECK_INT(umask(077), 077);
    CHECK_INT(device("/dev/null", "/dev/null", S_IFCHR | 0600, 1, 3, 5, 6), 0);
    st = look("rootfs/dev/null"); /* it was there: its mode and owner stay */
    CHECK((st.st_mode & 07777) == 0666 && st.st_uid == 0);
    CHECK_INT(device("/dev/big", "", S_IFBLK | 0640, 259, 70000, 7, 8), 0);
    st = look("rootfs/dev/big");
    CHECK(S_ISBLK(st.st_mode) && st.st_rdev == makedev(259, 70000) && st.st_uid == 7 && st.st_gid == 8);
    CHECK_INT(device("/dev/fifo", "", S_IFIFO | 0600, 0, 0, 0, 0), 0);
    CHECK(S_ISFIFO(look("rootfs/dev/fifo").st_mode));
    CHECK_INT(device("/dev/null", "", S_IFCHR | 0666, 1, 5, 0, 0), -EEXIST);
    CHECK(strstr(fake_detail(), "/dev/null") != NULL);
}

static void test_planted(void)
{
    mkdir("outside", 0755);
    CHECK_INT(symlink("../outside", "rootfs/hop"), 0);
    CHECK_INT(symlink("../../outside/node", "rootfs/dev/planted"), 0);
    CHECK_INT(device("/dev/planted", "", S_IFCHR | 0666, 1, 3, 0, 0), -EEXIST);
    CHECK_INT(device("/hop/node", "", S_IFCHR | 0666, 1, 3, 0, 0), 0);
    CHECK(S_ISCHR(look("rootfs/outside/node").st_mode));
    CHECK_INT(rmdir("outside"), 0);
    put_file("victim", "precious");
    mkdir("rootfs/etc", 0755);
    CHECK_INT(symlink("../../victim", "rootfs/etc/hosts"), 0);
    CHECK_INT(link("victim", "rootfs/etc/second"), 0);
    CHECK_INT(write_file("/etc/hosts", "new", 0644), 0);
    CHECK_INT(write_file("/etc/second", "new", 0640), 0);
    check_text("victim", "precious");
    check_text("rootfs/etc/hosts", "new");
    CHECK(S_ISREG(look("rootfs/etc/hosts").st_mode));
    CHECK_INT(look("rootfs/etc/second").st_mode & 07777, 0640);
}

static void test_files(void)
{
    CHECK_INT(write_file("/a/b/c", "text", 04755), 0);
    check_text("rootfs/a/b/c", "text");
    CHECK_INT(look("rootfs/a/b/c").st_mode & 07777, 04755);
    CHECK_INT(write_file("/a/b/c", "", 0600), 0);
    check_text("rootfs/a/b/c", "");
    CHECK_INT(write_file("/a/b", "x", 0600), -EISDIR);
    /* a file that is a mount point is written to */
    put_file("lower", "old");
    put_file("rootfs/a/mount", "");
    CHECK_INT(raw_mount("lower", "rootfs/a/mount", NULL, MS_BIND, NULL), 0);
    CHECK_INT(write_file("/a/mount", "new", 0644), 0);
    check_text("lower", "new");
    CHECK_INT(link_to("/proc/self/fd", "/links/fd"), 0);
    CHECK_INT(link_to("other", "/links/fd"), 0);
    char text[32] = "";
    CHECK_INT(readlink("rootfs/links/fd", text, sizeof(text) - 1), 13);
    CHECK_STR(text, "/proc/self/fd");
    struct pyrt_op *op = new_op(PYRT_OP_MKDIR);
    op->s[0] = fake_text("/made/deep");
    op->n[0] = 01770;
    op->n[1] = 11;
    op->n[2] = 12;
    op->n[3] = PYRT_AT_ROOT;
    CHECK_INT(fake_run(op_mkdir, op), 0);
    CHECK_INT(fake_run(op_mkdir, op), 0);
    struct stat st = look("rootfs/made/deep");
    CHECK(st.st_uid == 11 && st.st_gid == 12 && (st.st_mode & 07777) == 01770);
    op->s[0] = fake_text("host/side");
    op->n[3] = PYRT_AT_HOST;
    CHECK_INT(fake_run(op_mkdir, op), 0);
    CHECK_INT(look("host/side").st_uid, 11);
}

static int rooted(void)
{
    if (enter_sandbox(dir) != 0)
        SKIP("no mount namespace for this user");
    test_devices();
    test_planted();
    test_files();
    return done();
}

/* As root of a user namespace no node can be made: the host's is bound. */
static int in_userns(void)
{
    char map[] = "0 0 1";
    if (unshare(CLONE_NEWUSER) != 0)
        SKIP("no user namespaces");
    CHECK_INT(sys_write_file(AT_FDCWD, "/proc/self/setgroups", "deny", 4, 0), 0);
    CHECK_INT(sys_write_file(AT_FDCWD, "/proc/self/uid_map", map, sizeof(map) - 1, 0), 0);
    CHECK_INT(sys_write_file(AT_FDCWD, "/proc/self/gid_map", map, sizeof(map) - 1, 0), 0);
    if (enter_sandbox(dir) != 0)
        SKIP("no mount namespace for this user");
    CHECK_INT(device("/dev/null", "/dev/null", S_IFCHR | 0666, 1, 3, 0, 0), 0);
    CHECK(S_ISCHR(look("rootfs/dev/null").st_mode));
    CHECK_INT(sys_write_file(AT_FDCWD, "rootfs/dev/null", "x", 1, 0), 0);
    CHECK_INT(device("/dev/zero", "/dev/null", S_IFCHR | 0666, 1, 5, 0, 0), -ENODEV);
    CHECK_INT(device("/dev/none", "/dev/no-such-device", S_IFCHR | 0666, 1, 5, 0, 0), -ENOENT);
    CHECK_INT(device("/dev/bare", "", S_IFCHR | 0666, 1, 5, 0, 0), -EPERM);
    /* flags that the outside has locked stay when others are set */
    CHECK_INT(do_bind("/proc/sys", "/sys", MS_RDONLY | MS_REC, 0, 0, 0), 0);
    CHECK_INT(flags_at("rootfs/sys") & 1, 1);
    CHECK_INT(do_bind("/etc/passwd", "/passwd", MS_RDONLY | MS_NOATIME, 0, 0, 0), 0);
    CHECK_INT(flags_at("rootfs/passwd") & 1, 1);
    CHECK_INT(do_mount("tmpfs", "tmpfs", "/t", MS_NODEV, NULL), 0);
    mkdir("rootfs/masked", 0755);
    CHECK_INT(do_path(op_mask, PYRT_OP_MASK, "/masked"), 0);
    CHECK_INT(do_path(op_mask, PYRT_OP_MASK, "/passwd"), 0);
    return done();
}

int main(void)
{
    static int (*const bodies[])(void) = {rooted, in_userns};
    if (geteuid() != 0)
        SKIP("device nodes need root");
    CHECK(mkdtemp(dir) != NULL);
    for (int old = 0; old < 2; old++) {
        pyrt_force_old = old ? OLD_OPENAT2 | OLD_FSOPEN | OLD_OPEN_TREE | OLD_MOUNT_SETATTR : 0;
        for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
            int rc = in_child(bodies[i]);
            if (rc != 0 && rc != 77)
                printf("body %zu, old %d: ended with %d\n", i, old, rc), check_failures++;
        }
    }
    CHECK_INT(rmdir(dir), 0);
    return done();
}
