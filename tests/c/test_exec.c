/* SPDX-License-Identifier: Apache-2.0 */
/* FIND_EXEC, EXEC and INIT. */
#include "base/fallback.h"
#include "check.h"
#include "fake.h"

#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>

static char dir[] = "exec.XXXXXX";

static void script(const char *path, const char *text, unsigned mode)
{
    CHECK_INT(sys_write_file(AT_FDCWD, path, text, strlen(text), O_CREAT | O_TRUNC), 0);
    CHECK_INT(chmod(path, mode), 0);
}

static int find(const char *file, const char *path)
{
    fake_reset();
    struct pyrt_op *op = fake_op(PYRT_OP_FIND_EXEC, PYRT_CONTAINER);
    op->s[0] = fake_text(file);
    op->s[1] = fake_text(path);
    return fake_run(op_find_exec, op);
}

static void test_find(void)
{
    mkdir("bin", 0755);
    mkdir("sbin", 0755);
    mkdir("bin/folder", 0755);
    script("bin/tool", "#!/bin/sh\n", 0755);
    script("sbin/tool", "#!/bin/sh\n", 0755);
    script("bin/plain", "text", 0644);
    script("sbin/plain", "#!/bin/sh\n", 0755);
    script("here", "#!/bin/sh\n", 0755);
    static const struct {
        const char *file, *path, *found;
        int rc;
    } rows[] = {
        {"tool", "bin:sbin", "bin/tool", 0},
        {"tool", "sbin/:bin", "sbin/tool", 0},
        {"tool", "none:bin", "bin/tool", 0},
        {"tool", "bin/plain:sbin", "sbin/tool", 0},
        {"plain", "bin:sbin", "sbin/plain", 0},
        {"plain", "bin", "", -EACCES},
        {"folder", "bin", "", -EACCES},
        {"folder", "bin:sbin", "", -EACCES},
        {"nothing", "bin:sbin", "", -ENOENT},
        {"here", "bin:", "./here", 0},
        {"here", ":bin", "./here", 0},
        {"here", "bin", "", -ENOENT},
        {"./here", "bin", "./here", 0},
        {"bin/tool", "", "bin/tool", 0},
        {"bin/plain", "", "", -EACCES},
        {"bin/none", "", "", -ENOENT},
        {"bin/tool/x", "", "", -ENOTDIR},
        {"/", "", "", -EACCES},
        {"", "bin", "", -ENOENT},
        {"sh", "", NULL, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CHECK_INT(find(rows[i].file, rows[i].path), rows[i].rc);
        if (rows[i].found)
            CHECK_STR(fake.ctx.exec_path, rows[i].found);
        if (rows[i].rc < 0)
            CHECK(strstr(fake_detail(), rows[i].file) != NULL);
    }
    char longest[5000];
    memset(longest, 'x', sizeof(longest));
    longest[4999] = '\0';
    CHECK_INT(find(longest, "bin"), -ENOENT);
    longest[0] = '/';
    CHECK_INT(find(longest, ""), -ENAMETOOLONG);
}

/* Appends EXEC with arguments up to NULL; runs it. */
static int exec_it(const char *file, const char *const *arguments, const char *const *environment)
{
    char list[2][4096];
    size_t size[2] = {0, 0};
    const char *const *const texts[2] = {arguments, environment};
    for (int i = 0; i < 2; i++)
        for (const char *const *p = texts[i]; *p; p++) {
            memcpy(list[i] + size[i], *p, strlen(*p) + 1);
            size[i] += strlen(*p) + 1;
        }
    struct pyrt_op *op = fake_op(PYRT_OP_EXEC, PYRT_CONTAINER);
    op->s[0] = fake_text(file);
    op->s[1] = fake_bytes(list[0], size[0]);
    op->s[2] = fake_bytes(list[1], size[1]);
    op->n[0] = size[0];
    op->n[1] = size[1];
    return fake_run(op_exec, op);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static int argument_body(void)
{
    fake_reset();
    exec_it("/bin/sh", WORDS("sh", "-c", "[ \"$#\" = 3 ] && [ \"$1\" = '' ] && [ \"$2\" = 'a b' ] && [ \"$KEY\" = value ] && [ -z \"$HOME\" ] && exit 42", "name", "", "a b", "c"),
            WORDS("KEY=value"));
    return 1;
}

static int found_body(void)
{
    if (find("tool", "bin") != 0)
        return 1;
    exec_it("", WORDS("tool"), WORDS("A=1"));
    return 1;
}

/* What the caller ignored and blocked is not left to the program. */
static int signal_body(void)
{
    fake_reset();
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (int i = 1; i < 65; i++)
        signal(i, SIG_IGN);
    exec_it("/bin/sh", WORDS("sh", "-c", "read_it() { while read -r k v; do case $k in SigBlk:|SigIgn:) [ \"$v\" = 0000000000000000 ] || exit 1;; esac; done; }; read_it < /proc/self/status; exit 43"),
            WORDS("A=1"));
    return 1;
}

static int many_body(void)
{
    static char list[400000];
    memset(list, 0, sizeof(list));
    size_t size = 1;
    static const char *const start[] = {"sh", "-c", "[ $# = 20000 ] && exit 44", "name"};
    for (size_t i = 0; i < 4; i++) {
        strcpy(list + size, start[i]);
        size += strlen(start[i]) + 1;
    }
    for (int i = 0; i < 20000; i++) {
        strcpy(list + size, "x");
        size += 2;
    }
    fake_reset();
    fake.ctx.blob = list; /* the fake's own is too small */
    struct pyrt_op *op = fake_op(PYRT_OP_EXEC, PYRT_CONTAINER);
    strcpy(fake.ctx.exec_path, "/bin/sh");
    op->s[1] = 1;
    op->n[0] = size - 1;
    fake_run(op_exec, op);
    return 1;
}

static void test_exec(void)
{
    script("bin/tool", "#!/bin/sh\nexit 45\n", 0755);
    CHECK_INT(in_child(argument_body), 42);
    CHECK_INT(in_child(signal_body), 43);
    CHECK_INT(in_child(many_body), 44);
    CHECK_INT(in_child(found_body), 45);
    script("bin/lost", "#!/no/such/interpreter\n", 0755);
    script("bin/garbage", "\x7f" "ELF but not really", 0755);
    sigset_t before;
    sigprocmask(SIG_SETMASK, NULL, &before);
    fake_reset();
    CHECK_INT(exec_it("bin/lost", WORDS("lost"), WORDS("A=1")), -ENOENT);
    CHECK(strstr(fake_detail(), "interpreter") != NULL);
    fake_reset();
    CHECK_INT(exec_it("bin/none", WORDS("none"), WORDS("A=1")), -ENOENT);
    CHECK(strstr(fake_detail(), "interpreter") == NULL);
    fake_reset();
    CHECK_INT(exec_it("bin/garbage", WORDS("x"), WORDS("A=1")), -ENOEXEC);
    fake_reset();
    CHECK_INT(exec_it("bin/plain", WORDS("x"), WORDS("A=1")), -EACCES);
    fake_reset();
    CHECK_INT(exec_it("", WORDS("x"), WORDS("A=1")), -ENOENT);
}

/* -- INIT -- */

static int start_init(const char *code)
{
    fake_reset();
    struct pyrt_op *op = fake_op(PYRT_OP_INIT, PYRT_CONTAINER);
    if (fake_run(op_init, op) != 0)
        return 99;
    exec_it("/bin/sh", WORDS("sh", "-c", code), WORDS("PATH=/usr/bin:/bin"));
    return 98;
}

static int exit_body(void)
{
    return start_init("exit 7");
}

static int killed_body(void)
{
    return start_init("kill -USR1 $$");
}

/* Orphans are reaped while the program runs: the count of zombies below init stays 0. */
static int orphan_body(void)
{
    return start_init("(sh -c 'exit 0' &) ; sleep 0.3; z=0; for s in /proc/[0-9]*/stat; do { read -r l < $s; } 2>/dev/null || continue; "
                      "case \"$l\" in *') Z '$PPID' '*) z=1;; esac; done; exit $z");
}

static int trap_body(void)
{
    return start_init("trap 'exit 21' TERM; trap : WINCH; echo ready > ready; while :; do sleep 0.05; done");
}

static int name_body(void)
{
    return start_init("read -r n < /proc/$PPID/comm; [ \"$n\" = pyrt-init ] || exit 1; i=0; "
                      "while [ -n \"$(ls /proc/$PPID/fd)\" ] && [ $i -lt 100 ]; do sleep 0.05; i=$((i + 1)); done; "
                      "[ $i -lt 100 ] && [ $(ps -o pgid= -p $$) = $$ ] && exit 22; exit 1");
}

static int wait_for(const char *path)
{
    for (int i = 0; i < 1000; i++) {
        if (access(path, F_OK) == 0)
            return 1;
        usleep(10000);
    }
    return 0;
}

static void test_forwarding(void)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(trap_body());
    int status = 0;
    CHECK(wait_for("ready"));
    CHECK_INT(kill(pid, SIGWINCH), 0);
    CHECK_INT(kill(pid, SIGTERM), 0);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 21);
    unlink("ready");
}

static void test_init(void)
{
    CHECK_INT(in_child(exit_body), 7);
    CHECK_INT(in_child(killed_body), 128 + SIGUSR1);
    CHECK_INT(in_child(orphan_body), 0);
    CHECK_INT(in_child(name_body), 22);
    test_forwarding();
}

int main(void)
{
    CHECK(mkdtemp(dir) != NULL && chdir(dir) == 0);
    for (int old = 0; old < 2; old++) {
        pyrt_force_old = old ? OLD_FACCESSAT2 | OLD_CLOSE_RANGE : 0;
        test_find();
        test_exec();
        test_init();
    }
    CHECK_INT(chdir(".."), 0);
    char remove_all[64];
    snprintf(remove_all, sizeof(remove_all), "rm -r %s", dir);
    CHECK_INT(system(remove_all), 0);
    return done();
}
