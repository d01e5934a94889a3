/* SPDX-License-Identifier: Apache-2.0 */
/* Binds: of a path, of a path inside the root, or of a tree that the host side opened before clone. */
#include "mnt.h"

#define BIND_OPTIONAL 1u  /* n4 */
#define BIND_IN_ROOT 2u
#define BIND_KEEP 4u
#define TREE_RECURSIVE 1u /* OPEN_TREE n0 */
#define TREE_TOP_ONLY 2u  /* attributes and idmap on the top mount only, of a recursive clone */

/* Attaches a detached tree with the op's flags; what the source has stays set. */
static int attach(struct pyrt_ctx *ctx, const struct pyrt_op *op, const struct mnt_place *place, int tree)
{
    uint64_t clear = op->n[0] & (MS_RELATIME | MS_NOATIME | MS_STRICTATIME) ? MOUNT_ATTR__ATIME : 0;
    int rc = mnt_attach_set(tree, place->fd, mnt_attrs(op->n[0]), clear);
    return rc < 0 ? op_fail(ctx, rc, "attach the bind to", place->path) : 0;
}

/* By mount(2): the bind first, its flags after it. */
static int attach_old(struct pyrt_ctx *ctx, const struct pyrt_op *op, const struct mnt_place *place, int source, int *tree)
{
    uint64_t attrs = mnt_attrs(op->n[0]);
    uint64_t clear = op->n[0] & (MS_RELATIME | MS_NOATIME | MS_STRICTATIME) ? MOUNT_ATTR__ATIME : 0;
    *tree = mnt_bind(ctx, source, place, (op->n[0] & MS_REC) != 0);
    if (*tree < 0)
        return op_fail(ctx, *tree, "bind", op_str(ctx, op, 0));
    int rc = attrs | clear ? mnt_setattr(*tree, attrs, clear, 0, 0) : 0;
    return rc < 0 ? op_fail(ctx, rc, "flags of the bind on", place->path) : 0;
}

static int propagate(struct pyrt_ctx *ctx, const struct pyrt_op *op, const struct mnt_place *place, int tree)
{
    int rc = op->n[1] ? mnt_setattr(tree, 0, 0, op->n[1], (op->n[1] & MS_REC) != 0) : 0;
    return rc < 0 ? op_fail(ctx, rc, "propagation of", place->path) : 0;
}

/* A tree opened by OPEN_TREE is attached itself, so its slot serves one bind. */
static int bind_slot(struct pyrt_ctx *ctx, const struct pyrt_op *op, const struct mnt_place *place, int tree)
{
    int rc = attach(ctx, op, place, tree);
    return rc < 0 ? rc : propagate(ctx, op, place, tree);
}

static int bind_path(struct pyrt_ctx *ctx, const struct pyrt_op *op, const struct mnt_place *place, int source)
{
    int tree cleanup_close = mnt_clone(source, (op->n[0] & MS_REC) != 0), rc;
    if (old_kernel(tree))
        rc = attach_old(ctx, op, place, source, &tree);
    else
        rc = tree < 0 ? op_fail(ctx, tree, "open_tree", op_str(ctx, op, 0)) : attach(ctx, op, place, tree);
    return rc < 0 ? rc : propagate(ctx, op, place, tree);
}

int op_bind(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *path = op_str(ctx, op, 0);
    struct mnt_place place = {.path = op_str(ctx, op, 1), .at = op->n[2]};
    int opened cleanup_close = -1;
    int source = path[0] ? (opened = mnt_open(ctx, path, op->n[4] & BIND_IN_ROOT ? PYRT_AT_ROOT : PYRT_AT_HOST)) : op_slot_get(ctx, op->n[3]);
    if (source == -ENOENT && (op->n[4] & BIND_OPTIONAL))
        return 0;
    if (source < 0)
        return op_fail(ctx, source, "bind source", path[0] ? path : "of the slot");
    int is_dir = mnt_is_dir(source);
    if (is_dir < 0)
        return op_fail(ctx, is_dir, "statx", path);
    int rc = mnt_place_open(ctx, &place, is_dir, is_dir ? 0755 : 0644, op->n[4] & BIND_KEEP ? 0 : MNT_MAKE);
    if (rc < 0)
        return op_fail(ctx, rc, "bind target", place.path);
    rc = path[0] ? bind_path(ctx, op, &place, source) : bind_slot(ctx, op, &place, source);
    SYS(close, place.fd);
    if (rc == 0)
        mnt_note_proc(&place, -1);
    return rc;
}

int op_open_tree(struct pyrt_ctx *ctx, const struct pyrt_op *op)
{
    const char *path = op_str(ctx, op, 0);
    int recursive = (op->n[0] & TREE_RECURSIVE) != 0;
    int source cleanup_close = mnt_open(ctx, path, PYRT_AT_HOST);
    if (source < 0)
        return op_fail(ctx, source, "open", path);
    int tree cleanup_close = mnt_clone(source, recursive);
    if (tree < 0)
        return op_fail(ctx, tree, "open_tree", path);
    struct mount_attr private = {.propagation = MS_PRIVATE};
    long done = SYS(mount_setattr, tree, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &private, sizeof(private));
    if (done < 0 && !old_kernel(done)) /* before 5.12 the bind's own propagation has to do */
        return op_fail(ctx, done, "mount_setattr private", path);
    struct mount_attr attr = {.attr_set = op->n[3], .attr_clr = op->n[4]};
    if (attr.attr_set & MOUNT_ATTR__ATIME)
        attr.attr_clr |= MOUNT_ATTR__ATIME;
    if (op->n[2] != PYRT_NO_SLOT) {
        int userns = op_slot_get(ctx, op->n[2]);
        if (userns < 0)
            return op_fail(ctx, userns, "user namespace of the idmap", path);
        attr.attr_set |= MOUNT_ATTR_IDMAP;
        attr.userns_fd = (uint64_t)userns;
    }
    if (attr.attr_set | attr.attr_clr) {
        unsigned deep = recursive && !(op->n[0] & TREE_TOP_ONLY) ? AT_RECURSIVE : 0;
        long answer = SYS(mount_setattr, tree, "", AT_EMPTY_PATH | deep, &attr, sizeof(attr));
        if (answer < 0)
            return op_fail(ctx, answer, attr.attr_set & MOUNT_ATTR_IDMAP ? "mount_setattr idmap" : "mount_setattr", path);
    }
    int rc = op_slot_set(ctx, op->n[1], tree);
    if (rc < 0)
        return op_fail(ctx, rc, "slot", path);
    sys_steal_fd(&tree);
    return 0;
}
