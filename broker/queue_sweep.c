/* queue_sweep.c - what goes by itself: unfinished uploads, old keys, what has expired. */
#include "queue_private.h"

#include <stdio.h>
#include <string.h>

enum {
    KEEP_PAGES = 4096, /* free ones in the file, for the next items */
    SWEEP_MAX = 1000,  /* expired ones taken out at once */
};

struct old {
    uint8_t id[DW_ID_LEN], attempt[DW_ID_LEN];
    int64_t bytes;
};

static size_t read_old(struct dw_queue *q, enum statement which, dw_time now, struct old *old)
{
    size_t count = 0;
    sqlite3_stmt *s = q_use(q, which);
    q_number(s, 1, now);
    q_number(s, 2, SWEEP_MAX);
    while (count < SWEEP_MAX && q_step(q, s) == SQLITE_ROW) {
        struct old *o = &old[count++];
        q_take(q, s, 0, o->id, DW_ID_LEN);
        if (which != Q_OLD_ITEMS)
            continue;
        q_take(q, s, 1, o->attempt, DW_ID_LEN);
        o->bytes = sqlite3_column_int64(s, 2);
    }
    sqlite3_reset(s);
    return count;
}

static void kill_expired(struct dw_queue *q, struct dw_queue_op *op, const uint8_t id[DW_ID_LEN])
{
    uint8_t handle[DW_ID_LEN] = {0};
    char service[DW_SERVICE_MAX + 1] = "";
    enum state state = DEAD;
    int64_t row = q_row_of(q, id);
    sqlite3_stmt *s = q_use(q, Q_STATE);
    q_number(s, 1, row);
    if (q_step(q, s) == SQLITE_ROW)
        state = (enum state)sqlite3_column_int(s, 0);
    sqlite3_reset(s);
    s = q_use(q, Q_EXPIRE);
    q_number(s, 1, row);
    while (q_step(q, s) == SQLITE_ROW) {
        q_take(q, s, 0, handle, sizeof handle);
        snprintf(service, sizeof service, "%s", q_text(s, 1));
    }
    sqlite3_reset(s);
    q_moved(q, state, DEAD, 1);
    if (state != BEHIND)
        q_left_front(q, op, handle, service, row);
}

/* A request and its reply go, as whoever asked knew; an item that was put becomes a dead letter, as
 * nobody else would tell. */
static void forget_expired(struct dw_queue *q, struct dw_queue_op *op)
{
    dw_time now = op->now;
    struct old *old = dw_alloc(SWEEP_MAX * sizeof *old);
    size_t count = read_old(q, Q_OLD_ITEMS, now, old);
    for (size_t i = 0; i < count; i++)
        q_delete_item(q, op, old[i].id, old[i].attempt, old[i].bytes);
    op->n |= count == SWEEP_MAX;
    *dw_metric_named("dengwen_queue_expired_total") += (long)count;
    count = read_old(q, Q_OLD_ANSWERS, now, old);
    for (size_t i = 0; i < count; i++)
        q_forget_answer(q, now, old[i].id);
    op->n |= count == SWEEP_MAX;
    count = read_old(q, Q_OLD_PUT, now, old);
    for (size_t i = 0; i < count; i++)
        kill_expired(q, op, old[i].id);
    op->n |= count == SWEEP_MAX;
    dw_free(old);
}

/* Gives room that items no longer need back to the disk, a little at a time. */
static void shrink(struct dw_queue *q)
{
    sqlite3_stmt *s = q_use(q, Q_FREE_PAGES);
    int64_t free_pages = q_step(q, s) == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    sqlite3_reset(s);
    if (free_pages > (q->reserve_held ? KEEP_PAGES : 0))
        q_run(q, q_use(q, Q_SHRINK));
}

/* Runs a statement that deletes, and returns what it has deleted. */
static void forget_seen(struct dw_queue *q, sqlite3_stmt *s)
{
    while (q_step(q, s) == SQLITE_ROW) {
        q_index_take(q, BY_TOK, sqlite3_column_blob(s, 1), (size_t)sqlite3_column_bytes(s, 1),
                     sqlite3_column_int64(s, 0));
        q->totals.seen--;
    }
    sqlite3_reset(s);
}

void q_sweep(struct dw_queue *q, struct dw_queue_op *op)
{
    uint8_t old[100][DW_ID_LEN];
    size_t count = 0;
    sqlite3_stmt *s = q_use(q, Q_OLD_OPEN);
    q_number(s, 1, op->now - q->config->queue.open_ttl_seconds * 1000);
    while (count < DW_COUNT(old) && q_step(q, s) == SQLITE_ROW)
        q_take(q, s, 0, old[count++], DW_ID_LEN);
    sqlite3_reset(s);
    for (size_t i = 0; i < count; i++)
        q_forget_attempt(q, old[i]);
    op->n = count == DW_COUNT(old);
    s = q_use(q, Q_OLD_SEEN);
    q_number(s, 1, op->now);
    forget_seen(q, s);
    if (q->totals.seen > q->config->queue.seen_max) {
        s = q_use(q, Q_OLDEST_SEEN);
        q_number(s, 1, q->totals.seen - q->config->queue.seen_max);
        forget_seen(q, s);
    }
    forget_expired(q, op);
    shrink(q);
    op->status = 200;
}

