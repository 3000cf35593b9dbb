/* queue_adopt.c - takes rows of a queue that is left behind, as dw/adopt.h promises. */
#include "dw/adopt.h"

#include "queue_private.h"

#include "dw/testing.h"

#include <string.h>

/* Stands among the keys that were seen, but is longer than any of them. */
enum { MARK_LEN = 1 + DW_ID_LEN };

static void mark_of(const uint8_t id[DW_ID_LEN], uint8_t mark[MARK_LEN])
{
    mark[0] = 1;
    memcpy(mark + 1, id, DW_ID_LEN);
}

static bool was_adopted(struct dw_queue *q, const uint8_t id[DW_ID_LEN])
{
    uint8_t mark[MARK_LEN], fp[DW_FP_LEN];
    mark_of(id, mark);
    return q_seen_row(q, mark, sizeof mark, fp) && !DW_BUG("adopted-is-forgotten");
}

static void remember(struct dw_queue *q, const uint8_t id[DW_ID_LEN], dw_time now)
{
    static const uint8_t no_fp[DW_FP_LEN];
    uint8_t mark[MARK_LEN];
    mark_of(id, mark);
    q_see(q, mark, sizeof mark, no_fp, now + q->config->queue.seen_hours * 3600000);
}

static bool is_answered(struct dw_queue *q, const uint8_t id[DW_ID_LEN])
{
    sqlite3_stmt *s = q_use(q, Q_ANSWERED);
    q_blob(s, 1, id, DW_ID_LEN);
    q_number(s, 2, 0);
    bool found = q_step(q, s) == SQLITE_ROW;
    sqlite3_reset(s);
    return found;
}

/* What it was in the file it comes from; q_insert() took it for new. */
static void make_old(struct dw_queue *q, struct dw_queue_op *op, const struct dw_left *left,
                     enum state state)
{
    int64_t row = q_row_of(q, left->id);
    sqlite3_stmt *s = q_use(q, Q_ADOPTED);
    q_number(s, 1, row);
    q_number(s, 2, left->attempts);
    q_number(s, 3, left->day);
    q_number(s, 4, left->created);
    q_number(s, 5, left->dead ? DEAD : state);
    sqlite3_bind_text(s, 6, left->reason, -1, SQLITE_STATIC);
    q_run(q, s);
    if (!left->dead)
        return;
    q_moved(q, state, DEAD, 1);
    if (state != BEHIND)
        q_left_front(q, op, left->handle, left->service, row);
}

/* The header that items have which were put: it has the sender's key. */
static bool header_of(const struct dw_queue_op *op, const struct dw_left *left,
                      struct dw_item_header *ret)
{
    if (left->origin != ASKED && op->frames.count &&
        dw_item_header_decode(op->frames.items[0], ret))
        return true;
    memset(ret, 0, sizeof *ret);
    return false;
}

static bool adopt_item(struct dw_queue *q, struct dw_queue_op *op, const struct dw_left *left)
{
    struct dw_item_header *h = &op->header;
    int64_t bytes = (int64_t)op->frames.bytes;
    header_of(op, left, h);
    memcpy(h->id, left->id, DW_ID_LEN);
    memcpy(h->attempt, left->attempt, DW_ID_LEN);
    memcpy(h->handle, left->handle, DW_ID_LEN);
    memcpy(h->service, left->service, sizeof h->service);
    h->parts = left->parts;
    h->klass = left->klass;
    if (q_is_here(q, op) || is_answered(q, left->id))
        return true;
    /* Its sender has put it here too, and it is done. */
    if (left->origin == PUT_BY_GUEST && q_seen(q, h) == SAME_PAYLOAD) {
        if (left->parts)
            q_forget_attempt(q, left->attempt);
        return true;
    }
    if (!q_has_room(q, op, bytes, left->origin != OWN, false))
        return false;
    if (!q_parts_complete(q, h, &bytes)) {
        op->status = 409;
        return false;
    }
    enum state state = q_insert(q, op, h, bytes, (enum origin)left->origin, left->until);
    make_old(q, op, left, state);
    if (h->parts)
        q_close_attempt(q, h->attempt);
    q_remember_seen(q, h, op->now);
    return true;
}

static bool adopt_reply(struct dw_queue *q, struct dw_queue_op *op, const struct dw_left *left)
{
    if (is_answered(q, left->id))
        return true;
    if (!q_has_room(q, op, (int64_t)op->frames.bytes, true, false))
        return false;
    q_keep_answer(q, left->id, &op->frames, left->until);
    return true;
}

/* One that the same key has here already counts. */
static bool adopt_seen(struct dw_queue *q, struct dw_queue_op *op, const struct dw_left *left)
{
    (void)op;
    uint8_t fp[DW_FP_LEN];
    if (!q_seen_row(q, left->id, DW_ID_LEN, fp))
        q_see(q, left->id, DW_ID_LEN, left->fp, left->until);
    return true;
}

/* The frames of a body, cut where it suited, as they were. */
static bool join(const struct dw_slice *frames, size_t count, struct dw_frames *ret)
{
    DW_AUTO_BUF body = {0};
    dw_buf_init(&body, SIZE_MAX / 2);
    for (size_t i = 0; i < count; i++)
        dw_buf_put(&body, frames[i].data, frames[i].len);
    return q_unpack(body.data, body.len, ret);
}

/* False: no further; op->status says why. */
static bool adopt(struct dw_queue *q, struct dw_queue_op *op, const struct dw_slice *row,
                  const struct dw_left *left)
{
    static bool (*const kinds[DW_LEFT_KINDS])(struct dw_queue *, struct dw_queue_op *,
                                              const struct dw_left *) = {
        [DW_LEFT_ITEM] = adopt_item, [DW_LEFT_REPLY] = adopt_reply, [DW_LEFT_SEEN] = adopt_seen};
    struct dw_frames all = op->frames;
    bool taken = true;
    if (left->kind != DW_LEFT_SEEN && was_adopted(q, left->id))
        return true;
    op->frames = (struct dw_frames){0};
    if (left->kind != DW_LEFT_SEEN && !join(row + 1, left->body_frames, &op->frames)) {
        op->status = 400;
        taken = false;
    } else {
        taken = kinds[left->kind](q, op, left);
    }
    if (taken && left->kind != DW_LEFT_SEEN)
        remember(q, left->id, op->now);
    dw_frames_free(&op->frames);
    op->frames = all;
    return taken;
}

/* Rows in their order, until one has no room: op->n of them are taken. */
static void adopt_rows(struct dw_queue *q, struct dw_queue_op *op)
{
    struct dw_left left;
    op->n = 0;
    op->status = 200;
    for (size_t i = 0; i < op->frames.count; i += 1 + left.body_frames) {
        if (!dw_left_decode(op->frames.items[i], &left) ||
            left.body_frames > op->frames.count - i - 1) {
            op->status = 400;
            break;
        }
        if (!adopt(q, op, &op->frames.items[i], &left))
            break;
        op->n++;
    }
    if (op->n && op->status != 400)
        op->status = 200; /* the sender deletes these, and asks again for the next */
    DW_POINT("queue.adopted");
}

void q_adopt(struct dw_queue *q, struct dw_queue_op *op)
{
    if (op->frames.count) {
        adopt_rows(q, op);
        return;
    }
    memcpy(op->header.id, op->id, DW_ID_LEN);
    op->status = was_adopted(q, op->id) || q_is_here(q, op) || is_answered(q, op->id) ? 200 : 404;
}
