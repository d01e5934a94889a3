/* SPDX-License-Identifier: Apache-2.0 */
/* Paths inside a root that somebody else filled: every trap stays inside, with openat2 and without it. */
#include "base/fallback.h"
#include "base/path.h"
#include "check.h"
#include "fake.h"

#include <sys/stat.h>

static int root;

static void write_text(const char *path, const char *text)
{
    CHECK_INT(sys_write_file(AT_FDCWD, path, text, strlen(text), O_CREAT | O_TRUNC), 0);
}

/* DIR/root is the root; DIR/secret and DIR/out/ lie outside of it. */
static void make_trap(void)
{
    char here[512], text[600];
    CHECK(getcwd(here, sizeof(here)) != NULL);
    mkdir("root", 0755);
    mkdir("root/etc", 0755);
    mkdir("root/a", 0755);
    mkdir("root/a/b", 0755);
    mkdir("root/out", 0755);
    mkdir("out", 0755);
    write_text("secret", "outside");
    write_text("out/file", "outside");
    write_text("root/secret", "inside");
    write_text("root/out/file", "inside");
    write_text("root/etc/passwd", "inside");
    snprintf(text, sizeof(text), "%s/secret", here);
    CHECK_INT(symlink(text, "root/absolute_host"), 0);
    CHECK_INT(symlink("/secret", "root/absolute"), 0);
    CHECK_INT(symlink("../secret", "root/dotdot"), 0);
    CHECK_INT(symlink("../../../../../../secret", "root/a/b/far"), 0);
    CHECK_INT(symlink("../out", "root/middle"), 0);
    CHECK_INT(symlink("/../out", "root/a/middle"), 0);
    CHECK_INT(symlink("/new/dir", "root/dangling"), 0);
    CHECK_INT(symlink("../../fresh", "root/a/b/dangling"), 0);
    CHECK_INT(symlink("loop", "root/loop"), 0);
    CHECK_INT(symlink("pong", "root/ping"), 0);
    CHECK_INT(symlink("ping", "root/pong"), 0);
    CHECK_INT(symlink("etc/", "root/slashed"), 0);
    root = open("root", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

struct row {
    const char *path;
    int flags;
    int rc;           /* 0: it opens, and reads "inside" if it is a file */
};

static void check_row(const struct row *row)
{
    char text[32] = "";
    int fd = path_open_in(root, row->path, (uint64_t)row->flags, 0);
    if ((fd < 0 ? fd : 0) != row->rc)
        printf("path %s flags %#x: %d, not %d\n", row->path, row->flags, fd, row->rc), check_failures++;
    if (fd >= 0 && row->flags == O_RDONLY) {
        CHECK(read(fd, text, sizeof(text) - 1) == 6);
        CHECK_STR(text, "inside");
    }
    if (fd >= 0) {
        CHECK_INT(fcntl(fd, F_GETFD), FD_CLOEXEC);
        close(fd);
    }
}

static void test_open(void)
{
    static const struct row rows[] = {
        {"secret", O_RDONLY, 0},
        {"/secret", O_RDONLY, 0},
        {"//secret", O_RDONLY, 0},
        {"./secret", O_RDONLY, 0},
        {"../secret", O_RDONLY, 0},
        {"../../../../secret", O_RDONLY, 0},
        {"a/b/../../../secret", O_RDONLY, 0},
        {"absolute", O_RDONLY, 0},
        {"dotdot", O_RDONLY, 0},
        {"a/b/far", O_RDONLY, 0},
        {"middle/file", O_RDONLY, 0},
        {"a/middle/file", O_RDONLY, 0},
        {"middle/../secret", O_RDONLY, 0},
        {"slashed/passwd", O_RDONLY, 0},
        {"absolute_host", O_RDONLY, -ENOENT},
        {"absolute_host", O_PATH | O_NOFOLLOW, 0},
        {"absolute", O_RDONLY | O_NOFOLLOW, -ELOOP},
        {"loop", O_PATH, -ELOOP},
        {"ping/x", O_PATH, -ELOOP},
        {"dangling", O_PATH, -ENOENT},
        {"secret/", O_PATH, -ENOTDIR},
        {"secret/x", O_PATH, -ENOTDIR},
        {"secret", O_PATH | O_DIRECTORY, -ENOTDIR},
        {"nothing", O_PATH, -ENOENT},
        {"nothing/", O_PATH, -ENOENT},
        {"a/b", O_PATH | O_DIRECTORY, 0},
        {"a/b/", O_PATH, 0},
        {"/", O_PATH, 0},
        {"", O_PATH, 0},
        {"..", O_PATH | O_DIRECTORY, 0},
        {".", O_PATH, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_row(&rows[i]);
    char longest[300];
    memset(longest, 'x', sizeof(longest));
    longest[299] = '\0';
    check_row(&(struct row){longest, O_PATH, -ENAMETOOLONG});
}

static void test_nolink(void)
{
    static const struct row rows[] = {{"etc/passwd", O_PATH, 0}, {"absolute", O_PATH, -ELOOP}, {"middle/file", O_PATH, -ELOOP}, {"a/../etc", O_PATH, 0}, {"no", O_PATH, -ENOENT}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int fd = path_open_nolink_in(root, rows[i].path, O_PATH);
        CHECK_INT(fd < 0 ? fd : 0, rows[i].rc);
        if (fd >= 0)
            close(fd);
    }
}

static void test_create(void)
{
    int fd = path_open_in(root, "dangling_file", O_CREAT | O_EXCL | O_WRONLY, 0640);
    CHECK(fd >= 0);
    close(fd);
    CHECK_INT(path_open_in(root, "absolute", O_CREAT | O_EXCL | O_WRONLY, 0600), -EEXIST);
    CHECK_INT(unlink("root/dangling_file"), 0);
}

/* The links of procfs that jump are refused, its plain ones work. */
static void test_magic(void)
{
    int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    static const char *const magic[] = {"self/root", "self/cwd/x", "self/exe", "self/fd/0", "self/ns/mnt", "self/root/etc/passwd"};
    for (size_t i = 0; i < sizeof(magic) / sizeof(magic[0]); i++)
        CHECK_INT(path_open_in(proc, magic[i], O_PATH, 0), -ELOOP);
    int fd = path_open_in(proc, "self/status", O_RDONLY, 0);
    CHECK(fd >= 0);
    close(fd);
    fd = path_open_in(proc, "mounts", O_PATH, 0);
    CHECK(fd >= 0);
    close(fd);
    close(proc);
}

static unsigned mode_of(const char *path)
{
    struct stat st;
    return lstat(path, &st) < 0 ? 0 : st.st_mode;
}

static void test_mkdirs(void)
{
    int made = 7;
    umask(077);
    int fd = path_mkdirs_in(root, "m/n/o", 0751, (uid_t)-1, (gid_t)-1, &made);
    CHECK(fd >= 0);
    close(fd);
    CHECK_INT(made, 1);
    CHECK_INT(mode_of("root/m"), S_IFDIR | 0751);
    CHECK_INT(mode_of("root/m/n/o"), S_IFDIR | 0751);
    CHECK_INT(umask(077), 077);
    fd = path_mkdirs_in(root, "m/n/o", 0700, (uid_t)-1, (gid_t)-1, &made);
    CHECK_INT(made, 0);
    CHECK_INT(mode_of("root/m/n/o"), S_IFDIR | 0751);
    close(fd);
    fd = path_mkdirs_in(root, "m/sticky", 01777, (uid_t)-1, (gid_t)-1, &made);
    CHECK_INT(mode_of("root/m/sticky"), S_IFDIR | 01777);
    close(fd);
    fd = path_mkdirs_in(root, "m/setgid", 02775, (uid_t)-1, (gid_t)-1, &made);
    CHECK_INT(mode_of("root/m/setgid"), S_IFDIR | 02775);
    close(fd);
    CHECK_INT(path_mkdirs_in(root, "secret/x", 0755, (uid_t)-1, (gid_t)-1, NULL), -ENOTDIR);
    CHECK_INT(path_mkdirs_in(root, "secret", 0755, (uid_t)-1, (gid_t)-1, NULL), -ENOTDIR);
    CHECK_INT(path_mkdirs_in(root, "loop/x", 0755, (uid_t)-1, (gid_t)-1, NULL), -ELOOP);
    /* through a dangling link: made where the link points, seen from the root */
    fd = path_mkdirs_in(root, "dangling/sub", 0755, (uid_t)-1, (gid_t)-1, NULL);
    CHECK(fd >= 0);
    close(fd);
    CHECK_INT(mode_of("root/new/dir/sub"), S_IFDIR | 0755);
    fd = path_mkdirs_in(root, "../../escape/x", 0755, (uid_t)-1, (gid_t)-1, NULL);
    CHECK(fd >= 0);
    close(fd);
    CHECK_INT(mode_of("root/escape/x"), S_IFDIR | 0755);
    CHECK_INT(mode_of("escape"), 0);
    CHECK_INT(system("rm -r root/m root/new root/escape"), 0);
}

static void test_parent(void)
{
    char name[256];
    int fd = path_parent_in(root, "/etc/passwd", 0, name);
    CHECK(fd >= 0);
    CHECK_STR(name, "passwd");
    close(fd);
    fd = path_parent_in(root, "top//", 0, name);
    CHECK(fd >= 0);
    CHECK_STR(name, "top");
    close(fd);
    static const char *const bad[] = {"", "/", "a/..", "..", ".", "etc/."};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK_INT(path_parent_in(root, bad[i], 0, name), -EINVAL);
    CHECK_INT(path_parent_in(root, "no/file", 0, name), -ENOENT);
    fd = path_parent_in(root, "made/here/file", 1, name);
    CHECK(fd >= 0);
    close(fd);
    CHECK_INT(mode_of("root/made/here"), S_IFDIR | 0755);
    CHECK_INT(system("rm -r root/made"), 0);
}

static void test_target(void)
{
    int fd = path_target_in(root, "t/dir", 1, 0700);
    CHECK(fd >= 0);
    close(fd);
    CHECK_INT(mode_of("root/t/dir"), S_IFDIR | 0700);
    fd = path_target_in(root, "t/sub/file", 0, 0644);
    CHECK(fd >= 0);
    close(fd);
    CHECK_INT(mode_of("root/t/sub/file"), S_IFREG | 0644);
    CHECK_INT(path_target_in(root, "t/dir", 0, 0644), -EISDIR);
    CHECK_INT(path_target_in(root, "t/sub/file", 1, 0755), -ENOTDIR);
    /* a dangling link as target: its inside goal is made, nothing outside */
    fd = path_target_in(root, "a/b/dangling", 0, 0644);
    CHECK(fd >= 0);
    close(fd);
    CHECK_INT(mode_of("root/fresh"), S_IFREG | 0644);
    CHECK_INT(mode_of("fresh"), 0);
    fd = path_target_in(root, "absolute_host", 0, 0644);
    CHECK(fd >= 0);
    close(fd);
    char text[16];
    CHECK_INT(slurp("secret", text, sizeof(text)), 0);
    CHECK_STR(text, "outside");
    CHECK_INT(system("cd root && rm -r t fresh $(ls -A | grep -vx -e etc -e a -e out -e secret -e absolute_host -e absolute -e dotdot "
                     "-e middle -e dangling -e loop -e ping -e pong -e slashed) 2>/dev/null; true"), 0);
}

static void test_host(void)
{
    int made;
    char path[32];
    CHECK_INT(path_mkdirs("h/i/j/", 0750, &made), 0);
    CHECK_INT(made, 1);
    CHECK_INT(mode_of("h/i/j"), S_IFDIR | 0750);
    CHECK_INT(path_mkdirs("h/i/j", 0700, &made), 0);
    CHECK_INT(made, 0);
    CHECK_INT(path_mkdirs("secret", 0700, &made), -ENOTDIR);
    CHECK_INT(path_mkdirs("", 0700, &made), -ENOENT);
    CHECK_INT(system("rm -r h"), 0);
    path_of_fd(1234, path);
    CHECK_STR(path, "/proc/self/fd/1234");
}

/* Random paths over the traps: whatever comes back is inside, and both ways agree. */
static void test_agree(void)
{
    static const char *const parts[] = {"..", ".", "a", "b", "etc", "middle", "dotdot", "absolute", "absolute_host", "out", "file", "loop", "slashed", "dangling", "", "secret", "far"};
    unsigned seed = 12345;
    for (int i = 0; i < 3000; i++) {
        char path[256] = "";
        int count = 1 + (int)((seed >> 16) % 6);
        for (int j = 0; j < count; j++) {
            seed = seed * 1103515245u + 12345u;
            strcat(path, parts[(seed >> 16) % (sizeof(parts) / sizeof(parts[0]))]);
            if (j + 1 < count || (seed >> 29) == 0)
                strcat(path, "/");
        }
        int flags = (seed >> 28) & 1 ? O_PATH | O_NOFOLLOW : O_PATH;
        pyrt_force_old = 0;
        int one = path_open_in(root, path, (uint64_t)flags, 0);
        pyrt_force_old = OLD_OPENAT2;
        int two = path_open_in(root, path, (uint64_t)flags, 0);
        struct stat a, b;
        int same = one < 0 || two < 0 ? one == two : fstat(one, &a) == 0 && fstat(two, &b) == 0 && a.st_ino == b.st_ino;
        if (!same)
            printf("%s: %d and %d differ\n", path, one, two), check_failures++;
        if (one >= 0)
            close(one);
        if (two >= 0)
            close(two);
    }
}

static int lowest_fd(void)
{
    int fd = open("/", O_PATH);
    close(fd);
    return fd;
}

int main(void)
{
    char dir[] = "path.XXXXXX";
    CHECK(mkdtemp(dir) != NULL && chdir(dir) == 0);
    make_trap();
    int before = lowest_fd();
    for (int old = 0; old < 2; old++) {
        pyrt_force_old = old ? OLD_OPENAT2 : 0;
        test_open();
        test_nolink();
        test_create();
        test_magic();
        test_mkdirs();
        test_parent();
        test_target();
        test_host();
    }
    test_agree();
    CHECK_INT(lowest_fd(), before);
    close(root);
    CHECK_INT(chdir(".."), 0);
    char remove_all[64];
    snprintf(remove_all, sizeof(remove_all), "rm -r %s", dir);
    CHECK_INT(system(remove_all), 0);
    return done();
}
