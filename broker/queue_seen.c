/* queue_seen.c - what is remembered of senders: their keys, and what each was used for. */
#include "queue_private.h"

#include <string.h>

int64_t q_seen_row(struct dw_queue *q, const uint8_t *tok, size_t len, uint8_t fp[DW_FP_LEN])
{
    sqlite3_stmt *s;
    int64_t row = q_find(q, BY_TOK, tok, len, NULL, &s);
    if (row) {
        q_take(q, s, 0, fp, DW_FP_LEN);
        sqlite3_reset(s);
    }
    return row;
}

void q_see(struct dw_queue *q, const uint8_t *tok, size_t len, const uint8_t fp[DW_FP_LEN],
           dw_time until)
{
    uint8_t before[DW_FP_LEN];
    int64_t row = q_seen_row(q, tok, len, before);
    sqlite3_stmt *s = q_use(q, row ? Q_SEE_AGAIN : Q_SEE);
    if (row)
        q_number(s, 1, row);
    else
        q_blob(s, 1, tok, len);
    q_blob(s, 2, fp, DW_FP_LEN);
    q_number(s, 3, until);
    q_run(q, s);
    if (row || q->failed)
        return;
    q_index_add(q, BY_TOK, tok, len, sqlite3_last_insert_rowid(q->db));
    q->totals.seen++;
}

/* An Idempotency-Key, as far as we remember. */
enum seen q_seen(struct dw_queue *q, const struct dw_item_header *h)
{
    uint8_t fp[DW_FP_LEN];
    if (dw_all_zero(h->tok, sizeof h->tok) || !q_seen_row(q, h->tok, sizeof h->tok, fp))
        return NEVER;
    return memcmp(fp, h->fp, DW_FP_LEN) == 0 ? SAME_PAYLOAD : OTHER_PAYLOAD;
}

void q_remember_seen(struct dw_queue *q, const struct dw_item_header *h, dw_time now)
{
    if (!dw_all_zero(h->tok, sizeof h->tok))
        q_see(q, h->tok, sizeof h->tok, h->fp, now + q->config->queue.seen_hours * 3600000);
}
