/* queue_asked.c - requests whose reply is kept, and what becomes of them. */
#include "queue_private.h"

#include <stdio.h>
#include <string.h>

void q_ask(struct dw_queue *q, struct dw_queue_op *op)
{
    struct dw_item_header h = {.klass = 1};
    if (!q_has_room(q, op, (int64_t)op->frames.bytes, true, true))
        return;
    memcpy(h.id, op->id, DW_ID_LEN);
    memcpy(h.handle, op->id, DW_ID_LEN);
    memcpy(h.service, op->service, sizeof h.service);
    q_insert(q, op, &h, (int64_t)op->frames.bytes, ASKED, q_guest_end(q, op->now));
}

void q_keep_answer(struct dw_queue *q, const uint8_t id[DW_ID_LEN], const struct dw_frames *frames,
                   dw_time until)
{
    int64_t bytes = (int64_t)frames->bytes;
    DW_AUTO_BUF body = {0};
    dw_buf_init(&body, SIZE_MAX / 2);
    q_pack(frames, &body);
    sqlite3_stmt *s = q_use(q, Q_ANSWER);
    q_blob(s, 1, id, DW_ID_LEN);
    q_number(s, 2, bytes);
    q_number(s, 3, until);
    q_blob(s, 4, body.data, body.len);
    q_run(q, s);
    q->totals.bytes += bytes;
    q->totals.guest_bytes += bytes;
    q->totals.guest_items++;
}

/* The request gives its room to the reply. */
void q_reply(struct dw_queue *q, struct dw_queue_op *op)
{
    static const uint8_t no_attempt[DW_ID_LEN];
    uint8_t attempt[DW_ID_LEN];
    int64_t request_bytes, attempts, bytes = (int64_t)op->frames.bytes;
    if (!q_held(q, op, attempt, &request_bytes, &attempts))
        return;
    const struct totals *t = &q->totals;
    int64_t max_bytes = q->config->queue.max_bytes;
    if (t->bytes - request_bytes + bytes > max_bytes ||
        t->guest_bytes - request_bytes + bytes >
            max_bytes / 100 * q->config->queue.guest_share_percent) {
        snprintf(op->reason, sizeof op->reason, "no room for the reply");
        q_later(q, op, true);
        return;
    }
    q_delete_item(q, op, op->id, no_attempt, request_bytes);
    q_keep_answer(q, op->id, &op->frames, q_guest_end(q, op->now));
    q->totals.done++;
}

void q_fetch(struct dw_queue *q, struct dw_queue_op *op)
{
    sqlite3_stmt *s = q_use(q, Q_ANSWERED);
    q_blob(s, 1, op->id, DW_ID_LEN);
    q_number(s, 2, op->now);
    op->status = 400;
    if (q_step(q, s) == SQLITE_ROW) {
        struct dw_slice body = q_bytes(s, 0);
        bool whole = q_unpack(body.data, body.len, &op->frames);
        op->status = whole ? 200 : 500;
        if (!whole)
            op->text = dw_strdup("the reply is damaged");
    }
    sqlite3_reset(s);
    if (op->status != 400)
        return;
    int64_t row = q_row_of(q, op->id);
    s = q_use(q, Q_ASKED);
    q_number(s, 1, row);
    q_number(s, 2, op->now);
    if (q_step(q, s) == SQLITE_ROW) {
        op->status = sqlite3_column_int(s, 0) == DEAD ? 500 : 300;
        if (op->status == 500)
            op->text = dw_strdup(q_text(s, 1));
    }
    sqlite3_reset(s);
}

void q_forget_answer(struct dw_queue *q, dw_time now, const uint8_t id[DW_ID_LEN])
{
    sqlite3_stmt *s = q_use(q, Q_FORGET_ANSWER);
    q_blob(s, 1, id, DW_ID_LEN);
    if (q_step(q, s) == SQLITE_ROW) {
        int64_t bytes = sqlite3_column_int64(s, 0);
        q_drained(q, now, 1, bytes);
        q->totals.bytes -= bytes;
        q->totals.guest_bytes -= bytes;
        q->totals.guest_items--;
    }
    sqlite3_reset(s);
}

void q_forget(struct dw_queue *q, struct dw_queue_op *op)
{
    static const uint8_t no_attempt[DW_ID_LEN];
    int64_t bytes = -1;
    int64_t row = q_row_of(q, op->id);
    sqlite3_stmt *s = q_use(q, Q_ASKED);
    q_number(s, 1, row);
    q_number(s, 2, 0);
    if (q_step(q, s) == SQLITE_ROW)
        bytes = sqlite3_column_int64(s, 2);
    sqlite3_reset(s);
    if (bytes >= 0) /* whoever has it in hand finds the lease gone */
        q_delete_item(q, op, op->id, no_attempt, bytes);
    q_forget_answer(q, op->now, op->id);
    op->status = 200;
}

