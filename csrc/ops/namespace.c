/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces joined and left, and what is set inside them: names, sysctls, clock offsets, loopback. */
#include "../base/sys.h"
#include "ops.h"
#include "self.h"

#include <linux/if.h>
#include <linux/sockios.h>
#include <sys/socket.h>

int op_join_ns(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *path = op_str(ctx, op, 0);
    cleanup_close int opened = -1;
    int fd;

    if (path[0] != '\0') {
        fd = opened = open_proc_path(ctx, path, O_RDONLY);
        if (fd < 0)
            return op_fail(ctx, fd, "open namespace", path);
    } else {
        fd = op_slot_get(ctx, op->n[1]);
        if (fd < 0)
            return op_fail(ctx, fd, "namespace", "no fd in the slot");
    }
    long rc = SYS(setns, fd, op->n[0]);
    return rc < 0 ? op_fail(ctx, rc, "setns", path[0] != '\0' ? path : NULL) : 0;
}

int op_unshare(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    long rc = SYS(unshare, op->n[0]);
    return rc < 0 ? op_fail(ctx, rc, "unshare", NULL) : 0;
}

int op_time_offsets(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    int rc = self_write(ctx, "timens_offsets", op_data(ctx, op, 0), op->n[0]);
    return rc < 0 ? op_fail(ctx, rc, "write /proc/self/timens_offsets", NULL) : 0;
}

int op_hostname(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *name = op_str(ctx, op, 0);
    long rc = SYS(sethostname, name, strlen(name));
    return rc < 0 ? op_fail(ctx, rc, "sethostname", name) : 0;
}

int op_domainname(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *name = op_str(ctx, op, 0);
    long rc = SYS(setdomainname, name, strlen(name));
    return rc < 0 ? op_fail(ctx, rc, "setdomainname", name) : 0;
}

/* A relative path without empty, "." or ".." components. */
static int is_plain_path(const char *path)
{
    for (;;) {
        size_t length = 0;
        while (path[length] != '\0' && path[length] != '/')
            length++;
        if (length == 0 || (path[0] == '.' && (length == 1 || (length == 2 && path[1] == '.'))))
            return 0;
        if (path[length] == '\0')
            return 1;
        path += length + 1;
    }
}

int op_sysctl(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *key = op_str(ctx, op, 0), *value = op_str(ctx, op, 1);
    char path[512] = "sys/";

    if (!is_plain_path(key) || txt_add(path, sizeof(path), key) < 0)
        return op_fail(ctx, -EINVAL, "sysctl key", key);
    /* The host's /proc shows each process its own namespaces' values, and cannot have been covered by the container. */
    int rc = sys_write_file(ctx->proc_fd, path, value, strlen(value), 0);
    return rc < 0 ? op_fail(ctx, rc, "write sysctl", key) : 0;
}

static int loopback_up(struct pyrt_ctx *ctx)
{
    /* Any socket of the network namespace takes interface ioctls; a unix one is there even in kernels without IPv4. */
    cleanup_close int sock = (int)SYS(socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (sock < 0)
        return op_fail(ctx, sock, "socket for loopback", NULL);
    struct ifreq request;
    memset(&request, 0, sizeof(request));
    memcpy(request.ifr_name, "lo", 3);
    request.ifr_flags = IFF_UP;
    long rc = SYS(ioctl, sock, SIOCSIFFLAGS, &request);
    return rc < 0 ? op_fail(ctx, rc, "set interface up", "lo") : 0;
}

int op_loopback(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    (void)op;
    return loopback_up(ctx);
}

int op_netns_make(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    long rc = SYS(unshare, CLONE_NEWNET);
    if (rc < 0)
        return op_fail(ctx, rc, "unshare", NULL);
    return op->n[0] & 1 ? loopback_up(ctx) : 0;
}
