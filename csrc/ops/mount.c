/* SPDX-License-Identifier: Apache-2.0 */
/* New file systems: fsopen(2) and its relations, mount(2) where they are missing or do not fit. */
#include "mnt.h"

#define PROPAGATION_FLAGS (MS_SHARED | MS_SLAVE | MS_PRIVATE | MS_UNBINDABLE)
#define DATA_MAX 4096      /* mount(2) reads one page of options */
#define VALUE_MAX 255      /* fsconfig(2) takes strings of up to 255 bytes */
#define LAYERS_MAX 500     /* overlay's own limit */
#define TARGET_KEEP 0x10000u /* n4: do not make the target */
#define LOG_MAX 180

struct options {
    const char *list;
    size_t size;
};

/* Options that speak to us, not to the kernel. */
static int is_own_option(const char *option)
{
    return strcmp(option, "tmpcopyup") == 0;
}

static int has_option(struct options options, const char *key)
{
    size_t size = strlen(key);
    for (const char *p = options.list; p < options.list + options.size; p += strlen(p) + 1)
        if (strncmp(p, key, size) == 0 && (p[size] == '\0' || p[size] == '='))
            return 1;
    return 0;
}

/* The kernel's own words about a failed fsconfig: the first error of its log, else the first message. */
static void read_log(int fs, char log[LOG_MAX])
{
    char message[LOG_MAX];
    log[0] = '\0';
    for (int i = 0; i < 16; i++) {
        long size = SYS(read, fs, message, sizeof(message) - 1);
        if (size < 3)
            return;
        message[size] = '\0';
        if (message[size - 1] == '\n')
            message[size - 1] = '\0';
        if (log[0] == '\0' || message[0] == 'e') {
            log[0] = '\0';
            txt_add(log, LOG_MAX, message + 2); /* "e text" */
        }
        if (message[0] == 'e')
            return;
    }
}

static int fail_with_log(struct pyrt_ctx *ctx, long rc, const char *step, const char *object, const char *log)
{
    char text[PYRT_DETAIL];
    text[0] = '\0';
    txt_add(text, sizeof(text), object);
    if (log[0]) {
        txt_add(text, sizeof(text), ": ");
        txt_add(text, sizeof(text), log);
    }
    return op_fail(ctx, rc, step, text);
}

static int fail_fs(struct pyrt_ctx *ctx, long rc, int fs, const char *step, const char *object)
{
    char log[LOG_MAX];
    read_log(fs, log);
    return fail_with_log(ctx, rc, step, object, log);
}

/* SELinux labels come quoted, as mount(8) wants them: context="a:b:c,d". fsconfig takes them bare. */
static const char *unquote(const char *value, char bare[VALUE_MAX + 1])
{
    size_t size = strlen(value);
    if (size < 2 || size > VALUE_MAX || value[0] != '"' || value[size - 1] != '"')
        return value;
    memcpy(bare, value + 1, size - 2);
    bare[size - 2] = '\0';
    return bare;
}

/* A directory whose name is too long for fsconfig goes in by fd, as a path of /proc. */
static long set_string(int fs, const char *key, const char *value)
{
    char bare[VALUE_MAX + 1], short_path[32];
    int fd cleanup_close = -1;
    value = unquote(value, bare);
    if (strlen(value) > VALUE_MAX && value[0] == '/') {
        fd = (int)SYS(openat, AT_FDCWD, value, O_PATH | O_CLOEXEC, 0);
        if (fd < 0)
            return fd;
        path_of_fd(fd, short_path);
        value = short_path;
    }
    return SYS(fsconfig, fs, FSCONFIG_SET_STRING, key, value, 0);
}

static long set_option(int fs, const char *option)
{
    char key[VALUE_MAX + 1];
    const char *equals = strchr(option, '=');
    if (!equals)
        return SYS(fsconfig, fs, FSCONFIG_SET_FLAG, option, NULL, 0);
    size_t size = (size_t)(equals - option);
    if (size > VALUE_MAX)
        return -EINVAL;
    memcpy(key, option, size);
    key[size] = '\0';
    if ((pyrt_force_old & OLD_LOWERDIR_PLUS) && strcmp(key, "lowerdir+") == 0)
        return -EINVAL;
    return set_string(fs, key, equals + 1);
}

static long set_super_flags(int fs, uint64_t flags)
{
    static const struct {
        uint64_t flag;
        const char *key;
    } table[] = {
        {MS_RDONLY, "ro"}, {MS_SYNCHRONOUS, "sync"}, {MS_MANDLOCK, "mand"}, {MS_DIRSYNC, "dirsync"}, {MS_LAZYTIME, "lazytime"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        long rc = flags & table[i].flag ? SYS(fsconfig, fs, FSCONFIG_SET_FLAG, table[i].key, NULL, 0) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Overlay before 6.7 does not know "lowerdir+": mount(2) is asked too, and what the kernel said here is kept in case it says no again. */
static int overlay_retry(int fs, long rc, const char *type, char log[LOG_MAX])
{
    if (rc != -EINVAL || strcmp(type, "overlay") != 0)
        return 0;
    read_log(fs, log);
    return 1;
}

/* Configures a new file system and returns its detached mount. *use_old: mount(2) is the one to ask (nothing is recorded then but the log). */
static int mount_detached(struct pyrt_ctx *ctx, const char *type, const char *source, struct options options, uint64_t flags, int *use_old, char log[LOG_MAX])
{
    int fs cleanup_close = pyrt_force_old & OLD_FSOPEN ? -ENOSYS : (int)SYS(fsopen, type, FSOPEN_CLOEXEC);
    *use_old = old_kernel(fs);
    if (fs < 0)
        return *use_old ? fs : op_fail(ctx, fs, fs == -ENODEV ? "fsopen of a file system that this kernel does not have:" : "fsopen", type);
    long rc = source[0] ? set_string(fs, "source", source) : 0;
    if (rc < 0)
        return fail_fs(ctx, rc, fs, "fsconfig source", source);
    for (const char *p = options.list; p < options.list + options.size; p += strlen(p) + 1) {
        rc = is_own_option(p) ? 0 : set_option(fs, p);
        if (rc >= 0)
            continue;
        *use_old = overlay_retry(fs, rc, type, log);
        return *use_old ? (int)rc : fail_fs(ctx, rc, fs, "fsconfig", p);
    }
    rc = set_super_flags(fs, flags);
    if (rc < 0)
        return fail_fs(ctx, rc, fs, "fsconfig", "flags");
    rc = SYS(fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    if (rc < 0) {
        *use_old = overlay_retry(fs, rc, type, log);
        return *use_old ? (int)rc : fail_fs(ctx, rc, fs, "fsconfig create", type);
    }
    int mount = (int)SYS(fsmount, fs, FSMOUNT_CLOEXEC, mnt_attrs(flags));
    return mount < 0 ? op_fail(ctx, mount, "fsmount", type) : mount;
}

/* The options as mount(2) wants them: one string, commas in between. Layers become one "lowerdir=", their own ':' ',' and '\' escaped; when `by_fd`, each layer
 * is opened and named by its fd, so that hundreds of long names fit in the page. */
struct data {
    char text[DATA_MAX];
    size_t size;
    int fds[LAYERS_MAX];
    int fd_count;
};

static int data_put(struct data *data, char c)
{
    if (data->size + 1 >= sizeof(data->text))
        return -E2BIG;
    data->text[data->size++] = c;
    data->text[data->size] = '\0';
    return 0;
}

static int data_puts(struct data *data, const char *text, const char *escape)
{
    for (; *text; text++) {
        if (strchr(escape, *text) && data_put(data, '\\') < 0)
            return -E2BIG;
        if (data_put(data, *text) < 0)
            return -E2BIG;
    }
    return 0;
}

static int data_layer(struct data *data, const char *dir, int by_fd)
{
    char path[32];
    if (!by_fd)
        return data_puts(data, dir, ":,\\");
    if (data->fd_count == LAYERS_MAX)
        return -E2BIG;
    int fd = (int)SYS(openat, AT_FDCWD, dir, O_PATH | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    data->fds[data->fd_count++] = fd;
    path_of_fd(fd, path);
    return data_puts(data, path, "");
}

static int data_join(struct data *data, struct options options, int by_fd)
{
    static const char layer[] = "lowerdir+=";
    int rc = 0, layers = 0;
    data->size = 0;
    data->fd_count = 0;
    data->text[0] = '\0';
    for (const char *p = options.list; rc == 0 && p < options.list + options.size; p += strlen(p) + 1) {
        if (strncmp(p, layer, sizeof(layer) - 1) != 0)
            continue;
        rc = layers++ ? data_put(data, ':') : data_puts(data, "lowerdir=", "");
        if (rc == 0)
            rc = data_layer(data, p + sizeof(layer) - 1, by_fd);
    }
    for (const char *p = options.list; rc == 0 && p < options.list + options.size; p += strlen(p) + 1) {
        if (strncmp(p, layer, sizeof(layer) - 1) == 0 || is_own_option(p) || *p == '\0')
            continue;
        rc = data->size ? data_put(data, ',') : 0;
        if (rc == 0)
            rc = data_puts(data, p, layers ? "\\" : "");
    }
    return rc;
}

static void data_close(struct data *data)
{
    while (data->fd_count > 0)
        SYS(close, data->fds[--data->fd_count]);
}

static int mount_old(struct pyrt_ctx *ctx, const char *type, const char *source, struct options options, uint64_t flags,
                     const struct mnt_place *place, const char *log)
{
    struct data data;
    char at[32];
    long rc = data_join(&data, options, 0);
    if (rc == -E2BIG) {
        data_close(&data);
        rc = data_join(&data, options, 1);
    }
    if (rc < 0) {
        data_close(&data);
        return op_fail(ctx, rc, rc == -E2BIG ? "more options than mount(2) takes (4096 bytes) for" : "the layers of", type);
    }
    path_of_fd(place->fd, at);
    rc = SYS(mount, source, at, type, flags & ~(uint64_t)(PROPAGATION_FLAGS | MS_REC), data.size ? data.text : NULL);
    data_close(&data);
    if (rc == -ENODEV)
        return op_fail(ctx, rc, "mount of a file system that this kernel does not have:", type);
    return rc < 0 ? fail_with_log(ctx, rc, "mount", place->path, log) : 0;
}

/* MS_REMOUNT changes what is mounted at the target: with MS_BIND that mount's flags, else its file system too. */
static int remount(struct pyrt_ctx *ctx, struct options options, uint64_t flags, const struct mnt_place *place)
{
    struct data data;
    char at[32];
    int joined = data_join(&data, options, 0);
    if (joined < 0)
        return op_fail(ctx, joined, "remount options", place->path);
    path_of_fd(place->fd, at);
    flags &= ~(uint64_t)(PROPAGATION_FLAGS | MS_REC);
    long rc = SYS(mount, NULL, at, NULL, flags, data.size ? data.text : NULL);
    uint64_t have = mnt_flags_of(place->fd);
    uint64_t kept = (flags & ~(uint64_t)(MS_NOATIME | MS_RELATIME | MS_STRICTATIME | MS_NODIRATIME)) | have;
    if (rc == -EPERM && kept != flags) /* locked in a user namespace: what is set stays set */
        rc = SYS(mount, NULL, at, NULL, kept, data.size ? data.text : NULL);
    return rc < 0 ? op_fail(ctx, rc, "remount", place->path) : 0;
}

/* What comes after a mount(2), which leaves no fd: copy and propagation need the new mount, so the place is opened again. */
static int finish_old(struct pyrt_ctx *ctx, const struct mnt_place *place, int copyup, uint64_t propagation)
{
    if (!copyup && !propagation)
        return 0;
    int mount cleanup_close = mnt_open(ctx, place->path, place->at);
    if (mount < 0)
        return op_fail(ctx, mount, "open the new mount", place->path);
    int rc = copyup ? copyup_tree(place->fd, mount) : 0;
    if (rc < 0)
        return op_fail(ctx, rc, "tmpcopyup", place->path);
    rc = propagation ? mnt_propagate(mount, propagation) : 0;
    return rc < 0 ? op_fail(ctx, rc, "propagation of", place->path) : 0;
}

static int finish_new(struct pyrt_ctx *ctx, int mount, const struct mnt_place *place, int copyup, uint64_t late_attrs, uint64_t propagation)
{
    int rc = copyup ? copyup_tree(place->fd, mount) : 0;
    if (rc < 0)
        return op_fail(ctx, rc, "tmpcopyup", place->path);
    rc = mnt_attach_set(mount, place->fd, late_attrs, 0);
    if (rc < 0)
        return op_fail(ctx, rc, "move_mount to", place->path);
    rc = propagation ? mnt_setattr(mount, 0, 0, propagation, (propagation & MS_REC) != 0) : 0;
    return rc < 0 ? op_fail(ctx, rc, "propagation of", place->path) : 0;
}

static int mount_at(struct pyrt_ctx *ctx, const struct pyrt_op *op, struct options options, const struct mnt_place *place)
{
    const char *source = op_str(ctx, op, 0), *type = op_str(ctx, op, 2);
    uint64_t flags = op->n[0];
    if (flags & MS_REMOUNT)
        return remount(ctx, options, flags, place);
    int copyup = has_option(options, "tmpcopyup");
    uint64_t late = copyup && (flags & MS_RDONLY) ? MOUNT_ATTR_RDONLY : 0; /* it has to be written once */
    if (late)
        flags &= ~(uint64_t)MS_RDONLY;
    /* cgroup v1 answers "try again" while a hierarchy of the same name is going away, which only mount(2) takes up again. */
    int use_old = strcmp(type, "cgroup") == 0;
    char log[LOG_MAX] = "";
    if (!use_old) {
        int mount cleanup_close = mount_detached(ctx, type, source, options, flags, &use_old, log);
        if (!use_old) {
            int rc = mount < 0 ? mount : finish_new(ctx, mount, place, copyup, late, op->n[1]);
            if (rc == 0)
                mnt_note_proc(place, strcmp(type, "proc") == 0 ? mount : -1);
            return rc;
        }
    }
    int rc = mount_old(ctx, type, source[0] ? source : "none", options, flags, place, log);
    if (rc == 0)
        rc = finish_old(ctx, place, copyup, op->n[1]);
    if (rc == 0 && strcmp(type, "proc") == 0) {
        int mount cleanup_close = mnt_open(ctx, place->path, place->at);
        mnt_note_proc(place, mount);
    }
    if (rc == 0 && late) {
        int mount cleanup_close = mnt_open(ctx, place->path, place->at);
        rc = mount < 0 ? mount : mnt_setattr(mount, late, 0, 0, 0);
        if (rc < 0)
            return op_fail(ctx, rc, "remount read-only", place->path);
    }
    return rc;
}

int op_mount(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *type = op_str(ctx, op, 2);
    struct options options = {.list = op_data(ctx, op, 3), .size = op->n[3]};
    struct mnt_place place = {.path = op_str(ctx, op, 1), .at = op->n[2]};
    unsigned mode = (unsigned)(op->n[4] & 0xffff);
    int is_kernel_view = strcmp(type, "proc") == 0 || strcmp(type, "sysfs") == 0;
    unsigned how = (op->n[4] & TARGET_KEEP || op->n[0] & MS_REMOUNT ? 0 : MNT_MAKE) | (is_kernel_view ? MNT_NO_LINKS : 0);
    if (op->s[3] == 0)
        options.size = 0;
    int rc = mnt_place_open(ctx, &place, 1, mode ? mode : 0755, how);
    if (rc < 0)
        return op_fail(ctx, rc, rc == -ELOOP && is_kernel_view ? "a symbolic link on the way to the target" : "target", place.path);
    rc = mount_at(ctx, op, options, &place);
    SYS(close, place.fd);
    return rc;
}

int op_mount_attr(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *path = op_str(ctx, op, 0);
    int fd cleanup_close = mnt_open(ctx, path, op->n[2]);
    if (fd < 0)
        return op_fail(ctx, fd, "open", path);
    int rc = mnt_setattr(fd, op->n[0], op->n[1], 0, (int)(op->n[3] & 1));
    return rc < 0 ? op_fail(ctx, rc, "mount_setattr", path) : 0;
}

int op_propagation(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *path = op_str(ctx, op, 0);
    long rc;
    if (op->n[0] == PYRT_AT_HOST) {
        rc = SYS(mount, NULL, path, NULL, op->n[1], NULL);
    } else {
        int fd cleanup_close = mnt_open(ctx, path, op->n[0]);
        rc = fd < 0 ? fd : mnt_propagate(fd, op->n[1]);
    }
    return rc < 0 ? op_fail(ctx, rc, "mount propagation", path) : 0;
}
